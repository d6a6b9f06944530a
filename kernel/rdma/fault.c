// SPDX-License-Identifier: GPL-2.0
/*
 * Faults: an access to an on-demand region whose memory is absent, or a prefetch, makes it present,
 * in the context of the task that accesses.
 */
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>

#include "dmabuf.h"
#include "fault.h"
#include "trace.h"
#include "user_memory.h"

static bool pbr_fault_is_unfinished(int ret)
{
	return ret == -EINPROGRESS || ret == -EINTR || ret == -ERESTARTSYS;
}

static int pbr_mr_fault(struct pbr_mr *mr, u64 addr, u64 len, bool write)
{
	ssize_t n;

	if (mr->kind == PBR_MR_SEGMENTS)
		return pbr_dmabuf_fault(mr, false);
	n = pbr_user_memory_fault(mr, mr->first + (addr - mr->iova), len, write, true);
	return n < 0 ? n : 0;
}

int pbr_refs_fault(struct pbr_refs *refs)
{
	struct pbr_mr *mr = refs->fault;
	int ret;

	if (!mr)
		return 0;
	refs->fault = NULL;
	ret = pbr_mr_fault(mr, refs->fault_addr, refs->fault_len, pbr_refs_write(refs));
	trace_rdma_mr_fault(mr, refs->fault_addr, refs->fault_len, ret);
	pbr_count(refs->dev, PBR_PAGE_FAULTS);
	if (ret && !pbr_fault_is_unfinished(ret)) {
		refs->fault_failed = true;
		ibdev_dbg(&refs->dev->ib,
			  "qp %u: key %#x: the memory of %llu bytes at %#llx cannot be made present: error %d\n",
			  refs->qpn, mr->key, refs->fault_len, refs->fault_addr, ret);
	}
	pbr_mr_end_fault(mr);
	return ret;
}

/* ---- prefetches ---- */

/* Find the on-demand region of a prefetch, and keep it until pbr_mr_end_fault(). */
static struct pbr_mr *pbr_prefetch_find(struct ib_pd *pd, const struct ib_sge *sge, bool write)
{
	struct pbr_mr *mr;

	guard(rcu)();
	mr = xa_load(&to_pbr(pd->device)->mrs, sge->lkey >> 8);
	if (!mr || mr->key != sge->lkey || mr->pd != pd || !mr->on_demand)
		return pbr_fail(pd->device, ERR_PTR(-ENOENT),
				"advise_mr: the protection domain has no on-demand region with key %#x",
				sge->lkey);
	if (write && !ib_access_writable(mr->access))
		return pbr_fail(pd->device, ERR_PTR(-EPERM),
				"advise_mr: region %#x is not writable", mr->key);
	if (!pbr_mr_covers(mr, sge->addr, sge->length))
		return pbr_fail(pd->device, ERR_PTR(-EFAULT),
				"advise_mr: %u bytes at %#llx are outside of region %#x",
				sge->length, sge->addr, mr->key);
	return pbr_mr_begin_fault(mr) ? mr : ERR_PTR(-ENOENT);
}

/* Wait here, as long as it takes: the caller wants the memory to be present. */
static int pbr_prefetch_dmabuf(struct pbr_mr *mr, bool no_fault)
{
	int ret;

	do {
		ret = pbr_dmabuf_fault(mr, no_fault);
	} while (ret == -EINPROGRESS);
	return ret;
}

static int pbr_prefetch_user(struct pbr_mr *mr, const struct ib_sge *sge, bool write, bool no_fault)
{
	u64 at = mr->first + (sge->addr - mr->iova), end = at + sge->length;
	ssize_t n;

	for (; at < end; at += n) {
		n = pbr_user_memory_fault(mr, at, end - at, write, !no_fault);
		if (n < 0)
			return n;
		cond_resched();
	}
	return 0;
}

static int pbr_prefetch(struct pbr_mr *mr, const struct ib_sge *sge,
			enum ib_uverbs_advise_mr_advice advice)
{
	bool no_fault = advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT;
	bool write = advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE;
	int ret;

	ret = mr->kind == PBR_MR_SEGMENTS ? pbr_prefetch_dmabuf(mr, no_fault) :
					    pbr_prefetch_user(mr, sge, write, no_fault);
	trace_rdma_mr_fault(mr, sge->addr, sge->length, ret);
	if (!ret)
		pbr_count(to_pbr(mr->pd->device), PBR_PAGE_PREFETCHES);
	return ret;
}

/*
 * A prefetch without IB_UVERBS_ADVISE_MR_FLAG_FLUSH may fail unnoticed. It is done at once in
 * either case, and accounted to the caller.
 */
static int pbr_advise_mr(struct ib_pd *pd, enum ib_uverbs_advise_mr_advice advice, u32 flags,
			 struct ib_sge *sge, u32 nr, struct uverbs_attr_bundle *attrs)
{
	struct pbr_mr *mr;
	int ret;

	if (advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH &&
	    advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE &&
	    advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT)
		return pbr_fail(pd->device, -EOPNOTSUPP, "advise_mr: advice %u is not supported",
				advice);
	for (; nr; nr--, sge++) {
		mr = pbr_prefetch_find(pd, sge,
				       advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE);
		if (IS_ERR(mr))
			return PTR_ERR(mr);
		ret = pbr_prefetch(mr, sge, advice);
		pbr_mr_end_fault(mr);
		if (ret == -EINTR || ret == -ERESTARTSYS)
			return ret;
		if (ret && flags & IB_UVERBS_ADVISE_MR_FLAG_FLUSH)
			return pbr_fail(pd->device, ret,
					"advise_mr: %u bytes at %#llx of region %#x cannot be made present: error %d",
					sge->length, sge->addr, sge->lkey, ret);
	}
	return 0;
}

const struct ib_device_ops pbr_fault_ops = {
	.advise_mr = pbr_advise_mr,
};
