"""Measures what many slow requests weigh that are in flight at once: most of them queued, for the app's two workers wait
until they are let go. The fronts are started directly, with three pipes each as a web server's CGI has: a web server
would be at its own limits before. A process counts by its PSS: pages that it shares with others of its kind are divided
among them. The daemon counts by its RSS, which divides nothing; it is the loop's process, its workers are the app's."""

import fcntl
import os
import resource
import socket
import subprocess
import time

import common
import counts
from figures import Budget, Result, Table, number

TITLE = 'What slow requests in flight weigh, most of them in the queue'
MANY = 1000
KIB, MIB = 1024, 1024 * 1024
GRACE = 5  # s, for fronts that have heard that they may go

SLOW = '''\
import fcntl

def application(environ, start_response):
    with open({gate!r}) as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '6')])
    return [b'hello\\n']
'''
ANSWER = b'Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n'


def measure(site):
    many = site.rounds(MANY, 100)
    allow_descriptors(5 * many)
    weights = {
        'staying front': forwarded(site, many, 'stay'),
        'exiting front': forwarded(site, many, 'exit'),
        'cgi2scgi': through_scgi(site, many),
        'cgi-fcgi': through_fastcgi(site, many),
    }
    rows = [('in front of the daemon', 'processes', 'PSS each, kB', 'all, MiB', 'page tables each, kB', "daemon's RSS, MiB",
             'its PSS')]
    rows += [(name, *weight.row()) for name, weight in weights.items()]
    staying, exiting = weights['staying front'], weights['exiting front']
    daemon = max(staying.daemon_rss, exiting.daemon_rss) / MIB
    return Result([Table(f'{TITLE}: {many}', rows)], [
        Budget(f'{many} in flight: PSS of a staying front', 20, staying.each() / KIB, unit=' kB'),
        Budget('... / that of a relay in C (cgi2scgi)', 1 / 3, staying.each() / weights['cgi2scgi'].each()),
        Budget('... fronts where they exit', 0, len(exiting.pss)),
        Budget("... the daemon's RSS", 16, daemon, unit=' MiB'),
    ], {'PSS of a front, kB': {name: weight.each() / KIB for name, weight in weights.items()}})


class Weight:
    """Of the fronts that live, and of the daemon behind them."""

    def __init__(self, fronts, daemon=None):
        living = [front.process.pid for front in fronts if front.process.poll() is None]
        self.pss = [counts.pss(pid) for pid in living]
        self.tables = [counts.page_tables(pid) for pid in living]
        self.daemon_rss = counts.rss(daemon) if daemon else None
        self.daemon_pss = counts.pss(daemon) if daemon else None

    def each(self):
        return sum(self.pss) / len(self.pss) if self.pss else 0

    def row(self):
        behind = [number(size / MIB) if size else '' for size in (self.daemon_rss, self.daemon_pss)]
        if not self.pss:
            return '0', '', '', '', *behind
        tables = number(sum(self.tables) / len(self.tables) / KIB)
        return str(len(self.pss)), number(self.each() / KIB), number(sum(self.pss) / MIB), tables, *behind


class Front:
    """Started as a web server starts a CGI for a GET."""

    def __init__(self, site, argv):
        # No descriptor of ours is inheritable, so none has to be closed.
        self.process = subprocess.Popen(argv, env=common.CGI_ENVIRON, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, close_fds=False, **site.as_user)
        self.process.stdin.close()

    def end(self):
        """Its answer is whole and right."""
        said, complaint = self.process.stdout.read(), self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        if self.process.wait(common.PATIENCE) or not said.endswith(b'\r\n\r\nhello\n') or complaint:
            common.fail(f'{self.process.args}: status {self.process.returncode}, {said!r}, {complaint!r}')


def forwarded(site, many, handoff):
    """Through polycgi's front to its daemon."""
    folder = site.folder()
    gate = site.write(f'{folder}/gate', '')
    app = site.app(folder, 'app', SLOW.format(gate=gate), mode='daemon', handoff=handoff, max_procs=2, queue_size=many,
                   queue_target='1h', queue_timeout='1h', request_timeout='1h')
    Front(site, [app]).end()  # starts the daemon
    with open(gate, encoding='utf-8') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        fronts = [Front(site, [app]) for _ in range(many)]
        common.wait_for(lambda: in_flight(site, app) == many, 'the slow requests are not all in flight')
        end = time.monotonic() + GRACE
        while handoff == 'exit' and time.monotonic() < end and any(front.process.poll() is None for front in fronts):
            time.sleep(0.02)
        weight = Weight(fronts, site.daemon(app))
    for front in fronts:
        front.end()
    site.polycgi('stop', app)
    return weight


def in_flight(site, app):
    shown = site.status(app)
    return shown['queue'] + sum(worker['state'] != 'idle' for worker in shown['workers'])


def through_scgi(site, many):
    """Through the relay to a server that has read each request and answers none before all are there."""
    with socket.create_server(('127.0.0.1', 0), backlog=128) as listener:
        front = site.cgi2scgi(listener.getsockname()[1])
        return relayed(site, many, [front], listener, is_whole_scgi, ANSWER)


def through_fastcgi(site, many):
    path = f'{site.folder()}/sock'
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chown(path, site.uid, site.gid)
        listener.listen(128)
        ended = record(3, bytes(8))  # FCGI_END_REQUEST, complete
        answer = record(6, ANSWER) + record(6, b'') + ended  # FCGI_STDOUT and its end
        argv = ['/usr/bin/cgi-fcgi', '-bind', '-connect', path]
        return relayed(site, many, argv, listener, is_whole_fastcgi, answer)


def relayed(site, many, argv, listener, is_whole, answer):
    listener.settimeout(common.PATIENCE)
    fronts, connections = [], []
    for _ in range(many):
        fronts.append(Front(site, argv))
        connection, _ = listener.accept()
        connection.settimeout(common.PATIENCE)
        said = b''
        while not is_whole(said):
            block = connection.recv(65536)
            if not block:
                common.fail(f'{argv[0]} sends no whole request')
            said += block
        connections.append(connection)
    weight = Weight(fronts)
    for connection in connections:
        connection.sendall(answer)
        connection.close()
    for front in fronts:
        front.end()
    return weight


def is_whole_scgi(said):
    """A netstring; these requests have no body."""
    length, colon, rest = said.partition(b':')
    return colon and len(rest) > int(length)


def is_whole_fastcgi(said):
    """Records until an empty FCGI_STDIN."""
    at = 0
    while len(said) >= at + 8:
        kind, length, padding = said[at + 1], int.from_bytes(said[at + 4:at + 6], 'big'), said[at + 6]
        if kind == 5 and not length:
            return True
        at += 8 + length + padding
    return False


def record(kind, content):
    return bytes([1, kind, 0, 1]) + len(content).to_bytes(2, 'big') + bytes(2) + content


def allow_descriptors(count):
    """For us, and so for what we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, count), max(hard, count)))
    except (OSError, ValueError):
        common.fail(f'{count} descriptors are needed, and the hard limit is {hard}')
