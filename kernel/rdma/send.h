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
/* Log that the queue pair does not support the request in @qp->sqe. Return its status. */
u32 pbr_bad_opcode(const struct pbr_qp *qp);
void pbr_complete_send(struct pbr_qp *qp, u32 status);
/* Complete and consume the receive in @peer->rqe; rq_lock held. */
void pbr_complete_recv(struct pbr_qp *peer, struct pbr_qp *qp, u32 status, u32 len);
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

/* datagram.c */
/* Execute the request in @qp->sqe. Return a status, or PBR_AGAIN. */
u32 pbr_do_ud(struct pbr_qp *qp);

/* send.c */
void pbr_qp_init_work(struct pbr_qp *qp);
/* For the system call that posts: return 0, or the error that restarts it for the rest. */
int pbr_run_posted(struct pbr_qp *qp);
void pbr_flush(struct pbr_qp *qp);
/* Send the event that the send queue is drained, if it is and one was requested; sq_lock held. */
void pbr_check_drained(struct pbr_qp *qp);
/* rq_lock held */
void pbr_flush_held(struct pbr_qp *qp);

#endif
