# A client of the adaptor, as a web server is one: the ends of two pipes, or of a socket, and the response that came. It
# knows no message between daemon and worker.

import os
import select
import socket
import tempfile


def netstring(meta):
    """The header of a request: meta-variables as a dict of str."""
    pairs = {'CONTENT_LENGTH': '', 'SCGI': '1', 'REQUEST_METHOD': 'GET', 'SERVER_NAME': 'localhost',
             'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '/app', 'PATH_INFO': '/',
             'QUERY_STRING': ''}
    pairs.update(meta)
    content = b''.join(name.encode() + b'\0' + value.encode('latin-1') + b'\0'
                       for name, value in pairs.items() if value is not None)
    return b'%d:%s,' % (len(content), content)


def outline(status, text=b'', media_type='text/plain'):
    """What the front leaves of a page: a beginning, the rest of the head, what stands around a reason, the end."""
    start = 'Status: %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: ' % (status, media_type)
    return b'\0'.join((start.encode(), b'\r\nCache-Control: no-store\r\n\r\n' + text, b'(', b')', b'\n'))


class Response:
    def __init__(self, raw, stderr=b'', word=None):
        self.raw, self.stderr, self.word = raw, stderr.decode(), word
        head, _, self.body = raw.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        self.fields = [tuple(line.split(': ', 1)) for line in lines if ': ' in line]
        self.status = dict(self.fields).get('Status')

    def __repr__(self):
        return '%r, stderr: %s' % (self.raw[:300], self.stderr)


class Client:
    """A client's ends of two pipes or of one socket, and the ends for the adaptor until it has them."""

    def __init__(self, body=b'', kind='pipes', length=None):
        self.body = memoryview(body)
        self.length = len(body) if length is None else length
        self.received = bytearray()
        if kind == 'pipes':
            self.theirs_in, self.to = os.pipe()
            self.of, self.theirs_out = os.pipe()
        elif kind in ('socket', 'tcp'):  # fds 0 and 1 are one, as under mod_cgid
            if kind == 'socket':
                ours, theirs = socket.socketpair()
            else:
                with socket.create_server(('127.0.0.1', 0)) as listener:
                    ours = socket.create_connection(listener.getsockname())
                    theirs, _ = listener.accept()
            self.to = ours.detach()
            self.of = os.dup(self.to)
            self.theirs_in = theirs.detach()
            self.theirs_out = os.dup(self.theirs_in)
        else:  # a file, as under lighttpd
            with tempfile.TemporaryFile() as file:
                file.write(body)
                file.seek(0)
                self.theirs_in = os.dup(file.fileno())
            self.to = os.open(os.devnull, os.O_WRONLY)
            self.of, self.theirs_out = os.pipe()
        for fd in self.to, self.of:
            os.set_blocking(fd, False)

    def started(self):
        """Closes the adaptor's ends here: by now it has its own copies."""
        os.close(self.theirs_in)
        os.close(self.theirs_out)

    def talk(self, until=None, body_first=False, patience=None):
        """Writes the body and reads the response, until it has the bytes `until` or ends. body_first:
        reads nothing before all is written. patience: seconds after which a standstill is an error."""
        poller = select.poll()
        if self.body:
            poller.register(self.to, select.POLLOUT)
        reading = not (body_first and self.body)
        if reading:
            poller.register(self.of, select.POLLIN)
        while until is None or until not in self.received:
            events = poller.poll(patience and 1000 * patience)
            if not events:
                raise TimeoutError('neither side moves')
            for fd, _ in events:
                if fd == self.to and self.body:
                    try:
                        self.body = self.body[os.write(self.to, self.body[:65536]):]
                    except BlockingIOError:
                        pass  # less room than asked for
                    except (BrokenPipeError, ConnectionResetError):
                        self.body = self.body[:0]
                    if not self.body:
                        if self.to != self.of:
                            poller.unregister(self.to)
                        if not reading:
                            poller.register(self.of, select.POLLIN)
                            reading = True
                if fd == self.of:
                    try:
                        data = os.read(self.of, 1 << 20)
                    except BlockingIOError:
                        continue
                    except ConnectionResetError:  # it closed with bytes of ours unread
                        data = b''
                    if not data:
                        return bytes(self.received)
                    self.received += data
        return bytes(self.received)

    def hang_up(self):
        for name in 'to', 'of':
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
