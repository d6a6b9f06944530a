// SPDX-License-Identifier: GPL-2.0
/* Queue pairs by number: lookup and references; their events and errors. */
#include <linux/wait_bit.h>

#include "qp.h"
#include "trace.h"

/* The queue pairs of all devices, by number; GSI's are looked up by device. */
static DEFINE_XARRAY_FLAGS(pbr_qps, XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT);
static u32 pbr_next_qpn;

int pbr_qp_publish(struct pbr_qp *qp, gfp_t gfp)
{
	int ret;

	if (qp->ib.qp_type == IB_QPT_GSI) {
		qp->ib.qp_num = 1;
		rcu_assign_pointer(qp->dev->gsi, qp->handle);
		return 0;
	}
	ret = xa_alloc_cyclic(&pbr_qps, &qp->ib.qp_num, qp->handle,
			      XA_LIMIT(PBR_FIRST_QPN, PBR_LAST_QPN), &pbr_next_qpn, gfp);
	return min(ret, 0);
}

void pbr_qp_unpublish(struct pbr_qp *qp)
{
	if (qp->ib.qp_type == IB_QPT_GSI)
		rcu_assign_pointer(qp->dev->gsi, NULL);
	else
		xa_erase(&pbr_qps, qp->ib.qp_num);
}

void pbr_qps_exit(void)
{
	xa_destroy(&pbr_qps);
}

/* The queue pair @qpn of the device @target, with a reference; NULL if it does not answer. */
struct pbr_qp *pbr_peer_get(u32 target, u32 qpn)
{
	struct pbr_qp_handle *handle;
	struct pbr_qp *qp;

	guard(rcu)();
	handle = qpn == 1 ? pbr_find_gsi(target) : xa_load(&pbr_qps, qpn);
	if (!handle || !atomic_inc_unless_negative(&handle->users))
		return NULL;
	qp = handle->qp;
	if (qp->dev->id == target && pbr_answers(qp))
		return qp;
	pbr_qp_put(qp);
	return NULL;
}

bool pbr_qp_get(struct pbr_qp *qp)
{
	return atomic_inc_unless_negative(&qp->handle->users);
}

void pbr_qp_put(struct pbr_qp *qp)
{
	struct pbr_qp_handle *handle = qp->handle;

	/*
	 * The decrement is a full barrier, which wake_up_var() requires before it. The waiting task
	 * may free both as soon as it sees the count; only the address is used then.
	 */
	if (atomic_dec_return(&handle->users) == INT_MIN)
		wake_up_var(&handle->users);
}

/*
 * Make lookups fail, and wait for the references of earlier ones. The caller must hold modify_lock,
 * or be destroying the queue pair. The wait is not interruptible: the state has changed before, so
 * a copy stops within PBR_COPY_PIECE bytes.
 */
void pbr_qp_block(struct pbr_qp *qp)
{
	atomic_t *users = &qp->handle->users;

	if (atomic_read(users) >= 0)
		atomic_add(INT_MIN, users);
	wait_var_event(users, atomic_read(users) == INT_MIN);
	/* Order the accesses of lookups before those of the caller; pairs with pbr_qp_put(). */
	smp_acquire__after_ctrl_dep();
}

/* Caller holds modify_lock. */
void pbr_qp_unblock(struct pbr_qp *qp)
{
	if (atomic_read(&qp->handle->users) < 0)
		atomic_sub(INT_MIN, &qp->handle->users);
}

/* ---- events ---- */

void pbr_qp_event(struct pbr_qp *qp, enum ib_event_type type)
{
	struct ib_event event = { .device = qp->ib.device, .element.qp = &qp->ib, .event = type };

	if (qp->ib.event_handler)
		qp->ib.event_handler(&event, qp->ib.qp_context);
}

void pbr_qp_send_error(struct pbr_qp *qp)
{
	enum ib_qp_state old = READ_ONCE(qp->state);

	if (!pbr_is_datagram(qp)) {
		pbr_qp_error(qp, 0);
		return;
	}
	do {
		if (old != IB_QPS_RTS && old != IB_QPS_SQD)
			return;
	} while (!try_cmpxchg(&qp->state, &old, IB_QPS_SQE));
	trace_rdma_qp_state(&qp->ib, old, IB_QPS_SQE, false);
}

void pbr_qp_error(struct pbr_qp *qp, enum ib_event_type event)
{
	enum ib_qp_state old = READ_ONCE(qp->state);

	do {
		/* Ignore the error if the queue pair was reset meanwhile. */
		if (old == IB_QPS_ERR || old == IB_QPS_RESET)
			return;
	} while (!try_cmpxchg(&qp->state, &old, IB_QPS_ERR));
	trace_rdma_qp_state(&qp->ib, old, IB_QPS_ERR, false);
	if (event)
		pbr_qp_event(qp, event);
	pbr_qp_kick(qp);
}
