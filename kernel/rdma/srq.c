// SPDX-License-Identifier: GPL-2.0
/* Shared receive queues. */
#include "qp.h"

static atomic_t pbr_last_srqn;

static struct pbr_buf *pbr_srq_alloc(struct ib_ucontext *ctx, u32 wanted, u32 stride, u32 *nr,
				     u64 *offset)
{
	return pbr_ring_alloc(ctx, sizeof(struct peerbar_srq_ring), wanted, stride, nr, offset);
}

static int pbr_create_srq(struct ib_srq *ib, struct ib_srq_init_attr *init, struct ib_udata *udata)
{
	struct peerbar_create_srq_resp resp = {};
	struct pbr_srq *srq = to_pbr_srq(ib);
	struct ib_ucontext *ctx = NULL;
	u64 offset = 0;
	u32 nr, stride;
	int ret;

	if (init->srq_type != IB_SRQT_BASIC && (init->srq_type != IB_SRQT_XRC || !udata))
		return pbr_fail(ib->device, -EOPNOTSUPP,
				"create_srq: type %d; basic queues (%d) are supported, and for user space XRC (%d)",
				init->srq_type, IB_SRQT_BASIC, IB_SRQT_XRC);
	if (!init->attr.max_wr || init->attr.max_wr > PBR_MAX_WR)
		return pbr_fail(ib->device, -EINVAL,
				"create_srq: max_wr is %u; 1 to %d are possible", init->attr.max_wr,
				PBR_MAX_WR);
	if (init->attr.max_sge > PBR_MAX_SGE)
		return pbr_fail(ib->device, -EINVAL,
				"create_srq: max_sge is %u; at most %d are possible",
				init->attr.max_sge, PBR_MAX_SGE);
	if (init->attr.srq_limit > init->attr.max_wr)
		return pbr_fail(ib->device, -EINVAL,
				"create_srq: srq_limit is %u; at most max_wr, %u, is possible",
				init->attr.srq_limit, init->attr.max_wr);
	if (udata)
		ctx = &rdma_udata_to_drv_context(udata, struct pbr_ucontext, ib)->ib;
	mutex_init(&srq->resize_mutex);
	stride = pbr_rq_stride(init->attr.max_sge);
	ret = pbr_object_add(ctx, PBR_SRQ);
	if (ret)
		return ret;
	srq->buf = pbr_srq_alloc(ctx, init->attr.max_wr, stride, &nr, &offset);
	if (IS_ERR(srq->buf)) {
		pbr_object_remove(ctx, PBR_SRQ);
		return PTR_ERR(srq->buf);
	}
	pbr_rq_init(&srq->rq, init->attr.max_sge, &((struct peerbar_srq_ring *)srq->buf->va)->flags,
		    udata);
	pbr_queue_init(&srq->rq.queue, srq->buf->va, srq->buf->va + sizeof(struct peerbar_srq_ring),
		       nr, stride);
	srq->limit = init->attr.srq_limit;
	init->attr.max_wr = nr;
	if (!udata)
		return 0;
	resp.offset = offset;
	resp.size = srq->buf->size;
	resp.entries = nr;
	resp.stride = stride;
	if (init->srq_type == IB_SRQT_XRC) {
		/* Must be last: lookups find the queue from here on. */
		ret = pbr_srq_publish(srq, pbr_gfp(true));
		if (ret)
			goto err_free;
		resp.srqn = ib->ext.xrc.srq_num;
	} else {
		resp.srqn = atomic_inc_return(&pbr_last_srqn);
	}
	ret = ib_respond_udata(udata, resp);
	if (!ret)
		return 0;
	if (init->srq_type == IB_SRQT_XRC)
		pbr_srq_unpublish(srq);
err_free:
	pbr_buf_free(srq->buf);
	pbr_object_remove(ctx, PBR_SRQ);
	return ret;
}

/*
 * Replace the ring by @buf, of @nr entries, with the @pending entries from index @first on. An
 * entry keeps its index. Receives may be taken meanwhile. The provider posts none; a user that
 * moves the producer index loses receives.
 */
static void pbr_srq_replace(struct pbr_srq *srq, struct pbr_buf *buf, u32 nr, u32 first,
			    u32 pending)
{
	struct peerbar_srq_ring *ring = buf->va;
	struct pbr_queue *old = &srq->rq.queue, new;
	u32 i;

	pbr_queue_init(&new, &ring->rq, buf->va + sizeof(*ring), nr, old->stride);
	/* Taking an entry does not write to it, so copy without the lock. */
	for (i = first; i - first < pending; i++) {
		memcpy(new.entries + (i & (nr - 1)) * new.stride,
		       old->entries + (i & (old->nr - 1)) * new.stride, new.stride);
		cond_resched();
	}
	scoped_guard(spinlock, &srq->rq.lock) {
		new.next = old->next;
		ring->rq.producer = first + pending;
		ring->rq.consumer = new.next;
		*old = new;
		srq->rq.flags = &ring->flags;
	}
	pbr_buf_free(srq->buf);
	srq->buf = buf;
}

/* The caller must hold the resize_mutex. */
static int pbr_resize_srq(struct pbr_srq *srq, u32 wanted, u32 limit, struct ib_udata *udata)
{
	struct peerbar_resize_srq_resp resp = {};
	struct pbr_queue *queue = &srq->rq.queue;
	struct ib_device *ib = srq->ib.device;
	struct peerbar_modify_srq_req req;
	u32 nr, first, pending;
	struct pbr_buf *buf;
	u64 offset;
	int ret;

	if (!udata)
		return pbr_fail(ib, -EOPNOTSUPP,
				"modify_srq: the queue of a kernel user cannot be resized");
	ret = ib_copy_validate_udata_in(udata, req, resp);
	if (ret)
		return ret;
	if (!wanted || wanted > PBR_MAX_WR)
		return pbr_fail(ib, -EINVAL, "modify_srq: max_wr is %u; 1 to %d are possible",
				wanted, PBR_MAX_WR);
	buf = pbr_srq_alloc(pbr_buf_context(srq->buf), wanted, queue->stride, &nr, &offset);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	scoped_guard(spinlock, &srq->rq.lock) {
		first = queue->next;
		pending = pbr_queue_ahead(queue);
	}
	resp.offset = offset;
	resp.size = buf->size;
	resp.entries = nr;
	/* Check before responding: the user must not get the offset of a ring that is not used. */
	if (pending > nr)
		ret = pbr_fail(ib, -EINVAL, "modify_srq: max_wr is %u; %u receives are posted",
			       wanted, pending);
	else if (limit > nr)
		ret = pbr_fail(ib, -EINVAL, "modify_srq: max_wr is %u; srq_limit is %u", wanted,
			       limit);
	else if (copy_to_user(u64_to_user_ptr(req.resp), &resp, sizeof(resp)))
		ret = -EFAULT;
	if (ret)
		pbr_buf_free(buf);
	else
		pbr_srq_replace(srq, buf, nr, first, pending);
	return ret;
}

static int pbr_modify_srq(struct ib_srq *ib, struct ib_srq_attr *attr, enum ib_srq_attr_mask mask,
			  struct ib_udata *udata)
{
	struct pbr_srq *srq = to_pbr_srq(ib);
	u32 limit;
	int ret;

	if (mask & ~(IB_SRQ_LIMIT | IB_SRQ_MAX_WR))
		return pbr_fail(ib->device, -EOPNOTSUPP,
				"modify_srq: mask is %#x; only max_wr and the limit, %#x, can be changed",
				mask, IB_SRQ_LIMIT | IB_SRQ_MAX_WR);
	guard(mutex)(&srq->resize_mutex);
	limit = mask & IB_SRQ_LIMIT ? attr->srq_limit : READ_ONCE(srq->limit);
	if (mask & IB_SRQ_MAX_WR) {
		ret = pbr_resize_srq(srq, attr->max_wr, limit, udata);
		if (ret)
			return ret;
	}
	if (!(mask & IB_SRQ_LIMIT))
		return 0;
	if (limit > srq->rq.queue.nr)
		return pbr_fail(ib->device, -EINVAL,
				"modify_srq: srq_limit is %u; the queue has %u entries", limit,
				srq->rq.queue.nr);
	WRITE_ONCE(srq->limit, limit);
	pbr_srq_check_limit(srq);
	return 0;
}

static int pbr_query_srq(struct ib_srq *ib, struct ib_srq_attr *attr)
{
	struct pbr_srq *srq = to_pbr_srq(ib);

	attr->max_wr = READ_ONCE(srq->rq.queue.nr);
	attr->max_sge = srq->rq.max_sge;
	attr->srq_limit = READ_ONCE(srq->limit);
	return 0;
}

static int pbr_destroy_srq(struct ib_srq *ib, struct ib_udata *udata)
{
	struct pbr_srq *srq = to_pbr_srq(ib);
	struct pbr_buf *buf = srq->buf;

	if (srq->handle)
		pbr_srq_unpublish(srq);
	pbr_object_remove(pbr_buf_context(buf), PBR_SRQ);
	pbr_buf_free(buf);
	return 0;
}

static int pbr_post_srq_recv(struct ib_srq *ib, const struct ib_recv_wr *wr,
			     const struct ib_recv_wr **bad)
{
	struct pbr_srq *srq = to_pbr_srq(ib);
	int ret;

	/* A user's call reports new receives; no task waits for them. */
	if (srq->rq.user)
		return 0;
	ret = pbr_rq_post(&srq->rq, wr, bad);
	if (ret)
		ibdev_dbg(ib->device,
			  "post_srq_recv: its %u receives are in use, or there are more than %u elements\n",
			  srq->rq.queue.nr, srq->rq.max_sge);
	return ret;
}

const struct ib_device_ops pbr_srq_ops = {
	.create_srq = pbr_create_srq,
	.destroy_srq = pbr_destroy_srq,
	.modify_srq = pbr_modify_srq,
	.post_srq_recv = pbr_post_srq_recv,
	.query_srq = pbr_query_srq,

	INIT_RDMA_OBJ_SIZE(ib_srq, pbr_srq, ib),
};
