// SPDX-License-Identifier: GPL-2.0
/* Receive queues, of a queue pair or shared: taking and posting receives. */
#include "qp.h"

u32 pbr_rq_stride(u32 max_sge)
{
	return roundup(sizeof(struct peerbar_rqe) + max_sge * sizeof(struct peerbar_sge), 16);
}

void pbr_rq_init(struct pbr_rq *rq, u32 max_sge, u32 *flags, bool user)
{
	spin_lock_init(&rq->lock);
	spin_lock_init(&rq->post_lock);
	rq->max_sge = max_sge;
	rq->flags = flags;
	rq->user = user;
}

static struct pbr_rq *pbr_rq_of(struct pbr_qp *qp)
{
	return qp->srq ? &qp->srq->rq : &qp->rq;
}

/*
 * Take the next receive into @qp->rqe; the caller must hold rq_lock. Without pbr_rq_done() it is
 * not consumed; a receive of a shared queue then remains for this queue pair's next message.
 */
bool pbr_rq_take(struct pbr_qp *qp)
{
	struct pbr_rq *rq = pbr_rq_of(qp);
	bool there;

	if (qp->held)
		return true;
	spin_lock(&rq->lock);
	there = pbr_queue_peek(&rq->queue, qp->rqe);
	if (there && qp->srq)
		pbr_queue_done(&rq->queue);
	spin_unlock(&rq->lock);
	if (!there)
		return false;
	qp->held = qp->srq;
	if (pbr_is_xrc_target(qp)) {
		qp->held_srqn = qp->srq->ib.ext.xrc.srq_num;
		qp->held_life = qp->srq->life;
	}
	qp->rqe->num_sge = min(qp->rqe->num_sge, rq->max_sge + 1);
	return true;
}

u32 pbr_srq_length(struct pbr_srq *srq)
{
	guard(spinlock)(&srq->rq.lock);
	return pbr_queue_length(&srq->rq.queue);
}

/* Send the event once, when fewer receives than the limit are left. Setting the limit rearms it. */
void pbr_srq_check_limit(struct pbr_srq *srq)
{
	struct ib_event event = {
		.device = srq->ib.device,
		.element.srq = &srq->ib,
		.event = IB_EVENT_SRQ_LIMIT_REACHED,
	};
	u32 limit = READ_ONCE(srq->limit);

	if (!limit || pbr_srq_length(srq) >= limit || cmpxchg(&srq->limit, limit, 0) != limit)
		return;
	if (srq->ib.event_handler)
		srq->ib.event_handler(&event, srq->ib.srq_context);
}

void pbr_rq_done(struct pbr_qp *qp)
{
	qp->held = false;
	/* Send the limit event here: the caller of pbr_rq_take() may have entered a region. */
	if (qp->srq)
		pbr_srq_check_limit(qp->srq);
	else
		pbr_queue_done(&qp->rq.queue);
}

int pbr_rq_post(struct pbr_rq *rq, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad)
{
	struct peerbar_rqe *rqe;
	unsigned long flags;
	int i, ret = 0;

	spin_lock_irqsave(&rq->post_lock, flags);
	for (; wr; wr = wr->next) {
		rqe = pbr_queue_room(&rq->queue);
		ret = !rqe ? -ENOMEM : wr->num_sge < 0 || wr->num_sge > rq->max_sge ? -EINVAL : 0;
		if (ret) {
			*bad = wr;
			break;
		}
		rqe->wr_id = wr->wr_id;
		rqe->num_sge = wr->num_sge;
		for (i = 0; i < wr->num_sge; i++)
			rqe->sge[i] = (struct peerbar_sge){ wr->sg_list[i].addr,
							    wr->sg_list[i].length,
							    wr->sg_list[i].lkey };
		pbr_queue_post(&rq->queue);
	}
	spin_unlock_irqrestore(&rq->post_lock, flags);
	return ret;
}
