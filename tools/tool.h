/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Internal interfaces of the command peerbar. */
#ifndef PBT_TOOL_H
#define PBT_TOOL_H

#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "peerbar.h"

/* Exit statuses. That of a command that was run is passed on. */
enum {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
};

/* The parsed command line. All strings point into argv. */
struct args {
	char **operands;
	unsigned int nr_operands;
	char **into;
	unsigned int nr_into;
	char **command; /* after "--"; NULL if there is no "--" */
	const char *driver;
	const char *fd;
	const char *bar;
	const char *dma;
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
	bool persist;
	bool verbose;
	bool probe;
	uint64_t stats;
	bool has_stats;
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
int cmd_doctor(const struct args *args);

/*
 * buffer.c: get the descriptor of @text, as below; close it afterwards if it is a copy. Returns an
 * exit status.
 */
struct operand_fd {
	int fd;	    /* here */
	int pid;    /* the process of PID:FD, of which it is a copy; otherwise 0 */
	int number; /* FD */
};

int take_fd(const char *text, struct operand_fd *operand);
/*
 * buffer.c: get the buffer of @text: FD, a descriptor of this process, or PID:FD, another
 * process's. Returns an exit status.
 */
int take_buffer(const char *text, struct pb_buffer **buffer);

/* importers.c: the importers of buffers; the functions make their strings printable. */
bool is_revoke_waiting(const struct pb_importer *list, unsigned int n);
/* Of one buffer: an array of objects or, as text, of strings. */
struct json_object *get_importers_json(struct pb_importer *list, unsigned int n);
/* Of all buffers: objects that also name the buffer; a table. */
struct json_object *get_all_importers_json(struct pb_importer *list, unsigned int n);
void print_importers(struct pb_importer *list, unsigned int n);

/* list.c: the fields of a buffer in lists and in events. */
void put_listed(struct json_object *object, const struct pb_listed *b);
void make_listed_printable(struct pb_listed *b);

/*
 * holders.c: permanently revoke all buffers of a function, through the descriptors of the processes
 * that have them. *@revoked receives their number, *@left the number of buffers without a
 * descriptor in any process. Returns an exit status.
 */
int revoke_function(const char *bdf, unsigned int *revoked, unsigned int *left);
/*
 * Turn memory decoding of the function off. All its buffers are revoked until its user turns it on.
 */
int stop_function(const char *bdf);

/* ---- report.c: results and errors, as text or JSON ---- */

extern bool json_output;

/* Print the sentence to stderr, and with --json an object to stdout. Return the exit status. */
int report(const struct pb_error *err);
int fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int misuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Flush stdout. Returns an exit status. */
int flush_output(void);

/* calloc() of at least one element, which exits without memory. */
void *allocate(size_t n, size_t size);

/* JSON values. These also exit without memory. */
struct json_object *json_new(bool array);
void json_put(struct json_object *object, const char *key, struct json_object *value);
void json_put_number(struct json_object *object, const char *key, uint64_t value);
/* "" becomes null. */
void json_put_string(struct json_object *object, const char *key, const char *value);
void json_put_bool(struct json_object *object, const char *key, bool value);
void json_put_memattr(struct json_object *object, const char *key, enum pb_memattr memattr);
void json_append(struct json_object *array, struct json_object *value);

/*
 * Print an object, or with --json any value, and release it. As text, prints a line for each
 * member, and for each element of an array.
 */
void print_result(struct json_object *result);
/* "64M" if that is exact, otherwise the number of bytes. */
const char *human_size(uint64_t size, char text[32]);
/* "WC"; a number for an attribute without a name. */
const char *memattr_text(enum pb_memattr memattr, char text[32]);
/* The current time in UTC, "2026-11-28T12:34:56.123456Z". */
const char *time_text(char text[32]);
/* The larger of @at_least and the length of @text, for columns of tables. */
int width(int at_least, const char *text);
const char *or_dash(const char *text);
/*
 * Replace characters other than printable ASCII, in place: any process can choose the name of a
 * dma-buf, and an argument.
 */
void make_printable(char *text);

/* ---- process.c: signals, other processes ---- */

/* The signals that end a wait: SIGINT and SIGTERM. */
void end_signals(sigset_t *set);
/* Block them, and @also unless it is 0, for wait_for_signal(). */
void block_signals(int also);
/* Wait for one of them, at most @seconds unless negative. Returns 0 if none arrived. */
int wait_for_signal(int also, int seconds);
/* The same; also returns READER_GONE if stdout is a pipe or a socket and has no reader. */
#define READER_GONE (-1)
int wait_while_read(int also, int seconds);
/*
 * For poll(): stdout if it is a pipe or a socket, otherwise -1. POLLERR and POLLHUP report that it
 * has no reader.
 */
int reader_fd(void);
/*
 * Run @command with the descriptor @fd inherited. Returns its exit status, or 128 plus the number
 * of the signal that ended it. Signals sent to this process meanwhile are passed on, except SIGUSR1
 * if @on_usr1 is not NULL: that calls @on_usr1 with @arg, in another thread, once for each signal.
 */
int run_command(char *const command[], int fd, void (*on_usr1)(void *arg), void *arg);
/* Returns true if modprobe loaded the module @name. */
bool load_module(const char *name);
/*
 * Duplicate descriptor @fd of the process @pid. Returns a negative errno without a report: -ESRCH if
 * the process has exited, -EBADF if it has closed the descriptor, -EPERM without the right to trace.
 */
int copy_descriptor(int pid, int fd);
/* Report the errno @code of copy_descriptor(). Returns an exit status. */
int fail_descriptor(int pid, int fd, int code);
/* Both: returns -1 after a report. */
int take_descriptor(int pid, int fd);

#endif
