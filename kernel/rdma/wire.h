/* SPDX-License-Identifier: GPL-2.0 */
/*
 * RoCE v2: queue pairs whose peer is on another host. docs/wire.md describes it.
 *
 *	softirq		wire-socket.c validates a packet, except the ICRC, and queues it at its
 *			queue pair
 *	worker		wire-responder.c, wire-datagram.c: packets of requests
 *			wire-response.c: acknowledgments and responses; wire-requester.c
 *	poster		wire-requester.c: the first transmission of its own requests
 *
 * Packets are copied from and to regions that are entered for one packet at a time. So a revoke
 * waits for one packet, and what is transmitted later was read before it.
 */
#ifndef _PEERBAR_RDMA_WIRE_H
#define _PEERBAR_RDMA_WIRE_H

#include <linux/skbuff.h>
#include <rdma/ib_mad.h>
#include <rdma/ib_pack.h>

#include "send.h"

/* Packets that a requester transmits before the first is acknowledged; the least after losses */
#define PBR_WINDOW	     128
#define PBR_MIN_WINDOW	     8
/* Requests of one queue pair in flight */
#define PBR_FLIGHTS	     64
/* Packets between two requests for an acknowledgment, at most */
#define PBR_ACK_INTERVAL     32
/* Received packets that wait in each queue: two of a queue pair, and a device's, for groups */
#define PBR_MAX_QUEUED	     512
/* Members of a group that are looked at for a packet before others get their turn */
#define PBR_GROUP_PASS	     32
/* Memory of all packets that wait at a device, and at its queue pairs */
#define PBR_MAX_QUEUED_BYTES SZ_64M
/* A train: bytes, so that a small page allocation holds it, and packets */
#define PBR_TRAIN_BYTES	     (29 * SZ_1K)
#define PBR_TRAIN_PACKETS    64
#define PBR_ICRC_BYTES	     4
/* BTH and ICRC */
#define PBR_PACKET_OVERHEAD  (sizeof(struct pbr_bth) + PBR_ICRC_BYTES)
/* The destination queue pair of packets to a multicast group */
#define PBR_MCAST_QPN	     0xffffff
#define PBR_PSN_MASK	     0xffffff

/* ---- headers, all big-endian ---- */

struct pbr_bth {
	u8 opcode;
	u8 flags; /* solicited event, MigReq, pad count, version */
	__be16 pkey;
	__be32 qpn;
	__be32 psn; /* bit 31: AckReq */
} __packed;

#define PBR_BTH_SOLICITED BIT(7)
#define PBR_BTH_MIGRATED  BIT(6)
#define PBR_BTH_PAD(n)	  ((n) << 4)
#define PBR_BTH_ACK_REQ	  BIT(31)
/* in @qpn: the peer's packets meet congestion */
#define PBR_BTH_BECN	  BIT(30)

struct pbr_deth {
	__be32 qkey;
	__be32 src_qp;
} __packed;

struct pbr_reth {
	__be64 addr;
	__be32 rkey;
	__be32 len;
} __packed;

struct pbr_atomic_eth {
	__be64 addr;
	__be32 rkey;
	__be64 swap_add;
	__be64 compare;
} __packed;

/* type in the lower 4 bits, level in the next two */
struct pbr_feth {
	__be32 value;
} __packed;

#define PBR_FETH_TYPE	      0xf
#define PBR_FETH_LEVEL(value) ((value) >> 4 & 3)

/* behind the BTH of XRC requests: the shared receive queue, in the lower 24 bits */
struct pbr_xrceth {
	__be32 srqn;
} __packed;

/* syndrome in the upper 8 bits, message sequence number in the others */
struct pbr_aeth {
	__be32 value;
} __packed;

#define PBR_AETH_TYPE	  0x60
#define PBR_AETH_ACK	  0x00
#define PBR_AETH_RNR	  0x20
#define PBR_AETH_NAK	  0x60
/* An ACK without end-to-end credits */
#define PBR_ACK_SYNDROME  0x1f
#define PBR_NAK_SEQUENCE  0x60
#define PBR_NAK_INVALID	  0x61
#define PBR_NAK_ACCESS	  0x62
#define PBR_NAK_OPERATION 0x63

/* what a packet of an opcode is */
#define PBR_OP_FIRST	    BIT(0)
#define PBR_OP_LAST	    BIT(1)
#define PBR_OP_SEND	    BIT(2)
#define PBR_OP_WRITE	    BIT(3)
#define PBR_OP_READ	    BIT(4)
#define PBR_OP_ATOMIC	    BIT(5)
#define PBR_OP_RESPONSE	    BIT(6)
#define PBR_OP_IMM	    BIT(7)
#define PBR_OP_INV	    BIT(8)
#define PBR_OP_PAYLOAD	    BIT(9)
#define PBR_OP_ACK	    BIT(10)
#define PBR_OP_CNP	    BIT(11)
#define PBR_OP_FLUSH	    BIT(12)
#define PBR_OP_ATOMIC_WRITE BIT(13)
/* the response is a read's, of no bytes */
#define PBR_OP_EMPTY	    (PBR_OP_FLUSH | PBR_OP_ATOMIC_WRITE)
#define PBR_OP_XRC	    BIT(15) /* with an XRCETH */

/* Opcodes of XRC are this and those of RC. */
#define PBR_OPCODE_XRC 0xa0

/* A notification of congestion, of any transport; its header is reserved. */
#define PBR_OPCODE_CNP 0x81
#define PBR_CNP_BYTES  16

struct pbr_op {
	u16 flags; /* 0: unknown */
	u8 header; /* bytes between BTH and payload */
};

/**
 * struct pbr_packet - a received packet, in skb->cb; skb->data is its BTH
 * @srqn: in the XRCETH, if there is one
 * @header: offset of the extended headers, behind the XRCETH
 * @payload: offset of the payload
 * @marked: a router on its way is congested
 * @intact: its ICRC is right
 * @after: to a group: number of the last member that was looked at
 * @taken: to a group: a member has a copy
 */
struct pbr_packet {
	u32 psn;
	u32 qpn;
	u32 srqn;
	u32 after;
	u16 op; /* PBR_OP_* */
	u16 header;
	u16 payload;
	u16 len;
	u16 vlan_id;
	u8 opcode; /* with the transport */
	bool solicited;
	bool ack_req;
	bool ipv6;
	bool marked;
	bool intact;
	bool taken;
};

static inline struct pbr_packet *pbr_packet_of(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct pbr_packet) > sizeof(skb->cb));
	return (struct pbr_packet *)skb->cb;
}

static inline u32 pbr_psn_add(u32 psn, u32 n)
{
	return (psn + n) & PBR_PSN_MASK;
}

/* @a - @b, as a signed number of 24 bits */
static inline int pbr_psn_diff(u32 a, u32 b)
{
	return (int)((a - b) << 8) >> 8;
}

/* Bytes of the full packets that carry @len bytes, without extended headers */
static inline u64 pbr_packet_bytes(u64 len, u32 mtu)
{
	return len + DIV_ROUND_UP_ULL(len, mtu) * PBR_PACKET_OVERHEAD;
}

/* Number of packets of @len bytes: at least one. */
static inline u32 pbr_packets(u64 len, u32 mtu)
{
	return len ? DIV_ROUND_UP_ULL(len, mtu) : 1;
}

/* ---- paths ---- */

/**
 * struct pbr_path - where packets of a queue pair go, without neighbour
 * @ifindex: of the network device that has @sgid
 */
struct pbr_path {
	union ib_gid sgid;
	union ib_gid dgid;
	int ifindex;
	u32 flow_label;
	u16 sport;
	u8 hop_limit;
	u8 traffic_class;
	bool ipv6;
};

/**
 * struct pbr_route - the route of a path, and packets that wait to be transmitted there together;
 * its user serializes
 * @train: the packets, from their BTHs on, or NULL. They pass the network stack as one, which
 *	segments it (UDP GSO) as late as it can
 * @size: of each packet of @train but the last, which may be shorter
 * @last: offset of the last one
 */
struct pbr_route {
	struct dst_entry *dst;
	u32 cookie;
	u32 size;
	u32 last;
	struct sk_buff *train;
};

/* ---- connections ---- */

/**
 * struct pbr_flight - a request that was taken from the ring, and is not complete
 * @psn: of its first packet, or of the first response of a read
 * @nr: number of these
 * @status: why it fails when all requests before it are complete; IB_WC_SUCCESS: not yet known
 * @sqe: private copy; the user may overwrite the ring's
 */
struct pbr_flight {
	u32 psn;
	u32 nr;
	u32 status;
	u16 op; /* PBR_OP_SEND, WRITE, READ, ATOMIC, ATOMIC_WRITE or FLUSH */
	u64 total;
	struct peerbar_sqe *sqe;
};

/**
 * struct pbr_requester - the sending half of a connection; under sq_lock
 * @una: oldest PSN that is not acknowledged; it belongs to the first flight
 * @send: PSN that is transmitted next. A retransmission sets it back
 * @max: highest PSN that was transmitted, plus 1
 * @next: PSN of the first packet of the next request
 * @first: index of the oldest flight
 * @nr: number of flights
 * @cursor: number of the flight that @send belongs to, from @first on
 * @window: packets that may be transmitted and not acknowledged. A loss halves it, and a
 *	notification of congestion
 * @unasked: packets since the last one that requests an acknowledgment; less than half a window,
 *	so that a halved window does not wait for none
 * @slowed: it was halved by a notification, and has not grown since
 * @notified: when the peer was last notified, in ns
 * @grown: packets that were acknowledged since @window last grew
 * @read_end: ends of the requests with a response, as of pbr_is_read(), not answered, in order
 * @read_nr: number of these
 * @read_sent: those of them that were transmitted since the last retransmission began
 * @failed: a flight failed; no request is transmitted any more
 * @recovering: a retransmission was begun and nothing acknowledged since
 * @starved: the ring had no more requests at the last pass
 * @deadline: of the acknowledgment of @una, in jiffies, if @timed
 */
struct pbr_requester {
	u32 una;
	u32 send;
	u32 max;
	u32 next;
	u32 first;
	u32 nr;
	u32 cursor;
	u32 window;
	u32 grown;
	u32 unasked;
	u32 read_end[PBR_MAX_RD_ATOM];
	u32 read_first;
	u32 read_nr;
	u32 read_sent;
	u8 retries;
	bool failed;
	bool recovering;
	bool starved;
	bool timed;
	bool slowed;
	u64 notified;
	unsigned long deadline;
	struct pbr_flight flight[PBR_FLIGHTS];
};

/* The result of an atomic, for duplicates of its request. */
struct pbr_saved {
	u32 psn;
	bool valid;
	u64 value;
};

/* A read that is being answered. */
struct pbr_reading {
	u64 addr;
	u64 len;
	u64 done; /* bytes that were transmitted */
	u32 rkey;
	u32 srqn;   /* of an XRC request */
	u32 psn;    /* of the next response */
	bool first; /* the next response is the first */
};

/**
 * struct pbr_responder - the receiving half of a connection; under rq_lock
 * @psn: expected next
 * @op: PBR_OP_SEND or PBR_OP_WRITE inside a message, otherwise 0
 * @srqn: the queue that the last packet of XRC named
 * @done: bytes of the message that arrived
 * @taken: the message uses the receive in @rqe
 * @nak_sent: requests out of sequence are dropped without another NAK
 * @ack_due: an acknowledgment was requested and is not yet transmitted
 * @notified: when the peer was last notified of congestion, in ns
 * @reading: @read is being answered. It may be a repeated one that interrupts a message
 */
struct pbr_responder {
	u32 psn;
	u32 msn;
	u32 srqn;
	u16 op;
	bool taken;
	bool nak_sent;
	bool ack_due;
	bool reading;
	u64 done;
	u64 len;
	u64 addr;
	u32 rkey;
	u64 notified;
	struct pbr_reading read;
	u32 next_saved;
	struct pbr_saved saved[PBR_MAX_RD_ATOM];
};

/**
 * struct pbr_wire - what a queue pair needs to receive from the wire, and to have its peer there
 * @requests: packets for the responder, and datagrams
 * @responses: packets for the requester
 * @out, @in: routes of the requester (under sq_lock) and the responder (under rq_lock)
 * @refs: memory of a message on the responder's side; under rq_lock
 * @entries: the private copies of the send queue's entries, PBR_FLIGHTS of them
 */
struct pbr_wire {
	struct sk_buff_head requests;
	struct sk_buff_head responses;
	struct pbr_path path;
	u32 mtu;
	struct pbr_route out;
	struct pbr_route in;
	struct pbr_requester requester;
	struct pbr_responder responder;
	struct pbr_refs refs;
	void *entries;
};

/* ---- wire-format.c ---- */

/* What the opcodes of a connection begin with */
static inline u8 pbr_transport_of(const struct pbr_qp *qp)
{
	if (pbr_is_xrc_initiator(qp) || pbr_is_xrc_target(qp))
		return PBR_OPCODE_XRC;
	return qp->ib.qp_type == IB_QPT_UC ? IB_OPCODE_UC : IB_OPCODE_RC;
}

/* The properties of an opcode of a transport; flags are 0 if there is none. */
struct pbr_op pbr_op_of(u8 opcode);
/* Parse the packet from its BTH on into skb->cb. Return false if it is malformed. */
bool pbr_packet_parse(struct sk_buff *skb);
/*
 * The invariant CRC of a linear packet with its IP header: @len bytes at @bth, with the ICRC's own.
 * Of a train, it is packet number @n, and has the header that the stack will give it.
 */
__le32 pbr_icrc(const struct sk_buff *skb, const void *bth, u32 len, u32 n);
void pbr_bth_fill(struct pbr_bth *bth, u8 opcode, u32 qpn, u32 psn, u32 pad, bool solicited,
		  bool ack_req);

/* ---- wire-congestion.c; sq_lock held, except for the responder's notifications ---- */

/* Halve the window after a loss. */
void pbr_window_shrink(struct pbr_requester *out);
/*
 * The window grows by an eighth with each window that is acknowledged. Many queue pairs together
 * can overrun the queue of a NIC or a switch. Without smaller windows their retransmissions would,
 * too, until the retries are used up.
 */
void pbr_window_grow(struct pbr_requester *out, u32 acknowledged);
/* Halve the window, once for all that is in flight, because packets meet congestion. */
void pbr_slow_down(struct pbr_requester *out);
/*
 * A packet of the peer's was marked by a router. Notify the peer if it was not at @last, which is
 * updated. The lock of @route is held.
 */
void pbr_notify_congestion(struct pbr_qp *qp, struct pbr_route *route, u64 *last);

/* ---- wire-socket.c ---- */

int pbr_wire_init(void);
void pbr_wire_exit(void);
/* Must be called before the device is listed. */
void pbr_wire_init_device(struct pbr_device *dev);
/* Receive packets for the device's network namespace. The device works locally if that fails. */
void pbr_wire_up(struct pbr_device *dev, struct net *net);
void pbr_wire_down(struct pbr_device *dev);
static inline bool pbr_wire_is_up(const struct pbr_device *dev)
{
	return dev->port;
}

/* The network namespace of the device, under RCU; NULL if it is gone. */
struct net *pbr_wire_net(const struct pbr_device *dev);
/* Whether the ICRC of a packet from a queue is right. Otherwise count it; the caller drops it. */
bool pbr_packet_is_intact(struct pbr_device *dev, struct sk_buff *skb);
/* Free a packet that was taken from a queue. */
void pbr_packet_free(struct pbr_device *dev, struct sk_buff *skb);
void pbr_packets_purge(struct pbr_device *dev, struct sk_buff_head *queue);

/* ---- wire-transmit.c ---- */

void pbr_path_init(struct pbr_path *path, const struct rdma_ah_attr *attr, u32 qpn, u32 peer);
/*
 * Allocate a packet with room for @header bytes after the BTH, @len bytes of payload, padding and
 * ICRC. NULL: as if it were lost. skb->data is the BTH; all but the payload is zero.
 */
struct sk_buff *pbr_packet_alloc(u32 header, u32 len);
static inline void *pbr_packet_header(struct sk_buff *skb)
{
	return skb->data + sizeof(struct pbr_bth);
}

/* Add the headers of the path and the ICRC, and transmit, behind the train. Consumes @skb. */
void pbr_packet_send(struct pbr_device *dev, const struct pbr_path *path, struct pbr_route *route,
		     struct sk_buff *skb);
/*
 * Append a packet, as of pbr_packet_alloc(), to the route's train. What is in the train is
 * transmitted first if the packet does not fit there. @more: bytes of packets that follow. Return
 * the BTH, or NULL. The caller fills it, or calls pbr_train_undo(), and pbr_train_send() at last.
 */
struct pbr_bth *pbr_train_add(struct pbr_device *dev, const struct pbr_path *path,
			      struct pbr_route *route, u32 header, u32 len, u64 more);
/* Remove the packet that was appended last. */
void pbr_train_undo(struct pbr_route *route);
/* Transmit the route's train, if there is one. */
void pbr_train_send(struct pbr_device *dev, const struct pbr_path *path, struct pbr_route *route);
void pbr_route_drop(struct pbr_route *route);

/* ---- wire-qp.c ---- */

/* Prepare a queue pair for packets. Call before it answers. */
int pbr_wire_alloc(struct pbr_qp *qp);
void pbr_wire_free(struct pbr_qp *qp);
/* Connect with a peer that is not on this host. */
int pbr_wire_connect(struct pbr_qp *qp, const struct ib_qp_attr *attr, int mask);
/* The queue pair enters RTR or RTS; its attributes are set. */
void pbr_wire_start(struct pbr_qp *qp, enum ib_qp_state state);
/* Forget all of a connection; sq_lock and rq_lock held. */
void pbr_wire_reset(struct pbr_qp *qp);
/* Whether packets wait for the responder or the datagram's receiver. */
static inline bool pbr_wire_pending(const struct pbr_qp *qp)
{
	return qp->wire &&
		(!skb_queue_empty_lockless(&qp->wire->requests) || qp->wire->responder.reading);
}

/* ---- wire-requester.c ---- */

/*
 * Transmit, and process responses; sq_lock held. Return how long to wait before continuing, 0 if
 * there is nothing to wait for, or PBR_MORE.
 */
unsigned long pbr_wire_run(struct pbr_qp *qp);
bool pbr_wire_has_work(const struct pbr_qp *qp);

/* ---- wire-responder.c ---- */

/* Process packets of requests, in the worker. Return true if there are more. */
bool pbr_wire_respond(struct pbr_qp *qp);

/* ---- wire-datagram.c ---- */

/* Transmit the datagram in @qp->src, a GRH and the payload, to queue pair @qpn. Return a status. */
u32 pbr_wire_send_datagram(struct pbr_qp *qp, const struct pbr_av *av, u32 qpn);
/* Deliver a received datagram; rq_lock held. */
void pbr_wire_deliver(struct pbr_qp *qp, struct sk_buff *skb);

#endif
