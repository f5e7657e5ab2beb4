# Has an event loop from its import on, as eventlet has. Nothing of it would be left apart by a fork.

import os
import select

from pep import application

loop = select.epoll()
os.environ['ADDED'] = 'at import'
