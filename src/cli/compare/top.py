"""Prints what took most of the time of a profile, for `compare`."""

import pstats
import sys

MOST = 12
OF_IMPORTS = '<frozen importlib', '<string>'


def place(function):
    file, line, name = function
    return name if file == '~' else '%s:%d %s' % (file, line, name)


stats = pstats.Stats(sys.argv[1])
print('%10s%12s%12s  %s' % ('calls', 'own time', 'in all', '%d calls, %.1f ms' % (
    stats.total_calls, stats.total_tt * 1000)))
rows = [(-whole, calls, own, place(function)) for function, (_, calls, own, whole, _) in stats.stats.items()
        if not function[0].startswith(OF_IMPORTS) and whole * 100 >= stats.total_tt]
for whole, calls, own, where in sorted(rows)[:MOST]:
    print('%10d%9.2f ms%9.2f ms  %s' % (calls, own * 1000, -whole * 1000, where))
