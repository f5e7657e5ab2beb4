# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: Request, answer_500 from wsgi.py; shortened from late.py; AT_ONCE, Outgoing from outgoing.py; say from
# channel.py; OVERDUE from board.py.
# Gives: Served.
#
# A request that a worker serves. It knows the daemon's channel and the worker's part of the board; it refuses to know
# where requests come from.


class Served(Request):
    """A request that a worker serves."""

    running = False
    is_direct = False  # the daemon has given it
    outgoing = None  # made when the client does not take everything at once

    def __init__(self, worker, meta, fds, letters):
        """fds: as Request has them, source, out and ahead. letters: what the daemon says behind the header, `s` and
        `e`."""
        Request.__init__(self, meta, *fds, worker.moved)
        self.worker = worker
        self.shared, self.for_error = 's' in letters, 'e' in letters  # see Outgoing; see Request

    def run(self, app):
        self.running = True
        try:
            Request.run(self, app)
        finally:
            # A signal that comes before this assignment raises here; one that comes later does nothing.
            self.running = False

    def end(self, *_):
        """The request has taken too long. Called by the handler, or by put() if that is first."""
        if self.running and not self.overdue:
            self.overdue = True
            raise SystemExit('the request has taken too long')

    def put(self, data, empty=False):
        worker = self.worker
        try:
            if self.out < 0:
                raise BrokenPipeError('the request is over, or belongs to another process')
            told = worker.board.told()
            if told:  # nothing may be written any more
                if told == OVERDUE:
                    self.end()
                raise BrokenPipeError('the client is gone')
            worker.board.mark_written()
            if empty and len(data) <= AT_ONCE and not self.shared:
                try:
                    data = data[os.write(self.out, data):]
                    worker.moved()
                except ConnectionError:
                    raise
                except OSError:
                    pass  # the descriptor is O_NONBLOCK, or the host refuses the call: tried again below
            if data:
                if not self.outgoing:
                    self.outgoing = Outgoing(self.out, self.shared, self.body, worker)
                self.outgoing.put(data, empty)
        except OSError:
            self.gone = True
            if self.out >= 0:
                worker.board.mark_cut()
            raise

    def give_up(self, reason):
        """The application has failed: the daemon answers when we are done, if the response has not begun."""
        has_begun, self.begun = self.begun, True
        if not say(self.worker.daemon, 'raised ' + shortened(reason)) and not has_begun:
            answer_500(self.out)

    def answer_500(self):
        """Nothing: the daemon answers when this process has ended."""

    def claim_report(self, number):
        """True once in each generation, in whichever worker asks first."""
        worker = self.worker
        if worker.journal:
            with worker.journal:
                said, worker.dropped[number] = worker.dropped[number], 1
        else:
            said, worker.dropped[number] = worker.dropped[number], 1
        return not said

    def leave_body(self):
        """Leaves the rest to the daemon, which can wait for slow clients. Not when we were interrupted: that may
        have been between a read and its count, and `left` would be wrong."""
        if self.body.fed and self.body.left and not self.overdue:
            say(self.worker.daemon, 'unread %d' % self.body.left)

    def close(self):
        if self.outgoing:
            self.outgoing.close()
        Request.close(self)
