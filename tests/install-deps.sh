#!/bin/bash
# Installs what the tests need and this machine lacks: Debian's packages by apt, Mercurial from PyPI into a
# virtual environment, and into others beside it gevent and eventlet (`green`), Trac, MoinMoin and a2wsgi (`wikis`). Where all is
# there, neither apt nor pip is run.
# usage: install-deps.sh FOLDER-OF-THE-VIRTUAL-ENVIRONMENT
set -eu

environment=$1
. "$(dirname "$0")/install-packages.sh"

# Web servers, and modules of Apache that the guides know.
need apache2 test -x /usr/sbin/a2enmod
need apache2-bin test -x /usr/sbin/apache2 -a -e /usr/lib/apache2/modules/mod_cgid.so
need apache2-suexec-custom test -e /usr/lib/apache2/suexec-custom
need apache2-utils test -x /usr/bin/htpasswd
need busybox test -x /bin/busybox
need fcgiwrap test -x /usr/sbin/fcgiwrap
need libapache2-mod-fcgid test -e /usr/lib/apache2/modules/mod_fcgid.so
need libapache2-mod-wsgi-py3 test -e /usr/lib/apache2/modules/mod_wsgi.so
# One of the web servers is a program in Go.
need golang-go test -x /usr/bin/go
need h2o test -x /usr/bin/h2o -a -e /usr/share/h2o/fastcgi-cgi
need haproxy test -x /usr/sbin/haproxy
need lighttpd test -x /usr/sbin/lighttpd -a -e /usr/lib/lighttpd/mod_cgi.so
need nginx test -x /usr/sbin/nginx
# Applications, and what makes or runs them.
need apache2-utils test -x /usr/bin/htpasswd
need cgit test -x /usr/lib/cgit/cgit.cgi
need fossil test -x /usr/bin/fossil
need gcc test -x /usr/bin/gcc
need git test -x /usr/bin/git -a -e /usr/lib/git-core/git-http-backend -a -e /usr/share/gitweb/gitweb.cgi
need libc6-dev test -e /usr/include/stdio.h
# For gitweb, which Debian packs with git: older Perls had it in themselves.
need logrotate test -x /usr/sbin/logrotate
need libcgi-pm-perl perl -MCGI -e 1
need libplack-perl test -x /usr/bin/plackup
# Its core modules too, as prove is; perl-base has few.
need perl test -x /usr/bin/prove
need php-cgi test -x /usr/bin/php-cgi
need python3 /usr/bin/python3 -c 'import wsgiref.validate'
need python3-django has_module django
need python3-flask has_module flask
need python3-radicale has_module radicale
# A virtual environment without pip is of no use, and Debian packs pip for it apart.
need python3-venv has_module ensurepip
need uwsgi-core test -x /usr/bin/uwsgi-core
need uwsgi-plugin-python3 compgen -G "/usr/lib/uwsgi/plugins/python3*_plugin.so"
# What the tests use themselves.
need bash-completion test -e /usr/share/bash-completion/bash_completion
need binutils test -x /usr/bin/objdump
need bsdutils test -x /usr/bin/script
need chromium test -x /usr/bin/chromium
need coreutils sha256sum /dev/null
need curl curl --version
need fish test -x /usr/bin/fish
# What the browser draws text with: with none, it draws nothing.
need fonts-dejavu-core test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
need dbus test -x /usr/bin/dbus-daemon
need lintian test -x /usr/bin/lintian
need man-db test -x /usr/bin/man
need mandoc test -x /usr/bin/mandoc
need prometheus test -x /usr/bin/promtool
need rpm test -x /usr/bin/rpmbuild
need strace test -x /usr/bin/strace
need systemd test -x /lib/systemd/systemd
need systemd-container test -x /usr/bin/systemd-nspawn
need util-linux /usr/bin/setpriv --version
need zsh test -x /usr/bin/zsh

install_packages 'the tests need'

if ! "$environment/bin/python3" "$environment/bin/hg" --version >/dev/null 2>&1; then
    rm -rf "$environment"
    /usr/bin/python3 -m venv "$environment"
    # In pure Python where there is no wheel: the machine may have no compiler either.
    HGMODULEPOLICY=allow "$environment/bin/pip" install --quiet --disable-pip-version-check 'mercurial>=6.5' ||
        { echo "install-deps.sh: cannot install Mercurial from PyPI (is there a network, and for a build gcc and python3-dev?)" >&2; exit 69; }
    # Removed, since the tests copy the rest.
    "$environment/bin/python3" -m pip uninstall --quiet --yes setuptools pip
    "$environment/bin/python3" "$environment/bin/hg" --version --quiet
fi

# A virtual environment of packages of these versions. The tests copy it, so it has no more than it needs.
environment_of() { # NAME WHAT-IS-IN-IT VERSIONS WORDS-FOR-PIP MODULES
    local at
    at=$(dirname "$environment")/$1
    if [ "$(cat "$at/versions" 2>/dev/null)" = "$3" ]; then
        return
    fi
    rm -rf "$at"
    /usr/bin/python3 -m venv "$at"
    # Split into words.
    "$at/bin/pip" install --quiet --disable-pip-version-check $4 $3 ||
        { echo "install-deps.sh: cannot install $2 from PyPI (is there a network?)" >&2; exit 69; }
    case $3 in
    *setuptools*) "$at/bin/python3" -m pip uninstall --quiet --yes pip ;;
    *) "$at/bin/python3" -m pip uninstall --quiet --yes setuptools pip ;;
    esac
    "$at/bin/python3" -c "import $5"
    echo "$3" >"$at/versions"
}

# Fixed versions: what they replace in the standard library differs between versions.
environment_of green 'gevent and eventlet' 'gevent==26.9.0 eventlet==0.41.3 greenlet==3.5.6' '--only-binary :all:' 'eventlet, gevent'
# Trac needs pkg_resources of setuptools.
environment_of wikis 'Trac, MoinMoin and a2wsgi' 'Trac==1.6 moin==2.0.0b5 setuptools==79.0.1 a2wsgi==1.10.10' '' 'a2wsgi, moin, trac.web.main'

# Not installed: its user would be one more as whom a web server of this machine may run.
debs=$(dirname "$environment")/debs
if [ ! -x "$debs/caddy/usr/bin/caddy" ]; then
    rm -rf "$debs"
    mkdir "$debs"
    (cd "$debs" && apt-get download --quiet=2 caddy && mv caddy_*.deb caddy.deb && dpkg-deb -x caddy.deb caddy) ||
        { echo "install-deps.sh: cannot download Debian's package caddy (apt-get update?)" >&2; exit 69; }
fi
