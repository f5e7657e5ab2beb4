# Applications that wait for the test, or whose client leaves; PATH_INFO names them. QUERY_STRING is the path of a FIFO
# at which they wait.

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

TEXT = [('Content-Type', 'text/plain')]


def wait(path):
    with open(path, 'rb') as gate:
        return gate.read()


def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)


def gated(environ, start_response):
    start_response('200 OK', TEXT)
    yield b'first'
    yield wait(environ['QUERY_STRING'])


def gated_write(environ, start_response):
    say = start_response('200 OK', TEXT)
    say(b'first')
    say(wait(environ['QUERY_STRING']))
    return []


def gated_before(environ, start_response):
    """Waits at the FIFO: once the test can open it, the application has begun."""
    said = wait(environ['QUERY_STRING'])
    start_response('200 OK', TEXT)
    return [said]


def gated_log(environ, start_response):
    said = wait(environ['QUERY_STRING'])
    sys.stderr.write('logged\n')
    sys.stderr.flush()
    start_response('200 OK', TEXT)
    return [said]


def endless(environ, start_response):
    start_response('200 OK', TEXT)
    try:
        while True:
            yield b'x' * 1000
    finally:
        environ['wsgi.errors'].write('closed\n')


def endless_write(environ, start_response):
    say = start_response('200 OK', TEXT)
    while True:
        say(b'x' * 1000)


def ticking(environ, start_response):
    """Echoes while signals interrupt its system calls."""
    ticks = []
    before = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    start_response('200 OK', TEXT)
    try:
        while True:
            block = environ['wsgi.input'].read(100000)
            if not block:
                break
            yield block
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def starts(environ, start_response):
    """Starts a process that outlives the request, in the way that HTTP_BY says."""
    path = environ['QUERY_STRING']
    by = environ['HTTP_BY']
    if by == 'Popen':
        pid = subprocess.Popen(['cat', path]).pid
    elif by == 'shell':
        subprocess.call('cat %s & echo $!' % path, shell=True)
        pid = 0
    elif by == 'os.fork':
        pid = os.fork()
        if not pid:
            wait(path)
            os._exit(0)
    elif by == 'os.fork in a thread':
        pids = []

        def fork():
            pid = os.fork()
            if not pid:
                wait(path)
                os._exit(0)
            pids.append(pid)
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        pid = pids[0]
    else:
        process = multiprocessing.get_context(by).Process(target=wait, args=(path,), daemon=False)
        process.start()
        pid = process.pid
    start_response('200 OK', TEXT)
    return [b'%d' % pid]


def terminates(environ, start_response):
    """A child gets SIGTERM and must die of it."""
    process = multiprocessing.get_context('fork').Process(target=signal.pause)
    process.start()
    process.terminate()
    process.join()
    start_response('200 OK', TEXT)
    return [b'%d' % process.exitcode]


def fork_returns(environ, start_response):
    """The child returns from the application."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    start_response('200 OK', TEXT)
    return [b'parent' if pid else b'child']


def fork_again(environ, start_response):
    """A child opens files and forks: how many of the files its own child does not have."""
    pid = os.fork()
    if not pid:
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
        pid = os.fork()
        if not pid:
            os._exit(sum(not os.path.exists('/proc/self/fd/%d' % fd) for fd in files))
        os._exit(os.waitpid(pid, 0)[1] >> 8)
    status = os.waitpid(pid, 0)[1]
    start_response('200 OK', TEXT)
    return [b'%d' % (status >> 8)]


def fork_dies(environ, start_response):
    """The child answers, and the worker dies before its own response."""
    if os.fork():
        os.wait()
        os._exit(3)
    start_response('200 OK', TEXT)
    return [b'child']


def fork_exits(environ, start_response):
    pid = os.fork()
    if not pid:
        sys.exit(5)
    status = os.waitpid(pid, 0)[1]
    start_response('200 OK', TEXT)
    return [b'%d' % (status >> 8)]


def fork_masked(environ, start_response):
    """Blocks SIGTERM and forks: whether it is blocked in the child, and then here."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    pid = os.fork()
    blocked = signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if not pid:
        os._exit(blocked)
    status = os.waitpid(pid, 0)[1]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    start_response('200 OK', TEXT)
    return [b'%d %d' % (status >> 8, blocked)]


def takes_signals(environ, start_response):
    """Takes SIGTERM and the wakeup descriptor for itself, as asyncio does."""
    async def nap():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
        await asyncio.sleep(0)
    asyncio.run(nap())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start_response('200 OK', TEXT)
    return [b'taken']


def takes_wakeup(environ, start_response):
    """Takes the wakeup descriptor only, which no handler shows."""
    signal.set_wakeup_fd(-1)
    start_response('200 OK', TEXT)
    return [b'taken']
