// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar list, watch, capabilities: the state that the kernel reports */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

/* ---- buffers ---- */

static void make_listed_printable(struct pb_listed *b)
{
	unsigned int i;

	make_printable(b->exporter);
	make_printable(b->device);
	make_printable(b->name);
	for (i = 0; i < b->nr_importer_names; i++)
		make_printable(b->importer_names[i]);
}

/* The fields of a buffer in lists and in events. */
static void put_listed(struct json_object *object, const struct pb_listed *b)
{
	json_put_number(object, "id", b->id);
	json_put_string(object, "exporter", b->exporter);
	json_put_string(object, "device", b->device);
	json_put_string(object, "name", b->name);
	json_put_number(object, "size", b->size);
	json_put_string(object, "model", pb_model_name(b->model));
	json_put_string(object, "state", pb_buffer_state_name(b->state));
	json_put_memattr(object, "memattr", b->memattr);
	json_put_number(object, "nr_ranges", b->nr_ranges);
}

static struct json_object *get_listed_json(const struct pb_listed *b)
{
	struct json_object *object = json_new(false), *extents, *importers;
	unsigned int i;

	put_listed(object, b);
	json_put_number(object, "nr_importers", b->nr_importers);
	json_put_number(object, "nr_mmaps", b->nr_mmaps);
	if (!b->creator) {
		json_put(object, "creator", NULL);
		json_put(object, "extents", NULL);
		json_put(object, "importers", NULL);
		return object;
	}
	json_put_number(object, "creator", b->creator);
	extents = json_new(true);
	for (i = 0; i < b->nr_extents; i++) {
		struct json_object *extent = json_new(false);

		json_put_number(extent, "start", b->extents[i].start);
		json_put_number(extent, "length", b->extents[i].length);
		json_append(extents, extent);
	}
	json_put(object, "extents", extents);
	importers = json_new(true);
	for (i = 0; i < b->nr_importer_names; i++)
		json_append(importers, json_object_new_string(b->importer_names[i]));
	json_put(object, "importers", importers);
	return object;
}

static void print_table(const struct pb_listed *list, unsigned int n)
{
	int device = 6, name = 4; /* for the headings */
	char size[32], memattr[32];
	unsigned int i;

	for (i = 0; i < n; i++) {
		device = width(device, list[i].device);
		name = width(name, list[i].name);
	}
	printf("%4s  %-*s  %-*s  %10s  %-9s  %-7s  %-7s  %6s  %9s  %5s  %s\n", "ID", device, "DEVICE", name, "NAME", "SIZE", "MODEL",
	       "STATE", "MEMATTR", "RANGES", "IMPORTERS", "MMAPS", "EXPORTER");
	for (i = 0; i < n; i++) {
		const struct pb_listed *b = &list[i];

		printf("%4" PRIu64 "  %-*s  %-*s  %10s  %-9s  %-7s  %-7s  %6u  %9u  %5u  %s\n",
		       b->id, device, or_dash(b->device), name, or_dash(b->name),
		       human_size(b->size, size), pb_model_name(b->model),
		       pb_buffer_state_name(b->state), memattr_text(b->memattr, memattr),
		       b->nr_ranges, b->nr_importers, b->nr_mmaps, or_dash(b->exporter));
	}
}

int cmd_list(const struct args *args)
{
	struct json_object *array;
	struct pb_listed *list;
	struct pb_error err;
	unsigned int i, n;

	if (args->nr_operands)
		return misuse("'list' takes no operand, and '%.40s' was given", args->operands[0]);
	if (pb_list_buffers(&list, &n, &err))
		return report(&err);
	for (i = 0; i < n; i++)
		make_listed_printable(&list[i]);
	if (json_output) {
		array = json_new(true);
		for (i = 0; i < n; i++)
			json_append(array, get_listed_json(&list[i]));
		print_result(array);
	} else {
		print_table(list, n);
	}
	free(list);
	return STATUS_OK;
}

/* ---- events ---- */

static int print_event(struct pb_event *event)
{
	const char *what = pb_event_name(event->type);
	struct pb_listed *b = &event->buffer;
	char text[32], now[32];

	time_text(now);
	make_listed_printable(b);
	if (json_output) {
		struct json_object *object = json_new(false);

		json_put_string(object, "time", now);
		json_put_string(object, "event", what);
		if (event->type != PB_EVENT_LOST)
			put_listed(object, b);
		print_result(object);
	} else if (event->type == PB_EVENT_LOST) {
		printf("%s  %s\n", now, what);
	} else {
		printf("%s  %-8s  %4" PRIu64 "  %s  %s  %s  %s\n", now, what, b->id,
		       or_dash(b->name), human_size(b->size, text), pb_model_name(b->model),
		       pb_buffer_state_name(b->state));
	}
	return flush_output();
}

static uint64_t get_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The time left until @end for poll(), rounded up. */
static int get_left_ms(bool has_end, uint64_t end)
{
	uint64_t now = get_now_ms();

	if (!has_end)
		return -1;
	if (now >= end)
		return 0;
	return end - now < 3600000 ? (int)(end - now) : 3600000;
}

/* Print the pending events, and subtract them from @left, of --count. Returns an exit status. */
static int print_events(struct pb_watch *watch, bool limited, uint64_t *left)
{
	struct pb_event event;
	struct pb_error err;
	int status;

	while (!limited || *left) {
		if (pb_watch_next(watch, &event, &err))
			return report(&err);
		if (event.type == PB_EVENT_NONE)
			return STATUS_OK;
		status = print_event(&event);
		if (status)
			return status;
		(*left)--;
	}
	return STATUS_OK;
}

static int watch_until(struct pb_watch *watch, int signals, const struct args *args)
{
	struct pollfd p[] = {
		{ .fd = pb_watch_fd(watch), .events = POLLIN }, { .fd = signals, .events = POLLIN }, { .fd = reader_fd() },
	};
	uint64_t end = get_now_ms() + args->timeout * 1000, left = args->count;
	int n, status;

	for (;;) {
		status = print_events(watch, args->has_count, &left);
		if (status || (args->has_count && !left))
			return status;
		do {
			n = poll(p, 3, get_left_ms(args->has_timeout, end));
		} while (n < 0 && errno == EINTR);
		if (n < 0)
			return fail(errno, "cannot wait for events: %s", strerror(errno));
		/* A signal arrived, or stdout has no reader. */
		if (p[1].revents || (p[2].revents & (POLLERR | POLLHUP)))
			return STATUS_OK;
		if (p[0].revents || !args->has_timeout || get_now_ms() < end)
			continue;
		if (args->has_count)
			return fail(ETIMEDOUT,
				    "only %" PRIu64 " of %" PRIu64 " events came in %" PRIu64 " s",
				    args->count - left, args->count, args->timeout);
		return STATUS_OK;
	}
}

int cmd_watch(const struct args *args)
{
	struct pb_watch *watch;
	struct pb_error err;
	sigset_t set;
	int signals;
	int status;

	if (args->nr_operands)
		return misuse("'watch' takes no operand, and '%.40s' was given", args->operands[0]);
	if (args->timeout > 1000000000)
		return misuse("cannot take --timeout: %" PRIu64
			      " s is too long; 1000000000 s is the "
			      "maximum",
			      args->timeout);
	block_signals(0);
	end_signals(&set);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return fail(errno, "cannot wait for signals (signalfd): %s", strerror(errno));
	if (pb_watch_open(&watch, &err)) {
		status = report(&err);
	} else {
		/* A script can wait for this line before it causes events. */
		fputs("peerbar: watching\n", stderr);
		status = watch_until(watch, signals, args);
		pb_watch_close(watch);
	}
	close(signals);
	return status;
}

/* ---- capabilities ---- */

int cmd_capabilities(const struct args *args)
{
	struct pb_capability *list;
	struct pb_error err;
	unsigned int abi, i, n;
	int name = 0;

	if (args->nr_operands)
		return misuse("'capabilities' takes no operand, and '%.40s' was given", args->operands[0]);
	if (pb_capabilities(&list, &n, &err))
		return report(&err);
	if (json_output) {
		struct json_object *object = json_new(false), *array = json_new(true);

		abi = pb_module_abi();
		if (abi)
			json_put_number(object, "abi", abi);
		else
			json_put(object, "abi", NULL);
		for (i = 0; i < n; i++) {
			struct json_object *c = json_new(false);

			json_put_string(c, "name", list[i].name);
			json_put_bool(c, "there", list[i].there);
			json_put_string(c, "purpose", list[i].purpose);
			json_put_string(c, "missing", list[i].missing);
			json_append(array, c);
		}
		json_put(object, "capabilities", array);
		free(list);
		print_result(object);
		return STATUS_OK;
	}
	for (i = 0; i < n; i++)
		name = width(name, list[i].name);
	for (i = 0; i < n; i++) {
		printf("%-*s  %-3s  %s\n", name, list[i].name, list[i].there ? "yes" : "no", list[i].purpose);
		if (!list[i].there)
			printf("%-*s       missing: %s\n", name, "", list[i].missing);
	}
	free(list);
	return STATUS_OK;
}
