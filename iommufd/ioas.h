/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Internal interfaces of the iommufd importer. */
#ifndef PB_IOAS_H
#define PB_IOAS_H

#include "internal.h"

/* Allocate an IOAS. Returns -errno on failure. */
int pb_ioas_alloc_id(struct pb_iommu *iommu, uint32_t *id);

/* Remove a mapping from all lists and free it, without unmapping it in the kernel. */
void pb_mapping_free(struct pb_mapping *mapping);

/* Remove a mapping from the queue of events. */
void pb_mapping_forget_event(struct pb_mapping *mapping);

/*
 * pb_map_buffer(), with an eventfd that is signaled on revocation instead of the address space's
 * queue.
 */
int pb_map_buffer_notify(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset, uint64_t length, unsigned int flags,
			 uint64_t iova, const int *notify_fd, struct pb_mapping **mapping, struct pb_error *err);

/*
 * Test whether all of a part of a buffer can be mapped at @iova, by mapping and unmapping it. Fails
 * with -EEXIST if any of the addresses is mapped.
 */
int pb_ioas_try(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset, uint64_t length, unsigned int flags, uint64_t iova);

/* Returns whether all of these addresses are mapped. */
bool pb_ioas_is_mapped(struct pb_ioas *ioas, uint64_t iova, uint64_t length);

/*
 * Fail with -ERANGE because @what cannot be mapped there; the sentence names the addresses outside
 * the aperture.
 */
int pb_fail_aperture(struct pb_ioas *ioas, const char *what, uint64_t first, uint64_t last, struct pb_error *err);

/*
 * Returns all ranges of the aperture, to be freed with free(); NULL, and -errno in *@ret, on
 * failure.
 */
struct pb_iova_range *pb_ioas_ranges(struct pb_ioas *ioas, unsigned int *n, int *ret);

/*
 * Query the kernel about a mapping. Fails with -ENODEV if its buffer is revoked now, with -ENOENT
 * if its addresses are not all mapped.
 */
int pb_mapping_ask(struct pb_mapping *mapping);

#endif
