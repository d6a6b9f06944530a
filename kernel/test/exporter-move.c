// SPDX-License-Identifier: GPL-2.0
/*
 * Moves of the test exporter's dma-bufs, by command and periodically.
 */
#include <linux/dma-resv.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "exporter.h"

int test_move(struct test_buffer *t, u32 asked, u32 *now)
{
	unsigned int place;
	int ret;

	if (t->model != PEERBAR_MODEL_DYNAMIC)
		return -EINVAL;
	if (t->vram)
		return test_vram_move(t, asked, now);
	ret = mutex_lock_interruptible(&t->move_lock);
	if (ret)
		return ret;
	ret = test_place(t, asked, &place);
	if (ret || place == t->place)
		goto unlock;
	if (t->core)
		ret = peerbar_buffer_move(t->core, t->places[place].vec, test_change_place, t);
	else
		ret = test_foreign_move(t);
	if (ret)
		goto unlock;
	/* Poison only now: the core was still in the old place when it called @copy. */
	dma_resv_lock(t->dmabuf->resv, NULL);
	test_poison(t, !place);
	dma_resv_unlock(t->dmabuf->resv);
unlock:
	*now = t->place ? PEERBAR_TEST_PLACE_B : PEERBAR_TEST_PLACE_A;
	mutex_unlock(&t->move_lock);
	return ret;
}

/* ---- periodic moves ---- */

/**
 * struct test_mover - moves a dma-buf periodically
 *
 * Uses a thread: a move waits for fences, which may never be signalled, and a signal can end the
 * wait.
 *
 * @node: in the open exporter
 * @t: the buffer
 * @dmabuf: a reference that keeps @t
 * @task: the thread
 * @period_ms: interval; read without a lock
 * @stop: no further moves; set before the signal that interrupts the current one
 */
struct test_mover {
	struct list_head node;
	struct test_buffer *t;
	struct dma_buf *dmabuf;
	struct task_struct *task;
	unsigned int period_ms;
	bool stop;
};

static int test_mover_run(void *arg)
{
	struct test_mover *m = arg;
	ktime_t period;
	u32 place;

	allow_signal(SIGKILL);
	while (!kthread_should_stop()) {
		if (READ_ONCE(m->stop) || signal_pending(current)) {
			schedule_timeout_uninterruptible(1);
			continue;
		}
		/* Retry later if it is pinned or revoked. */
		test_move(m->t, PEERBAR_TEST_PLACE_THERE, &place);
		/* Jiffies are longer than a millisecond. */
		period = ms_to_ktime(READ_ONCE(m->period_ms));
		set_current_state(TASK_INTERRUPTIBLE);
		schedule_hrtimeout(&period, HRTIMER_MODE_REL);
	}
	return 0;
}

static void test_mover_stop(struct test_mover *m)
{
	list_del(&m->node);
	WRITE_ONCE(m->stop, true);
	send_sig(SIGKILL, m->task, 1);
	kthread_stop(m->task);
	dma_buf_put(m->dmabuf);
	kfree(m);
}

static int test_mover_start(struct test_file *f, struct test_buffer *t, unsigned int period_ms)
{
	struct test_mover *m;
	int ret;

	m = kzalloc_obj(*m);
	if (!m)
		return -ENOMEM;
	m->t = t;
	m->period_ms = period_ms;
	m->dmabuf = t->dmabuf;
	get_dma_buf(m->dmabuf);
	m->task = kthread_run(test_mover_run, m, "peerbar-test-move");
	if (IS_ERR(m->task)) {
		ret = PTR_ERR(m->task);
		dma_buf_put(m->dmabuf);
		kfree(m);
		return ret;
	}
	list_add(&m->node, &f->movers);
	return 0;
}

int test_automove(struct test_file *f, struct test_buffer *t, unsigned int period_ms)
{
	struct test_mover *m;

	guard(mutex)(&f->lock);
	list_for_each_entry(m, &f->movers, node) {
		if (m->t != t)
			continue;
		if (period_ms)
			WRITE_ONCE(m->period_ms, period_ms);
		else
			test_mover_stop(m);
		return 0;
	}
	return period_ms ? test_mover_start(f, t, period_ms) : 0;
}

void test_movers_stop(struct test_file *f)
{
	struct test_mover *m, *next;

	list_for_each_entry_safe(m, next, &f->movers, node)
		test_mover_stop(m);
}
