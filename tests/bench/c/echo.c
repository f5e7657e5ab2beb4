/*
 * The least that a daemon can be: one process, one request at a time, the same answer to each. What a front costs is
 * measured against it.
 *
 * usage: echo PATH (a front of polycgi's: handoff), echo PORT (an SCGI client, at 127.0.0.1)
 */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char answer[] = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";
static const char acks[] = "QTD";

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_at(const char *place)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX };
	struct sockaddr_in port = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *address = place[0] == '/' ? (struct sockaddr *)&path : (struct sockaddr *)&port;
	socklen_t length = place[0] == '/' ? sizeof path : sizeof port;
	int listener = socket(address->sa_family, SOCK_STREAM, 0), on = 1;

	strncpy(path.sun_path, place, sizeof path.sun_path - 1);
	port.sin_port = htons(atoi(place));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, address, length) < 0 || listen(listener, 128) < 0)
		fail(place);
	return listener;
}

/* Where the netstring `LENGTH:...,` ends; 0 while that is not known. */
static size_t header_end(const char *bytes, size_t count)
{
	const char *colon = memchr(bytes, ':', count < 20 ? count : 20);
	return colon ? colon + 1 - bytes + strtoul(bytes, NULL, 10) + 1 : 0;
}

static void serve(int client)
{
	static char header[1 << 18];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(3 * sizeof(int))];
	} control;
	int fds[3], passed = 0;
	size_t have = 0, end = 0;

	while (!end || have < end) {
		struct iovec room = { header + have, sizeof header - have };
		struct msghdr message = { .msg_iov = &room, .msg_iovlen = 1,
					  .msg_control = &control, .msg_controllen = sizeof control };
		ssize_t count = recvmsg(client, &message, 0);
		struct cmsghdr *found;

		if (count <= 0)
			return; /* whoever only looks whether we are there */
		found = CMSG_FIRSTHDR(&message);
		if (found && found->cmsg_len == CMSG_LEN(sizeof fds)) {
			memcpy(fds, CMSG_DATA(found), sizeof fds);
			passed = 1;
		}
		have += count;
		end = header_end(header, have);
	}
	if (write(passed ? fds[1] : client, answer, sizeof answer - 1) < 0)
		perror("echo: cannot answer");
	if (passed) {
		for (int i = 0; i < 3; i++)
			close(fds[i]);
		send(client, acks, sizeof acks - 1, MSG_NOSIGNAL);
	}
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: echo PATH|PORT\n");
		return 64;
	}
	for (int listener = listen_at(argv[1]);;) {
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			fail("accept");
		serve(client);
		close(client);
	}
}
