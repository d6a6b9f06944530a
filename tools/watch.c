// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar watch */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "stats.h"

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
		{ .fd = pb_watch_fd(watch), .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
		{ .fd = reader_fd() },
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

/* Collect the events until @end, a time of get_now_ms(). *@stop receives whether to stop then. */
static int collect_until(struct pb_watch *watch, int signals, uint64_t end, struct stats *stats,
			 bool *stop)
{
	struct pollfd p[] = {
		{ .fd = pb_watch_fd(watch), .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
		{ .fd = reader_fd() },
	};
	struct pb_event event;
	struct pb_error err;
	int n;

	for (;;) {
		do {
			if (pb_watch_next(watch, &event, &err))
				return report(&err);
			add_event(stats, &event);
		} while (event.type != PB_EVENT_NONE && get_now_ms() < end);
		if (get_now_ms() >= end)
			return STATUS_OK;
		n = poll(p, 3, get_left_ms(true, end));
		if (n < 0 && errno != EINTR)
			return fail(errno, "cannot wait for events: %s", strerror(errno));
		if (n > 0 && (p[1].revents || (p[2].revents & (POLLERR | POLLHUP)))) {
			*stop = true;
			return STATUS_OK;
		}
	}
}

/* Print the rates of each interval, --count times or until --timeout. */
static int watch_stats(struct pb_watch *watch, int signals, const struct args *args)
{
	uint64_t end = get_now_ms() + args->timeout * 1000, left = args->count, from, to;
	struct pb_importer *list;
	struct stats stats = { 0 };
	bool stop = false, late = false;
	unsigned int i, n;
	int status = STATUS_OK;

	while (!status && !stop && (!args->has_count || left--)) {
		from = get_now_ms();
		to = from + args->stats * 1000;
		if (args->has_timeout && to >= end) {
			to = end;
			stop = true;
			late = args->has_count && left;
		}
		status = collect_until(watch, signals, to, &stats, &stop);
		if (status)
			break;
		/* Without CAP_SYS_ADMIN, or with an older module, there are events only. */
		if (!pb_list_importers(&list, &n, NULL)) {
			for (i = 0; i < n; i++)
				add_importer(&stats, &list[i]);
			free(list);
		}
		status = print_stats(&stats, get_now_ms() - from);
		clear_stats(&stats);
	}
	clear_stats(&stats);
	/* Unless a signal ended it. */
	if (!status && late && get_now_ms() >= end)
		return fail(ETIMEDOUT, "only %" PRIu64 " of %" PRIu64 " intervals in %" PRIu64 " s",
			    args->count - left, args->count, args->timeout);
	return status;
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
	if (args->has_stats && (!args->stats || args->stats > 1000000000))
		return misuse("cannot take --stats: %" PRIu64
			      " s is no interval; 1 s is the minimum, and "
			      "1000000000 s the maximum",
			      args->stats);
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
		status = args->stats ? watch_stats(watch, signals, args) :
				       watch_until(watch, signals, args);
		pb_watch_close(watch);
	}
	close(signals);
	return status;
}
