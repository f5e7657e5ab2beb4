# What goes over the client's descriptors and when, both ways: which side waits for which, and what is held open.

import fcntl
import hashlib
import multiprocessing
import os
import tempfile
import unittest

import peer

BODY = os.urandom(1 << 20)
SUM = hashlib.sha256(BODY).hexdigest().encode()


class Streams(peer.Case):
    def gate(self):
        """The path of a FIFO at which an application waits."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, 'gate')
        os.mkfifo(path)
        return path

    def test_naive_adaptor_would_deadlock(self):
        """Shows that test_beside can fail."""
        careful = 'must_read = body and body.must_be_read()'
        self.assertIn(careful, peer.CGI_SOURCE)
        way = self.cgi('pep:application', source=peer.CGI_SOURCE.replace(careful, 'must_read = empty = False'))
        client = self.client(BODY)
        way.start(client, {'PATH_INFO': '/unread', 'QUERY_STRING': '200000',
                           'CONTENT_LENGTH': str(len(BODY))})
        with self.assertRaises(TimeoutError):
            client.talk(body_first=True, patience=1)

    def test_beside(self):
        for way in self.both('pep:application'):
            for kind in 'pipes', 'socket', 'tcp', 'file':
                for size in 100, 70000, 200000, 3000000:
                    with self.subTest(way=type(way).__name__, kind=kind, size=size):
                        response = self.ask(way, '/unread', BODY, kind, QUERY_STRING=str(size),
                                            body_first=True)
                        self.assertEqual(response.body[:-64], b'x' * size)
                        self.assertEqual(response.body[-64:], SUM)

    def test_never_read(self):
        for way in self.both('pep:application'):
            for kind in 'pipes', 'socket', 'tcp', 'file':
                for size in 100, 200000, 3000000:
                    with self.subTest(way=type(way).__name__, kind=kind, size=size):
                        response = self.ask(way, '/never_read', BODY, kind, QUERY_STRING=str(size),
                                            body_first=True)
                        self.assertEqual(len(response.body), size)
                        self.assertEqual(response.stderr, '')

    def test_client_that_hangs_up_in_its_body(self):
        for way in self.both('pep:application'):
            client = self.client(b'', length=10)
            way.start(client, {'PATH_INFO': '/never_read', 'QUERY_STRING': '10', 'CONTENT_LENGTH': '10'})
            os.close(client.to)
            client.to = -1
            self.assertTrue(client.talk().endswith(b'x' * 10))
            self.assertEqual(way.finish(), b'')

    def test_flags_of_the_client_s_descriptors(self):
        for way in self.both('pep:application'):
            for kind in 'pipes', 'socket':
                client = self.client(BODY, kind)
                copies = os.dup(client.theirs_in), os.dup(client.theirs_out)
                way.start(client, {'PATH_INFO': '/unread', 'QUERY_STRING': '200000',
                                   'CONTENT_LENGTH': str(len(BODY))})
                client.talk(until=SUM, body_first=True)
                way.finish()
                # A pipe's writing end has no other owner by then; a socket that is shared with the server stays open.
                changed = [bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK) for fd in copies]
                self.assertEqual(changed, [False, kind == 'pipes' and not way.run_once])
                for fd in copies:
                    os.close(fd)

    def test_descriptors_that_do_not_block(self):
        for way in self.both('pep:application'):
            for kind in 'pipes', 'socket':
                client = self.client(BODY, kind)
                os.set_blocking(client.theirs_in, False)
                os.set_blocking(client.theirs_out, False)
                way.start(client, {'PATH_INFO': '/echo', 'CONTENT_LENGTH': str(len(BODY))})
                self.assertTrue(client.talk().endswith(BODY))
                self.assertEqual(way.finish(), b'')

    def test_one_block_goes_out_whole(self):
        """The client does not read, and yet the request is done: all of it is in the pipe."""
        for way in self.both('pep:application'):
            for size in 10, 60000, 500000, 1000000:
                client = self.client()
                way.start(client, {'PATH_INFO': '/never_read', 'QUERY_STRING': str(size)})
                self.assertEqual(way.finish(), b'')
                self.assertEqual(len(client.talk().partition(b'\r\n\r\n')[2]), size)

    def test_blocks_go_out_at_once(self):
        for way in self.both('live:application'):
            for app in '/gated', '/gated_write':
                path = self.gate()
                client = self.client()
                way.start(client, {'PATH_INFO': app, 'QUERY_STRING': path})
                client.talk(until=b'first')
                with open(path, 'wb') as gate:
                    gate.write(b'second')
                self.assertTrue(client.talk().endswith(b'firstsecond'))
                way.finish()

    def test_client_that_hangs_up(self):
        for way in self.both('live:application'):
            for kind in 'pipes', 'socket':
                for app, said in ('/endless', b'closed\n'), ('/endless_write', b''):
                    client = self.client(kind=kind)
                    way.start(client, {'PATH_INFO': app})
                    client.talk(until=b'xxx')
                    client.hang_up()
                    self.assertEqual(way.finish(), said)
            self.assertEqual(way.word, None if way.run_once else 'done')

    def test_interrupted_calls(self):
        for way in self.both('live:application'):
            for kind in 'pipes', 'socket':
                response = self.ask(way, '/ticking', BODY, kind)
                self.assertEqual(hashlib.sha256(response.body).hexdigest().encode(), SUM)
                self.assertEqual(response.stderr, '')

    def test_processes_that_outlive_the_request(self):
        for way in self.both('live:application'):
            for by in ('Popen', 'shell', 'os.fork', 'os.fork in a thread',
                       *multiprocessing.get_all_start_methods()):
                with self.subTest(by, way=type(way).__name__):
                    path = self.gate()
                    client = self.client()
                    way.start(client, {'PATH_INFO': '/starts', 'QUERY_STRING': path,
                                       'HTTP_BY': by})
                    self.assertTrue(client.talk())  # to the end of the response
                    # Opening for writing waits until the process is there, and has it.
                    with open(path, 'wb'):
                        pass
                    way.finish()

    def test_child_that_is_terminated(self):
        for way in self.both('live:application'):
            self.assertEqual(self.ask(way, '/terminates').body, b'-15')

    def test_child_that_comes_back(self):
        for way in self.both('live:application'):
            response = self.ask(way, '/fork_returns')
            self.assertEqual(response.body, b'parent')
            self.assertEqual(self.ask(way, '/fork_exits').body, b'5')
            self.assertEqual(self.ask(way, '/fork_again').body, b'0')
            self.assertEqual(self.ask(way, '/fork_masked').body, b'1 1')
            self.assertEqual(self.ask(way, '/fork_dies').raw, b'')


if __name__ == '__main__':
    unittest.main()
