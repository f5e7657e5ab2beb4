# The heads of the adaptor's parts: what each says that it takes from the others and gives to them. In one namespace
# nothing else shows which part needs which.

import builtins
import re
import symtable
import unittest

import peer

FIRST = 'wsgi'
BUILTIN = set(dir(builtins)) | {'__builtins__'}


class Part:
    def __init__(self, name):
        self.name = name
        self.given, self.imported, self.used = set(), set(), set()
        self.look_at(symtable.symtable(peer.source(name), name, 'exec'), is_top=True)
        self.used -= self.given | self.imported | BUILTIN

    def look_at(self, table, is_top=False):
        for symbol in table.get_symbols():
            name = symbol.get_name()
            if is_top and symbol.is_imported():
                self.imported.add(name)
            elif symbol.is_assigned() and (is_top or symbol.is_global()):
                self.given.add(name)
            if symbol.is_referenced() and (is_top or symbol.is_global()):
                self.used.add(name)
        for child in table.get_children():
            self.look_at(child)


def head(name, word):
    """The sentence at the head of that part that begins with this word."""
    text = ''.join(line[1:] for line in peer.lines(name) if line.startswith('# '))
    found = re.search(r' %s: (.*?)\.$' % word, text, re.MULTILINE | re.DOTALL)
    return ' '.join(found.group(1).split())


class Heads(unittest.TestCase):
    maxDiff = None

    def test_what_is_taken_and_given(self):
        parts = {name: Part(name) for name in peer.PARTS}
        first = parts[FIRST]
        # What is imported there, and is a copy of that, all have; so it is not named.
        common = first.imported | {'imp', 'io', 'modules', 'os', 'stat', 'time'}
        for part in parts.values():
            takes = []
            needed = part.used - common
            for other in parts.values():
                names = sorted(needed & (other.given | other.imported)) if other is not part else ()
                if names:
                    takes.append('%s from %s.py' % (', '.join(names), other.name))
            unknown = needed - set().union(*(other.given | other.imported for other in parts.values()))
            self.assertEqual(unknown, set(), part.name)
            gives = sorted(name for name in (part.given | part.imported) - common
                           if any(name in other.used for other in parts.values() if other is not part))
            with self.subTest(part.name):
                self.assertEqual(head(part.name, 'Takes'), '; '.join(takes) or 'nothing')
                self.assertEqual(head(part.name, 'Gives'), ', '.join(gives) or 'nothing')
