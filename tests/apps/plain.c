/* A CGI program in C, as the tests compile and serve it; plain.sh and plain.pl do the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *value(const char *name) {
    const char *found = getenv(name);
    return found ? found : "not set";
}

static void meta(int words) {
    static const char *const names[] = {
        "CONTENT_LENGTH", "CONTENT_TYPE", "GATEWAY_INTERFACE", "GREETING",       "HTTP_PROXY",
        "HTTP_X_TEST",    "PATH_INFO",    "QUERY_STRING",      "REQUEST_METHOD", "SCRIPT_NAME",
    };
    /* mod_cgid drops the response if some of the body was not read. */
    while (getchar() != EOF)
        ;
    fputs("Content-Type: text/plain\r\n\r\n", stdout);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%s %s\n", names[i], value(names[i]));
    printf("words %d\n", words);
}

static int echo(void) {
    size_t length = strtoul(value("CONTENT_LENGTH"), NULL, 10);
    char *body = malloc(length + 1);
    if (!body || fread(body, 1, length, stdin) != length) {
        fputs("the body is short\n", stderr);
        return 1;
    }
    printf("Content-Type: %s\r\n\r\n", value("CONTENT_TYPE"));
    fwrite(body, 1, length, stdout);
    return 0;
}

int main(int argc, char **argv) {
    const char *path = value("PATH_INFO"), *script = value("SCRIPT_NAME");
    (void)argv;
    if (!strncmp(path, "/meta", 5)) {
        meta(argc - 1);
    } else if (!strcmp(path, "/hello")) {
        fputs("Content-Type: text/plain\r\n\r\nhello from C\n", stdout);
    } else if (!strcmp(path, "/echo")) {
        return echo();
    } else if (!strcmp(path, "/unread")) {
        fputs("Content-Type: text/plain\r\n\r\n", stdout);
        for (long left = atol(value("QUERY_STRING")); left > 0; left--)
            putchar('x');
    } else if (!strcmp(path, "/missing")) {
        fputs("Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nthere is no such page\n", stdout);
    } else if (!strcmp(path, "/nothing")) {
        fputs("Status: 204 No Content\r\n\r\n", stdout);
    } else if (!strcmp(path, "/away")) {
        fputs("Location: http://elsewhere.example/there?a=b\r\n\r\n", stdout);
    } else if (!strcmp(path, "/see-other")) {
        printf("Status: 303 See Other\r\nLocation: %s/hello\r\nContent-Type: text/plain\r\n\r\n", script);
    } else if (!strcmp(path, "/inside")) {
        printf("Location: %s/hello\r\n\r\n", script);
    } else if (!strcmp(path, "/complain")) {
        fputs("a complaint in C\n", stderr);
        fputs("Content-Type: text/plain\r\n\r\ncomplained\n", stdout);
    }
    return 0;
}
