# What ps, top and pgrep show of the adaptor's processes: /proc/PID/cmdline and comm.

import os
import tempfile

import peer

APP = '''
import os
%s

def application(environ, start_response):
    %s
    start_response('200 OK', [('Content-Type', 'text/plain')])
    found = []
    for name in 'cmdline', 'comm':
        with open('/proc/self/' + name, 'rb') as file:
            found.append(file.read())
    return [b"\\1".join(found)]
'''
SETS = '''
with open('/proc/self/stat', 'rb') as file:
    start = int(file.read().rpartition(b')')[2].split()[45])
fd = os.open('/proc/self/mem', os.O_RDWR)
os.pwrite(fd, b'a title of its own\\\\0', start)
os.close(fd)
with open('/proc/self/comm', 'wb') as file:
    file.write(b'its own')
'''


def shown(pid):
    found = []
    for name in 'cmdline', 'comm':
        with open('/proc/%d/%s' % (pid, name), 'rb') as file:
            found.append(file.read())
    return tuple(found)


class Named(peer.Case):
    def write(self, at_import='', at_request='', **files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        files['named'] = APP % (at_import, at_request)
        for name, text in files.items():
            path = '%s/%s.py' % (folder.name, name.replace('_', '/', 1) if '_' in name else name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as file:
                file.write(text)
        return folder.name

    def seen(self, way):
        """The command line and the comm that the application sees of its own process."""
        response = self.ask(way)
        self.assertEqual((response.status, response.stderr), ('200 OK', ''))
        return tuple(response.body.split(b'\1'))

    def test_each_process_is_named(self):
        folder = self.write()
        self.assertEqual(self.seen(self.cgi('named:application', folder=folder)),
                         (b'polycgi: app cgi\0', b'app:cgi\n'))
        for preload in True, False:
            pool = self.pool('named:application', folder=folder, preload=preload).up()
            self.assertEqual(shown(pool.process.pid), (b'polycgi: app zygote\0', b'app:zygote\n'))
            self.assertEqual(self.seen(pool), (b'polycgi: app worker\0', b'app:worker\n'))

    def test_the_application_s_title_stays(self):
        folder = self.write(at_import=SETS.replace('\\\\0', '\\0'))
        self.assertEqual(self.seen(self.cgi('named:application', folder=folder)), (b'a title of its own\0', b'its own\n'))
        pool = self.pool('named:application', folder=folder).up()
        self.assertEqual(self.seen(pool), (b'a title of its own\0', b'its own\n'))

    def test_a_loader_may_have_a_path_that_is_no_str(self):
        """Nor does a folder of that name stand for the package."""
        loads = 'import importlib.machinery as im, pathlib\n' \
                'im.SourceFileLoader("other", pathlib.Path(__file__)).get_code("other")'
        folder = self.write(at_import=loads)
        for way in self.cgi('named:application', folder=folder), self.pool('named:application', folder=folder).up():
            self.assertTrue(self.seen(way)[0].startswith(b'polycgi: app '))

    def test_a_package_that_searches_memory_finds_it(self):
        """setproctitle looks for the words of the command line before the environment."""
        look = 'with open("/proc/self/cmdline", "rb") as file: words = file.read().split(b"\\0")\n'
        for when in 'at_import', 'at_request':
            folder = self.write(**{when: 'import setproctitle'},
                                setproctitle___init__=look + 'assert words[1] == b"-c" and words[-1] == b"", words[:3]\n')
            for way in self.cgi('named:application', folder=folder), self.pool('named:application', folder=folder).up():
                line, _ = self.seen(way)
                self.assertEqual(line.split(b'\0')[:2], [os.fsencode(peer.PYTHON), b'-c'])
