#!/bin/sh
# A CGI program in the shell, as the tests serve it; plain.pl and plain.c do the same. What each path gives is in
# tests/it/apps/plain.rs.

fields() { # FIELD...: the head of the response
    printf '%s\n' "$@" ''
}

case $PATH_INFO in
/hello)
    fields 'Content-Type: text/plain'
    echo 'hello from the shell'
    ;;
/meta*)
    # mod_cgid drops the response if some of the body was not read.
    cat >/dev/null
    fields 'Content-Type: text/plain'
    # Set and empty differs from not set.
    echo "CONTENT_LENGTH ${CONTENT_LENGTH-not set}"
    echo "CONTENT_TYPE ${CONTENT_TYPE-not set}"
    echo "GATEWAY_INTERFACE ${GATEWAY_INTERFACE-not set}"
    echo "GREETING ${GREETING-not set}"
    echo "HTTP_PROXY ${HTTP_PROXY-not set}"
    echo "HTTP_X_TEST ${HTTP_X_TEST-not set}"
    echo "PATH_INFO ${PATH_INFO-not set}"
    echo "QUERY_STRING ${QUERY_STRING-not set}"
    echo "REQUEST_METHOD ${REQUEST_METHOD-not set}"
    echo "SCRIPT_NAME ${SCRIPT_NAME-not set}"
    echo "words $#"
    ;;
/echo)
    # To the end of the file and not by CONTENT_LENGTH, as many a script does; all of it before the response, for
    # Apache takes no response before it has sent the body.
    body=$(mktemp)
    cat >"$body"
    fields "Content-Type: $CONTENT_TYPE"
    cat "$body"
    rm "$body"
    ;;
/unread)
    # So many bytes of response, and none of the body is read.
    fields 'Content-Type: text/plain'
    head -c "$QUERY_STRING" /dev/zero | tr '\0' x
    ;;
/stream)
    fields 'Content-Type: text/plain'
    echo first
    echo $$ >gate.entered
    head -c 1 <gate.go >/dev/null
    echo second
    ;;
/missing)
    fields 'Status: 404 Not Found' 'Content-Type: text/plain'
    echo 'there is no such page'
    ;;
/nothing)
    fields 'Status: 204 No Content'
    ;;
/away)
    fields 'Location: http://elsewhere.example/there?a=b'
    ;;
/see-other)
    fields 'Status: 303 See Other' "Location: $SCRIPT_NAME/hello" 'Content-Type: text/plain'
    ;;
/inside)
    fields "Location: $SCRIPT_NAME/hello"
    ;;
/complain)
    echo 'a complaint in the shell' >&2
    fields 'Content-Type: text/plain'
    echo complained
    ;;
esac
