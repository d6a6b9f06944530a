/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * The ABI between the kernel module peerbar-rdma and its libibverbs provider: the extra fields of
 * the verbs commands, and the shared rings. The kernel copies each ring entry that user space
 * writes once, and reads only the copy.
 *
 * Indexes run freely through 32 bits. The entry of index i is i & (entries - 1); entries is a power
 * of two. A producer fills the entry, and then stores the index with release semantics. A consumer
 * loads the index with acquire semantics. A ring is full when producer - consumer == entries.
 */
#ifndef PEERBAR_ABI_H
#define PEERBAR_ABI_H

#include <linux/types.h>

/* RDMA_NLDEV_ATTR_DRIVER_ID, by which the provider finds the device */
#define PEERBAR_RDMA_DRIVER_ID	 0x5042
#define PEERBAR_RDMA_ABI_VERSION 1

struct peerbar_ring {
	__u32 producer;
	__u32 reserved0[15];
	__u32 consumer;
	__u32 reserved1[15];
};

/*
 * The context. @event_fd is an eventfd, or -1. The kernel signals it when a memory region of this
 * context is revoked. It writes the lkeys of revoked regions into the ring at @revoked_offset: a
 * struct peerbar_ring, followed by @revoked_entries lkeys (__u32). If the ring is full, the kernel
 * drops the key and increments @lost.
 */
struct peerbar_revoked_ring {
	struct peerbar_ring ring;
	__u32 lost;
	__u32 reserved[31];
	__u32 lkeys[];
};

struct peerbar_alloc_ucontext_req {
	__s32 event_fd;
	__u32 reserved;
};

struct peerbar_alloc_ucontext_resp {
	__aligned_u64 revoked_offset;
	__u32 revoked_size;
	__u32 revoked_entries;
	__u32 max_inline;
	__u32 reserved;
};

/*
 * Attribute of UVERBS_METHOD_REG_DMABUF_MR, optional: access flags in addition to those that the
 * kernel's core accepts for dma-bufs, IB_UVERBS_ACCESS_ON_DEMAND and IB_UVERBS_ACCESS_FLUSH_GLOBAL.
 */
#define PEERBAR_ATTR_REG_DMABUF_MR_ACCESS 0x1000

struct peerbar_alloc_pd_resp {
	__u32 pdn;
	__u32 reserved;
};

/*
 * Offsets are for mmap() of the context's command descriptor. Sizes are in bytes and whole pages.
 * Both are valid until the object is destroyed or resized.
 */
struct peerbar_create_cq_resp {
	__aligned_u64 offset;
	__u32 size;
	__u32 entries;
	__u32 cqn;
	__u32 reserved;
};

struct peerbar_resize_cq_resp {
	__aligned_u64 offset;
	__u32 size;
	__u32 entries;
};

struct peerbar_create_srq_resp {
	__aligned_u64 offset;
	__u32 size;
	__u32 entries;
	__u32 stride;
	__u32 srqn;
};

/*
 * With IB_SRQ_MAX_WR, @resp is the address of struct peerbar_resize_srq_resp, which the kernel
 * writes: the command has no response of its own. The ring there has the pending entries and the
 * indexes of the old one. The caller must not post meanwhile.
 */
struct peerbar_modify_srq_req {
	__aligned_u64 resp;
};

struct peerbar_resize_srq_resp {
	__aligned_u64 offset;
	__u32 size;
	__u32 entries;
};

/*
 * A queue pair's memory begins with struct peerbar_qp_ring. The send queue's entries are at
 * @sq_entries_offset in it, the receive queue's at @rq_entries_offset. With an SRQ there is no
 * receive queue, and @rq_entries is 0. An XRC target has neither queue, and no response.
 */
struct peerbar_create_qp_resp {
	__aligned_u64 offset;
	__u32 size;
	__u32 sq_entries_offset;
	__u32 sq_entries;
	__u32 sq_stride;
	__u32 rq_entries_offset;
	__u32 rq_entries;
	__u32 rq_stride;
	__u32 max_inline;
};

struct peerbar_create_ah_resp {
	/* for struct peerbar_sqe */
	__u32 ahn;
	__u32 reserved;
};

/*
 * @flags, written by the kernel. After posting a receive, user space must issue a full barrier and
 * read @flags. With PEERBAR_RING_KICK set, it must call the kernel with a POST_RECV (or
 * POST_SRQ_RECV) of no work request. Sends are always followed by a POST_SEND of no work request,
 * in which the kernel executes them.
 */
#define PEERBAR_RING_KICK (1 << 0)

struct peerbar_qp_ring {
	struct peerbar_ring sq;
	struct peerbar_ring rq;
	__u32 flags;
	__u32 reserved[31];
};

struct peerbar_srq_ring {
	struct peerbar_ring rq;
	__u32 flags;
	__u32 reserved[31];
	/* entries follow */
};

struct peerbar_cq_ring {
	struct peerbar_ring cq;
	__u32 reserved[32];
	/* entries follow: struct peerbar_cqe */
};

/* Layout of struct ib_uverbs_sge and struct ibv_sge */
struct peerbar_sge {
	__aligned_u64 addr;
	__u32 length;
	__u32 lkey;
};

/* A receive; the stride limits the number of @sge */
struct peerbar_rqe {
	__aligned_u64 wr_id;
	__u32 num_sge;
	__u32 reserved;
	struct peerbar_sge sge[];
};

/* A send; opcodes are enum ib_uverbs_wr_opcode, flags enum ibv_send_flags */
struct peerbar_sqe {
	__aligned_u64 wr_id;
	__u32 opcode;
	__u32 flags;
	/* big-endian immediate, or the rkey to invalidate */
	__u32 imm_data;
	__u32 num_sge;
	/* with IBV_SEND_INLINE, instead of num_sge: number of bytes in place of the sges */
	__u32 inline_len;
	/* of an XRC initiator: number of the responder's shared receive queue */
	__u32 srqn;
	union {
		struct {
			__aligned_u64 remote_addr;
			__u32 rkey;
			__u32 reserved;
		} rdma;
		struct {
			__aligned_u64 remote_addr;
			__aligned_u64 compare_add;
			__aligned_u64 swap;
			__u32 rkey;
			__u32 reserved;
		} atomic;
		struct {
			__aligned_u64 remote_addr;
			/* the 8 bytes, in the order of memory */
			__aligned_u64 value;
			__u32 rkey;
			__u32 reserved;
		} atomic_write;
		struct {
			__aligned_u64 remote_addr;
			__u32 rkey;
			__u32 length;
			/* enum ib_placement_type and enum ib_selectivity_level */
			__u32 type;
			__u32 level;
		} flush;
		struct {
			__u32 ahn;
			__u32 remote_qpn;
			__u32 remote_qkey;
			__u32 reserved;
		} ud;
		struct {
			__aligned_u64 addr;
			__aligned_u64 length;
			__u32 mr_lkey;
			/* the window's current key, and its new key (local invalidate: imm_data) */
			__u32 mw_rkey;
			__u32 new_rkey;
			__u32 access;
		} mw;
		__aligned_u64 pad[5];
	};
	struct peerbar_sge sge[];
};

/* A completion; enum ibv_wc_status, enum ibv_wc_opcode and enum ibv_wc_flags */
struct peerbar_cqe {
	__aligned_u64 wr_id;
	__u32 status;
	__u32 opcode;
	__u32 vendor_err;
	__u32 byte_len;
	/* big-endian immediate, or the rkey that was invalidated */
	__u32 imm_data;
	__u32 qp_num;
	__u32 src_qp;
	__u32 wc_flags;
	union {
		/* of a receive from an XRC queue: the queue's number; otherwise 0 */
		__u32 srqn;
		/* of a datagram, in the kernel only: its VLAN, with IB_WC_WITH_VLAN */
		__u32 vlan_id;
	};
	__u8 sl;
	__u8 network_hdr_type;
	__u16 pkey_index;
	/* CLOCK_MONOTONIC_RAW, ns */
	__aligned_u64 timestamp;
};

#endif
