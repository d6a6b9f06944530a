/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * What the kernel module peerbar-rdma and its libibverbs provider share: the extra fields of the verbs commands, and the rings
 * that both see. Everything that user space writes into a ring is copied once by the kernel before it is looked at.
 *
 * Indexes run freely through 32 bits; the entry of index i is i & (entries - 1), and entries is a power of two. Who produces
 * fills the entry, and then stores the index with release semantics; who consumes loads it with acquire semantics. A ring is full
 * when producer - consumer == entries.
 */
#ifndef PEERBAR_ABI_H
#define PEERBAR_ABI_H

#include <linux/types.h>

/* the number in RDMA_NLDEV_ATTR_DRIVER_ID, by which the provider finds the device */
#define PEERBAR_RDMA_DRIVER_ID		0x5042
#define PEERBAR_RDMA_ABI_VERSION	1

struct peerbar_ring {
	__u32 producer;
	__u32 reserved0[15];
	__u32 consumer;
	__u32 reserved1[15];
};

/*
 * The context. @event_fd is an eventfd that is signalled whenever a memory region of this context was revoked, or -1. Keys of
 * revoked regions are then in the ring at @revoked_offset: a struct peerbar_ring, and @revoked_entries lkeys (__u32) behind it,
 * produced by the kernel. A key that finds the ring full is dropped, and @lost counts it.
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

struct peerbar_alloc_pd_resp {
	__u32 pdn;
	__u32 reserved;
};

/* Offsets are for mmap() of the context's command descriptor, sizes in bytes and whole pages; both go with the object. */
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
 * A queue pair's memory begins with struct peerbar_qp_ring; the entries of the send queue are at @sq_entries_offset in it,
 * those of the receive queue at @rq_entries_offset. With an SRQ there is no receive queue, and @rq_entries is 0.
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
 * @flags, written by the kernel: whoever posts a receive looks at it afterwards (a full barrier between), and if it has
 * PEERBAR_RING_KICK calls the kernel, with a POST_RECV (or POST_SRQ_RECV) of no work request. Sends are always followed by a
 * POST_SEND of no work request, in which the kernel does them.
 */
#define PEERBAR_RING_KICK	(1 << 0)

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

/* as struct ib_uverbs_sge and struct ibv_sge */
struct peerbar_sge {
	__aligned_u64 addr;
	__u32 length;
	__u32 lkey;
};

/* a receive; @sge has as many as the stride leaves room for */
struct peerbar_rqe {
	__aligned_u64 wr_id;
	__u32 num_sge;
	__u32 reserved;
	struct peerbar_sge sge[];
};

/* a send; opcodes are those of enum ib_uverbs_wr_opcode, flags those of enum ibv_send_flags */
struct peerbar_sqe {
	__aligned_u64 wr_id;
	__u32 opcode;
	__u32 flags;
	/* big endian immediate, or the rkey to invalidate */
	__u32 imm_data;
	__u32 num_sge;
	/* with IBV_SEND_INLINE, instead of num_sge: so many bytes where the sges would be */
	__u32 inline_len;
	__u32 reserved;
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
			__u32 ahn;
			__u32 remote_qpn;
			__u32 remote_qkey;
			__u32 reserved;
		} ud;
		struct {
			__aligned_u64 addr;
			__aligned_u64 length;
			__u32 mr_lkey;
			/* the key that the window has, and the one that it gets (local invalidate: imm_data) */
			__u32 mw_rkey;
			__u32 new_rkey;
			__u32 access;
		} mw;
		__aligned_u64 pad[5];
	};
	struct peerbar_sge sge[];
};

/* a completion; status, opcode and flags are those of enum ibv_wc_status, ibv_wc_opcode and ibv_wc_flags */
struct peerbar_cqe {
	__aligned_u64 wr_id;
	__u32 status;
	__u32 opcode;
	__u32 vendor_err;
	__u32 byte_len;
	/* big endian immediate, or the rkey that was invalidated */
	__u32 imm_data;
	__u32 qp_num;
	__u32 src_qp;
	__u32 wc_flags;
	__u32 reserved0;
	__u8 sl;
	__u8 network_hdr_type;
	__u16 pkey_index;
	/* CLOCK_MONOTONIC_RAW, ns */
	__aligned_u64 timestamp;
};

#endif
