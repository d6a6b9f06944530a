/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Rates of the events of buffers, for 'peerbar watch --stats'. */
#ifndef PBT_STATS_H
#define PBT_STATS_H

#include "tool.h"

/* created, revoked, restored, moved, released: the first of enum pb_event_type */
#define NR_COUNTED_EVENTS (PB_EVENT_RELEASED + 1)

/* What happened to a buffer in an interval, and its importers at the end of it. */
struct buffer_stats {
	uint64_t id;
	char name[PB_NAME_LEN];
	unsigned int events[NR_COUNTED_EVENTS];
	unsigned int importers;
	unsigned int maps;
	unsigned int waited_for;
	uint64_t bytes;
};

struct stats {
	struct buffer_stats *buffers;
	unsigned int n, room;
	unsigned int lost; /* how often events were lost */
};

void add_event(struct stats *stats, const struct pb_event *event);
void add_importer(struct stats *stats, const struct pb_importer *importer);
/* Print the stats of an interval of @ms. Returns an exit status. */
int print_stats(struct stats *stats, uint64_t ms);
void clear_stats(struct stats *stats);

#endif
