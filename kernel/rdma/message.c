// SPDX-License-Identifier: GPL-2.0
/* The memory of a message on either side, and its completions. */
#include <rdma/ib_verbs.h>

#include "cq.h"
#include "send.h"
#include "trace.h"

/* User space's value; the kernel's IB_WC_WITH_INVALIDATE differs. */
#define PBR_WC_WITH_INV BIT(3)

/*
 * Packet type of a received datagram, in the service level, as NICs report it for RoCE. Bit 3:
 * there is a UDP header (RoCE v2). Bits 0 to 2: 1 for IPv6, 2 for IPv4. UCX uses it to find the GID
 * in the header.
 */
#define PBR_SL_IPV6 0x9
#define PBR_SL_IPV4 0xa

/* ---- completions ---- */

static u32 pbr_wc_opcode(u32 opcode)
{
	switch (opcode) {
	case IB_WR_RDMA_WRITE:
	case IB_WR_RDMA_WRITE_WITH_IMM:
		return IB_WC_RDMA_WRITE;
	case IB_WR_RDMA_READ:
		return IB_WC_RDMA_READ;
	case IB_WR_ATOMIC_CMP_AND_SWP:
		return IB_WC_COMP_SWAP;
	case IB_WR_ATOMIC_FETCH_AND_ADD:
		return IB_WC_FETCH_ADD;
	case IB_WR_ATOMIC_WRITE:
		return IB_WC_ATOMIC_WRITE;
	case IB_WR_FLUSH:
		return IB_WC_FLUSH;
	case IB_WR_BIND_MW:
		return IB_WC_BIND_MW;
	case IB_WR_LOCAL_INV:
		return IB_WC_LOCAL_INV;
	case IB_WR_REG_MR:
		return IB_WC_REG_MR;
	default:
		return IB_WC_SEND;
	}
}

u32 pbr_bad_opcode(const struct pbr_qp *qp)
{
	return pbr_fail(&qp->dev->ib, IB_WC_LOC_QP_OP_ERR,
			"qp %u: opcode %u is not supported by type %d, or for the kernel only",
			qp->ib.qp_num, qp->sqe->opcode, qp->ib.qp_type);
}

static void pbr_note_error(struct pbr_qp *qp, const char *queue, u64 wr_id, u32 status)
{
	if (status == IB_WC_WR_FLUSH_ERR) {
		pbr_count(qp->dev, PBR_WC_FLUSHED);
		return;
	}
	pbr_count(qp->dev, PBR_WC_ERRORS);
	ibdev_dbg(&qp->dev->ib, "qp %u: %s request %#llx completes with status %u, %s\n",
		  qp->ib.qp_num, queue, wr_id, status, ib_wc_status_msg(status));
}

void pbr_complete_send(struct pbr_qp *qp, u32 status)
{
	const struct peerbar_sqe *sqe = qp->sqe;
	struct peerbar_cqe cqe = {
		.wr_id = sqe->wr_id,
		.status = status,
		.opcode = pbr_wc_opcode(sqe->opcode),
		.qp_num = qp->ib.qp_num,
	};

	if (sqe->opcode == IB_WR_RDMA_READ)
		cqe.byte_len = qp->dst->total;
	else if (sqe->opcode == IB_WR_ATOMIC_CMP_AND_SWP ||
		 sqe->opcode == IB_WR_ATOMIC_FETCH_AND_ADD)
		cqe.byte_len = sizeof(u64);
	/* Free the slot before the completion is visible. */
	pbr_queue_done(&qp->sq);
	if (status) {
		const struct pbr_refs *refs = qp->src->refusal ? qp->src : qp->dst;

		pbr_note_error(qp, "send", sqe->wr_id, status);
		trace_rdma_wr_error(&qp->ib, false, sqe->wr_id, sqe->opcode, status, refs->refusal,
				    refs->refused_key);
	}
	if (status == IB_WC_SUCCESS && !qp->sig_all && !(sqe->flags & IB_SEND_SIGNALED))
		return;
	if (!pbr_complete(qp->ib.send_cq, &qp->ib, &cqe, false))
		pbr_qp_error(qp, IB_EVENT_QP_FATAL);
}

void pbr_check_drained(struct pbr_qp *qp)
{
	if (!qp->drain_event || qp->begun || READ_ONCE(qp->state) != IB_QPS_SQD)
		return;
	qp->drain_event = false;
	pbr_qp_event(qp, IB_EVENT_SQ_DRAINED);
}

void pbr_end_request(struct pbr_qp *qp, u32 status, bool more)
{
	WRITE_ONCE(qp->begun, more);
	qp->waiting = false;
	qp->retrying = false;
	qp->progress = 0;
	/* Must be first: later work is flushed and must not overtake the completion. */
	if (status)
		pbr_qp_send_error(qp);
	pbr_complete_send(qp, status);
	/* The next request may end before it sets its memory, e.g. if it is flushed. */
	qp->src->refusal = PBR_NOT_REFUSED;
	qp->dst->refusal = PBR_NOT_REFUSED;
	qp->src->refused_key = 0;
	qp->dst->refused_key = 0;
	qp->src->fault_failed = false;
	qp->dst->fault_failed = false;
	pbr_check_drained(qp);
}

void pbr_complete_arrival(struct pbr_qp *peer, const struct pbr_arrival *from,
			  const struct pbr_refs *refs, u32 status, u32 len)
{
	struct peerbar_cqe cqe = {
		.wr_id = peer->rqe->wr_id,
		.status = status,
		.opcode = IB_WC_RECV,
		.byte_len = len,
		.qp_num = peer->ib.qp_num,
		.src_qp = from->src_qp,
	};

	if (pbr_is_xrc_target(peer))
		cqe.srqn = peer->srq->ib.ext.xrc.srq_num;
	pbr_rq_done(peer);
	if (status) {
		pbr_note_error(peer, "receive", cqe.wr_id, status);
		trace_rdma_wr_error(&peer->ib, true, cqe.wr_id, cqe.opcode, status, refs->refusal,
				    refs->refused_key);
	}
	if (from->opcode == IB_WR_RDMA_WRITE_WITH_IMM)
		cqe.opcode = IB_WC_RECV_RDMA_WITH_IMM;
	if (from->opcode == IB_WR_RDMA_WRITE_WITH_IMM || from->opcode == IB_WR_SEND_WITH_IMM) {
		cqe.wc_flags |= IB_WC_WITH_IMM;
		cqe.imm_data = from->imm_data;
	} else if (from->opcode == IB_WR_SEND_WITH_INV) {
		cqe.wc_flags |= PBR_WC_WITH_INV;
		cqe.imm_data = from->imm_data;
	}
	if (pbr_is_datagram(peer)) {
		cqe.wc_flags |= IB_WC_GRH;
		cqe.network_hdr_type = from->ipv6 ? RDMA_NETWORK_IPV6 : RDMA_NETWORK_IPV4;
		/* The kernel replies with this service level, from the address in this VLAN. */
		if (peer->user) {
			cqe.sl = from->ipv6 ? PBR_SL_IPV6 : PBR_SL_IPV4;
		} else {
			cqe.sl = from->sl;
			if (from->vlan_id != PBR_NO_VLAN) {
				cqe.wc_flags |= IB_WC_WITH_VLAN;
				cqe.vlan_id = from->vlan_id;
			}
		}
	}
	if (!pbr_complete(pbr_recv_cq(peer), &peer->ib, &cqe, from->solicited))
		pbr_qp_error(peer, IB_EVENT_QP_FATAL);
}

void pbr_complete_recv(struct pbr_qp *peer, struct pbr_qp *qp, u32 status, u32 len)
{
	const struct peerbar_sqe *sqe = qp->sqe;
	const struct pbr_arrival from = {
		.opcode = sqe->opcode,
		.imm_data = sqe->imm_data,
		.src_qp = qp->ib.qp_num,
		.solicited = sqe->flags & IB_SEND_SOLICITED,
		.ipv6 = qp->grh.ibgrh.version_tclass_flow,
		.sl = qp->sl,
		.vlan_id = qp->vlan_id,
	};

	pbr_complete_arrival(peer, &from, qp->dst, status, len);
}

void pbr_complete_flushed(struct pbr_qp *qp, struct ib_cq *cq)
{
	struct peerbar_cqe cqe = {
		.wr_id = qp->rqe->wr_id,
		.status = IB_WC_WR_FLUSH_ERR,
		.opcode = IB_WC_RECV,
		.qp_num = qp->ib.qp_num,
	};

	if (pbr_is_xrc_target(qp))
		cqe.srqn = qp->held_srqn;
	pbr_count(qp->dev, PBR_WC_FLUSHED);
	trace_rdma_wr_error(&qp->ib, true, cqe.wr_id, cqe.opcode, cqe.status, PBR_NOT_REFUSED, 0);
	pbr_complete(cq, &qp->ib, &cqe, false);
}

void pbr_flush_held(struct pbr_qp *qp)
{
	struct pbr_srq *srq;

	if (!qp->held)
		return;
	if (!pbr_is_xrc_target(qp)) {
		pbr_rq_done(qp);
		pbr_complete_flushed(qp, qp->ib.recv_cq);
		return;
	}
	WRITE_ONCE(qp->held, false);
	/* A receive ends with its queue. */
	srq = pbr_xrc_held_srq(qp);
	if (!srq)
		return;
	pbr_complete_flushed(qp, srq->ib.ext.cq);
	pbr_srq_put(srq);
}

/* ---- source and destination of a message ---- */

void pbr_refs_init(struct pbr_refs *refs, struct pbr_qp *qp, struct ib_pd *pd, int access)
{
	refs->dev = qp->dev;
	refs->pd = pd;
	refs->qpn = qp->ib.qp_num;
	refs->access = access;
	refs->state = &qp->state;
	refs->dma = !qp->user;
	refs->refusal = PBR_NOT_REFUSED;
	refs->refused_key = 0;
	refs->nr = 0;
	refs->total = 0;
}

void pbr_refs_add(struct pbr_refs *refs, u64 addr, u32 len, u32 key)
{
	if (!len)
		return;
	refs->ref[refs->nr++] = (struct pbr_ref){ .addr = addr, .len = len, .key = key };
	refs->total += len;
}

void pbr_refs_add_va(struct pbr_refs *refs, void *va, u32 len)
{
	if (!len)
		return;
	refs->ref[refs->nr++] = (struct pbr_ref){ .va = va, .len = len };
	refs->total += len;
}

static void pbr_refs_add_sges(struct pbr_refs *refs, const struct peerbar_sge *sge, u32 nr)
{
	for (; nr--; sge++)
		pbr_refs_add(refs, sge->addr, sge->length, sge->lkey);
}

u32 pbr_local_refs(struct pbr_qp *qp, struct pbr_refs *refs, int access)
{
	const struct peerbar_sqe *sqe = qp->sqe;

	if (sqe->flags & IB_SEND_INLINE) {
		if (sqe->inline_len > qp->cap.max_inline_data || access)
			return pbr_fail(&qp->dev->ib, IB_WC_LOC_LEN_ERR,
					"qp %u: opcode %u with %u bytes inline; sends and writes can have %u",
					qp->ib.qp_num, sqe->opcode, sqe->inline_len,
					qp->cap.max_inline_data);
		pbr_refs_add_va(refs, (void *)sqe->sge, sqe->inline_len);
		return IB_WC_SUCCESS;
	}
	if (sqe->num_sge > qp->cap.max_send_sge)
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_QP_OP_ERR,
				"qp %u: a request with %u scatter/gather elements; max_send_sge is %u",
				qp->ib.qp_num, sqe->num_sge, qp->cap.max_send_sge);
	pbr_refs_add_sges(refs, sqe->sge, sqe->num_sge);
	if (refs->total > PBR_MAX_MSG)
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_LEN_ERR,
				"qp %u: a message of %llu bytes; at most %u are possible",
				qp->ib.qp_num, refs->total, PBR_MAX_MSG);
	return IB_WC_SUCCESS;
}

u32 pbr_refs_enter(struct pbr_refs *refs, u32 refused)
{
	int ret = pbr_refs_get(refs);

	return ret == -EAGAIN ? PBR_AGAIN : ret ? refused : IB_WC_SUCCESS;
}

u32 pbr_recv_refs(struct pbr_qp *peer, struct pbr_refs *refs, u64 need)
{
	const struct peerbar_rqe *rqe = peer->rqe;
	u32 max = peer->srq ? peer->srq->rq.max_sge : peer->rq.max_sge;

	pbr_refs_init(refs, peer, peer->srq ? peer->srq->ib.pd : peer->ib.pd,
		      IB_ACCESS_LOCAL_WRITE);
	if (rqe->num_sge > max)
		return pbr_fail(&peer->dev->ib, IB_WC_LOC_QP_OP_ERR,
				"qp %u: a receive with %u scatter/gather elements; max_recv_sge is %u",
				peer->ib.qp_num, rqe->num_sge, max);
	pbr_refs_add_sges(refs, rqe->sge, rqe->num_sge);
	if (refs->total < need)
		return pbr_fail(&peer->dev->ib, IB_WC_LOC_LEN_ERR,
				"qp %u: a message of %llu bytes for a receive of %llu",
				peer->ib.qp_num, need, refs->total);
	return pbr_refs_enter(refs, IB_WC_LOC_PROT_ERR);
}
