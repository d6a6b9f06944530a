// SPDX-License-Identifier: GPL-2.0
/* Memory windows: binding and invalidation. */
#include <linux/slab.h>

#include "region.h"

#define PB_ACCESS_CHANGES (IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC)

static int pb_alloc_mw(struct ib_mw *ib, struct ib_udata *udata)
{
	struct pb_mr *mr;
	int ret;

	mr = pb_mr_alloc(ib->pd, PB_MR_WINDOW, 0, 0, 0);
	if (!mr)
		return -ENOMEM;
	mr->mw_type = ib->type;
	ret = pb_mr_publish(to_pb(ib->device), mr);
	if (ret) {
		kfree(mr);
		return ret;
	}
	to_pb_mw(ib)->mr = mr;
	ib->rkey = mr->key;
	return 0;
}

/* Caller holds the window blocked. */
static void pb_mw_unbind(struct pb_mr *mw)
{
	if (mw->parent)
		atomic_dec(&mw->parent->windows);
	mw->parent = NULL;
	mw->qpn = 0;
	mw->length = 0;
}

static int pb_dealloc_mw(struct ib_mw *ib)
{
	struct pb_mr *mr = to_pb_mw(ib)->mr;

	pb_mr_unpublish(to_pb(ib->device), mr);
	pb_mr_block(mr);
	pb_mw_unbind(mr);
	kfree_rcu(mr, rcu);
	return 0;
}

int pb_mw_bind(struct pb_device *dev, struct ib_pd *pd, u32 qpn, const struct peerbar_sqe *sqe)
{
	struct pb_mr *mw, *mr = NULL;
	int ret = -EINVAL;

	mw = pb_mr_lock(dev, pd, sqe->mw.mw_rkey, ~0U);
	if (!mw)
		return -EINVAL;
	if (mw->kind != PB_MR_WINDOW)
		goto out;
	/* Type 2: only an unbound window, and only with a new key of the same index. */
	if (mw->mw_type == IB_MW_TYPE_2 && (mw->parent || !sqe->mw.length || (sqe->mw.new_rkey ^ mw->key) >> 8))
		goto out;
	if (sqe->mw.length) {
		mr = pb_mr_enter(dev, sqe->mw.mr_lkey);
		if (!mr)
			goto out;
		if (mr->key != sqe->mw.mr_lkey || (mr->kind != PB_MR_PAGES && mr->kind != PB_MR_SEGMENTS) || mr->pd != mw->pd ||
		    !pb_mr_covers(mr, sqe->mw.addr, sqe->mw.length))
			goto out;
		if (!(mr->access & IB_ACCESS_MW_BIND) || sqe->mw.access & ~PB_ACCESS ||
		    (sqe->mw.access & PB_ACCESS_CHANGES && !(mr->access & IB_ACCESS_LOCAL_WRITE)))
			goto out;
		/* Zero-based windows: only of type 2, and not on a zero-based region. */
		if (sqe->mw.access & IB_ZERO_BASED && (mw->mw_type == IB_MW_TYPE_1 || mr->access & IB_ZERO_BASED))
			goto out;
		if (!atomic_inc_unless_negative(&mr->windows))
			goto out;
	}
	pb_mw_unbind(mw);
	mw->parent = mr;
	if (mr) {
		mw->first = sqe->mw.addr;
		mw->iova = sqe->mw.access & IB_ZERO_BASED ? 0 : sqe->mw.addr;
		mw->length = sqe->mw.length;
		mw->access = sqe->mw.access & (IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC);
	}
	if (mw->mw_type == IB_MW_TYPE_2)
		mw->qpn = qpn;
	mw->key = (mw->key & ~0xffU) | (sqe->mw.new_rkey & 0xff);
	ret = 0;
out:
	if (mr)
		pb_mr_leave(mr);
	pb_mr_unblock(mw);
	return ret;
}

/* Invalidate a bound window of type 2, or a region for fast registration, by its key. */
int pb_invalidate(struct pb_device *dev, struct ib_pd *pd, u32 qpn, u32 key)
{
	struct pb_mr *mr = pb_mr_lock(dev, pd, key, ~0U);
	int ret = -EINVAL;

	if (!mr)
		return -EINVAL;
	if (mr->kind == PB_MR_FAST) {
		pb_fast_invalidate(mr);
		ret = 0;
	} else if (mr->mw_type == IB_MW_TYPE_2 && mr->parent && mr->qpn == qpn) {
		pb_mw_unbind(mr);
		ret = 0;
	}
	pb_mr_unblock(mr);
	return ret;
}

const struct ib_device_ops pb_mw_ops = {
	.alloc_mw = pb_alloc_mw,
	.dealloc_mw = pb_dealloc_mw,

	INIT_RDMA_OBJ_SIZE(ib_mw, pb_mw, ib),
};
