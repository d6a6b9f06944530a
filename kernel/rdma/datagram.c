// SPDX-License-Identifier: GPL-2.0
/* Datagrams, of UD and GSI queue pairs: to one receiver, or to a multicast group. */
#include <linux/ip.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <rdma/ib_addr.h>
#include <rdma/ib_mad.h>

#include "ah.h"
#include "send.h"
#include "wire.h"

/* Make the header that a message from the wire would have. */
static void pbr_make_grh(union rdma_network_hdr *hdr, const struct pbr_av *av, u32 len)
{
	u32 payload = len + 8 + 12 + 8 + 4; /* UDP, BTH, DETH, ICRC */

	memset(hdr, 0, sizeof(*hdr));
	if (ipv6_addr_v4mapped((const struct in6_addr *)&av->dgid)) {
		hdr->roce4grh = (struct iphdr){
			.version = 4,
			.ihl = 5,
			.tos = av->traffic_class,
			.tot_len = htons(payload + sizeof(struct iphdr)),
			.ttl = av->hop_limit,
			.protocol = IPPROTO_UDP,
		};
		memcpy(&hdr->roce4grh.saddr, av->sgid.raw + 12, 4);
		memcpy(&hdr->roce4grh.daddr, av->dgid.raw + 12, 4);
		hdr->roce4grh.check = ip_fast_csum(&hdr->roce4grh, hdr->roce4grh.ihl);
		return;
	}
	hdr->ibgrh.version_tclass_flow = cpu_to_be32(6 << 28 | av->traffic_class << 20);
	hdr->ibgrh.paylen = htons(payload);
	hdr->ibgrh.next_hdr = IPPROTO_UDP;
	hdr->ibgrh.hop_limit = av->hop_limit;
	hdr->ibgrh.sgid = av->sgid;
	hdr->ibgrh.dgid = av->dgid;
}

static bool pbr_takes_datagram(struct pbr_qp *peer, struct pbr_qp *qp)
{
	u32 qkey = qp->sqe->ud.remote_qkey;

	if (!pbr_is_datagram(peer) || !pbr_answers(peer))
		return false;
	/* A Q_Key with this bit is privileged: use the queue pair's own instead. */
	if (qkey & BIT(31))
		qkey = qp->attr.qkey;
	return qkey == (peer->ib.qp_type == IB_QPT_GSI ? IB_QP1_QKEY : READ_ONCE(peer->attr.qkey));
}

/* Deliver a datagram, or drop it. Only errors in the sender's memory fail the sender's request. */
static u32 pbr_deliver(struct pbr_qp *qp, struct pbr_qp *peer, u64 len)
{
	struct pbr_refs *who = NULL;
	u32 status;
	u64 at = 0;
	int ret;

	guard(mutex)(&peer->rq_lock);
	/* Enter the source for one receiver at a time: a revoke must not wait for a whole group. */
	status = pbr_refs_enter(qp->src, IB_WC_LOC_PROT_ERR);
	if (status)
		return status;
	if (!pbr_takes_datagram(peer, qp) || !pbr_rq_take(peer)) {
		pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
		ibdev_dbg(&qp->dev->ib,
			  "qp %u: dropped a datagram for qp %u, which has another Q_Key, another type or state, or no receive\n",
			  qp->ib.qp_num, peer->ib.qp_num);
		pbr_refs_put(qp->src);
		return IB_WC_SUCCESS;
	}
	status = pbr_recv_refs(peer, qp->dst, len);
	if (!status) {
		ret = pbr_copy(qp->dst, qp->src, &at, len, &who);
		if (ret)
			status = ret == -EAGAIN ? PBR_AGAIN : IB_WC_LOC_PROT_ERR;
		pbr_refs_put(qp->dst);
	}
	pbr_refs_put(qp->src);
	/* A fault: keep the receive. */
	if (status == PBR_AGAIN || (status == IB_WC_LOC_PROT_ERR && who == qp->src))
		return status;
	if (status)
		pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
	else
		pbr_count_message(qp->dev, peer->dev, len - PBR_GRH_BYTES);
	/* Drop a message that is too long, and keep the receive; pbr_recv_refs() logs it. */
	if (status == IB_WC_LOC_LEN_ERR)
		return IB_WC_SUCCESS;
	pbr_complete_recv(peer, qp, status, status ? 0 : len);
	if (status)
		pbr_qp_error(peer, 0);
	return IB_WC_SUCCESS;
}

/* Without a receiver, only the sender's keys are checked. */
static u32 pbr_deliver_to(struct pbr_qp *qp, struct pbr_qp *peer)
{
	u32 status;

	if (!peer) {
		status = pbr_refs_enter(qp->src, IB_WC_LOC_PROT_ERR);
		if (!status)
			pbr_refs_put(qp->src);
		return status;
	}
	status = pbr_deliver(qp, peer, qp->src->total);
	pbr_qp_put(peer);
	return status;
}

/* Number of members looked at in one pass */
#define PBR_MCAST_PASS 256

/* Whether a packet can have both addresses. */
static bool pbr_same_family(const union ib_gid *a, const union ib_gid *b)
{
	return ipv6_addr_v4mapped((const struct in6_addr *)a) ==
		ipv6_addr_v4mapped((const struct in6_addr *)b);
}

/* Deliver to all members of the group except the sender: one packet for those on other hosts. */
static u32 pbr_do_multicast(struct pbr_qp *qp, const struct pbr_av *av)
{
	unsigned int budget = PBR_MCAST_PASS;
	u32 status = IB_WC_SUCCESS, before;
	struct pbr_qp *peer;

	if (!qp->progress) {
		qp->after = 0;
		if (pbr_wire_is_up(qp->dev) && pbr_same_family(&av->sgid, &av->dgid))
			status = pbr_wire_send_datagram(qp, av, PBR_MCAST_QPN);
		else
			status = pbr_deliver_to(qp, NULL);
		/* Transmit it once, also if the memory of a member is absent. */
		if (!status)
			qp->progress = 1;
	}
	while (!status) {
		cond_resched();
		before = qp->after;
		peer = pbr_mcast_next(qp->dev->net, NULL, &av->dgid, &qp->after, &budget);
		if (!peer)
			break;
		qp->progress += qp->src->total;
		if (peer == qp)
			pbr_qp_put(peer);
		else
			status = pbr_deliver_to(qp, peer);
		if (status == PBR_AGAIN) {
			/* A fault: continue with this member. */
			qp->after = before;
			qp->progress -= qp->src->total;
		} else {
			qp->dst->fault_failed = false;
		}
	}
	return status || budget ? status : PBR_AGAIN;
}

u32 pbr_do_ud(struct pbr_qp *qp)
{
	const struct peerbar_sqe *sqe = qp->sqe;
	struct pbr_av av;
	struct pbr_qp *peer;
	u32 status, target;

	if (sqe->opcode != IB_WR_SEND && sqe->opcode != IB_WR_SEND_WITH_IMM)
		return pbr_bad_opcode(qp);
	if (!qp->user)
		av = *((const struct pbr_kernel_sqe *)qp->entry)->av;
	else if (pbr_av_get(qp->dev, qp->ib.pd, sqe->ud.ahn, &av))
		return IB_WC_LOC_QP_OP_ERR;
	pbr_refs_init(qp->src, qp, qp->ib.pd, 0);
	pbr_refs_add_va(qp->src, &qp->grh, PBR_GRH_BYTES);
	status = pbr_local_refs(qp, qp->src, 0);
	if (status)
		return status;
	/* Messages are not split into packets. */
	if (qp->src->total > ib_mtu_enum_to_int(READ_ONCE(qp->dev->active_mtu)) + PBR_GRH_BYTES)
		return pbr_fail(&qp->dev->ib, IB_WC_LOC_LEN_ERR,
				"qp %u: a datagram of %llu bytes; the MTU permits %d",
				qp->ib.qp_num, qp->src->total - PBR_GRH_BYTES,
				ib_mtu_enum_to_int(READ_ONCE(qp->dev->active_mtu)));
	qp->sl = av.sl;
	qp->vlan_id = av.vlan_id;
	pbr_make_grh(&qp->grh, &av, qp->src->total - PBR_GRH_BYTES);
	if (rdma_is_multicast_addr((struct in6_addr *)&av.dgid))
		return pbr_do_multicast(qp, &av);
	/* Look up again: the target may have been created after the address handle. */
	target = av.target ?: pbr_find_device(qp->dev, &av.dgid, av.dmac);
	if (!target && pbr_wire_is_up(qp->dev))
		return pbr_wire_send_datagram(qp, &av, sqe->ud.remote_qpn & PBR_PSN_MASK);
	peer = pbr_peer_get(target, sqe->ud.remote_qpn);
	status = pbr_deliver_to(qp, peer);
	if (!peer && status == IB_WC_SUCCESS) {
		pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
		ibdev_dbg(&qp->dev->ib,
			  "qp %u: dropped a datagram for qp %u of %pI6c: there is none, or it is not ready to receive\n",
			  qp->ib.qp_num, sqe->ud.remote_qpn, av.dgid.raw);
	}
	return status;
}
