// SPDX-License-Identifier: GPL-2.0
/*
 * The thread that executes the deferred work of a process's queue pairs: requests that waited,
 * requests posted behind them, and flushes. It is in the cgroups of the process and has its nice
 * value. So the work is accounted to the process, and a busy process does not delay the flushes of
 * others.
 */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "qp.h"

/**
 * struct pbr_worker - the thread of a process
 * @tgid: the process; a queue pair that a child creates on an inherited context is the child's
 * @users: number of its queue pairs, and of contexts that have had one
 * @join: makes the thread join the cgroups of @owner, and then clears @owner
 * @wake: has @waiter, which wakes the thread; see pbr_worker_wake()
 */
struct pbr_worker {
	struct hlist_node node;
	struct pid *tgid;
	struct kthread_worker *thread;
	wait_queue_head_t wake;
	wait_queue_entry_t waiter;
	unsigned int users;
	struct kthread_work join;
	struct task_struct *owner;
};

/* Workqueues of the kernel's own queue pairs */
static struct workqueue_struct *pbr_wq;
static struct workqueue_struct *pbr_gsi_wq;

static DEFINE_HASHTABLE(pbr_workers, 8);
static DEFINE_MUTEX(pbr_workers_lock); /* protects the table and the user counts; innermost */

static void pbr_worker_join(struct kthread_work *work)
{
	struct pbr_worker *worker = container_of(work, struct pbr_worker, join);
	struct task_struct *owner = xchg(&worker->owner, NULL);
	int ret;

	if (!owner)
		return;
	ret = cgroup_attach_task_all(owner, current);
	if (ret)
		pr_notice_ratelimited("peerbar-rdma: cannot account the deferred work of process %d to its cgroups: error %d\n",
				      task_tgid_nr(owner), ret);
	set_user_nice(current, task_nice(owner));
	put_task_struct(owner);
}

static bool pbr_worker_has_joined(const struct pbr_worker *worker)
{
#ifdef CONFIG_CGROUPS
	/* Tasks in the same cgroups share one css_set. */
	return rcu_access_pointer(worker->thread->task->cgroups) ==
		rcu_access_pointer(current->cgroups);
#else
	return true;
#endif
}

static void pbr_worker_follow(struct pbr_worker *worker)
{
	struct task_struct *old;

	if (pbr_worker_has_joined(worker) && task_nice(worker->thread->task) == task_nice(current))
		return;
	old = xchg(&worker->owner, get_task_struct(current));
	if (old)
		put_task_struct(old);
	kthread_queue_work(worker->thread, &worker->join);
}

static struct pbr_worker *pbr_worker_create(struct pid *tgid)
{
	struct pbr_worker *worker;

	worker = kzalloc_obj(*worker, GFP_KERNEL_ACCOUNT);
	if (!worker)
		return ERR_PTR(-ENOMEM);
	worker->thread = kthread_run_worker(0, "pb-rdma/%d", pid_nr(tgid));
	if (IS_ERR(worker->thread)) {
		struct kthread_worker *thread = worker->thread;

		kfree(worker);
		return ERR_CAST(thread);
	}
	worker->tgid = get_pid(tgid);
	kthread_init_work(&worker->join, pbr_worker_join);
	init_waitqueue_head(&worker->wake);
	init_waitqueue_entry(&worker->waiter, worker->thread->task);
	add_wait_queue(&worker->wake, &worker->waiter);
	hash_add(pbr_workers, &worker->node, (unsigned long)tgid);
	return worker;
}

/*
 * Get the worker for a queue pair that the current process creates on @ctx. Rejoin the process's
 * cgroups if it was moved.
 */
struct pbr_worker *pbr_worker_get(struct pbr_ucontext *ctx)
{
	struct pid *tgid = task_tgid(current);
	struct pbr_worker *worker;

	guard(mutex)(&pbr_workers_lock);
	hash_for_each_possible(pbr_workers, worker, node, (unsigned long)tgid)
		if (worker->tgid == tgid)
			goto found;
	worker = pbr_worker_create(tgid);
	if (IS_ERR(worker))
		return worker;
found:
	worker->users++;
	if (!ctx->worker) {
		worker->users++;
		ctx->worker = worker;
	}
	pbr_worker_follow(worker);
	return worker;
}

void pbr_worker_put(struct pbr_worker *worker)
{
	scoped_guard(mutex, &pbr_workers_lock) {
		if (--worker->users)
			return;
		hash_del(&worker->node);
	}
	kthread_destroy_worker(worker->thread);
	put_pid(worker->tgid);
	kfree(worker);
}

/* ---- deferred work of a queue pair; the kernel's own use the workqueues ---- */

/* A separate queue: the connection manager's messages must not wait behind other work. */
static struct workqueue_struct *pbr_qp_wq(const struct pbr_qp *qp)
{
	return qp->ib.qp_type == IB_QPT_GSI ? pbr_gsi_wq : pbr_wq;
}

void pbr_qp_defer(struct pbr_qp *qp, unsigned long delay)
{
	if (qp->worker)
		kthread_queue_delayed_work(qp->worker->thread, &qp->deferred, delay);
	else
		queue_delayed_work(pbr_qp_wq(qp), &qp->work, delay);
}

/*
 * Wake the thread, preferably on this CPU unless another is idle. A task that polls does not leave
 * its CPU before the next tick; here, the current task may be about to sleep, and otherwise it is
 * preempted when it returns to user space.
 */
static void pbr_worker_wake(struct pbr_worker *worker)
{
	__wake_up_sync(&worker->wake, TASK_INTERRUPTIBLE);
}

void pbr_qp_kick(struct pbr_qp *qp)
{
	if (qp->worker) {
		/* The thread may find nothing yet; queueing the work wakes it again. */
		pbr_worker_wake(qp->worker);
		kthread_mod_delayed_work(qp->worker->thread, &qp->deferred, 0);
	} else {
		mod_delayed_work(pbr_qp_wq(qp), &qp->work, 0);
	}
}

/* Stop permanently; the caller guarantees that no other task refers to the queue pair. */
void pbr_qp_stop_work(struct pbr_qp *qp)
{
	if (qp->worker)
		kthread_cancel_delayed_work_sync(&qp->deferred);
	else
		disable_delayed_work_sync(&qp->work);
}

int pbr_workers_init(void)
{
	pbr_wq = alloc_workqueue("peerbar-rdma", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!pbr_wq)
		return -ENOMEM;
	pbr_gsi_wq = alloc_workqueue("peerbar-rdma-gsi", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (pbr_gsi_wq)
		return 0;
	destroy_workqueue(pbr_wq);
	return -ENOMEM;
}

void pbr_workers_exit(void)
{
	destroy_workqueue(pbr_gsi_wq);
	destroy_workqueue(pbr_wq);
}
