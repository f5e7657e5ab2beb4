"""Measures what normal requests cost while hundreds of slow clients are there: through Apache (event, mod_cgid), with
four workers, 200 clients that read 1 kB/s of 1 MB and 200 that send 100 kB at 1 kB/s. A figure of the time without
them comes before and after, in the same run."""

import http.client
import os
import socket
import time

import common
from figures import Budget, Result, Table, median, number, percentile
from web_servers import apache

TITLE = 'What a normal request costs beside slow clients, with four workers'
EACH, PAGE, BODY = 200, 1_000_000, 100_000
LIMIT = 2.0  # p99 with them, against p99 without

APP = '''\
def application(environ, start_response):
    body = b'.' * 1000000 if environ['PATH_INFO'] == '/page' else b'hello\\n'
    environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
'''


def measure(site):
    requests = site.rounds(1000, 100)
    server = apache(site, at_once=2 * EACH + 16, extra='SendBufferSize 16384\n')
    # The slow ones come all at once; a queue of one second would call that an overload.
    app = site.app(server.cgi_bin, 'app', APP, mode='daemon', max_procs=4, queue_size=500, queue_target='30s',
                   queue_timeout='60s')
    time_of(server.address)  # starts the daemon
    before = [time_of(server.address) for _ in range(requests)]
    crowd = Crowd(server.address)
    try:
        common.wait_for(lambda: is_held(site, app), 'the slow clients are not held')
        beside = [time_of(server.address) for _ in range(requests)]
        if not is_held(site, app):
            common.fail('the slow clients are gone')
    finally:
        crowd.end()
    common.wait_for(lambda: site.status(app).get('spooled') == 0, 'the spool is not given back')
    # The time without them comes before and after, in the same run.
    without = before + [time_of(server.address) for _ in range(requests)]
    server.stop()
    budget = Budget(f'p99 through Apache beside {2 * EACH} slow clients / without them', LIMIT,
                    percentile(beside) / percentile(without))
    rows = [('hello through Apache', 'median ms', 'p99 ms', 'ratio of p99'),
            ('without them', number(median(without)), number(percentile(without)), ''),
            (f'beside {2 * EACH} slow clients', number(median(beside)), number(percentile(beside)), number(budget.figure))]
    return Result([Table(TITLE, rows)], [budget])


class Crowd:
    """The slow clients, in a process of their own: it ends with its pipe."""

    def __init__(self, address):
        reader, self.writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(self.writer)
                os.set_blocking(reader, False)
                self.run(address, reader)
            finally:
                os._exit(0)
        os.close(reader)

    def run(self, address, reader):
        body = b'x' * BODY
        clients = [[connect(address, b'GET /cgi-bin/app/page HTTP/1.1\r\n'), b''] for _ in range(EACH)]
        post = b'POST /cgi-bin/app/body HTTP/1.1\r\nContent-Length: %d\r\n' % BODY
        clients += [[connect(address, post), body] for _ in range(EACH)]
        while True:
            for first in range(20):
                for client in clients[first::20]:
                    step(client)
                time.sleep(0.05)  # their pace
                try:
                    if not os.read(reader, 1):
                        return
                except BlockingIOError:
                    pass

    def end(self):
        os.close(self.writer)
        os.waitpid(self.pid, 0)


def connect(address, line):
    stream = socket.socket()
    # Before the connect, or the kernel would hold a page whole.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.connect(address)
    stream.sendall(line + b'Host: localhost\r\nConnection: close\r\n\r\n')
    stream.setblocking(False)
    return stream


def step(client):
    stream, body = client
    try:
        if body:
            client[1] = body[stream.send(body[:1024]):]
        else:
            stream.recv(1024)
    except BlockingIOError:
        pass


def time_of(address):
    """Of one request on a connection of its own, until the last byte of the response is there, in ms. Not until Apache
    closes the connection: mod_cgid does that 10 ms later wherever it finds a CGI whose end it has not heard of yet."""
    began = time.perf_counter()
    client = http.client.HTTPConnection(*address, timeout=common.PATIENCE)
    client.request('GET', '/cgi-bin/app', headers={'Connection': 'close'})
    response = client.getresponse()
    said = response.read()
    seconds = time.perf_counter() - began
    client.close()
    if response.status != 200 or said != b'hello\n':
        common.fail(f'no answer to a normal request: {response.status} {said[:200]!r}')
    return seconds * 1000


def is_held(site, app):
    """Most of each page is in the spool, and no worker has to do with it."""
    shown = site.status(app)
    idle = [worker for worker in shown['workers'] if worker['state'] == 'idle']
    return shown.get('spooled', 0) > EACH * PAGE // 2 and idle and not shown['queue']
