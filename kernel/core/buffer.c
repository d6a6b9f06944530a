// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers: dma-bufs whose memory can be revoked. struct peerbar_buffer documents states and locks.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dcache.h>
#include <linux/dma-buf-mapping.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "core.h"

static DEFINE_MUTEX(registry_lock); /* a leaf */
static DEFINE_XARRAY(registry);
static atomic64_t last_id = ATOMIC64_INIT(0);

/*
 * Take a reference to the dentry, not to the file. The file is gone before the dma-buf's release is
 * called, and any holder of the dentry (of an O_PATH descriptor, say) can delay the release.
 */
bool peerbar_buffer_tryget(struct peerbar_buffer *buf)
{
	return lockref_get_not_dead(&buf->dentry->d_lockref);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_tryget);

void peerbar_buffer_put(struct peerbar_buffer *buf)
{
	dput(buf->dentry);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_put);

struct peerbar_buffer *peerbar_buffer_find(u64 id)
{
	struct peerbar_buffer *buf;

	guard(mutex)(&registry_lock);
	buf = xa_load(&registry, id);
	return buf && peerbar_buffer_tryget(buf) ? buf : NULL;
}

struct peerbar_buffer *peerbar_buffer_next(u64 after)
{
	struct peerbar_buffer *buf;
	unsigned long id = after;

	guard(mutex)(&registry_lock);
	while ((buf = xa_find_after(&registry, &id, ULONG_MAX, XA_PRESENT)))
		if (peerbar_buffer_tryget(buf))
			return buf;
	return NULL;
}

/* ---- stop, revoke and kill ---- */

/* Zap only the buffer's own VMAs: a device's address space may map other buffers as well. */
void peerbar_buffer_zap(struct peerbar_buffer *buf)
{
	/* A VMA is counted before its first fault, which checks the state that led here. */
	if (atomic_read(&buf->mmaps))
		unmap_mapping_range(buf->mapping, (loff_t)buf->pgoff_base << PAGE_SHIFT, buf->dmabuf->size, true);
}

/* Report a revoke that importers hold up for so long. */
#define PEERBAR_SLOW_REVOKE	HZ

static bool peerbar_has_fences(struct peerbar_buffer *buf)
{
	return !dma_resv_test_signaled(buf->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP);
}

/* Once per revoke: the administrator looks for the culprit among the importers. */
static void peerbar_report_slow_revoke(struct work_struct *work)
{
	struct peerbar_buffer *buf = container_of(to_delayed_work(work), struct peerbar_buffer, slow_revoke);
	unsigned int maps = READ_ONCE(buf->dma_maps);
	bool fences = peerbar_has_fences(buf);
	struct dma_buf_attachment *attach;
	struct seq_buf importers;
	char names[128];

	if (READ_ONCE(buf->state) == PEERBAR_STATE_LIVE || (!maps && !fences))
		return;
	seq_buf_init(&importers, names, sizeof(names));
	/* The exporter's core may hold the lock while it waits for the fences. */
	if (dma_resv_trylock(buf->dmabuf->resv)) {
		list_for_each_entry(attach, &buf->dmabuf->attachments, node)
			seq_buf_printf(&importers, " %s", dev_name(attach->dev));
		dma_resv_unlock(buf->dmabuf->resv);
	} else {
		seq_buf_puts(&importers, " unknown, their lock is held");
	}
	pr_notice("a revoke of buffer %llu (%s) has waited for %u s: %u DMA mappings left, fences %s; importers:%s\n",
		  buf->id, buf->label, PEERBAR_SLOW_REVOKE / HZ, maps, fences ? "pending" : "signalled",
		  seq_buf_str(&importers));
}

/* Invalidate the mappings of importers, and zap those of processes. */
static void peerbar_stop(struct peerbar_buffer *buf)
{
	buf->revocations++;
	dma_buf_invalidate_mappings(buf->dmabuf);
	if (buf->dma_maps || peerbar_has_fences(buf))
		mod_delayed_work(peerbar_wq, &buf->slow_revoke, PEERBAR_SLOW_REVOKE);
	peerbar_buffer_zap(buf);
	peerbar_event(buf, PEERBAR_CMD_BUFFER_REVOKED);
	/* Must be last: readers that see the new count query the buffer. */
	peerbar_note_revocation();
}

/* Stop a DEAD buffer, once: the first task that takes the reservation lock after the death does. */
static void peerbar_stop_dead_locked(struct peerbar_buffer *buf)
{
	dma_resv_assert_held(buf->dmabuf->resv);

	if (buf->stopped)
		return;
	peerbar_stop(buf);
	/* Must be last: pairs with the acquire in peerbar_is_stopped(); its callers rely on it. */
	smp_store_release(&buf->stopped, true);
}

static bool peerbar_is_stopped(struct peerbar_buffer *buf)
{
	/* Pairs with the release in peerbar_stop_dead_locked(). */
	return smp_load_acquire(&buf->stopped);
}

void peerbar_buffer_revoke_locked(struct peerbar_buffer *buf)
{
	enum peerbar_state was;

	dma_resv_assert_held(buf->dmabuf->resv);

	was = cmpxchg(&buf->state, PEERBAR_STATE_LIVE, PEERBAR_STATE_REVOKED);
	if (was == PEERBAR_STATE_LIVE)
		peerbar_stop(buf);
	else if (was == PEERBAR_STATE_DEAD)
		/* The killer may still wait for the lock, but the memory goes away now. */
		peerbar_stop_dead_locked(buf);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_revoke_locked);

static int peerbar_resv_lock(struct peerbar_buffer *buf, bool interruptible)
{
	if (!interruptible)
		return dma_resv_lock(buf->dmabuf->resv, NULL);
	return dma_resv_lock_interruptible(buf->dmabuf->resv, NULL) ? -ERESTARTSYS : 0;
}

/*
 * Return the fences of importers' current work as one fence. Don't wait for later fences: no
 * importer with access to the memory adds them, and any holder of the descriptor could delay the
 * caller with new ones.
 */
static struct dma_fence *peerbar_fence_locked(struct peerbar_buffer *buf)
{
	struct dma_fence *fence = NULL;

	if (dma_resv_get_singleton(buf->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP, &fence))
		dma_resv_wait_timeout(buf->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP, false, MAX_SCHEDULE_TIMEOUT);
	return fence;
}

int peerbar_buffer_drain(struct peerbar_buffer *buf, bool interruptible)
{
	struct dma_fence *fence;
	bool unwilling;
	long ret;

	if (peerbar_buffer_drained(buf))
		return 0;
	ret = peerbar_resv_lock(buf, interruptible);
	if (ret)
		return ret;
	fence = peerbar_fence_locked(buf);
	unwilling = buf->unwilling;
	dma_resv_unlock(buf->dmabuf->resv);

	/* Wait without a lock: first for the fences, then for the mappings. */
	ret = fence ? dma_fence_wait(fence, interruptible) : 0;
	dma_fence_put(fence);
	if (ret)
		return ret;
	/* An importer that pinned the memory and cannot be invalidated may keep it forever. */
	if (unwilling)
		return READ_ONCE(buf->dma_maps) ? -EBUSY : 0;
	if (interruptible)
		return wait_event_interruptible(buf->drained, !READ_ONCE(buf->dma_maps));
	wait_event(buf->drained, !READ_ONCE(buf->dma_maps));
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_drain);

bool peerbar_buffer_drained(struct peerbar_buffer *buf)
{
	/* Mapping and stopping take the same lock, so every importer that could map is counted. */
	return peerbar_is_stopped(buf) && !READ_ONCE(buf->dma_maps) &&
	       dma_resv_test_signaled(buf->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_drained);

int peerbar_buffer_revoke(struct peerbar_buffer *buf, bool interruptible)
{
	int ret;

	if (buf->info.model == PEERBAR_MODEL_PINNED)
		return -EOPNOTSUPP;
	ret = peerbar_resv_lock(buf, interruptible);
	if (ret)
		return ret;
	peerbar_buffer_revoke_locked(buf);
	dma_resv_unlock(buf->dmabuf->resv);
	return peerbar_buffer_drain(buf, interruptible);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_revoke);

void peerbar_buffer_mark_dead(struct peerbar_buffer *buf)
{
	/* Fully ordered: pairs with the barrier in peerbar_fault_order(). */
	xchg(&buf->state, PEERBAR_STATE_DEAD);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_mark_dead);

bool peerbar_buffer_try_stop(struct peerbar_buffer *buf)
{
	if (peerbar_is_stopped(buf))
		return true;
	peerbar_buffer_zap(buf);
	if (!dma_resv_trylock(buf->dmabuf->resv))
		return false;
	peerbar_stop_dead_locked(buf);
	dma_resv_unlock(buf->dmabuf->resv);
	return true;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_try_stop);

int peerbar_buffer_stop(struct peerbar_buffer *buf, bool interruptible)
{
	int ret;

	if (peerbar_buffer_try_stop(buf))
		return 0;
	ret = peerbar_resv_lock(buf, interruptible);
	if (ret)
		return ret;
	peerbar_stop_dead_locked(buf);
	dma_resv_unlock(buf->dmabuf->resv);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_stop);

#define PEERBAR_STOP_INTERVAL	msecs_to_jiffies(20)

/*
 * Finish the stop for a killer that was interrupted while another task held the lock. Poll, so that
 * a long-held lock does not block a worker.
 */
static void peerbar_stop_later(struct work_struct *work)
{
	struct peerbar_buffer *buf = container_of(to_delayed_work(work), struct peerbar_buffer, stop_later);

	if (!peerbar_buffer_try_stop(buf)) {
		queue_delayed_work(peerbar_wq, &buf->stop_later, PEERBAR_STOP_INTERVAL);
		return;
	}
	clear_bit_unlock(PEERBAR_STOP_QUEUED, &buf->flags);
	peerbar_buffer_put(buf);
}

int peerbar_buffer_kill(struct peerbar_buffer *buf, bool interruptible)
{
	int ret;

	if (buf->info.model == PEERBAR_MODEL_PINNED)
		return -EOPNOTSUPP;
	peerbar_buffer_mark_dead(buf);
	ret = peerbar_buffer_stop(buf, interruptible);
	if (!ret)
		return peerbar_buffer_drain(buf, interruptible);
	/*
	 * Interrupted, but importers must still be invalidated. The caller has a reference, so the
	 * worker gets its own.
	 */
	if (!test_and_set_bit_lock(PEERBAR_STOP_QUEUED, &buf->flags) && peerbar_buffer_tryget(buf))
		queue_delayed_work(peerbar_wq, &buf->stop_later, PEERBAR_STOP_INTERVAL);
	return ret;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_kill);

int peerbar_buffer_enter(struct peerbar_buffer *buf)
{
	const struct peerbar_backing_ops *ops = buf->info.ops;
	int ret;

	dma_resv_assert_held(buf->dmabuf->resv);

	if (READ_ONCE(buf->state) == PEERBAR_STATE_DEAD)
		return -ENODEV;
	if (ops->enter) {
		ret = ops->enter(buf);
		/* An exporter without notification of revocations detects one here. */
		if (ret == -ENODEV)
			peerbar_buffer_revoke_locked(buf);
		if (ret)
			return ret;
	} else if (READ_ONCE(buf->state) != PEERBAR_STATE_LIVE) {
		return -ENODEV;
	}
	if (READ_ONCE(buf->state) == PEERBAR_STATE_LIVE)
		return 0;
	/* The state may become DEAD meanwhile, without a lock. */
	if (cmpxchg(&buf->state, PEERBAR_STATE_REVOKED, PEERBAR_STATE_LIVE) != PEERBAR_STATE_REVOKED) {
		peerbar_buffer_leave(buf);
		return -ENODEV;
	}
	peerbar_event(buf, PEERBAR_CMD_BUFFER_RESTORED);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_enter);

void peerbar_buffer_leave(struct peerbar_buffer *buf)
{
	if (buf->info.ops->leave)
		buf->info.ops->leave(buf);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_leave);

enum peerbar_state peerbar_buffer_settle(struct peerbar_buffer *buf)
{
	const struct peerbar_backing_ops *ops = buf->info.ops;
	enum peerbar_state state;
	int ret;

	do {
		ret = ops->prepare ? ops->prepare(buf) : 0;
		/* A revoking task may hold the lock while an importer has work under way. */
		if (dma_resv_lock_interruptible(buf->dmabuf->resv, NULL))
			return READ_ONCE(buf->state);
		/* An exporter with @leave has no notification of revocations: check by entering. */
		if (!ret && (READ_ONCE(buf->state) == PEERBAR_STATE_REVOKED || ops->leave)) {
			ret = peerbar_buffer_enter(buf);
			if (!ret)
				peerbar_buffer_leave(buf);
		}
		state = READ_ONCE(buf->state);
		dma_resv_unlock(buf->dmabuf->resv);
	} while (ret == -EAGAIN && !schedule_timeout_interruptible(1));
	return state;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_settle);

int peerbar_buffer_move(struct peerbar_buffer *buf, const struct phys_vec *ranges,
			int (*copy)(struct peerbar_buffer *buf, void *arg), void *arg)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	unsigned int i;
	long ret;

	if (buf->info.model != PEERBAR_MODEL_DYNAMIC)
		return -EINVAL;
	for (i = 0; i < buf->info.nr_ranges; i++)
		if (ranges[i].len != buf->ranges[i].len || !PAGE_ALIGNED(ranges[i].paddr))
			return -EINVAL;

	ret = dma_resv_lock_interruptible(resv, NULL);
	if (ret)
		return -ERESTARTSYS;
	if (READ_ONCE(buf->state) != PEERBAR_STATE_LIVE) {
		ret = -ENODEV;
		goto unlock;
	}
	if (buf->pins) {
		ret = -EBUSY;
		goto unlock;
	}
	/* Importers may read, and discard the result, until they unmap; handling that is theirs. */
	dma_buf_invalidate_mappings(buf->dmabuf);
	peerbar_buffer_zap(buf);
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		goto unlock;
	ret = copy ? copy(buf, arg) : 0;
	if (ret)
		goto unlock;
	for (i = 0; i < buf->info.nr_ranges; i++)
		buf->ranges[i].paddr = ranges[i].paddr;
	peerbar_event(buf, PEERBAR_CMD_BUFFER_MOVED);
unlock:
	dma_resv_unlock(resv);
	return ret;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_move);

int peerbar_buffer_set_memattr(struct peerbar_buffer *buf, u32 memattr)
{
	const struct peerbar_backing_ops *ops = buf->info.ops;

	if (memattr != buf->info.memattr && (!ops->memattr_supported || !ops->memattr_supported(buf, memattr)))
		return -EOPNOTSUPP;
	if (READ_ONCE(buf->state) == PEERBAR_STATE_DEAD)
		return -ENODEV;
	WRITE_ONCE(buf->memattr, memattr);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_set_memattr);

/* ---- dma-buf operations ---- */

static int peerbar_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = dmabuf->priv;

	/* Without a provider, the path from a peer to the memory is unknown. */
	if (buf->info.mmio && (!buf->info.provider || !attach->peer2peer))
		return -EOPNOTSUPP;
	if (buf->info.model == PEERBAR_MODEL_REVOCABLE && !dma_buf_attach_revocable(attach))
		return -EOPNOTSUPP;
	if (peerbar_buffer_settle(buf) != PEERBAR_STATE_LIVE)
		return -ENODEV;
	return buf->info.ops->attach ? buf->info.ops->attach(buf, attach) : 0;
}

static void peerbar_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = dmabuf->priv;

	if (buf->info.ops->detach)
		buf->info.ops->detach(buf, attach);
}

/* Several importers map the same memory: don't let DMA debugging warn about it. */
#define PEERBAR_PAGES_ATTRS DMA_ATTR_DEBUGGING_IGNORE_CACHELINES

static struct sg_table *peerbar_map_pages(struct dma_buf_attachment *attach, struct peerbar_buffer *buf,
					  enum dma_data_direction dir)
{
	size_t most = max(ALIGN_DOWN((size_t)dma_get_max_seg_size(attach->dev), PAGE_SIZE), PAGE_SIZE), at;
	const struct peerbar_range *range;
	unsigned int i, nents = 0;
	struct sg_table *sgt;
	struct scatterlist *sg;
	int ret;

	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < buf->info.nr_ranges; i++)
		nents += DIV_ROUND_UP(buf->ranges[i].len, most);
	ret = sg_alloc_table(sgt, nents, GFP_KERNEL);
	if (ret)
		goto err_free;
	sg = sgt->sgl;
	for (i = 0; i < buf->info.nr_ranges; i++) {
		range = &buf->ranges[i];
		for (at = 0; at < range->len; at += most, sg = sg_next(sg))
			sg_set_page(sg, phys_to_page(range->paddr + at), min(most, range->len - at), 0);
	}
	ret = dma_map_sgtable(attach->dev, sgt, dir, PEERBAR_PAGES_ATTRS);
	if (ret)
		goto err_table;
	return sgt;

err_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

/*
 * dma_buf_phys_vec_to_sgt() places every range at the start of the same IOVA space, and so fails
 * for several ranges behind an IOMMU. Map the ranges one by one, and give the importer a table of
 * all.
 */
struct peerbar_sgt {
	struct sg_table all;
	unsigned int nr;
	struct sg_table *one[] __counted_by(nr);
};

static void peerbar_free_some(struct peerbar_sgt *sgts, struct dma_buf_attachment *attach, unsigned int nr,
			      enum dma_data_direction dir)
{
	while (nr--) {
		/* The helper set orig_nents to 0 for importers; restore it, or the table leaks. */
		sgts->one[nr]->orig_nents = sgts->one[nr]->nents;
		dma_buf_free_sgt(attach, sgts->one[nr], dir);
	}
	kvfree(sgts);
}

struct sg_table *peerbar_map_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	unsigned int i, j, nents = 0, nr = buf->info.nr_ranges;
	struct scatterlist *sg, *from;
	struct peerbar_sgt *sgts;
	int ret;

	sgts = kvzalloc(struct_size(sgts, one, nr), GFP_KERNEL);
	if (!sgts)
		return ERR_PTR(-ENOMEM);
	sgts->nr = nr;
	for (i = 0; i < nr; i++) {
		struct phys_vec vec = { .paddr = buf->ranges[i].paddr, .len = buf->ranges[i].len };

		sgts->one[i] = dma_buf_phys_vec_to_sgt(attach, buf->info.provider, &vec, 1, vec.len, dir);
		if (IS_ERR(sgts->one[i])) {
			ret = PTR_ERR(sgts->one[i]);
			goto err_free;
		}
		nents += sgts->one[i]->nents;
	}
	ret = sg_alloc_table(&sgts->all, nents, GFP_KERNEL);
	if (ret)
		goto err_free;
	sg = sgts->all.sgl;
	for (i = 0; i < nr; i++) {
		for_each_sgtable_dma_sg(sgts->one[i], from, j) {
			sg_set_page(sg, NULL, 0, 0);
			sg_dma_address(sg) = sg_dma_address(from);
			sg_dma_len(sg) = sg_dma_len(from);
			sg = sg_next(sg);
		}
	}
	/* The table has no pages for the CPU. */
	sgts->all.orig_nents = 0;
	return &sgts->all;

err_free:
	peerbar_free_some(sgts, attach, i, dir);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(peerbar_map_mmio);

void peerbar_unmap_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach, struct sg_table *sgt,
			enum dma_data_direction dir)
{
	struct peerbar_sgt *sgts = container_of(sgt, struct peerbar_sgt, all);

	sgts->all.orig_nents = sgts->all.nents;
	sg_free_table(&sgts->all);
	peerbar_free_some(sgts, attach, sgts->nr, dir);
}
EXPORT_SYMBOL_GPL(peerbar_unmap_mmio);

static struct sg_table *peerbar_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct peerbar_buffer *buf = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	ret = peerbar_buffer_enter(buf);
	if (ret)
		return ERR_PTR(ret);
	if (buf->info.ops->map)
		sgt = buf->info.ops->map(buf, attach, dir);
	else if (buf->info.mmio)
		sgt = peerbar_map_mmio(buf, attach, dir);
	else
		sgt = peerbar_map_pages(attach, buf, dir);
	if (!IS_ERR(sgt))
		WRITE_ONCE(buf->dma_maps, buf->dma_maps + 1);
	peerbar_buffer_leave(buf);
	return sgt;
}

static void peerbar_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt, enum dma_data_direction dir)
{
	struct peerbar_buffer *buf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (buf->info.ops->unmap) {
		buf->info.ops->unmap(buf, attach, sgt, dir);
	} else if (buf->info.mmio) {
		peerbar_unmap_mmio(buf, attach, sgt, dir);
	} else {
		dma_unmap_sgtable(attach->dev, sgt, dir, PEERBAR_PAGES_ATTRS);
		sg_free_table(sgt);
		kfree(sgt);
	}
	WRITE_ONCE(buf->dma_maps, buf->dma_maps - 1);
	if (!buf->dma_maps)
		wake_up_all(&buf->drained);
}

static int peerbar_pin(struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = attach->dmabuf->priv;

	if (READ_ONCE(buf->state) == PEERBAR_STATE_DEAD)
		return -ENODEV;
	buf->pins++;
	if (!dma_buf_attach_revocable(attach))
		buf->unwilling++;
	return 0;
}

static void peerbar_unpin(struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = attach->dmabuf->priv;

	buf->pins--;
	if (!dma_buf_attach_revocable(attach))
		buf->unwilling--;
}

static void peerbar_free(struct peerbar_buffer *buf)
{
	peerbar_ns_put(buf->ns);
	peerbar_user_uncharge(buf->user, buf->info.nr_ranges);
	kvfree(buf->ranges);
	kfree(buf);
}

static void peerbar_release(struct dma_buf *dmabuf)
{
	struct peerbar_buffer *buf = dmabuf->priv;
	struct inode *inode = buf->inode;

	peerbar_event(buf, PEERBAR_CMD_BUFFER_RELEASED);
	scoped_guard(mutex, &registry_lock)
		xa_erase(&registry, buf->id);
	/*
	 * Set DEAD, since the exporter's callbacks may still have a pointer and must not enter. Not
	 * killable, although another task may hold the lock while it waits for a fence:
	 * dma_buf_detach() in the exporter's release needs the lock as well.
	 */
	dma_resv_lock(dmabuf->resv, NULL);
	peerbar_buffer_mark_dead(buf);
	buf->stopped = true;
	dma_resv_unlock(dmabuf->resv);
	/* Not queued any more: only a stop does, and there is none after this. */
	cancel_delayed_work_sync(&buf->slow_revoke);
	if (buf->info.ops->release)
		buf->info.ops->release(buf);
	peerbar_free(buf);
	iput(inode);
}

static const struct dma_buf_ops peerbar_dma_buf_ops = {
	.attach = peerbar_attach,
	.detach = peerbar_detach,
	.map_dma_buf = peerbar_map,
	.unmap_dma_buf = peerbar_unmap,
	.mmap = peerbar_dma_buf_mmap,
	.release = peerbar_release,
};

/* The pin operation marks a dma-buf as dynamic for the rest of the kernel. */
static const struct dma_buf_ops peerbar_dynamic_ops = {
	.attach = peerbar_attach,
	.detach = peerbar_detach,
	.pin = peerbar_pin,
	.unpin = peerbar_unpin,
	.map_dma_buf = peerbar_map,
	.unmap_dma_buf = peerbar_unmap,
	.mmap = peerbar_dma_buf_mmap,
	.release = peerbar_release,
};

struct peerbar_buffer *peerbar_buffer_of(struct dma_buf *dmabuf)
{
	if (dmabuf->ops != &peerbar_dma_buf_ops && dmabuf->ops != &peerbar_dynamic_ops)
		return NULL;
	return dmabuf->priv;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_of);

/* ---- creation ---- */

static int peerbar_copy_ranges(struct peerbar_buffer *buf, const struct phys_vec *vec, unsigned int nr, size_t *size)
{
	phys_addr_t end;
	unsigned int i;

	if (!nr)
		return -EINVAL;
	buf->ranges = kvzalloc_objs(*buf->ranges, nr, GFP_KERNEL_ACCOUNT);
	if (!buf->ranges)
		return -ENOMEM;
	*size = 0;
	for (i = 0; i < nr; i++) {
		if (!vec[i].len || !PAGE_ALIGNED(vec[i].len) || !PAGE_ALIGNED(vec[i].paddr) ||
		    check_add_overflow(vec[i].paddr, (phys_addr_t)vec[i].len, &end))
			return -EINVAL;
		/* Limit of a scatterlist entry's length. */
		if (!buf->info.mmio && vec[i].len > UINT_MAX)
			return -EINVAL;
		buf->ranges[i].offset = *size;
		buf->ranges[i].paddr = vec[i].paddr;
		buf->ranges[i].len = vec[i].len;
		if (check_add_overflow(*size, vec[i].len, size) || *size > LLONG_MAX)
			return -EINVAL;
	}
	return 0;
}

struct peerbar_buffer *peerbar_buffer_create(const struct peerbar_buffer_info *info)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct peerbar_buffer *buf;
	struct dma_buf *dmabuf;
	char *name;
	int ret;

	buf = kzalloc_obj(*buf, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->user = peerbar_user_charge(info->nr_ranges);
	if (IS_ERR(buf->user)) {
		ret = PTR_ERR(buf->user);
		kfree(buf);
		return ERR_PTR(ret);
	}
	buf->info = *info;
	buf->info.ranges = NULL;
	buf->ns = peerbar_ns_get_current();
	buf->creator = task_tgid_nr(current);
	buf->memattr = info->first_memattr;
	buf->state = info->revoked ? PEERBAR_STATE_REVOKED : PEERBAR_STATE_LIVE;
	buf->id = atomic64_inc_return(&last_id);
	init_waitqueue_head(&buf->drained);
	INIT_DELAYED_WORK(&buf->stop_later, peerbar_stop_later);
	INIT_DELAYED_WORK(&buf->slow_revoke, peerbar_report_slow_revoke);
	ret = peerbar_copy_ranges(buf, info->ranges, info->nr_ranges, &exp_info.size);
	if (ret)
		goto err_free;
	strscpy(buf->label, info->name);
	name = kstrdup(buf->label, GFP_KERNEL_ACCOUNT);
	if (!name) {
		ret = -ENOMEM;
		goto err_free;
	}
	/* Nothing may fail after dma_buf_export(): the dma-buf's release frees. */
	ret = xa_reserve(&registry, buf->id, GFP_KERNEL);
	if (ret)
		goto err_name;
	exp_info.exp_name = module_name(info->owner);
	exp_info.owner = info->owner;
	exp_info.ops = info->model == PEERBAR_MODEL_DYNAMIC ? &peerbar_dynamic_ops : &peerbar_dma_buf_ops;
	exp_info.flags = info->open_flags;
	exp_info.resv = info->resv;
	exp_info.priv = buf;
	dmabuf = dma_buf_export(&exp_info);
	if (IS_ERR(dmabuf)) {
		ret = PTR_ERR(dmabuf);
		goto err_reserved;
	}
	buf->dmabuf = dmabuf;
	if (info->mapping)
		dmabuf->file->f_mapping = info->mapping;
	buf->mapping = dmabuf->file->f_mapping;
	buf->dentry = dmabuf->file->f_path.dentry;
	/* The file's inode goes before the dma-buf, but exporters revoke until release returns. */
	buf->inode = file_inode(dmabuf->file);
	ihold(buf->inode);
	spin_lock(&dmabuf->name_lock);
	dmabuf->name = name;
	spin_unlock(&dmabuf->name_lock);
	scoped_guard(mutex, &registry_lock)
		xa_store(&registry, buf->id, buf, GFP_KERNEL);
	peerbar_event(buf, PEERBAR_CMD_BUFFER_CREATED);
	return buf;

err_reserved:
	xa_release(&registry, buf->id);
err_name:
	kfree(name);
err_free:
	peerbar_free(buf);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_create);
