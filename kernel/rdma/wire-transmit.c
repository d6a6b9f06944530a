// SPDX-License-Identifier: GPL-2.0
/* Transmission of packets: paths, routes, and the headers of IP and UDP. */
#include <linux/ip.h>
#include <linux/netdevice.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp.h>
#include <rdma/ib_addr.h>
#include <rdma/ib_cache.h>

#include "wire.h"

void pbr_path_init(struct pbr_path *path, const struct rdma_ah_attr *attr, u32 qpn, u32 peer)
{
	const struct ib_global_route *grh = rdma_ah_read_grh(attr);
	struct net_device *ndev;

	*path = (struct pbr_path){
		.sgid = grh->sgid_attr->gid,
		.dgid = grh->dgid,
		.flow_label = grh->flow_label,
		.sport = rdma_get_udp_sport(grh->flow_label, qpn, peer),
		.hop_limit = grh->hop_limit ?: IPDEFTTL,
		.traffic_class = grh->traffic_class,
		.ipv6 = !ipv6_addr_v4mapped((const struct in6_addr *)&grh->sgid_attr->gid),
	};
	guard(rcu)();
	ndev = rdma_read_gid_attr_ndev_rcu(grh->sgid_attr);
	if (!IS_ERR(ndev))
		path->ifindex = ndev->ifindex;
}

/* ---- routes ---- */

static __be32 pbr_ipv4_of(const union ib_gid *gid)
{
	__be32 addr;

	memcpy(&addr, gid->raw + 12, sizeof(addr));
	return addr;
}

static struct dst_entry *pbr_find_route4(struct net *net, const struct pbr_path *path)
{
	struct flowi4 fl = {
		.flowi4_oif = path->ifindex,
		.flowi4_proto = IPPROTO_UDP,
		.saddr = pbr_ipv4_of(&path->sgid),
		.daddr = pbr_ipv4_of(&path->dgid),
	};
	struct rtable *rt = ip_route_output_key(net, &fl);

	return IS_ERR(rt) ? NULL : &rt->dst;
}

static struct dst_entry *pbr_find_route6(struct net *net, const struct pbr_path *path)
{
#if IS_ENABLED(CONFIG_IPV6)
	struct flowi6 fl = {
		.flowi6_oif = path->ifindex,
		.flowi6_proto = IPPROTO_UDP,
	};
	struct dst_entry *dst;

	memcpy(&fl.saddr, &path->sgid, sizeof(fl.saddr));
	memcpy(&fl.daddr, &path->dgid, sizeof(fl.daddr));
	dst = ip6_route_output(net, NULL, &fl);
	if (!dst->error)
		return dst;
	dst_release(dst);
#endif
	return NULL;
}

void pbr_route_drop(struct pbr_route *route)
{
	dst_release(route->dst);
	route->dst = NULL;
}

/* The route, with a reference; NULL if there is none. */
static struct dst_entry *pbr_route_get(struct net *net, const struct pbr_path *path,
				       struct pbr_route *route)
{
	struct dst_entry *dst = route->dst;

	if (dst && dst_check(dst, route->cookie))
		return dst_clone(dst);
	pbr_route_drop(route);
	dst = path->ipv6 ? pbr_find_route6(net, path) : pbr_find_route4(net, path);
	if (!dst)
		return NULL;
	if (path->ipv6)
		route->cookie = rt6_get_cookie(dst_rt6_info(dst));
	route->dst = dst;
	return dst_clone(dst);
}

/* ---- packets ---- */

static struct sk_buff *pbr_skb_alloc(u32 size)
{
	u32 room = LL_MAX_HEADER + sizeof(struct ipv6hdr) + sizeof(struct udphdr);
	/* A kernel user may write out memory through its queue pair. */
	struct sk_buff *skb = alloc_skb(room + size, GFP_NOIO | __GFP_NOWARN);

	if (skb)
		skb_reserve(skb, room);
	return skb;
}

static u32 pbr_packet_size(u32 header, u32 len)
{
	return sizeof(struct pbr_bth) + header + round_up(len, 4) + PBR_ICRC_BYTES;
}

static struct pbr_bth *pbr_packet_put(struct sk_buff *skb, u32 header, u32 len)
{
	struct pbr_bth *bth = skb_put(skb, pbr_packet_size(header, len));

	memset(bth, 0, sizeof(*bth) + header);
	/* The padding, and the room of the ICRC. */
	memset(skb_tail_pointer(skb) - 8, 0, 8);
	return bth;
}

struct sk_buff *pbr_packet_alloc(u32 header, u32 len)
{
	struct sk_buff *skb = pbr_skb_alloc(pbr_packet_size(header, len));

	if (skb)
		pbr_packet_put(skb, header, len);
	return skb;
}

/* The checksum of the stack's segments, as they must have one. It starts from the addresses. */
static void pbr_defer_checksum(struct sk_buff *skb, const struct pbr_path *path)
{
	const struct in6_addr *saddr = (const struct in6_addr *)&path->sgid;
	const struct in6_addr *daddr = (const struct in6_addr *)&path->dgid;

	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = offsetof(struct udphdr, check);
	if (path->ipv6)
		udp_hdr(skb)->check = ~udp_v6_check(skb->len, saddr, daddr, 0);
	else
		udp_hdr(skb)->check = ~udp_v4_check(skb->len, pbr_ipv4_of(&path->sgid),
						    pbr_ipv4_of(&path->dgid), 0);
}

static void pbr_push_udp(struct sk_buff *skb, const struct pbr_path *path)
{
	struct udphdr *udp;

	udp = skb_push(skb, sizeof(*udp));
	skb_reset_transport_header(skb);
	udp->source = htons(path->sport);
	udp->dest = htons(ROCE_V2_UDP_DPORT);
	udp->len = htons(skb->len);
	/* The ICRC protects more than a checksum would. */
	udp->check = 0;
	if (skb_is_gso(skb))
		pbr_defer_checksum(skb, path);
}

static void pbr_push_ip(struct sk_buff *skb, const struct pbr_path *path)
{
	struct iphdr *ip;

	ip = skb_push(skb, sizeof(*ip));
	skb_reset_network_header(skb);
	*ip = (struct iphdr){
		.version = IPVERSION,
		.ihl = sizeof(*ip) / 4,
		.tos = path->traffic_class,
		.tot_len = htons(skb->len),
		.frag_off = htons(IP_DF),
		.ttl = path->hop_limit,
		.protocol = IPPROTO_UDP,
		.saddr = pbr_ipv4_of(&path->sgid),
		.daddr = pbr_ipv4_of(&path->dgid),
	};
}

static void pbr_push_ip6(struct sk_buff *skb, const struct pbr_path *path)
{
	unsigned int len = skb->len;
	struct ipv6hdr *ip;

	ip = skb_push(skb, sizeof(*ip));
	skb_reset_network_header(skb);
	ip6_flow_hdr(ip, path->traffic_class, htonl(path->flow_label & IB_GRH_FLOWLABEL_MASK));
	ip->payload_len = htons(len);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = path->hop_limit;
	memcpy(&ip->saddr, &path->sgid, sizeof(ip->saddr));
	memcpy(&ip->daddr, &path->dgid, sizeof(ip->daddr));
}

/* The CRC of the packet, or of each of a train. */
static void pbr_fill_icrcs(struct sk_buff *skb)
{
	u8 *bth = skb_transport_header(skb) + sizeof(struct udphdr);
	u32 left = skb_tail_pointer(skb) - bth, n, len;
	__le32 icrc;

	for (n = 0; left; n++) {
		len = skb_is_gso(skb) ? min_t(u32, left, skb_shinfo(skb)->gso_size) : left;
		icrc = pbr_icrc(skb, bth, len, n);
		memcpy(bth + len - sizeof(icrc), &icrc, sizeof(icrc));
		bth += len;
		left -= len;
	}
}

/* Transmit a packet, or a train. */
static void pbr_skb_send(struct pbr_device *dev, const struct pbr_path *path,
			 struct pbr_route *route, struct sk_buff *skb)
{
	u32 nr = skb_is_gso(skb) ? skb_shinfo(skb)->gso_segs : 1;
	struct dst_entry *dst;
	struct net *net;
	int ret;

	guard(rcu)();
	net = pbr_wire_net(dev);
	dst = net ? pbr_route_get(net, path, route) : NULL;
	if (!dst) {
		pbr_count_many(dev, PBR_SEND_ERRORS, nr);
		ibdev_dbg(&dev->ib, "dropped a packet to %pI6c: there is no route\n",
			  path->dgid.raw);
		kfree_skb(skb);
		return;
	}
	skb_dst_set(skb, dst);
	skb->dev = dst->dev;
	skb->protocol = htons(path->ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	pbr_push_udp(skb, path);
	if (path->ipv6)
		pbr_push_ip6(skb, path);
	else
		pbr_push_ip(skb, path);
	pbr_fill_icrcs(skb);
	pbr_count_many(dev, PBR_SENT_PACKETS, nr);
	if (path->ipv6)
		ret = ip6_local_out(net, NULL, skb);
	else
		ret = ip_local_out(net, NULL, skb);
	if (net_xmit_eval(ret))
		pbr_count_many(dev, PBR_SEND_ERRORS, nr);
}

/* ---- trains ---- */

void pbr_train_send(struct pbr_device *dev, const struct pbr_path *path, struct pbr_route *route)
{
	struct sk_buff *skb = route->train;

	if (!skb)
		return;
	route->train = NULL;
	if (route->last) {
		skb_shinfo(skb)->gso_type = SKB_GSO_UDP_L4;
		skb_shinfo(skb)->gso_size = route->size;
		skb_shinfo(skb)->gso_segs = DIV_ROUND_UP(skb->len, route->size);
	}
	pbr_skb_send(dev, path, route, skb);
}

void pbr_packet_send(struct pbr_device *dev, const struct pbr_path *path, struct pbr_route *route,
		     struct sk_buff *skb)
{
	pbr_train_send(dev, path, route);
	pbr_skb_send(dev, path, route, skb);
}

/* Whether a packet of @size bytes can follow those of the train. */
static bool pbr_train_takes(const struct pbr_route *route, u32 size)
{
	const struct sk_buff *skb = route->train;

	return skb->len == route->last + route->size && size <= route->size &&
		size <= skb_tailroom(skb) && skb->len < PBR_TRAIN_PACKETS * route->size;
}

struct pbr_bth *pbr_train_add(struct pbr_device *dev, const struct pbr_path *path,
			      struct pbr_route *route, u32 header, u32 len, u64 more)
{
	u32 size = pbr_packet_size(header, len);

	if (route->train && !pbr_train_takes(route, size))
		pbr_train_send(dev, path, route);
	if (!route->train) {
		route->train = more ? pbr_skb_alloc(min(size + more, PBR_TRAIN_BYTES)) : NULL;
		route->train = route->train ?: pbr_skb_alloc(size);
		if (!route->train)
			return NULL;
		route->size = size;
	}
	route->last = route->train->len;
	return pbr_packet_put(route->train, header, len);
}

void pbr_train_undo(struct pbr_route *route)
{
	if (route->last) {
		skb_trim(route->train, route->last);
		route->last -= route->size;
	} else {
		kfree_skb(route->train);
		route->train = NULL;
	}
}
