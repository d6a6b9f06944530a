/* SPDX-License-Identifier: GPL-2.0 */
/* Interfaces between the files of the test importer. */
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
 * Looked up by its handle in the open importer's xarray, whose lock is a leaf. The task that
 * removes it from the xarray detaches it. Other tasks may still hold a reference then, and find it
 * @closed.
 *
 * Locks, outermost first:
 *
 *	test_imports_lock	the list of all, and looking up a device that is not removed yet
 *	dmabuf->resv		the fields below @fence_context; STATUS reads some of them without
 *
 * The work takes the reservation lock, so don't wait for the work with that lock held. Signal
 * fences before taking the lock: a task that waits for a fence may hold it.
 *
 * @node: in the list of all
 * @refs: references
 * @dmabuf: the dma-buf, with a reference
 * @dev: the importing device, with a reference
 * @attach: the attachment; don't use it once @closed
 * @kind: kind of importer
 * @follows: can map again after an invalidation
 * @delay_ms: delay between invalidation and unmap
 * @work: unmaps after @delay_ms
 * @fence: signalled when the importer's DMA is complete; changed only by xchg()
 * @fence_context: of its fences
 * @fence_seqno: of the last fence
 * @sgt: the mapping, or NULL
 * @dir: its direction
 * @pinned: pinned
 * @stale: invalidated while mapped, and not mapped again since
 * @closed: detached, or its device is gone
 * @invalidations: number of invalidations
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

/* importer.c: look up the attachment of a handle, with a reference; NULL if there is none */
struct test_import *test_import_get(struct xarray *imports, u32 handle);
void test_import_put(struct test_import *p);
/* Lock the reservation object; fails with -ENODEV if the attachment is closed. */
int test_import_lock(struct test_import *p);
void test_import_unlock(struct test_import *p);

DEFINE_FREE(test_import_put, struct test_import *, test_import_put(_T))

/* core-queries.c */
long test_ioctl_chunks(void *priv, unsigned int cmd, void *argp);
long test_ioctl_pfn(void *priv, unsigned int cmd, void *argp);
long test_ioctl_model(void *priv, unsigned int cmd, void *argp);

/* page-tables.c */
long test_ioctl_pte(void *priv, unsigned int cmd, void *argp);

#endif
