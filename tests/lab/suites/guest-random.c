// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A guest that performs random operations, and a model of the results: for each page of its address
 * space, the page of a BAR that DMA must reach, or that DMA must fault. After each step, DMA reads
 * the ends, the neighbours and some pages in the middle of each BAR if their state changed, and
 * some others.
 *
 * LAB_SEED repeats a run, LAB_STEPS sets its length.
 */
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "guest-fixture.h"

#define SLOTS	 24 /* slots for BARs, few enough that BARs overlap */
#define SLOT	 (24 * MIB)
#define NR_BARS	 4
#define NOTHING	 0 /* no stamp: DMA must fault */
#define ANYTHING 1 /* DMA must reach memory without a stamp */

/* ---- the model, which does not use the library ---- */

static struct model_device {
	struct assigned *assigned;
	bool there, decoding, awake;
	unsigned int pm; /* of its power state; 0 if it has none */
} devices[2];

static struct model_bar {
	struct model_device *device;
	unsigned int index;
	uint64_t size;
	uint64_t address;
	bool stamped;
	uint64_t trap_first, trap_last; /* offsets; none if first > last */
} bars[NR_BARS];

static bool model_claims(const struct model_bar *bar, uint64_t address)
{
	const struct model_device *d = bar->device;
	uint64_t first = bar->address & ~(PAGE - 1),
		 last = (bar->address + bar->size - 1) | (PAGE - 1);

	if (!d->there || !d->decoding || !d->awake || bar->address == PB_GUEST_NOWHERE)
		return false;
	/* Sizing, of 64-bit BARs and of others. */
	if (bar->address + bar->size == 0 ||
	    (bar->address + bar->size == 1ULL << 32 && !bar->stamped))
		return false;
	return address >= first && address <= last;
}

/* Return the stamp that DMA must find in the page at @address. */
static uint64_t model(uint64_t address)
{
	const struct model_bar *owner = NULL;
	uint64_t offset;
	int i;

	for (i = 0; i < NR_BARS; i++) {
		if (!model_claims(&bars[i], address))
			continue;
		if (owner)
			return NOTHING;
		owner = &bars[i];
	}
	if (!owner || owner->size < PAGE)
		return NOTHING;
	offset = address - owner->address;
	if (offset >= owner->trap_first && offset <= owner->trap_last)
		return NOTHING;
	return owner->stamped ? stamp(owner->device->assigned, offset / PAGE) : ANYTHING;
}

/* ---- random numbers ---- */

static uint64_t state;

static uint64_t draw(uint64_t below)
{
	/* xorshift64* */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dULL >> 16) % below;
}

/* ---- pages to check ---- */

#define MAX_PAGES 256

static struct {
	uint64_t address;
	uint64_t before;
} pages[MAX_PAGES];
static unsigned int nr_pages;

static void look_at(uint64_t address)
{
	/* Ignore addresses beyond the aperture, which are refused. */
	if (address < SPACE || address >= SPACE + (SLOTS + 20) * SLOT || nr_pages == MAX_PAGES)
		return;
	pages[nr_pages].address = address & ~(PAGE - 1);
	pages[nr_pages++].before = model(address);
}

static void look_around(const struct model_bar *bar, uint64_t address)
{
	uint64_t n = (bar->size + PAGE - 1) / PAGE;

	if (address == PB_GUEST_NOWHERE)
		return;
	look_at(address);
	look_at(address - PAGE);
	look_at(address + bar->size - 1);
	look_at(address + n * PAGE);
	look_at(address + draw(n) * PAGE);
	look_at(address + draw(n) * PAGE);
	if (bar->trap_first <= bar->trap_last) {
		look_at(address + bar->trap_first);
		look_at(address + bar->trap_last + 1);
	}
}

static unsigned int nr_looked, nr_reached;

static void look(const char *what, unsigned int step)
{
	unsigned int i, n = 0, faults = lab_faults(), nothing = 0;

	for (i = 0; i < nr_pages; i++) {
		uint64_t expected = model(pages[i].address);
		uint64_t found;

		/* Check all pages that changed, and some that did not. */
		if (expected == pages[i].before && (draw(8) || n > 12))
			continue;
		n++;
		found = peek(pages[i].address);
		if (expected == NOTHING)
			nothing++;
		ck_assert_msg(expected == ANYTHING || found == expected,
			      "step %u, %s: at 0x%llx DMA finds 0x%llx, and ought to find 0x%llx (it was 0x%llx before)",
			      step, what, (unsigned long long)pages[i].address,
			      (unsigned long long)found, (unsigned long long)expected,
			      (unsigned long long)pages[i].before);
		nr_reached += expected > ANYTHING;
	}
	nr_looked += n;
	faults = nothing ? faults_since(faults, "guest-random: DMA to where no BAR is") :
			   lab_faults() - faults;
	ck_assert_msg(nothing ? faults >= nothing : !faults,
		      "step %u, %s: %u reads ought to fault, and the IOMMU reported %u faults",
		      step, what, nothing, faults);
	nr_pages = 0;
}

/* ---- steps ---- */

static void set_address(struct model_bar *bar, uint64_t address)
{
	look_around(bar, address);
	bar->address = address;
	ok(pb_guest_set_bar(bar->device->assigned->guest_device, bar->index, address, &err));
}

static void set_decoding(struct model_device *d, bool on)
{
	/* In D3hot, the register does not change, or has an effect only later. */
	if (!d->awake)
		return;
	d->decoding = on;
	/* Mostly in the right order. The result does not depend on it. */
	if (on == !!draw(8))
		ok(pb_device_set_decoding(d->assigned->device, on, &err));
	ok(pb_guest_set_decoding(d->assigned->guest_device, on, &err));
	ok(pb_device_set_decoding(d->assigned->device, on, &err));
	ok(pb_guest_sync(guest, 0, &err));
}

static void set_power(struct model_device *d, bool on)
{
	uint8_t value = on ? 0 : 3;

	if (!on) {
		ok(pb_guest_set_power(d->assigned->guest_device, false, &err));
		if (d->pm)
			ok(pb_device_write(d->assigned->device, PB_REGION_CONFIG,
					   d->pm + PCI_PM_CTRL, &value, 1, &err));
	} else {
		if (d->pm)
			ok(pb_device_write(d->assigned->device, PB_REGION_CONFIG,
					   d->pm + PCI_PM_CTRL, &value, 1, &err));
		ok(pb_device_set_decoding(d->assigned->device, d->decoding, &err));
		ok(pb_guest_set_power(d->assigned->guest_device, true, &err));
	}
	d->awake = on;
}

static void reset(struct model_device *d)
{
	if (d->assigned == &vga && lab_has_no_reset())
		return;
	if (!d->awake)
		set_power(d, true);
	guest_reset(d->assigned);
	d->decoding = false;
}

static void come_or_go(struct model_device *d)
{
	struct model_bar *bar;

	if (d->there) {
		if (!d->awake)
			set_power(d, true);
		unassign(d->assigned);
		if (draw(4) == 0) {
			pb_device_close(d->assigned->device);
			d->assigned->device = NULL;
			if (d->assigned == &vga)
				fixture.gpu = NULL;
		} else {
			ok(pb_device_set_decoding(d->assigned->device, false, &err));
		}
		d->there = false;
		return;
	}
	assign(d->assigned);
	if (d->assigned == &vga)
		fixture.gpu = vga.device;
	d->there = true;
	d->decoding = false;
	d->awake = true;
	for (bar = bars; bar < bars + NR_BARS; bar++)
		if (bar->device == d)
			bar->address = PB_GUEST_NOWHERE;
}

static uint64_t some_address(const struct model_bar *bar)
{
	uint64_t at = SPACE + draw(SLOTS) * SLOT;

	/* Smaller BARs are anywhere in a slot, and may share pages with others. */
	if (bar->size < SLOT)
		at += draw(SLOT / bar->size) * bar->size;
	return at;
}

/* Write all ones, and the old value or a new one, in two halves each. */
static void size_it(struct model_bar *bar)
{
	uint64_t old = bar->address, ones = ~(bar->size - 1),
		 new = draw(2) ? old : some_address(bar);

	if (old == PB_GUEST_NOWHERE)
		old = new = some_address(bar);
	set_address(bar, (old & ~0xffffffffULL) | (ones & 0xffffffff));
	set_address(bar, ones);
	set_address(bar, (ones & ~0xffffffffULL) | (new & 0xffffffff));
	set_address(bar, new);
}

static const char *one_step(void)
{
	struct model_bar *bar = &bars[draw(NR_BARS)];
	struct model_device *d = bar->device;
	unsigned int found, i, what = (unsigned int)draw(100);

	for (i = 0; i < NR_BARS; i++)
		look_around(&bars[i], bars[i].address);
	if (!d->there) {
		come_or_go(d);
		return "assigned";
	}
	if (what < 45) {
		set_address(bar, some_address(bar));
		return "moved";
	}
	if (what < 70) {
		set_decoding(d, draw(4) || !d->decoding);
		return "decoding";
	}
	if (what < 76) {
		size_it(bar);
		return "sized";
	}
	if (what < 80) {
		set_address(bar, PB_GUEST_NOWHERE);
		return "nowhere";
	}
	if (what < 84) {
		reset(d);
		return "reset";
	}
	if (what < 90) {
		set_power(d, !d->awake || draw(4) == 0);
		return "power";
	}
	if (what < 92) {
		come_or_go(d);
		return "taken away";
	}
	if (what < 94) {
		ok(pb_guest_sync(guest, PB_GUEST_REMAKE, &err));
		return "made anew";
	}
	if (what < 97) {
		/* The library learns of changes without notice. */
		if (d->awake && d->decoding) {
			ok(pb_device_set_decoding(d->assigned->device, false, &err));
			ok(pb_device_set_decoding(d->assigned->device, true, &err));
		}
		ok(pb_guest_sync(guest, 0, &err));
		return "revoked without a word";
	}
	ok(pb_guest_check(guest, &found, &err));
	ck_assert_uint_eq(found, 0);
	return "checked";
}

static void add_bar(unsigned int i, struct model_device *d, unsigned int index)
{
	struct pb_region region;

	ok(pb_device_region(d->assigned->device, index, &region, &err));
	ck_assert_uint_gt(region.size, 0);
	bars[i] = (struct model_bar){ .device = d,
				      .index = index,
				      .size = region.size,
				      .address = PB_GUEST_NOWHERE,
				      .stamped = index == d->assigned->bar,
				      .trap_first = 1 };
}

static unsigned int capability(struct pb_device *device, uint8_t id)
{
	uint8_t at, cap[2];

	ok(pb_device_read(device, PB_REGION_CONFIG, PCI_CAPABILITY_LIST, &at, 1, &err));
	for (; at; at = cap[1]) {
		ok(pb_device_read(device, PB_REGION_CONFIG, at, cap, 2, &err));
		if (cap[0] == id)
			break;
	}
	return at;
}

static void set_up(void)
{
	unsigned int msix = capability(cmb.device, PCI_CAP_ID_MSIX);
	uint32_t table, pba;
	uint8_t control[2];
	unsigned int n;

	devices[0] = (struct model_device){ .assigned = &vga,
					    .there = true,
					    .awake = true,
					    .pm = capability(vga.device, PCI_CAP_ID_PM) };
	devices[1] = (struct model_device){ .assigned = &cmb,
					    .there = true,
					    .awake = true,
					    .pm = capability(cmb.device, PCI_CAP_ID_PM) };
	add_bar(0, &devices[0], GPU_BAR);
	add_bar(1, &devices[0], 0);
	add_bar(2, &devices[1], CMB_BAR);
	add_bar(3, &devices[1], 0);
	/* The table and the pending bits are in BAR 0, in that order. */
	ck_assert_uint_gt(msix, 0);
	ok(pb_device_read(cmb.device, PB_REGION_CONFIG, msix + PCI_MSIX_FLAGS, control, 2, &err));
	ok(pb_device_read(cmb.device, PB_REGION_CONFIG, msix + PCI_MSIX_TABLE, &table, 4, &err));
	ok(pb_device_read(cmb.device, PB_REGION_CONFIG, msix + PCI_MSIX_PBA, &pba, 4, &err));
	n = ((control[0] | control[1] << 8) & PCI_MSIX_FLAGS_QSIZE) + 1;
	ck_assert_uint_eq((table | pba) & 7, 0);
	ck_assert_uint_gt(pba, table);
	bars[3].trap_first = table & ~(PAGE - 1);
	bars[3].trap_last = (pba + (n + 63) / 64 * 8 - 1) | (PAGE - 1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

START_TEST(any_order)
{
	const char *seed = getenv("LAB_SEED"), *steps = getenv("LAB_STEPS");
	unsigned int step, all = steps && *steps ? (unsigned int)strtoul(steps, NULL, 10) : 1000;
	double begin = seconds(), moment = begin;

	state = seed && *seed ? strtoull(seed, NULL, 10) :
				(uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
	printf("guest-random: seed %llu, %u steps; LAB_SEED and LAB_STEPS repeat them\n",
	       (unsigned long long)state, all);
	state = state * 0x9e3779b97f4a7c15ULL + 1;
	set_up();
	for (step = 1; step <= all; step++) {
		struct pb_guest_range report;
		const char *what = one_step();

		look(what, step);
		/* Half-written addresses beyond the aperture, and late notice, cause reports. */
		while (pb_guest_next_report(guest, &report))
			ck_assert_msg(report.state == PB_GUEST_MAPPED ?
					      !report.why.code || report.why.code == ESTALE :
					      report.why.code == ERANGE ||
						      report.why.code == ENODEV,
				      "step %u, %s: %s", step, what, report.why.text);
		if (step % 1000 == 0 || step == all) {
			printf("guest-random: %u steps, the last %u in %.1f s; %u pages were looked at by DMA, %u of them reached a BAR\n",
			       step, step % 1000 ? step % 1000 : 1000, seconds() - moment,
			       nr_looked, nr_reached);
			moment = seconds();
		}
	}
	/* Restore the fixture's state. */
	for (step = 0; step < 2; step++) {
		if (!devices[step].there)
			come_or_go(&devices[step]);
		if (!devices[step].awake)
			set_power(&devices[step], true);
	}
}
END_TEST

LAB_SUITE("guest-random", 0)
{
	TCase *t = suite_case(s, "all", 3600, guest_up, guest_down);

	tcase_add_test(t, any_order);
}
