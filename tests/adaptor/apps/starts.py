# Starts processes at its import, in every way that hides one, and in requests.

import atexit
import multiprocessing
import os
import subprocess
import sys
import threading
import time

SLEEP = [sys.executable, '-c', 'import time; time.sleep(1000)']
DEAF = [sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); '
        'time.sleep(1000)']


def daemonize():
    """Becomes a daemon: without its parent, in a session of its own. Waits until it is so."""
    read, write = os.pipe()
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        os.close(read)
        os.write(write, b'x')
        time.sleep(1000)
        os._exit(0)
    os.close(write)
    os.read(read, 1)
    os.close(read)
    os.wait()


shared = multiprocessing.Manager().dict()
plain = subprocess.Popen(SLEEP)
leader = subprocess.Popen(SLEEP, start_new_session=True)
deaf = subprocess.Popen(DEAF, stdout=subprocess.PIPE)
deaf.stdout.readline()
helper = multiprocessing.Process(target=time.sleep, args=(1000,), daemon=True)
helper.start()
daemonize()
COUNT = 6
if os.environ.get('JOINED'):  # exit waits for it, so a plain script never ends
    multiprocessing.Process(target=time.sleep, args=(1000,)).start()
atexit.register(os.write, 2, b'exit handler\n')
if os.environ.get('THREAD'):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
if os.environ.get('FAILS'):
    raise RuntimeError('on purpose')


def application(environ, start_response):
    block = b'%d' % COUNT
    if environ['PATH_INFO'] == '/group':
        subprocess.Popen(SLEEP)
        subprocess.Popen(SLEEP, preexec_fn=os.setpgrp)
    if environ['PATH_INFO'] == '/session':
        block = b'%d' % subprocess.Popen(SLEEP, start_new_session=True).pid
    if environ['PATH_INFO'] == '/held':
        with open('gate.entered', 'w') as entered, open('gate.go') as go:
            entered.write('%d\n' % os.getpid())
            entered.flush()
            go.readline()
        shared['key'] = b'held'
        block = shared['key']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [block]
