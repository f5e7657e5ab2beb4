"""The pages of the matrix by every kind of app: a WSGI application; a CGI program, where REQUEST_METHOD is in the
environment; or an SCGI server, whose listening socket is its stdin. The pages are what clients need: a form with a
redirect behind it, bodies of requests and of responses, what was asked for.
"""

import hashlib
import os
import socket
import sys
from html import escape
from urllib.parse import parse_qs, quote

HTML = [('Content-Type', 'text/html; charset=utf-8')]
TEXT = [('Content-Type', 'text/plain; charset=utf-8')]
# With an icon of its own: a browser would ask the web server for one.
HEAD = '<!DOCTYPE html><title>a page</title><link rel="icon" href="data:,">'
# It submits itself, as if a person had pressed the button.
FORM = HEAD + """<form method="post" action="%s/form"><input name="name" value="Alice &amp; Bob">
<button>send</button></form><script>document.forms[0].submit()</script>
"""


def page(environ, read):
    """Status, fields and body; `read` gives the message-body."""
    script, path, query = (environ.get(name, '') for name in ('SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING'))
    method = environ['REQUEST_METHOD']
    if path == '/form' and method == 'POST':
        said = '%s/said?name=%s' % (script, quote(parse_qs(read().decode())['name'][0]))
        return '303 See Other', HTML + [('Location', said)], (HEAD + 'see there\n').encode()
    if path == '/form':
        return '200 OK', HTML, (FORM % escape(script)).encode()
    if path == '/said':
        name = escape(parse_qs(query)['name'][0])
        return '200 OK', HTML, (HEAD + '<p id="said">hello %s</p>\n' % name).encode()
    if path == '/digest':
        body = read()
        return '200 OK', TEXT, ('%s %d\n' % (hashlib.sha256(body).hexdigest(), len(body))).encode()
    if path == '/big':
        return '200 OK', TEXT, b'0123456789abcde\n' * (1 << 17)
    if path.startswith('/seen/'):
        field = environ.get('HTTP_X_TEST', 'none')
        return '200 OK', TEXT, ('%s %s %s %s\n' % (method, path, query, field)).encode('latin-1')
    return '404 Not Found', TEXT, b'no such page\n'


def application(environ, start_response):
    status, fields, body = page(environ, environ['wsgi.input'].read)
    start_response(status, fields)
    return [body]


def response(status, fields, body):
    """As a CGI program and an SCGI server write it."""
    lines = ['Status: ' + status] + ['%s: %s' % field for field in fields]
    return '\r\n'.join(lines + ['', '']).encode('latin-1') + body


def serve(listener):
    while True:
        connection = listener.accept()[0]
        with connection, connection.makefile('rb') as source:
            length = b''
            while not length.endswith(b':'):
                length += source.read(1)
            words = source.read(int(length[:-1]) + 1)[:-2].decode('latin-1').split('\0')
            environ = dict(zip(words[::2], words[1::2]))
            connection.sendall(response(*page(environ, lambda: source.read(int(environ['CONTENT_LENGTH'])))))


def run():
    if 'REQUEST_METHOD' not in os.environ:
        serve(socket.socket(fileno=0))
    length = int(os.environ.get('CONTENT_LENGTH') or 0)
    answer = response(*page(os.environ, lambda: sys.stdin.buffer.read(length)))
    if os.environ['REQUEST_METHOD'] == 'HEAD':
        answer = answer[:answer.index(b'\r\n\r\n') + 4]
    sys.stdout.buffer.write(answer)


if __name__ == '__main__':
    run()
