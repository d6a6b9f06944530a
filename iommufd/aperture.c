// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The addresses of an address space that can be mapped, and the search for gaps and free ranges. */
#include <inttypes.h>

#include "importer.h"
#include "uapi.h"

int pb_ioas_aperture(struct pb_ioas *ioas, struct pb_iova_range *ranges, unsigned int room,
		     unsigned int *nr_ranges, uint64_t *alignment, struct pb_error *err)
{
	struct iommu_ioas_iova_ranges request = { .size = sizeof(request),
						  .ioas_id = ioas->id,
						  .num_iovas = room };
	struct iommu_iova_range *list;
	unsigned int i;
	int ret;

	list = calloc(room ? room : 1, sizeof(*list));
	if (!list)
		return pb_fail_errno(err, ENOMEM, "cannot read the aperture of address space %u",
				     ioas->id);
	request.allowed_iovas = (uintptr_t)list;
	ret = pb_ioctl(ioas->iommu->fd, IOMMU_IOAS_IOVA_RANGES, &request);
	/* EMSGSIZE: the ranges don't fit, but the kernel returns their number. */
	if (ret && ret != -EMSGSIZE) {
		free(list);
		return pb_fail_errno(err, -ret,
				     "cannot read the aperture of address space %u (IOMMU_IOAS_IOVA_RANGES)",
				     ioas->id);
	}
	for (i = 0; i < room && i < request.num_iovas; i++) {
		ranges[i].first = list[i].start;
		ranges[i].last = list[i].last;
	}
	free(list);
	if (alignment)
		/*
		 * The kernel reports no alignment before a device is attached. The library maps
		 * whole pages.
		 */
		*alignment = request.out_iova_alignment > pb_page_size() ?
			request.out_iova_alignment :
			pb_page_size();
	if (nr_ranges)
		*nr_ranges = request.num_iovas;
	return 0;
}

int pb_find_hole(const struct pb_iova_range *aperture, unsigned int nr_aperture,
		 const struct pb_iova_range *taken, unsigned int nr_taken, uint64_t from,
		 uint64_t length, uint64_t alignment, uint64_t *iova)
{
	unsigned int i, t;

	for (i = 0; i < nr_aperture; i++) {
		uint64_t at = aperture[i].first > from ? aperture[i].first : from;
		uint64_t last = aperture[i].last;

		/* Each round finds a hole, leaves this range, or skips one taken range. */
		for (t = 0;;) {
			/* Align upwards. If that wraps, it is beyond the range. */
			if (at > UINT64_MAX - (alignment - 1))
				break;
			at = (at + alignment - 1) & ~(alignment - 1);
			if (at > last || length - 1 > last - at)
				break;
			while (t < nr_taken && taken[t].last < at)
				t++;
			if (t == nr_taken || taken[t].first > at + (length - 1)) {
				*iova = at;
				return 0;
			}
			if (taken[t].last == UINT64_MAX)
				break;
			at = taken[t].last + 1;
		}
	}
	return -ENOSPC;
}

bool pb_find_gap(const struct pb_iova_range *aperture, unsigned int n, uint64_t first,
		 uint64_t last, struct pb_iova_range *gap)
{
	unsigned int i;

	gap->first = 0;
	for (i = 0; i < n; i++) {
		if (aperture[i].first > gap->first && aperture[i].first > first &&
		    gap->first <= last) {
			gap->last = aperture[i].first - 1;
			return true;
		}
		if (aperture[i].last >= last)
			return false;
		gap->first = aperture[i].last + 1;
	}
	gap->last = UINT64_MAX;
	return true;
}

struct pb_iova_range *pb_ioas_get_ranges(struct pb_ioas *ioas, unsigned int *n, int *ret)
{
	struct pb_iova_range *ranges = NULL, *more;
	unsigned int room = 16;

	for (;; room = *n) {
		more = reallocarray(ranges, room, sizeof(*ranges));
		*ret = more ? pb_ioas_aperture(ioas, more, room, n, NULL, NULL) : -ENOMEM;
		if (more)
			ranges = more;
		if (*ret) {
			free(ranges);
			return NULL;
		}
		if (*n <= room)
			return ranges;
	}
}

int pb_fail_aperture(struct pb_ioas *ioas, const char *what, uint64_t first, uint64_t last,
		     struct pb_error *err)
{
	struct pb_iova_range *aperture, gap;
	unsigned int n;
	bool found;
	int ret;

	aperture = pb_ioas_get_ranges(ioas, &n, &ret);
	if (!aperture)
		return pb_fail_errno(err, ERANGE,
				     "cannot map %s at IOVA 0x%" PRIx64 " into address space %u",
				     what, first, ioas->id);
	found = pb_find_gap(aperture, n, first, last, &gap);
	free(aperture);
	if (found && gap.last == UINT64_MAX)
		return pb_fail(err, ERANGE,
			       "cannot map %s at IOVA 0x%" PRIx64 " to 0x%" PRIx64
			       ": addresses from 0x%" PRIx64 " on are not inside the aperture of "
			       "address space %u, which ends there",
			       what, first, last, gap.first, ioas->id);
	if (found)
		return pb_fail(err, ERANGE,
			       "cannot map %s at IOVA 0x%" PRIx64 " to 0x%" PRIx64
			       ": the addresses 0x%" PRIx64 " to 0x%" PRIx64
			       " are not inside the aperture "
			       "of address space %u; the IOMMU, or a device, reserves them, as for "
			       "interrupts",
			       what, first, last, gap.first, gap.last, ioas->id);
	/* The aperture has changed since. */
	return pb_fail_errno(err, ERANGE,
			     "cannot map %s at IOVA 0x%" PRIx64 " into address space %u", what,
			     first, ioas->id);
}
