"""A WSGI application that keeps an exact record of each request and answers as the request asks.

The record is lines of `NAME VALUE` in the file that RECORD names, with `.` at its end: all of environ, all of
os.environ but for RECORD itself, and the message-body. It is there before the first byte of the response, and beside
it, so that HEAD and 304 have one too.

The header field X-Plan is lines of `NAME VALUE`, in hexadecimal digits so that no web server has an opinion of it:
status, field (as often as wanted), blocks (sizes), by (how they are given), reads (how the message-body is read).
"""

import os
import zlib


def shown(value):
    """A value as one line of ASCII: text exactly, objects by what they can do."""
    if isinstance(value, str):
        return value.encode('unicode_escape').decode('ascii')
    if isinstance(value, (bool, tuple)):
        return repr(value)
    return 'callable' if callable(value) else 'readable' if hasattr(value, 'read') else 'object'


def read(source, reads, length):
    """What was asked to be read of the message-body."""
    if reads == 'none':
        return b''
    if reads == 'half':
        return source.read(length // 2)
    if reads == 'blocks':
        return b''.join(iter(lambda: source.read(1000), b''))
    if reads == 'lines':
        return b''.join(source)
    if reads == 'exact':
        return source.read(length)
    return source.read()


def keep(environ, body):
    """Leaves the record, in one write."""
    lines = ['environ.%s %s' % (name, shown(value)) for name, value in environ.items()]
    lines += ['os.%s %s' % (name, shown(value)) for name, value in os.environ.items() if name != 'RECORD']
    lines += ['read %d bytes, crc32 %08x' % (len(body), zlib.crc32(body)), '.']
    with open(os.environ['RECORD'], 'ab', buffering=0) as record:
        record.write(''.join(line + '\n' for line in lines).encode('ascii'))


def application(environ, start_response):
    """See above."""
    plan = bytes.fromhex(environ['HTTP_X_PLAN']).decode('latin-1').split('\n')
    plan = [line.partition(' ')[::2] for line in plan]
    fields = [tuple(value.split(': ', 1)) for name, value in plan if name == 'field']
    plan = dict(plan)
    body = read(environ['wsgi.input'], plan['reads'], int(environ.get('CONTENT_LENGTH') or 0))
    keep(environ, body)
    # Each block says which it is and what was read, so that none can be lost, moved or another request's.
    sizes = [int(size) for size in plan['blocks'].split()]
    words = [b'%d:%08x.' % (number, zlib.crc32(body)) for number in range(len(sizes))]
    blocks = [(word * (size // len(word) + 1))[:size] for word, size in zip(words, sizes)]
    write = start_response(plan['status'], fields)
    if plan['by'] == 'write':
        for block in blocks:
            write(block)
        return []
    return blocks if plan['by'] == 'list' else iter(blocks)
