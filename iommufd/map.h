/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files about mappings share. The functions return -errno, and need pb_ioas.lock. */
#ifndef PB_MAP_H
#define PB_MAP_H

#include "importer.h"

/*
 * The memory to map: @dmabuf from @offset on, or the address @offset. If @dmabuf is a bridge,
 * @bridge_of is the buffer's dma-buf.
 */
struct pb_source {
	struct pb_dmabuf *dmabuf;
	struct pb_dmabuf *bridge_of;
	uint64_t offset;
	uint64_t length;
	uint32_t prot;
};

/* Map one piece; with @fixed at *@iova, otherwise *@iova receives the address. */
int pb_map_one(struct pb_ioas *ioas, uint32_t ioas_id, int fd, uint64_t start, uint64_t length,
	       uint32_t prot, bool fixed, uint64_t *iova);
/*
 * Map all pieces at *@iova or, if there is only one and @fixed is false, at an address that the
 * kernel chooses. On failure *@where is the address that failed.
 */
int pb_map_pieces(struct pb_ioas *ioas, const struct pb_source *src, bool fixed, uint64_t *iova,
		  uint64_t *where);
int pb_unmap_span(struct pb_ioas *ioas, uint32_t ioas_id, uint64_t iova, uint64_t length);
/*
 * Find the piece of the buffer that contains @offset, the offset in that piece, and how much of
 * @length it has. Returns its descriptor. Needs no lock.
 */
int pb_find_piece(const struct pb_dmabuf *dmabuf, uint64_t offset, uint64_t length, uint64_t *start,
		  uint64_t *n);
/* Whether a mapping of the library is at any of these addresses. */
bool pb_is_taken(struct pb_ioas *ioas, uint64_t iova, uint64_t length);
/* Check the flags of a mapping, and translate the permissions. Needs no lock. */
int pb_check_map_flags(unsigned int flags, unsigned int known, uint32_t *prot,
		       struct pb_error *err);
/* Write the sentence for a failure @ret of mapping @src. Needs no lock. */
int pb_fail_map(struct pb_ioas *ioas, const struct pb_source *src, bool fixed, uint64_t iova,
		int ret, struct pb_error *err);

#endif
