/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Run shell commands, and look at their output. */
#ifndef COMMAND_H
#define COMMAND_H

#include <check.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>

/* stdout and stderr of the last command, together unless it redirects them */
extern char output[65536];

/*
 * Run a shell command. Return its exit status. The command may wait for what others write:
 * await PATTERN FILE
 */
int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Fail unless the output has these words. */
void says(const char *words);
/* The output as JSON. */
struct json_object *parsed(void);
/* A member of an object, which must be there. */
struct json_object *member(struct json_object *object, const char *key);
void is_string(struct json_object *object, const char *key, const char *value);
void is_number(struct json_object *object, const char *key, uint64_t value);

#endif
