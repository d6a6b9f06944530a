// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Sends, posted as a list: ibv_post_send(). */
#include "send.h"

#include <errno.h>
#include <string.h>

/* The kernel uses the opcodes of its own header. */
static_assert((int)IBV_WR_RDMA_WRITE == (int)IB_UVERBS_WR_RDMA_WRITE &&
		      (int)IBV_WR_RDMA_WRITE_WITH_IMM == (int)IB_UVERBS_WR_RDMA_WRITE_WITH_IMM &&
		      (int)IBV_WR_SEND == (int)IB_UVERBS_WR_SEND &&
		      (int)IBV_WR_SEND_WITH_IMM == (int)IB_UVERBS_WR_SEND_WITH_IMM &&
		      (int)IBV_WR_RDMA_READ == (int)IB_UVERBS_WR_RDMA_READ &&
		      (int)IBV_WR_LOCAL_INV == (int)IB_UVERBS_WR_LOCAL_INV &&
		      (int)IBV_WR_ATOMIC_CMP_AND_SWP == (int)IB_UVERBS_WR_ATOMIC_CMP_AND_SWP &&
		      (int)IBV_WR_ATOMIC_FETCH_AND_ADD == (int)IB_UVERBS_WR_ATOMIC_FETCH_AND_ADD &&
		      (int)IBV_WR_BIND_MW == (int)IB_UVERBS_WR_BIND_MW &&
		      (int)IBV_WR_SEND_WITH_INV == (int)IB_UVERBS_WR_SEND_WITH_INV &&
		      (int)IBV_WR_FLUSH == (int)IB_UVERBS_WR_FLUSH &&
		      (int)IBV_WR_ATOMIC_WRITE == (int)IB_UVERBS_WR_ATOMIC_WRITE,
	      "enum ibv_wr_opcode is enum ib_uverbs_wr_opcode");

#define UD_OPCODES (OP(SEND) | OP(SEND_WITH_IMM))
#define UC_OPCODES (INLINE_OPCODES | OP(LOCAL_INV) | OP(BIND_MW))
#define RC_OPCODES (UC_OPCODES | OP(RDMA_READ) | OP(ATOMIC_CMP_AND_SWP) | OP(ATOMIC_FETCH_AND_ADD))

static bool opcode_valid(enum ibv_qp_type type, unsigned int opcode)
{
	uint32_t opcodes = 0;

	if (type == IBV_QPT_RC || type == IBV_QPT_XRC_SEND)
		opcodes = RC_OPCODES;
	else if (type == IBV_QPT_UC)
		opcodes = UC_OPCODES;
	else if (type == IBV_QPT_UD)
		opcodes = UD_OPCODES;
	return opcode < 32 && (opcodes & 1u << opcode);
}

int pv_ring_doorbell(struct ibv_qp *ibv_qp)
{
	struct pv_qp *qp = to_qp(ibv_qp);
	struct ibv_send_wr *none;
	int ret;

	atomic_fetch_add(&qp->doorbells, 1);
	do
		ret = ibv_cmd_post_send(ibv_qp, NULL, &none);
	while (ret == EINTR);
	atomic_fetch_sub(&qp->doorbells, 1);
	return ret;
}

int pv_doorbell_failed(struct ibv_qp *qp, const char *verb, int code)
{
	return pv_fail(qp->context, verb, code, "the kernel refused the doorbell of queue pair %u",
		       qp->qp_num);
}

static int put_inline(const struct pv_sq *sq, struct peerbar_sqe *sqe, const struct ibv_send_wr *wr)
{
	char *to = (char *)sqe->sge;
	uint32_t length = 0;
	int i;

	for (i = 0; i < wr->num_sge; i++) {
		if (wr->sg_list[i].length > sq->max_inline - length)
			return EINVAL;
		memcpy(to + length, (const void *)(uintptr_t)wr->sg_list[i].addr,
		       wr->sg_list[i].length);
		length += wr->sg_list[i].length;
	}
	sqe->inline_len = length;
	return 0;
}

/* Fill in the fields that depend on the opcode. */
static void put_operation(struct peerbar_sqe *sqe, enum ibv_qp_type type,
			  const struct ibv_send_wr *wr)
{
	switch (wr->opcode) {
	case IBV_WR_RDMA_WRITE:
	case IBV_WR_RDMA_WRITE_WITH_IMM:
	case IBV_WR_RDMA_READ:
		sqe->rdma.remote_addr = wr->wr.rdma.remote_addr;
		sqe->rdma.rkey = wr->wr.rdma.rkey;
		break;
	case IBV_WR_ATOMIC_CMP_AND_SWP:
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		sqe->atomic.remote_addr = wr->wr.atomic.remote_addr;
		sqe->atomic.compare_add = wr->wr.atomic.compare_add;
		sqe->atomic.swap = wr->wr.atomic.swap;
		sqe->atomic.rkey = wr->wr.atomic.rkey;
		break;
	case IBV_WR_BIND_MW:
		put_bind(sqe, wr->bind_mw.mw, wr->bind_mw.rkey, &wr->bind_mw.bind_info);
		break;
	default:
		if (type == IBV_QPT_UD) {
			sqe->ud.ahn = to_ah(wr->wr.ud.ah)->ahn;
			sqe->ud.remote_qpn = wr->wr.ud.remote_qpn;
			sqe->ud.remote_qkey = wr->wr.ud.remote_qkey;
		}
	}
}

static int post_one(const struct pv_sq *sq, uint32_t producer, enum ibv_qp_type type,
		    const struct ibv_send_wr *wr)
{
	struct peerbar_sqe *sqe;

	if (!opcode_valid(type, wr->opcode) || (wr->send_flags & ~SEND_FLAGS) ||
	    (unsigned int)wr->num_sge > sq->max_sge ||
	    ((wr->send_flags & IBV_SEND_INLINE) && !(INLINE_OPCODES & 1u << wr->opcode)))
		return EINVAL;
	if (pv_full(sq->ring, producer, sq->entries))
		return ENOMEM;
	sqe = entry_of(sq, producer);
	memset(sqe, 0, sizeof(*sqe));
	sqe->wr_id = wr->wr_id;
	sqe->opcode = wr->opcode;
	sqe->flags = wr->send_flags;
	/* Or the rkey to invalidate: they share a union. */
	sqe->imm_data = (uint32_t)wr->imm_data;
	if (type == IBV_QPT_XRC_SEND)
		sqe->srqn = wr->qp_type.xrc.remote_srqn;
	put_operation(sqe, type, wr);
	if (wr->send_flags & IBV_SEND_INLINE)
		return put_inline(sq, sqe, wr);
	if (wr->opcode == IBV_WR_LOCAL_INV || wr->opcode == IBV_WR_BIND_MW)
		return 0;
	sqe->num_sge = wr->num_sge;
	if (wr->num_sge)
		memcpy(sqe->sge, wr->sg_list, wr->num_sge * sizeof(*sqe->sge));
	return 0;
}

static void __attribute__((cold, noinline)) log_refusal(struct ibv_qp *ibv_qp,
							const struct ibv_send_wr *wr, int code)
{
	const struct pv_sq *sq = &to_qp(ibv_qp)->sq;

	if (code == ENOMEM)
		pv_fail(ibv_qp->context, "ibv_post_send", code,
			"wr_id 0x%llx of queue pair %u: all %u entries are in use",
			(unsigned long long)wr->wr_id, ibv_qp->qp_num, sq->entries);
	else
		pv_fail(ibv_qp->context, "ibv_post_send", code,
			"wr_id 0x%llx of queue pair %u: opcode %d, send_flags 0x%x or %d SGEs are refused; it takes %u SGEs and %u bytes inline",
			(unsigned long long)wr->wr_id, ibv_qp->qp_num, (int)wr->opcode,
			wr->send_flags, wr->num_sge, sq->max_sge, sq->max_inline);
}

int pv_post_send(struct ibv_qp *ibv_qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct pv_qp *qp = to_qp(ibv_qp);
	struct ibv_send_wr *first = wr;
	struct pv_sq *sq = &qp->sq;
	uint32_t producer;
	int ret = 0, bell;

	if (!can_send(ibv_qp)) {
		*bad = wr;
		return pv_fail(ibv_qp->context, "ibv_post_send", EINVAL,
			       "queue pair %u is in state %d, before RTS", ibv_qp->qp_num,
			       (int)ibv_qp->state);
	}
	if (!sq->ring) {
		*bad = wr;
		return pv_fail(ibv_qp->context, "ibv_post_send", EINVAL,
			       "queue pair %u is an XRC target, without a send queue",
			       ibv_qp->qp_num);
	}
	if (pv_inherited(&qp->memory)) {
		*bad = wr;
		return pv_fail(ibv_qp->context, "ibv_post_send", EACCES,
			       "another process created queue pair %u", ibv_qp->qp_num);
	}
	pthread_spin_lock(&sq->lock);
	producer = sq->producer;
	for (; wr; wr = wr->next) {
		ret = post_one(sq, producer, ibv_qp->qp_type, wr);
		if (ret) {
			*bad = wr;
			break;
		}
		producer++;
	}
	sq->producer = producer;
	pv_store(&sq->ring->producer, producer);
	pthread_spin_unlock(&sq->lock);
	if (ret)
		log_refusal(ibv_qp, wr, ret);
	if (wr == first)
		return ret;
	bell = pv_ring_doorbell(ibv_qp);
	if (bell) {
		*bad = first;
		return pv_doorbell_failed(ibv_qp, "ibv_post_send", bell);
	}
	return ret;
}

int pv_bind_mw(struct ibv_qp *qp, struct ibv_mw *mw, struct ibv_mw_bind *bind)
{
	struct ibv_send_wr wr = {
		.wr_id = bind->wr_id,
		.opcode = IBV_WR_BIND_MW,
		.send_flags = bind->send_flags,
		.bind_mw = { .mw = mw,
			     .rkey = ibv_inc_rkey(mw->rkey),
			     .bind_info = bind->bind_info },
	};
	struct ibv_send_wr *bad;
	int ret;

	if (bind->bind_info.mw_access_flags & IBV_ACCESS_ZERO_BASED)
		return pv_fail(qp->context, "ibv_bind_mw", EINVAL,
			       "access 0x%x has IBV_ACCESS_ZERO_BASED, which a window of type 1 cannot have",
			       bind->bind_info.mw_access_flags);
	ret = pv_post_send(qp, &wr, &bad);
	if (!ret)
		mw->rkey = wr.bind_mw.rkey;
	return ret;
}
