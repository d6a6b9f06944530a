// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Rates of the events of buffers, for 'peerbar watch --stats'. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

static struct buffer_stats *find_buffer(struct stats *stats, uint64_t id)
{
	struct buffer_stats *b;
	unsigned int i;

	for (i = 0; i < stats->n; i++)
		if (stats->buffers[i].id == id)
			return &stats->buffers[i];
	if (stats->n == stats->room) {
		unsigned int room = stats->room ? 2 * stats->room : 16;
		struct buffer_stats *more = allocate(room, sizeof(*more));

		if (stats->n)
			memcpy(more, stats->buffers, stats->n * sizeof(*more));
		free(stats->buffers);
		stats->buffers = more;
		stats->room = room;
	}
	b = &stats->buffers[stats->n++];
	memset(b, 0, sizeof(*b));
	b->id = id;
	return b;
}

void add_event(struct stats *stats, const struct pb_event *event)
{
	struct buffer_stats *b;

	if (event->type == PB_EVENT_LOST)
		stats->lost++;
	if (event->type >= NR_COUNTED_EVENTS)
		return;
	b = find_buffer(stats, event->buffer.id);
	snprintf(b->name, sizeof(b->name), "%s", event->buffer.name);
	b->events[event->type]++;
}

void add_importer(struct stats *stats, const struct pb_importer *importer)
{
	struct buffer_stats *b = find_buffer(stats, importer->list_id);

	snprintf(b->name, sizeof(b->name), "%s", importer->buffer);
	if (importer->waited_for)
		b->waited_for++;
	if (importer->kind != PB_IMPORTER_DEVICE)
		return;
	b->importers++;
	b->maps += importer->nr_maps;
	b->bytes += importer->bytes;
}

void clear_stats(struct stats *stats)
{
	free(stats->buffers);
	memset(stats, 0, sizeof(*stats));
}

static struct json_object *get_stats_json(const struct stats *stats, const struct buffer_stats *b,
					  uint64_t ms)
{
	struct json_object *object = json_new(false);
	char now[32];
	int type;

	json_put_string(object, "time", time_text(now));
	json_put_number(object, "ms", ms);
	json_put_number(object, "id", b->id);
	json_put_string(object, "name", b->name);
	for (type = 0; type < NR_COUNTED_EVENTS; type++)
		json_put_number(object, pb_event_name((enum pb_event_type)type), b->events[type]);
	json_put_number(object, "lost", stats->lost);
	json_put_number(object, "importers", b->importers);
	json_put_number(object, "maps", b->maps);
	json_put_number(object, "bytes", b->bytes);
	json_put_number(object, "waited_for", b->waited_for);
	return object;
}

int print_stats(struct stats *stats, uint64_t ms)
{
	char now[32], bytes[32];
	unsigned int i;
	int type;

	for (i = 0; i < stats->n; i++)
		make_printable(stats->buffers[i].name);
	if (json_output) {
		for (i = 0; i < stats->n; i++)
			print_result(get_stats_json(stats, &stats->buffers[i], ms));
		return flush_output();
	}
	printf("%s  events per second%s\n", time_text(now), stats->lost ? "; some were lost" : "");
	printf("%4s  %8s  %8s  %8s  %8s  %8s  %9s  %5s  %8s  %s\n", "ID", "CREATED", "REVOKED",
	       "RESTORED", "MOVED", "RELEASED", "IMPORTERS", "MAPS", "MAPPED", "NAME");
	for (i = 0; i < stats->n; i++) {
		const struct buffer_stats *b = &stats->buffers[i];

		printf("%4" PRIu64, b->id);
		for (type = 0; type < NR_COUNTED_EVENTS; type++)
			printf("  %8.1f", ms ? (double)b->events[type] * 1000 / (double)ms : 0);
		printf("  %9u  %5u  %8s  %s%s\n", b->importers, b->maps,
		       human_size(b->bytes, bytes), or_dash(b->name),
		       b->waited_for ? ", a revoke waits" : "");
	}
	return flush_output();
}
