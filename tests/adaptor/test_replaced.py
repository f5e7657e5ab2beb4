# Applications that replace functions which the adaptor might call, or have modules with the names of those it imports.

import ast
import os
import signal
import subprocess
import tempfile

import peer

SHADOW = """
import %s

SEEN = {name: hasattr(sys.modules[name], 'OWN') for name in %r}


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    block = repr(SEEN).encode()
    return [block + environ['wsgi.input'].read()] + [b' ' * 1000000] * 4
"""
# As if a script in that folder were run.
PLAIN = """
import sys
sys.path[:] = [sys.argv[1]] + [place for place in sys.path if place]
import shadow
print(shadow.SEEN)
"""


def part(name):
    return ast.parse(peer.source(name))


class Replaced(peer.Case):
    def ways(self):
        yield self.cgi('hostile:application')
        for preload in True, False:
            yield self.pool('hostile:application', preload=preload).up()

    def test_the_fault_can_be_seen(self):
        for way in self.ways():
            response = self.ask(way, '/planted')
            self.assertIn('the adaptor called builtins.len', response.stderr)
            self.assertEqual(response.status, '500 Internal Server Error')

    def test_requests(self):
        body = os.urandom(1 << 20) * 3
        for way in self.ways():
            for path, said, expected in (('/', b'', None), ('/lazy', b'', None), ('/forks', b'', None),
                                         ('/large', b'', b'x' * 8000000), ('/echo', body, body),
                                         ('/large', body, b'x' * 8000000)):
                for kind in 'pipes', 'socket', 'file':
                    with self.subTest(path, way=type(way).__name__, kind=kind):
                        response = self.ask(way, path, said, kind)
                        self.assertEqual((response.status, response.stderr), ('200 OK', ''))
                        if expected is None:
                            self.assertGreater(int(response.body), 500)
                        else:
                            self.assertTrue(response.body == expected)
            response = self.ask(way, '/raises')
            self.assertEqual(response.status, '500 Internal Server Error')
            self.assertIn("KeyError: 'of the application'", response.stderr)
            self.assertNotIn('the adaptor called', response.stderr)
            if isinstance(way, peer.Pool):
                self.assertEqual(way.look(), [])
                self.assertEqual(way.said(), '')

    def test_a_request_that_is_overdue(self):
        way = self.cgi('hostile:application', timeout=1, shows=True)
        response = self.ask(way, '/stuck')
        self.assertEqual(response.status, '504 Gateway Timeout')
        sentence = 'request-timeout: the app did not answer in time'
        self.assertTrue(response.body.startswith(b'too late(%s\n\nThread (' % sentence.encode()), response.body)
        self.assertRegex(response.body, rb'hostile.py", line \d+ in application')
        self.assertIn('polycgi: wsgi: app: GET /app/stuck: %s\n' % sentence, response.stderr)
        self.assertRegex(response.stderr, r'hostile.py", line \d+ in application')
        self.assertNotIn('the adaptor called', response.stderr)

    def test_workers_end(self):
        for preload in True, False:
            pool = self.pool('hostile:application', preload=preload).up()
            self.assertEqual(self.ask(pool, '/').status, '200 OK')
            os.kill(pool.worker.pid, signal.SIGTERM)
            self.assertEqual((pool.worker.hear(), pool.worker.reap()), (None, 0))
            self.assertEqual(pool.worker.said(), b'')
            pool.channel.close()
            self.assertEqual((pool.process.wait(), pool.said()), (0, ''))

    def test_a_slow_client(self):
        """What waits in the spool."""
        for preload in True, False:
            pool = self.pool('hostile:application', preload=preload, patience=0).up()
            for kind in 'pipes', 'socket':
                client = self.client(kind=kind)
                pool.start(client, {'PATH_INFO': '/large'})
                while 'spooled' not in pool.turn.words:  # the client does not read
                    pool.turn.join(0.005)
                response = peer.Response(client.talk(), pool.finish())
                self.assertEqual((len(response.body), response.stderr), (8000000, ''))


class Shadowed(peer.Case):
    """Modules of the application's own with the name of one that the adaptor imports."""

    def names(self):
        found = set()
        for name in peer.PARTS:
            for node in ast.walk(part(name)):
                if isinstance(node, ast.Import):
                    found.update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    found.add(node.module)
                elif isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'c_module':
                    found.add(ast.literal_eval(node.args[0]))
        self.assertLessEqual({'os', 'mmap', 'resource', 'fcntl', 'select', '_socket'}, found | {'os'})
        return sorted(found)

    def test_imports_stand_at_the_head(self):
        for name in peer.PARTS:
            tree = part(name)
            for node in ast.walk(tree):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    self.assertIn(node, tree.body, '%s: line %d' % (name, node.lineno))
                    self.assertNotIn(name, ('streams', 'late'))

    def folder(self, names):
        """With an application that imports such modules of its own."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        files = {name: 'OWN = True\n' for name in names}
        files['shadow'] = SHADOW % (', '.join(['sys', *names]), names)
        for name, text in files.items():
            with open(os.path.join(folder.name, name + '.py'), 'w') as file:
                file.write(text)
        return folder.name

    def test_modules_of_these_names(self):
        """The application gets the modules that a plain script would get, the adaptor those of the standard library."""
        names = self.names()
        started = ast.literal_eval(self.run_python('import sys; print(sorted(sys.modules))'))
        for by_path in False, True:  # the interpreter itself can't start if PYTHONPATH has these
            here = [name for name in names if not by_path or name not in started]
            folder = self.folder(here)
            for more in ({'PYTHONPATH': folder},) if by_path else ({}, {'PYTHONSAFEPATH': '1'}):
                env = dict(peer.ENVIRON, **more)
                expected = ast.literal_eval(self.run_python(PLAIN, folder, env=env))
                self.assertTrue(expected['resource'] and expected['mmap'], expected)
                self.look_at(folder, env, expected)

    def look_at(self, folder, env, expected):
        options = {'env': env, 'folder': folder}
        for way in (self.cgi('shadow:application', **options), self.pool('shadow:application', **options).up(),
                    self.pool('shadow:application', preload=False, patience=0, **options).up()):
            for body in b'', b'-' * 1000000:
                for kind in 'pipes', 'socket':
                    response = self.ask(way, body=body, kind=kind)
                    self.assertEqual((response.status, response.stderr), ('200 OK', ''))
                    self.assertEqual(ast.literal_eval(response.body.rstrip(b' -').decode()), expected)
        check = subprocess.run([peer.PYTHON, '-c', peer.TRIAL_SOURCE, 'import', 'app', 'shadow:application', folder, '2'],
                               env=env, cwd=folder, stderr=subprocess.PIPE)
        facts = check.stderr.decode()
        self.assertRegex(facts, r'\Apython \S+ \S+\nimported\nkind wsgi\n\Z')
        self.assertEqual(check.returncode, 0)

    def run_python(self, source, *words, env=peer.ENVIRON):
        ran = subprocess.run([peer.PYTHON, '-c', source, *words], env=env, stdout=subprocess.PIPE, check=True)
        return ran.stdout.decode()

    def test_the_application_sees_no_module_of_ours(self):
        builtin, plain = ast.literal_eval(self.run_python(
            'import sys; print((set(sys.builtin_module_names), set(sys.modules)))'))
        for way in self.both('bare:application'):
            for body in b'', b'x' * 300000:
                seen = ast.literal_eval(self.ask(way, body=body).body.decode())
                self.assertEqual(set(seen) - plain - builtin, {'bare'})
