// SPDX-License-Identifier: GPL-2.0
/* Contexts and protection domains. */
#include <linux/eventfd.h>
#include <linux/slab.h>

#include "ring.h"

/* ---- contexts ---- */

#define PB_REVOKED_ENTRIES 512

static int pb_alloc_ucontext(struct ib_ucontext *ib, struct ib_udata *udata)
{
	struct pb_ucontext *ctx = container_of(ib, struct pb_ucontext, ib);
	struct peerbar_alloc_ucontext_req req;
	struct peerbar_alloc_ucontext_resp resp = { .revoked_entries = PB_REVOKED_ENTRIES, .max_inline = PB_MAX_INLINE };
	u64 offset;
	int ret;

	ret = ib_copy_validate_udata_in(udata, req, reserved);
	if (ret)
		return ret;
	if (req.reserved)
		return -EOPNOTSUPP;
	spin_lock_init(&ctx->revoked_lock);
	if (req.event_fd >= 0) {
		ctx->event = eventfd_ctx_fdget(req.event_fd);
		if (IS_ERR(ctx->event))
			return PTR_ERR(ctx->event);
	}
	ctx->buf = pb_buf_alloc(ib, sizeof(struct peerbar_revoked_ring) + PB_REVOKED_ENTRIES * sizeof(u32), &offset);
	if (IS_ERR(ctx->buf)) {
		ret = PTR_ERR(ctx->buf);
		goto err_event;
	}
	resp.revoked_offset = offset;
	resp.revoked_size = ctx->buf->size;
	ret = ib_respond_udata(udata, resp);
	if (ret)
		goto err_buf;
	return 0;

err_buf:
	pb_buf_free(ctx->buf);
err_event:
	if (ctx->event)
		eventfd_ctx_put(ctx->event);
	return ret;
}

static void pb_dealloc_ucontext(struct ib_ucontext *ib)
{
	struct pb_ucontext *ctx = container_of(ib, struct pb_ucontext, ib);

	if (ctx->worker)
		pb_worker_put(ctx->worker);
	pb_buf_free(ctx->buf);
	if (ctx->event)
		eventfd_ctx_put(ctx->event);
}

static void pb_disassociate_ucontext(struct ib_ucontext *ib)
{
	/* Rings are memory, and stay until they are unmapped. */
}

/* Notify a context that its region was revoked; reservation lock of the dma-buf held. */
void pb_tell_revoked(struct ib_ucontext *ib, u32 lkey)
{
	struct pb_ucontext *ctx = container_of(ib, struct pb_ucontext, ib);
	struct peerbar_revoked_ring *ring = ctx->buf->va;

	spin_lock(&ctx->revoked_lock);
	if (ctx->revoked_producer - READ_ONCE(ring->ring.consumer) >= PB_REVOKED_ENTRIES) {
		WRITE_ONCE(ring->lost, READ_ONCE(ring->lost) + 1);
	} else {
		WRITE_ONCE(ring->lkeys[ctx->revoked_producer & (PB_REVOKED_ENTRIES - 1)], lkey);
		/* Store the key before the index. */
		smp_store_release(&ring->ring.producer, ++ctx->revoked_producer);
	}
	spin_unlock(&ctx->revoked_lock);
	if (ctx->event)
		eventfd_signal(ctx->event);
}

/* ---- protection domains ---- */

static int pb_alloc_pd(struct ib_pd *ib, struct ib_udata *udata)
{
	struct pb_pd *pd = container_of(ib, struct pb_pd, ib);
	struct peerbar_alloc_pd_resp resp = {};
	struct ib_ucontext *ctx;
	int ret;

	if (!udata)
		return 0;
	ctx = &rdma_udata_to_drv_context(udata, struct pb_ucontext, ib)->ib;
	ret = pb_object_add(ctx, PB_PD);
	if (ret)
		return ret;
	pd->charge = kmalloc(sizeof(*pd) + sizeof(struct ib_uobject), pb_gfp(true));
	ret = pd->charge ? ib_respond_udata(udata, resp) : -ENOMEM;
	if (ret) {
		kfree(pd->charge);
		pb_object_remove(ctx, PB_PD);
	}
	return ret;
}

static int pb_dealloc_pd(struct ib_pd *ib, struct ib_udata *udata)
{
	kfree(container_of(ib, struct pb_pd, ib)->charge);
	pb_object_remove(pb_context_of(ib->uobject), PB_PD);
	return 0;
}

const struct ib_device_ops pb_context_ops = {
	.alloc_pd = pb_alloc_pd,
	.alloc_ucontext = pb_alloc_ucontext,
	.dealloc_pd = pb_dealloc_pd,
	.dealloc_ucontext = pb_dealloc_ucontext,
	.disassociate_ucontext = pb_disassociate_ucontext,

	INIT_RDMA_OBJ_SIZE(ib_pd, pb_pd, ib),
	INIT_RDMA_OBJ_SIZE(ib_ucontext, pb_ucontext, ib),
};
