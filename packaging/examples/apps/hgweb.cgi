#!/usr/local/bin/polycgi -
# Mercurial's hgweb: repositories to look at, to clone, and to push to.
# Needs: Mercurial in /srv/hg/venv, and /srv/hg/hgapp.py and /srv/hg/hgweb.config, as in the comments of the app file.
wsgi = hgapp:application
directory = /srv/hg
python = /srv/hg/venv
env.HGENCODING = UTF-8
# /srv/hg/hgapp.py:
#     from mercurial.hgweb import hgweb
#     application = hgweb(b'/srv/hg/hgweb.config')
# /srv/hg/hgweb.config:
#     [paths]
#     / = /srv/hg/repos/*
#     [web]
#     # Users whom the web server has asked for their passwords. Over HTTPS, unless 'push_ssl = false'.
#     allow-push = alice, bob
