# Makes sockets at its import to which a fork does no harm, and sets a default time-out that must not reach ours.

import os
import signal
import socket

from pep import application

near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen()
socket.setdefaulttimeout(0.001)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('printed at import')
hooks = []
os.register_at_fork(before=lambda: hooks.append('before'), after_in_child=lambda: hooks.append('child'))


def told(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((hooks, os.getpid() == os.getpgid(0))).encode()]
