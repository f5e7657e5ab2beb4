# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: above, at_fork, name_process from wsgi.py; POLLIN, poll, ready from streams.py; Journal, NOTED, files,
# note_templates, now_settled from loaded.py; AT_IMPORT, LAST_WORDS from begun.py; LARGEST, receive, say from channel.py; Board,
# OVERDUE, mmap from board.py; forget_children, import_or_exit, note_failure from zygote.py; Served from served.py; Doorway
# from doorway.py.
# Gives: Worker.
#
# A worker: takes requests from its channel and serves them one after the other. It knows the channel, signals and its
# own limits; it refuses to know the other workers.
#
# Theory of operation. A worker says `ready`, then takes a request, serves it, and says `done`. A request without a
# message-body costs five system calls: poll, recvmsg, write, close, send.
#
# SIGTERM ends an idle worker at once and a busy one after its request. No request is lost or cut by it:
# - The handler only sets a flag. What wakes the worker is the byte that the C handler writes to the wakeup descriptor,
#   which the worker polls together with the channel. A signal that comes at any time before poll() has left its byte
#   there. (A handler that raises would be too early, or, between the last bytecode and the system call, too late.)
# - The application may take the signal for itself, so after each request, before `done`, the worker looks whether the
#   handler is still its own. The application may also take the wakeup descriptor alone, which can't be seen: therefore
#   the handler, which interrupts poll(), writes the byte as well.
# - Before an idle worker leaves, it shuts its channel for reading. The daemon's next send fails, so the daemon knows. A
#   request that was sent before is still there, and is served.
# - Once a worker has left its loop, SIGTERM cuts neither the application's exit handlers nor its destructors.
# - If the board says that the request is overdue, the handler raises SystemExit, once, and only inside what
#   Served.run() calls: our own code around it never meets the exception. Nothing is written any more.
#
# While a worker serves, SIGALRM is set for its own end, and moved on when a request comes or a block moves: if the
# daemon has died, no other process would end the worker. A worker that waits for a request turns the alarm off in time.

from _signal import ITIMER_REAL, SIGALRM, set_wakeup_fd
from _socket import SHUT_RD, socket
from resource import RLIM_INFINITY, RLIMIT_CPU, getrlimit

DIGITS = ord('9')  # a request begins with a number; in other words of the daemon's the first byte is larger
QUIET = 1  # seconds without a request after which a worker turns off its alarm
ENOUGH = 0.8  # of the CPU time that RLIMIT_CPU leaves us
# The CPU time as RLIMIT_CPU counts it, by ticks: a sixth more than process_time() on a busy host. It is
# MAKE_PROCESS_CPUCLOCK(0, CPUCLOCK_PROF) in the kernel's words.
AS_LIMITED = -8


def prefer_for_oom():
    """When memory is short, the kernel is to take a worker rather than the web server."""
    try:
        with open('/proc/self/oom_score_adj', 'w') as file:
            file.write('500')
    except Exception:
        pass  # the kernel does not let us; nothing depends on it


class Worker:
    """Serves one request after the other."""

    def __init__(self, zygote, index, channel, stderr):
        os.setpgid(0, 0)
        zygote.daemon.close()
        zygote.forget_listeners()
        self.take_stderr(stderr)
        self.board = Board(zygote.board, index)
        os.close(zygote.board)
        self.switch, self.armed = zygote.switch, None  # seconds until the alarm; when that was set
        self.max_rss = zygote.max_rss
        limit = getrlimit(RLIMIT_CPU)[0]
        self.max_cpu = None if limit == RLIM_INFINITY else limit * ENOUGH
        self.begun = zygote.begun
        self.begun.own(0 if zygote.preload else AT_IMPORT)
        forget_children()
        self.journal = zygote.journal
        self.dropped = zygote.dropped
        self.daemon = socket(fileno=channel)
        self.daemon.settimeout(None)  # the application may have set a default
        # A mapping takes memory only for the pages that are used; a bytearray takes all of it at once.
        self.buffer = mmap.mmap(-1, LARGEST, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.request = None
        self.leaving = False
        self.wake, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        self.events = poll()
        for fd in channel, self.wake:
            self.events.register(fd, POLLIN)
        self.handler = self.terminate
        self.doorway = Doorway(self)
        at_fork(self.disown)
        prefer_for_oom()
        name_process(b'worker')
        self.known = zygote.watch.known
        if zygote.preload:
            self.app = zygote.app
            self.seen = zygote.seen
        else:
            self.import_app(zygote)
        register(SIGRTMAX, 2, all_threads=True, chain=False)
        self.listen()
        say(self.daemon, 'ready %d' % os.getpid())

    def take_stderr(self, stderr):
        for fd in 1, 2:
            os.dup2(stderr, fd)
        os.close(stderr)
        try:
            # The pipe's reading end: a line that is logged after the daemon's death gets no EPIPE.
            self.stderr = os.open('/proc/self/fd/2', os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            self.stderr = None  # the import took another uid; nothing else depends on it

    def import_app(self, zygote):
        say(self.daemon, 'born %d' % os.getpid())
        self.seen = None
        self.began = time.time_ns()
        self.app = import_or_exit(zygote.target, self.daemon, self.begun, lambda error: note_failure(
            zygote, error, files(self.began)))
        self.begun.own(0)
        self.note()

    def listen(self):
        set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal(SIGTERM, self.handler)

    def terminate(self, *_):
        self.leaving = True
        try:
            os.write(self.waker, bytes((SIGTERM,)))
        except OSError:
            pass  # the pipe is full: there is a byte to read
        if self.request and self.board.told() == OVERDUE:
            self.request.end()

    def note(self):
        """Records what was imported since the last time, for the zygote to watch."""
        seen = len(modules), len(NOTED)
        if not self.journal or seen == self.seen:
            return
        self.seen = seen
        note_templates()
        found = files(self.began)
        # A file that is written and imported within one tick would look changed again and again.
        new = now_settled({path: found[path] for path in found.keys() - self.known.keys()})
        self.known.update(new)
        if new:
            self.journal.add(new, Journal.LOADED)

    def disown(self):
        """In a child that the application forked: gives up all that is the worker's."""
        self.begun.disown()
        self.armed = None
        if self.request:
            self.request.disown()
        self.daemon.close()
        self.doorway.disown()
        if self.journal:
            os.close(self.journal.fd)
            self.journal = None
        if self.wake >= 0:  # once: in a child of the child these numbers may be those of other files
            if self.stderr is not None:
                os.close(self.stderr)
            os.close(self.wake)
            os.close(self.waker)
            self.wake = self.waker = -1
            set_wakeup_fd(-1)
        if getsignal(SIGTERM) is self.handler:
            signal(SIGTERM, SIG_DFL)

    def moved(self):
        """A block was read or taken by the client."""
        self.board.count_block()
        if self.armed and time.monotonic() - self.armed > self.switch / 4:
            self.arm()

    def arm(self):
        """Sets SIGALRM, which ends the worker if nothing moves for `switch` seconds and the daemon does not end it.
        Not where the application has its own use for the signal."""
        self.disarm()
        if self.switch and getsignal(SIGALRM) == SIG_DFL:
            self.armed = time.monotonic()
            alarm(self.switch)

    def disarm(self):
        armed, self.armed = self.armed, None
        # The alarm may be the application's by now.
        if armed and (getsignal(SIGALRM) == SIG_DFL or abs(
                armed + self.switch - time.monotonic() - getitimer(ITIMER_REAL)[0]) < 0.1):
            alarm(0)

    def hear_empty(self, seconds, *wanted):
        """Waits until one of `wanted` is ready or the daemon says `empty`: True if it said so."""
        if self.daemon.fileno() not in ready(seconds, (self.daemon.fileno(), POLLIN), *wanted):
            return False
        size, fds = receive(self.daemon, self.buffer)
        for fd in fds:
            os.close(fd)
        if not size:
            raise BrokenPipeError('the daemon is gone')
        return self.buffer[:size] == b'empty'

    def is_spent(self):
        """Whether the worker has become too large, or has used up most of the CPU time that it may take."""
        try:
            if self.max_rss:
                with open('/proc/self/statm', 'rb') as file:
                    pages = int(file.read().split()[1])
                if pages * mmap.PAGESIZE > self.max_rss:
                    return True
        except OSError:
            pass  # no /proc, or no descriptor: looked at again after the next request
        return self.max_cpu is not None and time.clock_gettime(AS_LIMITED) > self.max_cpu

    def serve(self):
        last = False
        while not last and self.next():
            # No `|=`: it would write back what it read before a signal came.
            if self.request.serve(self.load):
                self.leaving = True
            is_direct, self.request = self.request.is_direct, None
            self.note()
            if getsignal(SIGTERM) is not self.handler:
                self.listen()
            if self.is_spent():
                self.leaving = True
            last = self.leaving  # read once, since it may change: what the daemon is told must be what we do
            if is_direct and not last:
                continue
            self.doorway.end(b'back' if is_direct else b'done', last)
        self.daemon.close()  # Python 3.9 would end with SIGSEGV if a socket were left open
        signal(SIGTERM, self.handler)
        # What the application does at exit may hang, and the daemon, which would kill us, may be dead.
        signal(SIGALRM, SIG_DFL)
        alarm(LAST_WORDS)

    def load(self):
        return self.app

    def next(self):
        """Waits for a request; False when it is time to leave."""
        while True:
            if self.doorway.events and not self.leaving:
                self.request = self.doorway.next()
                if self.request:
                    self.begin()
                    return True
            self.wait()
            size, fds = receive(self.daemon, self.buffer)
            if not size:
                return False
            if self.buffer[0] > DIGITS:
                self.doorway.hear(self.buffer[:size].decode('latin-1'), fds)
            elif fds:  # else it is a late `empty`, for a response that the application has given up
                self.request = self.given(size, fds)
                self.begin()
                return True

    def wait(self):
        """Waits until the daemon says something, or it is time to leave."""
        while not self.leaving:
            left = None
            if self.armed:  # for QUIET, but only as long as the alarm does not ring
                left = min(self.armed + self.switch * 3 / 4 - time.monotonic(), QUIET)
            try:
                events = self.events.poll(left and 1000 * max(left, 0))
            except OSError:
                return  # the host refuses it: receive() waits instead, and a SIGTERM has to wait as well
            if not events:
                self.disarm()
            elif self.wake not in dict(events):
                return
            # The handler may not have run yet, or be the application's: the byte alone tells of the signal.
            elif SIGTERM in os.read(self.wake, 4096):
                self.leaving = True
        if self.doorway.events:
            self.doorway.end(b'back', True)
        self.daemon.shutdown(SHUT_RD)

    def given(self, size, fds):
        """The request that the daemon has given."""
        if min(fds) < 3:
            fds = [fd if fd > 2 else above(fd) for fd in fds]
        source = ahead = None
        if len(fds) == 1:  # there is no message-body
            out, = fds
        else:
            source, out, *ahead = fds
            ahead = ahead[0] if ahead else None
        # A netstring, and behind it letters (see Served), none of which is a comma.
        words = self.buffer[:size].decode('latin-1')
        end = words.rindex(',')
        request = Served(self, words[words.index(':') + 1:end], (source, out, ahead), words[end:])
        if ahead and not request.body:
            os.close(ahead)
        return request

    def begin(self):
        if not self.armed or time.monotonic() - self.armed > self.switch / 4:
            self.arm()
        self.began = time.time_ns()
