// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Results and errors, as text or JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

bool json_output;

int report(const struct pb_error *err)
{
	struct pb_error e = *err;

	make_printable(e.text);
	fprintf(stderr, "peerbar: %s\n", e.text);
	if (json_output) {
		struct json_object *object = json_new(false), *error = json_new(false);
		const char *name = strerrorname_np(e.code);
		char number[16];

		snprintf(number, sizeof(number), "%d", e.code);
		json_put_string(error, "errno", name ? name : number);
		json_put_string(error, "text", e.text);
		json_put(object, "error", error);
		print_result(object);
	}
	return STATUS_FAILED;
}

int fail(int code, const char *fmt, ...)
{
	struct pb_error err = { .code = code };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, ap);
	va_end(ap);
	return report(&err);
}

int misuse(const char *fmt, ...)
{
	struct pb_error err = { .code = EINVAL };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, ap);
	va_end(ap);
	report(&err);
	return STATUS_USAGE;
}

int flush_output(void)
{
	static bool told;
	bool bad = ferror(stdout);
	int code = EIO;

	if (fflush(stdout)) {
		bad = true;
		code = errno;
	}
	if (!bad)
		return STATUS_OK;
	/* Report to stderr only, since stdout failed. */
	if (!told)
		fprintf(stderr, "peerbar: cannot write to standard output: %s\n", strerror(code));
	told = true;
	return STATUS_FAILED;
}

static void *check_memory(void *p)
{
	if (!p) {
		fputs("peerbar: out of memory\n", stderr);
		exit(STATUS_FAILED);
	}
	return p;
}

void *allocate(size_t n, size_t size)
{
	return check_memory(calloc(n ? n : 1, size));
}

/* ---- JSON ---- */

struct json_object *json_new(bool array)
{
	return check_memory(array ? json_object_new_array() : json_object_new_object());
}

void json_put(struct json_object *object, const char *key, struct json_object *value)
{
	if (json_object_object_add(object, key, value))
		check_memory(NULL);
}

void json_put_number(struct json_object *object, const char *key, uint64_t value)
{
	json_put(object, key, check_memory(json_object_new_uint64(value)));
}

void json_put_string(struct json_object *object, const char *key, const char *value)
{
	json_put(object, key, *value ? check_memory(json_object_new_string(value)) : NULL);
}

void json_put_bool(struct json_object *object, const char *key, bool value)
{
	json_put(object, key, check_memory(json_object_new_boolean(value)));
}

void json_put_memattr(struct json_object *object, const char *key, enum pb_memattr memattr)
{
	char text[32];

	json_put_string(object, key, memattr_text(memattr, text));
}

void json_append(struct json_object *array, struct json_object *value)
{
	if (!value || json_object_array_add(array, value))
		check_memory(NULL);
}

/* ---- text ---- */

const char *human_size(uint64_t size, char text[32])
{
	static const char units[] = "TGMK";
	int i;

	for (i = 0; units[i]; i++) {
		unsigned int shift = 40 - 10 * i;

		if (size >> shift && !(size & ((1ULL << shift) - 1))) {
			snprintf(text, 32, "%" PRIu64 "%c", (size >> shift), units[i]);
			return text;
		}
	}
	snprintf(text, 32, "%" PRIu64, size);
	return text;
}

const char *memattr_text(enum pb_memattr memattr, char text[32])
{
	const char *name = pb_memattr_name(memattr);

	if (strcmp(name, "OTHER"))
		return name;
	snprintf(text, 32, "0x%08x", (unsigned int)memattr);
	return text;
}

const char *time_text(char text[32])
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(text, 20, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, 32 - n, ".%06uZ", (unsigned int)(now.tv_nsec / 1000) % 1000000);
	return text;
}

int width(int at_least, const char *text)
{
	int len = (int)strlen(text);

	return len > at_least ? len : at_least;
}

const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

#define KEY_WIDTH 14

static bool is_hexadecimal(const char *key)
{
	return !strcmp(key, "iova") || !strcmp(key, "place_offset");
}

static void print_value(const char *key, struct json_object *value)
{
	struct json_object *offset, *length;
	char text[32];
	uint64_t v;

	printf("%-*s", KEY_WIDTH, key);
	if (json_object_object_get_ex(value, "offset", &offset) &&
	    json_object_object_get_ex(value, "length", &length)) {
		v = json_object_get_uint64(length);
		printf("0x%" PRIx64 ":0x%" PRIx64 " (%s)\n", json_object_get_uint64(offset), v,
		       human_size(v, text));
	} else if (!json_object_is_type(value, json_type_int)) {
		puts(json_object_get_string(value));
	} else {
		v = json_object_get_uint64(value);
		if (!strcmp(key, "size") || !strcmp(key, "length"))
			printf("0x%" PRIx64 " (%s)\n", v, human_size(v, text));
		else
			printf(is_hexadecimal(key) ? "0x%" PRIx64 "\n" : "%" PRIu64 "\n", v);
	}
}

/* Print the number of faults for each size that they mapped. */
static void print_faults(const char *what, struct json_object *faults)
{
	const char *separator = "";

	printf("%-*s", KEY_WIDTH, what);
	json_object_object_foreach(faults, key, value) {
		printf("%s%s %s", separator, json_object_get_string(value), key);
		separator = ", ";
	}
	putchar('\n');
}

static bool is_basis(const char *key)
{
	const char *suffix = strrchr(key, '_');

	return suffix && !strcmp(suffix, "_basis");
}

/* Print a value with its basis, KEY_basis, behind it. */
static void print_with_basis(struct json_object *result, const char *key, struct json_object *value)
{
	struct json_object *basis;
	char name[64];

	snprintf(name, sizeof(name), "%s_basis", key);
	if (json_object_object_get_ex(result, name, &basis))
		printf("%-*s%s (%s)\n", KEY_WIDTH, key, json_object_get_string(value),
		       json_object_get_string(basis));
	else
		print_value(key, value);
}

void print_result(struct json_object *result)
{
	size_t i;

	if (json_output) {
		puts(check_memory((
			void *)json_object_to_json_string_ext(result,
							      JSON_C_TO_STRING_SPACED |
								      JSON_C_TO_STRING_NOSLASHESCAPE)));
	} else {
		json_object_object_foreach(result, key, value) {
			if (json_object_is_type(value, json_type_array))
				for (i = 0; i < json_object_array_length(value); i++)
					print_value(i ? "" : key,
						    json_object_array_get_idx(value, i));
			else if (value && !strcmp(key, "faults"))
				print_faults(key, value);
			else if (value && !json_object_is_type(value, json_type_object) &&
				 !is_basis(key))
				print_with_basis(result, key, value);
		}
	}
	json_object_put(result);
}
