// SPDX-License-Identifier: GPL-2.0
/*
 * The buffers of an open device, and what is done with all of them: stop, drain, revoke, restore.
 */
#include <linux/dma-resv.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "vfio.h"

void peerbar_vfio_tracker_put(struct peerbar_vfio_tracker *tracker)
{
	if (!refcount_dec_and_test(&tracker->refs))
		return;
	mutex_destroy(&tracker->stop_lock);
	mutex_destroy(&tracker->lock);
	kfree(tracker);
}

/* The tracker of the open device, with a reference; NULL while the device is closed. */
struct peerbar_vfio_tracker *peerbar_vfio_tracker_get(struct peerbar_vfio_device *device)
{
	guard(mutex)(&device->tracker_lock);
	if (device->tracker)
		refcount_inc(&device->tracker->refs);
	return device->tracker;
}

void peerbar_vfio_track(struct peerbar_vfio_buffer *vbuf)
{
	struct peerbar_vfio_tracker *tracker = vbuf->tracker;

	guard(mutex)(&tracker->lock);
	list_add_tail(&vbuf->node, &tracker->buffers);
	if (vbuf->inner && !READ_ONCE(vbuf->attach))
		list_add_tail(&vbuf->unattached, &tracker->unattached);
}

void peerbar_vfio_untrack(struct peerbar_vfio_buffer *vbuf)
{
	guard(mutex)(&vbuf->tracker->lock);
	list_del_init(&vbuf->node);
	list_del_init(&vbuf->unattached);
	list_del_init(&vbuf->returning);
}

/*
 * Stop all buffers. Mark all DEAD before invalidating the first importer, so that no buffer waits
 * for the reservation lock of another. Don't wait for importers to unmap: peerbar_vfio_drain_all()
 * does.
 *
 * Not killable: close and unbind can neither fail nor leave a buffer behind.
 */
void peerbar_vfio_stop_all(struct peerbar_vfio_tracker *tracker)
{
	struct peerbar_vfio_buffer *vbuf, *next;
	LIST_HEAD(stopping);

	mutex_lock(&tracker->stop_lock);
	scoped_guard(mutex, &tracker->lock) {
		list_for_each_entry(vbuf, &tracker->buffers, node) {
			peerbar_buffer_mark_dead(vbuf->buf);
			/* Skip a buffer without a reference: it has no importer and no VMA. */
			if (peerbar_buffer_tryget(vbuf->buf))
				list_add_tail(&vbuf->stopping, &stopping);
		}
	}
	list_for_each_entry(vbuf, &stopping, stopping)
		peerbar_buffer_try_stop(vbuf->buf);
	list_for_each_entry(vbuf, &stopping, stopping)
		peerbar_buffer_stop(vbuf->buf, false);
	/* Put after all are stopped: a release may wait for locks. */
	list_for_each_entry_safe(vbuf, next, &stopping, stopping) {
		list_del(&vbuf->stopping);
		peerbar_buffer_put(vbuf->buf);
	}
	mutex_unlock(&tracker->stop_lock);
}

/*
 * Return the buffer after @prev with a reference, or NULL at the end; put the reference of @prev.
 * A worker puts the last one: its release takes memory_lock, which the caller holds, or another
 * task until the caller's reset has ended.
 */
static struct peerbar_vfio_buffer *peerbar_vfio_next_buffer(struct peerbar_vfio_tracker *tracker,
							    struct peerbar_vfio_buffer *prev)
{
	struct peerbar_vfio_buffer *vbuf;
	bool found = false;

	scoped_guard(mutex, &tracker->lock) {
		vbuf = prev ?: list_entry(&tracker->buffers, struct peerbar_vfio_buffer, node);
		list_for_each_entry_continue(vbuf, &tracker->buffers, node) {
			found = peerbar_buffer_tryget(vbuf->buf);
			if (found)
				break;
		}
	}
	if (prev)
		peerbar_buffer_put_later(prev->buf);
	return found ? vbuf : NULL;
}

/*
 * Wait until nothing reaches the memory of any buffer. Call after peerbar_vfio_stop_all(), or when
 * all are revoked. Includes buffers that an interrupted REVOKE left DEAD but not drained.
 *
 * Not killable: the device is being closed or reset. After a close it is reset and may go to
 * another owner, so no importer may have DMA under way. The core waits for its own dma-bufs in the
 * same way, but with its memory_lock held.
 */
void peerbar_vfio_drain_all(struct peerbar_vfio_tracker *tracker)
{
	struct peerbar_vfio_buffer *vbuf = NULL;

	while ((vbuf = peerbar_vfio_next_buffer(tracker, vbuf)))
		peerbar_buffer_drain(vbuf->buf, false);
}

/* The first unattached buffer, with a reference. */
static struct peerbar_vfio_buffer *peerbar_vfio_get_unattached(struct peerbar_vfio_tracker *tracker)
{
	struct peerbar_vfio_buffer *vbuf;

	guard(mutex)(&tracker->lock);
	list_for_each_entry(vbuf, &tracker->unattached, unattached)
		if (peerbar_buffer_tryget(vbuf->buf))
			return vbuf;
	return NULL;
}

/*
 * Attach the buffers that were exported while the memory was away, if it is back. Each leaves the
 * list when it has been attached. If one cannot be attached, the memory is away again, or
 * allocation failed: leave the rest for the next call.
 */
void peerbar_vfio_settle_unattached(struct peerbar_vfio_tracker *tracker)
{
	struct peerbar_vfio_buffer *vbuf;
	bool done;

	/* Only a hint: the task that enables decoding calls this afterwards. */
	if (data_race(list_empty(&tracker->unattached)) ||
	    !__vfio_pci_memory_enabled(&tracker->device->core))
		return;
	do {
		vbuf = peerbar_vfio_get_unattached(tracker);
		if (!vbuf)
			break;
		done = peerbar_buffer_settle(vbuf->buf) == PEERBAR_STATE_DEAD ||
			READ_ONCE(vbuf->attach);
		if (done) {
			scoped_guard(mutex, &tracker->lock)
				list_del_init(&vbuf->unattached);
			/* A signal interrupted the settle. The worker gets no signals. */
			if (READ_ONCE(vbuf->buf->state) == PEERBAR_STATE_REVOKED)
				peerbar_vfio_queue_restore(vbuf);
		}
		peerbar_buffer_put(vbuf->buf);
	} while (done && !fatal_signal_pending(current));
}

/* The core is about to restore a buffer's memory. The reservation lock may be held. */
void peerbar_vfio_queue_restore(struct peerbar_vfio_buffer *vbuf)
{
	struct peerbar_vfio_tracker *tracker = vbuf->tracker;

	scoped_guard(mutex, &tracker->lock)
		if (list_empty(&vbuf->returning))
			list_add_tail(&vbuf->returning, &tracker->returning);
	queue_work(system_dfl_wq, &tracker->restore);
}

/* Remove the first buffer of @returning, and return it with a reference. */
static struct peerbar_vfio_buffer *peerbar_vfio_pop_returning(struct peerbar_vfio_tracker *tracker)
{
	struct peerbar_vfio_buffer *vbuf, *next;

	guard(mutex)(&tracker->lock);
	list_for_each_entry_safe(vbuf, next, &tracker->returning, returning) {
		list_del_init(&vbuf->returning);
		if (peerbar_buffer_tryget(vbuf->buf))
			return vbuf;
	}
	return NULL;
}

static void peerbar_vfio_restore(struct work_struct *work)
{
	struct peerbar_vfio_tracker *tracker = container_of(work, struct peerbar_vfio_tracker,
							    restore);
	struct peerbar_vfio_buffer *vbuf;

	/* The core notifies before it allows mappings, and holds memory_lock until it does. */
	down_read(&tracker->device->core.memory_lock);
	up_read(&tracker->device->core.memory_lock);
	while ((vbuf = peerbar_vfio_pop_returning(tracker))) {
		peerbar_buffer_settle(vbuf->buf);
		peerbar_buffer_put(vbuf->buf);
	}
	/* If a task other than the device's user restored the memory, only this checks. */
	peerbar_vfio_settle_unattached(tracker);
}

struct peerbar_vfio_tracker *peerbar_vfio_tracker_alloc(struct peerbar_vfio_device *device)
{
	struct peerbar_vfio_tracker *tracker = kzalloc_obj(*tracker, GFP_KERNEL_ACCOUNT);

	if (!tracker)
		return NULL;
	refcount_set(&tracker->refs, 1);
	tracker->device = device;
	mutex_init(&tracker->lock);
	mutex_init(&tracker->stop_lock);
	INIT_LIST_HEAD(&tracker->buffers);
	INIT_LIST_HEAD(&tracker->unattached);
	INIT_LIST_HEAD(&tracker->returning);
	INIT_WORK(&tracker->restore, peerbar_vfio_restore);
	return tracker;
}

/*
 * Revoke all buffers, and wait until importers have unmapped, also those of buffers that were not
 * LIVE any more: a REVOKE may still wait for them, or was interrupted. Look at the state under the
 * reservation lock, which a buffer that becomes LIVE at this moment holds.
 *
 * Not killable, as peerbar_vfio_drain_all().
 */
void peerbar_vfio_revoke_all(struct peerbar_vfio_tracker *tracker)
{
	struct peerbar_vfio_buffer *vbuf = NULL;

	/* Invalidate the importers of all buffers before waiting for any. */
	while ((vbuf = peerbar_vfio_next_buffer(tracker, vbuf))) {
		dma_resv_lock(vbuf->buf->dmabuf->resv, NULL);
		peerbar_buffer_revoke_locked(vbuf->buf);
		dma_resv_unlock(vbuf->buf->dmabuf->resv);
	}
	peerbar_vfio_drain_all(tracker);
}

/* Check all REVOKED buffers in the worker. The caller holds the device's tracker_lock. */
void peerbar_vfio_queue_restore_all(struct peerbar_vfio_tracker *tracker)
{
	struct peerbar_vfio_buffer *vbuf;
	bool any = false;

	guard(mutex)(&tracker->lock);
	list_for_each_entry(vbuf, &tracker->buffers, node) {
		if (READ_ONCE(vbuf->buf->state) != PEERBAR_STATE_REVOKED ||
		    !list_empty(&vbuf->returning))
			continue;
		list_add_tail(&vbuf->returning, &tracker->returning);
		any = true;
	}
	/*
	 * Use a worker: the core holds memory_lock if this reset is its own. Don't queue it for a
	 * tracker whose buffers are DEAD: peerbar_vfio_close() may have cancelled it already.
	 * Buffers become DEAD under the tracker's lock.
	 */
	if (any)
		queue_work(system_dfl_wq, &tracker->restore);
}
