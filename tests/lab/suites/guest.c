// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Operations of a guest on its devices, one at a time, and the page of a BAR that each of its
 * addresses then reaches.
 */
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest-fixture.h"
#include "hotplug.h"
#include "modules.h"

#define GIB (1024 * MIB)

struct pb_guest *guest;
struct assigned vga = { .role = LAB_GPU, .number = 1, .bar = GPU_BAR };
struct assigned cmb = { .role = LAB_NVME_CMB, .number = 2, .bar = CMB_BAR };
struct nvme engine;

static struct pb_device *engine_device;

/* ---- the fixture ---- */

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
		a->device = lab_open(iommu, a->role);
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
	bench_up();
	engine_device = lab_open(iommu, LAB_NVME);
	ok(pb_ioas_attach(ioas, engine_device, &err));
	ok(nvme_start(&engine, engine_device, ioas, &err));
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, ioas, 0, &err));
	vga.device = gpu;
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
	bench_down();
}

void guest_ours_up(void)
{
	module_load("peerbar-vfio-pci");
	module_load("peerbar-iommufd");
	ck_assert_int_eq(setenv("LAB_DRIVER", "peerbar-vfio-pci", 1), 0);
	guest_up();
}

void guest_ours_down(void)
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

	ck_assert_msg(found == stamp(a, page), "DMA at 0x%llx finds 0x%llx, and not 0x%llx, the stamp of page 0x%llx of device %u",
		      (unsigned long long)iova, (unsigned long long)found, (unsigned long long)stamp(a, page), (unsigned long long)page,
		      a->number);
	ck_assert_uint_eq(lab_faults(), faults);
}

void faults_at(uint64_t iova)
{
	unsigned int faults = lab_faults();
	uint64_t found = peek(iova);

	ck_assert_msg(!found, "DMA at 0x%llx finds 0x%llx, and ought to fault", (unsigned long long)iova, (unsigned long long)found);
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

/* Set a BAR's address and turn decoding on. */
static void place(struct assigned *a, uint64_t address)
{
	guest_bar(a, address);
	guest_decoding(a, true);
}

/* Synchronize the guest, and check that @refused ranges are refused then. */
static void synced(struct pb_guest *g, unsigned int flags, unsigned int refused)
{
	ok(pb_guest_sync(g, flags, &err));
	ck_assert_uint_eq(pb_guest_nr_refused(g), refused);
}

static void check_finds(struct pb_guest *g, unsigned int n)
{
	unsigned int found;

	ok(pb_guest_check(g, &found, &err));
	ck_assert_uint_eq(found, n);
}

static bool something_to_do(int timeout)
{
	struct pollfd p = { .fd = pb_guest_fd(guest), .events = POLLIN };

	return poll(&p, 1, timeout) == 1;
}

static void nothing_to_report(void)
{
	struct pb_guest_range report;

	/* The kernel may send events of changes that the library already knows. */
	if (something_to_do(0))
		ok(pb_guest_sync(guest, 0, &err));
	if (pb_guest_next_report(guest, &report))
		ck_abort_msg("a report: BAR %u of %s at 0x%llx is %s: %s", report.bar, report.bdf, (unsigned long long)report.address,
			     pb_guest_state_name(report.state), report.why.text);
	ck_assert(!something_to_do(0));
}

/* Check that the next report has this state, errno and message. */
static void reported(const struct assigned *a, enum pb_guest_state state, int code, const char *words)
{
	struct pb_guest_range report;

	ck_assert(something_to_do(0));
	ck_assert(pb_guest_next_report(guest, &report));
	ck_assert_msg(report.state == state && report.why.code == code && strstr(report.why.text, words) &&
		      !code == !report.why.text[0], "%s, %d: %s",
		      pb_guest_state_name(report.state), report.why.code, report.why.text);
	ck_assert_ptr_eq(report.data, a);
	ck_assert_ptr_eq(report.device, a->guest_device);
	ck_assert_str_eq(report.bdf, pb_device_bdf(a->device));
	ck_assert_uint_eq(report.bar, a->bar);
}

/* Sum up the stamped BAR's ranges in this state in the list, which must cover the BAR. */
static uint64_t listed(const struct assigned *a, enum pb_guest_state state)
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

/* ---- operations of guests ---- */

START_TEST(placed_and_moved)
{
	ck_assert_uint_eq(listed(&vga, PB_GUEST_UNPLACED), vga.size);
	/* An address alone, or decoding alone, maps nothing. */
	guest_bar(&vga, SPACE);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_OFF), vga.size);
	faults_at(SPACE);
	guest_decoding(&vga, true);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_MAPPED), vga.size);
	reaches(SPACE, &vga, 0);
	reaches(SPACE + vga.size - PAGE, &vga, vga.size / PAGE - 1);
	faults_at(SPACE + vga.size);
	faults_at(SPACE - PAGE);
	/* The other engine, which writes. */
	dma_lands(SPACE + 5 * MIB + 64, 5 * MIB + 64);
	/* Move with decoding on, by less than its size, which no hardware does. */
	guest_bar(&vga, SPACE + 16 * MIB);
	faults_at(SPACE);
	faults_at(SPACE + 16 * MIB - PAGE);
	reaches(SPACE + 16 * MIB, &vga, 0);
	reaches(SPACE + vga.size, &vga, (vga.size - 16 * MIB) / PAGE);
	/* Move with decoding off, as guests do. */
	guest_decoding(&vga, false);
	faults_at(SPACE + 16 * MIB);
	guest_bar(&vga, SPACE + 512 * MIB);
	faults_at(SPACE + 512 * MIB);
	guest_decoding(&vga, true);
	faults_at(SPACE + 16 * MIB);
	reaches(SPACE + 512 * MIB + PAGE, &vga, 1);
	guest_bar(&vga, PB_GUEST_NOWHERE);
	faults_at(SPACE + 512 * MIB);
	nothing_to_report();
	synced(guest, 0, 0);
	check_finds(guest, 0);
}
END_TEST

START_TEST(decoding_toggled)
{
	int round;

	guest_bar(&vga, SPACE);
	for (round = 0; round < 5; round++) {
		guest_decoding(&vga, true);
		reaches(SPACE + 3 * PAGE, &vga, 3);
		/* Repeating it has no effect. */
		guest_decoding(&vga, true);
		reaches(SPACE + 3 * PAGE, &vga, 3);
		guest_decoding(&vga, false);
		guest_decoding(&vga, false);
		faults_at(SPACE + 3 * PAGE);
	}
	nothing_to_report();
}
END_TEST

/*
 * Size a BAR like firmware: all ones into one half, then the other, then the old value; with
 * decoding on.
 */
START_TEST(sized_while_it_decodes)
{
	uint64_t ones = ~(cmb.size - 1);

	place(&vga, SPACE);
	place(&cmb, SPACE + vga.size);
	guest_bar(&cmb, (SPACE & ~0xffffffffULL) | (ones & 0xffffffff));
	faults_at(SPACE + vga.size);
	guest_bar(&cmb, ones);
	ck_assert_uint_eq(listed(&cmb, PB_GUEST_UNPLACED), cmb.size);
	faults_at(SPACE + vga.size);
	/* The neighbour is not affected. */
	reaches(SPACE + vga.size - PAGE, &vga, vga.size / PAGE - 1);
	guest_bar(&cmb, (ones & ~0xffffffffULL) | ((SPACE + vga.size) & 0xffffffff));
	faults_at(SPACE + vga.size);
	while (pb_guest_next_report(guest, &(struct pb_guest_range){ 0 }))
		; /* it is beyond the aperture */
	guest_bar(&cmb, SPACE + vga.size);
	reaches(SPACE + vga.size, &cmb, 0);
	synced(guest, 0, 0);
}
END_TEST

/* Two BARs overlap: neither is mapped there, and the rest of both is. */
START_TEST(two_at_one_place)
{
	uint64_t middle = SPACE + 64 * MIB;

	place(&vga, SPACE);
	place(&cmb, middle);
	reaches(SPACE, &vga, 0);
	reaches(middle - PAGE, &vga, 64 * MIB / PAGE - 1);
	faults_at(middle);
	faults_at(middle + cmb.size - PAGE);
	reaches(middle + cmb.size, &vga, (64 * MIB + cmb.size) / PAGE);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_OVERLAP), cmb.size);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_MAPPED), vga.size - cmb.size);
	ck_assert_uint_eq(listed(&cmb, PB_GUEST_OVERLAP), cmb.size);
	/* Overlap by half, at the end. */
	guest_bar(&cmb, SPACE + vga.size - 8 * MIB);
	reaches(middle, &vga, 64 * MIB / PAGE);
	faults_at(SPACE + vga.size - 8 * MIB);
	reaches(SPACE + vga.size, &cmb, 8 * MIB / PAGE);
	/* No overlap. */
	guest_bar(&cmb, SPACE + vga.size);
	reaches(SPACE + vga.size, &cmb, 0);
	reaches(SPACE + vga.size - 8 * MIB, &vga, (vga.size - 8 * MIB) / PAGE);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_MAPPED), vga.size);
	/* A BAR that does not decode claims no addresses. */
	guest_bar(&cmb, middle);
	faults_at(middle);
	guest_decoding(&cmb, false);
	reaches(middle, &vga, 64 * MIB / PAGE);
	guest_decoding(&cmb, true);
	faults_at(middle);
	nothing_to_report();
}
END_TEST

START_TEST(places_swapped)
{
	uint64_t a = SPACE, b = SPACE + GIB;
	int round;

	place(&vga, a);
	place(&cmb, b);
	for (round = 0; round < 4; round++) {
		uint64_t t = a;

		/* One overlaps the other for a moment. */
		guest_bar(round % 2 ? &cmb : &vga, round % 2 ? a : b);
		faults_at(round % 2 ? a : b);
		guest_bar(round % 2 ? &vga : &cmb, round % 2 ? b : a);
		a = b;
		b = t;
		reaches(a, &vga, 0);
		reaches(b, &cmb, 0);
		faults_at(b + cmb.size);
	}
	nothing_to_report();
}
END_TEST

/* ---- resets, and power ---- */

static int hot_reset(struct pb_device *device)
{
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };

	return ioctl(pb_device_fd(device), VFIO_DEVICE_PCI_HOT_RESET, &reset) ? -errno : 0;
}

START_TEST(resets)
{
	int ret;

	place(&vga, SPACE);
	place(&cmb, SPACE + GIB);
	if (!lab_has_no_reset()) {
		guest_reset(&vga);
		faults_at(SPACE);
		reaches(SPACE + GIB, &cmb, 0);
		guest_decoding(&vga, true);
		reaches(SPACE, &vga, 0);
	}
	guest_reset(&cmb);
	faults_at(SPACE + GIB);
	guest_decoding(&cmb, true);
	reaches(SPACE + GIB + 7 * PAGE, &cmb, 7);
	/*
	 * A reset of the whole slot, announced for both devices, like a VMM that does not compute
	 * which are affected.
	 */
	ok(pb_guest_reset_begin(vga.guest_device, &err));
	ok(pb_guest_reset_begin(cmb.guest_device, &err));
	faults_at(SPACE);
	ret = hot_reset(vga.device);
	ck_assert_msg(!ret || lab_has_no_reset(), "hot reset: %s", strerror(-ret));
	ok(pb_guest_reset_done(vga.guest_device, &err));
	faults_at(SPACE);
	guest_decoding(&vga, true);
	reaches(SPACE, &vga, 0);
	faults_at(SPACE + GIB);
	ok(pb_guest_reset_done(cmb.guest_device, &err));
	ok(pb_guest_set_decoding(cmb.guest_device, true, &err));
	reaches(SPACE + GIB, &cmb, 0);
	nothing_to_report();
}
END_TEST

START_TEST(asleep)
{
	unsigned int pm = find_capability(cmb.device, PCI_CAP_ID_PM);
	uint8_t d3 = 3, d0 = 0;

	place(&cmb, SPACE);
	reaches(SPACE, &cmb, 0);
	ok(pb_guest_set_power(cmb.guest_device, false, &err));
	faults_at(SPACE);
	ok(pb_device_write(cmb.device, PB_REGION_CONFIG, pm + PCI_PM_CTRL, &d3, 1, &err));
	faults_at(SPACE);
	/* The guest may write to it in D3hot. */
	ok(pb_guest_set_bar(cmb.guest_device, cmb.bar, SPACE + GIB, &err));
	faults_at(SPACE + GIB);
	ok(pb_device_write(cmb.device, PB_REGION_CONFIG, pm + PCI_PM_CTRL, &d0, 1, &err));
	ok(pb_device_set_decoding(cmb.device, true, &err));
	ok(pb_guest_set_power(cmb.guest_device, true, &err));
	reaches(SPACE + GIB, &cmb, 0);
	faults_at(SPACE);
	nothing_to_report();
}
END_TEST

/* ---- ranges that are not mapped ---- */

START_TEST(trapped_pages)
{
	const struct pb_guest_trap traps[] = { { GPU_BAR, 3 * PAGE + 8, PAGE }, { GPU_BAR, MIB, 4 } };
	unsigned int msix = find_capability(cmb.device, PCI_CAP_ID_MSIX);
	struct pb_guest_range *list;
	uint64_t mapped = 0;
	uint32_t table;
	unsigned int i, n, trapped = 0;

	unassign(&vga);
	refused(pb_guest_add_device(guest, gpu, &(struct pb_guest_trap){ GPU_BAR, vga.size, 1 }, 1, NULL, &vga.guest_device, &err), EINVAL,
		"not inside");
	ok(pb_guest_add_device(guest, gpu, traps, 2, &vga, &vga.guest_device, &err));
	refused(pb_guest_add_device(guest, gpu, NULL, 0, NULL, &cmb.guest_device, &err), EEXIST, "already");
	place(&vga, SPACE);
	reaches(SPACE + 2 * PAGE, &vga, 2);
	faults_at(SPACE + 3 * PAGE);
	faults_at(SPACE + 4 * PAGE);
	reaches(SPACE + 5 * PAGE, &vga, 5);
	reaches(SPACE + MIB - PAGE, &vga, MIB / PAGE - 1);
	faults_at(SPACE + MIB);
	reaches(SPACE + MIB + PAGE, &vga, MIB / PAGE + 1);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_TRAPPED), 3 * PAGE);
	/* A BAR smaller than a page, at an unaligned address: nothing in the page is mapped. */
	ok(pb_guest_set_bar(vga.guest_device, 0, SPACE + GIB + 0x300, &err));
	faults_at(SPACE + GIB);
	/* The library finds the MSI-X table. */
	ok(pb_device_read(cmb.device, PB_REGION_CONFIG, msix + PCI_MSIX_TABLE, &table, 4, &err));
	ok(pb_guest_set_bar(cmb.guest_device, table & PCI_MSIX_TABLE_BIR, SPACE + 2 * GIB, &err));
	guest_decoding(&cmb, true);
	faults_at(SPACE + 2 * GIB + ((table & PCI_MSIX_TABLE_OFFSET) & ~(PAGE - 1)));
	ok(pb_guest_list(guest, &list, &n, &err));
	for (i = 0; i < n; i++) {
		if (list[i].data == &vga && !list[i].bar)
			ck_assert_int_eq(list[i].state, PB_GUEST_TRAPPED);
		if (list[i].data != &cmb || list[i].bar != (table & PCI_MSIX_TABLE_BIR))
			continue;
		if (list[i].state == PB_GUEST_TRAPPED)
			trapped++;
		else
			mapped += list[i].state == PB_GUEST_MAPPED ? list[i].length : 0;
	}
	free(list);
	ck_assert_uint_gt(trapped, 0);
	ck_assert_uint_gt(mapped, 0);
	nothing_to_report();
}
END_TEST

/* Where the VMM has a mapping, a BAR is refused. It is mapped when the VMM's mapping is gone. */
START_TEST(in_the_way_of_the_vmm)
{
	struct lab_memory ram;

	lab_memory(ioas, SPACE + MIB, PAGE, &ram);
	place(&vga, SPACE);
	reported(&vga, PB_GUEST_REFUSED, EEXIST, "something is mapped there");
	nothing_to_report();
	/* Only that page is refused. */
	ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), PAGE);
	reaches(SPACE, &vga, 0);
	reaches(SPACE + MIB - PAGE, &vga, MIB / PAGE - 1);
	reaches(SPACE + MIB + PAGE, &vga, MIB / PAGE + 1);
	reaches(SPACE + vga.size - PAGE, &vga, vga.size / PAGE - 1);
	/* The VMM's mapping is unchanged. */
	lab_pattern(ram.p, LEN, 3);
	edu_copy(&edu, SPACE + MIB, memory.iova, LEN);
	ck_assert_mem_eq(memory.p, ram.p, LEN);
	/* Each call retries, but does not report again. */
	synced(guest, 0, 1);
	guest_decoding(&cmb, true);
	nothing_to_report();
	ck_assert(!something_to_do(0));
	lab_memory_free(&ram);
	/* The library unmapped it, and signals that. */
	ck_assert(something_to_do(1000));
	synced(guest, 0, 0);
	reported(&vga, PB_GUEST_MAPPED, 0, "");
	reaches(SPACE + MIB, &vga, MIB / PAGE);
	/* The same for a mapping unknown to the library. */
	guest_bar(&vga, SPACE + GIB);
	stranger_maps(memory.p, 3 * PAGE, SPACE + 77 * PAGE);
	guest_bar(&vga, SPACE);
	reported(&vga, PB_GUEST_REFUSED, EEXIST, "something is mapped there");
	nothing_to_report();
	ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), 3 * PAGE);
	reaches(SPACE, &vga, 0);
	reaches(SPACE + 76 * PAGE, &vga, 76);
	reaches(SPACE + 80 * PAGE, &vga, 80);
	reaches(SPACE + vga.size - PAGE, &vga, vga.size / PAGE - 1);
	edu_copy(&edu, SPACE + 78 * PAGE, MEMORY_IOVA, LEN);
	ck_assert_mem_eq(memory.p, (char *)memory.p + PAGE, LEN);
	faults_at(SPACE + GIB);
	/* Unmap a part of it, then all of it. No report came in between. */
	synced(guest, 0, 1);
	stranger_unmaps(SPACE + 77 * PAGE, 3 * PAGE);
	stranger_maps(memory.p, PAGE, SPACE + 78 * PAGE);
	synced(guest, 0, 1);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), PAGE);
	reaches(SPACE + 77 * PAGE, &vga, 77);
	reaches(SPACE + 79 * PAGE, &vga, 79);
	stranger_unmaps(SPACE + 78 * PAGE, PAGE);
	synced(guest, 0, 0);
	reaches(SPACE + 78 * PAGE, &vga, 78);
	while (something_to_do(0)) {
		struct pb_guest_range report;

		ck_assert(pb_guest_next_report(guest, &report));
		ck_assert_int_eq(report.state, PB_GUEST_MAPPED);
		ck_assert(!report.why.code && !report.why.text[0]);
	}
}
END_TEST

/*
 * The interrupt range and addresses beyond the aperture: only those pages are refused, and the
 * report has their addresses.
 */
START_TEST(over_reserved_addresses)
{
	const uint64_t below_4g = (4 * GIB) - vga.size, before = 0xfee00000 - below_4g, after = 0xfef00000 - below_4g;
	struct pb_iova_range ranges[8];
	unsigned int n;
	uint64_t end;

	place(&vga, below_4g);
	reported(&vga, PB_GUEST_REFUSED, ERANGE, "0xfee00000 to 0xfeefffff are not inside the aperture");
	nothing_to_report();
	ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), MIB);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_MAPPED), vga.size - MIB);
	reaches(below_4g, &vga, 0);
	reaches(0xfee00000 - PAGE, &vga, before / PAGE - 1);
	reaches(0xfef00000, &vga, after / PAGE);
	reaches(below_4g + vga.size - PAGE, &vga, vga.size / PAGE - 1);
	synced(guest, 0, 1);
	nothing_to_report();
	guest_decoding(&vga, false);
	faults_at(below_4g);
	/* Half of it beyond the end. */
	ok(pb_ioas_aperture(ioas, ranges, 8, &n, NULL, &err));
	ck_assert(n && n <= 8);
	end = ranges[n - 1].last + 1;
	ck_assert_uint_ne(end, 0);
	place(&vga, end - 128 * MIB);
	reported(&vga, PB_GUEST_REFUSED, ERANGE, "which ends there");
	nothing_to_report();
	reaches(end - 128 * MIB, &vga, 0);
	reaches(end - PAGE, &vga, 128 * MIB / PAGE - 1);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), vga.size - 128 * MIB);
	/* All of it. */
	guest_bar(&vga, end);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), vga.size);
	guest_bar(&vga, SPACE);
	reaches(SPACE, &vga, 0);
	ck_assert_uint_eq(listed(&vga, PB_GUEST_MAPPED), vga.size);
}
END_TEST

START_TEST(beyond_what_can_be_mapped)
{
	place(&vga, 1ULL << 62);
	reported(&vga, PB_GUEST_REFUSED, ERANGE, "aperture");
	nothing_to_report();
	guest_bar(&vga, SPACE);
	reaches(SPACE, &vga, 0);
	refused(pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE + 1, &err), EINVAL, "multiple of 0x1000");
	refused(pb_guest_set_bar(vga.guest_device, 5, SPACE, &err), EINVAL, "no BAR 5");
	refused(pb_guest_set_bar(vga.guest_device, 6, SPACE, &err), EINVAL, "no BAR 6");
	refused(pb_guest_add_ioas(guest, ioas, 0, &err), EEXIST, "already");
	refused(pb_guest_add_ioas(guest, ioas, 2, &err), EINVAL, "0x2");
	refused(pb_guest_sync(guest, 4, &err), EINVAL, "0x4");
	reaches(SPACE, &vga, 0);
}
END_TEST

/* A failure is only reported: here the process has no descriptors left, and later it has. */
START_TEST(cannot_be_exported_now)
{
	struct rlimit limit, none;

	guest_bar(&vga, SPACE);
	ok(pb_device_set_decoding(gpu, true, &err));
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ok(pb_guest_set_decoding(vga.guest_device, true, &err));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	reported(&vga, PB_GUEST_REFUSED, EMFILE, "export");
	faults_at(SPACE);
	synced(guest, 0, 0);
	reported(&vga, PB_GUEST_MAPPED, 0, "");
	reaches(SPACE, &vga, 0);
	nothing_to_report();
}
END_TEST

/* ---- changes without notice ---- */

/*
 * The VMM, or another thread of it, changes the device through the library without notifying the
 * guest object.
 */
START_TEST(revoked_by_the_library)
{
	place(&vga, SPACE);
	place(&cmb, SPACE + GIB);
	ok(pb_device_set_decoding(gpu, false, &err));
	ck_assert(something_to_do(0));
	synced(guest, 0, 1);
	reported(&vga, PB_GUEST_REFUSED, ENODEV, "revoked");
	nothing_to_report();
	faults_at(SPACE);
	reaches(SPACE + GIB, &cmb, 0);
	ok(pb_device_set_decoding(gpu, true, &err));
	synced(guest, 0, 0);
	reported(&vga, PB_GUEST_MAPPED, 0, "");
	reaches(SPACE, &vga, 0);
	/* Off and on between two syncs. */
	ok(pb_device_set_decoding(gpu, false, &err));
	ok(pb_device_set_decoding(gpu, true, &err));
	faults_at(SPACE);
	ck_assert(something_to_do(0));
	synced(guest, 0, 0);
	reported(&vga, PB_GUEST_MAPPED, ESTALE, "without a report");
	reaches(SPACE, &vga, 0);
	nothing_to_report();
	/* The wrong order: off, and notified afterwards. */
	ok(pb_device_set_decoding(gpu, false, &err));
	ok(pb_guest_set_decoding(vga.guest_device, false, &err));
	synced(guest, 0, 0);
	nothing_to_report();
	faults_at(SPACE);
}
END_TEST

/*
 * As in a VMM that has an iommufd, an address space and devices of its own, and writes to the
 * device's descriptor.
 */
START_TEST(with_descriptors_of_the_vmm)
{
	struct pb_device *own, *other = NULL;
	struct pb_guest_device *assigned;
	struct pb_ioas *space, *none = NULL;
	unsigned int fds = count_fds();
	struct pb_guest *g;

	refused(pb_ioas_from_id(iommu, 12345, &none, &err), ENOENT, "no address space 12345");
	refused(pb_device_from_fd(iommu, 12345, pb_device_bdf(gpu), &other, &err), EBADF, "not open");
	refused(pb_device_from_fd(iommu, pb_iommu_fd(iommu), pb_device_bdf(gpu), &other, &err), EINVAL, "no PCI device");
	ck_assert_uint_eq(count_fds(), fds);
	ok(pb_ioas_from_id(iommu, pb_ioas_id(ioas), &space, &err));
	ok(pb_device_from_fd(iommu, pb_device_fd(gpu), pb_device_bdf(gpu), &own, &err));
	ok(pb_guest_create(&g, &err));
	ok(pb_guest_add_ioas(g, space, 0, &err));
	ok(pb_guest_add_device(g, own, NULL, 0, NULL, &assigned, &err));
	ok(pb_guest_set_bar(assigned, GPU_BAR, SPACE, &err));
	ok(pb_device_set_decoding(gpu, true, &err));
	ok(pb_guest_set_decoding(assigned, true, &err));
	reaches(SPACE, &vga, 0);
	check_finds(g, 0);
	/* It writes to the descriptor, and notifies: before off, and after on. */
	ok(pb_guest_set_decoding(assigned, false, &err));
	ok(pb_device_set_decoding(gpu, false, &err));
	faults_at(SPACE);
	ok(pb_device_set_decoding(gpu, true, &err));
	ok(pb_guest_set_decoding(assigned, true, &err));
	reaches(SPACE, &vga, 0);
	/* Without notice: pb_guest_check() finds out while decoding is off. */
	ok(pb_device_set_decoding(gpu, false, &err));
	faults_at(SPACE);
	check_finds(g, 1);
	check_finds(g, 0);
	ok(pb_device_set_decoding(gpu, true, &err));
	synced(g, 0, 0);
	reaches(SPACE, &vga, 0);
	/* After decoding is on again it does not, with stock vfio-pci: PB_GUEST_REMAKE remaps. */
	ok(pb_device_set_decoding(gpu, false, &err));
	ok(pb_device_set_decoding(gpu, true, &err));
	if (!lab_driver_is_ours())
		faults_at(SPACE);
	synced(g, PB_GUEST_REMAKE, 0);
	reaches(SPACE, &vga, 0);
	/* Another part of the VMM unmaps the BAR. */
	stranger_unmaps(SPACE, vga.size);
	faults_at(SPACE);
	check_finds(g, 1);
	reaches(SPACE, &vga, 0);
	/* Destroying the library's objects does not destroy the VMM's. */
	pb_guest_destroy(g);
	faults_at(SPACE);
	pb_device_close(own);
	pb_ioas_destroy(space);
	ck_assert(decodes(gpu));
	ok(pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE, &err));
	ok(pb_guest_set_decoding(vga.guest_device, true, &err));
	reaches(SPACE, &vga, 0);
}
END_TEST

/* peerbar-vfio-pci notifies: decoding off and on, without notice and without the library. */
START_TEST(revoked_behind_its_back)
{
	struct pb_device *own;
	struct pb_guest_device *assigned;
	int round;

	unassign(&vga);
	/* Change decoding through another object than the guest's. */
	ok(pb_device_from_fd(iommu, pb_device_fd(gpu), pb_device_bdf(gpu), &own, &err));
	ok(pb_guest_add_device(guest, own, NULL, 0, NULL, &assigned, &err));
	ok(pb_guest_set_bar(assigned, GPU_BAR, SPACE, &err));
	ok(pb_device_set_decoding(gpu, true, &err));
	ok(pb_guest_set_decoding(assigned, true, &err));
	reaches(SPACE, &vga, 0);
	while (something_to_do(0))
		synced(guest, 0, 0); /* the export is an event as well */
	for (round = 0; round < 3; round++) {
		struct pb_guest_range report;

		ok(pb_device_set_decoding(gpu, false, &err));
		ok(pb_device_set_decoding(gpu, true, &err));
		faults_at(SPACE);
		if (round < 2) {
			ck_assert(something_to_do(1000));
			synced(guest, 0, 0);
		} else {
			check_finds(guest, 1);
		}
		reaches(SPACE, &vga, 0);
		ck_assert(pb_guest_next_report(guest, &report));
		ck_assert_int_eq(report.state, PB_GUEST_MAPPED);
		ck_assert_int_eq(report.why.code, ESTALE);
	}
	ok(pb_guest_remove_device(assigned, &err));
	faults_at(SPACE);
	pb_device_close(own);
	assign(&vga);
}
END_TEST

/* A BAR that cannot be mapped is reported once, however often the guest tries. */
START_TEST(not_without_the_shim)
{
	int i;

	ck_assert_int_eq(module_unload("peerbar_iommufd"), 0);
	guest_bar(&vga, SPACE);
	for (i = 0; i < 3; i++) {
		guest_decoding(&vga, true);
		guest_decoding(&vga, false);
	}
	guest_decoding(&vga, true);
	reported(&vga, PB_GUEST_REFUSED, EOPNOTSUPP, "modprobe peerbar-iommufd");
	nothing_to_report();
	faults_at(SPACE);
	module_load("peerbar-iommufd");
	/* It is not retried automatically. */
	synced(guest, 0, 1);
	synced(guest, PB_GUEST_RETRY, 0);
	reported(&vga, PB_GUEST_MAPPED, 0, "");
	reaches(SPACE, &vga, 0);
}
END_TEST

/* ---- a VMM's event loop: the descriptor is quiet only when there is nothing to do ---- */

/* Poll a guest's descriptor, level-triggered or edge-triggered. */
static int loop_open(struct pb_guest *g, bool edge)
{
	struct epoll_event event = { .events = EPOLLIN | (edge ? EPOLLET : 0) };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, pb_guest_fd(g), &event))
		lab_die("epoll: %s", strerror(errno));
	return fd;
}

static bool woken(int loop, int timeout)
{
	struct epoll_event event;

	return epoll_wait(loop, &event, 1, timeout) == 1;
}

/*
 * Run the loop that the header documents until the descriptor is quiet. Return the number of
 * wakeups, and the last report, if any, in *last.
 */
static unsigned int run_loop(struct pb_guest *g, int loop, struct pb_guest_range *last)
{
	unsigned int wakes = 0;
	struct pb_error e;

	for (; wakes < 100 && woken(loop, 400); wakes++) {
		if (pb_guest_sync(g, 0, &e))
			lab_die("%s", e.text);
		while (pb_guest_next_report(g, last))
			;
	}
	return wakes;
}

/*
 * Another VMM, in another process: its guest changes decoding, and the VMM sometimes does not
 * notify.
 */
static int other_vmm(const char *bdf, bool edge)
{
	struct pb_guest_device *assigned;
	struct pb_guest_range last;
	struct pb_device *device;
	struct pb_buffer *buffer;
	struct pb_iommu *context;
	struct pb_ioas *space;
	struct pb_guest *g;
	struct pb_error e;
	unsigned int i;
	int loop;

	if (pb_iommu_open(&context, &e) || pb_device_open(context, bdf, &device, &e) || pb_ioas_create(context, &space, &e) ||
	    pb_guest_create(&g, &e) || pb_guest_add_ioas(g, space, 0, &e) || pb_guest_add_device(g, device, NULL, 0, NULL, &assigned, &e) ||
	    pb_guest_set_bar(assigned, CMB_BAR, SPACE, &e))
		lab_die("%s", e.text);
	loop = loop_open(g, edge);
	for (i = 0; i < 20; i++) {
		if (pb_device_set_decoding(device, true, &e) || pb_guest_set_decoding(assigned, true, &e) ||
		    pb_buffer_export(device, CMB_BAR, &(struct pb_range){ i * PAGE, PAGE }, 1, 0, &buffer, &e))
			lab_die("%s", e.text);
		pb_buffer_close(buffer);
		/* With notice, and without. */
		if ((i % 2 && pb_guest_set_decoding(assigned, false, &e)) || pb_device_set_decoding(device, false, &e))
			lab_die("%s", e.text);
		if (run_loop(g, loop, &last) > 10)
			return 1;
	}
	pb_guest_destroy(g);
	pb_ioas_destroy(space);
	pb_device_close(device);
	pb_iommu_close(context);
	return 0;
}

START_TEST(quiet_and_alive)
{
	struct pb_guest_range last = { .state = PB_GUEST_OFF };
	char bdf[PB_BDF_LEN];
	int loop = loop_open(guest, _i), status;
	struct lab_memory ram;
	pid_t child;

	place(&vga, SPACE);
	ck_assert_uint_le(run_loop(guest, loop, &last), 1);
	ck_assert_int_eq(last.state, PB_GUEST_OFF);
	/* After changes with notice, only the kernel's events may follow. */
	guest_decoding(&vga, false);
	guest_decoding(&vga, true);
	guest_bar(&vga, SPACE + GIB);
	last.state = PB_GUEST_OFF;
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_int_eq(last.state, PB_GUEST_OFF);
	/* A change without notice. */
	ok(pb_device_set_decoding(gpu, false, &err));
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	ck_assert(pb_guest_next_report(guest, &last));
	ck_assert_int_eq(last.state, PB_GUEST_REFUSED);
	ck_assert_int_eq(last.why.code, ENODEV);
	ck_assert(!pb_guest_next_report(guest, &last));
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_uint_eq(pb_guest_nr_refused(guest), 1);
	/* Beside another VMM with events of its own. */
	strcpy(bdf, pb_device_bdf(cmb.device));
	unassign(&cmb);
	pb_device_close(cmb.device);
	cmb.device = NULL;
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	child = fork();
	if (!child)
		_exit(other_vmm(bdf, _i));
	while (!waitpid(child, &status, WNOHANG))
		ck_assert_msg(!woken(loop, 100), "what happens to another process's buffers woke this VMM");
	ck_assert_int_eq(status, 0);
	ck_assert(!woken(loop, 400));
	assign(&cmb);
	ck_assert(!woken(loop, 0));
	/* The memory is back, which wakes the loop. */
	ok(pb_device_set_decoding(gpu, true, &err));
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	ck_assert(pb_guest_next_report(guest, &last));
	ck_assert_int_eq(last.state, PB_GUEST_MAPPED);
	ck_assert_msg(!last.why.code && !last.why.text[0], "%d: %s", last.why.code, last.why.text);
	reaches(SPACE + GIB, &vga, 0);
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	/* So do a reset by the library, and its consequences. */
	if (!lab_has_no_reset()) {
		ok(pb_device_reset(gpu, &err));
		ck_assert(woken(loop, 1000));
		ok(pb_guest_sync(guest, 0, &err));
		ck_assert_uint_le(run_loop(guest, loop, &last), 3);
		ok(pb_device_set_decoding(gpu, true, &err));
		ck_assert_uint_le(run_loop(guest, loop, &last), 3);
		reaches(SPACE + GIB, &vga, 0);
	}
	/* So does unmapping the obstacle. */
	lab_memory(ioas, SPACE + PAGE, PAGE, &ram);
	guest_bar(&vga, SPACE);
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_int_eq(last.why.code, EEXIST);
	lab_memory_free(&ram);
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	reaches(SPACE + PAGE, &vga, 1);
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_int_eq(last.state, PB_GUEST_MAPPED);
	close(loop);
}
END_TEST

/*
 * Another descriptor revokes the buffer permanently: the library exports another buffer in its
 * place, once.
 */
START_TEST(revoked_for_good)
{
	struct pb_guest_range last = { 0 };
	struct pb_buffer *buffer;
	int loop = loop_open(guest, _i);
	int found = -1;
	char path[64], name[128];
	ssize_t n;
	int fd;

	place(&vga, SPACE);
	run_loop(guest, loop, &last);
	/* Find the library's buffer, as if another part of the VMM had its descriptor. */
	for (fd = 3; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, name, sizeof(name) - 1);
		if (n > 0 && (name[n] = '\0', strstr(name, "dmabuf")))
			found = fd;
	}
	ck_assert_int_ge(found, 0);
	ok(pb_buffer_from_fd(found, &buffer, &err));
	ok(pb_buffer_revoke(gpu, buffer, &err));
	pb_buffer_close(buffer);
	faults_at(SPACE);
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	while (pb_guest_next_report(guest, &last))
		;
	ck_assert_uint_le(run_loop(guest, loop, &last), 3);
	ck_assert_int_eq(last.state, PB_GUEST_MAPPED);
	/* The event or the check of the mapping may have come first. */
	ck_assert(last.why.code == 0 || last.why.code == ESTALE);
	reaches(SPACE, &vga, 0);
	close(loop);
}
END_TEST

/* ---- address spaces, and virtual IOMMUs ---- */

START_TEST(behind_a_virtual_iommu)
{
	struct pb_guest_window window = { .iova = 0x200000000, .address = SPACE + 2 * PAGE, .length = 4 * PAGE, .flags = RW };
	struct pb_ioas *domain;
	uint8_t bytes[8];

	place(&vga, SPACE);
	ok(pb_ioas_create(iommu, &domain, &err));
	refused(pb_guest_add_window(guest, domain, &window, &err), EINVAL, "PB_GUEST_WINDOWS");
	refused(pb_guest_add_window(guest, ioas, &window, &err), EINVAL, "PB_GUEST_WINDOWS");
	ok(pb_guest_add_ioas(guest, domain, PB_GUEST_WINDOWS, &err));
	/* The guest attaches the engine to a domain of its own. */
	edu_stop(&edu);
	ok(pb_ioas_attach(domain, edu_device, &err));
	edu_start(&edu, edu_device);
	ok(pb_guest_add_window(guest, domain, &window, &err));
	refused(pb_guest_add_window(guest, domain, &window, &err), EEXIST, "overlaps");
	lab_memory_free(&memory);
	lab_memory(domain, MEMORY_IOVA, 4 * PAGE, &memory);
	dma_lands(0x200000000 + PAGE + 64, 3 * PAGE + 64);
	dma_faults(0x200000000 + 4 * PAGE, 6 * PAGE + 64);
	dma_faults(SPACE + 2 * PAGE, 2 * PAGE + 64);
	/* The BAR moves out of the window, and to another address in it. */
	guest_bar(&vga, SPACE + GIB);
	dma_faults(0x200000000 + PAGE, 3 * PAGE + 64);
	guest_bar(&vga, SPACE + 4 * PAGE);
	dma_faults(0x200000000 + PAGE, 3 * PAGE + 64);
	dma_lands(0x200000000 + 2 * PAGE + 64, 64);
	/* A read-only window. */
	ok(pb_guest_remove_window(guest, domain, 0x200000000, &err));
	refused(pb_guest_remove_window(guest, domain, 0x200000000, &err), ENOENT, "no window");
	dma_faults(0x200000000 + 2 * PAGE, 64);
	window.flags = PB_MAP_READ;
	ok(pb_guest_add_window(guest, domain, &window, &err));
	edu_load(&edu, 0x200000000 + 2 * PAGE, 8);
	edu_store(&edu, memory.iova, 8);
	lab_host_read(0, bytes, 8);
	ck_assert_mem_eq(memory.p, bytes, 8);
	/* The engine in the identity-mapped space is not affected. */
	reaches(SPACE + 4 * PAGE, &vga, 0);
	faults_at(0x200000000 + 2 * PAGE);
	refused(pb_guest_add_window(guest, domain, &(struct pb_guest_window){ PAGE, 0, 7, RW }, &err), EINVAL, "multiples");
	refused(pb_guest_add_window(guest, domain, &(struct pb_guest_window){ PAGE, 0, PAGE, 8 }, &err), EINVAL, "0x8");
	ok(pb_guest_remove_ioas(guest, domain, &err));
	refused(pb_guest_remove_ioas(guest, domain, &err), ENOENT, "none of this guest's");
	dma_read_faults(0x200000000 + 2 * PAGE);
	lab_memory_free(&memory);
	edu_stop(&edu);
	ok(pb_ioas_attach(ioas, edu_device, &err));
	edu_start(&edu, edu_device);
	pb_ioas_destroy(domain);
	nothing_to_report();
}
END_TEST

/* ---- adding and removing devices ---- */

START_TEST(taken_from_the_guest)
{
	place(&vga, SPACE);
	place(&cmb, SPACE + GIB);
	unassign(&cmb);
	faults_at(SPACE + GIB);
	reaches(SPACE, &vga, 0);
	pb_device_close(cmb.device);
	cmb.device = NULL;
	assign(&cmb);
	faults_at(SPACE + GIB);
	place(&cmb, SPACE + GIB);
	reaches(SPACE + GIB, &cmb, 0);
	nothing_to_report();
}
END_TEST

START_TEST(plugged_and_pulled)
{
	struct assigned hot = { .number = 3, .bar = GPU_BAR };
	char bdf[PB_BDF_LEN];

	place(&vga, SPACE);
	gpu_plug(bdf, 16 * MIB);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(iommu, bdf, &hot.device, &err));
	assign(&hot);
	write_stamps(&hot);
	place(&hot, SPACE + GIB);
	reaches(SPACE + GIB + 9 * PAGE, &hot, 9);
	reaches(SPACE, &vga, 0);
	gpu_pull();
	unassign(&hot);
	faults_at(SPACE + GIB + 9 * PAGE);
	pb_device_close(hot.device);
	gpu_wait(bdf, 16 * MIB, false);
	reaches(SPACE, &vga, 0);
	check_finds(guest, 0);
	nothing_to_report();
	gpu_forget_memory(16 * MIB);
}
END_TEST

/* ---- concurrency ---- */

static atomic_bool moving;
static unsigned int moves;

static void *move_about(void *arg)
{
	(void)arg;
	for (moves = 0; atomic_load(&moving); moves++) {
		struct pb_error e;

		/*
		 * Each device has addresses of its own: DMA must find its owner's page there, or
		 * nothing.
		 */
		if (pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE + moves % 3 * GIB, &e) ||
		    pb_guest_set_bar(cmb.guest_device, CMB_BAR, SPACE + (3 + moves % 2) * GIB, &e) ||
		    pb_guest_set_decoding(vga.guest_device, moves % 7 != 0, &e))
			lab_die("%s", e.text);
		if (moves % 16 == 0)
			usleep(1000);
	}
	return NULL;
}

START_TEST(dma_while_it_moves)
{
	unsigned int found = 0, i, faults;
	pthread_t thread;

	place(&vga, SPACE);
	place(&cmb, SPACE + 3 * GIB);
	atomic_store(&moving, true);
	faults = lab_faults();
	ck_assert_int_eq(pthread_create(&thread, NULL, move_about, NULL), 0);
	for (i = 0; i < 2000; i++) {
		uint64_t page = i % 4096;
		const struct assigned *owner = i % 5 < 3 ? &vga : &cmb;
		uint64_t value = peek(SPACE + i % 5 * GIB + page * PAGE);

		/* The two halves are read separately, and the BAR may have moved in between. */
		ck_assert_msg((!(value >> 32) || value >> 32 == stamp(owner, page) >> 32) &&
			      (!(uint32_t)value || (uint32_t)value == (uint32_t)stamp(owner, page)), "DMA finds 0x%llx at page 0x%llx of place %u",
			      (unsigned long long)value, (unsigned long long)page, i % 5);
		found += value != 0;
		/* Query and synchronize meanwhile. */
		if (i % 50 == 0) {
			struct pb_guest_range *list;
			unsigned int n;

			ok(pb_guest_list(guest, &list, &n, &err));
			ck_assert_uint_gt(n, 0);
			free(list);
			synced(guest, 0, 0);
			check_finds(guest, 0);
		}
	}
	atomic_store(&moving, false);
	pthread_join(thread, NULL);
	faults_since(faults, "guest: DMA while BARs move");
	printf("guest: %u DMA reads while two BARs moved %u times: %u found the right page, the others faulted\n", i, moves, found);
	ck_assert_uint_gt(found, 0);
	nothing_to_report();
}
END_TEST

/* ---- costs ---- */

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void cost(struct assigned *a, const char *what)
{
	double move = 0, off = 0, on = 0;
	int i, rounds = 10;

	for (i = 0; i < rounds; i++) {
		double t[4];

		t[0] = now_ms();
		ok(pb_guest_set_bar(a->guest_device, a->bar, SPACE + (i % 2 ? 0 : GIB), &err));
		t[1] = now_ms();
		ok(pb_guest_set_decoding(a->guest_device, false, &err));
		t[2] = now_ms();
		ok(pb_guest_set_decoding(a->guest_device, true, &err));
		t[3] = now_ms();
		move += t[1] - t[0];
		off += t[2] - t[1];
		on += t[3] - t[2];
	}
	printf("guest: cost, %s: moved %.2f ms, decoding off %.2f ms, on %.2f ms (mean of %d)\n", what, move / rounds, off / rounds,
	       on / rounds, rounds);
}

/*
 * A BAR of 1 GiB, which fits in the machine's memory; and 128 windows, of which 64 are onto it at
 * any time, so that 64 GiB are mapped.
 */
START_TEST(costs)
{
	struct assigned hot = { .number = 3, .bar = GPU_BAR };
	struct pb_ioas *domain;
	char bdf[PB_BDF_LEN];
	int i;

	place(&vga, SPACE + 8 * GIB);
	cost(&vga, "a BAR of 256 MiB");
	guest_decoding(&vga, false);
	gpu_plug(bdf, GIB);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(iommu, bdf, &hot.device, &err));
	assign(&hot);
	place(&hot, SPACE);
	cost(&hot, "a BAR of 1 GiB");
	ok(pb_ioas_create(iommu, &domain, &err));
	edu_stop(&edu);
	ok(pb_ioas_attach(domain, edu_device, &err));
	ok(pb_guest_add_ioas(guest, domain, PB_GUEST_WINDOWS, &err));
	for (i = 0; i < 128; i++) {
		struct pb_guest_window window = { SPACE + (uint64_t)i * GIB, SPACE + (uint64_t)(i % 2) * GIB, GIB, RW };

		ok(pb_guest_add_window(guest, domain, &window, &err));
	}
	ok(pb_guest_remove_ioas(guest, ioas, &err));
	cost(&hot, "64 ranges of 1 GiB");
	synced(guest, 0, 0);
	ok(pb_guest_remove_ioas(guest, domain, &err));
	ok(pb_ioas_attach(ioas, edu_device, &err));
	pb_ioas_destroy(domain);
	unassign(&hot);
	pb_device_close(hot.device);
	gpu_pull();
	gpu_wait(bdf, GIB, false);
	gpu_forget_memory(GIB);
}
END_TEST

/* ---- the example ---- */

START_TEST(the_example)
{
	char path[300];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 40);
	int status;

	/* Its path is relative to the directory of the tests. */
	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	strcpy(strstr(path, "/tests/lab/"), "/examples/vmm");
	status = system(path);
	ck_assert_msg(!status, "%s: status 0x%x", path, status);
}
END_TEST

LAB_SUITE("guest", SUITE_NOT_ON_DEBUG)
{
	TCase *t = suite_case(s, "all", 300, guest_up, guest_down);

	tcase_add_test(t, placed_and_moved);
	tcase_add_test(t, decoding_toggled);
	tcase_add_test(t, sized_while_it_decodes);
	tcase_add_test(t, two_at_one_place);
	tcase_add_test(t, places_swapped);
	tcase_add_test(t, resets);
	tcase_add_test(t, asleep);
	tcase_add_test(t, trapped_pages);
	tcase_add_test(t, in_the_way_of_the_vmm);
	tcase_add_test(t, over_reserved_addresses);
	tcase_add_test(t, beyond_what_can_be_mapped);
	tcase_add_test(t, cannot_be_exported_now);
	tcase_add_test(t, revoked_by_the_library);
	tcase_add_test(t, with_descriptors_of_the_vmm);
	tcase_add_loop_test(t, quiet_and_alive, 0, 2);
	tcase_add_test(t, behind_a_virtual_iommu);
	tcase_add_test(t, taken_from_the_guest);
	tcase_add_test(t, dma_while_it_moves);
	tcase_add_test(t, plugged_and_pulled);
	tcase_add_test(t, costs);
	t = suite_case(s, "ours", 300, guest_ours_up, guest_ours_down);
	tcase_add_test(t, placed_and_moved);
	tcase_add_test(t, resets);
	tcase_add_test(t, with_descriptors_of_the_vmm);
	tcase_add_test(t, revoked_behind_its_back);
	tcase_add_loop_test(t, quiet_and_alive, 0, 2);
	tcase_add_loop_test(t, revoked_for_good, 0, 2);
	tcase_add_test(t, in_the_way_of_the_vmm);
	tcase_add_test(t, over_reserved_addresses);
	tcase_add_test(t, not_without_the_shim);
	t = suite_case(s, "example", 120, NULL, NULL);
	tcase_add_test(t, the_example);
}
