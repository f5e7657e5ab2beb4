# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: later, path_stats from wsgi.py; OURS from streams.py.
# Gives: BEFORE, Journal, NOTED, Watch, files, is_host_s, note_templates, noting_path_stats, now_settled, signature,
# suspects, unstable.
#
# Which files the application was loaded from, and whether they are still what they were. It knows imports and
# signatures; it refuses to know when to look, and what follows from a change.
#
# A file's signature is taken before the import reads the file: if the file is written meanwhile, the signature is the
# older one, and the change is seen later. For some files we learn of the import only afterwards: extension modules, and
# what was imported before us. Their signature is taken then, and is not relied on if the file changed since the import
# began. A file counts under the path that it was imported by: a release that is a symlink changes with the symlink.
#
# A template counts as loaded code where its engine keeps what it has read and never looks at the file again: Jinja2
# with auto_reload off, as in Flask, and Django's cached loader. It is noted when the engine reads it, which it does once
# in a process: no request pays for that.
#
# All generations and their workers share one file in memory, the journal, since the zygote that looks is not the only
# process that imports. A worker records there what it imports later. A generation that can't be imported records what
# it had loaded, and the files in which the mistake may be: the generation before it serves on, and sees when the
# mistake is mended. POSIX locks guard the journal; when a process ends, the kernel releases its locks.

later('streams')
later('late')
BEFORE = set(modules)
sys.path[:] = OURS  # for the imports of the files behind this one

TICK = 20000000  # ns: two writes within one tick of the kernel's coarse clock have the same time
ENCODING = sys.getfilesystemencoding()  # of paths
UNSETTLED = ()  # not relied on: equal to the signature of no file
NOTED = {}  # path: its signature before it was read
NOTING = set()  # loaders of templates that note what they read


def signature(path):
    """None: there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


def settled(found, since):
    """The signature, or UNSETTLED if the file changed after that time in ns, less a tick."""
    return UNSETTLED if found and 0 <= found[1] - since + TICK < 10 ** 12 else found


def noting_path_stats(loader, path):
    NOTED[path] = settled(signature(path), time.time_ns())
    return path_stats(loader, path)


def note_templates():
    """Makes the template engines that were imported note what they read."""
    if 'django.template' in modules:
        try:
            __import__('django.template.loaders.cached')  # Django itself imports it at the first template
        except Exception:
            pass  # an old or a broken one
    for module, name, method, noting in (
            ('django.template.loaders.cached', 'Loader', 'get_contents', noting_get_contents),
            ('jinja2.loaders', 'FileSystemLoader', 'get_source', noting_get_source),
            ('jinja2.loaders', 'PackageLoader', 'get_source', noting_get_source)):
        try:
            loader = getattr(modules.get(module), name, None)
            if loader and loader not in NOTING:
                setattr(loader, method, noting(getattr(loader, method)))
                NOTING.add(loader)
        except Exception:
            pass  # sys.modules may contain anything


def noting_get_source(read):
    """For Jinja2. read: the loader's own method."""
    def get_source(self, environment, template):
        since = time.time_ns()
        found = read(self, environment, template)
        if not environment.auto_reload:
            note_template(found[1], since)
        return found
    return get_source


def noting_get_contents(read):
    """For Django."""
    def get_contents(self, origin):
        since = time.time_ns()
        found = read(self, origin)
        note_template(origin.name, since)
        return found
    return get_contents


def note_template(path, since):
    if isinstance(path, str) and path[:1] == '/' and path not in NOTED:
        NOTED[path] = settled(signature(path), since)


def files(since):
    """All files that were loaded, with their signatures from before that. since: when the import began."""
    found = {}
    for module in list(modules.values()):
        try:
            path = object.__getattribute__(module, '__dict__').get('__file__')
        except Exception:
            continue  # sys.modules may contain anything
        if isinstance(path, str) and path not in NOTED:
            found[path] = settled(signature(path), since)
    return {**found, **NOTED}


def unstable(loaded):
    """Whether a file changed while it was loaded. One that is gone does not count: it was meant for one use."""
    for path, before in loaded.items():
        now = signature(path)
        if now and now != before:
            return True
    return False


def now_settled(loaded):
    """The same files. Signatures that can't be relied on, or of files that are gone, are replaced by those of now."""
    found = {}
    for path, before in loaded.items():
        now = signature(path)
        found[path] = before if now and before != UNSETTLED else now
    return found


def suspects(error, directory):
    """The places, beside what was loaded, where a failed import may be mended: the files that its error names, and the
    folders in which a missing module may appear."""
    paths = {directory}
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        named = getattr(error, 'filename', None)  # of a SyntaxError, or of a file that is missing
        if isinstance(named, str):
            paths.add(named if named[:1] == '/' else os.getcwd() + '/' + named)
        if isinstance(error, ImportError) and error.name:
            package = modules.get(error.name.rpartition('.')[0])
            paths.update(path for path in getattr(package, '__path__', ()) if isinstance(path, str))
        trace = error.__traceback__
        while trace:
            paths.add(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return {path: signature(path) for path in paths if path[:1] != '<'}


# EPERM, EINTR, EIO, EAGAIN, ENOMEM, ENFILE, EMFILE, EFBIG, ENOSPC, ENOSYS, ENOBUFS, EDQUOT
OF_HOST = 1, 4, 5, 11, 12, 23, 24, 27, 28, 38, 105, 122


def is_host_s(error):
    """Whether an import has failed because the host refused something: then it may succeed in another process, or the
    next time. If that is not certain, it counts as refused: a plain CGI will show the error."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or isinstance(error, OSError) and error.errno in OF_HOST:
            return True
        if isinstance(error, (FileNotFoundError, PermissionError)) and is_there(error.filename):
            return True
        if isinstance(error, ImportError) and (
                any(os.strerror(number) in str(error) for number in OF_HOST) or can_be_found(error.name)):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_there(path):
    """Whether a Python file can be read that could not be read a moment ago. Of other files it is not known how the
    application has opened them."""
    if not isinstance(path, str) or not path.endswith(('.py', '.pyc', '.so')):
        return False
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        return True
    except (OSError, ValueError):
        return False


def can_be_found(name):
    """Whether a module can be found that was missing: the import takes a folder that it can't read for an empty one."""
    if not name or name in modules:
        return False
    parent = modules.get(name.rpartition('.')[0])
    try:
        for finder in sys.meta_path:
            getattr(finder, 'invalidate_caches', int)()
        path = getattr(parent, '__path__', None)
        return any(finder.find_spec(name, path) for finder in sys.meta_path)
    except Exception:
        return False


class Journal:
    """Records of `OWNER MARK SIGNATURE PATH`, each with a NUL at its end. OWNER is the pid of the zygote; MARK says
    whether its generation has failed."""

    LOADED, FAILED = b'+', b'!'

    def __init__(self, fd):
        self.fd = fd
        self.owner = os.getpid()

    def add(self, loaded, mark):
        lines = []
        for path, found in loaded.items():
            parts = b','.join(b'%d' % part for part in found or ())
            try:
                lines.append(b'%d %s %s %s\0' % (self.owner, mark, parts, path.encode(ENCODING, 'surrogateescape')))
            except ValueError:
                pass  # no file has such a name
        try:
            with self:
                os.pwrite(self.fd, b''.join(lines), os.fstat(self.fd).st_size)
        except OSError:
            pass  # no memory: an operator can still reload by hand

    def begin(self):
        """Removes what failed generations have recorded, and the records of an earlier process with our pid."""
        if self.size():
            with self:
                self.keep(record for record in self.records()
                          if record[1] != self.FAILED and int(record[0]) != self.owner)

    def take(self):
        """Takes what our workers have loaded, and what newer generations that failed have: two dicts of path:
        signature."""
        ours, failed, others = {}, {}, []
        if self.size():
            with self:
                for record in self.records():
                    owner, mark, found, path = record
                    if mark == self.FAILED or int(owner) == self.owner:
                        found = tuple(map(int, found.split(b','))) if found else None
                        path = path.decode(ENCODING, 'surrogateescape')
                        into = failed if mark == self.FAILED else ours
                        if into is ours and ours.get(path, found) != found:
                            found = UNSETTLED  # workers have loaded it before and after an edit
                        into[path] = found
                    elif is_alive(int(owner)):
                        others.append(record)
                self.keep(others)
        return ours, failed

    def size(self):
        return os.fstat(self.fd).st_size

    def records(self):
        lines = os.pread(self.fd, self.size(), 0).split(b'\0')[:-1]
        return [line.split(b' ', 3) for line in lines if line.count(b' ') > 2]

    def keep(self, records):
        data = b''.join(b' '.join(record) + b'\0' for record in records)
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, data, 0)

    def __enter__(self):
        os.lockf(self.fd, os.F_LOCK, 0)

    def __exit__(self, *_):
        os.lockf(self.fd, os.F_ULOCK, 0)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


class Watch:
    """What the zygote compares on `look`."""

    def __init__(self, paths, journal):
        """journal: None if modules are not watched."""
        self.paths = paths
        self.found = [signature(path) for path in paths]
        self.journal = journal
        self.known = {}  # path: signature

    def changes(self):
        """The words to send to the daemon. Each change is told once."""
        for number, path in enumerate(self.paths):
            now = signature(path) if path else None
            if now != self.found[number]:
                self.found[number] = now
                yield 'changed %d' % number
        if not self.journal:
            return
        ours, failed = self.journal.take()
        if ours or failed:
            # What was told stays told, but a failed import has seen a later state.
            self.known = {**ours, **self.known, **failed}
        changed = None
        for path, before in self.known.items():
            now = signature(path)
            if now != before:
                self.known[path] = now
                changed = changed or path
        if changed:
            yield 'changed - ' + changed[:1000]
