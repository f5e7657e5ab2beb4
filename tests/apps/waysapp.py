"""An application whose routes are each right as a plain CGI and wrong in a daemon, by one bug each, or the other way
round; and routes that are right in both."""
import locale
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VISITS = []
CACHE = {}
OPEN = []


def right():
    return 'always the same\n'


def nonce():
    return '<p id="same">\n<script nonce="%016x">\n%.6f\n' % (random.getrandbits(64), time.time())


def unordered():
    return '%s\n' % set('abcdefgh')


def relative():
    text = open('waysapp.py').readline()
    os.chdir('/')
    return text


def survives():
    VISITS.append(1)
    return 'visit\n%d\nof yours\n' % len(VISITS)


def variable():
    return 'FROM_CLIENT: %s\n' % os.environ.get('WAYS_MISSING', 'is missing')


def unclosed():
    OPEN.append(open(__file__))
    return '%d files open\n' % len(OPEN)


def prints():
    print('this was printed')
    return 'printed\n'


def speaks():
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, 'C')
    return 'LC_CTYPE %s\n' % before


def masks():
    return 'umask %o\n' % os.umask(0o077)


def caches():
    CACHE[len(CACHE)] = 'x' * 100
    return '%d kept\n' % len(CACHE)


def hoards():
    CACHE[len(CACHE)] = bytearray(1000)
    return 'always the same\n'


def works():
    return '%d\n' % sum(busy(number) for number in range(300))


def busy(number):
    return sum(range(number))


ROUTES = {function.__name__: function for function in (
    right, nonce, unordered, relative, survives, variable, unclosed, prints, speaks, masks, caches, hoards, works)}


def application(environ, start_response):
    name = environ['PATH_INFO'].strip('/')
    if name == 'fields':
        VISITS.append(1)
        start_response('200 OK' if len(VISITS) == 1 else '202 Accepted', [
            ('Content-Type', 'text/plain'), ('Set-Cookie', 'id=%x' % random.getrandbits(64)),
            ('X-Visits', str(len(VISITS)))])
        return [b'fields\n']
    if name == 'echo':
        body = environ['wsgi.input'].read()
        text = '%s %s %s' % (environ['REQUEST_METHOD'], environ.get('HTTP_X_WORD'), body.decode())
    else:
        text = ROUTES[name]()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text.encode()]
