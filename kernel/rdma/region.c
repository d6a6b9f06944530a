// SPDX-License-Identifier: GPL-2.0
/* Memory regions and windows by key: lookup, entering and blocking. */
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "region.h"

/* ---- entering and blocking ---- */

/*
 * Look up a region by index and enter it. The caller must compare the key: a window's memory may
 * have become another window's.
 */
struct pbr_mr *pbr_mr_enter(struct pbr_device *dev, u32 key)
{
	struct pbr_mr *mr;

	guard(rcu)();
	mr = xa_load(&dev->mrs, key >> 8);
	if (!mr || !atomic_inc_unless_negative(&mr->users))
		return NULL;
	return mr;
}

void pbr_mr_leave(struct pbr_mr *mr)
{
	/*
	 * The waiting task may free @mr as soon as it sees the count; only the address is used
	 * then. The decrement is a full barrier, which wake_up_var() requires before it.
	 */
	if (atomic_dec_return(&mr->users) == INT_MIN)
		wake_up_var(&mr->users);
}

/* Prevent further entries. Return false if another task has blocked the region. */
static bool pbr_mr_try_block(struct pbr_mr *mr)
{
	int old = atomic_read(&mr->users);

	do {
		if (old < 0)
			return false;
	} while (!atomic_try_cmpxchg(&mr->users, &old, old + INT_MIN));
	return true;
}

/* Wait until no task is inside a blocked region. */
static void pbr_mr_drain(struct pbr_mr *mr)
{
	wait_var_event(&mr->users, atomic_read(&mr->users) == INT_MIN);
	/* Order the accesses inside before those of the caller; pairs with pbr_mr_leave(). */
	smp_acquire__after_ctrl_dep();
}

void pbr_mr_block(struct pbr_mr *mr)
{
	wait_var_event(&mr->users, pbr_mr_try_block(mr));
	pbr_mr_drain(mr);
}

void pbr_mr_unblock(struct pbr_mr *mr)
{
	atomic_sub(INT_MIN, &mr->users);
	/* Pairs with the barrier between queueing and testing in wait_var_event(). */
	smp_mb__after_atomic();
	/* Only the address is used. */
	wake_up_var(&mr->users);
}

/* ---- faults ---- */

bool pbr_mr_begin_fault(struct pbr_mr *mr)
{
	return atomic_inc_unless_negative(&mr->faulting);
}

int pbr_refs_set_fault(struct pbr_refs *refs, struct pbr_mr *mr, u64 addr, u64 len)
{
	/* The last fault failed. */
	if (refs->fault_failed || !pbr_mr_begin_fault(mr))
		return -EFAULT;
	refs->fault = mr;
	refs->fault_addr = addr;
	refs->fault_len = len;
	return -EAGAIN;
}

void pbr_mr_end_fault(struct pbr_mr *mr)
{
	/* As in pbr_mr_leave(). */
	if (atomic_dec_return(&mr->faulting) == INT_MIN)
		wake_up_var(&mr->faulting);
}

void pbr_mr_end_faults(struct pbr_mr *mr)
{
	if (!mr->on_demand)
		return;
	atomic_add(INT_MIN, &mr->faulting);
	wait_var_event(&mr->faulting, atomic_read(&mr->faulting) == INT_MIN);
	smp_acquire__after_ctrl_dep();
}

struct pbr_mr *pbr_mr_lock(struct pbr_device *dev, struct ib_pd *pd, u32 key, u32 mask)
{
	struct pbr_mr *mr = pbr_mr_enter(dev, key);

	if (!mr)
		goto err_refuse;
	if ((mr->kind != PBR_MR_WINDOW && mr->kind != PBR_MR_FAST) || (mr->key ^ key) & mask ||
	    mr->pd != pd) {
		pbr_mr_leave(mr);
		goto err_refuse;
	}
	if (!pbr_mr_try_block(mr)) {
		pbr_mr_leave(mr);
		goto err_refuse;
	}
	pbr_mr_leave(mr);
	pbr_mr_drain(mr);
	/* Compare again: another task may have changed it before it was blocked. */
	if (!((mr->key ^ key) & mask))
		return mr;
	pbr_mr_unblock(mr);
err_refuse:
	ibdev_dbg(&dev->ib,
		  "key %#x: the protection domain has no window or region for fast registration with it, or another task is changing it\n",
		  key);
	return NULL;
}

/* ---- access by key ---- */

bool pbr_mr_covers(const struct pbr_mr *mr, u64 addr, u64 len)
{
	return addr >= mr->iova && len <= mr->length && addr - mr->iova <= mr->length - len;
}

u64 pbr_mr_start(struct pbr_device *dev, u32 key)
{
	struct pbr_mr *mr;

	guard(rcu)();
	mr = xa_load(&dev->mrs, key >> 8);
	return mr && mr->key == key ? mr->iova : 0;
}

static const char *const pbr_refusal_names[PBR_NR_REFUSALS] = {
	[PBR_NOT_REFUSED] = "none",
	[PBR_NO_REGION] = "no region or window has this key",
	[PBR_BLOCKED] = "the region is revoked, or another task is changing it",
	[PBR_STALE_KEY] = "the key is stale",
	[PBR_OTHER_PD] = "the region is in another protection domain",
	[PBR_NO_ACCESS] = "the region does not grant the access",
	[PBR_OUTSIDE] = "the region does not contain the range",
	[PBR_WINDOW_UNUSABLE] = "the window is unbound, another queue pair's, or used locally",
	[PBR_NOT_ADDRESSABLE] = "a DMA address is not mapped",
	[PBR_KERNEL_KEY] = "the key is for kernel users only",
	[PBR_FAULT_FAILED] = "the memory of the on-demand region cannot be mapped",
};

static enum pbr_refusal pbr_ref_why(const struct pbr_refs *refs, const struct pbr_ref *ref,
				    const struct pbr_mr *mr)
{
	if (ref->key == PBR_DMA_LKEY)
		return PBR_KERNEL_KEY;
	if (refs->fault_failed)
		return PBR_FAULT_FAILED;
	if (!mr) {
		guard(rcu)();
		return xa_load(&refs->dev->mrs, ref->key >> 8) ? PBR_BLOCKED : PBR_NO_REGION;
	}
	if (mr->key != ref->key)
		return PBR_STALE_KEY;
	if (mr->pd != refs->pd)
		return PBR_OTHER_PD;
	if ((mr->access & refs->access) != refs->access)
		return PBR_NO_ACCESS;
	if (!pbr_mr_covers(mr, ref->addr, ref->len))
		return PBR_OUTSIDE;
	if (mr->parent && atomic_read(&mr->parent->users) < 0)
		return PBR_BLOCKED;
	return PBR_WINDOW_UNUSABLE;
}

/* Keep the reason for the completion's debug message and tracepoint. @mr is entered, or NULL. */
static noinline int pbr_ref_refuse(struct pbr_refs *refs, const struct pbr_ref *ref,
				   const struct pbr_mr *mr)
{
	refs->refusal = pbr_ref_why(refs, ref, mr);
	refs->refused_key = ref->key;
	pbr_count(refs->dev, PBR_ACCESS_REFUSED);
	return pbr_fail(&refs->dev->ib, -EFAULT,
			"qp %u: access %#x to %u bytes at %#llx by key %#x: %s", refs->qpn,
			refs->access, ref->len, ref->addr, ref->key,
			pbr_refusal_names[refs->refusal]);
}

static bool pbr_ref_fits(const struct pbr_refs *refs, const struct pbr_ref *ref,
			 const struct pbr_mr *mr)
{
	return mr->key == ref->key && mr->pd == refs->pd &&
		(mr->access & refs->access) == refs->access &&
		pbr_mr_covers(mr, ref->addr, ref->len);
}

/* The region cannot be entered: there is none, it is blocked, or its memory is absent. */
static noinline int pbr_ref_absent(struct pbr_refs *refs, const struct pbr_ref *ref)
{
	struct pbr_mr *mr;

	scoped_guard(rcu) {
		mr = xa_load(&refs->dev->mrs, ref->key >> 8);
		if (mr && mr->on_demand && pbr_ref_fits(refs, ref, mr) &&
		    pbr_refs_set_fault(refs, mr, ref->addr, ref->len) == -EAGAIN)
			return -EAGAIN;
	}
	return pbr_ref_refuse(refs, ref, NULL);
}

static int pbr_ref_get(struct pbr_refs *refs, struct pbr_ref *ref)
{
	struct pbr_mr *mr;

	ref->mr = NULL;
	if (ref->va || !ref->len)
		return 0;
	if (ref->key == PBR_DMA_LKEY)
		return refs->dma ? 0 : pbr_ref_refuse(refs, ref, NULL);
	mr = pbr_mr_enter(refs->dev, ref->key);
	if (!mr)
		return pbr_ref_absent(refs, ref);
	if (!pbr_ref_fits(refs, ref, mr))
		goto err_leave;
	ref->region = mr;
	if (mr->kind == PBR_MR_WINDOW) {
		/* A window grants remote access only. */
		if (!mr->parent || !(refs->access & ~IB_ACCESS_LOCAL_WRITE) ||
		    (mr->qpn && mr->qpn != refs->qpn) ||
		    !atomic_inc_unless_negative(&mr->parent->users))
			goto err_leave;
		ref->region = mr->parent;
	}
	ref->mr = mr;
	return 0;

err_leave:
	pbr_ref_refuse(refs, ref, mr);
	pbr_mr_leave(mr);
	return -EFAULT;
}

static void pbr_ref_put(struct pbr_ref *ref)
{
	if (!ref->mr)
		return;
	if (ref->region != ref->mr)
		pbr_mr_leave(ref->region);
	pbr_mr_leave(ref->mr);
	ref->mr = NULL;
}

int pbr_refs_get(struct pbr_refs *refs)
{
	unsigned int i;
	int ret;

	for (i = 0; i < refs->nr; i++) {
		ret = pbr_ref_get(refs, &refs->ref[i]);
		if (ret)
			goto err_put;
	}
	return 0;

err_put:
	while (i--)
		pbr_ref_put(&refs->ref[i]);
	/* Make a later pbr_refs_put() do nothing. */
	for (i = 0; i < refs->nr; i++)
		refs->ref[i].mr = NULL;
	return ret;
}

void pbr_refs_put(struct pbr_refs *refs)
{
	unsigned int i;

	for (i = 0; i < refs->nr; i++)
		pbr_ref_put(&refs->ref[i]);
}

/* ---- keys ---- */

int pbr_mr_publish(struct pbr_device *dev, struct pbr_mr *mr)
{
	enum pbr_object kind = mr->kind == PBR_MR_WINDOW ? PBR_MW : PBR_MR;
	u32 index;
	int ret;

	/* Reserve the index first: a region must have its key when lookups find it. */
	ret = pbr_object_add(mr->ctx, kind);
	if (ret)
		return ret;
	ret = xa_alloc_cyclic(&dev->mrs, &index, NULL, XA_LIMIT(1, PBR_LAST_KEY), &dev->next_mr,
			      pbr_gfp(mr->ctx));
	if (ret < 0) {
		pbr_object_remove(mr->ctx, kind);
		return ret;
	}
	mr->key = index << 8 | get_random_u8();
	xa_store(&dev->mrs, index, mr, GFP_KERNEL);
	return 0;
}

void pbr_mr_unpublish(struct pbr_device *dev, struct pbr_mr *mr)
{
	xa_erase(&dev->mrs, mr->key >> 8);
	pbr_object_remove(mr->ctx, mr->kind == PBR_MR_WINDOW ? PBR_MW : PBR_MR);
}

struct pbr_mr *pbr_mr_alloc(struct ib_pd *pd, enum pbr_mr_kind kind, u64 iova, u64 length,
			    int access)
{
	struct pbr_mr *mr;

	mr = kzalloc_obj(*mr, pbr_gfp(pd->uobject));
	if (mr)
		pbr_mr_init(mr, pd, kind, iova, length, access);
	return mr;
}

void pbr_mr_init(struct pbr_mr *mr, struct ib_pd *pd, enum pbr_mr_kind kind, u64 iova, u64 length,
		 int access)
{
	mr->kind = kind;
	mr->pd = pd;
	mr->iova = iova;
	mr->length = length;
	mr->access = access;
	if (pd->uobject)
		mr->ctx = pd->uobject->context;
}

struct ib_mr *pbr_mr_done(struct pbr_mr *mr)
{
	mr->ib.lkey = mr->key;
	mr->ib.rkey = mr->key;
	mr->ib.iova = mr->iova;
	mr->ib.length = mr->length;
	return &mr->ib;
}
