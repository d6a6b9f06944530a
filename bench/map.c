// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Map into an address space of the IOMMU: a BAR, a bridged dma-buf, and memory. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

static const uint64_t sizes[] = { 2 * MIB, 16 * MIB, 64 * MIB, 256 * MIB };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void unmap(struct bench *b, const char *side, uint64_t size, struct pb_mapping *mapping)
{
	uint64_t t0 = now_ns();

	must(pb_unmap(mapping, &err));
	sample(b, "unmap", side, size, "us", us_since(t0));
}

static void map_bar(struct bench *b, const char *side, uint64_t size)
{
	struct pb_buffer *buffer = new_buffer(b, size);
	struct pb_mapping *mapping;
	unsigned int i;
	uint64_t t0;

	for (i = 0; i < BURST; i++) {
		t0 = now_ns();
		must(pb_map_buffer(b->ioas, buffer, 0, size, RW | PB_MAP_FIXED, FIRST_IOVA,
				   &mapping, &err));
		sample(b, "map", side, size, "us", us_since(t0));
		unmap(b, side, size, mapping);
	}
	pb_buffer_close(buffer);
}

/* In huge pages, if the kernel makes them, or in small ones. */
static void map_memory(struct bench *b, const char *side, uint64_t size, bool large)
{
	void *p = new_memory(size, large);
	struct pb_mapping *mapping;
	unsigned int i;
	uint64_t t0;

	for (i = 0; i < BURST; i++) {
		t0 = now_ns();
		must(pb_map_memory(b->ioas, p, size, RW | PB_MAP_FIXED, FIRST_IOVA, &mapping,
				   &err));
		sample(b, "map", side, size, "us", us_since(t0));
		unmap(b, side, size, mapping);
	}
	munmap(p, size);
}

#define SEGMENTS 128

/*
 * A buffer of another process, scattered over the BAR: no segment follows the one before. It is
 * bridged and mapped in one call.
 */
static void map_bridged(struct bench *b, const char *side, uint64_t size)
{
	struct pb_range segments[SEGMENTS];
	struct pb_buffer *buffer, *taken;
	struct pb_mapping *mapping;
	unsigned int i;
	uint64_t t0;

	for (i = 0; i < SEGMENTS; i++)
		segments[SEGMENTS - 1 - i] = (struct pb_range){ i * (size / SEGMENTS),
								size / SEGMENTS };
	must(pb_buffer_export(b->gpu, GPU_BAR, segments, SEGMENTS, 0, &buffer, &err));
	must(pb_buffer_from_fd(pb_buffer_fd(buffer), &taken, &err));
	for (i = 0; i < BURST; i++) {
		t0 = now_ns();
		must(pb_map_buffer(b->ioas, taken, 0, size, RW | PB_MAP_FIXED, FIRST_IOVA, &mapping,
				   &err));
		sample(b, "map", side, size, "us", us_since(t0));
		unmap(b, side, size, mapping);
	}
	pb_buffer_close(taken);
	pb_buffer_close(buffer);
}

static void stock(struct bench *b)
{
	unsigned int i;

	for (i = 0; i < SIZES; i++) {
		map_bar(b, "bar", sizes[i]);
		map_memory(b, "memory", sizes[i], true);
		map_memory(b, "memory-4k", sizes[i], false);
	}
}

static void ours(struct bench *b)
{
	unsigned int i;

	many_files();
	for (i = 0; i < SIZES; i++)
		map_bar(b, "bar-peerbar", sizes[i]);
	map_bridged(b, "bridged", sizes[SIZES - 1]);
}

const struct measure map_measure = { .name = "map", .stock = stock, .ours = ours };
