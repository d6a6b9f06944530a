// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Operations of a guest on its devices, one at a time, and the page of a BAR that each of its
 * addresses then reaches.
 */
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guest-fixture.h"

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

/* ---- test cases ---- */

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
	t = suite_case(s, "ours", 300, guest_modules_up, guest_modules_down);
	tcase_add_test(t, placed_and_moved);
	tcase_add_test(t, resets);
}
