// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a VMM gets to see: reports of refused and lost mappings, and the list of all parts of BARs. */
#include "guest-state.h"

static void describe_part(struct pb_guest_range *out, struct guest_bar *bar, uint64_t offset,
			  uint64_t length, enum pb_guest_state state)
{
	struct pb_guest_device *dev = bar->device;

	memset(out, 0, sizeof(*out));
	out->device = dev;
	out->data = dev->data;
	memcpy(out->bdf, dev->device->bdf, sizeof(out->bdf));
	out->bar = bar->index;
	out->offset = offset;
	out->length = length;
	out->address = state == PB_GUEST_UNPLACED ? PB_GUEST_NOWHERE : bar->address + offset;
	out->state = state;
}

static void describe_placed_part(struct pb_guest_range *out, struct guest_bar *bar,
				 struct guest_window *window, uint64_t first, uint64_t last,
				 uint64_t offset, enum pb_guest_state state)
{
	describe_part(out, bar, offset, last - first + 1, state);
	out->address = first;
	out->ioas = window->space->ioas;
	out->iova = window->iova + (first - window->first);
}

/* ---- reports ---- */

#define MAX_REPORTS 256

void pb_guest_free_report(struct pb_guest *guest, struct guest_report *report)
{
	uint64_t count;

	TAILQ_REMOVE(&guest->reports, report, in_guest);
	guest->nr_reports--;
	free(report);
	if (!guest->nr_reports && read(guest->report_fd, &count, sizeof(count)) < 0)
		(void)0; /* Cannot fail: each report was counted. */
}

void pb_guest_add_report(struct guest_window *window, struct guest_range *range,
			 enum pb_guest_state state, const struct pb_error *why)
{
	struct pb_guest *guest = range->bar->device->guest;
	struct guest_report *new;

	new = malloc(sizeof(*new));
	if (!new)
		return;
	describe_placed_part(&new->range, range->bar, window, range->first, range->last,
			     range->offset, state);
	if (why)
		new->range.why = *why;
	TAILQ_INSERT_TAIL(&guest->reports, new, in_guest);
	guest->nr_reports++;
	pb_signal(guest->report_fd);
	if (guest->nr_reports > MAX_REPORTS)
		pb_guest_free_report(guest, TAILQ_FIRST(&guest->reports));
}

bool pb_guest_next_report_sized(struct pb_guest *guest, struct pb_guest_range *out, size_t size)
{
	struct guest_report *first;

	pthread_mutex_lock(&guest->lock);
	first = TAILQ_FIRST(&guest->reports);
	if (first) {
		pb_fill_sized(out, size, &first->range, sizeof(first->range));
		pb_guest_free_report(guest, first);
	}
	pthread_mutex_unlock(&guest->lock);
	return first;
}

/* ---- the list ---- */

const char *pb_guest_state_name(enum pb_guest_state state)
{
	switch (state) {
	case PB_GUEST_MAPPED:
		return "MAPPED";
	case PB_GUEST_OFF:
		return "OFF";
	case PB_GUEST_UNPLACED:
		return "UNPLACED";
	case PB_GUEST_TRAPPED:
		return "TRAPPED";
	case PB_GUEST_OVERLAP:
		return "OVERLAP";
	case PB_GUEST_REFUSED:
		break;
	}
	return "REFUSED";
}

struct listing {
	struct pb_guest_range *ranges;
	size_t n, room;
};

static struct pb_guest_range *add_slot(struct listing *list)
{
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct pb_guest_range *ranges = reallocarray(list->ranges, room, sizeof(*ranges));

		if (!ranges)
			return NULL;
		list->ranges = ranges;
		list->room = room;
	}
	return &list->ranges[list->n++];
}

/* List the BAR in one window. */
static int list_placed(struct pb_guest *guest, struct guest_window *window, struct guest_bar *bar,
		       const struct pb_span *claim, struct listing *list)
{
	static const enum pb_guest_state states[] = { [SPAN_CLAIM] = PB_GUEST_OVERLAP,
						      [SPAN_TRAP] = PB_GUEST_TRAPPED,
						      [SPAN_RANGE] = PB_GUEST_MAPPED };
	uint64_t at, last, end;
	unsigned int n;

	if (!pb_guest_clip_to_window(window, claim, &at, &last))
		return 0;
	if (pb_guest_make_room(guest, window, 0))
		return -ENOMEM;
	n = pb_guest_collect_spans(guest, window, bar, claim);
	for (;; at = end + 1) {
		int i = pb_span_run(guest->spans, n, at, last, &end);
		struct guest_range *range = i < 0 ? NULL : guest->spans[i].of;
		struct pb_guest_range *slot = add_slot(list);

		if (!slot)
			return -ENOMEM;
		describe_placed_part(slot, bar, window, at, end, at - claim->first,
				     i < 0 ? PB_GUEST_REFUSED : states[guest->spans[i].kind]);
		if (i < 0) {
			pb_fail_errno(&slot->why, ENOMEM, "cannot map BAR %u of %s", bar->index,
				      bar->device->device->bdf);
		} else if (slot->state == PB_GUEST_MAPPED && !range->mapping) {
			slot->state = PB_GUEST_REFUSED;
			slot->why = range->why;
		}
		if (end == last)
			break;
	}
	return 0;
}

static int list_bar(struct pb_guest *guest, struct guest_bar *bar, struct listing *list)
{
	struct guest_window *window;
	struct guest_space *space;
	struct pb_guest_range *slot;
	struct pb_span claim;
	int ret = 0;

	if (!bar->size)
		return 0;
	if (pb_guest_get_claim(bar, &claim)) {
		LIST_FOREACH(space, &guest->spaces, in_guest)
			LIST_FOREACH(window, &space->windows, in_space)
				if (!ret)
					ret = list_placed(guest, window, bar, &claim, list);
		return ret;
	}
	slot = add_slot(list);
	if (!slot)
		return -ENOMEM;
	describe_part(slot, bar, 0, bar->size,
		      pb_bar_claim(bar->address, bar->size, bar->wide, pb_page_size(), &claim) ?
			      PB_GUEST_OFF :
			      PB_GUEST_UNPLACED);
	return 0;
}

int pb_guest_list_sized(struct pb_guest *guest, struct pb_guest_range **ranges, size_t size,
			unsigned int *nr_ranges, struct pb_error *err)
{
	struct listing list = { 0 };
	struct pb_guest_device *dev;
	struct guest_bar *bar;
	int ret = 0;

	pthread_mutex_lock(&guest->lock);
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			if (!ret)
				ret = list_bar(guest, bar, &list);
	pthread_mutex_unlock(&guest->lock);
	if (!ret) {
		*ranges = pb_array_sized(list.ranges, sizeof(*list.ranges), list.n, size);
		if (!*ranges)
			ret = -ENOMEM;
	}
	free(list.ranges);
	if (ret)
		return pb_fail_errno(err, -ret, "cannot list a guest's BARs");
	*nr_ranges = (unsigned int)list.n;
	return 0;
}
