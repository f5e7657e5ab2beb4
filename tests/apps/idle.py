#!/usr/bin/env -S python3 -I -X told=here
"""An SCGI server as one is written for systemd: it takes its socket by LISTEN_FDS, serves one request after the
other, and ends by itself when none has come for IDLE seconds. It says who it is and how it was started."""

import os
import select
import socket
import sys


def listener():
    """The socket, if it is really for this process."""
    if os.environ.get('LISTEN_PID') != str(os.getpid()):
        sys.exit('LISTEN_PID is %s, and this is %d' % (os.environ.get('LISTEN_PID'), os.getpid()))
    if os.environ.get('LISTEN_FDS') != '1':
        sys.exit('LISTEN_FDS is %s' % os.environ.get('LISTEN_FDS'))
    return socket.socket(fileno=3)


def header(stream):
    """The names and values of a request's header."""
    length = b''
    while not length.endswith(b':'):
        length += stream.read(1)
    words = stream.read(int(length[:-1])).split(b'\0')
    if stream.read(1) != b',' or words[0] != b'CONTENT_LENGTH' or words[-1]:
        raise ValueError('not an SCGI header: %r' % words)
    return {name.decode('latin-1'): value for name, value in zip(words[0:-1:2], words[1:-1:2])}


def serve(connection, number):
    with connection, connection.makefile('rb') as stream:
        meta = header(stream)
        body = stream.read(int(meta['CONTENT_LENGTH']))
        answer = b'%s %s %d bytes\n' % (meta['REQUEST_METHOD'], meta['PATH_INFO'], len(body))
        answer += b'request %d of %d\n' % (number, os.getpid())
        connection.sendall(b'Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n' + answer)


def main():
    # Its `#!` line has chosen the interpreter and its option.
    if not sys.flags.isolated or sys._xoptions.get('told') != 'here':
        sys.exit('not run by its first line: %s' % sys.orig_argv)
    door, number = listener(), 0
    while select.select([door], [], [], float(os.environ['IDLE']))[0]:
        number += 1
        serve(door.accept()[0], number)


main()
