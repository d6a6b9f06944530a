// SPDX-License-Identifier: GPL-2.0
/*
 * Imported dma-bufs: dma-bufs of other exporters, of whose ranges there are buffers for iommufd.
 *
 * The module attaches to the dma-buf as an importer that can be revoked, pins it if its exporter
 * has a pin operation, and maps it. The buffers share the dma-buf's reservation object. When the
 * exporter invalidates the mapping, it holds the lock of that object: the buffers are revoked at
 * once, and iommufd has unmapped them before the exporter continues.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "iommufd.h"

/**
 * struct peerbar_import_range - a range of an imported dma-buf
 * @import: the import, with a reference
 * @buf: its buffer; NULL before it is published, and after its release. Under the reservation lock
 */
struct peerbar_import_range {
	struct peerbar_import *import;
	struct peerbar_buffer *buf;
};

/**
 * struct peerbar_import - a dma-buf of another exporter
 *
 * Lives until the last of its buffers is released.
 *
 * Locks, outermost first:
 *
 *	locks of the exporter		(it invalidates)
 *	dmabuf->resv			@sgt, @pinned, @memory, @published, @ranges[].buf; also the
 *					lock of the buffers
 *	pages->mutex of iommufd		(it unmaps a buffer that is revoked)
 *
 * The exporter calls peerbar_import_invalidate() with the first two held; it takes neither, waits
 * for nothing but iommufd's unmapping, and drops no reference. Everything else takes the
 * reservation lock with no other lock held, and drops the last references without it.
 *
 * @refs: one for each buffer, and one of the task that creates it
 * @dmabuf: the dma-buf, with a reference, since it may contain the reservation object
 * @twin: the device that is attached
 * @attach: the attachment
 * @sgt: the mapping; NULL once it was invalidated, which is final after the buffers were published
 * @pin: pin before mapping
 * @pinned: it is pinned, and its pages are charged to @user
 * @user: the user who imported it
 * @memory: its physical ranges
 * @provider: of the BAR
 * @ranges: one for each range of @memory
 * @published: @ranges[].buf are valid, and @memory does not change any more
 */
struct peerbar_import {
	struct kref refs;
	struct dma_buf *dmabuf;
	struct device *twin;
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	bool pin;
	bool pinned;
	struct user_struct *user;
	struct peerbar_memory memory;
	struct p2pdma_provider provider;
	struct peerbar_import_range *ranges;
	bool published;
};

/* ---- pinning and mapping; reservation lock held ---- */

static unsigned long peerbar_import_pages(const struct peerbar_import *import)
{
	return import->dmabuf->size >> PAGE_SHIFT;
}

/* Charge the pages as iommufd charges those of user memory. */
static int peerbar_import_charge(struct peerbar_import *import)
{
	unsigned long pages = peerbar_import_pages(import);
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (atomic_long_add_return(pages, &import->user->locked_vm) <= limit ||
	    capable(CAP_IPC_LOCK))
		return 0;
	atomic_long_sub(pages, &import->user->locked_vm);
	return -ENOMEM;
}

static void peerbar_import_uncharge(struct peerbar_import *import)
{
	atomic_long_sub(peerbar_import_pages(import), &import->user->locked_vm);
}

static void peerbar_import_unpin(struct peerbar_import *import)
{
	if (!import->pinned)
		return;
	dma_buf_unpin(import->attach);
	import->pinned = false;
	peerbar_import_uncharge(import);
}

static void peerbar_import_unmap(struct peerbar_import *import)
{
	struct sg_table *sgt = import->sgt;

	dma_resv_assert_held(import->dmabuf->resv);

	if (sgt) {
		import->sgt = NULL;
		/*
		 * dma_buf_phys_vec_to_sgt() returns tables with orig_nents == 0. Freeing one frees
		 * orig_nents entries, and so leaks them (7.2, 7.3): restore the number.
		 */
		if (!sgt->orig_nents)
			sgt->orig_nents = sgt->nents;
		dma_buf_unmap_attachment(import->attach, sgt, DMA_BIDIRECTIONAL);
	}
	peerbar_import_unpin(import);
}

/* Report an error of the exporter, which may be one that user space has no name for. */
static int peerbar_exporter_refuses(struct peerbar_bridge *request,
				    enum peerbar_bridge_reason reason, int ret)
{
	if (ret == -ERESTARTSYS || ret == -EINTR)
		return ret;
	request->exporter_errno = -ret;
	return peerbar_refuse(request, reason, -ret < ERESTARTSYS ? ret : -EOPNOTSUPP);
}

static int peerbar_import_pin(struct peerbar_import *import, struct peerbar_bridge *request)
{
	int ret;

	if (!import->pin || import->pinned)
		return 0;
	ret = peerbar_import_charge(import);
	if (ret)
		return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_MEMLOCK, ret);
	ret = dma_buf_pin(import->attach);
	if (ret) {
		peerbar_import_uncharge(import);
		return peerbar_exporter_refuses(request, PEERBAR_BRIDGE_WHY_PIN, ret);
	}
	import->pinned = true;
	return 0;
}

static int peerbar_import_map(struct peerbar_import *import, struct peerbar_bridge *request)
{
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(import->dmabuf->resv);

	ret = peerbar_import_pin(import, request);
	if (ret)
		return ret;
	sgt = dma_buf_map_attachment(import->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return peerbar_exporter_refuses(request, PEERBAR_BRIDGE_WHY_MAP, PTR_ERR(sgt));
	import->sgt = sgt;
	return peerbar_memory_get(&import->memory, sgt, import->dmabuf->size, request);
}

/* The exporter revokes or moves the memory. */
static void peerbar_import_invalidate(struct dma_buf_attachment *attach)
{
	struct peerbar_import *import = attach->importer_priv;
	struct peerbar_buffer *buf;
	unsigned int i;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (!import->sgt)
		return;
	/* Buffers that are not published have no importers, and will not get any. */
	for (i = 0; import->published && i < import->memory.nr; i++) {
		buf = import->ranges[i].buf;
		if (!buf)
			continue;
		peerbar_buffer_mark_dead(buf);
		peerbar_buffer_revoke_locked(buf);
	}
	peerbar_import_unmap(import);
}

static const struct dma_buf_attach_ops peerbar_import_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = peerbar_import_invalidate,
};

/* ---- lifetime ---- */

static void peerbar_import_free(struct kref *refs)
{
	struct peerbar_import *import = container_of(refs, struct peerbar_import, refs);

	if (import->attach) {
		dma_resv_lock(import->dmabuf->resv, NULL);
		peerbar_import_unmap(import);
		dma_resv_unlock(import->dmabuf->resv);
		dma_buf_detach(import->dmabuf, import->attach);
	}
	if (import->twin)
		put_device(import->twin);
	dma_buf_put(import->dmabuf);
	free_uid(import->user);
	kvfree(import->ranges);
	peerbar_memory_put(&import->memory);
	kfree(import);
}

static void peerbar_import_put(struct peerbar_import *import)
{
	kref_put(&import->refs, peerbar_import_free);
}

static void peerbar_import_release(struct peerbar_buffer *buf)
{
	struct peerbar_import_range *range = buf->info.priv;
	struct peerbar_import *import = range->import;

	dma_resv_lock(import->dmabuf->resv, NULL);
	range->buf = NULL;
	dma_resv_unlock(import->dmabuf->resv);
	peerbar_import_put(import);
}

static const struct peerbar_backing_ops peerbar_import_ops = {
	.release = peerbar_import_release,
};

static struct peerbar_import *peerbar_import_alloc(struct dma_buf *dmabuf, bool pin)
{
	struct peerbar_import *import = kzalloc_obj(*import, GFP_KERNEL_ACCOUNT);

	if (!import)
		return NULL;
	kref_init(&import->refs);
	get_dma_buf(dmabuf);
	import->dmabuf = dmabuf;
	import->user = get_uid(current_user());
	import->pin = pin && dma_buf_is_dynamic(dmabuf);
	return import;
}

static int peerbar_import_attach(struct peerbar_import *import, struct pci_dev *function,
				 struct peerbar_bridge *request)
{
	struct dma_buf_attachment *attach;

	import->twin = peerbar_twin_create(function);
	if (IS_ERR(import->twin)) {
		int ret = PTR_ERR(import->twin);

		import->twin = NULL;
		return ret;
	}
	attach = dma_buf_dynamic_attach(import->dmabuf, import->twin, &peerbar_import_attach_ops,
					import);
	if (IS_ERR(attach))
		return peerbar_exporter_refuses(request, PEERBAR_BRIDGE_WHY_ATTACH,
						PTR_ERR(attach));
	import->attach = attach;
	/* Pinning or mapping would move the memory to where the function reaches it. */
	if (!attach->peer2peer)
		return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_EXPORTER_P2P, -EOPNOTSUPP);
	return 0;
}

/* ---- the buffers ---- */

static void peerbar_put_buffers(struct peerbar_buffer **bufs, unsigned int nr)
{
	while (nr--)
		dma_buf_put(bufs[nr]->dmabuf);
	kvfree(bufs);
}

static struct peerbar_buffer *peerbar_create_buffer(struct peerbar_import *import, unsigned int i)
{
	struct peerbar_memory *memory = &import->memory;
	char name[DMA_BUF_NAME_LEN];
	struct peerbar_buffer_info info = {
		.owner = THIS_MODULE,
		.dev = &memory->owner->dev,
		.name = name,
		.ops = &peerbar_import_ops,
		.priv = &import->ranges[i],
		.model = PEERBAR_MODEL_REVOCABLE,
		.memattr = PEERBAR_MEMATTR_NC,
		.open_flags = O_RDWR | O_CLOEXEC,
		.resv = import->dmabuf->resv,
		.provider = &import->provider,
		.mmio = true,
		.unmappable = true,
		.addresses_only = true,
		.ranges = &memory->vec[i],
		.nr_ranges = 1,
	};
	struct peerbar_buffer *buf;

	snprintf(name, sizeof(name), "bridge:%s/BAR%u", pci_name(memory->owner), memory->bar);
	import->ranges[i].import = import;
	buf = peerbar_buffer_create(&info);
	if (!IS_ERR(buf))
		kref_get(&import->refs);
	return buf;
}

static struct peerbar_buffer **peerbar_create_buffers(struct peerbar_import *import)
{
	unsigned int i, nr = import->memory.nr;
	struct peerbar_buffer **bufs;
	struct peerbar_buffer *buf;

	bufs = kvcalloc(nr, sizeof(*bufs), GFP_KERNEL_ACCOUNT);
	if (!bufs)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < nr; i++) {
		/* A killed process needs no more of them. */
		buf = fatal_signal_pending(current) ? ERR_PTR(-EINTR) :
						      peerbar_create_buffer(import, i);
		if (IS_ERR(buf)) {
			peerbar_put_buffers(bufs, i);
			return ERR_CAST(buf);
		}
		bufs[i] = buf;
	}
	return bufs;
}

/* Let invalidations find the buffers. Fail with -EAGAIN if one was before. */
static int peerbar_publish_buffers(struct peerbar_import *import, struct peerbar_buffer **bufs)
{
	unsigned int i;
	int ret = 0;

	if (dma_resv_lock_interruptible(import->dmabuf->resv, NULL))
		return -ERESTARTSYS;
	if (import->sgt) {
		for (i = 0; i < import->memory.nr; i++)
			import->ranges[i].buf = bufs[i];
		import->published = true;
	} else {
		ret = -EAGAIN;
	}
	dma_resv_unlock(import->dmabuf->resv);
	return ret;
}

/* ---- an import ---- */

/* Map it, and wait until the exporter has filled the memory. */
static int peerbar_import_prepare(struct peerbar_import *import, struct peerbar_bridge *request)
{
	struct dma_resv *resv = import->dmabuf->resv;
	struct dma_fence *fence = NULL;
	int ret;

	if (dma_resv_lock_interruptible(resv, NULL))
		return -ERESTARTSYS;
	ret = peerbar_import_map(import, request);
	if (!ret)
		ret = dma_resv_get_singleton(resv, DMA_RESV_USAGE_KERNEL, &fence);
	dma_resv_unlock(resv);
	if (!ret && fence)
		ret = dma_fence_wait(fence, true);
	dma_fence_put(fence);
	return ret;
}

/* One attempt. Fail with -EAGAIN, and no reason, if the memory moved meanwhile. */
static struct peerbar_buffer **peerbar_import_try(struct peerbar_import *import,
						  const struct peerbar_functions *functions,
						  u32 room, struct peerbar_bridge *request)
{
	struct peerbar_buffer **bufs;
	int ret;

	ret = peerbar_import_prepare(import, request) ?:
		peerbar_functions_check_p2p(functions, import->memory.owner, request);
	if (ret)
		return ERR_PTR(ret);
	request->nr_ranges = import->memory.nr;
	if (request->nr_ranges > room)
		return ERR_PTR(-EMSGSIZE);
	import->provider = (struct p2pdma_provider){ .owner = &import->memory.owner->dev };
	import->ranges = kvcalloc(import->memory.nr, sizeof(*import->ranges), GFP_KERNEL_ACCOUNT);
	if (!import->ranges)
		return ERR_PTR(-ENOMEM);
	bufs = peerbar_create_buffers(import);
	if (IS_ERR(bufs))
		return bufs;
	ret = peerbar_publish_buffers(import, bufs);
	if (ret) {
		peerbar_put_buffers(bufs, import->memory.nr);
		return ERR_PTR(ret);
	}
	return bufs;
}

/* How often to start anew if the memory moves. A pinned buffer does not. */
#define PEERBAR_IMPORT_TRIES 8

struct peerbar_buffer **peerbar_import(struct dma_buf *dmabuf,
				       const struct peerbar_functions *functions,
				       struct peerbar_bridge *request)
{
	bool pin = !(request->flags & PEERBAR_BRIDGE_UNPINNED);
	u32 room = request->nr_ranges;
	struct peerbar_buffer **bufs;
	struct peerbar_import *import;
	int ret, tries = PEERBAR_IMPORT_TRIES;

	do {
		import = peerbar_import_alloc(dmabuf, pin);
		if (!import)
			return ERR_PTR(-ENOMEM);
		request->nr_ranges = 0;
		ret = peerbar_import_attach(import, functions->dev[0], request);
		bufs = ret ? ERR_PTR(ret) : peerbar_import_try(import, functions, room, request);
		if (!IS_ERR(bufs) && import->pin)
			request->flags |= PEERBAR_BRIDGE_PINNED;
		peerbar_import_put(import);
	} while (bufs == ERR_PTR(-EAGAIN) && !request->reason && --tries &&
		 !signal_pending(current));
	if (bufs == ERR_PTR(-EAGAIN) && !request->reason)
		peerbar_refuse(request, PEERBAR_BRIDGE_WHY_MOVING, -EAGAIN);
	return bufs;
}
