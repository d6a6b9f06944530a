// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Guests without devices, and with fake ones. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../sentence.h"
#include "guest-state.h"
#include "internal.h"
#include "unit.h"

START_TEST(a_guest_without_devices)
{
	struct pb_guest_range report, *list = NULL;
	struct pb_guest *guest;
	unsigned int n;

	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_sync(guest, PB_GUEST_RETRY | PB_GUEST_REMAKE, &err));
	ck_assert_uint_eq(pb_guest_nr_refused(guest), 0);
	refused(pb_guest_sync(guest, 64, &err), EINVAL, "0x40");
	n = 1;
	ok(pb_guest_check(guest, &n, &err));
	ck_assert_uint_eq(n, 0);
	ck_assert(!pb_guest_next_report(guest, &report));
	n = 1;
	ok(pb_guest_list(guest, &list, &n, &err));
	ck_assert_uint_eq(n, 0);
	ck_assert_int_ge(pb_guest_fd(guest), 0);
	free(list);
	pb_guest_destroy(guest);
	pb_guest_destroy(NULL);
	ck_assert_int_eq(pb_guest_remove_device(NULL, NULL), 0);
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_MAPPED), "MAPPED");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_OFF), "OFF");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_UNPLACED), "UNPLACED");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_TRAPPED), "TRAPPED");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_OVERLAP), "OVERLAP");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_REFUSED), "REFUSED");
}
END_TEST

/* ---- guests with fake devices: the configuration space is a file, and exports fail ---- */

struct fake {
	struct pb_device device;
	struct pb_guest_device *guest_device;
};

#define FAKE_MSIX 0x40

/*
 * BAR 0 of 16 KiB with an MSI-X table in its third page, BAR 2 of 64 KiB and 64 bits, BAR 4 of 256
 * bytes.
 */
static void fake_up(struct fake *fake, const char *bdf)
{
	static const uint64_t sizes[PB_BARS] = { 0x4000, 0, 0x10000, 0, 0x100, 0 };
	uint8_t config[256] = { 0 };
	int i;

	memset(fake, 0, sizeof(*fake));
	fake->device.fd = memfd_create("config", MFD_CLOEXEC);
	ck_assert_int_ge(fake->device.fd, 0);
	config[0x18] = 0x4;
	config[FAKE_MSIX] = 0x11;
	config[FAKE_MSIX + 2] = 3;    /* four entries */
	config[FAKE_MSIX + 5] = 0x20; /* the table: BAR 0, 0x2000 */
	config[FAKE_MSIX + 9] = 0x28; /* pending bits: BAR 0, 0x2800 */
	ck_assert_int_eq(pwrite(fake->device.fd, config, sizeof(config), 0), sizeof(config));
	fake->device.cap_msix = FAKE_MSIX;
	fake->device.nr_regions = 8;
	fake->device.regions[PB_REGION_CONFIG].size = sizeof(config);
	for (i = 0; i < PB_BARS; i++) {
		fake->device.regions[i].size = sizes[i];
		fake->device.memory_bar[i] = sizes[i];
	}
	fake->device.origin = pb_origin_new(bdf);
	snprintf(fake->device.bdf, sizeof(fake->device.bdf), "%s", bdf);
	pthread_mutex_init(&fake->device.lock, NULL);
}

static void fake_down(struct fake *fake)
{
	close(fake->device.fd);
	pb_origin_put(fake->device.origin);
	pthread_mutex_destroy(&fake->device.lock);
}

static struct pb_iommu no_iommu;
static struct pb_ioas no_ioas = { .iommu = &no_iommu, .id = 7, .lock = PTHREAD_MUTEX_INITIALIZER };

/* Return the only range of a BAR. */
static struct pb_guest_range only_range(struct pb_guest *guest, const struct fake *fake,
					unsigned int bar)
{
	struct pb_guest_range *list, found = { 0 };
	unsigned int i, n;
	int times = 0;

	ok(pb_guest_list(guest, &list, &n, &err));
	for (i = 0; i < n; i++) {
		if (list[i].device != fake->guest_device || list[i].bar != bar)
			continue;
		found = list[i];
		times++;
	}
	free(list);
	ck_assert_int_eq(times, 1);
	return found;
}

START_TEST(a_device_that_cannot_be_exported)
{
	const struct pb_guest_trap wrong[] = {
		{ 6, 0, 1 }, { 1, 0, 1 }, { 0, 0x4000, 1 }, { 0, 0x3fff, 2 }, { 0, 0, 0 },
	};
	struct pb_guest_device *again = NULL;
	struct pb_guest_range range;
	struct pb_guest *guest;
	struct fake fake;
	unsigned int i;

	fake_up(&fake, "0000:77:00.0");
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, &no_ioas, 0, &err));
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refused(pb_guest_add_device(guest, &fake.device, &wrong[i], 1, NULL, &again, &err),
			EINVAL, "not inside a BAR");
	ok(pb_guest_add_device(guest, &fake.device, NULL, 0, &fake, &fake.guest_device, &err));
	refused(pb_guest_add_device(guest, &fake.device, NULL, 0, NULL, &again, &err), EEXIST,
		"0000:77:00.0 was added to this guest");
	refused(pb_guest_set_bar(fake.guest_device, 2, 0x800, &err), EINVAL, "0x1000");
	refused(pb_guest_set_bar(fake.guest_device, 4, 0x10080, &err), EINVAL, "0x100");
	refused(pb_guest_set_bar(fake.guest_device, 1, 0x10000, &err), EINVAL, "no BAR 1");
	range = only_range(guest, &fake, 2);
	ck_assert_int_eq(range.state, PB_GUEST_UNPLACED);
	ck_assert(range.address == PB_GUEST_NOWHERE && range.length == 0x10000 && !range.ioas &&
		  range.data == &fake);
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x100000, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	/* The failure is reported once, however often the guest tries. */
	for (i = 0; i < 3; i++) {
		ok(pb_guest_set_decoding(fake.guest_device, true, &err));
		range = only_range(guest, &fake, 2);
		ck_assert_int_eq(range.state, PB_GUEST_REFUSED);
		ck_assert_int_eq(range.why.code, EOPNOTSUPP);
		ck_assert(range.address == 0x100000 && range.iova == 0x100000 &&
			  range.ioas == &no_ioas && !range.offset);
		ok(pb_guest_sync(guest, 0, &err));
		ck_assert_uint_eq(pb_guest_nr_refused(guest), 1);
		ok(pb_guest_set_decoding(fake.guest_device, false, &err));
	}
	ck_assert(pb_guest_next_report(guest, &range));
	ck_assert_int_eq(range.state, PB_GUEST_REFUSED);
	ck_assert_ptr_nonnull(strstr(range.why.text, "cannot export BAR 2 of 0000:77:00.0"));
	ck_assert(!pb_guest_next_report(guest, &range));
	/* Not while it is in D3hot, or during a reset. */
	ok(pb_guest_set_decoding(fake.guest_device, true, &err));
	ok(pb_guest_set_power(fake.guest_device, false, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	ok(pb_guest_set_power(fake.guest_device, true, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_REFUSED);
	ok(pb_guest_reset_begin(fake.guest_device, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	ok(pb_guest_reset_done(fake.guest_device, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	ok(pb_guest_set_bar(fake.guest_device, 2, ~0xffffULL, &err));
	ok(pb_guest_set_decoding(fake.guest_device, true, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_UNPLACED);
	/* Removing a device discards its reports. */
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x100000, &err));
	ok(pb_guest_sync(guest, PB_GUEST_RETRY, &err));
	ck_assert_uint_eq(pb_guest_nr_refused(guest), 1);
	ok(pb_guest_remove_device(fake.guest_device, &err));
	ck_assert(!pb_guest_next_report(guest, &range));
	pb_guest_destroy(guest);
	fake_down(&fake);
}
END_TEST

/*
 * The kernel fails to unmap a mapping: nothing is mapped in its place, and the device cannot be
 * removed until it is gone.
 */
START_TEST(what_the_kernel_does_not_unmap)
{
	struct pb_mapping *mapping = calloc(1, sizeof(*mapping));
	struct guest_range *range = calloc(1, sizeof(*range));
	struct guest_window *window;
	struct guest_space *space;
	struct pb_guest_range report;
	struct pb_guest *guest;
	struct fake fake;

	ck_assert(mapping && range);
	fake_up(&fake, "0000:77:00.0");
	LIST_INIT(&no_ioas.mappings);
	TAILQ_INIT(&no_ioas.events.revoked);
	no_iommu.fd = fake.device.fd; /* supports no ioctl */
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, &no_ioas, 0, &err));
	ok(pb_guest_add_device(guest, &fake.device, NULL, 0, &fake, &fake.guest_device, &err));
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x100000, &err));
	space = LIST_FIRST(&guest->spaces);
	window = LIST_FIRST(&space->windows);
	range->bar = &fake.guest_device->bars[2];
	range->first = 0x100000;
	range->last = 0x10ffff;
	range->mapping = mapping;
	mapping->ioas = &no_ioas;
	mapping->iova = 0x100000;
	mapping->length = 0x10000;
	mapping->mapped = true;
	LIST_INSERT_HEAD(&no_ioas.mappings, mapping, in_ioas);
	LIST_INSERT_HEAD(&window->ranges, range, in_window);
	/* Decoding is off, so it should be unmapped. */
	ok(pb_guest_sync(guest, 0, &err));
	ck_assert(pb_guest_next_report(guest, &report));
	ck_assert_int_eq(report.state, PB_GUEST_REFUSED);
	ck_assert_ptr_nonnull(strstr(report.why.text, "cannot unmap"));
	ck_assert(!pb_guest_next_report(guest, &report));
	refused(pb_guest_remove_ioas(guest, &no_ioas, &err), EBUSY, "call again");
	refused(pb_guest_remove_device(fake.guest_device, &err), EBUSY, "call again");
	/* Another BAR at that address is not mapped. */
	ok(pb_guest_set_bar(fake.guest_device, 0, 0x100000, &err));
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x200000, &err));
	ok(pb_guest_set_decoding(fake.guest_device, true, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_REFUSED);
	ck_assert_ptr_eq(LIST_FIRST(&no_ioas.mappings), mapping);
	ok(pb_guest_set_decoding(fake.guest_device, false, &err));
	/* Now it can be unmapped. */
	mapping->mapped = false;
	ok(pb_guest_remove_device(fake.guest_device, &err));
	ck_assert_ptr_null(LIST_FIRST(&no_ioas.mappings));
	ok(pb_guest_remove_ioas(guest, &no_ioas, &err));
	pb_guest_destroy(guest);
	fake_down(&fake);
}
END_TEST

/* Compute the state of a page that a BAR claims, from all BARs. */
static enum pb_guest_state state_of(const uint64_t at[2][PB_BARS], const bool on[2], int device,
				    unsigned int bar, uint64_t page)
{
	static const uint64_t pages[PB_BARS] = { 4, 0, 16, 0, 1, 0 };
	unsigned int b;
	int d;

	for (d = 0; d < 2; d++)
		for (b = 0; b < PB_BARS; b++)
			if ((d != device || b != bar) && on[d] && pages[b] &&
			    at[d][b] != PB_GUEST_NOWHERE && page >= at[d][b] / 4096 &&
			    page < at[d][b] / 4096 + pages[b])
				return PB_GUEST_OVERLAP;
	if (bar == 4 || (!bar && page == at[device][0] / 4096 + 2))
		return PB_GUEST_TRAPPED;
	return PB_GUEST_REFUSED;
}

START_TEST(guests_against_brute_force)
{
	static const uint64_t unit[PB_BARS] = { 4096, 0, 4096, 0, 256, 0 };
	struct pb_guest_window window = {
		.iova = 0x5000000, .address = 0x10000, .length = 0x18000, .flags = PB_MAP_READ
	};
	struct pb_ioas other = { .iommu = &no_iommu, .id = 8 };
	uint64_t at[2][PB_BARS];
	bool on[2] = { false, false };
	struct pb_guest *guest;
	struct fake fakes[2];
	unsigned int k, n;
	int round, i, d;

	srand(11);
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, &no_ioas, 0, &err));
	ok(pb_guest_add_ioas(guest, &other, PB_GUEST_WINDOWS, &err));
	ok(pb_guest_add_window(guest, &other, &window, &err));
	for (d = 0; d < 2; d++) {
		fake_up(&fakes[d], d ? "0000:77:00.0" : "0000:78:00.0");
		ok(pb_guest_add_device(guest, &fakes[d].device, NULL, 0, &fakes[d],
				       &fakes[d].guest_device, &err));
		for (i = 0; i < PB_BARS; i++)
			at[d][i] = PB_GUEST_NOWHERE;
	}
	for (round = 0; round < 3000; round++) {
		unsigned int bar = 2 * ((unsigned int)rand() % 3);
		struct pb_guest_range *list, report;
		uint64_t covered[2] = { 0, 0 }, expected[2] = { 0, 0 };

		d = rand() % 2;
		if (rand() % 3) {
			at[d][bar] = rand() % 10 ?
				(uint64_t)rand() % (0x40000 / unit[bar]) * unit[bar] :
				PB_GUEST_NOWHERE;
			ok(pb_guest_set_bar(fakes[d].guest_device, bar, at[d][bar], &err));
		} else {
			on[d] = rand() % 4;
			ok(pb_guest_set_decoding(fakes[d].guest_device, on[d], &err));
		}
		ok(pb_guest_list(guest, &list, &n, &err));
		ck_assert_uint_gt(n, 0);
		for (k = 0; k < n; k++) {
			int which = list[k].data == &fakes[1];
			uint64_t page;

			if (!list[k].ioas) {
				ck_assert_int_eq(list[k].state,
						 at[which][list[k].bar] == PB_GUEST_NOWHERE ?
							 PB_GUEST_UNPLACED :
							 PB_GUEST_OFF);
				ck_assert(!on[which] || list[k].state == PB_GUEST_UNPLACED);
				continue;
			}
			covered[list[k].ioas == &other] += list[k].length;
			ck_assert_uint_eq(list[k].iova,
					  list[k].ioas == &other ?
						  list[k].address - 0x10000 + 0x5000000 :
						  list[k].address);
			for (page = list[k].address / 4096;
			     page < (list[k].address + list[k].length) / 4096; page++)
				ck_assert_int_eq(list[k].state,
						 state_of(at, on, which, list[k].bar, page));
		}
		free(list);
		/* The ranges must be complete. */
		for (i = 0; i < 2 * PB_BARS; i++) {
			static const uint64_t pages[PB_BARS] = { 4, 0, 16, 0, 1, 0 };
			uint64_t base = at[i / PB_BARS][i % PB_BARS], page;

			if (!on[i / PB_BARS] || !pages[i % PB_BARS] || base == PB_GUEST_NOWHERE)
				continue;
			for (page = base / 4096; page < base / 4096 + pages[i % PB_BARS]; page++) {
				expected[0] += 4096;
				expected[1] += page >= 0x10 && page < 0x28 ? 4096 : 0;
			}
		}
		ck_assert_uint_eq(covered[0], expected[0]);
		ck_assert_uint_eq(covered[1], expected[1]);
		if (round % 100 == 0)
			while (pb_guest_next_report(guest, &report))
				ck_assert_int_eq(report.why.code, EOPNOTSUPP);
	}
	pb_guest_destroy(guest);
	fake_down(&fakes[0]);
	fake_down(&fakes[1]);
}
END_TEST

void add_guest_tests(TCase *t)
{
	tcase_add_test(t, a_guest_without_devices);
	tcase_add_test(t, a_device_that_cannot_be_exported);
	tcase_add_test(t, what_the_kernel_does_not_unmap);
	tcase_add_test(t, guests_against_brute_force);
}
