// SPDX-License-Identifier: GPL-2.0
/* Memory regions of user space: registration, revocation, deregistration. */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "peerbar_kapi.h"
#include "region.h"
#include "trace.h"

/* ---- user memory ---- */

static void pbr_mr_unpin(struct pbr_mr *mr)
{
	kvfree(mr->pages);
	ib_umem_release(mr->umem);
}

static int pbr_mr_list_pages(struct pbr_mr *mr)
{
	struct sg_page_iter iter;
	unsigned int i = 0;

	mr->nr = ib_umem_num_pages(mr->umem);
	mr->pages = kvmalloc_array(mr->nr, sizeof(*mr->pages), pbr_gfp(true));
	if (!mr->pages)
		return -ENOMEM;
	mr->first = ib_umem_offset(mr->umem);
	for_each_sg_page(mr->umem->sgt_append.sgt.sgl, &iter, mr->umem->sgt_append.sgt.orig_nents,
			 0) {
		if (WARN_ON_ONCE(i == mr->nr))
			return -EINVAL;
		mr->pages[i++] = sg_page_iter_page(&iter);
	}
	return i == mr->nr ? 0 : -EINVAL;
}

/* Pin the memory at @start, and list its pages in @mr. */
static int pbr_mr_pin(struct pbr_mr *mr, struct ib_device *device, u64 start, u64 length,
		      int access)
{
	struct ib_umem *umem;
	int ret;

	/* Nothing to pin, and no access would succeed. */
	if (!length)
		return 0;
	umem = ib_umem_get_va(device, start, length, access);
	if (IS_ERR(umem))
		return PTR_ERR(umem);
	mr->umem = umem;
	ret = pbr_mr_list_pages(mr);
	if (ret)
		pbr_mr_unpin(mr);
	return ret;
}

static struct ib_mr *pbr_reg_user_mr(struct ib_pd *pd, u64 start, u64 length, u64 iova, int access,
				     struct ib_dmah *dmah, struct ib_udata *udata)
{
	struct pbr_device *dev = to_pbr(pd->device);
	struct pbr_mr *mr;
	int ret;

	if (dmah || access & ~PBR_ACCESS)
		return pbr_fail(pd->device, ERR_PTR(-EOPNOTSUPP),
				"reg_mr: access is %#x%s; bits of %#x are supported, without DMA handle",
				access, dmah ? " with a DMA handle" : "", PBR_ACCESS);
	mr = pbr_mr_alloc(pd, PBR_MR_PAGES, access & IB_ZERO_BASED ? 0 : iova, length, access);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	ret = pbr_mr_pin(mr, pd->device, start, length, access);
	if (ret) {
		ibdev_dbg(pd->device, "reg_mr: %llu bytes at %#llx cannot be pinned: error %d\n",
			  length, start, ret);
		goto err_free;
	}
	ret = pbr_mr_publish(dev, mr);
	if (ret)
		goto err_unpin;
	trace_rdma_mr_register(mr);
	return pbr_mr_done(mr);

err_unpin:
	pbr_mr_unpin(mr);
err_free:
	kfree(mr);
	return ERR_PTR(ret);
}

/* ---- dma-bufs ---- */

static void pbr_mr_unmap(struct pbr_mr *mr)
{
	unsigned int i;

	for (i = 0; i < mr->nr; i++)
		if (mr->segments[i].mapped)
			iounmap(mr->segments[i].io);
	kvfree(mr->segments);
	mr->segments = NULL;
	mr->nr = 0;
}

/*
 * Add physically contiguous memory as a segment that the CPU can address. @io is its existing
 * mapping, or NULL.
 */
static int pbr_mr_add_segment(struct pbr_mr *mr, u64 offset, phys_addr_t phys, size_t len,
			      void __iomem *io)
{
	struct pbr_segment *seg = mr->segments;

	/* Most regions have one segment; grow by powers of two. */
	if (!(mr->nr & (mr->nr - 1))) {
		seg = kvrealloc(seg, (mr->nr ? 2 * mr->nr : 1) * sizeof(*seg), pbr_gfp(true));
		if (!seg)
			return -ENOMEM;
		mr->segments = seg;
	}
	seg += mr->nr;
	seg->offset = offset;
	seg->len = len;
	seg->mmio = io || !pfn_valid(PHYS_PFN(phys)) || !page_is_ram(PHYS_PFN(phys));
	seg->mapped = seg->mmio && !io;
	if (seg->mmio)
		seg->io = io ?: ioremap(phys, len);
	else
		seg->va = phys_to_virt(phys);
	if (!seg->va)
		return -ENOMEM;
	mr->nr++;
	return 0;
}

/* Add a segment for each run of DMA addresses that is physically contiguous as well. */
static int pbr_mr_map_runs(struct pbr_mr *mr)
{
	struct pbr_device *dev = to_pbr(mr->pd->device);
	phys_addr_t begin = 0, next = 0, phys;
	struct scatterlist *sg;
	u64 offset = 0, at, start = 0;
	unsigned int i;
	int ret;

	for_each_sgtable_dma_sg(&mr->umem->sgt_append.sgt, sg, i) {
		/* Refuse partial pages: the rest of the page may be another owner's. */
		if (!IS_ALIGNED(sg_dma_address(sg) | sg_dma_len(sg), PAGE_SIZE))
			return -EINVAL;
		cond_resched();
		for (at = 0; at < sg_dma_len(sg); at += PAGE_SIZE, offset += PAGE_SIZE) {
			ret = pbr_dma_to_phys(dev, sg_dma_address(sg) + at, &phys);
			if (ret)
				return ret;
			if (offset && phys == next &&
			    pfn_valid(PHYS_PFN(phys)) == pfn_valid(PHYS_PFN(begin))) {
				next += PAGE_SIZE;
				continue;
			}
			ret = offset ? pbr_mr_add_segment(mr, start, begin, next - begin, NULL) : 0;
			if (ret)
				return ret;
			start = offset;
			begin = phys;
			next = phys + PAGE_SIZE;
		}
	}
	return offset ? pbr_mr_add_segment(mr, start, begin, next - begin, NULL) : -EINVAL;
}

/*
 * Add a segment for each range of the exporter, starting at @offset. Segments are valid for as long
 * as the DMA addresses are.
 */
static int pbr_mr_map_chunks(struct pbr_mr *mr, struct dma_buf_attachment *attach,
			     const struct peerbar_chunk *chunks, size_t nr_chunks, u64 offset)
{
	u64 left = PAGE_ALIGN(mr->first + mr->length), begin = offset, at = 0, len;
	const struct phys_vec *addr, *end;
	size_t i;
	int ret;

	for (i = 0; i < nr_chunks; i++) {
		end = chunks[i].addrs + chunks[i].nr_addrs;
		for (addr = chunks[i].addrs; addr < end && left; addr++) {
			if (offset >= addr->len) {
				offset -= addr->len;
				continue;
			}
			len = min(addr->len - offset, left);
			ret = pbr_mr_add_segment(mr, at, addr->paddr + offset, len,
						 peerbar_dma_buf_iomem(attach, begin + at));
			if (ret)
				return ret;
			at += len;
			left -= len;
			offset = 0;
		}
	}
	return left || !at ? -EINVAL : 0;
}

/*
 * Map the dma-buf; @offset is that of the first page. For peerbar's exporters,
 * peerbar_dma_buf_get_chunks() returns the ranges. For others, query the IOMMU.
 */
static int pbr_mr_map(struct pbr_mr *mr, struct dma_buf_attachment *attach, u64 offset)
{
	struct peerbar_chunk *chunks;
	size_t nr_chunks;
	int ret;

	ret = peerbar_dma_buf_get_chunks(attach, &chunks, &nr_chunks);
	if (!ret) {
		ret = pbr_mr_map_chunks(mr, attach, chunks, nr_chunks, offset);
		peerbar_chunks_free(chunks, nr_chunks);
	} else if (ret == -EOPNOTSUPP) {
		ret = pbr_mr_map_runs(mr);
	}
	if (ret)
		pbr_mr_unmap(mr);
	return ret;
}

/*
 * The memory is revoked, or the region is deregistered; reservation lock held. On return, nothing
 * accesses the memory. The key stays allocated until the region is deregistered.
 */
static void pbr_mr_revoked(void *priv)
{
	struct pbr_mr *mr = priv;
	u64 begin = ktime_get_ns(), wait_ns;

	pbr_mr_block(mr);
	wait_ns = ktime_get_ns() - begin;
	pbr_mr_unmap(mr);
	if (READ_ONCE(mr->gone))
		return;
	mr->revoked = true;
	trace_rdma_mr_revoke(mr, wait_ns);
	pbr_count(to_pbr(mr->pd->device), PBR_REVOKED_REGIONS);
	if (mr->ctx)
		pbr_tell_revoked(mr->ctx, mr->key);
	/* Must be last: readers that see the new count query the region. */
	peerbar_note_revocation();
}

/* Refuse memory that moves or may move: the device cannot follow it. */
static int pbr_check_model(struct pbr_device *dev, struct dma_buf *dmabuf)
{
	switch (peerbar_dma_buf_model(dmabuf, NULL)) {
	case PEERBAR_MODEL_PINNED:
	case PEERBAR_MODEL_REVOCABLE:
		return 0;
	case PEERBAR_MODEL_DYNAMIC:
		dev_notice_ratelimited(&dev->ib.dev,
				       "cannot register a dma-buf of %s: its memory model is DYNAMIC, it may move at any time, and this device has no on-demand paging\n",
				       dmabuf->exp_name);
		return -EOPNOTSUPP;
	default:
		if (peerbar_dma_buf_revoked(dmabuf)) {
			dev_notice_ratelimited(&dev->ib.dev,
					       "cannot register a dma-buf of %s: it is revoked\n",
					       dmabuf->exp_name);
			return -ENODEV;
		}
		dev_notice_ratelimited(&dev->ib.dev,
				       "cannot register a dma-buf of %s: its memory model is UNKNOWN\n",
				       dmabuf->exp_name);
		return -EOPNOTSUPP;
	}
}

static struct ib_mr *pbr_reg_user_mr_dmabuf(struct ib_pd *pd, u64 offset, u64 length, u64 iova,
					    int fd, int access, struct ib_dmah *dmah,
					    struct uverbs_attr_bundle *attrs)
{
	struct pbr_device *dev = to_pbr(pd->device);
	struct ib_umem_dmabuf *umem;
	struct dma_buf *dmabuf;
	struct pbr_mr *mr;
	int ret, tries = 3;

	if (dmah || access & ~PBR_ACCESS)
		return pbr_fail(pd->device, ERR_PTR(-EOPNOTSUPP),
				"reg_dmabuf_mr: access is %#x%s; bits of %#x are supported, without DMA handle",
				access, dmah ? " with a DMA handle" : "", PBR_ACCESS);
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return pbr_fail(pd->device, ERR_CAST(dmabuf),
				"reg_dmabuf_mr: descriptor %d is not a dma-buf", fd);
	/* As with mmap(). */
	if (ib_access_writable(access) && !(dmabuf->file->f_mode & FMODE_WRITE))
		ret = pbr_fail(pd->device, -EACCES,
			       "reg_dmabuf_mr: descriptor %d is read-only, and access %#x writes",
			       fd, access);
	else
		ret = pbr_check_model(dev, dmabuf);
	if (ret)
		goto err_put;
	mr = pbr_mr_alloc(pd, PBR_MR_SEGMENTS, access & IB_ZERO_BASED ? 0 : iova, length, access);
	if (!mr) {
		ret = -ENOMEM;
		goto err_put;
	}
	/* Publish blocked: there is no memory to enter yet, but a revocation needs the key. */
	atomic_set(&mr->users, INT_MIN);
	ret = pbr_mr_publish(dev, mr);
	if (ret)
		goto err_free;
	do {
		umem = ib_umem_dmabuf_get_pinned_revocable_and_lock(pd->device, offset, length, fd,
								    access);
		/*
		 * -EINVAL also if the memory was revoked between attaching and the lock. Retry:
		 * then attaching returns the right errno.
		 */
	} while (umem == ERR_PTR(-EINVAL) && --tries);
	if (IS_ERR(umem)) {
		ret = PTR_ERR(umem);
		ibdev_dbg(pd->device,
			  "reg_dmabuf_mr: descriptor %d: %llu bytes from %llu on cannot be attached or mapped: error %d\n",
			  fd, length, offset, ret);
		if (!dev->pdev)
			dev_notice_ratelimited(&dev->ib.dev,
					       "cannot register a dma-buf of %s: error %d; memory of a device needs P2P DMA, and the network device has no PCI function for it\n",
					       dmabuf->exp_name, ret);
		goto err_unpublish;
	}
	mr->umem = &umem->umem;
	mr->first = offset_in_page(offset);
	/* The descriptor may refer to another dma-buf by now, whose model was not checked. */
	if (umem->attach->dmabuf == dmabuf)
		ret = pbr_mr_map(mr, umem->attach, offset - mr->first);
	else
		ret = -EBADF;
	if (ret) {
		ibdev_dbg(pd->device,
			  "reg_dmabuf_mr: descriptor %d: the CPU cannot address %llu bytes from %llu on, or it is another dma-buf now: error %d\n",
			  fd, length, offset, ret);
		goto err_umem;
	}
	ib_umem_dmabuf_set_revoke_locked(umem, pbr_mr_revoked, mr);
	trace_rdma_mr_register(mr);
	pbr_mr_unblock(mr);
	dma_resv_unlock(dmabuf->resv);
	dma_buf_put(dmabuf);
	return pbr_mr_done(mr);

err_umem:
	dma_resv_unlock(umem->attach->dmabuf->resv);
	ib_umem_release(&umem->umem);
err_unpublish:
	pbr_mr_unpublish(dev, mr);
err_free:
	kfree_rcu(mr, rcu);
err_put:
	dma_buf_put(dmabuf);
	return ERR_PTR(ret);
}

/* ---- regions of either kind ---- */

/* Prevent further bindings. Return false if a window is bound. */
static bool pbr_mr_keep_windows_out(struct pbr_mr *mr)
{
	return !atomic_cmpxchg(&mr->windows, 0, INT_MIN);
}

static struct ib_mr *pbr_rereg_user_mr(struct ib_mr *ib, int flags, u64 start, u64 length, u64 iova,
				       int access, struct ib_pd *pd, struct ib_udata *udata)
{
	struct pbr_mr *mr = to_pbr_mr(ib), other = {};
	int ret;

	if (mr->kind != PBR_MR_PAGES ||
	    flags & ~(IB_MR_REREG_TRANS | IB_MR_REREG_PD | IB_MR_REREG_ACCESS))
		return pbr_fail(ib->device, ERR_PTR(-EOPNOTSUPP),
				"rereg_mr: region %#x, flags %#x: only regions of user memory can be changed",
				mr->key, flags);
	if (!(flags & IB_MR_REREG_ACCESS))
		access = mr->access;
	if (access & ~PBR_ACCESS)
		return pbr_fail(ib->device, ERR_PTR(-EOPNOTSUPP),
				"rereg_mr: region %#x: access is %#x; bits of %#x are supported",
				mr->key, access, PBR_ACCESS);
	/* Memory that is pinned for reading stays so until it is pinned again. */
	if (!(flags & IB_MR_REREG_TRANS) && mr->umem && ib_access_writable(access) &&
	    !mr->umem->writable)
		return pbr_fail(ib->device, ERR_PTR(-EACCES),
				"rereg_mr: region %#x is pinned for reading, and access %#x writes",
				mr->key, access);
	ret = flags & IB_MR_REREG_TRANS ? pbr_mr_pin(&other, ib->device, start, length, access) : 0;
	if (ret)
		return pbr_fail(ib->device, ERR_PTR(ret),
				"rereg_mr: region %#x: %llu bytes at %#llx cannot be pinned: error %d",
				mr->key, length, start, ret);
	if (!pbr_mr_keep_windows_out(mr)) {
		ret = pbr_fail(ib->device, -EBUSY, "rereg_mr: region %#x has windows bound to it",
			       mr->key);
		goto out;
	}
	pbr_mr_block(mr);
	if (flags & IB_MR_REREG_PD) {
		mr->pd = pd;
		mr->ib.pd = pd;
	}
	mr->access = access;
	if (flags & IB_MR_REREG_TRANS) {
		mr->iova = access & IB_ZERO_BASED ? 0 : iova;
		mr->length = length;
		mr->first = other.first;
		mr->nr = other.nr;
		swap(mr->umem, other.umem);
		swap(mr->pages, other.pages);
	}
	trace_rdma_mr_register(mr);
	pbr_mr_unblock(mr);
	atomic_set(&mr->windows, 0);
out:
	/* Unpin the old memory, or the unused new one; does nothing if neither was pinned. */
	pbr_mr_unpin(&other);
	return ERR_PTR(ret);
}

static int pbr_dereg_mr(struct ib_mr *ib, struct ib_udata *udata)
{
	struct pbr_mr *mr = to_pbr_mr(ib);
	u64 begin = ktime_get_ns(), wait_ns;

	if (!pbr_mr_keep_windows_out(mr))
		return pbr_fail(ib->device, -EBUSY, "dereg_mr: region %#x has windows bound to it",
				mr->key);
	WRITE_ONCE(mr->gone, true);
	if (mr->kind == PBR_MR_SEGMENTS) {
		/* Blocks the region, unless it was revoked. */
		ib_umem_release(mr->umem);
		wait_ns = ktime_get_ns() - begin;
	} else {
		pbr_mr_block(mr);
		wait_ns = ktime_get_ns() - begin;
		pbr_mr_unpin(mr);
		pbr_fast_free(mr);
	}
	trace_rdma_mr_deregister(mr, wait_ns);
	/* Unpublish last: until now, the key must not be reused. */
	pbr_mr_unpublish(to_pbr(ib->device), mr);
	kfree_rcu(mr, rcu);
	return 0;
}

const struct ib_device_ops pbr_mr_ops = {
	.dereg_mr = pbr_dereg_mr,
	.reg_user_mr = pbr_reg_user_mr,
	.reg_user_mr_dmabuf = pbr_reg_user_mr_dmabuf,
	.rereg_user_mr = pbr_rereg_user_mr,
};
