/* SPDX-License-Identifier: GPL-2.0 */
/* Rings that the kernel shares with user space. */
#ifndef _PEERBAR_RDMA_RING_H
#define _PEERBAR_RDMA_RING_H

#include "rdma.h"

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

#endif
