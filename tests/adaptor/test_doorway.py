# Workers that take requests from the listeners themselves: what they serve, what they hand to the daemon, and who ends a
# request. The tests have the daemon's ends.

import os
import shutil
import signal
import socket
import struct
import tempfile
import time

import peer

DESKS, DESK = 16384, 512  # src/sys/memory.rs describes them
MINUTE = 60 * 10 ** 9
HELLO = peer.netstring({'PATH_INFO': '/hello'})


class Doorway(peer.Case):
    def accepting(self, most=100, limit=65536, mount='-', page='', kind='plain', target='pep:application',
                  replaced=None, says='accepting'):
        """A worker that accepts, with the one listener `self.listener`."""
        self.pool_ = self.pool(target, replaced=replaced).up()
        self.worker = self.pool_.spawn(3).ready()
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind('')  # a name of the kernel's choice
        self.listener.listen()
        self.listener.setblocking(False)
        # Whoever reads the packet ends the request: the worker has both ends, and we have the reading one.
        self.escrow, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.escrow.setblocking(False)
        self.addCleanup(self.escrow.close)
        self.say('escrow', writing, self.escrow)
        writing.close()
        self.say('listeners %d\n%s\n%s' % (limit, mount, page))
        self.say('listener 0 ' + kind, self.listener)
        self.pool_.tell_until(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + MINUTE)
        self.say('accept %d' % most)
        self.assertEqual(self.worker.hear(), says)

    def say(self, words, *files):
        socket.send_fds(self.worker.channel, [words.encode()], [file.fileno() for file in files])

    def recall(self):
        self.say('recall')
        self.assertEqual(self.worker.hear(), 'back')

    def serves_who_waits(self):
        """A client that has connected and spoken before the worker accepts."""
        client = self.connect()
        client.sendall(HELLO)
        self.say('accept 1')
        self.assertEqual(self.worker.hear(), 'accepting')
        self.assertIn(b'200 OK', self.rest(client))

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.listener.getsockname())
        return client

    def ask(self):
        client = self.connect()
        client.sendall(HELLO)
        return self.rest(client)

    def rest(self, client):
        text = b''
        while True:
            block = client.recv(65536)
            if not block:
                return text
            text += block

    def handed(self):
        """What the worker hands to us: the words, the bytes that it has read, and the connection."""
        packet, fds, _, _ = socket.recv_fds(self.worker.channel, 65536, 4)
        words, _, data = packet.partition(b'\n')
        connection = socket.socket(fileno=fds[0])
        self.addCleanup(connection.close)
        return words.decode(), data, connection

    def desk(self):
        """began, ended, served, took."""
        return struct.unpack('=4Q', os.pread(self.pool_.board, 32, DESKS + 3 * DESK))

    def test_requests_are_served_and_counted_without_a_word(self):
        self.accepting()
        for _ in range(3):
            self.assertIn(b'200 OK', self.ask())
        self.recall()
        began, ended, served, _ = self.desk()
        self.assertEqual((began, served), (0, 3))
        self.assertLessEqual(ended, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        with self.assertRaises(BlockingIOError):
            self.escrow.recv(1)

    def test_a_worker_that_was_recalled_accepts_none(self):
        self.accepting()
        self.recall()
        self.serves_who_waits()
        self.assertEqual(self.worker.hear(), 'back')  # one was its share

    def test_it_ends_with_its_time(self):
        self.accepting()
        self.pool_.tell_until(1)
        self.recall()
        self.say('accept 5')
        self.assertEqual(self.worker.hear(), 'accepting')
        self.assertEqual(self.worker.hear(), 'back')

    def test_what_is_not_plain_is_handed_over(self):
        self.accepting(limit=1000, page='/status')
        plain = peer.netstring({})
        for data in (
                peer.netstring({'CONTENT_LENGTH': '3'}) + b'abc', plain[:20], plain + b'x', b'0' + plain,
                plain[:-1] + b';', b'GET / HTTP/1.1\r\n\r\n', peer.netstring({'SCGI': '2'}),
                peer.netstring({'HTTP_X': 'x' * 1000}), peer.netstring({'PATH_INFO': '/status'}),
                peer.netstring({'HTTP_PROXY': 'x'}), peer.netstring({'PATH': '/bin'}),
                peer.netstring({'HTTP_TRANSFER_ENCODING': 'chunked'}), peer.netstring({'HTTP_CONTENT_LENGTH': '3'}),
                plain.replace(b'QUERY_STRING', b'REQUEST_METHOD').replace(b'121:', b'123:')):
            with self.subTest(data[:60]):
                client = self.connect()
                client.sendall(data)
                words, read, connection = self.handed()
                self.assertEqual((words, read), ('handed 0 0', data))
                connection.sendall(b'from the daemon')
                connection.close()
                self.assertEqual(self.rest(client), b'from the daemon')
        self.assertEqual(self.desk()[2], 0)

    def test_who_says_nothing_is_handed_over(self):
        self.accepting()
        silent = [self.connect() for _ in range(5)]
        for client in silent:
            words, read, connection = self.handed()
            self.assertEqual((words, read), ('handed 0 0', b''))
        # Who has spoken by the time that it comes in is served.
        self.recall()
        self.serves_who_waits()

    def test_other_users_are_the_daemon_s(self):
        self.accepting(kind='plain %d' % (os.getuid() + 1))
        client = self.connect()
        client.sendall(peer.netstring({}))
        self.assertEqual(self.handed()[:2], ('handed 0 0', b''))

    def test_whoever_takes_the_escrow_ends_the_request(self):
        gate = os.path.join(tempfile.mkdtemp(), 'gate')
        self.addCleanup(shutil.rmtree, os.path.dirname(gate))
        os.mkfifo(gate)
        self.accepting(target='impatient:application')
        for is_taken in False, True:
            client = self.connect()
            client.sendall(peer.netstring({'PATH_INFO': '/held', 'QUERY_STRING': gate}))
            with open(gate, 'wb', 0):  # the application has opened it
                self.assertGreater(self.desk()[0], 0)
                if is_taken:
                    packet, fds, _, _ = socket.recv_fds(self.escrow, 65536, 4)
                    self.assertTrue(packet.startswith(b'0 \n'), packet)
                    os.close(fds[0])
            if is_taken:
                self.assertEqual(self.worker.hear(), 'done')
            self.assertIn(b'200 OK', self.rest(client))
        # The daemon is to read when the second one began.
        self.assertGreater(self.desk()[0], 0)
        self.assertEqual(self.desk()[2], 1)

    def test_a_kernel_or_a_python_that_can_not_read_so(self):
        for ours, theirs in (('RWF_NOWAIT = 8', 'RWF_NOWAIT = 1 << 30'),
                             ('return os.preadv(', 'raise NotImplementedError  # ')):
            with self.subTest(theirs):
                self.accepting(replaced=(ours, theirs))
                silent = self.connect()
                self.assertEqual(self.handed()[:2], ('handed 0 0', b''))
                self.assertIn(b'200 OK', self.ask())
                self.recall()
                self.assertEqual(self.desk()[2], 1)
                silent.close()

    def test_a_worker_that_leaves_says_so(self):
        self.accepting()
        os.kill(self.worker.pid, signal.SIGTERM)
        self.assertEqual(self.worker.hear(), 'back last')
        self.assertIsNone(self.worker.hear())

    def test_a_front_that_stays_there_is_the_daemon_s(self):
        meta = peer.netstring({'PATH_INFO': '/hello'}).replace(b'SCGI\x001\0', b'SCGI\x001\0POLYCGI\x001\0')
        meta = b'%d%s' % (int(meta[:3]) + 10, meta[3:])
        no_pidfd = 'return os.pidfd_open(', 'raise AttributeError  # '
        for how, told, replaced in (('stay', b'QT', None), ('exit', b'QTD', None), ('exit', b'QTD', no_pidfd),
                                    ('stay', b'QT', no_pidfd)):
            with self.subTest(how, replaced=replaced):
                self.accepting(kind='front ' + how, replaced=replaced)
                front = self.connect()
                client = self.client()
                socket.send_fds(front, [meta], [client.theirs_in, client.theirs_out, client.theirs_out])
                client.started()
                # We are the front, and have not ended.
                self.assertEqual(self.worker.hear(), 'done')
                self.assertTrue(front.recv(8).startswith(told))
                packet, fds, _, _ = socket.recv_fds(self.escrow, 65536, 4)
                # A worker that sees the front's end has told it that all is done.
                self.assertIn(packet[:4], (b'0 %c\n' % told[-1], b'0 D\n'))
                for fd in fds:
                    os.close(fd)
                self.assertIn(b'200 OK', client.talk())

    def test_too_many_descriptors_are_the_daemon_s(self):
        self.accepting(kind='front stay')
        for count in 1, 2, 4:
            client = self.connect()
            socket.send_fds(client, [HELLO], [client.fileno()] * count)
            packet, fds, _, _ = socket.recv_fds(self.worker.channel, 65536, 4)
            self.assertEqual((packet[:11], len(fds)), (b'handed 0 %d\n' % (count > 3), 1 + min(count, 3)))
            for fd in fds:
                os.close(fd)

    def test_what_the_host_refuses_is_said(self):
        refusing = 'self.events = epoll()', "raise OSError(24, 'Too many open files')"
        self.accepting(replaced=refusing, says='back - [Errno 24] Too many open files')
