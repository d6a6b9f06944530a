/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _PEERBAR_RDMA_PIECE_H
#define _PEERBAR_RDMA_PIECE_H

#include "region.h"

/* Contiguous memory that the CPU can address */
struct pbr_piece {
	union {
		u8 *va;
		u8 __iomem *io;
	};
	size_t len;
	bool mmio;
};

/*
 * Find byte @at of the message, and the number of contiguous bytes from there. Return -EAGAIN and
 * @refs->fault if it is absent.
 */
int pbr_piece(struct pbr_refs *refs, u64 at, struct pbr_piece *piece);

#endif
