// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The fixture of the tests of guests, see guest-fixture.h. */
#include <poll.h>
#include <stdlib.h>

#include "guest-fixture.h"
#include "modules.h"

struct pb_guest *guest;
struct assigned vga = { .role = LAB_GPU, .number = 1, .bar = GPU_BAR };
struct assigned cmb = { .role = LAB_NVME_CMB, .number = 2, .bar = CMB_BAR };
struct nvme engine;

static struct pb_device *engine_device;

uint64_t stamp(const struct assigned *a, uint64_t page)
{
	return (0xaULL << 24 | (uint64_t)a->number << 20 | page) << 20;
}

void write_stamps(struct assigned *a)
{
	uint64_t page;
	uint8_t *p;
	void *at;

	ok(pb_device_set_decoding(a->device, true, &err));
	ok(pb_device_mmap(a->device, a->bar, 0, a->size, true, &at, &err));
	p = at;
	for (page = 0; page < a->size / PAGE; page++)
		*(volatile uint64_t *)(p + page * PAGE) = stamp(a, page);
	munmap(at, a->size);
	ok(pb_device_set_decoding(a->device, false, &err));
}

void assign(struct assigned *a)
{
	struct pb_region region;

	if (!a->device)
		a->device = lab_open(fixture.iommu, a->role);
	ok(pb_device_region(a->device, a->bar, &region, &err));
	a->size = region.size;
	ok(pb_guest_add_device(guest, a->device, NULL, 0, a, &a->guest_device, &err));
}

void unassign(struct assigned *a)
{
	ok(pb_guest_remove_device(a->guest_device, &err));
	a->guest_device = NULL;
}

void guest_up(void)
{
	fixture_up();
	engine_device = lab_open(fixture.iommu, LAB_NVME);
	ok(pb_ioas_attach(fixture.ioas, engine_device, &err));
	ok(nvme_start(&engine, engine_device, fixture.ioas, &err));
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, fixture.ioas, 0, &err));
	vga.device = fixture.gpu;
	assign(&vga);
	assign(&cmb);
	write_stamps(&vga);
	write_stamps(&cmb);
}

void guest_down(void)
{
	pb_guest_destroy(guest);
	nvme_stop(&engine);
	pb_device_close(engine_device);
	pb_device_close(cmb.device);
	fixture_down();
}

void guest_modules_up(void)
{
	module_load("peerbar-vfio-pci");
	module_load("peerbar-iommufd");
	ck_assert_int_eq(setenv("LAB_DRIVER", "peerbar-vfio-pci", 1), 0);
	guest_up();
}

void guest_modules_down(void)
{
	guest_down();
}

uint64_t peek(uint64_t iova)
{
	uint64_t value;

	ck_assert_int_ge(nvme_peek(&engine, iova, &value), 0);
	return value;
}

void reaches(uint64_t iova, const struct assigned *a, uint64_t page)
{
	unsigned int faults = lab_faults();
	uint64_t found = peek(iova);

	ck_assert_msg(found == stamp(a, page),
		      "DMA at 0x%llx finds 0x%llx, and not 0x%llx, the stamp of page 0x%llx of device %u",
		      (unsigned long long)iova, (unsigned long long)found,
		      (unsigned long long)stamp(a, page), (unsigned long long)page, a->number);
	ck_assert_uint_eq(lab_faults(), faults);
}

void faults_at(uint64_t iova)
{
	unsigned int faults = lab_faults();
	uint64_t found = peek(iova);

	ck_assert_msg(!found, "DMA at 0x%llx finds 0x%llx, and ought to fault",
		      (unsigned long long)iova, (unsigned long long)found);
	ck_assert_uint_gt(faults_since(faults, "guest: DMA to where no BAR is"), 0);
}

void guest_bar(struct assigned *a, uint64_t address)
{
	ok(pb_guest_set_bar(a->guest_device, a->bar, address, &err));
}

void guest_decoding(struct assigned *a, bool on)
{
	if (on)
		ok(pb_device_set_decoding(a->device, true, &err));
	ok(pb_guest_set_decoding(a->guest_device, on, &err));
	if (!on)
		ok(pb_device_set_decoding(a->device, false, &err));
}

void guest_reset(struct assigned *a)
{
	ok(pb_guest_reset_begin(a->guest_device, &err));
	ok(pb_device_reset(a->device, &err));
	ok(pb_device_set_decoding(a->device, false, &err));
	ok(pb_guest_reset_done(a->guest_device, &err));
}

void place(struct assigned *a, uint64_t address)
{
	guest_bar(a, address);
	guest_decoding(a, true);
}

void synced(struct pb_guest *g, unsigned int flags, unsigned int refused)
{
	ok(pb_guest_sync(g, flags, &err));
	ck_assert_uint_eq(pb_guest_nr_refused(g), refused);
}

void check_finds(struct pb_guest *g, unsigned int n)
{
	unsigned int found;

	ok(pb_guest_check(g, &found, &err));
	ck_assert_uint_eq(found, n);
}

bool something_to_do(int timeout)
{
	struct pollfd p = { .fd = pb_guest_fd(guest), .events = POLLIN };

	return poll(&p, 1, timeout) == 1;
}

void nothing_to_report(void)
{
	struct pb_guest_range report;

	/* The kernel may send events of changes that the library already knows. */
	if (something_to_do(0))
		ok(pb_guest_sync(guest, 0, &err));
	if (pb_guest_next_report(guest, &report))
		ck_abort_msg("a report: BAR %u of %s at 0x%llx is %s: %s", report.bar, report.bdf,
			     (unsigned long long)report.address, pb_guest_state_name(report.state),
			     report.why.text);
	ck_assert(!something_to_do(0));
}

void reported(const struct assigned *a, enum pb_guest_state state, int code, const char *words)
{
	struct pb_guest_range report;

	ck_assert(something_to_do(0));
	ck_assert(pb_guest_next_report(guest, &report));
	ck_assert_msg(report.state == state && report.why.code == code &&
			      strstr(report.why.text, words) && !code == !report.why.text[0],
		      "%s, %d: %s", pb_guest_state_name(report.state), report.why.code,
		      report.why.text);
	ck_assert_ptr_eq(report.data, a);
	ck_assert_ptr_eq(report.device, a->guest_device);
	ck_assert_str_eq(report.bdf, pb_device_bdf(a->device));
	ck_assert_uint_eq(report.bar, a->bar);
}

uint64_t listed(const struct assigned *a, enum pb_guest_state state)
{
	struct pb_guest_range *list;
	uint64_t all = 0, sum = 0;
	unsigned int i, n;

	ok(pb_guest_list(guest, &list, &n, &err));
	ck_assert_uint_gt(n, 0);
	for (i = 0; i < n; i++) {
		if (list[i].data != a || list[i].bar != a->bar)
			continue;
		ck_assert_uint_eq(list[i].offset, all);
		all += list[i].length;
		if (list[i].state == state)
			sum += list[i].length;
	}
	free(list);
	ck_assert_uint_eq(all, a->size);
	return sum;
}
