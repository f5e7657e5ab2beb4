# Imports nothing that is not there: what else is in sys.modules is the adaptor's.

import sys


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr(sorted(sys.modules)).encode()]
