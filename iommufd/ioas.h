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

#endif
