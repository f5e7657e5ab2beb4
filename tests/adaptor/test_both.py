# The PEP 3333 list, as a CGI and in the pool: one table, the same answers.

import ast
import hashlib
import os
import time
import unittest

import peer

OK = '200 OK'
OOPS = '500 Internal Server Error'
PAGE = b'failed\n'


def head(status='200 OK', *fields):
    return {'QUERY_STRING': ascii((status, [('Content-Type', 'text/plain'), *fields]))}


# name, application, what the client says, status, message-body, what is in stderr
TABLE = [
    ('one block', 'hello', {}, OK, b'hello\n', ''),
    ('no block', 'nothing', {}, OK, b'', ''),
    ('blocks, some empty', 'generator', {}, OK, b'one two', 'closed'),
    ('start_response() in the iteration', 'late_start', {}, OK, b'late', ''),
    ('write()', 'write', {}, OK, b'one two three', ''),
    ('exc_info before the head is sent', 'exc_info_before', {}, '503 Oops', b'an error page', ''),
    ('exc_info after', 'exc_info_after', {}, OK, b'begun', 'ValueError: too late'),
    ('start_response() twice', 'start_twice', {}, OOPS, PAGE, 'RuntimeError'),
    ('twice, the head was sent', 'start_twice_after', {}, OK, b'begun', 'RuntimeError'),
    ('no start_response()', 'never_start', {}, OOPS, PAGE, 'RuntimeError'),
    ('no start_response() and no block', 'never_start_empty', {}, OOPS, PAGE, 'RuntimeError'),
    ('raises', 'raise_before', {}, OOPS, PAGE, "KeyError: 'before'"),
    ('raises before a block', 'raise_at_first_block', {}, OOPS, PAGE, "KeyError: 'no block yet'"),
    ('raises after one', 'raise_in_mid_iteration', {}, OK, b'begun', "KeyError: 'mid-iteration'"),
    ('close() after an error', 'raise_in_mid_iteration', {}, OK, b'begun', 'closed'),
    ('close() raises', 'raise_in_close', {}, OK, b'whole', "KeyError: 'in close'"),
    ('both raise: the first', 'raise_in_both', {}, OK, b'begun', "KeyError: 'mid-iteration'"),
    ('both raise: the second', 'raise_in_both', {}, OK, b'begun', "KeyError: 'in close'"),
    ('close()', 'closed', {}, OK, b'ab', 'closed'),
    ('GeneratorExit', 'generator_exit', {}, OOPS, PAGE, 'GeneratorExit: odd'),
    ('KeyboardInterrupt', 'keyboard_interrupt', {}, OOPS, PAGE, 'KeyboardInterrupt: odd'),
    ('sys.exit()', 'system_exit', {}, OOPS, PAGE, 'SystemExit: 3'),
    ('sys.exit() after a block', 'system_exit_after', {}, OK, b'begun', 'SystemExit: enough'),
    ('no result', 'returns_none', {}, OOPS, PAGE, 'TypeError'),
    ('text', 'returns_text', {}, OOPS, PAGE, 'TypeError: a block of the response is str, not bytes'),
    ('bytes as the iterable', 'returns_bytes', {}, OOPS, PAGE, 'is int, not bytes'),
    ('HEAD', 'hello', {'REQUEST_METHOD': 'HEAD'}, OK, b'', ''),
    ('HEAD of a generator', 'generator', {'REQUEST_METHOD': 'HEAD'}, OK, b'', 'closed'),
    ('HEAD by write()', 'write', {'REQUEST_METHOD': 'HEAD'}, OK, b'', ''),
    ('HEAD that raises', 'raise_before', {'REQUEST_METHOD': 'HEAD'}, OOPS, b'', 'KeyError'),
    ('204', 'head_of', head('204 No Content'), '204 No Content', b'', ''),
    ('304', 'head_of', head('304 Not Modified'), '304 Not Modified', b'', ''),
    ('Content-Length', 'head_in_blocks', head(OK, ('Content-Length', '10')), OK, b'0123456789',
     'closed'),
    ('... too small', 'head_in_blocks', head(OK, ('Content-Length', '7')), OK, b'0123456',
     'polycgi: wsgi: the message-body has 10 bytes, Content-Length says 7\n'),
    ('... too small, close()', 'head_in_blocks', head(OK, ('Content-Length', '2')), OK, b'01', 'closed'),
    ('... 0', 'head_of', head(OK, ('Content-Length', '0')), OK, b'', 'Content-Length says 0'),
    ('... too large', 'head_of', head(OK, ('Content-Length', '12')), OK, b'0123456789',
     'polycgi: wsgi: the message-body has 10 bytes, Content-Length says 12\n'),
    ('... with HEAD', 'head_of', dict(head(OK, ('Content-Length', '99')), REQUEST_METHOD='HEAD'), OK,
     b'', ''),
    ('... twice', 'head_of', head(OK, ('Content-Length', '9'), ('Content-length', '9')), OOPS, PAGE,
     'ValueError'),
    ('... no number', 'head_of', head(OK, ('Content-Length', '+9')), OOPS, PAGE, 'ValueError'),
    ('a value of two lines', 'head_of', head(OK, ('X-A', 'b\r\nSet-Cookie: c')), OOPS, PAGE,
     'ValueError: a control character'),
    ('a name of two lines', 'head_of', head(OK, ('X-A\n', 'b')), OOPS, PAGE, 'ValueError'),
    ('a name with a space', 'head_of', head(OK, ('X A', 'b')), OOPS, PAGE, 'ValueError'),
    ('a name with a colon', 'head_of', head(OK, ('X:', 'b')), OOPS, PAGE, 'ValueError'),
    ('no name', 'head_of', head(OK, ('', 'b')), OOPS, PAGE, 'ValueError'),
    ('bytes as a value', 'head_of', head(OK, ('X-A', b'b')), OOPS, PAGE, 'TypeError'),
    ('a number as a value', 'head_of', head(OK, ('X-A', 5)), OOPS, PAGE, 'TypeError'),
    ('not latin-1', 'head_of', head(OK, ('X-A', '\u20ac')), OOPS, PAGE, 'UnicodeEncodeError'),
    ('status of two lines', 'head_of', head('200 OK\nX: y'), OOPS, PAGE, 'ValueError'),
    ('status without a reason', 'head_of', head('200'), OOPS, PAGE, 'ValueError'),
    ('status without a number', 'head_of', head('OK 200'), OOPS, PAGE, 'ValueError'),
    ('status of no class', 'head_of', head('600 Odd'), OOPS, PAGE, 'ValueError'),
    ('status as bytes', 'head_of', head(b'200 OK'), OOPS, PAGE, 'TypeError'),
    ('latin-1', 'latin', {'QUERY_STRING': 'na\xefve'}, '200 Tr\xe8s bien', b'/latinna\xefve', ''),
    ('read()', 'read', {'QUERY_STRING': 'body.read()', 'body': b'a\nb\n'}, OK, b"b'a\\nb\\n'", ''),
    ('read(size)', 'read', {'QUERY_STRING': 'body.read(3), body.read(9), body.read(1)', 'body': b'abcde'},
     OK, b"(b'abc', b'de', b'')", ''),
    ('readline()', 'read', {'QUERY_STRING': '[body.readline() for _ in "123"]', 'body': b'a\nb'}, OK,
     b"[b'a\\n', b'b', b'']", ''),
    ('readline(size)', 'read', {'QUERY_STRING': 'body.readline(2), body.readline(9)', 'body': b'abc\nd'},
     OK, b"(b'ab', b'c\\n')", ''),
    ('readlines()', 'read', {'QUERY_STRING': 'body.readlines()', 'body': b'a\n\nb'}, OK,
     b"[b'a\\n', b'\\n', b'b']", ''),
    ('iteration', 'read', {'QUERY_STRING': 'list(body)', 'body': b'a\nb'}, OK, b"[b'a\\n', b'b']", ''),
    ('stops at the length', 'read', {'QUERY_STRING': 'body.read()', 'body': b'abcdef', 'length': 3}, OK,
     b"b'abc'", ''),
    ('lines stop there too', 'read', {'QUERY_STRING': 'list(body)', 'body': b'a\nb\nc', 'length': 3}, OK,
     b"[b'a\\n', b'b']", ''),
    ('no body', 'read', {'QUERY_STRING': 'body.read(), body.readline(), list(body)'}, OK,
     b"(b'', b'', [])", ''),
    ('file_wrapper', 'wrapped', {'QUERY_STRING': 'file'}, OK, (b'0123456789' * 20000)[5:], ''),
    ('... a range', 'wrapped', {'QUERY_STRING': 'range'}, OK, b'3456', ''),
    ('... in memory', 'wrapped', {'QUERY_STRING': 'memory'}, OK, b'in memory', ''),
    ('... a file with a misleading descriptor', 'wrapped', {'QUERY_STRING': 'gzip'}, OK, b'unpacked', ''),
    ('... a pipe', 'wrapped', {'QUERY_STRING': 'pipe'}, OK, b'from a pipe\n', ''),
    ('... read() and close() alone', 'wrapped', {'QUERY_STRING': 'alike'}, OK, b'one two ', 'closed'),
    ('print()', 'prints', {}, OK, b'clean response', 'printed'),
    ('write to fd 1', 'prints', {}, OK, b'clean response', 'written to 1\n'),
    ('write to fd 1 in the iteration', 'prints', {}, OK, b'clean response', 'written between\n'),
    ('a child that writes to fd 1', 'prints', {}, OK, b'clean response', 'from a child\n'),
]

# What a server that is right gets through the validator without a word on stderr.
VALID = ['hello', 'generator', 'write', 'exc_info_before', 'closed', 'digest', 'environ', 'latin']


class Both(peer.Case):
    def test_table(self):
        for way in self.both('pep:application'):
            for name, app, said, status, body, stderr in TABLE:
                said = dict(said)
                for kind in ('pipes', 'socket', 'file') if 'body' in said else ('pipes', 'socket'):
                    with self.subTest(name, way=type(way).__name__, kind=kind):
                        response = self.ask(way, '/' + app, kind=kind, **said)
                        self.assertEqual((response.status, response.body), (status, body), response)
                        self.assertIn(stderr, response.stderr)
                        self.assertEqual(bool(stderr), bool(response.stderr), response)

    def test_validator(self):
        for way in self.both('pep:application'):
            for app in VALID:
                for body in (b'',) if app != 'digest' else (b'', b'x' * 200000):
                    with self.subTest(app, way=type(way).__name__, body=len(body)):
                        plain = self.ask(way, '/' + app, body=body)
                        response = self.ask(way, '/validated/' + app, body=body)
                        self.assertEqual(response.status, plain.status, response)
                        self.assertEqual(response.body.replace(b'InputWrapper', b'BytesIO')
                                         .replace(b'ErrorWrapper', b'TextIOWrapper'), plain.body)
                        self.assertIn(response.stderr, ('', 'closed\n'))

    def test_head_of_one_block(self):
        for way in self.both('pep:application'):
            response = self.ask(way, '/hello')
            self.assertEqual(response.raw, b'Status: 200 OK\r\nContent-Type: text/plain\r\n'
                             b'Content-Length: 6\r\n\r\nhello\n')
            latin = self.ask(way, '/latin')
            self.assertIn(b'\r\nX-Name: caf\xe9\r\n', latin.raw)
            oops = self.ask(way, '/raise_before')
            self.assertIn(('Cache-Control', 'no-store'), oops.fields)
            first = self.ask(way, '/exc_info_before')
            self.assertNotIn('X-First', dict(first.fields))

    def test_fields_that_are_not_for_applications(self):
        """They are dropped; each CGI logs it, and the workers of a generation once."""
        names = ('connection', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'TE', 'Trailer', 'Trailers',
                 'Transfer-Encoding', 'upgrade', 'Status')
        told = 'polycgi: wsgi: dropped a header field that is not for an application to send: %s\n'
        pools = [self.pool('pep:application', preload=preload, modules=modules).up()
                 for preload in (True, False) for modules in (True, False)]
        for way in (self.cgi('pep:application'), *pools):
            for name in names:
                for turn in range(2):
                    said = head(OK, ('X-A', 'b'), (name, 'chunked'), (name, 'b'))
                    response = self.ask(way, '/head_of', **said)
                    self.assertEqual((response.status, response.body), (OK, b'0123456789'))
                    self.assertEqual([field for field in response.fields if field[0] not in ('Status', 'Content-Length')],
                                     [('Content-Type', 'text/plain'), ('X-A', 'b')])
                    first = isinstance(way, peer.Cgi) or not turn
                    self.assertEqual(response.stderr, told % name if first else '')
                    if not isinstance(way, peer.Cgi):  # the next worker knows what this one has logged
                        way.worker.end()
                        way.worker.reap()
                        way.worker = None
            # Where one of them would cut the response, another value is not used either.
            both = head(OK, ('Transfer-Encoding', 'chunked'), ('Content-Length', '10'))
            self.assertEqual(self.ask(way, '/head_of', **both).body, b'0123456789')

    def test_server_timing(self):
        own = {'QUERY_STRING': head(OK, ('Server-Timing', 'db;dur=5'))['QUERY_STRING']}
        ways = (peer.Cgi('pep:application', since='%.3f' % (time.clock_gettime(time.CLOCK_BOOTTIME) - 60)), b'cgi', 60000), \
            (peer.Pool('pep:application', timing=True).up(), b'daemon', 0)
        for way, name, least in ways:
            self.addCleanup(way.close)
            for path, said, before in (('/hello', {}, []), ('/generator', {}, []), ('/head_of', own, ['db;dur=5'])):
                response = self.ask(way, path, **said)
                fields = [value for key, value in response.fields if key == 'Server-Timing']
                self.assertEqual(fields[:-1], before, response)
                self.assertRegex(fields[-1], r'^polycgi;desc="%s";dur=\d+\.\d$' % name.decode())
                self.assertTrue(least <= float(fields[-1].split('=')[-1]) < least + 60000, fields)
        for way in self.both('pep:application'):
            self.assertNotIn(b'Server-Timing', self.ask(way, '/hello').raw)

    def test_traceback_is_the_application_s(self):
        for way in self.both('pep:application'):
            lines = self.ask(way, '/raise_before').stderr.split('\n')
            self.assertEqual(lines[0], "polycgi: wsgi: app: GET /app/raise_before: KeyError: 'before'")
            self.assertEqual(lines[1], 'Traceback (most recent call last):')
            self.assertIn('pep.py', lines[2])

    def test_a_failure_is_told_in_one_line(self):
        """Printable and short, whatever the request and the error are."""
        for way in self.both('pep:application'):
            long = '/raise/' + 'x' * 200
            for said, asked in (({'REQUEST_URI': '/a%20b\xe9\n?secret=1'}, 'GET /a%20b??'),
                                ({'REQUEST_METHOD': 'P\x1b'}, 'P? /app/raises_text'),
                                ({'REQUEST_URI': long}, 'GET ' + long[:200] + '...')):
                said['QUERY_STRING'] = ascii('of\n two\x1b[1m \u20ac \u202e lines' + 'y' * 1000)
                response = self.ask(way, '/raises_text', **said)
                line = response.stderr.split('\n')[0]
                self.assertTrue(line.startswith('polycgi: wsgi: app: %s: ValueError: of two?[1m \u20ac ? linesyy' % asked),
                                line)
                self.assertLess(len(line), 800)
            self.assertIn(': ValueError\n', self.ask(way, '/raises_text', QUERY_STRING="''").stderr)
            # An error that has no text.
            self.assertIn(': Mute\n', self.ask(way, '/raises_mute').stderr)

    def test_what_the_client_may_see(self):
        """The reason and the traceback, escaped and bounded; the daemon is told the same."""
        text = '<b>&"\'\x1b\x9b\xe9\\\u20ac\udc80' + 'y' * 20000
        said = {'QUERY_STRING': ascii(text)}
        shown = self.ask(self.cgi('pep:application', shows=True), '/raises_text', **said)
        reason = shown.body.decode()
        self.assertTrue(reason.startswith('failed(ValueError: <b>&"\'??\xe9\\\u20ac\\udc80yy'), reason[:100])
        self.assertIn('Traceback (most recent call last):\n', reason)
        self.assertIn('\n...\n', reason)
        self.assertTrue(reason.endswith('yyy)\n'), reason[-20:])
        self.assertLess(len(reason), 8100)
        self.assertIn(('Content-Length', str(len(shown.body))), shown.fields)
        hidden = self.ask(self.cgi('pep:application'), '/raises_text', **said)
        self.assertEqual(hidden.body, PAGE)
        head = self.ask(self.cgi('pep:application', shows=True), '/raises_text', REQUEST_METHOD='HEAD', **said)
        self.assertEqual((head.body, dict(head.fields)), (b'', dict(shown.fields)))
        pool = self.pool('pep:application').up()
        self.ask(pool, '/raises_text', **said)
        self.assertEqual('failed(%s)\n' % pool.turn.raised.replace('\x1b', '?').replace('\x9b', '?'), reason)
        for form, escaped in (
                ('text/html', '(ValueError: &lt;b&gt;&amp;&quot;&#39;??\xe9\\\u20ac\\udc80yy'),
                ('application/json', '("ValueError: <b>&\\"\'\\u001b\\u009b\xe9\\\\\u20ac\\\\udc80yy')):
            shown = self.ask(self.cgi('pep:application', shows=True, form=form), '/raises_text', **said)
            self.assertIn(escaped, shown.body.decode())
            self.assertIn(('Content-Length', str(len(shown.body))), shown.fields)
        # Once the response has begun nothing is added to it.
        begun = self.ask(self.cgi('pep:application', shows=True), '/raise_in_mid_iteration')
        self.assertEqual(begun.body, b'begun')

    def test_environ(self):
        said = {'HTTPS': 'on', 'HTTP_X_UTF8': 'caf\xc3\xa9', 'CONTENT_TYPE': 'text/plain',
                'POLYCGI': '1', 'REMOTE_USER': '', 'HTTP_CONTENT_LENGTH': '0',
                'HTTP_CONTENT_TYPE': 'x'}
        environs = []
        for way in self.both('pep:application'):
            environ, plain = ast.literal_eval(self.ask(way, '/environ', **said).body.decode())
            self.assertTrue(plain, 'not a dict')
            self.assertEqual(environ.pop('wsgi.run_once'), way.run_once)
            environs.append(environ)
        self.assertEqual(environs[0], environs[1])
        self.assertEqual(environ, {
            'REQUEST_METHOD': 'GET', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '/app', 'PATH_INFO': '/environ',
            'QUERY_STRING': '', 'HTTPS': 'on', 'HTTP_X_UTF8': 'caf\xc3\xa9',
            'CONTENT_TYPE': 'text/plain', 'REMOTE_USER': '', 'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'https', 'wsgi.input': 'BytesIO', 'wsgi.input_terminated': True,
            'wsgi.errors': 'TextIOWrapper', 'wsgi.file_wrapper': 'function', 'wsgi.multithread': False,
            'wsgi.multiprocess': True})

    def test_environ_lacks(self):
        for way in self.both('pep:application'):
            response = self.ask(way, '/environ', SCRIPT_NAME=None, QUERY_STRING=None)
            environ, _ = ast.literal_eval(response.body.decode())
            self.assertEqual((environ['SCRIPT_NAME'], environ['QUERY_STRING']), ('', ''))
            self.assertNotIn('CONTENT_LENGTH', environ)
            response = self.ask(way, '/environ', CONTENT_LENGTH='0', HTTP_TRANSFER_ENCODING='chunked')
            environ, _ = ast.literal_eval(response.body.decode())
            self.assertEqual(environ['CONTENT_LENGTH'], '0')
            self.assertNotIn('HTTP_TRANSFER_ENCODING', environ)

    def test_server_without_a_name(self):
        for way in self.both('pep:application'):
            for said, expected in (({'HTTP_HOST': 'a.example:8080'}, ('a.example', '8080')),
                                   ({'HTTP_HOST': 'a.example', 'HTTPS': 'on'}, ('a.example', '443')),
                                   ({'HTTP_HOST': '[::1]'}, ('[::1]', '80')),
                                   ({'SERVER_NAME': 'own.example'}, ('own.example', '80')),
                                   ({}, ('localhost', '80'))):
                said = {'SERVER_NAME': None, 'SERVER_PORT': '', **said}
                environ, _ = ast.literal_eval(self.ask(way, '/environ', **said).body.decode())
                self.assertEqual((environ['SERVER_NAME'], environ['SERVER_PORT']), expected)

    def test_url_scheme(self):
        for way in self.both('pep:application'):
            for said, scheme in (({}, 'http'), ({'HTTPS': '1'}, 'https'), ({'HTTPS': 'off'}, 'http'),
                                 ({'REQUEST_SCHEME': 'https'}, 'https'),
                                 ({'REQUEST_SCHEME': 'http'}, 'http')):
                environ, _ = ast.literal_eval(self.ask(way, '/environ', **said).body.decode())
                self.assertEqual(environ['wsgi.url_scheme'], scheme, said)

    def test_process(self):
        for way in self.both('pep:application'):
            seen = ast.literal_eval(self.ask(way, '/process').body.decode())
            self.assertEqual(seen, {
                'main': ['__doc__', '__loader__', '__name__', '__package__', '__spec__'],
                'argv': ['pep'], 'path': peer.APPS, 'empty': False, 'stdin': '', 'cwd': peer.APPS,
                'environ': peer.ENVIRON})

    def test_safe_path(self):
        env = dict(peer.ENVIRON, PYTHONSAFEPATH='1')
        for way in self.cgi('pep:application', env=env), self.pool('pep:application', env=env).up():
            seen = ast.literal_eval(self.ask(way, '/process').body.decode())
            self.assertEqual(seen['path'], peer.APPS)

    def test_echo(self):
        body = os.urandom(1 << 20) * 5
        for way in self.both('pep:application'):
            for kind in 'pipes', 'socket', 'file':
                response = self.ask(way, '/echo', body=body, kind=kind)
                self.assertEqual(hashlib.sha256(response.body).digest(), hashlib.sha256(body).digest())

    def test_digest(self):
        body = os.urandom(1 << 20) * 5
        expected = '%d %s' % (len(body), hashlib.sha256(body).hexdigest())
        for way in self.both('pep:application'):
            for kind in 'pipes', 'socket', 'file':
                response = self.ask(way, '/digest', body=body, kind=kind)
                self.assertEqual(response.body.decode(), expected)

    def test_large_response(self):
        for way in self.both('pep:application'):
            for kind in 'pipes', 'socket':
                body = self.ask(way, '/large', QUERY_STRING='50', kind=kind).body
                self.assertEqual(len(body), 50 << 20)
                self.assertEqual(body[::1 << 20], bytes(range(50)))

    def test_short_body(self):
        for way in self.both('pep:application'):
            client = self.client(b'abc', length=10)
            way.start(client, {'PATH_INFO': '/read', 'QUERY_STRING': 'body.read()',
                               'CONTENT_LENGTH': '10'})
            client.talk(until=b'') or os.write(client.to, b'abc')
            os.close(client.to)
            client.to = -1
            client.body = client.body[:0]
            raw = client.talk()
            stderr = way.finish().decode()
            self.assertIn(b'Status: 500 ', raw)
            self.assertIn('the message-body ended 7 bytes early', stderr)

    def test_application_closes_what_it_prints_to(self):
        for way in self.both('pep:application'):
            for _ in range(2):
                self.assertEqual(self.ask(way, '/closes_stdout').body, b'no stdout')
            self.assertEqual(self.ask(way, '/hello').body, b'hello\n')

    def test_application_closes_stderr(self):
        for way in self.both('pep:application'):
            self.assertEqual(self.ask(way, '/closes_stderr_object').body, b'no stderr')
            self.assertEqual(self.ask(way, '/raises_without_stderr').body, PAGE)

    def test_application_exits(self):
        for way in self.both('pep:application'):
            response = self.ask(way, '/os_exit')
            self.assertEqual((response.raw, os.WEXITSTATUS(way.status) or way.status), (b'', 9))

    def test_grammar_of_python_3_8(self):
        ast.parse(peer.CGI_SOURCE, feature_version=(3, 8))
        tree = ast.parse(peer.SOURCE, feature_version=(3, 8))
        later = [ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'LATER']
        self.assertEqual([list(parts) for parts in later], [['streams', 'late']])
        for text in later[0].values():
            ast.parse(text, feature_version=(3, 8))
        with self.assertRaises(SyntaxError):  # shown to fail: this is syntax of 3.10
            ast.parse('match x:\n    case 1: pass\n', feature_version=(3, 8))


if __name__ == '__main__':
    unittest.main()
