# Completion for bash of polycgi(1) and scgi-daemon(8), written from their commands and options by src/completions.

# The NAMEs of NAME.conf.
_polycgi_names() {
    local conf
    for conf in /etc/polycgi/*.conf "${HOME-}"/.config/polycgi/*.conf; do
        conf=${conf##*/}
        [[ $conf == '*.conf' ]] || printf '%s\n' "${conf%.conf}"
    done
}

# What a value may be, by its kind.
_polycgi_value() {
    case $1 in
    app)
        mapfile -t COMPREPLY < <(compgen -W "$(_polycgi_names)" -- "$cur"; compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    command)
        mapfile -t COMPREPLY < <(compgen -c -- "$cur"; compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    example) mapfile -t COMPREPLY < <(compgen -W 'cgit django flask fossil git-http-backend gitweb hgweb moinmoin perl php radicale trac wiki' -- "$cur") ;;
    file)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    folder)
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    method) mapfile -t COMPREPLY < <(compgen -W 'DELETE GET HEAD OPTIONS PATCH POST PUT' -- "$cur") ;;
    name) mapfile -t COMPREPLY < <(compgen -W "$(_polycgi_names)" -- "$cur") ;;
    user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
    way) mapfile -t COMPREPLY < <(compgen -W 'auto cgi scgi' -- "$cur"; compgen -f -- "$cur") ;;
    esac
}

_polycgi() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    # `--user=w` is three words.
    if [[ $cur == '=' ]]; then
        cur=
    elif [[ $prev == '=' ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    COMPREPLY=()
    # The command, what it takes, and how many of its places are taken.
    local at=1 command=scgi-daemon options values places
    if [[ ${1##*/} != scgi-daemon ]]; then
        command=${COMP_WORDS[1]}
        at=2
        if ((COMP_CWORD == 1)); then
            mapfile -t COMPREPLY < <(compgen -W 'applets check compare links new reload request scgi-daemon start status stop --help --version' -- "$cur")
            return
        fi
    fi
    case $command in
    applets)
        options='-h --help'
        values=''
        places='' ;;
    check)
        options='-h --help --as --user --json'
        values='--as:user --user:user'
        places='app' ;;
    compare)
        options='-h --help -n --runs -X --method -H --header -d --data --environ --profile --json --user'
        values='-n:text --runs:text -X:method --method:method -H:text --header:text -d:text --data:text --user:user'
        places='app text' ;;
    links)
        options='-h --help'
        values=''
        places='folder name+' ;;
    new)
        options='-h --help --wsgi --cgi --scgi --connect --example --print'
        values='--wsgi:text --cgi:command --scgi:command --connect:file --example:example'
        places='folder+' ;;
    reload)
        options='-h --help --user'
        values='--user:user'
        places='app' ;;
    request)
        options='-h --help -X --method -H --header -d --data --via -i --include --user'
        values='-X:method --method:method -H:text --header:text -d:text --data:text --via:way --user:user'
        places='app text' ;;
    scgi-daemon)
        options='-h --help --user'
        values='--user:user'
        places='app' ;;
    start)
        options='-h --help --user'
        values='--user:user'
        places='app' ;;
    status)
        options='-h --help --html --json --prometheus --user --watch'
        values='--user:user'
        places='app' ;;
    stop)
        options='-h --help --hold --no-wait --user'
        values='--user:user'
        places='app' ;;
    *) return ;;
    esac
    local pair
    for pair in $values; do
        if [[ $prev == "${pair%%:*}" ]]; then
            _polycgi_value "${pair#*:}"
            return
        fi
    done
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
        return
    fi
    local word taken=0
    while ((at < COMP_CWORD)); do
        word=${COMP_WORDS[at]}
        if [[ $word == -* ]]; then
            if [[ ${COMP_WORDS[at+1]} == '=' ]]; then
                ((at += 2))
            elif [[ " $values" == *" $word:"* ]]; then
                ((at += 1))
            fi
        else
            ((taken += 1))
        fi
        ((at += 1))
    done
    places=($places)
    local place=${places[taken]-}
    if [[ ! $place && $places && ${places[-1]} == *+ ]]; then
        place=${places[-1]}
    fi
    _polycgi_value "${place%+}"
}

complete -F _polycgi polycgi scgi-daemon
