# Imports nothing: all other modules in sys.modules are the adaptor's.

import sys


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr(sorted(sys.modules)).encode()]
