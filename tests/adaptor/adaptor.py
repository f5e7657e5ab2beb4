# The adaptor's source, and how it is run as a CGI. It knows the adaptor's command line.

import os
import signal
import subprocess
import sys
import tempfile

from client import netstring, outline

HERE = os.path.dirname(os.path.abspath(__file__))
APPS = os.path.join(HERE, 'apps')
# As in wsgi.rs.
POOL = 'loaded', 'outgoing', 'begun', 'channel', 'board', 'zygote', 'served', 'glance', 'doorway', 'worker', 'pool'
PARTS = ('wsgi', 'streams', 'late', 'once', *POOL, 'trial')
PYTHON = os.environ.get('ADAPTOR_PYTHON', sys.executable)
ENVIRON = {'PATH': os.environ['PATH'], 'LANG': 'C.UTF-8', 'SECRET': 'from env.SECRET'}


def lines(name):
    """Those of a part of the adaptor."""
    with open(os.path.join(HERE, '..', '..', 'src', 'app', name + '.py')) as file:
        return file.readlines()


def source(name):
    """The part without its comments."""
    return ''.join('\n' if line.lstrip().startswith('#') else line for line in lines(name))


BOTH = source('wsgi').replace('STREAMS.PY', source('streams')).replace('LATE.PY', source('late'))
def pages(media_type='text/plain'):
    """The outlines of our pages, in their order."""
    error = '500 Internal Server Error'
    texts = ('504 Gateway Timeout', b'too late'), ('408 Request Timeout', b'no body'), (error, b'broken'), (error, b'failed')
    return b'\1'.join(outline(*text, media_type) for text in texts)


CGI_SOURCE = BOTH + source('once')
SOURCE = BOTH + ''.join(map(source, POOL))
TRIAL_SOURCE = BOTH + ''.join(map(source, POOL[:-1])) + source('trial')  # for `check`


class Cgi:
    """Runs the adaptor as a CGI, once for each request."""

    word = None
    run_once = True

    def __init__(self, target, source=CGI_SOURCE, env=ENVIRON, python=PYTHON, folder=APPS, since='', timeout=None,
                 shows=False, form='text/plain'):
        """shows: whether the client may see the reason of a failure; form: that of the page."""
        self.target, self.source, self.env, self.python = target, source, env, python
        self.folder, self.words, self.pages = folder, [since], pages(form) + b'\1' * shows
        if timeout:
            self.words += [str(timeout), '']
        self.process = None

    def start(self, client, meta):
        header = os.memfd_create('header')
        os.write(header, netstring(meta) + self.pages)
        os.lseek(header, 0, os.SEEK_SET)
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [self.python, '-c', self.source, 'cgi', 'app', self.target, self.folder, str(header), *self.words],
            stdin=client.theirs_in, stdout=client.theirs_out, stderr=self.stderr,
            pass_fds=[header], env=self.env, cwd=self.folder, start_new_session=True)
        os.close(header)
        client.started()

    def finish(self):
        """The process's stderr, after its end."""
        self.status = self.process.wait()
        self.stderr.seek(0)
        with self.stderr:
            return self.stderr.read()

    def close(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process:
            self.stderr.close()
