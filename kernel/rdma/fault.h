/* SPDX-License-Identifier: GPL-2.0 */
/* Faults: making the memory of on-demand regions present. */
#ifndef _PEERBAR_RDMA_FAULT_H
#define _PEERBAR_RDMA_FAULT_H

#include "region.h"

/* fault.c */
extern const struct ib_device_ops pbr_fault_ops;
/*
 * Resolve the fault that entering @refs found, if any; no region entered, no lock held but sq_lock.
 * Return 0, and the caller must enter again; -EINPROGRESS if it must wait before; -EINTR or
 * -ERESTARTSYS after a signal. On any other error, entering will refuse.
 */
int pbr_refs_fault(struct pbr_refs *refs);

#endif
