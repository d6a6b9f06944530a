// SPDX-License-Identifier: GPL-2.0
/* Memory windows: binding and invalidation. */
#include <linux/slab.h>

#include "region.h"

#define PBR_ACCESS_CHANGES (IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC)

static int pbr_alloc_mw(struct ib_mw *ib, struct ib_udata *udata)
{
	struct pbr_mr *mr;
	int ret;

	mr = pbr_mr_alloc(ib->pd, PBR_MR_WINDOW, 0, 0, 0);
	if (!mr)
		return -ENOMEM;
	mr->mw_type = ib->type;
	ret = pbr_mr_publish(to_pbr(ib->device), mr);
	if (ret) {
		kfree(mr);
		return ret;
	}
	to_pbr_mw(ib)->mr = mr;
	ib->rkey = mr->key;
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
	struct pbr_mr *mr = to_pbr_mw(ib)->mr;

	pbr_mr_unpublish(to_pbr(ib->device), mr);
	pbr_mr_block(mr);
	pbr_mw_unbind(mr);
	kfree_rcu(mr, rcu);
	return 0;
}

int pbr_mw_bind(struct pbr_device *dev, struct ib_pd *pd, u32 qpn, const struct peerbar_sqe *sqe)
{
	struct pbr_mr *mw, *mr = NULL;
	int ret = -EINVAL;

	mw = pbr_mr_lock(dev, pd, sqe->mw.mw_rkey, ~0U);
	if (!mw)
		return -EINVAL;
	if (mw->kind != PBR_MR_WINDOW)
		goto out;
	/* Type 2: only an unbound window, and only with a new key of the same index. */
	if (mw->mw_type == IB_MW_TYPE_2 &&
	    (mw->parent || !sqe->mw.length || (sqe->mw.new_rkey ^ mw->key) >> 8))
		goto out;
	if (sqe->mw.length) {
		mr = pbr_mr_enter(dev, sqe->mw.mr_lkey);
		if (!mr)
			goto out;
		if (mr->key != sqe->mw.mr_lkey ||
		    (mr->kind != PBR_MR_PAGES && mr->kind != PBR_MR_SEGMENTS) || mr->pd != mw->pd ||
		    !pbr_mr_covers(mr, sqe->mw.addr, sqe->mw.length))
			goto out;
		if (!(mr->access & IB_ACCESS_MW_BIND) || sqe->mw.access & ~PBR_ACCESS ||
		    (sqe->mw.access & PBR_ACCESS_CHANGES && !(mr->access & IB_ACCESS_LOCAL_WRITE)))
			goto out;
		/* Zero-based windows: only of type 2, and not on a zero-based region. */
		if (sqe->mw.access & IB_ZERO_BASED &&
		    (mw->mw_type == IB_MW_TYPE_1 || mr->access & IB_ZERO_BASED))
			goto out;
		if (!atomic_inc_unless_negative(&mr->windows))
			goto out;
	}
	pbr_mw_unbind(mw);
	mw->parent = mr;
	if (mr) {
		mw->first = sqe->mw.addr;
		mw->iova = sqe->mw.access & IB_ZERO_BASED ? 0 : sqe->mw.addr;
		mw->length = sqe->mw.length;
		mw->access = sqe->mw.access & (IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ |
					       IB_ACCESS_REMOTE_ATOMIC);
	}
	if (mw->mw_type == IB_MW_TYPE_2)
		mw->qpn = qpn;
	mw->key = (mw->key & ~0xffU) | (sqe->mw.new_rkey & 0xff);
	ret = 0;
out:
	if (mr)
		pbr_mr_leave(mr);
	pbr_mr_unblock(mw);
	return ret;
}

/* Invalidate a bound window of type 2, or a region for fast registration, by its key. */
int pbr_invalidate(struct pbr_device *dev, struct ib_pd *pd, u32 qpn, u32 key)
{
	struct pbr_mr *mr = pbr_mr_lock(dev, pd, key, ~0U);
	int ret = -EINVAL;

	if (!mr)
		return -EINVAL;
	if (mr->kind == PBR_MR_FAST) {
		pbr_fast_invalidate(mr);
		ret = 0;
	} else if (mr->mw_type == IB_MW_TYPE_2 && mr->parent && mr->qpn == qpn) {
		pbr_mw_unbind(mr);
		ret = 0;
	}
	pbr_mr_unblock(mr);
	return ret;
}

const struct ib_device_ops pbr_mw_ops = {
	.alloc_mw = pbr_alloc_mw,
	.dealloc_mw = pbr_dealloc_mw,

	INIT_RDMA_OBJ_SIZE(ib_mw, pbr_mw, ib),
};
