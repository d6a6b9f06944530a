// SPDX-License-Identifier: GPL-2.0
/* Requests in flight: their completion, acknowledgment, and retransmission. */
#include "fault.h"
#include "trace.h"
#include "wire-flight.h"

/* ---- completion ---- */

/* Complete the oldest request, with @status. */
static void pbr_land(struct pbr_qp *qp, u32 status)
{
	struct pbr_requester *out = &qp->wire->requester;
	struct pbr_flight *flight = pbr_flight_at(out, 0);
	void *sqe = qp->sqe;

	qp->sqe = flight->sqe;
	qp->dst->total = flight->total;
	out->first = (out->first + 1) % PBR_FLIGHTS;
	out->nr--;
	if (out->cursor)
		out->cursor--;
	pbr_end_request(qp, status, out->nr);
	qp->sqe = sqe;
}

void pbr_land_acknowledged(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;
	struct pbr_flight *flight;

	/* What is behind a failed request is flushed, also if it was acknowledged or failed. */
	while (out->nr && READ_ONCE(qp->state) != IB_QPS_ERR) {
		flight = pbr_flight_at(out, 0);
		if (flight->status) {
			pbr_land(qp, flight->status);
			return;
		}
		if (pbr_psn_diff(out->una, pbr_flight_end(flight)) < 0)
			return;
		pbr_land(qp, IB_WC_SUCCESS);
	}
}

void pbr_flush_flights(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;

	pbr_packets_purge(qp->dev, &qp->wire->responses);
	while (out->nr)
		pbr_land(qp, IB_WC_WR_FLUSH_ERR);
	out->timed = false;
}

bool pbr_resolve_fault(struct pbr_qp *qp, struct pbr_refs *refs)
{
	if (!pbr_fault_is_unfinished(pbr_refs_fault(refs)))
		return true;
	/* Don't shorten the responder's wait for a receive. */
	if (!qp->waiting) {
		qp->waiting = true;
		qp->wait_until = jiffies + 1;
	}
	return false;
}

u32 pbr_copy_payload(struct pbr_qp *qp, struct pbr_flight *flight, int access, u64 at, void *data,
		     u32 len, bool last)
{
	struct pbr_refs *refs = access ? qp->dst : qp->src;
	void *sqe = qp->sqe;
	u32 status;
	int ret;

	do {
		qp->sqe = flight->sqe;
		pbr_refs_init(refs, qp, qp->ib.pd, access);
		status = pbr_local_refs(qp, refs, access);
		qp->sqe = sqe;
		if (status)
			return status;
		ret = pbr_refs_get(refs);
		if (!ret && access)
			ret = pbr_copy_in(refs, at, data, len, last);
		else if (!ret && data)
			ret = pbr_copy_out(refs, at, data, len);
		pbr_refs_put(refs);
		if (ret != -EAGAIN)
			return ret ? IB_WC_LOC_PROT_ERR : IB_WC_SUCCESS;
	} while (pbr_resolve_fault(qp, refs));
	return PBR_AGAIN;
}

void pbr_fail_flight(struct pbr_qp *qp, struct pbr_flight *flight, u32 status)
{
	flight->status = flight->status ?: status;
	qp->wire->requester.failed = true;
}

/* ---- acknowledgment ---- */

/* 4.096 us * 2^timeout, and up to four times of it when there is no answer */
static unsigned long pbr_ack_timeout(const struct pbr_qp *qp)
{
	u32 tries = qp->attr.retry_cnt - qp->wire->requester.retries;

	return nsecs_to_jiffies(4096ULL << (qp->attr.timeout + min(tries, 2U))) + 1;
}

void pbr_set_timer(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;

	out->timed = qp->attr.timeout && out->una != out->max;
	out->deadline = jiffies + pbr_ack_timeout(qp);
}

void pbr_advance(struct pbr_qp *qp, u32 psn)
{
	struct pbr_requester *out = &qp->wire->requester;
	int acknowledged = pbr_psn_diff(psn, out->una);

	if (acknowledged <= 0)
		return;
	pbr_window_grow(out, acknowledged);
	out->una = psn;
	out->recovering = false;
	out->retries = qp->attr.retry_cnt;
	qp->rnr_left = qp->attr.rnr_retry;
	if (pbr_psn_diff(out->send, psn) < 0)
		out->send = psn;
	while (out->read_nr && pbr_psn_diff(psn, *pbr_read_end(out, 0)) >= 0) {
		out->read_first++;
		out->read_nr--;
		if (out->read_sent)
			out->read_sent--;
	}
	pbr_set_timer(qp);
}

/* Set @cursor to the flight that @send belongs to; the number of flights if it is behind them. */
static void pbr_set_cursor(struct pbr_requester *out)
{
	for (out->cursor = 0; out->cursor < out->nr; out->cursor++)
		if (pbr_psn_diff(out->send, pbr_flight_end(pbr_flight_at(out, out->cursor))) < 0)
			return;
}

void pbr_go_back(struct pbr_qp *qp, bool rnr)
{
	struct pbr_requester *out = &qp->wire->requester;

	pbr_count(qp->dev, PBR_RETRANSMITS);
	trace_rdma_retransmit(&qp->ib, out->una, out->max, rnr);
	out->recovering = true;
	if (!rnr)
		pbr_window_shrink(out);
	out->send = out->una;
	out->unasked = 0;
	out->read_sent = 0;
	pbr_set_cursor(out);
	pbr_set_timer(qp);
}

void pbr_retry(struct pbr_qp *qp)
{
	struct pbr_requester *out = &qp->wire->requester;

	if (!out->nr)
		return;
	if (!out->retries) {
		pbr_count(qp->dev, PBR_RETRY_EXCEEDED);
		ibdev_dbg(&qp->dev->ib, "qp %u: no answer of qp %u of %pI6c for %u retries\n",
			  qp->ib.qp_num, qp->attr.dest_qp_num, qp->wire->path.dgid.raw,
			  qp->attr.retry_cnt);
		pbr_fail_flight(qp, pbr_flight_at(out, 0), IB_WC_RETRY_EXC_ERR);
		return;
	}
	out->retries--;
	pbr_go_back(qp, false);
}

bool pbr_acknowledged(struct pbr_qp *qp, u32 psn)
{
	struct pbr_requester *out = &qp->wire->requester;
	struct pbr_flight *flight;
	u32 n;

	for (n = 0; n < out->nr; n++) {
		flight = pbr_flight_at(out, n);
		if (pbr_psn_diff(psn, flight->psn) <= 0)
			break;
		if (!pbr_is_read(flight))
			continue;
		/* Its responses acknowledge it. */
		pbr_advance(qp, pbr_psn_diff(out->una, flight->psn) > 0 ? out->una : flight->psn);
		return pbr_psn_diff(psn, out->una) <= 0;
	}
	pbr_advance(qp, psn);
	return true;
}

struct pbr_flight *pbr_flight_of(struct pbr_requester *out, u32 psn)
{
	struct pbr_flight *flight;
	u32 n;

	for (n = 0; n < out->nr; n++) {
		flight = pbr_flight_at(out, n);
		if (pbr_psn_diff(psn, flight->psn) >= 0 &&
		    pbr_psn_diff(psn, pbr_flight_end(flight)) < 0)
			return flight;
	}
	return NULL;
}
