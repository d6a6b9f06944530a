/* SPDX-License-Identifier: GPL-2.0 */
/* Regions of dma-bufs: attachment, pin and mapping. */
#ifndef _PEERBAR_RDMA_DMABUF_H
#define _PEERBAR_RDMA_DMABUF_H

#include "region.h"

/**
 * struct pbr_dmabuf - a region's attachment to a dma-buf
 *
 * A region without IB_ACCESS_ON_DEMAND pins the memory, and stays mapped until it is revoked or
 * deregistered. A region with it is unmapped whenever the exporter invalidates its mapping, and
 * mapped again by the next access (a fault).
 *
 * Locks, outermost first:
 *
 *	sq_lock of the queue pair that faults
 *	dmabuf->resv		everything below, the segments of the region, blocking and
 *				unblocking it
 *
 * The exporter holds the reservation lock when it invalidates, and then waits for the tasks inside
 * the region. So a task inside a region, or a holder of an rq_lock, which such a task may wait for,
 * must not take it. No fence is waited for with it held.
 *
 * @dmabuf: holds a reference
 * @attach: constant after attaching; an exporter may invalidate before dma_buf_dynamic_attach()
 *	returns, when this is still NULL
 * @offset: of the region's first page in the dma-buf; constant
 * @pin: what pinning charged to the user; NULL if nothing
 * @sgt: the mapping; NULL if unmapped
 * @pinned: dma_buf_pin() succeeded
 * @open: tasks may enter the region; otherwise it is blocked
 * @ended: revoked or deregistered; never mapped again
 */
struct pbr_dmabuf {
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	u64 offset;
	struct pbr_pin *pin;
	struct sg_table *sgt;
	bool pinned;
	bool open;
	bool ended;
};

/* dmabuf.c */
extern const struct ib_device_ops pbr_dmabuf_ops;
extern const struct uapi_definition pbr_uapi[];
/*
 * Map the memory of an on-demand region, so that tasks can enter it; no lock held that a revoke
 * needs. Return 0; -EINPROGRESS if the exporter is still moving the memory, and the caller must
 * call again later; -EINTR or -ERESTARTSYS after a signal; otherwise why it cannot be mapped.
 */
int pbr_dmabuf_fault(struct pbr_mr *mr, bool mapped_only);
/* Block, unmap and detach; no task faults any more. */
void pbr_dmabuf_release(struct pbr_mr *mr);

/* segment.c */
/*
 * Find the memory of the mapping @sgt that the region covers, as segments that the CPU can address;
 * reservation lock held. Return 0; -EFAULT if an address is not mapped for the function; -EINVAL if
 * a segment has partial pages, or the mapping is too short; -ENOMEM.
 */
int pbr_segments_make(struct pbr_mr *mr, struct dma_buf_attachment *attach, struct sg_table *sgt,
		      u64 offset);
void pbr_segments_free(struct pbr_mr *mr);

/* pin.c */
/*
 * Charge pinning @dmabuf to the current process, unless another region of the context did. Return
 * the charge, or ERR_PTR(-ENOMEM), also if it exceeds RLIMIT_MEMLOCK.
 */
struct pbr_pin *pbr_pin_charge(struct ib_ucontext *ctx, struct dma_buf *dmabuf);
void pbr_pin_uncharge(struct ib_ucontext *ctx, struct pbr_pin *pin);

#endif
