// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Settling: make what the kernel has mapped equal to what the guest wants.
 *
 * The devices hold what the guest wants: the address of each BAR, and whether the device decodes.
 * The windows hold what is mapped: ranges of BARs. pb_guest_settle() compares the two after every
 * event, whatever the event was, and changes the second in two steps:
 *
 * 1. What is wrong goes out. A range whose BAR has moved, whose device has stopped to decode, that
 *    another BAR claims too, or whose buffer was revoked, is unmapped. This needs no memory, and
 *    no obstacle can prevent it, so DMA never reaches a page that the guest did not put there.
 * 2. What is missing goes in. The pages that a BAR claims in a window, and that no range has, are
 *    cut into ranges around the obstacles (guest-obstacles.c), and each range is mapped. A range
 *    that the kernel refuses keeps the reason, and waits (pb_waitlist) for it to go away.
 *
 * Nothing is derived from the event itself. So the order of the guest's actions does not matter, a
 * lost or superfluous event does no harm, and each failure is repaired by the next event.
 *
 * Ranges without a mapping are cut again each time, since the obstacles may have changed. A new
 * range takes over the state of the former ones that it overlaps, so that a reason is reported only
 * once.
 */
#include <inttypes.h>
#include <stdio.h>

#include "guest-state.h"

/*
 * Returns whether the guest wants these pages of the BAR at this address, and no other BAR claims
 * any of them.
 */
static bool is_wanted(struct pb_guest *guest, const struct guest_range *range)
{
	struct pb_guest_device *dev;
	struct pb_span claim;
	struct guest_bar *bar;

	if (!pb_guest_get_claim(range->bar, &claim) || range->first < claim.first ||
	    range->first - claim.first != range->offset)
		return false;
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			if (bar != range->bar && pb_guest_get_claim(bar, &claim) &&
			    pb_span_overlaps(&claim, range->first, range->last))
				return false;
	return true;
}

/* ---- first step: unmap wrong mappings ---- */

/* Returns false, with a report, if the kernel did not unmap it. */
static bool unmap_range(struct guest_window *window, struct guest_range *range)
{
	struct pb_error why = { 0 };

	if (range->mapping && pb_unmap(range->mapping, &why)) {
		if (range->why.code != why.code)
			pb_guest_add_report(window, range, PB_GUEST_REFUSED, &why);
		range->why = why;
		return false;
	}
	range->mapping = NULL;
	return true;
}

void pb_guest_free_range(struct guest_range *range)
{
	pb_wait_end(&range->waiter);
	LIST_REMOVE(range, in_window);
	free(range);
}

bool pb_guest_drop_range(struct guest_window *window, struct guest_range *range)
{
	if (!unmap_range(window, range))
		return false;
	pb_guest_free_range(range);
	return true;
}

void pb_guest_unmap_wrong(struct pb_guest *guest, bool all)
{
	struct guest_range *range, *next;
	struct guest_window *window;
	struct guest_space *space;

	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			for (range = LIST_FIRST(&window->ranges); range; range = next) {
				next = LIST_NEXT(range, in_window);
				if (!is_wanted(guest, range)) {
					pb_guest_drop_range(window, range);
					continue;
				}
				if (all) {
					unmap_range(window, range);
					continue;
				}
				if (range->mapping &&
				    pb_mapping_state(range->mapping) == PB_REVOKED)
					range->lost = true;
				/* The range keeps its place: it is mapped again below. */
				if (range->lost)
					unmap_range(window, range);
			}
}

/* ---- second step: map missing pages ---- */

/*
 * Add a range of the BAR, which begins at @base; reuse the former range if it is the same. Returns
 * false without memory.
 */
static bool add_range(struct guest_window *window, struct guest_bar *bar, uint64_t base,
		      uint64_t first, uint64_t last, int in_the_way)
{
	struct guest_range *range;

	LIST_FOREACH(range, &window->former, in_window)
		if (range->bar == bar && range->first == first && range->last == last &&
		    range->offset == first - base)
			break;
	if (range) {
		LIST_REMOVE(range, in_window);
	} else {
		range = calloc(1, sizeof(*range));
		if (!range)
			return false;
	}
	range->bar = bar;
	range->first = first;
	range->last = last;
	range->offset = first - base;
	range->in_the_way = in_the_way;
	range->tried = false;
	LIST_INSERT_HEAD(&window->ranges, range, in_window);
	return true;
}

/* Returns whether the first @n spans cover all of these addresses. */
static bool is_all_covered(const struct pb_guest *guest, unsigned int n, uint64_t at, uint64_t last)
{
	uint64_t end;

	for (;; at = end + 1) {
		if (pb_span_run(guest->spans, n, at, last, &end) < 0)
			return false;
		if (end == last)
			return true;
	}
}

/*
 * Add ranges for the pages of the BAR that have none. Without memory, the remaining pages stay
 * without a range, and unmapped.
 */
static void add_ranges(struct pb_guest *guest, struct guest_window *window, struct guest_bar *bar)
{
	uint64_t at, end, further, last;
	struct pb_span claim;
	unsigned int n;
	int kind, i;

	if (!pb_guest_get_claim(bar, &claim) ||
	    !pb_guest_clip_to_window(window, &claim, &at, &last) ||
	    pb_guest_make_room(guest, window, 0))
		return;
	n = pb_guest_collect_spans(guest, window, bar, &claim);
	if (is_all_covered(guest, n, at, last))
		return;
	/*
	 * Another thread may map more after the count. Such a mapping is found when it refuses the
	 * range.
	 */
	if (pb_guest_make_room(guest, window,
			       guest->nr_aperture + 1 +
				       pb_ioas_count_mappings(window->space->ioas)))
		return;
	/* The ranges added below don't overlap each other. */
	n = pb_guest_add_obstacles(guest, window, n);
	for (;; at = end + 1) {
		i = pb_span_run(guest->spans, n, at, last, &end);
		kind = i < 0 ? -1 : guest->spans[i].kind;
		/* Make one range of adjacent obstacles of the same kind. */
		while ((kind == SPAN_RESERVED || kind == SPAN_TAKEN) && end < last) {
			i = pb_span_run(guest->spans, n, end + 1, last, &further);
			if (i < 0 || guest->spans[i].kind != kind)
				break;
			end = further;
		}
		if ((kind == -1 || kind == SPAN_RESERVED || kind == SPAN_TAKEN) &&
		    !add_range(window, bar, claim.first, at, end, kind))
			return;
		if (end == last)
			break;
	}
}

/* Export the BAR if necessary, and read its revocation counter if it has one. */
static int get_buffer(struct guest_bar *bar, struct guest_range *range, struct pb_error *err)
{
	struct pb_range whole = { 0, (bar->size + pb_page_size() - 1) & ~(pb_page_size() - 1) };
	struct pb_buffer_info info;
	int ret;

	if (!bar->buffer) {
		ret = pb_buffer_export(bar->device->device, bar->index, &whole, 1, 0, &bar->buffer,
				       err);
		if (ret)
			return ret;
	}
	range->counted = false;
	/*
	 * Must be before the counter is read: a later revocation is then either counted or
	 * received.
	 */
	if (bar->device->guest->watch && !bar->event_id && bar->buffer->dmabuf->info.managed &&
	    !pb_buffer_query(bar->buffer, &info, NULL)) {
		bar->event_id = info.list_id;
		pb_guest_update_filter(bar->device->guest);
	}
	if (bar->buffer->dmabuf->info.managed && !pb_buffer_query(bar->buffer, &info, NULL)) {
		range->counted = info.counted;
		range->revocations = info.revocations;
	}
	return 0;
}

void pb_guest_forget_buffer(struct guest_bar *bar)
{
	pb_buffer_close(bar->buffer);
	bar->buffer = NULL;
	bar->event_id = 0;
}

/*
 * Returns whether the buffer is permanently revoked, so that it must be exported again. A temporary
 * revocation ends by itself.
 */
static bool is_dead(struct pb_buffer *buffer)
{
	struct pb_buffer_info info;

	return atomic_load(&buffer->dmabuf->dead) ||
		(buffer->dmabuf->info.managed && !pb_buffer_query(buffer, &info, NULL) &&
		 info.state == PB_BUFFER_DEAD);
}

/*
 * Lose all ranges of @bar, whose dead buffer is about to be forgotten, and with it the counts of its
 * other ranges. The next settle maps them again.
 */
static void lose_ranges(struct guest_bar *bar)
{
	struct pb_guest *guest = bar->device->guest;
	struct guest_window *window;
	struct guest_range *range;
	struct guest_space *space;

	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				if (range->bar == bar && range->mapping) {
					range->lost = true;
					pb_signal(guest->revoked_fd);
				}
}

static int map_range(struct guest_window *window, struct guest_range *range, struct pb_error *err)
{
	struct pb_guest *guest = range->bar->device->guest;
	struct guest_bar *bar = range->bar;
	bool again = bar->buffer;
	int ret;

	for (;; again = false) {
		ret = get_buffer(bar, range, err);
		if (!ret)
			ret = pb_map_buffer_notify(window->space->ioas, bar->buffer, range->offset,
						   range->last - range->first + 1,
						   window->prot | PB_MAP_FIXED,
						   window->iova + (range->first - window->first),
						   &guest->revoked_fd, &range->mapping, err);
		if (ret != -ENODEV || !again || !is_dead(bar->buffer))
			break;
		lose_ranges(bar);
		pb_guest_forget_buffer(bar);
	}
	return ret;
}

/* Take over the state of the former ranges that overlap this one. */
static void inherit_state(struct guest_window *window, struct guest_range *range, bool *was_refused)
{
	struct guest_range *former;

	*was_refused = range->why.code;
	LIST_FOREACH(former, &window->former, in_window) {
		if (former->bar != range->bar ||
		    former->first - former->offset != range->first - range->offset ||
		    former->first > range->last || range->first > former->last)
			continue;
		range->lost |= former->lost;
		*was_refused |= former->why.code != 0;
		/* Don't report a part of a reported range again. */
		if (!range->why.code && former->first <= range->first &&
		    range->last <= former->last)
			range->why = former->why;
	}
}

static void set_mapped(struct guest_window *window, struct guest_range *range, bool was_refused)
{
	static const struct pb_error lost_mapping = {
		.code = ESTALE,
		.text = "it was revoked or "
			"unmapped without a report to the library; it is "
			"mapped again, and DMA to it may have faulted in "
			"between"
	};

	if (range->lost)
		pb_guest_add_report(window, range, PB_GUEST_MAPPED, &lost_mapping);
	else if (was_refused)
		pb_guest_add_report(window, range, PB_GUEST_MAPPED, NULL);
	range->lost = false;
	memset(&range->why, 0, sizeof(range->why));
}

/* @changes: the counts of the device's and the address space's waitlists before the attempt. */
static void set_refused(struct guest_window *window, struct guest_range *range,
			const struct pb_error *why, const uint64_t changes[2])
{
	struct guest_bar *bar = range->bar;

	if (why->code == EOPNOTSUPP)
		bar->refused = *why;
	if (bar->refused.code ? !bar->reported : range->why.code != why->code)
		pb_guest_add_report(window, range, PB_GUEST_REFUSED, why);
	if (bar->refused.code)
		bar->reported = true;
	range->why = *why;
	range->lost = false;
	range->waiter.notify_fd = &bar->device->guest->revoked_fd;
	range->waiter.first = window->iova + (range->first - window->first);
	range->waiter.last = range->waiter.first + (range->last - range->first);
	if (why->code == ENODEV)
		pb_wait_begin(&bar->device->device->origin->restored, &range->waiter, changes[0]);
	else if (why->code == EEXIST || why->code == ERANGE)
		pb_wait_begin(&window->space->ioas->room, &range->waiter, changes[1]);
}

/* Write the error sentence for an obstacle. */
static void fail_obstacle(struct guest_window *window, const struct guest_range *range, int kind,
			  struct pb_error *why)
{
	uint64_t iova = window->iova + (range->first - window->first),
		 last = iova + (range->last - range->first);
	const struct guest_bar *bar = range->bar;
	char what[80];

	snprintf(what, sizeof(what), "0x%" PRIx64 " bytes at 0x%" PRIx64 " of BAR %u of %s",
		 (range->last - range->first + 1), range->offset, bar->index,
		 bar->device->device->bdf);
	if (kind == SPAN_RESERVED)
		pb_fail_aperture(window->space->ioas, what, iova, last, why);
	else
		pb_fail(why, EEXIST,
			"cannot map %s at IOVA 0x%" PRIx64 " to 0x%" PRIx64
			": something is mapped there in address space %u; unmap it, or move the "
			"BAR",
			what, iova, last, window->space->ioas->id);
}

/* A part of the range is taken: split it off, and retry the rest. */
static bool cut_range(struct guest_window *window, struct guest_range *range)
{
	struct pb_guest *guest = range->bar->device->guest;
	uint64_t base = range->first - range->offset, at = range->first, last = range->last, end;
	unsigned int probes = PB_GUEST_MAX_PROBES;
	struct guest_range *part = range;
	bool first = true;

	guest->nr_taken = 0;
	pb_guest_find_taken(window, range, at, last, &probes);
	if (!guest->nr_taken || (guest->taken[0].first == at && guest->taken[0].last == last))
		return false;
	for (;; at = end + 1) {
		int i = pb_span_run(guest->taken, guest->nr_taken, at, last, &end);

		if (!first) {
			part = calloc(1, sizeof(*part));
			if (!part)
				return true;
			part->bar = range->bar;
			part->why = range->why;
			part->lost = range->lost;
			LIST_INSERT_AFTER(range, part, in_window);
		}
		first = false;
		part->first = at;
		part->last = end;
		part->offset = at - base;
		part->in_the_way = i < 0 ? -1 : SPAN_TAKEN;
		part->tried = false;
		if (end == last)
			return true;
	}
}

static void try_range(struct guest_window *window, struct guest_range *range)
{
	struct guest_bar *bar = range->bar;
	/* What is in the way was found before: a change since then counts, too. */
	const uint64_t changes[] = {
		pb_waitlist_get_changes(&bar->device->device->origin->restored),
		range->in_the_way >= 0 ? bar->device->guest->room_changes :
					 pb_waitlist_get_changes(&window->space->ioas->room)
	};
	struct pb_error why = bar->refused;
	bool was_refused;

	inherit_state(window, range, &was_refused);
	range->tried = true;
	if (!why.code && range->in_the_way >= 0) {
		fail_obstacle(window, range, range->in_the_way, &why);
	} else if (!why.code && !map_range(window, range, &why)) {
		set_mapped(window, range, was_refused);
		return;
	} else if (!bar->refused.code && why.code == EEXIST) {
		/* Its other parts follow in the list, and are tried next. */
		if (cut_range(window, range)) {
			range->tried = range->in_the_way >= 0;
			if (!range->tried) {
				try_range(window, range);
				return;
			}
		}
		fail_obstacle(window, range, SPAN_TAKEN, &why);
	}
	set_refused(window, range, &why, changes);
}

/* Set the ranges without a mapping aside; they are cut again. */
static void set_unmapped_aside(struct guest_window *window)
{
	struct guest_range *range, *next;

	for (range = LIST_FIRST(&window->ranges); range; range = next) {
		next = LIST_NEXT(range, in_window);
		if (range->mapping)
			continue;
		LIST_REMOVE(range, in_window);
		LIST_INSERT_HEAD(&window->former, range, in_window);
	}
}

static void settle_window(struct pb_guest *guest, struct guest_window *window)
{
	struct pb_guest_device *dev;
	struct guest_range *range;
	struct guest_bar *bar;

	set_unmapped_aside(window);
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			add_ranges(guest, window, bar);
	LIST_FOREACH(range, &window->ranges, in_window)
		if (!range->mapping && !range->tried)
			try_range(window, range);
	while ((range = LIST_FIRST(&window->former)))
		pb_guest_free_range(range);
}

/* ---- both steps ---- */

void pb_guest_settle(struct pb_guest *guest)
{
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;
	int ret;

	pb_guest_take_events(guest);
	/* Stop waiting: everything is tried again below. */
	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				pb_wait_end(&range->waiter);
	pb_guest_unmap_wrong(guest, false);
	LIST_FOREACH(space, &guest->spaces, in_guest) {
		guest->room_changes = pb_waitlist_get_changes(&space->ioas->room);
		guest->aperture = pb_ioas_get_ranges(space->ioas, &guest->nr_aperture, &ret);
		if (!guest->aperture)
			guest->nr_aperture = 0;
		LIST_FOREACH(window, &space->windows, in_space)
			settle_window(guest, window);
		free(guest->aperture);
		guest->aperture = NULL;
		guest->nr_aperture = 0;
	}
	if (guest->watch)
		pb_guest_ignore_unused(guest);
}
