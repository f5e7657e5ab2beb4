# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: PATH, above from wsgi.py.
# Gives: FileWrapper, IN_MEMORY, OURS, POLLIN, POLLOUT, fits, give_body, poll, ready, report_length, select, unlinked,
# write_reading_body.
#
# What a request with a message-body needs, and a response that does not go out in one write: text until then (later()).
# It knows descriptors; it refuses to know the daemon.

C_MODULES = {}  # name: module
LIBRARY = (LIBRARY or '').rpartition('/')[0]
OURS = sorted(PATH, key=lambda place: not place.startswith(LIBRARY))  # the standard library comes first


def c_module(name):
    """A new copy of a module in C of the standard library, which the application can't have changed."""
    if name not in C_MODULES:
        held = modules.pop(name, None)
        try:
            if imp.is_builtin(name):
                C_MODULES[name] = imp.create_builtin(ModuleSpec(name, None))
                imp.exec_builtin(C_MODULES[name])
            else:
                C_MODULES[name] = imp.create_dynamic(ModuleSpec(name, None, origin=library(name)))
                imp.exec_dynamic(C_MODULES[name])
        finally:
            modules.pop(name, None)
            if held is not None:
                modules[name] = held
    return C_MODULES[name]


def library(name):
    """The path of the shared object of a module."""
    for place in OURS:
        for suffix in imp.extension_suffixes():
            path = '%s/%s%s' % (place, name, suffix)
            try:
                os.stat(path)
                return path
            except OSError:
                pass  # it is in another folder
    raise ImportError('the interpreter has no module %s' % name)


select = c_module('select')
POLLIN, POLLOUT, poll = select.POLLIN, select.POLLOUT, select.poll
IN_MEMORY = 65536  # bytes of a message-body that wait for the application in memory
EXCESS, EXCESS_TIME = 64 << 20, 10  # bytes and seconds: the most that is read only to be discarded
FOLDERS = '/var/tmp', '/tmp'  # where files without a name may be; /tmp is often memory


class Body(io.RawIOBase):
    """The message-body: CONTENT_LENGTH bytes of fd. Bytes that had to be read before the application asks for them wait
    in memory, and if they are many, in an unlinked file."""

    def __init__(self, fd, length, ahead=None, moved=None, exceeds=False):
        """ahead: a file that holds what was read of fd before. moved: called for each block. exceeds: more bytes may
        come behind the message-body."""
        self.fd = fd
        self.moved = moved
        self.ahead, self.at = ahead, 0  # read first; the position in it
        self.given = 0 if ahead is None else min(os.fstat(ahead).st_size, length)  # its size
        self.left = length - self.given  # bytes that fd still has to give
        self.missing = 0  # bytes that it never gave
        self.kept = bytearray()
        self.spool, self.head, self.tail = None, 0, 0  # read after kept; where its unread part begins and ends
        # The web server that writes to a pipe or socket may wait for us to read; for a file no process waits.
        self.fed = stat.S_IFMT(os.fstat(fd).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK)
        self.full = False  # there is no room to keep more
        self.waiting = False  # a read waits for the client
        self.behind = EXCESS if exceeds and self.fed else 0  # bytes that may come behind it, and are discarded

    def readable(self):
        return True

    def readinto(self, buffer):
        view = memoryview(buffer).cast('B')
        if self.at < self.given:
            size = os.preadv(self.ahead, [view[:self.given - self.at]], self.at)
            self.at += size
        elif self.kept:
            size = min(len(view), len(self.kept))
            view[:size] = self.kept[:size]
            del self.kept[:size]
        elif self.head < self.tail:
            size = os.preadv(self.spool, [view[:self.tail - self.head]], self.head)
            self.head += size
        else:
            size = self.take(view)
            if self.missing:  # an upload that was cut off must not look complete
                raise ConnectionResetError('the message-body ended %d bytes early' % self.missing)
        if self.moved:
            self.moved()
        return size

    def take(self, view):
        """Reads from fd into view; 0 at the end."""
        if not self.left:
            return 0
        self.waiting = True
        try:
            size = os.readv(self.fd, [view[:self.left]])
        except BlockingIOError:  # the descriptor is O_NONBLOCK
            ready(None, (self.fd, POLLIN))
            return self.take(view)
        finally:
            self.waiting = False
        self.left -= size
        if not size:
            self.missing, self.left = self.left, 0
        return size

    def must_be_read(self):
        """Whether the web server may be waiting for us to read."""
        return self.fed and (self.left and not self.full or not self.left and self.behind)

    def keep(self):
        """Reads a part of the message-body before the application asks for it."""
        if not self.left:
            self.skip()
            return
        room = IN_MEMORY - len(self.kept) if self.head == self.tail else 0
        block = bytearray(min(self.left, room or IN_MEMORY))
        if self.moved:
            self.moved()
        if room:
            self.kept += block[:self.take(memoryview(block))]
            return
        try:
            if self.head == self.tail:
                self.head = self.tail = 0
            if self.spool is None:
                self.spool = unlinked()
            # Room is reserved first: bytes that were read can't be put back.
            os.posix_fallocate(self.spool, self.tail, len(block))
        except OSError:
            self.full = True  # from here on the client has to wait
            return
        size = self.take(memoryview(block))
        self.tail += os.pwrite(self.spool, block[:size], self.tail)

    def drain(self):
        """Reads and discards the rest: otherwise some web servers lose the response."""
        view = memoryview(bytearray(min(self.left, IN_MEMORY)))
        try:
            while self.take(view):
                pass
        except OSError:
            return  # the client is gone
        until = time.monotonic() + EXCESS_TIME
        while self.behind and ready(max(until - time.monotonic(), 0), (self.fd, POLLIN)):
            self.skip()

    def skip(self):
        """Discards a part of what came behind the message-body: an input filter of Apache's (mod_deflate) makes more
        bytes than Content-Length said, and Apache loses the response if they are not read."""
        try:
            size = len(os.read(self.fd, IN_MEMORY))
        except BlockingIOError:  # the descriptor is O_NONBLOCK
            return
        except OSError:
            size = 0
        self.behind = max(self.behind - size, 0) if size else 0

    def close(self):
        self.fd = -1  # not ours
        for fd in self.ahead, self.spool:
            if fd is not None:
                os.close(fd)
        self.ahead = self.spool = None
        self.given = self.head = self.tail = 0


def is_apache(environ):
    software = environ.get('SERVER_SOFTWARE', '')
    return software == 'Apache' or software.startswith('Apache/')


def give_body(request, source, ahead, moved):
    request.environ.pop('HTTP_TRANSFER_ENCODING', None)  # nginx has undone it, but still sends it to fcgiwrap
    length = int(request.environ['CONTENT_LENGTH'])
    if length:
        request.body = Body(source, length, ahead, moved, is_apache(request.environ))


class FileWrapper:
    """wsgi.file_wrapper. No sendfile(): the fileno() of a GzipFile, or of a file that was read from
    or written to, is not what the application meant."""

    def __init__(self, filelike, blksize=8192):
        # read1() returns what a pipe has now, and a large block of a file.
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


def ready(seconds, *wanted):
    """Waits until one of (fd, events) is ready; the events of each fd that is. seconds: at most; None: without
    limit."""
    poller = poll()
    for fd, events in wanted:
        poller.register(fd, events)
    return dict(poller.poll(None if seconds is None else 1000 * seconds))


def unlinked():
    """A new file without a name, for writing and reading."""
    for folder in FOLDERS:
        try:
            fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
        except OSError:
            name = '%s/.polycgi-%d-%d' % (folder, os.getpid(), time.monotonic_ns())
            try:
                fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
            except OSError as error:
                last = error
                continue
            os.unlink(name)
        return fd if fd > 2 else above(fd)  # the application may have closed 0, 1 or 2
    raise last


def write_reading_body(out, data, body, empty, moved=None):
    """Writes all of data to out. Some web servers read no response before we have read all of the message-body, and we
    would wait for each other: so while a write would block, the body is read."""
    must_read = body and body.must_be_read()
    if empty and (must_read or len(data) > 65536):
        must_read = not fits(out, len(data)) and must_read
    view = memoryview(data)
    # Each write counts as one block for the time limits, so blocks are small enough for slow clients.
    most = len(view) if empty or not moved else 1 << 18
    while view:
        try:
            size = write_or_read(out, view, body) if must_read else os.write(out, view[:most])
        except BlockingIOError:  # the descriptor is O_NONBLOCK
            size = write_or_read(out, view, body)
        view = view[size:]
        if moved:
            moved()
        must_read = must_read and body.must_be_read()


def write_or_read(out, view, body):
    """Waits until a write or a read of the message-body is possible, and does it. How many bytes were written."""
    wanted = [(out, POLLOUT)]
    if body and body.must_be_read():
        wanted.append((body.fd, POLLIN))
    if out not in ready(None, *wanted):
        body.keep()
        return 0
    if not stat.S_ISSOCK(os.fstat(out).st_mode):
        return os.write(out, view[:4096])  # PIPE_BUF: a pipe that is ready has room for it
    socket = c_module('_socket')
    # SOCK_NONBLOCK only for this object: the descriptor's flags belong to the web server as well.
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, out)
    try:
        return client.send(view, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0
    finally:
        client.detach()


def fits(out, size):
    """Whether size bytes fit into the empty pipe, which grows if needed."""
    fcntl = c_module('fcntl').fcntl
    try:
        room = fcntl(out, 1032)  # F_GETPIPE_SZ
        if room < size:
            room = fcntl(out, 1031, size)  # F_SETPIPE_SZ
    except OSError:
        return False  # no pipe, or the user has too many large ones
    return size <= room


def report_length(request, result):
    """Reports a wrong Content-Length. A file that is longer is no mistake: the application sends a range of it."""
    if request.sent > request.length and isinstance(result, FileWrapper):
        return
    try:
        sys.stderr.write('polycgi: wsgi: the message-body has %d bytes, Content-Length says %d\n'
                         % (request.sent, request.length))
    except Exception:
        pass  # the application has closed it
