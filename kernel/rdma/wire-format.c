// SPDX-License-Identifier: GPL-2.0
/* The format of RoCE v2 packets: opcodes, headers, and the invariant CRC. */
#include <linux/crc32.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <net/inet_ecn.h>

#include "wire.h"

#define OP_FIRST  PBR_OP_FIRST
#define OP_LAST	  PBR_OP_LAST
#define OP_ONLY	  (OP_FIRST | OP_LAST)
#define OP_SEND	  (PBR_OP_SEND | PBR_OP_PAYLOAD)
#define OP_WRITE  (PBR_OP_WRITE | PBR_OP_PAYLOAD)
#define OP_READ	  PBR_OP_READ
#define OP_ANSWER (PBR_OP_READ | PBR_OP_RESPONSE | PBR_OP_PAYLOAD)
#define OP_IMM	  PBR_OP_IMM
#define OP_INV	  PBR_OP_INV
#define RETH	  sizeof(struct pbr_reth)
#define AETH	  sizeof(struct pbr_aeth)
#define FETH	  sizeof(struct pbr_feth)
#define ATOMIC	  sizeof(struct pbr_atomic_eth)
#define WORD	  sizeof(__be32)

/* Opcodes of RC and XRC; those up to IB_OPCODE_RDMA_WRITE_ONLY_WITH_IMMEDIATE are of UC, too. */
static const struct pbr_op pbr_ops[] = {
	[IB_OPCODE_SEND_FIRST] = { OP_SEND | OP_FIRST },
	[IB_OPCODE_SEND_MIDDLE] = { OP_SEND },
	[IB_OPCODE_SEND_LAST] = { OP_SEND | OP_LAST },
	[IB_OPCODE_SEND_LAST_WITH_IMMEDIATE] = { OP_SEND | OP_LAST | OP_IMM, WORD },
	[IB_OPCODE_SEND_ONLY] = { OP_SEND | OP_ONLY },
	[IB_OPCODE_SEND_ONLY_WITH_IMMEDIATE] = { OP_SEND | OP_ONLY | OP_IMM, WORD },
	[IB_OPCODE_RDMA_WRITE_FIRST] = { OP_WRITE | OP_FIRST, RETH },
	[IB_OPCODE_RDMA_WRITE_MIDDLE] = { OP_WRITE },
	[IB_OPCODE_RDMA_WRITE_LAST] = { OP_WRITE | OP_LAST },
	[IB_OPCODE_RDMA_WRITE_LAST_WITH_IMMEDIATE] = { OP_WRITE | OP_LAST | OP_IMM, WORD },
	[IB_OPCODE_RDMA_WRITE_ONLY] = { OP_WRITE | OP_ONLY, RETH },
	[IB_OPCODE_RDMA_WRITE_ONLY_WITH_IMMEDIATE] = { OP_WRITE | OP_ONLY | OP_IMM, RETH + WORD },
	[IB_OPCODE_RDMA_READ_REQUEST] = { OP_READ | OP_ONLY, RETH },
	[IB_OPCODE_RDMA_READ_RESPONSE_FIRST] = { OP_ANSWER | OP_FIRST, AETH },
	[IB_OPCODE_RDMA_READ_RESPONSE_MIDDLE] = { OP_ANSWER },
	[IB_OPCODE_RDMA_READ_RESPONSE_LAST] = { OP_ANSWER | OP_LAST, AETH },
	[IB_OPCODE_RDMA_READ_RESPONSE_ONLY] = { OP_ANSWER | OP_ONLY, AETH },
	[IB_OPCODE_ACKNOWLEDGE] = { PBR_OP_ACK | PBR_OP_RESPONSE, AETH },
	[IB_OPCODE_ATOMIC_ACKNOWLEDGE] = { PBR_OP_ATOMIC | PBR_OP_RESPONSE, AETH + sizeof(u64) },
	[IB_OPCODE_COMPARE_SWAP] = { PBR_OP_ATOMIC | OP_ONLY, ATOMIC },
	[IB_OPCODE_FETCH_ADD] = { PBR_OP_ATOMIC | OP_ONLY, ATOMIC },
	[IB_OPCODE_SEND_LAST_WITH_INVALIDATE] = { OP_SEND | OP_LAST | OP_INV, WORD },
	[IB_OPCODE_SEND_ONLY_WITH_INVALIDATE] = { OP_SEND | OP_ONLY | OP_INV, WORD },
	[IB_OPCODE_FLUSH] = { PBR_OP_FLUSH | OP_ONLY, FETH + RETH },
	[IB_OPCODE_ATOMIC_WRITE] = { PBR_OP_ATOMIC_WRITE | OP_ONLY | PBR_OP_PAYLOAD, RETH },
};

struct pbr_op pbr_op_of(u8 opcode)
{
	struct pbr_op none = {}, op;
	u8 transport = opcode & 0xe0;

	if (opcode == PBR_OPCODE_CNP)
		return (struct pbr_op){ PBR_OP_CNP | PBR_OP_RESPONSE, PBR_CNP_BYTES };
	opcode &= 0x1f;
	if (opcode >= ARRAY_SIZE(pbr_ops))
		return none;
	op = pbr_ops[opcode];
	switch (transport) {
	case IB_OPCODE_RC:
		return op;
	case PBR_OPCODE_XRC:
		if (!op.flags || op.flags & PBR_OP_RESPONSE)
			return op;
		op.flags |= PBR_OP_XRC;
		op.header += sizeof(struct pbr_xrceth);
		return op;
	case IB_OPCODE_UC:
		return opcode <= IB_OPCODE_RDMA_WRITE_ONLY_WITH_IMMEDIATE ? op : none;
	case IB_OPCODE_UD:
		if (opcode != IB_OPCODE_SEND_ONLY && opcode != IB_OPCODE_SEND_ONLY_WITH_IMMEDIATE)
			return none;
		op.header += sizeof(struct pbr_deth);
		return op;
	default:
		return none;
	}
}

/* Whether a router marked the packet. It does so only if the sender's traffic class permits. */
static bool pbr_is_marked(const struct sk_buff *skb)
{
	return INET_ECN_is_ce(skb->protocol == htons(ETH_P_IP) ? ip_hdr(skb)->tos :
								 ipv6_get_dsfield(ipv6_hdr(skb)));
}

bool pbr_packet_parse(struct sk_buff *skb)
{
	struct pbr_packet *packet = pbr_packet_of(skb);
	const struct pbr_bth *bth = (const struct pbr_bth *)skb->data;
	unsigned int pad, overhead;
	struct pbr_op op;

	if (skb->len < sizeof(*bth) + PBR_ICRC_BYTES)
		return false;
	op = pbr_op_of(bth->opcode);
	pad = bth->flags >> 4 & 3;
	overhead = sizeof(*bth) + op.header + pad + PBR_ICRC_BYTES;
	/* The version is 0. A packet is a number of words, by its padding. */
	if (!op.flags || bth->flags & 0xf || skb->len < overhead || skb->len & 3)
		return false;
	*packet = (struct pbr_packet){
		.psn = be32_to_cpu(bth->psn) & PBR_PSN_MASK,
		.qpn = be32_to_cpu(bth->qpn) & PBR_PSN_MASK,
		.op = op.flags,
		.header = sizeof(*bth),
		.payload = sizeof(*bth) + op.header,
		.len = skb->len - overhead,
		.opcode = bth->opcode,
		.solicited = bth->flags & PBR_BTH_SOLICITED,
		.ack_req = be32_to_cpu(bth->psn) & PBR_BTH_ACK_REQ,
		.ipv6 = skb->protocol == htons(ETH_P_IPV6),
		.marked = pbr_is_marked(skb),
		.vlan_id = pbr_vlan_of(skb->dev),
	};
	if (op.flags & PBR_OP_XRC) {
		const struct pbr_xrceth *xrc = (const void *)(bth + 1);

		packet->srqn = be32_to_cpu(xrc->srqn) & 0xffffff;
		packet->header += sizeof(*xrc);
	}
	return packet->len <= ib_mtu_enum_to_int(IB_MTU_4096) &&
		(op.flags & PBR_OP_PAYLOAD || (!packet->len && !pad));
}

/* The CRC of 8 bytes of ones, which stand for the InfiniBand header that RoCE lacks */
#define PBR_ICRC_SEED 0xdebb20e3

__le32 pbr_icrc(const struct sk_buff *skb, const void *bth, u32 len, u32 n)
{
	struct udphdr udp = *udp_hdr(skb);
	struct pbr_bth header;
	u32 crc;

	/* Fields that routers change count as ones. */
	if (skb->protocol == htons(ETH_P_IP)) {
		struct iphdr ip = *ip_hdr(skb);

		ip.tos = 0xff;
		ip.ttl = 0xff;
		ip.check = (__force __sum16)0xffff;
		if (skb_is_gso(skb)) {
			ip.tot_len = htons(sizeof(ip) + sizeof(udp) + len);
			ip.id = htons(ntohs(ip.id) + n);
		}
		crc = crc32_le(PBR_ICRC_SEED, &ip, sizeof(ip));
	} else {
		struct ipv6hdr ip = *ipv6_hdr(skb);

		ip.priority = 0xf;
		memset(ip.flow_lbl, 0xff, sizeof(ip.flow_lbl));
		ip.hop_limit = 0xff;
		if (skb_is_gso(skb))
			ip.payload_len = htons(sizeof(udp) + len);
		crc = crc32_le(PBR_ICRC_SEED, &ip, sizeof(ip));
	}
	udp.check = (__force __sum16)0xffff;
	if (skb_is_gso(skb))
		udp.len = htons(sizeof(udp) + len);
	crc = crc32_le(crc, &udp, sizeof(udp));
	memcpy(&header, bth, sizeof(header));
	header.qpn |= cpu_to_be32(0xff000000);
	crc = crc32_le(crc, &header, sizeof(header));
	crc = crc32_le(crc, bth + sizeof(header), len - sizeof(header) - PBR_ICRC_BYTES);
	return cpu_to_le32(~crc);
}

void pbr_bth_fill(struct pbr_bth *bth, u8 opcode, u32 qpn, u32 psn, u32 pad, bool solicited,
		  bool ack_req)
{
	bth->opcode = opcode;
	bth->flags = PBR_BTH_MIGRATED | PBR_BTH_PAD(pad) | (solicited ? PBR_BTH_SOLICITED : 0);
	bth->pkey = cpu_to_be16(IB_DEFAULT_PKEY_FULL);
	bth->qpn = cpu_to_be32(qpn);
	bth->psn = cpu_to_be32(psn | (ack_req ? PBR_BTH_ACK_REQ : 0));
}
