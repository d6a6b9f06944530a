/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the source files of the command peerbar share. */
#ifndef PBT_TOOL_H
#define PBT_TOOL_H

#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "peerbar.h"

/* exit statuses; those of a command that was run are passed on */
enum {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
};

/* the command line; all strings are those of argv */
struct args {
	char **operands;
	unsigned int nr_operands;
	char **into;
	unsigned int nr_into;
	char **command; /* what follows "--"; NULL if there is no "--" */
	const char *driver;
	const char *fd;
	const char *bar;
	enum pb_memattr memattrs[8]; /* in order of preference */
	unsigned int nr_memattrs;
	unsigned int map_flags; /* of enum pb_map_flags */
	uint64_t iova;
	uint64_t offset;
	uint64_t length;
	uint64_t count;
	uint64_t timeout;
	bool has_count;
	bool has_timeout;
	bool hold;
	bool force;
	bool wait;
	bool revoke;
};

/* ---- the commands; each returns an exit status ---- */

int cmd_devices(const struct args *args);
int cmd_bind(const struct args *args);
int cmd_unbind(const struct args *args);
int cmd_revoke(const struct args *args);
int cmd_reset(const struct args *args);
int cmd_export(const struct args *args);
int cmd_query(const struct args *args);
int cmd_map(const struct args *args);
int cmd_run(const struct args *args);
int cmd_peek(const struct args *args);
int cmd_poke(const struct args *args);
int cmd_list(const struct args *args);
int cmd_watch(const struct args *args);
int cmd_capabilities(const struct args *args);

/* buffers.c: the buffer of @text, which is FD, a descriptor of ours, or PID:FD, another process's; an exit status */
int take_buffer(const char *text, struct pb_buffer **buffer);

/*
 * holders.c: revoke all buffers of a function for good, through the descriptors of the processes that have them; an exit status.
 * *@revoked is how many, and *@left is how many have no descriptor in any process.
 */
int revoke_function(const char *bdf, unsigned int *revoked, unsigned int *left);
/* turn memory decoding of the function off, which revokes all buffers until its user turns it on */
int stop_function(const char *bdf);

/* ---- report.c: results and errors, as text or JSON ---- */

extern bool json_output;

/* the sentence goes to stderr, and with --json an object to stdout; they return the status to exit with */
int report(const struct pb_error *err);
int fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int misuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* flush stdout; an exit status */
int flush_output(void);

/* calloc() that does not return without memory, and gives room for one at least */
void *allocate(size_t n, size_t size);

/* JSON values; without memory these do not return either */
struct json_object *json_new(bool array);
void json_put(struct json_object *object, const char *key, struct json_object *value);
void json_put_number(struct json_object *object, const char *key, uint64_t value);
void json_put_string(struct json_object *object, const char *key, const char *value); /* "" becomes null */
void json_put_bool(struct json_object *object, const char *key, bool value);
void json_put_memattr(struct json_object *object, const char *key, enum pb_memattr memattr);
void json_append(struct json_object *array, struct json_object *value);

/* print an object, or with --json anything, and let go of it; as text a line for each member, and for each of an array */
void print_result(struct json_object *result);
/* "64M" if that is exact, otherwise bytes */
const char *human_size(uint64_t size, char text[32]);
/* "WC"; a number for what has no name */
const char *memattr_text(enum pb_memattr memattr, char text[32]);
/* the time in UTC, "2026-11-28T12:34:56.123456Z" */
const char *time_text(char text[32]);
/* the larger of @at_least and the length of @text, for the columns of tables */
int width(int at_least, const char *text);
const char *or_dash(const char *text);
/* replace what is not printable ASCII, in place: a dma-buf's name is anybody's choice, and so is an argument */
void make_printable(char *text);

/* ---- process.c: signals, other processes ---- */

/* the signals that end what goes on until then, SIGINT and SIGTERM */
void end_signals(sigset_t *set);
/* block those, and @also unless it is 0, for wait_for_signal() to take */
void block_signals(int also);
/* wait for one of them, at most @seconds unless that is negative; 0 if none came */
int wait_for_signal(int also, int seconds);
/* the same, and READER_GONE as soon as nobody can read from stdout any more, which is a pipe or a socket then */
#define READER_GONE (-1)
int wait_while_read(int also, int seconds);
/* for poll(): stdout if it is a pipe or a socket, otherwise -1; POLLERR and POLLHUP tell that nobody reads from it any more */
int reader_fd(void);
/*
 * Run @command with the descriptor @fd inherited; its exit status, or 128 and its signal's number. Signals that are sent to us meanwhile are passed on
 * to it, but for SIGUSR1 if there is @on_usr1, which is called with @arg.
 */
int run_command(char *const command[], int fd, void (*on_usr1)(void *arg), void *arg);
/* true if modprobe loaded the module @name */
bool load_module(const char *name);
/* a copy of descriptor @fd of the process @pid; -1 after a report */
int take_descriptor(int pid, int fd);

#endif
