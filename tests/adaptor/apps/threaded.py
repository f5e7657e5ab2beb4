# Starts a thread at its import, which a fork would not copy.

import threading

from pep import application

threading.Thread(target=threading.Event().wait, daemon=True).start()
