/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of peerbar-vfio-pci share. */
#ifndef _PEERBAR_VFIO_H
#define _PEERBAR_VFIO_H

#include <linux/vfio_pci_core.h>

#include "peerbar_kapi.h"

/*
 * With PCI_P2PDMA, vfio-pci-core makes a dma-buf itself, and tells its importers when its memory goes away: ours are laid over
 * those (export.c). Without it there is none, and ours live in the device's own address space, which the core zaps (local.c).
 */
#define PEERBAR_OVERLAY	IS_ENABLED(CONFIG_VFIO_PCI_DMABUF)

/**
 * struct peerbar_ranges - memory of a BAR that a buffer is about to be made of
 * @provider: NULL without PCI_P2PDMA
 * @region: the BAR
 * @nr: number of elements of @vec
 * @vec: allocated with kvmalloc()
 */
struct peerbar_ranges {
	struct p2pdma_provider *provider;
	unsigned int region;
	unsigned int nr;
	struct phys_vec *vec;
};

/**
 * struct peerbar_vfio_device - a function bound to peerbar-vfio-pci
 *
 * Locks, outermost first; those of struct peerbar_buffer come after them:
 *
 *	@export_lock		-> what the core takes when it exports: memory_lock
 *	peerbar_vfio_lock	a leaf: which buffers a device has, and which device a buffer has
 *	attach_lock of a buffer	-> reservation lock
 *	memory_lock		-> reservation lock (the core, when it revokes and restores)
 *
 * memory_lock is never waited for under mmap_lock or a reservation lock: see local.c.
 *
 * @core: the core's part
 * @export_lock: one export at a time, because of @wanted
 * @wanted: where get_dmabuf_phys() leaves what it was asked for
 * @buffers: struct peerbar_vfio_buffer
 * @unattached: some of them were exported while the memory was away, and have not seen it since
 * @gone: the driver is being unbound; no more exports
 * @restore: looks whether the memory is back, when the core has said that it soon will be
 * @cookies: of the open device
 */
struct peerbar_vfio_device {
	struct vfio_pci_core_device core;
	struct mutex export_lock; /* one export at a time */
	struct peerbar_ranges *wanted;
	struct list_head buffers;
	bool unattached;
	bool gone;
	struct work_struct restore;
	struct peerbar_cookies cookies;
};

/**
 * struct peerbar_vfio_buffer - what a buffer is to us
 * @buf: the buffer; NULL until it has been made. Set under the reservation lock
 * @device: its device, while that is open; NULL afterwards. Under peerbar_vfio_lock; whoever is called by the device may just
 *	read it
 * @node: in @device->buffers
 * @pdev: its PCI function, held
 * @bar: of which it is a part
 * @core: in local.c, the core's device, whose registration is held; otherwise NULL
 * @inner: the core's dma-buf below ours, whose reservation object ours shares; NULL in local.c
 * @attach_lock: makes @attach
 * @attach: our attachment to @inner, by which the core tells us of revocations; NULL while it cannot be made. Never changes once
 *	set
 * @held: our mapping of @inner, for which the core waits when it revokes, while there are DMA mappings of ours that are none of
 *	the core's. Reservation lock, as @holders
 * @holders: number of those
 */
struct peerbar_vfio_buffer {
	struct peerbar_buffer *buf;
	struct peerbar_vfio_device *device;
	struct list_head node;
	struct pci_dev *pdev;
	unsigned int bar;
	struct vfio_pci_core_device *core;
	struct dma_buf *inner;
	struct mutex attach_lock; /* makes @attach */
	struct dma_buf_attachment *attach;
	struct sg_table *held;
	unsigned int holders;
};

static inline struct peerbar_vfio_device *peerbar_vfio(struct vfio_device *vdev)
{
	return container_of(vdev, struct peerbar_vfio_device, core.vdev);
}

/* driver.c: all buffers of a device */
void peerbar_vfio_track(struct peerbar_vfio_device *device, struct peerbar_vfio_buffer *vbuf);
void peerbar_vfio_settle_all(struct peerbar_vfio_device *device);
void peerbar_vfio_untrack(struct peerbar_vfio_buffer *vbuf);

/* feature.c */
int peerbar_vfio_feature(struct vfio_device *vdev, u32 flags, void __user *arg, size_t argsz);

/* export.c, local.c: a buffer from a user's struct vfio_device_feature_dma_buf */
struct peerbar_buffer *peerbar_vfio_export(struct peerbar_vfio_device *device, struct vfio_device_feature_dma_buf __user *arg,
					   size_t argsz, int open_flags, u32 memattr);
struct peerbar_buffer *peerbar_vfio_export_local(struct peerbar_vfio_device *device,
						 struct vfio_device_feature_dma_buf __user *arg, size_t argsz, int open_flags,
						 u32 memattr);
struct peerbar_buffer *peerbar_vfio_make(struct peerbar_vfio_buffer *vbuf, const struct peerbar_ranges *ranges,
					 const struct peerbar_backing_ops *ops, int open_flags, u32 memattr);
struct peerbar_vfio_buffer *peerbar_vfio_alloc(struct peerbar_vfio_device *device);
void peerbar_vfio_free(struct peerbar_vfio_buffer *vbuf);
bool peerbar_vfio_memattr_supported(struct peerbar_buffer *buf, u32 memattr);
bool peerbar_vfio_owns(struct peerbar_vfio_device *device, struct peerbar_buffer *buf);

/* provider.c */
int peerbar_vfio_get_dmabuf_phys(struct vfio_pci_core_device *vdev, struct p2pdma_provider **provider, unsigned int region,
				 struct phys_vec *vec, struct vfio_region_dma_range *ranges, size_t nr);

#endif
