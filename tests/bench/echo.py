"""Echo daemons, and what a front costs against them: from spawn to reap, counted and timed by c/spawn.c."""

import glob
import os
import shutil
import subprocess

import common
from common import CGI_ENVIRON
from figures import median

# A contender with another answer was not served by the echo daemon.
BODY = 'hello\n'


class Front:
    """A program that a web server would start, and its environment."""

    def __init__(self, name, program, environ=None):
        self.name, self.program, self.environ = name, program, environ or CGI_ENVIRON


class Cost:
    """What a front costs, as medians: µs from spawn to reap, page faults, µs of its own processor time."""

    def __init__(self, runs):
        nanoseconds, faults, cpu = zip(*runs, strict=True)
        self.micros, self.faults, self.cpu = median(nanoseconds) / 1000, median(faults), median(cpu)


def spawn(site, fronts, rounds):
    """Runs fronts in turns; returns a Cost for each."""
    folder, argv = site.folder(), [site.c('spawn'), str(rounds), BODY]
    for number, front in enumerate(fronts):
        block = ''.join(f'{name}={value}\0' for name, value in front.environ.items())
        argv += [site.write(f'{folder}/{number}', block), front.program]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=common.CLEAN,
                          check=False, timeout=10 * common.PATIENCE, **site.as_user)
    if done.returncode:
        common.fail(done.stderr.decode(errors='replace').strip())
    runs = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    return [Cost([run[1:] for run in runs if run[0] == number]) for number in range(len(fronts))]


class Daemons:
    """Echo daemons where fronts look for theirs; what they leave there is taken away when the `with` ends."""

    def __init__(self, site):
        self.site, self.places = site, []
        # Places are told apart by it, in a directory that other apps of this user have theirs in.
        self.mark = os.path.basename(site.place).rpartition('.')[2].replace('_', 'x')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for place in self.places:
            shutil.rmtree(place)

    def script(self, kind='echo', speaks='scgi'):
        """An app file, with an echo daemon at its socket."""
        name = f'{kind}-{self.mark}'
        return self.behind(self.site.script(f'{self.site.folder()}/{name}.cgi', self.text()), name, speaks=speaks)

    def symlink(self):
        """The same by a symlink; returns it and the HOME with its configuration."""
        home, name = self.site.folder(), f'link-{self.mark}'
        folder = self.site.make(f'{home}/.config/polycgi')
        self.site.write(f'{folder}/{name}.conf', self.text().partition('\n')[2])
        os.symlink(f'{self.site.bin}/polycgi', f'{home}/{name}.cgi')
        return self.behind(f'{home}/{name}.cgi', name, home), home

    def text(self):
        return f'#!{self.site.bin}/polycgi -\ncgi = /bin/false\nmode = daemon\n'

    def behind(self, app, name, home='/', speaks='scgi'):
        """Starts the echo daemon in the real one's stead: only that knows where its fronts look."""
        environ = common.CLEAN | {'HOME': home}
        for word in 'start', 'stop':
            subprocess.run([f'{self.site.bin}/polycgi', word, app], env=environ, stdout=subprocess.DEVNULL, check=True,
                           timeout=common.PATIENCE, **self.site.as_user)
        place = self.place(name)
        self.places.append(place)
        common.wait_for(lambda: not os.path.exists(f'{place}/sock'), f'{place}/sock stays')
        self.site.serve([self.site.c('echo'), speaks, f'{place}/sock'], f'{place}/sock')
        return app

    def place(self, name):
        found = [place for base in (f'/run/polycgi/{self.site.uid}', f'/tmp/polycgi-{self.site.uid}')
                 for place in glob.glob(f'{base}/{name}*')]
        if len(found) != 1:
            common.fail(f'{len(found)} places of {name} where one is looked for')
        return found[0]

    def cgi2scgi(self):
        """cgi2scgi, with an echo daemon at its port."""
        address = common.free_address()
        self.site.serve([self.site.c('echo'), 'scgi', str(address[1])], address)
        return self.site.cgi2scgi(address[1])

    def cgi_fcgi(self):
        """A script of cgi-fcgi's, with an echo daemon that speaks FastCGI at its socket."""
        folder = self.site.folder()
        self.site.serve([self.site.c('echo'), 'fastcgi', f'{folder}/sock'], f'{folder}/sock')
        return self.site.script(f'{folder}/app', f'#!/usr/bin/cgi-fcgi -f\n-bind -connect {folder}/sock\n')
