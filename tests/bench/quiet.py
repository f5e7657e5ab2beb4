"""Measures the first request after a quiet time: no daemon runs, but there was one, so its place is there; the front
becomes the app. The front decides that itself: no limit is reached here, since each run is to be the first.
Against it stands what one has without polycgi: a program that the web server runs itself; and for a WSGI app, which no
web server can run, a script of the standard library's own CGIHandler. Caches are warm, for both. The last pair is no
budget's: beside a program in C that does nothing, a front that starts costs what starting costs."""

import os
import time

import common
import echo
from common import CGI_ENVIRON, HELLO, PYTHON
from counts import syscalls
from figures import Budget, Result, Table, number

TITLE = 'The first request after a quiet time, from spawn to reap'
LIMIT = 1.05
AGE = 3600  # s: bytecode of what was edited just now is not trusted

PROGRAM = f'''\
#!{PYTHON}
import sys

sys.stdout.write('Status: 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 6\\r\\n\\r\\nhello\\n')
'''
CGI_HANDLER = f'''\
#!{PYTHON}
from wsgiref.handlers import CGIHandler

from app_app import application

CGIHandler().run(application)
'''


def measure(site):
    folder = site.folder()
    never = {'daemon_when_busy': 1000, 'daemon_when_rate': '1000/s', 'daemon_when_load': 1000}
    program = site.script(f'{folder}/program', PROGRAM)
    pairs = {
        'WSGI, 3 lines': (site.app(folder, 'app', HELLO, **never), site.script(f'{folder}/handler', CGI_HANDLER)),
        'a CGI in Python, 2 lines': (site.app(folder, 'program-app', cgi=program, **never), program),
        'an empty CGI in C': (site.app(folder, 'c-app', cgi=site.c('empty-dynamic'), **never), site.c('empty-dynamic')),
    }
    past = time.time() - AGE
    os.utime(f'{folder}/app_app.py', (past, past))
    fronts = []
    for app, (ours, plain) in pairs.items():
        site.polycgi('start', ours)
        site.polycgi('stop', ours)
        fronts += [echo.Front(f'{app}: polycgi', ours), echo.Front(f'{app}: plain', plain)]
    costs = dict(zip(fronts, echo.spawn(site, fronts, site.rounds(300, 10)), strict=True))
    rows = [('', 'ms', 'ratio', 'added ms', 'CPU ms', 'page faults', 'system calls')]
    ratios = {}
    for ours, plain in zip(fronts[::2], fronts[1::2], strict=True):
        for front in plain, ours:
            cost, base = costs[front], costs[plain]
            added = number((cost.micros - base.micros) / 1000) if front is ours else ''
            ratios[front.name] = cost.micros / base.micros
            rows.append((front.name, number(cost.micros / 1000), number(ratios[front.name]), added, number(cost.cpu / 1000),
                         f'{cost.faults:.0f}', str(syscalls(site, [front.program], CGI_ENVIRON))))
        if site.status(ours.program)['state'] != 'down':
            common.fail(f'{ours.name} has started a daemon')
    budgets = [Budget(f'first request after quiet / plain CGI: {app}', LIMIT, ratios[f'{app}: polycgi'])
               for app in list(pairs)[:2]]
    return Result([Table(TITLE, rows)], budgets, {'quiet': {front.name: costs[front].micros / 1000 for front in fronts}})
