"""How hello through nginx grows: with the number of requests that are there at once, of which all but four wait for a
worker, with the number of header fields, and with the number of workers."""

from app_servers import POLYCGI, UWSGI, Crew, against, middle
from common import HELLO
from figures import Result, Table, number

TITLE = 'Hello through nginx, as there is more'
WORKERS = 4
AT_ONCE = 4, 16, 64, 256, 1000
FIELDS = 10, 30, 100
CREWS = 1, 2, 4, 8, 16, 32


def measure(site):
    result, names, rounds = Result(), (POLYCGI, UWSGI), site.rounds(3, 1)
    with Crew(site, site.folder(), HELLO, WORKERS, names) as crew:
        crew.expect(is_right)
        costs = {at_once: crew.race(at_once, rounds) for at_once in site.rounds(AT_ONCE, AT_ONCE[-1:])}
        grown(result, f'Hello through nginx by requests at once, {WORKERS} worker processes', 'queued', costs)
        # One of them is Host, which wrk sends anyway.
        costs = {count: crew.race(16, rounds, headers=fields(count - 1)) for count in site.rounds(FIELDS, FIELDS[-1:])}
        grown(result, f'Hello through nginx by header fields, {WORKERS} worker processes, 16 requests at once',
              'fields through nginx', costs)
        crew.expect(is_right)
    costs = {processes: by(site, processes, names) for processes in site.rounds(CREWS, CREWS[-1:])}
    grown(result, 'Hello through nginx by worker processes, 16 requests at once', 'workers', costs)
    return result


def by(site, processes, names):
    with Crew(site, site.folder(), HELLO, processes, names) as crew:
        crew.expect(is_right)
        return crew.race(16, site.rounds(3, 1))


def is_right(body):
    return body == b'hello\n'


def fields(count):
    return [f'X-Added-By-{number}: the value of a field that a client has added' for number in range(count)]


def grown(result, title, name, costs):
    def row(what, figure):
        return what, *(number(figure(each)) for each in costs.values())

    rows = [
        ('', *(str(count) for count in costs)),
        row('polycgi, requests/s', lambda each: middle(each[POLYCGI], 'rate')),
        row('uWSGI, requests/s', lambda each: middle(each[UWSGI], 'rate')),
        row('polycgi, of uWSGI', lambda each: against(each[POLYCGI], each[UWSGI])),
        row('polycgi, µs each', lambda each: middle(each[POLYCGI], 'server')),
        row('... of the daemon\'s loop', lambda each: middle(each[POLYCGI], 'loop')),
        row('uWSGI, µs each', lambda each: middle(each[UWSGI], 'server')),
    ]
    result.tables.append(Table(title, rows))
    result.series[name] = {contender: [[count, middle(each[contender], 'server')] for count, each in costs.items()]
                           for contender in (POLYCGI, UWSGI)}
