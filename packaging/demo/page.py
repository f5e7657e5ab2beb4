"""The demo's page, on loopback: the page itself, a stream of what happens, and the buttons' orders. It knows what a
browser may ask for, and refuses everything else.

A page of another site must not be able to make load here, and a browser sends to 127.0.0.1 what any page tells it to:
so a request's Host is one of this machine's names (no other name that leads here), and an order carries the token that
stands in our page, which no page of another origin can read. Other users of this machine can load the page, as they
can ask the app: for them each crowd comes once at a time.
"""

import hmac
import json
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from visits import CROWDS

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = 1000  # events, for a page that is loaded later
STREAMS = 8  # pages at once
SILENCE = 5  # seconds after which a stream says that it is still there
POLL = 0.5  # seconds between two looks at the status
REFUSED = 'Only the page of the demo may ask for this.'


class Events:
    """What has happened, in order, for streams that each have read to a place of their own; and the latest status."""

    def __init__(self):
        self.changed = threading.Condition()
        self.began = time.monotonic()
        self.kept = deque(maxlen=KEPT)
        self.count, self.status, self.looks = 0, None, 0

    def now(self):
        """Milliseconds since the demo began."""
        return round((time.monotonic() - self.began) * 1000)

    def add(self, **event):
        with self.changed:
            self.count += 1
            self.kept.append({'number': self.count, 'at': self.now(), **event})
            self.changed.notify_all()

    def show(self, status):
        with self.changed:
            self.status = status
            self.looks += 1
            self.changed.notify_all()

    def wait(self, number, looks):
        """The events after that number, and the status if there is a newer one; nothing after a time of silence."""
        with self.changed:
            self.changed.wait_for(lambda: self.count > number or self.looks > looks, SILENCE)
            status = self.status if self.looks > looks else None
            return [event for event in self.kept if event['number'] > number], status, self.looks


class Page:
    """The server of the page: it lets crowds come, and looks at the status while a browser shows it."""

    def __init__(self, visits, events, status, words):
        self.visits, self.events, self.status = visits, events, status
        self.token = secrets.token_urlsafe(16)
        with open(f'{HERE}/page.html', encoding='utf-8') as file:
            self.text = file.read()
        for word, value in {'token': self.token, **words}.items():
            self.text = self.text.replace('{{' + word + '}}', value)
        self.lock = threading.Lock()
        self.here = set()
        self.streams = 0
        self.stopped = threading.Event()
        self.looking = threading.Thread(target=self.look, daemon=True)
        self.server = listening(type('PageHandler', (Handler,), {'page': self}))
        self.port = self.server.server_address[1]

    def start(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.looking.start()

    def stop(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self.looking.join()

    def look(self):
        while not self.stopped.wait(POLL):
            status = self.status() if self.streams else None
            if status:
                self.events.show(status)

    def order(self, name):
        """Lets a crowd come; False if it is here already."""
        with self.lock:
            if name in self.here:
                return False
            self.here.add(name)
        threading.Thread(target=self.send, args=(CROWDS[name],), daemon=True).start()
        return True

    def send(self, crowd):
        self.events.add(crowd=crowd.name, state='began')
        self.visits.come(crowd)
        # At once: a browser may order the next one as soon as it knows of this end.
        with self.lock:
            self.here.remove(crowd.name)
            self.events.add(crowd=crowd.name, state='ended')

    def enter(self):
        """Takes a place among the streams; False if there is none."""
        with self.lock:
            if self.streams == STREAMS:
                return False
            self.streams += 1
            return True

    def leave(self):
        with self.lock:
            self.streams -= 1


def told(events):
    """What visits tell, as events."""
    def tell(answer):
        fields = asdict(answer)
        fields['ms'] = round(fields.pop('seconds') * 1000, 1)
        events.add(**fields)
    return tell


def listening(handler):
    """A server at the first of the usual ports that is free, or at any."""
    for port in range(8080, 8100):
        try:
            return Loopback(('127.0.0.1', port), handler)
        except OSError:
            pass
    return Loopback(('127.0.0.1', 0), handler)


class Loopback(ThreadingHTTPServer):
    """Says nothing when a browser leaves in the middle of an answer."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    page = None
    timeout = 30  # seconds that a connection may be silent, or that an answer may wait to be taken
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        path, _, query = self.path.partition('?')
        if self.is_elsewhere():
            self.answer(403, 'This is a page of this machine: ask for it by 127.0.0.1 or localhost.')
        elif path == '/':
            self.answer(200, self.page.text, 'text/html')
        elif path == '/events':
            if self.has_token(query):
                self.stream()
            else:
                self.answer(403, REFUSED)
        else:
            self.answer(404, 'There is no such page.')

    def do_POST(self):
        name = self.path.removeprefix('/visits/')
        # A body is not read, so the connection can't be used again.
        self.close_connection = True
        if self.is_elsewhere() or not self.has_token(self.headers.get('X-Token', '')):
            self.answer(403, REFUSED)
        elif name not in CROWDS:
            self.answer(404, 'There is no such crowd.')
        elif self.page.order(name):
            self.answer(202, 'They come.')
        else:
            self.answer(409, 'They are here already.')

    def is_elsewhere(self):
        """The browser asks by a name that is not this machine's, or for a page of another origin."""
        host = self.headers.get('Host', '')
        origin = self.headers.get('Origin')
        return host.partition(':')[0] not in ('127.0.0.1', 'localhost') or origin not in (None, f'http://{host}')

    def has_token(self, word):
        return hmac.compare_digest(word.encode(), self.page.token.encode())

    def answer(self, status, text, media_type='text/plain'):
        body = text.encode()
        self.begin(status, media_type)
        self.send_header('Content-Length', str(len(body)))
        if self.close_connection:
            self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(body)

    def begin(self, status, media_type):
        self.send_response(status)
        self.send_header('Content-Type', f'{media_type}; charset=utf-8')
        self.send_header('Cache-Control', 'no-store')
        # Nothing from elsewhere is loaded, and no page of others shows this one in a frame.
        self.send_header(
            'Content-Security-Policy',
            f"default-src 'none'; script-src 'nonce-{self.page.token}'; style-src 'unsafe-inline'; img-src data:; "
            "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'")
        self.send_header('Cross-Origin-Resource-Policy', 'same-origin')
        self.send_header('Referrer-Policy', 'no-referrer')
        self.send_header('X-Content-Type-Options', 'nosniff')

    def stream(self):
        """Server-sent events until the browser leaves; after a broken connection from where it was."""
        if not self.page.enter():
            self.answer(409, 'The page is open too often.')
            return
        self.close_connection = True
        try:
            self.begin(200, 'text/event-stream')
            self.send_header('Connection', 'close')
            self.end_headers()
            self.send_events(int(self.headers.get('Last-Event-ID', '0')))
        except (OSError, ValueError):
            pass  # the browser has left, or what it says was not ours
        finally:
            self.page.leave()

    def send_events(self, number):
        events, looks = self.page.events, 0
        self.wfile.write(f'event: clock\ndata: {events.now()}\n\n'.encode())
        while True:
            new, status, looks = events.wait(number, looks)
            parts = [f'id: {event["number"]}\ndata: {json.dumps(event)}\n\n' for event in new]
            if status:
                parts.append(f'event: status\ndata: {json.dumps(status)}\n\n')
            number = new[-1]['number'] if new else number
            self.wfile.write(''.join(parts or [': still here\n\n']).encode())

    def log_message(self, *_):
        pass
