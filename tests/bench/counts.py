"""What the kernel counts of processes: memory, processor time, page faults, system calls."""

import os
import subprocess
import tempfile

from common import PATIENCE

TICK = os.sysconf('SC_CLK_TCK')


def tree(pid):
    """A process and all that it has started, as far as they live."""
    parents = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            fields = stat(int(entry))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def stat(pid):
    """/proc/PID/stat from the state on; nothing where the process is gone."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as file:
            return file.read().rpartition(')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu(pids):
    """Seconds of processor time so far, with that of children that were reaped."""
    return sum(int(tick) for pid in pids for tick in stat(pid)[11:15]) / TICK


def own_cpu(pid):
    """Seconds of processor time of this one process."""
    return sum(int(tick) for tick in stat(pid)[11:13]) / TICK


def pss(pid):
    """Bytes, shared pages counted in parts."""
    return smaps(pid, 'Pss:')


def rss(pid):
    """Bytes."""
    return smaps(pid, 'Rss:')


def smaps(pid, name):
    with open(f'/proc/{pid}/smaps_rollup', encoding='utf-8') as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def peak_rss(pid):
    """Bytes: the most it ever had; see `reset_peak`."""
    return in_status(pid, 'VmHWM:')


def page_tables(pid):
    """Bytes that the kernel needs to know where a process's memory is: no PSS has them."""
    return in_status(pid, 'VmPTE:')


def in_status(pid, name):
    """0 where the process is gone, or nothing is left of it but its exit status."""
    try:
        with open(f'/proc/{pid}/status', encoding='utf-8') as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name)), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def reset_peak(pid):
    with open(f'/proc/{pid}/clear_refs', 'w', encoding='utf-8') as file:
        file.write('5')


def syscalls(site, argv, environ):
    """How many system calls a program makes from its execve to its exit_group, both counted; what it starts itself
    is not."""
    with tempfile.NamedTemporaryFile(dir=site.folder(), prefix='strace.') as log:
        os.chmod(log.name, 0o666)
        subprocess.run(['strace', '-o', log.name, *argv], env=environ, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, check=True, timeout=PATIENCE, **site.as_user)
        return sum(1 for line in log if b'(' in line and not line.startswith((b'---', b'+++')))


class Traced:
    """System calls of running processes and of what they start, while the `with` lasts: `.count`, and `.calls`
    ({name: number})."""

    def __init__(self, site, pids):
        self.site, self.pids, self.count, self.calls = site, pids, 0, {}

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile(dir=self.site.folder(), prefix='strace.')
        attach = [word for pid in self.pids for word in ('-p', str(pid))]
        self.strace = subprocess.Popen(['strace', '-f', '-o', self.log.name, *attach], stderr=subprocess.PIPE)
        # It says once for each process (and each thread) that it is attached.
        for _ in self.pids:
            self.strace.stderr.readline()
        return self

    def __exit__(self, *_):
        self.strace.terminate()
        self.strace.stderr.read()
        self.strace.wait(PATIENCE)
        for line in self.log:
            call = line.split(None, 1)[1].split(b'(')[0].decode()
            if call.isidentifier():
                self.calls[call] = self.calls.get(call, 0) + 1
        self.count = sum(self.calls.values())
        self.log.close()
