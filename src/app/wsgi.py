# polycgi: runs one WSGI application (PEP 3333), as a CGI or in a pool of workers. It knows the two
# descriptors of a client and the header of a request; it refuses to know web servers, queues,
# time-outs and configuration.
#
# A request is a netstring of meta-variables, one descriptor to read the message-body from and one
# to write the response to. Both ways build the same Request from these; a CGI has one, a worker one
# after the other. The client's descriptors are close-on-exec, above 2, and closed in what the
# application forks; fd 1 goes where fd 2 goes, so that print() can't end up in a response.
#
# What a CGI costs is its start, and most of ours is compiling: 7 us a line. So nothing is imported
# that the interpreter has not loaded anyway, and what a plain GET does not need is text until then.
#
# This file is what both ways have in common; wsgi.rs puts together what the interpreter gets. A CGI
# gets this file, with streams.py as the text for later. A pool gets loaded.py, outgoing.py, begun.py and
# pool.py behind it, and all of them share one namespace.
#
# An application may replace functions of any module and builtins, as gevent does, and have a module of its
# own of any name. So:
# - `imp`, `io`, `os` (which is posix), `stat` and `time` are copies, made before the application is imported, and
#   so are the builtins that our functions find. `sys` is the real one: later on, only its `stdout` and
#   `stderr` are used, and those are the application's.
# - An import statement stands at the head of a file, so it runs before the application's folder is on
#   sys.path, and finds the standard library first. settle() takes what it loaded out of sys.modules: the
#   application imports its own.
# - What may be needed after that is got by own().

import sys

PATH = sys.path[sys.path[:1] == ['']:]  # '' is there for `-c`, unless PYTHONSAFEPATH is set
modules = sys.modules
BEFORE = set(modules)
LIBRARY = (getattr(modules['os'], '__file__', None) or '').rpartition('/')[0]
OURS = sys.path[:] = sorted(PATH, key=lambda place: not place.startswith(LIBRARY))

import atexit
import builtins
import faulthandler
import io
import posix
import stat
import time
import _imp
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader
from _signal import ITIMER_REAL, SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_UNBLOCK, SIGALRM, SIGRTMAX, SIGTERM, alarm
from _signal import getitimer, getsignal, pthread_kill, pthread_sigmask, signal
from _thread import allocate_lock, get_ident, start_new_thread


def copy(module):
    copied = type(sys)(module.__name__)
    copied.__dict__.update(module.__dict__)
    return copied


faulthandler, imp, io, os, stat, time = map(copy, (faulthandler, _imp, io, posix, stat, time))
__builtins__ = copy(builtins).__dict__  # of the functions that are defined from here on
excepthook = sys.__excepthook__

HOP_BY_HOP = ('connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer',
              'trailers', 'transfer-encoding', 'upgrade')
DROPPED = HOP_BY_HOP + ('status',)
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CONTROLS = dict.fromkeys((*range(9), *range(10, 32), 127))  # all but the tab
ONE_WRITE = 1 << 20  # bytes: without privilege a pipe grows no larger
YOUNG = 2  # seconds: as coarse as some file systems' times, and a .pyc has whole ones
KNOWN = {}  # names of header fields that an application has sent before: in lower case
LATER = r'''STREAMS'''
ONE = allocate_lock()


def later():
    with ONE:
        if 'Body' not in globals():
            exec(LATER, globals())


def file_wrapper(filelike, blksize=8192):
    later()
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
        if not environ.get('CONTENT_LENGTH'):
            environ.pop('CONTENT_LENGTH', None)  # '' is our word for none
        else:
            environ.pop('HTTP_TRANSFER_ENCODING', None)  # undone, but nginx still says so to fcgiwrap
        length = int(environ.get('CONTENT_LENGTH', 0))
        secure = (environ.get('HTTPS', '').lower() in ('on', '1')
                  or environ.get('REQUEST_SCHEME', '').lower() == 'https')
        self.since = self.way and uptime()
        if not (environ.get('SERVER_NAME') and environ.get('SERVER_PORT')):  # busybox tells neither
            later()
            name_server(environ, secure)
        self.out, self.fds = out, (out,) if source is None else (source, out)
        if length:
            later()
            self.body = Body(source, length, ahead, moved, is_apache(environ))
        environ.update(SAME)
        environ['wsgi.url_scheme'] = 'https' if secure else 'http'
        environ['wsgi.input'] = io.BufferedReader(self.body, 65536) if length else io.BytesIO()
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
                later()
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

    def is_first(self, number):
        """Whether this field of DROPPED is to be told of. A CGI remembers nothing."""
        return True

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
                later()
                complain(self, result)
        finally:
            if hasattr(result, 'close') and not self.forked:
                result.close()

    def start_response(self, status, headers, exc_info=None):
        if exc_info or self.head:
            later()
            start_again(self, exc_info)
        lines = ['Status: ' + status]
        if not (status[3:4] == ' ' and status[:3].isdigit() and 99 < int(status[:3]) < 600):
            raise ValueError('status is not three digits, a space and a reason: %r' % status)
        length = None
        for name, value in headers:
            lower = KNOWN.get(name) or known(name)
            if not lower:
                later()
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
                later()
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
    for name in modules.keys() - BEFORE - set(sys.builtin_module_names):
        del modules[name]
    modules['__main__'] = type(sys)('__main__')
    SourceFileLoader.path_stats = path_stats
    # After all that the application does at exit; then Python forgets our handlers, and lets its objects go.
    atexit.register(signal, SIGTERM, SIG_IGN)


def at_fork(disown):
    """disown: what a child of the application does first."""
    def in_child():
        try:
            disown()
        finally:
            pthread_sigmask(SIG_UNBLOCK, (SIGTERM,))
    # A SIGTERM for a child must find the child's disposition, and not ours.
    os.register_at_fork(before=lambda: pthread_sigmask(SIG_BLOCK, (SIGTERM,)), after_in_child=in_child,
                        after_in_parent=lambda: pthread_sigmask(SIG_UNBLOCK, (SIGTERM,)))


class OnlyRequest(Request):
    """What a CGI is run for. Where the web server has all of the response it may send us SIGTERM, as Apache does. A
    worker takes that for no reason to cut what the application still does, and so do we.

    A thread of ours keeps its time, for nobody else is there to; see oversee(). It waits, and most requests are over
    before it has to do anything."""

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
        first = min(timeout, limit or timeout)
        signal(INTERRUPT, self.interrupt)
        # In C: it shows the stack wherever Python is, and then does what the signal does.
        faulthandler.register(SIGALRM, 2, all_threads=True, chain=True)
        self.rings = int(first) + GRACE
        alarm(self.rings)
        self.rings += self.moved_at
        try:
            start_new_thread(watch, (self, min(first, 1)))
        except RuntimeError:
            pass  # no room for it: the alarm ends us

    def moved(self):
        self.moved_at = time.monotonic()

    def interrupt(self, *_):
        interrupted(self)

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

    def disown(self):
        if getsignal(SIGTERM) == self.ignore:
            signal(SIGTERM, SIG_DFL)
        Request.disown(self)


INTERRUPT = SIGRTMAX - 1
GRACE = 10  # seconds: for what ends a request that is overdue, before the alarm ends the process


def watch(request, seconds):
    pthread_sigmask(SIG_BLOCK, range(1, 32))  # they are for the application's threads
    time.sleep(seconds)
    if request.is_limited:
        later()
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
            later()
            request.for_error = is_for_error(request.environ)
        if since:
            request.way, request.since = b'cgi', float(since)
        try:
            if out == 1:
                raise OSError('there is no other descriptor for the response')
            os.dup2(2, 1)
        except OSError:
            sys.stdout = sys.stderr  # what is printed does not end up in the response
        at_fork(request.disown)
        settle(target, directory)
    except BaseException:
        apologize(out)
        raise
    request.serve(lambda: load(target))


def begin(run, *arguments):
    """Before Python 3.10 a function has its caller's builtins, unless that one has other globals."""
    exec('run(*arguments)', {'run': run, 'arguments': arguments})


if sys.argv[1] == 'cgi':
    begin(run_cgi, *sys.argv[2:])
