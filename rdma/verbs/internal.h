/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the parts of the verbs library share.
 *
 * Locks, each a leaf: pbv_cache.lock, with which the kernel is never called; pbv_watch.lock, with which it is asked about
 * buffers, and regions are ended; pbv_space.lock. A region that is watched holds the watch, so that either may go first.
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

typedef unsigned long long ull;

/* ---- errors, as in libpeerbar ---- */

int pbv_fail(struct pb_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int pbv_fail_errno(struct pb_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- peerbar's own device ---- */

/*
 * What the provider of peerbar's own device offers beside verbs. It is looked for at run time, since other devices need nothing
 * of it.
 */
struct pbv_direct {
	void *library;
	int (*revocation_fd)(struct ibv_context *context);
	int (*next_revoked)(struct ibv_context *context, uint32_t *lkey);
	int (*mr_revoked)(struct ibv_mr *mr);
};

/* whether it is peerbar's own device; if not, nothing has to be closed */
bool pbv_direct_open(struct pbv_direct *direct, struct ibv_context *context);
void pbv_direct_close(struct pbv_direct *direct);

/* ---- the page of the kernel module peerbar ---- */

/* the number of revocations in this system, which the kernel counts on; NULL without the module */
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
	uint64_t revocations; /* how many there were before it was registered */
	_Atomic(void *) data;
	atomic_bool revoked; /* it is known to be */
	_Atomic(struct pbv_watch *) watch;
	TAILQ_ENTRY(pbv_mr) in_watch; /* under pbv_watch.lock, as the next two */
	TAILQ_ENTRY(pbv_mr) in_queue;
	bool told; /* it is, or was, in the queue */
	bool queued;
	struct pbv_entry *entry; /* of a cache */
};

int pbv_reg_memory(struct ibv_pd *pd, void *address, size_t length, int access, struct pbv_mr **mr, struct pb_error *err);

/* keep its watch, if it has one, from looking at the region, until it is released: then, if it is @gone, for ever */
struct pbv_watch *pbv_watch_hold(struct pbv_mr *mr);
void pbv_watch_release(struct pbv_watch *watch, struct pbv_mr *mr, bool gone);

/* ---- mappings ---- */

/* a line of /proc/PID/maps */
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
