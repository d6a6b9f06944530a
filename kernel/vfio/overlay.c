// SPDX-License-Identifier: GPL-2.0
/*
 * A buffer over a dma-buf of vfio-pci-core.
 *
 * The core exports a dma-buf of its own (the inner one), and this driver attaches to it as an
 * importer. The user's buffer shares the inner one's reservation object. When the core revokes, it
 * invalidates this driver with the reservation lock held; the driver then revokes the buffer, which
 * invalidates its importers and zaps page tables. Each DMA mapping of the buffer maps the inner
 * one, so that the core waits for all of them. So the core's own rules hold for all importers, and
 * page faults take no lock of the core.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-resv.h>
#include <linux/fdtable.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "vfio.h"

/* ---- the inner dma-buf ---- */

/*
 * The core calls this when it revokes, and when it is about to restore. Distinguish the two by
 * whether the buffer is REVOKED already.
 */
static void peerbar_vfio_invalidate(struct dma_buf_attachment *attach)
{
	struct peerbar_vfio_buffer *vbuf = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	/* A buffer under construction checks for itself in peerbar_vfio_create_buffer(). */
	if (!vbuf->buf)
		return;
	if (READ_ONCE(vbuf->buf->state) == PEERBAR_STATE_REVOKED)
		peerbar_vfio_queue_restore(vbuf);
	else
		peerbar_buffer_revoke_locked(vbuf->buf);
}

static const struct dma_buf_attach_ops peerbar_vfio_importer_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = peerbar_vfio_invalidate,
};

/* Attach to the inner dma-buf. The core refuses while the memory is away; callers retry later. */
static int peerbar_vfio_attach_inner(struct peerbar_vfio_buffer *vbuf)
{
	struct dma_buf_attachment *attach;

	/* Pairs with the release below: readers of the pointer see the whole attachment. */
	if (smp_load_acquire(&vbuf->attach))
		return 0;
	guard(mutex)(&vbuf->attach_lock);
	if (vbuf->attach)
		return 0;
	attach = dma_buf_dynamic_attach(vbuf->inner, &vbuf->pdev->dev, &peerbar_vfio_importer_ops,
					vbuf);
	if (IS_ERR(attach)) {
		pci_dbg(vbuf->pdev,
			"vfio-pci-core refuses the driver's own attachment with error %ld; -ENODEV: the memory is away\n",
			PTR_ERR(attach));
		return PTR_ERR(attach);
	}
	/* Pairs with the acquire above. */
	smp_store_release(&vbuf->attach, attach);
	return 0;
}

static int peerbar_vfio_prepare(struct peerbar_buffer *buf)
{
	return peerbar_vfio_attach_inner(buf->info.priv);
}

static int peerbar_vfio_enter(struct peerbar_buffer *buf)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;
	const struct dma_buf_ops *ops = vbuf->inner->ops;
	struct dma_buf_attachment probe;
	int ret;

	if (!vbuf->attach || READ_ONCE(vbuf->device->resetting))
		return -ENODEV;
	/*
	 * The core accepts a new importer only while the memory is there, which changes only under
	 * this lock. Probe with a temporary attachment, and detach it, so that the core releases
	 * any resources of an importer.
	 */
	probe = (struct dma_buf_attachment){
		.dmabuf = vbuf->inner,
		.dev = vbuf->attach->dev,
		.node = LIST_HEAD_INIT(probe.node),
		.peer2peer = vbuf->attach->peer2peer,
		.importer_ops = vbuf->attach->importer_ops,
		.importer_priv = vbuf,
	};
	ret = ops->attach(vbuf->inner, &probe);
	if (!ret && ops->detach)
		ops->detach(vbuf->inner, &probe);
	return ret;
}

static void peerbar_vfio_ignore_invalidate(struct dma_buf_attachment *attach)
{
	/* The buffer itself invalidates its importers. */
}

static const struct dma_buf_attach_ops peerbar_vfio_on_behalf_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = peerbar_vfio_ignore_invalidate,
};

/* Attach the device of each importer of the buffer to the inner dma-buf. */
static int peerbar_vfio_attach(struct peerbar_buffer *buf, struct dma_buf_attachment *attach)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;
	struct dma_buf_attachment *inner;

	inner = dma_buf_dynamic_attach(vbuf->inner, attach->dev, &peerbar_vfio_on_behalf_ops, vbuf);
	if (IS_ERR(inner)) {
		peerbar_dbg(buf, "cannot attach %s: vfio-pci-core refuses it with error %ld",
			    dev_name(attach->dev), PTR_ERR(inner));
		return PTR_ERR(inner);
	}
	peerbar_attachment_of(attach)->priv = inner;
	return 0;
}

static void peerbar_vfio_detach(struct peerbar_buffer *buf, struct dma_buf_attachment *attach)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;

	dma_buf_detach(vbuf->inner, peerbar_attachment_of(attach)->priv);
}

/*
 * dma_buf_phys_vec_to_sgt(), which the core maps with, returns a table with orig_nents == 0.
 * Freeing it frees orig_nents entries, and so leaks them (7.2, 7.3). Restore the number before
 * unmapping. (Under CONFIG_DMABUF_DEBUG this table is a copy whose number is right, and the leak
 * remains.)
 */
static void peerbar_vfio_unmap_inner(struct dma_buf_attachment *inner, struct sg_table *sgt,
				     enum dma_data_direction dir)
{
	sgt->orig_nents = sgt->nents;
	dma_buf_unmap_attachment(inner, sgt, dir);
}

/*
 * Map a single range through the core's dma-buf. Several ranges would fail there behind an IOMMU
 * (see peerbar_map_mmio()): map them here, and hold one mapping by the device itself, for which the
 * core waits.
 */
static struct sg_table *peerbar_vfio_map(struct peerbar_buffer *buf,
					 struct dma_buf_attachment *attach,
					 enum dma_data_direction dir)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;
	struct sg_table *sgt, *held = NULL;

	if (buf->info.nr_ranges == 1)
		return dma_buf_map_attachment(peerbar_attachment_of(attach)->priv, dir);
	if (!vbuf->holders) {
		held = dma_buf_map_attachment(vbuf->attach, DMA_BIDIRECTIONAL);
		if (IS_ERR(held)) {
			peerbar_dbg(buf,
				    "cannot map %u ranges: vfio-pci-core refuses a mapping of the device itself with error %ld",
				    buf->info.nr_ranges, PTR_ERR(held));
			return held;
		}
	}
	sgt = peerbar_map_mmio(buf, attach, dir);
	if (IS_ERR(sgt)) {
		if (held)
			peerbar_vfio_unmap_inner(vbuf->attach, held, DMA_BIDIRECTIONAL);
		return sgt;
	}
	if (held)
		vbuf->held = held;
	vbuf->holders++;
	return sgt;
}

static void peerbar_vfio_unmap(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
			       struct sg_table *sgt, enum dma_data_direction dir)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;

	if (buf->info.nr_ranges == 1) {
		peerbar_vfio_unmap_inner(peerbar_attachment_of(attach)->priv, sgt, dir);
		return;
	}
	peerbar_unmap_mmio(buf, attach, sgt, dir);
	if (--vbuf->holders)
		return;
	peerbar_vfio_unmap_inner(vbuf->attach, vbuf->held, DMA_BIDIRECTIONAL);
	vbuf->held = NULL;
}

/*
 * Release the inner dma-buf before returning, unless the core holds a temporary reference of its
 * own. dma_buf_put() would defer the release until the current task returns to user space. That
 * task may be unbinding the driver: it would first wait for the device's registration, which the
 * inner dma-buf holds, and deadlock.
 */
static void peerbar_vfio_put_inner(struct peerbar_vfio_buffer *vbuf)
{
	if (vbuf->attach)
		dma_buf_detach(vbuf->inner, vbuf->attach);
	__fput_sync(vbuf->inner->file);
}

static void peerbar_vfio_release(struct peerbar_buffer *buf)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;

	peerbar_vfio_untrack(vbuf);
	peerbar_vfio_put_inner(vbuf);
	peerbar_vfio_free_buffer(vbuf);
}

/* The core maps all BARs while the device is open; a close kills buffers before it unmaps. */
static void __iomem *peerbar_vfio_iomem(struct peerbar_buffer *buf, unsigned int range)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;
	void __iomem *bar = vbuf->device->core.barmap[vbuf->bar];

	if (IS_ERR_OR_NULL((__force void *)bar))
		return NULL;
	return bar + (buf->ranges[range].paddr - pci_resource_start(vbuf->pdev, vbuf->bar));
}

static const struct peerbar_backing_ops peerbar_vfio_overlay_ops = {
	.prepare = peerbar_vfio_prepare,
	.enter = peerbar_vfio_enter,
	.attach = peerbar_vfio_attach,
	.detach = peerbar_vfio_detach,
	.map = peerbar_vfio_map,
	.unmap = peerbar_vfio_unmap,
	.release = peerbar_vfio_release,
	.iomem = peerbar_vfio_iomem,
	.memattr_supported = peerbar_vfio_memattr_supported,
};

/*
 * The core exports only on a user's request, and installs the result in the file descriptor table
 * of the calling task. A process that took it from there would have a buffer that cannot be revoked
 * permanently. So a worker makes the call, with the user's memory and a table of its own. Neither
 * the user's threads see that table, nor usermode helpers, which inherit the table that kernel
 * threads share. The worker must not fault in the user's memory: the user's process may serve the
 * fault (userfaultfd, FUSE), and could then not be killed. The caller faults it in. The core's
 * allocations are charged to the caller's memory cgroup.
 */
struct peerbar_inner {
	struct work_struct work;
	struct mm_struct *mm;
	struct mem_cgroup *memcg;
	struct peerbar_vfio_device *device;
	void __user *arg;
	size_t argsz;
	struct dma_buf *dmabuf;
	struct files_struct files;
};

/* Initialize an empty table without allocations. */
static void peerbar_files_init(struct files_struct *files)
{
	atomic_set(&files->count, 1);
	spin_lock_init(&files->file_lock);
	init_waitqueue_head(&files->resize_wait);
	files->fdtab.max_fds = NR_OPEN_DEFAULT;
	files->fdtab.close_on_exec = files->close_on_exec_init;
	files->fdtab.open_fds = files->open_fds_init;
	files->fdtab.full_fds_bits = files->full_fds_bits_init;
	files->fdtab.fd = files->fd_array;
	rcu_assign_pointer(files->fdt, &files->fdtab);
}

/* Other tasks access a task's table under task_lock() only. */
static struct files_struct *peerbar_files_use(struct files_struct *files)
{
	struct files_struct *old = current->files;

	task_lock(current);
	current->files = files;
	task_unlock(current);
	return old;
}

static void peerbar_vfio_export_inner(struct work_struct *work)
{
	struct peerbar_inner *inner = container_of(work, struct peerbar_inner, work);
	struct mem_cgroup *old_memcg = set_active_memcg(inner->memcg);
	struct files_struct *old_files = peerbar_files_use(&inner->files);
	int fd;

	kthread_use_mm(inner->mm);
	pagefault_disable();
	fd = vfio_pci_core_ioctl_feature(&inner->device->core.vdev,
					 VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
					 inner->arg, inner->argsz);
	pagefault_enable();
	kthread_unuse_mm(inner->mm);
	if (fd < 0) {
		inner->dmabuf = ERR_PTR(fd);
	} else {
		inner->dmabuf = dma_buf_get(fd);
		close_fd(fd);
	}
	peerbar_files_use(old_files);
	set_active_memcg(old_memcg);
}

/* Fault in all of a request, with its current number of ranges. */
static int peerbar_fault_in(struct vfio_device_feature_dma_buf __user *arg)
{
	/* The core refuses more ranges than fit in one allocation. */
	size_t most = sizeof(*arg) + KMALLOC_MAX_SIZE;
	u32 nr_ranges;

	if (get_user(nr_ranges, &arg->nr_ranges))
		return -EFAULT;
	if (fault_in_readable((char __user *)arg,
			      min_t(size_t, struct_size(arg, dma_ranges, nr_ranges), most)))
		return -EFAULT;
	return 0;
}

static struct dma_buf *peerbar_vfio_get_inner(struct peerbar_vfio_device *device,
					      struct vfio_device_feature_dma_buf __user *arg,
					      size_t argsz, struct peerbar_ranges *ranges)
{
	struct peerbar_inner *inner;
	struct dma_buf *dmabuf;
	int ret, tries = 100;

	inner = kzalloc_obj(*inner, GFP_KERNEL_ACCOUNT);
	if (!inner)
		return ERR_PTR(-ENOMEM);
	inner->mm = current->mm;
	inner->memcg = get_mem_cgroup_from_mm(current->mm);
	inner->device = device;
	inner->arg = arg;
	inner->argsz = argsz;
	peerbar_files_init(&inner->files);
	INIT_WORK(&inner->work, peerbar_vfio_export_inner);
	do {
		/* Of an earlier round, in which the user's memory was paged out again. */
		kvfree(ranges->vec);
		ranges->vec = NULL;
		ret = fatal_signal_pending(current) ? -EINTR : peerbar_fault_in(arg);
		if (ret) {
			inner->dmabuf = ERR_PTR(ret);
			break;
		}
		mutex_lock(&device->export_lock);
		device->wanted = ranges;
		queue_work(system_dfl_wq, &inner->work);
		flush_work(&inner->work);
		device->wanted = NULL;
		mutex_unlock(&device->export_lock);
	} while (inner->dmabuf == ERR_PTR(-EFAULT) && --tries);
	dmabuf = inner->dmabuf;
	mem_cgroup_put(inner->memcg);
	kfree(inner);
	return dmabuf;
}

/*
 * Fail with -EBUSY if the device is asleep: it still counts as having its memory, but no access may
 * rely on that. Killable, since the core may hold its lock until an importer has unmapped.
 */
static int peerbar_vfio_check_awake(struct peerbar_vfio_device *device)
{
	int ret;

	if (down_read_killable(&device->core.memory_lock))
		return -EINTR;
	ret = device->core.pm_runtime_engaged ? -EBUSY : 0;
	up_read(&device->core.memory_lock);
	if (ret)
		pci_dbg(device->core.pdev,
			"cannot export: the device is in VFIO's low power state\n");
	return ret;
}

/* ---- export ---- */

struct peerbar_buffer *peerbar_vfio_export_overlay(struct peerbar_vfio_device *device,
						   struct vfio_device_feature_dma_buf __user *arg,
						   size_t argsz, int open_flags, u32 memattr)
{
	struct peerbar_ranges ranges = {};
	struct peerbar_vfio_buffer *vbuf;
	struct peerbar_buffer *buf;
	int ret;

	/* If the core holds its lock for long, wait here, killable, and not for the worker. */
	ret = peerbar_vfio_check_awake(device);
	if (ret == -EINTR)
		return ERR_PTR(ret);
	vbuf = peerbar_vfio_alloc_buffer(device);
	if (!vbuf)
		return ERR_PTR(-ENOMEM);
	vbuf->inner = peerbar_vfio_get_inner(device, arg, argsz, &ranges);
	if (IS_ERR(vbuf->inner)) {
		pci_dbg(device->core.pdev,
			"cannot export: vfio-pci-core refuses the request with error %ld\n",
			PTR_ERR(vbuf->inner));
		buf = ERR_CAST(vbuf->inner);
		goto err_free;
	}
	ret = peerbar_vfio_check_awake(device) ?: peerbar_vfio_attach_inner(vbuf);
	/* -ENODEV: the memory is away, so create the buffer REVOKED. */
	if (ret && ret != -ENODEV) {
		buf = ERR_PTR(ret);
		goto err_inner;
	}
	buf = peerbar_vfio_create_buffer(vbuf, &ranges, &peerbar_vfio_overlay_ops, open_flags,
					 memattr);
	if (IS_ERR(buf))
		goto err_inner;
	kvfree(ranges.vec);
	return buf;

err_inner:
	peerbar_vfio_put_inner(vbuf);
err_free:
	peerbar_vfio_free_buffer(vbuf);
	kvfree(ranges.vec);
	return buf;
}
