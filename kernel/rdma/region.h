/* SPDX-License-Identifier: GPL-2.0 */
/* Memory regions and windows, and copying between them. */
#ifndef _PEERBAR_RDMA_REGION_H
#define _PEERBAR_RDMA_REGION_H

#include <rdma/ib_umem.h>

#include "rdma.h"

enum pbr_mr_kind {
	PBR_MR_PAGES,	 /* user memory: pages */
	PBR_MR_USER,	 /* user memory, on demand */
	PBR_MR_SEGMENTS, /* a dma-buf: segments that the CPU can address */
	PBR_MR_WINDOW,	 /* a memory window */
	PBR_MR_FAST,	 /* of a kernel user: pages by DMA address, for fast registration */
	PBR_MR_DMA,	 /* of a kernel user: all memory, at DMA addresses */
};

/* a contiguous segment of a dma-buf */
struct pbr_segment {
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
 * struct pbr_mr - a memory region, or a window into one
 *
 * Looked up by key under RCU. @users counts the tasks that have entered, and is negative while none
 * may enter (temporarily or permanently). The task that makes it negative waits until the others
 * have left. A revoke does so with the reservation lock of the dma-buf held, so a task that has
 * entered must not take that lock.
 *
 * The memory of an on-demand region can be absent. A task that finds the region blocked leaves all
 * regions and releases all locks except sq_lock, makes the memory present (a fault), and begins
 * anew where it stopped. @faulting keeps the region until then.
 *
 * @key: both lkey and rkey
 * @ctx: the context that is notified of a revocation
 * @umem: of pinned user memory
 * @user: of user memory on demand
 * @dmabuf: of a dma-buf; its segments, @nr and blocking change with its reservation lock held
 * @first: offset of @iova in the first page, or in the first segment; of user memory on demand, the
 *	address of @iova in the process; of a window, its start address in @parent
 * @registered: the pages of a fast registration; changed with the region blocked
 * @mapped: the pages that the next fast registration registers; its user's
 * @revoked: for good; @ctx was notified
 * @on_demand: registered with IB_ACCESS_ON_DEMAND; constant, as is all that is compared on access
 * @faulting: number of tasks that resolve a fault; negative when it is deregistered
 * @windows: number of bound windows; a region with windows cannot be deregistered. Negative when
 *	none may be bound any more
 * @mw_type: of a window
 * @parent: of a bound window
 * @qpn: number of the queue pair that a window of type 2 is bound to
 */
struct pbr_mr {
	struct ib_mr ib;
	struct rcu_head rcu;
	enum pbr_mr_kind kind;
	u32 key;
	struct ib_pd *pd;
	int access;
	u64 iova;
	u64 length;
	atomic_t users;
	struct ib_ucontext *ctx;
	struct ib_umem *umem;
	struct pbr_user_memory *user;
	struct pbr_dmabuf *dmabuf;
	unsigned long first;
	union {
		struct page **pages;
		struct pbr_segment *segments;
	};
	unsigned int nr;
	struct pbr_page_list *registered;
	struct pbr_page_list *mapped;
	bool revoked;
	bool on_demand;
	atomic_t faulting;
	atomic_t windows;
	enum ib_mw_type mw_type;
	struct pbr_mr *parent;
	u32 qpn;
};

/* The core frees this at once; a lookup may still enter @mr, whose memory remains a window's. */
struct pbr_mw {
	struct ib_mw ib;
	struct pbr_mr *mr;
};

/* a scatter/gather element whose memory was entered */
struct pbr_ref {
	struct pbr_mr *mr;
	struct pbr_mr *region; /* region that contains the memory: @mr, or a window's parent */
	void *va;	       /* kernel memory, instead of both */
	u64 addr;
	u32 len;
	u32 key;
};

/* why an access by key was refused */
enum pbr_refusal {
	PBR_NOT_REFUSED,
	PBR_NO_REGION,
	PBR_BLOCKED,
	PBR_STALE_KEY,
	PBR_OTHER_PD,
	PBR_NO_ACCESS,
	PBR_OUTSIDE,
	PBR_WINDOW_UNUSABLE,
	PBR_NOT_ADDRESSABLE,
	PBR_KERNEL_KEY,
	PBR_FAULT_FAILED,
	PBR_NR_REFUSALS,
};

/**
 * struct pbr_refs - source or destination of a message
 * @pd: protection domain that the keys must belong to
 * @qpn: the queue pair that uses the keys, for windows of type 2
 * @access: access that the keys must grant
 * @dma: PBR_DMA_LKEY is allowed
 * @state: of the queue pair; a copy stops when it is ERR or RESET
 * @refusal: why an element was refused last, and @refused_key its key; for messages only
 * @fault: on-demand region whose memory is absent; the caller must call pbr_refs_fault()
 * @fault_addr: address in it that was accessed
 * @fault_len: number of bytes from there that the message accesses
 * @fault_failed: the memory cannot be made present: refuse the element
 */
struct pbr_refs {
	struct pbr_device *dev;
	struct ib_pd *pd;
	u32 qpn;
	int access;
	bool dma;
	const enum ib_qp_state *state;
	enum pbr_refusal refusal;
	u32 refused_key;
	struct pbr_mr *fault;
	u64 fault_addr;
	u64 fault_len;
	bool fault_failed;
	unsigned int nr;
	u64 total;
	struct pbr_ref ref[PBR_MAX_SGE + 1];
};

static inline struct pbr_mr *to_pbr_mr(struct ib_mr *ib)
{
	return container_of(ib, struct pbr_mr, ib);
}

static inline struct pbr_mw *to_pbr_mw(struct ib_mw *ib)
{
	return container_of(ib, struct pbr_mw, ib);
}

/* region.c */
/* Look up a region by index and enter it, or NULL; the caller must compare the key. */
struct pbr_mr *pbr_mr_enter(struct pbr_device *dev, u32 key);
void pbr_mr_leave(struct pbr_mr *mr);
/* Prevent further entries, and wait until no task is inside. */
void pbr_mr_block(struct pbr_mr *mr);
void pbr_mr_unblock(struct pbr_mr *mr);
/*
 * Find a window, or a region for fast registration, by the bits of @key in @mask, and block it
 * until pbr_mr_unblock(). Return NULL if there is none, or if another task is changing it.
 */
struct pbr_mr *pbr_mr_lock(struct pbr_device *dev, struct ib_pd *pd, u32 key, u32 mask);
bool pbr_mr_covers(const struct pbr_mr *mr, u64 addr, u64 len);
/* Where the region or window with @key begins; 0 if there is none. It may change at any time. */
u64 pbr_mr_start(struct pbr_device *dev, u32 key);
/*
 * Enter all regions or none: 0; -EFAULT if a key does not grant the access to all of it; -EAGAIN
 * and @refs->fault if memory of an on-demand region is absent.
 */
int pbr_refs_get(struct pbr_refs *refs);
void pbr_refs_put(struct pbr_refs *refs);
/* Keep an on-demand region while a fault is resolved. Return false if it is deregistered. */
bool pbr_mr_begin_fault(struct pbr_mr *mr);
/* Note that @refs->fault is @mr; -EAGAIN, or -EFAULT if it cannot be. */
int pbr_refs_set_fault(struct pbr_refs *refs, struct pbr_mr *mr, u64 addr, u64 len);
void pbr_mr_end_fault(struct pbr_mr *mr);
/* Prevent further faults of a region, and wait until none is under way. */
void pbr_mr_end_faults(struct pbr_mr *mr);
/*
 * Allocate a region with its fields, invisible to lookups; assign its key and make it visible; fill
 * the fields of its user's struct ib_mr.
 */
struct pbr_mr *pbr_mr_alloc(struct ib_pd *pd, enum pbr_mr_kind kind, u64 iova, u64 length,
			    int access);
void pbr_mr_init(struct pbr_mr *mr, struct ib_pd *pd, enum pbr_mr_kind kind, u64 iova, u64 length,
		 int access);
int pbr_mr_publish(struct pbr_device *dev, struct pbr_mr *mr);
void pbr_mr_unpublish(struct pbr_device *dev, struct pbr_mr *mr);
struct ib_mr *pbr_mr_done(struct pbr_mr *mr);

/* piece.c */
/* @bus, unless NULL, receives whether @dma is a bus address, which the IOMMU does not translate. */
int pbr_dma_to_phys(struct pbr_device *dev, u64 dma, phys_addr_t *phys, bool *bus);

/* copy.c */
/* Whether the access writes to the memory. */
static inline bool pbr_refs_write(const struct pbr_refs *refs)
{
	return refs->access &
		(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC);
}

/*
 * Copy bytes *@at to @len from @src to @dst, both entered, and advance *@at. May leave and re-enter
 * both; the caller must put both in any case. Returns -EFAULT and *@who if a region was revoked,
 * -ESHUTDOWN if a queue pair is in ERR or RESET, and -EAGAIN if the caller must call again for the
 * rest: the pass is over, a signal is pending, or there is a fault to resolve.
 */
int pbr_copy(struct pbr_refs *dst, struct pbr_refs *src, u64 *at, u64 len, struct pbr_refs **who);
/* -EAGAIN and @refs->fault if some of the first @len bytes are absent; all regions entered. */
int pbr_refs_check(struct pbr_refs *refs, u64 len);
/*
 * Copy @len bytes between @refs, entered, from byte @at on, and kernel memory. Neither leaves
 * @refs. With @last, the message's last unit is stored after everything else. Return -EFAULT if a
 * byte has no mapped DMA address.
 */
int pbr_copy_out(struct pbr_refs *refs, u64 at, void *to, size_t len);
int pbr_copy_in(struct pbr_refs *refs, u64 at, const void *from, size_t len, bool last);
/* Also -EAGAIN and @remote->fault. */
int pbr_atomic(struct pbr_device *dev, struct pbr_refs *remote, bool swap, u64 compare_add,
	       u64 swap_val, u64 *old);
/* Store 8 bytes at once, after everything that was written before. Also -EAGAIN, as above. */
int pbr_atomic_write(struct pbr_device *dev, struct pbr_refs *remote, u64 value);
/*
 * What was written to the memory of @refs, entered, has arrived there when this returns. Also
 * -EAGAIN and @refs->fault.
 */
int pbr_refs_flush(struct pbr_refs *refs);

/* frmr.c */
extern const struct ib_device_ops pbr_frmr_ops;
/* The DMA address of byte @offset of the registered pages; @len receives the rest of its page. */
u64 pbr_fast_dma(const struct pbr_mr *mr, u64 offset, size_t *len);
void pbr_fast_free(struct pbr_mr *mr);
void pbr_fast_post(const struct ib_reg_wr *wr, struct peerbar_sqe *sqe);
int pbr_fast_register(struct pbr_device *dev, struct ib_pd *pd, const struct peerbar_sqe *sqe);
void pbr_fast_invalidate(struct pbr_mr *mr);

/* mw.c */
int pbr_windows_init(void);
void pbr_windows_exit(void);
extern const struct ib_device_ops pbr_mw_ops;
int pbr_mw_bind(struct pbr_device *dev, struct ib_pd *pd, u32 qpn, const struct peerbar_sqe *sqe);
int pbr_invalidate(struct pbr_device *dev, struct ib_pd *pd, u32 qpn, u32 key);

/* mr.c */
#define PBR_ACCESS                                                                              \
	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ |               \
	 IB_ACCESS_REMOTE_ATOMIC | IB_ACCESS_MW_BIND | IB_ZERO_BASED | IB_ACCESS_FLUSH_GLOBAL | \
	 IB_ACCESS_OPTIONAL)
/* Of a dma-buf; the core accepts not all of these, see PEERBAR_ATTR_REG_DMABUF_MR_ACCESS. */
#define PBR_DMABUF_ACCESS (PBR_ACCESS | IB_ACCESS_ON_DEMAND)
/* Windows are bound to regions that stay present. */
#define PBR_ON_DEMAND_ACCESS \
	((PBR_ACCESS & ~IB_ACCESS_MW_BIND) | IB_ACCESS_ON_DEMAND | IB_ACCESS_HUGETLB)
extern const struct ib_device_ops pbr_mr_ops;

#endif
