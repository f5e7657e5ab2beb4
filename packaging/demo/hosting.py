"""The demo's site: polycgi installed below a directory of its own, an app file in a cgi-bin, and a web server on
loopback. It knows every file and process that belongs to the site, and takes all of them away."""

import glob
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import servers

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = '/usr/local/bin:/usr/bin:/bin'
STOPPING_MAY_TAKE = 6  # seconds, each of the web server and the daemon

APP_FILE = '''\
#!{prefix}/bin/polycgi -
wsgi = hello:application
directory = {root}/app
runtime-dir = {root}/run
max-procs = 2           # workers
queue-size = 6          # requests that may wait for one
idle-timeout = 10s      # without a request: then the daemon leaves
min-lifetime = 10s
daemon-when-load = 99   # whatever else this machine does
'''


class Failed(Exception):
    """It can't go on, and why."""


class Site:
    """The installed program, the app file in its cgi-bin, the web server, and what they leave behind."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix='polycgi-demo.', dir='/tmp')  # short: the kernel cuts a `#!` line
        self.prefix = f'{self.root}/prefix'
        self.app = f'{self.root}/www/cgi-bin/hello'
        self.url, self.server, self.process = '', None, None
        self.user = unprivileged_user()
        uid = self.user.pw_uid if self.user else os.getuid()
        # Where a daemon leaves a link to its runtime-dir.
        self.defaults = [d for d in (f'/run/polycgi/{uid}', f'/tmp/polycgi-{uid}') if not os.path.lexists(d)]

    def lay(self):
        os.chmod(self.root, 0o755)
        for folder in ('www/cgi-bin', 'app', 'run', 'log'):
            os.makedirs(f'{self.root}/{folder}')
        os.chmod(f'{self.root}/run', 0o700)
        # A make of its own, which does not use the job server of the make that may have started this.
        environ = {name: value for name, value in os.environ.items() if name not in ('MAKEFLAGS', 'MFLAGS')}
        made = subprocess.run(
            ['make', '-s', '-C', f'{HERE}/../..', 'install', f'PREFIX={self.prefix}', 'DESTDIR='],
            env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if made.returncode:
            raise Failed('cannot install:\n' + made.stdout.decode(errors='replace'))
        shutil.copy(f'{HERE}/hello.py', f'{self.root}/app')
        self.text = APP_FILE.format(prefix=self.prefix, root=self.root)
        servers.write(self.app, self.text)
        os.chmod(self.app, 0o755)
        if self.user:
            for folder in ('app', 'run', 'log'):
                os.chown(f'{self.root}/{folder}', self.user.pw_uid, self.user.pw_gid)

    def start(self, wanted):
        port = free_port()
        self.server = servers.first(self.root, port, wanted)
        if not self.server:
            raise Failed(f'no web server is here: install apache2 or lighttpd (SERVER={wanted!r})')
        # Not in `log`, where the web server's user could have put a link in its place.
        with open(f'{self.root}/said', 'wb') as said:
            # In a session of its own: Ctrl-C reaches this script only, which stops everything in order.
            self.process = subprocess.Popen(
                self.server.argv, cwd=f'{self.root}/www', env={'PATH': PATH, 'LANG': 'C.UTF-8'},
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, **self.as_user())
        self.url = f'http://127.0.0.1:{port}/cgi-bin/hello'
        self.port = port
        ended = pidfd(self.process.pid)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(('127.0.0.1', port), 1).close()
                break
            except OSError as error:
                # Only a connect shows that a server listens; its end is seen at once.
                if select.select([ended], [], [], 0.02)[0] or time.monotonic() > deadline:
                    raise Failed(f'{self.server.name} does not start:\n{self.logged()}') from error
        os.close(ended)

    def as_user(self):
        if not self.user:
            return {}
        return {'user': self.user.pw_uid, 'group': self.user.pw_gid, 'extra_groups': []}

    def polycgi(self, *words):
        return subprocess.run(
            [f'{self.prefix}/bin/polycgi', *words], env={'PATH': PATH}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=STOPPING_MAY_TAKE, check=False, **self.as_user())

    def status(self):
        """What `polycgi status --json` says; None if it has nothing to say, or not in time."""
        try:
            return json.loads(self.polycgi('status', '--json', self.app).stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None

    def logged(self):
        """Unusual lines of the logs of web server and daemon: the last twenty."""
        usual = (':notice] ', '(server.c.', ' polycgi: info: ', ' polycgi: debug: ', '503: queue-full', '"GET /')
        # As the user whose files they are: what root may read, a link of that user's could show.
        head = ['head', '--quiet', '--bytes=1000000', f'{self.root}/log/error', f'{self.root}/said',
                *glob.glob(f'{self.root}/run/*/log')]
        read = subprocess.run(
            head, env={'PATH': PATH}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=STOPPING_MAY_TAKE, check=False, **self.as_user())
        lines = read.stdout.decode(errors='replace').splitlines(keepends=True)
        return ''.join([line for line in lines if not any(word in line for word in usual)][-20:])

    def processes(self):
        """The pids of what runs from here: the daemon and its processes, once the web server has stopped."""
        found = []
        for folder in glob.glob('/proc/[0-9]*'):
            try:
                places = [os.readlink(f'{folder}/exe'), os.readlink(f'{folder}/cwd')]
                with open(f'{folder}/cmdline', 'rb') as file:
                    places += os.fsdecode(file.read()).split('\0')
            except OSError:
                continue  # it has ended, or is another user's
            if any(place.startswith(self.root + '/') for place in places):
                found.append(int(os.path.basename(folder)))
        return found

    def end(self):
        """Stops and removes everything; a sentence for each thing that could not be."""
        complaints = []
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(STOPPING_MAY_TAKE)
            except subprocess.TimeoutExpired:
                complaints.append(f'{self.server.name} had to be killed')
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self.processes():
            try:
                self.polycgi('stop', self.app)
            except (OSError, subprocess.TimeoutExpired) as error:
                complaints.append(f'cannot stop the daemon: {error}')
        left = {pid: fd for pid in self.processes() if (fd := pidfd(pid)) is not None}
        if not wait_for(left, STOPPING_MAY_TAKE):
            complaints.append(f'processes had to be killed: {sorted(left)}')
            for fd in left.values():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            wait_for(left, STOPPING_MAY_TAKE)
        for path in self.defaults:
            for link in glob.glob(f'{path}/hello-*'):
                if os.path.islink(link) and os.readlink(link).startswith(self.root + '/'):
                    complaints.append(f'the daemon left {link}')
                    os.unlink(link)
            try:
                os.rmdir(path)
            except OSError:
                pass  # not made, or another app of this user has come meanwhile
        shutil.rmtree(self.root)
        return complaints


def unprivileged_user():
    """The user for the web server, if root runs this; otherwise None: the same user."""
    if os.getuid():
        return None
    for name in ('www-data', 'apache', 'http', 'nobody'):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise Failed('there is no user to run a web server as: neither www-data nor nobody')


def free_port():
    """The first of the usual ones that is free, or any."""
    for port in (*range(8080, 8100), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
                return probe.getsockname()[1]
            except OSError:
                pass
    raise Failed('no port is free')


def pidfd(pid):
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def wait_for(fds, seconds):
    """Waits until the processes have ended; takes those out that have."""
    deadline = time.monotonic() + seconds
    while fds:
        ended, _, _ = select.select(fds.values(), [], [], max(0, deadline - time.monotonic()))
        if not ended:
            return False
        for pid, fd in list(fds.items()):
            if fd in ended:
                os.close(fds.pop(pid))
    return True
