# What the adaptor talks to: a client that is a web server's pipes or socket, and the daemon's half of
# the pool. It knows the adaptor's command line and messages; it refuses to know what applications do.

import ctypes
import fcntl
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
APPS = os.path.join(HERE, 'apps')
POOL = ('loaded', 'outgoing', 'begun', 'channel', 'board', 'zygote', 'served', 'worker', 'pool')  # as in wsgi.rs
PARTS = ('wsgi', 'streams', 'late', *POOL)


def lines(name):
    """Those of a part of the adaptor."""
    with open(os.path.join(HERE, '..', '..', 'src', 'app', name + '.py')) as file:
        return file.readlines()


def source(name):
    """The part without its comments."""
    return ''.join('\n' if line.lstrip().startswith('#') else line for line in lines(name))


CGI_SOURCE = source('wsgi').replace('STREAMS.PY', source('streams')).replace('LATE.PY', source('late'))
SOURCE = CGI_SOURCE + ''.join(map(source, POOL))
PYTHON = os.environ.get('ADAPTOR_PYTHON', sys.executable)
DEADLINE = 60  # seconds for any one test where nothing else runs
BOARD = 16384  # bytes; src/sys/memory.rs describes it
MOVED, TOLD, SPOOL = 4096, 8192, 12288  # where its parts begin
GONE, OVERDUE = 1, 2
SPAWN = 0.04  # seconds that an interpreter's start and end take there, at most
ENVIRON = {'PATH': os.environ['PATH'], 'LANG': 'C.UTF-8', 'SECRET': 'from env.SECRET'}
PR_SET_CHILD_SUBREAPER = 36
SYS_TGKILL = {'aarch64': 131, 'x86_64': 234}[os.uname().machine]
LIBC = ctypes.CDLL(None, use_errno=True)


def ask_where(pid):
    """Asks the main thread of a process for its stack, as the daemon does."""
    if LIBC.syscall(SYS_TGKILL, pid, pid, signal.SIGRTMAX):
        raise OSError(ctypes.get_errno(), 'cannot ask for a stack')


def netstring(meta):
    """The header of a request: meta-variables as a dict of str."""
    pairs = {'CONTENT_LENGTH': '', 'SCGI': '1', 'REQUEST_METHOD': 'GET', 'SERVER_NAME': 'localhost',
             'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '/app', 'PATH_INFO': '/',
             'QUERY_STRING': ''}
    pairs.update(meta)
    content = b''.join(name.encode() + b'\0' + value.encode('latin-1') + b'\0'
                       for name, value in pairs.items() if value is not None)
    return b'%d:%s,' % (len(content), content)


class Response:
    def __init__(self, raw, stderr=b'', word=None):
        self.raw, self.stderr, self.word = raw, stderr.decode(), word
        head, _, self.body = raw.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        self.fields = [tuple(line.split(': ', 1)) for line in lines if ': ' in line]
        self.status = dict(self.fields).get('Status')

    def __repr__(self):
        return '%r, stderr: %s' % (self.raw[:300], self.stderr)


class Client:
    """A client's end of two pipes, or of one socket, with the ends that the adaptor gets."""

    def __init__(self, body=b'', kind='pipes', length=None):
        self.body = memoryview(body)
        self.length = len(body) if length is None else length
        self.received = bytearray()
        if kind == 'pipes':
            self.theirs_in, self.to = os.pipe()
            self.of, self.theirs_out = os.pipe()
        elif kind in ('socket', 'tcp'):  # fds 0 and 1 are one, as under mod_cgid
            if kind == 'socket':
                ours, theirs = socket.socketpair()
            else:
                with socket.create_server(('127.0.0.1', 0)) as listener:
                    ours = socket.create_connection(listener.getsockname())
                    theirs, _ = listener.accept()
            self.to = ours.detach()
            self.of = os.dup(self.to)
            self.theirs_in = theirs.detach()
            self.theirs_out = os.dup(self.theirs_in)
        else:  # a file, as under lighttpd
            with tempfile.TemporaryFile() as file:
                file.write(body)
                file.seek(0)
                self.theirs_in = os.dup(file.fileno())
            self.to = os.open(os.devnull, os.O_WRONLY)
            self.of, self.theirs_out = os.pipe()
        for fd in self.to, self.of:
            os.set_blocking(fd, False)

    def started(self):
        """The adaptor has its ends."""
        os.close(self.theirs_in)
        os.close(self.theirs_out)

    def talk(self, until=None, body_first=False, patience=None):
        """Writes the body and reads the response, until it has the bytes `until` or ends. body_first:
        reads nothing before all is written. patience: seconds after which a standstill is an error."""
        poller = select.poll()
        if self.body:
            poller.register(self.to, select.POLLOUT)
        reading = not (body_first and self.body)
        if reading:
            poller.register(self.of, select.POLLIN)
        while until is None or until not in self.received:
            events = poller.poll(patience and 1000 * patience)
            if not events:
                raise TimeoutError('neither side moves')
            for fd, _ in events:
                if fd == self.to and self.body:
                    try:
                        self.body = self.body[os.write(self.to, self.body[:65536]):]
                    except BlockingIOError:
                        pass  # less room than asked for
                    except (BrokenPipeError, ConnectionResetError):
                        self.body = self.body[:0]
                    if not self.body:
                        if self.to != self.of:
                            poller.unregister(self.to)
                        if not reading:
                            poller.register(self.of, select.POLLIN)
                            reading = True
                if fd == self.of:
                    try:
                        data = os.read(self.of, 1 << 20)
                    except BlockingIOError:
                        continue
                    except ConnectionResetError:  # it closed with bytes of ours unread
                        data = b''
                    if not data:
                        return bytes(self.received)
                    self.received += data
        return bytes(self.received)

    def hang_up(self):
        for name in 'to', 'of':
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


class Cgi:
    """Runs the adaptor as a CGI, once for each request."""

    word = None
    run_once = True

    def __init__(self, target, source=CGI_SOURCE, env=ENVIRON, python=PYTHON, folder=APPS, since='', timeout=None,
                 pages=()):
        self.target, self.source, self.env, self.python = target, source, env, python
        self.folder, self.words, self.pages = folder, [since], b''.join(pages)
        if timeout:
            self.words += [str(timeout), '', str(len(pages[0]))]
        self.process = None

    def start(self, client, meta):
        header = os.memfd_create('header')
        os.write(header, netstring(meta) + self.pages)
        os.lseek(header, 0, os.SEEK_SET)
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [self.python, '-c', self.source, 'cgi', self.target, self.folder, str(header), *self.words],
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


def next_word(channel):
    """Whose doing an end would be is left out."""
    while True:
        word = channel.recv(4096).decode() or None
        if word not in ('importing', 'imported'):
            return word


class Worker:
    """The daemon's ends of one worker."""

    def __init__(self, pool, index):
        self.index = index
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stderr, write_end = os.pipe()
        os.set_blocking(self.stderr, False)
        socket.send_fds(pool.channel, [b'spawn %d' % index], [theirs.fileno(), write_end])
        theirs.close()
        os.close(write_end)
        self.pid = None

    def hear(self):
        """The next message; None at the end."""
        return next_word(self.channel)

    def ready(self):
        word = self.hear()
        if word and word.startswith('born '):
            word = self.hear()
        assert word and word.startswith('ready '), (word, self.said())
        self.pid = int(word.split()[1])
        return self

    def said(self):
        """What came by stderr."""
        text = b''
        try:
            while True:
                block = os.read(self.stderr, 65536)
                if not block:
                    return text
                text += block
        except BlockingIOError:
            return text

    def reap(self):
        """Waits for its end."""
        status = os.waitpid(self.pid, 0)[1]
        self.pid = None
        return status

    def end(self):
        """As if the daemon had died."""
        try:
            self.channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed by the test

    def close(self):
        self.channel.close()
        if self.stderr >= 0:
            os.close(self.stderr)
            self.stderr = -1
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
                self.reap()
            except (ProcessLookupError, ChildProcessError):
                pass  # a test has seen to it


class Turn(threading.Thread):
    """The loop's half of one request, beside the client's: sends what the worker spools, and reads out
    the message-body that it leaves."""

    def __init__(self, pool, worker, source, out):
        super().__init__(daemon=True)
        self.pool, self.worker = pool, worker
        self.source, self.out = os.dup(source), os.dup(out)
        self.is_pipe = stat.S_ISFIFO(os.fstat(out).st_mode)
        self.words = []  # everything that the worker said
        self.spool = None
        self.sending = self.full = self.done = self.dropped = False
        self.unread = 0
        self.start()

    def run(self):
        try:
            while not self.done or self.sending or self.unread:
                poller = select.poll()
                if not self.done:
                    poller.register(self.worker.channel, select.POLLIN)
                if self.sending:
                    poller.register(self.out, select.POLLOUT)
                if self.unread:
                    poller.register(self.source, select.POLLIN)
                ready = dict(poller.poll())
                if self.unread and self.source in ready:
                    size = len(os.read(self.source, min(self.unread, 65536)))
                    self.unread = self.unread - size if size else 0
                if self.sending and self.out in ready:
                    self.send()
                if not self.done and self.worker.channel.fileno() in ready:
                    self.hear()
        finally:
            for fd in self.source, self.out, self.spool:
                if fd is not None:
                    os.close(fd)

    def hear(self):
        data, fds, _, _ = socket.recv_fds(self.worker.channel, 4096, 1)
        word = data.decode() or None
        self.words.append(word)
        if word == 'spooled':
            self.spool, = fds
        if word in ('spooled', 'more'):
            self.sending = not self.dropped
        elif word == 'full':
            self.full = True
            self.answer_full()
        elif word and word.startswith('unread '):
            self.unread = int(word.split()[1])
        else:
            self.done = True

    def answer_full(self):
        if self.full and not self.sending:
            self.full = False
            self.worker.channel.send(b'empty')

    def send(self):
        try:
            if self.is_pipe:  # as the loop does it, from the file's own offset: no byte is copied
                self.sending = os.splice(self.spool, self.out, 65536, flags=os.SPLICE_F_NONBLOCK) > 0
            else:
                at = os.lseek(self.spool, 0, os.SEEK_CUR)
                block = os.pread(self.spool, 65536, at)
                self.sending = bool(block)
                with socket.socket(fileno=os.dup(self.out)) as peer:
                    sent = peer.send(block, socket.MSG_DONTWAIT) if block else 0
                os.lseek(self.spool, sent, os.SEEK_CUR)
        except BlockingIOError:
            return
        except OSError:  # the client is gone: so is what waits for it
            self.pool.tell(self.worker.index, GONE)
            self.sending = False
            self.dropped = True
        self.answer_full()


class Pool:
    """Plays the daemon; one worker at a time serves the requests that `start` gets."""

    run_once = False

    def __init__(self, target, preload=True, env=ENVIRON, before=None, python=PYTHON, modules=True,
                 max_rss=0, switch=0, spool=tempfile.gettempdir(), limit=1 << 30, watched=(), folder=APPS,
                 loaded=None, patience=None, timing=False):
        """patience: seconds that the adaptor has for a client in place of its own."""
        adaptor = SOURCE
        if patience is not None:
            ours = 'PATIENCE, LITTLE_PATIENCE = 0.02,'
            assert adaptor.count(ours) == 1
            adaptor = adaptor.replace(ours, 'PATIENCE, LITTLE_PATIENCE = %r,' % patience)
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.page = os.memfd_create('page')
        os.truncate(self.page, BOARD)
        os.pwrite(self.page, struct.pack('=QQ', 0, limit), SPOOL)
        self.loaded = os.memfd_create('loaded') if loaded is None else os.dup(loaded)
        self.stderr = tempfile.TemporaryFile()
        fds = [theirs.fileno(), self.page, self.loaded]
        self.process = subprocess.Popen(
            [python, '-c', adaptor, 'pool', target, folder, *map(str, fds), str(int(preload)),
             str(int(modules)), str(int(timing)), str(max_rss), str(switch), spool, *watched],
            stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr, cwd=folder, env=env,
            pass_fds=fds, preexec_fn=before, start_new_session=True)
        theirs.close()
        self.worker = None
        self.workers = []
        self.turn = None

    def hear(self):
        return next_word(self.channel)

    def up(self):
        word = self.hear()
        assert word == 'ready', (word, self.said())
        return self

    def said(self):
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def spawn(self, index=0):
        worker = Worker(self, index)
        self.workers.append(worker)
        return worker

    def start(self, client, meta, ahead=None, letters=b''):
        """ahead: bytes of the message-body that the loop has read. letters: behind the header."""
        if not self.worker:
            self.worker = self.spawn(7).ready()
        self.mark(self.worker.index, 0)
        self.tell(self.worker.index, 0)
        fds = [client.theirs_in, client.theirs_out]
        if ahead is not None:
            fds.append(os.memfd_create('ahead'))
            os.write(fds[2], ahead)
        elif not int(meta.get('CONTENT_LENGTH') or 0):
            del fds[0]  # as the loop does it: nobody reads there
        self.turn = Turn(self, self.worker, client.theirs_in, client.theirs_out)
        socket.send_fds(self.worker.channel, [netstring(meta) + letters], fds)
        for fd in fds[2:]:
            os.close(fd)
        client.started()

    def finish(self):
        """The worker's stderr of this request, after its `done` and the loop's part."""
        self.turn.join()
        self.word = self.turn.words[-1]
        said = self.worker.said()
        if self.word != 'done':
            self.status = self.worker.reap()
            said += self.worker.said()
            self.worker = None
        return said

    def mark(self, index, value=None):
        if value is None:
            return os.pread(self.page, 1, index)[0]
        os.pwrite(self.page, bytes([value]), index)

    def tell(self, index, what):
        os.pwrite(self.page, bytes([what]), TOLD + index)

    def tell_spool(self, used, limit):
        os.pwrite(self.page, struct.pack('=QQ', used, limit), SPOOL)

    def tell_waiting(self, waiting):
        os.pwrite(self.page, struct.pack('=Q', waiting), SPOOL + 16)

    def moved(self, index):
        return int.from_bytes(os.pread(self.page, 4, MOVED + 4 * index), sys.byteorder)

    def look(self):
        """What it has to say of changes."""
        self.channel.send(b'look')
        words = []
        while not words or words[-1] != 'looked':
            words.append(self.hear())
            assert words[-1], self.said()
        return words[:-1]

    def close(self):
        for worker in self.workers:
            worker.end()
        if self.turn:
            self.turn.join()
        for worker in self.workers:
            worker.close()
        try:
            self.channel.send(b'leave')
        except OSError:
            pass  # it has ended, or the test has closed it
        self.channel.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stderr.close()
        os.close(self.page)
        os.close(self.loaded)


def strain():
    """How many times longer things take at this moment, by what a spawn costs now: 1 to 6."""
    began = time.monotonic()
    subprocess.check_call([sys.executable, '-I', '-S', '-c', 'pass'])
    return min(max((time.monotonic() - began) / SPAWN, 1), 6)


class Case(unittest.TestCase):
    """A test with a deadline, and nothing left behind."""

    def setUp(self):
        signal.signal(signal.SIGALRM, self.too_late)
        # Again every 2 s, for what hangs in the clean-up.
        self.deadline = DEADLINE * strain()
        signal.setitimer(signal.ITIMER_REAL, self.deadline, 2)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        # We are the subreaper: whatever the adaptor and its applications started ends up here.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.addCleanup(self.reap)

    def reap(self):
        """Waits until no process is left; the deadline ends a wait for one that stays."""
        try:
            while True:
                os.wait()
        except ChildProcessError:
            pass  # all gone

    def too_late(self, *_):
        raise TimeoutError('a test took more than %d s' % self.deadline)

    def cgi(self, target, **options):
        way = Cgi(target, **options)
        self.addCleanup(way.close)
        return way

    def pool(self, target, **options):
        way = Pool(target, **options)
        self.addCleanup(way.close)
        return way

    def both(self, target):
        return self.cgi(target), self.pool(target).up()

    def client(self, *args, **options):
        client = Client(*args, **options)
        self.addCleanup(client.hang_up)
        return client

    def ask(self, way, path='/', body=b'', kind='pipes', length=None, body_first=False, **meta):
        """One request and its whole response."""
        client = self.client(body, kind, length)
        if client.length:
            meta.setdefault('CONTENT_LENGTH', str(client.length))
            meta.setdefault('REQUEST_METHOD', 'POST')
        way.start(client, dict(meta, PATH_INFO=path))
        raw = client.talk(body_first=body_first)
        client.hang_up()
        return Response(raw, way.finish(), way.word)


def pipe_size(fd):
    return fcntl.fcntl(fd, 1032)  # F_GETPIPE_SZ
