// SPDX-License-Identifier: GPL-2.0
/*
 * peerbar-vfio-pci's part of a buffer, whichever way the buffer is made.
 */
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "vfio.h"

static bool disable_wc;
module_param(disable_wc, bool, 0644);
MODULE_PARM_DESC(disable_wc, "Refuse write-combining mappings: the kernel has an uncached mapping of the same pages");

bool peerbar_vfio_memattr_supported(struct peerbar_buffer *buf, u32 memattr)
{
	switch (memattr) {
	case PEERBAR_MEMATTR_NC:
		return true;
	case PEERBAR_MEMATTR_WC:
		return !READ_ONCE(disable_wc);
	case PEERBAR_MEMATTR_DEV:
		/* The type of the kernel's own mapping. Elsewhere pgprot_device() is NC. */
		return IS_ENABLED(CONFIG_ARM64);
	default:
		return false;
	}
}

/* Whether @buf is one of this device's. */
bool peerbar_vfio_owns_buffer(struct peerbar_vfio_device *device, struct peerbar_buffer *buf)
{
	struct peerbar_vfio_buffer *vbuf = buf->info.priv;

	return buf->info.owner == THIS_MODULE && vbuf->tracker == device->tracker;
}

struct peerbar_vfio_buffer *peerbar_vfio_alloc_buffer(struct peerbar_vfio_device *device)
{
	struct peerbar_vfio_buffer *vbuf;

	vbuf = kzalloc_obj(*vbuf, GFP_KERNEL_ACCOUNT);
	if (!vbuf)
		return NULL;
	vbuf->device = device;
	vbuf->tracker = device->tracker;
	refcount_inc(&vbuf->tracker->refs);
	/* Buffers may outlive the function, and then only use its name. */
	vbuf->pdev = pci_dev_get(device->core.pdev);
	INIT_LIST_HEAD(&vbuf->node);
	INIT_LIST_HEAD(&vbuf->unattached);
	INIT_LIST_HEAD(&vbuf->returning);
	mutex_init(&vbuf->attach_lock);
	return vbuf;
}

void peerbar_vfio_free_buffer(struct peerbar_vfio_buffer *vbuf)
{
	mutex_destroy(&vbuf->attach_lock);
	peerbar_vfio_tracker_put(vbuf->tracker);
	pci_dev_put(vbuf->pdev);
	kfree(vbuf);
}

struct peerbar_buffer *peerbar_vfio_create_buffer(struct peerbar_vfio_buffer *vbuf,
						  const struct peerbar_ranges *ranges,
						  const struct peerbar_backing_ops *ops,
						  int open_flags, u32 memattr)
{
	struct peerbar_vfio_device *device = vbuf->device;
	char name[DMA_BUF_NAME_LEN];
	struct peerbar_buffer_info info = {
		.owner = THIS_MODULE,
		.dev = &vbuf->pdev->dev,
		.name = name,
		.ops = ops,
		.priv = vbuf,
		.model = PEERBAR_MODEL_REVOCABLE,
		.memattr = PEERBAR_MEMATTR_NC,
		.first_memattr = memattr,
		.open_flags = open_flags,
		.resv = vbuf->inner ? vbuf->inner->resv : NULL,
		.mapping = vbuf->inner ? NULL : device->core.vdev.inode->i_mapping,
		.provider = ranges->provider,
		.mmio = true,
		.any_uncached = true,
		.unmappable = !device->core.bar_mmap_supported[ranges->region],
		.revoked = vbuf->inner && !vbuf->attach,
		.ranges = ranges->vec,
		.nr_ranges = ranges->nr,
	};
	struct peerbar_buffer *buf;

	vbuf->bar = ranges->region;
	snprintf(name, sizeof(name), "%s/BAR%u", pci_name(vbuf->pdev), vbuf->bar);
	buf = peerbar_buffer_create(&info);
	if (IS_ERR(buf))
		return buf;
	dma_resv_lock(buf->dmabuf->resv, NULL);
	vbuf->buf = buf;
	/* Earlier notifications of the core were ignored, since @buf was NULL: check now. */
	if (!peerbar_buffer_enter(buf))
		peerbar_buffer_leave(buf);
	dma_resv_unlock(buf->dmabuf->resv);
	peerbar_vfio_track(vbuf);
	/*
	 * The task that set the flag may have stopped all buffers just before this one was tracked.
	 * This buffer has no importers to wait for.
	 */
	if (READ_ONCE(device->gone))
		peerbar_buffer_kill(buf, false);
	else if (READ_ONCE(device->resetting))
		peerbar_buffer_revoke(buf, false);
	return buf;
}
