#!/usr/local/bin/polycgi -
# Fossil: tickets, a wiki and sources in one file a project; here all of a folder.
# Needs: Debian's package fossil, and /srv/fossil/site, as in the comments of the app file.
cgi = fossil cgi /srv/fossil/site
env.HOME = /srv/fossil
# /srv/fossil/site; /srv/fossil/repos/wiki.fossil is then .../fossil.cgi/wiki:
#     directory: /srv/fossil/repos
# The repositories and their folder belong to the user who runs this: SQLite writes beside them.
