"""How many requests a second go through Apache when each of them needs a process that Apache starts: ours, an empty CGI,
the forwarders of SCGI and FastCGI. With prefork and mod_cgi, where a CGI has pipes, and with event and mod_cgid, where
it has a socket; 1, 8 and 64 clients at once. Beside them what needs no process. Then one WSGI application by our front,
and as a plain CGI in Python.

The clients are ab's, with a connection for each request, so that Apache deals all of them out anew: of the connections
that wrk keeps, one may wait for a busy process beside an idle one."""

import os

import common
import echo
from figures import Budget, Result, Table, interleave, median, number, ratio
from load import ab
from web_servers import apache

TITLE = 'Requests per second through Apache'
ROUNDS = {1: 3, 8: 7, 64: 4}  # with so many clients
BUDGET_AT = 8  # clients: so the prototype was measured
SECONDS = 0.5  # of each run
CREW = 80  # processes or threads of Apache's: no request waits for one
BODY = b'hello\n'

EMPTY = 'an empty CGI, static, without a C library'
ECHO_STAYING, ECHO_EXITING = 'polycgi staying, an echo daemon', 'polycgi exiting, an echo daemon'
STAYING, EXITING = 'polycgi staying, its own daemon, hello', 'polycgi exiting, its own daemon, hello'
PLAIN = 'a plain CGI in Python (wsgiref), hello'

PLAIN_CGI = '''\
#!{python}
import sys
sys.path.insert(0, {folder!r})
from wsgiref.handlers import CGIHandler
from stay_app import application
CGIHandler().run(application)
'''

# Where suEXEC is installed mod_fcgid wants to be root for it.
NO_PROCESS = '''\
Suexec Off
WSGISocketPrefix {root}/wsgi
WSGIDaemonProcess hello processes=PROCESSES threads=1
WSGIProcessGroup hello
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /wsgi MODULE
FcgidIPCDir {root}/fcgid
FcgidProcessTableFile {root}/fcgid-table
FcgidMaxProcesses PROCESSES
ScriptAlias /fcgid PROGRAM
<Location /fcgid>
SetHandler fcgid-script
</Location>
<Directory />
AllowOverride None
Require all granted
</Directory>
'''


def measure(site):
    folder = site.folder()
    processes = min(2 * len(os.sched_getaffinity(0)) + 1, 16)  # our daemon's default

    def app(handoff):
        return site.app(folder, handoff, mode='daemon', handoff=handoff, max_procs=processes)

    with echo.Daemons(site) as daemons:
        programs = {
            EMPTY: site.c('empty-nolibc'),
            'an empty CGI, static': site.c('empty-static'),
            'an empty CGI, dynamic': site.c('empty-dynamic'),
            ECHO_STAYING: daemons.script('late', 'late'),
            ECHO_EXITING: daemons.script('early', 'early'),
            STAYING: app('stay'),
            EXITING: app('exit'),
            'cgi2scgi, an echo daemon': daemons.cgi2scgi(),
            'cgi-fcgi, an echo daemon': daemons.cgi_fcgi(),
        }
        plain = site.script(f'{folder}/plain', PLAIN_CGI.format(python=common.PYTHON, folder=folder))
        # Apache with mod_cgid may signal the pid of a CGI that has left before its response was complete: there
        # ours stay.
        staying = {name: program for name, program in programs.items() if name not in (ECHO_EXITING, EXITING)}
        prefork = crowds(apache_of(site, 'prefork', 'cgi', programs))
        event = crowds(apache_of(site, 'event', 'cgid', staying | {PLAIN: plain}))
        free = crowds(without_processes(site, f'{folder}/stay_app.py', processes))
        alike = {PLAIN: event.pop(PLAIN), STAYING: event[STAYING]}
        rates = {
            'prefork, mod_cgi': {at: rounds(site, prefork, at) for at in ROUNDS},
            'event, mod_cgid': {at: rounds(site, event | free, at) for at in ROUNDS},
        }
        hello = interleave({name: lambda run=run: run(BUDGET_AT, 2 * SECONDS) for name, run in alike.items()},
                           site.rounds(5, 1))
    tables = [table(how, of) for how, of in rates.items()]
    rows = [(f'event, mod_cgid; {BUDGET_AT} clients', 'requests/s', 'ratio')]
    rows += [(name, number(median(of)), number(ratio(of, hello[PLAIN]))) for name, of in hello.items()]
    tables.append(Table('Requests per second of one application, by our front and as a plain CGI', rows))
    budgets = [
        *budget('event, mod_cgid', rates, 0.80, STAYING, ECHO_STAYING),
        *budget('prefork, mod_cgi', rates, 1.0, STAYING, ECHO_STAYING),
        *budget('prefork, mod_cgi', rates, 1.2, EXITING, ECHO_EXITING),
        Budget('hello/s through Apache and the front / the same app as a plain CGI in Python', 25,
               ratio(hello[STAYING], hello[PLAIN]), at_least=True),
    ]
    series = {f'requests/s, {how}': {name: median(figures) for name, figures in of[BUDGET_AT].items()}
              for how, of in rates.items()}
    series['requests/s, event, mod_cgid'][PLAIN] = median(hello[PLAIN])
    return Result(tables, budgets, series)


def apache_of(site, mpm, cgi, programs):
    """The URL of each program, in an Apache of their own."""
    aliases = ''.join(f'ScriptAlias /{number} {program}\n' for number, program in enumerate(programs.values()))
    server = apache(site, mpm, cgi, CREW, f'{aliases}<Directory />\nAllowOverride None\nRequire all granted\n</Directory>\n')
    host, port = server.address
    return {name: f'http://{host}:{port}/{number}' for number, name in enumerate(programs)}


def without_processes(site, module, processes):
    """In a third Apache, since these modules make its processes larger."""
    program = site.script(f'{site.folder()}/fcgid', f'#!/bin/sh\nexec {site.c("echo")} fastcgi -\n')
    extra = NO_PROCESS
    for word, text in ('PROCESSES', str(processes)), ('MODULE', module), ('PROGRAM', program):
        extra = extra.replace(word, text)
    server = apache(site, 'event', 'cgid', CREW, extra, load=('wsgi', 'fcgid'))
    base = 'http://{}:{}'.format(*server.address)
    return {'no process for a request: mod_wsgi, hello': f'{base}/wsgi',
            'no process for a request: mod_fcgid, an echo program': f'{base}/fcgid'}


def crowds(urls):
    return {name: Crowd(url) for name, url in urls.items()}


class Crowd:
    """Clients of one URL."""

    def __init__(self, url):
        self.url, self.rate = url, {}

    def __call__(self, clients, seconds):
        """Runs as many requests as take about so long; returns how many a second there were."""
        wanted = max(self.rate.get(clients, 50) * seconds, 2 * clients)
        self.rate[clients] = ab(self.url, clients, round(wanted), BODY)
        return self.rate[clients]


def rounds(site, crowd_of, clients):
    contenders = {name: lambda crowd=crowd: crowd(clients, SECONDS) for name, crowd in crowd_of.items()}
    return interleave(contenders, site.rounds(ROUNDS[clients], 1))


def table(how, rates):
    rows = [(how, *(cell for clients in rates for cell in (f'{clients} at once', 'ratio')))]
    for name in rates[BUDGET_AT]:
        cells = [(number(median(of[name])), number(ratio(of[name], of[EMPTY]))) for of in rates.values()]
        rows.append((name, *(cell for pair in cells for cell in pair)))
    return Table(f'{TITLE}: {how}', rows)


def budget(how, rates, limit, own, trivial):
    """With our own daemon and an application; where that misses it, with a daemon that does nothing as well: the budget
    is about the front."""
    of = rates[how][BUDGET_AT]
    found = [Budget(f'requests/s, {how}: {name} / an empty CGI without a C library', limit, ratio(of[name], of[EMPTY]),
                    at_least=True) for name in (own, trivial)]
    return found[:1] if found[0].is_met() else found
