/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A verbs device in software. Among queue pairs on this host, the task that posts a send copies it
 * to its destination, in the system call that rings the doorbell. Device memory is accessed at the
 * DMA addresses that the PCI function behind the network device has for it, through the IOMMU's own
 * translations.
 *
 * Where pbr_find_device() finds no device (modify to RTR, and datagrams), the peer is on another
 * host, and wire.h begins.
 */
#ifndef _PEERBAR_RDMA_H
#define _PEERBAR_RDMA_H

#include <linux/device/faux.h>
#include <linux/if_vlan.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/xarray.h>
#include <rdma/ib_verbs.h>
#include <rdma/uverbs_ioctl.h>
#include <uapi/rdma/peerbar-abi.h>

#define PBR_MAX_SGE	   32
#define PBR_MAX_INLINE	   1024
#define PBR_MAX_WR	   32768
#define PBR_MAX_CQE	   SZ_1M
#define PBR_MAX_MSG	   SZ_2G
/*
 * Limits of one context, the defaults of module parameters of those names. They keep a context from
 * using up a device, whose own limits are numbers of 24 bits, and memory.
 */
#define PBR_MAX_QP	   65536
#define PBR_MAX_CQ	   65536
#define PBR_MAX_SRQ	   65536
#define PBR_MAX_PD	   65536
#define PBR_MAX_AH	   65536
#define PBR_MAX_MR	   SZ_1M
#define PBR_MAX_MW	   SZ_1M
#define PBR_MAX_OBJECTS	   0xfffffe
#define PBR_LAST_KEY	   PBR_MAX_OBJECTS
#define PBR_FIRST_QPN	   16
#define PBR_LAST_QPN	   PBR_MAX_OBJECTS
#define PBR_LAST_SRQN	   PBR_MAX_OBJECTS
#define PBR_MAX_RD_ATOM	   128
/* multicast group memberships of one device */
#define PBR_MAX_MCAST	   8192
/* of one fast registration */
#define PBR_MAX_FAST_PAGES 512
/* key of all memory, at DMA addresses; only the kernel's own queue pairs may use it */
#define PBR_DMA_LKEY	   0xffffff00
/* bytes copied before a revocation may intervene */
#define PBR_COPY_PIECE	   SZ_64K
/* bytes of a message copied before the receiver's lock is released */
#define PBR_COPY_PASS	   SZ_1M

struct pbr_buf;
struct pbr_port;
struct pbr_qp_handle;
struct pbr_worker;

enum pbr_object {
	PBR_QP,
	PBR_CQ,
	PBR_SRQ,
	PBR_PD,
	PBR_AH,
	PBR_MR,
	PBR_MW,
	PBR_MCAST, /* memberships in multicast groups */
	PBR_NR_OBJECTS,
};

/*
 * A message is sent by the device whose memory it is copied from, and received by the device whose
 * memory it is copied to: a read is sent by the responder's.
 */
enum pbr_counter {
	PBR_SENT_MESSAGES,
	PBR_SENT_BYTES,
	PBR_RCVD_MESSAGES,
	PBR_RCVD_BYTES,
	PBR_DROPPED_MESSAGES, /* of UD and UC: no receiver, no receive, or refused; the sender's */
	PBR_RCVD_RNR,	      /* waits of a requester for a receive */
	PBR_SENT_RNR,	      /* the same, of the responder */
	PBR_RETRY_EXCEEDED,
	PBR_RNR_RETRY_EXCEEDED,
	PBR_ACCESS_REFUSED, /* accesses to memory by a key that does not grant them */
	PBR_WC_ERRORS,	    /* completions in error, except flushed ones */
	PBR_WC_FLUSHED,
	PBR_CQ_OVERFLOWS, /* completions that found their queue full */
	PBR_REVOKED_REGIONS,
	PBR_PAGE_FAULTS,	/* of on-demand regions */
	PBR_PAGE_INVALIDATIONS, /* by exporters and by the memory management */
	PBR_PAGE_PREFETCHES,	/* ranges made present by ibv_advise_mr() */
	PBR_WORKER_RUNS,	/* passes over a queue pair's deferred work */
	/* of the wire */
	PBR_SENT_PACKETS,
	PBR_RCVD_PACKETS,    /* all that arrived at the port */
	PBR_SEND_ERRORS,     /* packets without a route, or that the network device dropped */
	PBR_MALFORMED,	     /* dropped: length, version, opcode, or options of IP */
	PBR_UNEXPECTED,	     /* dropped: no queue pair that is ready for it from there; keys */
	PBR_ICRC_ERRORS,     /* dropped */
	PBR_QUEUE_FULL,	     /* dropped: too many packets wait */
	PBR_GROUP_DEFERRED,  /* to a large group: a worker queues the rest of the copies */
	PBR_DUPLICATES,	     /* requests that were executed before */
	PBR_OUT_OF_SEQUENCE, /* requests before which one is missing */
	PBR_RCVD_SEQ_ERR,    /* the same, of the requester */
	PBR_RETRANSMITS,     /* times that a requester went back */
	PBR_ECN_MARKED,	     /* packets that a router marked */
	PBR_SENT_CNP,	     /* notifications of congestion */
	PBR_RCVD_CNP,
	PBR_NR_COUNTERS,
};

struct pbr_counters {
	u64 value[PBR_NR_COUNTERS];
};

/**
 * struct pbr_device - a verbs device
 * @dma: attaches to dma-bufs: the PCI function behind the network device; without one, @faux
 * @pdev: that function, or NULL
 * @group_packets: packets to groups, not queued at all members yet; for @group_work
 */
struct pbr_device {
	struct ib_device ib;
	struct device *dma;
	struct pci_dev *pdev;
	struct faux_device *faux;
	struct device_dma_parameters dma_parms; /* of @faux */
	const struct net *net; /* only compared; constant while this device exists */
	u32 id;
	struct list_head node;
	int max[PBR_NR_OBJECTS];   /* limits of a context, as the device reports them */
	unsigned int max_seg_size; /* the function's own, before its first device */
	struct xarray mrs;
	u32 next_mr;
	struct xarray avs;
	u32 next_av;
	struct pbr_qp_handle __rcu *gsi;
	enum ib_mtu active_mtu;
	const struct net_device *ndev; /* only compared; the core has a reference */
	struct pbr_port *port;	       /* where packets arrive; NULL without a wire */
	atomic_t queued;	       /* bytes of packets that wait, here or at queue pairs */
	struct sk_buff_head group_packets;
	struct work_struct group_work;
	spinlock_t atomic_lock; /* for atomics on memory without atomics; a leaf */
	struct pbr_counters __percpu *counters;
};

/**
 * struct pbr_ucontext - a context
 * @objects: number of its objects of each kind; see pbr_object_add()
 * @pins_lock: protects @pins
 * @pins: dma-bufs that its regions pin; see pbr_pin_charge()
 */
struct pbr_ucontext {
	struct ib_ucontext ib;
	atomic_t objects[PBR_NR_OBJECTS];
	struct mutex pins_lock; /* see above */
	struct xarray pins;
	struct pbr_buf *buf;
	spinlock_t revoked_lock; /* protects the ring of revoked keys; a leaf */
	u32 revoked_producer;
	struct eventfd_ctx *event;
	struct pbr_worker *worker; /* from the first queue pair on, to outlive single ones */
};

/**
 * struct pbr_pd - a protection domain
 * @charge: unused allocation of the domain's size: charges the user for the core's, which is not
 */
struct pbr_pd {
	struct ib_pd ib;
	void *charge;
};

static inline struct pbr_device *to_pbr(struct ib_device *ib)
{
	return container_of(ib, struct pbr_device, ib);
}

static inline struct pbr_ucontext *to_pbr_ucontext(struct ib_ucontext *ib)
{
	return container_of(ib, struct pbr_ucontext, ib);
}

/*
 * Log with dynamic debug why a verb or a request fails, and evaluate to @err. A message names the
 * verb, the object, the value, and what would be valid.
 */
#define pbr_fail(ibdev, err, fmt, ...)                     \
	({                                                 \
		ibdev_dbg(ibdev, fmt "\n", ##__VA_ARGS__); \
		(err);                                     \
	})

/* object.c */
/*
 * Count one more object of @ctx. Return 0, or -ENOMEM if the limit is reached. @ctx is NULL for a
 * kernel user, which has no limit. Call pbr_object_remove() where the object is freed.
 */
int pbr_object_add(struct ib_ucontext *ctx, enum pbr_object kind);
void pbr_object_remove(struct ib_ucontext *ctx, enum pbr_object kind);
/* The context of @uobject; NULL for a kernel user. */
static inline struct ib_ucontext *pbr_context_of(const struct ib_uobject *uobject)
{
	return uobject ? uobject->context : NULL;
}

/*
 * Allocation flags. A user's allocations are charged, and fail with -ENOMEM instead of invoking the
 * OOM killer when the user's limit is hit.
 */
static inline gfp_t pbr_gfp(bool user)
{
	return user ? GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN : GFP_KERNEL;
}

/* counter.c */
extern const struct ib_device_ops pbr_counter_ops;
int pbr_counters_alloc(struct pbr_device *dev);
void pbr_counters_free(struct pbr_device *dev);
static inline void pbr_count(struct pbr_device *dev, enum pbr_counter counter)
{
	this_cpu_inc(dev->counters->value[counter]);
}

static inline void pbr_count_many(struct pbr_device *dev, enum pbr_counter counter, u64 n)
{
	this_cpu_add(dev->counters->value[counter], n);
}

static inline void pbr_count_sent(struct pbr_device *dev, u64 bytes)
{
	pbr_count(dev, PBR_SENT_MESSAGES);
	this_cpu_add(dev->counters->value[PBR_SENT_BYTES], bytes);
}

static inline void pbr_count_rcvd(struct pbr_device *dev, u64 bytes)
{
	pbr_count(dev, PBR_RCVD_MESSAGES);
	this_cpu_add(dev->counters->value[PBR_RCVD_BYTES], bytes);
}

static inline void pbr_count_message(struct pbr_device *from, struct pbr_device *to, u64 bytes)
{
	pbr_count_sent(from, bytes);
	pbr_count_rcvd(to, bytes);
}

/* restrack.c */
extern const struct ib_device_ops pbr_restrack_ops;

/* gid.c */
void pbr_device_list(struct pbr_device *dev);
void pbr_device_unlist(struct pbr_device *dev);
/*
 * Return the id of the device that owns @gid as seen from @from, or 0. @dmac is the MAC address
 * that the network resolved for it.
 */
u32 pbr_find_device(struct pbr_device *from, const union ib_gid *gid, const u8 *dmac);
/* The device on a network device, or with an address in a namespace; under RCU, may be NULL. */
struct pbr_device *pbr_find_device_of_netdev(const struct net_device *ndev);
struct pbr_device *pbr_find_device_of_gid(const struct net *net, const union ib_gid *gid);
/* GSI's handle of the device with @id; call under RCU, may be NULL */
struct pbr_qp_handle *pbr_find_gsi(u32 id);

/* worker.c */
int pbr_workers_init(void);
void pbr_workers_exit(void);
struct pbr_worker *pbr_worker_get(struct pbr_ucontext *ctx);
void pbr_worker_put(struct pbr_worker *worker);

#define PBR_NO_VLAN VLAN_N_VID
/* The number of the VLAN that the network device is for */
static inline u16 pbr_vlan_of(const struct net_device *ndev)
{
	return is_vlan_dev(ndev) ? vlan_dev_vlan_id(ndev) : PBR_NO_VLAN;
}

/* attr.c */
extern const struct ib_device_ops pbr_attr_ops;

/* context.c */
extern const struct ib_device_ops pbr_context_ops;
void pbr_tell_revoked(struct ib_ucontext *ctx, u32 lkey);

#endif
