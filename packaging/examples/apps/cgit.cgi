#!/usr/local/bin/polycgi -
# cgit: git repositories to look at and to clone.
# Needs: Debian's package cgit, and /srv/git/cgitrc, as in the comments of the app file.
cgi = /usr/lib/cgit/cgit.cgi
env.CGIT_CONFIG = /srv/git/cgitrc
# Crawlers ask for each page of each commit.
max-procs = 4
queue-size = 20
# /srv/git/cgitrc, with scan-path as its last line (see cgitrc(5)); the web server sends /usr/share/cgit as /cgit-css:
#     css=/cgit-css/cgit.css
#     logo=/cgit-css/cgit.png
#     enable-commit-graph=1
#     snapshots=tar.gz
#     scan-path=/srv/git
