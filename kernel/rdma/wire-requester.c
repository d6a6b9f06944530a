// SPDX-License-Identifier: GPL-2.0
/*
 * The requester of a connection. Requests are taken from the send queue into flights, which keep a
 * private copy of the entry until it is acknowledged. Their bytes stay in the region: each
 * transmission, and each retransmission, reads them by the keys that are valid then.
 */
#include "wire-flight.h"

/* Number of packets that are transmitted, and responses that are processed, in one pass */
#define PBR_PASS 256

/* ---- transmission ---- */

static u8 pbr_opcode_of(const struct pbr_qp *qp, const struct peerbar_sqe *sqe, bool first,
			bool last)
{
	u8 transport = pbr_transport_of(qp);
	bool write = sqe->opcode == IB_WR_RDMA_WRITE || sqe->opcode == IB_WR_RDMA_WRITE_WITH_IMM;

	if (!last) {
		if (first)
			return transport +
				(write ? IB_OPCODE_RDMA_WRITE_FIRST : IB_OPCODE_SEND_FIRST);
		return transport + (write ? IB_OPCODE_RDMA_WRITE_MIDDLE : IB_OPCODE_SEND_MIDDLE);
	}
	switch (sqe->opcode) {
	case IB_WR_RDMA_WRITE:
		return transport + (first ? IB_OPCODE_RDMA_WRITE_ONLY : IB_OPCODE_RDMA_WRITE_LAST);
	case IB_WR_RDMA_WRITE_WITH_IMM:
		return transport +
			(first ? IB_OPCODE_RDMA_WRITE_ONLY_WITH_IMMEDIATE :
				 IB_OPCODE_RDMA_WRITE_LAST_WITH_IMMEDIATE);
	case IB_WR_SEND_WITH_IMM:
		return transport +
			(first ? IB_OPCODE_SEND_ONLY_WITH_IMMEDIATE :
				 IB_OPCODE_SEND_LAST_WITH_IMMEDIATE);
	case IB_WR_SEND_WITH_INV:
		return transport +
			(first ? IB_OPCODE_SEND_ONLY_WITH_INVALIDATE :
				 IB_OPCODE_SEND_LAST_WITH_INVALIDATE);
	default:
		return transport + (first ? IB_OPCODE_SEND_ONLY : IB_OPCODE_SEND_LAST);
	}
}

/* The size of the XRCETH, if the requests have one */
static u32 pbr_xrceth_size(const struct pbr_qp *qp)
{
	return pbr_is_xrc_initiator(qp) ? sizeof(struct pbr_xrceth) : 0;
}

/* Fill the XRCETH, and return what is behind it. */
static void *pbr_fill_xrceth(const struct pbr_qp *qp, const struct peerbar_sqe *sqe, void *header)
{
	struct pbr_xrceth *eth = header;

	if (!pbr_is_xrc_initiator(qp))
		return header;
	eth->srqn = cpu_to_be32(sqe->srqn);
	return eth + 1;
}

/* Fill the extended headers of a send or write. */
static void pbr_fill_headers(const struct pbr_qp *qp, const struct pbr_flight *flight,
			     struct pbr_op op, void *header)
{
	const struct peerbar_sqe *sqe = flight->sqe;
	u32 word = sqe->imm_data;

	header = pbr_fill_xrceth(qp, sqe, header);
	if (op.header >= sizeof(struct pbr_reth)) {
		struct pbr_reth *reth = header;

		reth->addr = cpu_to_be64(sqe->rdma.remote_addr);
		reth->rkey = cpu_to_be32(sqe->rdma.rkey);
		reth->len = cpu_to_be32(flight->total);
		header += sizeof(*reth);
	}
	/* The immediate is big-endian in the entry, and the key is not. */
	if (op.flags & PBR_OP_INV)
		word = (__force u32)cpu_to_be32(word);
	if (op.flags & (PBR_OP_IMM | PBR_OP_INV))
		memcpy(header, &word, sizeof(word));
}

/* About the bytes that can be transmitted behind @at of this request. */
static u64 pbr_bytes_behind(const struct pbr_qp *qp, const struct pbr_flight *flight, u64 at)
{
	u32 ahead = pbr_queue_ahead(&qp->sq), begun = qp->wire->requester.nr;
	u64 waiting = ahead > begun ? ahead - begun : 0;

	return pbr_packet_bytes(flight->total - at, qp->wire->mtu) +
		waiting * (flight->total + PBR_PACKET_OVERHEAD);
}

/* Transmit packet @n of a send or write. Return a status, or PBR_AGAIN to transmit it later. */
static u32 pbr_transmit_data(struct pbr_qp *qp, struct pbr_flight *flight, u32 n)
{
	struct pbr_requester *out = &qp->wire->requester;
	bool first = !n, last = n + 1 == flight->nr, ack_req;
	u8 opcode = pbr_opcode_of(qp, flight->sqe, first, last);
	u64 at = (u64)n * qp->wire->mtu;
	u32 len = min_t(u64, flight->total - at, qp->wire->mtu), status;
	struct pbr_op op = pbr_op_of(opcode);
	struct pbr_bth *bth;

	bth = pbr_train_add(qp->dev, &qp->wire->path, &qp->wire->out, op.header, len,
			    pbr_bytes_behind(qp, flight, at + len));
	status = pbr_copy_payload(qp, flight, 0, at, bth ? (void *)(bth + 1) + op.header : NULL,
				  len, false);
	if (status || !bth) {
		if (bth)
			pbr_train_undo(&qp->wire->out);
		return status;
	}
	pbr_fill_headers(qp, flight, op, bth + 1);
	ack_req = pbr_is_reliable(qp) &&
		(last || ++out->unasked >= min_t(u32, PBR_ACK_INTERVAL, out->window / 2));
	if (ack_req)
		out->unasked = 0;
	pbr_bth_fill(bth, opcode, qp->attr.dest_qp_num, out->send, -len & 3,
		     last && flight->sqe->flags & IB_SEND_SOLICITED, ack_req);
	if (last)
		pbr_count_sent(qp->dev, flight->total);
	return IB_WC_SUCCESS;
}

/* Transmit a request of one packet, which is answered; @opcode is without the transport. */
static void pbr_send_request(struct pbr_qp *qp, struct sk_buff *skb, u8 opcode)
{
	pbr_bth_fill((struct pbr_bth *)skb->data, pbr_transport_of(qp) + opcode,
		     qp->attr.dest_qp_num, qp->wire->requester.send, 0, false, true);
	pbr_packet_send(qp->dev, &qp->wire->path, &qp->wire->out, skb);
}

static void pbr_transmit_read(struct pbr_qp *qp, struct pbr_flight *flight, u32 n, u32 nr)
{
	const struct peerbar_sqe *sqe = flight->sqe;
	u64 at = (u64)n * qp->wire->mtu;
	struct sk_buff *skb = pbr_packet_alloc(pbr_xrceth_size(qp) + sizeof(struct pbr_reth), 0);
	struct pbr_reth *reth;

	if (!skb)
		return;
	reth = pbr_fill_xrceth(qp, sqe, pbr_packet_header(skb));
	reth->addr = cpu_to_be64(sqe->rdma.remote_addr + at);
	/* The key of no bytes is not checked; with one, rxe takes a repetition for another. */
	reth->rkey = cpu_to_be32(flight->total ? sqe->rdma.rkey : 0);
	reth->len = cpu_to_be32(min_t(u64, flight->total - at, (u64)nr * qp->wire->mtu));
	pbr_send_request(qp, skb, IB_OPCODE_RDMA_READ_REQUEST);
}

static void pbr_transmit_atomic(struct pbr_qp *qp, struct pbr_flight *flight)
{
	const struct peerbar_sqe *sqe = flight->sqe;
	bool swap = sqe->opcode == IB_WR_ATOMIC_CMP_AND_SWP;
	struct sk_buff *skb = pbr_packet_alloc(pbr_xrceth_size(qp) + sizeof(struct pbr_atomic_eth),
					       0);
	struct pbr_atomic_eth *eth;

	if (!skb)
		return;
	eth = pbr_fill_xrceth(qp, sqe, pbr_packet_header(skb));
	eth->addr = cpu_to_be64(sqe->atomic.remote_addr);
	eth->rkey = cpu_to_be32(sqe->atomic.rkey);
	eth->swap_add = cpu_to_be64(swap ? sqe->atomic.swap : sqe->atomic.compare_add);
	eth->compare = cpu_to_be64(swap ? sqe->atomic.compare_add : 0);
	pbr_send_request(qp, skb, swap ? IB_OPCODE_COMPARE_SWAP : IB_OPCODE_FETCH_ADD);
}

static void pbr_transmit_atomic_write(struct pbr_qp *qp, struct pbr_flight *flight)
{
	const struct peerbar_sqe *sqe = flight->sqe;
	struct sk_buff *skb = pbr_packet_alloc(pbr_xrceth_size(qp) + sizeof(struct pbr_reth),
					       sizeof(u64));
	struct pbr_reth *reth;

	if (!skb)
		return;
	reth = pbr_fill_xrceth(qp, sqe, pbr_packet_header(skb));
	reth->addr = cpu_to_be64(sqe->atomic_write.remote_addr);
	reth->rkey = cpu_to_be32(sqe->atomic_write.rkey);
	reth->len = cpu_to_be32(sizeof(u64));
	memcpy(reth + 1, &sqe->atomic_write.value, sizeof(u64));
	pbr_send_request(qp, skb, IB_OPCODE_ATOMIC_WRITE);
	pbr_count_sent(qp->dev, sizeof(u64));
}

static void pbr_transmit_flush(struct pbr_qp *qp, struct pbr_flight *flight)
{
	const struct peerbar_sqe *sqe = flight->sqe;
	u32 header = pbr_xrceth_size(qp) + sizeof(struct pbr_feth) + sizeof(struct pbr_reth);
	struct sk_buff *skb = pbr_packet_alloc(header, 0);
	struct pbr_feth *feth;
	struct pbr_reth *reth;

	if (!skb)
		return;
	feth = pbr_fill_xrceth(qp, sqe, pbr_packet_header(skb));
	feth->value = cpu_to_be32(sqe->flush.level << 4 | sqe->flush.type);
	reth = (struct pbr_reth *)(feth + 1);
	reth->addr = cpu_to_be64(sqe->flush.remote_addr);
	reth->rkey = cpu_to_be32(sqe->flush.rkey);
	reth->len = cpu_to_be32(sqe->flush.length);
	pbr_send_request(qp, skb, IB_OPCODE_FLUSH);
}

static void pbr_transmit_request(struct pbr_qp *qp, struct pbr_flight *flight, u32 n, u32 nr)
{
	switch (flight->op) {
	case PBR_OP_READ:
		pbr_transmit_read(qp, flight, n, nr);
		break;
	case PBR_OP_ATOMIC:
		pbr_transmit_atomic(qp, flight);
		break;
	case PBR_OP_ATOMIC_WRITE:
		pbr_transmit_atomic_write(qp, flight);
		break;
	default:
		pbr_transmit_flush(qp, flight);
	}
}

/*
 * Number of responses that the next read request asks for, or 0 if it must wait. A long read is
 * several requests, so that its responses do not overrun the queue. A retransmitted request asks
 * for all that is missing of the earlier one: of two halves, rxe would not answer the first again
 * after the second, and no responder answers one that ends behind what it executed.
 */
static u32 pbr_read_size(const struct pbr_qp *qp, const struct pbr_flight *flight)
{
	struct pbr_requester *out = &qp->wire->requester;
	u32 left = pbr_psn_diff(pbr_flight_end(flight), out->send);
	u32 room = out->window - min_t(u32, out->window, pbr_psn_diff(out->send, out->una));
	u32 nr = min(left, out->window / 2);

	if (out->read_sent >= min_t(u32, qp->attr.max_rd_atomic, PBR_MAX_RD_ATOM))
		return 0;
	if (out->read_sent < out->read_nr) {
		nr = pbr_psn_diff(*pbr_read_end(out, out->read_sent), out->send);
		/* The window may have been larger. */
		if (out->send == out->una)
			return nr;
	}
	return nr <= room ? nr : 0;
}

/* Transmit what @send refers to, in the flight at @cursor. Return false if that must wait. */
static bool pbr_transmit_next(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;
	struct pbr_flight *flight = pbr_flight_at(out, out->cursor);
	u32 n = pbr_psn_diff(out->send, flight->psn), nr = 1, status = 0;

	if (flight->status)
		return false;
	/* Nothing acknowledges the packets of UC before the message ends. */
	if (pbr_is_reliable(qp) && pbr_psn_diff(out->send, out->una) >= (int)out->window)
		return false;
	if (pbr_is_read(flight)) {
		nr = pbr_read_size(qp, flight);
		if (!nr)
			return false;
		pbr_transmit_request(qp, flight, n, nr);
		*pbr_read_end(out, out->read_sent++) = pbr_psn_add(out->send, nr);
		out->read_nr = max(out->read_nr, out->read_sent);
	} else {
		status = pbr_transmit_data(qp, flight, n);
	}
	if (status) {
		if (status != PBR_AGAIN)
			pbr_fail_flight(qp, flight, status);
		return false;
	}
	out->send = pbr_psn_add(out->send, nr);
	if (pbr_psn_diff(out->send, out->max) > 0)
		out->max = out->send;
	if (!out->timed)
		pbr_set_timer(qp);
	if (out->send == pbr_flight_end(flight)) {
		out->cursor++;
		/* Nothing acknowledges a message of UC. */
		if (qp->ib.qp_type == IB_QPT_UC) {
			pbr_advance(qp, out->send);
			pbr_land_acknowledged(qp);
		}
	}
	return true;
}

/* ---- taking requests ---- */

static bool pbr_is_local(u32 opcode)
{
	return opcode == IB_WR_BIND_MW || opcode == IB_WR_LOCAL_INV || opcode == IB_WR_REG_MR;
}

static u16 pbr_flight_op(u32 opcode)
{
	switch (opcode) {
	case IB_WR_RDMA_READ:
		return PBR_OP_READ;
	case IB_WR_ATOMIC_CMP_AND_SWP:
	case IB_WR_ATOMIC_FETCH_AND_ADD:
		return PBR_OP_ATOMIC;
	case IB_WR_ATOMIC_WRITE:
		return PBR_OP_ATOMIC_WRITE;
	case IB_WR_FLUSH:
		return PBR_OP_FLUSH;
	case IB_WR_RDMA_WRITE:
	case IB_WR_RDMA_WRITE_WITH_IMM:
		return PBR_OP_WRITE;
	default:
		return PBR_OP_SEND;
	}
}

/* Why a request cannot be transmitted over the wire, or IB_WC_SUCCESS. */
static u32 pbr_check_request(struct pbr_qp *qp, const struct pbr_flight *flight)
{
	if (qp->ib.qp_type == IB_QPT_UC && qp->sqe->opcode == IB_WR_SEND_WITH_INV)
		return pbr_bad_opcode(qp);
	if (flight->op & PBR_OP_ATOMIC && flight->total < sizeof(u64))
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_LEN_ERR,
				"qp %u: an atomic with room for %llu bytes; the old value has 8",
				qp->ib.qp_num, flight->total);
	/* A PSN must not be ahead of another by more than half of all. */
	if (pbr_packets(flight->total, qp->wire->mtu) > BIT(22))
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_LEN_ERR,
				"qp %u: a message of %llu bytes; over the wire, %lu packets of %u are possible",
				qp->ib.qp_num, flight->total, BIT(22), qp->wire->mtu);
	if (pbr_is_read(flight) && !qp->attr.max_rd_atomic)
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_QP_OP_ERR,
				"qp %u: opcode %u, and its max_rd_atomic is 0", qp->ib.qp_num,
				qp->sqe->opcode);
	return IB_WC_SUCCESS;
}

/*
 * Take the next request from the ring into a flight, or execute it if it needs no peer. Return
 * false if there is none, or if it must wait. If it may come while the pass ends, as in another
 * state than RTS, the queue is starved: pbr_wire_has_work() looks again.
 */
static bool pbr_take_request(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;
	struct pbr_flight *flight;
	void *sqe = qp->sqe;
	u32 status, n;

	if (READ_ONCE(qp->state) != IB_QPS_RTS) {
		out->starved = true;
		return false;
	}
	if (out->failed || out->nr == PBR_FLIGHTS)
		return false;
	flight = pbr_flight_at(out, out->nr);
	if (!pbr_queue_peek_at(&qp->sq, out->nr, (void *)flight->sqe - (sqe - qp->entry))) {
		out->starved = true;
		return false;
	}
	/* Local work takes effect after the requests before it. */
	if (out->nr && pbr_is_local(flight->sqe->opcode))
		return false;
	for (n = 0; flight->sqe->flags & IB_SEND_FENCE && n < out->nr; n++)
		if (pbr_is_read(pbr_flight_at(out, n)))
			return false;
	qp->sqe = flight->sqe;
	flight->op = pbr_flight_op(flight->sqe->opcode);
	if (!out->nr)
		qp->rnr_left = qp->attr.rnr_retry;
	WRITE_ONCE(qp->begun, true);
	status = pbr_local_work(qp);
	flight->total = flight->op & PBR_OP_READ ? qp->dst->total :
		flight->op & PBR_OP_ATOMIC	 ? qp->dst->total :
						   qp->src->total;
	if (status == PBR_AGAIN)
		status = pbr_check_request(qp, flight) ?: PBR_AGAIN;
	flight->psn = out->next;
	flight->nr = flight->op & PBR_OP_ATOMIC ? 1 : pbr_packets(flight->total, qp->wire->mtu);
	flight->status = IB_WC_SUCCESS;
	qp->sqe = sqe;
	out->nr++;
	if (flight->op & PBR_OP_ATOMIC)
		flight->total = sizeof(u64);
	if (status == PBR_AGAIN) {
		out->next = pbr_flight_end(flight);
		return true;
	}
	/* It has no packets. */
	flight->nr = 0;
	if (status)
		pbr_fail_flight(qp, flight, status);
	else
		out->cursor++;
	pbr_land_acknowledged(qp);
	return !out->failed;
}

/* ---- passes ---- */

bool pbr_wire_has_work(const struct pbr_qp *qp)
{
	const struct pbr_requester *out = &qp->wire->requester;
	enum ib_qp_state state = READ_ONCE(qp->state);

	if (state == IB_QPS_ERR)
		return READ_ONCE(out->nr) || pbr_queue_pending(&qp->sq);
	if (state != IB_QPS_RTS && state != IB_QPS_SQD)
		return false;
	if (!skb_queue_empty_lockless(&qp->wire->responses))
		return true;
	return state == IB_QPS_RTS && READ_ONCE(out->starved) &&
		pbr_queue_ahead(&qp->sq) > READ_ONCE(out->nr);
}

static void pbr_check_timer(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;

	if (qp->waiting && time_after_eq(jiffies, qp->wait_until)) {
		qp->waiting = false;
		pbr_set_timer(qp);
	}
	if (out->timed && time_after_eq(jiffies, out->deadline)) {
		out->timed = false;
		pbr_retry(qp);
	}
}

/* Return false if the pass is over. */
static bool pbr_handle_responses(struct pbr_qp *qp, unsigned int *budget)
{
	struct sk_buff *skb;

	while ((skb = skb_dequeue(&qp->wire->responses))) {
		if (pbr_packet_is_intact(qp->dev, skb) && !pbr_handle_response(qp, skb)) {
			skb_queue_head(&qp->wire->responses, skb);
			break;
		}
		pbr_packet_free(qp->dev, skb);
		pbr_land_acknowledged(qp);
		if (!--*budget)
			return false;
	}
	return true;
}

static unsigned long pbr_until(unsigned long when)
{
	long left = when - jiffies;

	return max(left, 1L);
}

static unsigned long pbr_wire_pass(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;
	unsigned int budget = PBR_PASS;

	out->starved = false;
	while (READ_ONCE(qp->state) != IB_QPS_ERR) {
		if (!pbr_handle_responses(qp, &budget))
			return PBR_MORE;
		pbr_check_timer(qp);
		pbr_land_acknowledged(qp);
		if (READ_ONCE(qp->state) == IB_QPS_ERR)
			break;
		if (qp->waiting)
			return pbr_until(qp->wait_until);
		if (out->cursor < out->nr ? !pbr_transmit_next(qp) : !pbr_take_request(qp)) {
			/* What failed now may be the oldest. */
			pbr_land_acknowledged(qp);
			if (qp->waiting || !skb_queue_empty_lockless(&qp->wire->responses))
				continue;
			if (READ_ONCE(qp->state) == IB_QPS_ERR)
				break;
			if (!out->timed)
				return 0;
			return pbr_until(out->deadline);
		}
		if (!--budget || signal_pending(current))
			return PBR_MORE;
		cond_resched();
	}
	pbr_flush_flights(qp);
	return 0;
}

unsigned long pbr_wire_run(struct pbr_qp *qp)
{
	unsigned long delay = pbr_wire_pass(qp);

	pbr_train_send(qp->dev, &qp->wire->path, &qp->wire->out);
	return delay;
}
