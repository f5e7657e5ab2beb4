"""Measures what it costs the daemon to refuse a request, for each of its places that can be full, with a thousand requests
at once: the daemon is stopped until all of them have connected. Its time is that of its own processor clock between two
answers, which neither other processes nor the client change. Also: how long a request that is served takes beside
refusals without end, and what thousands of silent connections cost the others."""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import common
from figures import Budget, Result, Table, median, number, percentile

TITLE = 'What a refusal costs the daemon'
MANY, SILENT, SERVED = 1000, 10_000, 500
BODY = 100_000  # bytes: more than is kept in memory
LIMIT = 1.0  # ms of the daemon for a refusal, p99

GATED = '''\
import fcntl

def application(environ, start_response):
    if environ['PATH_INFO'] == '/held':
        with open({gate!r}) as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '6')])
    return [b'hello\\n']
'''


def measure(site):
    many = site.rounds(MANY, 100)
    common.raise_limit(8 * many)
    costs = {name: cost_of(name, site, many) for name in PLACES}
    rows = [(f'{many} at once', 'µs of the daemon each', 'p99', 'most', 'all answered within, s')]
    rows += [(name, *cost.row()) for name, cost in costs.items()]
    worst = max(cost.p99() for cost in costs.values()) / 1000
    alone, beside = served_beside(site, site.rounds(SERVED, 50))
    latency = [('a request that is served, ms', 'median', 'p99'),
               ('alone', number(median(alone)), number(percentile(alone))),
               ('beside refusals without end', number(median(beside)), number(percentile(beside)))]
    silent = beside_silent(site, many, site.rounds(SILENT, 500))
    return Result([Table(TITLE, rows), Table('... and those that are served', latency),
                   Table('Beside silent connections, µs of the daemon each', silent)], [
        Budget(f'a refusal, {many} at once, of the worst place: p99 of the daemon\'s time', LIMIT, worst, unit=' ms'),
    ], {'refusal, µs of the daemon': {name: cost.mean() for name, cost in costs.items()}})


def cost_of(name, site, many):
    try:
        return PLACES[name](site, many)
    except common.Failed as failed:
        common.fail(f'{name}: {failed}')
    finally:
        site.quiet()


class Cost:
    """The daemon's time for each of many answers, in µs, and the seconds until the last one."""

    def __init__(self, found):
        self.each, self.seconds = found['each'], found['seconds']

    def mean(self):
        return sum(self.each) / len(self.each)

    def p99(self):
        return percentile(self.each)

    def row(self):
        return number(self.mean()), number(self.p99()), number(max(self.each)), number(self.seconds)


def queue_full(site, many, by_front=False, **more):
    """All of the queue waits for the only worker, and as many come again."""
    with Held(site, many, **more) as held:
        held.fill(many)
        return crowd(site, held.app, many, by_front=by_front)


def queue_full_known(site, many):
    """The same, but those that come are known: each takes the place of another."""
    with Held(site, many, priority_cookie='session') as held:
        held.fill(many, headers={'HTTP_COOKIE': ''})
        known = Crowd(site, held.app, many, headers={'HTTP_COOKIE': 'session=1'})
        known.go()
        cost = held.others()
        known.end()
        return cost


def queue_slow(site, many):
    """All of the queue has waited too long at the same moment."""
    with Held(site, many, queue_timeout='2s') as held:
        held.fill(many)
        return held.others()


def no_process(site, many):
    app = program(site)
    pid = site.daemon(app)
    subprocess.run(['prlimit', f'--pid={pid}', '--nproc=1:'], check=True, **site.as_user)
    return crowd(site, app, many)


def no_descriptor(site, many):
    # With the one that is held there are as many clients as there may be.
    with Held(site, many, most=56) as held:
        return crowd(site, held.app, many)


def no_spool_room(site, many):
    app = site.app(site.folder(), 'app', mode='daemon', queue_size=many, spool_limit=2 * BODY, request_timeout='1h')
    site.polycgi('start', app)
    # A body that comes slowly takes most of the spool.
    slow = Plain(place(app), {'CONTENT_LENGTH': str(2 * BODY), 'REQUEST_METHOD': 'POST'})
    slow.socket.setblocking(True)
    slow.socket.sendall(bytes(2 * BODY - 1))
    common.wait_for(lambda: site.status(app)['spooled'] > 1.5 * BODY, 'nothing is spooled')
    headers = {'HTTP_TRANSFER_ENCODING': 'chunked', 'REQUEST_METHOD': 'POST'}
    cost = crowd(site, app, many, by_front=True, headers=headers, body=bytes(BODY))
    slow.close()
    return cost


def server_full(site, many):
    folder = site.folder()
    path = f'{folder}/server'
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chown(path, site.uid, site.gid)
        listener.listen(0)
        app = site.app(folder, 'app', mode='daemon', connect=path, queue_size=many)
        site.polycgi('start', app)
        waiting = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            if client.connect_ex(path):
                break
        cost = crowd(site, app, many)
        for client in waiting:
            client.close()
        return cost


PLACES = {
    'queue-full': queue_full,
    'queue-full, by fronts': lambda site, many: queue_full(site, many, by_front=True),
    'queue-full, by known clients': queue_full_known,
    'queue-slow': queue_slow,
    'no-process (a program)': no_process,
    'no-descriptor': no_descriptor,
    'no-spool-room, by fronts': no_spool_room,
    'server-full': server_full,
}


def program(site):
    app = site.app(site.folder(), 'app', mode='daemon', cgi='/bin/echo', queue_size=MANY)
    site.polycgi('start', app)
    return app


class Held:
    """An app whose worker waits until the `with` ends."""

    def __init__(self, site, many, most=None, **keys):
        self.site, self.many = site, many
        folder = site.folder()
        self.gate = site.write(f'{folder}/gate', '')
        keys = {'max_procs': 1, 'queue_size': many, 'queue_target': '1h', 'queue_timeout': '1h',
                'request_timeout': '1h'} | keys
        self.app = site.app(folder, 'app', GATED.format(gate=self.gate), mode='daemon', **keys)
        limit = ['prlimit', f'--nofile={most}:{most}'] if most else []
        subprocess.run([*limit, f'{site.bin}/polycgi', 'start', self.app], env=common.CLEAN, check=True, **site.as_user)
        self.waiting, self.clients = None, []

    def __enter__(self):
        self.held = open(self.gate, encoding='utf-8')
        fcntl.flock(self.held, fcntl.LOCK_EX)
        self.clients.append(Plain(place(self.app), {'PATH_INFO': '/held'}))
        common.wait_for(lambda: any(worker['state'] == 'busy' for worker in self.site.status(self.app)['workers']),
                        'no worker is held')
        return self

    def __exit__(self, *_):
        self.held.close()
        for client in self.clients:
            client.close()
        if self.waiting:
            self.waiting.end()
        self.site.polycgi('stop', '--no-wait', self.app)

    def fill(self, count, headers=None):
        self.waiting = Crowd(self.site, self.app, count, headers=headers, is_late=True)
        self.waiting.go()
        common.wait_for(lambda: self.site.status(self.app)['queue'] == count, 'the queue does not fill')

    def others(self):
        """What those cost that have waited, when they are refused."""
        waiting, self.waiting = self.waiting, None
        return Cost(waiting.found())


def place(app):
    folder = f'{os.path.dirname(app)}/run'
    return f'{folder}/{next(name for name in os.listdir(folder))}/sock'


def crowd(site, app, count, **how):
    """The cost of so many, all of them there before the daemon looks at the first."""
    pid = site.daemon(app)
    os.kill(pid, signal.SIGSTOP)
    try:
        coming = Crowd(site, app, count, pid=pid, **how)
        coming.go()
    finally:
        os.kill(pid, signal.SIGCONT)
    return Cost(coming.found())


class Crowd:
    """Clients at once, in a process of the site's user. It says when all have asked, and what their answers cost.
    `is_late`: their answers come later, so that what they cost begins with the first of them."""

    def __init__(self, site, app, count, pid=None, by_front=False, headers=None, body=b'', is_late=False):
        path, clock = place(app), Clock(pid or site.daemon(app))
        theirs, ours = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(theirs)
                hurry()
                become(site)
                with open(ours, 'w', encoding='utf-8') as said:
                    client = (lambda: Front(path, headers, body)) if by_front else (lambda: Plain(path, headers))
                    ask(client, count, clock, said, is_late)
            except common.Failed as failed:
                print(failed, file=sys.stderr, flush=True)
            finally:
                os._exit(0)
        os.close(ours)
        clock.close()
        self.said = open(theirs, encoding='utf-8')

    def go(self):
        if self.said.readline() != 'all\n':
            common.fail('the crowd does not come')

    def found(self):
        try:
            found = json.loads(self.said.readline() or '{"left": "some"}')
        finally:
            self.end()
        if found['left']:
            common.fail(f'{found["left"]} have no answer')
        return found

    def end(self):
        self.said.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def ask(client, count, clock, said, is_late):
    """In a process of its own."""
    waits = select.epoll()
    clients = {}
    for _ in range(count):
        one = client()
        clients[one.fd] = one
        waits.register(one.fd, select.EPOLLIN)
    print('all', file=said, flush=True)
    each, began, before = [], time.monotonic(), clock.now()
    while clients and time.monotonic() < began + common.PATIENCE:
        ended = [fd for fd, _ in waits.poll(common.PATIENCE) if clients[fd].has_ended()]
        now = clock.now()
        if not ended:
            continue
        if not is_late:
            each += [(now - before) / len(ended) / 1000] * len(ended)
        is_late, before = False, now
        for fd in ended:
            waits.unregister(fd)
            clients.pop(fd).close()
    found = {'each': each, 'seconds': time.monotonic() - began, 'left': len(clients)}
    print(json.dumps(found), file=said, flush=True)


class Plain:
    """An SCGI client."""

    def __init__(self, path, headers=None, status=b'503'):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        length = (headers or {}).get('CONTENT_LENGTH', '0')
        self.socket.sendall(message({'CONTENT_LENGTH': length, 'SCGI': '1'}, headers))
        self.socket.setblocking(False)
        self.fd, self.said, self.status = self.socket.fileno(), b'', status

    def has_ended(self):
        while True:
            try:
                block = self.socket.recv(65536)
            except BlockingIOError:
                return False
            if not block:
                break
            self.said += block
        check(self.said, self.status)
        return True

    def close(self):
        self.socket.close()


class Front:
    """What the daemon sees of a front: a connection, and a web server's three descriptors."""

    def __init__(self, path, headers, body):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.fd, output = os.pipe()
        os.set_blocking(self.fd, False)
        # As mod_cgid's, the input is a socket: all of the body is there, and its end.
        given, giving = socket.socketpair()
        giving.setblocking(False)
        giving.sendall(body)
        giving.close()
        with given, open(os.devnull, 'wb') as errors:
            said = message({'CONTENT_LENGTH': '', 'SCGI': '1', 'POLYCGI': '1'}, headers)
            socket.send_fds(self.socket, [said], [given.fileno(), output, errors.fileno()])
        os.close(output)

    def has_ended(self):
        """The page comes in one piece; the pipe stays open until this process ends."""
        check(os.read(self.fd, 65536), b'503')
        return True

    def close(self):
        os.close(self.fd)
        self.socket.close()


def check(said, status):
    if not said.startswith(b'Status: ' + status):
        common.fail(f'no {status.decode()}: {said[:100]!r}')


def message(first, headers):
    pairs = first | {name: value for name, value in (common.META | (headers or {})).items() if name not in first}
    said = ''.join(f'{name}\0{value}\0' for name, value in pairs.items()).encode()
    return b'%d:%b,' % (len(said), said)


def become(site):
    if site.as_user:
        os.setgroups([])
        os.setgid(site.gid)
        os.setuid(site.uid)


def hurry():
    """Runs before others, where that may be: answers are seen one by one."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


class Clock:
    """The processor time of a running process. What else the kernel tells of it (stat, schedstat, clock_gettime) is as old
    as its last tick or wait, up to 4 ms; a counter of perf_event_open(2) is brought up to date when it is read."""
    SOFTWARE, TASK_CLOCK, CALL = 1, 1, 298

    def __init__(self, pid):
        attributes = struct.pack('=IIQ', self.SOFTWARE, 64, self.TASK_CLOCK).ljust(64, b'\0')
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.syscall(self.CALL, attributes, pid, -1, -1, 0)
        if self.fd < 0:
            common.fail(f'perf_event_open: {os.strerror(ctypes.get_errno())}')

    def now(self):
        """In ns, since this was made."""
        return int.from_bytes(os.read(self.fd, 8), sys.byteorder)

    def close(self):
        os.close(self.fd)


def served_beside(site, count):
    """How long requests of a known client take, in ms: alone, and while others are refused."""
    app = site.app(site.folder(), 'app', mode='daemon', max_procs=1, queue_size=4, priority_cookie='session')
    site.polycgi('start', app)
    path = place(app)
    alone = [time_of(path) for _ in range(count)]
    before = site.status(app)['overloads']
    flood = os.fork()
    if not flood:
        try:
            become(site)
            refuse_for_ever(path)
        finally:
            os._exit(0)
    try:
        common.wait_for(lambda: site.status(app)['overloads'] > before + count, 'none is refused')
        beside = [time_of(path) for _ in range(count)]
    finally:
        os.kill(flood, signal.SIGKILL)
        os.waitpid(flood, 0)
    return alone, beside


def refuse_for_ever(path):
    waits, clients = select.epoll(), {}
    while True:
        while len(clients) < 12:  # the backlog holds 16
            one = Plain(path, {'HTTP_COOKIE': ''}, status=b'')
            clients[one.fd] = one
            waits.register(one.fd, select.EPOLLIN)
        for fd, _ in waits.poll():
            if clients[fd].has_ended():
                waits.unregister(fd)
                clients.pop(fd).close()


def time_of(path):
    began = time.perf_counter()
    client = Plain(path, {'HTTP_COOKIE': 'session=1'}, status=b'200')
    waits = select.poll()
    waits.register(client.fd, select.POLLIN)
    while not client.has_ended():
        waits.poll(common.PATIENCE * 1000)
    client.close()
    return (time.perf_counter() - began) * 1000


def beside_silent(site, many, most):
    """The daemon's time for requests that are served, and that are refused, beside connections that say nothing."""
    # The daemon counts four descriptors for each client that is there; so many wait, and so many come.
    most = common.raise_limit(5 * (most + 2 * many)) // 5 - 2 * many
    rows = [('connections that say nothing', 'a request that is served', 'one that is refused')]
    for count in (0, most):
        app = site.app(site.folder(), 'app', mode='daemon')
        site.polycgi('start', app)
        with Silent(place(app), count) as silent:
            clock = Clock(site.daemon(app))
            before = clock.now()
            for _ in range(200):
                time_of(place(app))
            served = (clock.now() - before) / 200 / 1000
            clock.close()
            silent.are_there()
        with Held(site, many) as held:
            held.fill(many)
            with Silent(place(held.app), count) as silent:
                refused = crowd(site, held.app, many).mean()
                silent.are_there()
        rows.append((str(count), number(served), number(refused)))
    return rows


class Silent:
    """Connections to a daemon; they have ten seconds to say something."""

    def __init__(self, path, count):
        self.sockets = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        for one in self.sockets:
            one.connect(path)

    def __enter__(self):
        return self

    def are_there(self):
        waits = select.poll()
        for one in self.sockets:
            waits.register(one.fileno(), select.POLLIN)
        ended = waits.poll(0)
        if ended:
            common.fail(f'{len(ended)} silent connections were closed')

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()
