/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Maintain a guest's BARs in its address spaces.
 *
 * The devices hold the guest's state: the address of each BAR, and whether the device decodes. The
 * windows hold the kernel's state: the ranges that are mapped. settle() makes the second equal to
 * the first, in two steps. First it unmaps wrong mappings; this needs no memory, and no obstacle
 * can prevent it. Then it maps missing pages. It does the same after every event, so the order of
 * the guest's actions does not matter.
 *
 * Pages that cannot be mapped are cut out, and the others are mapped: pages that another BAR
 * claims, trapped pages, addresses that the IOMMU reserves, and addresses that the VMM has mapped.
 * Ranges without a mapping are cut again each time, since this may have changed.
 *
 * The descriptor that the VMM polls becomes readable only when work is pending: a mapping was
 * revoked, a refused range may be possible (pb_waitlist), or a report is pending. Of the kernel's
 * events, it receives those of buffers that have a range.
 */
#ifndef PB_GUEST_STATE_H
#define PB_GUEST_STATE_H

#include "importer.h"

/* ---- guest-layout.c: pure, for unit tests ---- */

/* Addresses from @first to @last, both included; @kind and @of are the caller's. */
struct pb_span {
	uint64_t first;
	uint64_t last;
	int kind;
	void *of;
};

/*
 * Get the pages that a BAR claims. Returns false if it has no address, or is being sized. @wide: it
 * is a 64-bit BAR.
 */
bool pb_bar_claim(uint64_t address, uint64_t size, bool wide, uint64_t page, struct pb_span *claim);

/*
 * Returns the index of the first of @spans that contains @at, or -1. *@end receives the last
 * address, up to @last, for which the result is the same. Earlier spans take precedence where they
 * overlap.
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
	struct pb_buffer *buffer; /* of the whole BAR; NULL until needed */
	uint64_t heard; /* its number in events, if they are received; otherwise 0 */
	bool in_use; /* it has a range; for hear_of_those_in_use() */
	/* Why the BAR cannot be exported, until PB_GUEST_RETRY. */
	struct pb_error refused;
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

/* Pages of a BAR in a window, mapped or refused together. */
struct guest_range {
	LIST_ENTRY(guest_range) in_window;
	struct guest_bar *bar;
	uint64_t first, last; /* guest-physical */
	uint64_t offset; /* of @first in the BAR */
	struct pb_mapping *mapping; /* NULL if it was refused */
	struct pb_error why; /* why it was refused, or could not be unmapped */
	bool lost; /* its mapping was revoked without being reported */
	bool tried; /* it was tried since it was cut */
	/* SPAN_RESERVED or SPAN_TAKEN, if such an obstacle refuses it; otherwise -1. */
	int in_the_way;
	struct pb_waiter waiter; /* for the reason of the refusal */
	/* @revocations is valid: the buffer's count before it was mapped. */
	bool counted;
	uint64_t revocations;
};

/* Guest-physical addresses, and their IOVAs in the address space. */
struct guest_window {
	LIST_ENTRY(guest_window) in_space;
	struct guest_space *space;
	uint64_t first, last; /* guest-physical */
	uint64_t iova;
	unsigned int prot; /* of enum pb_map_flags */
	LIST_HEAD(, guest_range) ranges;
	/* The ranges without a mapping, while new ones are cut. */
	LIST_HEAD(, guest_range) former;
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
	struct pb_span *spans; /* storage for spans_of() */
	unsigned int room;
	struct pb_iova_range *aperture; /* of the address space that is being settled */
	unsigned int nr_aperture;
	struct pb_span *taken; /* of find_taken() */
	unsigned int nr_taken, taken_room;
	int poll_fd; /* an epoll of the three below */
	/* An eventfd: a mapping was revoked, or a refused range may be possible. */
	int revoked_fd;
	int report_fd; /* an eventfd: a report is pending */
	struct pb_watch *watch; /* NULL if the kernel sends no events */
};

#endif
