/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Entries of the send ring. Whoever posts takes the lock, writes entries, advances the index, gives
 * the lock back, and makes one doorbell call.
 */
#ifndef PEERBAR_PROVIDER_SEND_H
#define PEERBAR_PROVIDER_SEND_H

#include "provider.h"

#define OP(name) (1u << IBV_WR_##name)
#define INLINE_OPCODES                                                       \
	(OP(SEND) | OP(SEND_WITH_IMM) | OP(SEND_WITH_INV) | OP(RDMA_WRITE) | \
	 OP(RDMA_WRITE_WITH_IMM))
#define SEND_FLAGS (IBV_SEND_FENCE | IBV_SEND_SIGNALED | IBV_SEND_SOLICITED | IBV_SEND_INLINE)

/* Before RTS, posting fails. After it, in SQD, SQE and ERR, the kernel queues or flushes. */
static inline bool can_send(const struct ibv_qp *qp)
{
	return qp->state != IBV_QPS_RESET && qp->state != IBV_QPS_INIT && qp->state != IBV_QPS_RTR;
}

static inline struct peerbar_sqe *entry_of(const struct pv_sq *sq, uint32_t index)
{
	return (void *)((char *)sq->first + (size_t)(index & (sq->entries - 1)) * sq->stride);
}

static inline void put_bind(struct peerbar_sqe *sqe, const struct ibv_mw *mw, uint32_t rkey,
			    const struct ibv_mw_bind_info *info)
{
	sqe->mw.addr = info->addr;
	sqe->mw.length = info->length;
	/* A window of length 0 is not bound to a region. */
	sqe->mw.mr_lkey = info->mr ? info->mr->lkey : 0;
	sqe->mw.mw_rkey = mw->rkey;
	sqe->mw.new_rkey = rkey;
	sqe->mw.access = info->mw_access_flags;
}

/* Make the kernel process the ring. pv_destroy_qp() waits for the call to return. */
int pv_ring_doorbell(struct ibv_qp *qp);
int pv_doorbell_failed(struct ibv_qp *qp, const char *verb, int code)
	__attribute__((cold, noinline));

#endif
