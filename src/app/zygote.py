# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: DROPPED, Request, copy, flush, load, name_process, prepare_for_app from wsgi.py; reason_of, show from late.py;
# Journal, NOTED, Watch, files, is_host_s, note_templates, noting_path_stats, now_settled, signature, suspects, unstable
# from loaded.py; AT_IMPORT, Begun, LAST_WORDS, ZYGOTE from begun.py; receive, say from channel.py; mmap from board.py.
# Gives: Zygote, forget_children, import_or_exit, note_failure.
#
# The zygote: imports the application and forks workers. It knows processes and the daemon's channel; it refuses to know
# requests, and how many workers there should be.
#
# Theory of operation. The zygote imports the application once and says `ready`. On `spawn` it forks twice: the child in
# between exits at once, so that the worker becomes a child of the daemon, which is the subreaper.
#
# The import can leave something behind that a fork would break: a thread, a connection, an event loop. The zygote then
# says `unsafe` and starts itself anew as a zygote that imports nothing. Each of its workers imports the application for
# itself, and says `born` before, so that the daemon knows which process to end if the import never returns.
#
# The zygote also starts itself anew if a file changed during the import, up to ATTEMPTS times. The number of the
# attempt stands in the command line, in the place of PRELOAD.
#
# Between `importing` and `imported` the application's own code runs. A process that ends there was ended by the
# application; one that ends elsewhere, by the host. If the import raises an error that tells of the host, the word is
# `refused` instead of `failed`.
#
# On `look` the zygote looks whether a file that was imported has changed.

import gc
from _socket import AF_UNIX, SHUT_RD, SO_TYPE, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, socket

gc = copy(gc)
ATTEMPTS = 5  # imports, until no file changes during one
# What one of these tells one process, it does not tell the other holders; and a change by one is a change for all.
ONE_READER = frozenset('anon_inode:' + kind for kind in (
    '[eventfd]', '[eventpoll]', '[io_uring]', '[timerfd]', 'inotify'))


def import_or_exit(target, channel, begun, before=None):
    """before: called with an error before that is reported."""
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
        word = 'refused ' if is_host_s(error) else 'failed '
        say(channel, word + reason_of(error))
        begun.end_now()
        os._exit(1)


class Zygote:
    """Imports the application and forks workers."""

    def __init__(self, target, directory, *words):
        """words: the rest of the command line, as spawn_zygote() in wsgi.rs has it."""
        channel, board, loaded, preload, reload, timing, max_rss, switch, spool, *watched = words
        self.preload = int(preload)  # 0: not here; else the number of this attempt
        self.note_start(preload_at=8)
        name_process(b'zygote')
        self.target, self.folder = target, directory
        self.board = int(board)
        self.fds = int(channel), self.board, int(loaded)
        for fd in self.fds:
            os.set_inheritable(fd, False)
        self.listeners = []  # while workers accept
        self.daemon = socket(fileno=int(channel))
        self.daemon.settimeout(None)
        Request.way = b'daemon' if timing == '1' else None
        self.max_rss, self.switch = int(max_rss), int(switch)
        global FOLDERS
        FOLDERS = (spool,)
        self.journal = Journal(int(loaded)) if reload == '1' else None
        if self.journal:
            self.journal.begin()
        self.watch = Watch(watched, self.journal)
        self.dropped = mmap.mmap(-1, len(DROPPED))  # shared with the workers: which fields were reported
        prepare_for_app(target, directory)
        try:
            os.setpgid(0, 0)
        except OSError:
            pass  # it leads a session, and so its group
        self.begun = Begun()
        self.begun.own(AT_IMPORT | ZYGOTE)
        SourceFileLoader.path_stats = noting_path_stats
        self.app = None
        if self.preload:
            self.import_app()
        signal(SIGTERM, SIG_DFL)
        say(self.daemon, 'ready')

    def note_start(self, preload_at):
        """Keeps how this process was started, since the import may change it. preload_at: in sys.argv."""
        self.environ = dict(os.environ)  # as bytes
        self.python = sys.executable or '/proc/self/exe'
        with open('/proc/self/cmdline', 'rb') as file:
            self.argv = file.read().split(b'\0')[:-1]
        self.preload_at = len(self.argv) - len(sys.argv) + preload_at

    def import_app(self):
        self.began = time.time_ns()
        self.app = import_or_exit(self.target, self.daemon, self.begun, self.import_failed)
        self.start_anew_if_unsafe()
        loaded = files(self.began)
        self.retry_if_unstable(loaded)
        self.watch.known = now_settled(loaded)
        if self.journal:
            note_templates()
        self.seen = len(modules), len(NOTED)
        flush()
        gc.collect()
        gc.freeze()

    def import_failed(self, error):
        """An error of an import during which files changed is not reported: the import is tried again."""
        loaded = files(self.began)
        self.retry_if_unstable(loaded)
        note_failure(self, error, loaded)

    def retry_if_unstable(self, loaded):
        if unstable(loaded):
            if self.preload < ATTEMPTS:
                self.start_anew(self.preload + 1)
            # The application changes its own files: their state now is the one to compare with.
            loaded.update({path: signature(path) for path in loaded})

    def serve(self):
        """Carries out what the daemon says. In a worker this returns the worker's index and its ends of
        channel and stderr; in the zygote, None when it is to end."""
        buffer = bytearray(64)
        while True:
            size, fds = receive(self.daemon, buffer)
            if not size or buffer[:size] == b'leave':
                return self.leave(is_told=size)
            verb = bytes(buffer[:size]).partition(b' ')[0]
            if verb == b'look':
                for words in self.watch.changes():
                    say(self.daemon, words)
                say(self.daemon, 'looked')
            elif verb == b'listeners':
                self.forget_listeners()
            elif verb == b'listener':
                self.listeners += fds
            if verb != b'spawn':
                continue
            index = int(buffer[:size].split()[1])
            self.start_anew_if_unsafe(index, fds)
            if self.fork(index, fds):
                return (index, *fds)

    def forget_listeners(self):
        while self.listeners:
            os.close(self.listeners.pop())

    def end_listeners(self):
        """Ends the listeners of a daemon that is dead. A worker that is in a request may have them open, and cannot see to
        them; clients that have connected would wait for it."""
        for fd in self.listeners:
            listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd)
            try:
                listener.shutdown(SHUT_RD)
                while True:
                    os.close(listener._accept()[0])
            except OSError:
                pass  # its backlog is empty
            listener.detach()
        self.forget_listeners()

    def leave(self, is_told):
        """Leaves time for the application's exit handlers, and then for the end of what it has started."""
        signal(SIGTERM, lambda *_: None)
        if not is_told:
            self.end_listeners()
            self.begun.look_after_orphans(self.switch)
        self.begun.limit_exit(LAST_WORDS)

    def fork(self, index, fds):
        """True in the worker. In the zygote False, with fds closed."""
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
                    os.read(gate, 1)  # until our parent is the daemon, and the zygote has closed fds
                except OSError:
                    pass  # that will be so in a moment
                os.close(gate)
                return True
            status = os.waitpid(child, 0)[1]
        except ChildProcessError:
            status = 0  # the application ignores SIGCHLD, so the kernel has reaped it
        except OSError as error:
            if child == 0:
                os._exit(error.errno)
            status = error.errno << 8
        if status:  # said before the worker's channel ends, which alone would mean that the worker died
            errno = status >> 8 if not status & 127 else 11  # EAGAIN: it was killed
            say(self.daemon, 'fork-failed %d %d' % (index, errno))
        for fd in (*fds, gate, held):
            os.close(fd)
        return False

    def start_anew_if_unsafe(self, index=None, fds=()):
        """Starts anew without preload if a fork would break what the application holds. index, fds: those of
        the `spawn` that is to be carried out next."""
        reason = self.preload and self.why_unsafe((self.daemon.fileno(), *fds))
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
        say(self.daemon, b'imported')  # an end before the next import is not the application's doing
        for fd in self.fds:
            os.set_inheritable(fd, True)
        try:
            os.chdir(self.folder)  # by its name: it may be a symlink that leads to another release now
        except OSError:
            pass  # the import will report what is missing
        pthread_sigmask(SIG_SETMASK, ())
        self.argv[self.preload_at] = b'%d' % preload
        os.execve(self.python, self.argv, self.environ)

    def why_unsafe(self, ours):
        tasks = len(os.listdir('/proc/self/task'))
        if tasks > 1:
            return 'the import left %d thread%s running' % (tasks - 1, 's' * (tasks > 2))
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
    """What multiprocessing has started at the import belongs to the zygote. A worker that knew of it would end it for
    all processes when the worker exits."""
    try:
        modules['multiprocessing.process']._children.clear()
    except Exception:
        pass  # it was not imported


def connected(fd):
    """Whether bytes that one process reads from this socket would be missing in another. Datagrams, as to syslog,
    are whole messages."""
    # SOCK_NONBLOCK as in write_or_read(): the descriptor's flags are the application's.
    peer = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, os.dup(fd))
    try:
        return peer.getsockopt(SOL_SOCKET, SO_TYPE) != SOCK_DGRAM and peer.getpeername() is not None
    finally:
        peer.close()


def note_failure(zygote, error, loaded):
    if zygote.journal:
        loaded = {**loaded, **suspects(error, zygote.folder)}
        zygote.journal.add(now_settled(loaded), Journal.FAILED)
