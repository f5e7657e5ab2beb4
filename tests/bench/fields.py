"""How what a front costs grows with the number of header fields, and with the number of apps that have their place in
the same runtime directory: against an echo daemon, from spawn to reap."""

import os
import socket

import echo
from common import CGI_ENVIRON
from echo import Front
from figures import Result, Table, number

TITLE = 'A front from spawn to reap, as there is more'
FIELDS = 10, 30, 100, 300, 1000
APPS = 1, 10, 100, 1000


def measure(site):
    rounds = site.rounds(500, 20)
    with echo.Daemons(site) as daemons:
        programs = {'empty CGI, no C library': site.c('empty-nolibc'), 'polycgi': daemons.script()}
        peers = programs | {'cgi2scgi': daemons.cgi2scgi()}
        by_fields = {count: costs(site, peers, rounds, environ(count)) for count in FIELDS}
        by_apps = {}
        with Beside(daemons) as beside:
            for count in APPS:
                beside.grow(count - 1)
                by_apps[count] = costs(site, programs, rounds, CGI_ENVIRON)
    tables = [Table('A front from spawn to reap, µs, by the number of header fields', rows(by_fields)),
              Table('A front from spawn to reap, µs, by the number of apps in the runtime directory', rows(by_apps))]
    return Result(tables, series={'fields': by_contender(by_fields), 'apps': by_contender(by_apps)})


def costs(site, programs, rounds, environ):
    fronts = [Front(name, program, environ) for name, program in programs.items()]
    return {front.name: cost.micros for front, cost in zip(fronts, echo.spawn(site, fronts, rounds), strict=True)}


def environ(count):
    """With so many header fields in all, as long as fields are that proxies and programs add."""
    fields = {name: value for name, value in CGI_ENVIRON.items() if name.startswith('HTTP_')}
    names = [*fields, *(f'HTTP_X_ADDED_BY_{number}' for number in range(count))][:count]
    rest = {name: value for name, value in CGI_ENVIRON.items() if name not in fields}
    return rest | {name: fields.get(name, 'the value of a field that a client has added') for name in names}


def by_contender(table):
    names = next(iter(table.values()))
    return {name: [[count, figures[name]] for count, figures in table.items()] for name in names}


def rows(table):
    names = next(iter(table.values()))
    heads = ('', *(str(count) for count in table))
    return [heads, *((name, *(number(figures[name]) for figures in table.values())) for name in names)]


class Beside:
    """Places of other apps, each with the socket of a daemon that is gone."""

    def __init__(self, daemons):
        self.daemons, self.base, self.made = daemons, os.path.dirname(daemons.places[0]), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for place in self.made:
            os.unlink(f'{place}/sock')
            os.rmdir(place)

    def grow(self, count):
        """Until there are so many."""
        for number in range(len(self.made), count):
            place = self.daemons.site.make(f'{self.base}/beside-{number}-{self.daemons.mark}', 0o700)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f'{place}/sock')
            self.made.append(place)
