/* SPDX-License-Identifier: GPL-2.0 */
/* On-demand regions of user memory. */
#ifndef _PEERBAR_RDMA_USER_MEMORY_H
#define _PEERBAR_RDMA_USER_MEMORY_H

#include "region.h"

/* user_memory.c */
#if IS_ENABLED(CONFIG_HMM_MIRROR)
#define PBR_HAS_USER_ODP 1
/* The current process's memory, for a region that is not published yet. Return 0 or -ENOMEM. */
int pbr_user_memory_attach(struct pbr_mr *mr);
/*
 * Make pages present, from @addr on as far as one chunk reaches, at most @len bytes; no region
 * entered, no lock held but sq_lock. Without @fault, only pages that the process has mapped. Return
 * the number of bytes, or -EFAULT, -EINTR, -ENOMEM.
 */
ssize_t pbr_user_memory_fault(struct pbr_mr *mr, u64 addr, u64 len, bool write, bool fault);
/*
 * Find the page at @addr, region entered, and the contiguous bytes from there. Return -EAGAIN if it
 * is absent, or not writable and @write.
 */
int pbr_user_memory_at(struct pbr_mr *mr, u64 addr, bool write, u8 **va, size_t *len);
/* Let no task enter the region any more, and forget the process's memory. */
void pbr_user_memory_release(struct pbr_mr *mr);
#else
#define PBR_HAS_USER_ODP 0
static inline int pbr_user_memory_attach(struct pbr_mr *mr)
{
	return -EOPNOTSUPP;
}

static inline ssize_t pbr_user_memory_fault(struct pbr_mr *mr, u64 addr, u64 len, bool write,
					    bool fault)
{
	return -EFAULT;
}

static inline int pbr_user_memory_at(struct pbr_mr *mr, u64 addr, bool write, u8 **va, size_t *len)
{
	return -EFAULT;
}

static inline void pbr_user_memory_release(struct pbr_mr *mr)
{
}
#endif

#endif
