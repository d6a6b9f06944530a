// SPDX-License-Identifier: GPL-2.0
/*
 * A test importer: attaches to dma-bufs as each kind of importer, keeps mappings, and unmaps late
 * or never. peerbar_test.h documents the requests.
 */
#define pr_fmt(fmt) "peerbar-test-importer: " fmt

#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "importer.h"
#include "ioctl.h"

static void test_invalidate(struct dma_buf_attachment *attach);

/* Importers that keep their mappings, and importers that can be invalidated */
static const struct dma_buf_attach_ops test_keeps = {
	.allow_peer2peer = true,
};

static const struct dma_buf_attach_ops test_lets_go = {
	.allow_peer2peer = true,
	.invalidate_mappings = test_invalidate,
};

/**
 * struct test_kind - a kind of importer
 * @ops: attachment operations; NULL: dma_buf_attach()
 * @models: the models that it accepts, one bit for each
 * @pins: it pins after attaching
 * @late: when invalidated, it unmaps later
 * @fenced: while mapped, it has a fence
 * @follows: it can map again after an invalidation
 */
struct test_kind {
	const struct dma_buf_attach_ops *ops;
	unsigned int models;
	bool pins;
	bool late;
	bool fenced;
	bool follows;
};

#define STAYS BIT(PEERBAR_MODEL_PINNED)
#define GOES  BIT(PEERBAR_MODEL_REVOCABLE)
#define MOVES BIT(PEERBAR_MODEL_DYNAMIC)
#define ANY   (STAYS | GOES | MOVES | BIT(PEERBAR_MODEL_UNKNOWN))

static const struct test_kind test_kinds[] = {
	[PEERBAR_TEST_KIND_STATIC] = { .models = STAYS },
	[PEERBAR_TEST_KIND_PINNING] = { .ops = &test_keeps, .models = STAYS, .pins = true },
	[PEERBAR_TEST_KIND_REVOCABLE] = { .ops = &test_lets_go, .models = STAYS | GOES },
	[PEERBAR_TEST_KIND_LATE] = { .ops = &test_lets_go, .models = STAYS | GOES, .late = true },
	[PEERBAR_TEST_KIND_FENCED] = { .ops = &test_lets_go,
				       .models = STAYS | GOES,
				       .late = true,
				       .fenced = true },
	[PEERBAR_TEST_KIND_DYNAMIC] = { .ops = &test_lets_go, .models = ANY, .follows = true },
};

static DEFINE_MUTEX(test_imports_lock);
static LIST_HEAD(test_imports);

static struct miscdevice test_misc;

/* ---- fences ---- */

static const char *test_fence_name(struct dma_fence *fence)
{
	return PEERBAR_TEST_IMPORTER;
}

/* Without wait and release operations, a signalled fence does not need this module any more. */
static const struct dma_fence_ops test_fence_ops = {
	.get_driver_name = test_fence_name,
	.get_timeline_name = test_fence_name,
};

static void test_signal(struct test_import *p)
{
	struct dma_fence *fence = xchg(&p->fence, NULL);

	if (!fence)
		return;
	dma_fence_signal(fence);
	dma_fence_put(fence);
}

/* ---- unmapping ---- */

static void test_unmap(struct test_import *p)
{
	dma_resv_assert_held(p->dmabuf->resv);
	if (!p->sgt)
		return;
	cancel_delayed_work(&p->work);
	test_signal(p);
	dma_buf_unmap_attachment(p->attach, p->sgt, p->dir);
	WRITE_ONCE(p->sgt, NULL);
}

static void test_invalidate(struct dma_buf_attachment *attach)
{
	struct test_import *p = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	WRITE_ONCE(p->invalidations, p->invalidations + 1);
	if (!p->sgt)
		return;
	WRITE_ONCE(p->stale, true);
	if (!p->kind->late)
		test_unmap(p);
	else if (p->delay_ms != PEERBAR_TEST_NEVER)
		schedule_delayed_work(&p->work, msecs_to_jiffies(p->delay_ms));
}

static void test_work(struct work_struct *work)
{
	struct test_import *p = container_of(to_delayed_work(work), struct test_import, work);

	if (READ_ONCE(p->stale))
		test_signal(p);
	dma_resv_lock(p->dmabuf->resv, NULL);
	if (p->stale)
		test_unmap(p);
	dma_resv_unlock(p->dmabuf->resv);
}

/* Unmap and unpin permanently. */
static void test_close_import(struct test_import *p)
{
	test_signal(p);
	dma_resv_lock(p->dmabuf->resv, NULL);
	WRITE_ONCE(p->closed, true);
	test_unmap(p);
	if (p->pinned)
		dma_buf_unpin(p->attach);
	p->pinned = false;
	dma_resv_unlock(p->dmabuf->resv);
}

/*
 * Unmap for a device that is being removed, as its driver would. The device is no longer on the
 * bus, so no lookup finds it any more. The priority makes this run before the IOMMU's notifier.
 */
static int test_bus_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	struct test_import *p;

	if (action != BUS_NOTIFY_REMOVED_DEVICE)
		return NOTIFY_DONE;
	guard(mutex)(&test_imports_lock);
	list_for_each_entry(p, &test_imports, node)
		if (p->dev == data)
			test_close_import(p);
	return NOTIFY_OK;
}

static struct notifier_block test_bus_nb = {
	.notifier_call = test_bus_notify,
	.priority = 1,
};

/* ---- attachments ---- */

void test_import_put(struct test_import *p)
{
	if (!p || !refcount_dec_and_test(&p->refs))
		return;
	put_device(p->dev);
	dma_buf_put(p->dmabuf);
	kfree(p);
}

/* Also handles a partly attached import. */
static void test_detach(struct test_import *p)
{
	test_close_import(p);
	cancel_delayed_work_sync(&p->work);
	if (p->attach)
		dma_buf_detach(p->dmabuf, p->attach);
	scoped_guard(mutex, &test_imports_lock)
		list_del_init(&p->node);
	test_import_put(p);
}

struct test_import *test_import_get(struct xarray *imports, u32 handle)
{
	struct test_import *p;

	xa_lock(imports);
	p = xa_load(imports, handle);
	if (p)
		refcount_inc(&p->refs);
	xa_unlock(imports);
	return p;
}

int test_import_lock(struct test_import *p)
{
	int ret;

	ret = dma_resv_lock_interruptible(p->dmabuf->resv, NULL);
	if (ret)
		return ret;
	if (!p->closed)
		return 0;
	dma_resv_unlock(p->dmabuf->resv);
	return -ENODEV;
}

void test_import_unlock(struct test_import *p)
{
	dma_resv_unlock(p->dmabuf->resv);
}

/* Whether an importer of @kind accepts the dma-buf. */
static bool test_takes(const struct test_kind *kind, struct dma_buf *dmabuf)
{
	static const char *const why[] = {
		[PEERBAR_MODEL_UNKNOWN] =
			"its memory model is UNKNOWN, and this importer cannot follow a move",
		[PEERBAR_MODEL_REVOCABLE] =
			"its memory model is REVOCABLE, and this importer cannot be revoked",
		[PEERBAR_MODEL_DYNAMIC] =
			"its memory model is DYNAMIC, and this importer cannot follow a move",
	};
	enum peerbar_model model = peerbar_dma_buf_model(dmabuf, NULL);

	if (kind->models & BIT(model))
		return true;
	pr_info_ratelimited("cannot attach to a dma-buf: %s\n", why[model]);
	return false;
}

/* Add @p to the list, with the device of that name, or the test device if @name is empty. */
static int test_add(struct test_import *p, const char *name)
{
	guard(mutex)(&test_imports_lock);
	if (*name)
		p->dev = bus_find_device_by_name(&pci_bus_type, NULL, name);
	else
		p->dev = get_device(test_misc.this_device);
	if (!p->dev)
		return -ENODEV;
	list_add(&p->node, &test_imports);
	return 0;
}

static int test_attach(struct test_import *p)
{
	struct dma_buf_attachment *attach;
	int ret;

	if (p->kind->ops)
		attach = dma_buf_dynamic_attach(p->dmabuf, p->dev, p->kind->ops, p);
	else
		attach = dma_buf_attach(p->dmabuf, p->dev);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	p->attach = attach;
	if (!p->kind->pins)
		return 0;
	ret = test_import_lock(p);
	if (ret)
		return ret;
	ret = dma_buf_pin(attach);
	p->pinned = !ret;
	test_import_unlock(p);
	return ret;
}

static long test_ioctl_attach(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_attach *arg = argp;
	const struct test_kind *kind;
	struct xarray *imports = priv;
	struct test_import *p;
	struct dma_buf *dmabuf;
	u32 handle;
	int ret;

	if (arg->kind >= ARRAY_SIZE(test_kinds) ||
	    (arg->flags & ~(PEERBAR_TEST_ATTACH_ANY | PEERBAR_TEST_ATTACH_AGAIN)) ||
	    strnlen(arg->device, sizeof(arg->device)) == sizeof(arg->device))
		return -EINVAL;
	kind = &test_kinds[arg->kind];
	if (arg->delay_ms && !kind->late)
		return -EINVAL;
	dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (!(arg->flags & PEERBAR_TEST_ATTACH_ANY) && !test_takes(kind, dmabuf)) {
		ret = -EOPNOTSUPP;
		goto err_dmabuf;
	}
	p = kzalloc_obj(*p);
	if (!p) {
		ret = -ENOMEM;
		goto err_dmabuf;
	}
	INIT_LIST_HEAD(&p->node);
	refcount_set(&p->refs, 1);
	p->dmabuf = dmabuf;
	p->kind = kind;
	p->follows = kind->follows || (arg->flags & PEERBAR_TEST_ATTACH_AGAIN);
	p->delay_ms = arg->delay_ms;
	INIT_DELAYED_WORK(&p->work, test_work);
	p->fence_context = dma_fence_context_alloc(1);
	ret = test_add(p, arg->device);
	if (ret)
		goto err_import;
	ret = test_attach(p);
	if (ret)
		goto err_import;
	ret = xa_alloc(imports, &handle, p, XA_LIMIT(1, INT_MAX), GFP_KERNEL);
	if (ret)
		goto err_import;
	return handle;

err_import:
	test_detach(p);
	return ret;
err_dmabuf:
	dma_buf_put(dmabuf);
	return ret;
}

static long test_ioctl_detach(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_handle *arg = argp;
	struct test_import *p;

	if (arg->reserved)
		return -EINVAL;
	p = xa_erase(priv, arg->handle);
	if (!p)
		return -ENOENT;
	test_detach(p);
	return 0;
}

/* ---- mappings ---- */

/* Map; if @fence is not NULL, the attachment takes it over on success. */
static int test_map(struct test_import *p, enum dma_data_direction dir, struct dma_fence *fence)
{
	struct dma_resv *resv = p->dmabuf->resv;
	struct sg_table *sgt;
	long ret;

	if (p->sgt)
		return -EBUSY;
	if (p->stale && !p->follows)
		return -ESTALE;
	if (fence) {
		ret = dma_resv_reserve_fences(resv, 1);
		if (ret)
			return ret;
	}
	sgt = dma_buf_map_attachment(p->attach, dir);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	/* A moving exporter fills the new place before this, and does not wait for importers. */
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0) {
		dma_buf_unmap_attachment(p->attach, sgt, dir);
		return ret;
	}
	p->dir = dir;
	WRITE_ONCE(p->stale, false);
	WRITE_ONCE(p->sgt, sgt);
	if (fence) {
		dma_fence_init(fence, &test_fence_ops, NULL, p->fence_context, ++p->fence_seqno);
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_BOOKKEEP);
		/* An import without a mapping had no fence. */
		WARN_ON_ONCE(xchg(&p->fence, fence));
	}
	return 0;
}

static long test_ioctl_map(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_map *arg = argp;
	struct test_import *p __free(test_import_put) = test_import_get(priv, arg->handle);
	struct dma_fence *fence = NULL;
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	if (!p)
		return -ENOENT;
	if (arg->reserved || arg->direction > DMA_FROM_DEVICE)
		return -EINVAL;
	if (p->kind->fenced) {
		fence = kzalloc_obj(*fence);
		if (!fence)
			return -ENOMEM;
	}
	ret = test_import_lock(p);
	if (ret)
		goto err;
	ret = test_map(p, arg->direction, fence);
	if (ret)
		goto err_unlock;
	memset(arg->segments, 0, sizeof(arg->segments));
	for_each_sgtable_dma_sg(p->sgt, sg, i) {
		if (i >= PEERBAR_TEST_SEGMENTS)
			continue;
		arg->segments[i].addr = sg_dma_address(sg);
		arg->segments[i].len = sg_dma_len(sg);
	}
	arg->nr_segments = i;
	test_import_unlock(p);
	return 0;

err_unlock:
	test_import_unlock(p);
err:
	kfree(fence);
	return ret;
}

static long test_ioctl_unmap(void *priv, unsigned int cmd, void *argp)
{
	const struct peerbar_test_handle *arg = argp;
	struct test_import *p __free(test_import_put) = test_import_get(priv, arg->handle);
	int ret;

	if (!p)
		return -ENOENT;
	if (arg->reserved)
		return -EINVAL;
	if (cmd == PEERBAR_TEST_RELEASE && !p->kind->late)
		return -EINVAL;
	test_signal(p);
	ret = test_import_lock(p);
	if (ret)
		return ret;
	if (cmd == PEERBAR_TEST_UNMAP && !p->sgt)
		ret = -EINVAL;
	if (cmd == PEERBAR_TEST_UNMAP || p->stale)
		test_unmap(p);
	test_import_unlock(p);
	return ret;
}

static long test_ioctl_status(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_status *arg = argp;
	struct test_import *p __free(test_import_put) = test_import_get(priv, arg->handle);

	if (!p)
		return -ENOENT;
	if (arg->reserved)
		return -EINVAL;
	arg->flags = (READ_ONCE(p->sgt) ? PEERBAR_TEST_STATUS_MAPPED : 0) |
		(READ_ONCE(p->stale) ? PEERBAR_TEST_STATUS_STALE : 0) |
		(READ_ONCE(p->fence) ? PEERBAR_TEST_STATUS_FENCE : 0) |
		(READ_ONCE(p->closed) ? PEERBAR_TEST_STATUS_GONE : 0);
	arg->invalidations = READ_ONCE(p->invalidations);
	return 0;
}

/* ---- device ---- */

/* Mark the BARs of a device unmappable, or undo it. */
static long test_ioctl_unmappable(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_unmappable *arg = argp;
	struct device *dev;

	if (arg->unmappable > 1 || strnlen(arg->device, sizeof(arg->device)) == sizeof(arg->device))
		return -EINVAL;
	dev = bus_find_device_by_name(&pci_bus_type, NULL, arg->device);
	if (!dev)
		return -ENODEV;
	device_lock(dev);
	to_pci_dev(dev)->non_mappable_bars = arg->unmappable;
	device_unlock(dev);
	put_device(dev);
	return 0;
}

static const struct test_ioctl test_ioctls[] = {
	{ PEERBAR_TEST_ATTACH, test_ioctl_attach },
	{ PEERBAR_TEST_MAP, test_ioctl_map },
	{ PEERBAR_TEST_UNMAP, test_ioctl_unmap },
	{ PEERBAR_TEST_DETACH, test_ioctl_detach },
	{ PEERBAR_TEST_RELEASE, test_ioctl_unmap },
	{ PEERBAR_TEST_STATUS, test_ioctl_status },
	{ PEERBAR_TEST_CHUNKS, test_ioctl_chunks },
	{ PEERBAR_TEST_PFN, test_ioctl_pfn },
	{ PEERBAR_TEST_PTE, test_ioctl_pte },
	{ PEERBAR_TEST_MODEL, test_ioctl_model },
	{ PEERBAR_TEST_UNMAPPABLE, test_ioctl_unmappable },
};

static long test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return test_ioctl_dispatch(test_ioctls, ARRAY_SIZE(test_ioctls), file, cmd, arg);
}

static int test_open(struct inode *inode, struct file *file)
{
	struct xarray *imports;

	imports = kzalloc_obj(*imports);
	if (!imports)
		return -ENOMEM;
	xa_init_flags(imports, XA_FLAGS_ALLOC1);
	file->private_data = imports;
	return 0;
}

static int test_close(struct inode *inode, struct file *file)
{
	struct xarray *imports = file->private_data;
	struct test_import *p;
	unsigned long handle;

	/* Signal all fences first: a task waiting for one may hold the lock that a detach needs. */
	xa_for_each(imports, handle, p)
		test_signal(p);
	xa_for_each(imports, handle, p)
		test_detach(p);
	xa_destroy(imports);
	kfree(imports);
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
	.name = PEERBAR_TEST_IMPORTER,
	.fops = &test_fops,
	.mode = 0600,
};

static int __init test_init(void)
{
	static struct device_dma_parameters parms;
	int ret;

	ret = bus_register_notifier(&pci_bus_type, &test_bus_nb);
	if (ret)
		return ret;
	ret = misc_register(&test_misc);
	if (ret)
		goto err_notifier;
	/* The device imports too: it reaches all memory, in one segment, without an IOMMU. */
	test_misc.this_device->dma_parms = &parms;
	dma_set_max_seg_size(test_misc.this_device, UINT_MAX);
	ret = dma_coerce_mask_and_coherent(test_misc.this_device, DMA_BIT_MASK(64));
	if (ret)
		goto err_misc;
	return 0;

err_misc:
	misc_deregister(&test_misc);
err_notifier:
	bus_unregister_notifier(&pci_bus_type, &test_bus_nb);
	return ret;
}

static void __exit test_exit(void)
{
	misc_deregister(&test_misc);
	bus_unregister_notifier(&pci_bus_type, &test_bus_nb);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("peerbar test: an importer");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
