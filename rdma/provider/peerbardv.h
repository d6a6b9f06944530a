/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/**
 * DOC: peerbardv - functions of peerbar devices beyond verbs
 *
 * A memory region of a dma-buf is revoked when its exporter revokes the buffer. From then on its
 * keys only give errors, until it is deregistered. These functions report the revocation before
 * such an error. Link with -lpeerbar-rdma, or resolve them with dlsym() in libpeerbar-rdma.so.1,
 * which libibverbs loads for the device.
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
 * peerbardv_revocation_fd() - a descriptor to poll for revocations
 * @context: an open device
 *
 * It polls readable when regions of this context may have been revoked since
 * peerbardv_next_revoked() last returned 0. It remains the context's: do not read from it or close
 * it.
 *
 * Return: the descriptor; -EOPNOTSUPP if @context is not of a peerbar device.
 */
int peerbardv_revocation_fd(struct ibv_context *context);

/**
 * peerbardv_next_revoked() - take the next revoked region
 * @context: an open device
 * @lkey: receives its local key, which no other region gets before this one is deregistered
 *
 * The key of a region that was deregistered after its revocation may still be reported, and may
 * then belong to another region. A program that deregisters and registers regions should take all
 * pending keys in between.
 *
 * Return: 1 and a key; 0 if none is pending; -EOVERFLOW, once, if keys were lost because they were
 * not taken in time (any region may be among them); -EOPNOTSUPP if @context is not of a peerbar
 * device; -EACCES in a child process that did not open @context itself; -EIO if the program has
 * overwritten the ring of keys.
 */
int peerbardv_next_revoked(struct ibv_context *context, uint32_t *lkey);

#ifdef __cplusplus
}
#endif

#endif
