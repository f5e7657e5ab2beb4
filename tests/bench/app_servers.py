"""Application servers behind one nginx, each with the same application and as many worker processes: our daemon at an
address of `listen`, uWSGI by its own protocol and by SCGI, gunicorn. Each is set up as its documentation has it.

nginx is one process and the same for all. To each of them it opens a new connection, over a Unix socket, for each
request: for SCGI and uwsgi it has no other way, and gunicorn's sync workers keep none.
"""

import dataclasses
import http.client
import urllib.parse

import common
import counts
import load
import web_servers
from figures import interleave, median, ratio

POLYCGI, UWSGI, UWSGI_SCGI, GUNICORN = 'polycgi', 'uWSGI', 'uWSGI, by SCGI', 'gunicorn'
# We replace a worker after a thousand requests; the others keep theirs unless they are told otherwise.
KEEPING = 'polycgi, workers kept'
NO_ROOM = 'polycgi, no waiting room'
QUEUE = 1000  # requests that each of them lets wait


@dataclasses.dataclass
class Cost:
    """What some requests cost: a second, the 99th percentile in ms, and µs of processor time for each: of the
    application server's processes, of the first of them alone (our daemon's loop), and of nginx's."""
    rate: float
    p99: float
    server: float
    loop: float
    nginx: float


class Crew:
    """Application servers of one application, `text` as a module in a folder. `queue`: requests that may wait; with None
    as many as each server lets wait by itself. `connections`: of nginx."""

    def __init__(self, site, folder, text, processes, names, queue=QUEUE, connections=4096):
        self.site, self.folder, self.text, self.processes, self.queue = site, folder, text, processes, queue
        starts = {POLYCGI: self.polycgi, KEEPING: self.polycgi_keeping, NO_ROOM: self.polycgi_no_room,
                  UWSGI: self.uwsgi, UWSGI_SCGI: self.uwsgi_scgi, GUNICORN: self.gunicorn}
        self.servers, locations = {}, {}
        for name in names:
            self.servers[name], locations[name] = starts[name]()
        self.nginx = web_servers.nginx(site, locations, connections)
        self.urls = self.nginx.urls

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.nginx, *self.servers.values():
            server.stop()

    def polycgi(self):
        return self.serve_polycgi('served')

    def polycgi_keeping(self):
        return self.serve_polycgi('kept', max_requests='none')

    def polycgi_no_room(self):
        return self.serve_polycgi('no-room', waiting_room='off')

    def serve_polycgi(self, name, **keys):
        keys |= {'queue_size': self.queue} if self.queue else {}
        path = f'{self.folder}/{name}.sock'
        app = self.site.app(self.folder, name, self.text, mode='daemon', listen=path, min_procs=self.processes,
                            max_procs=self.processes, **keys)
        server = self.site.serve([f'{self.site.bin}/scgi-daemon', app], path, cwd=self.folder)
        return server, f'include scgi_params; scgi_pass unix:{path};'

    def uwsgi(self):
        path, server = self.serve_uwsgi('--socket', 'uwsgi.sock')
        return server, f'include uwsgi_params; uwsgi_pass unix:{path};'

    def uwsgi_scgi(self):
        path, server = self.serve_uwsgi('--scgi-socket', 'uwsgi-scgi.sock')
        return server, f'include scgi_params; scgi_pass unix:{path};'

    def serve_uwsgi(self, protocol, name):
        path = f'{self.folder}/{name}'
        queue = ['--listen', str(self.queue)] if self.queue else []
        # The buffer is for the header; 4 kB unless it is set.
        argv = ['/usr/bin/uwsgi-core', '--plugin', 'python3', protocol, path, '--master', '--processes',
                str(self.processes), *queue, '--buffer-size', '65535', '--disable-logging', '--need-app',
                '--die-on-term', '--chdir', self.folder, '--module', self.module()]
        return path, self.site.serve(argv, path, cwd=self.folder)

    def gunicorn(self):
        path = f'{self.folder}/gunicorn.sock'
        # Its backlog is 2048.
        argv = ['/usr/bin/gunicorn', '--workers', str(self.processes), '--bind', f'unix:{path}', '--chdir', self.folder,
                self.module()]
        server = self.site.serve(argv, path, cwd=self.folder)
        return server, f'include proxy_params; proxy_pass http://unix:{path};'

    def module(self):
        # Not ours, which would see it changed.
        self.site.write(f'{self.folder}/peers_app.py', self.text)
        return 'peers_app:application'

    def expect(self, body):
        """Each of them answers with this body (a function that says whether it is right)."""
        for name, url in self.urls.items():
            client = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=common.PATIENCE)
            client.request('GET', '/?page=1')
            response = client.getresponse()
            said = response.read()
            client.close()
            if response.status != 200 or not body(said):
                common.fail(f'{name} does not answer: {response.status} {said[:200]!r}')

    def race(self, connections, rounds, seconds=1, headers=()):
        """{name: [Cost, ...]}, in turns."""
        def run(name):
            return lambda: self.cost(name, connections, seconds, headers)

        return interleave({name: run(name) for name in self.servers}, rounds, self.site.rounds(1, 0))

    def cost(self, name, connections, seconds, headers):
        pid, nginx = self.servers[name].pid, self.nginx.pid

        def spent():
            return counts.cpu(counts.tree(pid)), counts.own_cpu(pid), counts.cpu(counts.tree(nginx))

        before = spent()
        done = load.wrk(self.urls[name], connections, seconds, headers)
        micros = [1e6 * (then - now) / done.requests for now, then in zip(before, spent(), strict=True)]
        return Cost(done.rate, done.p99, *micros)

    def calls(self, name):
        """System calls for a request: of the application server's processes and of nginx's."""
        found = []
        for pid in self.servers[name].pid, self.nginx.pid:
            with counts.Traced(self.site, counts.tree(pid)) as traced:
                done = load.wrk(self.urls[name], 8, 1)
            found.append(traced.count / done.requests)
        return found


def middle(costs, name):
    """The median of one figure."""
    return median(getattr(cost, name) for cost in costs)


def against(costs, base):
    """Requests per second against those of another, within a round."""
    return ratio([cost.rate for cost in costs], [cost.rate for cost in base])
