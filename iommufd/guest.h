/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A guest's BARs in its address spaces.
 *
 * What the guest means is in the devices: where each BAR is, and whether the device decodes. What the kernel has is in the windows: the
 * ranges that are mapped. settle() makes the second like the first, in two steps: what is mapped and ought not to be is unmapped, for
 * which no memory is needed and nothing can be in the way; then what ought to be mapped and is not is mapped. It is the same after
 * every event, so nothing depends on the order in which the guest does things.
 *
 * What cannot be mapped is cut out, and the rest is mapped: pages that another BAR claims or that are trapped, addresses that the IOMMU
 * reserves, and those where the VMM has mapped something. Ranges without a mapping are cut anew each time, as that may have changed.
 *
 * The descriptor that the VMM polls becomes readable only when there is something to do: a mapping was revoked, what was refused may be
 * possible now (pb_waitlist), a report waits. Of the kernel's events it hears those of buffers that have a range.
 */
#ifndef PB_GUEST_H
#define PB_GUEST_H

#include "ioas.h"

/* ---- layout.c: pure, for unit tests ---- */

/* addresses from @first to @last, both included; what they are is for the caller */
struct pb_span {
	uint64_t first;
	uint64_t last;
	int kind;
	void *of;
};

/* the pages that a BAR claims; false if none, because it is nowhere, or is being sized. @wide: it is a 64-bit BAR */
bool pb_bar_claim(uint64_t address, uint64_t size, bool wide, uint64_t page, struct pb_span *claim);

/*
 * The first of @spans that has @at, or -1, and how far that holds: up to *@end, @last at most. Earlier spans come before later ones
 * where they overlap.
 */
int pb_span_run(const struct pb_span *spans, unsigned int n, uint64_t at, uint64_t last, uint64_t *end);

/* ---- guest.c; all under pb_guest.lock ---- */

struct guest_bar {
	struct pb_guest_device *device;
	unsigned int index;
	uint64_t size; /* 0 if there is no such memory BAR */
	bool wide;
	uint64_t address;
	unsigned int nr_traps;
	struct pb_span *traps; /* in the BAR, whole pages */
	struct pb_buffer *buffer; /* all of the BAR; NULL until it is needed */
	uint64_t heard; /* its number in events, if those of it are heard; otherwise 0 */
	bool in_use; /* it has a range; for hear_of_those_in_use() */
	struct pb_error refused; /* why it cannot be had at all, until somebody asks for another try */
	bool told;
};

struct pb_guest_device {
	LIST_ENTRY(pb_guest_device) in_guest;
	struct pb_guest *guest;
	struct pb_device *device;
	void *data;
	bool decoding, powered, resetting;
	struct guest_bar bars[PB_BARS];
};

/* pages of a BAR in a window, mapped or refused as one */
struct guest_range {
	LIST_ENTRY(guest_range) in_window;
	struct guest_bar *bar;
	uint64_t first, last; /* guest-physical */
	uint64_t offset; /* of @first in the BAR */
	struct pb_mapping *mapping; /* NULL if it was refused */
	struct pb_error why; /* it was, or why the mapping could not be taken out */
	bool lost; /* it had a mapping, which was revoked without a word */
	bool tried; /* it was, since it was cut */
	int in_the_way; /* SPAN_RESERVED or SPAN_TAKEN, if it cannot be mapped for that; otherwise -1 */
	struct pb_waiter waiter; /* for what it was refused for */
	bool counted; /* @revocations of the buffer is what it was before the mapping was made */
	uint64_t revocations;
};

/* guest-physical addresses, and where they are in the address space */
struct guest_window {
	LIST_ENTRY(guest_window) in_space;
	struct guest_space *space;
	uint64_t first, last; /* guest-physical */
	uint64_t iova;
	unsigned int prot; /* of enum pb_map_flags */
	LIST_HEAD(, guest_range) ranges;
	LIST_HEAD(, guest_range) former; /* while new ones are cut: those without a mapping that there were */
};

struct guest_space {
	LIST_ENTRY(guest_space) in_guest;
	struct pb_ioas *ioas;
	bool windowed;
	LIST_HEAD(, guest_window) windows;
};

struct guest_report {
	TAILQ_ENTRY(guest_report) in_guest;
	struct pb_guest_range range;
};

struct pb_guest {
	pthread_mutex_t lock;
	LIST_HEAD(, pb_guest_device) devices;
	LIST_HEAD(, guest_space) spaces;
	TAILQ_HEAD(, guest_report) reports;
	unsigned int nr_reports;
	struct pb_span *spans; /* room for spans_of() */
	unsigned int room;
	struct pb_iova_range *aperture; /* of the address space that is being settled */
	unsigned int nr_aperture;
	struct pb_span *taken; /* of find_taken() */
	unsigned int nr_taken, taken_room;
	int poll_fd; /* an epoll of the three below */
	int revoked_fd; /* an eventfd: a mapping was revoked, or something that was refused may be possible */
	int report_fd; /* an eventfd: a report waits */
	struct pb_watch *watch; /* NULL if the kernel sends no events */
};

#endif
