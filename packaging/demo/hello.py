"""The demo's application: a page that says how it was served. It knows WSGI, and nothing of polycgi."""

import asyncio  # noqa: F401  (what an application of some size imports costs as much to start)
import os
import time
from html import escape
from wsgiref.util import request_uri

BEGAN = time.monotonic()
WORK = 0.25  # seconds: a page that asks a slow database, `?slow`

PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{way}</title>
<style>
:root {{ color-scheme: light dark; --page: #f4f5f7; --card: #fff; --text: #1c2128; --soft: #59636e; --line: #d9dee4; --mark: {light} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #14171b; --card: #1d2127; --text: #e8ebef; --soft: #a2acb7; --line: #343b44; --mark: {dark} }}
}}
* {{ box-sizing: border-box }}
body {{ margin: 0; min-height: 100vh; padding: 1.25rem; display: flex; align-items: center; justify-content: center;
  background: var(--page); color: var(--text); font: 1.0625rem/1.55 system-ui, sans-serif }}
main {{ width: 100%; max-width: 34rem; padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-top: .3rem solid var(--mark); border-radius: .75rem }}
h1 {{ margin: 0 0 .5rem; font-size: 1.6rem; line-height: 1.25 }}
p {{ margin: 0 }}
dl {{ margin: 1.5rem 0; display: grid; grid-template-columns: auto 1fr; gap: .35rem 1.25rem }}
dt {{ color: var(--soft) }}
dd {{ margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }}
a {{ color: var(--mark) }}
@media (max-width: 30rem) {{ main {{ padding: 1.25rem }} }}
</style>
</head>
<body>
<main>
<h1>{way}</h1>
<p>{why}</p>
<dl>
<dt>process</dt><dd>{pid}</dd>
<dt>loaded</dt><dd>{age} ago</dd>
<dt>its requests</dt><dd>{count}</dd>
<dt>asked for</dt><dd>{uri}</dd>
</dl>
<p><a href="">Again</a></p>
</main>
</body>
</html>
'''

CGI = {
    'way': 'Served by a plain CGI',
    'why': 'The site is quiet. This process was started for this request, and is gone now. '
           'When the site is busy, a daemon will answer.',
    'light': '#0a7a64',
    'dark': '#37c5a4',
}
DAEMON = {
    'way': 'Served by the daemon',
    'why': 'The site is busy. This process was there before the request, and waits for the next. '
           'Leave the site alone for ten seconds, and the daemon leaves too: then a plain CGI will answer.',
    'light': '#2f6bd8',
    'dark': '#6b9cf5',
}

count = 0


def application(environ, start_response):
    global count
    count += 1
    if environ.get('QUERY_STRING') == 'slow':
        time.sleep(WORK)
    # Since the process does nothing else, PEP 3333's run_once is all that tells the two apart.
    way = CGI if environ['wsgi.run_once'] else DAEMON
    age = time.monotonic() - BEGAN
    served = f'{"cgi" if way is CGI else "daemon"} {os.getpid()}'
    body = PAGE.format(
        pid=os.getpid(),
        age=f'{age:.1f} s' if age >= 1 else f'{age * 1000:.0f} ms',
        count=count,
        uri=escape(request_uri(environ)),
        **way,
    ).encode()
    start_response('200 OK', [
        ('Content-Type', 'text/html; charset=utf-8'),
        ('Content-Length', str(len(body))),
        ('Cache-Control', 'no-store'),
        # For the demo, which shows it.
        ('X-Served', served),
    ])
    return [body]
