# Has most of the standard library replaced, by the package that GREEN names, and uses what it has got.

import os
import warnings

if os.environ["GREEN"] == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    warnings.simplefilter("ignore")  # that it is not to be used for anything new
    import eventlet

    eventlet.monkey_patch()

import socket
import subprocess
import threading
import time


def threads():
    """They wait for each other: each has to get its turn."""
    barrier = threading.Barrier(3)
    done = []

    def wait():
        barrier.wait()
        time.sleep(0.01)
        done.append("done")

    started = [threading.Thread(target=wait) for _ in range(3)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return " ".join(done)


def sockets():
    listener = socket.create_server(("127.0.0.1", 0))

    def echo():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100).upper())

    thread = threading.Thread(target=echo)
    thread.start()
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"sent")
        answer = client.recv(100)
    thread.join()
    listener.close()
    return answer.decode()


def program():
    return subprocess.run(["echo", "said"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def stuck():
    while True:
        time.sleep(1)


def application(environ, start_response):
    path = environ["PATH_INFO"][1:]
    if path == "echo":
        block = environ["wsgi.input"].read()
    else:
        block = globals()[path]().encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [block]
