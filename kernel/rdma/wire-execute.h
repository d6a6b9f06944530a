/* SPDX-License-Identifier: GPL-2.0 */
/* Execution of requests that arrive as packets; rq_lock held everywhere. */
#ifndef _PEERBAR_RDMA_WIRE_EXECUTE_H
#define _PEERBAR_RDMA_WIRE_EXECUTE_H

#include "wire.h"

/*
 * Instead of a NAK's syndrome: the request was executed; it is to be dropped; memory of an
 * on-demand region is absent, nothing was executed, and it begins anew after pbr_refs_fault(); it
 * names a shared receive queue that the XRC domain does not have.
 */
#define PBR_DONE   0x100
#define PBR_DROP   0x101
#define PBR_ABSENT 0x102
#define PBR_NO_SRQ 0x103

/* Execute the expected packet. Return a NAK's syndrome, or one of the above. */
u32 pbr_execute(struct pbr_qp *qp, struct sk_buff *skb);
/*
 * A request that was executed already: its response was lost, or is late. Acknowledge a send or
 * write, replay a read, answer an atomic from the saved result, and a flush or an atomic write
 * without doing it again. Return false if a read's memory is absent.
 */
bool pbr_execute_again(struct pbr_qp *qp, struct sk_buff *skb);
/* Add the next response of a read. Return a NAK's syndrome, PBR_ABSENT, or PBR_DONE. */
u32 pbr_answer_read(struct pbr_qp *qp);
void pbr_acknowledge(struct pbr_qp *qp, u32 psn, u32 syndrome);
/* Transmit the acknowledgment of everything that was executed, if one was requested. */
void pbr_acknowledge_due(struct pbr_qp *qp);

#endif
