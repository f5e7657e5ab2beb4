# Does more after its response: in a thread for as many seconds as the query says, at its exit, as its objects go.
# Each thing leaves a line in a file beside this one.

import atexit
import os
import tempfile
import threading
import time

FILE = os.path.join(os.path.dirname(__file__), "last-words")
kept = []


def say(word):
    with open(FILE, "a") as file:
        file.write(word + "\n")


def later(seconds):
    time.sleep(seconds)
    say("thread")


class Folder(tempfile.TemporaryDirectory):
    def cleanup(self):
        super().cleanup()
        say("folder")


def application(environ, start_response):
    folder = Folder()
    open(os.path.join(folder.name, "file"), "w").close()
    atexit.register(folder.cleanup)
    atexit.register(say, "atexit")
    threading.Thread(target=later, args=(float(environ["QUERY_STRING"]),)).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
