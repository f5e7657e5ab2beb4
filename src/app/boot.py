# What `python -c` gets for a CGI, in place of the adaptor, which it runs as if that stood here.
#
# It knows how the adaptor's code is got from where it is kept; it refuses to know what the adaptor does. It is compiled
# at each start, so keep.py, which keeps the code, is here as a text, for the one run that needs it.
#
# Most of the adaptor's start would be compiling it. So its code is kept in the app's place, in one file for each version
# of Python's bytecode (MAGIC_NUMBER): a hash of all that follows, the digest of the source, and the code as marshal has
# it. A file is used only if it is this user's own and no other can write to it, as is the place; if the hash is right,
# since marshal must not get damaged data; and if the digest is that of this adaptor. Otherwise the source is compiled,
# and the file replaced. Nothing depends on it: all that can go wrong with it is ignored.
#
# The source is at the start of the file that holds the request; what reads the request begins behind it. Words that are
# for this file alone are taken from sys.argv.

import marshal
import posix
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import source_hash

KEEP = r'''KEEP.PY'''


def kept(path, digest):
    """The code in that file; an error if it can't be used."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC)
    try:
        found = posix.fstat(fd)
        # A regular file of mode 0600.
        if found.st_mode != 0o100600 or found.st_uid != posix.geteuid() or found.st_size > 1 << 20:
            raise OSError
        data = memoryview(posix.read(fd, found.st_size))
    finally:
        posix.close(fd)
    if data[:8] != source_hash(0, data[8:]) or data[8:24] != digest:
        raise OSError
    return marshal.loads(data[24:])


def code(place, size, digest):
    """place: the app's, or empty. size: of the source, in bytes."""
    # Interpreters that are built differently may have the same number.
    path = place and '%s/adaptor-%s-%d' % (
        place, sys.implementation.cache_tag, int.from_bytes(MAGIC_NUMBER[:2], 'little'))
    try:
        if path:
            return kept(path, digest)
    except Exception:
        pass
    exec(KEEP, globals())
    return compiled(posix.pread(int(sys.argv[5]), size, 0), path, digest)


exec(code(sys.argv.pop(), int(sys.argv.pop()), sys.argv.pop().encode()))
