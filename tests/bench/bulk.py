"""Measures what a large body costs each way, through Apache: an app behind the front and the daemon against the same app
as a plain CGI. The WSGI app as a plain CGI is what one has from the standard library, python3 and wsgiref's CGIHandler;
the program in C is run by Apache itself, and as `cgi` by the daemon. Our client takes no byte into its own memory: the
kernel throws away what comes, and sends what goes from a file of holes.

Memory is looked at in another run, in which the client pauses after an eighth of the body and after three quarters:
the peak of each process that the request has, Apache's own left out, at both."""

import os
import socket
import time

import common
import counts
from figures import Budget, Result, Table, interleave, median, number, ratio
from web_servers import apache

TITLE = 'What a large body costs'
MIB = 1024 * 1024
SERVERS = {'event, mod_cgid': ('event', 'cgid'), 'prefork, mod_cgi': ('prefork', 'cgi')}
WAYS = 'down', 'up'
# Behind the daemon, and as a plain CGI.
APPS = {'WSGI': ('app', 'app-plain'), 'a CGI in C': ('bulk', 'bulk-plain')}

APP = '''\
BLOCK = bytes(65536)

def application(environ, start_response):
    size = 0
    if environ['REQUEST_METHOD'] == 'POST':
        body, length = environ['wsgi.input'], int(environ['CONTENT_LENGTH'])
        while size < length and (block := body.read(min(length - size, len(BLOCK)))):
            size += len(block)
        answer = [b'%d' % size]
        size = len(answer[0])
    else:
        size = int(environ['QUERY_STRING'])
        answer = (BLOCK for _ in range(size // len(BLOCK)))
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', str(size))])
    return answer
'''
PLAIN = f'''\
#!{common.PYTHON}
import sys
sys.path[:0] = [{{folder!r}}]
from wsgiref.handlers import CGIHandler
from app_app import application
CGIHandler().run(application)
'''


def measure(site):
    size = site.rounds(1024, 64) * MIB
    speeds = [('through Apache', 'way', 'MiB/s', 'as a plain CGI', 'ratio')]
    peaks = [('through Apache', 'way', 'front', 'loop', 'its workers, programs', 'in all', 'growth', 'as a plain CGI')]
    slowest, growths, series = {}, [], {}
    for name, (mpm, cgi) in SERVERS.items():
        server = apache(site, mpm, cgi, at_once=4)
        make_apps(site, server.cgi_bin)
        for app, (ours, plain) in APPS.items():
            for which in ours, plain:
                seconds(server, which, 'down', MIB)  # starts the daemon
            for way in WAYS:
                figures = interleave({which: lambda which=which: seconds(server, which, way, size)
                                      for which in (ours, plain)}, site.rounds(3, 1), warm_up=0)
                speed = {which: size / MIB / median(figures[which]) for which in figures}
                # Of times, so the other way round.
                against = ratio(figures[plain], figures[ours])
                speeds.append((f'{app}, {name}', way, number(speed[ours]), number(speed[plain]), number(against)))
                series[f'{app}, {name}, {way}'] = {'front and daemon': speed[ours], 'plain CGI': speed[plain]}
                slowest[app] = min(against, slowest.get(app, against))
                held, growth = peak(site, server, ours, way, size)
                # With less: the memory of the program itself is not measured.
                alone, _ = peak(site, server, plain, way, max(size // 8, 64 * MIB))
                in_all = [held.get(kind, 0) for kind in ('front', 'loop', 'app')]
                peaks.append((f'{app}, {name}', way, *(number(each / MIB) for each in in_all),
                              number(sum(in_all) / MIB), number(growth / MIB), number(alone['app'] / MIB)))
                growths.append(growth)
        server.stop()
    amount = f'{number(size / MIB)} MiB'
    tables = [Table(f'{TITLE}: {amount}', speeds), Table('Peak memory of such a body, MiB', peaks)]
    budgets = [Budget(f'a body of {amount}, {app}, the slowest way / plain CGI, speed', 0.95, slowest[app], at_least=True)
               for app in APPS]
    grown = Budget('... growth of the peak memory from an eighth to three quarters', 1, max(growths) / MIB, unit=' MiB')
    return Result(tables, [*budgets, grown], series)


def make_apps(site, folder):
    daemon = {'mode': 'daemon', 'max_procs': 1}
    site.app(folder, 'app', APP, **daemon)
    site.script(f'{folder}/app-plain', PLAIN.format(folder=folder))
    site.app(folder, 'bulk', cgi=site.c('bulk'), **daemon)
    os.symlink(site.c('bulk'), f'{folder}/bulk-plain')


def seconds(server, app, way, size, pause=lambda: None):
    """From the request to the end of the answer. Calls `pause` after an eighth and after three quarters."""
    marks = [size // 8, size // 4 * 3, size]
    with socket.create_connection(server.address, common.PATIENCE) as client:
        began = time.perf_counter()
        if way == 'up':
            client.sendall(request('POST', app, f'Content-Length: {size}\r\n'))
            send(client, marks, pause)
            said = read_head(client)
            while block := client.recv(4096):
                said += block
            whole = said == b'%d' % size
        else:
            client.sendall(request('GET', f'{app}?{size}', ''))
            whole = discard(client, len(read_head(client)), marks, pause) == size
        took = time.perf_counter() - began
    if not whole:
        common.fail(f'{app} has not had, or sent, the whole body')
    return took


def request(method, target, field):
    """A request of HTTP/1.0: by HTTP/1.1 Apache would send chunks, since from 2.4.59 on it drops a CGI's
    Content-Length."""
    return f'{method} /cgi-bin/{target} HTTP/1.0\r\nHost: localhost\r\n{field}\r\n'.encode()


def send(client, marks, pause):
    at = 0
    with open(os.memfd_create('holes'), 'rb') as holes:
        os.ftruncate(holes.fileno(), marks[-1])
        for mark in marks:
            at += client.sendfile(holes, at, mark - at)
            if mark != marks[-1]:
                pause()


def read_head(client):
    """And returns what of the body came with it."""
    said = b''
    while b'\r\n\r\n' not in said:
        block = client.recv(4096)
        if not block:
            common.fail(f'no answer: {said[:500]!r}')
        said += block
    head, _, body = said.partition(b'\r\n\r\n')
    if head.split()[1] != b'200':
        common.fail(f'not the answer that was expected: {said[:500]!r}')
    return body


def discard(client, at, marks, pause):
    """How much there is, of which so much is known."""
    space = bytearray(MIB)
    for mark in (*marks, None):
        while mark is None or at < mark:
            count = client.recv_into(space, min(mark - at, MIB) if mark else MIB, socket.MSG_TRUNC)
            if not count:
                return at
            at += count
        if mark != marks[-1]:
            pause()
    return at


def peak(site, server, app, way, size):
    """The most that each kind of process had, in bytes, and by how much their peaks grew between the pauses."""
    daemon = None if app.endswith('-plain') else site.daemon(f'{server.cgi_bin}/{app}')
    if daemon:
        for pid in counts.tree(daemon):
            counts.reset_peak(pid)
    pauses = []
    seconds(server, app, way, size, lambda: pauses.append(peaks_now(server, daemon)))
    first, last = pauses
    most = {}
    for pid in first.keys() | last.keys():
        kind, bytes_had = last.get(pid) or first[pid]
        most[kind] = most.get(kind, 0) + bytes_had
    growth = sum(had - first[pid][1] if pid in first else had for pid, (_, had) in last.items())
    return most, growth


def peaks_now(server, daemon):
    """{pid: (kind, bytes)} of everything that the requests have, but for Apache itself."""
    kinds = {pid: 'front' if daemon else 'app' for pid in counts.tree(server.pid) if not is_apache(pid)}
    if daemon:
        kinds |= {pid: 'loop' if pid == daemon else 'app' for pid in counts.tree(daemon)}
    return {pid: (kind, counts.peak_rss(pid)) for pid, kind in kinds.items()}


def is_apache(pid):
    try:
        with open(f'/proc/{pid}/comm', encoding='utf-8') as file:
            return file.read().startswith('apache2')
    except (FileNotFoundError, ProcessLookupError):
        return False
