// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The kernel's events of the buffers of a guest's BARs. */
#include "guest-state.h"

void pb_guest_update_filter(struct pb_guest *guest)
{
	struct pb_guest_device *dev;
	struct guest_bar *bar;
	unsigned int n = 0;
	uint64_t *ids;

	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			n += !!bar->event_id;
	ids = calloc(n ? n : 1, sizeof(*ids));
	if (!ids)
		return;
	n = 0;
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			if (bar->event_id)
				ids[n++] = bar->event_id;
	/*
	 * On failure, too many events are received or, for new buffers, too few; pb_guest_check()
	 * finds those.
	 */
	pb_watch_set_filter(guest->watch, ids, n);
	free(ids);
}

void pb_guest_ignore_unused(struct pb_guest *guest)
{
	struct pb_guest_device *dev;
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;
	struct guest_bar *bar;
	bool changed = false;

	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			bar->in_use = false;
	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				range->bar->in_use = true;
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			if (bar->event_id && !bar->in_use) {
				bar->event_id = 0;
				changed = true;
			}
	if (changed)
		pb_guest_update_filter(guest);
}

unsigned int pb_guest_find_revoked(struct guest_window *window)
{
	struct pb_buffer_info info;
	struct guest_range *range;
	unsigned int found = 0;

	LIST_FOREACH(range, &window->ranges, in_window) {
		if (!range->mapping || !range->counted || range->lost || !range->bar->buffer)
			continue;
		if (pb_buffer_query(range->bar->buffer, &info, NULL) || !info.counted ||
		    info.revocations == range->revocations)
			continue;
		range->lost = true;
		found++;
	}
	return found;
}

void pb_guest_take_events(struct pb_guest *guest)
{
	struct guest_window *window;
	struct guest_space *space;
	struct pb_event event;
	bool heard = false;
	uint64_t count;

	if (read(guest->revoked_fd, &count, sizeof(count)) < 0)
		/* EAGAIN: not signaled. The mappings themselves have the state. */
		(void)0;
	while (guest->watch && !pb_watch_next(guest->watch, &event, NULL) &&
	       event.type != PB_EVENT_NONE)
		heard = heard || event.type == PB_EVENT_REVOKED ||
			event.type == PB_EVENT_RESTORED || event.type == PB_EVENT_LOST;
	if (!heard)
		return;
	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			pb_guest_find_revoked(window);
}
