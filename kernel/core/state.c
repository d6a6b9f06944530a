// SPDX-License-Identifier: GPL-2.0
/*
 * The state of a buffer: revoking, killing, draining, entering and moving it, and references to it.
 * struct peerbar_buffer documents states and locks.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dcache.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/seq_buf.h>
#include <linux/timekeeping.h>

#include "core.h"
#include "trace.h"

/* Finishes the stop of buffers whose killer was interrupted, and reports slow revokes. */
static struct workqueue_struct *peerbar_wq;

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

static void peerbar_put_last(struct work_struct *work)
{
	peerbar_buffer_put(container_of(work, struct peerbar_buffer, put_last));
}

void peerbar_buffer_put_later(struct peerbar_buffer *buf)
{
	struct lockref *lockref = &buf->dentry->d_lockref;

	if (lockref_put_or_lock(lockref))
		return;
	spin_unlock(&lockref->lock);
	/* Not queued: it would have a reference, and this one would not be the last. */
	queue_work(peerbar_wq, &buf->put_last);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_put_later);

/* The name of the present state, for messages. */
const char *peerbar_state_name(struct peerbar_buffer *buf)
{
	switch (READ_ONCE(buf->state)) {
	case PEERBAR_STATE_LIVE:
		return "LIVE";
	case PEERBAR_STATE_REVOKED:
		return "REVOKED";
	case PEERBAR_STATE_DEAD:
		return "DEAD";
	default:
		return "UNKNOWN";
	}
}

/* ---- stop, revoke and kill ---- */

/* Zap only the buffer's own VMAs: a device's address space may map other buffers as well. */
void peerbar_buffer_zap(struct peerbar_buffer *buf)
{
	/* A VMA is counted before its first fault, which checks the state that led here. */
	if (atomic_read(&buf->mmaps))
		unmap_mapping_range(buf->mapping, (loff_t)buf->pgoff_base << PAGE_SHIFT,
				    buf->dmabuf->size, true);
}

/* Report a revoke that importers hold up for so long. */
#define PEERBAR_SLOW_REVOKE HZ

static bool peerbar_has_fences(struct peerbar_buffer *buf)
{
	return !dma_resv_test_signaled(buf->dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP);
}

/* Once per revoke: the administrator looks for the culprit among the importers. */
static void peerbar_report_slow_revoke(struct work_struct *work)
{
	struct peerbar_buffer *buf = container_of(to_delayed_work(work), struct peerbar_buffer,
						  slow_revoke);
	unsigned int maps = READ_ONCE(buf->dma_maps);
	bool fences = peerbar_has_fences(buf);
	struct seq_buf importers;
	char names[128];

	if (READ_ONCE(buf->state) == PEERBAR_STATE_LIVE || (!maps && !fences))
		return;
	seq_buf_init(&importers, names, sizeof(names));
	peerbar_print_importers(buf, &importers);
	pr_notice("a revoke of buffer %llu (%s) has waited for %u s: %u DMA mappings left, fences %s; importers:%s\n",
		  buf->id, buf->label, PEERBAR_SLOW_REVOKE / HZ, maps,
		  fences ? "pending" : "signalled", seq_buf_str(&importers));
}

/* Invalidate the mappings of importers, and zap those of processes. */
static void peerbar_stop_buffer(struct peerbar_buffer *buf)
{
	buf->revocations++;
	WRITE_ONCE(buf->revoked_ns, ktime_get_boottime_ns());
	dma_buf_invalidate_mappings(buf->dmabuf);
	peerbar_importers_invalidated(buf);
	if (!buf->info.addresses_only && (buf->dma_maps || peerbar_has_fences(buf)))
		mod_delayed_work(peerbar_wq, &buf->slow_revoke, PEERBAR_SLOW_REVOKE);
	peerbar_buffer_zap(buf);
	/*
	 * Count when all is invalid: readers that see the new count query the buffer. Count before
	 * the event: its receivers must not find the regions of the buffer in a cache.
	 */
	peerbar_note_revocation();
	peerbar_event(buf, PEERBAR_CMD_BUFFER_REVOKED, READ_ONCE(buf->state));
}

/* Stop a DEAD buffer, once: the first task that takes the reservation lock after the death does. */
static void peerbar_stop_dead_locked(struct peerbar_buffer *buf)
{
	dma_resv_assert_held(buf->dmabuf->resv);

	if (buf->stopped)
		return;
	peerbar_stop_buffer(buf);
	/* Must be last: pairs with the acquire in peerbar_is_stopped(); its callers rely on it. */
	smp_store_release(&buf->stopped, true);
}

static bool peerbar_is_stopped(struct peerbar_buffer *buf)
{
	/* Pairs with the release in peerbar_stop_dead_locked(). */
	return smp_load_acquire(&buf->stopped);
}

static void peerbar_revoke_locked(struct peerbar_buffer *buf, const char *reason)
{
	enum peerbar_state was;

	dma_resv_assert_held(buf->dmabuf->resv);

	was = cmpxchg(&buf->state, PEERBAR_STATE_LIVE, PEERBAR_STATE_REVOKED);
	if (was == PEERBAR_STATE_LIVE) {
		trace_peerbar_state(buf, was, PEERBAR_STATE_REVOKED, reason);
		peerbar_stop_buffer(buf);
	} else if (was == PEERBAR_STATE_DEAD) {
		/* The killer may still wait for the lock, but the memory goes away now. */
		peerbar_stop_dead_locked(buf);
	}
}

void peerbar_buffer_revoke_locked(struct peerbar_buffer *buf)
{
	peerbar_revoke_locked(buf, "revoked");
}
EXPORT_SYMBOL_GPL(peerbar_buffer_revoke_locked);

static int peerbar_resv_lock(struct peerbar_buffer *buf, bool interruptible)
{
	if (!interruptible)
		return dma_resv_lock(buf->dmabuf->resv, NULL);
	return dma_resv_lock_interruptible(buf->dmabuf->resv, NULL) ? -ERESTARTSYS : 0;
}

/* Without memory for a set of fences, how long to wait for all fences before the next attempt */
#define PEERBAR_FENCE_PATIENCE (HZ / 10)

/*
 * Get the fences of importers' current work as one fence, NULL if none is pending. Don't wait for
 * later fences: no importer with access to the memory adds them, and any holder of the descriptor
 * could delay the caller with new ones. Only without memory to tell them apart is the caller
 * delayed, until there is some, or until an instant without pending fences.
 *
 * Call without a lock: other tasks that need the reservation lock must not wait for memory, or for
 * fences. Importers added the fences under it, before the task that stopped the buffer took it.
 */
static int peerbar_get_fence(struct peerbar_buffer *buf, bool interruptible,
			     struct dma_fence **fence)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	long left;

	*fence = NULL;
	while (dma_resv_get_singleton(resv, DMA_RESV_USAGE_BOOKKEEP, fence)) {
		left = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, interruptible,
					     PEERBAR_FENCE_PATIENCE);
		if (left)
			return left < 0 ? left : 0;
	}
	return 0;
}

/**
 * struct peerbar_wait - what a drain waited for last, for trace events
 * @for_what: "nothing", "fence" or "unmap"
 * @importer: filled in only if the event is enabled
 */
struct peerbar_wait {
	const char *for_what;
	char importer[64];
};

/* Wait without a lock: first for the fences, then for the mappings. */
static int peerbar_wait(struct peerbar_buffer *buf, struct dma_fence *fence, bool interruptible,
			struct peerbar_wait *wait)
{
	long ret;

	if (fence && !dma_fence_is_signaled(fence)) {
		wait->for_what = "fence";
		if (trace_peerbar_drain_end_enabled())
			peerbar_get_fence_driver(buf, wait->importer, sizeof(wait->importer));
	}
	ret = fence ? dma_fence_wait(fence, interruptible) : 0;
	if (ret)
		return ret;
	/* An importer that pinned the memory and cannot be invalidated may keep it forever. */
	if (READ_ONCE(buf->unwilling)) {
		if (!READ_ONCE(buf->dma_maps))
			return 0;
		peerbar_dbg(buf,
			    "not drained: DMA mappings are left, and an importer without invalidate_mappings() has pinned it");
		return -EBUSY;
	}
	if (!READ_ONCE(buf->dma_maps))
		return 0;
	wait->for_what = "unmap";
	*wait->importer = 0;
	if (interruptible)
		ret = wait_event_interruptible(buf->drained, !READ_ONCE(buf->dma_maps));
	else
		wait_event(buf->drained, !READ_ONCE(buf->dma_maps));
	if (!ret && trace_peerbar_drain_end_enabled())
		peerbar_get_last_unmapped(buf, wait->importer, sizeof(wait->importer));
	return ret;
}

int peerbar_buffer_drain(struct peerbar_buffer *buf, bool interruptible)
{
	struct peerbar_wait wait = { .for_what = "nothing" };
	struct dma_fence *fence;
	u64 begin;
	int ret;

	if (peerbar_buffer_drained(buf))
		return 0;
	ret = peerbar_get_fence(buf, interruptible, &fence);
	if (ret)
		return ret;
	begin = ktime_get_ns();
	trace_peerbar_drain_begin(buf, fence && !dma_fence_is_signaled(fence));
	ret = peerbar_wait(buf, fence, interruptible, &wait);
	dma_fence_put(fence);
	trace_peerbar_drain_end(buf, ktime_get_ns() - begin, wait.for_what, wait.importer, ret);
	return ret;
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

	if (buf->info.model == PEERBAR_MODEL_PINNED) {
		peerbar_dbg(buf, "cannot revoke: the model is PINNED, not REVOCABLE or DYNAMIC");
		return -EOPNOTSUPP;
	}
	ret = peerbar_resv_lock(buf, interruptible);
	if (ret)
		return ret;
	peerbar_buffer_revoke_locked(buf);
	dma_resv_unlock(buf->dmabuf->resv);
	return peerbar_buffer_drain(buf, interruptible);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_revoke);

void peerbar_set_dead(struct peerbar_buffer *buf, const char *reason)
{
	/* Fully ordered: pairs with the barrier in peerbar_try_fault(). */
	enum peerbar_state was = xchg(&buf->state, PEERBAR_STATE_DEAD);

	if (was != PEERBAR_STATE_DEAD)
		trace_peerbar_state(buf, was, PEERBAR_STATE_DEAD, reason);
}

void peerbar_buffer_mark_dead(struct peerbar_buffer *buf)
{
	peerbar_set_dead(buf, "killed");
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

#define PEERBAR_STOP_INTERVAL msecs_to_jiffies(20)

/*
 * Finish the stop for a killer that was interrupted while another task held the lock. Poll, so that
 * a long-held lock does not block a worker.
 */
static void peerbar_stop_later(struct work_struct *work)
{
	struct peerbar_buffer *buf = container_of(to_delayed_work(work), struct peerbar_buffer,
						  stop_later);

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

	if (buf->info.model == PEERBAR_MODEL_PINNED) {
		peerbar_dbg(buf, "cannot kill: the model is PINNED, not REVOCABLE or DYNAMIC");
		return -EOPNOTSUPP;
	}
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
			peerbar_revoke_locked(buf, "detected");
		if (ret)
			return ret;
	} else if (READ_ONCE(buf->state) != PEERBAR_STATE_LIVE) {
		return -ENODEV;
	}
	if (READ_ONCE(buf->state) == PEERBAR_STATE_LIVE)
		return 0;
	/* The state may become DEAD meanwhile, without a lock. */
	if (cmpxchg(&buf->state, PEERBAR_STATE_REVOKED, PEERBAR_STATE_LIVE) !=
	    PEERBAR_STATE_REVOKED) {
		peerbar_buffer_leave(buf);
		return -ENODEV;
	}
	/* A buffer that dies has no time of a revocation until its importers are invalidated. */
	WRITE_ONCE(buf->revoked_ns, 0);
	trace_peerbar_state(buf, PEERBAR_STATE_REVOKED, PEERBAR_STATE_LIVE, "restored");
	peerbar_event(buf, PEERBAR_CMD_BUFFER_RESTORED, PEERBAR_STATE_LIVE);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_enter);

void peerbar_buffer_leave(struct peerbar_buffer *buf)
{
	if (buf->info.ops->leave)
		buf->info.ops->leave(buf);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_leave);

/*
 * Find out whether a REVOKED buffer is back; reservation lock held. An exporter with @leave has no
 * notification of revocations: check by entering.
 */
static int peerbar_check_locked(struct peerbar_buffer *buf)
{
	int ret;

	if (READ_ONCE(buf->state) != PEERBAR_STATE_REVOKED && !buf->info.ops->leave)
		return 0;
	ret = peerbar_buffer_enter(buf);
	if (!ret)
		peerbar_buffer_leave(buf);
	return ret;
}

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
		if (!ret)
			ret = peerbar_check_locked(buf);
		state = READ_ONCE(buf->state);
		dma_resv_unlock(buf->dmabuf->resv);
	} while (ret == -EAGAIN && !schedule_timeout_interruptible(1));
	return state;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_settle);

enum peerbar_state peerbar_buffer_try_settle(struct peerbar_buffer *buf)
{
	if (dma_resv_trylock(buf->dmabuf->resv)) {
		peerbar_check_locked(buf);
		dma_resv_unlock(buf->dmabuf->resv);
	}
	return READ_ONCE(buf->state);
}

int peerbar_buffer_move(struct peerbar_buffer *buf, const struct phys_vec *ranges,
			int (*copy)(struct peerbar_buffer *buf, void *arg), void *arg)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	unsigned int i;
	long ret;

	if (buf->info.model != PEERBAR_MODEL_DYNAMIC) {
		peerbar_dbg(buf, "cannot move: the model is not DYNAMIC");
		return -EINVAL;
	}
	for (i = 0; i < buf->info.nr_ranges; i++) {
		if (ranges[i].len != buf->ranges[i].len || !PAGE_ALIGNED(ranges[i].paddr)) {
			peerbar_dbg(buf,
				    "cannot move: range %u has %zu bytes, not the present %zu, or is not page-aligned",
				    i, ranges[i].len, buf->ranges[i].len);
			return -EINVAL;
		}
	}

	ret = dma_resv_lock_interruptible(resv, NULL);
	if (ret)
		return -ERESTARTSYS;
	if (READ_ONCE(buf->state) != PEERBAR_STATE_LIVE) {
		peerbar_dbg(buf, "cannot move: the state is %s, not LIVE", peerbar_state_name(buf));
		ret = -ENODEV;
		goto unlock;
	}
	if (buf->pins) {
		peerbar_dbg(buf, "cannot move: importers hold %u pins", buf->pins);
		ret = -EBUSY;
		goto unlock;
	}
	/* Importers may read, and discard the result, until they unmap; handling that is theirs. */
	dma_buf_invalidate_mappings(buf->dmabuf);
	peerbar_importers_invalidated(buf);
	peerbar_buffer_zap(buf);
	/*
	 * Keep the lock: an importer that got it could map the old memory anew. Tasks that revoke
	 * wait meanwhile. A signal ends the wait.
	 */
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		goto unlock;
	ret = copy ? copy(buf, arg) : 0;
	if (ret)
		goto unlock;
	scoped_guard(mutex, &buf->importers_lock)
		for (i = 0; i < buf->info.nr_ranges; i++)
			buf->ranges[i].paddr = ranges[i].paddr;
	peerbar_event(buf, PEERBAR_CMD_BUFFER_MOVED, PEERBAR_STATE_LIVE);
unlock:
	dma_resv_unlock(resv);
	return ret;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_move);

int peerbar_buffer_set_memattr(struct peerbar_buffer *buf, u32 memattr)
{
	const struct peerbar_backing_ops *ops = buf->info.ops;

	if (memattr != buf->info.memattr &&
	    (!ops->memattr_supported || !ops->memattr_supported(buf, memattr))) {
		peerbar_dbg(buf,
			    "cannot set memory attribute 0x%x: its exporter does not support it",
			    memattr);
		return -EOPNOTSUPP;
	}
	if (READ_ONCE(buf->state) == PEERBAR_STATE_DEAD) {
		peerbar_dbg(buf, "cannot set memory attribute 0x%x: the state is DEAD", memattr);
		return -ENODEV;
	}
	WRITE_ONCE(buf->memattr, memattr);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_set_memattr);

void peerbar_buffer_init_state(struct peerbar_buffer *buf)
{
	init_waitqueue_head(&buf->drained);
	INIT_DELAYED_WORK(&buf->stop_later, peerbar_stop_later);
	INIT_DELAYED_WORK(&buf->slow_revoke, peerbar_report_slow_revoke);
	INIT_WORK(&buf->put_last, peerbar_put_last);
}

int __init peerbar_state_init(void)
{
	peerbar_wq = alloc_workqueue("peerbar", WQ_UNBOUND, 0);
	return peerbar_wq ? 0 : -ENOMEM;
}

/* Buffers and exporters are gone, but the worker that put the last one may still run. */
void peerbar_state_exit(void)
{
	destroy_workqueue(peerbar_wq);
}
