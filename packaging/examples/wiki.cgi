#!/usr/local/bin/polycgi -
# A wiki: copy this to cgi-bin (mode 755), and see `polycgi check wiki.cgi`.
# /srv/wiki/wiki.py has a WSGI callable named `application`.
wsgi = wiki:application
directory = /srv/wiki

# Set in os.environ, as a CGI and in the daemon.
env.WIKI_DATA = /srv/wiki/data

# Pages that search are slow, and crawlers ask for many of them.
max-procs = 4
queue-size = 50
