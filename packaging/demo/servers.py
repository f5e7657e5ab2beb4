"""The web servers that the demo can use: for each, what it needs to serve cgi-bin on loopback. It starts none."""

import glob
import os
import shutil
import sys

PYTHON = '''
import sys
from http.server import CGIHTTPRequestHandler, ThreadingHTTPServer

class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

class Handler(CGIHTTPRequestHandler):
    cgi_directories = ['/cgi-bin']

Server(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
'''


class Server:
    """What a web server is called, and how it is run."""

    def __init__(self, name, argv):
        self.name, self.argv = name, argv


def program(*names):
    path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def write(path, text):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return path


def apache(root, port):
    binary = program('apache2', 'httpd')
    folders = ('/usr/lib/apache2/modules', '/usr/lib64/httpd/modules', '/usr/lib/httpd/modules')
    modules = next(filter(os.path.isdir, folders), None)
    if not binary or not modules:
        return None
    there = {os.path.basename(path)[4:-3] for path in glob.glob(modules + '/mod_*.so')}
    if {'mpm_event', 'cgid'} <= there:
        kind, ways = 'event, mod_cgid', ('mpm_event', 'cgid')
        processes = f'StartServers 1\nServerLimit 1\nThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers 64\n' \
                    f'MinSpareThreads 1\nMaxSpareThreads 64\nScriptSock {root}/log/cgid.sock\n'
    elif {'mpm_prefork', 'cgi'} <= there:
        kind, ways = 'prefork, mod_cgi', ('mpm_prefork', 'cgi')
        processes = 'StartServers 32\nServerLimit 64\nMaxRequestWorkers 64\nMaxSpareServers 64\n'
    else:
        return None
    # Where one is missing, it is part of the program.
    wanted = (*ways, 'authz_core', 'alias', 'reqtimeout', 'unixd')
    load = ''.join(f'LoadModule {m}_module {modules}/mod_{m}.so\n' for m in wanted if m in there)
    config = write(f'{root}/server.conf', f'''ServerRoot {root}
{load}{processes}
PidFile {root}/log/pid
DefaultRuntimeDir {root}/log
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
ErrorLog {root}/log/error
LogLevel notice
RedirectMatch ^/$ /cgi-bin/hello
ScriptAlias /cgi-bin/ {root}/www/cgi-bin/
<IfModule reqtimeout_module>
# A browser keeps a connection ready that it has not used, and a thread that reads from it takes 10 s to stop.
RequestReadTimeout header=3
</IfModule>
<Directory {root}/www/cgi-bin>
Require all granted
</Directory>
''')
    return Server(f'Apache ({kind})', [binary, '-D', 'FOREGROUND', '-f', config])


def lighttpd(root, port):
    binary = program('lighttpd')
    if not binary:
        return None
    config = write(f'{root}/server.conf', f'''server.modules = ("mod_redirect", "mod_cgi")
server.document-root = "{root}/www"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{root}/log/error"
url.redirect = ("^/$" => "/cgi-bin/hello")
$HTTP["url"] =~ "^/cgi-bin/" {{
    cgi.assign = ("" => "")
    cgi.execute-x-only = "enable"
}} else $HTTP["url"] != "/" {{
    url.access-deny = ("")
}}
''')
    return Server('lighttpd', [binary, '-D', '-f', config])


def busybox(root, port):
    binary = program('busybox')
    if not binary or os.system(f'{binary} httpd --help >{os.devnull} 2>&1'):
        return None
    config = write(f'{root}/server.conf', '')
    argv = [binary, 'httpd', '-f', '-c', config, '-h', f'{root}/www', '-p', f'127.0.0.1:{port}']
    return Server('busybox httpd', argv)


def python(root, port):
    try:
        from http.server import CGIHTTPRequestHandler  # noqa: F401  (gone in Python 3.15)
    except ImportError:
        return None
    return Server("Python's http.server", [sys.executable, '-W', 'ignore', '-c', PYTHON, str(port)])


ALL = {'apache2': apache, 'lighttpd': lighttpd, 'busybox': busybox, 'python': python}


def first(root, port, wanted=''):
    """The first of them that is installed, or the one that is wanted by name."""
    for name, find in ALL.items():
        server = find(root, port) if wanted in ('', name) else None
        if server:
            return server
    return None
