// SPDX-License-Identifier: GPL-2.0
/* Queue pairs by number: lookup and references; their events and errors. */
#include <linux/wait_bit.h>

#include "qp.h"

/* The queue pairs of all devices, by number; GSI's are looked up by device. */
static DEFINE_XARRAY_FLAGS(pb_qps, XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT);
static u32 pb_next_qpn;

int pb_qp_publish(struct pb_qp *qp, gfp_t gfp)
{
	int ret;

	if (qp->ib.qp_type == IB_QPT_GSI) {
		qp->ib.qp_num = 1;
		rcu_assign_pointer(qp->dev->gsi, qp->handle);
		return 0;
	}
	ret = xa_alloc_cyclic(&pb_qps, &qp->ib.qp_num, qp->handle, XA_LIMIT(PB_FIRST_QPN, PB_LAST_QPN), &pb_next_qpn, gfp);
	return min(ret, 0);
}

void pb_qp_unpublish(struct pb_qp *qp)
{
	if (qp->ib.qp_type == IB_QPT_GSI)
		rcu_assign_pointer(qp->dev->gsi, NULL);
	else
		xa_erase(&pb_qps, qp->ib.qp_num);
}

void pb_qps_exit(void)
{
	xa_destroy(&pb_qps);
}

/* The queue pair @qpn of the device @target, with a reference; NULL if it does not answer. */
struct pb_qp *pb_peer_get(u32 target, u32 qpn)
{
	struct pb_qp_handle *handle;
	struct pb_qp *qp;

	guard(rcu)();
	handle = qpn == 1 ? pb_find_gsi(target) : xa_load(&pb_qps, qpn);
	if (!handle || !atomic_inc_unless_negative(&handle->users))
		return NULL;
	qp = handle->qp;
	if (qp->dev->id == target && pb_answers(qp))
		return qp;
	pb_qp_put(qp);
	return NULL;
}

bool pb_qp_get(struct pb_qp *qp)
{
	return atomic_inc_unless_negative(&qp->handle->users);
}

void pb_qp_put(struct pb_qp *qp)
{
	struct pb_qp_handle *handle = qp->handle;

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
 * a copy stops within PB_COPY_PIECE bytes.
 */
void pb_qp_block(struct pb_qp *qp)
{
	atomic_t *users = &qp->handle->users;

	if (atomic_read(users) >= 0)
		atomic_add(INT_MIN, users);
	wait_var_event(users, atomic_read(users) == INT_MIN);
	/* Order the accesses of lookups before those of the caller; pairs with pb_qp_put(). */
	smp_acquire__after_ctrl_dep();
}

/* Caller holds modify_lock. */
void pb_qp_unblock(struct pb_qp *qp)
{
	if (atomic_read(&qp->handle->users) < 0)
		atomic_sub(INT_MIN, &qp->handle->users);
}

/* ---- events ---- */

void pb_qp_event(struct pb_qp *qp, enum ib_event_type type)
{
	struct ib_event event = { .device = qp->ib.device, .element.qp = &qp->ib, .event = type };

	if (qp->ib.event_handler)
		qp->ib.event_handler(&event, qp->ib.qp_context);
}

void pb_qp_error(struct pb_qp *qp, enum ib_event_type event)
{
	enum ib_qp_state old = READ_ONCE(qp->state);

	do {
		/* Ignore the error if the queue pair was reset meanwhile. */
		if (old == IB_QPS_ERR || old == IB_QPS_RESET)
			return;
	} while (!try_cmpxchg(&qp->state, &old, IB_QPS_ERR));
	if (event)
		pb_qp_event(qp, event);
	pb_qp_kick(qp);
}
