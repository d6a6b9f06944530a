// SPDX-License-Identifier: GPL-2.0
/* Completion queues. */
#include <linux/ktime.h>

#include "cq.h"

static atomic_t pbr_last_cqn;

static void pbr_cq_event(struct pbr_cq *cq, enum ib_event_type type)
{
	struct ib_event event = { .device = cq->ib.device, .element.cq = &cq->ib, .event = type };

	if (cq->ib.event_handler)
		cq->ib.event_handler(&event, cq->ib.cq_context);
}

u32 pbr_cq_fill(struct pbr_cq *cq)
{
	/* Pairs with the poller's release: it has read the entries that will be overwritten. */
	u32 consumer = cq->buf->user ? smp_load_acquire(&cq->ring->consumer) : cq->consumer;

	return min(cq->producer - consumer, cq->nr);
}

bool pbr_complete(struct ib_cq *ib, struct ib_qp *qp, const struct peerbar_cqe *cqe, bool solicited)
{
	struct pbr_cq *cq = to_pbr_cq(ib);
	struct peerbar_cqe *entry;
	bool first = false, dropped = false, tell = false;
	unsigned long flags;

	spin_lock_irqsave(&cq->lock, flags);
	if (cq->overflow || pbr_cq_fill(cq) == cq->nr) {
		dropped = true;
		first = !cq->overflow;
		cq->overflow = true;
	} else {
		entry = &cq->entries[cq->producer & (cq->nr - 1)];
		*entry = *cqe;
		/* For kernel users, the timestamp field holds the queue pair. */
		entry->timestamp = cq->buf->user ? ktime_get_raw_ns() : (uintptr_t)qp;
		/* Store the entry before the index. */
		smp_store_release(&cq->ring->producer, ++cq->producer);
		tell = cq->armed & IB_CQ_NEXT_COMP ||
			(cq->armed & IB_CQ_SOLICITED &&
			 (solicited || cqe->status != IB_WC_SUCCESS));
		if (tell)
			cq->armed = 0;
	}
	spin_unlock_irqrestore(&cq->lock, flags);
	if (dropped)
		pbr_count(to_pbr(ib->device), PBR_CQ_OVERFLOWS);
	if (first) {
		ibdev_dbg(ib->device, "qp %u: its completion queue of %u entries overflows\n",
			  cqe->qp_num, cq->nr);
		pbr_cq_event(cq, IB_EVENT_CQ_ERR);
	}
	if (tell && cq->ib.comp_handler)
		cq->ib.comp_handler(&cq->ib, cq->ib.cq_context);
	return !dropped;
}

static struct pbr_buf *pbr_cq_alloc(struct ib_ucontext *ctx, u32 wanted, u32 *nr, u64 *offset)
{
	return pbr_ring_alloc(ctx, sizeof(struct peerbar_cq_ring), wanted,
			      sizeof(struct peerbar_cqe), nr, offset);
}

static void pbr_cq_set(struct pbr_cq *cq, struct pbr_buf *buf, u32 nr)
{
	cq->buf = buf;
	cq->ring = &((struct peerbar_cq_ring *)buf->va)->cq;
	cq->entries = buf->va + sizeof(struct peerbar_cq_ring);
	cq->nr = nr;
	cq->ib.cqe = nr;
}

static int pbr_create_cq(struct ib_cq *ib, const struct ib_cq_init_attr *attr,
			 struct uverbs_attr_bundle *attrs)
{
	struct ib_udata *udata = attrs ? &attrs->driver_udata : NULL;
	struct peerbar_create_cq_resp resp = {};
	struct ib_ucontext *ctx = NULL;
	struct pbr_cq *cq = to_pbr_cq(ib);
	struct pbr_buf *buf;
	u64 offset = 0;
	u32 nr;
	int ret;

	if (attr->flags & ~IB_UVERBS_CQ_FLAGS_TIMESTAMP_COMPLETION)
		return pbr_fail(ib->device, -EOPNOTSUPP,
				"create_cq: flags are %#x; only timestamps, %#x, are supported",
				attr->flags, IB_UVERBS_CQ_FLAGS_TIMESTAMP_COMPLETION);
	if (!attr->cqe || attr->cqe > PBR_MAX_CQE)
		return pbr_fail(ib->device, -EINVAL, "create_cq: %u entries; 1 to %d are possible",
				attr->cqe, PBR_MAX_CQE);
	if (udata)
		ctx = &rdma_udata_to_drv_context(udata, struct pbr_ucontext, ib)->ib;
	mutex_init(&cq->resize_mutex);
	spin_lock_init(&cq->lock);
	ret = pbr_object_add(ctx, PBR_CQ);
	if (ret)
		return ret;
	buf = pbr_cq_alloc(ctx, attr->cqe, &nr, &offset);
	if (IS_ERR(buf)) {
		pbr_object_remove(ctx, PBR_CQ);
		return PTR_ERR(buf);
	}
	pbr_cq_set(cq, buf, nr);
	if (!udata)
		return 0;
	resp.offset = offset;
	resp.size = buf->size;
	resp.entries = nr;
	resp.cqn = atomic_inc_return(&pbr_last_cqn);
	ret = ib_respond_udata(udata, resp);
	if (ret) {
		pbr_buf_free(buf);
		pbr_object_remove(ctx, PBR_CQ);
	}
	return ret;
}

static int pbr_destroy_cq(struct ib_cq *ib, struct ib_udata *udata)
{
	struct pbr_buf *buf = to_pbr_cq(ib)->buf;

	pbr_object_remove(pbr_buf_context(buf), PBR_CQ);
	pbr_buf_free(buf);
	return 0;
}

/* Entries per batch; bounds the copy under the lock, with interrupts off */
#define PBR_RESIZE_BATCH 256

/*
 * Copy up to @nr entries of @cq, from index @first on, to the beginning of @entries, and return
 * their number with the lock held. Copy only the last batch under the lock. The provider takes no
 * entries meanwhile; a user that moves the consumer index gets wrong entries.
 */
static u32 pbr_cq_copy(struct pbr_cq *cq, struct peerbar_cqe *entries, u32 first, u32 nr)
	__acquires(&cq->lock)
{
	u32 done = 0, end, n;

	spin_lock_irq(&cq->lock);
	while ((n = min(cq->producer - first, nr)) - done > PBR_RESIZE_BATCH) {
		spin_unlock_irq(&cq->lock);
		for (end = done + PBR_RESIZE_BATCH; done < end; done++)
			entries[done] = cq->entries[(first + done) & (cq->nr - 1)];
		cond_resched();
		spin_lock_irq(&cq->lock);
	}
	for (; done < n; done++)
		entries[done] = cq->entries[(first + done) & (cq->nr - 1)];
	return n;
}

static int pbr_resize_cq(struct ib_cq *ib, unsigned int cqe, struct ib_udata *udata)
{
	struct pbr_ucontext *ctx = rdma_udata_to_drv_context(udata, struct pbr_ucontext, ib);
	struct peerbar_resize_cq_resp resp = {};
	struct pbr_cq *cq = to_pbr_cq(ib);
	struct peerbar_cqe *entries;
	struct pbr_buf *buf, *old;
	u32 nr, n, first;
	bool lost;
	u64 offset;
	int ret;

	if (!cqe || cqe > PBR_MAX_CQE)
		return pbr_fail(ib->device, -EINVAL, "resize_cq: %u entries; 1 to %d are possible",
				cqe, PBR_MAX_CQE);
	guard(mutex)(&cq->resize_mutex);
	buf = pbr_cq_alloc(&ctx->ib, cqe, &nr, &offset);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	resp.offset = offset;
	resp.size = buf->size;
	resp.entries = nr;
	/* Check before responding: the user must not get the offset of a ring that is not used. */
	spin_lock_irq(&cq->lock);
	n = pbr_cq_fill(cq);
	first = cq->producer - n;
	ret = n > nr ? -EINVAL : 0;
	spin_unlock_irq(&cq->lock);
	if (ret)
		ibdev_dbg(ib->device, "resize_cq: %u entries; %u completions are not polled yet\n",
			  nr, n);
	else
		ret = ib_respond_udata(udata, resp);
	if (ret)
		goto err_free;
	entries = buf->va + sizeof(struct peerbar_cq_ring);
	n = pbr_cq_copy(cq, entries, first, nr);
	/* More entries than the new ring has room for may have been added meanwhile. */
	lost = cq->producer - first > nr && !cq->overflow;
	if (lost)
		cq->overflow = true;
	old = cq->buf;
	pbr_cq_set(cq, buf, nr);
	cq->producer = n;
	cq->ring->producer = n;
	spin_unlock_irq(&cq->lock);
	pbr_buf_free(old);
	if (lost)
		pbr_cq_event(cq, IB_EVENT_CQ_ERR);
	return 0;

err_free:
	pbr_buf_free(buf);
	return ret;
}

static int pbr_req_notify_cq(struct ib_cq *ib, enum ib_cq_notify_flags flags)
{
	struct pbr_cq *cq = to_pbr_cq(ib);
	unsigned long irq;
	int missed = 0;

	spin_lock_irqsave(&cq->lock, irq);
	/* Don't downgrade NEXT_COMP to SOLICITED. */
	if (!(cq->armed & IB_CQ_NEXT_COMP))
		cq->armed = flags & IB_CQ_SOLICITED_MASK;
	if (flags & IB_CQ_REPORT_MISSED_EVENTS && pbr_cq_fill(cq))
		missed = 1;
	spin_unlock_irqrestore(&cq->lock, irq);
	return missed;
}

static void pbr_cqe_to_wc(const struct peerbar_cqe *cqe, struct ib_wc *wc)
{
	*wc = (struct ib_wc){
		.wr_id = cqe->wr_id,
		.status = cqe->status,
		.opcode = cqe->opcode,
		.vendor_err = cqe->vendor_err,
		.byte_len = cqe->byte_len,
		.qp = (struct ib_qp *)(uintptr_t)cqe->timestamp,
		.src_qp = cqe->src_qp,
		.wc_flags = cqe->wc_flags,
		.pkey_index = cqe->pkey_index,
		.sl = cqe->sl,
		.port_num = 1,
		.network_hdr_type = cqe->network_hdr_type,
	};
	if (cqe->wc_flags & IB_WC_WITH_VLAN)
		wc->vlan_id = cqe->vlan_id;
	/* BIT(3) is IBV_WC_WITH_INV in user space, and another flag in the kernel. */
	if (cqe->wc_flags & BIT(3))
		wc->wc_flags ^= BIT(3) | IB_WC_WITH_INVALIDATE;
	if (cqe->wc_flags & IB_WC_WITH_IMM)
		wc->ex.imm_data = (__force __be32)cqe->imm_data;
	else
		wc->ex.invalidate_rkey = cqe->imm_data;
}

/* Poll for kernel users; user space reads its ring. */
static int pbr_poll_cq(struct ib_cq *ib, int nr, struct ib_wc *wc)
{
	struct pbr_cq *cq = to_pbr_cq(ib);
	struct peerbar_cqe *cqe;
	unsigned long flags;
	int n = 0;

	if (cq->buf->user)
		return 0;
	spin_lock_irqsave(&cq->lock, flags);
	while (n < nr && cq->consumer != cq->producer) {
		cqe = &cq->entries[cq->consumer++ & (cq->nr - 1)];
		pbr_cqe_to_wc(cqe, &wc[n++]);
	}
	spin_unlock_irqrestore(&cq->lock, flags);
	return n;
}

void pbr_cq_forget(struct ib_cq *ib, struct ib_qp *qp)
{
	struct pbr_cq *cq = to_pbr_cq(ib);
	struct peerbar_cqe *from, *to;
	unsigned long flags;
	u32 i, n;

	if (cq->buf->user)
		return;
	spin_lock_irqsave(&cq->lock, flags);
	/* Move the remaining entries towards the end. */
	for (i = n = cq->producer; i-- != cq->consumer;) {
		from = &cq->entries[i & (cq->nr - 1)];
		if (from->timestamp == (uintptr_t)qp || --n == i)
			continue;
		to = &cq->entries[n & (cq->nr - 1)];
		*to = *from;
	}
	cq->consumer = n;
	spin_unlock_irqrestore(&cq->lock, flags);
}

const struct ib_device_ops pbr_cq_ops = {
	.create_cq = pbr_create_cq,
	.destroy_cq = pbr_destroy_cq,
	.poll_cq = pbr_poll_cq,
	.req_notify_cq = pbr_req_notify_cq,
	.resize_user_cq = pbr_resize_cq,

	INIT_RDMA_OBJ_SIZE(ib_cq, pbr_cq, ib),
};
