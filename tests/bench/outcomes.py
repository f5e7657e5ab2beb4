"""What became of visitors (see visitors.py): how many of the people were served and how soon, how many good answers a
second there were, when all was as before again, what a ticket is worth to a scraper. Times are s after the start. Pure
arithmetic."""

import dataclasses
import math

import visitors
from figures import percentile

TOO_LATE = 0.01  # of the requests that were sent late: more than that, and the run is no figure
WINDOW = 0.5  # s
NORMAL = 2.0  # of the 95th percentile without a swarm: what still is normal


@dataclasses.dataclass
class Run:
    """Of one plan: [Wanted] of people and of eager ones, {group: [(took, ended, kind)]}, and the generators' Sends."""
    plan: visitors.Plan
    people: list
    eager: list
    groups: dict
    sends: list

    def is_late(self):
        """The generator was: there is no figure."""
        return any(each.late > TOO_LATE * max(each.count, 1) for each in self.sends)

    def counted(self, lead=0.0):
        """From when to when figures are taken: while the swarm is there, but for a lead."""
        return self.plan.swarm_from + lead, self.plan.swarm_until

    def seconds(self, lead=0.0):
        begin, end = self.counted(lead)
        return end - begin

    def offered(self):
        """Requests/s of the swarm, and pages/s that people wanted."""
        asked = sum(self.counts(ended - took) for took, ended, _ in self.asked())
        return (asked + len(self.wanted())) / self.seconds()

    def counts(self, when, lead=0.0):
        begin, end = self.counted(lead)
        return begin <= when < end

    def asked(self):
        return [each for log in self.groups.values() for each in log]

    def wanted(self, lead=0.0):
        return [page for page in self.people if self.counts(page.began, lead)]

    def first_pages(self):
        return [page for page in self.wanted() if page.is_first]

    def goodput(self, lead=0.0):
        """Pages/s that came before their visitors left."""
        read = sum(page.is_served and self.counts(page.ended, lead) for page in self.people + self.eager)
        taken = sum(kind == visitors.PAGE and self.counts(ended, lead) for _, ended, kind in self.asked())
        return (read + taken) / self.seconds(lead)

    def rate(self, name, kind):
        """Answers of a kind that requests of a group got, a second."""
        return sum(what == kind and self.counts(ended - took) for took, ended, what in self.groups[name]) / self.seconds()

    def eager_rate(self):
        """Pages/s of an eager person."""
        served = sum(page.is_served and self.counts(page.began) for page in self.eager)
        return served / self.seconds() / max(self.plan.eager, 1)


@dataclasses.dataclass
class Scene:
    """A swarm, and the pages/s of the same contender at its peak."""
    run: Run
    peak: float


def within(pages, retries=1):
    """The share of pages that came, after so many retries at most."""
    return sum(page.is_served and page.retries <= retries for page in pages) / len(pages) if pages else 0.0


def p95(pages):
    """s from the first request to the page. A page that never came counts with the time until it was given up."""
    return percentile([page.ended - page.began for page in pages], 95) if pages else math.nan


def recovery(run):
    """s from the swarm's end until two WINDOWs in a row are normal: the pages that people want then take no longer than
    NORMAL times as long as before the swarm, 95th percentiles all. All of the time after it if there are none."""
    before = [page for page in run.people if page.began < run.plan.swarm_from]
    limit, begin, normal = NORMAL * p95(before), run.plan.swarm_until, 0
    while begin + WINDOW <= run.plan.end and normal < 2:
        pages = [page for page in run.people if begin <= page.began < begin + WINDOW]
        normal = 0 if pages and p95(pages) > limit else normal + 1
        begin += WINDOW
    return begin - (normal * WINDOW if normal == 2 else 0) - run.plan.swarm_until


def worth(run, name, among):
    """Pages/s that the requests of a group got beyond what as many of another group got."""
    rates = {each.name: each.rate for each in run.plan.groups}
    share = run.rate(among, visitors.PAGE) / rates[among]
    return run.rate(name, visitors.PAGE) - share * rates[name]
