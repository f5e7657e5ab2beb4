# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: flush, load, prepare_for_app from wsgi.py; show from late.py; BEFORE from loaded.py; Zygote from zygote.py.
# Gives: nothing.
#
# What `check` runs in place of pool.py: it imports the application as a pool does, and looks at what that has left. It
# writes what it finds to a descriptor, one fact a line, a word first; a traceback goes to stderr. It refuses to know
# what follows from a fact.

from _socket import SOCK_STREAM
from sys import addaudithook  # Python 3.8

for name in modules.keys() - BEFORE - set(sys.builtin_module_names):
    del modules[name]  # the application imports its own

FACTORIES = 'create_app', 'make_app', 'get_app', 'build_app', 'app_factory', 'get_wsgi_application', 'get_asgi_application'
USUAL = ('application', 'app', 'wsgi_app', 'asgi_app', *FACTORIES)
ASYNC = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR
MANY = 0x4  # CO_VARARGS


class Trial:
    def __init__(self, fd):
        self.fd = fd
        self.has_bound = False

    def tell(self, *words):
        line = ' '.join(' '.join(map(str, words)).split())[:2000] + '\n'
        try:
            os.write(self.fd, line.encode('utf-8', 'backslashreplace'))
        except OSError:
            pass  # `check` has ended

    def note(self, event, args):
        """Of all that Python audits: the first address that the import takes for a server."""
        if event == 'socket.bind' and not self.has_bound:
            try:
                bound, address = args
                if bound.type == SOCK_STREAM:
                    self.has_bound = True
                    self.tell('bound', '%s:%s' % address[:2] if isinstance(address, tuple) else address)
            except Exception:
                pass  # it is only looked at


FUNCTION, METHOD = type(load), type(Trial(2).tell)


def parameters(app):
    """The parameters of a callable that are not given yet: flags, names, how many have no default. None: unknown."""
    given = 0
    if isinstance(app, type):
        app, given = app.__init__, 1
    elif not isinstance(app, (FUNCTION, METHOD)):
        app, given = getattr(type(app), '__call__', None), 1
    if isinstance(app, METHOD):
        app, given = app.__func__, given + 1
    if not isinstance(app, FUNCTION):
        return None
    code = app.__code__
    names = code.co_varnames[given:code.co_argcount]
    return code.co_flags, names, len(names) - len(app.__defaults__ or ())


def kind_of(app, name):
    """What a callable is, by how it can be called: 'wsgi', if nothing shows that it is another."""
    if name in FACTORIES:
        return 'factory'
    found = parameters(app)
    if not found:
        return 'wsgi'
    flags, names, needed = found
    if flags & ASYNC or names[:3] == ('scope', 'receive', 'send'):
        return 'asgi'
    if flags & MANY or needed <= 2 <= len(names):
        return 'wsgi'
    return 'factory' if needed <= 0 else 'arguments %d' % needed


def line_of(error):
    """Where the mistake is: the line that can't be compiled, or the last one that was executed."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.lineno or 0, error.filename
    trace, found = error.__traceback__, None
    while trace:
        path = trace.tb_frame.f_code.co_filename
        if path[:1] == '/':
            found = trace.tb_lineno, path
        trace = trace.tb_next
    return found


def tell_failure(trial, target, error):
    found = line_of(error)
    if found:
        trial.tell('line', *found)
    module, _, name = target.partition(':')
    if isinstance(error, ImportError) and error.name:
        trial.tell('missing', error.name)
    if isinstance(error, AttributeError) and module in modules:
        has = vars(modules[module])
        trial.tell('has', *[name for name in USUAL if callable(has.get(name))])
    trial.tell('failed', type(error).__name__)


def look_at(trial, app, name):
    if not callable(app):
        trial.tell('kind', 'object', type(app).__name__)
        raise TypeError('%s is not callable' % name)
    try:
        kind = kind_of(app, name)
    except Exception:
        kind = 'wsgi'  # it hides what it is
    trial.tell('kind', kind)
    reason = Zygote.why_unsafe(None, (trial.fd,))
    if reason:
        trial.tell('unsafe', reason)


def try_import(app, target, directory, fd):
    trial = Trial(int(fd))
    os.set_inheritable(trial.fd, False)
    register(SIGRTMAX, 2, all_threads=False, chain=False)  # where the import is, if it has no end
    trial.tell('python', '%d.%d.%d' % sys.version_info[:3], sys.prefix)
    addaudithook(trial.note)
    prepare_for_app(target, directory)
    status = 1
    try:
        found = load(target)
        trial.tell('imported')
        look_at(trial, found, target.rpartition(':')[2].rpartition('.')[2])
        status = 0
    except BaseException as error:
        tell_failure(trial, target, error)
        show(error)
    flush()
    os._exit(status)  # without what the application has for its exit: threads that have no end


call_from_elsewhere(try_import, *sys.argv[2:])
