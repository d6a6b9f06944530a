/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A verbs device in software, for queue pairs on this host. The task that posts a send copies it to
 * its destination, in the system call that rings the doorbell. Device memory is accessed at the DMA
 * addresses that the PCI function behind the network device has for it, through the IOMMU's own
 * translations.
 *
 * A wire transport would begin where pb_find_device() finds no device (modify to RTR, and address
 * handles) and where pb_peer_get() looks up the other queue pair: the code before handles work
 * requests, the code after is the responder.
 */
#ifndef _PEERBAR_RDMA_H
#define _PEERBAR_RDMA_H

#include <linux/if_ether.h>
#include <linux/kthread.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/xarray.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>
#include <rdma/uverbs_ioctl.h>
#include <uapi/rdma/peerbar-abi.h>

#define PB_MAX_SGE		32
#define PB_MAX_INLINE		1024
#define PB_MAX_WR		32768
#define PB_MAX_CQE		SZ_1M
#define PB_MAX_MSG		SZ_2G
/*
 * Limits of one context, the defaults of module parameters of those names. They keep a context from
 * using up a device, whose own limits are numbers of 24 bits, and memory.
 */
#define PB_MAX_QP		65536
#define PB_MAX_CQ		65536
#define PB_MAX_SRQ		65536
#define PB_MAX_PD		65536
#define PB_MAX_AH		65536
#define PB_MAX_MR		SZ_1M
#define PB_MAX_MW		SZ_1M
#define PB_MAX_OBJECTS		0xfffffe
#define PB_LAST_KEY		PB_MAX_OBJECTS
#define PB_FIRST_QPN		16
#define PB_LAST_QPN		PB_MAX_OBJECTS
#define PB_MAX_RD_ATOM		128
/* multicast group memberships of one device */
#define PB_MAX_MCAST		8192
/* of one fast registration */
#define PB_MAX_FAST_PAGES	512
/* key of all memory, at DMA addresses; only the kernel's own queue pairs may use it */
#define PB_DMA_LKEY		0xffffff00
/* bytes copied before a revocation may intervene */
#define PB_COPY_PIECE		SZ_64K
/* bytes of a message copied before the receiver's lock is released */
#define PB_COPY_PASS		SZ_1M

struct pb_worker;

enum pb_object { PB_QP, PB_CQ, PB_SRQ, PB_PD, PB_AH, PB_MR, PB_MW, PB_NR_OBJECTS };

struct pb_device {
	struct ib_device ib;
	struct pci_dev *pdev;
	const struct net *net; /* only compared; constant while this device exists */
	u32 id;
	struct list_head node;
	int max[PB_NR_OBJECTS]; /* limits of a context, as the device reports them */
	unsigned int max_seg_size; /* the function's own, before its first device */
	struct xarray mrs;
	u32 next_mr;
	struct xarray avs;
	u32 next_av;
	struct pb_qp_handle __rcu *gsi;
	enum ib_mtu active_mtu;
	u32 nr_members; /* multicast memberships; under pb_members_lock */
	spinlock_t atomic_lock; /* for atomics on memory without atomics; a leaf */
};

/**
 * struct pb_buf - memory of a ring; freed when neither the object nor a mapping uses it
 * @entry: in the context, if it is for user space
 * @va: its address
 * @size: in bytes, whole pages
 */
struct pb_buf {
	struct rdma_user_mmap_entry entry;
	void *va;
	size_t size;
	bool user;
};

/**
 * struct pb_queue - a ring of work requests; this driver is the consumer
 * @next: index of the next entry; copied to the shared consumer index, which is never read back
 */
struct pb_queue {
	struct peerbar_ring *ring;
	void *entries;
	u32 nr;
	u32 stride;
	u32 next;
};

/**
 * struct pb_ucontext - a context
 * @objects: number of its objects of each kind; see pb_object_add()
 */
struct pb_ucontext {
	struct ib_ucontext ib;
	atomic_t objects[PB_NR_OBJECTS];
	struct pb_buf *buf;
	spinlock_t revoked_lock; /* protects the ring of revoked keys; a leaf */
	u32 revoked_producer;
	struct eventfd_ctx *event;
	struct pb_worker *worker; /* from the first queue pair on, to outlive single ones */
};

/**
 * struct pb_pd - a protection domain
 * @charge: unused allocation of the domain's size: charges the user for the core's, which is not
 */
struct pb_pd {
	struct ib_pd ib;
	void *charge;
};

/* destination of a message; read under RCU, except @attr */
struct pb_av {
	struct rcu_head rcu;
	struct rdma_ah_attr attr;
	struct ib_pd *pd;
	union ib_gid sgid;
	union ib_gid dgid;
	u32 target;
	u32 ahn;
	u8 sl;
	u8 hop_limit;
	u8 traffic_class;
	u8 dmac[ETH_ALEN];
};

struct pb_ah {
	struct ib_ah ib;
	struct pb_av *av;
};

/**
 * struct pb_cq - completion queue
 * @resize_mutex: serializes resizes; taken before @lock
 * @lock: protects everything below; taken with irqs off, a leaf
 */
struct pb_cq {
	struct ib_cq ib;
	struct mutex resize_mutex; /* see above */
	spinlock_t lock; /* see above */
	struct pb_buf *buf;
	struct peerbar_ring *ring;
	struct peerbar_cqe *entries;
	u32 nr;
	u32 producer;
	u32 consumer; /* of a kernel user */
	enum ib_cq_notify_flags armed;
	bool overflow;
};

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

enum pb_mr_kind {
	PB_MR_PAGES,	/* user memory: pages */
	PB_MR_SEGMENTS,	/* a dma-buf: segments that the CPU can address */
	PB_MR_WINDOW,	/* a memory window */
	PB_MR_FAST,	/* of a kernel user: pages by DMA address, for fast registration */
	PB_MR_DMA,	/* of a kernel user: all memory, at DMA addresses */
};

/* a contiguous segment of a dma-buf */
struct pb_segment {
	u64 offset;
	size_t len;
	union {
		void *va;
		void __iomem *io;
	};
	bool mmio;
	bool mapped; /* by this driver, with ioremap() */
};

/**
 * struct pb_mr - a memory region, or a window into one
 *
 * Looked up by key under RCU. @users counts the tasks that have entered, and is negative while none
 * may enter (temporarily or permanently). The task that makes it negative waits until the others
 * have left. A revoke does so with the reservation lock of the dma-buf held, so a task that has
 * entered must not take that lock.
 *
 * @key: both lkey and rkey
 * @ctx: the context that is notified of a revocation
 * @umem: of user memory and dma-bufs
 * @first: offset of @iova in the first page, or in the first segment; of a window, its start
 *	address in @parent
 * @registered: the pages of a fast registration; changed with the region blocked
 * @mapped: the pages that the next fast registration registers; its user's
 * @gone: deregistered, not revoked: don't notify @ctx
 * @windows: number of bound windows; a region with windows cannot be deregistered. Negative when
 *	none may be bound any more
 * @mw_type: of a window
 * @parent: of a bound window
 * @qpn: number of the queue pair that a window of type 2 is bound to
 */
struct pb_mr {
	struct ib_mr ib;
	struct rcu_head rcu;
	enum pb_mr_kind kind;
	u32 key;
	struct ib_pd *pd;
	int access;
	u64 iova;
	u64 length;
	atomic_t users;
	struct ib_ucontext *ctx;
	struct ib_umem *umem;
	unsigned long first;
	union {
		struct page **pages;
		struct pb_segment *segments;
	};
	unsigned int nr;
	struct pb_page_list *registered;
	struct pb_page_list *mapped;
	bool gone;
	bool revoked;
	atomic_t windows;
	enum ib_mw_type mw_type;
	struct pb_mr *parent;
	u32 qpn;
};

/* The core frees this at once; lookups need @mr for another grace period. */
struct pb_mw {
	struct ib_mw ib;
	struct pb_mr *mr;
};

/* a scatter/gather element whose memory was entered */
struct pb_ref {
	struct pb_mr *mr;
	struct pb_mr *region; /* region that contains the memory: @mr, or a window's parent */
	void *va; /* kernel memory, instead of both */
	u64 addr;
	u32 len;
	u32 key;
};

/**
 * struct pb_refs - source or destination of a message
 * @pd: protection domain that the keys must belong to
 * @qpn: the queue pair that uses the keys, for windows of type 2
 * @access: access that the keys must grant
 * @dma: PB_DMA_LKEY is allowed
 * @state: of the queue pair; a copy stops when it is ERR or RESET
 */
struct pb_refs {
	struct pb_device *dev;
	struct ib_pd *pd;
	u32 qpn;
	int access;
	bool dma;
	const enum ib_qp_state *state;
	unsigned int nr;
	u64 total;
	struct pb_ref ref[PB_MAX_SGE + 1];
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

static inline struct pb_device *to_pb(struct ib_device *ib) { return container_of(ib, struct pb_device, ib); }
static inline struct pb_qp *to_pb_qp(struct ib_qp *ib) { return container_of(ib, struct pb_qp, ib); }
static inline struct pb_cq *to_pb_cq(struct ib_cq *ib) { return container_of(ib, struct pb_cq, ib); }
static inline struct pb_srq *to_pb_srq(struct ib_srq *ib) { return container_of(ib, struct pb_srq, ib); }
static inline struct pb_ah *to_pb_ah(struct ib_ah *ib) { return container_of(ib, struct pb_ah, ib); }
static inline struct pb_mr *to_pb_mr(struct ib_mr *ib) { return container_of(ib, struct pb_mr, ib); }
static inline struct pb_mw *to_pb_mw(struct ib_mw *ib) { return container_of(ib, struct pb_mw, ib); }
static inline struct pb_ucontext *to_pb_ucontext(struct ib_ucontext *ib) { return container_of(ib, struct pb_ucontext, ib); }

/* gid.c */
void pb_device_list(struct pb_device *dev);
void pb_device_unlist(struct pb_device *dev);
/*
 * Return the id of the device that owns @gid as seen from @from, or 0. @dmac is the MAC address
 * that the network resolved for it.
 */
u32 pb_find_device(struct pb_device *from, const union ib_gid *gid, const u8 *dmac);
/* GSI's handle of the device with @id; call under RCU, may be NULL */
struct pb_qp_handle *pb_find_gsi(u32 id);

/* object.c */
/*
 * Count one more object of @ctx. Return 0, or -ENOMEM if the limit is reached. @ctx is NULL for a
 * kernel user, which has no limit. Call pb_object_remove() where the object is freed.
 */
int pb_object_add(struct ib_ucontext *ctx, enum pb_object kind);
void pb_object_remove(struct ib_ucontext *ctx, enum pb_object kind);
/* The context of @uobject; NULL for a kernel user. */
static inline struct ib_ucontext *pb_context_of(const struct ib_uobject *uobject) { return uobject ? uobject->context : NULL; }
/*
 * Allocation flags. A user's allocations are charged, and fail with -ENOMEM instead of invoking the
 * OOM killer when the user's limit is hit.
 */
static inline gfp_t pb_gfp(bool user)
{
	return user ? GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN : GFP_KERNEL;
}

/* ring.c */
extern const struct ib_device_ops pb_ring_ops;
/* The context that can map @buf; NULL for a kernel user. */
static inline struct ib_ucontext *pb_buf_context(const struct pb_buf *buf) { return buf->user ? buf->entry.ucontext : NULL; }
struct pb_buf *pb_buf_alloc(struct ib_ucontext *ctx, size_t size, u64 *offset);
void pb_buf_free(struct pb_buf *buf);
void pb_queue_init(struct pb_queue *queue, struct peerbar_ring *ring, void *entries, u32 nr, u32 stride);
bool pb_queue_pending(const struct pb_queue *queue);
bool pb_queue_peek(struct pb_queue *queue, void *entry);
void pb_queue_done(struct pb_queue *queue);
/* The next free entry, or NULL if the ring is full. A kernel user must hold the post lock. */
void *pb_queue_room(struct pb_queue *queue);
void pb_queue_post(struct pb_queue *queue);

/* attr.c */
extern const struct ib_device_ops pb_attr_ops;

/* context.c */
extern const struct ib_device_ops pb_context_ops;
void pb_tell_revoked(struct ib_ucontext *ctx, u32 lkey);

/* ah.c */
extern const struct ib_device_ops pb_ah_ops;
int pb_av_get(struct pb_device *dev, struct ib_pd *pd, u32 ahn, struct pb_av *av);

/* cq.c */
extern const struct ib_device_ops pb_cq_ops;
/* Return false if the queue is full. */
bool pb_complete(struct ib_cq *cq, struct ib_qp *qp, const struct peerbar_cqe *cqe, bool solicited);
/* Drop the completions of a kernel user's queue pair being destroyed; a user's provider does. */
void pb_cq_forget(struct ib_cq *cq, struct ib_qp *qp);

/* region.c */
/* Look up a region by index and enter it; the caller must compare the key. NULL if it is blocked. */
struct pb_mr *pb_mr_enter(struct pb_device *dev, u32 key);
void pb_mr_leave(struct pb_mr *mr);
/* Prevent further entries, and wait until no task is inside. */
void pb_mr_block(struct pb_mr *mr);
void pb_mr_unblock(struct pb_mr *mr);
/*
 * Find a window, or a region for fast registration, by the bits of @key in @mask, and block it
 * until pb_mr_unblock(). Return NULL if there is none, or if another task is changing it.
 */
struct pb_mr *pb_mr_lock(struct pb_device *dev, struct ib_pd *pd, u32 key, u32 mask);
bool pb_mr_covers(const struct pb_mr *mr, u64 addr, u64 len);
/* Enter all regions or none: 0, or -EFAULT if a key does not grant the access to all of it. */
int pb_refs_get(struct pb_refs *refs);
void pb_refs_put(struct pb_refs *refs);
/*
 * Allocate a region with its fields, invisible to lookups; assign its key and make it visible; fill
 * the fields of its user's struct ib_mr.
 */
struct pb_mr *pb_mr_alloc(struct ib_pd *pd, enum pb_mr_kind kind, u64 iova, u64 length, int access);
int pb_mr_publish(struct pb_device *dev, struct pb_mr *mr);
void pb_mr_unpublish(struct pb_device *dev, struct pb_mr *mr);
struct ib_mr *pb_mr_done(struct pb_mr *mr);

/* mr.c */
#define PB_ACCESS (IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC | \
		   IB_ACCESS_MW_BIND | IB_ZERO_BASED | IB_ACCESS_FLUSH_GLOBAL | IB_ACCESS_FLUSH_PERSISTENT | IB_ACCESS_OPTIONAL)
extern const struct ib_device_ops pb_mr_ops;

/* mw.c */
extern const struct ib_device_ops pb_mw_ops;
int pb_mw_bind(struct pb_device *dev, struct ib_pd *pd, u32 qpn, const struct peerbar_sqe *sqe);
int pb_invalidate(struct pb_device *dev, struct ib_pd *pd, u32 qpn, u32 key);

/* frmr.c */
extern const struct ib_device_ops pb_frmr_ops;
/* The DMA address of byte @offset of the registered pages; @len receives the rest of its page. */
u64 pb_fast_dma(const struct pb_mr *mr, u64 offset, size_t *len);
void pb_fast_free(struct pb_mr *mr);
void pb_fast_post(const struct ib_reg_wr *wr, struct peerbar_sqe *sqe);
int pb_fast_register(struct pb_device *dev, struct ib_pd *pd, const struct peerbar_sqe *sqe);
void pb_fast_invalidate(struct pb_mr *mr);

/* copy.c */
/*
 * Copy bytes *@at to @len from @src to @dst, both entered, and advance *@at. May leave and re-enter
 * both; the caller must put both in any case. Returns -EFAULT and *@who if a region was revoked,
 * -ESHUTDOWN if a queue pair is in ERR or RESET, and -EAGAIN if the caller must call again for the
 * rest: the pass is over, or a signal is pending.
 */
int pb_copy(struct pb_refs *dst, struct pb_refs *src, u64 *at, u64 len, struct pb_refs **who);
int pb_atomic(struct pb_device *dev, struct pb_refs *remote, bool swap, u64 compare_add, u64 swap_val, u64 *old);
int pb_dma_to_phys(struct pb_device *dev, u64 dma, phys_addr_t *phys);

/* rq.c */
u32 pb_rq_stride(u32 max_sge);
void pb_rq_init(struct pb_rq *rq, u32 max_sge, u32 *flags, bool user);
bool pb_rq_take(struct pb_qp *qp);
void pb_rq_done(struct pb_qp *qp);
int pb_rq_post(struct pb_rq *rq, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad);
void pb_srq_check_limit(struct pb_srq *srq);

/* srq.c */
extern const struct ib_device_ops pb_srq_ops;

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

/* qp.c */
extern const struct ib_device_ops pb_qp_ops;

/* worker.c */
int pb_workers_init(void);
void pb_workers_exit(void);
struct pb_worker *pb_worker_get(struct pb_ucontext *ctx);
void pb_worker_put(struct pb_worker *worker);
/* Run the remaining work after @delay jiffies, or at once. */
void pb_qp_defer(struct pb_qp *qp, unsigned long delay);
void pb_qp_kick(struct pb_qp *qp);
void pb_qp_stop_work(struct pb_qp *qp);

/* mcast.c */
extern const struct ib_device_ops pb_mcast_ops;
/*
 * The next queue pair after number @after that is attached to the group in the network namespace of
 * @from, with a reference; NULL if there is none.
 */
struct pb_qp *pb_mcast_next(const struct pb_qp *from, const union ib_gid *gid, u32 after);

/* message.c */
#define PB_GRH_BYTES 40
/* Instead of a status: not complete, run again */
#define PB_AGAIN 1000
/* Instead of a status: lost over UC. The request succeeds; the responder completes nothing. */
#define PB_LOST 1001
void pb_complete_send(struct pb_qp *qp, u32 status);
/* Complete and consume the receive in @peer->rqe; rq_lock held. */
void pb_complete_recv(struct pb_qp *peer, struct pb_qp *qp, u32 status, u32 len);
void pb_refs_init(struct pb_refs *refs, struct pb_qp *qp, struct ib_pd *pd, int access);
void pb_refs_add(struct pb_refs *refs, u64 addr, u32 len, u32 key);
void pb_refs_add_va(struct pb_refs *refs, void *va, u32 len);
/* Set the sender's side of a request. Return a status. */
u32 pb_local_refs(struct pb_qp *qp, struct pb_refs *refs, int access);
/* Set and enter the memory of the responder's receive. Return a status of the responder. */
u32 pb_recv_refs(struct pb_qp *peer, struct pb_refs *refs, u64 need);

/* connection.c */
/* Execute the request in @qp->sqe. Return a status, or PB_AGAIN. */
u32 pb_do_connection(struct pb_qp *qp);

/* datagram.c */
/* Execute the request in @qp->sqe. Return a status, or PB_AGAIN. */
u32 pb_do_ud(struct pb_qp *qp);

/* send.c */
void pb_qp_init_work(struct pb_qp *qp);
/* For the system call that posts: return 0, or the error that restarts it for the rest. */
int pb_run_posted(struct pb_qp *qp);
void pb_flush(struct pb_qp *qp);
/* Send the event that the send queue is drained, if it is and one was requested; sq_lock held. */
void pb_check_drained(struct pb_qp *qp);
/* rq_lock held */
void pb_flush_held(struct pb_qp *qp);

#endif
