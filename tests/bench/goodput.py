"""What is left of an application's capacity when ten times as much is asked of it: through Apache (event, mod_cgid) and
the front, with the settings for the queue that polycgi has by default. The application waits and does not compute:
clients, Apache and its CGIs have the same processors, and what they take of those is not what is asked here.

The clients at ten times capacity come at their own pace (at random, as many a second as was said), whether the ones
before have their answer or not, and heed no Retry-After. A good answer is a 200 within PATIENCE; one who has waited so
long leaves. At the peak there are twice as many clients as workers, and each asks again as soon as it has its answer."""

import dataclasses
import heapq
import math
import random
import selectors
import socket
import time

import common
from figures import Budget, Result, Table, median, number, percentile
from load import ask
from web_servers import apache

TITLE = 'Good answers at ten times capacity'
LIMIT = 0.95
TIMES = 10
PATIENCE = 3.0  # s; a queue that stands is to shed after two
LEAD = 2.5  # s until the workers are there, and the queue is as it will be
CREW = 400  # Apache's threads: more than may wait for the daemon
BODY = b'done\n'

APP = '''\
import time

def application(environ, start_response):
    time.sleep({work})
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '5')])
    return [b'done\\n']
'''


@dataclasses.dataclass
class Case:
    """`work`: seconds that a page takes. `counted`: seconds that are looked at in each round."""
    name: str
    workers: int
    work: float
    counted: float
    rounds: int

    def capacity(self):
        return self.workers / self.work


# A full queue of the first is served in 2.5 s. Of the second it would take 5: first come first served, everybody would
# have left.
CASES = [Case('pages of 100 ms, four workers', 4, 0.1, 5, 2), Case('pages of 400 ms, eight workers', 8, 0.4, 8, 2)]


def measure(site):
    server = apache(site, at_once=CREW)
    results = [measure_case(site, server, case, number) for number, case in enumerate(CASES)]
    server.stop()
    return Result([table for table, _ in results], [budget for _, budget in results])


def measure_case(site, server, case, which):
    app = site.app(server.cgi_bin, f'app{which}', APP.format(work=case.work), mode='daemon', max_procs=case.workers)
    path, counted = f'/cgi-bin/app{which}', case.counted if not site.quick else 2
    ask(f'{server.url}/app{which}', BODY)
    peaks, crowds = [], []
    for _ in range(site.rounds(case.rounds, 1)):
        peaks.append(Crowd(server.address, path, counted).ask_again(2 * case.workers))
        crowds.append(Crowd(server.address, path, counted).come(TIMES * case.capacity()))
        common.wait_for(lambda: is_quiet(site.status(app)), 'the queue does not end')
    seconds = counted * len(crowds)
    peak, good = (median(len(crowd.good) / counted for crowd in of) for of in (peaks, crowds))
    rows = [('', 'come/s', 'good/s', 'ratio', 'median ms', 'p99 ms', 'refused/s', 'median ms', 'too late/s')]
    for name, of in (f'{2 * case.workers} clients', peaks), ('ten times capacity', crowds):
        waited, refused = [1000 * s for crowd in of for s in crowd.good], [1000 * s for crowd in of for s in crowd.refused]
        rows.append((name, number(sum(crowd.came for crowd in of) / seconds), number(len(waited) / seconds),
                     number(len(waited) / seconds / peak), number(median(waited or [0])), number(percentile(waited or [0])),
                     number(len(refused) / seconds), number(median(refused or [0])),
                     number(sum(crowd.late for crowd in of) / seconds)))
    return (Table(f'{TITLE}: {case.name}', rows),
            Budget(f'good answers/s at ten times capacity / at the peak: {case.name}', LIMIT, good / peak, at_least=True))


def is_quiet(status):
    return not status['queue'] and all(worker['state'] == 'idle' for worker in status['workers'])


class Crowd:
    """Clients of one path, and of the seconds that count: how many came, how long each good answer and each refusal
    took, in s, and how many had waited too long."""

    def __init__(self, address, path, counted):
        self.address = address
        # Version 1.0: a body without a length ends with its connection, and not in chunks.
        self.request = f'GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n'.encode()
        self.began = time.monotonic()
        self.first, self.last = self.began + LEAD, self.began + LEAD + counted
        self.selector, self.here, self.deadlines = selectors.EpollSelector(), {}, []
        self.came, self.good, self.refused, self.late = 0, [], [], 0

    def come(self, rate):
        """At random, so many a second on the average."""
        chance, due = random.Random(1), self.began
        while due < self.last or self.here:
            # However many requests are due, answers that have come are read in between.
            if due <= time.monotonic() and due < self.last:
                self.enter(due)
                due += chance.expovariate(rate)
            self.serve(due if due < self.last else math.inf)
        return self

    def ask_again(self, clients):
        """So many, each asking again once it was answered."""
        while time.monotonic() < self.last or self.here:
            while len(self.here) < clients and time.monotonic() < self.last:
                self.enter(time.monotonic())
            self.serve(math.inf)
        return self

    def enter(self, since):
        client = Client(self.address, self.request, since)
        self.selector.register(client.stream, selectors.EVENT_READ, client)
        self.here[client.number] = client
        heapq.heappush(self.deadlines, (since + PATIENCE, client.number))
        self.came += self.counts(since)

    def leave(self, client):
        del self.here[client.number]
        self.selector.unregister(client.stream)
        client.stream.close()

    def counts(self, when):
        return self.first <= when < self.last

    def serve(self, until):
        """Reads what there is to read, after waiting for that until then at most; who has waited too long leaves."""
        until = min(until, self.last + PATIENCE, *(when for when, _ in self.deadlines[:1]))
        for key, _ in self.selector.select(max(until - time.monotonic(), 0)):
            client = key.data
            if client.read():
                self.leave(client)
                self.take_down(client, time.monotonic())
        while self.deadlines and self.deadlines[0][0] <= time.monotonic():
            when, which = heapq.heappop(self.deadlines)
            if which in self.here:
                self.leave(self.here[which])
                self.late += self.counts(when)

    def take_down(self, client, now):
        answers, seconds = self.good if client.is_good() else self.refused, now - client.since
        if not self.counts(now):
            return
        if seconds > PATIENCE:
            self.late += 1
        else:
            answers.append(seconds)


class Client:
    """One request, from the instant at which it was due."""

    count = 0

    def __init__(self, address, request, since):
        Client.count += 1
        self.number, self.since, self.said = Client.count, since, b''
        # To loopback: at once, or it waits for room in the backlog, as it should.
        self.stream = socket.socket()
        self.stream.connect(address)
        self.stream.sendall(request)
        self.stream.setblocking(False)

    def read(self):
        """Whether that was all."""
        try:
            said = self.stream.recv(65536)
        except BlockingIOError:
            return False
        except OSError as error:
            common.fail(f'a connection ends before its answer is complete: {error}, {self.said[:200]!r}')
        self.said += said
        return not said

    def is_good(self):
        """Or refused as it should be; anything else ends the bench."""
        head, _, body = self.said.partition(b'\r\n\r\n')
        status = head[:12]
        if status == b'HTTP/1.1 200' and body == BODY:
            return True
        if status == b'HTTP/1.1 503' and b'\r\nRetry-After: ' in head and body:
            return False
        common.fail(f'neither a page nor a refusal: {self.said[:300]!r}')
