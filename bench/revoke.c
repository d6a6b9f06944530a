// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Revoke a buffer from its importers: with peerbar-vfio-pci permanently, one buffer; with vfio-pci
 * by turning memory decoding off, the only way. Importers are mappings in an address space, or
 * memory regions.
 */
#include <errno.h>
#include <string.h>

#include "bench.h"

#define SIZE (2 * MIB)
#define MOST 100

static const unsigned int counts[] = { 0, 1, 10, MOST };

static void take_away(struct bench *b, struct pb_buffer *buffer, const char *what, unsigned int n)
{
	uint64_t t0 = now_ns();

	if (b->ours)
		must(pb_buffer_revoke(b->gpu, buffer, &err));
	else
		must(pb_device_set_decoding(b->gpu, false, &err));
	sample(b, what, b->ours ? "peerbar" : "vfio-pci", n, "us", us_since(t0));
	if (!b->ours)
		must(pb_device_set_decoding(b->gpu, true, &err));
}

static void from_iommu(struct bench *b, unsigned int n)
{
	struct pb_buffer *buffer = new_buffer(b, SIZE);
	struct pb_mapping *mapping[MOST];
	unsigned int i;

	for (i = 0; i < n; i++)
		must(pb_map_buffer(b->ioas, buffer, 0, SIZE, RW | PB_MAP_FIXED,
				   FIRST_IOVA + i * SIZE, &mapping[i], &err));
	take_away(b, buffer, "revoke", n);
	for (i = 0; i < n; i++)
		must(pb_unmap(mapping[i], &err));
	pb_buffer_close(buffer);
}

static void from_verbs(struct bench *b, unsigned int n)
{
	struct pb_buffer *buffer = new_buffer(b, SIZE);
	struct ibv_mr *mr[MOST];
	unsigned int i;

	for (i = 0; i < n; i++) {
		mr[i] = ibv_reg_dmabuf_mr(b->pb, 0, SIZE, 0, pb_buffer_fd(buffer), ALL_ACCESS);
		must_errno(mr[i]);
	}
	take_away(b, buffer, "revoke-mr", n);
	for (i = 0; i < n; i++)
		must_errno(!ibv_dereg_mr(mr[i]));
	pb_buffer_close(buffer);
}

static void both(struct bench *b)
{
	unsigned int i, n;

	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (n = 0; n < BURST; n++)
			from_iommu(b, counts[i]);
		for (n = 0; n < BURST; n++)
			from_verbs(b, counts[i]);
	}
}

const struct measure revoke_measure = { .name = "revoke", .stock = both, .ours = both };
