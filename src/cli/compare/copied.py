"""What `compare` runs in place of an application: the application itself, looked at. Written into a private folder,
beside the file `target` with the application's name."""

import cProfile
import gc
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
WARM = 5  # requests of a worker, until what it keeps from the first ones is there: from then on objects are traced
FIRST = 8  # what is made anew by each request, in place of what the one before has made, is there twice
LAST = 18  # the request after which it is looked at what those since FIRST have left
DONE = []


def leave_no_trace():
    """What the application sees is as it would be without us."""
    sys.path[:] = [path for path in sys.path if path != FOLDER]
    rest = os.environ.pop('PYTHONPATH').partition(os.pathsep)[2]
    if rest:
        os.environ['PYTHONPATH'] = rest


def load():
    with open(os.path.join(FOLDER, 'target')) as file:
        module, _, name = file.read().partition(':')
    leave_no_trace()
    sys.argv[:] = [module]
    profile = cProfile.Profile()
    profile.enable()
    try:
        __import__(module)
    finally:
        profile.disable()
    profile.dump_stats(os.path.join(FOLDER, 'import.profile'))
    found = sys.modules[module]
    for part in name.split('.'):
        found = getattr(found, part)
    return found


def shown(value):
    if isinstance(value, (str, bytes, int, float, tuple, type(None))):
        return repr(value)
    return '(%s)' % getattr(value, '__name__', type(value).__name__)


def note_environ(path, environ):
    with open(path, 'w', encoding='utf-8', errors='backslashreplace') as file:
        for name in sorted(environ):
            file.write('%s\t%s\n' % (name, shown(environ[name])))


def snapshot():
    gc.collect()
    # The interpreter's cache of attributes holds the names that were looked up last.
    for name in '_clear_internal_caches', '_clear_type_cache':
        if hasattr(sys, name):
            getattr(sys, name)()
            break
    ours = (tracemalloc.Filter(False, __file__), tracemalloc.Filter(False, '<string>'),
            tracemalloc.Filter(False, tracemalloc.__file__))
    return tracemalloc.take_snapshot().filter_traces(ours)


def note_growth(path, before):
    """The lines whose objects are more after each request: `COUNT BYTES FILE:LINE`."""
    requests = LAST - FIRST
    with open(path, 'w', encoding='utf-8', errors='backslashreplace') as file:
        for found in snapshot().compare_to(before, 'lineno'):
            if found.count_diff >= requests - 1 and found.size_diff > 0:
                frame = found.traceback[0]
                file.write('%d %d %s:%d\n' % (
                    found.count_diff // requests or 1, found.size_diff // requests, frame.filename, frame.lineno))


def application(environ, start_response):
    global before, tracemalloc
    way = 'cgi' if environ['wsgi.run_once'] else 'daemon'
    at = os.path.join(FOLDER, way)
    DONE.append(way)
    note_environ(at + '.environ', environ)
    profile = cProfile.Profile()
    is_profiled = len(DONE) <= WARM
    if is_profiled:
        profile.enable()
    try:
        result = app(environ, start_response)
        try:
            blocks = list(result)
        finally:
            if hasattr(result, 'close'):
                result.close()
    finally:
        if is_profiled:
            profile.disable()
            profile.dump_stats(at + '.profile')
    del result, profile
    if len(DONE) == WARM:
        import tracemalloc
        tracemalloc.start()
    elif len(DONE) == FIRST:
        before = snapshot()
    elif len(DONE) == LAST:
        note_growth(at + '.growth', before)
    return blocks


app = load()
