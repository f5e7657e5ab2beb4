"""The visitors of the overload bench and its arithmetic, against a server that behaves in a known way.
usage: /usr/bin/python3 -B -m unittest discover -s tests/bench"""

import collections
import os
import random
import selectors
import socket
import threading
import time
import unittest

import common
import figures
import outcomes
import overload
import visitors
from outcomes import Run
from visitors import Answer, Group, Jar, Plan, Sends, Wanted

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npage\n'


def refusal(*fields, status='503 Service Unavailable'):
    return '\r\n'.join([f'HTTP/1.1 {status}', *fields, '', 'no']).encode()


class Server:
    """Answers each request by `behave(its header, requests before it)`: bytes, or None for no answer at all. Keeps
    (when, client's address, header) of each."""

    def __init__(self, behave):
        self.behave, self.asked = behave, []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=512)
        self.address = self.listener.getsockname()
        self.selector, self.over, self.silent = selectors.DefaultSelector(), threading.Event(), []
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while not self.over.is_set():
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self.selector.register(self.listener.accept()[0], selectors.EVENT_READ)
                else:
                    self.answer(key.fileobj)

    def answer(self, client):
        self.selector.unregister(client)
        head = client.recv(65536).decode()
        said = self.behave(head, len(self.asked))
        self.asked.append((time.monotonic(), client.getpeername()[0], head))
        if said is None:
            self.silent.append(client)
            return
        client.sendall(said)
        client.close()

    def stop(self):
        self.over.set()
        self.thread.join()
        for each in self.silent:
            each.close()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()


class Case(unittest.TestCase):
    def server(self, behave):
        server = Server(behave)
        self.addCleanup(server.stop)
        return server

    def plan(self, server, **times):
        times = {'swarm_from': 0, 'swarm_until': 0.2, 'end': 0.2, 'demand': 0} | times
        return Plan(server.address, '/', time.monotonic(), **times)

    def read(self, behave, pages=1):
        """What becomes of one person who wants a page now; the server too."""
        server, log, loop = self.server(behave), [], visitors.Loop()
        plan = self.plan(server, end=60, patience=0.3)
        person = visitors.Person(loop, plan, 1, pages, lambda: 0.01, log)
        person.want(time.monotonic())
        loop.run(loop.is_idle)
        return log, server


class APerson(Case):
    def test_comes_back_after_retry_after_with_the_cookie(self):
        def behave(head, _):
            is_known = 'Cookie: ticket=a.b; other=1\r\n' in head
            return OK if is_known else refusal('Retry-After: 1', 'Set-Cookie: ticket=a.b; Path=/; Max-Age=600; HttpOnly',
                                               'Set-Cookie: other=1')

        (page,), server = self.read(behave)
        self.assertEqual((page.is_served, page.retries, page.is_first), (True, 1, True))
        first, second = (when for when, *_ in server.asked)
        self.assertGreaterEqual(second - first, 1)
        self.assertGreaterEqual(page.ended - page.began, second - first)
        self.assertEqual(outcomes.within([page]), 1)

    def test_is_not_served_within_one_retry_where_a_ticket_counts_for_nothing(self):
        (page,), server = self.read(lambda head, before: OK if before == 2 else refusal(
            'Retry-After: 0', f'Set-Cookie: ticket={before}; Path=/'))
        self.assertEqual((page.is_served, page.retries, outcomes.within([page])), (True, 2, 0))
        self.assertIn('Cookie: ticket=1\r\n', server.asked[2][2])

    def test_gives_up_after_some_retries_and_reads_no_further(self):
        (page,), server = self.read(lambda *_: refusal('Retry-After: 0'), pages=4)
        self.assertEqual((page.is_served, page.retries, len(server.asked)), (False, visitors.RETRIES, 1 + visitors.RETRIES))
        self.assertEqual(outcomes.within([page], retries=9), 0)

    def test_leaves_where_no_answer_comes(self):
        (page,), server = self.read(lambda *_: None, pages=4)
        self.assertEqual((page.is_served, page.retries, len(server.asked)), (False, 0, 1))
        self.assertGreaterEqual(page.ended - page.began, 0.3)

    def test_keeps_its_cookies_for_the_next_pages(self):
        pages, server = self.read(lambda head, before: OK if before else
                                  OK.replace(b'\r\n\r\n', b'\r\nSet-Cookie: pass=1; Path=/\r\n\r\n'), pages=3)
        self.assertEqual([(page.is_first, page.is_served) for page in pages], [(True, True), (False, True), (False, True)])
        self.assertEqual(['Cookie: pass=1' in head for *_, head in server.asked], [False, True, True])
        self.assertEqual(len({source for _, source, _ in server.asked}), 1)

    def test_ends_the_run_where_a_page_is_no_page(self):
        with self.assertRaises(common.Failed):
            self.read(lambda *_: OK.replace(b'page', b'pag'))

    def test_takes_a_connection_that_breaks_for_a_failure(self):
        visitors.RELOAD, reload = 0.01, visitors.RELOAD
        self.addCleanup(setattr, visitors, 'RELOAD', reload)
        (page,), server = self.read(lambda _, before: OK if before else refusal(status='502 Bad Gateway'))
        self.assertEqual((page.is_served, page.retries, len(server.asked)), (True, 1, 2))


class People(Case):
    def test_want_as_much_as_was_said_from_the_beginning(self):
        # Pages wanted in the first and in the last 50 s of 200, if each comes at once.
        wanted, chance = collections.Counter(), random.Random(1)
        for first, pages in visitors.visits(Plan(None, '/', 0, 0, 0, 200, 20), chance):
            for _ in range(pages):
                wanted[first // 50] += 1
                first += chance.uniform(*visitors.PAUSE)
        for part in 0, 3:
            self.assertAlmostEqual(wanted[part] / 50, 20, delta=2.5)

    def test_of_the_eager_kind_ask_again_at_once_till_the_swarm_ends(self):
        server = self.server(lambda *_: OK)
        people, eager, _ = visitors.people(self.plan(server, eager=2, swarm_until=0.7, end=0.7))
        self.assertEqual((people, {page.person for page in eager}), ([], {100_000, 100_001}))
        self.assertGreater(len(eager), 4)
        self.assertLess(max(page.began for page in eager), 0.7)


class ASwarm(Case):
    def swarm(self, behave, *groups, **times):
        server = self.server(behave)
        return *visitors.swarm(self.plan(server, groups=list(groups), **times)), server

    def test_comes_by_its_schedule_however_long_answers_take(self):
        logs, sends, server = self.swarm(lambda *_: None, Group('all', 200, 50), patience=0.2)
        due = list(visitors.schedule(200, 0, 0.2, random.Random(1000)))
        self.assertEqual((len(server.asked), sends.count), (len(due), len(due)))
        self.assertEqual({kind for _, _, kind in logs['all']}, {visitors.LEFT})
        self.assertGreaterEqual(min(took for took, *_ in logs['all']), 0.2)

    def test_ignores_cookies_and_retry_after(self):
        logs, sends, server = self.swarm(lambda *_: refusal('Retry-After: 1', 'Set-Cookie: ticket=1'), Group('all', 200, 9))
        self.assertEqual([kind for *_, kind in logs['all']], [visitors.REFUSED] * sends.count)
        self.assertEqual(len(server.asked), sends.count)
        self.assertFalse([head for *_, head in server.asked if 'Cookie' in head])
        self.assertEqual(len({source for _, source, _ in server.asked}), 9)

    def test_of_keepers_has_a_ticket_for_each_address(self):
        _, _, server = self.swarm(lambda _, before: refusal(f'Set-Cookie: ticket={before}; Path=/'),
                                  Group('all', 300, 4, 'own'))
        for _, source, head in server.asked[20:]:
            given = [number for number, (_, other, _) in enumerate(server.asked) if other == source]
            self.assertIn(int(head.partition('Cookie: ticket=')[2].partition('\r\n')[0]), given)

    def test_that_shares_has_one_ticket(self):
        _, _, server = self.swarm(lambda _, before: refusal(f'Set-Cookie: ticket={before}; Path=/'),
                                  Group('all', 300, 4, 'shared'))
        sent = collections.Counter(head.partition('Cookie: ')[2].partition('\r\n')[0] for *_, head in server.asked)
        self.assertEqual(len([cookie for cookie in sent if cookie]), 1)
        self.assertGreater(len({source for _, source, head in server.asked if 'Cookie' in head}), 1)

    def test_looks_like_people_but_for_the_cookie(self):
        _, server = self.read(lambda *_: OK)
        _, _, other = self.swarm(lambda *_: OK, Group('all', 100, 4))
        self.assertEqual({head for *_, head in server.asked}, {head for *_, head in other.asked})

    def test_says_that_it_was_late(self):
        server, loop = self.server(lambda *_: OK), visitors.Loop()
        plan = self.plan(server, swarm_until=0.4, groups=[Group('all', 200)])
        loop.at(plan.start + 0.1, lambda: time.sleep(0.2))
        visitors.Scrapers(loop, plan, plan.groups[0], 0, []).come()
        loop.run(lambda: time.monotonic() > plan.start + 0.4 and loop.is_idle())
        self.assertGreater(loop.sends.late, 20)
        self.assertTrue(Run(plan, [], [], {}, [Sends(), loop.sends]).is_late())
        self.assertFalse(Run(plan, [], [], {}, [Sends(1000, 10), Sends()]).is_late())
        self.assertTrue(Run(plan, [], [], {}, [Sends(1000, 11), Sends()]).is_late())


class AtThePeak(Case):
    def test_each_asks_again_and_pages_are_counted(self):
        server = self.server(lambda _, before: OK if before % 2 else refusal())
        rate = visitors.saturate(self.plan(server, end=0.5), 2)
        self.assertGreater(rate, 2)
        self.assertAlmostEqual(rate * 0.5, len(server.asked) / 2, delta=3)


def start_of(plan, number):
    return number, plan.start


def fails(plan):
    common.fail('it fails')


def ends(plan):
    os._exit(1)


class Processes(unittest.TestCase):
    PLAN = Plan(None, '/', 0, 0, 0, 0, 0)

    def test_start_together_and_return_what_they_found(self):
        found = overload.beside([(start_of, self.PLAN, number) for number in range(20)])
        self.assertEqual([number for number, _ in found], list(range(20)))
        self.assertEqual(len({start for _, start in found}), 1)

    def test_that_fail_end_the_run(self):
        for call, why in (fails, 'it fails'), (ends, 'ended'):
            with self.assertRaisesRegex(common.Failed, why):
                overload.beside([(start_of, self.PLAN, 1), (call, self.PLAN)])


class AJar(unittest.TestCase):
    def jar(self, *lines, path='/app/page?x=/y/'):
        jar, head = Jar(), '\r\n'.join(['HTTP/1.1 200 OK', *(f'set-cookie: {line}' for line in lines)])
        jar.take(Answer(visitors.PAGE, head), path, 100)
        return jar

    def test_sends_a_cookie_below_its_path_only(self):
        jar = self.jar('a=1; Path=/app', 'b=2; path=/app/', 'c=3; Path=/', 'd=4')
        for path, names in ('/app', 'acd'), ('/app?q', 'acd'), ('/app/', 'abcd'), ('/app/x', 'abcd'), ('/apple', 'c'):
            self.assertEqual([pair[0] for pair in jar.field(path, 100)[8:].split('; ')], list(names), path)

    def test_forgets_what_is_too_old_and_keeps_the_newest(self):
        jar = self.jar('a=1; Max-Age=10', 'a=2; Max-Age=5', 'gone=1; Max-Age=0')
        self.assertEqual((jar.field('/app/', 104.9), jar.field('/app/', 105)), ('Cookie: a=2\r\n', ''))

    def test_sends_no_secure_cookie_without_tls(self):
        self.assertEqual(self.jar('a=1; Path=/; Secure').field('/', 100), '')


class Arithmetic(unittest.TestCase):
    def test_a_schedule_is_at_random_and_as_dense_as_was_said(self):
        times = list(visitors.schedule(100, 5, 105, random.Random(7)))
        self.assertEqual(times, list(visitors.schedule(100, 5, 105, random.Random(7))))
        self.assertEqual(times, sorted(times))
        self.assertTrue(5 <= times[0] and times[-1] < 105)
        self.assertAlmostEqual(len(times), 10_000, delta=400)  # four standard deviations
        gaps = [later - earlier for earlier, later in zip(times, times[1:])]
        self.assertAlmostEqual(sum(gap > 0.01 for gap in gaps) / len(gaps), 0.368, delta=0.02)  # 1/e
        self.assertEqual(list(visitors.schedule(0, 0, 100, random.Random(1))), [])

    def test_a_percentile_is_one_of_the_figures(self):
        self.assertEqual(figures.percentile(range(100), 95), 95)
        self.assertEqual(figures.percentile([3, 1, 2], 95), 3)
        self.assertEqual(figures.percentile([3, 1, 2], 50), 2)

    def run_of(self, people, groups=None, eager=(), plan=None):
        return Run(Plan(None, '/', 0, 10, 20, 25, 50, **(plan or {})), people, list(eager), groups or {}, [])

    def page(self, began, took=0.02, retries=0, is_served=True, is_first=True):
        return Wanted(1, is_first, began, began + took, retries, is_served)

    def test_people_count_who_want_a_page_while_the_swarm_is_there(self):
        pages = [self.page(9), self.page(10), self.page(15, retries=1), self.page(16, retries=2),
                 self.page(19.9, is_served=False), self.page(20)]
        run = self.run_of(pages)
        self.assertEqual((len(run.wanted()), outcomes.within(run.wanted()), len(run.wanted(6))), (4, 0.5, 1 + 1))
        self.assertEqual(outcomes.within(run.wanted(), retries=0), 0.25)

    def test_goodput_counts_what_comes_while_the_swarm_is_there(self):
        groups = {'all': [(1, 9.9, 'page'), (1, 10, 'page'), (1, 19.9, 'page'), (1, 15, 'refused'), (1, 20.5, 'page'),
                          (9, 15, 'left')]}
        run = self.run_of([self.page(9.99), self.page(19.99), self.page(15, is_served=False)], groups, [self.page(12)])
        self.assertEqual(run.goodput(), (1 + 1 + 2) / 10)
        self.assertEqual(run.rate('all', 'page'), 2 / 10, 'by when they came')
        self.assertEqual(run.offered(), (3 + 2) / 10)

    def test_p95_is_no_better_for_pages_that_never_came(self):
        pages = [self.page(0) for _ in range(94)] + [self.page(0, took=7, is_served=False) for _ in range(6)]
        self.assertAlmostEqual(outcomes.p95(pages), 7)
        self.assertAlmostEqual(outcomes.p95(pages[:94]), 0.02)

    def test_recovery_ends_where_two_windows_are_normal(self):
        calm = [self.page(number / 50) for number in range(500)]
        after = [self.page(20 + number / 50) for number in range(250)]
        self.assertEqual(outcomes.recovery(self.run_of(calm + after)), 0)
        slow = [self.page(20 + number / 50, took=1.5) for number in range(250)]
        self.assertEqual(outcomes.recovery(self.run_of(calm + slow[:60] + after[60:])), 1.5, 'to 21.2')
        broken = slow[:60] + after[60:90] + slow[90:110] + after[110:]
        self.assertEqual(outcomes.recovery(self.run_of(calm + broken)), 2.5, 'one normal window does not count')
        self.assertEqual(outcomes.recovery(self.run_of(calm + slow)), 5, 'never')
        few = [self.page(20 + number / 50, took=0.04) for number in range(250)]
        self.assertEqual(outcomes.recovery(self.run_of(calm + few)), 0, 'twice as long is normal')

    def test_a_ticket_is_worth_what_others_do_not_get(self):
        plan = {'groups': [Group('scrapers', 900), Group('sharers', 100)]}
        groups = {'scrapers': [(0, 15, 'page')] * 450, 'sharers': [(0, 15, 'page')] * 60}
        self.assertAlmostEqual(outcomes.worth(self.run_of([], groups, plan=plan), 'sharers', 'scrapers'), 6 - 5)

    def test_an_eager_person_is_one_of_some(self):
        run = self.run_of([], {}, [self.page(11)] * 30 + [self.page(11, is_served=False), self.page(20)], {'eager': 3})
        self.assertEqual(run.eager_rate(), 1)


if __name__ == '__main__':
    unittest.main()
