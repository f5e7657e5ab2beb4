# For slow clients: large blocks, and waits between them.

import hashlib
import os
import random

TEXT = [('Content-Type', 'text/plain')]


def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)


def twice(environ, start_response):
    """A large block, a wait at a FIFO for the test, a small block; three times."""
    start_response('200 OK', TEXT)
    for turn in range(3):
        yield b'%d' % turn * 3000000
        yield b'end of %d' % turn
        with open(environ['QUERY_STRING'], 'rb') as gate:
            gate.read()
        yield b'small %d' % turn


def held(environ, start_response):
    """Waits at a FIFO for the test before it begins."""
    with open(environ['QUERY_STRING'], 'rb') as gate:
        gate.read()
    start_response('200 OK', TEXT)
    return [b'held']


def forks(environ, start_response):
    """The descriptors of a child that are a client's, the daemon's or of an unlinked file."""
    start_response('200 OK', TEXT)
    yield b'x' * 3000000
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        links = {}
        for name in os.listdir('/proc/self/fd'):
            try:
                links[int(name)] = os.readlink('/proc/self/fd/' + name)
            except OSError:
                pass  # that of the listing
        left = [link for fd, link in sorted(links.items())
                if fd > 2 and fd not in (read, write)
                and not link.startswith(('/proc/', '/memfd:page'))]  # a map needs no descriptor
        os.write(write, repr(left).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    yield os.read(read, 65536)


def blocks(environ, start_response):
    """Blocks of many sizes, QUERY_STRING is the seed, and at the end what they sum up to."""
    start_response('200 OK', TEXT)
    chance, sum = random.Random(environ['QUERY_STRING']), hashlib.sha1()
    for turn in range(300):
        block = os.urandom(1 << chance.choice((1, 4, 8, 12, 13, 16, 18)))
        sum.update(block)
        yield block
    yield sum.hexdigest().encode()
    yield b'the end'
