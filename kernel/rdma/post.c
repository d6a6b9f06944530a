// SPDX-License-Identifier: GPL-2.0
/* Posting: the kernel's own requests and receives; a user's are in its rings. */
#include "ah.h"
#include "send.h"

static int pbr_post_recv(struct ib_qp *ib, const struct ib_recv_wr *wr,
			 const struct ib_recv_wr **bad)
{
	struct pbr_qp *qp = to_pbr_qp(ib);
	int ret = 0;

	if (pbr_is_xrc_target(qp) || pbr_is_xrc_initiator(qp) || qp->srq)
		return pbr_fail(ib->device, -EINVAL,
				"post_recv: qp %u has no receive queue of its own", ib->qp_num);
	if (!qp->user)
		ret = pbr_rq_post(&qp->rq, wr, bad);
	if (ret)
		ibdev_dbg(ib->device,
			  "post_recv: qp %u: its %u receives are in use, or there are more than %u elements\n",
			  ib->qp_num, qp->rq.queue.nr, qp->rq.max_sge);
	/* Flush posts to an errored queue pair; pairs with the barrier in pbr_flush_receives(). */
	smp_mb();
	if (READ_ONCE(qp->state) == IB_QPS_ERR)
		pbr_qp_kick(qp);
	return ret;
}

static int pbr_fill_entry(struct pbr_qp *qp, const struct ib_send_wr *wr,
			  struct pbr_kernel_sqe *entry)
{
	struct peerbar_sqe *sqe = &entry->sqe;
	unsigned int i;

	if (wr->num_sge < 0 || wr->num_sge > qp->cap.max_send_sge)
		return pbr_fail(&qp->dev->ib, -EINVAL,
				"post_send: qp %u: %d scatter/gather elements; max_send_sge is %u",
				qp->ib.qp_num, wr->num_sge, qp->cap.max_send_sge);
	memset(entry, 0, sizeof(*entry));
	sqe->wr_id = wr->wr_id;
	sqe->opcode = wr->opcode;
	sqe->flags = wr->send_flags;
	sqe->imm_data = (__force u32)wr->ex.imm_data;
	sqe->num_sge = wr->num_sge;
	for (i = 0; i < wr->num_sge; i++)
		sqe->sge[i] = (struct peerbar_sge){ wr->sg_list[i].addr, wr->sg_list[i].length,
						    wr->sg_list[i].lkey };
	if (wr->send_flags & IB_SEND_INLINE)
		return pbr_fail(&qp->dev->ib, -EINVAL,
				"post_send: qp %u: a kernel user cannot send inline",
				qp->ib.qp_num);
	if (pbr_is_datagram(qp)) {
		if (wr->opcode != IB_WR_SEND && wr->opcode != IB_WR_SEND_WITH_IMM)
			return pbr_fail(&qp->dev->ib, -EOPNOTSUPP,
					"post_send: qp %u: opcode %d; a datagram is sent by a send",
					qp->ib.qp_num, wr->opcode);
		entry->av = to_pbr_ah(ud_wr(wr)->ah)->av;
		sqe->ud.remote_qpn = ud_wr(wr)->remote_qpn;
		sqe->ud.remote_qkey = ud_wr(wr)->remote_qkey;
		return 0;
	}
	switch (wr->opcode) {
	case IB_WR_RDMA_WRITE:
	case IB_WR_RDMA_WRITE_WITH_IMM:
	case IB_WR_RDMA_READ:
		sqe->rdma.remote_addr = rdma_wr(wr)->remote_addr;
		sqe->rdma.rkey = rdma_wr(wr)->rkey;
		return 0;
	case IB_WR_ATOMIC_CMP_AND_SWP:
	case IB_WR_ATOMIC_FETCH_AND_ADD:
		sqe->atomic.remote_addr = atomic_wr(wr)->remote_addr;
		sqe->atomic.compare_add = atomic_wr(wr)->compare_add;
		sqe->atomic.swap = atomic_wr(wr)->swap;
		sqe->atomic.rkey = atomic_wr(wr)->rkey;
		return 0;
	case IB_WR_REG_MR:
		pbr_fast_post(reg_wr(wr), sqe);
		return 0;
	case IB_WR_SEND:
	case IB_WR_SEND_WITH_IMM:
	case IB_WR_SEND_WITH_INV:
	case IB_WR_LOCAL_INV:
		return 0;
	default:
		return pbr_fail(&qp->dev->ib, -EOPNOTSUPP,
				"post_send: qp %u: opcode %d is not supported", qp->ib.qp_num,
				wr->opcode);
	}
}

/* Execute a user's requests, already in the ring, here. A kernel user may be in any context. */
static int pbr_post_send(struct ib_qp *ib, const struct ib_send_wr *wr,
			 const struct ib_send_wr **bad)
{
	struct pbr_qp *qp = to_pbr_qp(ib);
	struct pbr_kernel_sqe *entry;
	unsigned long flags;
	int ret = 0;

	if (pbr_is_xrc_target(qp))
		return pbr_fail(ib->device, -EINVAL,
				"post_send: qp %u is an XRC target, which sends nothing",
				ib->qp_num);
	if (qp->user)
		return pbr_run_posted(qp);
	spin_lock_irqsave(&qp->post_lock, flags);
	for (; wr; wr = wr->next) {
		entry = pbr_queue_room(&qp->sq);
		if (entry)
			ret = pbr_fill_entry(qp, wr, entry);
		else
			ret = pbr_fail(ib->device, -ENOMEM,
				       "post_send: qp %u: its %u requests are in use", ib->qp_num,
				       qp->sq.nr);
		if (ret) {
			*bad = wr;
			break;
		}
		pbr_queue_post(&qp->sq);
	}
	spin_unlock_irqrestore(&qp->post_lock, flags);
	pbr_qp_kick(qp);
	return ret;
}

const struct ib_device_ops pbr_post_ops = {
	.post_recv = pbr_post_recv,
	.post_send = pbr_post_send,
};
