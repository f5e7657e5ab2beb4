"""The figures of overload.py as tables, bars and series for the picture. A run whose generator was late has no figures:
LATE stands in its cells, and its bars are not measured."""

import outcomes
import visitors
from app_servers import NO_ROOM, POLYCGI
from figures import Budget, Result, Table, number

LATE = 'late'
SERVED, SOON, GOODPUT, RECOVERY = 99, 3.0, 0.95, 1.0  # %, s, of the peak, s
# Pages of a scraper with a ticket for each page of an eager person: no more than one, and what chance makes of it in a
# minute. Percentage points of the people's pages.
GAIN, COST = 1.25, 4.0


def result(scenes, growing, lead, kept, shared):
    """`scenes`: {contender: Scene} at ten times capacity, with scrapers without tickets. `growing`: {contender: {load:
    Run}}, whose first `lead` seconds are not counted. `kept`, `shared`: the Scenes of scrapers with tickets."""
    plain = scenes[POLYCGI]
    budgets = [budget for name, scene in scenes.items() if name.startswith(POLYCGI) and name != NO_ROOM
               for budget in swarm_budgets(name, scene)]
    budgets += ticket_budgets('each keeps a ticket', plain, kept, keeper_gain(kept))
    budgets += ticket_budgets('many share a ticket', plain, shared, sharing_gain(shared))
    series = {'goodput': {}, 'people': {}}
    for name, runs in growing.items():
        found = {load: run for load, run in sorted(runs.items()) if not run.is_late()}
        series['goodput'][name] = [[load, run.goodput(lead) / scenes[name].peak] for load, run in found.items()]
        series['people'][name] = [[load, outcomes.within(run.wanted(lead))] for load, run in found.items()]
    return Result([swarm_table(scenes | {f'{POLYCGI}, each keeps a ticket': kept, f'{POLYCGI}, many share one': shared}),
                   growing_table(scenes, growing, lead), ticket_table(plain, kept, shared)], budgets, series)


def swarm_table(scenes):
    rows = [('', 'offered/s', 'good/s', 'of the peak', 'first page, %', 'all pages, %', 'p95 s', 'recovery s', '503/s',
             'failed/s', 'left/s', 'late, %', 'CPU, %')]
    return Table('Ten times capacity: good answers, people served within one retry, what the swarm got, the generator',
                 rows + [(name, *swarm_cells(scene)) for name, scene in scenes.items()])


def swarm_cells(scene):
    run = scene.run
    late = 100 * max(each.late / max(each.count, 1) for each in run.sends)
    figures = [run.offered(), run.goodput(), run.goodput() / scene.peak, 100 * outcomes.within(run.first_pages()),
               100 * outcomes.within(run.wanted()), outcomes.p95(run.first_pages()), outcomes.recovery(run)]
    figures += [sum(run.rate(name, kind) for name in run.groups)
                for kind in (visitors.REFUSED, visitors.FAILED, visitors.LEFT)]
    cells = [LATE if run.is_late() else number(float(figure)) for figure in figures]
    return *cells, number(float(late)), number(100 * sum(each.cpu for each in run.sends))


def growing_table(scenes, growing, lead):
    loads = sorted({load for runs in growing.values() for load in runs})
    rows = [('offered, of the capacity', *(cell for load in loads for cell in (f'{load}: of the peak', 'people, %')))]
    for name, runs in growing.items():
        cells = [name]
        for run in (runs[load] for load in loads):
            figures = run.goodput(lead) / scenes[name].peak, 100 * outcomes.within(run.wanted(lead))
            cells += [LATE if run.is_late() else number(float(figure)) for figure in figures]
        rows.append(tuple(cells))
    return Table('Good answers, and pages that people got within one retry, by load', rows)


def ticket_table(plain, kept, shared):
    rows = [('pages/s', 'eager person', 'all people', 'scrapers with tickets', '... each', 'gain / eager person',
             'pages of people lost, %')]
    for name, scene, group, gain in (('each keeps a ticket', kept, 'keepers', keeper_gain(kept)),
                                     ('many share a ticket', shared, 'sharers', sharing_gain(shared))):
        run = scene.run
        addresses = {each.name: each.addresses for each in run.plan.groups}[group]
        got, read = run.rate(group, visitors.PAGE), sum(page.is_served for page in run.wanted()) / run.seconds()
        figures = run.eager_rate(), read, got, got / addresses, gain, cost(plain, scene)
        rows.append((name, *(LATE if run.is_late() else number(float(figure)) for figure in figures)))
    return Table('Scrapers with tickets', rows)


def keeper_gain(scene):
    """Pages of an address with a ticket of its own, for each page of an eager person."""
    run = scene.run
    addresses = {each.name: each.addresses for each in run.plan.groups}['keepers']
    return run.rate('keepers', visitors.PAGE) / addresses / max(run.eager_rate(), 1e-9)


def sharing_gain(scene):
    """Pages that a ticket brings to all who share it, for each page of an eager person: beyond what as many requests of
    the rest of the swarm got, to which its own ticket is worth nothing."""
    return outcomes.worth(scene.run, 'sharers', 'scrapers') / max(scene.run.eager_rate(), 1e-9)


def cost(plain, scene):
    """Percentage points of the people's pages that come within one retry beside plain scrapers, and not here."""
    return 100 * (outcomes.within(plain.run.wanted()) - outcomes.within(scene.run.wanted()))


def swarm_budgets(name, scene):
    run = scene.run

    def budget(what, limit, figure, at_least=False, unit=''):
        return Budget(f'{name}: {what}', limit, None if run.is_late() else float(figure), at_least, unit)

    return [
        budget('people with their first page within one retry', SERVED, 100 * outcomes.within(run.first_pages()), True, ' %'),
        budget('... all pages of people, within one retry', SERVED, 100 * outcomes.within(run.wanted()), True, ' %'),
        budget('... p95 from the first request to the page', SOON, outcomes.p95(run.first_pages()), unit=' s'),
        budget('... good answers/s / at the peak', GOODPUT, run.goodput() / scene.peak, True),
        budget('... answers/s that are neither a page nor a 503', 0, sum(run.rate(who, visitors.FAILED) for who in run.groups)),
        budget("... recovery from the swarm's end", RECOVERY, outcomes.recovery(run), unit=' s'),
    ]


def ticket_budgets(what, plain, scene, gain):
    is_late = scene.run.is_late() or plain.run.is_late()
    return [Budget(f'{what}: pages of it / an eager person\'s', GAIN, None if is_late else float(gain)),
            Budget(f'{what}: pages that people lose', COST, None if is_late else float(cost(plain, scene)), unit=' %')]
