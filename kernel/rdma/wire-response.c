// SPDX-License-Identifier: GPL-2.0
/* Responses that reach a requester: acknowledgments, and the data of reads and atomics. */
#include "wire-flight.h"

static void pbr_handle_rnr(struct pbr_qp *qp, u32 syndrome)
{
	struct pbr_requester *out = &qp->wire->requester;

	if (!out->nr)
		return;
	if (!qp->rnr_left) {
		pbr_count(qp->dev, PBR_RNR_RETRY_EXCEEDED);
		ibdev_dbg(&qp->dev->ib, "qp %u: qp %u had no receive for %u retries\n",
			  qp->ib.qp_num, qp->attr.dest_qp_num, qp->attr.rnr_retry);
		pbr_fail_flight(qp, pbr_flight_at(out, 0), IB_WC_RNR_RETRY_EXC_ERR);
		return;
	}
	pbr_count(qp->dev, PBR_RCVD_RNR);
	out->retries = qp->attr.retry_cnt;
	/* 7 means retry indefinitely. */
	if (qp->attr.rnr_retry != 7)
		qp->rnr_left--;
	pbr_go_back(qp, true);
	out->timed = false;
	qp->waiting = true;
	qp->wait_until = jiffies + max(pbr_rnr_delay(syndrome & 31), 1UL);
}

static void pbr_handle_nak(struct pbr_qp *qp, u32 psn, u32 syndrome)
{
	struct pbr_flight *flight;
	u32 status;

	switch (syndrome) {
	case PBR_NAK_SEQUENCE:
		pbr_count(qp->dev, PBR_RCVD_SEQ_ERR);
		/* Packets behind one without a receive are out of sequence, too. */
		if (!qp->waiting)
			pbr_retry(qp);
		return;
	case PBR_NAK_INVALID:
		status = IB_WC_REM_INV_REQ_ERR;
		break;
	case PBR_NAK_ACCESS:
		status = IB_WC_REM_ACCESS_ERR;
		break;
	case PBR_NAK_OPERATION:
		status = IB_WC_REM_OP_ERR;
		break;
	default:
		status = IB_WC_BAD_RESP_ERR;
	}
	flight = pbr_flight_of(&qp->wire->requester, psn);
	if (flight)
		pbr_fail_flight(qp, flight, status);
}

static void pbr_handle_ack(struct pbr_qp *qp, u32 psn, u32 syndrome)
{
	struct pbr_requester *out = &qp->wire->requester;
	bool complete;

	/* A NAK acknowledges what is before it. */
	complete = pbr_acknowledged(qp, syndrome & PBR_AETH_TYPE ? psn : pbr_psn_add(psn, 1));
	/* What follows concerns the oldest request that is not. */
	pbr_land_acknowledged(qp);
	switch (syndrome & PBR_AETH_TYPE) {
	case PBR_AETH_ACK:
		if (!complete && !out->recovering)
			pbr_retry(qp);
		break;
	case PBR_AETH_RNR:
		pbr_handle_rnr(qp, syndrome);
		break;
	case PBR_AETH_NAK:
		pbr_handle_nak(qp, psn, syndrome);
		break;
	}
}

/* ---- responses of reads and atomics ---- */

/* The next response has arrived. Return false if the memory for it is not present yet. */
static bool pbr_take_response(struct pbr_qp *qp, struct pbr_flight *flight, u64 at, void *data,
			      u32 len)
{
	struct pbr_requester *out = &qp->wire->requester;
	bool last = out->una == pbr_psn_add(pbr_flight_end(flight), -1);
	u32 status = pbr_copy_payload(qp, flight, IB_ACCESS_LOCAL_WRITE, at, data, len, last);

	if (status == PBR_AGAIN)
		return false;
	if (status) {
		pbr_fail_flight(qp, flight, status);
		return true;
	}
	if (last)
		pbr_count_rcvd(qp->dev, flight->total);
	pbr_advance(qp, pbr_psn_add(out->una, 1));
	return true;
}

static bool pbr_handle_data(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_requester *out = &qp->wire->requester;
	struct pbr_flight *flight = pbr_flight_of(out, packet->psn);
	u64 at, value;
	bool complete;
	u32 len;

	if (!flight || !pbr_is_read(flight) ||
	    !(packet->op & (flight->op & PBR_OP_ATOMIC ? PBR_OP_ATOMIC : PBR_OP_READ)))
		return true;
	/* It acknowledges requests before it, except reads whose responses are missing. */
	complete = pbr_acknowledged(qp, packet->psn);
	pbr_land_acknowledged(qp);
	/* It may have failed already, and be the oldest now. */
	if (flight->status)
		return true;
	if (!complete || packet->psn != out->una) {
		if (pbr_psn_diff(packet->psn, out->una) > 0 && !out->recovering)
			pbr_retry(qp);
		return true;
	}
	if (flight->op & PBR_OP_ATOMIC) {
		memcpy(&value, skb->data + packet->header + sizeof(struct pbr_aeth), sizeof(value));
		value = be64_to_cpu((__force __be64)value);
		return pbr_take_response(qp, flight, 0, &value, sizeof(value));
	}
	if (flight->op & PBR_OP_EMPTY && !packet->len) {
		pbr_advance(qp, pbr_psn_add(out->una, 1));
		return true;
	}
	at = (u64)pbr_psn_diff(packet->psn, flight->psn) * qp->wire->mtu;
	len = min_t(u64, flight->total - at, qp->wire->mtu);
	if (flight->op & PBR_OP_READ && packet->len == len)
		return pbr_take_response(qp, flight, at, skb->data + packet->payload, len);
	pbr_fail_flight(qp, flight, IB_WC_BAD_RESP_ERR);
	return true;
}

bool pbr_handle_response(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_requester *out = &qp->wire->requester;
	const struct pbr_aeth *aeth = (const void *)(skb->data + packet->header);
	u32 value;

	if (packet->op & PBR_OP_CNP) {
		pbr_count(qp->dev, PBR_RCVD_CNP);
		pbr_slow_down(out);
		return true;
	}
	/* The requests of a read pace its responses, too. */
	if (packet->marked) {
		pbr_notify_congestion(qp, &qp->wire->out, &out->notified);
		pbr_slow_down(out);
	}
	/* Ignore late responses, and those of packets that were never transmitted. */
	if (pbr_psn_diff(packet->psn, out->una) < 0 || pbr_psn_diff(packet->psn, out->max) >= 0)
		return true;
	if (!(packet->op & PBR_OP_ACK))
		return pbr_handle_data(qp, skb);
	value = be32_to_cpu(aeth->value);
	pbr_handle_ack(qp, packet->psn, value >> 24);
	return true;
}
