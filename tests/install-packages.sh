# Sourced: collects Debian's packages that are missing, and installs them by apt. If none is, apt is not run.

packages=()

need() { # PACKAGE COMMAND...: the package, unless the command succeeds
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || packages+=("$package")
}

has_module() { # MODULE: of the system's Python
    /usr/bin/python3 -c 'import sys; from importlib.util import find_spec; sys.exit(find_spec(sys.argv[1]) is None)' "$1"
}

install_packages() { # WHO-NEEDS-THEM
    local root policy name=${0##*/}
    if [ ${#packages[@]} = 0 ]; then
        return
    elif ! command -v apt-get >/dev/null; then
        echo "$name: $1 ${packages[*]} (Debian's names): install them" >&2
        exit 69
    elif [ "$(id -u)" = 0 ]; then
        root=(env)
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        root=(sudo)
    else
        echo "$name: $1 more packages: apt-get install ${packages[*]}" >&2
        exit 77
    fi
    # The packages would start their servers when they are installed. The tests start their own, and the ports of this
    # machine may be in use.
    policy=/usr/sbin/policy-rc.d
    (
        if [ ! -e $policy ]; then
            printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
            "${root[@]}" chmod 755 $policy
            trap '"${root[@]}" rm -f $policy' EXIT
        fi
        "${root[@]}" apt-get update
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
    )
}
