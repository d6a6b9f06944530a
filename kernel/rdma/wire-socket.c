// SPDX-License-Identifier: GPL-2.0
/*
 * Reception: the UDP sockets of a network namespace, which all devices in it share, and the checks
 * that a packet must pass before it is queued at a queue pair.
 */
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/ipv6.h>
#include <net/netns/generic.h>
#include <net/sock.h>
#include <net/udp_tunnel.h>

#include "trace.h"
#include "wire.h"

/**
 * struct pbr_port - port 4791 of a network namespace
 * @users: devices that receive from it; freed with the last. Under pbr_ports_lock, as the sockets
 * @net: NULL when the namespace is gone, a grace period before its memory is
 */
struct pbr_port {
	unsigned int users;
	struct net __rcu *net;
	struct socket *ipv4;
	struct socket *ipv6;
};

static unsigned int pbr_net_id; /* each namespace's struct pbr_port, or NULL */
static DEFINE_MUTEX(pbr_ports_lock);

struct net *pbr_wire_net(const struct pbr_device *dev)
{
	return dev->port ? rcu_dereference(dev->port->net) : NULL;
}

/* ---- queueing ---- */

void pbr_packet_free(struct pbr_device *dev, struct sk_buff *skb)
{
	atomic_sub(skb->truesize, &dev->queued);
	kfree_skb(skb);
}

void pbr_packets_purge(struct pbr_device *dev, struct sk_buff_head *queue)
{
	struct sk_buff *skb;

	while ((skb = skb_dequeue(queue)))
		pbr_packet_free(dev, skb);
}

/* Queue a packet of the device. Return false if there is no room. */
static bool pbr_packet_add(struct pbr_device *dev, struct sk_buff_head *queue, struct sk_buff *skb)
{
	if (skb_queue_len_lockless(queue) >= PBR_MAX_QUEUED)
		return false;
	if (atomic_add_return(skb->truesize, &dev->queued) > PBR_MAX_QUEUED_BYTES) {
		atomic_sub(skb->truesize, &dev->queued);
		return false;
	}
	/* Its network device may be gone by the time that the packet is processed. */
	skb_orphan(skb);
	skb_dst_drop(skb);
	skb->dev = NULL;
	skb_queue_tail(queue, skb);
	return true;
}

/* Queue a packet, and wake the worker. Return false if there is no room; RC then retransmits. */
static bool pbr_packet_queue(struct pbr_qp *qp, struct sk_buff *skb)
{
	struct sk_buff_head *queue = pbr_packet_of(skb)->op & PBR_OP_RESPONSE ?
		&qp->wire->responses :
		&qp->wire->requests;

	if (!pbr_packet_add(qp->dev, queue, skb))
		return false;
	pbr_qp_kick(qp);
	return true;
}

/* ---- checks ---- */

static void pbr_gids_of(const struct sk_buff *skb, union ib_gid *sgid, union ib_gid *dgid)
{
	if (skb->protocol == htons(ETH_P_IP)) {
		ipv6_addr_set_v4mapped(ip_hdr(skb)->saddr, (struct in6_addr *)sgid);
		ipv6_addr_set_v4mapped(ip_hdr(skb)->daddr, (struct in6_addr *)dgid);
	} else {
		memcpy(sgid, &ipv6_hdr(skb)->saddr, sizeof(*sgid));
		memcpy(dgid, &ipv6_hdr(skb)->daddr, sizeof(*dgid));
	}
}

static bool pbr_is_to_group(const struct sk_buff *skb)
{
	return skb->protocol == htons(ETH_P_IP) ? ipv4_is_multicast(ip_hdr(skb)->daddr) :
						  ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr);
}

/* Whether the packet comes from the peer that the queue pair is connected with. */
static bool pbr_from_peer(const struct pbr_qp *qp, const struct sk_buff *skb)
{
	const struct pbr_path *path = &qp->wire->path;
	union ib_gid sgid, dgid;

	if (!READ_ONCE(qp->on_wire))
		return false;
	pbr_gids_of(skb, &sgid, &dgid);
	return !memcmp(&sgid, &path->dgid, sizeof(sgid)) &&
		!memcmp(&dgid, &path->sgid, sizeof(dgid));
}

static bool pbr_accepts(const struct pbr_qp *qp, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	bool group = packet->qpn == PBR_MCAST_QPN;
	const struct pbr_deth *deth;
	u32 qkey;

	switch (packet->opcode & 0xe0) {
	case IB_OPCODE_UD:
		if (!pbr_is_datagram(qp) || pbr_is_to_group(skb) != group)
			return false;
		deth = (const struct pbr_deth *)(skb->data + packet->header);
		qkey = qp->ib.qp_type == IB_QPT_GSI ? IB_QP1_QKEY : READ_ONCE(qp->attr.qkey);
		return be32_to_cpu(deth->qkey) == qkey;
	case IB_OPCODE_UC:
		return qp->ib.qp_type == IB_QPT_UC && pbr_from_peer(qp, skb);
	case PBR_OPCODE_XRC:
		/* Requests are for targets, and responses for initiators. */
		return (packet->op & PBR_OP_RESPONSE ? pbr_is_xrc_initiator(qp) :
						       pbr_is_xrc_target(qp)) &&
			pbr_from_peer(qp, skb);
	default:
		/* Notifications of congestion are for all that are reliable. */
		return (packet->op & PBR_OP_CNP ? pbr_is_reliable(qp) :
						  qp->ib.qp_type == IB_QPT_RC) &&
			pbr_from_peer(qp, skb);
	}
}

/* Remove the UDP header, and what follows the datagram in the frame. */
static bool pbr_packet_pull(struct sk_buff *skb)
{
	unsigned int len;

	if (!pskb_may_pull(skb, sizeof(struct udphdr)))
		return false;
	len = ntohs(udp_hdr(skb)->len);
	if (len < sizeof(struct udphdr) || len > skb->len || pskb_trim(skb, len) ||
	    skb_linearize(skb))
		return false;
	/* Options would not be protected by the ICRC. */
	if (skb->protocol == htons(ETH_P_IP)) {
		if (ip_hdr(skb)->ihl != sizeof(struct iphdr) / 4)
			return false;
	} else if (skb->protocol != htons(ETH_P_IPV6) || ipv6_hdr(skb)->nexthdr != IPPROTO_UDP) {
		return false;
	}
	skb_pull(skb, sizeof(struct udphdr));
	return true;
}

static void pbr_count_dropped(struct pbr_device *dev, struct sk_buff *skb, int why)
{
	static const struct pbr_packet unknown;
	const struct pbr_packet *packet = why == PBR_MALFORMED ? &unknown : pbr_packet_of(skb);

	pbr_count(dev, why);
	trace_rdma_packet_drop(&dev->ib, why, packet->qpn, packet->psn, packet->opcode);
}

/* ---- groups ---- */

/* Queue copies of a packet at the next members of its group. Return whether these were the last. */
static bool pbr_group_pass(struct pbr_device *dev, const union ib_gid *group, struct sk_buff *skb)
{
	struct pbr_packet *packet = pbr_packet_of(skb);
	unsigned int budget = PBR_GROUP_PASS;
	struct sk_buff *copy;
	struct pbr_qp *qp;

	while ((qp = pbr_mcast_next(dev->net, dev, group, &packet->after, &budget))) {
		if (qp->wire && pbr_accepts(qp, skb)) {
			copy = skb_clone(skb, GFP_ATOMIC);
			if (copy && pbr_packet_queue(qp, copy)) {
				packet->taken = true;
			} else {
				pbr_count_dropped(dev, skb, PBR_QUEUE_FULL);
				kfree_skb(copy);
			}
		}
		pbr_qp_put(qp);
	}
	return budget;
}

static void pbr_group_work(struct work_struct *work)
{
	struct pbr_device *dev = container_of(work, struct pbr_device, group_work);
	union ib_gid sgid, dgid;
	struct sk_buff *skb;

	while ((skb = skb_dequeue(&dev->group_packets))) {
		pbr_gids_of(skb, &sgid, &dgid);
		while (!pbr_group_pass(dev, &dgid, skb))
			cond_resched();
		if (!pbr_packet_of(skb)->taken)
			pbr_count_dropped(dev, skb, PBR_UNEXPECTED);
		pbr_packet_free(dev, skb);
		cond_resched();
	}
}

/*
 * Queue copies of a packet at the members of its group, as pbr_packet_receive(). Bound the work per
 * packet: the members of a group are many, and a softirq delays everything else on this CPU. The
 * worker continues with the rest. The stack returns what a device of this namespace transmits, too,
 * which the members here have already.
 */
static int pbr_group_receive(struct pbr_device *dev, struct sk_buff *skb)
{
	struct pbr_packet *packet = pbr_packet_of(skb);
	union ib_gid sgid, dgid;

	packet->after = 0;
	packet->taken = false;
	pbr_gids_of(skb, &sgid, &dgid);
	if (pbr_find_device_of_gid(dev->net, &sgid)) {
		consume_skb(skb);
		return -1;
	}
	if (!pbr_group_pass(dev, &dgid, skb)) {
		if (!pbr_packet_add(dev, &dev->group_packets, skb))
			return PBR_QUEUE_FULL;
		pbr_count(dev, PBR_GROUP_DEFERRED);
		queue_work(system_dfl_wq, &dev->group_work);
		return -1;
	}
	if (!packet->taken)
		return PBR_UNEXPECTED;
	consume_skb(skb);
	return -1;
}

/* ---- reception ---- */

/*
 * Queue a packet at its queue pair, or drop it. Return the counter of the reason for that, or -1.
 * Leave the ICRC to the worker: it costs most, and the sender may be on this CPU.
 */
static int pbr_packet_receive(struct pbr_device *dev, struct sk_buff *skb)
{
	const struct pbr_packet *packet = pbr_packet_of(skb);
	struct pbr_qp *qp;
	int ret = -1;

	if (!pbr_packet_pull(skb) || !pbr_packet_parse(skb))
		return PBR_MALFORMED;
	if ((be16_to_cpu(((struct pbr_bth *)skb->data)->pkey) & 0x7fff) !=
	    (IB_DEFAULT_PKEY_FULL & 0x7fff))
		return PBR_UNEXPECTED;
	if (packet->qpn == PBR_MCAST_QPN)
		return pbr_group_receive(dev, skb);
	qp = pbr_peer_get(dev->id, packet->qpn);
	if (!qp)
		return PBR_UNEXPECTED;
	if (!qp->wire || !pbr_accepts(qp, skb))
		ret = PBR_UNEXPECTED;
	else if (!pbr_packet_queue(qp, skb))
		ret = PBR_QUEUE_FULL;
	pbr_qp_put(qp);
	return ret;
}

/* The device that a packet is for; call under RCU. */
static struct pbr_device *pbr_device_of(const struct sk_buff *skb)
{
	const struct net_device *ndev = skb->dev;
	union ib_gid sgid, dgid;

	if (is_vlan_dev(ndev))
		ndev = vlan_dev_real_dev(ndev);
	if (!(ndev->flags & IFF_LOOPBACK))
		return pbr_find_device_of_netdev(ndev);
	pbr_gids_of(skb, &sgid, &dgid);
	return pbr_find_device_of_gid(dev_net(ndev), &dgid);
}

static bool pbr_icrc_is_right(const struct sk_buff *skb)
{
	__le32 icrc = pbr_icrc(skb, skb->data, skb->len, 0);

	return !memcmp(skb_tail_pointer(skb) - sizeof(icrc), &icrc, sizeof(icrc));
}

bool pbr_packet_is_intact(struct pbr_device *dev, struct sk_buff *skb)
{
	struct pbr_packet *packet = pbr_packet_of(skb);

	/* A packet that waited for memory comes again. */
	if (!packet->intact)
		packet->intact = pbr_icrc_is_right(skb);
	if (!packet->intact)
		pbr_count_dropped(dev, skb, PBR_ICRC_ERRORS);
	return packet->intact;
}

static int pbr_encap_recv(struct sock *sk, struct sk_buff *skb)
{
	struct pbr_device *dev;
	int why;

	guard(rcu)();
	dev = pbr_device_of(skb);
	if (!dev) {
		kfree_skb(skb);
		return 0;
	}
	pbr_count(dev, PBR_RCVD_PACKETS);
	why = pbr_packet_receive(dev, skb);
	if (why >= 0) {
		pbr_count_dropped(dev, skb, why);
		kfree_skb(skb);
	}
	return 0;
}

/* ---- sockets ---- */

static struct socket *pbr_socket_open(struct net *net, int family)
{
	struct udp_port_cfg port = {
		.family = family,
		.local_udp_port = htons(ROCE_V2_UDP_DPORT),
		.ipv6_v6only = family == AF_INET6,
	};
	struct udp_tunnel_sock_cfg tunnel = {
		.encap_type = 1,
		.encap_rcv = pbr_encap_recv,
	};
	struct socket *sock;
	int ret;

	ret = udp_sock_create(net, &port, &sock);
	if (ret)
		return ERR_PTR(ret);
	setup_udp_tunnel_sock(net, sock->sk, &tunnel);
	/* No inner packet uses the checksum, so that the stack need not compute a train's. */
	inet_dec_convert_csum(sock->sk);
	return sock;
}

/* Caller holds pbr_ports_lock. */
static void pbr_port_close(struct pbr_port *port)
{
	if (port->ipv4)
		udp_tunnel_sock_release(port->ipv4->sk);
	if (port->ipv6)
		udp_tunnel_sock_release(port->ipv6->sk);
	port->ipv4 = NULL;
	port->ipv6 = NULL;
}

static struct pbr_port *pbr_port_open(struct net *net)
{
	struct pbr_port *port;
	struct socket *sock;
	int ret = 0;

	port = kzalloc_obj(*port, GFP_KERNEL);
	if (!port)
		return ERR_PTR(-ENOMEM);
	RCU_INIT_POINTER(port->net, net);
	sock = pbr_socket_open(net, AF_INET);
	if (IS_ERR(sock))
		ret = PTR_ERR(sock);
	else
		port->ipv4 = sock;
	sock = ret ? ERR_PTR(ret) : pbr_socket_open(net, AF_INET6);
	/* A kernel without IPv6, or with IPv6 disabled. */
	if (IS_ERR(sock))
		ret = PTR_ERR(sock) == -EAFNOSUPPORT ? 0 : PTR_ERR(sock);
	else
		port->ipv6 = sock;
	if (!ret)
		return port;
	pbr_port_close(port);
	kfree(port);
	return ERR_PTR(ret);
}

void pbr_wire_init_device(struct pbr_device *dev)
{
	skb_queue_head_init(&dev->group_packets);
	INIT_WORK(&dev->group_work, pbr_group_work);
}

void pbr_wire_up(struct pbr_device *dev, struct net *net)
{
	struct pbr_port **slot, *port;

	guard(mutex)(&pbr_ports_lock);
	slot = net_generic(net, pbr_net_id);
	port = *slot ?: pbr_port_open(net);
	if (IS_ERR(port)) {
		/* The verbs device has no name yet. */
		netdev_notice(dev->ndev,
			      "peerbar: there is no transport to other hosts: UDP port %d of the network namespace cannot be used: error %ld%s\n",
			      ROCE_V2_UDP_DPORT, PTR_ERR(port),
			      port == ERR_PTR(-EADDRINUSE) ?
				      ", another program or driver (rxe) has it" :
				      "");
		return;
	}
	*slot = port;
	port->users++;
	dev->port = port;
}

void pbr_wire_down(struct pbr_device *dev)
{
	struct pbr_port *port = dev->port;

	/* Wait for packets on the way to it; the list of devices has it no more. */
	synchronize_net();
	/* First, so that the work does not go through all of them. */
	pbr_packets_purge(dev, &dev->group_packets);
	cancel_work_sync(&dev->group_work);
	pbr_packets_purge(dev, &dev->group_packets);
	if (!port)
		return;
	guard(mutex)(&pbr_ports_lock);
	if (--port->users)
		return;
	if (rcu_access_pointer(port->net)) {
		struct pbr_port **slot = net_generic(rcu_access_pointer(port->net), pbr_net_id);

		*slot = NULL;
	}
	pbr_port_close(port);
	kfree(port);
}

/* The namespace ends; its devices are being unregistered. */
static void pbr_net_exit(struct net *net)
{
	struct pbr_port **slot = net_generic(net, pbr_net_id);

	guard(mutex)(&pbr_ports_lock);
	if (!*slot)
		return;
	rcu_assign_pointer((*slot)->net, NULL);
	pbr_port_close(*slot);
	*slot = NULL;
	/* Wait for packets that are being transmitted. */
	synchronize_rcu();
}

static struct pernet_operations pbr_net_ops = {
	.exit = pbr_net_exit,
	.id = &pbr_net_id,
	.size = sizeof(struct pbr_port *),
};

int pbr_wire_init(void)
{
	return register_pernet_subsys(&pbr_net_ops);
}

void pbr_wire_exit(void)
{
	unregister_pernet_subsys(&pbr_net_ops);
}
