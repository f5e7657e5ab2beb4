# Requests that do not end, or leave a process that should.

import atexit
import os
import signal
import sys
import threading
import time

TEXT = [('Content-Type', 'text/plain')]
kept = []


def application(environ, start_response):
    """PATH_INFO names one of those below; QUERY_STRING is the path of a FIFO that can be opened for
    reading once the request has begun."""
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)


def begun(environ):
    with open(environ['QUERY_STRING'], 'wb'):
        pass


def sleep():
    while True:
        time.sleep(1)  # handlers of signals run meanwhile


def in_the_app(environ, start_response):
    try:
        begun(environ)
        sleep()
    finally:
        environ['wsgi.errors'].write('finally\n')


def in_a_thread(environ, start_response):
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    begun(environ)
    thread.join()


def in_the_body(environ, start_response):
    begun(environ)
    environ['wsgi.input'].read()


def in_a_block(environ, start_response):
    start_response('200 OK', TEXT)

    class Blocks:
        def __iter__(self):
            yield b'first'
            begun(environ)
            sleep()

        def close(self):
            environ['wsgi.errors'].write('close()\n')
    return Blocks()


def in_close(environ, start_response):
    start_response('200 OK', TEXT)

    class Blocks:
        def __iter__(self):
            yield b'first'

        def close(self):
            begun(environ)
            sleep()
    return Blocks()


class LastWords:
    """Each waits for a writer of the FIFO, and then for a reader. In the other order it could find the last reader,
    which has just read the end of the line before."""

    def __init__(self, path, words):
        self.path, self.words = path, words

    def say(self, os=os):
        for flags in os.O_RDONLY, os.O_WRONLY:
            os.close(os.open(self.path, flags))
        os.write(2, self.words)


class LastOfAll(LastWords):
    __del__ = LastWords.say


def has_last_words(environ, start_response):
    atexit.register(LastWords(environ['QUERY_STRING'], b'at exit\n').say)
    # Python drops this when it exits, which it does not promise for other objects.
    sys.modules['kept'] = type(sys)('kept')
    sys.modules['kept'].object = LastOfAll(environ['QUERY_STRING'], b'last of all\n')
    start_response('200 OK', TEXT)
    begun(environ)
    return [b'never']


def ends_a_child():
    pid = os.fork()
    if not pid:
        sleep()
    os.kill(pid, signal.SIGTERM)
    os.write(2, b'a child ended: %d\n' % os.waitpid(pid, 0)[1])


def goes_on(environ, start_response):
    """Answers, and has more to do: in a thread, at its exit, as its objects go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('cut'))
    path = environ['QUERY_STRING']
    sys.modules['kept'] = type(sys)('kept')
    sys.modules['kept'].object = LastOfAll(path, b'last of all\n')
    atexit.register(LastWords(path, b'at exit\n').say)
    atexit.register(ends_a_child)
    threading.Thread(target=LastWords(path, b'thread\n').say).start()
    start_response('200 OK', TEXT)
    return [b'all is well']


def caught(environ, start_response):
    """Catches the exception by which it is ended, and answers."""
    try:
        begun(environ)
        sleep()
    except BaseException:
        pass
    start_response('200 OK', TEXT)
    return [b'all is well']


def takes_sigterm(environ, start_response):
    read, write = os.pipe()
    before = signal.signal(signal.SIGTERM, lambda *_: os.close(write))
    begun(environ)
    os.read(read, 1)
    signal.signal(signal.SIGTERM, before)
    start_response('200 OK', TEXT)
    return [b'all is well']


def writes(environ, start_response):
    """Waits until the reader of its FIFO is gone, and then writes."""
    start_response('200 OK', TEXT)
    try:
        yield b'first'
        gate = os.open(environ['QUERY_STRING'], os.O_WRONLY)
        while True:
            try:
                os.write(gate, b'x')
            except BrokenPipeError:
                break
        yield b'second'
    finally:
        environ['wsgi.errors'].write('closed\n')


def quick(environ, start_response):
    start_response('200 OK', TEXT)
    return [b'quick']


def grows(environ, start_response):
    kept.append(b'x' * (int(environ['QUERY_STRING']) << 20))
    start_response('200 OK', TEXT)
    return [b'grown']


def burns(environ, start_response):
    """CPU time, in seconds, as RLIMIT_CPU counts it: process_time() may be a sixth more or less."""
    clock = -8
    end = time.clock_gettime(clock) + float(environ['QUERY_STRING'])
    while time.clock_gettime(clock) < end:
        pass
    start_response('200 OK', TEXT)
    return [b'burnt']


def slow_but_alive(environ, start_response):
    """A block each half second."""
    start_response('200 OK', TEXT)
    for turn in range(5):
        yield b'%d' % turn
        time.sleep(0.5)


def takes_alarm(environ, start_response):
    """Has its own use for SIGALRM, beyond the request."""
    signal.signal(signal.SIGALRM, lambda *_: kept.append('alarm'))
    signal.alarm(1)
    start_response('200 OK', TEXT)
    return [b'taken']


def alarmed(environ, start_response):
    while not kept:
        time.sleep(0.01)
    start_response('200 OK', TEXT)
    return [repr(kept).encode()]
