# The daemon's half of the pool: its ends of the zygote, of one worker, of the board that they share, and its part in one
# request. It knows their messages, and neither queue nor clock.

import ctypes
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading

from adaptor import APPS, ENVIRON, PYTHON, SOURCE
from client import netstring

BOARD = 17334272  # bytes; src/sys/memory.rs describes it
MOVED, TOLD, SPOOL = 4096, 8192, 12288  # where its parts begin, in bytes
GONE, OVERDUE = 1, 2
PAGE = (b'Status: 500 Internal Server Error\r\nCache-Control: no-store\r\nContent-Length: 7\r\n\r\n', b'failed\n')
SYS_TGKILL = {'aarch64': 131, 'x86_64': 234}[os.uname().machine]
LIBC = ctypes.CDLL(None, use_errno=True)


def ask_where(pid):
    """Asks the main thread of a process for its stack, as the daemon does."""
    if LIBC.syscall(SYS_TGKILL, pid, pid, signal.SIGRTMAX):
        raise OSError(ctypes.get_errno(), 'cannot ask for a stack')


def next_word(channel):
    """The next message; None at the end. Those that only say whose fault an end would be are skipped."""
    while True:
        word = channel.recv(4096).decode() or None
        if word not in ('importing', 'imported'):
            return word


class Worker:
    """The daemon's ends of one worker."""

    def __init__(self, pool, index):
        self.index = index
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stderr, write_end = os.pipe()
        os.set_blocking(self.stderr, False)
        socket.send_fds(pool.channel, [b'spawn %d' % index], [theirs.fileno(), write_end])
        theirs.close()
        os.close(write_end)
        self.pid = None

    def hear(self):
        return next_word(self.channel)

    def ready(self):
        word = self.hear()
        if word and word.startswith('born '):
            word = self.hear()
        assert word and word.startswith('ready '), (word, self.said())
        self.pid = int(word.split()[1])
        return self

    def said(self):
        """What came by stderr."""
        text = b''
        try:
            while True:
                block = os.read(self.stderr, 65536)
                if not block:
                    return text
                text += block
        except BlockingIOError:
            return text

    def reap(self):
        """Waits until it has ended; its exit status."""
        status = os.waitpid(self.pid, 0)[1]
        self.pid = None
        return status

    def end(self):
        """Ends the channel, as the daemon's death would."""
        try:
            self.channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed by the test

    def close(self):
        self.channel.close()
        if self.stderr >= 0:
            os.close(self.stderr)
            self.stderr = -1
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
                self.reap()
            except (ProcessLookupError, ChildProcessError):
                pass  # it has ended, or the test has reaped it


class Turn(threading.Thread):
    """The loop's half of one request, beside the client's: sends what the worker spools, and reads out
    the message-body that it leaves."""

    def __init__(self, pool, worker, source, out, is_head):
        super().__init__(daemon=True)
        self.pool, self.worker, self.is_head = pool, worker, is_head
        self.source, self.out = os.dup(source), os.dup(out)
        self.is_pipe = stat.S_ISFIFO(os.fstat(out).st_mode)
        self.words = []  # everything that the worker said
        self.raised = None  # why the application has failed
        self.spool = None
        self.sending = self.full = self.done = self.dropped = False
        self.unread = 0
        self.start()

    def run(self):
        try:
            while not self.done or self.sending or self.unread:
                poller = select.poll()
                if not self.done:
                    poller.register(self.worker.channel, select.POLLIN)
                if self.sending:
                    poller.register(self.out, select.POLLOUT)
                if self.unread:
                    poller.register(self.source, select.POLLIN)
                ready = dict(poller.poll())
                if self.unread and self.source in ready:
                    size = len(os.read(self.source, min(self.unread, 65536)))
                    self.unread = self.unread - size if size else 0
                if self.sending and self.out in ready:
                    self.send()
                if not self.done and self.worker.channel.fileno() in ready:
                    self.hear()
        finally:
            for fd in self.source, self.out, self.spool:
                if fd is not None:
                    os.close(fd)

    def hear(self):
        data, fds, _, _ = socket.recv_fds(self.worker.channel, 65536, 1)
        word = data.decode() or None
        self.words.append(word)
        if word == 'spooled':
            self.spool, = fds
        if word in ('spooled', 'more'):
            self.sending = not self.dropped
        elif word == 'full':
            self.full = True
            self.answer_full()
        elif word and word.startswith('unread '):
            self.unread = int(word.split()[1])
        elif word and word.startswith('raised '):
            self.raised = word.partition(' ')[2]
        else:
            self.done = True
            if self.raised and word and not self.pool.mark(self.worker.index):
                os.write(self.out, PAGE[0] if self.is_head else b''.join(PAGE))

    def answer_full(self):
        if self.full and not self.sending:
            self.full = False
            self.worker.channel.send(b'empty')

    def send(self):
        try:
            if self.is_pipe:  # as the loop does it, from the file's own offset: no byte is copied
                self.sending = os.splice(self.spool, self.out, 65536, flags=os.SPLICE_F_NONBLOCK) > 0
            else:
                at = os.lseek(self.spool, 0, os.SEEK_CUR)
                block = os.pread(self.spool, 65536, at)
                self.sending = bool(block)
                with socket.socket(fileno=os.dup(self.out)) as peer:
                    sent = peer.send(block, socket.MSG_DONTWAIT) if block else 0
                os.lseek(self.spool, sent, os.SEEK_CUR)
        except BlockingIOError:
            return
        except OSError:  # the client is gone: drop the rest of its response
            self.pool.tell(self.worker.index, GONE)
            self.sending = False
            self.dropped = True
        self.answer_full()


class Pool:
    """Plays the daemon; one worker at a time serves the requests that `start` gets."""

    run_once = False

    def __init__(self, target, preload=True, env=ENVIRON, before=None, python=PYTHON, modules=True,
                 max_rss=0, switch=0, spool=tempfile.gettempdir(), limit=1 << 30, watched=(), folder=APPS,
                 loaded=None, patience=None, timing=False, replaced=None):
        """patience: seconds that the adaptor has for a client in place of its own. replaced: words of it, and others."""
        adaptor = SOURCE
        if patience is not None:
            ours = 'PATIENCE, LITTLE_PATIENCE = 0.02,'
            assert adaptor.count(ours) == 1
            adaptor = adaptor.replace(ours, 'PATIENCE, LITTLE_PATIENCE = %r,' % patience)
        if replaced:
            assert adaptor.count(replaced[0]) == 1
            adaptor = adaptor.replace(*replaced)
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.board = os.memfd_create('page')
        os.truncate(self.board, BOARD)
        os.pwrite(self.board, struct.pack('=QQ', 0, limit), SPOOL)
        self.loaded = os.memfd_create('loaded') if loaded is None else os.dup(loaded)
        self.stderr = tempfile.TemporaryFile()
        fds = [theirs.fileno(), self.board, self.loaded]
        self.process = subprocess.Popen(
            [python, '-c', adaptor, 'pool', 'app', target, folder, *map(str, fds), str(int(preload)),
             str(int(modules)), str(int(timing)), str(max_rss), str(switch), spool, *watched],
            stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr, cwd=folder, env=env,
            pass_fds=fds, preexec_fn=before, start_new_session=True)
        theirs.close()
        self.worker = None
        self.workers = []
        self.turn = None

    def hear(self):
        return next_word(self.channel)

    def up(self):
        word = self.hear()
        assert word == 'ready', (word, self.said())
        return self

    def said(self):
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def spawn(self, index=0):
        worker = Worker(self, index)
        self.workers.append(worker)
        return worker

    def start(self, client, meta, ahead=None, letters=b''):
        """ahead: bytes of the message-body that the loop has read. letters: bytes that follow the header."""
        if not self.worker:
            self.worker = self.spawn(7).ready()
        self.mark(self.worker.index, 0)
        self.tell(self.worker.index, 0)
        fds = [client.theirs_in, client.theirs_out]
        if ahead is not None:
            fds.append(os.memfd_create('ahead'))
            os.write(fds[2], ahead)
        elif not int(meta.get('CONTENT_LENGTH') or 0):
            del fds[0]  # as the loop does it, where there is no message-body
        is_head = meta.get('REQUEST_METHOD') == 'HEAD'
        self.turn = Turn(self, self.worker, client.theirs_in, client.theirs_out, is_head)
        socket.send_fds(self.worker.channel, [netstring(meta) + letters], fds)
        for fd in fds[2:]:
            os.close(fd)
        client.started()

    def finish(self):
        """The worker's stderr of this request, after its `done` and the loop's part."""
        self.turn.join()
        self.word = self.turn.words[-1]
        said = self.worker.said()
        if self.word != 'done':
            self.status = self.worker.reap()
            said += self.worker.said()
            self.worker = None
        return said

    def mark(self, index, value=None):
        if value is None:
            return os.pread(self.board, 1, index)[0]
        os.pwrite(self.board, bytes([value]), index)

    def tell(self, index, what):
        os.pwrite(self.board, bytes([what]), TOLD + index)

    def tell_spool(self, used, limit):
        os.pwrite(self.board, struct.pack('=QQ', used, limit), SPOOL)

    def tell_waiting(self, waiting):
        os.pwrite(self.board, struct.pack('=Q', waiting), SPOOL + 16)

    def tell_until(self, nanoseconds):
        """Until when workers may accept, by CLOCK_BOOTTIME."""
        os.pwrite(self.board, struct.pack('=Q', nanoseconds), SPOOL + 24)

    def moved(self, index):
        return int.from_bytes(os.pread(self.board, 4, MOVED + 4 * index), sys.byteorder)

    def look(self):
        """Asks which files have changed; its messages."""
        self.channel.send(b'look')
        words = []
        while not words or words[-1] != 'looked':
            words.append(self.hear())
            assert words[-1], self.said()
        return words[:-1]

    def close(self):
        for worker in self.workers:
            worker.end()
        if self.turn:
            self.turn.join()
        for worker in self.workers:
            worker.close()
        try:
            self.channel.send(b'leave')
        except OSError:
            pass  # it has ended, or the test has closed it
        self.channel.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stderr.close()
        os.close(self.board)
        os.close(self.loaded)
