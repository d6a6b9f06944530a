// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of RC, XRC and UC queue pairs: sends, writes, reads, atomics, and local work. The
 * requester's thread also executes the responder.
 */
#include <rdma/ib_verbs.h>

#include "send.h"

/* ---- waiting ---- */

static u32 pbr_wait(struct pbr_qp *qp, unsigned long delay)
{
	qp->waiting = true;
	qp->wait_until = jiffies + max(delay, 1UL);
	return PBR_AGAIN;
}

/* The responder does not answer: as with lost packets, retry until the retries are exhausted. */
static u32 pbr_no_answer(struct pbr_qp *qp)
{
	u64 timeout = (4096ULL << qp->attr.timeout) * (qp->attr.retry_cnt + 1);

	if (qp->ib.qp_type == IB_QPT_UC)
		return PBR_LOST;
	if (!qp->retrying) {
		qp->retrying = true;
		qp->deadline = jiffies + nsecs_to_jiffies(timeout) + 1;
	}
	if (qp->attr.timeout && time_after_eq(jiffies, qp->deadline)) {
		pbr_count(qp->dev, PBR_RETRY_EXCEEDED);
		return pbr_fail(&qp->dev->ib, IB_WC_RETRY_EXC_ERR,
				"qp %u: qp %u is gone, not ready to receive, or not connected with it",
				qp->ib.qp_num, qp->attr.dest_qp_num);
	}
	return pbr_wait(qp, HZ / 100);
}

/* Convert the result @ret of a copy to a status; @refused if a region was revoked. */
static u32 pbr_copy_status(struct pbr_qp *qp, int ret, u32 refused)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	if (ret == -EAGAIN)
		return PBR_AGAIN;
	if (ret != -ESHUTDOWN)
		return ret ? refused : IB_WC_SUCCESS;
	if (state == IB_QPS_ERR || state == IB_QPS_RESET)
		return IB_WC_WR_FLUSH_ERR;
	return pbr_no_answer(qp);
}

/*
 * Copy the message from @qp->src to @qp->dst, both entered, and leave both. @local is the side of
 * the requester. Return a status: @refused if the responder's memory was revoked.
 */
static u32 pbr_copy_message(struct pbr_qp *qp, const struct pbr_refs *local, u32 refused)
{
	struct pbr_refs *who = NULL;
	int ret;

	ret = pbr_copy(qp->dst, qp->src, &qp->progress, local->total, &who);
	pbr_refs_put(qp->dst);
	pbr_refs_put(qp->src);
	if (!ret)
		pbr_count_message(qp->src->dev, qp->dst->dev, local->total);
	return pbr_copy_status(qp, ret, who == local ? IB_WC_LOC_PROT_ERR : refused);
}

/* In units of 10 us */
static const u32 pbr_rnr_timer[32] = {
	65536, 1,    2,	   3,	 4,    6,     8,     12,    16,	   24,	  32,
	48,    64,   96,   128,	 192,  256,   384,   512,   768,   1024,  1536,
	2048,  3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
};

unsigned long pbr_rnr_delay(u32 timer)
{
	return usecs_to_jiffies(10 * pbr_rnr_timer[timer & 31]);
}

static u32 pbr_not_ready(struct pbr_qp *qp, struct pbr_qp *peer)
{
	if (qp->ib.qp_type == IB_QPT_UC)
		return PBR_LOST;
	if (!qp->rnr_left) {
		pbr_count(qp->dev, PBR_RNR_RETRY_EXCEEDED);
		return pbr_fail(&qp->dev->ib, IB_WC_RNR_RETRY_EXC_ERR,
				"qp %u: qp %u had no receive for %u retries", qp->ib.qp_num,
				peer->ib.qp_num, qp->attr.rnr_retry);
	}
	pbr_count(qp->dev, PBR_RCVD_RNR);
	pbr_count(peer->dev, PBR_SENT_RNR);
	/* 7 means retry indefinitely. */
	if (qp->attr.rnr_retry != 7)
		qp->rnr_left--;
	return pbr_wait(qp, pbr_rnr_delay(peer->attr.min_rnr_timer));
}

/* ---- requests ---- */

/*
 * The responder refuses: both queue pairs go to the error state. UC drops the message instead. Does
 * nothing if @status is PBR_AGAIN.
 */
static u32 pbr_refuse(struct pbr_qp *peer, u32 status)
{
	if (status == PBR_AGAIN)
		return status;
	if (peer->ib.qp_type == IB_QPT_UC)
		return PBR_LOST;
	pbr_qp_error(peer,
		     status == IB_WC_REM_ACCESS_ERR ? IB_EVENT_QP_ACCESS_ERR : IB_EVENT_QP_REQ_ERR);
	return status;
}

/*
 * The responder's receive is invalid; the caller must hold rq_lock. UC drops a message that is too
 * long, and keeps the receive.
 */
static u32 pbr_bad_receive(struct pbr_qp *peer, struct pbr_qp *qp, u32 status)
{
	bool lossy = peer->ib.qp_type == IB_QPT_UC;

	if (status == PBR_AGAIN)
		return status;
	if (lossy && status == IB_WC_LOC_LEN_ERR)
		return PBR_LOST;
	pbr_complete_recv(peer, qp, status, 0);
	pbr_qp_error(peer, 0);
	if (lossy)
		return PBR_LOST;
	return status == IB_WC_LOC_LEN_ERR ? IB_WC_REM_INV_REQ_ERR : IB_WC_REM_OP_ERR;
}

static bool pbr_connected(struct pbr_qp *qp, struct pbr_qp *peer)
{
	return peer->ib.qp_type == (pbr_is_xrc_initiator(qp) ? IB_QPT_XRC_TGT : qp->ib.qp_type) &&
		READ_ONCE(peer->attr.dest_qp_num) == qp->ib.qp_num &&
		READ_ONCE(peer->target) == qp->dev->id && pbr_answers(peer);
}

static u32 pbr_send(struct pbr_qp *qp, struct pbr_qp *peer)
{
	u32 status;

	guard(mutex)(&peer->rq_lock);
	/* Check again: the state may have changed while waiting for the lock. */
	if (!pbr_connected(qp, peer))
		return pbr_no_answer(qp);
	/* Check the sender's keys first: a failing request must not consume a receive of an SRQ. */
	status = pbr_refs_enter(qp->src, IB_WC_LOC_PROT_ERR);
	if (status)
		return status;
	if (!pbr_rq_take(peer)) {
		pbr_refs_put(qp->src);
		return pbr_not_ready(qp, peer);
	}
	status = pbr_recv_refs(peer, qp->dst, qp->src->total);
	if (status) {
		pbr_refs_put(qp->src);
		return pbr_bad_receive(peer, qp, status);
	}
	status = pbr_copy_message(qp, qp->src, IB_WC_REM_OP_ERR);
	if (status == IB_WC_REM_OP_ERR)
		return pbr_bad_receive(peer, qp, IB_WC_LOC_PROT_ERR);
	if (status)
		return status;
	if (qp->sqe->opcode == IB_WR_SEND_WITH_INV &&
	    pbr_invalidate(peer->dev, pbr_responder_pd(peer), peer->ib.qp_num, qp->sqe->imm_data)) {
		pbr_complete_recv(peer, qp, IB_WC_REM_INV_REQ_ERR, 0);
		/* A receive that completes in error moves its queue pair to ERR, also over UC. */
		pbr_qp_error(peer, IB_EVENT_QP_REQ_ERR);
		return pbr_refuse(peer, IB_WC_REM_INV_REQ_ERR);
	}
	pbr_complete_recv(peer, qp, IB_WC_SUCCESS, qp->src->total);
	return IB_WC_SUCCESS;
}

/* Set and enter the responder's side of a write, read or atomic. */
static u32 pbr_remote_refs(struct pbr_qp *peer, struct pbr_refs *refs, int access, u64 addr,
			   u64 len, u32 rkey)
{
	pbr_refs_init(refs, peer, pbr_responder_pd(peer), access);
	refs->dma = false;
	if ((READ_ONCE(peer->attr.qp_access_flags) & access) != access)
		return pbr_fail(&peer->dev->ib, IB_WC_REM_INV_REQ_ERR,
				"qp %u: its qp_access_flags %#x do not permit %#x", peer->ib.qp_num,
				peer->attr.qp_access_flags, access);
	/* A request of length 0 does not use its key. */
	pbr_refs_add(refs, addr, len, rkey);
	return pbr_refs_enter(refs, IB_WC_REM_ACCESS_ERR);
}

static u32 pbr_write_locked(struct pbr_qp *qp, struct pbr_qp *peer)
{
	u32 status;

	status = pbr_refs_enter(qp->src, IB_WC_LOC_PROT_ERR);
	if (status)
		return status;
	status = pbr_remote_refs(peer, qp->dst, IB_ACCESS_REMOTE_WRITE, qp->sqe->rdma.remote_addr,
				 qp->src->total, qp->sqe->rdma.rkey);
	if (status) {
		pbr_refs_put(qp->src);
		return pbr_refuse(peer, status);
	}
	/* Must be last: a failing request must not consume a receive. */
	if (qp->sqe->opcode == IB_WR_RDMA_WRITE_WITH_IMM && !pbr_rq_take(peer)) {
		pbr_refs_put(qp->dst);
		pbr_refs_put(qp->src);
		return pbr_not_ready(qp, peer);
	}
	status = pbr_copy_message(qp, qp->src, IB_WC_REM_ACCESS_ERR);
	return status == IB_WC_REM_ACCESS_ERR ? pbr_refuse(peer, status) : status;
}

static u32 pbr_write(struct pbr_qp *qp, struct pbr_qp *peer)
{
	u32 status;

	if (qp->sqe->opcode == IB_WR_RDMA_WRITE)
		return pbr_write_locked(qp, peer);
	guard(mutex)(&peer->rq_lock);
	if (!pbr_connected(qp, peer))
		return pbr_no_answer(qp);
	status = pbr_write_locked(qp, peer);
	if (!status)
		pbr_complete_recv(peer, qp, IB_WC_SUCCESS, qp->src->total);
	return status;
}

static u32 pbr_read(struct pbr_qp *qp, struct pbr_qp *peer)
{
	u32 status;

	if (!READ_ONCE(peer->attr.max_dest_rd_atomic)) {
		ibdev_dbg(&peer->dev->ib, "qp %u: a read, and its max_dest_rd_atomic is 0\n",
			  peer->ib.qp_num);
		return pbr_refuse(peer, IB_WC_REM_INV_REQ_ERR);
	}
	status = pbr_refs_enter(qp->dst, IB_WC_LOC_PROT_ERR);
	if (status)
		return status;
	status = pbr_remote_refs(peer, qp->src, IB_ACCESS_REMOTE_READ, qp->sqe->rdma.remote_addr,
				 qp->dst->total, qp->sqe->rdma.rkey);
	if (status) {
		pbr_refs_put(qp->dst);
		return pbr_refuse(peer, status);
	}
	status = pbr_copy_message(qp, qp->dst, IB_WC_REM_ACCESS_ERR);
	return status == IB_WC_REM_ACCESS_ERR ? pbr_refuse(peer, status) : status;
}

/* Whether the responder executes an atomic, or an atomic write, at @addr. */
static bool pbr_takes_atomic(struct pbr_qp *peer, u64 addr)
{
	if (!(addr & 7) && READ_ONCE(peer->attr.max_dest_rd_atomic))
		return true;
	ibdev_dbg(&peer->dev->ib,
		  "qp %u: an atomic at %#llx, which must be aligned to 8, and its max_dest_rd_atomic is %u\n",
		  peer->ib.qp_num, addr, peer->attr.max_dest_rd_atomic);
	return false;
}

/* The status of a failed atomic, or atomic write, with the result @ret. */
static u32 pbr_atomic_failed(struct pbr_qp *peer, u64 addr, int ret)
{
	if (ret == -EAGAIN)
		return PBR_AGAIN;
	ibdev_dbg(&peer->dev->ib,
		  "qp %u: an atomic at %#llx: the memory there is not aligned to 8, or not mapped\n",
		  peer->ib.qp_num, addr);
	return pbr_refuse(peer, IB_WC_REM_OP_ERR);
}

/* The old value is copied from @qp->value to the sender's memory, already entered in @qp->dst. */
static u32 pbr_atomic_locked(struct pbr_qp *qp, struct pbr_qp *peer)
{
	const struct peerbar_sqe *sqe = qp->sqe;
	struct pbr_refs *who;
	u32 status;
	u64 at = 0;
	int ret;

	status = pbr_remote_refs(peer, qp->src, IB_ACCESS_REMOTE_ATOMIC, sqe->atomic.remote_addr,
				 sizeof(u64), sqe->atomic.rkey);
	if (status)
		return pbr_refuse(peer, status);
	/* It cannot be repeated, so the old value's place must be present before. */
	ret = pbr_refs_check(qp->dst, sizeof(u64));
	if (ret) {
		pbr_refs_put(qp->src);
		return ret == -EAGAIN ? PBR_AGAIN : IB_WC_LOC_PROT_ERR;
	}
	ret = pbr_atomic(peer->dev, qp->src, sqe->opcode == IB_WR_ATOMIC_CMP_AND_SWP,
			 sqe->atomic.compare_add, sqe->atomic.swap, &qp->value);
	pbr_refs_put(qp->src);
	if (ret)
		return pbr_atomic_failed(peer, sqe->atomic.remote_addr, ret);
	pbr_refs_init(qp->src, qp, qp->ib.pd, 0);
	pbr_refs_add_va(qp->src, &qp->value, sizeof(qp->value));
	ret = pbr_copy(qp->dst, qp->src, &at, sizeof(u64), &who);
	if (ret)
		return IB_WC_LOC_PROT_ERR;
	pbr_count_message(peer->dev, qp->dev, sizeof(u64));
	return IB_WC_SUCCESS;
}

static u32 pbr_do_atomic(struct pbr_qp *qp, struct pbr_qp *peer)
{
	u32 status;

	if (!pbr_takes_atomic(peer, qp->sqe->atomic.remote_addr))
		return pbr_refuse(peer, IB_WC_REM_INV_REQ_ERR);
	if (qp->dst->total < sizeof(u64))
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_LEN_ERR,
				"qp %u: an atomic with room for %llu bytes; the old value has 8",
				qp->ib.qp_num, qp->dst->total);
	status = pbr_refs_enter(qp->dst, IB_WC_LOC_PROT_ERR);
	if (status)
		return status;
	status = pbr_atomic_locked(qp, peer);
	pbr_refs_put(qp->dst);
	return status;
}

static u32 pbr_do_atomic_write(struct pbr_qp *qp, struct pbr_qp *peer)
{
	const struct peerbar_sqe *sqe = qp->sqe;
	u64 addr = sqe->atomic_write.remote_addr;
	u32 status;
	int ret;

	if (!pbr_takes_atomic(peer, addr))
		return pbr_refuse(peer, IB_WC_REM_INV_REQ_ERR);
	status = pbr_remote_refs(peer, qp->dst, IB_ACCESS_REMOTE_WRITE, addr, sizeof(u64),
				 sqe->atomic_write.rkey);
	if (status)
		return pbr_refuse(peer, status);
	ret = pbr_atomic_write(peer->dev, qp->dst, sqe->atomic_write.value);
	pbr_refs_put(qp->dst);
	if (ret)
		return pbr_atomic_failed(peer, addr, ret);
	pbr_count_message(qp->dev, peer->dev, sizeof(u64));
	return IB_WC_SUCCESS;
}

bool pbr_flush_is_valid(u32 type, u32 level)
{
	return type && !(type & ~(IB_FLUSH_GLOBAL | IB_FLUSH_PERSISTENT)) &&
		(level == IB_FLUSH_RANGE || level == IB_FLUSH_MR);
}

int pbr_flush_access(u32 type)
{
	return (type & IB_FLUSH_GLOBAL ? IB_ACCESS_FLUSH_GLOBAL : 0) |
		(type & IB_FLUSH_PERSISTENT ? IB_ACCESS_FLUSH_PERSISTENT : 0);
}

void pbr_flush_range(struct pbr_device *dev, u32 level, u32 rkey, u64 *addr, u64 *len)
{
	if (level == IB_FLUSH_MR) {
		*addr = pbr_mr_start(dev, rkey);
		*len = 1;
	}
}

static u32 pbr_do_flush(struct pbr_qp *qp, struct pbr_qp *peer)
{
	const struct peerbar_sqe *sqe = qp->sqe;
	u64 addr = sqe->flush.remote_addr, len = sqe->flush.length;
	u32 status;
	int ret;

	pbr_flush_range(peer->dev, sqe->flush.level, sqe->flush.rkey, &addr, &len);
	status = pbr_remote_refs(peer, qp->dst, pbr_flush_access(sqe->flush.type), addr, len,
				 sqe->flush.rkey);
	if (status)
		return pbr_refuse(peer, status);
	ret = pbr_refs_flush(qp->dst);
	pbr_refs_put(qp->dst);
	if (ret == -EAGAIN)
		return PBR_AGAIN;
	return ret ? pbr_refuse(peer, IB_WC_REM_ACCESS_ERR) : IB_WC_SUCCESS;
}

static u32 pbr_do_connected(struct pbr_qp *qp, struct pbr_qp *peer)
{
	if (READ_ONCE(peer->state) == IB_QPS_RTR && !xchg(&peer->established, true))
		pbr_qp_event(peer, IB_EVENT_COMM_EST);
	switch (qp->sqe->opcode) {
	case IB_WR_SEND:
	case IB_WR_SEND_WITH_IMM:
	case IB_WR_SEND_WITH_INV:
		return pbr_send(qp, peer);
	case IB_WR_RDMA_WRITE:
	case IB_WR_RDMA_WRITE_WITH_IMM:
		return pbr_write(qp, peer);
	case IB_WR_RDMA_READ:
		return pbr_read(qp, peer);
	case IB_WR_ATOMIC_WRITE:
		return pbr_do_atomic_write(qp, peer);
	case IB_WR_FLUSH:
		return pbr_do_flush(qp, peer);
	default:
		return pbr_do_atomic(qp, peer);
	}
}

/* As pbr_do_connected(); an XRC request needs its queue, in the domain of the target. */
static u32 pbr_do_connected_or_xrc(struct pbr_qp *qp, struct pbr_qp *peer)
{
	u32 status;

	if (!pbr_xrc_begin(peer, qp->sqe->srqn)) {
		pbr_qp_error(peer, IB_EVENT_QP_ACCESS_ERR);
		return IB_WC_REM_INV_REQ_ERR;
	}
	if (pbr_xrc_holds_other(peer)) {
		qp->progress = 0;
		guard(mutex)(&peer->rq_lock);
		pbr_flush_held(peer);
	}
	status = pbr_do_connected(qp, peer);
	pbr_xrc_end(peer);
	return status;
}

static u32 pbr_check_flush(const struct pbr_qp *qp)
{
	u32 type = qp->sqe->flush.type, level = qp->sqe->flush.level;

	if (pbr_flush_is_valid(type, level))
		return IB_WC_SUCCESS;
	return pbr_fail(&qp->dev->ib, IB_WC_LOC_QP_OP_ERR,
			"qp %u: a flush of type %#x and level %u; types are bits of %#x, levels %u and %u",
			qp->ib.qp_num, type, level, IB_FLUSH_GLOBAL | IB_FLUSH_PERSISTENT,
			IB_FLUSH_RANGE, IB_FLUSH_MR);
}

u32 pbr_local_work(struct pbr_qp *qp)
{
	bool read = false, memory = true;
	u32 status;
	int ret;

	switch (qp->sqe->opcode) {
	case IB_WR_BIND_MW:
		ret = pbr_mw_bind(qp->dev, qp->ib.pd, qp->ib.qp_num, qp->sqe);
		return ret ? IB_WC_MW_BIND_ERR : IB_WC_SUCCESS;
	case IB_WR_LOCAL_INV:
		ret = pbr_invalidate(qp->dev, qp->ib.pd, qp->ib.qp_num, qp->sqe->imm_data);
		return ret ? IB_WC_LOC_QP_OP_ERR : IB_WC_SUCCESS;
	case IB_WR_REG_MR:
		/* Refuse a user: the request contains DMA addresses. */
		if (qp->user)
			return pbr_bad_opcode(qp);
		ret = pbr_fast_register(qp->dev, qp->ib.pd, qp->sqe);
		return ret ? IB_WC_MW_BIND_ERR : IB_WC_SUCCESS;
	case IB_WR_RDMA_READ:
	case IB_WR_ATOMIC_CMP_AND_SWP:
	case IB_WR_ATOMIC_FETCH_AND_ADD:
		if (!pbr_is_reliable(qp))
			return pbr_bad_opcode(qp);
		read = true;
		break;
	case IB_WR_ATOMIC_WRITE:
	case IB_WR_FLUSH:
		if (!pbr_is_reliable(qp))
			return pbr_bad_opcode(qp);
		status = qp->sqe->opcode == IB_WR_FLUSH ? pbr_check_flush(qp) : IB_WC_SUCCESS;
		if (status)
			return status;
		memory = false;
		break;
	case IB_WR_SEND:
	case IB_WR_SEND_WITH_IMM:
	case IB_WR_SEND_WITH_INV:
	case IB_WR_RDMA_WRITE:
	case IB_WR_RDMA_WRITE_WITH_IMM:
		break;
	default:
		return pbr_bad_opcode(qp);
	}
	if (pbr_is_xrc_initiator(qp) && qp->sqe->srqn >> 24)
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_QP_OP_ERR,
				"qp %u: a request for shared receive queue %u; numbers have 24 bits",
				qp->ib.qp_num, qp->sqe->srqn);
	pbr_refs_init(qp->src, qp, qp->ib.pd, 0);
	pbr_refs_init(qp->dst, qp, qp->ib.pd, IB_ACCESS_LOCAL_WRITE);
	if (!memory)
		return PBR_AGAIN;
	status = pbr_local_refs(qp, read ? qp->dst : qp->src, read ? IB_ACCESS_LOCAL_WRITE : 0);
	return status ?: PBR_AGAIN;
}

u32 pbr_do_connection(struct pbr_qp *qp)
{
	struct pbr_qp *peer;
	u32 status;

	status = pbr_local_work(qp);
	if (status != PBR_AGAIN)
		return status;
	peer = pbr_peer_get(qp->target, qp->attr.dest_qp_num);
	if (peer && pbr_connected(qp, peer)) {
		qp->retrying = false;
		/* Don't continue a message to a queue pair that was reset meanwhile. */
		if (qp->peer_epoch != peer->epoch)
			qp->progress = 0;
		qp->peer_epoch = peer->epoch;
		status = pbr_do_connected_or_xrc(qp, peer);
	} else {
		status = pbr_no_answer(qp);
	}
	if (peer)
		pbr_qp_put(peer);
	if (status != PBR_LOST)
		return status;
	pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
	return IB_WC_SUCCESS;
}
