#!/usr/local/bin/polycgi -
# A CGI program in Perl.
# Needs: /srv/perl/index.pl, mode 755, which begins with #!/usr/bin/perl; with 'use CGI', Debian's libcgi-pm-perl.
cgi = ./index.pl
directory = /srv/perl
# Modules of its own, for 'use'.
env.PERL5LIB = /srv/perl/lib
