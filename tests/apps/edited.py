"""The WSGI application that the tests edit while it is served: it answers with what its modules say, and notes each
import in the file `imports`. What is edited is `version`, and `lazy`, which is imported in a request."""

import os

import version

HERE = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(HERE, 'imports'), 'a') as imports:
    imports.write('%d %s\n' % (os.getpid(), version.VERSION))


def application(environ, start_response):
    """`VERSION PID`; or what lazy says (`/lazy`), or os.environ's NAME (`/name`), instead of the version."""
    path = environ['PATH_INFO']
    said = version.VERSION
    if path == '/lazy':
        import lazy
        said = lazy.VERSION
    elif path == '/name':
        said = os.environ.get('NAME', 'none')
    body = ('%s %d\n' % (said, os.getpid())).encode('ascii')
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
