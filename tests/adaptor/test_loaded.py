# Edits: which of them the zygote reports, what a half-done one does, and that no old bytecode is run.

import os
import shutil
import signal
import tempfile
import time
import unittest

import peer

APP = '''
import os
import %s
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    name = environ['QUERY_STRING']
    return [repr(__import__(name).value if name else part.value).encode()]
'''


class Edits(peer.Case):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.write('app', APP % 'part')
        self.write('part', 'value = 1')
        self.write('lazy', 'value = "lazy"')
        self.age()

    def path(self, name):
        return os.path.join(self.folder, name if '.' in name else name + '.py')

    def write(self, name, text):
        with open(self.path(name), 'w') as file:
            file.write(text)

    def age(self):
        """Makes the files so old that an import of them is not repeated."""
        time.sleep(0.03)

    def up(self, **options):
        options.setdefault('folder', self.folder)
        return self.pool('app:application', **options).up()

    def test_nothing_has_changed(self):
        for preload in True, False:
            pool = self.up(preload=preload)
            self.assertEqual(self.ask(pool).body, b'1')
            for _ in range(3):
                self.assertEqual(pool.look(), [])
            self.assertEqual(self.ask(pool).body, b'1')

    def test_edit(self):
        """It is reported once."""
        for preload in True, False:
            pool = self.up(preload=preload)
            self.ask(pool)
            for text in 'value = 2', 'value = 3':
                self.write('part', text)
                self.assertEqual(pool.look(), ['changed - ' + self.path('part')])
                self.assertEqual(pool.look(), [])
            os.unlink(self.path('part'))
            self.assertEqual(pool.look(), ['changed - ' + self.path('part')])
            self.assertEqual(pool.look(), [])
            self.write('part', 'value = 1')
            self.assertEqual(pool.look(), ['changed - ' + self.path('part')])

    def test_two_edits_at_once(self):
        pool = self.up()
        self.write('app', APP % 'part, lazy')
        self.write('part', 'value = 2')
        self.assertEqual(len(pool.look()), 1)
        self.assertEqual(pool.look(), [])

    def test_modules_are_not_watched(self):
        pool = self.up(modules=False, watched=[self.path('restart.txt')])
        self.ask(pool, QUERY_STRING='lazy')
        self.write('part', 'value = 2')
        self.write('lazy', 'value = 2')
        self.assertEqual(pool.look(), [])
        self.assertEqual(os.fstat(pool.loaded).st_size, 0)

    def test_named_files(self):
        names = [self.path(name) for name in ('the.conf', 'restart.txt')]
        pool = self.up(modules=False, watched=[names[0], '', names[1]])
        self.assertEqual(pool.look(), [])
        self.write('restart.txt', '')
        self.assertEqual(pool.look(), ['changed 2'])
        self.write('the.conf', 'x')
        os.unlink(names[1])
        self.assertEqual(pool.look(), ['changed 0', 'changed 2'])
        self.assertEqual(pool.look(), [])

    def test_what_a_worker_imports_later(self):
        for preload in True, False:
            pool = self.up(preload=preload)
            self.ask(pool)
            self.write('lazy', 'value = "before"')
            self.assertEqual(pool.look(), [])
            self.ask(pool, QUERY_STRING='lazy')
            self.assertEqual(pool.look(), [])
            self.write('lazy', 'value = "after"')
            # Another worker that reports the older one now changes nothing.
            self.assertEqual(pool.look(), ['changed - ' + self.path('lazy')])
            os.kill(pool.worker.pid, signal.SIGTERM)
            pool.worker.reap()
            pool.worker = None
            self.assertEqual(self.ask(pool, QUERY_STRING='lazy').body, b"'after'")
            self.assertEqual(pool.look(), [])

    def test_two_workers_import_before_and_after_an_edit(self):
        """Between two looks: what the second has is what lies there, but the first has the old."""
        for preload in True, False:
            pool = self.up(preload=preload)
            self.write('lazy', 'value = "before"')
            self.age()
            self.assertEqual(self.ask(pool, QUERY_STRING='lazy').body, b"'before'")
            self.write('lazy', 'value = "after"')
            first, pool.worker = pool.worker, pool.spawn(8).ready()
            self.assertEqual(self.ask(pool, QUERY_STRING='lazy').body, b"'after'")
            self.assertEqual(pool.look(), ['changed - ' + self.path('lazy')])
            self.assertEqual(pool.look(), [])
            first.end()

    def test_edit_between_import_and_the_end_of_the_request(self):
        self.write('lazy', '''
with open(__file__, 'a') as file:
    file.write('# again')
value = 'written'
''')
        pool = self.up()
        self.age()
        self.ask(pool, QUERY_STRING='lazy')
        self.assertEqual(pool.look(), ['changed - ' + self.path('lazy')])

    def test_failed_generation(self):
        """The generation before it learns from it in which file the mistake may be mended."""
        pool = self.up()
        self.ask(pool)
        for wrong, mend in (('value = ', ('part', 'value = 3')),
                            ('import nowhere', ('nowhere', '')),
                            ('import package.nowhere', ('package/nowhere', '')),
                            ('open("/nowhere/settings")', ('part', 'value = 4')),
                            ('open("settings.ini")', ('settings.ini', ''))):
            for preload in True, False:
                with self.subTest(wrong, preload=preload):
                    os.makedirs(self.path('package/__init__').rpartition('/')[0], exist_ok=True)
                    self.write('package/__init__', '')
                    self.write('part', wrong)
                    self.age()
                    self.assertEqual(len(pool.look()), 1)
                    if preload:
                        failing = self.pool('app:application', folder=self.folder, loaded=pool.loaded)
                    else:
                        failing = self.up(preload=False, loaded=pool.loaded).spawn()
                        self.assertRegex(failing.hear(), r'^born \d+$')
                    self.assertRegex(failing.hear(), '^failed ')
                    self.assertIsNone(failing.hear())
                    self.assertEqual(pool.look(), [])
                    self.write(*mend)
                    self.assertEqual(len(pool.look()), 1)
                    self.assertEqual(pool.look(), [])
                    if mend[0] != 'part':
                        os.unlink(self.path(mend[0]))
                        pool.look()

    def test_journal_stays_small(self):
        pool = self.up()
        sizes = set()
        for _ in range(5):
            self.ask(pool, QUERY_STRING='lazy')
            os.kill(pool.worker.pid, signal.SIGTERM)
            pool.worker.reap()
            pool.worker = None
            pool.look()
            sizes.add(os.fstat(pool.loaded).st_size)
        self.assertEqual(sizes, {0})

    def test_other_generations(self):
        """Files of older and newer generations are not ours; an import that failed in an older one was mended."""
        old = self.up()
        self.write('part', 'value = ')
        failing = self.pool('app:application', folder=self.folder, loaded=old.loaded)
        while failing.hear():
            pass
        self.write('part', 'value = 2')
        new = self.up(loaded=old.loaded)
        self.ask(old, QUERY_STRING='lazy')
        self.write('lazy', 'value = "later"')
        self.assertEqual(new.look(), [])
        self.assertEqual(len(old.look()), 1)
        self.assertEqual(old.look(), [])

    def test_edit_during_the_import(self):
        """As in a half-done `git pull`: only a whole state is used, and nothing is reported."""
        begun, here, go = map(self.path, ('begun.txt', 'here.fifo', 'go.fifo'))
        os.mkfifo(here)
        os.mkfifo(go)
        self.write('app', '''
import os, part
if not os.path.exists(%r):
    open(%r, 'w').close()
    open(%r, 'w').close()
    open(%r).close()
''' % (begun, begun, here, go) + APP % 'part')
        self.age()
        for _ in range(2):
            if os.path.exists(begun):
                os.unlink(begun)
            self.write('part', 'value = 1')
            self.age()
            pool = self.pool('app:application', folder=self.folder)
            open(here).close()  # waits until the import is there
            self.write('part', 'value = "whole"')
            self.age()
            open(go, 'w').close()
            pool.up()
            self.assertEqual(self.ask(pool).body, b"'whole'")
            self.assertEqual(pool.look(), [])
            self.assertEqual(pool.said(), '')

    def test_release_that_is_switched_during_the_import(self):
        """The directory is a symlink; what it led to may be gone."""
        here, go = map(self.path, ('here.fifo', 'go.fifo'))
        os.mkfifo(here)
        os.mkfifo(go)
        for name, text in (('one.d', '''
import os
open(%r, 'w').close()
open(%r).close()
''' % (here, go)), ('two.d', 'import os')):
            os.mkdir(self.path(name))
            self.write(name + '/app.py', text + APP % 'os as part' + 'part.value = part.getcwd()')
        current = self.path('current.d')
        os.symlink('one.d', current)
        self.age()
        pool = self.pool('app:application', folder=current)
        open(here).close()  # waits until the import is there
        os.symlink('two.d', self.path('new.d'))
        os.rename(self.path('new.d'), current)
        shutil.rmtree(self.path('one.d'))
        open(go, 'w').close()
        pool.up()
        self.assertEqual(self.ask(pool).body, repr(self.path('two.d')).encode())
        self.assertEqual(pool.look(), [])

    def test_module_that_changes_itself(self):
        """It is imported a few times, then used, and not reported as changed for ever."""
        self.write('part', '''
with open(__file__, 'a') as file:
    file.write('# again')
with open(%r, 'a') as file:
    file.write('x')
value = 'itself'
''' % self.path('count.txt'))
        pool = self.up()
        self.assertEqual(self.ask(pool).body, b"'itself'")
        self.assertEqual(pool.look(), [])
        self.assertEqual(os.stat(self.path('count.txt')).st_size, 5)

    def test_module_that_is_used_once(self):
        """A module that is written, imported and removed each time is no edit."""
        self.write('part', '''
import os, time
with open(%r, 'w') as file:
    file.write('value = "once"')
time.sleep(0.03)
from once import value
os.unlink(%r)
''' % (self.path('once'), self.path('once')))
        for preload in True, False:
            pool = self.up(preload=preload)
            self.assertEqual(self.ask(pool).body, b"'once'")
            self.assertEqual(pool.look(), [])
            self.write('once', 'value = "kept"')
            self.assertEqual(pool.look(), ['changed - ' + self.path('once')])
            os.unlink(self.path('once'))

    def test_modules_that_are_none(self):
        """What applications put into sys.modules, or call a file, breaks nothing."""
        self.write('odd', '''
import sys, types
class Odd:
    __slots__ = ()
    @property
    def __dict__(self):
        raise ValueError
sys.modules['no module'] = Odd()
for name in None, 5, b'x', '', '\\0', '\\ud800':
    sys.modules[repr(name)] = module = types.ModuleType('odd')
    module.__file__ = name
value = 'odd'
''')
        for part in 'value = 1', 'from odd import value':
            self.write('part', part)
            self.age()
            for preload in True, False:
                pool = self.up(preload=preload)
                self.assertEqual(self.ask(pool, QUERY_STRING='odd').body, b"'odd'")
                self.assertEqual(pool.word, 'done')
                self.assertEqual(pool.look(), [])
                with open(self.path('odd'), 'a') as file:
                    file.write('# edited')
                self.assertEqual(pool.look(), ['changed - ' + self.path('odd')])

    def test_no_old_bytecode(self):
        """Edits of the same size within a second, each seen by the next request."""
        for turn in range(20):
            self.write('part', 'value = %d' % (turn % 10))
            cgi = self.cgi('app:application', folder=self.folder)
            self.assertEqual(self.ask(cgi).body, b'%d' % (turn % 10))
        self.assertFalse(any(name.startswith('part') for name in self.cached()))
        old = time.time() - 10
        os.utime(self.path('part'), (old, old))
        time.sleep(2.1)  # as old as a file must be for its bytecode to be written; its ctime can't be set back
        self.ask(self.cgi('app:application', folder=self.folder))
        self.assertTrue(any(name.startswith('part') for name in self.cached()))

    def test_no_old_bytecode_in_the_pool(self):
        for turn in range(5):
            self.write('part', 'value = %d' % turn)
            pool = self.up(preload=bool(turn % 2))
            self.assertEqual(self.ask(pool).body, b'%d' % turn)

    def cached(self):
        folder = os.path.join(self.folder, '__pycache__')
        return os.listdir(folder) if os.path.isdir(folder) else []


if __name__ == '__main__':
    unittest.main()
