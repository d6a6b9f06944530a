/* SPDX-License-Identifier: GPL-2.0 */
/* Queue pairs and receive queues; the order of the locks. */
#ifndef _PEERBAR_RDMA_QP_H
#define _PEERBAR_RDMA_QP_H

#include <linux/kthread.h>

#include "region.h"
#include "ring.h"

/* receive queue: a queue pair's own, or a shared one */
struct pb_rq {
	spinlock_t lock; /* serializes taking receives; a leaf */
	spinlock_t post_lock; /* serializes posting in the kernel; irqs off, a leaf */
	struct pb_queue queue;
	u32 *flags;
	u32 max_sge;
	bool user;
};

struct pb_srq {
	struct ib_srq ib;
	struct pb_rq rq;
	struct pb_buf *buf;
	u32 limit;
};

/**
 * struct pb_qp_handle - result of a lookup by number, under RCU
 *
 * The core frees a queue pair as soon as it is destroyed. The handle is freed a grace period later,
 * so that destroy and modify do not wait for one.
 *
 * @users: number of lookups that hold the queue pair; negative while it is blocked. Blocking adds
 *	INT_MIN and waits until INT_MIN remains, as for regions. Blocked and unblocked under
 *	@modify_lock, and when the queue pair is destroyed
 */
struct pb_qp_handle {
	struct rcu_head rcu;
	atomic_t users;
	struct pb_qp *qp;
};

/**
 * struct pb_qp - a queue pair
 *
 * Locks, outermost first:
 *
 *	@modify_lock		requested changes of @attr and @state
 *	@sq_lock		executing the send queue, @sqe, @src, @dst and the retries; of one
 *				queue pair at a time
 *	@rq_lock		of the peer: taking receives in order, and completing them; @rqe
 *	CQ and ring locks	leaves
 *
 * Memory regions are entered under @sq_lock and @rq_lock, and left before either is released.
 *
 * @handle: blocked while @state is RESET or INIT, and after a requested change to ERR or RESET,
 *	which waits for the lookups first
 * @begun: @sqe was taken from the queue and is not complete: it waits, or needs several passes
 * @progress: bytes of @sqe copied so far
 * @peer_epoch: @epoch of the peer that @progress refers to
 * @after: of a multicast, the number of the last member served
 * @epoch: unique to each life of a queue pair, which a reset ends. Stable while the queue pair is
 *	referenced
 * @state: may become ERR at any time, by cmpxchg; otherwise changes under @modify_lock. A lookup
 *	fails unless pb_answers()
 */
struct pb_qp {
	struct ib_qp ib;
	struct pb_device *dev;
	struct pb_qp_handle *handle;
	enum ib_qp_state state;
	struct mutex modify_lock; /* see above */
	struct ib_qp_attr attr;
	u32 target;
	struct ib_qp_cap cap;
	bool sig_all;
	bool user;
	struct pb_buf *buf;
	u32 *flags;

	struct mutex sq_lock; /* see above */
	spinlock_t post_lock; /* posting in the kernel; irqs off, a leaf */
	struct pb_queue sq;
	struct peerbar_sqe *sqe;
	struct pb_refs *src;
	struct pb_refs *dst;
	union rdma_network_hdr grh;
	u8 sl;
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
	struct pb_worker *worker;

	struct mutex rq_lock; /* see above */
	struct pb_rq rq;
	struct peerbar_rqe *rqe;
	struct pb_srq *srq;
	bool held; /* @rqe was taken from @srq, and not consumed */
	bool last_told;
	bool established;
};

static inline struct pb_qp *to_pb_qp(struct ib_qp *ib) { return container_of(ib, struct pb_qp, ib); }
static inline struct pb_srq *to_pb_srq(struct ib_srq *ib) { return container_of(ib, struct pb_srq, ib); }

/* rq.c */
u32 pb_rq_stride(u32 max_sge);
void pb_rq_init(struct pb_rq *rq, u32 max_sge, u32 *flags, bool user);
bool pb_rq_take(struct pb_qp *qp);
void pb_rq_done(struct pb_qp *qp);
int pb_rq_post(struct pb_rq *rq, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad);
void pb_srq_check_limit(struct pb_srq *srq);

/* srq.c */
extern const struct ib_device_ops pb_srq_ops;

/* worker.c */
/* Run the remaining work after @delay jiffies, or at once. */
void pb_qp_defer(struct pb_qp *qp, unsigned long delay);
void pb_qp_kick(struct pb_qp *qp);
void pb_qp_stop_work(struct pb_qp *qp);

/* qp_lookup.c */
/* Make the queue pair visible to lookups under a new number; a GSI's is 1. */
int pb_qp_publish(struct pb_qp *qp, gfp_t gfp);
void pb_qp_unpublish(struct pb_qp *qp);
void pb_qps_exit(void);
struct pb_qp *pb_peer_get(u32 target, u32 qpn);
/* Return false if the queue pair is blocked. The caller guarantees that it exists. */
bool pb_qp_get(struct pb_qp *qp);
void pb_qp_put(struct pb_qp *qp);
void pb_qp_block(struct pb_qp *qp);
void pb_qp_unblock(struct pb_qp *qp);
/* Move the queue pair to the error state; its worker flushes the queues. */
void pb_qp_error(struct pb_qp *qp, enum ib_event_type event);
void pb_qp_event(struct pb_qp *qp, enum ib_event_type event);
static inline bool pb_is_datagram(const struct pb_qp *qp)
{
	return qp->ib.qp_type == IB_QPT_UD || qp->ib.qp_type == IB_QPT_GSI;
}

/* Whether it accepts messages; check under RCU or a lock before taking a reference. */
static inline bool pb_answers(const struct pb_qp *qp)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	return state == IB_QPS_RTR || state == IB_QPS_RTS || state == IB_QPS_SQD;
}

/* mcast.c */
extern const struct ib_device_ops pb_mcast_ops;
/*
 * The next queue pair after number @after that is attached to the group in the network namespace of
 * @from, with a reference; NULL if there is none.
 */
struct pb_qp *pb_mcast_next(const struct pb_qp *from, const union ib_gid *gid, u32 after);

/* qp.c */
extern const struct ib_device_ops pb_qp_ops;

#endif
