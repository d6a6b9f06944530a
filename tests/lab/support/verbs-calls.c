// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Requests that only the ibv_wr_*() calls make: flush and atomic write. */
#include "verbs.h"

struct ibv_qp_ex *call_begin(struct end *end, uint64_t id)
{
	struct ibv_qp_ex *ex = ibv_qp_to_qp_ex(end->qp);

	ibv_wr_start(ex);
	ex->wr_id = id;
	ex->wr_flags = IBV_SEND_SIGNALED;
	return ex;
}

static void call_end(struct end *end, struct ibv_qp_ex *ex)
{
	if (end->qp->qp_type == IBV_QPT_XRC_SEND)
		ibv_wr_set_xrc_srqn(ex, end->remote_srqn);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
}

void atomic_write(struct end *end, const struct mem *remote, size_t offset, uint64_t value,
		  enum ibv_wc_status status)
{
	struct ibv_qp_ex *ex = call_begin(end, 71);

	ibv_wr_atomic_write(ex, remote->mr->rkey, remote->addr + offset, &value);
	call_end(end, ex);
	if (!status)
		ck_assert_int_eq(completes(end, 71, status).opcode, IBV_WC_ATOMIC_WRITE);
	else
		completes(end, 71, status);
}

void flush_as(struct end *end, const struct mem *remote, size_t offset, size_t length, uint8_t type,
	      uint8_t level, enum ibv_wc_status status)
{
	struct ibv_qp_ex *ex = call_begin(end, 72);

	ibv_wr_flush(ex, remote->mr->rkey, remote->addr + offset, length, type, level);
	call_end(end, ex);
	if (!status)
		ck_assert_int_eq(completes(end, 72, status).opcode, IBV_WC_FLUSH);
	else
		completes(end, 72, status);
}

void flush_range(struct end *end, const struct mem *remote, size_t offset, size_t length,
		 enum ibv_wc_status status)
{
	flush_as(end, remote, offset, length, IBV_FLUSH_GLOBAL, IBV_FLUSH_RANGE, status);
}
