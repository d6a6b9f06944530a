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

#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/xarray.h>
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

struct pb_buf;
struct pb_qp_handle;
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

static inline struct pb_device *to_pb(struct ib_device *ib) { return container_of(ib, struct pb_device, ib); }
static inline struct pb_ucontext *to_pb_ucontext(struct ib_ucontext *ib) { return container_of(ib, struct pb_ucontext, ib); }

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

/* worker.c */
int pb_workers_init(void);
void pb_workers_exit(void);
struct pb_worker *pb_worker_get(struct pb_ucontext *ctx);
void pb_worker_put(struct pb_worker *worker);

/* attr.c */
extern const struct ib_device_ops pb_attr_ops;

/* context.c */
extern const struct ib_device_ops pb_context_ops;
void pb_tell_revoked(struct ib_ucontext *ctx, u32 lkey);

#endif
