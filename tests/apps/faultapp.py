"""The WSGI application whose routes go wrong, are slow, or say something out of turn: what each does, and nothing
about how it is served. What a test wants to know afterwards is left as a line in the file `marks` beside this one.

`application` has the routes below and those of testapp.
"""

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from testapp import BLOCK, HERE, bare, blocks, digest, pass_gate, query, text


def leave_mark(line):
    """Appends a line to `marks`."""
    with open(os.path.join(HERE, 'marks'), 'a') as marks:
        marks.write(line + '\n')


def number(environ, name, default):
    return int(query(environ).get(name, default))


def start_helper(name):
    """A process of this group that says its pid at the gate, and waits there for ever."""
    subprocess.Popen(['/bin/sh', '-c', 'echo $$ >"$0.entered"; read line <"$0.go"', name], cwd=HERE,
                     stdin=subprocess.DEVNULL)


def stuck(environ, start_response):
    """Never returns (`?how=`), and writes its pid to the gate first, if there is one (`&gate=`).
    sleep: a finally clause runs when it is told to end. finally: it is stuck there once more. masked: SIGTERM is not
    let in. deaf: no signal is. c: in C, with the interpreter's lock. late: after the first block."""
    asked = query(environ)
    if 'gate' in asked:
        with open(os.path.join(HERE, asked['gate'] + '.entered'), 'w') as entered:
            entered.write('%d\n' % os.getpid())
    if 'helper' in asked:
        start_helper(asked['helper'])
    how = asked['how']
    if how == 'late':
        start_response('200 OK', [('Content-Type', 'text/plain')])

        def lines():
            yield b'first\n'
            sleep_for_ever()
        return lines()
    if how == 'sleep':
        try:
            sleep_for_ever()
        finally:
            leave_mark('finally')
    if how == 'finally':
        try:
            sleep_for_ever()
        finally:
            sleep_for_ever()
    if how in ('deaf', 'masked'):
        signals = signal.valid_signals() if how == 'deaf' else [signal.SIGTERM]
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        sleep_for_ever()
    if how == 'c':
        # A lock that one thread takes twice: it waits for itself, and no signal ends that.
        lock, mutex = ctypes.PyDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
        lock(mutex)
        lock(mutex)
    raise ValueError('not a way to be stuck: %r' % how)


def sleep_for_ever():
    while True:
        time.sleep(3600)


def drip(environ, start_response):
    """`?count=N` numbered lines, with a pause (`&ms=`) before each but the first."""
    count, pause = number(environ, 'count', 1), number(environ, 'ms', 0) / 1000
    start_response('200 OK', [('Content-Type', 'text/plain')])

    def lines():
        for n in range(count):
            if n:
                time.sleep(pause)
            yield b'%d\n' % n
    return lines()


def sip(environ, start_response):
    """Reads the message-body in blocks of 64 kB with a pause (`?ms=`) before each; answers with the length."""
    pause, length = number(environ, 'ms', 0) / 1000, 0
    while True:
        time.sleep(pause)
        block = environ['wsgi.input'].read(BLOCK)
        if not block:
            break
        length += len(block)
    return text(start_response, '%d\n' % length)


def gated_digest(environ, start_response):
    """Waits at a gate (`?gate=`), and only then reads the message-body."""
    pass_gate(query(environ)['gate'])
    return digest(environ, start_response)


def burst(environ, start_response):
    """`?size=BYTES` of numbered blocks, then twice a gate and a line; no length in the head."""
    size, gate = number(environ, 'size', 0), query(environ)['gate']
    start_response('200 OK', [('Content-Type', 'application/octet-stream')])

    def pieces():
        yield from blocks(size)
        pass_gate(gate)
        yield b'one\n'
        pass_gate(gate)
        yield b'two\n'
    return pieces()


def counted(environ, start_response):
    """`?size=BYTES` of numbered blocks, and a mark when the last was taken from the application."""
    size = number(environ, 'size', 0)
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', str(size))])

    def pieces():
        yield from blocks(size)
        leave_mark('all taken')
    return pieces()


class Endless:
    """A result of many small blocks; says at close() whether it was asked for all of them."""

    def __init__(self, name, most):
        self.name, self.most, self.asked = name, most, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.asked:
            time.sleep(0.02)
        else:
            with open(os.path.join(HERE, self.name + '.entered'), 'w') as entered:
                entered.write('%d\n' % os.getpid())
        if self.asked == self.most:
            raise StopIteration
        self.asked += 1
        return b'%07d\n' % self.asked

    def close(self):
        leave_mark('%s %s' % (self.name, 'exhausted' if self.asked == self.most else 'closed'))


def endless(environ, start_response):
    """Small blocks for ten seconds, which a pipe holds without a reader (`?gate=` is told at the first)."""
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return Endless(query(environ)['gate'], 500)


def grow(environ, start_response):
    """Keeps `?size=BYTES` more, written to, for as long as the process lives."""
    KEPT.append(bytearray(b'x') * number(environ, 'size', 0))
    return text(start_response, '%d\n' % os.getpid())


KEPT = []


def burn(environ, start_response):
    """Uses the processor for `?ms=`, by its own clock."""
    end = time.process_time() + number(environ, 'ms', 0) / 1000
    while time.process_time() < end:
        pass
    return text(start_response, '%d\n' % os.getpid())


def end(environ, start_response):
    """Comes to an end (`?how=`), after a first block of the message-body if `&late=` is there. Tells its pid at the
    gate first (`&gate=`)."""
    asked = query(environ)

    def now():
        pass_gate(asked['gate'])
        how = asked['how']
        if how == 'exit':
            sys.exit(3)
        if how == '_exit':
            os._exit(3)
        if how == 'segv':
            ctypes.string_at(1)
        if how == 'abort':
            os.abort()
        if how == 'memory':
            bytearray(1 << 60)
        if how == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError('not a way to end: %r' % how)

    if 'late' not in asked:
        now()
    start_response('200 OK', [('Content-Type', 'text/plain')])

    def lines():
        yield b'first\n'
        now()
    return lines()


def noise(environ, start_response):
    """A line to standard error in each of the ways there are."""
    sys.stderr.write('noise of sys.stderr\n')
    environ['wsgi.errors'].write('noise of wsgi.errors\n')
    os.write(2, b'noise of os.write\n')
    libc = ctypes.CDLL(None)
    libc.dprintf(2, b'noise of C\n')
    subprocess.call(['/bin/sh', '-c', 'echo noise of a child >&2'])
    print('noise of print', flush=True)
    return text(start_response, 'noisy\n')


def later(environ, start_response):
    """Answers, and once a gate is passed (`?gate=`) a thread writes a line to standard error; at exit one more."""
    def speak():
        pass_gate(query(environ)['gate'])
        os.write(2, b'words of a ')
        os.write(2, b'thread\n')
    threading.Thread(target=speak, daemon=True).start()
    atexit.register(sys.stderr.write, 'words at exit\n')
    return text(start_response, 'later\n')


def flood(environ, start_response):
    """`?size=BYTES` of numbered lines to standard error, then the answer."""
    size = number(environ, 'size', 0)
    for n in range(size // 16):
        os.write(2, b'%015d\n' % n)
    return text(start_response, 'flooded\n')


def last_words(environ, start_response):
    """Writes a line to standard error, and half of one; then it waits at a gate (`?gate=`)."""
    os.write(2, b'last words\nand no')
    pass_gate(query(environ)['gate'])
    return text(start_response, 'not the last\n')


ROUTES = {
    'burn': burn, 'burst': burst, 'counted': counted, 'drip': drip, 'end': end, 'endless': endless, 'flood': flood,
    'gated-digest': gated_digest, 'grow': grow, 'last-words': last_words, 'later': later, 'noise': noise, 'sip': sip, 'stuck': stuck,
}


def application(environ, start_response):
    """The routes, by the first part of PATH_INFO."""
    name = (environ.get('PATH_INFO', '') + '/').split('/')[1]
    return ROUTES.get(name, bare)(environ, start_response)
