#!/usr/local/bin/polycgi -
# A WSGI application of your own: a wiki in one module.
# Needs: /srv/wiki/wiki.py with a WSGI callable named `application`.
wsgi = wiki:application
directory = /srv/wiki

# Set in os.environ, as a CGI and in the daemon.
env.WIKI_DATA = /srv/wiki/data

# Pages that search are slow, and crawlers ask for many of them.
max-procs = 4
queue-size = 50
