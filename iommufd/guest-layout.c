// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The addresses of a guest's BARs: arithmetic, and what a BAR claims. */
#include "guest-state.h"

bool pb_bar_claim(uint64_t address, uint64_t size, bool wide, uint64_t page, struct pb_span *claim)
{
	uint64_t last;

	if (address == PB_GUEST_NOWHERE || !size || address > UINT64_MAX - (size - 1))
		return false;
	last = address + (size - 1);
	/* All address bits of the register are ones: it is being sized. */
	if (last == UINT64_MAX || (!wide && last == UINT32_MAX))
		return false;
	claim->first = address & ~(page - 1);
	claim->last = last | (page - 1);
	return true;
}

int pb_span_run(const struct pb_span *spans, unsigned int n, uint64_t at, uint64_t last,
		uint64_t *end)
{
	unsigned int i;

	*end = last;
	for (i = 0; i < n; i++) {
		if (spans[i].last < at || spans[i].first > *end)
			continue;
		if (spans[i].first > at) {
			*end = spans[i].first - 1;
			continue;
		}
		if (spans[i].last < *end)
			*end = spans[i].last;
		return (int)i;
	}
	return -1;
}

static bool is_decoding(const struct pb_guest_device *dev)
{
	return dev->decoding && dev->powered && !dev->resetting;
}

bool pb_guest_get_claim(const struct guest_bar *bar, struct pb_span *claim)
{
	return bar->size && is_decoding(bar->device) &&
		pb_bar_claim(bar->address, bar->size, bar->wide, pb_page_size(), claim);
}

bool pb_span_overlaps(const struct pb_span *span, uint64_t first, uint64_t last)
{
	return span->first <= last && first <= span->last;
}

bool pb_guest_clip_to_window(const struct guest_window *window, const struct pb_span *claim,
			     uint64_t *first, uint64_t *last)
{
	if (!pb_span_overlaps(claim, window->first, window->last))
		return false;
	*first = claim->first > window->first ? claim->first : window->first;
	*last = claim->last < window->last ? claim->last : window->last;
	return true;
}
