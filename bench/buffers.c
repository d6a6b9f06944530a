// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Query one buffer, list all, and revoke one, with many buffers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define MOST  10000
#define TIMES 100
#define LISTS 5

static const unsigned int counts[] = { 10, 100, 1000, MOST };

static struct pb_buffer *buffers[MOST];

static struct pb_buffer *page_of_bar(struct bench *b, unsigned int i)
{
	const struct pb_range range = { .offset = i * PAGE, .length = PAGE };
	struct pb_buffer *buffer;

	must(pb_buffer_export(b->gpu, GPU_BAR, &range, 1, 0, &buffer, &err));
	return buffer;
}

static void with(struct bench *b, unsigned int n)
{
	struct pb_buffer_info info;
	struct pb_listed *list;
	unsigned int i, which;
	uint64_t t0;
	unsigned int listed;

	/* Use ten buffers, from the first to the last, as with ten buffers in total. */
	for (i = 0; i < TIMES; i++) {
		which = i % 10 * (n / 10);
		t0 = now_ns();
		must(pb_buffer_query(buffers[which], &info, &err));
		sample(b, "query", "peerbar", n, "us", us_since(t0));
	}
	for (i = 0; i < TIMES; i++) {
		which = i % 10 * (n / 10);
		t0 = now_ns();
		must(pb_buffer_revoke(b->gpu, buffers[which], &err));
		sample(b, "revoke-one", "peerbar", n, "us", us_since(t0));
		/* Keep the number of buffers constant. */
		pb_buffer_close(buffers[which]);
		buffers[which] = page_of_bar(b, which);
	}
	for (i = 0; i < LISTS; i++) {
		t0 = now_ns();
		must(pb_list_buffers(&list, &listed, &err));
		sample(b, "list", "peerbar", n, "us", us_since(t0));
		if (listed != n)
			lab_die("%u buffers are listed where there are %u", listed, n);
		free(list);
	}
}

static void ours(struct bench *b)
{
	unsigned int i, n = 0;

	many_files();
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (; n < counts[i]; n++)
			buffers[n] = page_of_bar(b, n);
		with(b, n);
	}
	while (n--)
		pb_buffer_close(buffers[n]);
}

const struct measure buffers_measure = { .name = "buffers", .ours = ours, .most = 3 };
