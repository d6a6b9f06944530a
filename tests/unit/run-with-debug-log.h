/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* For tests of the debug log, which is configured by the environment of a process. */
#ifndef RUN_WITH_DEBUG_LOG_H
#define RUN_WITH_DEBUG_LOG_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Execute this program with --debug-log and the environment. Get what it writes to stderr. It must
 * end with status 0.
 */
static inline void run_for_debug_log(const char *level, const char *file, char *text, size_t size)
{
	FILE *out = tmpfile();
	char program[4096];
	int status;
	ssize_t n;
	pid_t pid;

	ck_assert_ptr_nonnull(out);
	/* Valgrind answers with the program's path, but does not redirect an execl() of the link. */
	n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	ck_assert_int_gt(n, 0);
	program[n] = '\0';
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dup2(fileno(out), STDERR_FILENO);
		if (level)
			setenv("PEERBAR_DEBUG", level, 1);
		if (file)
			setenv("PEERBAR_DEBUG_FILE", file, 1);
		execl(program, "debug-log", "--debug-log", NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	rewind(out);
	text[fread(text, 1, size - 1, out)] = '\0';
	fclose(out);
}

static inline unsigned int count_lines(const char *text)
{
	unsigned int n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

#endif
