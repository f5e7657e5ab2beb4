# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: load, prepare_for_app from wsgi.py; show from late.py; BEFORE from loaded.py; Zygote from zygote.py; Worker
# from worker.py.
# Gives: nothing.
#
# What runs a pool, and what `check` runs: the last part.

for name in modules.keys() - BEFORE - set(sys.builtin_module_names):
    del modules[name]  # the application imports its own


def run_pool(app, *words):
    zygote = Zygote(*words)
    worker = zygote.serve()
    if worker:
        Worker(zygote, *worker).serve()


def try_import(app, target, directory):
    """For `check`: imports the application as a pool does; a failure is a traceback and exit status 1."""
    prepare_for_app(target, directory)
    try:
        if callable(load(target)):
            return
        raise TypeError('%s is not callable' % target)
    except BaseException as error:
        show(error)
        raise SystemExit(1)


call_from_elsewhere(run_pool if sys.argv[1] == 'pool' else try_import, *sys.argv[2:])
