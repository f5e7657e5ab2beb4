"""A CGI program whose routes do what programs do, and what they should not. It knows nothing of who runs it.

A route that must wait does so at a gate, as in testapp: NAME.entered and NAME.go beside this file. Nothing is imported
that is not needed: a process is started for each request.
"""

import os
import sys

BLOCK = 65536
HERE = os.path.dirname(os.path.abspath(__file__))


def asked():
    """The query's pairs, undecoded."""
    words = os.environ.get('QUERY_STRING', '').split('&')
    return dict(word.partition('=')[::2] for word in words if word)


def say(data):
    """All of it, unbuffered."""
    view = memoryview(data if isinstance(data, bytes) else data.encode())
    while view:
        view = view[os.write(1, view):]


def head(fields='Content-Type: text/plain'):
    say('Status: 200 OK\r\n%s\r\n\r\n' % fields)


def enter(name):
    """Writes its pid to the gate: the request has come."""
    with open(os.path.join(HERE, name + '.entered'), 'w') as entered:
        entered.write('%d\n' % os.getpid())


def pass_gate(name):
    enter(name)
    with open(os.path.join(HERE, name + '.go'), 'rb', buffering=0) as go:
        go.read(1)


def start_helper(name):
    """A process of this group that says its pid at the gate, and goes on when it is let. It has our output, too."""
    pid = os.fork()
    if not pid:
        pass_gate(name)
        leave_mark('helper')
        os._exit(0)


def leave_mark(line):
    with open(os.path.join(HERE, 'marks'), 'a') as marks:
        marks.write(line + '\n')


def blocks(size):
    for number in range(-(-size // BLOCK)):
        block = b'%015d\n' % number
        yield block.ljust(min(BLOCK, size - number * BLOCK), b'.')[:size - number * BLOCK]


def hello():
    head()
    say('hello from %d\n' % os.getpid())


def environ():
    # A body that a plain CGI leaves unread breaks its response, where both are one socket.
    os.read(0, int(os.environ.get('CONTENT_LENGTH', 0)))
    head()
    for name in sorted(os.environ):
        say('%s=%s\n' % (name, os.environ[name]))


def process():
    """What a program finds of its process."""
    import resource
    import signal
    head()
    say('cwd %s\n' % os.getcwd())
    say('leader %s\n' % (os.getpgrp() == os.getpid()))
    say('fds %s\n' % ' '.join(sorted(name for name in os.listdir('/proc/self/fd')
                                    if os.path.exists('/proc/self/fd/' + name))))
    # Python itself ignores two of them.
    own = {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}
    odd = [int(s) for s in signal.valid_signals() - own if signal.getsignal(s) != signal.SIG_DFL]
    say('odd signals %s\n' % odd)
    say('blocked %s\n' % sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    say('nofile %d\n' % resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with open('/proc/self/oom_score_adj') as score:
        say('oom %s' % score.read())


def digest():
    """The message-body's digest and length. `?to=end`: to the end of the input, whatever its length is."""
    import hashlib
    left = float('inf') if asked().get('to') == 'end' else int(os.environ.get('CONTENT_LENGTH', 0))
    sha256, length = hashlib.sha256(), 0
    while left > 0:
        block = os.read(0, min(BLOCK, left) if left < BLOCK else BLOCK)
        if not block:
            break
        sha256.update(block)
        length += len(block)
        left -= len(block)
    head()
    say('%s %d\n' % (sha256.hexdigest(), length))


def big():
    """So many bytes (`?size=`), and not a byte of the message-body is read."""
    head()
    for block in blocks(int(asked()['size'])):
        say(block)


def counted():
    """The same, and it tells when all is taken."""
    big()
    leave_mark('all taken')


def burst():
    """So many bytes (`?size=`), then a line behind each of two gates."""
    big()
    for line in b'one\n', b'two\n':
        pass_gate(asked()['gate'])
        say(line)


def raw():
    """These bytes and no others, %-encoded."""
    from urllib.parse import unquote_to_bytes
    say(unquote_to_bytes(asked()['say']))
    sys.exit(int(asked().get('status', 0)))


def crash():
    """Killed (`?by=`) after so many bytes behind a head (`&size=`), or before all."""
    if 'size' in asked():
        big()
    os.write(2, b'last words\n')
    os.kill(os.getpid(), int(asked()['by']))


def hold():
    pass_gate(asked()['gate'])
    hello()


def stuck():
    """Never returns. `?late=1`: after a head and a line. `&deaf=1`: SIGTERM is ignored."""
    import signal
    if 'deaf' in asked():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if 'helper' in asked():
        start_helper(asked()['helper'])
    if 'late' in asked():
        head()
        say('first\n')
    if 'gate' in asked():
        enter(asked()['gate'])
    while True:
        signal.pause()


def leaves_helper():
    """Leaves a background process that holds everything open."""
    start_helper(asked()['gate'])
    head()
    say('left it\n')


def closes_input():
    os.close(0)
    pass_gate(asked()['gate'])
    head()
    say('no more\n')


def ends_output():
    """Closes its output, and goes on."""
    head()
    say('that is all\n')
    os.close(1)
    pass_gate(asked()['gate'])
    leave_mark('went on')


def noise():
    os.write(2, b'noise of stderr\n')
    head()
    say('noisy\n')
    os.write(2, b'noise of the end\n')


def endless():
    """Writes until the pipe has no reader."""
    head()
    enter(asked()['gate'])
    try:
        while True:
            say(b'more\n')
    except BrokenPipeError:
        leave_mark('no reader')


def drip():
    """Some lines, each after a pause (`?count=&ms=`)."""
    import time
    head()
    for number in range(int(asked()['count'])):
        time.sleep(int(asked()['ms']) / 1000)
        say('%d\n' % number)


def mark():
    leave_mark(asked()['name'])
    head()
    say('%s\n' % asked()['name'])


if __name__ == '__main__':
    globals()[os.environ['PATH_INFO'].lstrip('/').replace('-', '_')]()
