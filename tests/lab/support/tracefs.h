/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * peerbar's trace events, in an instance of tracefs of their own, so that nothing else disturbs. The
 * fields are read from the text of the trace.
 */
#ifndef TRACEFS_H
#define TRACEFS_H

#include <stdbool.h>
#include <stdint.h>

/* Make the instance, with all events of the system peerbar enabled. The modules must be loaded. */
void trace_up(void);
/* Delete it. */
void trace_down(void);

/*
 * Return the first line of an event, e.g. "peerbar_map", that has all fields, separated by spaces,
 * e.g. "id=5 ret=0"; NULL if there is none. The next call overwrites the line.
 */
const char *trace_find(const char *event, const char *fields);
/* The same, with the fields as of printf(). Wait for the line, and fail the test if none comes. */
const char *traced(const char *event, const char *fields, ...)
	__attribute__((format(printf, 2, 3)));
/* Fail the test if there is such a line. */
void not_traced(const char *event, const char *fields, ...) __attribute__((format(printf, 2, 3)));
/* Return the number of a field of a line, e.g. "duration_ns". */
uint64_t trace_number(const char *line, const char *field);

#endif
