/* SPDX-License-Identifier: GPL-2.0 */
/* Interfaces between the files of the test exporter. */
#ifndef _PEERBAR_TEST_EXPORTER_H
#define _PEERBAR_TEST_EXPORTER_H

#include <linux/dma-buf.h>
#include <linux/mutex.h>
#include <linux/wait.h>

#include "peerbar_kapi.h"
#include "peerbar_test.h"

/**
 * struct test_buffer - a dma-buf of the test exporter; exists as long as the dma-buf
 *
 * Locks, outermost first:
 *
 *	test_file.lock		list of dma-bufs that move periodically
 *	@move_lock		serializes moves
 *	dmabuf->resv		@place, @moves, @revoked, @dead, @maps, @pins, and the bytes of both
 *				places
 *
 * Don't copy from or to a process with the reservation lock held: page faults take it under
 * mmap_lock.
 *
 * @dmabuf: the dma-buf
 * @core: the core's buffer; NULL if the test module exports the dma-buf itself (foreign)
 * @model: enum peerbar_model
 * @nr_ranges: number of ranges
 * @size: sum of their lengths
 * @vec: the ranges of the places A and B; B's exist only for DYNAMIC
 * @move_lock: see above
 * @place: the place in use, 0 or 1; changes only with @move_lock held as well
 * @moves: number of moves
 * @revoked: the memory is unreachable
 * @dead: @revoked is permanent; foreign ones only, the core has its own state
 * @maps: DMA mappings; foreign ones only
 * @pins: pins; foreign ones only
 * @drained: woken when @maps reaches 0
 */
struct test_buffer {
	struct dma_buf *dmabuf;
	struct peerbar_buffer *core;
	enum peerbar_model model;
	unsigned int nr_ranges;
	size_t size;
	struct phys_vec vec[2][PEERBAR_TEST_RANGES];
	struct mutex move_lock; /* see above */
	unsigned int place;
	u32 moves;
	bool revoked;
	bool dead;
	unsigned int maps;
	unsigned int pins;
	wait_queue_head_t drained;
};

/* exporter.c */
void test_buffer_free(struct test_buffer *t);
int test_change_place(struct peerbar_buffer *buf, void *arg);

/* exporter-without-core.c */
extern struct peerbar_exporter test_declared_exporter;
int test_foreign_export(struct test_buffer *t, u32 source);
bool test_is_foreign(struct dma_buf *dmabuf);
int test_foreign_move(struct test_buffer *t);
int test_foreign_revoke(struct test_buffer *t, bool for_good);

#endif
