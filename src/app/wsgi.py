# polycgi: runs one WSGI application (PEP 3333), as a CGI or in a pool of workers. It knows the two
# descriptors of a client and the header of a request; it refuses to know web servers, queues,
# time-outs and configuration.
#
# A request is a netstring of meta-variables, one descriptor to read the message-body from and one
# to write the response to. Both ways build the same Request from these; a CGI has one, a worker one
# after the other. The client's descriptors are close-on-exec, above 2, and closed in what the
# application forks; fd 1 goes where fd 2 goes, so that print() can't end up in a response.
#
# What a CGI costs is its start, and most of ours is compiling: 7 us a line. So nothing is imported
# that the interpreter has not loaded anyway, and what a plain GET does not need is text until then.

import io
import os
import sys

HOP_BY_HOP = frozenset(('connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization',
                        'te', 'trailer', 'trailers', 'transfer-encoding', 'upgrade'))
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CONTROLS = dict.fromkeys((*range(9), *range(10, 32), 127))  # all but the tab
ONE_WRITE = 1 << 20  # bytes: without privilege a pipe grows no larger

LATER = r'''
import stat
from select import POLLIN, POLLOUT, poll

IN_MEMORY = 65536  # bytes of a message-body that wait for the application in memory


class Body(io.RawIOBase):
    """The message-body: CONTENT_LENGTH bytes of fd. What had to be read before the application asks
    for it waits in memory, and what is more than that in an unlinked file."""

    def __init__(self, fd, length):
        self.fd = fd
        self.left = length  # bytes that fd still has to give
        self.missing = 0  # bytes that it never gave
        self.kept = bytearray()
        self.spool, self.head, self.tail = None, 0, 0  # comes after kept; its unread part
        # Whoever fills a pipe or socket may wait for us; behind a file nobody waits.
        self.fed = stat.S_IFMT(os.fstat(fd).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK)

    def readable(self):
        return True

    def readinto(self, buffer):
        view = memoryview(buffer).cast('B')
        if self.kept:
            size = min(len(view), len(self.kept))
            view[:size] = self.kept[:size]
            del self.kept[:size]
        elif self.head < self.tail:
            size = os.preadv(self.spool.fileno(), [view[:self.tail - self.head]], self.head)
            self.head += size
        else:
            size = self.take(view)
            if self.missing:  # an upload that was cut must not pass for a whole one
                raise ConnectionResetError('the message-body ended %d bytes early' % self.missing)
        return size

    def take(self, view):
        """Reads from fd into view; 0 at the end."""
        if not self.left:
            return 0
        try:
            size = os.readv(self.fd, [view[:self.left]])
        except BlockingIOError:  # the web server left it so
            ready((self.fd, POLLIN))
            return self.take(view)
        self.left -= size
        if not size:
            self.missing, self.left = self.left, 0
        return size

    def waits(self):
        """Whether somebody may be waiting for us to read."""
        return self.fed and self.left

    def keep(self):
        """Reads some of the message-body ahead of the application."""
        room = IN_MEMORY - len(self.kept) if self.head == self.tail else 0
        block = bytearray(min(self.left, room or IN_MEMORY))
        if room:
            self.kept += block[:self.take(memoryview(block))]
            return
        try:
            if self.head == self.tail:
                self.head = self.tail = 0
            if not self.spool:
                import tempfile
                # /tmp is often memory.
                folder = '/var/tmp' if os.access('/var/tmp', os.W_OK) else None
                self.spool = tempfile.TemporaryFile(buffering=0, dir=folder)
            # Room first: what was read could not be put back.
            os.posix_fallocate(self.spool.fileno(), self.tail, len(block))
        except OSError:
            self.fed = False  # no room: from here on the client has to wait
            return
        size = self.take(memoryview(block))
        self.tail += os.pwrite(self.spool.fileno(), block[:size], self.tail)

    def drain(self):
        """Reads the rest and throws it away: some web servers lose the response otherwise."""
        view = memoryview(bytearray(min(self.left, IN_MEMORY)))
        try:
            while self.take(view):
                pass
        except OSError:
            pass  # the client is gone; nobody waits


class FileWrapper:
    """wsgi.file_wrapper. No sendfile(): the fileno() of a GzipFile, or of a file that was read from
    or written to, is not what the application meant."""

    def __init__(self, filelike, blksize=8192):
        # read1() gives at once what a pipe has, and much of what a file has.
        self.read = filelike.read1 if isinstance(filelike, io.BufferedIOBase) else filelike.read
        self.blksize = 65536 if isinstance(filelike, io.BufferedIOBase) else blksize
        if hasattr(filelike, 'close'):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        block = self.read(self.blksize)
        if not block:
            raise StopIteration
        return block


def ready(*wanted):
    """Waits until one of (fd, events) is ready; the events of those that are."""
    poller = poll()
    for fd, events in wanted:
        poller.register(fd, events)
    return dict(poller.poll())


def put_beside(out, data, body, empty):
    """Writes all of data to out. A web server that reads no response before all of the message-body
    is taken would wait for us, and we for it: so what would block reads the body beside."""
    waits = body and body.waits()
    if empty and (waits or len(data) > 65536):
        waits = not fits(out, len(data)) and waits
    view = memoryview(data)
    while view:
        try:
            size = beside(out, view, body) if waits else os.write(out, view)
        except BlockingIOError:  # the web server left it so
            size = beside(out, view, body)
        view = view[size:]
        waits = waits and body.waits()


def beside(out, view, body):
    """Waits until bytes can go out or the message-body comes in, and moves some. How many went."""
    wanted = [(out, POLLOUT)]
    if body and body.waits():
        wanted.append((body.fd, POLLIN))
    if out not in ready(*wanted):
        body.keep()
        return 0
    if not stat.S_ISSOCK(os.fstat(out).st_mode):
        return os.write(out, view[:4096])  # PIPE_BUF: a pipe that is ready has room for it
    from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_NONBLOCK, SOCK_STREAM, socket
    # SOCK_NONBLOCK for this object only: the descriptor's flags are the web server's too.
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, out)
    try:
        return client.send(view, MSG_DONTWAIT)
    except BlockingIOError:
        return 0
    finally:
        client.detach()


def fits(out, size):
    """Whether size bytes go into the empty pipe at once; it grows if it must."""
    import fcntl
    try:
        room = fcntl.fcntl(out, 1032)  # F_GETPIPE_SZ
        if room < size:
            room = fcntl.fcntl(out, 1031, size)  # F_SETPIPE_SZ
    except OSError:
        return False  # not a pipe, or its user has too many large ones
    return size <= room


def show(error):
    """The traceback to stderr, without our own frames at its top."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    error.__traceback__ = trace
    sys.__excepthook__(type(error), error, trace)


def complain(request, result):
    """To the operator, of a length that is wrong. A file that is cut is a range, and meant."""
    if request.sent > request.length and isinstance(result, FileWrapper):
        return
    try:
        sys.stderr.write('polycgi: wsgi: the message-body has %d bytes, Content-Length says %d\n'
                         % (request.sent, request.length))
    except Exception:
        pass  # closed by the application; nobody to tell


def start_again(request, exc_info):
    """start_response() when it was called before, or because of an error."""
    try:
        if not exc_info:
            raise RuntimeError('start_response() was called before')
        if request.begun:
            raise exc_info[1].with_traceback(exc_info[2])
    finally:
        exc_info = None  # a traceback must not hold its own frame


def fail(request, error):
    """Says so to the operator, and to the client if the response has not begun."""
    # A client that hung up is nobody's mistake.
    if not (request.gone and isinstance(error, ConnectionError)):
        show(error)
    if request.begun:
        return
    text = b'The application could not answer this request.\n'
    request.head = (b'Status: 500 Internal Server Error\r\nCache-Control: no-store\r\n'
                    b'Content-Type: text/plain\r\nContent-Length: %d\r\n' % len(text))
    try:
        request.begin(b'' if request.environ.get('REQUEST_METHOD') == 'HEAD' else text)
    except OSError:
        pass  # the client is gone; the operator has the traceback
'''


def later():
    if 'Body' not in globals():
        exec(LATER, globals())


def file_wrapper(filelike, blksize=8192):
    later()
    return FileWrapper(filelike, blksize)


class Request:
    """One request and its response."""

    def __init__(self, header, source, out, run_once, mark=None):
        """header: bytes, a netstring. mark: called before the first byte goes to the client."""
        words = header[header.index(b':') + 1:-1].decode('latin-1').split('\0')
        environ = self.environ = {'SCRIPT_NAME': '', 'PATH_INFO': '', 'QUERY_STRING': ''}
        environ.update(zip(words[::2], words[1::2]))
        for name in 'SCGI', 'POLYCGI':
            environ.pop(name, None)
        if not environ.get('CONTENT_LENGTH'):
            environ.pop('CONTENT_LENGTH', None)  # '' is our word for none
        length = int(environ.get('CONTENT_LENGTH', 0))
        secure = (environ.get('HTTPS', '').lower() in ('on', '1')
                  or environ.get('REQUEST_SCHEME', '').lower() == 'https')
        self.source, self.body = source, None
        if length:
            later()
            self.body = Body(source, length)
        environ.update({
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'https' if secure else 'http',
            'wsgi.input': io.BufferedReader(self.body, 65536) if length else io.BytesIO(),
            'wsgi.input_terminated': True,
            'wsgi.errors': sys.stderr,
            'wsgi.file_wrapper': file_wrapper,
            'wsgi.multithread': False,
            'wsgi.multiprocess': True,
            'wsgi.run_once': run_once})
        self.out = out
        self.mark = mark
        self.head = None  # bytes of the header fields, once the application has said them
        self.begun = False  # they are on their way to the client: there is no way back
        self.bare = False  # no message-body goes out: HEAD, 204, 304
        self.length = None  # Content-Length of the response
        self.sent = 0  # bytes that the application gave
        self.gone = False  # the client takes nothing any more
        self.forked = False  # this is a process of the application's own

    def disown(self):
        """In a child that the application forked: the client is none of its business."""
        self.forked = True
        self.mark = None
        self.close()

    def close(self):
        for fd in self.source, self.out:
            try:
                os.close(fd)
            except OSError:
                pass  # the application closed it for us, or it is closed already
        self.source = self.out = -1
        if self.body:
            self.body.fd = -1

    def serve(self, load):
        """Runs the application that load() gives; True if it asked to leave (SystemExit)."""
        leave = False
        try:
            self.run(load())
        except BaseException as error:
            if self.forked:
                raise
            later()
            fail(self, error)
            leave = isinstance(error, (SystemExit, KeyboardInterrupt))
        if self.forked:
            sys.exit()
        if self.body and not self.gone:
            self.body.drain()
        flush()
        self.close()
        return leave

    def run(self, app):
        result = app(self.environ, self.start_response)
        try:
            # A result that knows its length and has one block is the whole message-body.
            whole = hasattr(result, '__len__') and len(result) == 1
            for block in result:
                if self.send(block, whole):
                    break
            if not self.begun:
                if not self.head:
                    raise RuntimeError('the application did not call start_response()')
                self.begin(b'')
            if self.length not in (None, self.sent) and not self.bare:
                later()
                complain(self, result)
        finally:
            if hasattr(result, 'close') and not self.forked:
                result.close()

    def start_response(self, status, headers, exc_info=None):
        if exc_info or self.head:
            later()
            start_again(self, exc_info)
        lines = ['Status: ' + status]
        if not (status[3:4] == ' ' and status[:3].isdigit() and 99 < int(status[:3]) < 600):
            raise ValueError('status is not three digits, a space and a reason: %r' % status)
        length = None
        for name, value in headers:
            lines.append(name + ': ' + value)
            lower = name.lower()
            if not name or name.strip(TOKEN) or lower in HOP_BY_HOP or lower == 'status':
                raise ValueError('not a header field for an application to send: %r' % name)
            if lower == 'content-length':
                if length is not None or not value.isdigit():
                    raise ValueError('Content-Length is no number or there twice: %r' % value)
                length = int(value)
        for line in lines:
            if len(line.translate(CONTROLS)) < len(line):
                raise ValueError('a control character in a header field: %r' % line)
        lines.append('')
        self.head = '\r\n'.join(lines).encode('latin-1')
        self.length = length
        self.bare = self.environ.get('REQUEST_METHOD') == 'HEAD' or status[:3] in ('204', '304')
        return self.send

    def send(self, block, whole=False):
        """Sends a block at once, the first one with the header fields; it is write() too. True if
        no more is wanted. whole: there is no other block."""
        if not isinstance(block, bytes):
            raise TypeError('a block of the response is %s, not bytes' % type(block).__name__)
        if not block:
            return False
        if not self.head:
            raise RuntimeError('a block of the response came before start_response()')
        if whole and self.length is None and not self.bare and not self.begun:
            self.length = len(block)
            self.head += b'Content-Length: %d\r\n' % self.length
        self.sent += len(block)
        more = self.sent - self.length if self.length is not None else 0
        if self.bare or more > 0:
            block = b'' if self.bare else block[:max(len(block) - more, 0)]
        if not self.begun:
            self.begin(block)
        else:
            self.put(block)
        return self.bare or more > 0

    def begin(self, block):
        """The header fields and the first block, in one write unless that is too large anyway."""
        self.begun = True
        if self.mark:
            self.mark()
        data = self.head + b'\r\n'
        if len(block) > ONE_WRITE - len(data):
            self.put(data)
            self.put(block)
        else:
            self.put(data + block, empty=True)

    def put(self, data, empty=False):
        """Writes all of data. empty: the pipe is, as far as we know."""
        size = 0
        try:
            try:
                if not self.body and len(data) <= 65536:
                    size = os.write(self.out, data)
            except BlockingIOError:
                pass  # the web server left it so
            if size < len(data):
                later()
                put_beside(self.out, data[size:], self.body, empty and not size)
        except OSError:
            self.gone = True
            raise


def flush():
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except Exception:
            pass  # closed or replaced by the application; nobody to tell


def load(target):
    """The application that MODULE:CALLABLE names."""
    module, _, names = target.partition(':')
    __import__(module)
    app = sys.modules[module]
    for name in names.split('.'):
        app = getattr(app, name)
    return app


def above(fd):
    """A close-on-exec copy of fd above 2; fd itself goes to /dev/null."""
    copy = os.dup(fd)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)
    return copy if copy > 2 else above(copy)


def settle(target, directory):
    """What the application may see of the process: its directory, and no trace of us."""
    sys.argv = [target.partition(':')[0]]
    # '' is there for `-c`, unless PYTHONSAFEPATH is set.
    sys.path[:sys.path[:1] == ['']] = [directory]
    sys.modules['__main__'] = type(sys)('__main__')


def run_cgi(target, directory, fd):
    with open(int(fd), 'rb') as file:
        header = file.read()
    request = Request(header, above(0), above(1), run_once=True)
    os.dup2(2, 1)
    os.register_at_fork(after_in_child=request.disown)
    settle(target, directory)
    request.serve(lambda: load(target))


if sys.argv[1] == 'cgi':
    run_cgi(*sys.argv[2:])
# -- the pool's part --
# Theory of operation. The zygote imports the application once, says `ready`, and on `spawn` forks
# twice: the child in between exits at once, so that the worker becomes a child of the daemon, which
# is the subreaper. A worker says `ready`, then takes one request after the other from its channel.
# Where the import leaves behind what a fork would break (a thread, a connection), the zygote says
# `unsafe` and starts itself anew as one that imports nothing; each worker then imports for itself,
# and says `born` before, so that the daemon knows whom to end if the import never does.
#
# SIGTERM ends an idle worker at once and a busy one after its request, and a request is neither
# lost nor cut by it:
# - The handler only sets a flag; what wakes the worker is the byte that the C handler writes to the
#   wakeup descriptor, on which it polls together with the channel. A signal that comes at any time
#   before poll() has left its byte there. (A handler that raises would be too early, or, between
#   the last bytecode and the system call, too late.)
# - The application may take the wakeup descriptor or the signal for itself, so both are set again
#   after each request, before `done`. signal() first runs the handlers of what came before.
# - Before an idle worker leaves, it shuts its channel for reading. The daemon's next send fails, so
#   that it knows; a request that was sent before is still there, and is served.
#
# The C modules _signal and _socket, since signal and socket take 6 ms to import, and since gevent
# patches what has been imported by an application.

import gc
import mmap
from _signal import SIG_BLOCK, SIG_DFL, SIG_SETMASK, SIG_UNBLOCK, SIGALRM, SIGTERM
from _signal import alarm, getsignal, pthread_sigmask, set_wakeup_fd, signal
from _socket import AF_UNIX, CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SCM_RIGHTS
from _socket import SHUT_RD, SO_TYPE, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, socket

LARGEST = 1 << 20  # bytes of a packet; a send buffer is smaller by default
LAST_WORDS = 30  # seconds that a worker has for its atexit handlers and threads

later()


def say(channel, words):
    try:
        channel.send(words.encode('ascii', 'backslashreplace'))
    except OSError:
        pass  # the daemon is gone, as the next receive() will find


def receive(channel, buffer):
    """The size of the next packet, 0 when the other end is gone, and its descriptors."""
    try:
        size, ancillary, flags, _ = channel.recvmsg_into(
            [buffer], CMSG_SPACE(8), MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return 0, []
    if flags & (MSG_CTRUNC | MSG_TRUNC):
        raise OSError('a message from the daemon was cut: too many open descriptors')
    return size, [fd for level, kind, data in ancillary
                  if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
                  for fd in memoryview(data).cast('i')]


def import_or_exit(target, channel):
    try:
        return load(target)
    except BaseException as error:
        show(error)
        flush()
        reason = '%s: %s' % (type(error).__name__, error)
        say(channel, 'failed ' + ' '.join(reason.split())[:500])
        os._exit(1)


class Zygote:
    """Has the application imported, and forks workers."""

    def __init__(self, target, directory, channel, page, preload):
        # How we were started, whatever the import does to it; the last word is `preload`.
        self.environ, self.directory = dict(os.environ), os.getcwd()
        with open('/proc/self/cmdline', 'rb') as file:
            self.argv = file.read().split(b'\0')[:-2]
        self.target = target
        self.page = page
        for fd in channel, page:
            os.set_inheritable(fd, False)
        self.daemon = socket(fileno=channel)
        settle(target, directory)
        self.app = None
        self.preload = preload == '1'
        if self.preload:
            self.app = import_or_exit(target, self.daemon)
            self.check()
            flush()
            gc.collect()
            gc.freeze()
        signal(SIGTERM, SIG_DFL)
        say(self.daemon, 'ready')

    def serve(self):
        """Carries out what the daemon says. In a worker, this returns its index and its ends of
        channel and stderr."""
        buffer = bytearray(64)
        while True:
            size, fds = receive(self.daemon, buffer)
            if not size:
                os._exit(0)
            index = int(buffer[:size].split()[1])
            self.check(index, fds)
            if self.fork(index, fds):
                return (index, *fds)

    def fork(self, index, fds):
        """True in the worker; the zygote closes fds."""
        gate, held = os.pipe()
        child = None
        try:
            child = os.fork()
            if not child:
                child = os.fork()
                if child:
                    os._exit(0)
                os.close(held)
                os.read(gate, 1)  # until our parent is the daemon, and fds are ours alone
                os.close(gate)
                return True
            status = os.waitpid(child, 0)[1]
        except ChildProcessError:
            status = 0  # the application ignores SIGCHLD, so the kernel has reaped it
        except OSError as error:
            if child == 0:
                os._exit(error.errno)
            status = error.errno << 8
        if status:  # said before the worker's channel ends, which alone would mean that it died
            errno = status >> 8 if not status & 127 else 11  # EAGAIN: it was killed
            say(self.daemon, 'fork-failed %d %d' % (index, errno))
        for fd in (*fds, gate, held):
            os.close(fd)
        return False

    def check(self, index=None, fds=()):
        """Starts anew without preload if a fork would break what the application holds. index, fds:
        of the spawn that this comes before."""
        reason = self.preload and self.unsafe((self.daemon.fileno(), *fds))
        if not reason:
            return
        if index is not None:
            say(self.daemon, 'fork-failed %d 11' % index)  # EAGAIN: ask again
        say(self.daemon, 'unsafe ' + reason)
        flush()
        for fd in self.daemon.fileno(), self.page:
            os.set_inheritable(fd, True)
        os.chdir(self.directory)
        pthread_sigmask(SIG_SETMASK, ())
        os.execve(sys.executable or '/proc/self/exe', self.argv + [b'0'], self.environ)

    def unsafe(self, ours):
        tasks = len(os.listdir('/proc/self/task'))
        if tasks > 1:
            return 'the import left %d threads running' % (tasks - 1)
        for name in os.listdir('/proc/self/fd'):
            try:
                fd = int(name)
                if (fd > 2 and fd not in ours and stat.S_ISSOCK(os.fstat(fd).st_mode)
                        and connected(fd)):
                    return 'the import left descriptor %d connected' % fd
            except OSError:
                pass  # not open any more, or not connected
        return None


def connected(fd):
    """Whether what is read here would be missing elsewhere. Datagrams, as to syslog, come whole."""
    # As in beside(): the flags are the application's.
    peer = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, os.dup(fd))
    try:
        return peer.getsockopt(SOL_SOCKET, SO_TYPE) != SOCK_DGRAM and peer.getpeername() is not None
    finally:
        peer.close()


class Worker:
    """Serves one request after the other."""

    def __init__(self, zygote, index, channel, stderr):
        os.setpgid(0, 0)
        zygote.daemon.close()
        for fd in 1, 2:
            os.dup2(stderr, fd)
        os.close(stderr)
        self.index = index
        self.page = mmap.mmap(zygote.page, 4096)
        os.close(zygote.page)
        self.daemon = socket(fileno=channel)
        self.daemon.settimeout(None)  # the application may have set a default
        self.buffer = bytearray(LARGEST)
        self.request = None
        self.leaving = False
        self.wake, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        # A SIGTERM for a child must find the child's disposition, and not tell us by our own pipe.
        os.register_at_fork(before=lambda: pthread_sigmask(SIG_BLOCK, (SIGTERM,)),
                            after_in_parent=lambda: pthread_sigmask(SIG_UNBLOCK, (SIGTERM,)),
                            after_in_child=self.disown)
        try:
            with open('/proc/self/oom_score_adj', 'w') as file:
                file.write('500')  # one of us rather than the web server
        except OSError:
            pass  # a kernel that does not let us; nothing depends on it
        if not zygote.preload:
            say(self.daemon, 'born %d' % os.getpid())
        self.app = zygote.app if zygote.preload else import_or_exit(zygote.target, self.daemon)
        self.listen()
        say(self.daemon, 'ready %d' % os.getpid())

    def listen(self):
        set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal(SIGTERM, self.terminate)

    def terminate(self, *_):
        self.leaving = True

    def disown(self):
        """In a child that the application forked."""
        if self.request:
            self.request.disown()
        self.daemon.close()
        os.close(self.wake)
        os.close(self.waker)
        set_wakeup_fd(-1)
        if getsignal(SIGTERM) == self.terminate:
            signal(SIGTERM, SIG_DFL)
        pthread_sigmask(SIG_UNBLOCK, (SIGTERM,))

    def mark(self):
        self.page[self.index] = 1

    def serve(self):
        last = False
        while not last and self.next():
            # No `|=`: it would put back what it read before the signal came.
            if self.request.serve(lambda: self.app):
                self.leaving = True
            self.request = None
            self.listen()
            last = self.leaving  # once: what we say is what we do
            say(self.daemon, 'done last' if last else 'done')
        self.daemon.close()  # a socket that is left to the end of a Python 3.9 ends it with SIGSEGV
        # What the application does at exit may hang, and nobody may be there to kill us.
        signal(SIGTERM, SIG_DFL)
        signal(SIGALRM, SIG_DFL)
        alarm(LAST_WORDS)

    def next(self):
        """Waits for a request; False when it is time to leave."""
        while True:
            if self.leaving:
                self.daemon.shutdown(SHUT_RD)
                break
            if self.wake not in ready((self.daemon.fileno(), POLLIN), (self.wake, POLLIN)):
                break
            # The handler may not have run yet, or be the application's: the byte is the signal.
            if SIGTERM in os.read(self.wake, 4096):
                self.leaving = True
        size, fds = receive(self.daemon, self.buffer)
        if not size:
            return False
        source, out = (fd if fd > 2 else above(fd) for fd in fds)
        self.request = Request(self.buffer[:size], source, out, run_once=False, mark=self.mark)
        return True


zygote = Zygote(*sys.argv[2:4], *map(int, sys.argv[4:6]), sys.argv[6])
Worker(zygote, *zygote.serve()).serve()
