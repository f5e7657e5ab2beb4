"""The WSGI application that the tests serve: what each route does, and nothing about how it is served.

`application` is the routes under wsgiref.validate, which raises where the server or a route breaks
PEP 3333. `bare` is the same without it, for what the validator hides from the server (the identity of
wsgi.file_wrapper's result).

A route that must wait does so at a gate and never for a time: two FIFOs beside this file, NAME.entered,
which tells the test that the request is in the application, and NAME.go, which the test writes to.
"""

import hashlib
import json
import os
import re
import sys
from wsgiref.validate import validator

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = 65536


def text(start_response, body, status='200 OK', fields=()):
    """Answers with a line or more of text."""
    body = body.encode('utf-8')
    start_response(status, [('Content-Type', 'text/plain; charset=utf-8'), ('Content-Length', str(len(body)))]
                   + list(fields))
    return [body]


def query(environ):
    """The query string's `name=value` pairs, as they are written: the tests send no others."""
    return dict(pair.partition('=')[::2] for pair in environ.get('QUERY_STRING', '').split('&'))


def pass_gate(name):
    """Writes its pid to the gate, then waits until the test lets one request pass."""
    if not re.match('^[a-z]+$', name):
        raise ValueError('not the name of a gate: %r' % name)
    with open(os.path.join(HERE, name + '.entered'), 'w') as entered:
        entered.write('%d\n' % os.getpid())
    # Unbuffered: one byte lets one request on, and a buffered read would take its neighbours'.
    with open(os.path.join(HERE, name + '.go'), 'rb', buffering=0) as go:
        go.read(1)


def digest(environ, start_response):
    """The message-body's digest and length, read to its end in blocks."""
    sha256, length = hashlib.sha256(), 0
    while True:
        block = environ['wsgi.input'].read(BLOCK)
        if not block:
            break
        sha256.update(block)
        length += len(block)
    return text(start_response, '%s %d\n' % (sha256.hexdigest(), length))


def blocks(size):
    """`size` bytes, in blocks that each begin with their own number, so that none can be lost or moved."""
    for number in range(0, size, BLOCK):
        block = b'%015d\n' % (number // BLOCK) + b'.' * (BLOCK - 16)
        yield block[:size - number]


def big(environ, start_response):
    """`?size=BYTES` of body in blocks, with its length in the head."""
    size = int(query(environ)['size'])
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', str(size))])
    return blocks(size)


def stream(environ, start_response):
    """A first line, then a gate (`?gate=NAME`), then a second line; no length in the head."""
    start_response('200 OK', [('Content-Type', 'text/plain')])

    def lines():
        yield b'first\n'
        pass_gate(query(environ)['gate'])
        yield b'second\n'
    return lines()


def hold(environ, start_response):
    """Answers with its process's id once the gate is passed."""
    pass_gate(query(environ)['gate'])
    return text(start_response, '%d\n' % os.getpid())


def mark(environ, start_response):
    """Leaves a line `NAME cgi` or `NAME daemon` in the file `marks` (`?name=NAME`), and answers with it."""
    line = '%s %s\n' % (query(environ)['name'], 'cgi' if environ['wsgi.run_once'] else 'daemon')
    with open(os.path.join(HERE, 'marks'), 'a') as marks:
        marks.write(line)
    return text(start_response, line)


def start_helper(environ, start_response):
    """Starts a process that waits at a gate (`?gate=NAME`), and answers without it."""
    name = query(environ)['gate']
    # Here, since it takes long to import and a CGI would pay for it each time.
    import subprocess
    subprocess.Popen(['/bin/sh', '-c', 'echo $$ >"$0.entered"; read line <"$0.go"', name], cwd=HERE,
                     stdin=subprocess.DEVNULL)
    return text(start_response, 'started\n')


def status(environ, start_response):
    """The status named by the path's last part, with a body where it may have one."""
    code = environ['PATH_INFO'].rpartition('/')[2]
    reason = {'200': 'OK', '204': 'No Content', '304': 'Not Modified', '404': 'Not Found',
              '418': "I'm a teapot", '503': 'Service Unavailable'}[code]
    if code in ('204', '304'):
        start_response('%s %s' % (code, reason), [('X-Test', 'no body')])
        return []
    return text(start_response, 'status %s\n' % code, '%s %s' % (code, reason))


def redirect(environ, start_response):
    """A client redirect, to an absolute URI."""
    return text(start_response, 'elsewhere\n', '302 Found', [('Location', 'http://elsewhere.example/there?a=b')])


def redirect_path(environ, start_response):
    """A client redirect to a path: a status of its own keeps the web server from following it."""
    return text(start_response, 'elsewhere\n', '303 See Other', [('Location', environ['SCRIPT_NAME'] + '/hello')])


def redirect_local(environ, start_response):
    """A local redirect (RFC 3875 6.2.2), which the web server answers by itself."""
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Location', environ['SCRIPT_NAME'] + '/hello')])
    return []


def cookies(environ, start_response):
    """Two cookies, each in a field of its own (RFC 6265 3: they can't be folded into one)."""
    return text(start_response, 'cookies\n', fields=[('Set-Cookie', 'a=1; Path=/'), ('Set-Cookie', 'b=2, 3')])


def dump(environ, start_response):
    """environ, and os.environ, as sorted lines of JSON pairs; objects by what they can do."""
    def shown(value):
        if isinstance(value, (str, bool, tuple)):
            return value
        return 'callable' if callable(value) else 'readable' if hasattr(value, 'read') else 'object'
    lines = [json.dumps([name, shown(value)]) for name, value in environ.items()]
    lines += [json.dumps(['os.environ ' + name, value]) for name, value in os.environ.items()]
    return text(start_response, ''.join(line + '\n' for line in sorted(lines)))


def unread(environ, start_response):
    """200 kB of answer, and not a byte of the message-body read."""
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', '200000')])
    return blocks(200000)


def writer(environ, start_response):
    """The older way of PEP 3333: write(), then the iterable."""
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    write(b'written\n')
    return [b'returned\n']


def wrapped(environ, start_response):
    """A file by wsgi.file_wrapper: this one."""
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return environ['wsgi.file_wrapper'](open(os.path.abspath(__file__), 'rb'), 8192)


def printing(environ, start_response):
    """Prints to stdout, which must not get into the response."""
    print('printed by the application')
    return text(start_response, 'not printed\n')


def complain(environ, start_response):
    """A line to each of the two error streams."""
    environ['wsgi.errors'].write('a line to wsgi.errors\n')
    sys.stderr.write('a line to stderr\n')
    return text(start_response, 'complained\n')


def crash(environ, start_response):
    """Ends the process before the head."""
    os._exit(3)


def crash_late(environ, start_response):
    """Ends the process after the first block of the body."""
    start_response('200 OK', [('Content-Type', 'text/plain')])

    def lines():
        yield b'first\n'
        os._exit(3)
    return lines()


def broken(environ, start_response):
    """Raises before the head."""
    raise RuntimeError('the application is broken on purpose')


def broken_late(environ, start_response):
    """Raises after the first block of the body."""
    start_response('200 OK', [('Content-Type', 'text/plain')])

    def lines():
        yield b'first\n'
        raise RuntimeError('the application is broken late on purpose')
    return lines()


def hello(environ, start_response):
    """A line that names the process, so that a test sees which one answered."""
    return text(start_response, 'hello from %d\n' % os.getpid())


ROUTES = {
    'big': big, 'broken': broken, 'broken-late': broken_late, 'complain': complain, 'cookies': cookies,
    'crash': crash, 'crash-late': crash_late, 'digest': digest, 'dump': dump, 'hello': hello, 'helper': start_helper,
    'hold': hold,
    'mark': mark, 'print': printing, 'redirect': redirect, 'redirect-local': redirect_local,
    'redirect-path': redirect_path, 'status': status, 'stream': stream, 'unread': unread, 'wrapped': wrapped,
    'writer': writer,
}


def bare(environ, start_response):
    """The routes, by the first part of PATH_INFO; without one, hello."""
    name = (environ.get('PATH_INFO', '') + '/').split('/')[1]
    route = ROUTES.get(name or 'hello')
    if route is None:
        return text(start_response, 'no such route\n', '404 Not Found')
    return route(environ, start_response)


application = validator(bare)
