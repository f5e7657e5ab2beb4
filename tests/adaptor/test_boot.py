# What a CGI's interpreter is given (src/app/boot.py): where it gets the adaptor's code from, and what it trusts.

import _imp
import glob
import marshal
import os
import resource
import subprocess
import sys
import tempfile
import unittest

import peer

BOOT = peer.source('boot').replace('KEEP.PY', peer.source('keep'))
ASK = ('import importlib.util as it, sys; '
       'print("%s-%d" % (sys.implementation.cache_tag, int.from_bytes(it.MAGIC_NUMBER[:2], "little")))')
NAME = 'adaptor-' + subprocess.check_output([peer.PYTHON, '-c', ASK]).decode().strip()
DIGEST = '0123456789abcdef'
APP = '''
import os

def application(environ, start_response):
    if environ['PATH_INFO'] == '/raise':
        raise KeyError('on purpose')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'from the app\\n']
'''
MARKED = 'import os; os.write(1, b"from the file")'
IS_ROOT = os.geteuid() == 0


class Boot(peer.Case):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.place = folder.name, folder.name + '/place'
        os.mkdir(self.place, 0o700)
        with open(self.folder + '/booted.py', 'w') as file:
            file.write(APP)

    def run_it(self, path='/', place=None, digest=DIGEST, source=peer.CGI_SOURCE, options=(), **more):
        """The CGI's standard output and error."""
        data = source.encode()
        header = os.memfd_create('header')
        os.write(header, data + peer.netstring({'PATH_INFO': path, 'REQUEST_METHOD': 'GET'})
                 + peer.pages())
        os.lseek(header, len(data), os.SEEK_SET)
        ran = subprocess.run(
            [peer.PYTHON, *options, '-c', BOOT, 'cgi', 'app', 'booted:application', self.folder, str(header), digest,
             str(len(data)), self.place if place is None else place],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[header],
            env=peer.ENVIRON, cwd=self.folder, **more)
        os.close(header)
        return ran.stdout, ran.stderr.decode()

    def file(self):
        """The one file in the place."""
        found, = glob.glob(self.place + '/*')
        return found

    def write(self, data, digest=DIGEST):
        """Makes the file what a boot with this code would leave."""
        data = digest.encode() + data
        with open(self.file(), 'wb') as file:
            file.write(_imp.source_hash(0, data) + data)

    def plant(self):
        self.answers()
        self.write(marshal.dumps(compile(MARKED, 'planted', 'exec')))

    def answers(self, **options):
        out, err = self.run_it(**options)
        self.assertTrue(out.endswith(b'\r\n\r\nfrom the app\n'), out)
        self.assertEqual(err, '')

    def is_used(self):
        out, err = self.run_it()
        self.assertEqual(err, '')
        return out == b'from the file'

    def test_code_is_kept_and_used(self):
        self.answers()
        found = os.stat(self.file())
        self.assertEqual(found.st_mode, 0o100600)
        self.answers()
        self.assertEqual(os.stat(self.file()).st_ino, found.st_ino)

    @unittest.skipUnless(peer.PYTHON == sys.executable, 'marshal must be the same')
    def test_what_is_trusted(self):
        self.plant()
        self.assertTrue(self.is_used())
        for mode in 0o620, 0o602, 0o640, 0o666:
            os.chmod(self.file(), mode)
            self.assertFalse(self.is_used(), oct(mode))
            self.plant()
        os.rename(self.file(), self.folder + '/elsewhere')
        os.symlink(self.folder + '/elsewhere', self.place + '/' + NAME)
        self.assertFalse(self.is_used())

    @unittest.skipUnless(IS_ROOT, 'only root can give a file away')
    def test_another_owner_s(self):
        self.plant()
        os.chown(self.file(), 1, -1)
        self.assertFalse(self.is_used())

    def test_of_another_adaptor(self):
        """It is replaced, and one file is left."""
        self.answers(digest='f' * 16)
        first = os.stat(self.file()).st_ino
        self.answers()
        second = os.stat(self.file()).st_ino
        self.assertNotEqual(first, second)
        self.answers()
        self.assertEqual(os.stat(self.file()).st_ino, second)

    def test_damaged(self):
        self.answers()
        with open(self.file(), 'rb') as file:
            whole = file.read()
        damaged = [b'', whole[:7], whole[:24], whole[:-1], whole + b' ', b'\xff' * (2 << 20)]
        for at in 0, 8, 24, 30, len(whole) // 2, len(whole) - 1:
            damaged.append(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1:])
        for data in damaged:
            with open(self.file(), 'wb') as file:
                file.write(data)
            self.answers()
            with open(self.file(), 'rb') as file:
                self.assertEqual(len(file.read()), len(whole), 'it was replaced')
        os.unlink(self.file())
        os.mkfifo(self.place + '/' + NAME, 0o600)
        self.answers()

    def test_what_was_left_half_written(self):
        with open(self.place + '/' + NAME + '.new', 'wb') as file:
            file.write(b'half')
        self.answers()
        self.assertNotIn('.new', self.file())

    def test_places_that_keep_nothing(self):
        for place in '', self.folder + '/missing', self.folder + '/booted.py', '/proc':
            self.answers(place=place)
        self.answers(options=['-B'])
        self.assertEqual(os.listdir(self.place), [])
        self.answers(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
        self.assertEqual(os.listdir(self.place), [])
        with open(self.place + '/' + NAME, 'w'):
            pass
        os.mkdir(self.place + '/' + NAME + '.new')
        self.answers()

    def test_a_traceback_is_the_application_s(self):
        for _ in range(2):
            out, err = self.run_it('/raise')
            self.assertTrue(out.startswith(b'Status: 500 '), out)
            self.assertNotIn('<string>', err)
            self.assertIn('booted.py", line 6, in application', err)
            self.assertTrue(err.endswith("KeyError: 'on purpose'\n"), err)
