# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: LAST_RESORT, Request, above_if_possible, answer_500, at_fork, later, load, name_process, prepare_for_app from
# wsgi.py; NOT_STARTED, asked, disown_only, interrupted, is_for_error, note, oversee, page from late.py.
# Gives: INTERRUPT, NO_BODY, TIMED_OUT.
#
# The way of a CGI: one request, and its time limits. It knows the front's command line; it refuses to know the daemon.


TIMED_OUT, NO_BODY, BROKEN, FAILED = range(4)  # our pages, in the order of OUTLINES in wsgi.rs


class OnlyRequest(Request):
    """The request of a CGI. Apache sends SIGTERM once it has all of the response; the application then goes on all the
    same, as in a worker.

    A thread of ours keeps the time limits; see oversee(). Most requests are over before it has to do anything."""

    is_limited = False  # True until the request's end, if it has time limits
    outlines = b''  # of our pages, with byte 1 between them
    shows = False  # whether the client may see the reason on them
    place = ''  # the app's, or empty
    interrupted = False  # by oversee(), or the application has raised an error
    time_note = ''  # where the time is noted, and since when it counts: time_note() in src/slots/times.rs, or empty

    def limit(self, timeout, limit):
        """timeout: seconds without progress; limit: seconds in all, or None."""
        self.timeout, self.main = timeout, get_ident()
        self.moved()
        self.until = limit and self.moved_at + limit
        self.claim, self.telling, self.is_limited = allocate_lock(), allocate_lock(), True
        if self.body:
            self.body.moved = self.moved
        signal(INTERRUPT, lambda *_: interrupted(self))
        # A handler in C: it writes the stack whatever Python is doing, and then the signal takes its effect.
        register(SIGALRM, 2, all_threads=True, chain=True)
        self.rings = self.moved_at + getitimer(ITIMER_REAL)[0]  # set by the front that became this process
        try:
            start_new_thread(watch, (self, min(timeout, limit or 1, 1)))
        except RuntimeError:
            pass  # the host gives no thread: the alarm ends us

    def moved(self):
        self.moved_at = time.monotonic()

    def has_alarm(self):
        """Whether the alarm that is set is ours; the application may have taken the signal."""
        try:
            return getsignal(SIGALRM) == SIG_DFL and abs(
                self.rings - time.monotonic() - getitimer(ITIMER_REAL)[0]) < 0.5
        except OSError:
            return True  # the host refuses the look; it is hardly the application's, which has no handler

    def close(self):
        self.wait_for_page()
        Request.close(self)
        if self.is_limited and not self.forked:
            self.is_limited = False  # the thread sees that when it next looks
            if self.has_alarm():
                alarm(0)

    def note_time(self):
        """Leaves how long the request took, for `status`. Nothing depends on it."""
        if self.forked:
            return
        try:
            slots, offset, since = self.time_note.split(':')
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            took = min(int((now - float(since)) * 10000), 0xffffffff)
            os.pwrite(int(slots), (int(now) << 32 | took).to_bytes(8, sys.byteorder), int(offset))
        except Exception:
            pass  # the application has closed the descriptor, or the host refuses it

    def page(self, number, reason=''):
        outline = self.outlines.split(b'\1')[number]
        try:
            return page(outline, asked(self)[0], reason if self.shows else '')
        except Exception:
            return LAST_RESORT

    def give_up(self, reason):
        """The application has failed: answers, if the response has not begun."""
        if self.is_loaded:
            note(self, 'exception', reason)
        else:
            note(self, 'import', reason.partition(NOT_STARTED)[2] or reason)
        if self.begun:
            return
        data = self.page(FAILED if self.is_loaded else BROKEN, reason)
        if self.claim and not self.claim.acquire(False):
            raise SystemExit  # answered by oversee()
        self.begun = True
        self.complete()
        self.put(data, empty=True)

    def answer_500(self):
        if not self.claim or self.claim.acquire(False):
            answer_500(self.out)
        else:
            self.wait_for_page()

    def wait_for_page(self):
        """If the request is overdue, waits until oversee() has answered, and for its log line, unless that stalls."""
        if self.overdue and not self.forked and self.telling.acquire(True, LONGEST_WAIT):
            self.telling.release()

    def complete(self):
        try:
            signal(SIGTERM, self.ignore)  # not SIG_IGN, which programs that the application starts would inherit
        except ValueError:
            pass  # write() was called in a thread of the application: serve() does it later

    def ignore(self, *_):
        pass


INTERRUPT = SIGRTMAX - 1
LONGEST_WAIT = 5  # seconds


def watch(request, seconds):
    pthread_sigmask(SIG_BLOCK, range(1, 32))  # signals are for the application's threads
    time.sleep(seconds)
    if request.is_limited:
        later('late')
        oversee(request)


def run_cgi(app, target, directory, fd, since='', *limits):
    """The parameters are the command line of become_cgi() in wsgi.rs. since: when the front decided to start us, or
    empty: the client is not told. limits: `request-timeout` and `request-limit` in seconds, the latter may be empty; and
    the app's place and `time_note`, which may be empty too.
    Behind the header are the outlines of our pages, and byte 1 if the client may see the reason on them."""
    out = 1
    try:
        with open(int(fd), 'rb') as file:
            data = file.read()
        start = data.index(b':') + 1
        end = start + int(data[:start - 1])
        source = above_if_possible(0)
        out = above_if_possible(1)
        request = OnlyRequest(data[start:end].decode('latin-1'), source, out)
        request.outlines, request.shows = data[end + 1:], data.endswith(b'\1')
        if limits:
            timeout, limit, request.place, request.time_note = (*limits, '', '')[:4]
            try:
                request.limit(float(timeout), limit and float(limit))
            except OSError:
                request.is_limited = False  # the host refuses it; there is the alarm that our front has set
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
            sys.stdout = sys.stderr  # so that print() does not write into the response
        at_fork(lambda: disown_only(request))
        name_process(b'cgi')
        prepare_for_app(target, directory)
    except BaseException:
        answer_500(out)
        raise
    request.serve(lambda: load(target))
    if request.time_note:
        request.note_time()


# Before Python 3.10 a function has its caller's builtins, unless that one has other globals.
call_from_elsewhere(run_cgi, *sys.argv[2:])
