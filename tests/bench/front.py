"""What a front costs from its spawn to its reap, the answer then being complete: against an echo daemon, which does as
little as a daemon can, and beside CGIs that do nothing at all. CPU is its own processor time; the rest it waits, or the
one who starts it works."""

import echo
from common import CGI_ENVIRON
from counts import syscalls
from echo import Front
from figures import Budget, Result, Table, number

TITLE = 'A front from spawn to reap'


# `handoff`, and what a front does by it.
HOW = {'stay': 'stays', 'exit': 'exits before the answer'}


def measure(site):
    with echo.Daemons(site) as daemons:
        link, home = daemons.symlink()
        script = daemons.script()
        served = daemons.cgi2scgi()
        folder = site.folder()
        apps = {how: site.app(site.make(f'{folder}/{how}'), how, mode='daemon', handoff=how) for how in HOW}
        own = {how: Front(f'polycgi, its own daemon; {what}', apps[how]) for how, what in HOW.items()}
        before = others(site, folder)
        empty, ours, theirs = (
            Front('empty CGI, no C library', site.c('empty-nolibc')),
            Front('polycgi', script),
            Front('cgi2scgi', served),
        )
        fronts = [
            empty,
            Front('empty CGI in C, static', site.c('empty-static')),
            Front('empty CGI in C, dynamic', site.c('empty-dynamic')),
            ours,
            Front('polycgi by a symlink', link, CGI_ENVIRON | {'HOME': home}),
            Front('polycgi without its fast path', script, CGI_ENVIRON | {'HTTP_PROXY': 'http://[::1]/'}),
            theirs,
            Front('cgi-fcgi', daemons.cgi_fcgi()),
            *own.values(),
            *before.values(),
        ]
        costs = dict(zip(fronts, echo.spawn(site, fronts, site.rounds(2000, 50)), strict=True))
        calls = {front: syscalls(site, [front.program], front.environ) for front in fronts}
    base = costs[empty].micros
    rows = [('', 'µs', 'ratio', 'CPU µs', 'page faults', 'system calls')]
    rows += [(front.name, number(cost.micros), number(cost.micros / base), number(cost.cpu), f'{cost.faults:.0f}',
              str(calls[front])) for front, cost in costs.items()]
    budgets = [
        Budget('front, spawn to reap / an empty CGI without a C library', 1.8, costs[ours].micros / base),
        Budget('front, spawn to reap / cgi2scgi', 0.4, costs[ours].micros / costs[theirs].micros),
        Budget('page faults of a front', 26, costs[ours].faults),
    ]
    budgets += [Budget(f'{own[how].name}, spawn to reap / {front.name}', 0.87, costs[own[how]].micros / costs[front].micros)
                for how, front in before.items()]
    # A front that waits for a real daemon waits for the app as well: no part of the picture.
    series = {'front': {front.name: cost.micros for front, cost in costs.items() if 'daemon' not in front.name}}
    return Result([Table(TITLE, rows)], budgets, series)


def others(site, folder):
    """Fronts of the other polycgi, if there is one, each with a daemon of its own."""
    if not site.against:
        return {}
    apps = {how: site.app(site.make(f'{folder}/before-{how}'), how, program=site.against, mode='daemon', handoff=how)
            for how in HOW}
    return {how: Front(f'the other polycgi, its own daemon; {what}', apps[how]) for how, what in HOW.items()}
