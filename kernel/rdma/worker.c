// SPDX-License-Identifier: GPL-2.0
/*
 * The thread that does what the queue pairs of a process have deferred: requests that waited, what was posted behind them, and
 * flushes. It is in the cgroups of that process and has its nice value. So the work is accounted to the process, and a process
 * that has much to do holds up no other's flushes.
 */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "rdma.h"

/**
 * struct pb_worker - the thread of a process
 * @tgid: the process; a queue pair that a child makes on an inherited context is the child's
 * @users: its queue pairs, and contexts that had one
 * @join: has the thread join the cgroups of @owner, which is NULL when it has
 */
struct pb_worker {
	struct hlist_node node;
	struct pid *tgid;
	struct kthread_worker *thread;
	unsigned int users;
	struct kthread_work join;
	struct task_struct *owner;
};

static DEFINE_HASHTABLE(pb_workers, 8);
static DEFINE_MUTEX(pb_workers_lock); /* the table, and the counts of users; taken last */

static void pb_worker_join(struct kthread_work *work)
{
	struct pb_worker *worker = container_of(work, struct pb_worker, join);
	struct task_struct *owner = xchg(&worker->owner, NULL);
	int ret;

	if (!owner)
		return;
	ret = cgroup_attach_task_all(owner, current);
	if (ret)
		pr_notice_ratelimited("peerbar-rdma: deferred work of process %d is not accounted to its cgroups: error %d\n",
				      task_tgid_nr(owner), ret);
	set_user_nice(current, task_nice(owner));
	put_task_struct(owner);
}

static bool pb_worker_has_joined(const struct pb_worker *worker)
{
#ifdef CONFIG_CGROUPS
	/* tasks that are in the same cgroups have the same set of them */
	return rcu_access_pointer(worker->thread->task->cgroups) == rcu_access_pointer(current->cgroups);
#else
	return true;
#endif
}

static void pb_worker_follow(struct pb_worker *worker)
{
	struct task_struct *old;

	if (pb_worker_has_joined(worker) && task_nice(worker->thread->task) == task_nice(current))
		return;
	old = xchg(&worker->owner, get_task_struct(current));
	if (old)
		put_task_struct(old);
	kthread_queue_work(worker->thread, &worker->join);
}

static struct pb_worker *pb_worker_create(struct pid *tgid)
{
	struct pb_worker *worker;

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
	kthread_init_work(&worker->join, pb_worker_join);
	hash_add(pb_workers, &worker->node, (unsigned long)tgid);
	return worker;
}

/* For a queue pair that the current process makes on @ctx; follows the process if it was moved to other cgroups. */
struct pb_worker *pb_worker_get(struct pb_ucontext *ctx)
{
	struct pid *tgid = task_tgid(current);
	struct pb_worker *worker;

	guard(mutex)(&pb_workers_lock);
	hash_for_each_possible(pb_workers, worker, node, (unsigned long)tgid)
		if (worker->tgid == tgid)
			goto found;
	worker = pb_worker_create(tgid);
	if (IS_ERR(worker))
		return worker;
found:
	worker->users++;
	if (!ctx->worker) {
		worker->users++;
		ctx->worker = worker;
	}
	pb_worker_follow(worker);
	return worker;
}

void pb_worker_put(struct pb_worker *worker)
{
	scoped_guard(mutex, &pb_workers_lock) {
		if (--worker->users)
			return;
		hash_del(&worker->node);
	}
	kthread_destroy_worker(worker->thread);
	put_pid(worker->tgid);
	kfree(worker);
}

/* ---- of one queue pair; the kernel's own have the workqueues ---- */

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

/* The connection manager's messages do not wait behind others' work. */
static struct workqueue_struct *pb_qp_wq(const struct pb_qp *qp)
{
	return qp->ib.qp_type == IB_QPT_GSI ? pb_gsi_wq : pb_wq;
}

void pb_qp_defer(struct pb_qp *qp, unsigned long delay)
{
	if (qp->worker)
		kthread_queue_delayed_work(qp->worker->thread, &qp->deferred, delay);
	else
		queue_delayed_work(pb_qp_wq(qp), &qp->work, delay);
}

void pb_qp_kick(struct pb_qp *qp)
{
	if (qp->worker)
		kthread_mod_delayed_work(qp->worker->thread, &qp->deferred, 0);
	else
		mod_delayed_work(pb_qp_wq(qp), &qp->work, 0);
}

/* For good; the caller made sure that nobody else refers to the queue pair. */
void pb_qp_stop_work(struct pb_qp *qp)
{
	if (qp->worker)
		kthread_cancel_delayed_work_sync(&qp->deferred);
	else
		disable_delayed_work_sync(&qp->work);
}
