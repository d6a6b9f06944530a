/* SPDX-License-Identifier: GPL-2.0 */
/* Rings that the kernel shares with user space. */
#ifndef _PEERBAR_RDMA_RING_H
#define _PEERBAR_RDMA_RING_H

#include "rdma.h"

/**
 * struct pbr_buf - memory of a ring; freed when neither the object nor a mapping uses it
 * @entry: in the context, if it is for user space
 * @va: its address
 * @size: in bytes, whole pages
 */
struct pbr_buf {
	struct rdma_user_mmap_entry entry;
	void *va;
	size_t size;
	bool user;
};

/**
 * struct pbr_queue - a ring of work requests; this driver is the consumer
 * @next: index of the next entry; copied to the shared consumer index, which is never read back
 */
struct pbr_queue {
	struct peerbar_ring *ring;
	void *entries;
	u32 nr;
	u32 stride;
	u32 next;
};

/* ring.c */
extern const struct ib_device_ops pbr_ring_ops;
/* The context that can map @buf; NULL for a kernel user. */
static inline struct ib_ucontext *pbr_buf_context(const struct pbr_buf *buf)
{
	return buf->user ? buf->entry.ucontext : NULL;
}

struct pbr_buf *pbr_buf_alloc(struct ib_ucontext *ctx, size_t size, u64 *offset);
/* The same for a ring of @wanted entries of @stride bytes behind a header, rounded up to @nr. */
struct pbr_buf *pbr_ring_alloc(struct ib_ucontext *ctx, size_t header, u32 wanted, u32 stride,
			       u32 *nr, u64 *offset);
void pbr_buf_free(struct pbr_buf *buf);
void pbr_queue_init(struct pbr_queue *queue, struct peerbar_ring *ring, void *entries, u32 nr,
		    u32 stride);
bool pbr_queue_pending(const struct pbr_queue *queue);
bool pbr_queue_peek(struct pbr_queue *queue, void *entry);
/* Number of pending entries; 0 if the producer index is invalid. */
u32 pbr_queue_ahead(const struct pbr_queue *queue);
/* As pbr_queue_peek(), for the entry @ahead entries behind the next one. */
bool pbr_queue_peek_at(struct pbr_queue *queue, u32 ahead, void *entry);
void pbr_queue_done(struct pbr_queue *queue);
/* Number of posted requests that are not complete; racy, and wrong if the user's index is. */
static inline u32 pbr_queue_length(const struct pbr_queue *queue)
{
	return queue->nr ? READ_ONCE(queue->ring->producer) - READ_ONCE(queue->next) : 0;
}

/* The next free entry, or NULL if the ring is full. A kernel user must hold the post lock. */
void *pbr_queue_room(struct pbr_queue *queue);
void pbr_queue_post(struct pbr_queue *queue);

#endif
