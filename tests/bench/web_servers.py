"""Web servers, each with a configuration, a folder and a port of its own, run as the site's user."""

import common

APACHE, MODULES = '/usr/sbin/apache2', '/usr/lib/apache2/modules'
NGINX, PARAMS = '/usr/sbin/nginx', '/etc/nginx'


def apache(site, mpm='event', cgi='cgid', at_once=64, extra='', load=()):
    """Serves `.cgi_bin`, a folder for app files, at http://127.0.0.1:PORT/cgi-bin/ (`.url`). `cgi` is cgid or cgi,
    `at_once` the most requests that it serves at once, `extra` more directives (`{root}` is its folder), `load` names
    of more modules. `.address` is (host, port)."""
    root = site.folder()
    cgi_bin = site.make(f'{root}/cgi-bin')
    address = common.free_address()
    modules = ''.join(f'LoadModule {name}_module {MODULES}/mod_{name}.so\n'
                      for name in (f'mpm_{mpm}', cgi, 'authz_core', 'alias', *load))
    if mpm == 'event':
        # One process: requests meet the same one, whichever connection they come on.
        crew = (f'StartServers 1\nServerLimit 1\nThreadLimit {at_once}\nThreadsPerChild {at_once}\n'
                f'MaxRequestWorkers {at_once}\nMinSpareThreads 1\nMaxSpareThreads {at_once}\n')
    else:
        crew = (f'StartServers {at_once}\nServerLimit {at_once}\nMaxRequestWorkers {at_once}\n'
                f'MinSpareServers {at_once}\nMaxSpareServers {at_once}\n')
    socket = f'ScriptSock {root}/cgid.sock\n' if cgi == 'cgid' else ''
    # Connections are kept while a client likes: what is measured are CGIs and not connections.
    config = (f'ServerRoot {root}\n{modules}{crew}{socket}PidFile {root}/pid\nDefaultRuntimeDir {root}\n'
              f'Listen {address[0]}:{address[1]}\nServerName localhost\nTimeout 60\nErrorLog {root}/error.log\n'
              f'KeepAlive On\nMaxKeepAliveRequests 0\nScriptAlias /cgi-bin/ {cgi_bin}/\n'
              f'<Directory {cgi_bin}>\nRequire all granted\nAcceptPathInfo On\n</Directory>\n'
              + extra.format(root=root))
    site.write(f'{root}/httpd.conf', config)
    argv = [APACHE, '-D', 'FOREGROUND', '-d', root, '-f', f'{root}/httpd.conf']
    server = site.serve(argv, address, cwd=root)
    server.address, server.cgi_bin, server.url = address, cgi_bin, f'http://{address[0]}:{address[1]}/cgi-bin'
    return server


def nginx(site, locations, connections=4096):
    """Serves {name: directives of its `location /`}, each at a port of its own: `.urls` is {name: URL}. One worker
    process with so many connections, no log of requests; a client's connection is kept as long as the client likes.
    `include NAME_params` in the directives is Debian's file."""
    root = site.folder()
    addresses = {name: common.free_address() for name in locations}
    servers = ''.join(f'  server {{ listen {addresses[name][0]}:{addresses[name][1]}; location / {{ {directives} }} }}\n'
                      for name, directives in locations.items()).replace('include ', f'include {PARAMS}/')
    folders = ''.join(f'  {what}_temp_path {root}/{what};\n'
                      for what in ('client_body', 'fastcgi', 'proxy', 'scgi', 'uwsgi'))
    config = (f'daemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n'
              f'events {{ worker_connections {connections}; }}\n'
              f'http {{\n  access_log off;\n  keepalive_requests 1000000000;\n{folders}{servers}}}\n')
    site.write(f'{root}/nginx.conf', config)
    argv = [NGINX, '-e', f'{root}/error.log', '-p', root, '-c', f'{root}/nginx.conf']
    # Its sockets are all there before the first one takes a connection.
    server = site.serve(argv, next(iter(addresses.values())), cwd=root)
    server.urls = {name: f'http://{host}:{port}/' for name, (host, port) in addresses.items()}
    return server
