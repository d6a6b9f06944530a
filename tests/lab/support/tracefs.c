// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar's trace events, see tracefs.h. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "tracefs.h"

#define TRACEFS	 "/sys/kernel/tracing"
#define INSTANCE TRACEFS "/instances/peerbar-lab"

static void write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "cannot open %s: %s", path, strerror(errno));
	ck_assert_msg(write(fd, word, strlen(word)) == (ssize_t)strlen(word),
		      "cannot write '%s' to %s: %s", word, path, strerror(errno));
	close(fd);
}

void trace_up(void)
{
	if (access(TRACEFS "/trace", F_OK) && mount("tracefs", TRACEFS, "tracefs", 0, NULL))
		lab_die("the kernel has no tracefs: %s", strerror(errno));
	/* A test that failed may have left it. */
	if (mkdir(INSTANCE, 0700) && errno != EEXIST)
		ck_abort_msg("cannot make %s: %s", INSTANCE, strerror(errno));
	/* Opening it with O_TRUNC empties it. */
	write_word(INSTANCE "/trace", "\n");
	write_word(INSTANCE "/events/peerbar/enable", "1");
}

void trace_down(void)
{
	write_word(INSTANCE "/events/peerbar/enable", "0");
	ck_assert_msg(!rmdir(INSTANCE), "cannot remove %s: %s", INSTANCE, strerror(errno));
}

/* Return whether @line has @n bytes of "name=value" as a field of its own. */
static bool has_field(const char *line, const char *field, size_t n)
{
	const char *p;

	for (p = strchr(line, ' '); p; p = strchr(p + 1, ' '))
		if (!strncmp(p + 1, field, n) && (p[1 + n] == ' ' || !p[1 + n]))
			return true;
	return false;
}

static bool has_fields(const char *line, const char *fields)
{
	while (*fields) {
		size_t n = strcspn(fields, " ");

		if (!has_field(line, fields, n))
			return false;
		fields += n;
		fields += strspn(fields, " ");
	}
	return true;
}

const char *trace_find(const char *event, const char *fields)
{
	static char line[1024];
	bool found = false;
	char name[64];
	FILE *f;

	snprintf(name, sizeof(name), " %s: ", event);
	f = fopen(INSTANCE "/trace", "re");
	ck_assert_msg(f != NULL, "cannot open the trace: %s", strerror(errno));
	while (!found && fgets(line, sizeof(line), f)) {
		const char *text = strstr(line, name);

		line[strcspn(line, "\n")] = '\0';
		found = text && has_fields(text + strlen(name) - 1, fields);
	}
	fclose(f);
	return found ? line : NULL;
}

static void print_trace(void)
{
	char line[1024];
	FILE *f = fopen(INSTANCE "/trace", "re");

	while (f && fgets(line, sizeof(line), f))
		if (*line != '#')
			fputs(line, stdout);
	fflush(stdout);
	if (f)
		fclose(f);
}

const char *traced(const char *event, const char *fields, ...)
{
	const char *line = NULL;
	char text[512];
	va_list ap;
	int i;

	va_start(ap, fields);
	vsnprintf(text, sizeof(text), fields, ap);
	va_end(ap);
	for (i = 0; i < 200 && !line; i++) {
		line = trace_find(event, text);
		if (!line)
			usleep(50000);
	}
	if (!line) {
		print_trace();
		ck_abort_msg("no event %s has: %s", event, text);
	}
	return line;
}

void not_traced(const char *event, const char *fields, ...)
{
	const char *line;
	char text[512];
	va_list ap;

	va_start(ap, fields);
	vsnprintf(text, sizeof(text), fields, ap);
	va_end(ap);
	line = trace_find(event, text);
	ck_assert_msg(!line, "an event has '%s': %s", text, line);
}

uint64_t trace_number(const char *line, const char *field)
{
	size_t n = strlen(field);
	const char *p;

	for (p = strchr(line, ' '); p; p = strchr(p + 1, ' '))
		if (!strncmp(p + 1, field, n) && p[1 + n] == '=')
			return strtoull(p + n + 2, NULL, 0);
	ck_abort_msg("there is no field '%s' in: %s", field, line);
}
