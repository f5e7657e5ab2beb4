"""What a front costs from its spawn to its reap, the answer then being complete: against an echo daemon, which does as
little as a daemon can, and beside CGIs that do nothing at all."""

import echo
from common import CGI_ENVIRON
from counts import syscalls
from echo import Front
from figures import Budget, Result, Table, number

TITLE = 'A front from spawn to reap'


def measure(site):
    with echo.Daemons(site) as daemons:
        link, home = daemons.symlink()
        script = daemons.script()
        served = daemons.cgi2scgi()
        folder = site.folder()
        apps = {how: site.app(site.make(f'{folder}/{how}'), how, mode='daemon', handoff=how) for how in ('stay', 'exit')}
        empty, ours, theirs = (
            Front('an empty CGI, static, without a C library', site.c('empty-nolibc')),
            Front('polycgi, its app file', script),
            Front('cgi2scgi', served),
        )
        fronts = [
            empty,
            Front('an empty CGI, static', site.c('empty-static')),
            Front('an empty CGI, dynamic', site.c('empty-dynamic')),
            ours,
            Front('polycgi, a symlink', link, CGI_ENVIRON | {'HOME': home}),
            Front('polycgi, a header that is not sent as it is', script, CGI_ENVIRON | {'HTTP_PROXY': 'http://[::1]/'}),
            theirs,
            Front('cgi-fcgi', daemons.cgi_fcgi()),
            Front('polycgi, its own daemon: staying', apps['stay']),
            Front('polycgi, its own daemon: exiting, before the answer', apps['exit']),
        ]
        costs = dict(zip(fronts, echo.spawn(site, fronts, site.rounds(2000, 50)), strict=True))
        calls = {front: syscalls(site, [front.program], front.environ) for front in fronts}
    base = costs[empty].micros
    rows = [('', 'µs', 'ratio', 'page faults', 'system calls')]
    rows += [(front.name, number(cost.micros), number(cost.micros / base), f'{cost.faults:.0f}', str(calls[front]))
             for front, cost in costs.items()]
    budgets = [
        Budget('front, spawn to reap / an empty static CGI without a C library', 1.8, costs[ours].micros / base),
        Budget('front, spawn to reap / cgi2scgi', 0.4, costs[ours].micros / costs[theirs].micros),
        Budget('page faults of a front', 26, costs[ours].faults),
    ]
    series = {'front': {front.name: cost.micros for front, cost in costs.items()}}
    return Result([Table(TITLE, rows)], budgets, series)
