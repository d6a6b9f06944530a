// SPDX-License-Identifier: GPL-2.0
/* Memory regions of user space: registration of user memory, deregistration. */
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dmabuf.h"
#include "trace.h"
#include "user_memory.h"

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

/* Nothing is checked or looked up yet, except what would never succeed. */
static struct ib_mr *pbr_reg_on_demand(struct ib_pd *pd, u64 start, u64 length, u64 iova,
				       int access)
{
	bool implicit = !start && length == U64_MAX;
	struct pbr_mr *mr;
	u64 end;
	int ret;

	if (access & ~PBR_ON_DEMAND_ACCESS)
		return pbr_fail(pd->device, ERR_PTR(-EOPNOTSUPP),
				"reg_mr: access is %#x; on demand, bits of %#x are supported",
				access, PBR_ON_DEMAND_ACCESS);
	if (!length || (!implicit && check_add_overflow(start, length, &end)) || (implicit && iova))
		return pbr_fail(pd->device, ERR_PTR(-EINVAL),
				"reg_mr: %llu bytes at %#llx on demand: the range is invalid",
				length, start);
	mr = pbr_mr_alloc(pd, PBR_MR_USER, access & IB_ZERO_BASED ? 0 : iova, length, access);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->on_demand = true;
	mr->first = start;
	ret = pbr_user_memory_attach(mr);
	if (ret)
		goto err_free;
	ret = pbr_mr_publish(to_pbr(pd->device), mr);
	if (ret)
		goto err_release;
	trace_rdma_mr_register(mr);
	return pbr_mr_done(mr);

err_release:
	pbr_user_memory_release(mr);
err_free:
	kfree(mr);
	return ERR_PTR(ret);
}

static struct ib_mr *pbr_reg_user_mr(struct ib_pd *pd, u64 start, u64 length, u64 iova, int access,
				     struct ib_dmah *dmah, struct ib_udata *udata)
{
	struct pbr_device *dev = to_pbr(pd->device);
	struct pbr_mr *mr;
	int ret;

	if (access & IB_ACCESS_ON_DEMAND && !dmah)
		return pbr_reg_on_demand(pd, start, length, iova, access);
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

/* ---- regions of any kind ---- */

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
	pbr_mr_end_faults(mr);
	if (mr->dmabuf) {
		/* Blocks the region, unless it was revoked or is unmapped. */
		pbr_dmabuf_release(mr);
		wait_ns = ktime_get_ns() - begin;
	} else if (mr->user) {
		pbr_user_memory_release(mr);
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
	.rereg_user_mr = pbr_rereg_user_mr,
};
