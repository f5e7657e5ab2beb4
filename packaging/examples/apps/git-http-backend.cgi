#!/usr/local/bin/polycgi -
# git-http-backend: repositories that git clones, and pushes to.
# Needs: Debian's package git, and bare repositories in /srv/git that belong to the user who runs this.
cgi = git http-backend
env.GIT_PROJECT_ROOT = /srv/git
env.HOME = /srv/git
# Each repository in there; without this line, those with a file git-daemon-export-ok.
env.GIT_HTTP_EXPORT_ALL = 1
# Pushes are accepted from users whom the web server has asked for their passwords (REMOTE_USER). For pushes by all:
#     git config http.receivepack true        # in a repository
# A pack of a large repository is computed for long before its first byte is sent.
request-timeout = 5m
