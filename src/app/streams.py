# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: PATH, above from wsgi.py.
# Gives: FileWrapper, IN_MEMORY, OURS, POLLIN, POLLOUT, complain, fits, give_body, poll, put_beside, ready, unlinked.
#
# What a request with a message-body needs, and a response that does not go out in one write: text until then (later()).
# It knows descriptors; it refuses to know the daemon.

OWN = {}  # name: module
LIBRARY = (LIBRARY or '').rpartition('/')[0]
OURS = sorted(PATH, key=lambda place: not place.startswith(LIBRARY))  # the standard library comes first


def own(name):
    """A module in C of the standard library, which the application can't have replaced."""
    if name not in OWN:
        held = modules.pop(name, None)
        try:
            if imp.is_builtin(name):
                OWN[name] = imp.create_builtin(ModuleSpec(name, None))
                imp.exec_builtin(OWN[name])
            else:
                OWN[name] = imp.create_dynamic(ModuleSpec(name, None, origin=library(name)))
                imp.exec_dynamic(OWN[name])
        finally:
            modules.pop(name, None)
            if held is not None:
                modules[name] = held
    return OWN[name]


def library(name):
    """The shared object that holds the module."""
    for place in OURS:
        for suffix in imp.extension_suffixes():
            path = '%s/%s%s' % (place, name, suffix)
            try:
                os.stat(path)
                return path
            except OSError:
                pass  # elsewhere
    raise ImportError('the interpreter has no module %s' % name)


select = own('select')
POLLIN, POLLOUT, poll = select.POLLIN, select.POLLOUT, select.poll
IN_MEMORY = 65536  # bytes of a message-body that wait for the application in memory
EXCESS, EXCESS_TIME = 64 << 20, 10  # bytes and seconds: the most that is read only to be thrown away
FOLDERS = '/var/tmp', '/tmp'  # where files without a name may be; /tmp is often memory


class Body(io.RawIOBase):
    """The message-body: CONTENT_LENGTH bytes of fd. What had to be read before the application asks
    for it waits in memory, and what is more than that in an unlinked file."""

    def __init__(self, fd, length, ahead=None, moved=None, exceeds=False):
        """ahead: a file that holds what was read of fd before. moved: called for each block. exceeds: more
        may come than that, up to an end."""
        self.fd = fd
        self.moved = moved
        self.ahead, self.at = ahead, 0  # comes first; from where on
        self.given = 0 if ahead is None else min(os.fstat(ahead).st_size, length)  # bytes in there
        self.left = length - self.given  # bytes that fd still has to give
        self.missing = 0  # bytes that it never gave
        self.kept = bytearray()
        self.spool, self.head, self.tail = None, 0, 0  # comes after kept; its unread part
        # Whoever fills a pipe or socket may wait for us; behind a file nobody waits.
        self.fed = stat.S_IFMT(os.fstat(fd).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK)
        self.full = False  # there is no room for more than what is kept
        self.waiting = False  # for the client
        self.behind = EXCESS if exceeds and self.fed else 0  # bytes that may come behind it, and are nobody's

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
            if self.missing:  # an upload that was cut must not pass for a whole one
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
        except BlockingIOError:  # the web server left it so
            ready(None, (self.fd, POLLIN))
            return self.take(view)
        finally:
            self.waiting = False
        self.left -= size
        if not size:
            self.missing, self.left = self.left, 0
        return size

    def waits(self):
        """Whether somebody may be waiting for us to read."""
        return self.fed and (self.left and not self.full or not self.left and self.behind)

    def keep(self):
        """Reads some of the message-body ahead of the application."""
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
            # Room first: what was read could not be put back.
            os.posix_fallocate(self.spool, self.tail, len(block))
        except OSError:
            self.full = True  # from here on the client has to wait
            return
        size = self.take(memoryview(block))
        self.tail += os.pwrite(self.spool, block[:size], self.tail)

    def drain(self):
        """Reads the rest and throws it away: some web servers lose the response otherwise."""
        view = memoryview(bytearray(min(self.left, IN_MEMORY)))
        try:
            while self.take(view):
                pass
        except OSError:
            return  # the client is gone; nobody waits
        until = time.monotonic() + EXCESS_TIME
        while self.behind and ready(max(until - time.monotonic(), 0), (self.fd, POLLIN)):
            self.skip()

    def skip(self):
        """Throws away some of what came behind the message-body: an input filter of Apache's (mod_deflate)
        makes more of it than Content-Length said, and Apache loses the response if that is not read."""
        try:
            size = len(os.read(self.fd, IN_MEMORY))
        except BlockingIOError:  # the web server left it so
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
    request.environ.pop('HTTP_TRANSFER_ENCODING', None)  # undone, but nginx still says so to fcgiwrap
    length = int(request.environ['CONTENT_LENGTH'])
    if length:
        request.body = Body(source, length, ahead, moved, is_apache(request.environ))


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


def ready(seconds, *wanted):
    """Waits until one of (fd, events) is ready; the events of those that are. seconds: at most; None is
    any time."""
    poller = poll()
    for fd, events in wanted:
        poller.register(fd, events)
    return dict(poller.poll(None if seconds is None else 1000 * seconds))


def unlinked():
    """A new file without a name, to be written and read."""
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
        return fd if fd > 2 else above(fd)  # the application may have closed one of these
    raise last


def put_beside(out, data, body, empty, moved=None):
    """Writes all of data to out. A web server that reads no response before all of the message-body
    is taken would wait for us, and we for it: so what would block reads the body beside."""
    waits = body and body.waits()
    if empty and (waits or len(data) > 65536):
        waits = not fits(out, len(data)) and waits
    view = memoryview(data)
    # What is written at once counts as one block, which a client may take slowly.
    most = len(view) if empty or not moved else 1 << 18
    while view:
        try:
            size = beside(out, view, body) if waits else os.write(out, view[:most])
        except BlockingIOError:  # the web server left it so
            size = beside(out, view, body)
        view = view[size:]
        if moved:
            moved()
        waits = waits and body.waits()


def beside(out, view, body):
    """Waits until bytes can go out or the message-body comes in, and moves some. How many went."""
    wanted = [(out, POLLOUT)]
    if body and body.waits():
        wanted.append((body.fd, POLLIN))
    if out not in ready(None, *wanted):
        body.keep()
        return 0
    if not stat.S_ISSOCK(os.fstat(out).st_mode):
        return os.write(out, view[:4096])  # PIPE_BUF: a pipe that is ready has room for it
    socket = own('_socket')
    # SOCK_NONBLOCK for this object only: the descriptor's flags are the web server's too.
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, out)
    try:
        return client.send(view, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0
    finally:
        client.detach()


def fits(out, size):
    """Whether size bytes go into the empty pipe at once; it grows if it must."""
    fcntl = own('fcntl').fcntl
    try:
        room = fcntl(out, 1032)  # F_GETPIPE_SZ
        if room < size:
            room = fcntl(out, 1031, size)  # F_SETPIPE_SZ
    except OSError:
        return False  # not a pipe, or its user has too many large ones
    return size <= room


def complain(request, result):
    """To the operator, of a length that is wrong. A file that is cut is a range, and meant."""
    if request.sent > request.length and isinstance(result, FileWrapper):
        return
    try:
        sys.stderr.write('polycgi: wsgi: the message-body has %d bytes, Content-Length says %d\n'
                         % (request.sent, request.length))
    except Exception:
        pass  # closed by the application; nobody to tell
