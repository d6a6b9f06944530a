/* SPDX-License-Identifier: GPL-2.0 */
/* Queue pairs and receive queues; the order of the locks. */
#ifndef _PEERBAR_RDMA_QP_H
#define _PEERBAR_RDMA_QP_H

#include <linux/kthread.h>

#include "region.h"
#include "ring.h"

struct pbr_av;
struct pbr_wire;

/* receive queue: a queue pair's own, or a shared one */
struct pbr_rq {
	spinlock_t lock;      /* taking receives, and replacing the ring of a shared one; a leaf */
	spinlock_t post_lock; /* serializes posting in the kernel; irqs off, a leaf */
	struct pbr_queue queue;
	u32 *flags;
	u32 max_sge;
	bool user;
};

/**
 * struct pbr_srq - a shared receive queue
 * @resize_mutex: serializes resizes, and changes of @buf; taken before the lock of @rq
 * @limit: fewer receives than this send the event once; 0: never
 * @handle: of an XRC queue; otherwise NULL
 * @life: of an XRC queue, differs from that of an earlier queue with the same number
 */
struct pbr_srq {
	struct ib_srq ib;
	struct pbr_rq rq;
	struct mutex resize_mutex; /* see above */
	struct pbr_buf *buf;
	u32 limit;
	struct pbr_srq_handle *handle;
	u32 life;
};

/**
 * struct pbr_srq_handle - result of a lookup of an XRC queue by number, under RCU
 * @users: number of requests that use the queue, for one pass; as of struct pbr_qp_handle. Blocked
 *	when the queue is destroyed
 */
struct pbr_srq_handle {
	struct rcu_head rcu;
	atomic_t users;
	struct pbr_srq *srq;
};

/**
 * struct pbr_xrcd - an XRC domain
 * @targets: number of its queue pairs, which no context owns
 * @charge: as of struct pbr_pd
 */
struct pbr_xrcd {
	struct ib_xrcd ib;
	atomic_t targets;
	void *charge;
};

/**
 * struct pbr_qp_handle - result of a lookup by number, under RCU
 *
 * The core frees a queue pair as soon as it is destroyed. The handle is freed a grace period later,
 * so that destroy and modify do not wait for one.
 *
 * @users: number of lookups that hold the queue pair; negative while it is blocked. Blocking adds
 *	INT_MIN and waits until INT_MIN remains, as for regions. Blocked and unblocked under
 *	@modify_lock, and when the queue pair is destroyed
 */
struct pbr_qp_handle {
	struct rcu_head rcu;
	atomic_t users;
	struct pbr_qp *qp;
};

/**
 * struct pbr_kernel_sqe - an entry of a kernel user's send queue, which only the kernel writes to
 * @av: destination of a datagram; its user keeps the address handle until completion
 * @sqe: the request; must be last, the scatter/gather elements follow
 */
struct pbr_kernel_sqe {
	const struct pbr_av *av;
	struct peerbar_sqe sqe;
};

/**
 * struct pbr_qp - a queue pair
 *
 * Locks, outermost first:
 *
 *	@modify_lock		requested changes of @attr and @state
 *	@sq_lock		executing the send queue, @entry, @src, @dst and the retries; of one
 *				queue pair at a time
 *	@rq_lock		of the peer: taking receives in order, and completing them; @rqe
 *	CQ and ring locks	leaves
 *
 * An XRC queue is referenced (@srq of a target) under the requester's @sq_lock, or under @rq_lock,
 * and without waiting. Destroying it waits for the references, and holds no lock of these.
 *
 * Memory regions are entered under @sq_lock and @rq_lock, and left before either is released. Under
 * @sq_lock alone, with no region entered, a fault takes the reservation lock of a dma-buf or
 * mmap_lock (struct pbr_dmabuf, struct pbr_user_memory).
 *
 * @handle: blocked while @state is RESET or INIT, and after a requested change to ERR or RESET,
 *	which waits for the lookups first
 * @begun: @sqe was taken from the queue and is not complete: it waits, or needs several passes
 * @progress: bytes of @sqe copied so far; of a multicast, plus 1 for the packet to other hosts
 * @peer_epoch: @epoch of the peer that @progress refers to
 * @after: of a multicast, the number of the last member looked at
 * @wire: what it needs for packets, or NULL; set before it answers, and kept
 * @on_wire: its peer is on another host; set under both locks, before it answers
 * @datagram_psn: of the next datagram to another host; under @sq_lock
 * @epoch: unique to each life of a queue pair, which a reset ends. Stable while the queue pair is
 *	referenced
 * @xrcd: the domain of an XRC target; otherwise NULL
 * @srq: of an XRC target, the queue that the request names, while that is executed: on this host
 *	by its only peer, under the peer's @sq_lock; over the wire under @rq_lock. Otherwise NULL
 * @held_srqn: number of the XRC queue that @rqe was taken from, which may be gone, if @held
 * @held_life: its life
 * @state: may become ERR at any time, or SQE while requests are executed, by cmpxchg; otherwise
 *	changes under @modify_lock. A lookup fails unless pbr_answers()
 */
struct pbr_qp {
	struct ib_qp ib;
	struct pbr_device *dev;
	struct pbr_qp_handle *handle;
	enum ib_qp_state state;
	struct mutex modify_lock; /* see above */
	struct ib_qp_attr attr;
	u32 target;
	struct pbr_wire *wire;
	bool on_wire;
	u32 datagram_psn;
	struct ib_qp_cap cap;
	bool sig_all;
	bool user;
	struct pbr_buf *buf;
	u32 *flags;

	struct mutex sq_lock; /* see above */
	spinlock_t post_lock; /* posting in the kernel; irqs off, a leaf */
	struct pbr_queue sq;
	void *entry;		 /* copy of the send queue's entry */
	struct peerbar_sqe *sqe; /* the request in @entry */
	struct pbr_refs *src;
	struct pbr_refs *dst;
	union rdma_network_hdr grh;
	u8 sl;
	u16 vlan_id;
	u64 value;
	bool begun;
	bool drain_event; /* send the event when a begun request completes */
	u64 progress;
	u32 peer_epoch;
	u32 after;
	u32 epoch;
	unsigned long wait_until;
	unsigned long deadline;
	bool waiting;
	bool retrying;
	u8 rnr_left;
	struct delayed_work work; /* for kernel queue pairs; a user's use the next two */
	struct kthread_delayed_work deferred;
	struct pbr_worker *worker;

	struct mutex rq_lock; /* see above */
	struct pbr_rq rq;
	struct peerbar_rqe *rqe;
	struct pbr_srq *srq;
	struct pbr_xrcd *xrcd;
	u32 held_srqn;
	u32 held_life;
	bool held; /* @rqe was taken from @srq, and not consumed */
	bool last_told;
	bool established;
};

static inline struct pbr_qp *to_pbr_qp(struct ib_qp *ib)
{
	return container_of(ib, struct pbr_qp, ib);
}

static inline struct pbr_srq *to_pbr_srq(struct ib_srq *ib)
{
	return container_of(ib, struct pbr_srq, ib);
}

/* rq.c */
u32 pbr_rq_stride(u32 max_sge);
/* Number of receives that are posted and not taken; racy. */
u32 pbr_srq_length(struct pbr_srq *srq);
void pbr_rq_init(struct pbr_rq *rq, u32 max_sge, u32 *flags, bool user);
bool pbr_rq_take(struct pbr_qp *qp);
void pbr_rq_done(struct pbr_qp *qp);
int pbr_rq_post(struct pbr_rq *rq, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad);
void pbr_srq_check_limit(struct pbr_srq *srq);

/* srq.c */
extern const struct ib_device_ops pbr_srq_ops;

/* xrc.c */
extern const struct ib_device_ops pbr_xrc_ops;
void pbr_xrc_exit(void);
/* Count one more target of the domain. Return 0, or -ENOMEM if it has as many as a context may. */
int pbr_xrcd_add_target(struct pbr_xrcd *xrcd);
void pbr_xrcd_remove_target(struct pbr_xrcd *xrcd);
/* Make an XRC queue visible to lookups under a new number. */
int pbr_srq_publish(struct pbr_srq *srq, gfp_t gfp);
/* Make lookups fail, and wait until no request uses the queue. */
void pbr_srq_unpublish(struct pbr_srq *srq);
void pbr_srq_put(struct pbr_srq *srq);
/*
 * Begin to execute a request to @qp. If that is an XRC target, set @srq, with a reference, to queue
 * @number of its domain; return false if there is none. pbr_xrc_end() must follow otherwise.
 */
bool pbr_xrc_begin(struct pbr_qp *qp, u32 number);
void pbr_xrc_end(struct pbr_qp *qp);
/*
 * Whether an XRC target, between these two, holds a receive of another queue: the request that took
 * it was not completed. The caller must call pbr_flush_held().
 */
bool pbr_xrc_holds_other(const struct pbr_qp *qp);
/* The queue of the receive that an XRC target holds, with a reference; NULL if it is gone. */
struct pbr_srq *pbr_xrc_held_srq(const struct pbr_qp *qp);

/* worker.c */
/* Run the remaining work after @delay jiffies, or at once. */
void pbr_qp_defer(struct pbr_qp *qp, unsigned long delay);
void pbr_qp_kick(struct pbr_qp *qp);
void pbr_qp_stop_work(struct pbr_qp *qp);

/* qp_lookup.c */
/* Make the queue pair visible to lookups under a new number; a GSI's is 1. */
int pbr_qp_publish(struct pbr_qp *qp, gfp_t gfp);
void pbr_qp_unpublish(struct pbr_qp *qp);
void pbr_qps_exit(void);
struct pbr_qp *pbr_peer_get(u32 target, u32 qpn);
/* Return false if the queue pair is blocked. The caller guarantees that it exists. */
bool pbr_qp_get(struct pbr_qp *qp);
void pbr_qp_put(struct pbr_qp *qp);
void pbr_qp_block(struct pbr_qp *qp);
void pbr_qp_unblock(struct pbr_qp *qp);
/* Move the queue pair to the error state; its worker flushes the queues. */
void pbr_qp_error(struct pbr_qp *qp, enum ib_event_type event);
/*
 * A request failed. A queue pair for datagrams moves to SQE, where it receives on; every other one
 * to the error state.
 */
void pbr_qp_send_error(struct pbr_qp *qp);
void pbr_qp_event(struct pbr_qp *qp, enum ib_event_type event);
static inline bool pbr_is_datagram(const struct pbr_qp *qp)
{
	return qp->ib.qp_type == IB_QPT_UD || qp->ib.qp_type == IB_QPT_GSI;
}

/* Whether requests are flushed. */
static inline bool pbr_flushes_sends(const struct pbr_qp *qp)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	return state == IB_QPS_ERR || state == IB_QPS_SQE;
}

static inline bool pbr_is_xrc_target(const struct pbr_qp *qp)
{
	return qp->ib.qp_type == IB_QPT_XRC_TGT;
}

static inline bool pbr_is_xrc_initiator(const struct pbr_qp *qp)
{
	return qp->ib.qp_type == IB_QPT_XRC_INI;
}

/* Whether the responder acknowledges requests. */
static inline bool pbr_is_reliable(const struct pbr_qp *qp)
{
	return qp->ib.qp_type == IB_QPT_RC || pbr_is_xrc_initiator(qp) || pbr_is_xrc_target(qp);
}

/* The protection domain of the responder's memory: an XRC target has none of its own. */
static inline struct ib_pd *pbr_responder_pd(const struct pbr_qp *qp)
{
	return pbr_is_xrc_target(qp) ? qp->srq->ib.pd : qp->ib.pd;
}

/* Where receives complete, of a queue pair that executes a request */
static inline struct ib_cq *pbr_recv_cq(const struct pbr_qp *qp)
{
	return pbr_is_xrc_target(qp) ? qp->srq->ib.ext.cq : qp->ib.recv_cq;
}

/* Whether it accepts messages; check under RCU or a lock before taking a reference. */
static inline bool pbr_answers(const struct pbr_qp *qp)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	return state == IB_QPS_RTR || state == IB_QPS_RTS || state == IB_QPS_SQD ||
		state == IB_QPS_SQE;
}

/* mcast.c */
extern const struct ib_device_ops pbr_mcast_ops;
/*
 * The next queue pair after number *@after that is attached to the group in the network namespace,
 * with a reference. With @dev only its own. Looks at *@budget members at most: each reduces it, and
 * *@after becomes its number. Returns NULL at the end of the group, or without a budget.
 */
struct pbr_qp *pbr_mcast_next(const struct net *net, const struct pbr_device *dev,
			      const union ib_gid *gid, u32 *after, unsigned int *budget);

/* qp.c */
extern const struct ib_device_ops pbr_qp_ops;

/* post.c */
extern const struct ib_device_ops pbr_post_ops;

#endif
