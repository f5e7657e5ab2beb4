#!/usr/bin/perl
# A CGI program in Perl, as the tests serve it; plain.sh and plain.c do the same.
use strict;
use warnings;

binmode STDIN;
binmode STDOUT;

sub fields { print map("$_\n", @_), "\n" }

my %pages = (
    '/hello' => sub { fields('Content-Type: text/plain'); print "hello from Perl\n" },
    '/echo'  => sub {
        my $length = read STDIN, my $body, $ENV{CONTENT_LENGTH};
        die "the body is short: $length\n" if $length != $ENV{CONTENT_LENGTH};
        fields("Content-Type: $ENV{CONTENT_TYPE}");
        print $body;
    },
    '/unread'  => sub { fields('Content-Type: text/plain'); print 'x' x $ENV{QUERY_STRING} },
    '/missing' => sub {
        fields('Status: 404 Not Found', 'Content-Type: text/plain');
        print "there is no such page\n";
    },
    '/nothing'   => sub { fields('Status: 204 No Content') },
    '/away'      => sub { fields('Location: http://elsewhere.example/there?a=b') },
    '/see-other' =>
        sub { fields('Status: 303 See Other', "Location: $ENV{SCRIPT_NAME}/hello", 'Content-Type: text/plain') },
    '/inside'   => sub { fields("Location: $ENV{SCRIPT_NAME}/hello") },
    '/complain' => sub {
        print STDERR "a complaint in Perl\n";
        fields('Content-Type: text/plain');
        print "complained\n";
    },
);

my $path = $ENV{PATH_INFO};
if ($path =~ m{^/meta}) {
    # mod_cgid drops the response if some of the body was not read.
    1 while <STDIN>;
    fields('Content-Type: text/plain');
    my @names = qw(
        CONTENT_LENGTH CONTENT_TYPE GATEWAY_INTERFACE GREETING HTTP_PROXY HTTP_X_TEST PATH_INFO QUERY_STRING
        REQUEST_METHOD SCRIPT_NAME
    );
    print "$_ ", $ENV{$_} // 'not set', "\n" for @names;
    print 'words ', scalar(@ARGV), "\n";
} else {
    $pages{$path}->();
}
