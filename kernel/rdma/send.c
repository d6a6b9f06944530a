// SPDX-License-Identifier: GPL-2.0
/*
 * Execution of send queues: in the system call of the task that posts, or in the queue pair's
 * worker after a wait. The sender's thread also executes the responder.
 */
#include <linux/sched/signal.h>

#include "fault.h"
#include "send.h"
#include "wire.h"

static bool pbr_has_work(struct pbr_qp *qp)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	if (qp->on_wire)
		return pbr_wire_has_work(qp);
	/* Finish a request that was begun before the queue is drained. */
	if (state == IB_QPS_SQD)
		return READ_ONCE(qp->begun) && pbr_queue_pending(&qp->sq);
	return (state == IB_QPS_RTS || pbr_flushes_sends(qp)) && pbr_queue_pending(&qp->sq);
}

/*
 * Bound the work per pass. Between passes, other tasks get the locks, signals are handled, and an
 * unplug or a CPU limit takes effect. A ring that is filled as fast as it is emptied cannot occupy
 * a thread forever.
 */
#define PBR_BUDGET	 4096
#define PBR_BUDGET_BYTES SZ_16M

/*
 * Make the memory present that the request found absent. Here, no region is entered, and the peer
 * is not referenced: what an exporter or the memory management waits for goes on meanwhile.
 */
static void pbr_resolve_faults(struct pbr_qp *qp)
{
	int src = pbr_refs_fault(qp->src), dst = pbr_refs_fault(qp->dst);

	if (src != -EINPROGRESS && dst != -EINPROGRESS)
		return;
	qp->waiting = true;
	qp->wait_until = jiffies + 1;
}

/* Execute the request in @qp->sqe, from the beginning or from where it stopped. */
static u32 pbr_do_request(struct pbr_qp *qp, u64 *bytes)
{
	u64 before = qp->progress;
	u32 status;

	if (!qp->begun) {
		WRITE_ONCE(qp->begun, true);
		qp->rnr_left = qp->attr.rnr_retry;
	}
	qp->waiting = false;
	status = pbr_is_datagram(qp) ? pbr_do_ud(qp) : pbr_do_connection(qp);
	if (qp->progress > before)
		*bytes += qp->progress - before;
	else if (pbr_is_datagram(qp))
		*bytes += qp->src->total;
	pbr_resolve_faults(qp);
	return status;
}

/*
 * Execute the send queue; the caller must hold sq_lock. Return how long to wait before continuing,
 * 0 if there is no work left, or PBR_MORE.
 */
static unsigned long pbr_run_locked(struct pbr_qp *qp)
{
	u32 status, budget = PBR_BUDGET;
	unsigned long delay;
	u64 bytes = 0;

	/* Its own requests are flushed there, and those that it has not taken below. */
	if (qp->on_wire) {
		delay = pbr_wire_run(qp);
		if (READ_ONCE(qp->state) != IB_QPS_ERR)
			return delay;
	}
	while (pbr_has_work(qp)) {
		if (!budget-- || bytes >= PBR_BUDGET_BYTES)
			return PBR_MORE;
		if (!qp->begun && !pbr_queue_peek(&qp->sq, qp->entry))
			return 0;
		if (pbr_flushes_sends(qp)) {
			pbr_end_request(qp, IB_WC_WR_FLUSH_ERR, false);
			continue;
		}
		if (qp->waiting && time_before(jiffies, qp->wait_until))
			return qp->wait_until - jiffies;
		/* Don't start more work with a signal pending. */
		if (bytes && signal_pending(current))
			return PBR_MORE;
		status = pbr_do_request(qp, &bytes);
		if (status == PBR_AGAIN) {
			/* It may have interrupted a fault. */
			if (signal_pending(current))
				return PBR_MORE;
			continue;
		}
		pbr_end_request(qp, status, false);
		cond_resched();
	}
	return 0;
}

/* As pbr_run_locked(), without the lock; if another thread holds it, that thread does the work. */
static unsigned long pbr_run(struct pbr_qp *qp)
{
	unsigned long delay;
	int turns = 0;

	do {
		/* Order the post before the lock: its holder checks again after releasing it. */
		smp_mb();
		if (!mutex_trylock(&qp->sq_lock))
			return 0;
		delay = pbr_run_locked(qp);
		mutex_unlock(&qp->sq_lock);
		/* Pairs with the barrier above. */
		smp_mb();
		/* A connection over the wire may wait for one thing and have another to do. */
		if (delay == PBR_MORE || (delay && !qp->on_wire) || !pbr_has_work(qp))
			return delay;
	} while (turns++ < 16);
	return PBR_MORE;
}

static void pbr_defer(struct pbr_qp *qp, unsigned long delay)
{
	/* pbr_qp_defer() does not delay work that a kick has queued meanwhile. */
	if (delay)
		pbr_qp_defer(qp, delay == PBR_MORE ? 0 : delay);
}

/*
 * The posting thread executes its own requests, however long they take. After each pass the system
 * call is restarted. On the way, signals are delivered, the CPU controller may throttle the thread,
 * and the thread leaves a device that is being removed. Only requests that wait, and requests that
 * other threads post meanwhile, are deferred.
 */
int pbr_run_posted(struct pbr_qp *qp)
{
	u32 posted = READ_ONCE(qp->sq.ring->producer);
	unsigned long delay;

	delay = pbr_run(qp);
	if (delay == PBR_MORE && READ_ONCE(qp->sq.ring->producer) == posted &&
	    !fatal_signal_pending(current))
		return restart_syscall();
	/* A timer of the worker may be pending that is later than the end of this wait. */
	if (delay && qp->on_wire && READ_ONCE(qp->waiting))
		pbr_qp_kick(qp);
	else
		pbr_defer(qp, delay);
	return 0;
}

/* Caller holds rq_lock. Return false if there is more to do. */
static bool pbr_flush_receives(struct pbr_qp *qp)
{
	u32 budget = PBR_BUDGET;

	if (READ_ONCE(qp->state) != IB_QPS_ERR)
		return true;
	if (pbr_is_xrc_target(qp) || qp->srq) {
		pbr_flush_held(qp);
		/* The queue pair takes no more receives from the shared queue. */
		if (!qp->last_told)
			pbr_qp_event(qp, IB_EVENT_QP_LAST_WQE_REACHED);
		qp->last_told = true;
		return true;
	}
	/* Posters call the kernel from here on; receives posted before are taken below. */
	WRITE_ONCE(*qp->flags, PEERBAR_RING_KICK);
	smp_mb(); /* pairs with the poster's barrier */
	while (pbr_rq_take(qp)) {
		if (!budget--)
			return false;
		pbr_rq_done(qp);
		pbr_complete_flushed(qp, qp->ib.recv_cq);
	}
	return true;
}

/* Complete all requests of an errored queue pair as flushed; no lock held. Defers what remains. */
void pbr_flush(struct pbr_qp *qp)
{
	unsigned long delay;

	mutex_lock(&qp->sq_lock);
	delay = pbr_run_locked(qp);
	mutex_unlock(&qp->sq_lock);
	/* as in pbr_run() */
	smp_mb();
	if (!delay && pbr_has_work(qp))
		delay = PBR_MORE;
	mutex_lock(&qp->rq_lock);
	if (!pbr_flush_receives(qp))
		delay = PBR_MORE;
	mutex_unlock(&qp->rq_lock);
	pbr_defer(qp, delay);
}

void pbr_flush_sends(struct pbr_qp *qp)
{
	u32 left = PBR_MAX_WR;
	unsigned long delay;

	do {
		mutex_lock(&qp->sq_lock);
		delay = pbr_run_locked(qp);
		mutex_unlock(&qp->sq_lock);
		left -= min_t(u32, left, PBR_BUDGET);
	} while (delay == PBR_MORE && left);
}

/* Called by the worker. */
static void pbr_run_deferred(struct pbr_qp *qp)
{
	unsigned long delay;
	bool more;

	pbr_count(qp->dev, PBR_WORKER_RUNS);
	more = pbr_wire_pending(qp) && pbr_wire_respond(qp);
	if (READ_ONCE(qp->state) == IB_QPS_ERR) {
		pbr_flush(qp);
		return;
	}
	delay = pbr_run(qp);
	pbr_defer(qp, more ? PBR_MORE : delay);
}

static void pbr_qp_work(struct work_struct *work)
{
	pbr_run_deferred(container_of(work, struct pbr_qp, work.work));
}

static void pbr_qp_kthread_work(struct kthread_work *work)
{
	pbr_run_deferred(container_of(work, struct pbr_qp, deferred.work));
}

void pbr_qp_init_work(struct pbr_qp *qp)
{
	INIT_DELAYED_WORK(&qp->work, pbr_qp_work);
	kthread_init_delayed_work(&qp->deferred, pbr_qp_kthread_work);
}
