// SPDX-License-Identifier: GPL-2.0
/*
 * Execution of requests that arrive as packets, in the worker of the queue pair, and their
 * responses. Requests of RC and XRC are acknowledged.
 */
#include "wire-execute.h"

/* ---- responses ---- */

/* @opcode: without the transport */
static void pbr_response_fill(struct pbr_qp *qp, struct pbr_bth *bth, u8 opcode, u32 psn,
			      u32 syndrome, u32 header, u32 len)
{
	struct pbr_aeth *aeth = (struct pbr_aeth *)(bth + 1);

	opcode += pbr_transport_of(qp);
	pbr_bth_fill(bth, opcode, qp->attr.dest_qp_num, psn, -len & 3, false, false);
	if (header)
		aeth->value = cpu_to_be32(syndrome << 24 | qp->wire->responder.msn);
}

static struct sk_buff *pbr_response_alloc(struct pbr_qp *qp, u8 opcode, u32 psn, u32 syndrome,
					  u32 header, u32 len)
{
	struct sk_buff *skb = pbr_packet_alloc(header, len);

	if (skb)
		pbr_response_fill(qp, (struct pbr_bth *)skb->data, opcode, psn, syndrome, header,
				  len);
	return skb;
}

static void pbr_respond(struct pbr_qp *qp, struct sk_buff *skb)
{
	if (skb)
		pbr_packet_send(qp->dev, &qp->wire->path, &qp->wire->in, skb);
}

/* @opcode: without the transport */
static void pbr_respond_empty(struct pbr_qp *qp, u8 opcode, u32 psn, u32 syndrome)
{
	pbr_respond(qp, pbr_response_alloc(qp, opcode, psn, syndrome, sizeof(struct pbr_aeth), 0));
}

void pbr_acknowledge(struct pbr_qp *qp, u32 psn, u32 syndrome)
{
	qp->wire->responder.ack_due = false;
	pbr_respond_empty(qp, IB_OPCODE_ACKNOWLEDGE, psn, syndrome);
}

void pbr_acknowledge_due(struct pbr_qp *qp)
{
	struct pbr_responder *in = &qp->wire->responder;

	if (in->ack_due)
		pbr_acknowledge(qp, pbr_psn_add(in->psn, -1), PBR_ACK_SYNDROME);
}

/* ---- memory ---- */

/* Enter @len bytes of the requester's region. Return a NAK's syndrome, PBR_ABSENT, or 0. */
static u32 pbr_enter_remote(struct pbr_qp *qp, int access, u64 addr, u64 len, u32 rkey)
{
	struct pbr_refs *refs = &qp->wire->refs;
	int ret;

	pbr_refs_init(refs, qp, pbr_responder_pd(qp), access);
	refs->dma = false;
	if ((READ_ONCE(qp->attr.qp_access_flags) & access) != access)
		return pbr_fail(&qp->dev->ib, PBR_NAK_INVALID,
				"qp %u: its qp_access_flags %#x do not permit %#x", qp->ib.qp_num,
				qp->attr.qp_access_flags, access);
	/* A request of length 0 does not use its key. */
	pbr_refs_add(refs, addr, len, rkey);
	ret = pbr_refs_get(refs);
	return ret == -EAGAIN ? PBR_ABSENT : ret ? PBR_NAK_ACCESS : 0;
}

/* ---- sends and writes ---- */

static void pbr_arrival_of(const struct pbr_qp *qp, const struct sk_buff *skb,
			   const struct pbr_packet *packet, struct pbr_arrival *from)
{
	bool write = packet->op & PBR_OP_WRITE;
	u32 word = 0;

	/* It follows the address of a write that is one packet. */
	if (packet->op & (PBR_OP_IMM | PBR_OP_INV))
		memcpy(&word, skb->data + packet->payload - sizeof(word), sizeof(word));
	*from = (struct pbr_arrival){
		.opcode = packet->op & PBR_OP_INV ? IB_WR_SEND_WITH_INV :
			write			  ? IB_WR_RDMA_WRITE_WITH_IMM :
			packet->op & PBR_OP_IMM	  ? IB_WR_SEND_WITH_IMM :
						    IB_WR_SEND,
		.imm_data = packet->op & PBR_OP_INV ? be32_to_cpu((__force __be32)word) : word,
		.src_qp = qp->attr.dest_qp_num,
		.solicited = packet->solicited,
		.ipv6 = packet->ipv6,
	};
}

/* The receive cannot be used. It completes in error, except over UC if the message is too long. */
static u32 pbr_refuse_receive(struct pbr_qp *qp, const struct pbr_arrival *from, u32 status)
{
	bool lossy = qp->ib.qp_type == IB_QPT_UC;

	qp->wire->responder.taken = false;
	if (lossy && status == IB_WC_LOC_LEN_ERR)
		return PBR_DROP;
	pbr_complete_arrival(qp, from, &qp->wire->refs, status, 0);
	pbr_qp_error(qp, 0);
	if (lossy)
		return PBR_DROP;
	return status == IB_WC_LOC_LEN_ERR ? PBR_NAK_INVALID : PBR_NAK_OPERATION;
}

/* Complete the receive of a message whose last packet has arrived. */
static u32 pbr_complete_message(struct pbr_qp *qp, const struct pbr_arrival *from)
{
	struct pbr_responder *in = &qp->wire->responder;

	in->taken = false;
	if (from->opcode == IB_WR_SEND_WITH_INV &&
	    pbr_invalidate(qp->dev, pbr_responder_pd(qp), qp->ib.qp_num, from->imm_data)) {
		pbr_complete_arrival(qp, from, &qp->wire->refs, IB_WC_REM_INV_REQ_ERR, 0);
		return PBR_NAK_INVALID;
	}
	pbr_complete_arrival(qp, from, &qp->wire->refs, IB_WC_SUCCESS, in->done);
	return PBR_DONE;
}

static u32 pbr_not_ready_syndrome(struct pbr_qp *qp)
{
	if (qp->ib.qp_type == IB_QPT_UC)
		return PBR_DROP;
	pbr_count(qp->dev, PBR_SENT_RNR);
	return PBR_AETH_RNR | (qp->attr.min_rnr_timer & 31);
}

static u32 pbr_execute_send(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_responder *in = &qp->wire->responder;
	struct pbr_refs *refs = &qp->wire->refs;
	struct pbr_arrival from;
	u32 status;
	int ret;

	if (packet->op & PBR_OP_FIRST) {
		if (!pbr_rq_take(qp))
			return pbr_not_ready_syndrome(qp);
		in->done = 0;
		in->taken = true;
	}
	pbr_arrival_of(qp, skb, packet, &from);
	/* Its receive may have room for more. */
	if (in->done + packet->len > PBR_MAX_MSG)
		return pbr_refuse_receive(qp, &from, IB_WC_LOC_LEN_ERR);
	status = pbr_recv_refs(qp, refs, in->done + packet->len);
	if (status == PBR_AGAIN)
		return PBR_ABSENT;
	if (status)
		return pbr_refuse_receive(qp, &from, status);
	ret = pbr_copy_in(refs, in->done, skb->data + packet->payload, packet->len,
			  packet->op & PBR_OP_LAST);
	pbr_refs_put(refs);
	if (ret == -EAGAIN)
		return PBR_ABSENT;
	if (ret)
		return pbr_refuse_receive(qp, &from, IB_WC_LOC_PROT_ERR);
	in->done += packet->len;
	if (!(packet->op & PBR_OP_LAST))
		return PBR_DONE;
	pbr_count_rcvd(qp->dev, in->done);
	return pbr_complete_message(qp, &from);
}

static u32 pbr_execute_write(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	const struct pbr_reth *reth = (const void *)(skb->data + packet->header);
	struct pbr_responder *in = &qp->wire->responder;
	struct pbr_arrival from;
	u32 syndrome;
	int ret;

	if (packet->op & PBR_OP_FIRST) {
		in->done = 0;
		in->addr = be64_to_cpu(reth->addr);
		in->rkey = be32_to_cpu(reth->rkey);
		in->len = be32_to_cpu(reth->len);
	}
	if (in->len > PBR_MAX_MSG || packet->len > in->len - in->done ||
	    (packet->op & PBR_OP_LAST && in->done + packet->len != in->len))
		return PBR_NAK_INVALID;
	syndrome = pbr_enter_remote(qp, IB_ACCESS_REMOTE_WRITE, in->addr, in->len, in->rkey);
	if (syndrome)
		return syndrome;
	/* Must be last: a failing request must not consume a receive. */
	if (packet->op & PBR_OP_IMM && !pbr_rq_take(qp)) {
		pbr_refs_put(&qp->wire->refs);
		return pbr_not_ready_syndrome(qp);
	}
	ret = pbr_copy_in(&qp->wire->refs, in->done, skb->data + packet->payload, packet->len,
			  packet->op & PBR_OP_LAST);
	pbr_refs_put(&qp->wire->refs);
	if (ret)
		return ret == -EAGAIN ? PBR_ABSENT : PBR_NAK_ACCESS;
	in->done += packet->len;
	if (packet->op & PBR_OP_LAST)
		pbr_count_rcvd(qp->dev, in->done);
	if (!(packet->op & PBR_OP_IMM))
		return PBR_DONE;
	pbr_arrival_of(qp, skb, packet, &from);
	return pbr_complete_message(qp, &from);
}

/* ---- reads, atomics, and flushes ---- */

/* A request was executed whose @nr responses acknowledge it. */
static void pbr_advance_responder(struct pbr_responder *in, u32 nr)
{
	in->msn = pbr_psn_add(in->msn, 1);
	in->psn = pbr_psn_add(in->psn, nr);
	in->ack_due = false;
}

/* Begin to answer a read, from @psn on. pbr_answer_read() adds the responses. */
static u32 pbr_begin_read(struct pbr_qp *qp, struct sk_buff *skb, u32 psn)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	const struct pbr_reth *reth = (const void *)(skb->data + packet->header);
	struct pbr_reading *read = &qp->wire->responder.read;
	u32 syndrome;

	if (!READ_ONCE(qp->attr.max_dest_rd_atomic) || be32_to_cpu(reth->len) > PBR_MAX_MSG)
		return PBR_NAK_INVALID;
	*read = (struct pbr_reading){
		.addr = be64_to_cpu(reth->addr),
		.len = be32_to_cpu(reth->len),
		.rkey = be32_to_cpu(reth->rkey),
		.srqn = packet->srqn,
		.psn = psn,
		.first = true,
	};
	/* Check the whole range before the first response. */
	syndrome = pbr_enter_remote(qp, IB_ACCESS_REMOTE_READ, read->addr, read->len, read->rkey);
	if (syndrome)
		return syndrome;
	pbr_refs_put(&qp->wire->refs);
	qp->wire->responder.reading = true;
	return PBR_DONE;
}

u32 pbr_answer_read(struct pbr_qp *qp)
{
	struct pbr_reading *read = &qp->wire->responder.read;
	u32 len = min_t(u64, read->len - read->done, qp->wire->mtu), header, syndrome;
	bool last = read->done + len == read->len;
	struct pbr_bth *bth;
	int ret = 0;
	u8 opcode;

	if (read->first)
		opcode = last ? IB_OPCODE_RDMA_READ_RESPONSE_ONLY :
				IB_OPCODE_RDMA_READ_RESPONSE_FIRST;
	else
		opcode = last ? IB_OPCODE_RDMA_READ_RESPONSE_LAST :
				IB_OPCODE_RDMA_READ_RESPONSE_MIDDLE;
	header = read->first || last ? sizeof(struct pbr_aeth) : 0;
	bth = pbr_train_add(qp->dev, &qp->wire->path, &qp->wire->in, header, len,
			    pbr_packet_bytes(read->len - read->done - len, qp->wire->mtu));
	if (pbr_xrc_begin(qp, read->srqn)) {
		syndrome = pbr_enter_remote(qp, IB_ACCESS_REMOTE_READ, read->addr, read->len,
					    read->rkey);
		if (!syndrome && bth)
			ret = pbr_copy_out(&qp->wire->refs, read->done, (void *)(bth + 1) + header,
					   len);
		pbr_refs_put(&qp->wire->refs);
		pbr_xrc_end(qp);
	} else {
		syndrome = PBR_NO_SRQ;
	}
	if (ret)
		syndrome = ret == -EAGAIN ? PBR_ABSENT : PBR_NAK_ACCESS;
	if (syndrome) {
		if (bth)
			pbr_train_undo(&qp->wire->in);
		return syndrome;
	}
	if (bth)
		pbr_response_fill(qp, bth, opcode, read->psn, PBR_ACK_SYNDROME, header, len);
	read->done += len;
	read->psn = pbr_psn_add(read->psn, 1);
	read->first = false;
	if (last) {
		qp->wire->responder.reading = false;
		pbr_count_sent(qp->dev, read->len);
	}
	return PBR_DONE;
}

static void pbr_answer_atomic(struct pbr_qp *qp, u32 psn, u64 value)
{
	u32 header = sizeof(struct pbr_aeth) + sizeof(__be64);
	struct sk_buff *skb;
	__be64 old = cpu_to_be64(value);

	skb = pbr_response_alloc(qp, IB_OPCODE_ATOMIC_ACKNOWLEDGE, psn, PBR_ACK_SYNDROME, header,
				 0);
	if (skb)
		memcpy(pbr_packet_header(skb) + sizeof(struct pbr_aeth), &old, sizeof(old));
	pbr_respond(qp, skb);
}

static u32 pbr_execute_atomic(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	const struct pbr_atomic_eth *eth = (const void *)(skb->data + packet->header);
	bool swap = (packet->opcode & 0x1f) == IB_OPCODE_COMPARE_SWAP;
	struct pbr_responder *in = &qp->wire->responder;
	u64 addr = be64_to_cpu(eth->addr), value, add_compare;
	u32 syndrome;
	int ret;

	if (addr & 7 || !READ_ONCE(qp->attr.max_dest_rd_atomic))
		return PBR_NAK_INVALID;
	syndrome = pbr_enter_remote(qp, IB_ACCESS_REMOTE_ATOMIC, addr, sizeof(u64),
				    be32_to_cpu(eth->rkey));
	if (syndrome)
		return syndrome;
	add_compare = be64_to_cpu(swap ? eth->compare : eth->swap_add);
	ret = pbr_atomic(qp->dev, &qp->wire->refs, swap, add_compare, be64_to_cpu(eth->swap_add),
			 &value);
	pbr_refs_put(&qp->wire->refs);
	if (ret)
		return ret == -EAGAIN ? PBR_ABSENT : PBR_NAK_OPERATION;
	in->saved[in->next_saved++ % PBR_MAX_RD_ATOM] = (struct pbr_saved){ .psn = packet->psn,
									    .valid = true,
									    .value = value };
	pbr_advance_responder(in, 1);
	pbr_answer_atomic(qp, packet->psn, value);
	pbr_count_sent(qp->dev, sizeof(value));
	return PBR_DONE;
}

/* Answer a flush or an atomic write, as a read of no bytes. */
static void pbr_answer_empty(struct pbr_qp *qp, u32 psn)
{
	pbr_respond_empty(qp, IB_OPCODE_RDMA_READ_RESPONSE_ONLY, psn, PBR_ACK_SYNDROME);
}

static u32 pbr_write_atomically(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	const struct pbr_reth *reth = (const void *)(skb->data + packet->header);
	u64 addr = be64_to_cpu(reth->addr), value;
	u32 syndrome;
	int ret;

	if (addr & 7 || packet->len != sizeof(u64) || be32_to_cpu(reth->len) != sizeof(u64) ||
	    !READ_ONCE(qp->attr.max_dest_rd_atomic))
		return PBR_NAK_INVALID;
	syndrome = pbr_enter_remote(qp, IB_ACCESS_REMOTE_WRITE, addr, sizeof(u64),
				    be32_to_cpu(reth->rkey));
	if (syndrome)
		return syndrome;
	memcpy(&value, skb->data + packet->payload, sizeof(value));
	ret = pbr_atomic_write(qp->dev, &qp->wire->refs, value);
	pbr_refs_put(&qp->wire->refs);
	if (ret)
		return ret == -EAGAIN ? PBR_ABSENT : PBR_NAK_OPERATION;
	pbr_count_rcvd(qp->dev, sizeof(value));
	return PBR_DONE;
}

static u32 pbr_flush_memory(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	const struct pbr_feth *feth = (const void *)(skb->data + packet->header);
	const struct pbr_reth *reth = (const void *)(feth + 1);
	u32 value = be32_to_cpu(feth->value), rkey = be32_to_cpu(reth->rkey), syndrome;
	u64 addr = be64_to_cpu(reth->addr), len = be32_to_cpu(reth->len);
	u32 type = value & PBR_FETH_TYPE, level = PBR_FETH_LEVEL(value);
	int ret;

	if (!pbr_flush_is_valid(type, level))
		return PBR_NAK_INVALID;
	pbr_flush_range(qp->dev, level, rkey, &addr, &len);
	syndrome = pbr_enter_remote(qp, pbr_flush_access(type), addr, len, rkey);
	if (syndrome)
		return syndrome;
	ret = pbr_refs_flush(&qp->wire->refs);
	pbr_refs_put(&qp->wire->refs);
	if (ret)
		return ret == -EAGAIN ? PBR_ABSENT : PBR_NAK_ACCESS;
	return PBR_DONE;
}

static u32 pbr_execute_empty(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	u32 ret;

	ret = packet->op & PBR_OP_FLUSH ? pbr_flush_memory(qp, skb) : pbr_write_atomically(qp, skb);
	if (ret != PBR_DONE)
		return ret;
	pbr_advance_responder(&qp->wire->responder, 1);
	pbr_answer_empty(qp, packet->psn);
	return PBR_DONE;
}

/* ---- requests ---- */

/* Return a NAK's syndrome, PBR_DONE, PBR_DROP or PBR_ABSENT. */
static u32 pbr_execute_packet(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_responder *in = &qp->wire->responder;
	u16 kind = packet->op & (PBR_OP_SEND | PBR_OP_WRITE);
	const struct pbr_reth *reth;
	u32 ret;

	/* A message is continued by packets of its kind, and only then. */
	if (packet->op & PBR_OP_FIRST ? in->op : kind != in->op)
		return PBR_NAK_INVALID;
	/* All packets but the last are full. */
	if (packet->op & PBR_OP_PAYLOAD &&
	    (packet->op & PBR_OP_LAST ? packet->len > qp->wire->mtu : packet->len != qp->wire->mtu))
		return PBR_NAK_INVALID;
	if (packet->op & PBR_OP_ATOMIC)
		return pbr_execute_atomic(qp, skb);
	if (packet->op & PBR_OP_EMPTY)
		return pbr_execute_empty(qp, skb);
	if (packet->op & PBR_OP_READ) {
		ret = pbr_begin_read(qp, skb, packet->psn);
		if (ret != PBR_DONE)
			return ret;
		reth = (const void *)(skb->data + packet->header);
		pbr_advance_responder(in, pbr_packets(be32_to_cpu(reth->len), qp->wire->mtu));
		return PBR_DONE;
	}
	ret = packet->op & PBR_OP_SEND ? pbr_execute_send(qp, skb) : pbr_execute_write(qp, skb);
	if (ret != PBR_DONE)
		return ret;
	in->op = packet->op & PBR_OP_LAST ? 0 : kind;
	in->psn = pbr_psn_add(packet->psn, 1);
	if (packet->op & PBR_OP_LAST)
		in->msn = pbr_psn_add(in->msn, 1);
	in->ack_due |= packet->ack_req && pbr_is_reliable(qp);
	return PBR_DONE;
}

/* Of an XRC target: with the shared receive queue that the packet names. */
static u32 pbr_execute_xrc(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_responder *in = &qp->wire->responder;
	u32 ret = PBR_NO_SRQ;

	/* A message is for one queue. */
	if (in->op && packet->srqn != in->srqn)
		return PBR_NAK_INVALID;
	if (!pbr_xrc_begin(qp, packet->srqn))
		return PBR_NO_SRQ;
	in->srqn = packet->srqn;
	if (pbr_xrc_holds_other(qp))
		pbr_flush_held(qp);
	/* A message that has begun loses its receive if another queue has the number now. */
	if (in->op != PBR_OP_SEND || qp->held)
		ret = pbr_execute_packet(qp, skb);
	pbr_xrc_end(qp);
	return ret;
}

u32 pbr_execute(struct pbr_qp *qp, struct sk_buff *skb)
{
	return pbr_is_xrc_target(qp) ? pbr_execute_xrc(qp, skb) : pbr_execute_packet(qp, skb);
}

bool pbr_execute_again(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_responder *in = &qp->wire->responder;
	const struct pbr_reth *reth;
	bool present = true;
	unsigned int i;

	if (packet->op & PBR_OP_ATOMIC) {
		for (i = 0; i < PBR_MAX_RD_ATOM; i++)
			if (in->saved[i].valid && in->saved[i].psn == packet->psn) {
				pbr_answer_atomic(qp, packet->psn, in->saved[i].value);
				return true;
			}
		return true;
	}
	if (packet->op & PBR_OP_EMPTY) {
		pbr_answer_empty(qp, packet->psn);
		return true;
	}
	if (!(packet->op & PBR_OP_READ)) {
		in->ack_due |= packet->ack_req;
		return true;
	}
	/* A replay does not extend beyond what was executed. */
	reth = (const void *)(skb->data + packet->header);
	if ((int)pbr_packets(be32_to_cpu(reth->len), qp->wire->mtu) >
	    pbr_psn_diff(in->psn, packet->psn))
		return true;
	if (pbr_xrc_begin(qp, packet->srqn)) {
		present = pbr_begin_read(qp, skb, packet->psn) != PBR_ABSENT;
		pbr_xrc_end(qp);
	}
	return present;
}
