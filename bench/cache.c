// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The cache of memory regions: a hit, and a registration for comparison. */
#include <errno.h>
#include <string.h>

#include "bench.h"

#define SIZE (64 * MIB)
#define HITS 10000

static struct pbv_mr *get(struct pbv_cache *cache, struct pb_buffer *buffer, unsigned int times)
{
	struct pbv_mr *mr = NULL;

	while (times--)
		if (pbv_cache_get(cache, buffer, 0, SIZE, ALL_ACCESS, &mr, NULL))
			lab_die("the cache has no region");
	return mr;
}

static void put(struct pbv_cache *cache, struct pbv_mr *mr, unsigned int times)
{
	while (times--)
		pbv_cache_put(cache, mr);
}

static struct pbv_cache *filled_cache(struct bench *b, struct pb_buffer *buffer)
{
	struct pbv_cache *cache;

	must(pbv_cache_create(b->pb, 16, 0, &cache, &err));
	put(cache, get(cache, buffer, 1), 1);
	return cache;
}

static void ours(struct bench *b)
{
	struct pb_buffer *buffer = new_buffer(b, SIZE);
	struct pbv_cache *cache;
	struct pbv_mr *mr;
	unsigned int i;
	uint64_t t0;

	for (i = 0; i < BURST; i++) {
		t0 = now_ns();
		must(pbv_reg_buffer(b->pb, buffer, 0, SIZE, 0, ALL_ACCESS, 0, &mr, &err));
		sample(b, "cache", "registration", 0, "ns", us_since(t0) * 1000);
		must(pbv_dereg(mr, &err));
	}
	cache = filled_cache(b, buffer);
	for (i = 0; i < BURST; i++) {
		t0 = now_ns();
		mr = get(cache, buffer, HITS);
		sample(b, "cache", "hit", 0, "ns", us_since(t0) * 1000 / HITS);
		t0 = now_ns();
		put(cache, mr, HITS);
		sample(b, "cache", "put", 0, "ns", us_since(t0) * 1000 / HITS);
	}
	must(pbv_cache_destroy(cache, &err));
	pb_buffer_close(buffer);
}

void count_hits(struct bench *b, unsigned int passes)
{
	struct pb_buffer *buffer = new_buffer(b, SIZE);
	struct pbv_cache *cache = filled_cache(b, buffer);

	while (passes--)
		put(cache, get(cache, buffer, 1), 1);
	must(pbv_cache_destroy(cache, &err));
	pb_buffer_close(buffer);
}

const struct measure cache_measure = { .name = "cache", .ours = ours };
