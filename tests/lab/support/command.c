// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Run shell commands, and look at their output. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "command.h"

char output[65536];

/* await PATTERN FILE: wait, 30 s at most, until a line of the file has the pattern */
static const char await[] =
	"await() { n=0; until grep -qs \"$1\" \"$2\" || [ $((n += 1)) = 300 ]; do sleep 0.1; done; }; ";

int run(const char *fmt, ...)
{
	char command[2048], script[sizeof(command) + sizeof(await)];
	size_t n;
	va_list ap;
	FILE *f;
	int ret;

	va_start(ap, fmt);
	ck_assert_int_lt(vsnprintf(command, sizeof(command), fmt, ap), (int)sizeof(command));
	va_end(ap);
	snprintf(script, sizeof(script), "%s%s", await, command);
	fflush(stdout);
	f = popen(script, "re");
	ck_assert_ptr_nonnull(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	ret = pclose(f);
	ck_assert_msg(WIFEXITED(ret), "%s: ended by signal %d; %s", command, WTERMSIG(ret), output);
	return WEXITSTATUS(ret);
}

void says(const char *words)
{
	ck_assert_msg(strstr(output, words), "this does not say '%s': %s", words, output);
}

struct json_object *parsed(void)
{
	struct json_object *object = json_tokener_parse(output);

	ck_assert_msg(object != NULL, "this is no JSON: %s", output);
	return object;
}

struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	ck_assert_msg(json_object_object_get_ex(object, key, &value), "there is no '%s' in: %s",
		      key, output);
	return value;
}

void is_string(struct json_object *object, const char *key, const char *value)
{
	const char *s = json_object_get_string(member(object, key));

	ck_assert_msg(s && !strcmp(s, value), "'%s' is %s, not %s", key, s ? s : "null", value);
}

void is_number(struct json_object *object, const char *key, uint64_t value)
{
	ck_assert_uint_eq(json_object_get_uint64(member(object, key)), value);
}
