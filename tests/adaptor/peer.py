# The tests of the adaptor (src/app/*.py) in interpreters of their own, without the program: this file is what a test
# begins with, and the guide to the others.
#
# To write one: a method `test_...` of a class of `peer.Case`, in the file whose first line is about it.
#
#     class Echo(peer.Case):
#         def test_echo(self):
#             for way in self.both('pep:application'):       # as a CGI, and in the pool
#                 response = self.ask(way, '/echo', body=b'hello')
#                 self.assertEqual((response.status, response.body), ('200 OK', b'hello'))
#
# What starts what:
#   self.cgi(target)    adaptor.Cgi: one interpreter for each request, as the front becomes it
#   self.pool(target)   pool.Pool: plays the daemon to one zygote and its workers; `up()` waits until it is ready
#   self.both(target)   these two
#   self.client(body)   client.Client: a web server's pipes, socket or file
#   self.ask(way, ...)  a whole request: a client, `way.start`, `client.talk`, `way.finish`; a client.Response, which has
#                       the worker's stderr and its last word, too
# A target is `module:callable` of tests/adaptor/apps. The parts of `ask` are there for tests that look in between.
#
# What waits: `talk`, for the response's end or for some bytes; `Pool.hear` and `Worker.hear`, for the next message;
# `finish`, for the request's end. A test that has to wait for an application gives it a FIFO. None of these has a
# deadline of its own: the alarm of the test ends them, after DEADLINE seconds, more where the machine is busy.
#
# What is cleaned: all that `self.cgi`, `self.pool` and `self.client` have made. Then every process that the test has
# started must have ended, a daemonised one too: one that stays fails the test by its deadline.
#
# As whom: the user who runs the tests. Some tests need another one, since no limit of processes holds root: as root they
# use the user `nobody`.

import os
import signal
import subprocess
import sys
import time
import unittest

# Some are here for the tests alone, which import this file only.
from adaptor import APPS, CGI_SOURCE, ENVIRON, PARTS, PYTHON, SOURCE, TRIAL_SOURCE, Cgi, lines, pages, source
from client import Client, Response, netstring
from pool import GONE, LIBC, OVERDUE, Pool, ask_where

DEADLINE = 60  # seconds for any one test where nothing else runs
SPAWN = 0.04  # seconds that an interpreter's start and end take there, at most
PR_SET_CHILD_SUBREAPER = 36


def strain():
    """How many times longer things take at this moment, by what a spawn costs now: 1 to 6."""
    began = time.monotonic()
    subprocess.check_call([sys.executable, '-I', '-S', '-c', 'pass'])
    return min(max((time.monotonic() - began) / SPAWN, 1), 6)


class Case(unittest.TestCase):
    """A test with a deadline, and nothing left behind."""

    def setUp(self):
        signal.signal(signal.SIGALRM, self.too_late)
        # Again every 2 s, for what hangs in the clean-up.
        self.deadline = DEADLINE * strain()
        signal.setitimer(signal.ITIMER_REAL, self.deadline, 2)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        # We are the subreaper: whatever the adaptor and its applications started ends up here.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.addCleanup(self.reap)

    def reap(self):
        """Waits until no process is left; the deadline ends a wait for one that stays."""
        try:
            while True:
                os.wait()
        except ChildProcessError:
            pass  # all gone

    def too_late(self, *_):
        raise TimeoutError('a test took more than %d s' % self.deadline)

    def cgi(self, target, **options):
        way = Cgi(target, **options)
        self.addCleanup(way.close)
        return way

    def pool(self, target, **options):
        way = Pool(target, **options)
        self.addCleanup(way.close)
        return way

    def both(self, target):
        return self.cgi(target), self.pool(target).up()

    def client(self, *args, **options):
        client = Client(*args, **options)
        self.addCleanup(client.hang_up)
        return client

    def ask(self, way, path='/', body=b'', kind='pipes', length=None, body_first=False, **meta):
        """One request and its whole response."""
        client = self.client(body, kind, length)
        if client.length:
            meta.setdefault('CONTENT_LENGTH', str(client.length))
            meta.setdefault('REQUEST_METHOD', 'POST')
        way.start(client, dict(meta, PATH_INFO=path))
        raw = client.talk(body_first=body_first)
        client.hang_up()
        return Response(raw, way.finish(), way.word)
