"""What `check` takes beside the import that it makes, as a whole process on the clock: a person waits for it. Against it
stands an interpreter that imports the same modules and nothing else. A figure is the median of the differences within a
round."""

import subprocess
import time

from common import CLEAN, HELLO, PYTHON
from figures import Budget, Result, Table, difference, interleave, median, number

TITLE = '`check` of an app in which nothing is wrong, beside its import'
LIMIT = 50.0  # ms

# Modules of the standard library, as many as a framework of middle size has.
HEAVY = 'import asyncio, decimal, email.mime.text, http.client, json, logging.config, sqlite3, unittest.mock, xml.dom\n'


def measure(site):
    folder = site.folder()
    rows = [('app', 'its import, ms', 'check, ms', 'added, ms')]
    budgets = []
    for name, text in [('3 lines', HELLO), ('3 lines and much of the standard library', HEAVY + HELLO)]:
        module = f'm{len(rows)}'
        app_file = site.app(folder, module, text)
        contenders = {
            'import': lambda module=module: clocked(site, [PYTHON, '-c', f'import {module}_app'], folder),
            'check': lambda app_file=app_file: clocked(site, [f'{site.bin}/polycgi', 'check', app_file], folder),
        }
        times = interleave(contenders, site.rounds(40, 5))
        added = difference(times['check'], times['import'])
        rows.append((name, *(number(median(figures)) for figures in times.values()), number(added)))
        budgets.append(Budget(f'check, beside the import of an app of {name}', LIMIT, added, unit=' ms'))
    return Result([Table(TITLE, rows)], budgets)


def clocked(site, argv, folder):
    """Milliseconds from its spawn to its end, which has to be a success."""
    began = time.monotonic()
    subprocess.run(argv, env=CLEAN, cwd=folder, stdout=subprocess.DEVNULL, check=True, **site.as_user)
    return (time.monotonic() - began) * 1000
