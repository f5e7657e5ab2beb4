# Has an event loop from its import on, as eventlet has: after a fork all processes would share it.

import os
import select

from pep import application

loop = select.epoll()
os.environ['ADDED'] = 'at import'
