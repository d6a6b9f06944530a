/* SPDX-License-Identifier: GPL-2.0 */
/* Interfaces between the files of peerbar-vfio-pci. */
#ifndef _PEERBAR_VFIO_H
#define _PEERBAR_VFIO_H

#include <linux/vfio_pci_core.h>

#include "peerbar_kapi.h"

/*
 * With PCI_P2PDMA, vfio-pci-core exports a dma-buf, and invalidates its importers when the memory
 * goes away: peerbar's buffers are overlays of it (overlay.c). Without PCI_P2PDMA there is no such
 * dma-buf: peerbar's buffers are in the device's own address space, which the core zaps
 * (without-p2pdma.c).
 */
#define PEERBAR_OVERLAY IS_ENABLED(CONFIG_VFIO_PCI_DMABUF)

/**
 * struct peerbar_ranges - ranges of a BAR for a new buffer
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
 * struct peerbar_vfio_tracker - the buffers exported between an open of a device and its close
 *
 * A buffer is in @buffers until its release. That may be long after the device was closed and its
 * driver unbound, so the tracker has its own lifetime. A reference to a buffer keeps it in the
 * list.
 *
 * @refs: held by the open device, by each buffer, and by the unbinding task
 * @device: the device; valid only while it is open
 * @lock: protects the lists
 * @buffers: all, oldest first
 * @unattached: those exported while the memory was away; the core does not notify them of its
 *	return
 * @returning: those that the core has notified of the imminent return of the memory
 * @restore: settles the buffers in @returning
 * @stop_lock: held by the task that stops all buffers; it lists them by struct
 *	peerbar_vfio_buffer.stopping
 */
struct peerbar_vfio_tracker {
	refcount_t refs;
	struct peerbar_vfio_device *device;
	struct mutex lock; /* protects the lists */
	struct list_head buffers;
	struct list_head unattached;
	struct list_head returning;
	struct work_struct restore;
	struct mutex stop_lock; /* one task stops all buffers at a time */
};

/**
 * struct peerbar_vfio_device - a function bound to peerbar-vfio-pci
 *
 * Locks, outermost first; those of struct peerbar_buffer come after them:
 *
 *	dev_set->lock, or device_lock()	(close; unbind; a reset)
 *	stop_lock of a tracker		-> the locks that the release of a buffer takes
 *	@export_lock			-> memory_lock (the core, when it exports)
 *	attach_lock of a buffer		-> reservation lock
 *	memory_lock			-> reservation lock (the core, when it revokes and restores)
 *	reservation lock		-> lock of a tracker
 *	@tracker_lock			-> lock of a tracker
 *	lock of a tracker		a leaf, except for the spinlock of a buffer's dentry
 *
 * Don't wait for memory_lock under mmap_lock or a reservation lock: see without-p2pdma.c. The
 * release of a buffer takes its reservation lock, the lock of its tracker, and memory_lock: don't
 * put a reference with one of these held.
 *
 * @core: the core's part
 * @export_lock: one export at a time, because of @wanted
 * @wanted: receives the ranges that the core requests from get_dmabuf_phys()
 * @tracker_lock: protects @tracker; callbacks of the open device may read it without
 * @tracker: the buffers of the open device; NULL while it is closed
 * @gone: the driver is being unbound; no more exports
 * @resetting: the function is being reset, and no buffer is LIVE. Changes under the function's
 *	device_lock()
 * @cookies: of the open device
 */
struct peerbar_vfio_device {
	struct vfio_pci_core_device core;
	struct mutex export_lock; /* one export at a time */
	struct peerbar_ranges *wanted;
	struct mutex tracker_lock; /* protects @tracker */
	struct peerbar_vfio_tracker *tracker;
	bool gone;
	bool resetting;
	struct peerbar_cookies cookies;
};

/**
 * struct peerbar_vfio_buffer - peerbar-vfio-pci's data of a buffer
 * @buf: the buffer; NULL until it has been created. Set under the reservation lock
 * @device: its device; valid until the device is closed, which stops the buffer first
 * @tracker: its device's, with a reference
 * @node: in @tracker->buffers
 * @unattached: in @tracker->unattached
 * @returning: in @tracker->returning
 * @stopping: in a list of the task that holds @tracker->stop_lock
 * @pdev: its PCI function, with a reference
 * @bar: the BAR that it is a part of
 * @core: in without-p2pdma.c, the core's device, whose registration is held; otherwise NULL
 * @inner: the core's dma-buf below the buffer; both share its reservation object. NULL in
 * without-p2pdma.c
 * @attach_lock: serializes setting @attach
 * @attach: the driver's attachment to @inner, which the core invalidates when it revokes; NULL
 *	until attaching succeeds. Never changes once set
 * @held: the driver's mapping of @inner, for which the core waits when it revokes. Exists while the
 *	buffer has DMA mappings that are not the core's. Under the reservation lock, as @holders
 * @holders: number of those DMA mappings
 */
struct peerbar_vfio_buffer {
	struct peerbar_buffer *buf;
	struct peerbar_vfio_device *device;
	struct peerbar_vfio_tracker *tracker;
	struct list_head node;
	struct list_head unattached;
	struct list_head returning;
	struct list_head stopping;
	struct pci_dev *pdev;
	unsigned int bar;
	struct vfio_pci_core_device *core;
	struct dma_buf *inner;
	struct mutex attach_lock; /* serializes setting @attach */
	struct dma_buf_attachment *attach;
	struct sg_table *held;
	unsigned int holders;
};

static inline struct peerbar_vfio_device *to_peerbar_vfio(struct vfio_device *vdev)
{
	return container_of(vdev, struct peerbar_vfio_device, core.vdev);
}

/* Interfaces between the files, lowest layer first, as in peerbar's core.h. */

/* tracker.c */
struct peerbar_vfio_tracker *peerbar_vfio_tracker_alloc(struct peerbar_vfio_device *device);
struct peerbar_vfio_tracker *peerbar_vfio_tracker_get(struct peerbar_vfio_device *device);
void peerbar_vfio_tracker_put(struct peerbar_vfio_tracker *tracker);
void peerbar_vfio_track(struct peerbar_vfio_buffer *vbuf);
void peerbar_vfio_untrack(struct peerbar_vfio_buffer *vbuf);
void peerbar_vfio_stop_all(struct peerbar_vfio_tracker *tracker);
void peerbar_vfio_drain_all(struct peerbar_vfio_tracker *tracker);
void peerbar_vfio_revoke_all(struct peerbar_vfio_tracker *tracker);
void peerbar_vfio_settle_unattached(struct peerbar_vfio_tracker *tracker);
void peerbar_vfio_queue_restore(struct peerbar_vfio_buffer *vbuf);
void peerbar_vfio_queue_restore_all(struct peerbar_vfio_tracker *tracker);

/* provider.c */
int peerbar_vfio_get_dmabuf_phys(struct vfio_pci_core_device *vdev,
				 struct p2pdma_provider **provider, unsigned int region,
				 struct phys_vec *vec, struct vfio_region_dma_range *ranges,
				 size_t nr);

/* buffer.c */
struct peerbar_vfio_buffer *peerbar_vfio_alloc_buffer(struct peerbar_vfio_device *device);
void peerbar_vfio_free_buffer(struct peerbar_vfio_buffer *vbuf);
struct peerbar_buffer *peerbar_vfio_create_buffer(struct peerbar_vfio_buffer *vbuf,
						  const struct peerbar_ranges *ranges,
						  const struct peerbar_backing_ops *ops,
						  int open_flags, u32 memattr);
bool peerbar_vfio_memattr_supported(struct peerbar_buffer *buf, u32 memattr);
bool peerbar_vfio_owns_buffer(struct peerbar_vfio_device *device, struct peerbar_buffer *buf);

/* overlay.c, without-p2pdma.c: create a buffer from a user's struct vfio_device_feature_dma_buf */
struct peerbar_buffer *peerbar_vfio_export_overlay(struct peerbar_vfio_device *device,
						   struct vfio_device_feature_dma_buf __user *arg,
						   size_t argsz, int open_flags, u32 memattr);
struct peerbar_buffer *peerbar_vfio_export_nop2p(struct peerbar_vfio_device *device,
						 struct vfio_device_feature_dma_buf __user *arg,
						 size_t argsz, int open_flags, u32 memattr);

/* feature.c */
int peerbar_vfio_feature(struct vfio_device *vdev, u32 flags, void __user *arg, size_t argsz);

#endif
