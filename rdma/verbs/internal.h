/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Internal interfaces of the verbs library.
 *
 * Locks, none of which nests in another:
 *
 * - pbv_cache.lock: no system call is made with it held
 * - pbv_watch.lock: held across queries of buffers, and deregistration
 * - pbv_space.lock
 *
 * A watched region holds a reference to its watch: either may be freed first.
 */
#ifndef PBV_INTERNAL_H
#define PBV_INTERNAL_H

#include <errno.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "peerbar-verbs.h"

/* ---- errors, as in libpeerbar ---- */

int pbv_fail(struct pb_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int pbv_fail_errno(struct pb_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- peerbar's own device ---- */

/*
 * Calls of peerbar's provider beyond verbs. They are resolved at run time, since other devices do
 * not need the provider.
 */
struct pbv_direct {
	void *library;
	int (*revocation_fd)(struct ibv_context *context);
	int (*next_revoked)(struct ibv_context *context, uint32_t *lkey);
	int (*mr_revoked)(struct ibv_mr *mr);
};

/* Returns false if it is not peerbar's own device; there is nothing to close then. */
bool pbv_direct_open(struct pbv_direct *direct, struct ibv_context *context);
void pbv_direct_close(struct pbv_direct *direct);

/* ---- the page of the kernel module peerbar ---- */

/* The number of revocations in this system, updated by the kernel; NULL without the module. */
const volatile uint64_t *pbv_page_open(void);
void pbv_page_close(const volatile uint64_t *page);

/* ---- regions ---- */

struct pbv_mr {
	struct ibv_mr *verbs;
	uint32_t lkey;
	struct pb_buffer *buffer; /* NULL for ordinary memory */
	uint64_t iova;
	uint64_t offset;
	uint64_t length;
	enum pb_model model;
	bool counted; /* the module counts the revocations of the buffer */
	uint64_t list_id;
	uint64_t revocations; /* before the registration */
	_Atomic(void *) data;
	atomic_bool revoked;	      /* known to be revoked */
	pthread_mutex_t watch_lock;   /* taken after pbv_watch.lock */
	struct pbv_watch *watch;      /* changed under both locks */
	TAILQ_ENTRY(pbv_mr) in_watch; /* under pbv_watch.lock, like the next three */
	TAILQ_ENTRY(pbv_mr) in_queue;
	bool told; /* it was queued since it was added */
	bool queued;
	struct pbv_entry *entry; /* its entry in a cache, or NULL */
};

int pbv_reg_memory(struct ibv_pd *pd, void *address, size_t length, int access, struct pbv_mr **mr,
		   struct pb_error *err);

/*
 * Lock the region's watch, if it has one, so that the watch does not access the region. Release it
 * afterwards; with @gone, the region is removed from the watch.
 */
struct pbv_watch *pbv_watch_hold(struct pbv_mr *mr);
void pbv_watch_release(struct pbv_watch *watch, struct pbv_mr *mr, bool gone);

/* ---- mappings ---- */

/* A line of /proc/PID/maps. */
struct pbv_vma {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint64_t inode;
	unsigned int major;
	unsigned int minor;
	bool writable;
	bool shared;
	bool dmabuf;
};

bool pbv_parse_maps(const char *line, struct pbv_vma *vma);

#endif
