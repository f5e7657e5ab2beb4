"""An SCGI server, and a CGI beside it in heads.sh, that answers with the bytes of a file: which, say the last two parts
of the path. It listens on its fd 0, or at the path that it is given.
"""
import os
import socket
import sys
import threading

HEADS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, 'heads')


def listener():
    if len(sys.argv) == 1:
        return socket.socket(fileno=0)
    found = socket.socket(socket.AF_UNIX)
    # It is there once it listens.
    found.bind(sys.argv[1] + '.new')
    os.chmod(sys.argv[1] + '.new', 0o666)
    found.listen(64)
    os.rename(sys.argv[1] + '.new', sys.argv[1])
    return found


def answer(connection):
    with connection, connection.makefile('rb') as stream:
        digits = b''
        while not digits.endswith(b':'):
            digits += stream.read(1)
        words = stream.read(int(digits[:-1]) + 1).split(b'\0')
        header = dict(zip(words[::2], words[1::2]))
        path = header.get(b'SCRIPT_NAME', b'') + header.get(b'PATH_INFO', b'')
        path = path or header[b'DOCUMENT_URI']
        name, number = path.decode().split('/')[-2:]
        with open(os.path.join(HEADS, name, number.strip(' s')), 'rb') as head:
            connection.sendall(head.read())


def main():
    with listener() as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


if __name__ == '__main__':
    main()
