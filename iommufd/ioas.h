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

/* ask the kernel of a mapping: 0; -ENODEV if its buffer is revoked now; -ENOENT if its addresses are not all mapped */
int pb_mapping_ask(struct pb_mapping *mapping);

#endif
