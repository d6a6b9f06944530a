// SPDX-License-Identifier: GPL-2.0
/* Memory windows: binding and invalidation. */
#include <linux/ktime.h>
#include <linux/slab.h>

#include "region.h"
#include "trace.h"

#define PBR_ACCESS_CHANGES (IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC)

/*
 * Freed windows, which are blocked. Their memory stays that of windows for a grace period, so a
 * lookup that still has the address can try to enter one. To free a window by kfree_rcu() takes a
 * third longer.
 */
static struct kmem_cache *pbr_windows;

static void pbr_window_construct(void *mr)
{
	atomic_set(&((struct pbr_mr *)mr)->users, INT_MIN);
}

int pbr_windows_init(void)
{
	pbr_windows = kmem_cache_create("peerbar_window", sizeof(struct pbr_mr), 0,
					SLAB_TYPESAFE_BY_RCU | SLAB_ACCOUNT, pbr_window_construct);
	return pbr_windows ? 0 : -ENOMEM;
}

void pbr_windows_exit(void)
{
	kmem_cache_destroy(pbr_windows);
}

static int pbr_alloc_mw(struct ib_mw *ib, struct ib_udata *udata)
{
	struct pbr_mr *mr;
	int ret;

	mr = kmem_cache_alloc(pbr_windows, GFP_KERNEL);
	if (!mr)
		return -ENOMEM;
	/* It stays blocked: a lookup of the window that it was may be about to enter it. */
	memset(mr, 0, offsetof(struct pbr_mr, users));
	memset_after(mr, 0, users);
	pbr_mr_init(mr, ib->pd, PBR_MR_WINDOW, 0, 0, 0);
	mr->mw_type = ib->type;
	ret = pbr_mr_publish(to_pbr(ib->device), mr);
	if (ret) {
		kmem_cache_free(pbr_windows, mr);
		return ret;
	}
	to_pbr_mw(ib)->mr = mr;
	ib->rkey = mr->key;
	pbr_mr_unblock(mr);
	return 0;
}

/* Caller holds the window blocked. */
static void pbr_mw_unbind(struct pbr_mr *mw)
{
	if (mw->parent)
		atomic_dec(&mw->parent->windows);
	mw->parent = NULL;
	mw->qpn = 0;
	mw->length = 0;
}

static int pbr_dealloc_mw(struct ib_mw *ib)
{
	u64 begin = trace_rdma_mr_deregister_enabled() ? ktime_get_ns() : 0;
	struct pbr_mr *mr = to_pbr_mw(ib)->mr;

	pbr_mr_unpublish(to_pbr(ib->device), mr);
	pbr_mr_block(mr);
	trace_rdma_mr_deregister(mr, begin ? ktime_get_ns() - begin : 0);
	pbr_mw_unbind(mr);
	kmem_cache_free(pbr_windows, mr);
	return 0;
}

/* Why @sqe cannot bind the window @mw to the region @mr; NULL if it can. */
static const char *pbr_mw_check(const struct pbr_mr *mw, const struct pbr_mr *mr,
				const struct peerbar_sqe *sqe)
{
	if (mr->key != sqe->mw.mr_lkey)
		return "the region's key is stale";
	if (mr->kind != PBR_MR_PAGES && mr->kind != PBR_MR_SEGMENTS)
		return "the region is a window, or the kernel's";
	if (mr->pd != mw->pd)
		return "the region is in another protection domain";
	if (!pbr_mr_covers(mr, sqe->mw.addr, sqe->mw.length))
		return "the region is smaller";
	if (!(mr->access & IB_ACCESS_MW_BIND))
		return "the region does not permit binding";
	if (sqe->mw.access & ~PBR_ACCESS)
		return "the access has unknown bits";
	if (sqe->mw.access & PBR_ACCESS_CHANGES && !(mr->access & IB_ACCESS_LOCAL_WRITE))
		return "the region is not writable";
	/* Zero-based windows: only of type 2, and not on a zero-based region. */
	if (sqe->mw.access & IB_ZERO_BASED &&
	    (mw->mw_type == IB_MW_TYPE_1 || mr->access & IB_ZERO_BASED))
		return "a window of type 1, or on a zero-based region, cannot be zero-based";
	return NULL;
}

int pbr_mw_bind(struct pbr_device *dev, struct ib_pd *pd, u32 qpn, const struct peerbar_sqe *sqe)
{
	const char *why = NULL;
	struct pbr_mr *mw, *mr = NULL;
	int ret = -EINVAL;

	mw = pbr_mr_lock(dev, pd, sqe->mw.mw_rkey, ~0U);
	if (!mw)
		return -EINVAL;
	if (mw->kind != PBR_MR_WINDOW) {
		why = "it is a region";
		goto out;
	}
	if (mw->mw_type == IB_MW_TYPE_2) {
		/* Only an unbound window, and only with a new key of the same index. */
		if (mw->parent)
			why = "a window of type 2 must be invalidated first";
		else if (!sqe->mw.length)
			why = "a window of type 2 is not unbound by length 0";
		else if ((sqe->mw.new_rkey ^ mw->key) >> 8)
			why = "the new key has another index";
		if (why)
			goto out;
	}
	if (sqe->mw.length) {
		mr = pbr_mr_enter(dev, sqe->mw.mr_lkey);
		if (!mr) {
			why = "there is no such region, or it is revoked";
			goto out;
		}
		why = pbr_mw_check(mw, mr, sqe);
		if (why)
			goto out;
		if (!atomic_inc_unless_negative(&mr->windows)) {
			why = "the region is being changed";
			goto out;
		}
	}
	pbr_mw_unbind(mw);
	mw->parent = mr;
	if (mr) {
		mw->first = sqe->mw.addr;
		mw->iova = sqe->mw.access & IB_ZERO_BASED ? 0 : sqe->mw.addr;
		mw->length = sqe->mw.length;
		mw->access = sqe->mw.access &
			(IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC);
	}
	if (mw->mw_type == IB_MW_TYPE_2)
		mw->qpn = qpn;
	mw->key = (mw->key & ~0xffU) | (sqe->mw.new_rkey & 0xff);
	if (mr)
		trace_rdma_mr_register(mw);
	ret = 0;
out:
	if (why)
		ibdev_dbg(&dev->ib,
			  "bind_mw: qp %u: window %#x to %llu bytes at %#llx of region %#x: %s\n",
			  qpn, mw->key, sqe->mw.length, sqe->mw.addr, sqe->mw.mr_lkey, why);
	if (mr)
		pbr_mr_leave(mr);
	pbr_mr_unblock(mw);
	return ret;
}

/* Invalidate a bound window of type 2, or a region for fast registration, by its key. */
int pbr_invalidate(struct pbr_device *dev, struct ib_pd *pd, u32 qpn, u32 key)
{
	u64 begin = trace_rdma_mr_invalidate_enabled() ? ktime_get_ns() : 0, wait_ns;
	struct pbr_mr *mr = pbr_mr_lock(dev, pd, key, ~0U);
	int ret = -EINVAL;

	if (!mr)
		return -EINVAL;
	wait_ns = begin ? ktime_get_ns() - begin : 0;
	if (mr->kind == PBR_MR_FAST) {
		trace_rdma_mr_invalidate(mr, wait_ns);
		pbr_fast_invalidate(mr);
		ret = 0;
	} else if (mr->mw_type == IB_MW_TYPE_2 && mr->parent && mr->qpn == qpn) {
		trace_rdma_mr_invalidate(mr, wait_ns);
		pbr_mw_unbind(mr);
		ret = 0;
	} else {
		ibdev_dbg(&dev->ib,
			  "invalidate: qp %u: window %#x is of type 1, unbound, or bound to another queue pair\n",
			  qpn, key);
	}
	pbr_mr_unblock(mr);
	return ret;
}

const struct ib_device_ops pbr_mw_ops = {
	.alloc_mw = pbr_alloc_mw,
	.dealloc_mw = pbr_dealloc_mw,

	INIT_RDMA_OBJ_SIZE(ib_mw, pbr_mw, ib),
};
