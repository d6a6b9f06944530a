// SPDX-License-Identifier: GPL-2.0
/*
 * Extended reliable connections: domains, and their shared receive queues by number. A request of
 * an XRC initiator names the queue. The target executes it with the queue's protection domain,
 * receives and completion queue.
 */
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "qp.h"

/* ---- domains ---- */

static int pbr_alloc_xrcd(struct ib_xrcd *ib, struct ib_udata *udata)
{
	struct pbr_xrcd *xrcd = container_of(ib, struct pbr_xrcd, ib);

	/* Contexts that have it open may outlive the first one: no context's limit counts it. */
	xrcd->charge = kmalloc(sizeof(*xrcd) + sizeof(struct ib_uobject), pbr_gfp(udata));
	return xrcd->charge ? 0 : -ENOMEM;
}

static int pbr_dealloc_xrcd(struct ib_xrcd *ib, struct ib_udata *udata)
{
	kfree(container_of(ib, struct pbr_xrcd, ib)->charge);
	return 0;
}

int pbr_xrcd_add_target(struct pbr_xrcd *xrcd)
{
	int max = to_pbr(xrcd->ib.device)->max[PBR_QP];

	if (atomic_add_unless(&xrcd->targets, 1, max))
		return 0;
	dev_notice_ratelimited(&xrcd->ib.device->dev,
			       "cannot create an object: an XRC domain, of %s (%d) and others, has all %d targets that max_qp allows; destroy some first\n",
			       current->comm, task_tgid_nr(current), max);
	return -ENOMEM;
}

void pbr_xrcd_remove_target(struct pbr_xrcd *xrcd)
{
	atomic_dec(&xrcd->targets);
}

const struct ib_device_ops pbr_xrc_ops = {
	.alloc_xrcd = pbr_alloc_xrcd,
	.dealloc_xrcd = pbr_dealloc_xrcd,

	INIT_RDMA_OBJ_SIZE(ib_xrcd, pbr_xrcd, ib),
};

/* ---- queues by number ---- */

/* The XRC queues of all devices, by number */
static DEFINE_XARRAY_FLAGS(pbr_srqs, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
static u32 pbr_next_srqn;
static atomic_t pbr_last_life;

int pbr_srq_publish(struct pbr_srq *srq, gfp_t gfp)
{
	int ret;

	srq->life = atomic_inc_return(&pbr_last_life);
	srq->handle = kzalloc_obj(*srq->handle, gfp);
	if (!srq->handle)
		return -ENOMEM;
	srq->handle->srq = srq;
	ret = xa_alloc_cyclic(&pbr_srqs, &srq->ib.ext.xrc.srq_num, srq->handle,
			      XA_LIMIT(1, PBR_LAST_SRQN), &pbr_next_srqn, gfp);
	if (ret >= 0)
		return 0;
	kfree(srq->handle);
	return ret;
}

void pbr_srq_unpublish(struct pbr_srq *srq)
{
	atomic_t *users = &srq->handle->users;

	xa_erase(&pbr_srqs, srq->ib.ext.xrc.srq_num);
	/* A request uses the queue for one pass at most. */
	atomic_add(INT_MIN, users);
	wait_var_event(users, atomic_read(users) == INT_MIN);
	/* Order the accesses of lookups before those of the caller; pairs with pbr_srq_put(). */
	smp_acquire__after_ctrl_dep();
	kfree_rcu(srq->handle, rcu);
}

void pbr_xrc_exit(void)
{
	xa_destroy(&pbr_srqs);
}

/* Queue @number of the domain, with a reference; NULL if there is none. */
static struct pbr_srq *pbr_srq_get(const struct pbr_xrcd *xrcd, u32 number)
{
	struct pbr_srq_handle *handle;

	guard(rcu)();
	handle = xa_load(&pbr_srqs, number);
	if (!handle || !atomic_inc_unless_negative(&handle->users))
		return NULL;
	if (handle->srq->ib.ext.xrc.xrcd == &xrcd->ib)
		return handle->srq;
	pbr_srq_put(handle->srq);
	return NULL;
}

void pbr_srq_put(struct pbr_srq *srq)
{
	struct pbr_srq_handle *handle = srq->handle;

	/* As in pbr_qp_put(): both may be freed as soon as the waiting task sees the count. */
	if (atomic_dec_return(&handle->users) == INT_MIN)
		wake_up_var(&handle->users);
}

/* ---- requests ---- */

bool pbr_xrc_begin(struct pbr_qp *qp, u32 number)
{
	if (!pbr_is_xrc_target(qp))
		return true;
	qp->srq = pbr_srq_get(qp->xrcd, number);
	if (qp->srq)
		return true;
	ibdev_dbg(&qp->dev->ib,
		  "qp %u: a request for shared receive queue %u, which its domain does not have\n",
		  qp->ib.qp_num, number);
	return false;
}

void pbr_xrc_end(struct pbr_qp *qp)
{
	struct pbr_srq *srq = qp->srq;

	if (!pbr_is_xrc_target(qp))
		return;
	qp->srq = NULL;
	pbr_srq_put(srq);
}

bool pbr_xrc_holds_other(const struct pbr_qp *qp)
{
	return pbr_is_xrc_target(qp) && READ_ONCE(qp->held) && qp->held_life != qp->srq->life;
}

struct pbr_srq *pbr_xrc_held_srq(const struct pbr_qp *qp)
{
	struct pbr_srq *srq = pbr_srq_get(qp->xrcd, qp->held_srqn);

	if (!srq || srq->life == qp->held_life)
		return srq;
	pbr_srq_put(srq);
	return NULL;
}
