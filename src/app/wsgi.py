# The first part of the adaptor; all parts are pasted into one source, with one namespace (by wsgi.rs).
# Takes: FileWrapper, give_body, report_length, write_reading_body from streams.py; fail, hold_signal, name_server,
# release_signal, report_dropped, start_again from late.py.
# Gives: APP, DROPPED, LAST_RESORT, PATH, Request, above, above_if_possible, answer_500, at_fork, copy, excepthook,
# flush, frames_of_threads, later, load, name_process, path_stats, prepare_for_app.
#
# Runs one WSGI application (PEP 3333), as a CGI or in a pool of workers. It knows the two descriptors of a client and
# the header of a request; it refuses to know web servers, queues and configuration.
#
# A request is a netstring of meta-variables, one descriptor to read the message-body from and one to write the response
# to. Both ways build the same Request from these; a CGI has one, a worker one after the other. The client's descriptors
# are close-on-exec, above 2, and closed in what the application forks; fd 1 goes where fd 2 goes, so that print() can't
# end up in a response.
#
# The parts. This one is for both ways. It carries streams.py and late.py as texts, which later() runs when a request
# needs them. A CGI gets once.py behind it; a pool gets all the other parts, in the order of POOL in wsgi.rs. Each part
# names at its head what it takes from the others and gives to them; what this part imports, all of them have.
#
# What a CGI costs is its start, and most of ours is compiling, 7 us a line, until boot.py has kept the code. So nothing
# is imported that the interpreter has not loaded anyway, and what a plain GET does not need is text. Comment lines are
# left out by wsgi.rs, and cost nothing.
#
# An application may replace functions of any module and builtins, as gevent does, and have a module of its own of any
# name. So:
# - `imp`, `io`, `os` (which is posix), `stat` and `time` are copies, made before the application is imported, and so
#   are the builtins that our functions find. `sys` is the real one: later on, only its `stdout` and `stderr` are used,
#   and those are the application's.
# - An import statement stands at the head of a part, so it runs before the application's folder is on sys.path. What is
#   imported here is there already, or built in. What a pool imports is found in the standard library first, and taken
#   out of sys.modules before the application is imported, which gets its own.
# - What may be needed after that is got by c_module().

import sys

PATH = sys.path[sys.path[:1] == ['']:]  # '' is there for `-c`, unless PYTHONSAFEPATH is set
modules = sys.modules
LIBRARY = getattr(modules['os'], '__file__', None)

import atexit
import builtins
import io
import posix
import stat
import time
import _imp
from _frozen_importlib import ModuleSpec, _call_with_frames_removed as call_from_elsewhere
from _frozen_importlib_external import SourceFileLoader
from _signal import ITIMER_REAL, SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIGALRM, SIGRTMAX, SIGTERM, alarm
from _signal import getitimer, getsignal, pthread_kill, pthread_sigmask, signal
from _thread import allocate_lock, get_ident, start_new_thread
from faulthandler import register


def copy(module):
    copied = type(sys)(module.__name__)
    copied.__dict__.update(module.__dict__)
    return copied


imp, io, os, stat, time = map(copy, (_imp, io, posix, stat, time))
__builtins__ = copy(builtins).__dict__  # of the functions that are defined from here on
excepthook, frames_of_threads = sys.__excepthook__, sys._current_frames

HOP_BY_HOP = ('connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer',
              'trailers', 'transfer-encoding', 'upgrade')
DROPPED = HOP_BY_HOP + ('status',)
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CONTROLS = dict.fromkeys((*range(9), *range(10, 32), 127))  # all but the tab
ONE_WRITE = 1 << 20  # bytes: without privilege a pipe grows no larger
YOUNG = 2  # seconds: some file systems' times are so coarse, and a .pyc has whole seconds
KNOWN = {}  # names of header fields that an application has sent before: in lower case
LATER = {'streams': r'''STREAMS.PY''', 'late': r'''LATE.PY'''}
ONE = allocate_lock()


def later(name):
    """Runs that part at the first call, once: the application may have threads."""
    with ONE:
        if name in LATER:
            exec(LATER[name], globals())
            del LATER[name]


def file_wrapper(filelike, blksize=8192):
    later('streams')
    return FileWrapper(filelike, blksize)


def known(name):
    """The name of a header field in lower case; None if the web server alone may send it."""
    lower = name.lower()
    if not name or name.strip(TOKEN):
        raise ValueError('not the name of a header field: %r' % name)
    if lower in DROPPED:
        return None
    if len(KNOWN) < 1000:
        KNOWN[name] = lower
    return lower


SAME = {'wsgi.version': (1, 0), 'wsgi.input_terminated': True, 'wsgi.file_wrapper': file_wrapper,
        'wsgi.multithread': False, 'wsgi.multiprocess': True, 'wsgi.run_once': sys.argv[1] == 'cgi'}


class Request:
    """One request and its response."""

    overdue = False  # nothing may be written any more
    way = None  # how it is served, for Server-Timing; None: the client is not told
    head = None  # bytes of the header fields, once start_response() was called
    begun = False  # the response has begun: another one can't be sent
    bare = False  # no message-body is sent: HEAD, 204, 304
    length = None  # Content-Length of the response
    sent = 0  # bytes that the application gave
    gone = False  # the client takes nothing any more
    moved = None  # called for each block
    claim_report = None  # called with an index in DROPPED: whether to report that field; None: report it
    claim = None  # a lock: its holder begins the response. None: there is no thread beside
    is_loaded = False  # there is an application
    forked = False  # this is a child that the application has forked
    for_error = False  # Apache asks for its ErrorDocument
    body = None

    def __init__(self, meta, source, out, ahead=None, moved=None):
        """meta: what is in the netstring, as str. source: None if there is no message-body, or the fd.
        ahead, moved: as Body has them."""
        self.meta = meta
        environ = self.environ = {'SCRIPT_NAME': '', 'PATH_INFO': '', 'QUERY_STRING': ''}
        environ.update(self.pairs(meta))
        # lighttpd, nginx and busybox send the last two as well as those without HTTP_.
        for name in 'SCGI', 'POLYCGI', 'HTTP_CONTENT_LENGTH', 'HTTP_CONTENT_TYPE':
            environ.pop(name, None)
        secure = (environ.get('HTTPS', '').lower() in ('on', '1')
                  or environ.get('REQUEST_SCHEME', '').lower() == 'https')
        self.since = self.way and uptime()
        if not (environ.get('SERVER_NAME') and environ.get('SERVER_PORT')):  # busybox sends neither
            later('late')
            name_server(environ, secure)
        self.out, self.fds = out, (out,) if source is None else (source, out)
        if environ.get('CONTENT_LENGTH'):
            later('streams')
            give_body(self, source, ahead, moved)
        else:
            environ.pop('CONTENT_LENGTH', None)  # the header has '' for none
        environ.update(SAME)
        environ['wsgi.url_scheme'] = 'https' if secure else 'http'
        environ['wsgi.input'] = io.BufferedReader(self.body, 65536) if self.body else io.BytesIO()
        environ['wsgi.errors'] = getattr(sys, 'stderr', None)

    def pairs(self, meta):
        words = iter(meta.split('\0'))
        return zip(words, words)

    def disown(self):
        """In a child that the application has forked: gives up the client's descriptors."""
        self.forked = True
        self.close()

    def close(self):
        for fd in self.fds:
            try:
                os.close(fd)
            except OSError:
                pass  # it is closed already, by us or by the application
        self.out, self.fds = -1, ()
        if self.body:
            self.body.close()

    def serve(self, load):
        """Runs the application that load() gives; True if it asked to leave (SystemExit)."""
        leave = False
        try:
            app = load()
            self.is_loaded = True
            self.run(app)
        except BaseException as error:
            self.interrupted = True  # the application has ended: there is nothing to interrupt any more
            if self.forked:
                raise
            try:
                later('late')
                fail(self, error)
            except BaseException:
                if not self.begun:
                    self.answer_500()
                raise
            leave = isinstance(error, (SystemExit, KeyboardInterrupt))
        if self.forked:
            raise SystemExit
        if self.body and not self.gone:
            self.leave_body()
        flush()
        self.complete()
        self.close()
        return leave

    def complete(self):
        """Called before the last byte, if the length is known, and at the end: the response is complete, whatever the
        application does after it."""

    def leave_body(self):
        """Reads and discards what the application has not read."""
        self.body.drain()

    def run(self, app):
        result = app(self.environ, self.start_response)
        try:
            # If the result has a length, and that is 1, its block is the whole message-body.
            whole = hasattr(result, '__len__') and len(result) == 1
            for block in result:
                if self.send(block, whole):
                    break
            if not self.begun:
                if not self.head:
                    raise RuntimeError('the application did not call start_response()')
                self.begin(b'')
            if self.length not in (None, self.sent) and not self.bare:
                later('streams')
                report_length(self, result)
        finally:
            if hasattr(result, 'close') and not self.forked:
                result.close()

    def start_response(self, status, headers, exc_info=None):
        if exc_info or self.head:
            later('late')
            start_again(self, exc_info)
        lines = ['Status: ' + status]
        if not (status[3:4] == ' ' and status[:3].isdigit() and 99 < int(status[:3]) < 600):
            raise ValueError('status is not three digits, a space and a reason: %r' % status)
        length = None
        for name, value in headers:
            lower = KNOWN.get(name) or known(name)
            if not lower:
                later('late')
                report_dropped(self, name)
                continue
            lines.append(name + ': ' + value)
            if lower == 'content-length':
                if length is not None or not value.isdigit():
                    raise ValueError('Content-Length is no number or there twice: %r' % value)
                length = int(value)
        # For an ErrorDocument the web server keeps the status of the error if none is sent; the application says 200.
        if self.for_error and len(lines) > 1 and status[:3] == '200':
            del lines[0]
        for line in lines:
            if not line.isprintable() and len(line.translate(CONTROLS)) < len(line):
                raise ValueError('a control character in a header field: %r' % line)
        lines.append('')
        self.head = '\r\n'.join(lines).encode('latin-1')
        self.length = length
        self.bare = self.environ.get('REQUEST_METHOD') == 'HEAD' or status[:3] in ('204', '304')
        return self.send

    def send(self, block, whole=False):
        """Sends a block at once, the first one with the header fields; this is write() too. True if no more blocks are
        needed. whole: this is the only block."""
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
            if self.length == self.sent:
                self.complete()
            self.put(block)
        return self.bare or more > 0

    def begin(self, block):
        """Sends the header fields and the first block, in one write if that is not too large."""
        if self.claim and not self.claim.acquire(False):
            raise SystemExit  # answered by oversee()
        self.begun = True
        if self.bare or self.length == self.sent:
            self.complete()
        if self.way:  # the application may send such a field as well
            self.head += b'Server-Timing: polycgi;desc="%s";dur=%.1f\r\n' % (
                self.way, 1000 * (uptime() - self.since))
        data = self.head + b'\r\n'
        if len(block) > ONE_WRITE - len(data):
            self.put(data)
            self.put(block)
        else:
            self.put(data + block, empty=True)

    def put(self, data, empty=False):
        """Writes all of data. empty: nothing was written to the pipe before."""
        size = 0
        try:
            try:
                if not self.body and len(data) <= 65536:
                    size = os.write(self.out, data)
            except ConnectionError:
                raise
            except OSError:
                pass  # the descriptor is O_NONBLOCK, or the host refuses the call: tried again below
            if size < len(data):
                later('streams')
                write_reading_body(self.out, data[size:], self.body, empty and not size, self.moved)
            if self.moved:
                self.moved()
        except OSError:
            self.gone = True
            raise


def flush():
    for name in 'stdout', 'stderr':
        try:
            getattr(sys, name).flush()
        except Exception:
            pass  # the application has closed or replaced it


def path_stats(loader, path):
    """As SourceFileLoader has it, but a file that was just written is imported without bytecode: that of the version
    before, of the same size and written in the same second, would pass for its own."""
    if str(getattr(loader, 'name', '')).rpartition('.')[2] == 'setproctitle':
        unname_process()
    status = os.stat(path)
    now = time.time()
    if min(abs(now - status.st_mtime), abs(now - status.st_ctime)) < YOUNG:
        raise OSError('too young')  # so the import neither reads nor writes bytecode
    return {'mtime': status.st_mtime, 'size': status.st_size}


def uptime():
    """In seconds, by the clock that all processes share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def load(target):
    """The application that MODULE:CALLABLE names."""
    module, _, names = target.partition(':')
    __import__(module)
    app = modules[module]
    for name in names.split('.'):
        app = getattr(app, name)
    return app


LAST_RESORT = (b'Status: 500 Internal Server Error\r\nCache-Control: no-store\r\n'
               b'Content-Type: text/plain\r\n\r\nThe application could not answer this request.\n')


def answer_500(out):
    """The last resort: answers if not even fail() can, or if the daemon is gone that would."""
    try:
        os.write(out, LAST_RESORT)
    except OSError:
        pass  # the client is gone; the operator has the traceback


def above(fd):
    """A close-on-exec copy of fd above 2; fd itself goes to /dev/null."""
    copy = os.dup(fd)
    try:
        null = os.open('/dev/null', os.O_RDWR)
    except OSError:  # there is none: a pipe whose other end is closed
        null, other = os.pipe()
        os.close(other)
    os.dup2(null, fd)
    os.close(null)
    return copy if copy > 2 else above(copy)


def above_if_possible(fd):
    """above(), or fd itself if the host gives no descriptor for a copy."""
    try:
        return above(fd)
    except OSError:
        return fd


APP = sys.argv[2].encode()  # what the app is called
NAMED = {}  # by name_process(): the title, the comm; where the title is, and what was there


def name_process(role):
    """Makes the process's command line short, for ps, top and pgrep, and sets its comm: `polycgi: wiki worker` and
    `wiki:worker`, without a space, since there are programs that split /proc/self/stat at spaces. It keeps what the application has set. Nothing depends on it."""
    before, title, comm = dict(NAMED), b'polycgi: %s %s\0' % (APP, role), APP[:14 - len(role)] + b':' + role
    NAMED.update(title=title, comm=comm)
    try:
        if not before:
            with open('/proc/self/stat', 'rb', 0) as file:
                NAMED['place'] = [int(word) for word in file.read(4096).rpartition(b')')[2].split()[45:47]]
        start, end = NAMED['place']  # arg_start, arg_end
        with open('/proc/self/mem', 'rb+', 0) as memory:
            found = os.pread(memory.fileno(), len(before.get('title', title)), start)
            if not before:
                NAMED['was'] = found
            if start + len(title) < end and found == before.get('title', found):
                os.pwrite(memory.fileno(), title, start)
                # Its last NUL overwritten, the kernel shows a command line up to its first.
                os.pwrite(memory.fileno(), b' ', end - 1)
        with open('/proc/self/comm', 'rb+', 0) as file:
            if not before or file.read(16) == before['comm'] + b'\n':
                file.write(comm)
    except Exception:
        pass  # there is no /proc, or the host or an audit hook of the application's refuses it


def unname_process():
    """Puts the command line back that the process was started with: the application is about to import the package
    setproctitle, which searches memory for it."""
    was = NAMED.pop('was', None)
    if was:
        start, end = NAMED['place']
        try:
            with open('/proc/self/mem', 'rb+', 0) as memory:
                os.pwrite(memory.fileno(), was, start)
                os.pwrite(memory.fileno(), b'\0', end - 1)
        except Exception:
            pass  # then its titles are not shown


def prepare_for_app(target, directory):
    """Makes the process what the application expects: its directory is on the path, and nothing of ours is seen."""
    sys.argv = [target.partition(':')[0]]
    sys.path[:] = [directory] + PATH
    modules['__main__'] = type(sys)('__main__')
    SourceFileLoader.path_stats = path_stats
    # Runs after all exit handlers of the application. After that Python drops our handlers and destroys its objects.
    atexit.register(signal, SIGTERM, SIG_IGN)


def at_fork(disown):
    """disown: what a child that the application forks does first."""
    def before():
        later('late')  # not in the child: the lock may be held by a thread that the child does not have
        hold_signal()

    os.register_at_fork(before=before, after_in_parent=lambda: release_signal(), after_in_child=disown)
    os.register_at_fork(after_in_child=lambda: release_signal())
