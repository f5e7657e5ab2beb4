/*
 * A CGI that moves large bodies in blocks of 64 kB: a POST is read to its end, and the answer is its size; a GET is
 * answered with as many bytes as its query string says, a multiple of the block.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char block[65536];

static int send(const char *bytes, size_t length)
{
	while (length) {
		ssize_t count = write(1, bytes, length);
		if (count < 0) {
			perror("write");
			return 1;
		}
		bytes += count;
		length -= count;
	}
	return 0;
}

static int answer(const char *body, long long length)
{
	char head[256];
	int size = snprintf(head, sizeof head, "Content-Type: application/octet-stream\r\nContent-Length: %lld\r\n\r\n%s",
			    length, body);
	return send(head, size);
}

int main(void)
{
	const char *method = getenv("REQUEST_METHOD"), *said = getenv("CONTENT_LENGTH"), *query = getenv("QUERY_STRING");

	if (method && !strcmp(method, "POST")) {
		long long length = said ? atoll(said) : 0, had = 0;
		while (had < length) {
			ssize_t count = read(0, block, sizeof block);
			if (count <= 0)
				break;
			had += count;
		}
		char size[32];
		return answer(size, snprintf(size, sizeof size, "%lld", had));
	}
	long long left = query ? atoll(query) : 0;
	if (answer("", left))
		return 1;
	for (; left > 0; left -= sizeof block)
		if (send(block, sizeof block))
			return 1;
	return 0;
}
