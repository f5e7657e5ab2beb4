#!/usr/local/bin/polycgi -
# A Flask app.
# Needs: /srv/shop/shop.py with `app = Flask(__name__)`, and Flask in /srv/shop/venv.
wsgi = shop:app
directory = /srv/shop
python = /srv/shop/venv
# NAME=value lines, among them SECRET_KEY; mode 600, since this file here can be read by all.
env-file = /srv/shop/secrets
# Requests come nearly all the time: never as a plain CGI.
mode = daemon
idle-timeout = 1h
