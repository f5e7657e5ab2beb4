"""What the parts of the bench are written with. A part is a module of this folder with

    TITLE = 'what it measures, in a line'
    def measure(site) -> figures.Result

and is named in PARTS of `bench`. It prints nothing: its Result has tables, budgets and series. `picture` draws some of
the series of front.py, apache.py and overload.py. What a part may use:

common.py       Site: where everything of a run lives, who serves, what is installed; servers, apps, the daemon
figures.py      interleave, median, percentile, ratio, difference, number; Table, Budget, Result
counts.py       pss, rss, peak_rss, cpu, tree, syscalls, Traced
web_servers.py  apache(site, ...), nginx(site, ...): a server with a configuration of its own
load.py         wrk(...), ab(...): requests per second, and how long they took
c/NAME.c        compiled to site.c('NAME'), see c/Makefile: empty-nolibc, empty-static, empty-dynamic (CGIs), ...

    site.quick              few rounds, small sizes: only to see that it works. site.rounds(200, 10) chooses.
    site.user, uid, gid     who serves: www-data when root runs the bench, else the user who does
    site.as_user            keywords for subprocess that make a process theirs: Popen(argv, **site.as_user)
    site.folder()           a new folder of that user's; site.place itself is the bench's, and all users may enter it
    site.bin                polycgi and its applets as `make install` puts them
    site.against            another polycgi to measure this one against; None if none was named
    site.cgi2scgi(port)     the SCGI front in C that the `scgi` package has, compiled for a daemon at that port
    site.write(path, text)  and site.script(path, text): the same, to be executed
    site.app(folder, name, text, **keys)   a Python module and an app file for it; returns the app file's path
    site.serve(argv, ready, ...)           a Server: started, waited for, stopped by pid as the site ends
    site.polycgi('status', ...)            the command line, as the user
    site.status(app)                       its JSON, parsed
    site.daemon(app)                       the daemon's pid (None: there is none)

Every wait has a deadline (PATIENCE); whatever does not work ends the part by `fail`. Servers are started with CLEAN as
their environment; those that a part leaves are stopped before the next one.
"""

import contextlib
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(f'{HERE}/../..')
# Where cargo builds, and where what the bench needs is kept between runs.
TARGET = os.environ.get('CARGO_TARGET_DIR') or f'{ROOT}/target'
PYTHON = '/usr/bin/python3'
PATIENCE = 60  # s, for anything that is waited for

CLEAN = {'PATH': '/usr/local/bin:/usr/bin:/bin:/usr/sbin', 'LANG': 'C.UTF-8'}
# What Apache gives a CGI for a plain GET by a browser.
META = {
    'CONTENT_LENGTH': '', 'CONTEXT_DOCUMENT_ROOT': '/srv/cgi-bin/', 'CONTEXT_PREFIX': '/cgi-bin/',
    'DOCUMENT_ROOT': '/srv/www', 'GATEWAY_INTERFACE': 'CGI/1.1', 'HTTP_ACCEPT': 'text/html,*/*;q=0.8',
    'HTTP_ACCEPT_ENCODING': 'gzip, deflate, br', 'HTTP_ACCEPT_LANGUAGE': 'en-GB,en;q=0.7', 'HTTP_CONNECTION':
    'keep-alive', 'HTTP_COOKIE': 'session=0123456789abcdef0123456789abcdef', 'HTTP_HOST': 'localhost', 'HTTP_USER_AGENT':
    'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0', 'QUERY_STRING': '', 'REMOTE_ADDR':
    '127.0.0.1', 'REMOTE_PORT': '40000', 'REQUEST_METHOD': 'GET', 'REQUEST_SCHEME': 'http', 'REQUEST_URI':
    '/cgi-bin/app', 'SCRIPT_FILENAME': '/srv/cgi-bin/app', 'SCRIPT_NAME': '/cgi-bin/app', 'SERVER_ADDR': '127.0.0.1',
    'SERVER_NAME': 'localhost', 'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'SERVER_SOFTWARE': 'Apache',
}
# As an environment: without what would be empty, but for the one that a server always sets.
CGI_ENVIRON = CLEAN | {name: value for name, value in META.items() if value or name == 'QUERY_STRING'}

HELLO = '''\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '6')])
    return [b'hello\\n']
'''


class Failed(Exception):
    """Something does not work, and there is no figure; a sentence."""


def fail(sentence):
    raise Failed(sentence)


class Site:
    """Where everything of a run lives; gone, with every process, when the `with` ends."""

    def __init__(self, quick=False, against=None):
        self.quick, self.against = quick, against
        root = os.getuid() == 0
        account = pwd.getpwnam('www-data') if root else pwd.getpwuid(os.getuid())
        self.user, self.uid, self.gid = account.pw_name, account.pw_uid, account.pw_gid
        self.as_user = {'user': self.uid, 'group': self.gid, 'extra_groups': []} if root else {}
        self.servers, self.apps, self.folders = [], [], 0

    def __enter__(self):
        # Where the web server's user can go, and short: the kernel cuts a `#!` line and a socket's path.
        self.place = tempfile.mkdtemp(prefix='polycgi-bench.', dir='/tmp')
        os.chmod(self.place, 0o755)
        try:
            self.install()
        except BaseException:
            shutil.rmtree(self.place)
            raise
        return self

    def __exit__(self, *_):
        self.quiet()
        wait_for(self.is_gone, f'cannot remove {self.place}')
        with contextlib.suppress(OSError):  # other apps of this user's have their places there
            os.rmdir(f'/tmp/polycgi-{self.uid}')

    def is_gone(self):
        """Takes the place away; a process that still leaves may make something in it meanwhile."""
        shutil.rmtree(self.place, ignore_errors=True)
        return not os.path.exists(self.place)

    def quiet(self):
        """Stops whatever was started: daemons and servers."""
        for app in self.apps:
            self.polycgi('stop', app, check=False)
        for server in reversed(self.servers):
            server.stop()
        self.apps, self.servers = [], []

    def install(self):
        prefix = f'{self.place}/prefix'
        self.bin = f'{prefix}/bin'
        run(['make', '-s', '-C', ROOT, 'install', f'PREFIX={prefix}', 'DESTDIR='], 'cannot install polycgi')
        run(['make', '-s', '-C', f'{HERE}/c', f'INTO={self.place}/c'], 'cannot compile')
        if self.against:
            folder = self.make(f'{self.place}/against')
            self.against = shutil.copy(self.against, f'{folder}/polycgi')
            os.chmod(self.against, 0o755)

    def rounds(self, many, few):
        return few if self.quick else many

    def c(self, name):
        return f'{self.place}/c/{name}'

    def cgi2scgi(self, port):
        program = f'{self.place}/c/cgi2scgi-{port}'
        run(['gcc', '-O2', '-w', f'-DPORT={port}', '-o', program, f'{TARGET}/bench/cgi2scgi.c'], 'cannot compile cgi2scgi')
        return program

    def folder(self):
        """A new folder of the user's own."""
        self.folders += 1
        return self.make(f'{self.place}/{self.folders}')

    def make(self, path, mode=0o755):
        """A folder of the user's own at a path; as it is, where it is."""
        os.makedirs(path, exist_ok=True)
        os.chown(path, self.uid, self.gid)
        os.chmod(path, mode)
        return path

    def write(self, path, text, mode=0o644):
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        os.chown(path, self.uid, self.gid)
        os.chmod(path, mode)
        return path

    def script(self, path, text):
        return self.write(path, text, 0o755)

    def app(self, folder, name, text=HELLO, program=None, **keys):
        """Writes the WSGI application `text` as a module and an app file `folder/name` for it. `program`: the polycgi
        that serves it, if it is not the one that is measured. Keys are polycgi's, with `_` for `-`; where they name another kind of app (cgi, scgi, connect), there is no module. What its daemon keeps
        is below the folder."""
        lines = {'runtime-dir': self.make(f'{folder}/run', 0o700), 'spool-dir': self.make(f'{folder}/spool')}
        if not {'cgi', 'scgi', 'connect'} & keys.keys():
            module = f'{name.replace(".", "_").replace("-", "_")}_app'
            self.write(f'{folder}/{module}.py', text)
            lines |= {'wsgi': f'{module}:application', 'python': PYTHON}
        lines |= {name.replace('_', '-'): value for name, value in keys.items()}
        text = ''.join(f'{key} = {value}\n' for key, value in lines.items())
        path = self.script(f'{folder}/{name}', f'#!{program or f"{self.bin}/polycgi"} -\n{text}')
        self.apps.append(path)
        return path

    def serve(self, argv, ready, **options):
        """Starts a server as the user and waits until `ready()`, or until a connection to the address `ready` is
        taken (a path, or host and port). Options are Popen's."""
        server = Server(self, argv, ready, options)
        self.servers.append(server)
        return server

    def polycgi(self, *words, check=True):
        done = subprocess.run([f'{self.bin}/polycgi', *words], env=CLEAN, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, timeout=PATIENCE, **self.as_user)
        if check and done.returncode:
            fail(f'polycgi {" ".join(words)}: {done.stderr.decode(errors="replace").strip()}')
        return done.stdout.decode()

    def status(self, app):
        return json.loads(self.polycgi('status', '--json', app))

    def daemon(self, app):
        return self.status(app)['pid']


class Server:
    """A process of a web or application server: `.pid`, `.log` (the path of its output), `.stop()`."""

    def __init__(self, site, argv, ready, options):
        self.name = os.path.basename(argv[0])
        self.log = f'{site.folder()}/output'
        options = {'env': CLEAN, 'stdin': subprocess.DEVNULL, 'cwd': site.place, **site.as_user, **options}
        with open(self.log, 'wb') as output:
            self.process = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True, **options)
        self.pid = self.process.pid
        condition = ready if callable(ready) else lambda: takes_connections(ready)
        try:
            wait_for(lambda: self.process.poll() is not None or condition(), f'{self.name} does not start')
        except BaseException:
            self.stop()
            raise
        if self.process.returncode is not None:
            fail(f'{self.name} does not start: {self.said()}')

    def said(self):
        with open(self.log, encoding='utf-8', errors='replace') as file:
            return file.read()[-2000:]

    def stop(self, by=signal.SIGTERM):
        """By its pid; what is left of its session after the deadline is killed."""
        if self.process.poll() is None:
            self.process.send_signal(by)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.process.wait(PATIENCE)


def run(argv, otherwise):
    done = subprocess.run(argv, stdout=sys.stderr, check=False)
    if done.returncode:
        fail(otherwise)


def takes_connections(address):
    """A path, or host and port."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        return client.connect_ex(address) == 0


def wait_for(condition, otherwise, patience=PATIENCE):
    """Looks until the condition holds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            fail(otherwise)
        time.sleep(0.02)


def free_address():
    """A loopback address with a port that is free now."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        return listener.getsockname()


def raise_limit(count):
    """The limit of descriptors of this process and of what it starts, after it was raised as far as it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, count), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return min(limit, count)
        except (OSError, ValueError):
            pass
    return min(soft, count)
