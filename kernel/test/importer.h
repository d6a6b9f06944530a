/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the importer for tests share. */
#ifndef _PEERBAR_TEST_IMPORTER_H
#define _PEERBAR_TEST_IMPORTER_H

#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "peerbar_kapi.h"
#include "peerbar_test.h"

struct test_kind;

/**
 * struct test_import - an attachment
 *
 * Found by its handle in the open importer's xarray, whose lock is a leaf. Whoever took it out of there detaches it; others may
 * still have a reference then, and find it @closed.
 *
 * Locks, outermost first:
 *
 *	test_imports_lock	the list of all, and finding a device that is not yet removed
 *	dmabuf->resv		what is below @fence_context; STATUS reads some of it without
 *
 * The work takes the reservation lock, so that it must not be waited for with that held. Fences are signalled before the lock is
 * taken: the one who waits for them may have it.
 *
 * @node: in the list of all
 * @refs: references
 * @dmabuf: the dma-buf, a reference
 * @dev: the importing device, a reference
 * @attach: the attachment; not to be touched once @closed
 * @kind: which kind of importer
 * @follows: having been told to let go, it can map again
 * @delay_ms: how long it takes to let go
 * @work: lets go, late
 * @fence: signalled when the importer's DMA is over; only exchanged
 * @fence_context: of its fences
 * @fence_seqno: of the last one
 * @sgt: the mapping, or NULL
 * @dir: its direction
 * @pinned: pinned
 * @stale: told to let go while it was mapped, and not mapped again since
 * @closed: detached, or its device is gone
 * @invalidations: how often it was told to let go
 */
struct test_import {
	struct list_head node;
	refcount_t refs;
	struct dma_buf *dmabuf;
	struct device *dev;
	struct dma_buf_attachment *attach;
	const struct test_kind *kind;
	bool follows;
	u32 delay_ms;
	struct delayed_work work;
	struct dma_fence *fence;
	u64 fence_context;
	u64 fence_seqno;
	struct sg_table *sgt;
	enum dma_data_direction dir;
	bool pinned;
	bool stale;
	bool closed;
	u32 invalidations;
};

/* importer.c: the attachment of a handle, with a reference; NULL if there is none */
struct test_import *test_import_get(struct xarray *imports, u32 handle);
void test_import_put(struct test_import *p);
/* lock its dma-buf; -ENODEV if it is closed */
int test_import_lock(struct test_import *p);
void test_import_unlock(struct test_import *p);

DEFINE_FREE(test_import_put, struct test_import *, test_import_put(_T))

/* look.c */
long test_ioctl_chunks(void *priv, unsigned int cmd, void *argp);
long test_ioctl_pfn(void *priv, unsigned int cmd, void *argp);
long test_ioctl_model(void *priv, unsigned int cmd, void *argp);
long test_ioctl_pte(void *priv, unsigned int cmd, void *argp);
long test_ioctl_unmappable(void *priv, unsigned int cmd, void *argp);

#endif
