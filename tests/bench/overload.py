"""What becomes of people while a swarm asks for ten times what an application can do, and of its good answers: polycgi
with its waiting room and without it, beside uWSGI and gunicorn behind the same nginx and mod_wsgi in Apache, all with
the queue that they have by default. An application of two workers whose pages take 20 ms each: it waits and does not
compute, since visitors, web servers and workers have the same processors.

People want half of what the application can do, in pages a second; all else are scrapers, who ignore cookies and
Retry-After. visitors.py says what each of them does, outcomes.py what the figures are. First less load than ten times,
with contenders beside one another as far as they don't disturb each other. Then ten times for a minute, one after the
other, each with its own peak, and with people alone before and after. Then swarms that keep tickets: each address its
own, or many addresses one."""

import dataclasses
import http.client
import multiprocessing
import time
import urllib.parse

import app_servers
import common
import overload_tables
import visitors
from app_servers import GUNICORN, NO_ROOM, POLYCGI, UWSGI
from crowd import allow_descriptors
from outcomes import Run, Scene
from visitors import Group, Plan
from web_servers import apache

TITLE = 'A swarm at ten times capacity'
WORKERS, WORK = 2, 0.02
CAPACITY = WORKERS / WORK  # pages/s
DEMAND = CAPACITY / 2  # pages/s that people want
TIMES = 10
MOD_WSGI, FRONT = 'mod_wsgi', 'polycgi, a front of Apache'
GROWING = POLYCGI, NO_ROOM, UWSGI, MOD_WSGI, GUNICORN  # in the picture
CONNECTIONS = 16384  # of nginx: it is not what lets nobody in
THREADS = 150  # of Apache, as Debian has it
KEEPERS = 200  # addresses that keep a ticket each
SHARING = 0.1  # of the capacity: requests/s of some who share one ticket; all the others share another
EAGER = 8

APP = f'''\
import time

def application(environ, start_response):
    time.sleep({WORK})
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '{len(visitors.BODY)}')])
    return [{visitors.BODY!r}]
'''
WSGI = '''\
WSGISocketPrefix {root}/wsgi
WSGIDaemonProcess app processes=WORKERS threads=1
WSGIProcessGroup app
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /wsgi MODULE
<Directory FOLDER>
Require all granted
</Directory>
'''


@dataclasses.dataclass
class Lengths:
    """s: people alone before and after a swarm, the swarm; of the growing load the swarm and what of it is not counted;
    at the peak; a visitor's patience. And the loads below TIMES that are tried."""
    before: float = 6
    swarm: float = 60
    after: float = 5
    growing: float = 22
    lead: float = 12
    peak: float = 3
    patience: float = 10
    loads: tuple = (0.5, 1, 2, 5)


QUICK = Lengths(1, 2, 1, 2, 0.5, 0.5, 2, (2,))


def measure(site):
    allow_descriptors(CONNECTIONS + 1000)
    lengths = QUICK if site.quick else Lengths()
    with app_servers.Crew(site, site.folder(), APP, WORKERS, (POLYCGI, NO_ROOM, UWSGI, GUNICORN), queue=None,
                          connections=CONNECTIONS) as crew:
        bench = Overload(lengths, crew.urls | apaches(site))
        growing = bench.grow()
        swarms = {name: bench.swarm(name, [plain(TIMES)]) for name in bench.urls}
        kept = bench.swarm(POLYCGI, [Group('keepers', swarm_rate(TIMES), KEEPERS, 'own')], EAGER)
        sharers = Group('sharers', SHARING * CAPACITY, cookies='shared')
        others = Group('scrapers', swarm_rate(TIMES) - sharers.rate, cookies='shared')
        shared = bench.swarm(POLYCGI, [sharers, others], EAGER)
    for name, runs in growing.items():
        runs[TIMES] = swarms[name].run
    return overload_tables.result(swarms, growing, lengths.lead, kept, shared)


def apaches(site):
    """{name: URL} of what Apache serves: mod_wsgi, and polycgi by a front for each request."""
    folder = site.folder()
    module = site.write(f'{folder}/app.wsgi', APP)
    extra = WSGI.replace('WORKERS', str(WORKERS)).replace('MODULE', module).replace('FOLDER', folder)
    embedded, fronts = apache(site, at_once=THREADS, extra=extra, load=('wsgi',)), apache(site, at_once=THREADS)
    site.app(fronts.cgi_bin, 'app', APP, mode='daemon', min_procs=WORKERS, max_procs=WORKERS)
    return {MOD_WSGI: '{}/wsgi'.format('http://{}:{}'.format(*embedded.address)), FRONT: f'{fronts.url}/app'}


def swarm_rate(times):
    """Requests/s of a swarm that together with the people ask for so many times the capacity."""
    return max(times * CAPACITY - DEMAND, 0)


def plain(times):
    return Group('scrapers', swarm_rate(times))


class Overload:
    """The contenders by their URLs, and what is done to them."""

    def __init__(self, lengths, urls):
        self.lengths, self.urls = lengths, urls

    def plan(self, name, swarm_from, swarm, after, groups, eager=0):
        where = urllib.parse.urlsplit(self.urls[name])
        until = swarm_from + swarm
        return Plan((where.hostname, where.port), where.path, 0, swarm_from, until, until + after, DEMAND,
                    self.lengths.patience, eager, groups)

    def grow(self):
        """{contender: {load: Run}}, for loads below TIMES. Together they have TIMES times one's capacity at most."""
        found = {name: {} for name in GROWING}
        for load in self.lengths.loads:
            beside = max(int(TIMES / load), 1)
            for first in range(0, len(GROWING), beside):
                names = GROWING[first:first + beside]
                plans = {name: self.plan(name, 1, self.lengths.growing, 0, [plain(load)]) for name in names}
                for name, run in self.run(plans).items():
                    found[name][load] = run
        return found

    def swarm(self, name, groups, eager=0):
        peak = self.peak(name)
        plan = self.plan(name, self.lengths.before, self.lengths.swarm, self.lengths.after, groups, eager)
        return Scene(self.run({name: plan})[name], peak)

    def peak(self, name):
        """With twice as many clients as workers."""
        self.calm(name)
        plan = self.plan(name, 0, self.lengths.peak, 0, [])
        return beside([(visitors.saturate, plan, 2 * WORKERS)])[0]

    def run(self, plans):
        for name in plans:
            self.calm(name)
        calls = [(call, plan) for plan in plans.values() for call in (visitors.people, visitors.swarm)]
        done = iter(beside(calls))
        found = {}
        for name, plan in plans.items():
            (people, eager, sends), (groups, others) = next(done), next(done)
            found[name] = Run(plan, people, eager, groups, [sends, others])
        return found

    def calm(self, name):
        """Until nobody waits there any more: a page takes no longer than twice its work, and what a connection does."""
        common.wait_for(lambda: self.ask(name) < 2 * WORK + 0.05, f'{name}: the queue does not end')

    def ask(self, name):
        """s that a page takes; none is as bad as a long time."""
        where, began = urllib.parse.urlsplit(self.urls[name]), time.monotonic()
        client = http.client.HTTPConnection(where.netloc, timeout=common.PATIENCE)
        try:
            client.request('GET', where.path)
            return time.monotonic() - began if client.getresponse().status == 200 else common.PATIENCE
        except OSError:
            return common.PATIENCE
        finally:
            client.close()


def beside(calls):
    """Each (function, plan, ...) in a process of its own, from the same instant on; what they return."""
    # Not a Pool: as it ends, the end of one of its processes may leave another one waiting for a lock.
    fork, start = multiprocessing.get_context('fork'), time.monotonic() + 0.2
    processes, pipes = [], []
    for call, plan, *more in calls:
        here, there = fork.Pipe(duplex=False)
        argv = there, call, dataclasses.replace(plan, start=start), *more
        processes.append(fork.Process(target=visit, args=argv))
        processes[-1].start()
        there.close()
        pipes.append(here)
    try:
        return [received(here) for here in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def visit(there, call, *words):
    """In a process of visitors: says what the call returns, or why it does not."""
    visitors.be_prompt()
    try:
        there.send((call(*words), None))
    except common.Failed as failed:
        there.send((None, str(failed)))


def received(here):
    try:
        found, why = here.recv()
    except EOFError:
        common.fail('a process of visitors ended')
    return found if why is None else common.fail(why)
