// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Sends, posted one by one: ibv_wr_start() and its companions. The lock is held until wr_complete or
 * wr_abort.
 */
#include "send.h"

#include <errno.h>
#include <string.h>

static inline struct pv_sq *to_sq(struct ibv_qp_ex *qp)
{
	return &container_of(qp, struct pv_qp, vqp.qp_ex)->sq;
}

static inline bool inherited(struct ibv_qp_ex *qp)
{
	return pv_inherited(&container_of(qp, struct pv_qp, vqp.qp_ex)->memory);
}

/* Fail the list with @error, which wr_complete returns and logs. */
static inline void set_error(struct pv_sq *sq, int error, const char *why)
{
	sq->error = error;
	sq->why = why;
}

static void wr_start(struct ibv_qp_ex *qp)
{
	struct pv_sq *sq = to_sq(qp);

	/* In a forked child, the thread that holds the lock may not exist. */
	if (inherited(qp)) {
		sq->last = NULL;
		sq->error = EACCES;
		return;
	}
	pthread_spin_lock(&sq->lock);
	sq->next = sq->producer;
	sq->last = NULL;
	sq->error = 0;
	if (!can_send(&qp->qp_base))
		set_error(sq, EINVAL, "the state is before RTS");
}

static int wr_complete(struct ibv_qp_ex *qp)
{
	struct pv_sq *sq = to_sq(qp);
	const char *why = NULL;
	int error = sq->error;
	bool any = false;

	if (inherited(qp))
		return pv_fail(qp->qp_base.context, "ibv_wr_complete", EACCES,
			       "another process created queue pair %u", qp->qp_base.qp_num);
	if (!error) {
		any = sq->next != sq->producer;
		sq->producer = sq->next;
		pv_store(&sq->ring->producer, sq->next);
	} else {
		why = sq->why;
	}
	pthread_spin_unlock(&sq->lock);
	if (error)
		return pv_fail(qp->qp_base.context, "ibv_wr_complete", error,
			       "queue pair %u: %s; it takes %u sends, %u SGEs and %u bytes inline",
			       qp->qp_base.qp_num, why, sq->entries, sq->max_sge, sq->max_inline);
	if (any)
		error = pv_ring_doorbell(&qp->qp_base);
	if (error)
		pv_doorbell_failed(&qp->qp_base, "ibv_wr_complete", error);
	return error;
}

static void wr_abort(struct ibv_qp_ex *qp)
{
	if (!inherited(qp))
		pthread_spin_unlock(&to_sq(qp)->lock);
}

/*
 * Get the next entry, with the common fields filled in; NULL on failure, which wr_complete returns.
 */
static struct peerbar_sqe *begin(struct ibv_qp_ex *qp, enum ibv_wr_opcode opcode)
{
	struct pv_sq *sq = to_sq(qp);
	struct peerbar_sqe *sqe;

	sq->last = NULL;
	if (sq->error)
		return NULL;
	if (qp->wr_flags & ~SEND_FLAGS)
		set_error(sq, EINVAL, "wr_flags has a flag that is not supported");
	else if (pv_full(sq->ring, sq->next, sq->entries))
		set_error(sq, ENOMEM, "all entries are in use");
	if (sq->error)
		return NULL;
	sqe = entry_of(sq, sq->next++);
	memset(sqe, 0, sizeof(*sqe));
	sqe->wr_id = qp->wr_id;
	sqe->opcode = opcode;
	/* Set by wr_set_inline_data() and wr_set_inline_data_list() instead. */
	sqe->flags = qp->wr_flags & ~IBV_SEND_INLINE;
	sq->last = sqe;
	return sqe;
}

static void begin_rdma(struct ibv_qp_ex *qp, enum ibv_wr_opcode opcode, uint32_t rkey,
		       uint64_t remote_addr, uint32_t imm_data)
{
	struct peerbar_sqe *sqe = begin(qp, opcode);

	if (!sqe)
		return;
	sqe->imm_data = imm_data;
	sqe->rdma.remote_addr = remote_addr;
	sqe->rdma.rkey = rkey;
}

static void begin_atomic(struct ibv_qp_ex *qp, enum ibv_wr_opcode opcode, uint32_t rkey,
			 uint64_t remote_addr, uint64_t compare_add, uint64_t swap)
{
	struct peerbar_sqe *sqe = begin(qp, opcode);

	if (!sqe)
		return;
	sqe->atomic.remote_addr = remote_addr;
	sqe->atomic.compare_add = compare_add;
	sqe->atomic.swap = swap;
	sqe->atomic.rkey = rkey;
}

static void begin_send(struct ibv_qp_ex *qp, enum ibv_wr_opcode opcode, uint32_t imm_data)
{
	struct peerbar_sqe *sqe = begin(qp, opcode);

	if (sqe)
		sqe->imm_data = imm_data;
}

static void wr_rdma_write(struct ibv_qp_ex *qp, uint32_t rkey, uint64_t remote_addr)
{
	begin_rdma(qp, IBV_WR_RDMA_WRITE, rkey, remote_addr, 0);
}

static void wr_rdma_write_imm(struct ibv_qp_ex *qp, uint32_t rkey, uint64_t remote_addr,
			      __be32 imm_data)
{
	begin_rdma(qp, IBV_WR_RDMA_WRITE_WITH_IMM, rkey, remote_addr, (uint32_t)imm_data);
}

static void wr_rdma_read(struct ibv_qp_ex *qp, uint32_t rkey, uint64_t remote_addr)
{
	begin_rdma(qp, IBV_WR_RDMA_READ, rkey, remote_addr, 0);
}

static void wr_atomic_cmp_swp(struct ibv_qp_ex *qp, uint32_t rkey, uint64_t remote_addr,
			      uint64_t compare, uint64_t swap)
{
	begin_atomic(qp, IBV_WR_ATOMIC_CMP_AND_SWP, rkey, remote_addr, compare, swap);
}

static void wr_atomic_fetch_add(struct ibv_qp_ex *qp, uint32_t rkey, uint64_t remote_addr,
				uint64_t add)
{
	begin_atomic(qp, IBV_WR_ATOMIC_FETCH_AND_ADD, rkey, remote_addr, add, 0);
}

static void wr_atomic_write(struct ibv_qp_ex *qp, uint32_t rkey, uint64_t remote_addr,
			    const void *value)
{
	struct peerbar_sqe *sqe = begin(qp, IBV_WR_ATOMIC_WRITE);

	if (!sqe)
		return;
	sqe->atomic_write.remote_addr = remote_addr;
	memcpy(&sqe->atomic_write.value, value, sizeof(sqe->atomic_write.value));
	sqe->atomic_write.rkey = rkey;
}

static void wr_flush(struct ibv_qp_ex *qp, uint32_t rkey, uint64_t remote_addr, size_t length,
		     uint8_t type, uint8_t level)
{
	struct peerbar_sqe *sqe = begin(qp, IBV_WR_FLUSH);

	if (!sqe)
		return;
	if (length > UINT32_MAX) {
		set_error(to_sq(qp), EINVAL, "a flush has more than 4294967295 bytes");
		return;
	}
	sqe->flush.remote_addr = remote_addr;
	sqe->flush.rkey = rkey;
	sqe->flush.length = (uint32_t)length;
	sqe->flush.type = type;
	sqe->flush.level = level;
}

static void wr_send(struct ibv_qp_ex *qp)
{
	begin_send(qp, IBV_WR_SEND, 0);
}

static void wr_send_imm(struct ibv_qp_ex *qp, __be32 imm_data)
{
	begin_send(qp, IBV_WR_SEND_WITH_IMM, (uint32_t)imm_data);
}

static void wr_send_inv(struct ibv_qp_ex *qp, uint32_t rkey)
{
	begin_send(qp, IBV_WR_SEND_WITH_INV, rkey);
}

static void wr_local_inv(struct ibv_qp_ex *qp, uint32_t rkey)
{
	begin_send(qp, IBV_WR_LOCAL_INV, rkey);
}

static void wr_bind_mw(struct ibv_qp_ex *qp, struct ibv_mw *mw, uint32_t rkey,
		       const struct ibv_mw_bind_info *info)
{
	struct peerbar_sqe *sqe = begin(qp, IBV_WR_BIND_MW);

	if (sqe)
		put_bind(sqe, mw, rkey, info);
}

static void wr_set_ud_addr(struct ibv_qp_ex *qp, struct ibv_ah *ah, uint32_t remote_qpn,
			   uint32_t remote_qkey)
{
	struct peerbar_sqe *sqe = to_sq(qp)->last;

	if (!sqe)
		return;
	sqe->ud.ahn = to_ah(ah)->ahn;
	sqe->ud.remote_qpn = remote_qpn;
	sqe->ud.remote_qkey = remote_qkey;
}

static void wr_set_xrc_srqn(struct ibv_qp_ex *qp, uint32_t remote_srqn)
{
	struct peerbar_sqe *sqe = to_sq(qp)->last;

	if (sqe)
		sqe->srqn = remote_srqn;
}

static void wr_set_sge_list(struct ibv_qp_ex *qp, size_t count, const struct ibv_sge *list)
{
	struct pv_sq *sq = to_sq(qp);

	if (!sq->last)
		return;
	if (count > sq->max_sge) {
		set_error(sq, EINVAL, "a request has too many SGEs");
		return;
	}
	sq->last->num_sge = count;
	if (count)
		memcpy(sq->last->sge, list, count * sizeof(*list));
}

static void wr_set_sge(struct ibv_qp_ex *qp, uint32_t lkey, uint64_t address, uint32_t length)
{
	struct ibv_sge sge = { .addr = address, .length = length, .lkey = lkey };

	wr_set_sge_list(qp, 1, &sge);
}

static void wr_set_inline_data_list(struct ibv_qp_ex *qp, size_t count,
				    const struct ibv_data_buf *list)
{
	struct pv_sq *sq = to_sq(qp);
	struct peerbar_sqe *sqe = sq->last;
	uint32_t length = 0;
	size_t i;

	if (!sqe)
		return;
	if (!(INLINE_OPCODES & 1u << sqe->opcode)) {
		set_error(sq, EINVAL, "an opcode takes no inline data");
		return;
	}
	for (i = 0; i < count; i++) {
		if (list[i].length > sq->max_inline - length) {
			set_error(sq, EINVAL, "a request has too much inline data");
			return;
		}
		if (list[i].length)
			memcpy((char *)sqe->sge + length, list[i].addr, list[i].length);
		length += list[i].length;
	}
	sqe->flags |= IBV_SEND_INLINE;
	sqe->inline_len = length;
}

static void wr_set_inline_data(struct ibv_qp_ex *qp, void *address, size_t length)
{
	struct ibv_data_buf data = { .addr = address, .length = length };

	wr_set_inline_data_list(qp, 1, &data);
}

#define UD_OPS (IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM)
#define UC_OPS                                                               \
	(UD_OPS | IBV_QP_EX_WITH_SEND_WITH_INV | IBV_QP_EX_WITH_RDMA_WRITE | \
	 IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_BIND_MW)
#define RC_OPS                                                                   \
	(UC_OPS | IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP | \
	 IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD | IBV_QP_EX_WITH_ATOMIC_WRITE | IBV_QP_EX_WITH_FLUSH)

bool pv_send_ops_supported(enum ibv_qp_type type, uint64_t ops)
{
	uint64_t supported = 0;

	if (type == IBV_QPT_RC || type == IBV_QPT_XRC_SEND)
		supported = RC_OPS;
	else if (type == IBV_QPT_UC)
		supported = UC_OPS;
	else if (type == IBV_QPT_UD)
		supported = UD_OPS;
	return !(ops & ~supported);
}

void pv_set_send_ops(struct ibv_qp_ex *qp, uint64_t ops)
{
	if (ops & IBV_QP_EX_WITH_RDMA_WRITE)
		qp->wr_rdma_write = wr_rdma_write;
	if (ops & IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM)
		qp->wr_rdma_write_imm = wr_rdma_write_imm;
	if (ops & IBV_QP_EX_WITH_RDMA_READ)
		qp->wr_rdma_read = wr_rdma_read;
	if (ops & IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP)
		qp->wr_atomic_cmp_swp = wr_atomic_cmp_swp;
	if (ops & IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD)
		qp->wr_atomic_fetch_add = wr_atomic_fetch_add;
	if (ops & IBV_QP_EX_WITH_ATOMIC_WRITE)
		qp->wr_atomic_write = wr_atomic_write;
	if (ops & IBV_QP_EX_WITH_FLUSH)
		qp->wr_flush = wr_flush;
	if (ops & IBV_QP_EX_WITH_SEND)
		qp->wr_send = wr_send;
	if (ops & IBV_QP_EX_WITH_SEND_WITH_IMM)
		qp->wr_send_imm = wr_send_imm;
	if (ops & IBV_QP_EX_WITH_SEND_WITH_INV)
		qp->wr_send_inv = wr_send_inv;
	if (ops & IBV_QP_EX_WITH_LOCAL_INV)
		qp->wr_local_inv = wr_local_inv;
	if (ops & IBV_QP_EX_WITH_BIND_MW)
		qp->wr_bind_mw = wr_bind_mw;
	qp->wr_set_ud_addr = wr_set_ud_addr;
	qp->wr_set_xrc_srqn = wr_set_xrc_srqn;
	qp->wr_set_sge = wr_set_sge;
	qp->wr_set_sge_list = wr_set_sge_list;
	qp->wr_set_inline_data = wr_set_inline_data;
	qp->wr_set_inline_data_list = wr_set_inline_data_list;
	qp->wr_start = wr_start;
	qp->wr_complete = wr_complete;
	qp->wr_abort = wr_abort;
}
