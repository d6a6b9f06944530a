// SPDX-License-Identifier: GPL-2.0
/*
 * The physical ranges of a buffer.
 */
#include <linux/align.h>
#include <linux/mm.h>
#include <linux/pfn.h>

#include "core.h"

const struct peerbar_range *peerbar_find_range(struct peerbar_buffer *buf, u64 offset)
{
	unsigned int low = 0, high = buf->info.nr_ranges;

	if (offset >= buf->dmabuf->size)
		return NULL;
	/* Find the last range that does not begin after @offset. */
	while (high - low > 1) {
		unsigned int mid = low + (high - low) / 2;

		if (buf->ranges[mid].offset <= offset)
			low = mid;
		else
			high = mid;
	}
	return &buf->ranges[low];
}

/*
 * Whether the block of @order that begins at @offset is inside one range and aligned in physical
 * memory; if so, return its frame in @pfn.
 */
bool peerbar_find_pfn(struct peerbar_buffer *buf, u64 offset, unsigned int order,
		      unsigned long *pfn)
{
	const struct peerbar_range *range = peerbar_find_range(buf, offset);
	u64 before;

	if (!range)
		return false;
	before = offset - range->offset;
	if (range->len - before < PAGE_SIZE << order)
		return false;
	*pfn = PHYS_PFN(range->paddr + before);
	return IS_ALIGNED(*pfn, 1UL << order);
}
