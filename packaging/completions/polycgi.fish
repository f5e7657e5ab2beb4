# Completion for fish of polycgi(1) and scgi-daemon(8), written from their commands and options by src/completions.

# The NAMEs of NAME.conf.
function __polycgi_names
    for conf in /etc/polycgi/*.conf $HOME/.config/polycgi/*.conf
        string replace -r '.*/(.*)\.conf$' '$1' -- $conf
    end
end

complete -c polycgi -f
complete -c polycgi -n __fish_use_subcommand -s h -l help -d 'display usage information'
complete -c polycgi -n __fish_use_subcommand -s V -l version -d 'print the version'
complete -c polycgi -n __fish_use_subcommand -a applets -d 'List the applets'
complete -c polycgi -n __fish_use_subcommand -a check -d 'Examine an app'
complete -c polycgi -n __fish_use_subcommand -a compare -d 'Make one request as a plain CGI and by the daemon, and show what differs'
complete -c polycgi -n __fish_use_subcommand -a links -d 'Make symlinks to polycgi in a directory, one for each app'
complete -c polycgi -n __fish_use_subcommand -a new -d 'Write an app file'
complete -c polycgi -n __fish_use_subcommand -a reload -d 'Load an app\'s configuration and code anew'
complete -c polycgi -n __fish_use_subcommand -a request -d 'Run one request as a web server would, and print the response\'s body'
complete -c polycgi -n __fish_use_subcommand -a scgi-daemon -d 'Serve an app\'s requests from a pool of workers until it is idle'
complete -c polycgi -n __fish_use_subcommand -a start -d 'Start an app\'s daemon now, and end a hold'
complete -c polycgi -n __fish_use_subcommand -a status -d 'Show the state of an app\'s daemon'
complete -c polycgi -n __fish_use_subcommand -a stop -d 'Stop an app\'s daemon'

complete -c polycgi -n '__fish_seen_subcommand_from applets' -s h -l help -d 'display usage information'

complete -c polycgi -n '__fish_seen_subcommand_from check' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from check' -l as -r -f -a '(__fish_complete_users)' -d 'the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from check' -l user -r -f -a '(__fish_complete_users)' -d 'the same, as other commands call it'
complete -c polycgi -n '__fish_seen_subcommand_from check' -l json -d 'an object for each finding, one a line'
complete -c polycgi -n '__fish_seen_subcommand_from check' -F -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from compare' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -s n -l runs -x -d 'how often each way'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -s X -l method -r -f -a 'DELETE GET HEAD OPTIONS PATCH POST PUT' -d 'the method'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -s H -l header -x -d 'a header field, \'Name: value\''
complete -c polycgi -n '__fish_seen_subcommand_from compare' -s d -l data -x -d 'the message-body, or @FILE for what a file holds'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -l environ -d 'compare the environ of the request and what the processes start with, too: environment, directory, umask, limits (for \'wsgi\')'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -l profile -d 'show where the time goes each way, by cProfile, and what a request leaves in a worker (for \'wsgi\')'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -l json -d 'print JSON: an object in one line'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from compare' -F -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from links' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from links' -a '(__fish_complete_directories)'
complete -c polycgi -n '__fish_seen_subcommand_from links' -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from new' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from new' -l wsgi -x -d 'the application, as module:callable'
complete -c polycgi -n '__fish_seen_subcommand_from new' -l cgi -r -F -a '(__fish_complete_command)' -d 'a command that runs the app as a CGI'
complete -c polycgi -n '__fish_seen_subcommand_from new' -l scgi -r -F -a '(__fish_complete_command)' -d 'a command that runs the app as an SCGI server'
complete -c polycgi -n '__fish_seen_subcommand_from new' -l connect -r -F -d 'the address of an SCGI server that runs already: a path, or host:port'
complete -c polycgi -n '__fish_seen_subcommand_from new' -l example -r -f -a 'cgit django flask fossil git-http-backend gitweb hgweb moinmoin perl php radicale trac wiki' -d 'the app file of a well known app, such as cgit or trac'
complete -c polycgi -n '__fish_seen_subcommand_from new' -l print -d 'print the app file, and write nothing'
complete -c polycgi -n '__fish_seen_subcommand_from new' -a '(__fish_complete_directories)'

complete -c polycgi -n '__fish_seen_subcommand_from reload' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from reload' -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from reload' -F -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from request' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from request' -s X -l method -r -f -a 'DELETE GET HEAD OPTIONS PATCH POST PUT' -d 'the method'
complete -c polycgi -n '__fish_seen_subcommand_from request' -s H -l header -x -d 'a header field, \'Name: value\''
complete -c polycgi -n '__fish_seen_subcommand_from request' -s d -l data -x -d 'the message-body, or @FILE for what a file holds'
complete -c polycgi -n '__fish_seen_subcommand_from request' -l via -r -F -a 'auto cgi scgi' -d 'the way: auto (what a web server gets), cgi, scgi (the app\'s daemon), or the address of an SCGI server'
complete -c polycgi -n '__fish_seen_subcommand_from request' -s i -l include -d 'print the response\'s head too'
complete -c polycgi -n '__fish_seen_subcommand_from request' -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from request' -F -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from scgi-daemon' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from scgi-daemon' -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from scgi-daemon' -F -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from start' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from start' -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from start' -F -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from status' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from status' -l html -d 'print a page in HTML, with charts of the last hour'
complete -c polycgi -n '__fish_seen_subcommand_from status' -l json -d 'print JSON: an object for each app, in a line of its own'
complete -c polycgi -n '__fish_seen_subcommand_from status' -l prometheus -d 'print metrics, as Prometheus reads them'
complete -c polycgi -n '__fish_seen_subcommand_from status' -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from status' -l watch -d 'show it again every second, or every N seconds with --watch=N'
complete -c polycgi -n '__fish_seen_subcommand_from status' -F -a '(__polycgi_names)'

complete -c polycgi -n '__fish_seen_subcommand_from stop' -s h -l help -d 'display usage information'
complete -c polycgi -n '__fish_seen_subcommand_from stop' -l hold -d 'keep it down until \'start\', or for a day'
complete -c polycgi -n '__fish_seen_subcommand_from stop' -l no-wait -d 'return once the daemon has been told: it takes no request any more, and finishes those that it has'
complete -c polycgi -n '__fish_seen_subcommand_from stop' -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c polycgi -n '__fish_seen_subcommand_from stop' -F -a '(__polycgi_names)'

complete -c scgi-daemon -f
complete -c scgi-daemon -s h -l help -d 'display usage information'
complete -c scgi-daemon -l user -r -f -a '(__fish_complete_users)' -d 'for root: the user whom the web server runs the app as'
complete -c scgi-daemon -F -a '(__polycgi_names)'
