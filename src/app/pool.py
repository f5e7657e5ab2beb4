# The zygote and its workers. They know the daemon's channel; they refuse to know how many of them
# there should be.
#
# Theory of operation. The zygote imports the application once, says `ready`, and on `spawn` forks
# twice: the child in between exits at once, so that the worker becomes a child of the daemon, which
# is the subreaper. A worker says `ready`, then takes one request after the other from its channel.
# Where the import leaves behind what a fork would break (a thread, a connection, an event loop), the zygote says
# `unsafe` and starts itself anew as one that imports nothing; each worker then imports for itself,
# and says `born` before, so that the daemon knows whom to end if the import never does. It also starts
# anew if a file changed while it was imported, up to ATTEMPTS times; which one this is stands in the
# command line, where PRELOAD was. Between `importing` and `imported` the application's own code runs: how
# the process ends is its doing then, and the host's otherwise. An exception that tells of the host makes it
# `refused` and not `failed`. On `look` the zygote looks whether what was imported is still the
# same.
#
# SIGTERM ends an idle worker at once and a busy one after its request, and a request is neither
# lost nor cut by it:
# - The handler only sets a flag; what wakes the worker is the byte that the C handler writes to the
#   wakeup descriptor, on which it polls together with the channel. A signal that comes at any time
#   before poll() has left its byte there. (A handler that raises would be too early, or, between
#   the last bytecode and the system call, too late.)
# - The application may take the signal for itself, so we look after each request, before `done`, whether
#   it is still ours. It may take the wakeup descriptor alone, which nobody can see: so the handler, which
#   interrupts poll(), writes the byte as well.
# - Before an idle worker leaves, it shuts its channel for reading. The daemon's next send fails, so
#   that it knows; a request that was sent before is still there, and is served.
# - Once a worker has left, no SIGTERM cuts what the application does at exit, and as its objects go.
# - If the board says that the request has taken too long, the handler raises SystemExit, once, and
#   only in what Served.run() calls: our own code around it never meets it. Nothing is written any more.
#
# A worker sets SIGALRM for its own end while it serves, and moves it on as its requests come and move:
# nobody else would end it if the daemon died. One that waits for a request takes it off in time.
#
# A request without a message-body costs a worker five system calls: poll, recvmsg, write, close, send.
#
# The C modules _signal and _socket, since signal and socket take 6 ms to import.

import gc
import mmap
from _signal import set_wakeup_fd
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SHUT_RD, SO_TYPE, SOCK_DGRAM
from resource import RLIM_INFINITY, RLIMIT_CPU

for name in modules.keys() - BEFORE - set(sys.builtin_module_names):
    del modules[name]  # the application imports its own
gc, mmap = map(copy, (gc, mmap))
LARGEST = 1 << 20  # bytes of a packet; a send buffer is smaller by default
ROOM = CMSG_SPACE(12)  # bytes: beside it come three descriptors
TRIES = 3  # of a call that the host has refused, where nothing can go on without
QUIET = 1  # seconds without a request after which a worker needs nobody to end it
ATTEMPTS = 5  # at an import during which no file changes
BOARD = 16384  # bytes: in each part one place for each worker
MOVED = 4096 // 4  # of its numbers of 32 bits
TOLD = 8192
SPOOL = 12288 // 8  # of its numbers of 64 bits: those in the spool, the most, and how many wait for us
GONE, OVERDUE = 1, 2
ENOUGH = 0.8  # of the CPU time that RLIMIT_CPU leaves us
# What one process is told by one of these its siblings are not, and what it changes changes for them too.
ONE_READER = frozenset('anon_inode:' + kind for kind in (
    '[eventfd]', '[eventpoll]', '[io_uring]', '[timerfd]', 'inotify'))
# The CPU time as RLIMIT_CPU counts it, by ticks: a sixth more than process_time() on a busy host. It is
# MAKE_PROCESS_CPUCLOCK(0, CPUCLOCK_PROF) in the kernel's words.
AS_LIMITED = -8


def say(channel, words):
    """words: bytes, or any text."""
    if not isinstance(words, bytes):
        words = words.encode('ascii', 'backslashreplace')
    for _ in range(TRIES):
        try:
            channel.send(words)
            return
        except ConnectionError:
            return  # the daemon is gone, as the next receive() will find
        except OSError:
            pass  # the host has refused it: the daemon would wait for it
    os._exit(71)  # and is told by our end; EX_OSERR


def receive(channel, buffer):
    """The size of the next packet, 0 when the other end is gone, and its descriptors."""
    for left in reversed(range(TRIES)):
        try:
            size, ancillary, flags, _ = channel.recvmsg_into([buffer], ROOM, MSG_CMSG_CLOEXEC)
            break
        except ConnectionError:
            return 0, []
        except OSError:
            if not left:
                raise  # what the host does not let us have is still there
    if flags & (MSG_CTRUNC | MSG_TRUNC):
        raise OSError('a message from the daemon was cut: too many open descriptors')
    return size, [fd for level, kind, data in ancillary
                  if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
                  for fd in memoryview(data).cast('i')]


def import_or_exit(target, channel, begun, before=None):
    """before: what is called before an error is told."""
    say(channel, b'importing')
    try:
        found = load(target)
        say(channel, b'imported')
        return found
    except BaseException as error:
        if before:
            before(error)
        show(error)
        flush()
        reason = '%s: %s' % (type(error).__name__, error)
        word = 'refused ' if is_host_s(error) else 'failed '
        say(channel, word + ' '.join(reason.split())[:500])
        begun.end_now()
        os._exit(1)


class Zygote:
    """Has the application imported, and forks workers."""

    def __init__(self, target, directory, channel, page, loaded, preload, modules, timing, *limits):
        # How we were started, whatever the import does to it.
        self.environ = dict(os.environ)  # as bytes
        self.python = sys.executable or '/proc/self/exe'
        with open('/proc/self/cmdline', 'rb') as file:
            self.argv = file.read().split(b'\0')[:-1]
        self.preload_at = len(self.argv) - len(sys.argv) + 7
        self.target, self.folder = target, directory
        self.page = int(page)
        self.fds = int(channel), int(page), int(loaded)
        for fd in self.fds:
            os.set_inheritable(fd, False)
        self.daemon = socket(fileno=int(channel))
        self.daemon.settimeout(None)
        Request.way = b'daemon' if timing == '1' else None
        self.max_rss, self.switch = map(int, limits[:2])
        global FOLDERS
        FOLDERS = limits[2:3]
        self.journal = Journal(int(loaded)) if modules == '1' else None
        if self.journal:
            self.journal.begin()
        self.watch = Watch(limits[3:], self.journal)
        self.dropped = mmap.mmap(-1, len(DROPPED))  # shared with the workers: what was told of
        settle(target, directory)
        try:
            os.setpgid(0, 0)
        except OSError:
            pass  # it leads a session, and so its group
        self.begun = Begun()
        self.begun.own(AT_IMPORT | ZYGOTE)
        SourceFileLoader.path_stats = noting_path_stats
        self.app = None
        self.preload = int(preload)  # or which attempt this is
        if self.preload:
            self.began = time.time_ns()
            self.app = import_or_exit(target, self.daemon, self.begun, self.failed)
            self.check()
            loaded = files(self.began)
            self.retry_if_unstable(loaded)
            self.watch.known = now_settled(loaded)
            flush()
            gc.collect()
            gc.freeze()
        signal(SIGTERM, SIG_DFL)
        say(self.daemon, 'ready')

    def failed(self, error):
        """Of an import that failed since the files changed under it, nobody needs to hear."""
        loaded = files(self.began)
        self.retry_if_unstable(loaded)
        note_failure(self, error, loaded)

    def retry_if_unstable(self, loaded):
        if unstable(loaded):
            if self.preload < ATTEMPTS:
                self.start_anew(self.preload + 1)
            # It changes itself. What it is now is what there is.
            loaded.update({path: signature(path) for path in loaded})

    def serve(self):
        """Carries out what the daemon says. In a worker, this returns its index and its ends of
        channel and stderr; in the zygote None, when it is to end."""
        buffer = bytearray(64)
        while True:
            size, fds = receive(self.daemon, buffer)
            if not size or buffer[:size] == b'leave':
                return self.leave(is_told=size)
            if buffer[:size] == b'look':
                for words in self.watch.changes():
                    say(self.daemon, words)
                say(self.daemon, 'looked')
                continue
            index = int(buffer[:size].split()[1])
            self.check(index, fds)
            if self.fork(index, fds):
                return (index, *fds)

    def leave(self, is_told):
        """The application's exit handlers are to run, and then what it has started is to end."""
        signal(SIGTERM, lambda *_: None)
        if not is_told:
            self.begun.look_after_orphans(self.switch)
        self.begun.limit_exit(LAST_WORDS)

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
                try:
                    os.read(gate, 1)  # until our parent is the daemon, and fds are ours alone
                except OSError:
                    pass  # it will be in a moment
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
        self.start_anew(0)

    def start_anew(self, preload):
        self.begun.end_now()
        for number in SIGTERM, SIGALRM:
            signal(number, SIG_DFL)
        say(self.daemon, b'imported')  # until the next one imports
        for fd in self.fds:
            os.set_inheritable(fd, True)
        try:
            os.chdir(self.folder)  # by its name: a release may have been switched
        except OSError:
            pass  # the import will tell what is missing
        pthread_sigmask(SIG_SETMASK, ())
        self.argv[self.preload_at] = b'%d' % preload
        os.execve(self.python, self.argv, self.environ)

    def unsafe(self, ours):
        tasks = len(os.listdir('/proc/self/task'))
        if tasks > 1:
            return 'the import left %d threads running' % (tasks - 1)
        for name in os.listdir('/proc/self/fd'):
            try:
                fd = int(name)
                if fd < 3 or fd in ours:
                    continue
                kind = stat.S_IFMT(os.fstat(fd).st_mode)
                if kind == stat.S_IFSOCK and connected(fd):
                    return 'the import left descriptor %d connected' % fd
                if not kind and os.readlink('/proc/self/fd/' + name) in ONE_READER:
                    return 'the import left descriptor %d, which is of an event loop' % fd
            except OSError:
                pass  # not open any more, or not connected
        return None


def forget_children():
    """What multiprocessing has started at the import is the zygote's: at exit it would be ended for all of us."""
    try:
        modules['multiprocessing.process']._children.clear()
    except Exception:
        pass  # it was not imported


def connected(fd):
    """Whether what is read here would be missing elsewhere. Datagrams, as to syslog, come whole."""
    # As in beside(): the flags are the application's.
    peer = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, os.dup(fd))
    try:
        return peer.getsockopt(SOL_SOCKET, SO_TYPE) != SOCK_DGRAM and peer.getpeername() is not None
    finally:
        peer.close()


def note_failure(zygote, error, loaded):
    if zygote.journal:
        loaded = {**loaded, **suspects(error, zygote.folder)}
        zygote.journal.add(now_settled(loaded), Journal.FAILED)


class Served(Request):
    """A request that a worker serves."""

    running = False
    outgoing = None  # until the client does not take everything at once

    def __init__(self, worker, meta, source, out, ahead, letters):
        """letters: what else is to be known."""
        Request.__init__(self, meta, source, out, ahead, worker.moved)
        self.worker = worker
        self.shared, self.for_error = 's' in letters, 'e' in letters  # as Outgoing has it; as Request has

    def run(self, app):
        self.running = True
        try:
            Request.run(self, app)
        finally:
            # A signal that comes before this is done raises here, and never again.
            self.running = False

    def end(self, *_):
        """It has taken too long. The handler, or put() if that is first."""
        if self.running and not self.overdue:
            self.overdue = True
            raise SystemExit('the request has taken too long')

    def put(self, data, empty=False):
        worker = self.worker
        try:
            if self.out < 0:
                raise BrokenPipeError('the request is over, or another process\'s')
            told = worker.page[TOLD + worker.index]
            if told:  # nobody wants what is written
                if told == OVERDUE:
                    self.end()
                raise BrokenPipeError('the client is gone')
            worker.page[worker.index] = 1
            if empty and len(data) <= AT_ONCE and not self.shared:
                try:
                    data = data[os.write(self.out, data):]
                    worker.moved()
                except ConnectionError:
                    raise
                except OSError:
                    pass  # the web server left it so, or the host refuses it: once more
            if data:
                if not self.outgoing:
                    self.outgoing = Outgoing(self.out, self.shared, self.body, worker)
                self.outgoing.put(data, empty)
        except OSError:
            self.gone = True
            raise

    def is_first(self, number):
        """Once for each generation, whichever worker comes first."""
        worker = self.worker
        if worker.journal:
            with worker.journal:
                said, worker.dropped[number] = worker.dropped[number], 1
        else:
            said, worker.dropped[number] = worker.dropped[number], 1
        return not said

    def leave_body(self):
        """The daemon reads it out, and waits for slow clients. Not when we were interrupted: it may have
        been between a read and our knowing of it."""
        if self.body.fed and self.body.left and not self.overdue:
            say(self.worker.daemon, 'unread %d' % self.body.left)

    def close(self):
        if self.outgoing:
            self.outgoing.close()
        Request.close(self)


class Worker:
    """Serves one request after the other."""

    def __init__(self, zygote, index, channel, stderr):
        os.setpgid(0, 0)
        zygote.daemon.close()
        for fd in 1, 2:
            os.dup2(stderr, fd)
        os.close(stderr)
        try:
            # Whoever logs a line after the daemon has died is to meet no EPIPE.
            self.stderr = os.open('/proc/self/fd/2', os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            self.stderr = None  # the import took another uid; nothing else depends on it
        self.index = index
        self.page = mmap.mmap(zygote.page, BOARD)
        os.close(zygote.page)
        self.moves, self.spool = (memoryview(self.page).cast(kind) for kind in 'IQ')
        self.switch, self.armed = zygote.switch, None
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
        # Pages are there once they are used, which a bytearray's are at once.
        self.buffer = mmap.mmap(-1, LARGEST, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.request = None
        self.leaving = False
        self.wake, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        self.events = poll()
        for fd in channel, self.wake:
            self.events.register(fd, POLLIN)
        self.handler = self.terminate
        at_fork(self.disown)
        try:
            with open('/proc/self/oom_score_adj', 'w') as file:
                file.write('500')  # one of us rather than the web server
        except OSError:
            pass  # a kernel that does not let us; nothing depends on it
        if not zygote.preload:
            say(self.daemon, 'born %d' % os.getpid())
        self.app = zygote.app
        self.known = zygote.watch.known
        self.seen = len(modules), len(NOTED)
        if not zygote.preload:
            self.seen = None
            self.began = time.time_ns()
            self.app = import_or_exit(zygote.target, self.daemon, self.begun, lambda error: note_failure(
                zygote, error, files(self.began)))
            self.begun.own(0)
            self.note()
        register(SIGRTMAX, 2, all_threads=True, chain=False)
        self.listen()
        say(self.daemon, 'ready %d' % os.getpid())

    def listen(self):
        set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal(SIGTERM, self.handler)

    def terminate(self, *_):
        self.leaving = True
        try:
            os.write(self.waker, bytes((SIGTERM,)))
        except OSError:
            pass  # it is full: there is one to read
        if self.request and self.page[TOLD + self.index] == OVERDUE:
            self.request.end()

    def note(self):
        """Puts down what was imported since the last time, for the zygote to watch."""
        seen = len(modules), len(NOTED)
        if not self.journal or seen == self.seen:
            return
        self.seen = seen
        found = files(self.began)
        # What is written and imported in one tick would look changed again and again.
        new = now_settled({path: found[path] for path in found.keys() - self.known.keys()})
        self.known.update(new)
        if new:
            self.journal.add(new, Journal.LOADED)

    def disown(self):
        """In a child that the application forked."""
        self.begun.disown()
        self.armed = None
        if self.request:
            self.request.disown()
        self.daemon.close()
        if self.journal:
            os.close(self.journal.fd)
            self.journal = None
        if self.wake >= 0:  # not for its children: there the numbers may be other files'
            if self.stderr is not None:
                os.close(self.stderr)
            os.close(self.wake)
            os.close(self.waker)
            self.wake = self.waker = -1
            set_wakeup_fd(-1)
        if getsignal(SIGTERM) is self.handler:
            signal(SIGTERM, SIG_DFL)

    def moved(self):
        """A block was read or taken."""
        place = MOVED + self.index
        self.moves[place] = (self.moves[place] + 1) & 0xffffffff
        if self.armed and time.monotonic() - self.armed > self.switch / 4:
            self.arm()

    def arm(self):
        """If nothing moves for so long, and nobody ends us, we end. Not where the application has its
        own use for the signal."""
        self.disarm()
        if self.switch and getsignal(SIGALRM) == SIG_DFL:
            self.armed = time.monotonic()
            alarm(self.switch)

    def disarm(self):
        armed, self.armed = self.armed, None
        # It may be the application's by now.
        if armed and (getsignal(SIGALRM) == SIG_DFL or abs(
                armed + self.switch - time.monotonic() - getitimer(ITIMER_REAL)[0]) < 0.1):
            alarm(0)

    def has_room(self, size, own):
        """Whether the spool takes so many bytes more. Others may fill it at this moment, and the daemon counts
        later than we write: the limit is soft, but not for what is all our own."""
        return max(self.spool[SPOOL], own) + size <= self.spool[SPOOL + 1]

    def is_wanted(self):
        """Whether somebody waits for a worker."""
        return self.spool[SPOOL + 2] > 0

    def hear_empty(self, seconds, *wanted):
        """Waits for what is wanted, and the daemon's `empty`: True if that came."""
        if self.daemon.fileno() not in ready(seconds, (self.daemon.fileno(), POLLIN), *wanted):
            return False
        size, fds = receive(self.daemon, self.buffer)
        for fd in fds:
            os.close(fd)
        if not size:
            raise BrokenPipeError('the daemon is gone')
        return self.buffer[:size] == b'empty'

    def is_spent(self):
        """Whether it has become too large, or the CPU time that it may take is nearly over."""
        try:
            if self.max_rss:
                with open('/proc/self/statm', 'rb') as file:
                    pages = int(file.read().split()[1])
                if pages * mmap.PAGESIZE > self.max_rss:
                    return True
        except OSError:
            pass  # no /proc, or no descriptor: the next request will tell
        return self.max_cpu is not None and time.clock_gettime(AS_LIMITED) > self.max_cpu

    def serve(self):
        last = False
        while not last and self.next():
            # No `|=`: it would put back what it read before the signal came.
            if self.request.serve(self.load):
                self.leaving = True
            self.request = None
            self.note()
            if getsignal(SIGTERM) is not self.handler:
                self.listen()
            if self.is_spent():
                self.leaving = True
            last = self.leaving  # once: what we say is what we do
            say(self.daemon, b'done last' if last else b'done')
        self.daemon.close()  # a socket that is left to the end of a Python 3.9 ends it with SIGSEGV
        signal(SIGTERM, self.handler)
        # What the application does at exit may hang, and nobody may be there to kill us.
        signal(SIGALRM, SIG_DFL)
        alarm(LAST_WORDS)

    def load(self):
        return self.app

    def next(self):
        """Waits for a request; False when it is time to leave."""
        while True:
            if self.leaving:
                self.daemon.shutdown(SHUT_RD)
                break
            left = None
            if self.armed:  # for QUIET, but not until it strikes
                left = min(self.armed + self.switch * 3 / 4 - time.monotonic(), QUIET)
            try:
                events = self.events.poll(left and 1000 * max(left, 0))
            except OSError:
                break  # refused: receive() waits as well, if a SIGTERM has to wait with it
            if not events:
                self.disarm()
            elif self.wake not in dict(events):
                break
            # The handler may not have run yet, or be the application's: the byte is the signal.
            elif SIGTERM in os.read(self.wake, 4096):
                self.leaving = True
        size, fds = receive(self.daemon, self.buffer)
        if not size:
            return False
        if not fds:  # `empty`, of a response that its application has given up meanwhile
            return self.next()
        if min(fds) < 3:
            fds = [fd if fd > 2 else above(fd) for fd in fds]
        source = ahead = None
        if len(fds) == 1:  # there is no message-body
            out, = fds
        else:
            source, out, *ahead = fds
            ahead = ahead[0] if ahead else None
        # A netstring, and behind it a letter for each thing to know, which is no comma.
        words = self.buffer[:size].decode('latin-1')
        end = words.rindex(',')
        if not self.armed or time.monotonic() - self.armed > self.switch / 4:
            self.arm()
        self.began = time.time_ns()
        self.request = Served(self, words[words.index(':') + 1:end], source, out, ahead,
                              words[end:])
        if ahead and not self.request.body:
            os.close(ahead)
        return True


def run_pool(*words):
    zygote = Zygote(*words)
    worker = zygote.serve()
    if worker:
        Worker(zygote, *worker).serve()


def try_import(target, directory):
    """For `check`: imports as we do, and tells what comes of it."""
    settle(target, directory)
    try:
        if callable(load(target)):
            return
        raise TypeError('%s is not callable' % target)
    except BaseException as error:
        show(error)
        raise SystemExit(1)


call_from_elsewhere(run_pool if sys.argv[1] == 'pool' else try_import, *sys.argv[2:])
