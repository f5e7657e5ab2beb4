"""A headless Chromium, driven over two pipes by the DevTools protocol: JSON objects that end in NUL. It knows pages,
keys and pictures, and nothing of the demo. The tests of tests/page use it, too."""

import base64
import fcntl
import json
import os
import select
import signal
import time

PROGRAM = '/usr/bin/chromium'
# Without a sandbox, which root can't have: the pages are our own.
ARGUMENTS = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-extensions', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars',
    '--force-color-profile=srgb', '--remote-debugging-pipe', 'about:blank')
PATIENCE = 90  # seconds: for a busy machine


class Browser:
    """The process; its profile is a directory of the caller's."""

    def __init__(self, folder):
        ours, theirs = os.pipe(), os.pipe()
        # Numbers that are not those that the browser is to have.
        read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (ours[0], theirs[1]))
        self.to, self.answers = os.fdopen(ours[1], 'wb', 0), theirs[0]
        environ = {'PATH': '/usr/bin:/bin', 'HOME': folder, 'LANG': 'C.UTF-8', 'TMPDIR': folder}
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.pid = os.posix_spawn(
            PROGRAM, [PROGRAM, f'--user-data-dir={folder}/profile', *ARGUMENTS], environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in
                          ((null, 0), (null, 1), (null, 2), (read, 3), (write, 4))], setsid=True)
        for fd in (ours[0], theirs[1], read, write, null):
            os.close(fd)
        self.rest, self.count, self.pages = b'', 0, {}

    def call(self, method, session=None, **parameters):
        """What the browser answers to a command; events that come before go to their pages."""
        self.count += 1
        order = {'id': self.count, 'method': method, 'params': parameters, **({'sessionId': session} if session else {})}
        self.to.write(json.dumps(order).encode() + b'\0')
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self.hear(deadline, f'answer to {method}')
            if message.get('id') == self.count:
                if 'error' in message:
                    raise RuntimeError(f'{method}: {message["error"]}')
                return message['result']

    def hear(self, deadline, what):
        """The next message; an event goes to its page, too. what: what is waited for."""
        message = self.message(deadline, what)
        if 'method' in message and message.get('sessionId') in self.pages:
            self.pages[message['sessionId']].heard(message['method'], message['params'])
        return message

    def message(self, deadline, what):
        while b'\0' not in self.rest:
            if not select.select([self.answers], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f'no {what} within {PATIENCE} s')
            part = os.read(self.answers, 1 << 16)
            if not part:
                raise RuntimeError('the browser has ended')
            self.rest += part
        line, self.rest = self.rest.split(b'\0', 1)
        return json.loads(line)

    def close(self):
        """Ends the browser, by force if it does not within the time."""
        ended = os.pidfd_open(self.pid)
        self.to.close()
        if not select.select([ended], [], [], 10)[0]:
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(ended)
        os.close(self.answers)


class View:
    """A page in a window of its own: so wide, so high, light or dark."""

    def __init__(self, browser, width, height, scheme, scale=1):
        self.browser, self.width, self.errors = browser, width, []
        target = browser.call('Target.createTarget', url='about:blank')['targetId']
        self.session = browser.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        browser.pages[self.session] = self
        for domain in ('Page', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=scale,
                  mobile=width < 500)
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        # A page that is not in front draws nothing otherwise.
        self.call('Emulation.setFocusEmulationEnabled', enabled=True)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def heard(self, method, parameters):
        if method == 'Runtime.exceptionThrown':
            details = parameters['exceptionDetails']
            self.errors.append(details.get('exception', {}).get('description') or details['text'])
        elif method == 'Runtime.consoleAPICalled' and parameters['type'] in ('error', 'warning', 'assert'):
            self.errors.append(' '.join(str(each.get('value')) for each in parameters['args']))
        elif method == 'Log.entryAdded' and parameters['entry']['level'] in ('error', 'warning'):
            self.errors.append(f'{parameters["entry"]["text"]} {parameters["entry"].get("url", "")}')

    def open(self, url):
        self.call('Page.navigate', url=url)
        self.until('document.readyState == "complete" && location.href != "about:blank"')

    def value(self, expression):
        """What JavaScript says; of a promise, what becomes of it."""
        result = self.call('Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in result:
            raise RuntimeError(f'{expression}: {result["exceptionDetails"]}')
        return result['result'].get('value')

    def until(self, expression):
        """Waits until it holds, and fails after a time."""
        look = f'''new Promise(done => {{
            const end = Date.now() + {PATIENCE * 1000}
            const look = () => ({expression}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 20)
            look()
        }})'''
        if not self.value(look):
            raise TimeoutError(f'not within {PATIENCE} s: {expression}\n{self.value("document.body.innerText")}')

    def click(self, selector):
        x, y = self.value(f'''(() => {{
            const element = document.querySelector({json.dumps(selector)})
            element.scrollIntoView({{block: "center"}})
            const {{x, y, width, height}} = element.getBoundingClientRect()
            return [x + width / 2, y + height / 2]
        }})()''')
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def press(self, key, code, text=''):
        """A key, by its name and number."""
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      **({'text': text} if text and kind == 'keyDown' else {}))

    def picture(self, **clip):
        """A part of the page, as a PNG."""
        # A page behind others is drawn once in a while only.
        self.call('Page.bringToFront')
        return base64.b64decode(self.call('Page.captureScreenshot', captureBeyondViewport=True, clip=clip)['data'])
