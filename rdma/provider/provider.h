/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The libibverbs provider of peerbar devices. Queues are rings in memory shared with the kernel
 * (peerbar-abi.h). Posting receives and polling completions make no system call; posting a list of
 * sends makes one.
 */
#ifndef PEERBAR_PROVIDER_H
#define PEERBAR_PROVIDER_H

#include <config.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/driver.h>
#include <rdma/peerbar-abi.h>

#include "peerbardv.h"

/* The driver's part of a command or response must directly follow libibverbs' part. */
#define PV_DRIVER_FOLLOWS(type, base) \
	static_assert(offsetof(struct type, driver) == sizeof(struct base), "there is a gap")

/*
 * Memory shared with the kernel. A child process does not inherit it. *@now is in memory that is
 * wiped in the child, and differs from @epoch there.
 */
struct pv_memory {
	void *base;
	size_t size;
	const uint32_t *now;
	uint32_t epoch;
};

struct pv_context {
	struct verbs_context vctx;
	/* The ring of revoked keys, and its eventfd. */
	struct pv_memory memory;
	pthread_spinlock_t lock;
	uint32_t entries;
	uint32_t consumer;
	uint32_t lost;
	int event_fd;
	/*
	 * A private page, zero in a child process until the child maps a ring itself; and its last
	 * value.
	 */
	uint32_t *epoch;
	uint32_t last_epoch;
};

struct pv_pd {
	struct ibv_pd pd;
	/* The protection domain of a parent domain; otherwise NULL. */
	struct pv_pd *protects;
	struct pv_td *td;
	/* The number of parent domains that refer to this one. */
	atomic_uint users;
};

struct pv_td {
	struct ibv_td td;
	atomic_uint users;
};

struct pv_ah {
	struct ibv_ah ah;
	uint32_t ahn;
};

struct pv_cq {
	struct verbs_cq vcq;
	struct pv_memory memory;
	/* Not taken if @unlocked: the user promised to poll from one thread at a time. */
	pthread_spinlock_t lock;
	bool unlocked;
	uint32_t entries;
	/* The provider's index. The ring's copy is for the kernel, and is never read. */
	uint32_t consumer;
	/* The index of the current entry, between start_poll and end_poll. */
	uint32_t current;
};

/* The receive queue of a QP or SRQ. */
struct pv_rq {
	struct peerbar_ring *ring;
	const uint32_t *flags;
	void *first;
	uint32_t entries;
	uint32_t stride;
	uint32_t max_sge;
	/* The provider's index. The ring's copy is for the kernel, and is never read. */
	uint32_t producer;
	pthread_spinlock_t lock;
};

struct pv_srq {
	struct verbs_srq vsrq;
	struct pv_memory memory;
	struct pv_rq rq;
	uint32_t srqn;
};

struct pv_sq {
	struct peerbar_ring *ring;
	void *first;
	uint32_t entries;
	uint32_t stride;
	uint32_t max_sge;
	uint32_t max_inline;
	/* As in struct pv_rq. */
	uint32_t producer;
	pthread_spinlock_t lock;
	/*
	 * Between wr_start and wr_complete: the index after the last entry, that entry, and the
	 * first error.
	 */
	uint32_t next;
	struct peerbar_sqe *last;
	int error;
	/* Describes that error for the debug log. */
	const char *why;
};

/* A queue pair. An XRC target, created or opened, has no queues. */
struct pv_qp {
	struct verbs_qp vqp;
	struct pv_memory memory;
	struct pv_sq sq;
	struct pv_rq rq;
	/* The number of threads in the doorbell call. */
	atomic_uint doorbells;
};

static inline struct pv_context *to_context(struct ibv_context *context)
{
	return container_of(context, struct pv_context, vctx.context);
}

static inline struct pv_pd *to_pd(struct ibv_pd *pd)
{
	return container_of(pd, struct pv_pd, pd);
}

static inline struct pv_ah *to_ah(struct ibv_ah *ah)
{
	return container_of(ah, struct pv_ah, ah);
}

static inline struct pv_cq *to_cq(struct ibv_cq *cq)
{
	return container_of(cq, struct pv_cq, vcq.cq);
}

static inline struct pv_srq *to_srq(struct ibv_srq *srq)
{
	return container_of(srq, struct pv_srq, vsrq.srq);
}

static inline struct pv_qp *to_qp(struct ibv_qp *qp)
{
	return container_of(qp, struct pv_qp, vqp.qp);
}

/* Load an index that the kernel stores. Orders it before loads of the entries. */
static inline uint32_t pv_load(const uint32_t *index)
{
	return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

/* Store an index of the provider's. Orders it after stores to the entries. */
static inline void pv_store(uint32_t *index, uint32_t value)
{
	__atomic_store_n(index, value, __ATOMIC_RELEASE);
}

static inline bool pv_full(const struct peerbar_ring *ring, uint32_t producer, uint32_t entries)
{
	return producer - pv_load(&ring->consumer) >= entries;
}

/* Returns whether the process was forked from the one that mapped it. It is not mapped then. */
static inline bool pv_inherited(const struct pv_memory *memory)
{
	return memory->now && __atomic_load_n(memory->now, __ATOMIC_RELAXED) != memory->epoch;
}

/*
 * debug-log.c: the debug log (lib/debug-log.h). Log a post or a poll only if it fails, off the path
 * of those that succeed and without the queue's lock; likewise doorbells and requests of
 * notifications, though they are commands to the kernel.
 */

/* Log a failure of a verb with the values that it was called with. Returns @code. Keeps errno. */
int pv_fail(struct ibv_context *context, const char *verb, int code, const char *fmt, ...)
	__attribute__((cold, format(printf, 4, 5)));
/* Log a command to the kernel. Returns its result, @ret. Keeps errno. */
int pv_log_command(struct ibv_context *context, const char *command, int ret);
/* Allocate a zeroed object. Log a failure. */
void *pv_alloc(struct ibv_context *context, const char *verb, size_t size)
	__attribute__((malloc, alloc_size(3)));

/* Execute a command to the kernel, a function of libibverbs. */
#define PV_COMMAND(context, function, ...) pv_log_command(context, #function, function(__VA_ARGS__))

/* memory.c */
int pv_epoch_init(struct pv_context *context);
void pv_epoch_free(struct pv_context *context);
int pv_map(struct ibv_context *context, struct pv_memory *memory, uint64_t offset, uint32_t size);
void pv_unmap(struct pv_memory *memory);
bool pv_ring_fits(const struct pv_memory *memory, uint64_t offset, uint32_t entries,
		  uint32_t stride, size_t least);

struct ibv_pd *pv_alloc_pd(struct ibv_context *context);
int pv_dealloc_pd(struct ibv_pd *pd);
struct ibv_pd *pv_alloc_parent_domain(struct ibv_context *context,
				      struct ibv_parent_domain_init_attr *attr);
struct ibv_td *pv_alloc_td(struct ibv_context *context, struct ibv_td_init_attr *attr);
int pv_dealloc_td(struct ibv_td *td);
struct ibv_mr *pv_reg_mr(struct ibv_pd *pd, void *address, size_t length, uint64_t iova,
			 int access);
struct ibv_mr *pv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				int fd, int access);
int pv_advise_mr(struct ibv_pd *pd, enum ibv_advise_mr_advice advice, uint32_t flags,
		 struct ibv_sge *list, uint32_t num);
int pv_rereg_mr(struct verbs_mr *vmr, int flags, struct ibv_pd *pd, void *address, size_t length,
		int access);
int pv_dereg_mr(struct verbs_mr *vmr);
struct ibv_mw *pv_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type);
int pv_dealloc_mw(struct ibv_mw *mw);
struct ibv_ah *pv_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr);
int pv_destroy_ah(struct ibv_ah *ah);

/* cq.c */
struct ibv_cq *pv_create_cq(struct ibv_context *context, int cqe, struct ibv_comp_channel *channel,
			    int comp_vector);
struct ibv_cq_ex *pv_create_cq_ex(struct ibv_context *context, struct ibv_cq_init_attr_ex *attr);
int pv_resize_cq(struct ibv_cq *cq, int cqe);
int pv_req_notify_cq(struct ibv_cq *cq, int solicited_only);
int pv_destroy_cq(struct ibv_cq *cq);
int pv_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc);
void pv_cq_forget(struct ibv_cq *cq, uint32_t qpn);
void pv_cq_forget_srq(struct ibv_cq *cq, uint32_t srqn);

/* recv.c */
int pv_rq_init(struct pv_rq *rq, const struct pv_memory *memory, struct peerbar_ring *ring,
	       const uint32_t *flags, uint32_t offset, uint32_t entries, uint32_t stride,
	       uint32_t max_sge);
struct ibv_srq *pv_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr);
struct ibv_srq *pv_create_srq_ex(struct ibv_context *context, struct ibv_srq_init_attr_ex *attr);
int pv_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask);
int pv_query_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr);
int pv_get_srq_num(struct ibv_srq *srq, uint32_t *number);
int pv_destroy_srq(struct ibv_srq *srq);
int pv_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int pv_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);

/* qp.c */
struct ibv_qp *pv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
struct ibv_qp *pv_create_qp_ex(struct ibv_context *context, struct ibv_qp_init_attr_ex *attr);
int pv_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
		struct ibv_qp_init_attr *init);
int pv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
int pv_destroy_qp(struct ibv_qp *qp);
struct ibv_xrcd *pv_open_xrcd(struct ibv_context *context, struct ibv_xrcd_init_attr *attr);
int pv_close_xrcd(struct ibv_xrcd *xrcd);
struct ibv_qp *pv_open_qp(struct ibv_context *context, struct ibv_qp_open_attr *attr);

/* send.c */
int pv_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
int pv_bind_mw(struct ibv_qp *qp, struct ibv_mw *mw, struct ibv_mw_bind *bind);
bool pv_send_ops_supported(enum ibv_qp_type type, uint64_t ops);
void pv_set_send_ops(struct ibv_qp_ex *qp, uint64_t ops);

#endif
