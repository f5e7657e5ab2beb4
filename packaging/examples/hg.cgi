#!/usr/local/bin/polycgi -
# Mercurial's hgweb: copy this to cgi-bin (mode 755), and see `polycgi check hg.cgi`.
# /srv/hg/hgapp.py:
#     from mercurial.hgweb import hgweb
#     application = hgweb(b'/srv/hg/hgweb.config')
wsgi = hgapp:application
directory = /srv/hg
python = /srv/hg/venv           # the folder of a virtual environment with Mercurial in it
env.HGENCODING = UTF-8
