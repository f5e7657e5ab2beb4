#!/usr/local/bin/polycgi -
# A Django project.
# Needs: the project mysite of `django-admin startproject mysite /srv/mysite`, and Django in /srv/mysite/venv.
wsgi = mysite.wsgi:application
directory = /srv/mysite
python = /srv/mysite/venv
env.DJANGO_SETTINGS_MODULE = mysite.settings
# NAME=value lines, mode 600, since this file here can be read by all; for instance SECRET_KEY, which the settings then
# take by os.environ['SECRET_KEY'].
env-file = /srv/mysite/secrets
# The web server sends static files: `manage.py collectstatic`, and an alias from STATIC_URL to STATIC_ROOT.
