# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: flush from wsgi.py.
# Gives: AT_IMPORT, Begun, LAST_WORDS, ZYGOTE.
#
# The processes that an application has started and left running, and their end. It knows marks of processes and
# signals; it refuses to know requests and the daemon's channel.
#
# Theory of operation. What a generation has started ends with it. Every process that an application starts inherits a
# mark, also if it makes a session of its own or loses its parent: the soft value of RLIMIT_LOCKS, a resource limit to
# which the kernel has given no meaning since 2.4. The mark says under which daemon the process was started, by which
# zygote or worker (the owner), and whether during the import. When the owner ends, it ends all that was started during
# the import, and also what a request has started, unless that made a session of its own (`git gc --auto`, a mail job):
# by SIGTERM, and SIGKILL a second later. This comes last at exit, after the application's own exit handlers.
#
# If the owner is killed, the daemon does that (src/sys/mark.rs). If the daemon dies, its zygotes do it for all that has
# the daemon's mark, once the workers are gone.

from _signal import ITIMER_REAL, SIGALRM, SIGKILL, setitimer
from resource import getrlimit, prlimit, setrlimit

LOCKS = 10  # RLIMIT_LOCKS, which the module does not have
PID = (1 << 24) - 1
AT_IMPORT, ZYGOTE = 1 << 48, 1 << 49
GRACE = 1  # seconds between the two signals
EXIT_TIME = 2  # seconds for the exit handlers, before another import or after one that failed
LAST_WORDS = 30  # seconds for the exit handlers and threads of a zygote or worker
run_exit_handlers = atexit._run_exitfuncs


class Begun:
    owner = None  # the pid of the process that ends what it has started; None: it is not this one
    is_ending = False
    is_orphaned = False  # the daemon is dead

    def __init__(self):
        self.daemon = os.getppid()
        self.session = os.getsid(0)
        atexit.register(self.end)

    def own(self, flags):
        """Marks this process and all that it starts from now on as its own."""
        self.owner = os.getpid()
        try:
            setrlimit(LOCKS, (flags | self.daemon << 24 | self.owner, getrlimit(LOCKS)[1]))
        except (OSError, ValueError):
            pass  # the hard limit is lower: then only the process group shows what is ours

    def disown(self):
        """In a child that the application has forked."""
        self.owner = None

    def found(self):
        """(pid, flags, owner, session) of each other running process with a mark of our daemon."""
        for name in os.listdir('/proc'):
            if not name.isdigit() or int(name) == self.owner:
                continue
            try:
                mark = prlimit(int(name), LOCKS)[0]
                if mark >> 24 & PID != self.daemon:
                    continue
                with open('/proc/%s/stat' % name, 'rb') as file:
                    state, _, _, session = file.read().rpartition(b')')[2].split()[:4]
            except OSError:
                continue  # it has ended, or is another user's
            if state not in b'ZX':
                yield int(name), mark, mark & PID, int(session)

    def victims(self):
        """The pids of the processes that this one must end."""
        for pid, flags, owner, session in self.found():
            is_ours = owner == self.owner or self.is_orphaned
            if is_ours and not (pid == owner and flags & ZYGOTE) and (flags & AT_IMPORT or session == self.session):
                yield pid

    def end(self):
        if self.owner != os.getpid():
            return
        self.is_ending = True
        for number in SIGTERM, SIGKILL:
            until = time.monotonic() + GRACE
            pids = list(self.victims())
            for pid in pids:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass  # it has ended, or become another user's
            while pids and time.monotonic() < until:
                time.sleep(0.01)
                pids = list(self.victims())
            if not pids:
                break

    def has_workers(self):
        return any(pid == owner and not flags & ZYGOTE for pid, flags, owner, _ in self.found())

    def look_after_orphans(self, seconds):
        """In a zygote whose channel has ended without `leave`: the daemon is dead, or has become another version."""
        until = time.monotonic() + GRACE
        while os.getppid() == self.daemon and time.monotonic() < until:
            time.sleep(0.01)  # the kernel closes its descriptors before it gives its children another parent
        self.is_orphaned = os.getppid() != self.daemon
        until = time.monotonic() + seconds
        while self.is_orphaned and self.has_workers() and time.monotonic() < until:
            time.sleep(0.2)

    def limit_exit(self, seconds):
        """Ends what takes longer than this in all, exit handlers and waits for threads, one by one by SystemExit."""
        signal(SIGALRM, self.give_up)
        setitimer(ITIMER_REAL, seconds, 1)

    def give_up(self, *_):
        if not self.is_ending:
            raise SystemExit

    def end_now(self):
        """Does what Python would do at exit, except for threads, and returns."""
        try:
            self.limit_exit(EXIT_TIME)
            run_exit_handlers()
        except BaseException:
            pass  # Python before 3.10 raises the error of the last handler, which was shown
        self.end()  # if the application has unregistered it
        setitimer(ITIMER_REAL, 0)
        self.is_ending = False
        flush()
