# One application for each line of PEP 3333 that a server can get wrong; PATH_INFO names it.

import ast
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from wsgiref.validate import validator

TEXT = [('Content-Type', 'text/plain')]
APPS = {}


def app(function):
    APPS['/' + function.__name__] = function
    return function


def application(environ, start_response):
    environ = dict(environ)
    path = environ['PATH_INFO']
    if path.startswith('/validated/'):
        environ['PATH_INFO'] = path = path[len('/validated'):]
        return validator(APPS[path])(environ, start_response)
    return APPS[path](environ, start_response)


class Closing:
    """An iterable whose close() notes that it was called, and may fail."""

    def __init__(self, environ, blocks, error=None):
        self.errors, self.blocks, self.error = environ['wsgi.errors'], blocks, error

    def __iter__(self):
        return iter(self.blocks)

    def close(self):
        self.errors.write('closed\n')
        if self.error:
            raise self.error


@app
def hello(environ, start_response):
    start_response('200 OK', TEXT)
    return [b'hello\n']


@app
def nothing(environ, start_response):
    start_response('200 OK', TEXT)
    return []


@app
def generator(environ, start_response):
    start_response('200 OK', TEXT)
    try:
        yield b''
        yield b'one '
        yield b''
        yield b'two'
    finally:
        environ['wsgi.errors'].write('closed\n')


@app
def late_start(environ, start_response):
    yield b''
    start_response('200 OK', TEXT)
    yield b'late'


@app
def write(environ, start_response):
    say = start_response('200 OK', TEXT)
    say(b'one ')
    say(b'')
    say(b'two ')
    return [b'three']


@app
def stale_write(environ, start_response):
    """Calls write() of a request that is over: it must not reach the next client."""
    say = APPS.get('say')
    if say:
        try:
            say(b'from the past')
        except OSError:
            pass  # as good as no write
    if environ['QUERY_STRING'] == 'exit':
        os._exit(3)
    APPS['say'] = start_response('200 OK', TEXT)
    return [b'present']


@app
def exc_info_before(environ, start_response):
    start_response('200 OK', TEXT + [('X-First', 'yes')])
    yield b''
    try:
        raise ValueError('a page that went wrong')
    except ValueError:
        start_response('503 Oops', TEXT, sys.exc_info())
    yield b'an error page'


@app
def exc_info_after(environ, start_response):
    start_response('200 OK', TEXT)
    yield b'begun'
    try:
        raise ValueError('too late for a page')
    except ValueError:
        start_response('503 Oops', TEXT, sys.exc_info())
    yield b'never'


@app
def start_twice(environ, start_response):
    start_response('200 OK', TEXT)
    start_response('201 Created', TEXT)
    return [b'never']


@app
def start_twice_after(environ, start_response):
    start_response('200 OK', TEXT)
    yield b'begun'
    start_response('201 Created', TEXT)
    yield b'never'


@app
def never_start(environ, start_response):
    return [b'never']


@app
def never_start_empty(environ, start_response):
    return []


@app
def raise_before(environ, start_response):
    raise KeyError('before')


@app
def raises_text(environ, start_response):
    raise ValueError(ast.literal_eval(environ['QUERY_STRING']))


@app
def raises_mute(environ, start_response):
    class Mute(Exception):
        def __str__(self):
            raise self

    raise Mute


@app
def raise_at_first_block(environ, start_response):
    start_response('200 OK', TEXT)
    yield b''
    raise KeyError('no block yet')


@app
def raise_in_mid_iteration(environ, start_response):
    def blocks():
        yield b'begun'
        raise KeyError('mid-iteration')
    start_response('200 OK', TEXT)
    return Closing(environ, blocks())


@app
def raise_in_close(environ, start_response):
    start_response('200 OK', TEXT)
    return Closing(environ, [b'whole'], KeyError('in close'))


@app
def raise_in_both(environ, start_response):
    def blocks():
        yield b'begun'
        raise KeyError('mid-iteration')
    start_response('200 OK', TEXT)
    return Closing(environ, blocks(), KeyError('in close'))


@app
def closed(environ, start_response):
    start_response('200 OK', TEXT)
    return Closing(environ, [b'a', b'b'])


@app
def generator_exit(environ, start_response):
    raise GeneratorExit('odd')


@app
def keyboard_interrupt(environ, start_response):
    raise KeyboardInterrupt('odd')


@app
def system_exit(environ, start_response):
    sys.exit(3)


@app
def system_exit_after(environ, start_response):
    start_response('200 OK', TEXT)
    yield b'begun'
    sys.exit('enough')


@app
def os_exit(environ, start_response):
    os._exit(9)


@app
def returns_none(environ, start_response):
    start_response('200 OK', TEXT)


@app
def returns_text(environ, start_response):
    start_response('200 OK', TEXT)
    return ['text']


@app
def returns_bytes(environ, start_response):
    start_response('200 OK', TEXT)
    return b'bytes'


@app
def head_of(environ, start_response):
    """QUERY_STRING is Python for the arguments of start_response()."""
    start_response(*eval(environ['QUERY_STRING']))
    return [b'0123456789']


@app
def head_in_blocks(environ, start_response):
    start_response(*eval(environ['QUERY_STRING']))
    return Closing(environ, [b'01234', b'56789'])


@app
def read(environ, start_response):
    """QUERY_STRING is Python for what to read from `body`."""
    body = environ['wsgi.input']
    result = eval(environ['QUERY_STRING'], {'body': body})
    start_response('200 OK', TEXT)
    return [repr(result).encode()]


@app
def digest(environ, start_response):
    """Reads the body in blocks, says its length and digest."""
    start_response('200 OK', TEXT)
    sum, size = hashlib.sha256(), 0
    while True:
        block = environ['wsgi.input'].read(50000)
        if not block:
            break
        sum.update(block)
        size += len(block)
    return [('%d %s' % (size, sum.hexdigest())).encode()]


@app
def echo(environ, start_response):
    start_response('200 OK', TEXT)
    while True:
        block = environ['wsgi.input'].read(100000)
        if not block:
            break
        yield block


@app
def unread(environ, start_response):
    """Answers QUERY_STRING bytes in one block, and only then looks at the body."""
    start_response('200 OK', TEXT)
    yield b'x' * int(environ['QUERY_STRING'])
    yield hashlib.sha256(environ['wsgi.input'].read(-1)).hexdigest().encode()


@app
def never_read(environ, start_response):
    start_response('200 OK', TEXT)
    return [b'x' * int(environ['QUERY_STRING'])]


@app
def large(environ, start_response):
    """QUERY_STRING blocks of 1 MiB."""
    start_response('200 OK', TEXT)
    for index in range(int(environ['QUERY_STRING'])):
        yield bytes([index]) * (1 << 20)


@app
def environ(environ, start_response):
    start_response('200 OK', TEXT)
    plain = {name: value if isinstance(value, (str, bool, tuple)) else type(value).__name__
             for name, value in environ.items()}
    return [repr((plain, type(environ) is dict)).encode()]


@app
def process(environ, start_response):
    """The state of the process, as an application sees it."""
    start_response('200 OK', TEXT)
    main = sys.modules['__main__']
    return [repr({'main': sorted(vars(main)), 'argv': sys.argv, 'path': sys.path[0],
                  'empty': '' in sys.path, 'environ': dict(os.environ), 'stdin': sys.stdin.read(),
                  'cwd': os.getcwd()}).encode()]


@app
def modules(environ, start_response):
    start_response('200 OK', TEXT)
    return [repr(sorted(sys.modules)).encode()]


@app
def wrapped(environ, start_response):
    """QUERY_STRING names the kind of file."""
    kind = environ['QUERY_STRING']
    fields = list(TEXT)
    if kind == 'file':
        file = tempfile.TemporaryFile()
        file.write(b'0123456789' * 20000)
        file.seek(0)
        file.read(5)
    elif kind == 'range':
        file = tempfile.TemporaryFile()
        file.write(b'0123456789')
        file.seek(3)
        fields.append(('Content-Length', '4'))
    elif kind == 'memory':
        file = io.BytesIO(b'in memory')
    elif kind == 'gzip':
        packed = tempfile.TemporaryFile()
        with gzip.GzipFile(fileobj=packed, mode='w') as pack:
            pack.write(b'unpacked')
        packed.seek(0)
        file = gzip.GzipFile(fileobj=packed)
    elif kind == 'pipe':
        file = subprocess.Popen(['echo', 'from a pipe'], stdout=subprocess.PIPE).stdout
    else:
        class Alike:
            blocks = [b'', b'two ', b'one ']

            def read(self, size):
                return self.blocks.pop()

            def close(self):
                environ['wsgi.errors'].write('closed\n')
        file = Alike()
    start_response('200 OK', fields)
    return environ['wsgi.file_wrapper'](file, 1024)


@app
def prints(environ, start_response):
    print('printed')
    os.write(1, b'written to 1\n')
    subprocess.call(['echo', 'from a child'])
    start_response('200 OK', TEXT)
    yield b'clean '
    os.write(1, b'written between\n')
    yield b'response'


@app
def closes_stdout(environ, start_response):
    os.close(1)
    os.close(0)
    start_response('200 OK', TEXT)
    return [b'no stdout']


@app
def closes_stderr_object(environ, start_response):
    sys.stderr.close()
    start_response('200 OK', TEXT + [('Content-Length', '50')])
    return [b'no stderr']


@app
def raises_without_stderr(environ, start_response):
    sys.stderr.close()
    raise KeyError('nobody to tell')


@app
def latin(environ, start_response):
    start_response('200 Tr\xe8s bien', TEXT + [('X-Name', 'caf\xe9')])
    return [environ['PATH_INFO'].encode('latin-1'), environ['QUERY_STRING'].encode('latin-1')]
