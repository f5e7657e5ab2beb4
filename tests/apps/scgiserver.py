"""An SCGI server of another project: threads, the standard library, and nothing of polycgi. What its routes do wrong is
selected by the path; what it does as a whole, by its words:

    idle=SECONDS    exits with status 0 after so long without a connection
    fails=FILE      as long as the file is there, says why and exits with status 3
    dies=FILE       ... takes a connection first
    deaf=FILE       ... takes no connection at all
    bind=PATH       listens at that path and not on what it was given; after delay=SECONDS
    tcp=HOST:PORT   the same by TCP
"""
import errno
import hashlib
import os
import select
import signal
import socket
import stat
import sys
import threading
import time
from urllib.parse import parse_qs

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = 65536
WORDS = dict(word.split('=', 1) for word in sys.argv[1:])


def is_there(word):
    return word in WORDS and os.path.exists(os.path.join(HERE, WORDS[word]))


def mark(line):
    """Appends a line to `marks`: what was begun, by whom."""
    marks = os.open(os.path.join(HERE, 'marks'), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(marks, (line + '\n').encode())
    os.close(marks)


def listener():
    if 'bind' in WORDS:
        time.sleep(float(WORDS.get('delay', '0')))
        found = socket.socket(socket.AF_UNIX)
        if os.path.exists(WORDS['bind']):
            os.unlink(WORDS['bind'])
        found.bind(WORDS['bind'])
        found.listen(64)
        return found
    if 'tcp' in WORDS:
        host, port = WORDS['tcp'].rsplit(':', 1)
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, int(port)))
        found.listen(64)
        return found
    is_ours = os.environ.get('LISTEN_PID') == str(os.getpid())
    return socket.socket(fileno=3 if is_ours and os.environ.get('LISTEN_FDS') == '1' else 0)


class Request:
    """A connection, its header, and its message-body as it comes."""

    def __init__(self, connection):
        self.connection, self.file = connection, connection.makefile('rb')
        length = b''
        while not length.endswith(b':'):
            byte = self.file.read(1)
            if not byte:
                raise EOFError
            length += byte
        content = self.file.read(int(length[:-1]))
        assert self.file.read(1) == b',', 'a netstring ends with a comma'
        parts = content.split(b'\0')
        assert parts.pop() == b'' and parts[0] == b'CONTENT_LENGTH', 'the length comes first'
        self.pairs = [(name.decode(), value.decode('latin-1')) for name, value in zip(parts[::2], parts[1::2])]
        self.meta = dict(self.pairs)
        self.left = int(self.meta['CONTENT_LENGTH'])
        self.query = {name: values[-1] for name, values in parse_qs(self.meta.get('QUERY_STRING', '')).items()}

    def blocks(self):
        while self.left:
            block = self.file.read1(min(self.left, BLOCK))
            if not block:
                return
            self.left -= len(block)
            yield block

    def write(self, text):
        self.connection.sendall(text if isinstance(text, bytes) else text.encode('latin-1'))

    def head(self, status='200 OK', kind='text/plain', length=None, body=''):
        fields = 'Status: %s\r\nContent-Type: %s\r\n' % (status, kind)
        if length is not None:
            fields += 'Content-Length: %d\r\n' % length
        self.write(fields + '\r\n' + body)

    def text(self, text, status='200 OK'):
        """In one write: a server that is killed has answered, or not."""
        self.head(status, length=len(text.encode()), body=text)


def hello(request):
    request.text('hello from %d\n' % os.getpid())


def meta(request):
    """The header's names and values in their order."""
    request.text(''.join('%s=%s\n' % pair for pair in request.pairs))


def process(request):
    """What a process is given: its variables, descriptors, folder, session."""
    lines = ['env %s=%s' % pair for pair in sorted(os.environ.items())]
    for fd in range(64):
        try:
            kind = os.fstat(fd).st_mode
        except OSError as error:
            assert error.errno == errno.EBADF
            continue
        if fd not in (request.connection.fileno(), request.file.fileno()):
            is_listener = stat.S_ISSOCK(kind) and socket.socket(fileno=os.dup(fd)).getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            kind = 'listener' if is_listener else 'pipe' if stat.S_ISFIFO(kind) else 'other'
            lines.append('fd %d %s blocking=%s' % (fd, kind, os.get_blocking(fd)))
    lines += ['pid %d' % os.getpid(), 'session %d' % os.getsid(0), 'group %d' % os.getpgid(0), 'cwd ' + os.getcwd()]
    ignored = [int(number) for number in range(1, 32) if signal.getsignal(number) is signal.SIG_IGN]
    # The interpreter itself ignores these.
    ignored = [number for number in ignored if number not in (signal.SIGPIPE, signal.SIGXFSZ)]
    lines += ['ignored %s' % ignored, 'blocked %s' % sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))]
    request.text('\n'.join(lines) + '\n')


def digest(request):
    sha256, length = hashlib.sha256(), 0
    for block in request.blocks():
        sha256.update(block)
        length += len(block)
    request.text('%s %d\n' % (sha256.hexdigest(), length))


def echo(request):
    """Each block goes back as it comes."""
    request.head()
    for block in request.blocks():
        request.write(block)


def big(request):
    """`?size=BYTES` in blocks that begin with their number."""
    size = int(request.query['size'])
    request.head(kind='application/octet-stream')
    for number in range(0, size, BLOCK):
        block = b'%015d\n' % (number // BLOCK) + b'.' * (BLOCK - 16)
        request.write(block[:size - number])


def early(request):
    """Answers without having read one byte of the message-body, and closes."""
    request.text('too much\n', '413 Content Too Large')


def pass_gate(request):
    path = os.path.join(HERE, request.query['gate'])
    with open(path + '.entered', 'w') as entered:
        entered.write('%d\n' % os.getpid())
    with open(path + '.go', 'rb', buffering=0) as go:
        go.read(1)


def hold(request):
    pass_gate(request)
    hello(request)


def streams(request):
    """A line, a gate, and another line."""
    request.head()
    request.write('one\n')
    pass_gate(request)
    request.write('two\n')


def hang(request):
    """Writes its pid to the gate, and then reacts to nothing: neither to requests nor to SIGTERM."""
    with open(os.path.join(HERE, request.query['gate'] + '.entered'), 'w') as entered:
        entered.write('%d\n' % os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)
    # The others may be stopped a moment before this thread is.
    while True:
        time.sleep(60)


def slow(request):
    """One request that never ends, in a server that serves the others."""
    with open(os.path.join(HERE, request.query['gate'] + '.entered'), 'w') as entered:
        entered.write('%d\n' % os.getpid())
    while True:
        time.sleep(60)


def crash(request):
    """Dies by SIGKILL: at once, or (`?at=`) in the head, or in the body."""
    at = request.query.get('at')
    if at == 'head':
        request.write('Status: 200 OK\r\nContent-')
    if at == 'body':
        request.head(length=1000)
        request.write('a line, and then no more\n')
    os.kill(os.getpid(), signal.SIGKILL)


def half(request):
    """Half a head, and the end of the connection."""
    request.write('Status: 200 OK\r\nContent-')


def nonsense(request):
    request.write('this is no head\r\n\r\nand this no body\r\n')


def nothing(request):
    pass


def leave(request):
    """Answers, and exits with status 0. The connection ends with the process and not before: the next request must not
    be accepted by a server that ends."""
    hello(request)
    os._exit(0)


def says(request):
    """A line on each of standard output and standard error."""
    for file, word in (sys.stdout, 'output'), (sys.stderr, 'errors'):
        print('a line on %s' % word, file=file, flush=True)
    hello(request)


def marked(request):
    """Once in `marks` for each time that it is begun."""
    mark('%s %d' % (request.query['mark'], os.getpid()))
    hello(request)


ROUTES = {
    'big': big, 'crash': crash, 'digest': digest, 'early': early, 'echo': echo, 'half': half, 'hang': hang,
    'hello': hello, 'hold': hold, 'leave': leave, 'marked': marked, 'meta': meta, 'nonsense': nonsense,
    'nothing': nothing, 'process': process, 'says': says, 'slow': slow, 'streams': streams,
}


def serve(connection):
    try:
        request = Request(connection)
        ROUTES[request.meta.get('PATH_INFO', '/').split('/')[-1] or 'hello'](request)
        request.file.close()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The client is gone.
        pass
    finally:
        connection.close()


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if is_there('fails'):
        mark('fails %d' % os.getpid())
        print('it cannot start: the database is away', file=sys.stderr, flush=True)
        sys.exit(3)
    mark('start %d' % os.getpid())
    here = listener()
    if is_there('dies'):
        here.accept()[0].recv(1)
        print('it dies of its first request', file=sys.stderr, flush=True)
        os._exit(4)
    while is_there('deaf'):
        time.sleep(0.05)
    idle = float(WORDS['idle']) if 'idle' in WORDS else None
    while select.select([here], [], [], idle)[0]:
        connection, _ = here.accept()
        threading.Thread(target=serve, args=(connection,)).start()
    mark('idle %d' % os.getpid())


if __name__ == '__main__':
    main()
