"""Two modules that must agree, as after a `git pull`. While the file `pulling` is there the import is not yet over, so
that no import lies between the first module's change and the second's."""

import os
import time

import left

PULLING = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'pulling')
while os.path.exists(PULLING):
    time.sleep(0.01)

import right  # noqa: E402


def application(environ, start_response):
    """`LEFT RIGHT`."""
    body = ('%s %s\n' % (left.VERSION, right.VERSION)).encode('ascii')
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
