# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: nothing.
# Gives: LARGEST, receive, say.
#
# Packets between the daemon and a zygote or worker. It knows packets and descriptors; it refuses to know what is said.

from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET

LARGEST = 1 << 20  # bytes of a packet; a send buffer is smaller by default
ROOM = CMSG_SPACE(12)  # bytes: beside it come three descriptors
TRIES = 3  # of a call that the host has refused, and that we can't do without


def say(channel, words):
    """words: bytes, or any text. False: the daemon is gone, as the next receive() will find."""
    if not isinstance(words, bytes):
        words = words.encode('utf-8', 'backslashreplace')
    for _ in range(TRIES):
        try:
            channel.send(words)
            return True
        except ConnectionError:
            return False
        except OSError:
            pass  # the host has refused it
    os._exit(71)  # EX_OSERR: the daemon waits for these words, and our end tells it that they don't come


def receive(channel, buffer):
    """The size of the next packet, or 0 when the other end is gone; and the packet's descriptors."""
    for left in reversed(range(TRIES)):
        try:
            size, ancillary, flags, _ = channel.recvmsg_into([buffer], ROOM, MSG_CMSG_CLOEXEC)
            break
        except ConnectionError:
            return 0, []
        except OSError:
            if not left:
                raise  # the packet is still in the channel
    if flags & (MSG_CTRUNC | MSG_TRUNC):
        raise OSError('a message from the daemon was cut: too many open descriptors')
    return size, [fd for level, kind, data in ancillary
                  if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
                  for fd in memoryview(data).cast('i')]
