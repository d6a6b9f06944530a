/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of the iommufd importer share among themselves. */
#ifndef PB_IOAS_H
#define PB_IOAS_H

#include "internal.h"

/* allocate an IOAS; -errno */
int pb_ioas_alloc_id(struct pb_iommu *iommu, uint32_t *id);

/* take a mapping out of all lists and free it, without a word to the kernel */
void pb_mapping_free(struct pb_mapping *mapping);

/* take a mapping out of the queue of events */
void pb_mapping_forget_event(struct pb_mapping *mapping);

/* pb_map_buffer() of a mapping whose revocation is told by an eventfd, and not in the queue of the address space */
int pb_map_buffer_notify(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset, uint64_t length, unsigned int flags,
			 uint64_t iova, const int *notify_fd, struct pb_mapping **mapping, struct pb_error *err);

/* whether all of a part of a buffer could be mapped at @iova: it is mapped there, and unmapped; -EEXIST if something is in the way */
int pb_ioas_try(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset, uint64_t length, unsigned int flags, uint64_t iova);

/* whether all of these addresses are mapped */
bool pb_ioas_is_mapped(struct pb_ioas *ioas, uint64_t iova, uint64_t length);

/* fail with -ERANGE: @what cannot be mapped there, because of addresses that are not in the aperture, which the sentence names */
int pb_fail_aperture(struct pb_ioas *ioas, const char *what, uint64_t first, uint64_t last, struct pb_error *err);

/* all ranges of the aperture, to be freed; NULL, and -errno, on failure */
struct pb_iova_range *pb_ioas_ranges(struct pb_ioas *ioas, unsigned int *n, int *ret);

/* ask the kernel of a mapping: 0; -ENODEV if its buffer is revoked now; -ENOENT if its addresses are not all mapped */
int pb_mapping_ask(struct pb_mapping *mapping);

#endif
