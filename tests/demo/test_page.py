"""The demo's page in a browser: what its buttons do, what it shows at each width and in each scheme, and that only the
page itself can make load. It knows the page's ids, and how many requests a press is."""

import http.client
import json
import os
import re
import socket
import struct
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from unittest import mock

import checks
from browser import Browser, View
from shown import DEMO, demo

PAGES = {'one': 1, 'burst': 24, 'flood': 24}
VIEWS = {'light': (1280, 800, 'light'), 'dark': (1280, 800, 'dark'), 'phone': (390, 844, 'light')}
COUNTS = 'Object.fromEntries(["cgi", "daemon", "overload"].map(way => [way, Number(byId(`${way}-count`).textContent)]))'
TAB, ENTER, SPACE = ('Tab', 9), ('Enter', 13, '\r'), (' ', 32, ' ')


class ThePage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix='polycgi-browser.')
        cls.addClassCleanup(folder.cleanup)
        idle = socket.socket()
        cls.addClassCleanup(idle.close)
        shown = demo()
        cls.url = shown.__enter__()
        cls.addClassCleanup(shown.__exit__, None, None, None)
        # The web server stops, though a connection is open of which it waits for the rest of a request.
        app = re.search(r'href="http://127.0.0.1:(\d+)/cgi-bin/hello"', cls.ask('GET', '/')[1])
        idle.connect(('127.0.0.1', int(app[1])))
        idle.send(b'G')
        cls.browser = Browser(folder.name)
        cls.addClassCleanup(cls.browser.close)

    def view(self, name):
        view = View(self.browser, *VIEWS[name])
        view.open(self.url)
        view.until('isConnected && byId("reason").textContent')
        return view

    def press(self, view, *names):
        """Presses these buttons one after the other by the mouse."""
        for name in names:
            view.click(f'#{name}')

    def served(self, view, pages):
        """Waits until the view has shown so many pages; which ways they were served. If one is lost, they never come."""
        view.until(f'!under.size && !isDue && {pages} == Object.entries({COUNTS}).reduce((sum, [way, count]) => '
                   f'way == "overload" ? sum : sum + count, 0)')
        self.assertEqual(view.value('document.querySelectorAll("#plot .wrong").length'), 0)
        counts, text = view.value(COUNTS), view.value('byId("plot-text").textContent')
        for words, way in (('plain CGI', 'cgi'), ('daemon', 'daemon'), ('503, come back', 'overload')):
            if counts[way]:
                self.assertIn(f'{words} {counts[way]}', text)
        return counts

    def test_each_button_at_each_width_in_each_scheme(self):
        light, dark, phone = views = [self.view(name) for name in VIEWS]
        for view in views:
            self.assertEqual(checks.all_of(view), [])
        self.assertNotEqual(*(view.value('getComputedStyle(document.body).backgroundColor') for view in (light, dark)))
        all_pages = sum(PAGES.values())
        self.by_mouse(light)
        self.served(dark, all_pages)
        self.by_keyboard(dark)
        self.served(phone, 2 * all_pages)
        self.press(phone, *PAGES)
        for view in views:
            self.served(view, 3 * all_pages)
        self.again(light)
        for view in views:
            view.until('byId("state").textContent == "down" && byId("news").textContent.includes("the daemon has left")')
            self.assertEqual(checks.all_of(view), [])

    def by_mouse(self, view):
        """One press after the other, from quiet on: each shows what it is there for."""
        self.press(view, 'one')
        self.assertEqual(self.served(view, 1), {'cgi': 1, 'daemon': 0, 'overload': 0})
        self.assertRegex(view.value('byId("news").textContent'), r'^A plain CGI answered in [\d.]+ m?s')
        self.press(view, 'burst')
        self.assertGreater(self.served(view, 25)['daemon'], 12)
        view.until('byId("state").textContent == "up" && byId("way").textContent == "the daemon"')
        self.press(view, 'flood')
        # Each visitor without a page sees the seconds of Retry-After run down.
        view.until('[...byId("visitors").children].some(item => item.className == "overload" && item.textContent > 1)')
        view.until('[...byId("visitors").children].some(item => item.className == "overload" && item.textContent == 1)')
        self.assertGreater(self.served(view, 49)['overload'], 0)
        self.assertEqual(view.value('document.querySelectorAll("#visitors .cgi, #visitors .daemon").length'), 24)
        self.assertIn('each has got the page', view.value('byId("news").textContent'))
        self.assertEqual(checks.all_of(view), [])

    def by_keyboard(self, view):
        """All three crowds at the same time."""
        for name, key in (('one', ENTER), ('burst', SPACE), ('flood', ENTER)):
            for _ in range(10):
                view.press(*TAB)
                if view.value('document.activeElement.id') == name:
                    break
            view.press(*key)

    def again(self, view):
        """A page that is loaded later shows what came before, in the chart and in the table."""
        counts = view.value(COUNTS)
        view.open(self.url)
        view.until(f'JSON.stringify({COUNTS}) == {json.dumps(json.dumps(counts, separators=(",", ":")))}')
        view.click('#list summary')
        view.until('document.querySelectorAll("#rows tr").length == 50')
        view.click('#list + details summary')
        self.assertIn('wsgi = hello:application', view.value('document.querySelector("pre").textContent'))
        self.assertEqual(checks.all_of(view), [])

    def test_it_can_be_pictured(self):
        view = self.view('dark')
        picture = view.picture(x=0, y=0, width=1280, height=800, scale=1)
        self.assertEqual(struct.unpack('>II', picture[16:24]), (1280, 800))
        # An empty page of this size has 5 kB.
        self.assertGreater(len(picture), 30_000)

    def test_each_check_can_fail(self):
        view = self.view('phone')
        self.assertEqual(checks.all_of(view), [])
        view.value('''console.error("planted"); byId("news").style.color = "#999"; byId("one").style.width = "500px";
            byId("plot-text").textContent = ""''')
        found = '\n'.join(checks.all_of(view))
        for words in ('planted', 'contrast', 'one: too wide', 'without a name'):
            self.assertIn(words, found)

    @classmethod
    def ask(cls, method, target, host='127.0.0.1:{port}', **fields):
        port = int(re.search(r':(\d+)/', cls.url)[1])
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
        headers = {'Host': host.format(port=port), **{name.replace('_', '-'): value for name, value in fields.items()}}
        connection.request(method, target, headers=headers)
        reply = connection.getresponse()
        text = b'' if reply.getheader('Content-Type').startswith('text/event-stream') else reply.read()
        connection.close()
        return reply.status, text.decode(), reply

    def test_only_the_page_makes_load(self):
        status, text, reply = self.ask('GET', '/')
        self.assertEqual(status, 200)
        self.assertIn("frame-ancestors 'none'", reply.getheader('Content-Security-Policy'))
        token = re.search(r"TOKEN = '([\w-]{20,})'", text)[1]
        port = int(re.search(r':(\d+)/', self.url)[1])
        # With all that the page has, each is granted: so what is missing below is the reason.
        ours = {'X_Token': token, 'Origin': f'http://127.0.0.1:{port}'}
        self.assertEqual(self.ask('POST', '/visits/one', **ours)[0], 202)
        self.assertEqual(self.ask('GET', f'/events?{token}')[0], 200)
        self.assertEqual(self.ask('GET', '/', host='localhost')[0], 200)
        for wrong in ({'X_Token': ''}, {'X_Token': token[:-1]}, {'Origin': 'http://elsewhere.example'}, {'Origin': 'null'},
                      {'Origin': f'http://127.0.0.1:{port + 1}'}, {'host': f'elsewhere.example:{port}'}, {'host': ''}):
            for crowd in PAGES:
                self.assertEqual(self.ask('POST', f'/visits/{crowd}', **{**ours, **wrong})[0], 403, wrong)
        for target, host in (('/events', '127.0.0.1'), ('/events?x', '127.0.0.1'), (f'/events?{token}', 'elsewhere.example'),
                             ('/', 'elsewhere.example')):
            self.assertEqual(self.ask('GET', target, host)[0], 403, target)
        for method, target in (('GET', '/page.py'), ('GET', '/../demo'), ('GET', '/visits/one'), ('POST', '/visits/two')):
            self.assertEqual(self.ask(method, target, **ours)[0], 404, target)


class TheBrowser(unittest.TestCase):
    def opened(self, uid, **environ):
        """What the demo runs to open its page, as this user in this environment."""
        sys.path.insert(0, os.path.dirname(DEMO))
        loader = SourceFileLoader('demo', DEMO)
        program = module_from_spec(spec_from_loader('demo', loader))
        loader.exec_module(program)
        with mock.patch('os.getuid', return_value=uid), mock.patch.dict('os.environ', environ, clear=True), \
                mock.patch('shutil.which', return_value='/usr/bin/xdg-open'), mock.patch('subprocess.Popen') as run:
            program.open_browser('http://127.0.0.1:8081/')
        return [call.args[0] for call in run.call_args_list]

    def test_it_is_opened_on_a_desktop_and_never_by_root(self):
        command = [['/usr/bin/xdg-open', 'http://127.0.0.1:8081/']]
        self.assertEqual(self.opened(1000, DISPLAY=':0'), command)
        self.assertEqual(self.opened(1000, WAYLAND_DISPLAY='wayland-0'), command)
        self.assertEqual(self.opened(1000), [])
        self.assertEqual(self.opened(0, DISPLAY=':0'), [])


if __name__ == '__main__':
    unittest.main()
