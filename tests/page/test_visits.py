"""Pages of ours in a browser: how they look at each width and in each scheme, what they say of time and of a form, and
that they come back by themselves. tests/it/visits.rs serves them and names them in the environment."""

import os
import sys
import tempfile
import time
import unittest
from urllib.parse import quote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../demo'))
import checks  # noqa: E402
from browser import PATIENCE, Browser, View  # noqa: E402

# A page that comes back after 30 s; an app whose workers wait at a gate; an app that may run no CGI, with a page of its
# own.
PAUSE, BUSY, OWN = (os.environ[name] for name in ('PAUSE', 'BUSY', 'OWN'))
GATE, OWN_FILE = os.environ['GATE'], os.environ['OWN_FILE']
VIEWS = (390, 844, 'light'), (390, 844, 'dark'), (1280, 800, 'light'), (1280, 800, 'dark')
SERVED = 'hello from '
# What a browser says by itself of a page that has this status.
STATUS = 'status of 503'


class Visit(View):
    """A view that counts the pages it has loaded."""

    def __init__(self, browser, width=1280, height=800, scheme='light', language='en'):
        self.loads = self.paused = 0
        super().__init__(browser, width, height, scheme)
        self.call('Network.enable')
        self.call('Network.setExtraHTTPHeaders', headers={'Accept-Language': language})

    def heard(self, method, parameters):
        self.loads += method == 'Page.loadEventFired'
        self.paused += method == 'Emulation.virtualTimeBudgetExpired'
        if STATUS not in str(parameters):
            super().heard(method, parameters)

    def go(self, url):
        """Opens a page that may load itself again at any time."""
        self.call('Page.navigate', url=url)

    def text(self):
        try:
            return self.value('document.body ? document.body.innerText : ""')
        except RuntimeError:
            return ''  # the page has just gone

    def wait(self, is_there, what):
        deadline = time.monotonic() + PATIENCE
        while True:
            loads = self.loads
            if is_there():
                return
            while self.loads == loads:
                self.browser.hear(deadline, what)

    def until_text(self, text):
        self.wait(lambda: text in self.text(), text)

    def let_pass(self, seconds):
        """Lets time pass for the page only, all at once."""
        paused = self.paused
        self.call('Emulation.setVirtualTimePolicy', policy='advance', budget=1000 * seconds)
        deadline = time.monotonic() + PATIENCE
        while self.paused == paused:
            self.browser.hear(deadline, 'the end of a time')


class Visits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix='polycgi-browser.')
        cls.addClassCleanup(folder.cleanup)
        cls.browser = Browser(folder.name)
        cls.addClassCleanup(cls.browser.close)

    def test_the_page_at_each_width_in_each_scheme_and_direction(self):
        grounds = {}
        for language, direction, title in ('en', 'ltr', 'One moment, please'), ('ar', 'rtl', 'لحظة من فضلك'):
            for size in VIEWS:
                view = Visit(self.browser, *size, language)
                view.open(PAUSE)
                self.assertEqual(checks.all_of(view), [], (language, size))
                root = view.value('[document.documentElement.lang, document.documentElement.dir, document.title]')
                self.assertEqual(root, [language, direction, title])
                nodes = view.call('Accessibility.getFullAXTree')['nodes']
                roles = {node['role']['value']: node for node in nodes if not node['ignored']}
                self.assertLessEqual({'main', 'heading', 'link', 'status'}, set(roles))
                live = {each['name']: each['value'].get('value') for each in roles['status']['properties']}
                self.assertEqual(live['live'], 'polite')
                grounds.setdefault(size[2], set()).add(view.value('getComputedStyle(document.body).backgroundColor'))
        self.assertEqual([len(colours) for colours in grounds.values()], [1, 1])
        self.assertNotEqual(*grounds.values())

    def test_no_bar_moves_for_those_who_want_no_motion(self):
        view = Visit(self.browser)
        view.open(PAUSE)
        bar = 'getComputedStyle(document.querySelector(".bar")).display'
        self.assertEqual(view.value(bar), 'block')
        view.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-reduced-motion', 'value': 'reduce'}])
        self.assertEqual(view.value(bar), 'none')

    def test_time_is_counted_down_and_seldom_said(self):
        view = Visit(self.browser, language='de')
        view.open(PAUSE)
        view.call('Emulation.setVirtualTimePolicy', policy='pause')
        shown, said = (f'document.getElementById("{name}").textContent' for name in ('next', 'said'))
        hide = '''Object.defineProperty(document, 'hidden', {value: %s, configurable: true})
                  document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))'''
        before = int(view.value(shown).split()[3])
        self.assertEqual(view.value(shown), f'Nächster Versuch: in {before} Sekunden')
        view.let_pass(10)
        self.assertEqual(view.value(shown), f'Nächster Versuch: in {before - 10} Sekunden')
        self.assertEqual(view.value(said), '')
        # A page in the background has no timer, and is right as soon as it is seen.
        view.value(hide % 'true')
        view.let_pass(5)
        self.assertEqual(view.value(shown), f'Nächster Versuch: in {before - 10} Sekunden')
        view.value(hide % 'false')
        self.assertEqual(view.value(shown), f'Nächster Versuch: in {before - 15} Sekunden')
        self.assertEqual(view.loads, 1)

    def test_a_page_out_of_the_browser_s_memory_starts_again(self):
        view = Visit(self.browser)
        view.open(PAUSE)
        view.value('dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}))')
        view.wait(lambda: view.loads == 2, 'the page loads itself again')

    def test_a_busy_app(self):
        self.send_a_form()
        views = with_script, without, at_a_part = [Visit(self.browser) for _ in range(3)]
        without.call('Emulation.setScriptExecutionDisabled', value=True)
        for view in views:
            view.go(BUSY + ('#part' if view is at_a_part else ''))
            view.until_text('This page tries again by itself')
            # It comes back while the app is busy, and again.
            view.wait(lambda view=view: view.loads >= 3, 'the page loads itself again')
            view.until_text('This page tries again by itself')
        # Our pages ask for no icon either, which would be one request more to a busy app.
        self.assertEqual([view.errors for view in views], [[]] * 3)
        with open(GATE, 'w', encoding='ascii') as gate:
            gate.write('\n\n\n')
        for view in views:
            view.until_text(SERVED)
        # The app's page says nothing of an icon, so the browser may ask for one, which there is not.
        errors = [error for view in views for error in view.errors if not error.endswith('/favicon.ico')]
        self.assertEqual(errors, [])

    def send_a_form(self):
        """What was typed is still there when one goes back, as the page says, and the page sends nothing itself."""
        form = f'<form method=post action="{BUSY}"><textarea name=text></textarea><button>send</button></form>'
        view = Visit(self.browser)
        view.open('data:text/html,' + quote(form))
        view.click('textarea')
        view.call('Input.insertText', text='what was typed')
        view.click('button')
        view.until_text('Nothing was saved.')
        self.assertEqual(view.value('document.querySelectorAll("script, a, form, meta[http-equiv]").length'), 0)
        view.call('Page.navigateToHistoryEntry',
                  entryId=view.call('Page.getNavigationHistory')['entries'][-2]['id'])
        view.wait(lambda: view.value('document.querySelector("textarea")?.value') == 'what was typed', 'what was typed')

    def test_a_page_of_one_s_own_comes_back(self):
        view = Visit(self.browser)
        view.go(OWN)
        view.until_text('own is busy: 2')
        view.wait(lambda: view.loads >= 2, 'the page loads itself again')
        with open(OWN_FILE, encoding='utf-8') as file:
            text = file.read()
        with open(OWN_FILE, 'w', encoding='utf-8') as file:
            file.write(text.replace('cgi-max = 0', 'cgi-max = 4'))
        view.until_text(SERVED)


if __name__ == '__main__':
    unittest.main()
