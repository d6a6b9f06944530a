// SPDX-License-Identifier: GPL-2.0
/*
 * A test exporter: dma-bufs of each memory model, in system memory and in a BAR, which it moves,
 * revokes and reads on request. peerbar_test.h documents the requests.
 */
#include <linux/cleanup.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "exporter.h"
#include "ioctl.h"

#define PERIOD_MAX_MS 60000

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
		.ranges = t->places[TEST_PLACE_A].vec,
		.nr_ranges = t->places[TEST_PLACE_A].nr,
	};

	t->core = peerbar_buffer_create(&info);
	if (IS_ERR(t->core))
		return PTR_ERR(t->core);
	t->dmabuf = t->core->dmabuf;
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
	if (test_is_foreign(dmabuf) || test_is_vram(dmabuf))
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

	t = test_buffer_alloc(arg);
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

static long test_ioctl_export_vram(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_export_vram *arg = argp;
	struct test_buffer *t;
	int ret;

	t = test_vram_export(arg);
	if (IS_ERR(t))
		return PTR_ERR(t);
	ret = dma_buf_fd(t->dmabuf, O_CLOEXEC);
	if (ret < 0)
		test_put(t);
	return ret;
}

static long test_ioctl_fail(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_fail *arg = argp;
	struct test_buffer *t __free(test_put) = test_get(arg->fd);
	int ret;

	if (IS_ERR(t))
		return PTR_ERR(t);
	if (t->core)
		return -EOPNOTSUPP;
	if (arg->operation > PEERBAR_TEST_FAIL_PIN || arg->error > MAX_ERRNO)
		return -EINVAL;
	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	t->failures[arg->operation].error = arg->error;
	t->failures[arg->operation].times = arg->times;
	dma_resv_unlock(t->dmabuf->resv);
	return 0;
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

	if (IS_ERR(t))
		return PTR_ERR(t);
	if (t->model != PEERBAR_MODEL_DYNAMIC || arg->period_ms > PERIOD_MAX_MS)
		return -EINVAL;
	return test_automove(priv, t, arg->period_ms);
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

static long test_ioctl_copy(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_fd *arg = argp;
	struct test_buffer *t __free(test_put) = test_get(arg->fd);

	if (IS_ERR(t))
		return PTR_ERR(t);
	if (arg->reserved)
		return -EINVAL;
	return cmd == PEERBAR_TEST_COPY_BEGIN ? test_copy_begin(t) : test_copy_end(t);
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
	phys_addr_t paddr;
	int ret;

	if (IS_ERR(t))
		return PTR_ERR(t);
	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = test_place(t, arg->place, &place);
	if (!ret)
		ret = test_paddr(t, place, arg->offset, &paddr);
	if (ret)
		goto unlock;
	arg->place = PEERBAR_TEST_PLACE_A + place;
	arg->paddr = paddr;
	arg->bar_offset = t->places[place].bar ? paddr - t->vram->start : PEERBAR_TEST_NO_BAR;
	arg->moves = t->moves;
	arg->pins = t->core ? t->core->pins : t->pins;
	arg->maps = t->core ? t->core->dma_maps : t->maps;
unlock:
	dma_resv_unlock(t->dmabuf->resv);
	return ret;
}

static const struct test_ioctl test_ioctls[] = {
	{ PEERBAR_TEST_EXPORT, test_ioctl_export },
	{ PEERBAR_TEST_MOVE, test_ioctl_move },
	{ PEERBAR_TEST_AUTOMOVE, test_ioctl_automove },
	{ PEERBAR_TEST_REVOKE, test_ioctl_access },
	{ PEERBAR_TEST_RESTORE, test_ioctl_access },
	{ PEERBAR_TEST_KILL, test_ioctl_access },
	{ PEERBAR_TEST_READ, test_ioctl_io },
	{ PEERBAR_TEST_WRITE, test_ioctl_io },
	{ PEERBAR_TEST_WHERE, test_ioctl_where },
	{ PEERBAR_TEST_FAIL, test_ioctl_fail },
	{ PEERBAR_TEST_EXPORT_VRAM, test_ioctl_export_vram },
	{ PEERBAR_TEST_COPY_BEGIN, test_ioctl_copy },
	{ PEERBAR_TEST_COPY_END, test_ioctl_copy },
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

	test_movers_stop(f);
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
	ret = peerbar_exporter_register(&test_vram_declared);
	if (ret)
		goto err_exporter;
	ret = test_vram_register();
	if (ret)
		goto err_declared;
	ret = misc_register(&test_misc);
	if (ret)
		goto err_vram;
	return 0;

err_vram:
	test_vram_unregister();
err_declared:
	peerbar_exporter_unregister(&test_vram_declared);
err_exporter:
	peerbar_exporter_unregister(&test_declared_exporter);
	return ret;
}

static void __exit test_exit(void)
{
	misc_deregister(&test_misc);
	test_vram_unregister();
	peerbar_exporter_unregister(&test_vram_declared);
	peerbar_exporter_unregister(&test_declared_exporter);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("peerbar test: an exporter");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
