/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The state of a guest: what it wants, and what is mapped.
 *
 * The devices hold what the guest wants: the address of each BAR, and whether the device decodes.
 * The windows hold what is mapped: ranges of BARs. guest-settle.c makes the second equal to the
 * first.
 *
 * The descriptor that the VMM polls becomes readable only when work is pending: a mapping was
 * revoked, a refused range may be possible (pb_waitlist), or a report is pending. Of the kernel's
 * events, it receives those of buffers that have a range.
 */
#ifndef PB_GUEST_STATE_H
#define PB_GUEST_STATE_H

#include "importer.h"

/* ---- guest-layout.c: arithmetic; pure, for unit tests ---- */

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

bool pb_span_overlaps(const struct pb_span *span, uint64_t first, uint64_t last);

/*
 * Returns the index of the first of @spans that contains @at, or -1. *@end receives the last
 * address, up to @last, for which the result is the same. Earlier spans take precedence where they
 * overlap.
 */
int pb_span_run(const struct pb_span *spans, unsigned int n, uint64_t at, uint64_t last,
		uint64_t *end);

/* What covers a span of addresses. */
enum { SPAN_CLAIM, SPAN_TRAP, SPAN_RANGE, SPAN_RESERVED, SPAN_TAKEN };

/* ---- the state; all under pb_guest.lock ---- */

struct guest_bar {
	struct pb_guest_device *device;
	unsigned int index;
	uint64_t size; /* 0 if there is no such memory BAR */
	bool wide;
	uint64_t address;
	unsigned int nr_traps;
	struct pb_span *traps;	  /* in the BAR, whole pages */
	struct pb_buffer *buffer; /* of the whole BAR; NULL until needed */
	uint64_t event_id;	  /* its number in events, if they are received; otherwise 0 */
	bool in_use;		  /* it has a range; for pb_guest_ignore_unused() */
	/* Why the BAR cannot be exported, until PB_GUEST_RETRY. */
	struct pb_error refused;
	bool reported;
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
	uint64_t first, last;	    /* guest-physical */
	uint64_t offset;	    /* of @first in the BAR */
	struct pb_mapping *mapping; /* NULL if it was refused */
	struct pb_error why;	    /* why it was refused, or could not be unmapped */
	bool lost;		    /* its mapping was revoked without being reported */
	bool tried;		    /* it was tried since it was cut */
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
	struct pb_span *spans; /* storage for pb_guest_collect_spans() */
	unsigned int room;
	struct pb_iova_range *aperture; /* of the address space that is being settled */
	unsigned int nr_aperture;
	/* The count of its waitlist before the aperture and the obstacles were read */
	uint64_t room_changes;
	struct pb_span *taken; /* of pb_guest_find_taken() */
	unsigned int nr_taken, taken_room;
	int poll_fd; /* an epoll of the three below */
	/* An eventfd: a mapping was revoked, or a refused range may be possible. */
	int revoked_fd;
	int report_fd;		/* an eventfd: a report is pending */
	struct pb_watch *watch; /* NULL if the kernel sends no events */
};

#define for_each_bar(bar, dev) for ((bar) = (dev)->bars; (bar) < (dev)->bars + PB_BARS; (bar)++)

/* ---- guest-layout.c: what a BAR claims ---- */

/* Get the pages that the BAR claims now; returns false if none. */
bool pb_guest_get_claim(const struct guest_bar *bar, struct pb_span *claim);
/* Get the part of the claim that is in the window; returns false if none. */
bool pb_guest_clip_to_window(const struct guest_window *window, const struct pb_span *claim,
			     uint64_t *first, uint64_t *last);

/* ---- guest-settle.c ---- */

/* Unmap what is wrong and map what is missing, everywhere. */
void pb_guest_settle(struct pb_guest *guest);
/* Unmap what is wrong; with @all, everything. */
void pb_guest_unmap_wrong(struct pb_guest *guest, bool all);
/* Unmap and free. Returns false, with a report, if the kernel did not unmap it. */
bool pb_guest_drop_range(struct guest_window *window, struct guest_range *range);
/* Must not be mapped. */
void pb_guest_free_range(struct guest_range *range);
/* The BAR is exported again when it is mapped next. */
void pb_guest_forget_buffer(struct guest_bar *bar);

/* ---- guest-obstacles.c ---- */

unsigned int pb_ioas_count_mappings(struct pb_ioas *ioas);
/* Allocate spans for all obstacles of one BAR, and for @more. Returns -ENOMEM on failure. */
int pb_guest_make_room(struct pb_guest *guest, struct guest_window *window, unsigned int more);
/*
 * Collect the spans that overlap or may overlap the claimed pages; earlier ones take precedence.
 * Returns their number.
 */
unsigned int pb_guest_collect_spans(struct pb_guest *guest, struct guest_window *window,
				    struct guest_bar *bar, const struct pb_span *claim);
/*
 * Add the obstacles in the address space to the first @n spans: gaps of the aperture, and mappings
 * that are not the guest's. Returns the number of spans.
 */
unsigned int pb_guest_add_obstacles(struct pb_guest *guest, struct guest_window *window,
				    unsigned int n);
/*
 * Find the parts of the range from @first to @last where the library's user mapped something
 * without the library, and add them to pb_guest.taken. The kernel only reports whether all of a
 * range is mapped, and whether any of it is: bisect until each part is one or the other, with at
 * most @probes attempts.
 */
void pb_guest_find_taken(struct guest_window *window, const struct guest_range *range,
			 uint64_t first, uint64_t last, unsigned int *probes);
#define PB_GUEST_MAX_PROBES 1024

/* ---- guest-events.c ---- */

/* Receive events of the buffers in use only. */
void pb_guest_update_filter(struct pb_guest *guest);
/*
 * Don't receive events of buffers without a range: they follow from the guest's actions, which the
 * VMM reports.
 */
void pb_guest_ignore_unused(struct pb_guest *guest);
/* Take the pending events, and mark the mappings that they concern. */
void pb_guest_take_events(struct pb_guest *guest);
/*
 * Find mappings that were revoked by the buffers' counters: peerbar-vfio-pci counts revocations, so
 * that past ones are detected as well. Returns the number of mappings newly found dead.
 */
unsigned int pb_guest_find_revoked(struct guest_window *window);

/* ---- guest-device.c ---- */

void pb_guest_free_device(struct pb_guest_device *dev);

/* ---- guest-report.c ---- */

/* Without memory the report is dropped; pb_guest_list() still has the range. @why may be NULL. */
void pb_guest_add_report(struct guest_window *window, struct guest_range *range,
			 enum pb_guest_state state, const struct pb_error *why);
void pb_guest_free_report(struct pb_guest *guest, struct guest_report *report);

#endif
