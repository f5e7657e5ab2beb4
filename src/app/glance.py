# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: HEADER from board.py.
# Gives: FRONT, Glance.
#
# Which headers a worker may serve that it has read itself: those that need no more than a glance. It knows SCGI and the
# names of meta-variables; it refuses to know connections. The rules for all other headers are the daemon's (src/cgi,
# src/scgi).

FRONT = 'front'  # a kind of listener: the socket in the app's place
MOST_NAMES = 1000
NOT_MOUNTED = '-'  # in place of a mount, which is empty or begins with a slash
PROTOCOL = '1'  # of src/handoff.rs

# What every client may send, of src/cgi/meta.rs.
KNOWN_NAMES = frozenset((
    'CONTENT_LENGTH', 'CONTENT_TYPE', 'DOCUMENT_ROOT', 'DOCUMENT_URI', 'GATEWAY_INTERFACE', 'HTTPS', 'PATH_INFO',
    'PATH_TRANSLATED', 'QUERY_STRING', 'REMOTE_ADDR', 'REMOTE_HOST', 'REMOTE_IDENT', 'REMOTE_PORT', 'REQUEST_METHOD',
    'REQUEST_SCHEME', 'REQUEST_URI', 'SCGI', 'SCRIPT_FILENAME', 'SCRIPT_NAME', 'SERVER_ADDR', 'SERVER_NAME',
    'SERVER_PORT', 'SERVER_PROTOCOL', 'SERVER_SOFTWARE', 'UNIQUE_ID'))
# Fields that say something of the length or of this process.
ODD_FIELDS = frozenset(('HTTP_', 'HTTP_CONTENT_LENGTH', 'HTTP_PROXY', 'HTTP_TRANSFER_ENCODING'))


class Glance:
    """What a header may be; `names` grows with the fields that were seen."""

    def __init__(self, limit, mount, status_path):
        """limit: of the header, in bytes, as text. mount: `mount`, or NOT_MOUNTED. status_path: or empty."""
        self.limit, self.status_path = min(int(limit), HEADER), status_path or None
        self.mount = None if mount == NOT_MOUNTED else mount
        self.names = set(KNOWN_NAMES)

    def is_plain(self, call):
        """Whether the header is one that needs no more than a glance. Sets what the application is to see."""
        data = call.data
        colon = data.find(b':', 0, 6)
        size = data[:colon]
        if colon < 1 or not size.isdigit() or size[:1] == b'0' or int(size) > self.limit:
            return False
        if len(data) != colon + int(size) + 2 or data[-2:] != b'\0,':
            return False
        meta = data[colon + 1:-2].decode('latin-1')
        words = meta.split('\0')
        names = words[::2]
        environ = dict(zip(names, words[1::2]))
        if len(words) % 2 or len(environ) < len(names) or names[0] != 'CONTENT_LENGTH':
            return False
        if environ['CONTENT_LENGTH'] not in ('', '0') or environ.get('SCGI') != '1':
            return False
        if call.listener.kind == FRONT and names[2:3] == ['POLYCGI']:
            is_plain = call.is_front = len(call.passed) == 3 and self.is_plain_front(names, environ)
        else:
            is_plain = not call.passed and self.is_plain_client(names, environ)
            if is_plain and 'GATEWAY_INTERFACE' not in environ:
                environ['GATEWAY_INTERFACE'] = 'CGI/1.1'
        if is_plain and self.mount is not None:
            is_plain = divide_by_mount(environ, self.mount)
        if self.status_path is not None and environ.get('PATH_INFO') == self.status_path:
            return False
        call.meta, call.environ = meta, environ
        call.is_apache = environ.get('SERVER_SOFTWARE', '')[:7] in ('Apache', 'Apache/')
        return is_plain

    def is_plain_front(self, names, environ):
        if environ['POLYCGI'] != PROTOCOL:
            return False
        if environ.get('REDIRECT_STATUS', '200') != '200' or '' in environ or '=' in ''.join(names):
            return False
        return not ('HTTP_TRANSFER_ENCODING' in environ or 'HTTP_PROXY' in environ or 'POLYCGI_CONTROL' in environ)

    def is_plain_client(self, names, environ):
        if not self.names.issuperset(names):
            for name in names:
                if name not in self.names:
                    if name[:5] != 'HTTP_' or name in ODD_FIELDS or '=' in name:
                        return False
                    if len(self.names) < MOST_NAMES:
                        self.names.add(name)
        return self.mount is not None or divide(environ)


def divide(environ):
    """Divides the path where a web server's SCGI module has not: the most usual rows of src/cgi/edge.rs. False: it is
    another row."""
    if 'PATH_INFO' in environ:
        return environ.get('SCRIPT_FILENAME', '')[:6] != 'proxy:'
    if environ.get('SCRIPT_NAME') or not environ.get('DOCUMENT_URI') or 'PATH_TRANSLATED' in environ:
        return False
    environ['PATH_INFO'] = environ['DOCUMENT_URI']
    return True


def divide_by_mount(environ, mount):
    """Divides the path behind the mount, as src/cgi/script.rs does. False: the path has to be decoded or resolved for
    that, or is not below the mount."""
    path = environ.get('REQUEST_URI', '').partition('?')[0]
    found = environ.get('DOCUMENT_URI') or environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
    if path != found or '%' in path or '#' in path or '//' in path or '/.' in path or 'PATH_TRANSLATED' in environ:
        return False
    rest = path[len(mount):]
    if path[:1] != '/' or path[:len(mount)] != mount or rest[:1] not in ('', '/'):
        return False
    environ['SCRIPT_NAME'], environ['PATH_INFO'] = mount, rest
    return True
