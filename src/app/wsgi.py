# The first part of the adaptor; all parts are pasted into one source, with one namespace (by wsgi.rs).
# Takes: FileWrapper, complain, give_body, put_beside from streams.py; disown_only, drop, fail, hold_signal,
# interrupted, is_for_error, name_server, oversee, release_signal, start_again from late.py.
# Gives: DROPPED, INTERRUPT, PATH, Request, above, at_fork, copy, excepthook, flush, frames_of_threads, later, load,
# path_stats, settle.
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
# needs them. A CGI gets no more than that; a pool gets all the other parts behind it, in the order of POOL in wsgi.rs.
# Each part names at its head what it takes from the others and gives to them; what this part imports, all of them have.
#
# What a CGI costs is its start, and most of ours is compiling: 7 us a line. So nothing is imported that the interpreter
# has not loaded anyway, and what a plain GET does not need is text. Comment lines are left out by wsgi.rs, and cost
# nothing.
#
# An application may replace functions of any module and builtins, as gevent does, and have a module of its own of any
# name. So:
# - `imp`, `io`, `os` (which is posix), `stat` and `time` are copies, made before the application is imported, and so
#   are the builtins that our functions find. `sys` is the real one: later on, only its `stdout` and `stderr` are used,
#   and those are the application's.
# - An import statement stands at the head of a part, so it runs before the application's folder is on sys.path. What is
#   imported here is there already, or built in. What a pool imports is found in the standard library first, and taken
#   out of sys.modules before the application is imported, which gets its own.
# - What may be needed after that is got by own().

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
YOUNG = 2  # seconds: as coarse as some file systems' times, and a .pyc has whole ones
KNOWN = {}  # names of header fields that an application has sent before: in lower case
LATER = {'streams': r'''STREAMS.PY''', 'late': r'''LATE.PY'''}
ONE = allocate_lock()


def later(name):
    """Defines what that file has, at the first call: the application may have threads."""
    with ONE:
        if name in LATER:
            exec(LATER[name], globals())
            del LATER[name]


def file_wrapper(filelike, blksize=8192):
    later('streams')
    return FileWrapper(filelike, blksize)


def known(name):
    """The name of a header field in lower case; None if it is not for an application to send."""
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
    way = None  # how it is served, if the client is told
    head = None  # bytes of the header fields, once the application has said them
    begun = False  # they are on their way to the client: there is no way back
    bare = False  # no message-body goes out: HEAD, 204, 304
    length = None  # Content-Length of the response
    sent = 0  # bytes that the application gave
    gone = False  # the client takes nothing any more
    moved = None  # called for each block
    is_first = None  # called with an index in DROPPED: whether that field is to be told of; without it, it is
    claim = None  # a lock for who begins the response, if that may be somebody else
    forked = False  # this is a process of the application's own
    for_error = False  # Apache asks for its ErrorDocument
    body = None

    def __init__(self, meta, source, out, ahead=None, moved=None):
        """meta: what is in the netstring, as str. source: None if there is no message-body, or the fd.
        ahead, moved: as Body has them."""
        words = iter(meta.split('\0'))
        environ = self.environ = {'SCRIPT_NAME': '', 'PATH_INFO': '', 'QUERY_STRING': ''}
        environ.update(zip(words, words))
        # lighttpd, nginx and busybox send the last two beside those without HTTP_.
        for name in 'SCGI', 'POLYCGI', 'HTTP_CONTENT_LENGTH', 'HTTP_CONTENT_TYPE':
            environ.pop(name, None)
        secure = (environ.get('HTTPS', '').lower() in ('on', '1')
                  or environ.get('REQUEST_SCHEME', '').lower() == 'https')
        self.since = self.way and uptime()
        if not (environ.get('SERVER_NAME') and environ.get('SERVER_PORT')):  # busybox tells neither
            later('late')
            name_server(environ, secure)
        self.out, self.fds = out, (out,) if source is None else (source, out)
        if environ.get('CONTENT_LENGTH'):
            later('streams')
            give_body(self, source, ahead, moved)
        else:
            environ.pop('CONTENT_LENGTH', None)  # '' is our word for none
        environ.update(SAME)
        environ['wsgi.url_scheme'] = 'https' if secure else 'http'
        environ['wsgi.input'] = io.BufferedReader(self.body, 65536) if self.body else io.BytesIO()
        environ['wsgi.errors'] = getattr(sys, 'stderr', None)

    def disown(self):
        """In a child that the application forked: the client is none of its business."""
        self.forked = True
        self.close()

    def close(self):
        for fd in self.fds:
            try:
                os.close(fd)
            except OSError:
                pass  # the application closed it for us, or it is closed already
        self.out, self.fds = -1, ()
        if self.body:
            self.body.close()

    def serve(self, load):
        """Runs the application that load() gives; True if it asked to leave (SystemExit)."""
        leave = False
        try:
            self.run(load())
        except BaseException as error:
            if self.forked:
                raise
            try:
                later('late')
                fail(self, error)
            except BaseException:
                if not self.begun:
                    apologize(self.out)
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
        """Before the last byte, if that is known, and at the end: what follows is the application's own time."""

    def leave_body(self):
        """Does away with what the application did not read."""
        self.body.drain()

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
                later('streams')
                complain(self, result)
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
                drop(self, name)
                continue
            lines.append(name + ': ' + value)
            if lower == 'content-length':
                if length is not None or not value.isdigit():
                    raise ValueError('Content-Length is no number or there twice: %r' % value)
                length = int(value)
        # A page for an error has its status by saying none: 200 is what the application says of any page.
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
            if self.length == self.sent:
                self.complete()
            self.put(block)
        return self.bare or more > 0

    def begin(self, block):
        """The header fields and the first block, in one write unless that is too large anyway."""
        if self.claim and not self.claim.acquire(False):
            raise SystemExit  # answered by oversee()
        self.begun = True
        if self.bare or self.length == self.sent:
            self.complete()
        if self.way:  # beside a field of the application's own
            self.head += b'Server-Timing: polycgi;desc="%s";dur=%.1f\r\n' % (
                self.way, 1000 * (uptime() - self.since))
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
            except ConnectionError:
                raise
            except OSError:
                pass  # the web server left it so, or the host refuses it: once more
            if size < len(data):
                later('streams')
                put_beside(self.out, data[size:], self.body, empty and not size, self.moved)
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
            pass  # closed or replaced by the application; nobody to tell


def path_stats(loader, path):
    """SourceFileLoader's, but what was just written has no bytecode: that of the version before, of the
    same size and second, would pass for its own."""
    status = os.stat(path)
    now = time.time()
    if min(abs(now - status.st_mtime), abs(now - status.st_ctime)) < YOUNG:
        raise OSError('too young')  # the import then neither reads nor writes bytecode
    return {'mtime': status.st_mtime, 'size': status.st_size}


def uptime():
    """The clock that says the same in every process."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def load(target):
    """The application that MODULE:CALLABLE names."""
    module, _, names = target.partition(':')
    __import__(module)
    app = modules[module]
    for name in names.split('.'):
        app = getattr(app, name)
    return app


def apologize(out):
    """What a client gets where not even a proper answer can be made."""
    try:
        os.write(out, b'Status: 500 Internal Server Error\r\nCache-Control: no-store\r\n'
                      b'Content-Type: text/plain\r\n\r\nThe application could not answer this request.\n')
    except OSError:
        pass  # the client is gone; the operator has the traceback


def above(fd):
    """A close-on-exec copy of fd above 2; fd itself goes to /dev/null."""
    copy = os.dup(fd)
    try:
        null = os.open('/dev/null', os.O_RDWR)
    except OSError:  # none there: a pipe with nobody at its other end
        null, other = os.pipe()
        os.close(other)
    os.dup2(null, fd)
    os.close(null)
    return copy if copy > 2 else above(copy)


def aside(fd):
    """above(), or fd itself where the host has no descriptor for another."""
    try:
        return above(fd)
    except OSError:
        return fd


def settle(target, directory):
    """What the application may see of the process: its directory, and no trace of us."""
    sys.argv = [target.partition(':')[0]]
    sys.path[:] = [directory] + PATH
    modules['__main__'] = type(sys)('__main__')
    SourceFileLoader.path_stats = path_stats
    # After all that the application does at exit; then Python forgets our handlers, and lets its objects go.
    atexit.register(signal, SIGTERM, SIG_IGN)


def at_fork(disown):
    """disown: what a child of the application does first."""
    def before():
        later('late')  # not in the child, where the lock may be a thread's that it does not have
        hold_signal()

    os.register_at_fork(before=before, after_in_parent=lambda: release_signal(), after_in_child=disown)
    os.register_at_fork(after_in_child=lambda: release_signal())


class OnlyRequest(Request):
    """The request of a CGI. Apache sends SIGTERM once it has all of the response; what the application still does
    then goes on, as in a worker.

    A thread of ours keeps its time; see oversee(). Most requests are over before it has to do anything."""

    is_limited = False  # until its end

    def limit(self, timeout, limit, pages):
        """timeout: seconds without progress; limit: seconds in all, or None; pages: for a response that is not in
        time, and for a message-body."""
        self.timeout, self.pages, self.main = timeout, pages, get_ident()
        self.moved()
        self.until = limit and self.moved_at + limit
        self.claim, self.is_limited = allocate_lock(), True
        if self.body:
            self.body.moved = self.moved
        signal(INTERRUPT, lambda *_: interrupted(self))
        # In C: it shows the stack wherever Python is, and then does what the signal does.
        register(SIGALRM, 2, all_threads=True, chain=True)
        self.rings = self.moved_at + getitimer(ITIMER_REAL)[0]  # set by the front that became this process
        try:
            start_new_thread(watch, (self, min(timeout, limit or 1, 1)))
        except RuntimeError:
            pass  # no room for it: the alarm ends us

    def moved(self):
        self.moved_at = time.monotonic()

    def has_alarm(self):
        """The signal is the application's if it takes it."""
        return getsignal(SIGALRM) == SIG_DFL and abs(
            self.rings - time.monotonic() - getitimer(ITIMER_REAL)[0]) < 0.5

    def close(self):
        Request.close(self)
        if self.is_limited and not self.forked:
            self.is_limited = False  # the thread is not woken for that
            if self.has_alarm():
                alarm(0)

    def complete(self):
        try:
            signal(SIGTERM, self.ignore)  # not SIG_IGN, which programs that are started would inherit
        except ValueError:
            pass  # write() in a thread of the application; serve() comes to it

    def ignore(self, *_):
        pass


INTERRUPT = SIGRTMAX - 1


def watch(request, seconds):
    pthread_sigmask(SIG_BLOCK, range(1, 32))  # the application's threads are to get them
    time.sleep(seconds)
    if request.is_limited:
        later('late')
        oversee(request)


def run_cgi(target, directory, fd, since='', timeout='', limit='', size=''):
    """since: when it was decided to start us; empty if nobody is to know. timeout, limit: in seconds. size: of the
    first of two pages that lie behind the header."""
    out = 1
    try:
        with open(int(fd), 'rb') as file:
            data = file.read()
        start = data.index(b':') + 1
        end = start + int(data[:start - 1])
        source = aside(0)
        out = aside(1)
        request = OnlyRequest(data[start:end].decode('latin-1'), source, out)
        if timeout:
            size = end + 1 + int(size)
            try:
                request.limit(float(timeout), limit and float(limit), (data[end + 1:size], data[size:]))
            except OSError:
                request.is_limited = False  # refused by the host; our front has set an alarm
        if request.environ.get('REDIRECT_STATUS', '200') != '200':
            later('late')
            request.for_error = is_for_error(request.environ)
        if since:
            request.way, request.since = b'cgi', float(since)
        try:
            if out == 1:
                raise OSError('there is no other descriptor for the response')
            os.dup2(2, 1)
        except OSError:
            sys.stdout = sys.stderr  # what is printed does not end up in the response
        at_fork(lambda: disown_only(request))
        settle(target, directory)
    except BaseException:
        apologize(out)
        raise
    request.serve(lambda: load(target))


# Before Python 3.10 a function has its caller's builtins, unless that one has other globals.
if sys.argv[1] == 'cgi':
    call_from_elsewhere(run_cgi, *sys.argv[2:])
