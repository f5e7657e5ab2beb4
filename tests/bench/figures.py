"""Figures: how they are taken in turns, what becomes of many, and how they are shown. Knows no program and no server.

A part of the bench is a module with `TITLE` and `measure(site) -> Result`.
"""

import dataclasses
import random
import statistics


@dataclasses.dataclass
class Table:
    """Rows of cells, the first of them the heads of the columns; cells are text (see `number`)."""
    title: str
    rows: list


@dataclasses.dataclass
class Budget:
    """A row of the README's table: what is measured, its limit, and the figure (None: it could not be taken here)."""
    what: str
    limit: float
    figure: float | None
    at_least: bool = False
    unit: str = ''

    def is_met(self):
        if self.figure is None:
            return False
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def row(self):
        bound = f'{number(self.limit)}{self.unit} or {"more" if self.at_least else "less"}'
        if self.figure is None:
            return self.what, bound, 'not measured', ''
        return self.what, bound, f'{number(self.figure)}{self.unit}', 'met' if self.is_met() else 'not met'


@dataclasses.dataclass
class Result:
    """What a part found. `series` is for the picture and the JSON: {name: {contender: figure}}, or
    {name: {contender: [[x, figure], ...]}} where it is how something grows."""
    tables: list = dataclasses.field(default_factory=list)
    budgets: list = dataclasses.field(default_factory=list)
    series: dict = dataclasses.field(default_factory=dict)


def interleave(contenders, rounds, warm_up=1):
    """Runs {name: function} in turns and returns {name: [what it returned, ...]}. The order is another in each round:
    what one leaves behind for the next, and what else the machine does, meets all alike."""
    names = list(contenders)
    for name in names * warm_up:
        contenders[name]()
    figures = {name: [] for name in names}
    order = random.Random(rounds)
    for _ in range(rounds):
        for name in order.sample(names, len(names)):
            figures[name].append(contenders[name]())
    return figures


median = statistics.median


def percentile(figures, part=99):
    return sorted(figures)[len(figures) * part // 100]


def ratio(figures, base):
    """The median of the ratios within a round: what a figure is against another that was taken beside it."""
    return median(mine / its for mine, its in zip(figures, base, strict=True))


def difference(figures, base):
    """The median of the differences within a round."""
    return median(mine - its for mine, its in zip(figures, base, strict=True))


def number(figure):
    """As many digits as say something."""
    if isinstance(figure, int):
        return str(figure)
    size = abs(figure)
    if size >= 100 or figure == int(figure) and size >= 10:
        return f'{figure:.0f}'
    return f'{figure:.1f}' if size >= 10 else f'{figure:.2f}'


def show(rows):
    """Prints a table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print('  ' + '  '.join(cells).rstrip(), flush=True)
