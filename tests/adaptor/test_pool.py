# The pool: its messages, signals and forks, and what the daemon relies on when they fail.

import ast
import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
import unittest

import peer

NOBODY = 65534
NPROC = resource.getrlimit(resource.RLIMIT_NPROC)[1]


def poor(limit):
    """Before an exec: becomes a user with this limit of processes, which root does not have."""
    def become():
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, NPROC))
    return become


class Imports(peer.Case):
    def test_nothing_is_imported_for_a_cgi(self):
        plain = subprocess.run([peer.PYTHON, '-c', 'import sys; print(sorted(sys.modules))'],
                               env=peer.ENVIRON, stdout=subprocess.PIPE, check=True)
        response = self.ask(self.cgi('bare:application'))
        seen = ast.literal_eval(response.body.decode())
        # Both are built in: importing them reads no file.
        self.assertEqual(set(seen) - set(ast.literal_eval(plain.stdout.decode())), {'atexit', 'bare', 'faulthandler'})

    def test_import_fails(self):
        for target, reason in (
                ('nowhere:application', "ModuleNotFoundError: No module named 'nowhere'"),
                ('bare:missing', "AttributeError: module 'bare' has no attribute 'missing'"),
                ('broken_syntax:application', 'SyntaxError: '),
                ('broken_exit:application', 'SystemExit: no settings: SECRET is not set')):
            with self.subTest(target):
                pool = self.pool(target)
                self.assertRegex(pool.hear(), '^failed ' + reason)
                self.assertIsNone(pool.hear())
                self.assertEqual(pool.process.wait(), 1)
                self.assertIn(reason.split(':')[0], pool.said())
                self.assertNotIn('<string>', pool.said())

                worker = self.pool(target, preload=False).up().spawn()
                self.assertRegex(worker.hear(), r'^born \d+$')
                self.assertRegex(worker.hear(), '^failed ' + reason)
                self.assertIsNone(worker.hear())
                self.assertIn(reason.split(':')[0], worker.said().decode())

                cgi = self.cgi(target)
                response = self.ask(cgi)
                self.assertEqual(response.status, '500 Internal Server Error')
                self.assertIn(reason.split(':')[0], response.stderr)
                self.assertEqual(cgi.status, 0)

    def test_unsafe_preload(self):
        for target, reason in (('threaded:application', 'the import left 1 thread running'),
                               ('connected:application', 'the import left descriptor'),
                               ('looping:application', 'the import left descriptor')):
            with self.subTest(target):
                pool = self.pool(target)
                self.assertIn('unsafe ' + reason, pool.hear())
                self.assertEqual(pool.hear(), 'ready')
                self.assertEqual(self.ask(pool, '/hello').body, b'hello\n')
                # As with preload off from the start; only the worker's imports differ.
                seen = ast.literal_eval(self.ask(pool, '/process').body.decode())
                seen['environ'].pop('ADDED', None)
                self.assertEqual(seen['environ'], peer.ENVIRON)
                with open('/proc/%d/environ' % pool.process.pid, 'rb') as file:
                    self.assertNotIn(b'ADDED', file.read())
                self.assertEqual(os.readlink('/proc/%d/cwd' % pool.process.pid), peer.APPS)

    def test_safe_preload(self):
        pool = self.pool('datagrams:told').up()
        for _ in range(3):
            hooks, led = ast.literal_eval(self.ask(pool).body.decode())
            self.assertEqual(hooks[-3:], ['child', 'before', 'child'])
            self.assertTrue(led)
        self.assertEqual(pool.said(), 'printed at import\n')
        # Neither the default time-out of the application's sockets nor its handlers concern the adaptor.
        self.assertEqual(pool.word, 'done')
        os.kill(pool.worker.pid, signal.SIGTERM)
        self.assertEqual((pool.worker.hear(), pool.worker.reap()), (None, 0))
        pool.process.terminate()
        self.assertIn(pool.process.wait(), (0, -signal.SIGTERM))


class Signals(peer.Case):
    def busy(self, pool, name='gated_before'):
        """A client whose request is in the application, and the FIFO that lets it go on."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, 'gate')
        os.mkfifo(path)
        client = self.client()
        pool.start(client, {'PATH_INFO': '/' + name, 'QUERY_STRING': path})
        gate = open(path, 'wb')  # waits for the application
        self.addCleanup(gate.close)
        return client, gate

    def test_idle(self):
        for preload in True, False:
            worker = self.pool('live:application', preload=preload).up().spawn().ready()
            os.kill(worker.pid, signal.SIGTERM)
            self.assertEqual((worker.hear(), worker.reap()), (None, 0))

    def test_idle_after_a_request(self):
        pool = self.pool('live:application').up()
        self.assertEqual(self.ask(pool, '/takes_signals').body, b'taken')
        os.kill(pool.worker.pid, signal.SIGTERM)
        self.assertEqual((pool.worker.hear(), pool.worker.reap()), (None, 0))

    def test_idle_and_the_application_has_the_wakeup_descriptor(self):
        pool = self.pool('live:application').up()
        self.assertEqual(self.ask(pool, '/takes_wakeup').body, b'taken')
        # Python loses one that comes just before a system call that waits, until that is over.
        while not select.select([pool.worker.channel], [], [], 0.05)[0]:
            os.kill(pool.worker.pid, signal.SIGTERM)
        self.assertEqual((pool.worker.hear(), pool.worker.reap()), (None, 0))

    def test_busy(self):
        pool = self.pool('live:application').up()
        client, gate = self.busy(pool)
        os.kill(pool.worker.pid, signal.SIGTERM)
        gate.write(b'in peace')
        gate.close()
        self.assertTrue(client.talk().endswith(b'in peace'))
        pool.finish()
        self.assertEqual((pool.word, pool.status), ('done last', 0))

    def test_daemon_is_gone_while_busy(self):
        pool = self.pool('live:application').up()
        client, gate = self.busy(pool, 'gated_log')
        pool.worker.channel.shutdown(socket.SHUT_RDWR)
        os.close(pool.worker.stderr)  # no one reads the log any more; the client is answered
        pool.worker.stderr = -1
        gate.write(b'in peace')
        gate.close()
        self.assertTrue(client.talk().endswith(b'in peace'))
        self.assertEqual(pool.worker.reap(), 0)

    def test_daemon_is_gone(self):
        pool = self.pool('live:application').up()
        worker = pool.spawn().ready()
        worker.channel.close()
        self.assertEqual(worker.reap(), 0)
        pool.channel.close()
        self.assertEqual(pool.process.wait(), 0)

    def test_a_late_empty(self):
        pool = self.pool('pep:application').up()
        pool.worker = pool.spawn(7).ready()
        pool.worker.channel.send(b'empty')
        self.assertEqual(self.ask(pool, '/hello').body, b'hello\n')

    def test_system_exit(self):
        pool = self.pool('pep:application').up()
        self.ask(pool, '/system_exit')
        self.assertEqual((pool.word, pool.status), ('done last', 0))
        self.assertEqual(self.ask(pool, '/hello').body, b'hello\n')

    def test_signal_and_request_meet(self):
        """A request is served, or can't be sent to the worker: it is never taken and dropped."""
        pool = self.pool('pep:application').up()
        served = refused = 0
        for turn in range(300):
            worker = pool.spawn().ready()
            client = self.client()
            if turn % 2:
                os.kill(worker.pid, signal.SIGTERM)
            for _ in range(turn * 40):
                pass  # so that signal and request come at every distance
            try:
                socket.send_fds(worker.channel, [peer.netstring({'PATH_INFO': '/hello'})],
                                [client.theirs_in, client.theirs_out])
            except (BrokenPipeError, ConnectionResetError):
                refused += 1
                expected, word = b'', None
            else:
                served += 1
                expected, word = b'hello\n', 'done last'
            client.started()
            if not turn % 2:
                os.kill(worker.pid, signal.SIGTERM)
            self.assertEqual(client.talk().partition(b'\r\n\r\n')[2], expected)
            said = worker.hear()
            if said == 'done':  # the signal came after the request's end
                said = worker.hear() or word
            self.assertEqual(said, word)
            self.assertEqual(worker.reap(), 0)
            worker.close()
            client.hang_up()
        self.assertTrue(served and refused, (served, refused))


class Forks(peer.Case):
    def test_fork_fails(self):
        # The zygote's own fork fails, or that of the child in between.
        for limit in 1, 2:
            try:
                pool = self.pool('pep:application', preload=False, before=poor(limit)).up()
            except PermissionError:
                self.skipTest('the user nobody may not run this interpreter')
            worker = pool.spawn(3)
            self.assertIsNone(worker.hear())
            # Reported first: the end of the channel alone would mean that the worker died.
            pool.channel.setblocking(False)
            self.assertEqual(pool.hear(), 'fork-failed 3 11')
            pool.channel.setblocking(True)
            # Its own user may raise its limit again.
            subprocess.run([peer.PYTHON, '-c', 'import resource; resource.prlimit(%d, %d, (%d, %d))' % (
                pool.process.pid, resource.RLIMIT_NPROC, NPROC, NPROC)],
                check=True, preexec_fn=poor(NPROC))
            self.assertEqual(self.ask(pool, '/hello').body, b'hello\n')

    def test_worker(self):
        pool = self.pool('pep:application').up()
        workers = [pool.spawn(index).ready() for index in range(3)]
        for worker in workers:
            with open('/proc/%d/stat' % worker.pid) as file:
                parent, group = file.read().rpartition(')')[2].split()[1:3]
            self.assertEqual((int(parent), int(group)), (os.getpid(), worker.pid))
            with open('/proc/%d/oom_score_adj' % worker.pid) as file:
                self.assertEqual(file.read(), '500\n')
            self.assertEqual(os.readlink('/proc/%d/fd/0' % worker.pid), os.devnull)
            one, two = (os.readlink('/proc/%d/fd/%d' % (worker.pid, fd)) for fd in (1, 2))
            self.assertEqual(one, two)
        # A worker's channel is held by the daemon and that worker: not by the zygote, not by others.
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            self.assertIsNone(worker.hear())
            worker.reap()

    def test_descriptors_do_not_pile_up(self):
        pool = self.pool('pep:application').up()
        counts = set()
        for path in ('/hello', '/read', '/raise_before', '/prints') * 5:
            self.ask(pool, path, b'abc', QUERY_STRING='body.read(1)')
            counts.add(len(os.listdir('/proc/%d/fd' % pool.worker.pid)))
        self.assertEqual(len(counts), 1)
        before = len(os.listdir('/proc/%d/fd' % pool.process.pid))
        for index in range(5):
            pool.spawn(index).ready()
        self.assertEqual(len(os.listdir('/proc/%d/fd' % pool.process.pid)), before)

    def test_page(self):
        """The byte is set by the first write to the client, and by nothing else; see test_limits.test_gone."""
        pool = self.pool('pep:application').up()
        for path, byte in (('/os_exit', 0), ('/hello', 1), ('/nothing', 1), ('/raise_before', 0)):
            self.ask(pool, path)
            self.assertEqual(pool.mark(7), byte, path)
            self.assertEqual(pool.mark(6) + pool.mark(8), 0)
        self.ask(pool, '/stale_write')
        self.ask(pool, '/stale_write', QUERY_STRING='exit')
        self.assertEqual(pool.mark(7), 0)
        pool = self.pool('live:application').up()
        self.ask(pool, '/fork_dies')
        self.assertEqual(pool.mark(7), 0)

    def test_requests_do_not_see_each_other(self):
        pool = self.pool('pep:application').up()
        self.assertEqual(self.ask(pool, '/stale_write').body, b'present')
        self.assertEqual(self.ask(pool, '/stale_write').body, b'present')

    def test_large_header(self):
        pool = self.pool('pep:application').up()
        response = self.ask(pool, '/hello', HTTP_COOKIE='x' * 100000)
        self.assertEqual(response.body, b'hello\n')


if __name__ == '__main__':
    unittest.main()
