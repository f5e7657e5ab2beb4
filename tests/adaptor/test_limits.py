# How a request or a worker ends early: overdue, its client gone, too large, out of processor time, without a daemon.

import os
import resource
import signal
import socket
import subprocess
import tempfile
import unittest

import peer

BODY = os.urandom(1 << 20)


class Limits(peer.Case):
    def begin(self, app, pool=None, method='GET', **options):
        """A request of hangs.py that has begun."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, 'gate')
        os.mkfifo(path)
        pool = pool or self.pool('hangs:application', **options).up()
        client = self.client(length=10 if app == 'in_the_body' else 0)
        pool.start(client, {'PATH_INFO': '/' + app, 'QUERY_STRING': path, 'REQUEST_METHOD': method,
                            'CONTENT_LENGTH': str(client.length)})
        return pool, client, path

    def interrupt(self, pool):
        pool.tell(7, peer.OVERDUE)
        peer.ask_where(pool.worker.pid)
        # Python loses one that comes just before a system call that waits, until that is over.
        while not pool.turn.done:
            os.kill(pool.worker.pid, signal.SIGTERM)
            pool.turn.join(0.05)

    def test_overdue(self):
        """The stack is logged, `finally` and close() run, and nothing more is written."""
        for app, said, raw in (('in_the_app', 'finally\n', b''), ('in_a_thread', '', b''),
                               ('in_the_body', '', b''), ('in_a_block', 'close()\n', b'first'),
                               ('in_close', '', b'first'), ('caught', '', b'')):
            with self.subTest(app):
                pool, client, path = self.begin(app)
                with open(path, 'rb') as gate:
                    gate.read()
                self.interrupt(pool)
                os.close(client.to)
                client.to = -1
                self.assertEqual(client.talk().partition(b'\r\n\r\n')[2], raw)
                stderr = pool.finish().decode()
                self.assertIn('(most recent call first):\n', stderr)
                self.assertIn('hangs.py", line ', stderr)
                self.assertNotIn('SystemExit', stderr)
                self.assertIn(said, stderr)
                self.assertEqual((pool.word, pool.status), ('done last', 0))
                self.assertEqual(bool(pool.mark(7)), bool(raw))

    def test_overdue_and_the_application_has_the_signal(self):
        pool, client, path = self.begin('takes_sigterm')
        with open(path, 'rb') as gate:
            gate.read()
        self.interrupt(pool)
        self.assertEqual(client.talk(), b'')
        pool.finish()
        self.assertEqual(pool.mark(7), 0)

    def test_overdue_and_the_signal_comes_late(self):
        """An application that notices by itself that its client is gone writes its last words all the same."""
        pool, client, path = self.begin('has_last_words')
        pool.tell(7, peer.OVERDUE)
        with open(path, 'rb') as gate:
            gate.read()
        for words in 'at exit', 'last of all':
            with open(path, 'wb'):
                os.kill(pool.worker.pid, signal.SIGTERM)
            with open(path, 'rb') as gate:
                gate.read()
        self.assertEqual(client.talk(), b'')
        self.assertEqual(pool.finish(), b'at exit\nlast of all\n')
        self.assertEqual((pool.word, pool.status), ('done last', 0))

    def test_the_application_goes_on(self):
        """What it does after its response is finished in both ways, though the web server has sent SIGTERM."""
        for way in self.cgi('hangs:application'), self.pool('hangs:application').up():
            _, client, path = self.begin('goes_on', way)
            self.assertTrue(client.talk().endswith(b'\r\nall is well'))
            process = way.process if isinstance(way, peer.Cgi) else way.worker
            for words in 'thread', 'at exit', 'last of all':
                with open(path, 'wb'):
                    os.kill(process.pid, signal.SIGTERM)
                with open(path, 'rb') as gate:
                    gate.read()
            if isinstance(way, peer.Cgi):
                said, status = way.finish(), way.status
            else:
                status = way.worker.reap()
                said = way.worker.said()
            self.assertEqual((said, status), (b'thread\na child ended: 15\nat exit\nlast of all\n', 0))

    def test_a_cgi_is_ended_before_its_response_is_complete(self):
        for app, method, status in (('in_the_app', 'GET', -signal.SIGTERM), ('in_a_block', 'GET', -signal.SIGTERM),
                                    ('in_close', 'GET', -signal.SIGTERM), ('in_close', 'HEAD', 0)):
            with self.subTest(app, method=method):
                cgi = self.cgi('hangs:application')
                _, client, path = self.begin(app, cgi, method=method)
                with open(path, 'rb') as gate:
                    gate.read()
                os.kill(cgi.process.pid, signal.SIGTERM)
                if not status:  # Apache waits for no end of a response that has no message-body
                    with self.assertRaises(subprocess.TimeoutExpired):
                        cgi.process.wait(0.3)
                    cgi.process.kill()
                    status = -signal.SIGKILL
                cgi.finish()
                self.assertEqual(cgi.status, status)

    def test_overdue_at_any_moment(self):
        """The signal may come while code of the adaptor runs: never a crash, never two answers."""
        pool = self.pool('pep:application').up()
        words = set()
        for turn in range(200):
            client = self.client(BODY[:turn * 10])
            path = ('/echo', '/hello', '/raise_before', '/never_read')[turn % 4]
            pool.start(client, {'PATH_INFO': path, 'QUERY_STRING': '100000',
                                'CONTENT_LENGTH': str(len(client.body))})
            for _ in range(turn * 50):
                pass
            worker = pool.worker
            pool.tell(7, peer.OVERDUE)
            os.kill(worker.pid, signal.SIGTERM)
            client.talk()
            pool.turn.join()
            words.add(pool.turn.words[-1])
            said = pool.turn.words[-1]
            if said == 'done':  # the signal came after the request's end
                self.assertIsNone(worker.hear())
            self.assertIn(said, ('done', 'done last', None))
            stderr = worker.said().decode()
            self.assertNotIn('<string>', stderr.replace('File "<string>", line 1, in <module>', ''), stderr)
            self.assertEqual(worker.reap(), 0)
            worker.close()
            client.hang_up()
            pool.worker = None
        self.assertIn('done last', words)

    def test_gone(self):
        """The client is gone, though the pipe would take what is written."""
        pool, client, path = self.begin('writes')
        with open(path, 'rb'):
            pool.tell(7, peer.GONE)
        raw = client.talk()
        self.assertEqual(pool.finish(), b'closed\n')
        self.assertTrue(raw.endswith(b'first'))
        self.assertEqual((pool.word, pool.mark(7)), ('done', 2))

    def test_max_rss(self):
        pool = self.pool('hangs:application', max_rss=100 << 20).up()
        self.ask(pool, '/grows', QUERY_STRING='1')
        self.assertEqual(pool.word, 'done')
        self.ask(pool, '/grows', QUERY_STRING='100')
        self.assertEqual((pool.word, pool.status), ('done last', 0))
        self.ask(pool, '/grows', QUERY_STRING='1')
        self.assertEqual(pool.word, 'done')

    def test_cpu_limit(self):
        pool = self.pool('hangs:application', before=lambda: resource.setrlimit(
            resource.RLIMIT_CPU, (2, resource.getrlimit(resource.RLIMIT_CPU)[1]))).up()
        self.ask(pool, '/burns', QUERY_STRING='0.01')
        self.assertEqual(pool.word, 'done')
        self.ask(pool, '/burns', QUERY_STRING='1.7')
        self.assertEqual((pool.word, pool.status), ('done last', 0))

    def test_dead_man_s_switch(self):
        """Without a daemon, and without progress, a worker ends."""
        pool, client, path = self.begin('in_the_app', switch=1)
        with open(path, 'rb') as gate:
            gate.read()
        pool.worker.end()
        self.assertEqual(os.WTERMSIG(pool.worker.reap()), signal.SIGALRM)

    def test_dead_man_s_switch_and_progress(self):
        pool = self.pool('hangs:application', switch=2).up()
        self.assertEqual(self.ask(pool, '/slow_but_alive').body, b'01234')
        self.assertEqual(pool.word, 'done')
        # Not while it is idle.
        worker = pool.worker
        with self.assertRaises(socket.timeout):
            worker.channel.settimeout(2.5)
            worker.channel.recv(1)
        worker.channel.settimeout(None)
        self.assertEqual(self.ask(pool, '/quick').body, b'quick')
        # Not where the application has its own use for the signal.
        self.ask(pool, '/takes_alarm')
        self.assertEqual(self.ask(pool, '/alarmed').body, b"['alarm']")

    def test_switch_is_off_while_the_loop_sends(self):
        pool = self.pool('pep:application', switch=1, before=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (1500000, 1500000))).up()
        client = self.client()
        pool.start(client, {'PATH_INFO': '/large', 'QUERY_STRING': '8'})
        while 'full' not in pool.turn.words:
            pool.turn.join(0.005)
        pool.turn.join(1.5)
        self.assertEqual(len(client.talk().partition(b'\r\n\r\n')[2]), 8 << 20)
        self.assertEqual(pool.finish(), b'')
        self.assertEqual(pool.word, 'done')


if __name__ == '__main__':
    unittest.main()
