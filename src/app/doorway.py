# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: above, answer_500 from wsgi.py; POLLIN, poll, ready, select from streams.py; receive, say from channel.py;
# HEADER, boot_time from board.py; Served from served.py; FRONT, Glance from glance.py.
# Gives: Doorway.
#
# How a worker takes requests from the listeners itself, without the daemon in between. It knows connections; it refuses
# to know which headers are plain, and when it may do so: the daemon says `accept` and `recall`.
#
# Theory of operation. On `accept` the worker waits for its channel and for the listeners together, with EPOLLEXCLUSIVE:
# the kernel wakes the worker that began to wait first, so a few hot workers get what they can serve. The daemon waits
# behind them, and is woken when none is idle.
#
# A worker serves what it can judge at a glance: a whole header with known names, each once, and no message-body. Any
# other connection it hands to the daemon, with the bytes that it has read; the daemon goes on as if it had accepted it.
# The rules for headers are the daemon's (src/cgi, src/scgi). A test sends the same headers both ways.
#
# Before the application runs, the request is put where worker and daemon can both take it, and the one that takes it
# ends the request. Of a front that is the escrow: a pair of sockets whose reading end both hold, with the connection,
# what the front has passed and the header in one packet. Of any other client it is the claim, an eventfd; the worker's
# number of the connection and the header stand on the board, and the daemon copies the descriptor (pidfd_getfd). Where
# it may not, there is no claim, and the escrow is for all.
#
# As a rule the worker takes it, and the daemon learns of the request only by the board's counts. But the daemon takes
# it, and so adopts the request, when the worker has said something of it (`spooled`, `raised`), when it takes long,
# when the application writes to stderr, and when the worker dies. From then on it is like a request that the daemon has
# given to the worker.
#
# The daemon has looked at the code shortly before: until when a worker may accept stands on the board. A worker that
# finds this time over, or has served its share, says `back` and waits for the daemon alone.

from _socket import AF_UNIX, CMSG_SPACE, IPPROTO_TCP, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, SCM_RIGHTS
from _socket import SO_PEERCRED, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, socket
from _struct import Struct
from sys import byteorder

EPOLLIN, epoll = select.EPOLLIN, select.epoll
EPOLLEXCLUSIVE = 1 << 28  # which Python has only where its C library had it
PLAIN, TCP = 'plain', 'tcp'  # kinds of listeners, beside FRONT
PASSED = CMSG_SPACE(16)  # bytes: beside it come four descriptors, where a front passes three
A_MOMENT = 2  # ms: a web server writes the header right after its connect
LAID_DOWN = (1).to_bytes(8, byteorder)
FRONT_TIME = 0.02  # seconds that a front may take to end; then the daemon waits for it
RWF_NOWAIT = 8  # which Python has only where its C library had it

PACKED = [Struct('=%di' % count).pack for count in range(1, 5)]  # descriptors, for SCM_RIGHTS

class Doorway:
    """The listeners of a worker, and the escrow."""

    def __init__(self, worker):
        self.worker = worker
        self.listeners = {}  # by descriptor
        self.glance = None  # there is one with the listeners
        self.block = bytearray(HEADER)
        self.escrow = None  # its writing and its reading end, which do not wait
        self.claim = None  # an eventfd, as src/sys/claim.rs has it; None: the daemon can't copy a worker's descriptors
        self.events = None  # there are some while the worker accepts
        self.left = 0  # so many requests may still be taken
        self.patience = A_MOMENT  # in ms, for the next client; those who connect and say nothing use it up
        self.uid = os.getuid()
        self.said = None  # a poll object: the application has written something to stderr that the daemon has not read

    def hear(self, words, fds):
        """Does what the daemon says: words that are no request."""
        verb, _, rest = words.partition(' ')
        if verb == 'listeners':
            self.forget()
            self.glance = Glance(*rest.split('\n'))
        elif verb == 'listener':
            self.listeners[fds[0]] = Listener(fds[0], *rest.split())
            fds = ()
        elif verb == 'escrow':
            self.escrow = [socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd) for fd in fds[:2]]
            self.claim = fds[2] if len(fds) > 2 else None
            fds = ()
        elif verb == 'accept' and not self.events:
            self.open(int(rest))
        elif verb == 'recall' and self.events:
            self.shut()
        for fd in fds:
            os.close(fd)

    def open(self, most):
        """From now on the worker takes connections."""
        try:
            self.events = epoll()
            for fd in self.worker.daemon.fileno(), self.worker.wake:
                self.events.register(fd, EPOLLIN)
            for fd in self.listeners:
                self.events.register(fd, EPOLLIN | EPOLLEXCLUSIVE)
            if self.worker.stderr is not None:
                self.said = poll()
                self.said.register(self.worker.stderr, POLLIN)
        except OSError as error:
            self.shut(error)
            return
        self.left = most
        say(self.worker.daemon, b'accepting')

    def shut(self, error=None):
        """From now on the worker waits for the daemon alone. error: what the host refuses."""
        self.end(b'back' if error is None else b'back - %s' % str(error).encode('latin-1', 'replace'), False)

    def end(self, words, is_last):
        """The worker has served a request, of which the daemon learns: from now on it waits for the daemon alone."""
        if self.events:
            self.events.close()
        self.events = None
        say(self.worker.daemon, words + b' last' * is_last)

    def forget(self):
        """Closes the listeners."""
        for fd, listener in self.listeners.items():
            listener.socket.detach()
            os.close(fd)
        self.listeners = {}

    def disown(self):
        """In a child that the application has forked."""
        if self.events:
            self.events.close()
        self.events = None
        self.forget()
        for end in self.escrow or ():
            end.close()
        if self.claim is not None:
            os.close(self.claim)
        self.escrow = self.claim = None

    def next(self):
        """The next request that comes through a listener. None: the daemon has said something, or it is time to leave,
        or to say `back`."""
        worker = self.worker
        while not worker.leaving:
            left = worker.board.accept_until() - boot_time()
            if left <= 0 or self.left <= 0:
                self.shut()
                return None
            try:
                found = self.events.poll(left / 1e9)
            except OSError as error:
                self.shut(error)
                return None
            for fd, _ in found:
                listener = self.listeners.get(fd)
                if not listener:
                    if fd != worker.wake:
                        return None  # the daemon has said something
                    if SIGTERM in os.read(fd, 4096):
                        worker.leaving = True
                    break
            else:
                for fd, _ in found:
                    request = self.take(self.listeners[fd])
                    if request:
                        return request
        return None

    def take(self, listener):
        """Accepts a connection, and begins its request. None: there is none, or it was handed to the daemon."""
        try:
            fd, address = listener.socket._accept()
        except BlockingIOError:
            return None  # another process has it
        except OSError:
            self.left = 0  # the daemon finds out what it is
            return None
        call = Call(listener, fd if fd > 2 else above(fd))
        try:
            if not listener.admits(call, address, self.uid):
                self.hand(call)
            elif not call.read(self.block, self.patience / 1000):
                call.close()  # the client is gone
            elif not self.glance.is_plain(call):
                self.hand(call)
            elif not call.begin():
                call.close()  # its front has taken it back
            else:
                self.worker.board.begin()
                if self.deposit(call) or call.said:
                    return Direct(self, call)
                self.worker.board.end()
                self.left = 0
                self.hand(call)
        except BaseException:
            call.close()
            raise
        finally:
            self.patience = min(self.patience + 1, A_MOMENT) if call.data else max(self.patience - 1, 0)
        return None

    def hand(self, call):
        """Gives the connection to the daemon."""
        try:
            self.worker.daemon.sendmsg((b'handed %d %d\n' % (call.listener.number, call.was_cut), call.data),
                                       call.ancillary())
        except OSError:
            pass  # a front goes on by itself, any other client learns of it by the end
        call.close()

    def deposit(self, call):
        """Puts all that is needed to end the request into the escrow. False: the host refuses it. What a front has been
        told can't be taken back; such a request is then served without."""
        try:
            if self.claim is not None and not call.is_front:
                self.worker.board.lay_out(call.fd, call.listener.number, call.data)
                os.write(self.claim, LAID_DOWN)
            else:
                self.escrow[0].sendmsg((b'%d %s\n' % (call.listener.number, call.said), call.data), call.ancillary())
            call.is_deposited = True
        except OSError:
            call.is_deposited = False
        return call.is_deposited

    def withdraw(self, call):
        """Takes it out again. False: the daemon has it, and ends the request."""
        if not call.is_deposited:
            return True
        try:
            if self.claim is None or call.is_front:
                self.escrow[1].recv(1, MSG_DONTWAIT)
            else:
                os.read(self.claim, 8)
            return True
        except OSError:
            pass
        return False

    def give_away(self, call):
        """Waits until the daemon has its own copy of the connection. False: it will not have the request."""
        if not call.is_deposited:
            return False
        if self.claim is None or call.is_front or not say(self.worker.daemon, b'adopt'):
            return True
        while True:
            size, fds = receive(self.worker.daemon, self.worker.buffer)
            for fd in fds:
                os.close(fd)
            if not size or self.worker.buffer[:size] == b'taken':
                return not self.withdraw(call)


class Listener:
    """One listener, and whom it lets in."""

    def __init__(self, fd, number, kind, *rest):
        """kind: FRONT, with the value of `handoff`; PLAIN, with the uids that may connect, or none for all; TCP."""
        self.number, self.kind = int(number), kind
        self.handoff = rest[0] if kind == FRONT else None
        self.uids = frozenset(map(int, rest)) if kind == PLAIN and rest else None
        # SOCK_NONBLOCK only for this object: the daemon sets the descriptor's flags.
        self.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd)

    def admits(self, call, address, uid):
        """Whether the worker may serve this client. What becomes of any other is the daemon's to say."""
        if self.kind == TCP:
            call.connection().setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            return address[0] == '::1' or address[0][:4] == '127.'
        if self.kind == PLAIN and self.uids is None:
            return True
        peer = call.connection().getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
        call.pid, peer = int.from_bytes(peer[:4], byteorder), int.from_bytes(peer[4:8], byteorder)
        return peer == uid if self.kind == FRONT else peer in self.uids


class Call:
    """A connection with what has come over it."""

    data = b''
    passed = ()  # a front's descriptors: input, output and errors
    was_cut = False  # some did not arrive
    meta = None  # what the application is to see
    is_front = is_apache = is_log = False
    is_deposited = False
    can_read_now = True  # by preadv2, which sockets have from Linux 6.5 on
    pid = 0  # of a front
    socket = None  # the connection as an object, if that is needed
    front = None  # the pidfd of a front that was told to leave
    said = b''  # what the front was told

    def __init__(self, listener, fd):
        self.listener, self.fd = listener, fd

    def connection(self):
        if not self.socket:
            # SOCK_NONBLOCK only for this object.
            self.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, self.fd)
        return self.socket

    def read(self, block, patience):
        """Reads once, what comes within so many seconds. False: the client is gone."""
        for is_last in False, True:
            try:
                size = self.read_passed(block) if self.listener.kind == FRONT else self.read_plain(block)
                self.data = bytes(memoryview(block)[:size])
                return size > 0
            except BlockingIOError:
                if is_last or not ready(patience, (self.fd, POLLIN)):
                    return True
            except OSError:
                return False

    def read_plain(self, block):
        if Call.can_read_now:
            try:
                return os.preadv(self.fd, (block,), -1, RWF_NOWAIT)
            except (BlockingIOError, ConnectionError):
                raise
            except (NotImplementedError, OSError):
                Call.can_read_now = False
        return self.connection().recv_into(block, 0, MSG_DONTWAIT)

    def read_passed(self, block):
        size, ancillary, flags, _ = self.connection().recvmsg_into((block,), PASSED, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
        self.was_cut = bool(flags & MSG_CTRUNC)
        for level, kind, data in ancillary:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                self.passed = [fd if fd > 2 else above(fd) for fd in memoryview(data).cast('i')]
        if len(self.passed) > 3:  # the daemon takes no more, either
            os.close(self.passed.pop())
            self.was_cut = True
        return size

    def ancillary(self):
        return ((SOL_SOCKET, SCM_RIGHTS, PACKED[len(self.passed)](self.fd, *self.passed)),)

    def begin(self):
        """Tells a front that from now on we answer. False: it is gone."""
        if not self.is_front:
            return True
        output = os.fstat(self.passed[1])
        self.is_pipe = stat.S_ISFIFO(output.st_mode)
        errors = os.fstat(self.passed[2])
        self.is_log = self.is_pipe and (output.st_dev, output.st_ino) == (errors.st_dev, errors.st_ino)
        how = self.listener.handoff
        words = b'QTD' if how == 'exit' or how == 'auto' and self.is_apache and self.is_pipe else b'QT'
        if words == b'QTD':
            self.front = opened(self.pid)  # before it is told: a front that has not left still has its pid
        try:
            self.connection().send(words, MSG_DONTWAIT)
        except OSError:
            return False
        self.said = words[-1:]
        return True

    def has_ended(self):
        """Tells a front to leave, and waits for that a little: a web server that sees the end of the response is to
        find its CGI gone. False: it is there still, and the daemon finds out."""
        if not self.is_front:
            return True
        if self.front is None:
            self.front = opened(self.pid)
            if self.front is None:
                return False
        try:
            if self.said != b'D':
                self.connection().send(b'D', MSG_DONTWAIT)
                self.said = b'D'
            return self.front in ready(FRONT_TIME, (self.front, POLLIN))
        except OSError:
            return False

    def close(self):
        """Closes all of it, once: in a child of the application's these numbers may be those of other files later."""
        fds, self.fd, self.passed, self.front = (self.fd, *self.passed, self.front), None, (), None
        if self.socket:
            self.socket.detach()
            self.socket = None
        for fd in fds:
            try:
                if fd is not None:
                    os.close(fd)
            except OSError:
                pass  # the application has closed it


def opened(pid):
    """The pidfd of a process. None: the host has none, or Python, from 3.9 on, or the process is gone."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


class Direct(Served):
    """A request that a worker has taken itself."""

    is_direct = True  # the daemon need not learn of it
    is_told = False  # the daemon has learned of it
    has_raised = False  # and a page of its own is due

    def __init__(self, doorway, call):
        self.doorway, self.call = doorway, call
        letters = ',s' if call.is_log else ','
        out = call.passed[1] if call.is_front else call.fd
        Served.__init__(self, doorway.worker, call.meta, (None, out, None), letters)

    def pairs(self, meta):
        return self.call.environ

    def give_up(self, reason):
        self.is_told = True
        self.has_raised = not self.begun
        Served.give_up(self, reason)

    def close(self):
        """The response is complete, or the application has forked this process."""
        call, doorway = self.call, self.doorway
        if self.outgoing:
            self.is_told |= self.outgoing.passed
            self.outgoing.close()
        if not self.forked:
            is_told = self.is_told or self.gone or self.overdue or doorway.said and doorway.said.poll(0)
            self.is_direct = not is_told and doorway.withdraw(call)
            if self.is_direct and not call.has_ended():
                self.is_direct = not doorway.deposit(call)
            if not self.is_direct and not doorway.give_away(call) and self.has_raised:
                answer_500(self.out)
        call.close()
        self.out, self.fds = -1, ()
        if self.forked:
            return
        if self.is_direct:
            doorway.left -= 1
            self.worker.board.count()
        # Else the daemon takes from the board when it began, and clears it.
