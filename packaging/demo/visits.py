"""The app's visitors: how many come at once, what they ask for, and how each request was answered. It knows HTTP and
nothing of polycgi: which way a request was served is what the application or the page of the answer says."""

import http.client
import threading
import time
from dataclasses import dataclass

WAYS = {'cgi': 'plain CGI', 'daemon': 'daemon', 'overload': 'overload page', 'wrong': 'not right'}

ANSWER_MAY_TAKE = 20  # seconds
TRIES = 60  # of one visitor for one page


@dataclass(frozen=True)
class Crowd:
    """Visitors who begin at the same instant."""

    name: str
    visitors: int
    pages: int  # that each of them asks for, one after the other
    pause: float = 0  # seconds between an answer and the request for the next page
    query: str = ''
    returns: bool = True  # a visitor who gets 503 asks again when Retry-After has run down


CROWDS = {crowd.name: crowd for crowd in (
    Crowd('one', visitors=1, pages=1),
    Crowd('burst', visitors=3, pages=8, pause=0.3),
    Crowd('flood', visitors=24, pages=1, query='?slow'),
)}


@dataclass(frozen=True)
class Answer:
    """Which way a visitor's request was served, and in what time."""

    crowd: str
    visitor: int
    status: int  # 0: there was no answer
    seconds: float
    way: str
    pid: str = ''
    retry_after: int = 0  # seconds
    error: str = ''

    @property
    def note(self):
        return {'cgi': f'pid {self.pid}', 'daemon': f'pid {self.pid}',
                'overload': f'Retry-After: {self.retry_after}'}.get(self.way, self.error)


class Visits:
    """Lets crowds come to the web server at this port, and tells each answer, one at a time."""

    def __init__(self, port, tell):
        self.port, self.tell = port, tell
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    def come(self, crowd):
        """Returns when every visitor has got all pages, or has given up, or the visits are stopped."""
        together = threading.Barrier(crowd.visitors, timeout=10)
        threads = [threading.Thread(target=self.visit, args=(crowd, number, together), daemon=True)
                   for number in range(crowd.visitors)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self):
        """From now on nobody waits, and nothing is told."""
        with self.lock:
            self.stopped.set()

    def visit(self, crowd, number, together):
        for page in range(crowd.pages):
            if page and self.stopped.wait(crowd.pause):
                return
            for _ in range(TRIES):
                answer = self.ask(crowd, number, together)
                together = None
                with self.lock:
                    if self.stopped.is_set():
                        return
                    self.tell(answer)
                if answer.way != 'overload' or not crowd.returns:
                    break
                if self.stopped.wait(answer.retry_after):
                    return

    def ask(self, crowd, number, together):
        """One request. The visitors of a crowd have their connections before the first one asks."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=ANSWER_MAY_TAKE)
        began = time.monotonic()
        try:
            connection.connect()
            if together:
                together.wait()
            began = time.monotonic()
            connection.request('GET', f'/cgi-bin/hello{crowd.query}', headers={'Accept': 'text/html'})
            reply = connection.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException, threading.BrokenBarrierError) as error:
            return Answer(crowd.name, number, 0, time.monotonic() - began, 'wrong', error=repr(error))
        finally:
            connection.close()
        return judged(crowd, number, time.monotonic() - began, reply)


def judged(crowd, number, seconds, reply):
    """The answer that a response is."""
    # Python's http.server has said 200 before the CGI says anything.
    status = int(reply.getheader('Status', str(reply.status))[:3])
    way, _, pid = reply.getheader('X-Served', '').partition(' ')
    retry_after = reply.getheader('Retry-After', '')
    if status == 503 and retry_after.isdigit():
        return Answer(crowd.name, number, status, seconds, 'overload', retry_after=int(retry_after))
    if status == 200 and way in ('cgi', 'daemon'):
        return Answer(crowd.name, number, status, seconds, way, pid)
    return Answer(crowd.name, number, status, seconds, 'wrong', error='neither a page of the app nor an overload page')
