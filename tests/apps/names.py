"""What an app sees of a request: the strings of environ, a line for each, sorted. It reads no body."""


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain; charset=latin-1')])
    lines = ['%s=%s\n' % pair for pair in sorted(environ.items()) if isinstance(pair[1], str)]
    return [''.join(lines).encode('latin-1')]
