#!/usr/local/bin/polycgi -
# Trac: tickets, a wiki and sources of a project.
# Needs: Trac and 'setuptools<80' in /srv/trac/venv, and a project, made as in the comments of the app file.
wsgi = trac.web.main:dispatch_request
directory = /srv/trac
python = /srv/trac/venv
env.TRAC_ENV = /srv/trac/project
# The project belongs to the user who runs this:
#     /srv/trac/venv/bin/trac-admin /srv/trac/project initenv Project sqlite:db/trac.db
# Log-ins are the web server's: it asks for passwords at /login below this app (REMOTE_USER).
