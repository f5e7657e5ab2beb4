#!/usr/local/bin/polycgi -
# A Flask app: copy this to cgi-bin (mode 755), and see `polycgi check flask.cgi`.
# /srv/shop/shop.py has `app = Flask(__name__)`.
wsgi = shop:app
directory = /srv/shop
python = /srv/shop/venv
# NAME=value lines, among them SECRET_KEY; mode 600, since this file here can be read by all.
env-file = /srv/shop/secrets
# Requests come nearly all the time: never as a plain CGI.
mode = daemon
idle-timeout = 1h
