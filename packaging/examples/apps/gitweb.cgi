#!/usr/local/bin/polycgi -
# gitweb: git repositories to look at.
# Needs: Debian's packages git and libcgi-pm-perl, and /srv/git/gitweb.conf, as in the comments of the app file.
cgi = /usr/share/gitweb/gitweb.cgi
env.GITWEB_CONFIG = /srv/git/gitweb.conf
# Crawlers ask for each page of each commit.
max-procs = 4
queue-size = 20
# /srv/git/gitweb.conf, in Perl (see gitweb.conf(5)); the web server sends /usr/share/gitweb/static as /gitweb:
#     $projectroot = '/srv/git';
#     $feature{'pathinfo'}{'default'} = [1];
#     @stylesheets = ('/gitweb/gitweb.css');
#     $javascript = '/gitweb/gitweb.js';
#     $logo = '/gitweb/git-logo.png';
#     $favicon = '/gitweb/git-favicon.png';
#     1;
