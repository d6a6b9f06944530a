/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The debug log that the user asks for by the environment:
 *
 *	PEERBAR_DEBUG=1		each failure, with its sentence
 *	PEERBAR_DEBUG=2		also each ioctl, and each command of the provider, with its result
 *	PEERBAR_DEBUG_FILE=PATH	append to this file; to stderr unless given
 *
 * Include it in one file of each library: the state below belongs to that library. The environment
 * is read once, by the first call; programs that gain privileges by being executed ignore it. Each
 * line is one write() to a descriptor in append mode, so lines of threads, of libraries and of
 * processes do not mix. The functions may be called by any thread, and preserve errno.
 */
#ifndef PB_DEBUG_LOG_H
#define PB_DEBUG_LOG_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DEBUG_LOG_OFF, DEBUG_LOG_FAILURES, DEBUG_LOG_IOCTLS };

/* Written once, by debug_log_read_environment(). */
static struct {
	pthread_once_t once;
	int level;
	int fd;
} debug_log = { .once = PTHREAD_ONCE_INIT, .fd = STDERR_FILENO };

static void debug_log_read_environment(void)
{
	const char *level = secure_getenv("PEERBAR_DEBUG");
	const char *file = secure_getenv("PEERBAR_DEBUG_FILE");
	int fd;

	if (!level || level[0] < '1' || level[0] > '9' || level[1])
		return;
	if (file && *file) {
		fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		/* Don't write to stderr what was to go to a file. */
		if (fd < 0)
			return;
		debug_log.fd = fd;
	}
	debug_log.level = level[0] - '0';
}

/* Returns whether lines of this level are wanted. */
static inline bool debug_log_wants(int level)
{
	int code = errno;

	pthread_once(&debug_log.once, debug_log_read_environment);
	errno = code;
	return debug_log.level >= level;
}

/* Write a line: the time (CLOCK_MONOTONIC, as in the kernel's log), process and thread, the text. */
static void __attribute__((format(printf, 2, 3), unused)) debug_log_write(int level,
									  const char *fmt, ...)
{
	int code = errno, head, body;
	struct timespec now;
	char line[600];
	va_list ap;

	if (!debug_log_wants(level))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	head = snprintf(line, sizeof(line), "[%5lld.%06ld] peerbar %d.%ld: ", (long long)now.tv_sec,
			now.tv_nsec / 1000, (int)getpid(), (long)syscall(SYS_gettid));
	va_start(ap, fmt);
	body = vsnprintf(line + head, sizeof(line) - (size_t)head, fmt, ap);
	va_end(ap);
	/* A line that is too long is cut. */
	if (body < 0 || body >= (int)sizeof(line) - head)
		body = (int)sizeof(line) - head - 1;
	line[head + body] = '\n';
	if (write(debug_log.fd, line, (size_t)(head + body + 1)) < 0)
		(void)0; /* There is nobody to report it to. */
	errno = code;
}

#endif
