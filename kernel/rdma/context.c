// SPDX-License-Identifier: GPL-2.0
/* Contexts, memory of rings, protection domains and address handles. */
#include <linux/etherdevice.h>
#include <linux/eventfd.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <rdma/ib_cache.h>

#include "rdma.h"

/* ---- memory of rings ---- */

/*
 * Allocate zeroed pages, mapped contiguously; vfree() frees them. Don't use vmalloc_user(), which
 * does not charge the user. Don't use __vmalloc(): on a partial failure, a worker frees the pages
 * later; until then they stay charged, and the caller's next page fault may find no memory.
 */
static void *pb_pages_alloc(size_t size, gfp_t gfp)
{
	unsigned int i, nr = size >> PAGE_SHIFT;
	struct page **pages;
	void *va;

	pages = kvcalloc(nr, sizeof(*pages), gfp);
	if (!pages)
		return NULL;
	for (i = 0; i < nr; i++) {
		pages[i] = fatal_signal_pending(current) ? NULL : alloc_page(gfp | __GFP_ZERO);
		if (!pages[i])
			goto err_free;
		cond_resched();
	}
	va = vmap(pages, nr, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (va)
		return va;

err_free:
	while (i--)
		__free_page(pages[i]);
	kvfree(pages);
	return NULL;
}

/*
 * With a context, charge the caller, and return the offset for mmap() in @offset. Without one, the
 * ring is the kernel's own.
 */
struct pb_buf *pb_buf_alloc(struct ib_ucontext *ctx, size_t size, u64 *offset)
{
	struct pb_buf *buf;
	int ret;

	buf = kzalloc_obj(*buf, pb_gfp(ctx));
	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->size = PAGE_ALIGN(size);
	buf->va = pb_pages_alloc(buf->size, pb_gfp(ctx));
	if (!buf->va) {
		kfree(buf);
		return ERR_PTR(-ENOMEM);
	}
	if (!ctx)
		return buf;
	buf->user = true;
	ret = rdma_user_mmap_entry_insert(ctx, &buf->entry, buf->size);
	if (ret) {
		vfree(buf->va);
		kfree(buf);
		return ERR_PTR(ret);
	}
	*offset = rdma_user_mmap_get_offset(&buf->entry);
	return buf;
}

static void pb_mmap_free(struct rdma_user_mmap_entry *entry)
{
	struct pb_buf *buf = container_of(entry, struct pb_buf, entry);

	vfree(buf->va);
	kfree(buf);
}

void pb_buf_free(struct pb_buf *buf)
{
	if (buf->user)
		rdma_user_mmap_entry_remove(&buf->entry);
	else
		pb_mmap_free(&buf->entry);
}

static int pb_mmap(struct ib_ucontext *ctx, struct vm_area_struct *vma)
{
	struct rdma_user_mmap_entry *entry;
	struct pb_buf *buf;
	int ret = 0;
	size_t at;

	/* Refuse a private copy: it would not see the kernel's writes. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	entry = rdma_user_mmap_entry_get(ctx, vma);
	if (!entry)
		return -EINVAL;
	buf = container_of(entry, struct pb_buf, entry);
	/* VM_DONTCOPY: a child must not post and poll on the queues of its parent. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	/* rdma_user_mmap_entry_get() checked that the mapping has the size of the entry. */
	for (at = 0; !ret && at < buf->size; at += PAGE_SIZE)
		ret = vm_insert_page(vma, vma->vm_start + at, vmalloc_to_page(buf->va + at));
	rdma_user_mmap_entry_put(entry);
	return ret;
}

/* ---- queues of work requests ---- */

void pb_queue_init(struct pb_queue *queue, struct peerbar_ring *ring, void *entries, u32 nr, u32 stride)
{
	*queue = (struct pb_queue){ .ring = ring, .entries = entries, .nr = nr, .stride = stride };
}

/* Whether an entry is pending. Treat an invalid producer index as an empty queue. */
bool pb_queue_pending(const struct pb_queue *queue)
{
	/* Pairs with the release of the poster. */
	u32 ahead = queue->nr ? smp_load_acquire(&queue->ring->producer) - queue->next : 0;

	return ahead && ahead <= queue->nr;
}

/* Copy the next entry once: user space may write to it at any time. False if there is none. */
bool pb_queue_peek(struct pb_queue *queue, void *entry)
{
	if (!pb_queue_pending(queue))
		return false;
	memcpy(entry, queue->entries + (queue->next & (queue->nr - 1)) * queue->stride, queue->stride);
	return true;
}

void pb_queue_done(struct pb_queue *queue)
{
	/* Finish reading the entry before freeing its slot. */
	smp_store_release(&queue->ring->consumer, ++queue->next);
}

void *pb_queue_room(struct pb_queue *queue)
{
	u32 producer = queue->ring->producer;

	/* Pairs with pb_queue_done(). */
	if (producer - smp_load_acquire(&queue->ring->consumer) >= queue->nr)
		return NULL;
	return queue->entries + (producer & (queue->nr - 1)) * queue->stride;
}

void pb_queue_post(struct pb_queue *queue)
{
	/* Pairs with pb_queue_peek(). */
	smp_store_release(&queue->ring->producer, queue->ring->producer + 1);
}

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

/* ---- address handles ---- */

static int pb_create_ah(struct ib_ah *ib, struct rdma_ah_init_attr *init, struct ib_udata *udata)
{
	gfp_t gfp = init->flags & RDMA_CREATE_AH_SLEEPABLE ? pb_gfp(udata) : GFP_ATOMIC;
	const struct ib_global_route *grh = rdma_ah_read_grh(init->ah_attr);
	struct pb_device *dev = to_pb(ib->device);
	struct peerbar_create_ah_resp resp = {};
	struct pb_ah *ah = to_pb_ah(ib);
	struct ib_ucontext *ctx = NULL;
	struct pb_av *av;
	int ret;

	/* Use @udata: the core sets @ib->uobject later. */
	if (udata)
		ctx = &rdma_udata_to_drv_context(udata, struct pb_ucontext, ib)->ib;
	ret = pb_object_add(ctx, PB_AH);
	if (ret)
		return ret;
	av = kzalloc_obj(*av, gfp);
	if (!av) {
		pb_object_remove(ctx, PB_AH);
		return -ENOMEM;
	}
	av->pd = ib->pd;
	av->dgid = grh->dgid;
	av->sgid = grh->sgid_attr->gid;
	av->sl = rdma_ah_get_sl(init->ah_attr);
	av->hop_limit = grh->hop_limit;
	av->traffic_class = grh->traffic_class;
	/* A target may exist by the time of a send. Without one, the datagram is lost. */
	ether_addr_copy(av->dmac, init->ah_attr->roce.dmac);
	av->target = pb_find_device(dev, &av->dgid, av->dmac);
	av->attr = *init->ah_attr;
	av->attr.grh.sgid_attr = NULL;
	ah->av = av;
	if (!udata)
		return 0;
	ret = xa_alloc_cyclic(&dev->avs, &av->ahn, av, xa_limit_32b, &dev->next_av, gfp);
	if (ret < 0)
		goto err_free;
	resp.ahn = av->ahn;
	ret = ib_respond_udata(udata, resp);
	if (ret)
		goto err_erase;
	return 0;

err_erase:
	xa_erase(&dev->avs, av->ahn);
err_free:
	kfree_rcu(av, rcu);
	pb_object_remove(ctx, PB_AH);
	return ret;
}

static int pb_query_ah(struct ib_ah *ib, struct rdma_ah_attr *attr)
{
	const struct ib_gid_attr *sgid_attr = attr->grh.sgid_attr;

	*attr = to_pb_ah(ib)->av->attr;
	attr->grh.sgid_attr = sgid_attr;
	return 0;
}

static int pb_destroy_ah(struct ib_ah *ib, u32 flags)
{
	struct pb_ah *ah = to_pb_ah(ib);

	if (ah->av->ahn)
		xa_erase(&to_pb(ib->device)->avs, ah->av->ahn);
	kfree_rcu(ah->av, rcu);
	pb_object_remove(pb_context_of(ib->uobject), PB_AH);
	return 0;
}

/* Copy the address that user space refers to by number. */
int pb_av_get(struct pb_device *dev, struct ib_pd *pd, u32 ahn, struct pb_av *av)
{
	const struct pb_av *found;

	guard(rcu)();
	found = xa_load(&dev->avs, ahn);
	if (!found || found->pd != pd)
		return -EINVAL;
	*av = *found;
	return 0;
}

const struct ib_device_ops pb_context_ops = {
	.alloc_pd = pb_alloc_pd,
	.alloc_ucontext = pb_alloc_ucontext,
	.create_ah = pb_create_ah,
	.create_user_ah = pb_create_ah,
	.dealloc_pd = pb_dealloc_pd,
	.dealloc_ucontext = pb_dealloc_ucontext,
	.destroy_ah = pb_destroy_ah,
	.disassociate_ucontext = pb_disassociate_ucontext,
	.mmap = pb_mmap,
	.mmap_free = pb_mmap_free,
	.query_ah = pb_query_ah,

	INIT_RDMA_OBJ_SIZE(ib_ah, pb_ah, ib),
	INIT_RDMA_OBJ_SIZE(ib_pd, pb_pd, ib),
	INIT_RDMA_OBJ_SIZE(ib_ucontext, pb_ucontext, ib),
};
