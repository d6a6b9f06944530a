// SPDX-License-Identifier: GPL-2.0
/*
 * The responder of a connection: the order of the packets that reach it. Requests of RC and XRC are
 * acknowledged; those of UC are dropped if a packet of them is missing.
 */
#include "fault.h"
#include "wire-execute.h"

/* Number of packets per pass, received or transmitted */
#define PBR_PASS 64

/* ---- order ---- */

/* The request fails for good: respond, and move to the error state. */
static void pbr_refuse_request(struct pbr_qp *qp, u32 psn, u32 syndrome)
{
	pbr_acknowledge_due(qp);
	pbr_acknowledge(qp, psn, syndrome == PBR_NO_SRQ ? PBR_NAK_INVALID : syndrome);
	pbr_qp_error(qp,
		     syndrome == PBR_NAK_ACCESS || syndrome == PBR_NO_SRQ ? IB_EVENT_QP_ACCESS_ERR :
									    IB_EVENT_QP_REQ_ERR);
}

static void pbr_respond_rc(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_responder *in = &qp->wire->responder;
	int ahead = pbr_psn_diff(packet->psn, in->psn);
	u32 ret;

	if (ahead < 0) {
		if (pbr_execute_again(qp, skb))
			pbr_count(qp->dev, PBR_DUPLICATES);
		return;
	}
	if (ahead > 0) {
		/* One NAK, until the missing packet has arrived. */
		if (in->nak_sent)
			return;
		in->nak_sent = true;
		pbr_count(qp->dev, PBR_OUT_OF_SEQUENCE);
		pbr_acknowledge(qp, in->psn, PBR_NAK_SEQUENCE);
		return;
	}
	in->nak_sent = false;
	ret = pbr_execute(qp, skb);
	if (ret == PBR_DONE || ret == PBR_DROP || ret == PBR_ABSENT)
		return;
	if ((ret & PBR_AETH_TYPE) != PBR_AETH_RNR) {
		pbr_refuse_request(qp, packet->psn, ret);
		return;
	}
	/* Packets behind it are dropped without another NAK. */
	pbr_acknowledge_due(qp);
	in->nak_sent = true;
	pbr_acknowledge(qp, packet->psn, ret);
}

/* A packet of UC is the next one of a message, or begins one; everything else is dropped. */
static void pbr_respond_uc(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_responder *in = &qp->wire->responder;
	u32 ret = PBR_DROP;

	/* What is missing ends the message; a receive that it used is the next one's. */
	if (packet->psn != in->psn || packet->op & PBR_OP_FIRST) {
		if (in->op)
			pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
		in->op = 0;
	}
	if (packet->op & PBR_OP_FIRST || in->op)
		ret = pbr_execute(qp, skb);
	if (ret == PBR_ABSENT)
		return;
	in->psn = pbr_psn_add(packet->psn, 1);
	if (ret == PBR_DONE)
		return;
	if (packet->op & PBR_OP_FIRST || in->op)
		pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
	in->op = 0;
}

/* ---- the worker ---- */

/* Continue a read. Return false if the pass is over before the read is, or memory is absent. */
static bool pbr_continue_read(struct pbr_qp *qp, unsigned int *budget)
{
	struct pbr_responder *in = &qp->wire->responder;
	u32 ret;

	while (in->reading) {
		if (!*budget)
			return false;
		--*budget;
		ret = pbr_answer_read(qp);
		if (ret == PBR_ABSENT)
			return false;
		qp->wire->refs.fault_failed = false;
		if (ret == PBR_DONE)
			continue;
		in->reading = false;
		pbr_refuse_request(qp, in->read.psn, ret);
	}
	return true;
}

static void pbr_respond_packet(struct pbr_qp *qp, struct sk_buff *skb)
{
	/* The first message establishes the connection. */
	if (!pbr_is_datagram(qp) && READ_ONCE(qp->state) == IB_QPS_RTR &&
	    !xchg(&qp->established, true))
		pbr_qp_event(qp, IB_EVENT_COMM_EST);
	if (pbr_packet_of(skb)->marked && pbr_is_reliable(qp))
		pbr_notify_congestion(qp, &qp->wire->in, &qp->wire->responder.notified);
	if (pbr_is_datagram(qp))
		pbr_wire_deliver(qp, skb);
	else if (qp->ib.qp_type == IB_QPT_UC)
		pbr_respond_uc(qp, skb);
	else
		pbr_respond_rc(qp, skb);
}

/* One pass; rq_lock held. Return true if there are more packets, or memory is absent. */
static bool pbr_respond_pass(struct pbr_qp *qp)
{
	struct pbr_refs *refs = &qp->wire->refs;
	unsigned int budget = PBR_PASS;
	struct sk_buff *skb;
	bool more = false;

	for (;;) {
		if (!pbr_answers(qp)) {
			pbr_packets_purge(qp->dev, &qp->wire->requests);
			qp->wire->responder.reading = false;
			return false;
		}
		if (!pbr_continue_read(qp, &budget) || !budget) {
			more = true;
			break;
		}
		skb = skb_dequeue(&qp->wire->requests);
		if (!skb)
			break;
		budget--;
		if (pbr_packet_is_intact(qp->dev, skb))
			pbr_respond_packet(qp, skb);
		if (refs->fault) {
			skb_queue_head(&qp->wire->requests, skb);
			more = true;
			break;
		}
		refs->fault_failed = false;
		pbr_packet_free(qp->dev, skb);
		cond_resched();
	}
	/* An acknowledgment must not overtake the responses of a read. */
	if (!qp->wire->responder.reading)
		pbr_acknowledge_due(qp);
	return more;
}

bool pbr_wire_respond(struct pbr_qp *qp)
{
	bool more;

	mutex_lock(&qp->rq_lock);
	more = pbr_respond_pass(qp);
	pbr_train_send(qp->dev, &qp->wire->path, &qp->wire->in);
	mutex_unlock(&qp->rq_lock);
	/* What an exporter or the memory management waits for goes on meanwhile. */
	pbr_refs_fault(&qp->wire->refs);
	return more;
}
