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
# The collections belong to the user who runs this. A line in /srv/radicale/users for each
# user of Radicale; -c makes the file anew, so it is for the first user only:
#     htpasswd -m -c /srv/radicale/users alice
#     htpasswd -m /srv/radicale/users bob
# Apache passes the password on only with 'CGIPassAuth On'.
