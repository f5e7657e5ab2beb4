"""What the demo's user could put into the folders that are theirs: root, who runs the demo, follows none of it."""

import os
import subprocess
import sys
import tempfile
import unittest

from shown import DEMO

sys.path.insert(0, os.path.dirname(DEMO))
from hosting import Site  # noqa: E402


class LinksOfTheUser(unittest.TestCase):
    def test_root_writes_and_reads_none_of_them(self):
        if os.getuid():
            print('not tested: what root would write and read, which takes root', file=sys.stderr)
            return
        folder = tempfile.TemporaryDirectory(prefix='polycgi-victim.')
        self.addCleanup(folder.cleanup)
        secret = f'{folder.name}/secret'
        with open(secret, 'w', encoding='ascii') as file:
            file.write('a secret of root\n')
        os.chmod(secret, 0o600)
        site = Site()
        self.addCleanup(site.end)
        site.lay()
        for name in ('log/said', 'log/error', 'run/x/log'):
            path = f'{site.root}/{name}'
            plant = f'mkdir -p {os.path.dirname(path)} && ln -s {secret} {path}'
            subprocess.run(['sh', '-c', plant], check=True, **site.as_user())
        self.assertNotIn('secret', site.logged())
        # Python's writes no log of its own.
        site.start('python')
        site.process.kill()
        self.assertNotIn('secret', site.logged())
        with open(secret, encoding='ascii') as file:
            self.assertEqual(file.read(), 'a secret of root\n')


if __name__ == '__main__':
    unittest.main()
