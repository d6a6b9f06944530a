// SPDX-License-Identifier: GPL-2.0
/* Datagrams to and from other hosts, of UD and GSI queue pairs. */
#include <linux/ip.h>
#include <net/ipv6.h>

#include "ah.h"
#include "wire.h"

/* ---- sending ---- */

u32 pbr_wire_send_datagram(struct pbr_qp *qp, const struct pbr_av *av, u32 qpn)
{
	const struct peerbar_sqe *sqe = qp->sqe;
	bool imm = sqe->opcode == IB_WR_SEND_WITH_IMM;
	u32 len = qp->src->total - PBR_GRH_BYTES, qkey = sqe->ud.remote_qkey;
	u32 header = sizeof(struct pbr_deth) + (imm ? sizeof(sqe->imm_data) : 0);
	struct pbr_route route = {};
	struct pbr_deth *deth;
	struct pbr_path path;
	struct sk_buff *skb;
	int ret;

	/* Allocate first: a task inside a region does not. */
	skb = pbr_packet_alloc(header, len);
	ret = pbr_refs_get(qp->src);
	if (!ret && skb)
		ret = pbr_copy_out(qp->src, PBR_GRH_BYTES, pbr_packet_header(skb) + header, len);
	pbr_refs_put(qp->src);
	/* The caller makes the memory present. */
	if (ret == -EAGAIN) {
		kfree_skb(skb);
		return PBR_AGAIN;
	}
	if (ret || !skb) {
		kfree_skb(skb);
		pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
		return ret ? IB_WC_LOC_PROT_ERR : IB_WC_SUCCESS;
	}
	deth = pbr_packet_header(skb);
	/* A Q_Key with this bit is privileged: use the queue pair's own instead. */
	deth->qkey = cpu_to_be32(qkey & BIT(31) ? qp->attr.qkey : qkey);
	deth->src_qp = cpu_to_be32(qp->ib.qp_num);
	if (imm)
		memcpy(deth + 1, &sqe->imm_data, sizeof(sqe->imm_data));
	pbr_bth_fill((struct pbr_bth *)skb->data,
		     imm ? IB_OPCODE_UD_SEND_ONLY_WITH_IMMEDIATE : IB_OPCODE_UD_SEND_ONLY, qpn,
		     qp->datagram_psn, -len & 3, sqe->flags & IB_SEND_SOLICITED, false);
	qp->datagram_psn = pbr_psn_add(qp->datagram_psn, 1);
	path = (struct pbr_path){
		.sgid = av->sgid,
		.dgid = av->dgid,
		.ifindex = av->ifindex,
		.flow_label = av->flow_label,
		.sport = rdma_get_udp_sport(av->flow_label, qp->ib.qp_num, qpn),
		.hop_limit = av->hop_limit ?: IPDEFTTL,
		.traffic_class = av->traffic_class,
		.ipv6 = !ipv6_addr_v4mapped((const struct in6_addr *)&av->sgid),
	};
	pbr_packet_send(qp->dev, &path, &route, skb);
	pbr_route_drop(&route);
	pbr_count_sent(qp->dev, len);
	return IB_WC_SUCCESS;
}

/* ---- receiving ---- */

/* The header of IPv6 as it is; that of IPv4 in the last 20 bytes. */
static void pbr_grh_of(const struct sk_buff *skb, union rdma_network_hdr *grh)
{
	memset(grh, 0, sizeof(*grh));
	if (skb->protocol == htons(ETH_P_IPV6))
		memcpy(&grh->ibgrh, ipv6_hdr(skb), sizeof(grh->ibgrh));
	else
		memcpy(&grh->roce4grh, ip_hdr(skb), sizeof(grh->roce4grh));
}

void pbr_wire_deliver(struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	const struct pbr_deth *deth = (const struct pbr_deth *)(skb->data + packet->header);
	struct pbr_refs *refs = &qp->wire->refs;
	struct pbr_arrival from = {
		.opcode = packet->op & PBR_OP_IMM ? IB_WR_SEND_WITH_IMM : IB_WR_SEND,
		.src_qp = be32_to_cpu(deth->src_qp) & PBR_PSN_MASK,
		.solicited = packet->solicited,
		.ipv6 = packet->ipv6,
		.vlan_id = packet->vlan_id,
	};
	u32 len = packet->len + PBR_GRH_BYTES, status;
	union rdma_network_hdr grh;
	int ret;

	if (!pbr_rq_take(qp)) {
		pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
		return;
	}
	if (packet->op & PBR_OP_IMM)
		memcpy(&from.imm_data, deth + 1, sizeof(from.imm_data));
	pbr_grh_of(skb, &grh);
	status = pbr_recv_refs(qp, refs, len);
	if (!status) {
		ret = pbr_copy_in(refs, 0, &grh, sizeof(grh), false) ?:
			pbr_copy_in(refs, sizeof(grh), skb->data + packet->payload, packet->len,
				    true);
		status = ret == -EAGAIN ? PBR_AGAIN : ret ? IB_WC_LOC_PROT_ERR : IB_WC_SUCCESS;
		pbr_refs_put(refs);
	}
	if (status == PBR_AGAIN)
		return;
	if (status)
		pbr_count(qp->dev, PBR_DROPPED_MESSAGES);
	else
		pbr_count_rcvd(qp->dev, packet->len);
	/* Drop a message that is too long, and keep the receive. */
	if (status == IB_WC_LOC_LEN_ERR)
		return;
	pbr_complete_arrival(qp, &from, refs, status, status ? 0 : len);
	if (status)
		pbr_qp_error(qp, 0);
}
