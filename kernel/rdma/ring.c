// SPDX-License-Identifier: GPL-2.0
/* Rings that the kernel shares with user space: their memory, and queues of work requests. */
#include <linux/log2.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "ring.h"

/*
 * The layout is the same with any page size. Only the size of a mapping depends on it, and the
 * responses have that: a provider may be built for another page size.
 */
static_assert(sizeof(struct peerbar_ring) == 128 && offsetof(struct peerbar_ring, consumer) == 64);
static_assert(sizeof(struct peerbar_revoked_ring) == 256);
static_assert(sizeof(struct peerbar_cq_ring) == 256);
static_assert(sizeof(struct peerbar_srq_ring) == 256);
static_assert(sizeof(struct peerbar_qp_ring) == 384);

/* ---- memory ---- */

/*
 * Allocate zeroed pages, mapped contiguously; vfree() frees them. Don't use vmalloc_user(), which
 * does not charge the user. Don't use __vmalloc(): on a partial failure, a worker frees the pages
 * later; until then they stay charged, and the caller's next page fault may find no memory.
 */
static void *pbr_pages_alloc(size_t size, gfp_t gfp)
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
struct pbr_buf *pbr_buf_alloc(struct ib_ucontext *ctx, size_t size, u64 *offset)
{
	struct pbr_buf *buf;
	int ret;

	buf = kzalloc_obj(*buf, pbr_gfp(ctx));
	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->size = PAGE_ALIGN(size);
	buf->va = pbr_pages_alloc(buf->size, pbr_gfp(ctx));
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

struct pbr_buf *pbr_ring_alloc(struct ib_ucontext *ctx, size_t header, u32 wanted, u32 stride,
			       u32 *nr, u64 *offset)
{
	*nr = roundup_pow_of_two(wanted);
	return pbr_buf_alloc(ctx, header + (size_t)*nr * stride, offset);
}

static void pbr_mmap_free(struct rdma_user_mmap_entry *entry)
{
	struct pbr_buf *buf = container_of(entry, struct pbr_buf, entry);

	vfree(buf->va);
	kfree(buf);
}

void pbr_buf_free(struct pbr_buf *buf)
{
	if (buf->user)
		rdma_user_mmap_entry_remove(&buf->entry);
	else
		pbr_mmap_free(&buf->entry);
}

static int pbr_mmap(struct ib_ucontext *ctx, struct vm_area_struct *vma)
{
	struct rdma_user_mmap_entry *entry;
	struct pbr_buf *buf;
	int ret = 0;
	size_t at;

	/* Refuse a private copy: it would not see the kernel's writes. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return pbr_fail(ctx->device, -EINVAL,
				"mmap: offset %#lx: the mapping is private, and must be shared",
				vma->vm_pgoff << PAGE_SHIFT);
	entry = rdma_user_mmap_entry_get(ctx, vma);
	if (!entry)
		return pbr_fail(ctx->device, -EINVAL,
				"mmap: offset %#lx: no ring of %lu bytes of this context is there",
				vma->vm_pgoff << PAGE_SHIFT, vma->vm_end - vma->vm_start);
	buf = container_of(entry, struct pbr_buf, entry);
	/* VM_DONTCOPY: a child must not post and poll on the queues of its parent. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	/* rdma_user_mmap_entry_get() checked that the mapping has the size of the entry. */
	for (at = 0; !ret && at < buf->size; at += PAGE_SIZE)
		ret = vm_insert_page(vma, vma->vm_start + at, vmalloc_to_page(buf->va + at));
	rdma_user_mmap_entry_put(entry);
	return ret;
}

/* ---- queues of work requests ---- */

void pbr_queue_init(struct pbr_queue *queue, struct peerbar_ring *ring, void *entries, u32 nr,
		    u32 stride)
{
	*queue = (struct pbr_queue){ .ring = ring, .entries = entries, .nr = nr, .stride = stride };
}

u32 pbr_queue_ahead(const struct pbr_queue *queue)
{
	/* Pairs with the release of the poster. */
	u32 ahead = queue->nr ? smp_load_acquire(&queue->ring->producer) - queue->next : 0;

	return ahead <= queue->nr ? ahead : 0;
}

/* Whether an entry is pending. Treat an invalid producer index as an empty queue. */
bool pbr_queue_pending(const struct pbr_queue *queue)
{
	return pbr_queue_ahead(queue);
}

bool pbr_queue_peek_at(struct pbr_queue *queue, u32 ahead, void *entry)
{
	if (pbr_queue_ahead(queue) <= ahead)
		return false;
	memcpy(entry, queue->entries + ((queue->next + ahead) & (queue->nr - 1)) * queue->stride,
	       queue->stride);
	return true;
}

/* Copy the next entry once: user space may write to it at any time. False if there is none. */
bool pbr_queue_peek(struct pbr_queue *queue, void *entry)
{
	return pbr_queue_peek_at(queue, 0, entry);
}

void pbr_queue_done(struct pbr_queue *queue)
{
	/* Finish reading the entry before freeing its slot. */
	smp_store_release(&queue->ring->consumer, ++queue->next);
}

void *pbr_queue_room(struct pbr_queue *queue)
{
	u32 producer = queue->ring->producer;

	/* Pairs with pbr_queue_done(). */
	if (producer - smp_load_acquire(&queue->ring->consumer) >= queue->nr)
		return NULL;
	return queue->entries + (producer & (queue->nr - 1)) * queue->stride;
}

void pbr_queue_post(struct pbr_queue *queue)
{
	/* Pairs with pbr_queue_peek(). */
	smp_store_release(&queue->ring->producer, queue->ring->producer + 1);
}

const struct ib_device_ops pbr_ring_ops = {
	.mmap = pbr_mmap,
	.mmap_free = pbr_mmap_free,
};
