#!/usr/local/bin/polycgi -
# An app in PHP with one index.php for all its pages.
# Needs: Debian's package php-cgi, and /srv/php/index.php.
cgi = php-cgi
directory = /srv/php
# All three are needed. php-cgi runs the file of SCRIPT_FILENAME, which would be this one here, whose text a client would
# get; some settings of PHP make it run that of PATH_TRANSLATED, which a client chooses.
env.SCRIPT_FILENAME = /srv/php/index.php
env.PATH_TRANSLATED = /srv/php/index.php
# php-cgi refuses to work without it.
env.REDIRECT_STATUS = 200
