/* SPDX-License-Identifier: GPL-2.0 */
/* Completion queues. */
#ifndef _PEERBAR_RDMA_CQ_H
#define _PEERBAR_RDMA_CQ_H

#include "ring.h"

/**
 * struct pbr_cq - completion queue
 * @resize_mutex: serializes resizes; taken before @lock
 * @lock: protects everything below; taken with irqs off, a leaf
 */
struct pbr_cq {
	struct ib_cq ib;
	struct mutex resize_mutex; /* see above */
	spinlock_t lock;	   /* see above */
	struct pbr_buf *buf;
	struct peerbar_ring *ring;
	struct peerbar_cqe *entries;
	u32 nr;
	u32 producer;
	u32 consumer; /* of a kernel user */
	enum ib_cq_notify_flags armed;
	bool overflow;
};

static inline struct pbr_cq *to_pbr_cq(struct ib_cq *ib)
{
	return container_of(ib, struct pbr_cq, ib);
}

/* cq.c */
extern const struct ib_device_ops pbr_cq_ops;
/* Return false if the queue is full. */
bool pbr_complete(struct ib_cq *cq, struct ib_qp *qp, const struct peerbar_cqe *cqe,
		  bool solicited);
/*
 * Number of entries not polled yet; the caller must hold the lock. Treat an invalid consumer index
 * as a full queue.
 */
u32 pbr_cq_fill(struct pbr_cq *cq);
/* Drop the completions of a kernel user's queue pair being destroyed; a user's provider does. */
void pbr_cq_forget(struct ib_cq *cq, struct ib_qp *qp);

#endif
