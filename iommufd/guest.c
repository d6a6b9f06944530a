// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Guests: map the BARs of assigned devices at the guest's addresses. guest-state.h describes the design.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "guest-state.h"
#include "uapi.h"

typedef unsigned long long ull;

#define MAX_REPORTS 256

enum { SPAN_CLAIM, SPAN_TRAP, SPAN_RANGE, SPAN_RESERVED, SPAN_TAKEN };

#define for_each_bar(bar, dev) for ((bar) = (dev)->bars; (bar) < (dev)->bars + PB_BARS; (bar)++)

/* ---- the guest's state ---- */

static bool decodes(const struct pb_guest_device *dev)
{
	return dev->decoding && dev->powered && !dev->resetting;
}

/* Get the pages that the BAR claims now; returns false if none. */
static bool claims(const struct guest_bar *bar, struct pb_span *claim)
{
	return bar->size && decodes(bar->device) && pb_bar_claim(bar->address, bar->size, bar->wide, pb_page_size(), claim);
}

static bool overlap(const struct pb_span *span, uint64_t first, uint64_t last)
{
	return span->first <= last && first <= span->last;
}

/*
 * Returns whether the guest wants these pages of the BAR at this address, and no other BAR claims
 * any of them.
 */
static bool right_place(struct pb_guest *guest, const struct guest_range *range)
{
	struct pb_guest_device *dev;
	struct pb_span claim;
	struct guest_bar *bar;

	if (!claims(range->bar, &claim) || range->first < claim.first || range->first - claim.first != range->offset)
		return false;
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			if (bar != range->bar && claims(bar, &claim) && overlap(&claim, range->first, range->last))
				return false;
	return true;
}

/* ---- reports ---- */

static void describe(struct pb_guest_range *out, struct guest_bar *bar, uint64_t offset, uint64_t length, enum pb_guest_state state)
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

static void describe_placed(struct pb_guest_range *out, struct guest_bar *bar, struct guest_window *window, uint64_t first, uint64_t last,
			    uint64_t offset, enum pb_guest_state state)
{
	describe(out, bar, offset, last - first + 1, state);
	out->address = first;
	out->ioas = window->space->ioas;
	out->iova = window->iova + (first - window->first);
}

static void free_report(struct pb_guest *guest, struct guest_report *report)
{
	uint64_t count;

	TAILQ_REMOVE(&guest->reports, report, in_guest);
	guest->nr_reports--;
	free(report);
	if (!guest->nr_reports && read(guest->report_fd, &count, sizeof(count)) < 0)
		(void)0; /* Cannot fail: each report was counted. */
}

/* Without memory the report is dropped; pb_guest_list() still has the range. */
static void report(struct guest_window *window, struct guest_range *range, enum pb_guest_state state, const struct pb_error *why)
{
	struct pb_guest *guest = range->bar->device->guest;
	struct guest_report *new;
	uint64_t one = 1;

	new = malloc(sizeof(*new));
	if (!new)
		return;
	describe_placed(&new->range, range->bar, window, range->first, range->last, range->offset, state);
	if (why)
		new->range.why = *why;
	TAILQ_INSERT_TAIL(&guest->reports, new, in_guest);
	guest->nr_reports++;
	if (write(guest->report_fd, &one, sizeof(one)) < 0)
		(void)0; /* Cannot fail: the counter is drained long before 2^64. */
	if (guest->nr_reports > MAX_REPORTS)
		free_report(guest, TAILQ_FIRST(&guest->reports));
}

/* ---- first step: unmap wrong mappings ---- */

/* Returns false, with a report, if the kernel did not unmap it. */
static bool unmap_range(struct guest_window *window, struct guest_range *range)
{
	struct pb_error why = { 0 };

	if (range->mapping && pb_unmap(range->mapping, &why)) {
		if (range->why.code != why.code)
			report(window, range, PB_GUEST_REFUSED, &why);
		range->why = why;
		return false;
	}
	range->mapping = NULL;
	return true;
}

/* Must not be mapped. */
static void free_range(struct guest_range *range)
{
	pb_wait_end(&range->waiter);
	LIST_REMOVE(range, in_window);
	free(range);
}

static bool drop_range(struct guest_window *window, struct guest_range *range)
{
	if (!unmap_range(window, range))
		return false;
	free_range(range);
	return true;
}

static void drop_wrong(struct pb_guest *guest, bool all)
{
	struct guest_range *range, *next;
	struct guest_window *window;
	struct guest_space *space;

	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			for (range = LIST_FIRST(&window->ranges); range; range = next) {
				next = LIST_NEXT(range, in_window);
				if (!right_place(guest, range)) {
					drop_range(window, range);
					continue;
				}
				if (all) {
					unmap_range(window, range);
					continue;
				}
				if (range->mapping && pb_mapping_state(range->mapping) == PB_REVOKED)
					range->lost = true;
				/* The range keeps its place: it is mapped again below. */
				if (range->lost)
					unmap_range(window, range);
			}
}

/* ---- second step: map missing pages ---- */

static unsigned int count_mappings(struct pb_ioas *ioas)
{
	struct pb_mapping *m;
	unsigned int n = 0;

	pthread_mutex_lock(&ioas->lock);
	LIST_FOREACH(m, &ioas->mappings, in_ioas)
		n++;
	pthread_mutex_unlock(&ioas->lock);
	return n;
}

/* Allocate spans for all obstacles of one BAR, and for @more. */
static int make_room(struct pb_guest *guest, struct guest_window *window, unsigned int more)
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

static void add_span(struct pb_guest *guest, unsigned int *n, uint64_t first, uint64_t last, int kind, void *of)
{
	guest->spans[(*n)++] = (struct pb_span){ .first = first, .last = last, .kind = kind, .of = of };
}

/*
 * Collect the spans that overlap or may overlap the claimed pages; earlier ones take precedence.
 * Returns their number.
 */
static unsigned int spans_of(struct pb_guest *guest, struct guest_window *window, struct guest_bar *bar, const struct pb_span *claim)
{
	struct pb_guest_device *dev;
	struct guest_range *range;
	struct guest_bar *other;
	struct pb_span theirs;
	unsigned int i, n = 0;

	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(other, dev)
			if (other != bar && claims(other, &theirs))
				add_span(guest, &n, theirs.first, theirs.last, SPAN_CLAIM, NULL);
	for (i = 0; i < bar->nr_traps; i++)
		add_span(guest, &n, claim->first + bar->traps[i].first, claim->first + bar->traps[i].last, SPAN_TRAP, NULL);
	/* A range of another BAR is still here because the kernel did not unmap it. */
	LIST_FOREACH(range, &window->ranges, in_window)
		add_span(guest, &n, range->first, range->last, range->bar == bar ? SPAN_RANGE : SPAN_CLAIM, range);
	return n;
}

/* Add the whole pages of the window whose IOVAs are from @first to @last; there may be none. */
static void add_iovas(struct pb_guest *guest, unsigned int *n, const struct guest_window *window, uint64_t first, uint64_t last, int kind)
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
	add_span(guest, n, window->first + (first - window->iova), window->first + (last - window->iova), kind, NULL);
}

/*
 * Add the obstacles in the address space: gaps of the aperture, and mappings that are not the
 * guest's.
 */
static unsigned int add_obstacles(struct pb_guest *guest, struct guest_window *window, unsigned int n)
{
	struct pb_ioas *ioas = window->space->ioas;
	struct pb_iova_range gap;
	struct pb_mapping *m;
	uint64_t from = 0;

	while (guest->nr_aperture && pb_find_gap(guest->aperture, guest->nr_aperture, from, UINT64_MAX, &gap)) {
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

static bool in_window(const struct guest_window *window, const struct pb_span *claim, uint64_t *first, uint64_t *last)
{
	if (!overlap(claim, window->first, window->last))
		return false;
	*first = claim->first > window->first ? claim->first : window->first;
	*last = claim->last < window->last ? claim->last : window->last;
	return true;
}

/*
 * Add a range of the BAR, which begins at @base; reuse the former range if it is the same. Returns
 * false without memory.
 */
static bool add_range(struct guest_window *window, struct guest_bar *bar, uint64_t base, uint64_t first, uint64_t last, int in_the_way)
{
	struct guest_range *range;

	LIST_FOREACH(range, &window->former, in_window)
		if (range->bar == bar && range->first == first && range->last == last && range->offset == first - base)
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
static bool is_covered(const struct pb_guest *guest, unsigned int n, uint64_t at, uint64_t last)
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

	if (!claims(bar, &claim) || !in_window(window, &claim, &at, &last) || make_room(guest, window, 0))
		return;
	n = spans_of(guest, window, bar, &claim);
	if (is_covered(guest, n, at, last))
		return;
	/*
	 * Another thread may map more after the count. Such a mapping is found when it refuses the
	 * range.
	 */
	if (make_room(guest, window, guest->nr_aperture + 1 + count_mappings(window->space->ioas)))
		return;
	/* The ranges added below don't overlap each other. */
	n = add_obstacles(guest, window, n);
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
		if ((kind == -1 || kind == SPAN_RESERVED || kind == SPAN_TAKEN) && !add_range(window, bar, claim.first, at, end, kind))
			return;
		if (end == last)
			break;
	}
}

/* Receive events of the buffers in use only. */
static void update_watch(struct pb_guest *guest)
{
	struct pb_guest_device *dev;
	struct guest_bar *bar;
	unsigned int n = 0;
	uint64_t *ids;

	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			n += !!bar->heard;
	ids = calloc(n ? n : 1, sizeof(*ids));
	if (!ids)
		return;
	n = 0;
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			if (bar->heard)
				ids[n++] = bar->heard;
	/*
	 * On failure, too many events are received or, for new buffers, too few; pb_guest_check()
	 * finds those.
	 */
	pb_watch_only(guest->watch, ids, n);
	free(ids);
}

/* Export the BAR if necessary, and read its revocation counter if it has one. */
static int get_buffer(struct guest_bar *bar, struct guest_range *range, struct pb_error *err)
{
	struct pb_range whole = { 0, (bar->size + pb_page_size() - 1) & ~(pb_page_size() - 1) };
	struct pb_buffer_info info;
	int ret;

	if (!bar->buffer) {
		ret = pb_buffer_export(bar->device->device, bar->index, &whole, 1, 0, &bar->buffer, err);
		if (ret)
			return ret;
	}
	range->counted = false;
	/*
	 * Must be before the counter is read: a later revocation is then either counted or
	 * received.
	 */
	if (bar->device->guest->watch && !bar->heard && bar->buffer->dmabuf->info.managed && !pb_buffer_query(bar->buffer, &info, NULL)) {
		bar->heard = info.list_id;
		update_watch(bar->device->guest);
	}
	if (bar->buffer->dmabuf->info.managed && !pb_buffer_query(bar->buffer, &info, NULL)) {
		range->counted = info.counted;
		range->revocations = info.revocations;
	}
	return 0;
}

static void forget_buffer(struct guest_bar *bar)
{
	pb_buffer_close(bar->buffer);
	bar->buffer = NULL;
	bar->heard = 0;
}

/*
 * Returns whether the buffer is permanently revoked, so that it must be exported again. A temporary
 * revocation ends by itself.
 */
static bool is_dead(struct pb_buffer *buffer)
{
	struct pb_buffer_info info;

	return atomic_load(&buffer->dmabuf->dead) ||
	       (buffer->dmabuf->info.managed && !pb_buffer_query(buffer, &info, NULL) && info.state == PB_BUFFER_DEAD);
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
			ret = pb_map_buffer_notify(window->space->ioas, bar->buffer, range->offset, range->last - range->first + 1,
						   window->prot | PB_MAP_FIXED, window->iova + (range->first - window->first),
						   &guest->revoked_fd, &range->mapping, err);
		if (ret != -ENODEV || !again || !is_dead(bar->buffer))
			break;
		forget_buffer(bar);
	}
	return ret;
}

/* Take over the state of the former ranges that overlap this one. */
static void inherit(struct guest_window *window, struct guest_range *range, bool *was_refused)
{
	struct guest_range *former;

	*was_refused = range->why.code;
	LIST_FOREACH(former, &window->former, in_window) {
		if (former->bar != range->bar || former->first - former->offset != range->first - range->offset ||
		    former->first > range->last || range->first > former->last)
			continue;
		range->lost |= former->lost;
		*was_refused |= former->why.code != 0;
		/* Don't report a part of a reported range again. */
		if (!range->why.code && former->first <= range->first && range->last <= former->last)
			range->why = former->why;
	}
}

static void mapped(struct guest_window *window, struct guest_range *range, bool was_refused)
{
	static const struct pb_error silently = { .code = ESTALE, .text = "it was revoked or "
						  "unmapped without a report to the library; it is "
						  "mapped again, and DMA to it may have faulted in "
						  "between" };

	if (range->lost)
		report(window, range, PB_GUEST_MAPPED, &silently);
	else if (was_refused)
		report(window, range, PB_GUEST_MAPPED, NULL);
	range->lost = false;
	memset(&range->why, 0, sizeof(range->why));
}

/* @changes: the counts of the device's and the address space's waitlists before the attempt. */
static void refused(struct guest_window *window, struct guest_range *range, const struct pb_error *why, const uint64_t changes[2])
{
	struct guest_bar *bar = range->bar;

	if (why->code == EOPNOTSUPP)
		bar->refused = *why;
	if (bar->refused.code ? !bar->told : range->why.code != why->code)
		report(window, range, PB_GUEST_REFUSED, why);
	if (bar->refused.code)
		bar->told = true;
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
static void obstacle(struct guest_window *window, const struct guest_range *range, int kind, struct pb_error *why)
{
	uint64_t iova = window->iova + (range->first - window->first), last = iova + (range->last - range->first);
	const struct guest_bar *bar = range->bar;
	char what[80];

	snprintf(what, sizeof(what), "0x%llx bytes at 0x%llx of BAR %u of %s", (ull)(range->last - range->first + 1), (ull)range->offset,
		 bar->index, bar->device->device->bdf);
	if (kind == SPAN_RESERVED)
		pb_fail_aperture(window->space->ioas, what, iova, last, why);
	else
		pb_fail(why, EEXIST, "cannot map %s at IOVA 0x%llx to 0x%llx: something is mapped there in address space %u; unmap it, or move the "
			"BAR", what, (ull)iova, (ull)last, window->space->ioas->id);
}

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
	guest->taken[guest->nr_taken++] = (struct pb_span){ .first = first, .last = last, .kind = SPAN_TAKEN };
}

#define MAX_PROBES 1024

/*
 * Find the parts of the range from @first to @last where the library's user mapped something
 * without the library. The kernel only reports whether all of a range is mapped, and whether any of
 * it is: bisect until each part is one or the other.
 */
static void find_taken(struct guest_window *window, const struct guest_range *range, uint64_t first, uint64_t last, unsigned int *probes)
{
	struct guest_bar *bar = range->bar;
	uint64_t page = pb_page_size(), length = last - first + 1, iova = window->iova + (first - window->first), middle;

	if (*probes) {
		(*probes)--;
		if (pb_ioas_try(window->space->ioas, bar->buffer, range->offset + (first - range->first), length, window->prot, iova) !=
		    -EEXIST)
			return;
	}
	if (!*probes || length <= page || pb_ioas_is_mapped(window->space->ioas, iova, length)) {
		add_taken(bar->device->guest, first, last);
		return;
	}
	middle = first + (length / 2 & ~(page - 1));
	find_taken(window, range, first, middle - 1, probes);
	find_taken(window, range, middle, last, probes);
}

/* A part of the range is taken: split it off, and retry the rest. */
static bool cut_range(struct guest_window *window, struct guest_range *range)
{
	struct pb_guest *guest = range->bar->device->guest;
	uint64_t base = range->first - range->offset, at = range->first, last = range->last, end;
	unsigned int probes = MAX_PROBES;
	struct guest_range *part = range;
	bool first = true;

	guest->nr_taken = 0;
	find_taken(window, range, at, last, &probes);
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
	const uint64_t changes[] = { pb_wait_changes(&bar->device->device->origin->restored), pb_wait_changes(&window->space->ioas->room) };
	struct pb_error why = bar->refused;
	bool was_refused;

	inherit(window, range, &was_refused);
	range->tried = true;
	if (!why.code && range->in_the_way >= 0) {
		obstacle(window, range, range->in_the_way, &why);
	} else if (!why.code && !map_range(window, range, &why)) {
		mapped(window, range, was_refused);
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
		obstacle(window, range, SPAN_TAKEN, &why);
	}
	refused(window, range, &why, changes);
}

/* Set the ranges without a mapping aside; they are cut again. */
static void set_aside(struct guest_window *window)
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

	set_aside(window);
	LIST_FOREACH(dev, &guest->devices, in_guest)
		for_each_bar(bar, dev)
			add_ranges(guest, window, bar);
	LIST_FOREACH(range, &window->ranges, in_window)
		if (!range->mapping && !range->tried)
			try_range(window, range);
	while ((range = LIST_FIRST(&window->former)))
		free_range(range);
}

/*
 * Don't receive events of buffers without a range: they follow from the guest's actions, which the
 * VMM reports.
 */
static void hear_of_those_in_use(struct pb_guest *guest)
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
			if (bar->heard && !bar->in_use) {
				bar->heard = 0;
				changed = true;
			}
	if (changed)
		update_watch(guest);
}

static void hear(struct pb_guest *guest);

static void settle(struct pb_guest *guest)
{
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;
	int ret;

	hear(guest);
	/* Stop waiting: everything is tried again below. */
	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				pb_wait_end(&range->waiter);
	drop_wrong(guest, false);
	LIST_FOREACH(space, &guest->spaces, in_guest) {
		guest->aperture = pb_ioas_ranges(space->ioas, &guest->nr_aperture, &ret);
		if (!guest->aperture)
			guest->nr_aperture = 0;
		LIST_FOREACH(window, &space->windows, in_space)
			settle_window(guest, window);
		free(guest->aperture);
		guest->aperture = NULL;
		guest->nr_aperture = 0;
	}
	if (guest->watch)
		hear_of_those_in_use(guest);
}

/* ---- the guest ---- */

static int poll_also(struct pb_guest *guest, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(guest->poll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void free_guest(struct pb_guest *guest)
{
	pb_watch_close(guest->watch);
	if (guest->poll_fd >= 0)
		close(guest->poll_fd);
	if (guest->revoked_fd >= 0)
		close(guest->revoked_fd);
	if (guest->report_fd >= 0)
		close(guest->report_fd);
	pthread_mutex_destroy(&guest->lock);
	free(guest->spans);
	free(guest->taken);
	free(guest);
}

int pb_guest_create(struct pb_guest **guest, struct pb_error *err)
{
	struct pb_guest *new;
	int ret;

	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot create a guest");
	pthread_mutex_init(&new->lock, NULL);
	LIST_INIT(&new->devices);
	LIST_INIT(&new->spaces);
	TAILQ_INIT(&new->reports);
	new->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	new->revoked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	new->report_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (new->poll_fd < 0 || new->revoked_fd < 0 || new->report_fd < 0 || poll_also(new, new->revoked_fd) ||
	    poll_also(new, new->report_fd)) {
		ret = pb_fail_errno(err, errno, "cannot create a guest (epoll, eventfd)");
		free_guest(new);
		return ret;
	}
	/*
	 * Without events, only pb_guest_check() and the VMM's reports detect actions of other
	 * processes.
	 */
	if (!pb_watch_open_silent(&new->watch, NULL) && poll_also(new, pb_watch_fd(new->watch))) {
		pb_watch_close(new->watch);
		new->watch = NULL;
	}
	*guest = new;
	return 0;
}

static void free_device(struct pb_guest_device *dev)
{
	struct guest_bar *bar;

	for_each_bar(bar, dev) {
		forget_buffer(bar);
		free(bar->traps);
	}
	free(dev);
}

static void free_space(struct guest_space *space)
{
	struct guest_window *window;
	struct guest_range *range;

	while ((window = LIST_FIRST(&space->windows))) {
		while ((range = LIST_FIRST(&window->ranges)))
			free_range(range);
		LIST_REMOVE(window, in_space);
		free(window);
	}
	free(space);
}

void pb_guest_destroy(struct pb_guest *guest)
{
	struct pb_guest_device *dev;
	struct guest_report *waiting;
	struct guest_space *space;

	if (!guest)
		return;
	/* Leave mappings that the kernel did not unmap to the address space. */
	drop_wrong(guest, true);
	while ((space = LIST_FIRST(&guest->spaces))) {
		LIST_REMOVE(space, in_guest);
		free_space(space);
	}
	while ((dev = LIST_FIRST(&guest->devices))) {
		LIST_REMOVE(dev, in_guest);
		free_device(dev);
	}
	while ((waiting = TAILQ_FIRST(&guest->reports)))
		free_report(guest, waiting);
	free_guest(guest);
}

/* ---- address spaces, and windows onto them ---- */

static struct guest_space *find_space(struct pb_guest *guest, const struct pb_ioas *ioas)
{
	struct guest_space *space;

	LIST_FOREACH(space, &guest->spaces, in_guest)
		if (space->ioas == ioas)
			return space;
	return NULL;
}

static struct guest_window *new_window(struct guest_space *space, uint64_t iova, uint64_t first, uint64_t last, unsigned int prot)
{
	struct guest_window *window = calloc(1, sizeof(*window));

	if (!window)
		return NULL;
	window->space = space;
	window->iova = iova;
	window->first = first;
	window->last = last;
	window->prot = prot;
	LIST_INIT(&window->ranges);
	LIST_INIT(&window->former);
	LIST_INSERT_HEAD(&space->windows, window, in_space);
	return window;
}

int pb_guest_add_ioas(struct pb_guest *guest, struct pb_ioas *ioas, unsigned int flags, struct pb_error *err)
{
	struct guest_space *space;

	if (flags & ~(unsigned int)PB_GUEST_WINDOWS)
		return pb_fail(err, EINVAL, "cannot add address space %u to a guest with flags 0x%x: 0x%x is not known here", ioas->id, flags,
			       flags & ~(unsigned int)PB_GUEST_WINDOWS);
	space = calloc(1, sizeof(*space));
	if (!space)
		return pb_fail_errno(err, ENOMEM, "cannot add address space %u to a guest", ioas->id);
	space->ioas = ioas;
	space->windowed = flags & PB_GUEST_WINDOWS;
	LIST_INIT(&space->windows);
	if (!space->windowed && !new_window(space, 0, 0, UINT64_MAX, PB_MAP_READ | PB_MAP_WRITE)) {
		free_space(space);
		return pb_fail_errno(err, ENOMEM, "cannot add address space %u to a guest", ioas->id);
	}
	pthread_mutex_lock(&guest->lock);
	if (find_space(guest, ioas)) {
		pthread_mutex_unlock(&guest->lock);
		free_space(space);
		return pb_fail(err, EEXIST, "cannot add address space %u to a guest: it was added already", ioas->id);
	}
	LIST_INSERT_HEAD(&guest->spaces, space, in_guest);
	settle(guest);
	pthread_mutex_unlock(&guest->lock);
	return 0;
}

/* Returns false if the kernel did not unmap all of it. */
static bool empty_window(struct guest_window *window)
{
	struct guest_range *range, *next;
	bool all = true;

	for (range = LIST_FIRST(&window->ranges); range; range = next) {
		next = LIST_NEXT(range, in_window);
		if (!drop_range(window, range))
			all = false;
	}
	return all;
}

int pb_guest_remove_ioas(struct pb_guest *guest, struct pb_ioas *ioas, struct pb_error *err)
{
	struct guest_report *waiting, *next;
	struct guest_window *window;
	struct guest_space *space;
	bool all = true;

	pthread_mutex_lock(&guest->lock);
	space = find_space(guest, ioas);
	if (!space) {
		pthread_mutex_unlock(&guest->lock);
		return pb_fail(err, ENOENT, "address space %u is none of this guest's", ioas->id);
	}
	LIST_FOREACH(window, &space->windows, in_space)
		all &= empty_window(window);
	if (all) {
		LIST_REMOVE(space, in_guest);
		free_space(space);
		for (waiting = TAILQ_FIRST(&guest->reports); waiting; waiting = next) {
			next = TAILQ_NEXT(waiting, in_guest);
			if (waiting->range.ioas == ioas)
				free_report(guest, waiting);
		}
	}
	pthread_mutex_unlock(&guest->lock);
	return all ? 0 : pb_fail(err, EBUSY, "the kernel did not unmap all of a guest's BARs from address space %u; call again", ioas->id);
}

int pb_guest_add_window(struct pb_guest *guest, struct pb_ioas *ioas, const struct pb_guest_window *w, struct pb_error *err)
{
	const unsigned int known = PB_MAP_READ | PB_MAP_WRITE;
	uint64_t page = pb_page_size(), last = w->length - 1;
	struct guest_window *window;
	struct guest_space *space;
	int ret = 0;

	if (!w->length || !pb_aligned(w->iova | w->address | w->length, page) || w->iova > UINT64_MAX - last ||
	    w->address > UINT64_MAX - last)
		return pb_fail(err, EINVAL, "0x%llx bytes at IOVA 0x%llx, for the guest's address 0x%llx, are no window: all three must be "
			       "multiples of the page size, 0x%llx, the length not 0, and the end not beyond 2^64", (ull)w->length,
			       (ull)w->iova, (ull)w->address, (ull)page);
	if (w->flags & ~known || !(w->flags & known))
		return pb_fail(err, EINVAL, "a window cannot have flags 0x%x; pass PB_MAP_READ, "
			       "PB_MAP_WRITE or both", w->flags);
	pthread_mutex_lock(&guest->lock);
	space = find_space(guest, ioas);
	if (!space || !space->windowed) {
		ret = pb_fail(err, EINVAL, "address space %u has no windows: it was not added to this guest with PB_GUEST_WINDOWS", ioas->id);
		goto out;
	}
	LIST_FOREACH(window, &space->windows, in_space) {
		if (w->iova > window->iova + (window->last - window->first) || window->iova > w->iova + last)
			continue;
		ret = pb_fail(err, EEXIST, "a window at IOVA 0x%llx to 0x%llx of address space %u overlaps the one at 0x%llx; remove that "
			      "first", (ull)w->iova, (ull)(w->iova + last), ioas->id, (ull)window->iova);
		goto out;
	}
	if (!new_window(space, w->iova, w->address, w->address + last, w->flags))
		ret = pb_fail_errno(err, ENOMEM, "cannot add a window to address space %u", ioas->id);
	else
		settle(guest);
out:
	pthread_mutex_unlock(&guest->lock);
	return ret;
}

int pb_guest_remove_window(struct pb_guest *guest, struct pb_ioas *ioas, uint64_t iova, struct pb_error *err)
{
	struct guest_window *window = NULL;
	struct guest_space *space;
	int ret = 0;

	pthread_mutex_lock(&guest->lock);
	space = find_space(guest, ioas);
	if (space && space->windowed)
		LIST_FOREACH(window, &space->windows, in_space)
			if (window->iova == iova)
				break;
	if (!window) {
		ret = pb_fail(err, ENOENT, "address space %u has no window at IOVA 0x%llx", ioas->id, (ull)iova);
	} else if (empty_window(window)) {
		LIST_REMOVE(window, in_space);
		free(window);
	} else {
		ret = pb_fail(err, EBUSY, "the kernel did not unmap all of the window at IOVA 0x%llx of address space %u; call again",
			      (ull)iova, ioas->id);
	}
	pthread_mutex_unlock(&guest->lock);
	return ret;
}

/* ---- devices ---- */

/* Trap the pages that overlap [offset, offset + length) of the BAR. Must have room. */
static void add_trap(struct guest_bar *bar, uint64_t offset, uint64_t length)
{
	uint64_t page = pb_page_size();

	bar->traps[bar->nr_traps++] = (struct pb_span){ .first = offset & ~(page - 1), .last = (offset + length - 1) | (page - 1) };
}

static uint32_t config32(struct pb_device *device, unsigned int at)
{
	uint8_t le[4];

	if (pb_device_read(device, PB_REGION_CONFIG, at, le, sizeof(le), NULL))
		return 0;
	return (uint32_t)le[0] | (uint32_t)le[1] << 8 | (uint32_t)le[2] << 16 | (uint32_t)le[3] << 24;
}

/* Trap the MSI-X table, which every VMM emulates, and the pending bits, which no peer needs. */
static void trap_msix(struct pb_guest_device *dev)
{
	struct pb_device *device = dev->device;
	uint32_t entries, where;

	if (!device->cap_msix)
		return;
	entries = ((config32(device, device->cap_msix) >> 16) & PCI_MSIX_FLAGS_QSIZE) + 1;
	where = config32(device, device->cap_msix + PCI_MSIX_TABLE);
	if ((where & PCI_MSIX_TABLE_BIR) < PB_BARS && dev->bars[where & PCI_MSIX_TABLE_BIR].size)
		add_trap(&dev->bars[where & PCI_MSIX_TABLE_BIR], where & PCI_MSIX_TABLE_OFFSET, entries * PCI_MSIX_ENTRY_SIZE);
	where = config32(device, device->cap_msix + PCI_MSIX_PBA);
	if ((where & PCI_MSIX_PBA_BIR) < PB_BARS && dev->bars[where & PCI_MSIX_PBA_BIR].size)
		add_trap(&dev->bars[where & PCI_MSIX_PBA_BIR], where & PCI_MSIX_PBA_OFFSET, (entries + 63) / 64 * 8);
}

static int check_trap(const struct pb_guest_device *dev, const struct pb_guest_trap *trap, struct pb_error *err)
{
	uint64_t size = trap->bar < PB_BARS ? dev->bars[trap->bar].size : 0;

	if (!size || !trap->length || trap->offset >= size || trap->length > size - trap->offset)
		return pb_fail(err, EINVAL, "0x%llx bytes at 0x%llx of BAR %u of %s cannot be trapped: they are not inside a BAR with memory",
			       (ull)trap->length, (ull)trap->offset, trap->bar, dev->device->bdf);
	return 0;
}

static int set_up_bars(struct pb_guest_device *dev, const struct pb_guest_trap *traps, unsigned int nr_traps, struct pb_error *err)
{
	struct guest_bar *bar;
	unsigned int i;
	int ret;

	for_each_bar(bar, dev) {
		bar->device = dev;
		bar->index = (unsigned int)(bar - dev->bars);
		bar->address = PB_GUEST_NOWHERE;
		if (dev->device->memory_bar[bar->index] && bar->index < dev->device->nr_regions)
			bar->size = dev->device->regions[bar->index].size;
		if (!bar->size)
			continue;
		bar->wide = (config32(dev->device, PCI_BASE_ADDRESS_0 + 4 * bar->index) & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
			    PCI_BASE_ADDRESS_MEM_TYPE_64;
		/* The caller's, the MSI-X table, the pending bits, and an incomplete last page. */
		bar->traps = calloc((size_t)nr_traps + 3, sizeof(*bar->traps));
		if (!bar->traps)
			return pb_fail_errno(err, ENOMEM, "cannot add %s to a guest",
					     dev->device->bdf);
		if (bar->size % pb_page_size())
			add_trap(bar, bar->size - 1, 1);
	}
	for (i = 0; i < nr_traps; i++) {
		ret = check_trap(dev, &traps[i], err);
		if (ret)
			return ret;
		add_trap(&dev->bars[traps[i].bar], traps[i].offset, traps[i].length);
	}
	trap_msix(dev);
	return 0;
}

int pb_guest_add_device(struct pb_guest *guest, struct pb_device *device, const struct pb_guest_trap *traps, unsigned int nr_traps,
			void *data, struct pb_guest_device **guest_device, struct pb_error *err)
{
	struct pb_guest_device *new, *dev;
	int ret;

	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot add %s to a guest", device->bdf);
	new->guest = guest;
	new->device = device;
	new->data = data;
	new->powered = true;
	ret = set_up_bars(new, traps, nr_traps, err);
	if (ret) {
		free_device(new);
		return ret;
	}
	pthread_mutex_lock(&guest->lock);
	LIST_FOREACH(dev, &guest->devices, in_guest)
		if (dev->device == device)
			break;
	if (!dev) {
		LIST_INSERT_HEAD(&guest->devices, new, in_guest);
		*guest_device = new;
	}
	pthread_mutex_unlock(&guest->lock);
	if (dev) {
		free_device(new);
		return pb_fail(err, EEXIST, "%s was added to this guest already", device->bdf);
	}
	return 0;
}

/* Returns whether the device has any range. */
static bool is_mapped(const struct pb_guest_device *dev)
{
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;

	LIST_FOREACH(space, &dev->guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				if (range->bar->device == dev)
					return true;
	return false;
}

int pb_guest_remove_device(struct pb_guest_device *dev, struct pb_error *err)
{
	struct guest_report *waiting, *next;
	struct pb_guest *guest;
	int ret = 0;

	if (!dev)
		return 0;
	guest = dev->guest;
	pthread_mutex_lock(&guest->lock);
	dev->decoding = false;
	settle(guest);
	if (is_mapped(dev)) {
		ret = pb_fail(err, EBUSY, "the kernel did not unmap all BARs of %s; call again", dev->device->bdf);
	} else {
		LIST_REMOVE(dev, in_guest);
		for (waiting = TAILQ_FIRST(&guest->reports); waiting; waiting = next) {
			next = TAILQ_NEXT(waiting, in_guest);
			if (waiting->range.device == dev)
				free_report(guest, waiting);
		}
		free_device(dev);
	}
	pthread_mutex_unlock(&guest->lock);
	return ret;
}

/* ---- actions of the guest ---- */

int pb_guest_set_bar(struct pb_guest_device *dev, unsigned int bar, uint64_t address, struct pb_error *err)
{
	uint64_t size = bar < PB_BARS ? dev->bars[bar].size : 0;
	uint64_t unit = size && size < pb_page_size() ? size : pb_page_size();

	if (!size)
		return pb_fail(err, EINVAL, "%s has no BAR %u with memory", dev->device->bdf, bar);
	if (address != PB_GUEST_NOWHERE && !pb_aligned(address, unit))
		return pb_fail(err, EINVAL, "BAR %u of %s cannot be at 0x%llx: its address must be a multiple of 0x%llx", bar,
			       dev->device->bdf, (ull)address, (ull)unit);
	pthread_mutex_lock(&dev->guest->lock);
	dev->bars[bar].address = address;
	settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

int pb_guest_set_decoding(struct pb_guest_device *dev, bool on, struct pb_error *err)
{
	(void)err;
	pthread_mutex_lock(&dev->guest->lock);
	dev->decoding = on;
	settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

int pb_guest_set_power(struct pb_guest_device *dev, bool on, struct pb_error *err)
{
	(void)err;
	pthread_mutex_lock(&dev->guest->lock);
	dev->powered = on;
	settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

int pb_guest_reset_begin(struct pb_guest_device *dev, struct pb_error *err)
{
	(void)err;
	pthread_mutex_lock(&dev->guest->lock);
	dev->resetting = true;
	settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

int pb_guest_reset_done(struct pb_guest_device *dev, struct pb_error *err)
{
	(void)err;
	pthread_mutex_lock(&dev->guest->lock);
	dev->resetting = false;
	dev->decoding = false;
	dev->powered = true;
	settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

/* ---- actions of the kernel ---- */

/*
 * peerbar-vfio-pci counts revocations, so that past ones are detected as well. Returns the number
 * of mappings newly found dead.
 */
static unsigned int count_revocations(struct guest_window *window)
{
	struct pb_buffer_info info;
	struct guest_range *range;
	unsigned int found = 0;

	LIST_FOREACH(range, &window->ranges, in_window) {
		if (!range->mapping || !range->counted || range->lost)
			continue;
		if (pb_buffer_query(range->bar->buffer, &info, NULL) || !info.counted || info.revocations == range->revocations)
			continue;
		range->lost = true;
		found++;
	}
	return found;
}

static void hear(struct pb_guest *guest)
{
	struct guest_window *window;
	struct guest_space *space;
	struct pb_event event;
	bool heard = false;
	uint64_t count;

	if (read(guest->revoked_fd, &count, sizeof(count)) < 0)
		/* EAGAIN: not signaled. The mappings themselves have the state. */
		(void)0;
	while (guest->watch && !pb_watch_next(guest->watch, &event, NULL) && event.type != PB_EVENT_NONE)
		heard = heard || event.type == PB_EVENT_REVOKED || event.type == PB_EVENT_RESTORED || event.type == PB_EVENT_LOST;
	if (!heard)
		return;
	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			count_revocations(window);
}

static bool bar_is_mapped(const struct pb_guest *guest, const struct guest_bar *bar)
{
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;

	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				if (range->bar == bar && range->mapping)
					return true;
	return false;
}

int pb_guest_sync(struct pb_guest *guest, unsigned int flags, struct pb_error *err)
{
	const unsigned int known = PB_GUEST_RETRY | PB_GUEST_REMAKE;
	struct pb_guest_device *dev;
	struct guest_bar *bar;

	if (flags & ~known)
		return pb_fail(err, EINVAL, "cannot sync a guest with flags 0x%x: 0x%x is not "
			       "known here", flags, flags & ~known);
	pthread_mutex_lock(&guest->lock);
	hear(guest);
	if (flags & PB_GUEST_REMAKE)
		drop_wrong(guest, true);
	if (flags & PB_GUEST_RETRY)
		LIST_FOREACH(dev, &guest->devices, in_guest)
			for_each_bar(bar, dev) {
				memset(&bar->refused, 0, sizeof(bar->refused));
				bar->told = false;
				/*
				 * Stock vfio-pci does not report permanent revocation: export BARs
				 * that are not mapped again.
				 */
				if (!bar_is_mapped(guest, bar))
					forget_buffer(bar);
			}
	settle(guest);
	pthread_mutex_unlock(&guest->lock);
	return 0;
}

unsigned int pb_guest_nr_refused(struct pb_guest *guest)
{
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;
	unsigned int refused = 0;

	pthread_mutex_lock(&guest->lock);
	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				refused += !range->mapping;
	pthread_mutex_unlock(&guest->lock);
	return refused;
}

int pb_guest_check(struct pb_guest *guest, unsigned int *nr_found, struct pb_error *err)
{
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;
	unsigned int found = 0;
	int failed = 0;

	pthread_mutex_lock(&guest->lock);
	LIST_FOREACH(space, &guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space) {
			LIST_FOREACH(range, &window->ranges, in_window) {
				int ret;

				if (!range->mapping || range->lost)
					continue;
				ret = pb_mapping_state(range->mapping) == PB_REVOKED ? -ENODEV : pb_mapping_ask(range->mapping);
				if (ret == -ENODEV || ret == -ENOENT) {
					range->lost = true;
					found++;
				} else if (ret) {
					failed = ret;
				}
			}
			found += count_revocations(window);
		}
	settle(guest);
	pthread_mutex_unlock(&guest->lock);
	if (nr_found)
		*nr_found = found;
	if (failed)
		return pb_fail_errno(err, -failed, "cannot query the kernel's mappings of a "
				     "guest's BARs (IOMMU_IOAS_COPY, IOMMU_IOAS_MAP_FILE)");
	return 0;
}

int pb_guest_fd(const struct pb_guest *guest)
{
	return guest->poll_fd;
}

bool pb_guest_next_report_sized(struct pb_guest *guest, struct pb_guest_range *out, size_t size)
{
	struct guest_report *first;

	pthread_mutex_lock(&guest->lock);
	first = TAILQ_FIRST(&guest->reports);
	if (first) {
		pb_fill_sized(out, size, &first->range, sizeof(first->range));
		free_report(guest, first);
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

static struct pb_guest_range *next_slot(struct listing *list)
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
static int list_placed(struct pb_guest *guest, struct guest_window *window, struct guest_bar *bar, const struct pb_span *claim,
		       struct listing *list)
{
	static const enum pb_guest_state states[] = { [SPAN_CLAIM] = PB_GUEST_OVERLAP, [SPAN_TRAP] = PB_GUEST_TRAPPED,
						      [SPAN_RANGE] = PB_GUEST_MAPPED };
	uint64_t at, last, end;
	unsigned int n;

	if (!in_window(window, claim, &at, &last))
		return 0;
	if (make_room(guest, window, 0))
		return -ENOMEM;
	n = spans_of(guest, window, bar, claim);
	for (;; at = end + 1) {
		int i = pb_span_run(guest->spans, n, at, last, &end);
		struct guest_range *range = i < 0 ? NULL : guest->spans[i].of;
		struct pb_guest_range *slot = next_slot(list);

		if (!slot)
			return -ENOMEM;
		describe_placed(slot, bar, window, at, end, at - claim->first, i < 0 ? PB_GUEST_REFUSED : states[guest->spans[i].kind]);
		if (i < 0) {
			pb_fail_errno(&slot->why, ENOMEM, "cannot map BAR %u of %s", bar->index, bar->device->device->bdf);
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
	if (claims(bar, &claim)) {
		LIST_FOREACH(space, &guest->spaces, in_guest)
			LIST_FOREACH(window, &space->windows, in_space)
				if (!ret)
					ret = list_placed(guest, window, bar, &claim, list);
		return ret;
	}
	slot = next_slot(list);
	if (!slot)
		return -ENOMEM;
	describe(slot, bar, 0, bar->size,
		 pb_bar_claim(bar->address, bar->size, bar->wide, pb_page_size(), &claim) ? PB_GUEST_OFF : PB_GUEST_UNPLACED);
	return 0;
}

int pb_guest_list_sized(struct pb_guest *guest, struct pb_guest_range **ranges, size_t size, unsigned int *nr_ranges,
			struct pb_error *err)
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
