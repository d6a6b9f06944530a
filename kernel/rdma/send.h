/* SPDX-License-Identifier: GPL-2.0 */
/* Execution of work requests. */
#ifndef _PEERBAR_RDMA_SEND_H
#define _PEERBAR_RDMA_SEND_H

#include "qp.h"

/* message.c */
#define PBR_GRH_BYTES 40
/* Instead of a status: not complete, run again */
#define PBR_AGAIN     1000
/* Instead of a status: lost over UC. The request succeeds; the responder completes nothing. */
#define PBR_LOST      1001
/* Instead of a delay: more work is ready */
#define PBR_MORE      ULONG_MAX
/* Log that the queue pair does not support the request in @qp->sqe. Return its status. */
u32 pbr_bad_opcode(const struct pbr_qp *qp);
void pbr_complete_send(struct pbr_qp *qp, u32 status);
/*
 * The request in @qp->sqe ends: complete it, and move the queue pair, as pbr_qp_send_error(), if
 * @status is an error. @more: other requests were begun and are not complete. sq_lock held.
 */
void pbr_end_request(struct pbr_qp *qp, u32 status, bool more);
/* Send the event that the send queue is drained, if it is and one was requested; sq_lock held. */
void pbr_check_drained(struct pbr_qp *qp);

/* What a receive's completion reports about the message; @opcode is enum ib_wr_opcode */
struct pbr_arrival {
	u32 opcode;
	u32 imm_data;
	u32 src_qp;
	bool solicited;
	bool ipv6;
	u8 sl;
	u16 vlan_id; /* of a datagram, or PBR_NO_VLAN */
};

/*
 * Complete and consume the receive in @peer->rqe; rq_lock held. @refs: its memory, for the reason
 * of an error.
 */
void pbr_complete_arrival(struct pbr_qp *peer, const struct pbr_arrival *from,
			  const struct pbr_refs *refs, u32 status, u32 len);
/* The same, for the message in @qp->sqe */
void pbr_complete_recv(struct pbr_qp *peer, struct pbr_qp *qp, u32 status, u32 len);
/* Complete the receive in @qp->rqe, which was consumed, as flushed; rq_lock held. */
void pbr_complete_flushed(struct pbr_qp *qp, struct ib_cq *cq);
/* The same, and consume it, for one of a shared queue that the queue pair holds */
void pbr_flush_held(struct pbr_qp *qp);
void pbr_refs_init(struct pbr_refs *refs, struct pbr_qp *qp, struct ib_pd *pd, int access);
void pbr_refs_add(struct pbr_refs *refs, u64 addr, u32 len, u32 key);
void pbr_refs_add_va(struct pbr_refs *refs, void *va, u32 len);
/* Set the sender's side of a request. Return a status. */
u32 pbr_local_refs(struct pbr_qp *qp, struct pbr_refs *refs, int access);
/* Set and enter the memory of the responder's receive. Return a status of the responder. */
u32 pbr_recv_refs(struct pbr_qp *peer, struct pbr_refs *refs, u64 need);
/* Enter all memory. Return a status: @refused if a key does not grant the access; or PBR_AGAIN. */
u32 pbr_refs_enter(struct pbr_refs *refs, u32 refused);

/* connection.c */
/* Execute the request in @qp->sqe. Return a status, or PBR_AGAIN. */
u32 pbr_do_connection(struct pbr_qp *qp);
/*
 * Execute what does not need the peer: set the memory of the request in @qp->src or @qp->dst.
 * Return a status, or PBR_AGAIN if the peer is needed.
 */
u32 pbr_local_work(struct pbr_qp *qp);
/* Whether there is a flush of this type and level, as enum ib_placement_type and the next one. */
bool pbr_flush_is_valid(u32 type, u32 level);
/* The access that a flush of a valid type needs. */
int pbr_flush_access(u32 type);
/*
 * The range of a flush: @addr and @len of a region, or if @level is IB_FLUSH_MR one byte of it, by
 * which its key is checked.
 */
void pbr_flush_range(struct pbr_device *dev, u32 level, u32 rkey, u64 *addr, u64 *len);
/* The delay, in jiffies, that a timer of 5 bits in an RNR NAK stands for */
unsigned long pbr_rnr_delay(u32 timer);

/* datagram.c */
/* Execute the request in @qp->sqe. Return a status, or PBR_AGAIN. */
u32 pbr_do_ud(struct pbr_qp *qp);

/* send.c */
void pbr_qp_init_work(struct pbr_qp *qp);
/* For the system call that posts: return 0, or the error that restarts it for the rest. */
int pbr_run_posted(struct pbr_qp *qp);
void pbr_flush(struct pbr_qp *qp);
/* Complete all requests of a queue pair in SQE as flushed that were posted before. */
void pbr_flush_sends(struct pbr_qp *qp);

#endif
