# Starts a thread at its import, which a fork would not copy, and sets sys.executable to another interpreter.

import sys
import threading

from pep import application

sys.executable = '/nowhere/python'

threading.Thread(target=threading.Event().wait, daemon=True).start()
