/* SPDX-License-Identifier: GPL-2.0 */
/* Requests in flight; sq_lock held everywhere. */
#ifndef _PEERBAR_RDMA_WIRE_FLIGHT_H
#define _PEERBAR_RDMA_WIRE_FLIGHT_H

#include "wire.h"

/* Flight number @n, from the oldest one on. */
static inline struct pbr_flight *pbr_flight_at(struct pbr_requester *out, u32 n)
{
	return &out->flight[(out->first + n) % PBR_FLIGHTS];
}

static inline u32 pbr_flight_end(const struct pbr_flight *flight)
{
	return pbr_psn_add(flight->psn, flight->nr);
}

/* Whether it is answered by responses, not acknowledged. */
static inline bool pbr_is_read(const struct pbr_flight *flight)
{
	return flight->op & (PBR_OP_READ | PBR_OP_ATOMIC | PBR_OP_EMPTY);
}

/* Where read request number @n ends, of those that are not answered. */
static inline u32 *pbr_read_end(struct pbr_requester *out, u32 n)
{
	return &out->read_end[(out->read_first + n) % PBR_MAX_RD_ATOM];
}

/* ---- wire-flight.c ---- */

/* Complete all requests that are acknowledged, and the one that failed when it is the oldest. */
void pbr_land_acknowledged(struct pbr_qp *qp);
/* Complete all requests as flushed. */
void pbr_flush_flights(struct pbr_qp *qp);
/* The request of @flight fails as soon as those before it are complete. */
void pbr_fail_flight(struct pbr_qp *qp, struct pbr_flight *flight, u32 status);
/* Begin to wait for the acknowledgment of the oldest packet. */
void pbr_set_timer(struct pbr_qp *qp);
/* Everything before @psn is acknowledged. */
void pbr_advance(struct pbr_qp *qp, u32 psn);
/*
 * The responder acknowledges everything before @psn. Return false if that skips a response of a
 * read or an atomic, which is lost then.
 */
bool pbr_acknowledged(struct pbr_qp *qp, u32 psn);
/* The flight that @psn belongs to, or NULL */
struct pbr_flight *pbr_flight_of(struct pbr_requester *out, u32 psn);
/*
 * Make the memory of a request present that was found absent. Return true if the caller can enter
 * it again, false if the queue pair waits before that.
 */
bool pbr_resolve_fault(struct pbr_qp *qp, struct pbr_refs *refs);
/*
 * Copy @len bytes at offset @at of a request's message between @data and the memory of the
 * request: to the memory if @access is IB_ACCESS_LOCAL_WRITE, from it if @access is 0. @data NULL:
 * only check the keys. @last: the bytes are the last of the message. Return a status, or PBR_AGAIN
 * if the queue pair waits for memory.
 */
u32 pbr_copy_payload(struct pbr_qp *qp, struct pbr_flight *flight, int access, u64 at, void *data,
		     u32 len, bool last);
/* Retransmit from the oldest packet that is not acknowledged. @rnr: the responder was not ready. */
void pbr_go_back(struct pbr_qp *qp, bool rnr);
/* The same, or fail the oldest request if all retries are used up. */
void pbr_retry(struct pbr_qp *qp);

/* ---- wire-response.c ---- */

/* Process a packet of the responder's. Return false if it must be processed again after a wait. */
bool pbr_handle_response(struct pbr_qp *qp, struct sk_buff *skb);

#endif
