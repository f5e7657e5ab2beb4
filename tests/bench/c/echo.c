/*
 * The least that a daemon can be: one process, one request at a time, the same answer to each. What a front costs is
 * measured against it.
 *
 * usage: echo scgi PATH|PORT   (fronts of polycgi's, which give their descriptors; or plain SCGI clients)
 *        echo early PATH       (fronts are told to go before they have their answer ...)
 *        echo late PATH        (... or behind it; what one passed is closed when it has ended, as our own daemon does it)
 *        echo fastcgi PATH|-   (-: fd 0 listens, as under mod_fcgid)
 */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static const char answer[] = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";
static const char acks[] = "QTD";
static int early, late;

/* Behind the listener: fronts that were told to go; and what each of them had passed. */
enum { MOST = 1024 };
static struct pollfd parting[MOST] = { { .events = POLLIN } };
static int passed_by[MOST][3], count = 1;

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
	int on = 1, listener;

	if (!strcmp(place, "-"))
		return 0;
	listener = socket(address->sa_family, SOCK_STREAM, 0);
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

static void close_all(const int fds[3])
{
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* Until a client connects. */
static void see_off(int listener)
{
	parting[0].fd = listener;
	do {
		if (poll(parting, count, -1) < 0)
			fail("poll");
		for (int i = count - 1; i > 0; i--) {
			if (!parting[i].revents)
				continue;
			close_all(passed_by[i]);
			close(parting[i].fd);
			parting[i] = parting[--count];
			memcpy(passed_by[i], passed_by[count], sizeof passed_by[i]);
		}
	} while (!parting[0].revents || count == MOST);
}

/* Ready to read once it has ended. */
static int process_of(int client)
{
	struct ucred peer = { 0 };
	socklen_t length = sizeof peer;
	int process = -1;

	if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
		process = syscall(SYS_pidfd_open, peer.pid, 0);
	if (process < 0)
		fail("pidfd_open");
	return process;
}

static void serve_scgi(int client)
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
			return; /* a client that only tests whether this runs */
		found = CMSG_FIRSTHDR(&message);
		if (found && found->cmsg_len == CMSG_LEN(sizeof fds)) {
			memcpy(fds, CMSG_DATA(found), sizeof fds);
			passed = 1;
		}
		have += count;
		end = header_end(header, have);
	}
	if (passed && (early || late)) {
		parting[count] = (struct pollfd){ .fd = process_of(client), .events = POLLIN };
		memcpy(passed_by[count++], fds, sizeof fds);
	}
	if (passed && early)
		send(client, acks, sizeof acks - 1, MSG_NOSIGNAL);
	if (write(passed ? fds[1] : client, answer, sizeof answer - 1) < 0)
		perror("echo: cannot answer");
	if (passed && !early && !late)
		close_all(fds);
	if (passed && !early)
		send(client, acks, sizeof acks - 1, MSG_NOSIGNAL);
}

/* The FastCGI specification, section 8: the head of a record. */
enum { END_REQUEST = 3, STDIN = 5, STDOUT = 6 };

struct head {
	unsigned char version, type, id_high, id_low, length_high, length_low, padding, reserved;
};

static void serve_fastcgi(int client)
{
	static char bytes[1 << 18];
	size_t have = 0, at = 0;
	struct {
		struct head out;
		char answer[sizeof answer - 1];
		struct head no_more, end;
		char status[8];
	} reply = {
		.out = { 1, STDOUT, 0, 1, 0, sizeof answer - 1, 0, 0 },
		.no_more = { 1, STDOUT, 0, 1, 0, 0, 0, 0 },
		.end = { 1, END_REQUEST, 0, 1, 0, 8, 0, 0 },
	};

	memcpy(reply.answer, answer, sizeof answer - 1);
	/* Records up to the empty one that ends stdin. */
	for (;;) {
		ssize_t count = read(client, bytes + have, sizeof bytes - have);

		if (count <= 0)
			return;
		have += count;
		while (have - at >= sizeof(struct head)) {
			struct head *head = (struct head *)(bytes + at);
			size_t length = head->length_high << 8 | head->length_low;

			if (head->type == STDIN && !length) {
				reply.out.id_low = reply.no_more.id_low = reply.end.id_low = head->id_low;
				send(client, &reply, sizeof reply, MSG_NOSIGNAL);
				return;
			}
			if (have - at < sizeof *head + length + head->padding)
				break;
			at += sizeof *head + length + head->padding;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: echo scgi|early|late|fastcgi PATH|PORT|-\n");
		return 64;
	}
	early = !strcmp(argv[1], "early");
	late = !strcmp(argv[1], "late");
	void (*serve)(int) = strcmp(argv[1], "fastcgi") ? serve_scgi : serve_fastcgi;
	for (int listener = listen_at(argv[2]);;) {
		if (early || late)
			see_off(listener);
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			fail("accept");
		serve(client);
		close(client);
	}
}
