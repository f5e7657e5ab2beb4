#!/usr/local/bin/polycgi -
# Radicale: calendars and address books (CalDAV, CardDAV).
# Needs: Debian's package python3-radicale, and two files in /srv/radicale, as in the comments of the app file.
wsgi = radicale:application
env.RADICALE_CONFIG = /srv/radicale/config
# /srv/radicale/config:
#     [auth]
#     type = htpasswd
#     htpasswd_filename = /srv/radicale/users
#     htpasswd_encryption = md5
#     [storage]
#     filesystem_folder = /srv/radicale/collections
# The collections belong to the user who runs this. Of each user of Radicale, a line in /srv/radicale/users:
#     htpasswd -m -c /srv/radicale/users alice
# Apache passes the password on only with 'CGIPassAuth On'.
