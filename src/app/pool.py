# A part of the adaptor; all parts are pasted into one source (wsgi.py).
# Takes: BEFORE from loaded.py; Zygote from zygote.py; Worker from worker.py.
# Gives: nothing.
#
# What runs a pool: the last part.

for name in modules.keys() - BEFORE - set(sys.builtin_module_names):
    del modules[name]  # the application imports its own


def run_pool(app, *words):
    zygote = Zygote(*words)
    worker = zygote.serve()
    if worker:
        Worker(zygote, *worker).serve()


call_from_elsewhere(run_pool, *sys.argv[2:])
