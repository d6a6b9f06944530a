/* SPDX-License-Identifier: GPL-2.0 */
/* Execution of work requests. */
#ifndef _PEERBAR_RDMA_SEND_H
#define _PEERBAR_RDMA_SEND_H

#include "qp.h"

/* message.c */
#define PB_GRH_BYTES 40
/* Instead of a status: not complete, run again */
#define PB_AGAIN 1000
/* Instead of a status: lost over UC. The request succeeds; the responder completes nothing. */
#define PB_LOST 1001
void pb_complete_send(struct pb_qp *qp, u32 status);
/* Complete and consume the receive in @peer->rqe; rq_lock held. */
void pb_complete_recv(struct pb_qp *peer, struct pb_qp *qp, u32 status, u32 len);
void pb_refs_init(struct pb_refs *refs, struct pb_qp *qp, struct ib_pd *pd, int access);
void pb_refs_add(struct pb_refs *refs, u64 addr, u32 len, u32 key);
void pb_refs_add_va(struct pb_refs *refs, void *va, u32 len);
/* Set the sender's side of a request. Return a status. */
u32 pb_local_refs(struct pb_qp *qp, struct pb_refs *refs, int access);
/* Set and enter the memory of the responder's receive. Return a status of the responder. */
u32 pb_recv_refs(struct pb_qp *peer, struct pb_refs *refs, u64 need);

/* connection.c */
/* Execute the request in @qp->sqe. Return a status, or PB_AGAIN. */
u32 pb_do_connection(struct pb_qp *qp);

/* datagram.c */
/* Execute the request in @qp->sqe. Return a status, or PB_AGAIN. */
u32 pb_do_ud(struct pb_qp *qp);

/* send.c */
void pb_qp_init_work(struct pb_qp *qp);
/* For the system call that posts: return 0, or the error that restarts it for the rest. */
int pb_run_posted(struct pb_qp *qp);
void pb_flush(struct pb_qp *qp);
/* Send the event that the send queue is drained, if it is and one was requested; sq_lock held. */
void pb_check_drained(struct pb_qp *qp);
/* rq_lock held */
void pb_flush_held(struct pb_qp *qp);

#endif
