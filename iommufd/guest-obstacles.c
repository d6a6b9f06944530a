// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The obstacles to mapping a BAR: other BARs, trapped pages, gaps of the aperture, and mappings that
 * are not the guest's.
 */
#include "guest-state.h"

/* ---- what is known ---- */

unsigned int pb_ioas_count_mappings(struct pb_ioas *ioas)
{
	struct pb_mapping *m;
	unsigned int n = 0;

	pthread_mutex_lock(&ioas->lock);
	LIST_FOREACH(m, &ioas->mappings, in_ioas)
		n++;
	pthread_mutex_unlock(&ioas->lock);
	return n;
}

int pb_guest_make_room(struct pb_guest *guest, struct guest_window *window, unsigned int more)
{
	struct pb_guest_device *dev;
	struct guest_range *range;
	struct guest_bar *bar;
	struct pb_span *spans;
	unsigned int n = more;

	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			n += 1 + bar->nr_traps;
	LIST_FOREACH(range, &window->ranges, in_window)
		n++;
	if (n <= guest->room)
		return 0;
	spans = reallocarray(guest->spans, n, sizeof(*spans));
	if (!spans)
		return -ENOMEM;
	guest->spans = spans;
	guest->room = n;
	return 0;
}

static void add_span(struct pb_guest *guest, unsigned int *n, uint64_t first, uint64_t last,
		     int kind, void *of)
{
	guest->spans[(*n)++] = (struct pb_span){
		.first = first, .last = last, .kind = kind, .of = of
	};
}

unsigned int pb_guest_collect_spans(struct pb_guest *guest, struct guest_window *window,
				    struct guest_bar *bar, const struct pb_span *claim)
{
	struct pb_guest_device *dev;
	struct guest_range *range;
	struct guest_bar *other;
	struct pb_span theirs;
	unsigned int i, n = 0;

	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(other, dev)
			if (other != bar && pb_guest_get_claim(other, &theirs))
				add_span(guest, &n, theirs.first, theirs.last, SPAN_CLAIM, NULL);
	for (i = 0; i < bar->nr_traps; i++)
		add_span(guest, &n, claim->first + bar->traps[i].first,
			 claim->first + bar->traps[i].last, SPAN_TRAP, NULL);
	/* A range of another BAR is still here because the kernel did not unmap it. */
	LIST_FOREACH(range, &window->ranges, in_window)
		add_span(guest, &n, range->first, range->last,
			 range->bar == bar ? SPAN_RANGE : SPAN_CLAIM, range);
	return n;
}

/* Add the whole pages of the window whose IOVAs are from @first to @last; there may be none. */
static void add_iovas(struct pb_guest *guest, unsigned int *n, const struct guest_window *window,
		      uint64_t first, uint64_t last, int kind)
{
	uint64_t page = pb_page_size(), end = window->iova + (window->last - window->first);

	first &= ~(page - 1);
	last |= page - 1;
	if (first > end || last < window->iova || *n == guest->room)
		return;
	if (first < window->iova)
		first = window->iova;
	if (last > end)
		last = end;
	add_span(guest, n, window->first + (first - window->iova),
		 window->first + (last - window->iova), kind, NULL);
}

unsigned int pb_guest_add_obstacles(struct pb_guest *guest, struct guest_window *window,
				    unsigned int n)
{
	struct pb_ioas *ioas = window->space->ioas;
	struct pb_iova_range gap;
	struct pb_mapping *m;
	uint64_t from = 0;

	while (guest->nr_aperture &&
	       pb_find_gap(guest->aperture, guest->nr_aperture, from, UINT64_MAX, &gap)) {
		add_iovas(guest, &n, window, gap.first, gap.last, SPAN_RESERVED);
		if (gap.last == UINT64_MAX)
			break;
		from = gap.last + 1;
	}
	/* The guest's mappings are covered by their ranges, which come first. */
	pthread_mutex_lock(&ioas->lock);
	LIST_FOREACH(m, &ioas->mappings, in_ioas)
		add_iovas(guest, &n, window, m->iova, m->iova + (m->length - 1), SPAN_TAKEN);
	pthread_mutex_unlock(&ioas->lock);
	return n;
}

/* ---- what is not known ---- */

static void add_taken(struct pb_guest *guest, uint64_t first, uint64_t last)
{
	struct pb_span *taken;
	unsigned int room;

	if (guest->nr_taken && guest->taken[guest->nr_taken - 1].last + 1 == first) {
		guest->taken[guest->nr_taken - 1].last = last;
		return;
	}
	if (guest->nr_taken == guest->taken_room) {
		room = guest->taken_room ? 2 * guest->taken_room : 16;
		taken = reallocarray(guest->taken, room, sizeof(*taken));
		if (!taken) {
			/* Without memory, treat the addresses in between as taken too. */
			if (guest->nr_taken)
				guest->taken[guest->nr_taken - 1].last = last;
			return;
		}
		guest->taken = taken;
		guest->taken_room = room;
	}
	guest->taken[guest->nr_taken++] = (struct pb_span){ .first = first,
							    .last = last,
							    .kind = SPAN_TAKEN };
}

void pb_guest_find_taken(struct guest_window *window, const struct guest_range *range,
			 uint64_t first, uint64_t last, unsigned int *probes)
{
	struct guest_bar *bar = range->bar;
	uint64_t page = pb_page_size(), length = last - first + 1,
		 iova = window->iova + (first - window->first), middle;

	if (*probes) {
		(*probes)--;
		if (pb_ioas_test_map(window->space->ioas, bar->buffer,
				     range->offset + (first - range->first), length, window->prot,
				     iova) != -EEXIST)
			return;
	}
	if (!*probes || length <= page || pb_ioas_is_mapped(window->space->ioas, iova, length)) {
		add_taken(bar->device->guest, first, last);
		return;
	}
	middle = first + (length / 2 & ~(page - 1));
	pb_guest_find_taken(window, range, first, middle - 1, probes);
	pb_guest_find_taken(window, range, middle, last, probes);
}
