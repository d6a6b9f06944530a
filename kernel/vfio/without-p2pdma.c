// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers on a kernel without PCI_P2PDMA: importers cannot attach, but processes can map.
 *
 * The core exports nothing there and does not notify importers when memory goes away, but it does
 * zap the address space of the device. So these buffers map into that address space, and make page
 * table entries under memory_lock, as the core does for its own mappings. A fault holds mmap_lock,
 * and the core zaps with memory_lock held. So a fault only tries memory_lock, and is retried if it
 * is taken. The state is updated, and an event sent, only on a query or a fault: events are not
 * timely. Since the mappings are in the device's address space, the driver cannot be unbound before
 * the last buffer is gone.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "vfio.h"

static struct vfio_pci_core_device *peerbar_get_core(struct peerbar_buffer *buf)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;

	return vbuf->core;
}

static int peerbar_nop2p_enter(struct peerbar_buffer *buf)
{
	struct vfio_pci_core_device *core = peerbar_get_core(buf);

	if (!down_read_trylock(&core->memory_lock))
		return -EAGAIN;
	if (!core->pm_runtime_engaged && __vfio_pci_memory_enabled(core) &&
	    !READ_ONCE(to_peerbar_vfio(&core->vdev)->resetting))
		return 0;
	up_read(&core->memory_lock);
	return -ENODEV;
}

static void peerbar_nop2p_leave(struct peerbar_buffer *buf)
{
	up_read(&peerbar_get_core(buf)->memory_lock);
}

static void peerbar_nop2p_release(struct peerbar_buffer *buf)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;

	peerbar_vfio_untrack(vbuf);
	vfio_device_put_registration(&vbuf->core->vdev);
	peerbar_vfio_free_buffer(vbuf);
}

static const struct peerbar_backing_ops peerbar_nop2p_ops = {
	.enter = peerbar_nop2p_enter,
	.leave = peerbar_nop2p_leave,
	.release = peerbar_nop2p_release,
	.memattr_supported = peerbar_vfio_memattr_supported,
};

/* Check a request as the core does where it exports, with the same errnos. */
static int peerbar_nop2p_get_ranges(struct peerbar_vfio_device *device,
				    struct vfio_device_feature_dma_buf __user *arg, size_t argsz,
				    struct peerbar_ranges *ranges)
{
	struct vfio_device_feature_dma_buf request;
	struct pci_dev *pdev = device->core.pdev;
	struct vfio_region_dma_range *user;
	struct phys_vec *vec;
	u64 total = 0;
	unsigned int i;
	int ret;

	if (argsz < sizeof(request)) {
		pci_dbg(pdev, "cannot export: the request has %zu bytes, and must have %zu\n",
			argsz, sizeof(request));
		return -EINVAL;
	}
	if (copy_from_user(&request, arg, sizeof(request)))
		return -EFAULT;
	if (!request.nr_ranges || request.flags) {
		pci_dbg(pdev, "cannot export: nr_ranges %u must not be 0, flags 0x%x must be 0\n",
			request.nr_ranges, request.flags);
		return -EINVAL;
	}
	if (request.region_index >= VFIO_PCI_ROM_REGION_INDEX) {
		pci_dbg(pdev, "cannot export: region %u is not a BAR, 0 to 5\n",
			request.region_index);
		return -ENODEV;
	}
	request.region_index = array_index_nospec(request.region_index, VFIO_PCI_ROM_REGION_INDEX);
	if (IS_ERR_OR_NULL((void __force *)device->core.barmap[request.region_index])) {
		pci_dbg(pdev, "cannot export: there is no BAR%u\n", request.region_index);
		return -ENODEV;
	}
	/* Refuse I/O ports. */
	if (!device->core.bar_mmap_supported[request.region_index]) {
		pci_dbg(pdev, "cannot export: BAR%u cannot be mapped\n", request.region_index);
		return -EINVAL;
	}
	user = memdup_array_user(&arg->dma_ranges, request.nr_ranges, sizeof(*user));
	if (IS_ERR(user))
		return PTR_ERR(user);
	ret = -EINVAL;
	for (i = 0; i < request.nr_ranges; i++) {
		if (!PAGE_ALIGNED(user[i].offset) || !PAGE_ALIGNED(user[i].length) ||
		    check_add_overflow(total, user[i].length, &total)) {
			pci_dbg(pdev,
				"cannot export: range %u (offset 0x%llx, length 0x%llx) is not page-aligned, or too long\n",
				i, user[i].offset, user[i].length);
			goto free_user;
		}
	}
	/* Limit the size to the range that the core zaps: the offsets of BARs. */
	if (total > VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_ROM_REGION_INDEX)) {
		pci_dbg(pdev,
			"cannot export: the ranges have 0x%llx bytes together, and may have 0x%llx\n",
			total, VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_ROM_REGION_INDEX));
		goto free_user;
	}
	ret = -ENOMEM;
	vec = kvmalloc_objs(*vec, request.nr_ranges, GFP_KERNEL_ACCOUNT);
	if (!vec)
		goto free_user;
	mutex_lock(&device->export_lock);
	device->wanted = ranges;
	ret = peerbar_vfio_get_dmabuf_phys(&device->core, &ranges->provider, request.region_index,
					   vec, user, request.nr_ranges);
	device->wanted = NULL;
	mutex_unlock(&device->export_lock);
	kvfree(vec);
free_user:
	kfree(user);
	return ret;
}

struct peerbar_buffer *peerbar_vfio_export_nop2p(struct peerbar_vfio_device *device,
						 struct vfio_device_feature_dma_buf __user *arg,
						 size_t argsz, int open_flags, u32 memattr)
{
	struct peerbar_ranges ranges = {};
	struct peerbar_vfio_buffer *vbuf;
	struct peerbar_buffer *buf;
	int ret;

	ret = peerbar_nop2p_get_ranges(device, arg, argsz, &ranges);
	if (ret)
		return ERR_PTR(ret);
	vbuf = peerbar_vfio_alloc_buffer(device);
	if (!vbuf) {
		buf = ERR_PTR(-ENOMEM);
		goto free_ranges;
	}
	if (!vfio_device_try_get_registration(&device->core.vdev)) {
		pci_dbg(device->core.pdev, "cannot export: the driver is being unbound\n");
		buf = ERR_PTR(-ENODEV);
		goto free_vbuf;
	}
	vbuf->core = &device->core;
	buf = peerbar_vfio_create_buffer(vbuf, &ranges, &peerbar_nop2p_ops, open_flags, memattr);
	if (!IS_ERR(buf))
		goto free_ranges;
	vfio_device_put_registration(&device->core.vdev);
free_vbuf:
	peerbar_vfio_free_buffer(vbuf);
free_ranges:
	kvfree(ranges.vec);
	return buf;
}
