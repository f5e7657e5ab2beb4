# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: APP, DROPPED, excepthook, frames_of_threads from wsgi.py; IN_MEMORY, POLLIN, ready from streams.py; INTERRUPT,
# NO_BODY, TIMED_OUT from once.py.
# Gives: NOT_STARTED, asked, disown_only, fail, hold_signal, interrupted, is_for_error, name_server, note, oversee,
# page, reason_of, release_signal, report_dropped, shortened, show, start_again.
#
# What is needed when a request fails, is overdue or is unusual: text until then (later()). It knows what the client and
# the operator are told; it refuses to know the daemon. The names of streams.py are there only with a message-body.

def show(error, before=''):
    """Writes the traceback to stderr, without our own frames at its top, and returns it. before: a line to stand before
    it."""
    log, caught = getattr(sys, 'stderr', None), io.StringIO()
    sys.stderr = caught
    try:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_globals is globals():
            trace = trace.tb_next
        error.__traceback__ = trace
        excepthook(type(error), error, trace)
    except Exception:
        pass  # the error is the application's own, and broken
    finally:
        sys.stderr = log
    text = caught.getvalue()
    try:
        log.write(before + text)  # at once, so that the lines of processes that share a log do not mix
        log.flush()
    except Exception:
        pass  # the application has closed or replaced it
    return text


def reason_of(error):
    """The error in one line."""
    try:
        words = str(error).split()
    except BaseException:
        words = []  # it is the application's own, and broken
    return ' '.join([type(error).__name__ + (':' if words else ''), *words])[:500]


def asked(request):
    """The request's method and path, as src/incidents.rs has them; not by `environ`, which the application may change."""
    words = iter(request.meta.split('\0'))
    environ = dict(zip(words, words))
    path = environ.get('REQUEST_URI', '').partition('?')[0]
    path = path or environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
    return visible(environ.get('REQUEST_METHOD', '')), visible(path)


def visible(text):
    return ''.join(c if ' ' <= c <= '~' else '?' for c in text[:200]) + '...' * (len(text) > 200)


def line_of(request, sentence):
    """A line for the web server's log; as src/report.rs has it."""
    sentence = ''.join(c if c.isprintable() else '?' for c in sentence)
    return 'polycgi: wsgi: %s: %s %s: %s\n' % (APP.decode(), *asked(request), sentence)


def clean(reason):
    """The first line of a reason, at most 300 bytes of it; as src/incidents.rs has it."""
    reason = reason.partition('\n')[0]
    reason = ''.join(' ' if c < ' ' or '\x7f' <= c < '\xa0' else c for c in reason).encode('utf-8', 'replace')
    return reason[:300].decode('utf-8', 'ignore') + '...' * (len(reason) > 300)


MOST, MOST_OF_KIND = 24, 8  # incidents in all, and of a kind; as src/incidents.rs has them
TRIES_OF_LOCK = 50


def note(request, kind, reason):
    """Adds to the file `incidents` in the app's place, as src/logbook.rs does: equal ones are counted. Nothing depends
    on it."""
    if not request.place:
        return
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(request.place + '/incidents', flags, 0o600)
    except Exception:
        return
    try:
        for left in reversed(range(TRIES_OF_LOCK)):
            try:
                os.lockf(fd, os.F_TLOCK, 0)
                break
            except OSError:
                if not left:
                    raise
                time.sleep(0.001)
        now, reason = '%d' % time.time(), clean(reason)
        new = [now, now, '1', kind, *asked(request), reason]
        old = [line.split('\t') for line in os.read(fd, 65536).decode('utf-8', 'replace').split('\n')]
        old = [words for words in old if len(words) == len(new) and all(map(str.isdecimal, words[:3]))]
        for words in [words for words in old if (words[3], words[6]) == (kind, reason)]:
            old.remove(words)
            new[1:3] = words[1], str(int(words[2]) + int(new[2]))
        if len(old) >= MOST:
            kinds = [words[3] for words in old]
            crowds = [kinds.index(kind) for kind in kinds if kinds.count(kind) > MOST_OF_KIND]
            del old[min(crowds) if crowds else 0]
        text = ''.join('\t'.join(words) + '\n' for words in (*old, new)).encode('utf-8', 'replace')
        os.pwrite(fd, text, 0)
        os.ftruncate(fd, len(text))
    except Exception:
        pass  # the host refuses it, or another process holds the lock for too long
    finally:
        os.close(fd)


LONGEST_REASON, BEGINNING = 8000, 2000  # characters; as src/page/mod.rs has it


def shortened(reason):
    """A reason as a page has it: of a long one the beginning, and more of the end."""
    reason = reason.rstrip()
    if len(reason) > LONGEST_REASON:
        reason = '%s\n...\n%s' % (reason[:BEGINNING], reason[BEGINNING - LONGEST_REASON:])
    return reason.encode('utf-8', 'backslashreplace').decode()


def escaped(text, head):
    """The text for the form that this beginning of a head names; as src/page/escape.rs has it."""
    shown = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), '?')
    if b'json' in head:
        shown = {code: '\\u%04x' % code for code in shown}
        shown.update(zip(b'\t\n\r"\\', ('\\t', '\\n', '\\r', '\\"', '\\\\')))
        text = '"%s"' % text.translate(shown)
    else:
        if b'html' in head:
            shown.update(zip(b'&<>"\'', ('&amp;', '&lt;', '&gt;', '&quot;', '&#39;')))
        text = text.translate(shown)
    return text.encode()


def page(outline, method, reason=''):
    """A response of ours, by its outline (Answer::outline in src/page/mod.rs). reason: empty if the client is not to
    see it."""
    start, head, opening, closing, end = outline.split(b'\0')
    at = head.index(b'\r\n\r\n') + 4
    head, beginning = head[:at], head[at:]
    if reason:
        end = opening + escaped(shortened(reason), start) + closing + end
    head = b'%s%d%s' % (start, len(beginning) + len(end), head)
    return head if method == 'HEAD' else head + beginning + end


SAID = set()  # fields that were dropped, in lower case


def report_dropped(request, name):
    """Reports, once, a header field of the response that only the web server may send: it says how the message-body is
    framed, or what becomes of the connection."""
    lower = name.lower()
    if lower in SAID:
        return
    SAID.add(lower)
    try:
        if not request.claim_report or request.claim_report(DROPPED.index(lower)):
            sys.stderr.write('polycgi: wsgi: dropped a header field that is not for an application to send: %s\n'
                             % name)
    except Exception:
        pass  # the application has closed it


def is_for_error(environ):
    """Whether Apache has redirected the request to an ErrorDocument, perhaps by more than one redirect."""
    return environ['REDIRECT_STATUS'] != '' and any(
        name.replace('REDIRECT_', '') == 'REQUEST_METHOD' != name for name in environ)


def name_server(environ, secure):
    """Sets SERVER_NAME and SERVER_PORT from the Host field: PEP 3333 requires both, never empty."""
    host = environ.get('HTTP_HOST', '')
    name, colon, port = host.rpartition(':')
    if not colon or not port.isdecimal():
        name, port = host, ''
    environ['SERVER_NAME'] = environ.get('SERVER_NAME') or name or 'localhost'
    environ['SERVER_PORT'] = environ.get('SERVER_PORT') or port or ('443' if secure else '80')


def start_again(request, exc_info):
    """start_response() when it is called again, or because of an error."""
    try:
        if not exc_info:
            raise RuntimeError('start_response() was called before')
        if request.begun:
            raise exc_info[1].with_traceback(exc_info[2])
    finally:
        exc_info = None  # a traceback must not hold its own frame


NOT_STARTED = 'cannot start the app: '


def fail(request, error):
    """Reports the error to the operator, and to the client if the response has not begun."""
    # Not if the client has hung up; and if the request is overdue, the stack was already reported.
    if (request.gone and isinstance(error, ConnectionError)
            or request.overdue and isinstance(error, (SystemExit, BrokenPipeError))):
        return
    reason = what = reason_of(error)
    if not request.is_loaded:
        reason = NOT_STARTED + reason
    trace = show(error, line_of(request, reason))
    head, _, last = trace.rstrip().rpartition('\n')
    if last.endswith(what):
        trace = head  # the page has this line already
    if trace:
        reason += '\n\n' + trace
    try:
        request.give_up(reason)
    except OSError:
        pass  # the client is gone; the operator has the traceback


ALARM_GRACE = 10  # seconds that oversee() has to end an overdue request before the alarm ends the process


def oversee(request):
    """Ends a request that takes too long, from a thread of its own: writes where it is stuck, answers if nothing was
    sent, interrupts it, and ends the process 5 s later. A call in C that keeps Python's lock is ended only by the
    alarm."""
    while request.is_limited:
        due = request.moved_at + request.timeout
        left = (min(due, request.until) if request.until else due) - time.monotonic()
        if left <= 0:
            break
        if request.has_alarm():
            seconds = int(left) + ALARM_GRACE
            request.rings = time.monotonic() + seconds
            alarm(seconds)
            if not request.is_limited:  # the request ended in between, and turned off an alarm that was not set yet
                alarm(0)
        time.sleep(left)
    else:
        return
    key = 'request-limit' if request.until and request.until <= time.monotonic() else 'request-timeout'
    waiting = request.body and request.body.waiting
    with request.telling:
        request.overdue = True
        sentence = key + ': the app did not answer in time'
        stacks = ''.join(line for ident, frame in frames_of_threads().items() if ident != get_ident()
                         for line in stack(frame))
        data = request.page(NO_BODY if waiting else TIMED_OUT, '%s\n\n%s' % (sentence, stacks))
        is_ours = request.claim.acquire(False)
        if is_ours:
            request.put = cut
            try:
                os.write(request.out, data)
            except OSError:
                pass  # the client is gone
            request.begun = True
        note(request, 'time-out', sentence)
        try:
            os.write(2, (line_of(request, sentence) + stacks).encode('ascii', 'backslashreplace'))
        except OSError:
            pass  # the application has closed it
    for _ in range(50):
        # Again and again: a signal just before a system call that blocks is not handled before that call returns.
        pthread_kill(request.main, INTERRUPT)
        time.sleep(0.1)
        if not request.is_limited:
            return
    if is_ours and request.body:
        leave_some(request.body)
    os._exit(not is_ours)


MASKS = {}  # by thread: two threads may fork at the same time


def hold_signal():
    """Before a fork: a SIGTERM for the child must wait until the child has its own disposition, and not ours."""
    MASKS[get_ident()] = pthread_sigmask(SIG_BLOCK, (SIGTERM,))


def release_signal():
    pthread_sigmask(SIG_SETMASK, MASKS.pop(get_ident()))


def disown_only(request):
    """In a child that an application has forked which runs as a CGI."""
    if getsignal(SIGTERM) == request.ignore:
        signal(SIGTERM, SIG_DFL)
    request.disown()


def interrupted(request):
    """The handler of INTERRUPT: ends the request by SystemExit in the application, once. Nothing is written any more. A
    signal after the end of the request does nothing."""
    if request.is_limited and not request.interrupted:
        request.interrupted = True
        request.put = cut
        request.leave_body = lambda: leave_some(request.body)
        raise SystemExit('the request has taken too long')


def cut(*_):
    raise BrokenPipeError('the request has taken too long')


def leave_some(body):
    """Reads what has come, without waiting for more: some web servers lose the response if bytes are left."""
    view = memoryview(bytearray(IN_MEMORY))
    while ready(0, (body.fd, POLLIN)) and body.take(view):
        pass


def stack(frame):
    """The lines of a stack, in faulthandler's form: without our own frames, unless all are."""
    frames = []
    while frame:
        frames.append(frame)
        frame = frame.f_back
    yield 'Thread (most recent call first):\n'
    for frame in [frame for frame in frames if frame.f_globals is not globals()] or frames:
        code = frame.f_code
        yield '  File "%s", line %d in %s\n' % (code.co_filename, frame.f_lineno or 0, code.co_name)
