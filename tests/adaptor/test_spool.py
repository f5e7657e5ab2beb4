# What a worker leaves to the loop: the rest of a response to a slow client, a message-body that was not read; and what
# the loop has read before the worker was there.

import hashlib
import os
import random
import resource
import select
import socket
import tempfile
import time
import unittest

import peer

BODY = os.urandom(1 << 20)
KINDS = 'pipes', 'socket', 'tcp'


class Spool(peer.Case):
    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def large(self, pool, kind='pipes', blocks=8, **options):
        client = self.client(kind=kind)
        pool.start(client, {'PATH_INFO': '/large', 'QUERY_STRING': str(blocks)}, **options)
        return client

    def assert_large(self, client, blocks=8):
        body = client.talk().partition(b'\r\n\r\n')[2]
        self.assertEqual(len(body), blocks << 20)
        self.assertEqual(body[::1 << 20] + body[(1 << 20) - 1::1 << 20], bytes(range(blocks)) * 2)

    def wait_for(self, pool, word):
        """Waits until the worker has said so; the client does not read."""
        while word not in pool.turn.words:
            pool.turn.join(0.005)

    def test_slow_client(self):
        """The client does not read, and yet the worker is done."""
        for letters in b'', b's':
            for kind in KINDS:
                pool = self.pool('pep:application').up()
                client = self.large(pool, kind, letters=letters)
                self.wait_for(pool, 'done')
                words = pool.turn.words
                self.assertEqual((words[0], words.count('spooled')), ('spooled', 1), (kind, words))
                self.assert_large(client)
                self.assertEqual(pool.finish(), b'')
                self.assertEqual(self.ask(pool, '/hello').body, b'hello\n')

    def test_fast_client(self):
        """For a client that reads nothing is written to a disk."""
        pool = self.pool('pep:application', patience=peer.DEADLINE).up()
        for kind in KINDS:
            self.assert_large(self.large(pool, kind))
            pool.finish()
            self.assertEqual(pool.turn.words, ['done'], kind)

    def test_others_wait(self):
        """While other requests wait for the worker, a client that does not read is slow at once."""
        pool = self.pool('pep:application', patience=10 * peer.DEADLINE).up()
        pool.tell_waiting(1)
        client = self.large(pool)
        self.wait_for(pool, 'done')
        self.assertIn('spooled', pool.turn.words)
        self.assert_large(client)

    def test_back_to_the_client(self):
        """Once all is sent the file is empty, and what comes then goes to the client."""
        pool = self.pool('slow:application', patience=0.5).up()  # time to look at the file
        path = os.path.join(self.folder(), 'gate')
        os.mkfifo(path)
        client = self.client()
        pool.start(client, {'PATH_INFO': '/twice', 'QUERY_STRING': path})
        for turn in range(3):
            with open(path, 'wb'):  # waits until the application is behind its large block
                self.wait_for(pool, 'spooled')
                client.talk(until=b'end of %d' % turn)
                while pool.turn.sending:
                    pool.turn.join(0.001)
            client.talk(until=b'small %d' % turn)
            if turn < 2:  # the client is still there
                self.assertEqual(os.fstat(pool.turn.spool).st_size, 0)
        data = client.talk().partition(b'\r\n\r\n')[2]
        pool.finish()
        self.assertEqual(data, b''.join(b'%d' % turn * 3000000 + b'end of %d' % turn + b'small %d' % turn
                                        for turn in range(3)))

    def test_full_spool(self):
        for used, limit in (0, 0), (0, 1000), (1 << 30, 1 << 30):
            pool = self.pool('pep:application').up()
            pool.tell_spool(used, limit)
            for kind in KINDS:
                client = self.large(pool, kind)
                pool.turn.join(0.2)
                self.assert_large(client)
                self.assertEqual(pool.finish(), b'')
                self.assertEqual(pool.turn.words, ['done'])

    def test_no_room_on_the_disk(self):
        """RLIMIT_FSIZE acts as a full disk: what fits is in the file."""
        pool = self.pool('pep:application', before=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (1500000, 1500000))).up()
        client = self.large(pool)
        self.wait_for(pool, 'full')
        self.assert_large(client)
        self.assertEqual(pool.finish(), b'')

    def test_no_folder(self):
        pool = self.pool('pep:application', spool='/nowhere').up()
        self.assert_large(self.large(pool))
        pool.finish()
        self.assertEqual(pool.turn.words, ['done'])

    def test_unlinked(self):
        folder = self.folder()
        pool = self.pool('pep:application', spool=folder).up()
        client = self.large(pool)
        self.wait_for(pool, 'done')
        self.assertEqual(os.listdir(folder), [])
        link = os.readlink('/proc/self/fd/%d' % pool.turn.spool)
        self.assertTrue(link.startswith(folder), link)
        self.assert_large(client)
        pool.finish()

    def test_client_that_hangs_up_while_spooled(self):
        pool = self.pool('live:application').up()
        for kind in KINDS:
            client = self.client(kind=kind)
            pool.start(client, {'PATH_INFO': '/endless'})
            self.wait_for(pool, 'spooled')
            client.hang_up()
            self.assertEqual(pool.finish(), b'closed\n')
            self.assertEqual(pool.word, 'done')

    def test_daemon_is_gone_while_it_sends(self):
        pool = self.pool('live:application', limit=1 << 20).up()
        client = self.client()
        pool.start(client, {'PATH_INFO': '/endless'})
        self.wait_for(pool, 'spooled')
        pool.worker.channel.shutdown(socket.SHUT_RDWR)
        self.assertEqual(pool.worker.reap(), 0)
        client.hang_up()

    def test_children_do_not_hold_it(self):
        """What the application forks has neither the client nor the spool."""
        pool = self.pool('slow:application').up()
        client = self.client()
        pool.start(client, {'PATH_INFO': '/forks'})
        self.wait_for(pool, 'done')
        raw = client.talk()
        pool.finish()
        self.assertEqual(raw.partition(b'\r\n\r\n')[2].lstrip(b'x'), b'[]')

    def test_fits_and_starts(self):
        """A client that reads now and then: by pipe or by file, the bytes come in order."""
        pool = self.pool('slow:application').up()
        for kind in KINDS:
            for turn in range(4):
                client = self.client(kind=kind)
                pool.start(client, {'PATH_INFO': '/blocks', 'QUERY_STRING': str(turn)})
                chance = random.Random(turn)
                while b'the end' not in client.received[-7:]:
                    until = time.monotonic() + chance.choice((0, 0, 0.06, 0.2))
                    while time.monotonic() < until and not pool.turn.done:
                        pool.turn.join(0.01)
                    for _ in range(chance.choice((1, 20))):
                        ready, _, _ = select.select([client.of], [], [], 1)
                        if ready:
                            client.received += os.read(client.of, 1 << chance.choice((10, 16, 20)))
                body = client.talk().partition(b'\r\n\r\n')[2]
                self.assertEqual(pool.finish(), b'')
                self.assertEqual(hashlib.sha1(body[:-47]).hexdigest().encode(), body[-47:-7])

    def test_unread(self):
        pool = self.pool('pep:application').up()
        for kind in KINDS:
            response = self.ask(pool, '/never_read', BODY, kind, QUERY_STRING='10')
            self.assertEqual(len(response.body), 10)
            self.assertEqual(pool.turn.words, ['unread %d' % len(BODY), 'done'])
            self.ask(pool, '/digest', BODY, kind)
            self.assertEqual(pool.turn.words, ['done'])
        self.ask(pool, '/never_read', BODY, 'file', QUERY_STRING='10')
        self.assertEqual(pool.turn.words, ['done'])  # with a file for a body there is no wait

    def test_ahead(self):
        pool = self.pool('pep:application').up()
        digest = b'%d %s' % (len(BODY), hashlib.sha256(BODY).hexdigest().encode())
        for size in 0, 1, 70000, len(BODY) - 1, len(BODY):
            for app, expected in ('/digest', digest), ('/echo', BODY), ('/never_read', b'xxxxx'):
                client = self.client(BODY[size:], length=len(BODY))
                pool.start(client, {'PATH_INFO': app, 'CONTENT_LENGTH': str(len(BODY)),
                                    'QUERY_STRING': '5'}, ahead=BODY[:size])
                raw = client.talk()
                self.assertEqual(pool.finish(), b'')
                self.assertTrue(raw.endswith(b'\r\n\r\n' + expected), (app, size))
        pool.start(client := self.client(), {'PATH_INFO': '/hello'}, ahead=b'not wanted')
        client.talk()
        pool.finish()
        self.assertEqual(self.ask(pool, '/hello').body, b'hello\n')

    def test_ahead_in_lines(self):
        pool = self.pool('pep:application').up()
        client = self.client(b'c\nde', length=8)
        pool.start(client, {'PATH_INFO': '/read', 'QUERY_STRING': 'list(body)', 'CONTENT_LENGTH': '8'},
                   ahead=b'a\nb\n')
        self.assertTrue(client.talk().endswith(b"[b'a\\n', b'b\\n', b'c\\n', b'de']"))
        pool.finish()

    def test_moved(self):
        """Each block that is read or written counts, and nothing else does."""
        pool = self.pool('pep:application').up()
        counts = []
        for path, body in ('/hello', b''), ('/os_exit', b''), ('/generator', b''), ('/digest', BODY):
            before = pool.moved(7)
            self.ask(pool, path, body)
            counts.append(pool.moved(7) - before)
        self.assertEqual(counts[:3], [1, 0, 2])
        self.assertGreater(counts[3], 10)
        self.assertEqual(pool.moved(6) + pool.moved(8), 0)

    def test_interrupted_calls(self):
        pool = self.pool('live:application').up()
        for kind in KINDS:
            client = self.client(BODY * 5, kind)
            pool.start(client, {'PATH_INFO': '/ticking', 'CONTENT_LENGTH': str(len(BODY) * 5)})
            client.body, body = client.body[:0], client.body
            client.talk(until=b'')
            client.body = body
            self.assertTrue(client.talk().endswith(BODY * 5))
            self.assertEqual(pool.finish(), b'')


if __name__ == '__main__':
    unittest.main()
