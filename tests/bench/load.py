"""Many requests at once, by wrk and by ab: how many a second, and how long they took."""

import dataclasses
import re
import subprocess
import urllib.request

import common

FACTORS = {'us': 0.001, 'ms': 1.0, 's': 1000.0, 'm': 60000.0}


@dataclasses.dataclass
class Load:
    """How many requests, and how many per second; the median and the 99th percentile in ms; responses other than 2xx
    or 3xx, and connections that failed."""
    requests: int
    rate: float
    median: float
    p99: float
    refused: int
    errors: int


def wrk(url, connections, seconds, headers=(), script=None, refusals=False):
    """`refusals`: other answers than 2xx are counted and not the bench's end. A connection that fails is that always."""
    options = [word for header in headers for word in ('-H', header)] + (['-s', script] if script else [])
    threads = min(connections, 2)
    argv = ['wrk', '--latency', f'-t{threads}', f'-c{connections}', f'-d{seconds}s', '--timeout', '30s', *options, url]
    done = subprocess.run(argv, env=common.CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=seconds + common.PATIENCE)
    said = done.stdout.decode()
    rate = re.search(r'Requests/sec:\s+([\d.]+)', said)
    if done.returncode or not rate:
        common.fail(f'wrk {url}: {done.stderr.decode().strip()} {said}')
    refused = re.search(r'Non-2xx or 3xx responses: (\d+)', said)
    errors = re.search(r'Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)', said)
    requests = re.search(r'(\d+) requests in', said)
    load = Load(int(requests[1]), float(rate[1]), percentile(said, 50), percentile(said, 99),
                int(refused[1]) if refused else 0, sum(map(int, errors.groups())) if errors else 0)
    if load.errors or load.refused and not refusals:
        common.fail(f'wrk {url}: {load.errors} connections failed, {load.refused} responses were not 2xx\n{said}')
    return load


def percentile(said, part):
    figure, unit = re.search(rf'^\s+{part}%\s+([\d.]+)(us|ms|s|m)\s*$', said, re.MULTILINE).groups()
    return float(figure) * FACTORS[unit]


def ab(url, clients, requests, body):
    """Requests per second by ab, each on a connection of its own. Every response is a 2xx, as long as this body; one
    before the run and one after it are compared with it."""
    ask(url, body)
    argv = ['ab', '-q', '-n', str(requests), '-c', str(clients), url]
    done = subprocess.run(argv, env=common.CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=2 * common.PATIENCE)
    said = done.stdout.decode()
    counts = dict(re.findall(r'^(\w[\w -]+):\s+([\d.]+)', said, re.MULTILINE))
    if (done.returncode or counts['Complete requests'] != str(requests) or counts['Failed requests'] != '0'
            or 'Non-2xx responses' in counts or counts['Document Length'] != str(len(body))):
        common.fail(f'ab {url}: {done.stderr.decode().strip()} {said}')
    ask(url, body)
    return float(counts['Requests per second'])


def ask(url, body):
    # By no proxy that the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=common.PATIENCE) as response:
            said = response.read()
    except OSError as error:
        common.fail(f'{url} does not answer: {error}')
    if said != body:
        common.fail(f'{url} does not answer as it should: {said[:200]!r}')
