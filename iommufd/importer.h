/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Internal interfaces of the iommufd importer. */
#ifndef PB_IMPORTER_H
#define PB_IMPORTER_H

#include "internal.h"

struct pb_ioas {
	struct pb_iommu *iommu;
	uint32_t id;
	bool borrowed; /* owned by the caller; only mappings made here are unmapped at its end */
	/* An IOAS without devices, to test whether a buffer can be mapped; 0 until needed. */
	uint32_t scratch_id;
	LIST_HEAD(, pb_device) devices; /* attached ones; under pb_iommu.lock */
	pthread_mutex_t lock;
	LIST_HEAD(pb_mapping_list, pb_mapping) mappings; /* ascending by IOVA */
	struct pb_mapping_events events;
	struct pb_waitlist room; /* waiters for addresses that are in use or reserved */
};

/* Allocate an IOAS. Returns -errno on failure. */
int pb_ioas_alloc_id(struct pb_iommu *iommu, uint32_t *id);

/* Remove a mapping from all lists and free it, without unmapping it in the kernel. */
void pb_mapping_free(struct pb_mapping *mapping);

/*
 * pb_map_buffer(), with an eventfd that is signaled on revocation instead of the address space's
 * queue.
 */
int pb_map_buffer_notify(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset,
			 uint64_t length, unsigned int flags, uint64_t iova, const int *notify_fd,
			 struct pb_mapping **mapping, struct pb_error *err);

/* ---- bridges (bridge.c) ---- */

/* Whether iommufd maps the dma-buf through a bridge only. */
bool pb_needs_bridge(const struct pb_dmabuf *dmabuf);
/* Whether the kernel module that makes bridges is loaded. */
bool pb_can_bridge(void);
/*
 * Bridge a dma-buf for the devices of an address space, or, if none is attached to it, for all that
 * are bound to its iommufd. *@bridged receives a new reference to a dma-buf that is not shared.
 */
int pb_bridge(struct pb_ioas *ioas, struct pb_dmabuf *dmabuf, struct pb_dmabuf **bridged,
	      struct pb_error *err);
/*
 * Write the sentence for a request that failed with @ret. @what names the buffer. Pure, for unit
 * tests.
 */
int pb_fail_bridge(const struct peerbar_bridge *request, int ret, const char *what,
		   struct pb_error *err);
/*
 * Close the descriptors that are not needed any more once iommufd has mapped them: all but that of
 * the piece at @offset, which serves to query the mapping.
 */
void pb_bridge_close_pieces(struct pb_dmabuf *bridged, uint64_t offset);

/*
 * Test whether all of a part of a buffer can be mapped at @iova, by mapping and unmapping it. Fails
 * with -EEXIST if any of the addresses is mapped.
 */
int pb_ioas_test_map(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset,
		     uint64_t length, unsigned int flags, uint64_t iova);

/* Returns whether all of these addresses are mapped. */
bool pb_ioas_is_mapped(struct pb_ioas *ioas, uint64_t iova, uint64_t length);

/*
 * Fail with -ERANGE because @what cannot be mapped there; the sentence names the addresses outside
 * the aperture.
 */
int pb_fail_aperture(struct pb_ioas *ioas, const char *what, uint64_t first, uint64_t last,
		     struct pb_error *err);

/*
 * Returns all ranges of the aperture, to be freed with free(); NULL, and -errno in *@ret, on
 * failure.
 */
struct pb_iova_range *pb_ioas_get_ranges(struct pb_ioas *ioas, unsigned int *n, int *ret);

/*
 * Find the first gap of the aperture, ascending, in @first to @last. Returns false if there is
 * none. *@gap is the whole gap, and may extend beyond both. Pure, for unit tests.
 */
bool pb_find_gap(const struct pb_iova_range *aperture, unsigned int n, uint64_t first,
		 uint64_t last, struct pb_iova_range *gap);

/*
 * Find a free range of @length bytes, from @from on, in the aperture without the taken ranges.
 * Fails with -ENOSPC. Pure, for unit tests.
 */
int pb_find_hole(const struct pb_iova_range *aperture, unsigned int nr_aperture,
		 const struct pb_iova_range *taken, unsigned int nr_taken, uint64_t from,
		 uint64_t length, uint64_t alignment, uint64_t *iova);

/*
 * Query the kernel about a mapping. Fails with -ENODEV if its buffer is revoked now, with -ENOENT
 * if its addresses are not all mapped.
 */
int pb_mapping_query(struct pb_mapping *mapping);

#endif
