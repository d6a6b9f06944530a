// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Ranges of a guest's BARs that are not mapped, and why. */
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guest-fixture.h"
#include "modules.h"

START_TEST(trapped_pages)
{
	const struct pb_guest_trap traps[] = {
		{ GPU_BAR, 3 * PAGE + 8, PAGE },
		{ GPU_BAR, MIB, 4 },
	};
	unsigned int msix = find_capability(cmb.device, PCI_CAP_ID_MSIX);
	struct pb_guest_range *list;
	uint64_t mapped = 0;
	uint32_t table;
	unsigned int i, n, trapped = 0;

	unassign(&vga);
	refused(pb_guest_add_device(guest, fixture.gpu,
				    &(struct pb_guest_trap){ GPU_BAR, vga.size, 1 }, 1, NULL,
				    &vga.guest_device, &err),
		EINVAL, "not inside");
	ok(pb_guest_add_device(guest, fixture.gpu, traps, 2, &vga, &vga.guest_device, &err));
	refused(pb_guest_add_device(guest, fixture.gpu, NULL, 0, NULL, &cmb.guest_device, &err),
		EEXIST, "already");
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

	lab_memory(fixture.ioas, SPACE + MIB, PAGE, &ram);
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
	edu_copy(&fixture.edu, SPACE + MIB, fixture.memory.iova, LEN);
	ck_assert_mem_eq(fixture.memory.p, ram.p, LEN);
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
	stranger_maps(fixture.memory.p, 3 * PAGE, SPACE + 77 * PAGE);
	guest_bar(&vga, SPACE);
	reported(&vga, PB_GUEST_REFUSED, EEXIST, "something is mapped there");
	nothing_to_report();
	ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), 3 * PAGE);
	reaches(SPACE, &vga, 0);
	reaches(SPACE + 76 * PAGE, &vga, 76);
	reaches(SPACE + 80 * PAGE, &vga, 80);
	reaches(SPACE + vga.size - PAGE, &vga, vga.size / PAGE - 1);
	edu_copy(&fixture.edu, SPACE + 78 * PAGE, MEMORY_IOVA, LEN);
	ck_assert_mem_eq(fixture.memory.p, (char *)fixture.memory.p + PAGE, LEN);
	faults_at(SPACE + GIB);
	/* Unmap a part of it, then all of it. No report came in between. */
	synced(guest, 0, 1);
	stranger_unmaps(SPACE + 77 * PAGE, 3 * PAGE);
	stranger_maps(fixture.memory.p, PAGE, SPACE + 78 * PAGE);
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
	const uint64_t base = MSI_IOVA & ~(vga.size - 1), before = MSI_IOVA - base,
		       after = MSI_IOVA + MIB - base;
	struct pb_iova_range ranges[8];
	char refusal[100];
	unsigned int n;
	uint64_t end;

	/* The BAR would be at 0 and over the fixture's memory on arm64. */
	if (base) {
		place(&vga, base);
		snprintf(refusal, sizeof(refusal), "0x%llx to 0x%llx are not inside the aperture",
			 MSI_IOVA, MSI_IOVA + MIB - 1);
		reported(&vga, PB_GUEST_REFUSED, ERANGE, refusal);
		nothing_to_report();
		ck_assert_uint_eq(listed(&vga, PB_GUEST_REFUSED), MIB);
		ck_assert_uint_eq(listed(&vga, PB_GUEST_MAPPED), vga.size - MIB);
		reaches(base, &vga, 0);
		reaches(MSI_IOVA - PAGE, &vga, before / PAGE - 1);
		reaches(MSI_IOVA + MIB, &vga, after / PAGE);
		reaches(base + vga.size - PAGE, &vga, vga.size / PAGE - 1);
		synced(guest, 0, 1);
		nothing_to_report();
		guest_decoding(&vga, false);
		faults_at(base);
	}
	/* Half of it beyond the end. */
	ok(pb_ioas_aperture(fixture.ioas, ranges, 8, &n, NULL, &err));
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

/*
 * The only device of an address space, which reserves addresses there, is moved, detached, closed.
 * Its addresses are free then, and the guest's descriptor reports that.
 */
START_TEST(reserved_by_a_device_that_leaves)
{
	const uint64_t base = MSI_IOVA & ~(vga.size - 1);
	struct pb_ioas *space, *other = NULL;
	struct pb_device *nic;

	/* The BAR would be at 0 and over the fixture's memory on arm64. */
	if (!base)
		return;
	nic = lab_open(fixture.iommu, LAB_NIC);
	ok(pb_ioas_create(fixture.iommu, &space, &err));
	ok(pb_ioas_attach(space, nic, &err));
	ok(pb_guest_add_ioas(guest, space, 0, &err));
	place(&vga, base);
	/* In either address space. */
	reported(&vga, PB_GUEST_REFUSED, ERANGE, "aperture");
	reported(&vga, PB_GUEST_REFUSED, ERANGE, "aperture");
	nothing_to_report();
	synced(guest, 0, 2);
	ck_assert(!something_to_do(0));
	if (_i == 0) {
		ok(pb_ioas_create(fixture.iommu, &other, &err));
		ok(pb_ioas_attach(other, nic, &err));
	} else if (_i == 1) {
		ok(pb_ioas_detach(nic, &err));
	} else {
		pb_device_close(nic);
		nic = NULL;
	}
	ck_assert(something_to_do(1000));
	synced(guest, 0, 1);
	reported(&vga, PB_GUEST_MAPPED, 0, "");
	nothing_to_report();
	ok(pb_guest_remove_ioas(guest, space, &err));
	pb_ioas_destroy(space);
	pb_device_close(nic);
	pb_ioas_destroy(other);
}
END_TEST

START_TEST(beyond_what_can_be_mapped)
{
	place(&vga, 1ULL << 62);
	reported(&vga, PB_GUEST_REFUSED, ERANGE, "aperture");
	nothing_to_report();
	guest_bar(&vga, SPACE);
	reaches(SPACE, &vga, 0);
	refused(pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE + 1, &err), EINVAL,
		"multiple of 0x1000");
	refused(pb_guest_set_bar(vga.guest_device, 5, SPACE, &err), EINVAL, "no BAR 5");
	refused(pb_guest_set_bar(vga.guest_device, 6, SPACE, &err), EINVAL, "no BAR 6");
	refused(pb_guest_add_ioas(guest, fixture.ioas, 0, &err), EEXIST, "already");
	refused(pb_guest_add_ioas(guest, fixture.ioas, 2, &err), EINVAL, "0x2");
	refused(pb_guest_sync(guest, 4, &err), EINVAL, "0x4");
	reaches(SPACE, &vga, 0);
}
END_TEST

/* A failure is only reported: here the process has no descriptors left, and later it has. */
START_TEST(cannot_be_exported_now)
{
	struct rlimit limit, none;

	guest_bar(&vga, SPACE);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
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

/* ---- test cases ---- */

LAB_SUITE_PART("guest")
{
	TCase *t = suite_case(s, "all", 300, guest_up, guest_down);

	tcase_add_test(t, trapped_pages);
	tcase_add_test(t, in_the_way_of_the_vmm);
	tcase_add_test(t, over_reserved_addresses);
	tcase_add_loop_test(t, reserved_by_a_device_that_leaves, 0, 3);
	tcase_add_test(t, beyond_what_can_be_mapped);
	tcase_add_test(t, cannot_be_exported_now);
	t = suite_case(s, "ours", 300, guest_modules_up, guest_modules_down);
	tcase_add_test(t, in_the_way_of_the_vmm);
	tcase_add_test(t, over_reserved_addresses);
	tcase_add_test(t, not_without_the_shim);
}
