// SPDX-License-Identifier: GPL-2.0
/*
 * On-demand regions of user memory. Pages are not pinned: they are looked up when a message
 * accesses them, and forgotten when the memory management takes them away (an MMU notifier). A
 * region of the whole address space (implicit) works in the same way.
 */
#include <linux/hmm.h>
#include <linux/memremap.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "user_memory.h"

#define PBR_CHUNK_SHIFT 21
#define PBR_CHUNK_SIZE	BIT(PBR_CHUNK_SHIFT)
#define PBR_CHUNK_PAGES (PBR_CHUNK_SIZE / PAGE_SIZE)

/**
 * struct pbr_user_memory - memory of a process
 *
 * Locks, outermost first:
 *
 *	sq_lock of the queue pair that faults
 *	@lock			adding chunks
 *	mmap_lock of @mm
 *	the notifiers' of @mm, held when it calls pbr_user_invalidate()
 *	the region blocked	the pages of all chunks
 *
 * The memory management waits in pbr_user_invalidate() for the tasks inside the region. So a task
 * inside a region must not take any of these locks, and must not allocate memory.
 *
 * @mm: not its users: the process may end
 * @lock: see above
 * @chunks: by address; added by the first fault, and removed when the region is released
 */
struct pbr_user_memory {
	struct mm_struct *mm;
	struct mutex lock; /* see above */
	struct xarray chunks;
};

/**
 * struct pbr_chunk - an aligned part of the address space
 * @notifier: of its range
 * @mr: the region
 * @start: its first address
 * @pfns: its pages, as hmm_range_fault() returns them; 0 if absent
 */
struct pbr_chunk {
	struct mmu_interval_notifier notifier;
	struct pbr_mr *mr;
	unsigned long start;
	unsigned long pfns[PBR_CHUNK_PAGES];
};

static unsigned long *pbr_chunk_pfn(struct pbr_chunk *chunk, unsigned long addr)
{
	return &chunk->pfns[(addr - chunk->start) >> PAGE_SHIFT];
}

/* Forget pages; the region is blocked. Messages may have written to them. */
static void pbr_chunk_forget(struct pbr_chunk *chunk, unsigned long from, unsigned long to)
{
	unsigned long *pfn = pbr_chunk_pfn(chunk, from);

	for (; from < to; from += PAGE_SIZE, pfn++) {
		if (*pfn & HMM_PFN_WRITE)
			set_page_dirty(compound_head(hmm_pfn_to_page(*pfn)));
		*pfn = 0;
	}
}

static bool pbr_user_invalidate(struct mmu_interval_notifier *notifier,
				const struct mmu_notifier_range *range, unsigned long seq)
{
	struct pbr_chunk *chunk = container_of(notifier, struct pbr_chunk, notifier);
	struct pbr_mr *mr = chunk->mr;

	if (!mmu_notifier_range_blockable(range))
		return false;
	pbr_mr_block(mr);
	mmu_interval_set_seq(notifier, seq);
	/* The end is ULONG_MAX when the process ends. */
	pbr_chunk_forget(chunk, max(range->start, chunk->start),
			 min(range->end, chunk->start + PBR_CHUNK_SIZE));
	pbr_count(to_pbr(mr->pd->device), PBR_PAGE_INVALIDATIONS);
	pbr_mr_unblock(mr);
	return true;
}

static const struct mmu_interval_notifier_ops pbr_user_ops = {
	.invalidate = pbr_user_invalidate,
};

/* ---- chunks ---- */

static struct pbr_chunk *pbr_chunk_add(struct pbr_mr *mr, unsigned long addr)
{
	struct pbr_user_memory *user = mr->user;
	struct pbr_chunk *chunk;
	int ret;

	chunk = kvzalloc_obj(*chunk, GFP_KERNEL_ACCOUNT);
	if (!chunk)
		return ERR_PTR(-ENOMEM);
	chunk->mr = mr;
	chunk->start = ALIGN_DOWN(addr, PBR_CHUNK_SIZE);
	ret = mmu_interval_notifier_insert(&chunk->notifier, user->mm, chunk->start, PBR_CHUNK_SIZE,
					   &pbr_user_ops);
	if (ret)
		goto err_free;
	ret = xa_err(xa_store(&user->chunks, addr >> PBR_CHUNK_SHIFT, chunk, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_remove;
	return chunk;

err_remove:
	mmu_interval_notifier_remove(&chunk->notifier);
err_free:
	kvfree(chunk);
	return ERR_PTR(ret);
}

static struct pbr_chunk *pbr_chunk_get(struct pbr_mr *mr, unsigned long addr)
{
	struct pbr_chunk *chunk = xa_load(&mr->user->chunks, addr >> PBR_CHUNK_SHIFT);

	if (chunk)
		return chunk;
	guard(mutex)(&mr->user->lock);
	return xa_load(&mr->user->chunks, addr >> PBR_CHUNK_SHIFT) ?: pbr_chunk_add(mr, addr);
}

/* ---- faults ---- */

/* Copy the pages that hmm_range_fault() found, unless they were taken away meanwhile. */
static bool pbr_chunk_fill(struct pbr_chunk *chunk, const struct hmm_range *range)
{
	unsigned long nr = (range->end - range->start) >> PAGE_SHIFT, i;
	unsigned long *pfn = pbr_chunk_pfn(chunk, range->start);
	bool valid;

	pbr_mr_block(chunk->mr);
	valid = !mmu_interval_read_retry(&chunk->notifier, range->notifier_seq);
	for (i = 0; valid && i < nr; i++)
		if (range->hmm_pfns[i] & HMM_PFN_VALID)
			pfn[i] = range->hmm_pfns[i];
	pbr_mr_unblock(chunk->mr);
	return valid;
}

/* The CPU copies: refuse pages that it cannot address as memory. */
static bool pbr_range_is_memory(const struct hmm_range *range)
{
	unsigned long nr = (range->end - range->start) >> PAGE_SHIFT, i;

	for (i = 0; i < nr; i++)
		if (range->hmm_pfns[i] & HMM_PFN_VALID &&
		    is_zone_device_page(hmm_pfn_to_page(range->hmm_pfns[i])))
			return false;
	return true;
}

static int pbr_chunk_fault(struct pbr_chunk *chunk, struct mm_struct *mm, struct hmm_range *range)
{
	int ret;

	for (;;) {
		if (signal_pending(current))
			return -EINTR;
		range->notifier_seq = mmu_interval_read_begin(&chunk->notifier);
		ret = mmap_read_lock_killable(mm);
		if (ret)
			return ret;
		ret = hmm_range_fault(range);
		if (!ret && !pbr_range_is_memory(range))
			ret = -EFAULT;
		mmap_read_unlock(mm);
		if (ret && ret != -EBUSY)
			return ret;
		if (!ret && pbr_chunk_fill(chunk, range))
			return 0;
		cond_resched();
	}
}

ssize_t pbr_user_memory_fault(struct pbr_mr *mr, u64 addr, u64 len, bool write, bool fault)
{
	struct mm_struct *mm = mr->user->mm;
	struct hmm_range range = {};
	struct pbr_chunk *chunk;
	int ret;

	if (!mmget_not_zero(mm))
		return -EFAULT;
	ret = -EFAULT;
	if (addr >= mm->task_size)
		goto out_mm;
	chunk = pbr_chunk_get(mr, addr);
	ret = PTR_ERR_OR_ZERO(chunk);
	if (ret)
		goto out_mm;
	len = min(len, chunk->start + PBR_CHUNK_SIZE - addr);
	range.notifier = &chunk->notifier;
	range.start = ALIGN_DOWN(addr, PAGE_SIZE);
	range.end = PAGE_ALIGN(addr + len);
	range.default_flags = (fault ? HMM_PFN_REQ_FAULT : 0) |
		(fault && write ? HMM_PFN_REQ_WRITE : 0);
	ret = -ENOMEM;
	range.hmm_pfns = kvcalloc((range.end - range.start) >> PAGE_SHIFT, sizeof(*range.hmm_pfns),
				  GFP_KERNEL_ACCOUNT);
	if (range.hmm_pfns)
		ret = pbr_chunk_fault(chunk, mm, &range);
	kvfree(range.hmm_pfns);
out_mm:
	/* The last user's memory is not freed here, under sq_lock. */
	mmput_async(mm);
	return ret ?: len;
}

int pbr_user_memory_at(struct pbr_mr *mr, u64 addr, bool write, u8 **va, size_t *len)
{
	struct pbr_chunk *chunk = xa_load(&mr->user->chunks, addr >> PBR_CHUNK_SHIFT);
	unsigned long need = HMM_PFN_VALID | (write ? HMM_PFN_WRITE : 0), *pfn, *end;
	struct page *page;

	if (!chunk)
		return -EAGAIN;
	pfn = pbr_chunk_pfn(chunk, addr);
	if ((*pfn & need) != need)
		return -EAGAIN;
	page = hmm_pfn_to_page(*pfn);
	*va = page_address(page) + offset_in_page(addr);
	*len = PAGE_SIZE - offset_in_page(addr);
	/* Join pages that are contiguous. */
	end = min(pfn + PBR_COPY_PIECE / PAGE_SIZE, chunk->pfns + PBR_CHUNK_PAGES);
	while (++pfn < end && (*pfn & need) == need && hmm_pfn_to_page(*pfn) == ++page)
		*len += PAGE_SIZE;
	return 0;
}

/* ---- lifetime ---- */

int pbr_user_memory_attach(struct pbr_mr *mr)
{
	struct pbr_user_memory *user;

	user = kzalloc_obj(*user, pbr_gfp(true));
	if (!user)
		return -ENOMEM;
	mutex_init(&user->lock);
	xa_init_flags(&user->chunks, XA_FLAGS_ACCOUNT);
	user->mm = current->mm;
	mmgrab(user->mm);
	mr->user = user;
	return 0;
}

void pbr_user_memory_release(struct pbr_mr *mr)
{
	struct pbr_user_memory *user = mr->user;
	struct pbr_chunk *chunk;
	u64 length = mr->length;
	unsigned long index;

	/*
	 * Make the region empty, rather than leave it blocked: until the notifiers are removed, the
	 * memory management blocks it. No task faults any more, so nothing adds pages.
	 */
	pbr_mr_block(mr);
	WRITE_ONCE(mr->length, 0);
	xa_for_each(&user->chunks, index, chunk)
		pbr_chunk_forget(chunk, chunk->start, chunk->start + PBR_CHUNK_SIZE);
	pbr_mr_unblock(mr);
	xa_for_each(&user->chunks, index, chunk) {
		mmu_interval_notifier_remove(&chunk->notifier);
		kvfree(chunk);
	}
	pbr_mr_block(mr);
	mr->length = length;
	xa_destroy(&user->chunks);
	mutex_destroy(&user->lock);
	mmdrop(user->mm);
	kfree(user);
	mr->user = NULL;
}
