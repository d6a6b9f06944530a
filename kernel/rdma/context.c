// SPDX-License-Identifier: GPL-2.0
/* Contexts and protection domains. */
#include <linux/eventfd.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "ring.h"

/* ---- contexts ---- */

#define PBR_REVOKED_ENTRIES 512

static int pbr_init_ucontext(struct ib_ucontext *ib, struct ib_udata *udata)
{
	struct pbr_ucontext *ctx = container_of(ib, struct pbr_ucontext, ib);
	struct peerbar_alloc_ucontext_req req;
	struct peerbar_alloc_ucontext_resp resp = {
		.revoked_entries = PBR_REVOKED_ENTRIES,
		.max_inline = PBR_MAX_INLINE,
	};
	size_t size;
	u64 offset;
	int ret;

	ret = ib_copy_validate_udata_in(udata, req, reserved);
	if (ret)
		return ret;
	if (req.reserved)
		return pbr_fail(ib->device, -EOPNOTSUPP,
				"alloc_ucontext: reserved is %#x, and must be 0", req.reserved);
	spin_lock_init(&ctx->revoked_lock);
	mutex_init(&ctx->pins_lock);
	xa_init_flags(&ctx->pins, XA_FLAGS_ACCOUNT);
	if (req.event_fd >= 0) {
		ctx->event = eventfd_ctx_fdget(req.event_fd);
		if (IS_ERR(ctx->event))
			return pbr_fail(ib->device, PTR_ERR(ctx->event),
					"alloc_ucontext: descriptor %d is not an eventfd",
					req.event_fd);
	}
	size = sizeof(struct peerbar_revoked_ring) + PBR_REVOKED_ENTRIES * sizeof(u32);
	ctx->buf = pbr_buf_alloc(ib, size, &offset);
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
	pbr_buf_free(ctx->buf);
err_event:
	if (ctx->event)
		eventfd_ctx_put(ctx->event);
	return ret;
}

static int pbr_alloc_ucontext(struct ib_ucontext *ib, struct ib_udata *udata)
{
	int ret = pbr_init_ucontext(ib, udata);

	/*
	 * The core's handler of UVERBS_METHOD_GET_CONTEXT (up to 7.3) frees a context that failed,
	 * and keeps its reference to the task. Put it here, where nobody else knows the context;
	 * rdma_restrack_put(), which the handler of the write() command calls, skips it then.
	 */
	if (ret && ib->res.task) {
		put_task_struct(ib->res.task);
		ib->res.task = NULL;
	}
	return ret;
}

static void pbr_dealloc_ucontext(struct ib_ucontext *ib)
{
	struct pbr_ucontext *ctx = container_of(ib, struct pbr_ucontext, ib);

	if (ctx->worker)
		pbr_worker_put(ctx->worker);
	pbr_buf_free(ctx->buf);
	if (ctx->event)
		eventfd_ctx_put(ctx->event);
	xa_destroy(&ctx->pins);
	mutex_destroy(&ctx->pins_lock);
}

static void pbr_disassociate_ucontext(struct ib_ucontext *ib)
{
	/* Rings are memory, and stay until they are unmapped. */
}

/* Notify a context that its region was revoked; reservation lock of the dma-buf held. */
void pbr_tell_revoked(struct ib_ucontext *ib, u32 lkey)
{
	struct pbr_ucontext *ctx = container_of(ib, struct pbr_ucontext, ib);
	struct peerbar_revoked_ring *ring = ctx->buf->va;

	spin_lock(&ctx->revoked_lock);
	if (ctx->revoked_producer - READ_ONCE(ring->ring.consumer) >= PBR_REVOKED_ENTRIES) {
		WRITE_ONCE(ring->lost, READ_ONCE(ring->lost) + 1);
	} else {
		WRITE_ONCE(ring->lkeys[ctx->revoked_producer & (PBR_REVOKED_ENTRIES - 1)], lkey);
		/* Store the key before the index. */
		smp_store_release(&ring->ring.producer, ++ctx->revoked_producer);
	}
	spin_unlock(&ctx->revoked_lock);
	if (ctx->event)
		eventfd_signal(ctx->event);
}

/* ---- protection domains ---- */

static int pbr_alloc_pd(struct ib_pd *ib, struct ib_udata *udata)
{
	struct pbr_pd *pd = container_of(ib, struct pbr_pd, ib);
	struct peerbar_alloc_pd_resp resp = {};
	struct ib_ucontext *ctx;
	int ret;

	if (!udata)
		return 0;
	ctx = &rdma_udata_to_drv_context(udata, struct pbr_ucontext, ib)->ib;
	ret = pbr_object_add(ctx, PBR_PD);
	if (ret)
		return ret;
	pd->charge = kmalloc(sizeof(*pd) + sizeof(struct ib_uobject), pbr_gfp(true));
	ret = pd->charge ? ib_respond_udata(udata, resp) : -ENOMEM;
	if (ret) {
		kfree(pd->charge);
		pbr_object_remove(ctx, PBR_PD);
	}
	return ret;
}

static int pbr_dealloc_pd(struct ib_pd *ib, struct ib_udata *udata)
{
	kfree(container_of(ib, struct pbr_pd, ib)->charge);
	pbr_object_remove(pbr_context_of(ib->uobject), PBR_PD);
	return 0;
}

const struct ib_device_ops pbr_context_ops = {
	.alloc_pd = pbr_alloc_pd,
	.alloc_ucontext = pbr_alloc_ucontext,
	.dealloc_pd = pbr_dealloc_pd,
	.dealloc_ucontext = pbr_dealloc_ucontext,
	.disassociate_ucontext = pbr_disassociate_ucontext,

	INIT_RDMA_OBJ_SIZE(ib_pd, pbr_pd, ib),
	INIT_RDMA_OBJ_SIZE(ib_ucontext, pbr_ucontext, ib),
};
