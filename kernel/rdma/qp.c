// SPDX-License-Identifier: GPL-2.0
/* Queue pairs: creation and states. */
#include <linux/log2.h>
#include <linux/slab.h>

#include "ah.h"
#include "cq.h"
#include "send.h"
#include "trace.h"
#include "wire.h"

static atomic_t pbr_last_epoch;

/* ---- creation ---- */

/* Offset of the request in an entry of the send queue */
static size_t pbr_sqe_offset(const struct pbr_qp *qp)
{
	return qp->user ? 0 : offsetof(struct pbr_kernel_sqe, sqe);
}

static u32 pbr_sq_stride(const struct pbr_qp *qp)
{
	const struct ib_qp_cap *cap = &qp->cap;
	u32 data = max_t(u32, cap->max_send_sge * sizeof(struct peerbar_sge), cap->max_inline_data);

	return roundup(pbr_sqe_offset(qp) + sizeof(struct peerbar_sqe) + data, 64);
}

/* Of a receive that it takes. An XRC target takes them from all queues of its domain. */
static u32 pbr_max_recv_sge(const struct pbr_qp *qp)
{
	if (qp->xrcd)
		return PBR_MAX_SGE;
	return qp->srq ? qp->srq->rq.max_sge : qp->cap.max_recv_sge;
}

static int pbr_check_max(struct ib_device *ib, const char *what, u32 value, u32 max)
{
	if (value <= max)
		return 0;
	return pbr_fail(ib, -EINVAL, "create_qp: %s is %u; at most %u are possible", what, value,
			max);
}

static int pbr_check_cap(struct ib_device *ib, const struct ib_qp_init_attr *init)
{
	const struct ib_qp_cap *cap = &init->cap;
	int ret;

	ret = pbr_check_max(ib, "max_send_wr", cap->max_send_wr, PBR_MAX_WR)	  ?:
		pbr_check_max(ib, "max_send_sge", cap->max_send_sge, PBR_MAX_SGE) ?:
		pbr_check_max(ib, "max_inline_data", cap->max_inline_data, PBR_MAX_INLINE);
	if (ret || init->srq)
		return ret;
	return pbr_check_max(ib, "max_recv_wr", cap->max_recv_wr, PBR_MAX_WR) ?:
		pbr_check_max(ib, "max_recv_sge", cap->max_recv_sge, PBR_MAX_SGE);
}

/* Allocate the rings of a queue pair, and the buffers for entries copied from them. */
static int pbr_qp_alloc(struct pbr_qp *qp, struct ib_ucontext *ctx, u64 *offset,
			struct peerbar_create_qp_resp *resp)
{
	u32 sq_nr = roundup_pow_of_two(max(qp->cap.max_send_wr, 1U));
	u32 rq_nr = qp->srq || !qp->cap.max_recv_wr ? 0 : roundup_pow_of_two(qp->cap.max_recv_wr);
	u32 sq_stride = pbr_sq_stride(qp);
	u32 rq_stride = pbr_rq_stride(pbr_max_recv_sge(qp));
	size_t sq_at = sizeof(struct peerbar_qp_ring);
	size_t rq_at = sq_at + (size_t)sq_nr * sq_stride;
	struct peerbar_qp_ring *ring;
	gfp_t gfp = pbr_gfp(qp->user);

	qp->handle = kzalloc_obj(*qp->handle, gfp);
	qp->entry = kzalloc(sq_stride, gfp);
	qp->rqe = kzalloc(rq_stride, gfp);
	qp->src = kzalloc_obj(*qp->src, gfp);
	qp->dst = kzalloc_obj(*qp->dst, gfp);
	if (!qp->handle || !qp->entry || !qp->rqe || !qp->src || !qp->dst)
		return -ENOMEM;
	qp->sqe = qp->entry + pbr_sqe_offset(qp);
	qp->handle->qp = qp;
	atomic_set(&qp->handle->users, INT_MIN);
	qp->buf = pbr_buf_alloc(ctx, rq_at + (size_t)rq_nr * rq_stride, offset);
	if (IS_ERR(qp->buf)) {
		int ret = PTR_ERR(qp->buf);

		qp->buf = NULL;
		return ret;
	}
	ring = qp->buf->va;
	qp->flags = &ring->flags;
	pbr_queue_init(&qp->sq, &ring->sq, qp->buf->va + sq_at, sq_nr, sq_stride);
	pbr_rq_init(&qp->rq, qp->cap.max_recv_sge, &ring->flags, qp->user);
	pbr_queue_init(&qp->rq.queue, &ring->rq, qp->buf->va + rq_at, rq_nr, rq_stride);
	qp->cap.max_send_wr = sq_nr;
	qp->cap.max_recv_wr = rq_nr;
	qp->cap.max_inline_data = qp->user ?
		min_t(u32, sq_stride - sizeof(struct peerbar_sqe), PBR_MAX_INLINE) :
		0;
	*resp = (struct peerbar_create_qp_resp){
		.size = qp->buf->size,
		.sq_entries_offset = sq_at,
		.sq_entries = sq_nr,
		.sq_stride = sq_stride,
		.rq_entries_offset = rq_at,
		.rq_entries = rq_nr,
		.rq_stride = rq_stride,
		.max_inline = qp->cap.max_inline_data,
	};
	return 0;
}

static void pbr_qp_free(struct pbr_qp *qp)
{
	if (qp->worker)
		pbr_worker_put(qp->worker);
	pbr_wire_free(qp);
	if (qp->buf)
		pbr_buf_free(qp->buf);
	kfree(qp->dst);
	kfree(qp->src);
	kfree(qp->rqe);
	kfree(qp->entry);
	kfree_rcu(qp->handle, rcu);
}

static int pbr_check_type(struct ib_device *ib, const struct ib_qp_init_attr *init, bool user)
{
	switch (init->qp_type) {
	case IB_QPT_RC:
	case IB_QPT_UC:
	case IB_QPT_UD:
		return 0;
	case IB_QPT_GSI:
		if (!user)
			return 0;
		return pbr_fail(ib, -EINVAL, "create_qp: type GSI is for the kernel only");
	case IB_QPT_XRC_INI:
		if (user)
			return 0;
		/* A kernel user's request cannot name the shared receive queue. */
		return pbr_fail(ib, -EOPNOTSUPP,
				"create_qp: an XRC initiator is for user space only");
	case IB_QPT_XRC_TGT:
		if (init->xrcd)
			return 0;
		return pbr_fail(ib, -EINVAL, "create_qp: an XRC target needs a domain");
	default:
		return pbr_fail(ib, -EOPNOTSUPP,
				"create_qp: type %d; RC (%d), UC (%d), UD (%d) and XRC (%d, %d) are supported",
				init->qp_type, IB_QPT_RC, IB_QPT_UC, IB_QPT_UD, IB_QPT_XRC_INI,
				IB_QPT_XRC_TGT);
	}
}

/* A target belongs to its domain, and not to the context that creates it. */
static int pbr_qp_add(struct pbr_qp *qp, struct ib_ucontext *ctx)
{
	return qp->xrcd ? pbr_xrcd_add_target(qp->xrcd) : pbr_object_add(ctx, PBR_QP);
}

static void pbr_qp_remove(struct pbr_qp *qp, struct ib_ucontext *ctx)
{
	if (qp->xrcd)
		pbr_xrcd_remove_target(qp->xrcd);
	else
		pbr_object_remove(ctx, PBR_QP);
}

/*
 * The core passes no @udata for an XRC target: processes share it. Its creator is charged. It has a
 * send queue of one entry, which stays empty.
 */
static int pbr_create_qp(struct ib_qp *ib, struct ib_qp_init_attr *init, struct ib_udata *udata)
{
	struct pbr_device *dev = to_pbr(ib->device);
	struct peerbar_create_qp_resp resp;
	struct ib_ucontext *ctx = NULL;
	struct pbr_qp *qp = to_pbr_qp(ib);
	u64 offset = 0;
	int ret;

	if (init->create_flags)
		return pbr_fail(ib->device, -EOPNOTSUPP,
				"create_qp: create_flags are %#x; none is supported",
				init->create_flags);
	ret = pbr_check_type(ib->device, init, udata);
	if (ret)
		return ret;
	if (pbr_is_xrc_target(qp)) {
		init->cap = (struct ib_qp_cap){};
		qp->xrcd = container_of(init->xrcd, struct pbr_xrcd, ib);
	} else if (pbr_is_xrc_initiator(qp)) {
		init->cap.max_recv_wr = 0;
		init->cap.max_recv_sge = 0;
	}
	ret = pbr_check_cap(ib->device, init);
	if (ret)
		return ret;
	if (udata)
		ctx = &rdma_udata_to_drv_context(udata, struct pbr_ucontext, ib)->ib;
	qp->dev = dev;
	qp->user = udata || qp->xrcd;
	qp->cap = init->cap;
	/* A target's is set by each request. */
	qp->srq = init->srq && !qp->xrcd ? to_pbr_srq(init->srq) : NULL;
	qp->sig_all = init->sq_sig_type == IB_SIGNAL_ALL_WR;
	qp->state = IB_QPS_RESET;
	qp->epoch = atomic_inc_return(&pbr_last_epoch);
	mutex_init(&qp->modify_lock);
	mutex_init(&qp->sq_lock);
	mutex_init(&qp->rq_lock);
	spin_lock_init(&qp->post_lock);
	pbr_qp_init_work(qp);
	ret = pbr_qp_add(qp, ctx);
	if (ret)
		return ret;
	if (ctx) {
		qp->worker = pbr_worker_get(to_pbr_ucontext(ctx));
		if (IS_ERR(qp->worker)) {
			ret = PTR_ERR(qp->worker);
			qp->worker = NULL;
			goto err_free;
		}
	}
	ret = pbr_qp_alloc(qp, ctx, &offset, &resp);
	if (ret)
		goto err_free;
	init->cap = qp->cap;
	resp.offset = offset;
	ret = udata ? ib_respond_udata(udata, resp) : 0;
	if (ret)
		goto err_free;
	/* Must be last: lookups find the queue pair from here on. */
	ret = pbr_qp_publish(qp, pbr_gfp(qp->user));
	if (ret)
		goto err_free;
	return 0;

err_free:
	pbr_qp_free(qp);
	pbr_qp_remove(qp, ctx);
	return ret;
}

static int pbr_destroy_qp(struct ib_qp *ib, struct ib_udata *udata)
{
	struct pbr_qp *qp = to_pbr_qp(ib);
	enum ib_qp_state from;

	pbr_qp_unpublish(qp);
	/* A task that copies for it checks the state, and stops. */
	from = xchg(&qp->state, IB_QPS_ERR);
	trace_rdma_qp_state(&qp->ib, from, IB_QPS_ERR, true);
	pbr_qp_block(qp);
	pbr_qp_stop_work(qp);
	if (pbr_is_xrc_target(qp)) {
		/* The receive is of a queue that remains. */
		guard(mutex)(&qp->rq_lock);
		pbr_flush_held(qp);
	}
	/* Completions contain the queue pair's address. */
	if (ib->recv_cq)
		pbr_cq_forget(ib->recv_cq, ib);
	if (ib->send_cq)
		pbr_cq_forget(ib->send_cq, ib);
	pbr_qp_remove(qp, pbr_buf_context(qp->buf));
	pbr_qp_free(qp);
	return 0;
}

/* ---- states ---- */

static void pbr_qp_set_attr(struct pbr_qp *qp, const struct ib_qp_attr *attr, int mask)
{
	struct ib_qp_attr *a = &qp->attr;

	if (mask & IB_QP_ACCESS_FLAGS)
		a->qp_access_flags = attr->qp_access_flags;
	if (mask & IB_QP_PKEY_INDEX)
		a->pkey_index = attr->pkey_index;
	if (mask & IB_QP_PORT)
		a->port_num = attr->port_num;
	if (mask & IB_QP_QKEY)
		a->qkey = attr->qkey;
	if (mask & IB_QP_AV) {
		a->ah_attr = attr->ah_attr;
		a->ah_attr.grh.sgid_attr = NULL;
	}
	if (mask & IB_QP_PATH_MTU)
		a->path_mtu = attr->path_mtu;
	if (mask & IB_QP_TIMEOUT)
		a->timeout = attr->timeout;
	if (mask & IB_QP_RETRY_CNT)
		a->retry_cnt = attr->retry_cnt;
	if (mask & IB_QP_RNR_RETRY)
		a->rnr_retry = attr->rnr_retry;
	if (mask & IB_QP_RQ_PSN)
		a->rq_psn = attr->rq_psn;
	if (mask & IB_QP_SQ_PSN)
		a->sq_psn = attr->sq_psn;
	if (mask & IB_QP_MAX_QP_RD_ATOMIC)
		a->max_rd_atomic = attr->max_rd_atomic;
	if (mask & IB_QP_MAX_DEST_RD_ATOMIC)
		a->max_dest_rd_atomic = attr->max_dest_rd_atomic;
	if (mask & IB_QP_MIN_RNR_TIMER)
		a->min_rnr_timer = attr->min_rnr_timer;
	if (mask & IB_QP_DEST_QPN)
		a->dest_qp_num = attr->dest_qp_num;
	if (mask & IB_QP_PATH_MIG_STATE)
		a->path_mig_state = attr->path_mig_state;
}

/* Empty the queues, and forget the request that was begun. */
static void pbr_qp_reset(struct pbr_qp *qp)
{
	mutex_lock(&qp->sq_lock);
	mutex_lock(&qp->rq_lock);
	qp->sq.next = READ_ONCE(qp->sq.ring->producer);
	WRITE_ONCE(qp->sq.ring->consumer, qp->sq.next);
	if (qp->rq.queue.nr) {
		qp->rq.queue.next = READ_ONCE(qp->rq.queue.ring->producer);
		WRITE_ONCE(qp->rq.queue.ring->consumer, qp->rq.queue.next);
	}
	if (qp->wire)
		pbr_wire_reset(qp);
	qp->begun = false;
	qp->drain_event = false;
	qp->progress = 0;
	qp->waiting = false;
	qp->retrying = false;
	qp->epoch = atomic_inc_return(&pbr_last_epoch);
	qp->established = false;
	qp->last_told = false;
	/* A receive taken from a shared queue cannot be returned, and must not get lost. */
	pbr_flush_held(qp);
	WRITE_ONCE(*qp->flags, 0);
	mutex_unlock(&qp->rq_lock);
	mutex_unlock(&qp->sq_lock);
}

/* Caller holds @modify_lock. */
static int pbr_qp_move(struct pbr_qp *qp, enum ib_qp_state from, enum ib_qp_state to,
		       const struct ib_qp_attr *attr, int mask)
{
	if (to == IB_QPS_ERR) {
		xchg(&qp->state, IB_QPS_ERR);
		trace_rdma_qp_state(&qp->ib, from, to, true);
		/* On return, nothing writes to its memory. Flush what was posted before. */
		pbr_qp_block(qp);
		pbr_flush(qp);
		return 0;
	}
	if (from == IB_QPS_SQE && to == IB_QPS_RTS)
		pbr_flush_sends(qp);
	/* A concurrent error is final, except for a reset. */
	if (to != IB_QPS_RESET && cmpxchg(&qp->state, from, to) != from)
		return pbr_fail(&qp->dev->ib, -EINVAL,
				"modify_qp: qp %u: an error moved it from state %d to %d",
				qp->ib.qp_num, from, READ_ONCE(qp->state));
	trace_rdma_qp_state(&qp->ib, from, to, true);
	if (to == IB_QPS_RESET) {
		xchg(&qp->state, to);
		pbr_qp_block(qp);
		pbr_qp_reset(qp);
	} else if (to == IB_QPS_RTR) {
		pbr_qp_unblock(qp);
	} else if (to == IB_QPS_SQD && from != IB_QPS_SQD) {
		/* The lock waits for a request under way, unless that request waits itself. */
		mutex_lock(&qp->sq_lock);
		qp->drain_event = mask & IB_QP_EN_SQD_ASYNC_NOTIFY && attr->en_sqd_async_notify;
		pbr_check_drained(qp);
		mutex_unlock(&qp->sq_lock);
		/* The worker may have found the lock taken, and does not come back by itself. */
		if (READ_ONCE(qp->begun))
			pbr_qp_kick(qp);
	} else if (to == IB_QPS_RTS && pbr_queue_pending(&qp->sq)) {
		/* Later requests are executed by their poster, which sees the new state. */
		pbr_qp_kick(qp);
	}
	return 0;
}

static int pbr_check_attr_max(struct pbr_qp *qp, bool set, const char *what, u32 value, u32 max)
{
	if (!set || value <= max)
		return 0;
	return pbr_fail(&qp->dev->ib, -EINVAL, "modify_qp: qp %u: %s is %u; at most %u is possible",
			qp->ib.qp_num, what, value, max);
}

static int pbr_check_attr(struct pbr_qp *qp, const struct ib_qp_attr *attr, int mask)
{
	int ret;

	if (mask & IB_QP_PORT && attr->port_num != 1)
		return pbr_fail(&qp->dev->ib, -EINVAL,
				"modify_qp: qp %u: port %u; the device has port 1 only",
				qp->ib.qp_num, attr->port_num);
	if (mask & IB_QP_PATH_MTU && (attr->path_mtu < IB_MTU_256 || attr->path_mtu > IB_MTU_4096))
		return pbr_fail(&qp->dev->ib, -EINVAL,
				"modify_qp: qp %u: path_mtu is %d; %d (256) to %d (4096) are valid",
				qp->ib.qp_num, attr->path_mtu, IB_MTU_256, IB_MTU_4096);
	ret = pbr_check_attr_max(qp, mask & IB_QP_PKEY_INDEX, "pkey_index", attr->pkey_index, 0);
	if (ret)
		return ret;
	ret = pbr_check_attr_max(qp, mask & IB_QP_MAX_QP_RD_ATOMIC, "max_rd_atomic",
				 attr->max_rd_atomic, PBR_MAX_RD_ATOM);
	if (ret)
		return ret;
	ret = pbr_check_attr_max(qp, mask & IB_QP_MAX_DEST_RD_ATOMIC, "max_dest_rd_atomic",
				 attr->max_dest_rd_atomic, PBR_MAX_RD_ATOM);
	if (ret)
		return ret;
	ret = pbr_check_attr_max(qp, mask & IB_QP_TIMEOUT, "timeout", attr->timeout, 31);
	if (ret)
		return ret;
	ret = pbr_check_attr_max(qp, mask & IB_QP_MIN_RNR_TIMER, "min_rnr_timer",
				 attr->min_rnr_timer, 31);
	if (ret)
		return ret;
	ret = pbr_check_attr_max(qp, mask & IB_QP_RETRY_CNT, "retry_cnt", attr->retry_cnt, 7);
	if (ret)
		return ret;
	return pbr_check_attr_max(qp, mask & IB_QP_RNR_RETRY, "rnr_retry", attr->rnr_retry, 7);
}

static int pbr_modify_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask,
			 struct ib_udata *udata)
{
	struct pbr_qp *qp = to_pbr_qp(ib);
	enum ib_qp_state from, to;
	u32 target = 0;
	int ret = 0;

	if (mask & ~IB_QP_ATTR_STANDARD_BITS)
		return pbr_fail(ib->device, -EOPNOTSUPP,
				"modify_qp: qp %u: attributes %#x are not supported", ib->qp_num,
				mask & ~IB_QP_ATTR_STANDARD_BITS);
	/* No path migration. */
	if (mask & IB_QP_ALT_PATH ||
	    (mask & IB_QP_PATH_MIG_STATE && attr->path_mig_state != IB_MIG_MIGRATED))
		return pbr_fail(ib->device, -EOPNOTSUPP,
				"modify_qp: qp %u: path migration is not supported", ib->qp_num);
	guard(mutex)(&qp->modify_lock);
	from = READ_ONCE(qp->state);
	if (mask & IB_QP_CUR_STATE && attr->cur_qp_state != from)
		return pbr_fail(ib->device, -EINVAL,
				"modify_qp: qp %u: cur_qp_state is %d; the queue pair is in state %d",
				ib->qp_num, attr->cur_qp_state, from);
	to = mask & IB_QP_STATE ? attr->qp_state : from;
	if (!ib_modify_qp_is_ok(from, to, ib->qp_type, mask))
		return pbr_fail(ib->device, -EINVAL,
				"modify_qp: qp %u: from state %d to %d with attributes %#x: not a transition, or one with other attributes",
				ib->qp_num, from, to, mask);
	ret = pbr_check_attr(qp, attr, mask);
	if (ret)
		return ret;
	if (mask & IB_QP_AV) {
		const union ib_gid *dgid = &rdma_ah_read_grh(&attr->ah_attr)->dgid;

		target = pbr_find_device(qp->dev, dgid, attr->ah_attr.roce.dmac);
		if (from != IB_QPS_INIT && qp->on_wire != !target)
			return pbr_fail(ib->device, -EINVAL,
					"modify_qp: qp %u: %pI6c is on %s host; its peer so far is not",
					ib->qp_num, dgid->raw, target ? "this" : "another");
		ret = target ? 0 : pbr_wire_connect(qp, attr, mask);
	}
	if (!ret && to == IB_QPS_RTR && pbr_is_datagram(qp) && pbr_wire_is_up(qp->dev))
		ret = pbr_wire_alloc(qp);
	if (ret)
		return ret;
	if (mask & IB_QP_AV)
		qp->target = target;
	pbr_qp_set_attr(qp, attr, mask);
	/* Before the state, which permits packets. */
	if (qp->on_wire &&
	    ((from == IB_QPS_INIT && to == IB_QPS_RTR) || (from == IB_QPS_RTR && to == IB_QPS_RTS)))
		pbr_wire_start(qp, to);
	if (mask & IB_QP_STATE)
		ret = pbr_qp_move(qp, from, to, attr, mask);
	return ret;
}

static int pbr_query_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask,
			struct ib_qp_init_attr *init)
{
	struct pbr_qp *qp = to_pbr_qp(ib);

	guard(mutex)(&qp->modify_lock);
	*attr = qp->attr;
	attr->qp_state = READ_ONCE(qp->state);
	attr->cur_qp_state = attr->qp_state;
	attr->cap = qp->cap;
	attr->sq_draining = attr->qp_state == IB_QPS_SQD && READ_ONCE(qp->begun);
	init->event_handler = ib->event_handler;
	init->qp_context = ib->qp_context;
	init->send_cq = ib->send_cq;
	init->recv_cq = ib->recv_cq;
	init->srq = ib->srq;
	init->cap = qp->cap;
	init->sq_sig_type = qp->sig_all ? IB_SIGNAL_ALL_WR : IB_SIGNAL_REQ_WR;
	init->qp_type = ib->qp_type;
	return 0;
}

const struct ib_device_ops pbr_qp_ops = {
	.create_qp = pbr_create_qp,
	.destroy_qp = pbr_destroy_qp,
	.modify_qp = pbr_modify_qp,
	.query_qp = pbr_query_qp,

	INIT_RDMA_OBJ_SIZE(ib_qp, pbr_qp, ib),
};
