# A part of boot.py: compiles the adaptor, and keeps its code for the next run.
#
# It knows the file's form and how it is replaced; it refuses to know when a file is trusted.


def keep(code, path, digest):
    data = digest + marshal.dumps(code)
    data = source_hash(0, data) + data
    new = path + '.new'
    try:
        posix.unlink(new)
    except OSError:
        pass  # there is none: nothing was killed while it wrote
    fd = posix.open(new, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        posix.fchmod(fd, 0o600)
        is_whole = posix.write(fd, data) == len(data)
    except OSError:
        is_whole = False
    posix.close(fd)
    if is_whole:
        posix.rename(new, path)
    else:
        posix.unlink(new)


def compiled(source, path, digest):
    """path: where it is kept, or empty."""
    code = compile(source, '<string>', 'exec', optimize=2)  # without docstrings: less to read
    try:
        if path and not sys.dont_write_bytecode:
            keep(code, path, digest)
    except Exception:
        pass
    return code
