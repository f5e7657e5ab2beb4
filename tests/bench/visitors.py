"""Visitors of a site, by a schedule: people, who do what a browser does, and scrapers, who ask and look at nothing.

The load is open: a visitor comes when the schedule says so, however many still wait for an answer. A request that is
sent more than LATE after its time counts as late: then the generator, and not the server, is slow. Each request has a
connection of its own, from an address of 127/8, and the header fields of a browser; nothing but a cookie tells a person
from a scraper. Knows no server and no program: `outcomes.py` says what became of all of them.

people()    those who read: pages with a pause between them; after a refusal they come back when Retry-After has passed,
            with the cookies that they were given. Beside them eager ones, who want the next page at once, for ever
swarm()     groups of scrapers, each request at its own time, heedless of Retry-After
saturate()  a few clients who each ask again as soon as they have an answer
"""

import collections
import contextlib
import dataclasses
import gc
import heapq
import ipaddress
import itertools
import os
import random
import resource
import select
import socket
import time

import common

BODY = b'page\n'  # of a good answer, whole or in a chunk of its own
BODIES = BODY, b'%x\r\n%s\r\n0\r\n\r\n' % (len(BODY), BODY)
RELOAD = 5.0  # s until a person reloads an error page without Retry-After
RETRIES = 3  # of a person, for one page
PAGES = 4  # that a person reads
PAUSE = 2.0, 8.0  # s between them, at least and at most
LATE = 0.01  # s

PAGE, REFUSED, FAILED, LEFT = 'page', 'refused', 'failed', 'left'

FIELDS = '''\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
Accept-Language: en-GB,en;q=0.7,de;q=0.3
Accept-Encoding: gzip, deflate, br
Connection: close
Upgrade-Insecure-Requests: 1
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: same-origin
'''.replace('\n', '\r\n')


@dataclasses.dataclass
class Group:
    """Scrapers: so many requests a second from so many addresses. `cookies`: 'none', 'own' (each address keeps those it
    is given) or 'shared' (all send the first one that any of them was given)."""
    name: str
    rate: float
    addresses: int = 4000
    cookies: str = 'none'


@dataclasses.dataclass
class Plan:
    """Who comes. `start` is an instant of time.monotonic(), the other times are s after it: people come from 0 to
    `end`, the swarm and the eager ones from `swarm_from` to `swarm_until`. `demand`: pages/s that people want. A visitor
    without an answer leaves after `patience`."""
    address: tuple
    path: str
    start: float
    swarm_from: float
    swarm_until: float
    end: float
    demand: float
    patience: float = 10.0
    eager: int = 0
    groups: list = dataclasses.field(default_factory=list)
    seed: int = 1


@dataclasses.dataclass
class Wanted:
    """A page that a person wanted: from the first request to the end of the last answer, s after the start."""
    person: int
    is_first: bool
    began: float
    ended: float
    retries: int
    is_served: bool


@dataclasses.dataclass
class Sends:
    """Requests that had a time; those that were sent late; the generator's processor time, of the time it took."""
    count: int = 0
    late: int = 0
    cpu: float = 0


@dataclasses.dataclass
class Answer:
    """What became of a request. `head` is a response's, as far as it came."""
    kind: str
    head: str = ''

    def field(self, name):
        """The values of a header field."""
        lines = (line.partition(':') for line in self.head.split('\r\n')[1:])
        return [value.strip() for key, _, value in lines if key.lower() == name]

    def retry_after(self):
        values = self.field('retry-after')
        return float(values[0]) if values and values[0].isdigit() else None


class Loop:
    """Connections and times, in one thread."""

    def __init__(self):
        self.epoll, self.open, self.timers, self.numbers = select.epoll(), {}, [], itertools.count()
        self.waiting = collections.deque()  # (when it leaves, exchange): all have the same patience
        self.sends, self.began, self.used = Sends(), time.monotonic(), processor()

    def at(self, when, call):
        heapq.heappush(self.timers, (when, next(self.numbers), call))

    def on_time(self, due):
        """Counts a request that was to be sent then, and is now."""
        self.sends.count += 1
        self.sends.late += time.monotonic() - due > LATE

    def ask(self, plan, source, cookies, then):
        """Sends a request; `then(answer, now)` once, at the latest when patience ends."""
        exchange, now = Exchange(plan, source, cookies, then), time.monotonic()
        if exchange.connect():
            self.epoll.register(exchange.stream, exchange.wants)
            self.open[exchange.stream.fileno()] = exchange
            self.waiting.append((now + plan.patience, exchange))
        else:
            self.at(now, lambda: then(Answer(FAILED), now))

    def end(self, exchange, answer):
        number = exchange.stream.fileno()
        del self.open[number]
        self.epoll.unregister(number)
        exchange.stream.close()
        exchange.then(answer, time.monotonic())

    def is_idle(self):
        return not (self.open or self.timers)

    def turn(self):
        """Does what is due, and reads what has come: whichever is first."""
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()
        while self.waiting and (self.waiting[0][0] <= now or self.waiting[0][1].is_over()):
            exchange = self.waiting.popleft()[1]
            if not exchange.is_over():
                self.end(exchange, Answer(LEFT))
        due = [when for when, *_ in (*self.timers[:1], *itertools.islice(self.waiting, 1))]
        for number, _ in self.epoll.poll(max(min(due, default=now) - time.monotonic(), 0)):
            exchange = self.open.get(number)
            answer = exchange and exchange.proceed(self.epoll)
            if answer:
                self.end(exchange, answer)

    def run(self, is_over):
        try:
            while not is_over():
                self.turn()
        finally:
            for exchange in self.open.values():
                exchange.stream.close()
            self.epoll.close()
        self.sends.cpu = (processor() - self.used) / (time.monotonic() - self.began)


class Exchange:
    """One request on a connection of its own."""

    def __init__(self, plan, source, cookies, then):
        self.plan, self.source, self.then, self.said = plan, source, then, b''
        self.request = f'GET {plan.path} HTTP/1.1\r\nHost: {plan.address[0]}\r\n{FIELDS}{cookies}\r\n'.encode()
        self.wants = select.EPOLLOUT

    def is_over(self):
        return self.stream.fileno() < 0

    def connect(self):
        """Whether it may yet succeed."""
        self.stream = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Without it a port would be taken for this address alone, for any destination.
        self.stream.setsockopt(socket.IPPROTO_IP, getattr(socket, 'IP_BIND_ADDRESS_NO_PORT', 24), 1)
        try:
            self.stream.bind((self.source, 0))
            self.stream.connect(self.plan.address)
        except BlockingIOError:
            return True
        except OSError:
            self.stream.close()
            return False
        return True

    def proceed(self, epoll):
        """An answer once there is one."""
        try:
            if self.wants == select.EPOLLOUT:
                self.stream.send(self.request)  # less than any socket's buffer
                self.wants = select.EPOLLIN
                epoll.modify(self.stream, self.wants)
                return None
            said = self.stream.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            return Answer(FAILED)
        self.said += said
        return None if said else self.answer()

    def answer(self):
        head, _, body = self.said.partition(b'\r\n\r\n')
        head = head.decode('latin-1')
        status = head[9:12]
        if status == '200' and body not in BODIES:
            common.fail(f'an answer that is no page: {self.said[:300]!r}')
        return Answer(PAGE if status == '200' else REFUSED if status == '503' else FAILED, head)


class Jar:
    """Cookies as a browser keeps them for one host that it asks without TLS (RFC 6265 5.3 and 5.4)."""

    def __init__(self):
        self.cookies = {}  # {(name, path): (value, when it expires)}

    def take(self, answer, path, now):
        for line in answer.field('set-cookie'):
            pair, *attributes = line.split(';')
            name, _, value = pair.strip().partition('=')
            named = {key.strip().lower(): text.strip() for key, _, text in (each.partition('=') for each in attributes)}
            if 'secure' in named:
                continue
            where = named.get('path', '')
            if not where.startswith('/'):
                where = path.partition('?')[0].rpartition('/')[0] or '/'
            age = named.get('max-age')
            self.cookies[name, where] = value, now + (float(age) if age else float('inf'))

    def field(self, path, now):
        """The header field for a request, with its line's end; empty without a cookie."""
        path = path.partition('?')[0]
        sent = [f'{name}={value}' for (name, where), (value, expires) in self.cookies.items()
                if expires > now and (path == where or path.startswith(where.rstrip('/') + '/'))]
        return f'Cookie: {"; ".join(sent)}\r\n' if sent else ''


class Person:
    """Reads some pages. `log` takes a Wanted for each page that came or was given up."""

    def __init__(self, loop, plan, number, pages, pause, log):
        self.loop, self.plan, self.number, self.log = loop, plan, number, log
        self.pages, self.pause, self.jar, self.is_first = pages, pause, Jar(), True
        self.source = address('127.128.0.1', number)

    def want(self, due):
        """The next page, at a time that was said."""
        self.loop.on_time(due)
        self.began, self.retries = due, 0
        self.ask()

    def ask(self):
        self.loop.ask(self.plan, self.source, self.jar.field(self.plan.path, time.monotonic()), self.answered)

    def answered(self, answer, now):
        self.jar.take(answer, self.plan.path, now)
        if answer.kind in (REFUSED, FAILED) and self.retries < RETRIES:
            self.retries += 1
            seconds = answer.retry_after()
            self.loop.at(now + (RELOAD if seconds is None else seconds), self.ask)
            return
        start, is_served = self.plan.start, answer.kind == PAGE
        self.log.append(Wanted(self.number, self.is_first, self.began - start, now - start, self.retries, is_served))
        self.is_first = False
        # An eager one goes on whatever happens.
        self.pages -= is_served or not self.pause
        if self.pages > 0 and (is_served or not self.pause):
            due = now + (self.pause() if self.pause else 0)
            if due < start + (self.plan.end if self.pause else self.plan.swarm_until):
                self.loop.at(due, lambda: self.want(due))


def be_prompt():
    """Makes this process one of visitors."""
    # The many objects of a run form no circles.
    gc.disable()
    # Visitors have machines of their own, and need not wait for this one's processors.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def people(plan):
    """[Wanted] of the people, [Wanted] of the eager ones, and how punctual we were."""
    loop, log, eager, chance = Loop(), [], [], random.Random(plan.seed)

    def pause():
        return chance.uniform(*PAUSE)

    for number, (first, pages) in enumerate(visits(plan, chance)):
        person = Person(loop, plan, number, pages, pause, log)
        loop.at(plan.start + first, lambda person=person, due=plan.start + first: person.want(due))
    for number in range(plan.eager):
        person = Person(loop, plan, 100_000 + number, float('inf'), None, eager)
        due = plan.start + plan.swarm_from + number / plan.eager
        loop.at(due, lambda person=person, due=due: person.want(due))
    end = plan.start + plan.end
    loop.run(lambda: time.monotonic() >= end and loop.is_idle())
    return log, eager, loop.sends


def visits(plan, chance):
    """(when the first page is wanted, pages) of each person. Those who came before 0 are amid their visit then: the
    demand is the same from the beginning."""
    found = []
    for first in schedule(plan.demand / PAGES, -PAGES * PAUSE[1], plan.end, chance):
        pages = PAGES
        while first < 0 and pages:
            first, pages = first + chance.uniform(*PAUSE), pages - 1
        if pages and first < plan.end:
            found.append((first, pages))
    return found


def swarm(plan):
    """{name of a group: [(s from the request's time to its end, s after the start, what became of it)]}, and how
    punctual we were."""
    loop = Loop()
    logs = {group.name: [] for group in plan.groups}
    for number, group in enumerate(plan.groups):
        Scrapers(loop, plan, group, number, logs[group.name]).come()
    end = plan.start + plan.swarm_until
    loop.run(lambda: time.monotonic() >= end and loop.is_idle())
    return logs, loop.sends


class Scrapers:
    """A group of a plan's, and its log."""

    def __init__(self, loop, plan, group, number, log):
        self.loop, self.plan, self.group, self.log = loop, plan, group, log
        self.chance = random.Random(1000 * plan.seed + number)
        self.times = schedule(group.rate, plan.swarm_from, plan.swarm_until, self.chance)
        self.sources = [address(f'127.{1 + number}.0.1', each) for each in range(group.addresses)]
        shared = Jar()
        self.jars = [shared if group.cookies == 'shared' else Jar() for _ in self.sources]
        self.turns = itertools.cycle(range(group.addresses))

    def come(self):
        first = next(self.times, None)
        if first is not None:
            due = self.plan.start + first
            self.loop.at(due, lambda: self.ask(due))

    def ask(self, due):
        self.loop.on_time(due)
        which, path = next(self.turns), self.plan.path
        jar, keeps = self.jars[which], self.group.cookies != 'none'

        def then(answer, now):
            self.log.append((now - due, now - self.plan.start, answer.kind))
            if self.group.cookies == 'own' or keeps and not jar.cookies:
                jar.take(answer, path, now)

        cookies = jar.field(path, time.monotonic()) if keeps else ''
        self.loop.ask(self.plan, self.sources[which], cookies, then)
        self.come()


def saturate(plan, clients):
    """Pages/s when so many clients each ask again at once, from `start` to `end`."""
    loop, pages, end = Loop(), [], plan.start + plan.end

    def again(source, answer, now):
        if plan.start <= now < end:
            pages.append(answer.kind == PAGE)
        if now < end:
            loop.ask(plan, source, '', lambda answer, now: again(source, answer, now))

    for number in range(clients):
        again(address('127.120.0.1', number), None, plan.start - 1)
    loop.run(lambda: time.monotonic() >= end)
    return sum(pages) / plan.end


def schedule(rate, begin, end, chance):
    """Times from begin to end, at random, so many a second on the average."""
    due = begin + chance.expovariate(rate) if rate else end
    while due < end:
        yield due
        due += chance.expovariate(rate)


def address(first, number):
    return str(ipaddress.IPv4Address(first) + number)


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
