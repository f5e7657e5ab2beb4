# Connects at its import, as to a database.

import os
import socket

from pep import application

near, far = socket.socketpair()
os.environ['ADDED'] = 'at import'
os.chdir('/')
