"""Measures what normal requests cost while hundreds of slow clients are there: through Apache (event, mod_cgid), with
four workers, 200 clients that read 1 kB/s of 1 MB and 200 that send 100 kB at 1 kB/s. A figure of the time without
them comes before and after, in the same run."""

import http.client
import json
import os
import pwd
import socket
import statistics
import subprocess
import sys
import time

APACHE, MODULES = '/usr/sbin/apache2', '/usr/lib/apache2/modules'
EACH, PAGE, BODY = 200, 1_000_000, 100_000
PATIENCE = 60  # s, for anything
BUDGET = 2.0  # p99 with them, against p99 without

APP = '''\
def application(environ, start_response):
    body = b'.' * 1000000 if environ['PATH_INFO'] == '/page' else b'hello\\n'
    environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
'''


def measure(place, python, requests):
    """Rows of a table: what, median and 99th percentile in ms."""
    user = pwd.getpwnam('www-data' if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)
    as_user = ['setpriv', f'--reuid={user.pw_uid}', f'--regid={user.pw_gid}', '--clear-groups', '--']
    as_user = as_user if os.getuid() == 0 else []
    os.chmod(place, 0o755)
    root = f'{place}/slow'
    for folder in root, f'{root}/cgi-bin', f'{root}/run', f'{root}/spool':
        os.mkdir(folder)
        os.chown(folder, user.pw_uid, user.pw_gid)
    os.chmod(f'{root}/run', 0o700)
    with open(f'{root}/measured.py', 'w', encoding='utf-8') as file:
        file.write(APP)
    app = f'{root}/cgi-bin/app'
    with open(app, 'w', encoding='utf-8') as file:
        # The slow ones come all at once; a queue of one second would call that an overload.
        file.write(f'#!{place}/prefix/bin/polycgi -\nwsgi = measured:application\npython = {python}\nmode = daemon\n'
                   f'directory = {root}\nruntime-dir = {root}/run\nspool-dir = {root}/spool\nmax-procs = 4\n'
                   'queue-size = 500\nqueue-target = 30s\nqueue-timeout = 60s\n')
    os.chown(app, user.pw_uid, user.pw_gid)
    os.chmod(app, 0o755)
    address = free_address()
    with open(f'{root}/httpd.conf', 'w', encoding='utf-8') as file:
        file.write(config(root, address))
    server = subprocess.Popen([*as_user, APACHE, '-D', 'FOREGROUND', '-d', root, '-f', f'{root}/httpd.conf'],
                              stdin=subprocess.DEVNULL, start_new_session=True, cwd=root)
    polycgi = [*as_user, f'{place}/prefix/bin/polycgi']
    try:
        wait_for(lambda: can_connect(address), 'Apache does not start')
        time_of(address)  # starts the daemon
        before = [time_of(address) for _ in range(requests)]
        crowd = Crowd(address)
        try:
            wait_for(lambda: is_held(polycgi, app), 'the slow clients are not held')
            beside = [time_of(address) for _ in range(requests)]
            if not is_held(polycgi, app):
                sys.exit('bench: the slow clients are gone')
        finally:
            crowd.end()
        wait_for(lambda: status(polycgi, app).get('spooled') == 0, 'the spool is not given back')
        after = [time_of(address) for _ in range(requests)]
    finally:
        subprocess.run([*polycgi, 'stop', app], stdout=subprocess.DEVNULL, check=False)
        server.terminate()
        server.wait(PATIENCE)
    without = before + after
    figures = [(name, statistics.median(times), percentile(times))
               for name, times in (('without them', without), ('beside 400 slow clients', beside))]
    rows = [('hello through Apache', 'median ms', 'p99 ms', 'ratio of p99', 'budget', '')]
    for name, median, p99 in figures:
        rows.append((name, f'{median:.2f}', f'{p99:.2f}', '', '', ''))
    ratio = figures[1][2] / figures[0][2]
    rows[-1] = (*rows[-1][:3], f'{ratio:.2f}', f'{BUDGET:.2f}', 'met' if ratio <= BUDGET else 'not met')
    return rows


def percentile(times):
    return sorted(times)[len(times) * 99 // 100]


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
    client = http.client.HTTPConnection(*address, timeout=PATIENCE)
    client.request('GET', '/cgi-bin/app', headers={'Connection': 'close'})
    response = client.getresponse()
    said = response.read()
    seconds = time.perf_counter() - began
    client.close()
    if response.status != 200 or said != b'hello\n':
        sys.exit(f'bench: no answer to a normal request: {response.status} {said[:200]!r}')
    return seconds * 1000


def status(polycgi, app):
    said = subprocess.run([*polycgi, 'status', '--json', app], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(said)


def is_held(polycgi, app):
    """Most of each page is in the spool, and no worker has to do with it."""
    shown = status(polycgi, app)
    idle = [worker for worker in shown['workers'] if worker['state'] == 'idle']
    return shown.get('spooled', 0) > EACH * PAGE // 2 and idle and not shown['queue']


def can_connect(address):
    try:
        socket.create_connection(address).close()
        return True
    except ConnectionRefusedError:
        return False


def wait_for(condition, otherwise):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f'bench: {otherwise}')
        time.sleep(0.05)


def free_address():
    with socket.create_server(('127.0.0.1', 0)) as listener:
        return listener.getsockname()


def config(root, address):
    threads = 2 * EACH + 16
    load = ''.join(f'LoadModule {name}_module {MODULES}/mod_{name}.so\n'
                   for name in ('mpm_event', 'cgid', 'authz_core', 'alias'))
    return (f'ServerRoot {root}\n{load}StartServers 1\nServerLimit 1\nThreadLimit {threads}\n'
            f'ThreadsPerChild {threads}\nMaxRequestWorkers {threads}\nMinSpareThreads 1\nMaxSpareThreads {threads}\n'
            f'ScriptSock {root}/cgid.sock\nPidFile {root}/pid\nDefaultRuntimeDir {root}\n'
            f'Listen {address[0]}:{address[1]}\nServerName localhost\nTimeout 60\nErrorLog {root}/error.log\n'
            f'SendBufferSize 16384\nScriptAlias /cgi-bin/ {root}/cgi-bin/\n'
            f'<Directory {root}/cgi-bin>\nRequire all granted\nAcceptPathInfo On\n</Directory>\n')
