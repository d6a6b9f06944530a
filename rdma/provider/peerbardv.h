/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/**
 * DOC: peerbardv - what a peerbar device tells that verbs have no word for
 *
 * A memory region made from a dma-buf ends when its exporter revokes the buffer: from then on its keys only give errors, until it
 * is deregistered. A program that wants to know, without waiting for such an error, asks here. Link with -lpeerbar-rdma, or look
 * the functions up with dlsym() in libpeerbar-rdma.so.1, which is also what libibverbs loads for the device.
 *
 * The functions may be called from several threads at a time, but not after the context was closed.
 */
#ifndef PEERBARDV_H
#define PEERBARDV_H

#include <stdint.h>
#include <infiniband/verbs.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * peerbardv_revocation_fd() - a descriptor to wait on for revocations
 * @context: an open device
 *
 * poll() finds it readable when regions of this context may have been revoked since peerbardv_next_revoked() last returned 0. It
 * stays the context's: it is not to be read, nor closed.
 *
 * Return: the descriptor; -EOPNOTSUPP if @context is of no peerbar device.
 */
int peerbardv_revocation_fd(struct ibv_context *context);

/**
 * peerbardv_next_revoked() - take the next region that was revoked
 * @context: an open device
 * @lkey: receives its local key, which is not given to another region before this one is deregistered
 *
 * The key of a region that was deregistered after it was revoked may still come up, and by then be another region's: a program
 * that deregisters and registers should take what there is in between.
 *
 * Return: 1 and a key; 0 if there is none now; -EOVERFLOW, once, if keys were lost because they were not taken in time (every
 * region may be among them); -EOPNOTSUPP if @context is of no peerbar device; -EACCES in a child process, which did not open
 * @context itself; -EIO if the program has written over the memory that the keys are in.
 */
int peerbardv_next_revoked(struct ibv_context *context, uint32_t *lkey);

#ifdef __cplusplus
}
#endif

#endif
