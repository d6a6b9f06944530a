// SPDX-License-Identifier: GPL-2.0
/*
 * A test exporter: dma-bufs of each memory model, in system memory, which it moves, revokes and
 * reads on request. peerbar_test.h documents the requests.
 */
#include <linux/cleanup.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "exporter.h"
#include "ioctl.h"

#define PERIOD_MAX_MS 60000

/* ---- memory ---- */

void test_buffer_free(struct test_buffer *t)
{
	unsigned int place, i;

	for (place = 0; place < 2; place++)
		for (i = 0; i < t->nr_ranges; i++)
			if (t->vec[place][i].len)
				free_pages_exact(phys_to_virt(t->vec[place][i].paddr),
						 t->vec[place][i].len);
	mutex_destroy(&t->move_lock);
	kfree(t);
}

static void test_poison(struct test_buffer *t, unsigned int place)
{
	unsigned int i;

	for (i = 0; i < t->nr_ranges; i++)
		memset(phys_to_virt(t->vec[place][i].paddr), PEERBAR_TEST_POISON,
		       t->vec[place][i].len);
}

static struct test_buffer *test_alloc(const struct peerbar_test_export *arg)
{
	struct test_buffer *t;
	unsigned int place, i;
	void *p;

	t = kzalloc_obj(*t);
	if (!t)
		return ERR_PTR(-ENOMEM);
	mutex_init(&t->move_lock);
	init_waitqueue_head(&t->drained);
	t->model = arg->model;
	t->nr_ranges = arg->nr_ranges;
	for (place = 0; place < (t->model == PEERBAR_MODEL_DYNAMIC ? 2 : 1); place++) {
		for (i = 0; i < t->nr_ranges; i++) {
			p = alloc_pages_exact(arg->lengths[i],
					      GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
			if (!p)
				goto err;
			t->vec[place][i].paddr = virt_to_phys(p);
			t->vec[place][i].len = arg->lengths[i];
		}
	}
	for (i = 0; i < t->nr_ranges; i++)
		t->size += arg->lengths[i];
	if (t->model == PEERBAR_MODEL_DYNAMIC)
		test_poison(t, 1);
	return t;

err:
	test_buffer_free(t);
	return ERR_PTR(-ENOMEM);
}

/* The address of a byte of a place, and in @left the contiguous bytes; NULL past the end. */
static void *test_at(struct test_buffer *t, unsigned int place, u64 offset, size_t *left)
{
	unsigned int i;

	for (i = 0; i < t->nr_ranges; i++) {
		const struct phys_vec *vec = &t->vec[place][i];

		if (offset < vec->len) {
			*left = vec->len - offset;
			return phys_to_virt(vec->paddr) + offset;
		}
		offset -= vec->len;
	}
	return NULL;
}

/* Resolve enum peerbar_test_place to 0 or 1. */
static int test_place(struct test_buffer *t, u32 asked, unsigned int *place)
{
	if (asked > PEERBAR_TEST_PLACE_B)
		return -EINVAL;
	if (asked == PEERBAR_TEST_PLACE_HERE || asked == PEERBAR_TEST_PLACE_THERE)
		*place = t->place ^ (asked == PEERBAR_TEST_PLACE_THERE);
	else
		*place = asked == PEERBAR_TEST_PLACE_B;
	return *place && t->model != PEERBAR_MODEL_DYNAMIC ? -ENXIO : 0;
}

/* ---- buffers of the core ---- */

static int test_core_enter(struct peerbar_buffer *buf)
{
	struct test_buffer *t = buf->info.priv;

	return t->revoked ? -ENODEV : 0;
}

static void test_core_release(struct peerbar_buffer *buf)
{
	test_buffer_free(buf->info.priv);
}

static const struct peerbar_backing_ops test_core_ops = {
	.enter = test_core_enter,
	.release = test_core_release,
};

static int test_core_export(struct test_buffer *t)
{
	static const char *const names[] = {
		[PEERBAR_MODEL_PINNED] = "test-pinned",
		[PEERBAR_MODEL_REVOCABLE] = "test-revocable",
		[PEERBAR_MODEL_DYNAMIC] = "test-dynamic",
	};
	struct peerbar_buffer_info info = {
		.owner = THIS_MODULE,
		.name = names[t->model],
		.ops = &test_core_ops,
		.priv = t,
		.model = t->model,
		.memattr = PEERBAR_MEMATTR_WB,
		.open_flags = O_RDWR | O_CLOEXEC,
		.ranges = t->vec[0],
		.nr_ranges = t->nr_ranges,
	};

	t->core = peerbar_buffer_create(&info);
	if (IS_ERR(t->core))
		return PTR_ERR(t->core);
	t->dmabuf = t->core->dmabuf;
	return 0;
}

/* ---- moves ---- */

/* Caller holds the reservation lock and @move_lock; nothing accesses the old place any more. */
int test_change_place(struct peerbar_buffer *buf, void *arg)
{
	struct test_buffer *t = arg;
	unsigned int i;

	dma_resv_assert_held(t->dmabuf->resv);
	lockdep_assert_held(&t->move_lock);
	for (i = 0; i < t->nr_ranges; i++)
		memcpy(phys_to_virt(t->vec[!t->place][i].paddr),
		       phys_to_virt(t->vec[t->place][i].paddr), t->vec[0][i].len);
	t->place = !t->place;
	t->moves++;
	return 0;
}

static int test_move(struct test_buffer *t, u32 asked, u32 *now)
{
	unsigned int place;
	int ret;

	if (t->model != PEERBAR_MODEL_DYNAMIC)
		return -EINVAL;
	ret = mutex_lock_interruptible(&t->move_lock);
	if (ret)
		return ret;
	ret = test_place(t, asked, &place);
	if (ret || place == t->place)
		goto unlock;
	if (t->core)
		ret = peerbar_buffer_move(t->core, t->vec[place], test_change_place, t);
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
 * struct test_file - an open exporter
 * @lock: protects @movers
 * @movers: dma-bufs that move periodically, until the exporter is closed
 */
struct test_file {
	struct mutex lock; /* see above */
	struct list_head movers;
};

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
	u32 place;

	allow_signal(SIGKILL);
	while (!kthread_should_stop()) {
		if (READ_ONCE(m->stop) || signal_pending(current)) {
			schedule_timeout_uninterruptible(1);
			continue;
		}
		/* Retry later if it is pinned or revoked. */
		test_move(m->t, PEERBAR_TEST_PLACE_THERE, &place);
		schedule_timeout_interruptible(msecs_to_jiffies(READ_ONCE(m->period_ms)));
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

/* ---- revocation ---- */

static int test_core_revoke(struct test_buffer *t, bool for_good)
{
	int ret;

	if (for_good)
		return peerbar_buffer_kill(t->core, true);
	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	t->revoked = true;
	peerbar_buffer_revoke_locked(t->core);
	dma_resv_unlock(t->dmabuf->resv);
	return peerbar_buffer_revoke(t->core, true);
}

static int test_restore(struct test_buffer *t)
{
	int ret;

	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	WRITE_ONCE(t->revoked, t->dead);
	ret = t->dead ? -ENODEV : 0;
	dma_resv_unlock(t->dmabuf->resv);
	if (t->core && peerbar_buffer_settle(t->core) != PEERBAR_STATE_LIVE)
		ret = -ENODEV;
	return ret;
}

/* ---- ioctl()s ---- */

/* The test buffer of a descriptor, with a reference to its dma-buf. */
static struct test_buffer *test_get(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);
	struct peerbar_buffer *buf;

	if (IS_ERR(dmabuf))
		return ERR_CAST(dmabuf);
	buf = peerbar_buffer_of(dmabuf);
	if (buf && buf->info.ops == &test_core_ops)
		return buf->info.priv;
	if (test_is_foreign(dmabuf))
		return dmabuf->priv;
	dma_buf_put(dmabuf);
	return ERR_PTR(-EINVAL);
}

static void test_put(struct test_buffer *t)
{
	if (!IS_ERR(t))
		dma_buf_put(t->dmabuf);
}

DEFINE_FREE(test_put, struct test_buffer *, test_put(_T))

static long test_ioctl_export(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_export *arg = argp;
	struct test_buffer *t;
	unsigned int i;
	int ret;

	if (arg->reserved || arg->source > PEERBAR_TEST_SOURCE_REFUSING ||
	    arg->model < PEERBAR_MODEL_PINNED || arg->model > PEERBAR_MODEL_DYNAMIC ||
	    !arg->nr_ranges || arg->nr_ranges > PEERBAR_TEST_RANGES)
		return -EINVAL;
	for (i = 0; i < PEERBAR_TEST_RANGES; i++)
		if (arg->lengths[i] > PEERBAR_TEST_RANGE_MAX || !PAGE_ALIGNED(arg->lengths[i]) ||
		    !arg->lengths[i] != !(i < arg->nr_ranges))
			return -EINVAL;

	t = test_alloc(arg);
	if (IS_ERR(t))
		return PTR_ERR(t);
	ret = arg->source == PEERBAR_TEST_SOURCE_CORE ? test_core_export(t) :
							test_foreign_export(t, arg->source);
	if (ret) {
		test_buffer_free(t);
		return ret;
	}
	/* From here on, the dma-buf's release frees the buffer. */
	ret = dma_buf_fd(t->dmabuf, O_CLOEXEC);
	if (ret < 0)
		test_put(t);
	return ret;
}

static long test_ioctl_move(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_move *arg = argp;
	struct test_buffer *t __free(test_put) = test_get(arg->fd);

	if (IS_ERR(t))
		return PTR_ERR(t);
	return test_move(t, arg->place, &arg->place);
}

static long test_ioctl_automove(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_automove *arg = argp;
	struct test_buffer *t __free(test_put) = test_get(arg->fd);
	struct test_file *f = priv;
	struct test_mover *m;

	if (IS_ERR(t))
		return PTR_ERR(t);
	if (t->model != PEERBAR_MODEL_DYNAMIC || arg->period_ms > PERIOD_MAX_MS)
		return -EINVAL;
	guard(mutex)(&f->lock);
	list_for_each_entry(m, &f->movers, node) {
		if (m->t != t)
			continue;
		if (arg->period_ms)
			WRITE_ONCE(m->period_ms, arg->period_ms);
		else
			test_mover_stop(m);
		return 0;
	}
	return arg->period_ms ? test_mover_start(f, t, arg->period_ms) : 0;
}

static long test_ioctl_access(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_fd *arg = argp;
	struct test_buffer *t __free(test_put) = test_get(arg->fd);

	if (IS_ERR(t))
		return PTR_ERR(t);
	if (arg->reserved)
		return -EINVAL;
	if (t->model == PEERBAR_MODEL_PINNED)
		return -EOPNOTSUPP;
	if (cmd == PEERBAR_TEST_RESTORE)
		return test_restore(t);
	return t->core ? test_core_revoke(t, cmd == PEERBAR_TEST_KILL) :
			 test_foreign_revoke(t, cmd == PEERBAR_TEST_KILL);
}

/* Copy between @bytes and a place. */
static int test_copy(struct test_buffer *t, const struct peerbar_test_io *arg, void *bytes,
		     bool write)
{
	size_t left, step, done;
	unsigned int place;
	void *p;
	int ret;

	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = test_place(t, arg->place, &place);
	for (done = 0; !ret && done < arg->length; done += step) {
		/* Not past the end: the caller has checked. */
		p = test_at(t, place, arg->offset + done, &left);
		step = min(left, arg->length - done);
		if (write)
			memcpy(p, bytes + done, step);
		else
			memcpy(bytes + done, p, step);
	}
	dma_resv_unlock(t->dmabuf->resv);
	return ret;
}

static long test_ioctl_io(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_io *arg = argp;
	struct test_buffer *t __free(test_put) = test_get(arg->fd);
	void __user *user = u64_to_user_ptr(arg->data);
	bool write = cmd == PEERBAR_TEST_WRITE;
	void *bytes;
	int ret;

	if (IS_ERR(t))
		return PTR_ERR(t);
	if (arg->length > PEERBAR_TEST_IO_MAX)
		return -EINVAL;
	if (arg->offset > t->size || arg->length > t->size - arg->offset)
		return -ERANGE;
	bytes = kvmalloc(arg->length, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	if (write && copy_from_user(bytes, user, arg->length)) {
		ret = -EFAULT;
		goto free;
	}
	ret = test_copy(t, arg, bytes, write);
	if (!ret && !write && copy_to_user(user, bytes, arg->length))
		ret = -EFAULT;
free:
	kvfree(bytes);
	return ret;
}

static long test_ioctl_where(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_where *arg = argp;
	struct test_buffer *t __free(test_put) = test_get(arg->fd);
	unsigned int place;
	size_t left;
	void *p;
	int ret;

	if (IS_ERR(t))
		return PTR_ERR(t);
	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = test_place(t, arg->place, &place);
	if (ret)
		goto unlock;
	p = test_at(t, place, arg->offset, &left);
	if (!p) {
		ret = -ERANGE;
		goto unlock;
	}
	arg->place = place ? PEERBAR_TEST_PLACE_B : PEERBAR_TEST_PLACE_A;
	arg->paddr = virt_to_phys(p);
	arg->moves = t->moves;
	arg->maps = t->core ? t->core->dma_maps : t->maps;
unlock:
	dma_resv_unlock(t->dmabuf->resv);
	return ret;
}

static const struct test_ioctl test_ioctls[] = {
	{ PEERBAR_TEST_EXPORT, test_ioctl_export },	{ PEERBAR_TEST_MOVE, test_ioctl_move },
	{ PEERBAR_TEST_AUTOMOVE, test_ioctl_automove }, { PEERBAR_TEST_REVOKE, test_ioctl_access },
	{ PEERBAR_TEST_RESTORE, test_ioctl_access },	{ PEERBAR_TEST_KILL, test_ioctl_access },
	{ PEERBAR_TEST_READ, test_ioctl_io },		{ PEERBAR_TEST_WRITE, test_ioctl_io },
	{ PEERBAR_TEST_WHERE, test_ioctl_where },
};

static long test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return test_ioctl_dispatch(test_ioctls, ARRAY_SIZE(test_ioctls), file, cmd, arg);
}

static int test_open(struct inode *inode, struct file *file)
{
	struct test_file *f;

	f = kzalloc_obj(*f);
	if (!f)
		return -ENOMEM;
	mutex_init(&f->lock);
	INIT_LIST_HEAD(&f->movers);
	file->private_data = f;
	return 0;
}

static int test_close(struct inode *inode, struct file *file)
{
	struct test_file *f = file->private_data;
	struct test_mover *m, *next;

	list_for_each_entry_safe(m, next, &f->movers, node)
		test_mover_stop(m);
	mutex_destroy(&f->lock);
	kfree(f);
	return 0;
}

static const struct file_operations test_fops = {
	.owner = THIS_MODULE,
	.open = test_open,
	.release = test_close,
	.unlocked_ioctl = test_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = PEERBAR_TEST_EXPORTER,
	.fops = &test_fops,
	.mode = 0600,
};

static int __init test_init(void)
{
	int ret;

	ret = peerbar_exporter_register(&test_declared_exporter);
	if (ret)
		return ret;
	ret = misc_register(&test_misc);
	if (ret)
		peerbar_exporter_unregister(&test_declared_exporter);
	return ret;
}

static void __exit test_exit(void)
{
	misc_deregister(&test_misc);
	peerbar_exporter_unregister(&test_declared_exporter);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("peerbar test: an exporter");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
