// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers: their registry, the operations of their dma-bufs, and their creation.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dcache.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "core.h"
#include "trace.h"

static DEFINE_MUTEX(registry_lock); /* a leaf */
static DEFINE_XARRAY(registry);
static atomic64_t last_id = ATOMIC64_INIT(0);

struct peerbar_buffer *peerbar_buffer_find(u64 id)
{
	struct peerbar_buffer *buf;

	guard(mutex)(&registry_lock);
	buf = xa_load(&registry, id);
	return buf && peerbar_buffer_tryget(buf) ? buf : NULL;
}

struct peerbar_buffer *peerbar_buffer_next(u64 after)
{
	struct peerbar_buffer *buf;
	unsigned long id = after;

	guard(mutex)(&registry_lock);
	while ((buf = xa_find_after(&registry, &id, ULONG_MAX, XA_PRESENT)))
		if (peerbar_buffer_tryget(buf))
			return buf;
	return NULL;
}

/* ---- dma-buf operations ---- */

static int peerbar_try_attach(struct peerbar_buffer *buf, struct dma_buf_attachment *attach)
{
	int ret;

	/* Without a provider, the path from a peer to the memory is unknown. */
	if (buf->info.mmio && !buf->info.provider) {
		peerbar_dbg(buf, "cannot attach %s: the device memory has no P2P provider",
			    dev_name(attach->dev));
		return -EOPNOTSUPP;
	}
	if (buf->info.mmio && !attach->peer2peer) {
		peerbar_dbg(buf,
			    "cannot attach %s: it is device memory, and the importer does not set allow_peer2peer",
			    dev_name(attach->dev));
		return -EOPNOTSUPP;
	}
	if (buf->info.model == PEERBAR_MODEL_REVOCABLE && !dma_buf_attach_revocable(attach)) {
		peerbar_dbg(buf,
			    "cannot attach %s: the model is REVOCABLE, and the importer has no invalidate_mappings()",
			    dev_name(attach->dev));
		return -EOPNOTSUPP;
	}
	if (peerbar_buffer_settle(buf) != PEERBAR_STATE_LIVE) {
		peerbar_dbg(buf, "cannot attach %s: the state is %s, not LIVE",
			    dev_name(attach->dev), peerbar_state_name(buf));
		return -ENODEV;
	}
	ret = peerbar_importer_alloc(attach);
	if (ret)
		return ret;
	ret = buf->info.ops->attach ? buf->info.ops->attach(buf, attach) : 0;
	if (ret) {
		peerbar_dbg(buf, "cannot attach %s: its exporter refuses with error %d",
			    dev_name(attach->dev), ret);
		peerbar_importer_free(buf, attach);
		return ret;
	}
	peerbar_importer_add(buf, attach);
	return 0;
}

static int peerbar_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = dmabuf->priv;
	int ret = peerbar_try_attach(buf, attach);

	trace_peerbar_attach(buf, attach, ret);
	return ret;
}

static void peerbar_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct peerbar_buffer *buf = dmabuf->priv;

	if (buf->info.ops->detach)
		buf->info.ops->detach(buf, attach);
	trace_peerbar_detach(buf, attach);
	peerbar_importer_free(buf, attach);
}

static struct sg_table *peerbar_try_map(struct peerbar_buffer *buf,
					struct dma_buf_attachment *attach,
					enum dma_data_direction dir)
{
	struct sg_table *sgt;
	int ret;

	if (buf->info.addresses_only) {
		peerbar_dbg(buf, "cannot map for %s: only iommufd maps a bridged buffer",
			    dev_name(attach->dev));
		return ERR_PTR(-EOPNOTSUPP);
	}
	ret = peerbar_buffer_enter(buf);
	if (ret) {
		peerbar_dbg(buf,
			    "cannot map for %s: the state is %s, not LIVE, or its exporter is busy: error %d",
			    dev_name(attach->dev), peerbar_state_name(buf), ret);
		return ERR_PTR(ret);
	}
	if (buf->info.ops->map)
		sgt = buf->info.ops->map(buf, attach, dir);
	else if (buf->info.mmio)
		sgt = peerbar_map_mmio(buf, attach, dir);
	else
		sgt = peerbar_map_pages(buf, attach, dir);
	if (IS_ERR(sgt)) {
		peerbar_dbg(buf, "cannot map for %s: error %ld", dev_name(attach->dev),
			    PTR_ERR(sgt));
	} else {
		peerbar_importer_mapped(attach);
		WRITE_ONCE(buf->dma_maps, buf->dma_maps + 1);
	}
	peerbar_buffer_leave(buf);
	return sgt;
}

static struct sg_table *peerbar_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct peerbar_buffer *buf = attach->dmabuf->priv;
	struct sg_table *sgt = peerbar_try_map(buf, attach, dir);

	trace_peerbar_map(buf, attach, dir, PTR_ERR_OR_ZERO(sgt));
	return sgt;
}

static void peerbar_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			  enum dma_data_direction dir)
{
	struct peerbar_buffer *buf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (buf->info.ops->unmap)
		buf->info.ops->unmap(buf, attach, sgt, dir);
	else if (buf->info.mmio)
		peerbar_unmap_mmio(buf, attach, sgt, dir);
	else
		peerbar_unmap_pages(attach, sgt, dir);
	/* Must be before: the task that sees that no mapping is left reports the last importer. */
	peerbar_importer_unmapped(attach);
	WRITE_ONCE(buf->dma_maps, buf->dma_maps - 1);
	trace_peerbar_unmap(buf, attach);
	if (!buf->dma_maps)
		wake_up_all(&buf->drained);
}

static int peerbar_pin(struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = peerbar_attachment_of(attach);
	struct peerbar_buffer *buf = attach->dmabuf->priv;

	if (READ_ONCE(buf->state) == PEERBAR_STATE_DEAD) {
		peerbar_dbg(buf, "cannot pin for %s: the state is DEAD", dev_name(attach->dev));
		return -ENODEV;
	}
	buf->pins++;
	WRITE_ONCE(a->pins, a->pins + 1);
	if (!dma_buf_attach_revocable(attach))
		WRITE_ONCE(buf->unwilling, buf->unwilling + 1);
	return 0;
}

static void peerbar_unpin(struct dma_buf_attachment *attach)
{
	struct peerbar_attachment *a = peerbar_attachment_of(attach);
	struct peerbar_buffer *buf = attach->dmabuf->priv;

	buf->pins--;
	WRITE_ONCE(a->pins, a->pins - 1);
	if (!dma_buf_attach_revocable(attach))
		WRITE_ONCE(buf->unwilling, buf->unwilling - 1);
}

static void peerbar_free_buffer(struct peerbar_buffer *buf)
{
	peerbar_ns_put(buf->ns);
	peerbar_user_uncharge(buf->user, buf->info.nr_ranges);
	peerbar_importers_destroy(buf);
	kvfree(buf->ranges);
	kfree(buf);
}

static void peerbar_release(struct dma_buf *dmabuf)
{
	struct peerbar_buffer *buf = dmabuf->priv;
	struct inode *inode = buf->inode;

	peerbar_event(buf, PEERBAR_CMD_BUFFER_RELEASED, READ_ONCE(buf->state));
	scoped_guard(mutex, &registry_lock)
		xa_erase(&registry, buf->id);
	/*
	 * Set DEAD, since the exporter's callbacks may still have a pointer and must not enter. Not
	 * killable, although another task may hold the lock while it waits for a fence:
	 * dma_buf_detach() in the exporter's release needs the lock as well.
	 */
	dma_resv_lock(dmabuf->resv, NULL);
	peerbar_set_dead(buf, "released");
	buf->stopped = true;
	dma_resv_unlock(dmabuf->resv);
	/* Not queued any more: only a stop does, and there is none after this. */
	cancel_delayed_work_sync(&buf->slow_revoke);
	if (buf->info.ops->release)
		buf->info.ops->release(buf);
	peerbar_free_buffer(buf);
	iput(inode);
}

static const struct dma_buf_ops peerbar_dma_buf_ops = {
	.attach = peerbar_attach,
	.detach = peerbar_detach,
	.map_dma_buf = peerbar_map,
	.unmap_dma_buf = peerbar_unmap,
	.mmap = peerbar_dma_buf_mmap,
	.release = peerbar_release,
};

/* The pin operation marks a dma-buf as dynamic for the rest of the kernel. */
static const struct dma_buf_ops peerbar_dynamic_ops = {
	.attach = peerbar_attach,
	.detach = peerbar_detach,
	.pin = peerbar_pin,
	.unpin = peerbar_unpin,
	.map_dma_buf = peerbar_map,
	.unmap_dma_buf = peerbar_unmap,
	.mmap = peerbar_dma_buf_mmap,
	.release = peerbar_release,
};

struct peerbar_buffer *peerbar_buffer_of(struct dma_buf *dmabuf)
{
	if (dmabuf->ops != &peerbar_dma_buf_ops && dmabuf->ops != &peerbar_dynamic_ops)
		return NULL;
	return dmabuf->priv;
}
EXPORT_SYMBOL_GPL(peerbar_buffer_of);

/* ---- creation ---- */

static int peerbar_copy_ranges(struct peerbar_buffer *buf, const struct phys_vec *vec,
			       unsigned int nr, size_t *size)
{
	phys_addr_t end;
	unsigned int i;

	if (!nr) {
		peerbar_dbg(buf, "cannot create: it has no range, and needs one");
		return -EINVAL;
	}
	buf->ranges = kvzalloc_objs(*buf->ranges, nr, GFP_KERNEL_ACCOUNT);
	if (!buf->ranges)
		return -ENOMEM;
	*size = 0;
	for (i = 0; i < nr; i++) {
		if (!vec[i].len || !PAGE_ALIGNED(vec[i].len) || !PAGE_ALIGNED(vec[i].paddr) ||
		    check_add_overflow(vec[i].paddr, (phys_addr_t)vec[i].len, &end)) {
			peerbar_dbg(buf,
				    "cannot create: range %u of %zu bytes is empty, not page-aligned, or wraps around",
				    i, vec[i].len);
			return -EINVAL;
		}
		/* Limit of a scatterlist entry's length. */
		if (!buf->info.mmio && vec[i].len > UINT_MAX) {
			peerbar_dbg(buf,
				    "cannot create: range %u of %zu bytes of system memory is not below 4 GiB",
				    i, vec[i].len);
			return -EINVAL;
		}
		buf->ranges[i].offset = *size;
		buf->ranges[i].paddr = vec[i].paddr;
		buf->ranges[i].len = vec[i].len;
		if (check_add_overflow(*size, vec[i].len, size) || *size > LLONG_MAX) {
			peerbar_dbg(buf,
				    "cannot create: the %u ranges together exceed the size of a file",
				    nr);
			return -EINVAL;
		}
	}
	return 0;
}

struct peerbar_buffer *peerbar_buffer_create(const struct peerbar_buffer_info *info)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct peerbar_buffer *buf;
	struct dma_buf *dmabuf;
	char *name;
	int ret;

	buf = kzalloc_obj(*buf, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->user = peerbar_user_charge(info->nr_ranges);
	if (IS_ERR(buf->user)) {
		ret = PTR_ERR(buf->user);
		kfree(buf);
		return ERR_PTR(ret);
	}
	buf->info = *info;
	buf->info.ranges = NULL;
	buf->ns = peerbar_ns_get_current();
	buf->creator = task_tgid_nr(current);
	buf->memattr = info->ops->memattr_supported ? info->first_memattr : info->memattr;
	buf->state = info->revoked ? PEERBAR_STATE_REVOKED : PEERBAR_STATE_LIVE;
	buf->id = atomic64_inc_return(&last_id);
	peerbar_buffer_init_state(buf);
	peerbar_importers_init(buf);
	strscpy(buf->label, info->name);
	ret = peerbar_copy_ranges(buf, info->ranges, info->nr_ranges, &exp_info.size);
	if (ret)
		goto err_free;
	name = kstrdup(buf->label, GFP_KERNEL_ACCOUNT);
	if (!name) {
		ret = -ENOMEM;
		goto err_free;
	}
	/* Nothing may fail after dma_buf_export(): the dma-buf's release frees. */
	ret = xa_reserve(&registry, buf->id, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_name;
	exp_info.exp_name = module_name(info->owner);
	exp_info.owner = info->owner;
	exp_info.ops = info->model == PEERBAR_MODEL_DYNAMIC ? &peerbar_dynamic_ops :
							      &peerbar_dma_buf_ops;
	exp_info.flags = info->open_flags;
	exp_info.resv = info->resv;
	exp_info.priv = buf;
	dmabuf = dma_buf_export(&exp_info);
	if (IS_ERR(dmabuf)) {
		ret = PTR_ERR(dmabuf);
		goto err_reserved;
	}
	buf->dmabuf = dmabuf;
	if (info->mapping)
		dmabuf->file->f_mapping = info->mapping;
	buf->mapping = dmabuf->file->f_mapping;
	buf->dentry = dmabuf->file->f_path.dentry;
	/* The file's inode goes before the dma-buf, but exporters revoke until release returns. */
	buf->inode = file_inode(dmabuf->file);
	ihold(buf->inode);
	spin_lock(&dmabuf->name_lock);
	dmabuf->name = name;
	spin_unlock(&dmabuf->name_lock);
	scoped_guard(mutex, &registry_lock)
		xa_store(&registry, buf->id, buf, GFP_KERNEL);
	trace_peerbar_state(buf, PEERBAR_STATE_UNKNOWN, READ_ONCE(buf->state), "created");
	peerbar_event(buf, PEERBAR_CMD_BUFFER_CREATED, READ_ONCE(buf->state));
	return buf;

err_reserved:
	xa_release(&registry, buf->id);
err_name:
	kfree(name);
err_free:
	peerbar_free_buffer(buf);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(peerbar_buffer_create);
