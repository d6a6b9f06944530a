/* SPDX-License-Identifier: GPL-2.0 */
/* Interfaces between the files of the test exporter. */
#ifndef _PEERBAR_TEST_EXPORTER_H
#define _PEERBAR_TEST_EXPORTER_H

#include <linux/dma-buf.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/wait.h>

#include "peerbar_kapi.h"
#include "peerbar_test.h"

struct pci_dev;

enum { TEST_PLACE_A, TEST_PLACE_B, TEST_PLACE_SYSTEM, TEST_PLACES };

/**
 * struct test_place - memory that a dma-buf may be in
 * @vec: its ranges
 * @nr: their number; 0 if there is no such place
 * @bar: they are in the BAR, and not the buffer's own
 */
struct test_place {
	struct phys_vec *vec;
	unsigned int nr;
	bool bar;
};

/* A failure that the test asked for: errno, 0 for none; and how often, 0 for always */
struct test_failure {
	unsigned int error;
	unsigned int times;
};

/**
 * struct test_vram - a PCI function of the driver peerbar-test-vram, and its largest BAR
 * @refs: references: the driver's, and one for each buffer
 * @pdev: the function, with a reference
 * @bar: index of the BAR
 * @start: its physical address
 * @size: its bytes
 * @base: its kernel mapping
 * @lock: protects @gone and @buffers; order: before dmabuf->resv
 * @gone: the driver is unbound
 * @buffers: its dma-bufs
 */
struct test_vram {
	struct kref refs;
	struct pci_dev *pdev;
	int bar;
	phys_addr_t start;
	size_t size;
	void *base;
	struct mutex lock; /* see above */
	bool gone;
	struct list_head buffers;
};

/**
 * struct test_buffer - a dma-buf of the test exporter; exists as long as the dma-buf
 *
 * Locks, outermost first:
 *
 *	test_file.lock		list of dma-bufs that move periodically
 *	@move_lock		serializes moves, except VRAM's
 *	test_vram.lock		the dma-bufs of a PCI function
 *	dmabuf->resv		@place, @moves, @revoked, @dead, @maps, @pins, @failures, @places,
 *				and their bytes; setting @copying
 *
 * Don't copy from or to a process with the reservation lock held: page faults take it under
 * mmap_lock.
 *
 * @dmabuf: the dma-buf
 * @core: the core's buffer; NULL if the test module exports the dma-buf itself (foreign)
 * @model: enum peerbar_model
 * @size: bytes
 * @places: the places A, B (only DYNAMIC), and system memory (only VRAM, from the first migration)
 * @move_lock: see above
 * @place: the place in use; except for VRAM, changes only with @move_lock held as well
 * @moves: number of moves
 * @revoked: the memory is unreachable
 * @dead: @revoked is permanent; foreign ones only, the core has its own state
 * @maps: DMA mappings; foreign ones only
 * @pins: pins; foreign ones only
 * @failures: of its operations; foreign ones only
 * @copying: fence of a copy that the test asked for; NULL if there is none
 * @drained: woken when @maps reaches 0
 * @vram: the PCI function of VRAM; NULL for others
 * @flags: PEERBAR_TEST_VRAM_*
 * @node: in @vram
 */
struct test_buffer {
	struct dma_buf *dmabuf;
	struct peerbar_buffer *core;
	enum peerbar_model model;
	size_t size;
	struct test_place places[TEST_PLACES];
	struct mutex move_lock; /* see above */
	unsigned int place;
	u32 moves;
	bool revoked;
	bool dead;
	unsigned int maps;
	unsigned int pins;
	struct test_failure failures[PEERBAR_TEST_FAIL_PIN + 1];
	struct dma_fence *copying;
	wait_queue_head_t drained;
	struct test_vram *vram;
	u32 flags;
	struct list_head node;
};

/**
 * struct test_file - an open exporter
 * @lock: protects @movers
 * @movers: dma-bufs that move periodically, until the exporter is closed
 */
struct test_file {
	struct mutex lock; /* see above */
	struct list_head movers;
};

/* exporter-memory.c */
struct test_buffer *test_buffer_new(enum peerbar_model model);
struct test_buffer *test_buffer_alloc(const struct peerbar_test_export *arg);
void test_buffer_free(struct test_buffer *t);
int test_place_alloc(struct test_place *p);
void test_place_free(struct test_place *p);
/* reservation lock held */
int test_place(struct test_buffer *t, u32 asked, unsigned int *place);
int test_paddr(struct test_buffer *t, unsigned int place, u64 offset, phys_addr_t *paddr);
void test_copy_place(struct test_buffer *t, unsigned int from, unsigned int to);
void test_poison(struct test_buffer *t, unsigned int place);
/* copy function of moves between A and B; @arg is the buffer; holds @move_lock too */
int test_change_place(struct peerbar_buffer *buf, void *arg);
/* no lock held */
int test_copy(struct test_buffer *t, const struct peerbar_test_io *arg, void *bytes, bool write);

/* exporter-move.c */
int test_move(struct test_buffer *t, u32 asked, u32 *now);
int test_automove(struct test_file *f, struct test_buffer *t, unsigned int period_ms);
void test_movers_stop(struct test_file *f);

/* exporter-copy.c */
int test_copy_begin(struct test_buffer *t);
int test_copy_end(struct test_buffer *t);

/* exporter-without-core.c */
extern struct peerbar_exporter test_declared_exporter;
int test_foreign_export(struct test_buffer *t, u32 source);
bool test_is_foreign(struct dma_buf *dmabuf);
int test_foreign_move(struct test_buffer *t);
int test_foreign_revoke(struct test_buffer *t, bool for_good);
/* reservation lock held */
int test_fill_table(struct test_buffer *t, struct sg_table *sgt, size_t piece);
int test_failure(struct test_buffer *t, enum peerbar_test_operation operation);
void test_mapped(struct test_buffer *t);
void test_unmapped(struct test_buffer *t);

/* exporter-vram.c */
extern struct peerbar_exporter test_vram_declared;
struct test_buffer *test_vram_export(const struct peerbar_test_export_vram *arg);
bool test_is_vram(struct dma_buf *dmabuf);
int test_vram_move(struct test_buffer *t, u32 asked, u32 *now);

/* exporter-vram-device.c */
int test_vram_register(void);
void test_vram_unregister(void);
/* A function's VRAM by its address, with a reference; -ENODEV if the driver is not bound to it */
struct test_vram *test_vram_get(const char *name);
void test_vram_put(struct test_vram *vram);
int test_vram_add(struct test_vram *vram, struct test_buffer *t);
void test_vram_remove(struct test_buffer *t);

#endif
