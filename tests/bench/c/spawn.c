/*
 * Runs programs in turns and times each from its spawn to its reap, itself doing as little as it can.
 *
 * usage: spawn ROUNDS BODY (ENVIRON PROGRAM)...
 * ENVIRON is a file of NAME=VALUE, each ended by a 0 byte. Stdin is what spawn has, stdout a pipe that is read when
 * the program is reaped, stderr is spawn's. Prints a line for each run: which program, nanoseconds, page faults,
 * microseconds of processor time. An exit status other than 0, or an output that does not end with BODY, ends it.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct contender {
	char *argv[2];
	char **environ;
};

struct cost {
	long long nanoseconds;
	struct rusage usage;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static char **read_environ(const char *path)
{
	FILE *file = fopen(path, "r");
	char **environ = NULL, *line = NULL;
	size_t count = 0, size = 0;

	if (!file)
		fail(path);
	for (;;) {
		environ = realloc(environ, (count + 1) * sizeof *environ);
		if (!environ)
			fail("realloc");
		if (getdelim(&line, &size, 0, file) < 0)
			break;
		environ[count] = strdup(line);
		if (!environ[count++])
			fail("strdup");
	}
	environ[count] = NULL;
	free(line);
	fclose(file);
	return environ;
}

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* By a fork, as web servers do: the child's first faults are those of the pages that it then gives up. */
static struct cost run(const struct contender *contender, const char *body)
{
	int pipe_ends[2], status;
	char said[65536];
	struct cost cost;

	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		fail("pipe");
	long long began = now();
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (!pid) {
		dup2(pipe_ends[1], 1);
		execve(contender->argv[0], contender->argv, contender->environ);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &cost.usage) != pid)
		fail("wait4");
	cost.nanoseconds = now() - began;
	close(pipe_ends[1]);
	ssize_t count = read(pipe_ends[0], said, sizeof said);
	close(pipe_ends[0]);
	size_t length = strlen(body);
	if (status || count < (ssize_t)length || memcmp(said + count - length, body, length)) {
		fprintf(stderr, "%s does not answer: status %d, %zd bytes\n", contender->argv[0], status, count);
		exit(1);
	}
	return cost;
}

static long long micros(struct timeval time)
{
	return time.tv_sec * 1000000LL + time.tv_usec;
}

/* Another order each time: what one leaves behind for the next, a daemon that still closes, meets all. */
static void shuffle(int *order, int count)
{
	for (int last = count - 1; last > 0; last--) {
		int other = rand() % (last + 1), held = order[last];

		order[last] = order[other];
		order[other] = held;
	}
}

int main(int argc, char **argv)
{
	if (argc < 5 || argc % 2 == 0) {
		fprintf(stderr, "usage: spawn ROUNDS BODY (ENVIRON PROGRAM)...\n");
		return 64;
	}
	int rounds = atoi(argv[1]), count = (argc - 3) / 2;
	struct contender *contenders = calloc(count, sizeof *contenders);
	int *order = calloc(count, sizeof *order);

	if (!contenders || !order)
		fail("calloc");
	for (int i = 0; i < count; i++) {
		order[i] = i;
		contenders[i].environ = read_environ(argv[3 + 2 * i]);
		contenders[i].argv[0] = argv[4 + 2 * i];
	}
	/* Before what counts: caches. */
	for (int i = 0; i < 3 * count; i++)
		run(&contenders[i % count], argv[2]);
	for (int round = 0; round < rounds; round++) {
		shuffle(order, count);
		for (int i = 0; i < count; i++) {
			struct cost cost = run(&contenders[order[i]], argv[2]);

			printf("%d %lld %ld %lld\n", order[i], cost.nanoseconds, cost.usage.ru_minflt,
			       micros(cost.usage.ru_utime) + micros(cost.usage.ru_stime));
		}
	}
	return 0;
}
