// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Guests: what a VMM reports of its guest, and what the kernel did. guest-state.h describes the
 * design, guest-settle.c how the mappings follow.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "guest-state.h"

/* ---- the guest ---- */

static int add_to_poll(struct pb_guest *guest, int fd)
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
	if (new->poll_fd < 0 || new->revoked_fd < 0 || new->report_fd < 0 ||
	    add_to_poll(new, new->revoked_fd) || add_to_poll(new, new->report_fd)) {
		ret = pb_fail_errno(err, errno, "cannot create a guest (epoll, eventfd)");
		free_guest(new);
		return ret;
	}
	/*
	 * Without events, only pb_guest_check() and the VMM's reports detect actions of other
	 * processes.
	 */
	if (!pb_watch_open_silent(&new->watch, NULL) && add_to_poll(new, pb_watch_fd(new->watch))) {
		pb_watch_close(new->watch);
		new->watch = NULL;
	}
	*guest = new;
	return 0;
}

static void free_space(struct guest_space *space)
{
	struct guest_window *window;
	struct guest_range *range;

	while ((window = LIST_FIRST(&space->windows))) {
		while ((range = LIST_FIRST(&window->ranges)))
			pb_guest_free_range(range);
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
	pb_guest_unmap_wrong(guest, true);
	while ((space = LIST_FIRST(&guest->spaces))) {
		LIST_REMOVE(space, in_guest);
		free_space(space);
	}
	while ((dev = LIST_FIRST(&guest->devices))) {
		LIST_REMOVE(dev, in_guest);
		pb_guest_free_device(dev);
	}
	while ((waiting = TAILQ_FIRST(&guest->reports)))
		pb_guest_free_report(guest, waiting);
	free_guest(guest);
}

int pb_guest_fd(const struct pb_guest *guest)
{
	return guest->poll_fd;
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

static struct guest_window *new_window(struct guest_space *space, uint64_t iova, uint64_t first,
				       uint64_t last, unsigned int prot)
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

int pb_guest_add_ioas(struct pb_guest *guest, struct pb_ioas *ioas, unsigned int flags,
		      struct pb_error *err)
{
	struct guest_space *space;

	if (flags & ~(unsigned int)PB_GUEST_WINDOWS)
		return pb_fail(err, EINVAL,
			       "cannot add address space %u to a guest with flags 0x%x: 0x%x is not known here",
			       ioas->id, flags, flags & ~(unsigned int)PB_GUEST_WINDOWS);
	space = calloc(1, sizeof(*space));
	if (!space)
		return pb_fail_errno(err, ENOMEM, "cannot add address space %u to a guest",
				     ioas->id);
	space->ioas = ioas;
	space->windowed = flags & PB_GUEST_WINDOWS;
	LIST_INIT(&space->windows);
	if (!space->windowed && !new_window(space, 0, 0, UINT64_MAX, PB_MAP_READ | PB_MAP_WRITE)) {
		free_space(space);
		return pb_fail_errno(err, ENOMEM, "cannot add address space %u to a guest",
				     ioas->id);
	}
	pthread_mutex_lock(&guest->lock);
	if (find_space(guest, ioas)) {
		pthread_mutex_unlock(&guest->lock);
		free_space(space);
		return pb_fail(err, EEXIST,
			       "cannot add address space %u to a guest: it was added already",
			       ioas->id);
	}
	LIST_INSERT_HEAD(&guest->spaces, space, in_guest);
	pb_guest_settle(guest);
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
		if (!pb_guest_drop_range(window, range))
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
				pb_guest_free_report(guest, waiting);
		}
	}
	pthread_mutex_unlock(&guest->lock);
	return all ?
		0 :
		pb_fail(err, EBUSY,
			"the kernel did not unmap all of a guest's BARs from address space %u; call again",
			ioas->id);
}

int pb_guest_add_window(struct pb_guest *guest, struct pb_ioas *ioas,
			const struct pb_guest_window *w, struct pb_error *err)
{
	const unsigned int known = PB_MAP_READ | PB_MAP_WRITE;
	uint64_t page = pb_page_size(), last = w->length - 1;
	struct guest_window *window;
	struct guest_space *space;
	int ret = 0;

	if (!w->length || !pb_aligned(w->iova | w->address | w->length, page) ||
	    w->iova > UINT64_MAX - last || w->address > UINT64_MAX - last)
		return pb_fail(err, EINVAL,
			       "0x%" PRIx64 " bytes at IOVA 0x%" PRIx64
			       ", for the guest's address 0x%" PRIx64
			       ", are no window: all three must be "
			       "multiples of the page size, 0x%" PRIx64
			       ", the length not 0, and the end not beyond 2^64",
			       w->length, w->iova, w->address, page);
	if (w->flags & ~known || !(w->flags & known))
		return pb_fail(err, EINVAL,
			       "a window cannot have flags 0x%x; pass PB_MAP_READ, "
			       "PB_MAP_WRITE or both",
			       w->flags);
	pthread_mutex_lock(&guest->lock);
	space = find_space(guest, ioas);
	if (!space || !space->windowed) {
		ret = pb_fail(err, EINVAL,
			      "address space %u has no windows: it was not added to this guest with PB_GUEST_WINDOWS",
			      ioas->id);
		goto out;
	}
	LIST_FOREACH(window, &space->windows, in_space) {
		if (w->iova > window->iova + (window->last - window->first) ||
		    window->iova > w->iova + last)
			continue;
		ret = pb_fail(err, EEXIST,
			      "a window at IOVA 0x%" PRIx64 " to 0x%" PRIx64
			      " of address space %u overlaps the one at 0x%" PRIx64 "; remove that "
			      "first",
			      w->iova, w->iova + last, ioas->id, window->iova);
		goto out;
	}
	if (!new_window(space, w->iova, w->address, w->address + last, w->flags))
		ret = pb_fail_errno(err, ENOMEM, "cannot add a window to address space %u",
				    ioas->id);
	else
		pb_guest_settle(guest);
out:
	pthread_mutex_unlock(&guest->lock);
	return ret;
}

int pb_guest_remove_window(struct pb_guest *guest, struct pb_ioas *ioas, uint64_t iova,
			   struct pb_error *err)
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
		ret = pb_fail(err, ENOENT, "address space %u has no window at IOVA 0x%" PRIx64,
			      ioas->id, iova);
	} else if (empty_window(window)) {
		LIST_REMOVE(window, in_space);
		free(window);
	} else {
		ret = pb_fail(err, EBUSY,
			      "the kernel did not unmap all of the window at IOVA 0x%" PRIx64
			      " of address space %u; call again",
			      iova, ioas->id);
	}
	pthread_mutex_unlock(&guest->lock);
	return ret;
}

/* ---- actions of the guest ---- */

int pb_guest_set_bar(struct pb_guest_device *dev, unsigned int bar, uint64_t address,
		     struct pb_error *err)
{
	uint64_t size = bar < PB_BARS ? dev->bars[bar].size : 0;
	uint64_t unit = size && size < pb_page_size() ? size : pb_page_size();

	if (!size)
		return pb_fail(err, EINVAL, "%s has no BAR %u with memory", dev->device->bdf, bar);
	if (address != PB_GUEST_NOWHERE && !pb_aligned(address, unit))
		return pb_fail(err, EINVAL,
			       "BAR %u of %s cannot be at 0x%" PRIx64
			       ": its address must be a multiple of 0x%" PRIx64,
			       bar, dev->device->bdf, address, unit);
	pthread_mutex_lock(&dev->guest->lock);
	dev->bars[bar].address = address;
	pb_guest_settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

int pb_guest_set_decoding(struct pb_guest_device *dev, bool on, struct pb_error *err)
{
	(void)err;
	pthread_mutex_lock(&dev->guest->lock);
	dev->decoding = on;
	pb_guest_settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

int pb_guest_set_power(struct pb_guest_device *dev, bool on, struct pb_error *err)
{
	(void)err;
	pthread_mutex_lock(&dev->guest->lock);
	dev->powered = on;
	pb_guest_settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

int pb_guest_reset_begin(struct pb_guest_device *dev, struct pb_error *err)
{
	(void)err;
	pthread_mutex_lock(&dev->guest->lock);
	dev->resetting = true;
	pb_guest_settle(dev->guest);
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
	pb_guest_settle(dev->guest);
	pthread_mutex_unlock(&dev->guest->lock);
	return 0;
}

/* ---- actions of the kernel ---- */

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
		return pb_fail(err, EINVAL,
			       "cannot sync a guest with flags 0x%x: 0x%x is not "
			       "known here",
			       flags, flags & ~known);
	pthread_mutex_lock(&guest->lock);
	pb_guest_take_events(guest);
	if (flags & PB_GUEST_REMAKE)
		pb_guest_unmap_wrong(guest, true);
	if (flags & PB_GUEST_RETRY)
		LIST_FOREACH(dev, &guest->devices, in_guest)
			for_each_bar(bar, dev) {
				memset(&bar->refused, 0, sizeof(bar->refused));
				bar->reported = false;
				/*
				 * Stock vfio-pci does not report permanent revocation: export BARs
				 * that are not mapped again.
				 */
				if (!bar_is_mapped(guest, bar))
					pb_guest_forget_buffer(bar);
			}
	pb_guest_settle(guest);
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
				ret = pb_mapping_state(range->mapping) == PB_REVOKED ?
					-ENODEV :
					pb_mapping_query(range->mapping);
				if (ret == -ENODEV || ret == -ENOENT) {
					range->lost = true;
					found++;
				} else if (ret) {
					failed = ret;
				}
			}
			found += pb_guest_find_revoked(window);
		}
	pb_guest_settle(guest);
	pthread_mutex_unlock(&guest->lock);
	if (nr_found)
		*nr_found = found;
	if (failed)
		return pb_fail_errno(err, -failed,
				     "cannot query the kernel's mappings of a "
				     "guest's BARs (IOMMU_IOAS_COPY, IOMMU_IOAS_MAP_FILE)");
	return 0;
}
