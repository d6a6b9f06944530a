// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Register memory regions: a BAR with peerbar's verbs device, memory with that and with rxe. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

static const uint64_t sizes[] = { 2 * MIB, 16 * MIB, 64 * MIB };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void registered(struct bench *b, const char *side, uint64_t size, struct ibv_mr *mr,
		       uint64_t t0)
{
	sample(b, "register", side, size, "us", us_since(t0));
	must_errno(mr);
	t0 = now_ns();
	must_errno(!ibv_dereg_mr(mr));
	sample(b, "deregister", side, size, "us", us_since(t0));
}

static void bar(struct bench *b, const char *side, uint64_t size)
{
	struct pb_buffer *buffer = new_buffer(b, size);
	unsigned int i;
	uint64_t t0;

	for (i = 0; i < BURST; i++) {
		t0 = now_ns();
		registered(b, side, size,
			   ibv_reg_dmabuf_mr(b->pb, 0, size, 0, pb_buffer_fd(buffer), ALL_ACCESS),
			   t0);
	}
	pb_buffer_close(buffer);
}

static void memory(struct bench *b, const char *side, uint64_t size, struct ibv_pd *pd, bool large)
{
	void *p = new_memory(size, large);
	unsigned int i;
	uint64_t t0;

	for (i = 0; i < BURST; i++) {
		t0 = now_ns();
		registered(b, side, size, ibv_reg_mr(pd, p, size, ALL_ACCESS), t0);
	}
	munmap(p, size);
}

static void stock(struct bench *b)
{
	unsigned int i;

	for (i = 0; i < SIZES; i++)
		bar(b, "pb-bar-vfio-pci", sizes[i]);
}

static void ours(struct bench *b)
{
	unsigned int i;

	for (i = 0; i < SIZES; i++) {
		bar(b, "pb-bar", sizes[i]);
		memory(b, "pb-memory", sizes[i], b->pb, true);
		memory(b, "rxe-memory", sizes[i], b->rxe, true);
		memory(b, "rxe-memory-4k", sizes[i], b->rxe, false);
	}
}

const struct measure register_measure = { .name = "register", .stock = stock, .ours = ours };
