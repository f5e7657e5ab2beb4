# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: POLLIN, POLLOUT, fits, ready, unlinked from streams.py.
# Gives: AT_ONCE, Outgoing.
#
# The response's way to a client that may be slow. It knows the client's descriptor and the spool; it refuses to know
# what the bytes mean.
#
# Theory of operation. A worker writes to the client as long as the client takes bytes. When it takes none, the worker
# waits, but for each ENOUGH_TAKEN bytes no longer than its patience: a client that needs longer is slow, and the rest
# of the block goes to an unlinked file, the spool file. `spooled` gives the daemon that file, `more` says that there is
# more in it. The daemon sends it while the application goes on, and after the worker is done.
#
# The file's own offset, which worker and daemon share, says how far the daemon has got. Bytes are sent in their order,
# since we write to the client only when the offset has reached the end of the file. The file is then truncated before
# the offset is set back, so that nothing is sent twice. The pages that are still on their way through a pipe no longer
# belong to the file, so what is written later does not show in them.
#
# No room is reserved in the file: the daemon would send it before it is written. What finds no room is still in our
# hands. When the spool is full, the client is waited for: by us if the file is empty, else by the daemon, which answers
# our `full` with `empty` once all is sent.

from _socket import AF_UNIX, MSG_DONTWAIT, SCM_RIGHTS, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, socket
from sys import byteorder

PATIENCE, LITTLE_PATIENCE = 0.02, 0.002  # seconds: as a rule, and while others wait for a worker
ENOUGH_TAKEN = 65536  # bytes
AT_ONCE = 4096  # bytes: PIPE_BUF, the least that an empty pipe takes


class Outgoing:
    """The response to the client of one request."""

    def __init__(self, fd, shared, body, worker):
        """shared: other processes have the descriptor, so its flags must stay. body: the message-body, which the client
        may still be sending instead of reading the response."""
        self.fd, self.shared, self.body, self.worker = fd, shared, body, worker
        self.kind = None  # of fd, as in st_mode
        self.client = None  # fd as a socket object
        self.file, self.tail = None, 0  # the spool file, and its end
        self.passed = False  # the daemon has the file
        self.taken = self.waited = 0  # bytes, and the seconds that we waited meanwhile

    def put(self, data, empty):
        """Writes or spools all of it. empty: nothing was written before, so a pipe is empty."""
        view = memoryview(data)
        patient = True
        while view:
            if self.empty_if_sent():
                view = self.write(view, empty, patient)
                if not view:
                    break
            rest = self.spool(view)
            patient = len(rest) < len(view)
            if rest and not self.empty_if_sent():
                self.wait_until_sent()
                patient = True
            view = rest

    def write(self, view, empty, patient):
        """Writes to the client. Returns the rest if the client is slow."""
        self.look_at_it()
        if empty and len(view) > AT_ONCE and self.kind == stat.S_IFIFO:
            fits(self.fd, len(view))
        while view:
            size = self.write_some(view)
            if size:
                view = view[size:]
                self.taken += size
                self.worker.moved()
                continue
            if not self.waited:
                self.taken = 0  # so far only the kernel's buffers were filled
            began = time.monotonic()
            patience = LITTLE_PATIENCE if self.worker.board.is_wanted() else PATIENCE
            left = max(patience - self.waited, 0) if patient else None
            if self.fd not in ready(left, (self.fd, POLLOUT), *self.body_events()):
                self.read_body()
            self.waited += time.monotonic() - began
            if self.waited >= patience:
                is_slow = patient and self.taken < ENOUGH_TAKEN
                self.waited = 0
                if is_slow:
                    break
        return view

    def look_at_it(self):
        if self.kind is not None:
            return
        self.kind = stat.S_IFMT(os.fstat(self.fd).st_mode)
        if self.kind == stat.S_IFSOCK:
            # SOCK_NONBLOCK only for this object: the descriptor's flags belong to the web server as well.
            self.client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, self.fd)
        elif self.kind == stat.S_IFIFO and not self.shared:
            os.set_blocking(self.fd, False)

    def write_some(self, view):
        try:
            if self.client:
                return self.client.send(view, MSG_DONTWAIT)
            if self.kind == stat.S_IFIFO and self.shared:
                # A pipe that is ready has room for at least AT_ONCE bytes.
                return os.write(self.fd, view[:AT_ONCE]) if ready(0, (self.fd, POLLOUT)) else 0
            return os.write(self.fd, view)
        except BlockingIOError:
            return 0

    def body_events(self):
        """What else to wait for: the message-body. Some web servers read no response before we have read all of it, and
        we would wait for each other."""
        return ((self.body.fd, POLLIN),) if self.body and self.body.must_be_read() else ()

    def read_body(self):
        if self.body_events() and ready(0, *self.body_events()):
            self.body.keep()

    def spool(self, view):
        """Writes to the file. Returns what has no room there."""
        if ready(0, (self.fd, 0)):  # an error, or the other end is closed; a half-closed one is neither
            raise BrokenPipeError('the client is gone')
        whole = view
        try:
            if not self.worker.board.has_room(len(view), self.tail):
                return whole
            if self.file is None:
                self.file = unlinked()
            while view:
                size = os.pwrite(self.file, view, self.tail)
                view = view[size:]
                self.tail += size
        except OSError:
            pass  # the disk is full: what was written stays
        if len(view) == len(whole):
            return whole
        self.worker.moved()
        if self.passed:
            self.worker.daemon.send(b'more')
            return view
        try:
            self.worker.daemon.sendmsg([b'spooled'], [
                (SOL_SOCKET, SCM_RIGHTS, self.file.to_bytes(4, byteorder))])
        except ConnectionError:
            raise
        except OSError:  # ETOOMANYREFS: the file can't be passed, so the daemon would not send it
            os.ftruncate(self.file, 0)
            self.tail = 0
            return whole
        self.passed = True
        return view

    def empty_if_sent(self):
        """Empties the file if the daemon has sent all of it. True: nothing is left to send."""
        if self.tail and os.lseek(self.file, 0, 1) >= self.tail:  # SEEK_CUR
            os.ftruncate(self.file, 0)
            os.lseek(self.file, 0, 0)  # SEEK_SET
            self.tail = 0
        return self.tail == 0

    def wait_until_sent(self):
        self.worker.daemon.send(b'full')
        self.worker.disarm()  # a slow client may take any time; if the daemon ends, so does the channel
        while not self.worker.hear_empty(None, *self.body_events()):
            self.read_body()
        self.worker.arm()
        if not self.empty_if_sent():
            raise BrokenPipeError('the daemon has given the client up')

    def close(self):
        if self.client:
            self.client.detach()
        if self.file is not None:
            os.close(self.file)
        self.client = self.file = None
        self.tail = 0
        self.fd = -1
