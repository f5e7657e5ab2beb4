"""What the adaptor adds to the interpreter's own start when it runs an app as a CGI, in processor time: nothing in it
waits, and other load changes that less than the time on the clock. A figure is the median over all rounds, and what is
added is the median of the differences within a round. The adaptor's code is kept by the first run, and compiled in the
rows that say so or have no place."""

import os
import subprocess

import common
from common import CGI_ENVIRON, CLEAN, META, PYTHON
from figures import Budget, Result, Table, difference, interleave, median, number

TITLE = 'What the adaptor adds to the start of the interpreter'
LIMIT = 1.5  # ms


def measure(site):
    place = site.folder()
    app_file = site.app(place, 'app', program=f'{site.bin}/app-cgi')
    boot, source, digest = shipped_adaptor(site, place)
    header = os.memfd_create('header', 0)
    os.write(header, source)
    pairs = ''.join(f'{name}\0{value}\0' for name, value in [
        ('CONTENT_LENGTH', ''), ('SCGI', '1'), *((n, v) for n, v in META.items() if n != 'CONTENT_LENGTH')])
    os.write(header, f'{len(pairs)}:{pairs},'.encode())

    def adapted(kept):
        os.lseek(header, len(source), os.SEEK_SET)
        return once([PYTHON, '-c', boot, 'cgi', 'app', 'app_app:application', place, str(header), digest,
                     str(len(source)), kept], CLEAN)

    contenders = {
        'python3 -c pass': lambda: once([PYTHON, '-c', 'pass'], CLEAN, answers=False),
        'the adaptor, an app of three lines': lambda: adapted(place),
        'the same, before its code is kept': lambda: adapted(''),
        'app-cgi, its app file, the same app, no place': lambda: once([app_file], CGI_ENVIRON),
    }
    # First for .pyc files and caches.
    times = interleave(contenders, site.rounds(200, 10), warm_up=3)
    os.close(header)
    base, bare, *_ = times.values()
    rows = [('run as a CGI', 'ms of processor', 'added', 'ratio')]
    for name, figures in times.items():
        added = '' if figures is base else number(difference(figures, base))
        rows.append((name, number(median(figures)), added, number(median(figures) / median(base))))
    # The budget is the adaptor's, its code kept in the app's place; the last row has the start of the front as well,
    # and no place.
    budget = Budget('the adaptor, added to the start of the interpreter', LIMIT, difference(bare, base), unit=' ms')
    return Result([Table(TITLE, rows)], [budget])


def once(argv, environ, answers=True):
    """Its processor time in ms, what it writes going to a pipe, as under a web server."""
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_CLOSE, reader), (os.POSIX_SPAWN_CLOSE, writer)]
    pid = os.posix_spawn(argv[0], argv, environ, file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    os.close(writer)
    said = os.read(reader, 65536)
    os.close(reader)
    if status or answers != said.replace(b'\r', b'').endswith(b'\n\nhello\n'):
        common.fail(f'{argv[0]} does not answer: status {status}, {said!r}')
    return (used.ru_utime + used.ru_stime) * 1000


def shipped_adaptor(site, place):
    """What the installed program hands to the interpreter, here to one that only keeps it: the text of `-c`, the
    adaptor's source, and the words behind those that bench gives itself."""
    keeper = site.script(f'{place}/keeper', f'''#!/bin/sh
cat /proc/self/fd/"$7" >{place}/adaptor
printf '%s\\n' "$2" >{place}/boot
shift 12
printf '%s %s' "$1" "$2" >{place}/words
''')
    app_file = site.app(place, 'kept', program=f'{site.bin}/app-cgi', python=keeper)
    subprocess.run([app_file], env=CLEAN | META, check=True)
    with open(f'{place}/boot', encoding='utf-8') as file:
        boot = file.read()
    with open(f'{place}/words', encoding='utf-8') as file:
        digest, size = file.read().split()
    with open(f'{place}/adaptor', 'rb') as file:
        return boot, file.read()[:int(size)], digest
