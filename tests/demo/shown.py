"""The demo under way, for those who look at its page."""

import contextlib
import glob
import os
import re
import select
import signal
import subprocess
import time

DEMO = f'{os.path.dirname(os.path.abspath(__file__))}/../../packaging/demo/demo'
PATIENCE = 120  # seconds


@contextlib.contextmanager
def demo():
    """Starts it, gives the page's address, and interrupts it at the end; fails if it does not end well, or leaves
    anything behind."""
    process = subprocess.Popen([DEMO], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    folder = None
    try:
        url, folder = begun(process.stdout)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise RuntimeError(f'the demo ended with {process.returncode}')
    if left := [*glob.glob(folder), *processes(folder)]:
        raise RuntimeError(f'the demo left {left}')


def processes(folder):
    """The command lines that name it."""
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        # A process may end meanwhile.
        with contextlib.suppress(OSError), open(path, 'rb') as file:
            words = file.read()
            if os.fsencode(folder) in words:
                yield words


def begun(output):
    """The page's address and the demo's own directory, from what it prints."""
    deadline, said = time.monotonic() + PATIENCE, b''
    while True:
        found = re.search(r'directory = (\S+)/app\n.*open  (http://\S+/)\n', said.decode(), re.DOTALL)
        if found:
            return found[2], found[1]
        if not select.select([output], [], [], max(0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f'no address within {PATIENCE} s: {said.decode()}')
        part = os.read(output.fileno(), 4096)
        if not part:
            raise RuntimeError(f'the demo has ended: {said.decode()}')
        said += part
