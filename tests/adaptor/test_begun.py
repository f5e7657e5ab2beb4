# Processes that an application has started end with the zygote or worker that has started them: every process with the
# test's mark in its environment is counted.

import os
import signal
import unittest
import uuid

import peer

COUNT = 6  # processes that starts.py starts at its import


class Begun(peer.Case):
    def setUp(self):
        super().setUp()
        self.mark = uuid.uuid4().hex
        self.env = dict(peer.ENVIRON, MARK=self.mark)

    def running(self):
        """All processes of the application, but the zygote and workers."""
        found = set()
        for name in os.listdir('/proc'):
            try:
                with open('/proc/%d/environ' % int(name), 'rb') as file:
                    is_ours = self.mark.encode() in file.read()
            except (ValueError, OSError):
                continue  # no process, or one that has ended
            if is_ours and int(name) not in self.known():
                found.add(int(name))
        return found

    def known(self):
        workers = {worker.pid for worker in self.way.workers if worker.pid}
        return workers | {self.way.process.pid}

    def start(self, **options):
        env = dict(self.env, **options.pop('env', {}))
        self.way = self.pool('starts:application', env=env, **options)
        return self.way

    def leave(self):
        self.way.channel.send(b'leave')
        self.way.channel.close()
        self.assertEqual(self.way.process.wait(), 0)

    def test_with_the_zygote(self):
        pool = self.start().up()
        self.assertEqual(len(self.running()), COUNT)
        for _ in range(2):  # a worker's end does not end what the import has started
            self.assertEqual(self.ask(pool).body, b'%d' % COUNT)
            os.kill(pool.worker.pid, signal.SIGTERM)
            self.assertEqual((pool.worker.hear(), pool.worker.reap()), (None, 0))
            self.assertEqual(pool.worker.said(), b'exit handler\n')
            pool.worker = None
            self.assertEqual(len(self.running()), COUNT)
        self.leave()
        self.assertEqual(self.running(), set())
        self.assertEqual(pool.said(), 'exit handler\n')

    def test_with_the_worker(self):
        pool = self.start(preload=False).up()
        self.assertEqual(self.running(), set())
        for _ in range(2):
            self.assertEqual(self.ask(pool).body, b'%d' % COUNT)
            self.assertEqual(len(self.running()), COUNT)
            pool.worker.end()
            self.assertEqual(pool.worker.reap(), 0)
            pool.worker = None
            self.assertEqual(self.running(), set())
        self.leave()

    def test_with_an_import_that_fails(self):
        for preload in True, False:
            pool = self.start(env={'FAILS': '1', 'JOINED': '1'}, preload=preload)
            if preload:
                self.assertEqual(pool.hear(), 'failed RuntimeError: on purpose')
                self.assertEqual(pool.process.wait(), 1)
                said = pool.said()
            else:
                worker = pool.up().spawn()
                pid = int(worker.hear().split()[1])
                self.assertEqual(worker.hear(), 'failed RuntimeError: on purpose')
                self.assertEqual(os.waitpid(pid, 0)[1] >> 8, 1)
                said = worker.said().decode()
            self.assertEqual(self.running(), set())
            self.assertIn('exit handler\n', said)

    def test_with_an_import_that_is_given_up(self):
        """The zygote starts itself anew: it imports nothing the next time."""
        pool = self.start(env={'THREAD': '1', 'JOINED': '1'})
        self.assertEqual(pool.hear(), 'unsafe the import left 1 thread running')
        self.assertEqual(pool.hear(), 'ready')
        self.assertEqual(self.running(), set())
        with open('/proc/%d/status' % pool.process.pid) as file:
            status = dict(line.split(':', 1) for line in file)
        for signals in 'SigIgn', 'SigBlk':
            self.assertFalse(int(status[signals], 16) >> signal.SIGTERM - 1 & 1, status)

    def test_of_a_request(self):
        """It ends with its worker, unless it has its own session."""
        pool = self.start().up()
        self.ask(pool, '/group')
        apart = int(self.ask(pool, '/session').body)
        self.addCleanup(os.kill, apart, signal.SIGKILL)
        self.assertEqual(len(self.running()), COUNT + 3)
        pool.worker.end()
        pool.worker.reap()
        pool.worker = None
        self.assertEqual(len(self.running()), COUNT + 1)
        self.leave()
        self.assertEqual(self.running(), {apart})


if __name__ == '__main__':
    unittest.main()
