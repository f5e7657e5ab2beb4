#!/usr/local/bin/polycgi -
# MoinMoin 2, a wiki. (MoinMoin 1.9 needs Python 2.)
# Needs: moin in /srv/moin/venv, and /srv/moin/moinapp.py and a wiki, as in the comments of the app file.
wsgi = moinapp:application
directory = /srv/moin
python = /srv/moin/venv
# /srv/moin/moinapp.py:
#     from moin.app import create_app
#     application = create_app('/srv/moin/wiki/wikiconfig.py')
# The wiki belongs to the user who runs this, and its wikiconfig.py has a SECRET_KEY of its own. In /srv/moin/wiki:
#     /srv/moin/venv/bin/moin create-instance --path /srv/moin/wiki
#     MOINCFG=/srv/moin/wiki/wikiconfig.py /srv/moin/venv/bin/moin index-create
#     MOINCFG=/srv/moin/wiki/wikiconfig.py /srv/moin/venv/bin/moin welcome
