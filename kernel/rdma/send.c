// SPDX-License-Identifier: GPL-2.0
/*
 * Execution of send queues: in the system call of the task that posts, or in the queue pair's
 * worker after a wait. The sender's thread also executes the responder.
 */
#include <linux/sched/signal.h>

#include "cq.h"
#include "send.h"

static bool pb_has_work(struct pb_qp *qp)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	/* Finish a request that was begun before the queue is drained. */
	if (state == IB_QPS_SQD)
		return READ_ONCE(qp->begun) && pb_queue_pending(&qp->sq);
	return (state == IB_QPS_RTS || state == IB_QPS_ERR) && pb_queue_pending(&qp->sq);
}

/*
 * Bound the work per pass. Between passes, other tasks get the locks, signals are handled, and an
 * unplug or a CPU limit takes effect. A ring that is filled as fast as it is emptied cannot occupy
 * a thread forever.
 */
#define PB_BUDGET 4096
#define PB_BUDGET_BYTES SZ_16M
/* Instead of a delay: more work is ready */
#define PB_MORE ULONG_MAX

/* Execute the request in @qp->sqe, from the beginning or from where it stopped. */
static u32 pb_do_request(struct pb_qp *qp, u64 *bytes)
{
	u64 before = qp->progress;
	u32 status;

	if (!qp->begun) {
		WRITE_ONCE(qp->begun, true);
		qp->rnr_left = qp->attr.rnr_retry;
	}
	qp->waiting = false;
	status = pb_is_datagram(qp) ? pb_do_ud(qp) : pb_do_connection(qp);
	if (qp->progress > before)
		*bytes += qp->progress - before;
	else if (pb_is_datagram(qp))
		*bytes += qp->src->total;
	return status;
}

void pb_check_drained(struct pb_qp *qp)
{
	if (!qp->drain_event || qp->begun || READ_ONCE(qp->state) != IB_QPS_SQD)
		return;
	qp->drain_event = false;
	pb_qp_event(qp, IB_EVENT_SQ_DRAINED);
}

static void pb_end_request(struct pb_qp *qp, u32 status)
{
	WRITE_ONCE(qp->begun, false);
	qp->waiting = false;
	qp->retrying = false;
	qp->progress = 0;
	/* Must be first: later work is flushed and must not overtake the completion. */
	if (status)
		pb_qp_error(qp, 0);
	pb_complete_send(qp, status);
	pb_check_drained(qp);
}

/*
 * Execute the send queue; the caller must hold sq_lock. Return how long to wait before continuing,
 * 0 if there is no work left, or PB_MORE.
 */
static unsigned long pb_run_locked(struct pb_qp *qp)
{
	u32 status, budget = PB_BUDGET;
	u64 bytes = 0;

	while (pb_has_work(qp)) {
		if (!budget-- || bytes >= PB_BUDGET_BYTES)
			return PB_MORE;
		if (!qp->begun && !pb_queue_peek(&qp->sq, qp->sqe))
			return 0;
		if (READ_ONCE(qp->state) == IB_QPS_ERR) {
			pb_end_request(qp, IB_WC_WR_FLUSH_ERR);
			continue;
		}
		if (qp->waiting && time_before(jiffies, qp->wait_until))
			return qp->wait_until - jiffies;
		/* Don't start more work with a signal pending. */
		if (bytes && signal_pending(current))
			return PB_MORE;
		status = pb_do_request(qp, &bytes);
		if (status == PB_AGAIN)
			continue;
		pb_end_request(qp, status);
		cond_resched();
	}
	return 0;
}

/* As pb_run_locked(), without the lock; if another thread holds it, that thread does the work. */
static unsigned long pb_run(struct pb_qp *qp)
{
	unsigned long delay;
	int turns = 0;

	do {
		/* Order the post before the lock: its holder checks again after releasing it. */
		smp_mb();
		if (!mutex_trylock(&qp->sq_lock))
			return 0;
		delay = pb_run_locked(qp);
		mutex_unlock(&qp->sq_lock);
		/* Pairs with the barrier above. */
		smp_mb();
		if (delay || !pb_has_work(qp))
			return delay;
	} while (turns++ < 16);
	return PB_MORE;
}

static void pb_defer(struct pb_qp *qp, unsigned long delay)
{
	/* pb_qp_defer() does not delay work that a kick has queued meanwhile. */
	if (delay)
		pb_qp_defer(qp, delay == PB_MORE ? 0 : delay);
}

/*
 * The posting thread executes its own requests, however long they take. After each pass the system
 * call is restarted. On the way, signals are delivered, the CPU controller may throttle the thread,
 * and the thread leaves a device that is being removed. Only requests that wait, and requests that
 * other threads post meanwhile, are deferred.
 */
int pb_run_posted(struct pb_qp *qp)
{
	u32 posted = READ_ONCE(qp->sq.ring->producer);
	unsigned long delay;

	delay = pb_run(qp);
	if (delay == PB_MORE && READ_ONCE(qp->sq.ring->producer) == posted && !fatal_signal_pending(current))
		return restart_syscall();
	pb_defer(qp, delay);
	return 0;
}

static void pb_complete_flushed(struct pb_qp *qp)
{
	struct peerbar_cqe cqe = {
		.wr_id = qp->rqe->wr_id,
		.status = IB_WC_WR_FLUSH_ERR,
		.opcode = IB_WC_RECV,
		.qp_num = qp->ib.qp_num,
	};

	pb_rq_done(qp);
	pb_complete(qp->ib.recv_cq, &qp->ib, &cqe, false);
}

void pb_flush_held(struct pb_qp *qp)
{
	if (qp->held)
		pb_complete_flushed(qp);
}

/* Caller holds rq_lock. Return false if there is more to do. */
static bool pb_flush_receives(struct pb_qp *qp)
{
	u32 budget = PB_BUDGET;

	if (READ_ONCE(qp->state) != IB_QPS_ERR)
		return true;
	if (qp->srq) {
		pb_flush_held(qp);
		/* The queue pair takes no more receives from the shared queue. */
		if (!qp->last_told)
			pb_qp_event(qp, IB_EVENT_QP_LAST_WQE_REACHED);
		qp->last_told = true;
		return true;
	}
	/* Posters call the kernel from here on; receives posted before are taken below. */
	WRITE_ONCE(*qp->flags, PEERBAR_RING_KICK);
	smp_mb(); /* pairs with the poster's barrier */
	while (pb_rq_take(qp)) {
		if (!budget--)
			return false;
		pb_complete_flushed(qp);
	}
	return true;
}

/* Complete all requests of an errored queue pair as flushed; no lock held. Defers what remains. */
void pb_flush(struct pb_qp *qp)
{
	unsigned long delay;

	mutex_lock(&qp->sq_lock);
	delay = pb_run_locked(qp);
	mutex_unlock(&qp->sq_lock);
	/* as in pb_run() */
	smp_mb();
	if (!delay && pb_has_work(qp))
		delay = PB_MORE;
	mutex_lock(&qp->rq_lock);
	if (!pb_flush_receives(qp))
		delay = PB_MORE;
	mutex_unlock(&qp->rq_lock);
	pb_defer(qp, delay);
}

/* Called by the worker. */
static void pb_run_deferred(struct pb_qp *qp)
{
	if (READ_ONCE(qp->state) == IB_QPS_ERR)
		pb_flush(qp);
	else
		pb_defer(qp, pb_run(qp));
}

static void pb_qp_work(struct work_struct *work)
{
	pb_run_deferred(container_of(work, struct pb_qp, work.work));
}

static void pb_qp_kthread_work(struct kthread_work *work)
{
	pb_run_deferred(container_of(work, struct pb_qp, deferred.work));
}

void pb_qp_init_work(struct pb_qp *qp)
{
	INIT_DELAYED_WORK(&qp->work, pb_qp_work);
	kthread_init_delayed_work(&qp->deferred, pb_qp_kthread_work);
}
