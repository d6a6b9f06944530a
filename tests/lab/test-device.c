// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Devices: found, bound, opened, their regions, their command register, their reset; and what is refused. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"

START_TEST(functions_are_listed)
{
	struct pb_pci_function *list, f;
	unsigned int i, n, seen = 0;

	ok(pb_pci_list(&list, &n, &err));
	ck_assert_uint_gt(n, 5);
	for (i = 0; i < n; i++) {
		if (i)
			ck_assert_str_lt(list[i - 1].bdf, list[i].bdf);
		if (!strcmp(list[i].bdf, lab_bdf(LAB_GPU))) {
			ck_assert_uint_eq(list[i].bars[GPU_BAR].size, 256 * MIB);
			ck_assert(list[i].bars[GPU_BAR].memory && list[i].bars[GPU_BAR].prefetchable);
			ck_assert_int_ge(list[i].iommu_group, 0);
			seen++;
		}
	}
	free(list);
	ck_assert_uint_eq(seen, 1);
	/* the domain may be left out */
	ok(pb_pci_get(lab_bdf(LAB_GPU) + strlen("0000:"), &f, &err));
	ck_assert_str_eq(f.bdf, lab_bdf(LAB_GPU));
	refused(pb_pci_get("0000:fe:1f.7", &f, &err), ENODEV, "no PCI function 0000:fe:1f.7");
	refused(pb_pci_get("gpu", &f, &err), EINVAL, "'gpu' is no PCI address");
}
END_TEST

START_TEST(bind_and_unbind)
{
	const char *bdf = lab_bdf(LAB_EDU);
	struct pb_pci_function f;

	ok(pb_pci_unbind(bdf, &err));
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "");
	ck_assert_str_eq(f.cdev, "");
	/* unbound already */
	ok(pb_pci_unbind(bdf, &err));
	ok(pb_pci_bind(bdf, NULL, &err));
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	ck_assert(!strncmp(f.cdev, "/dev/vfio/devices/vfio", 22));
	/* bound already */
	ok(pb_pci_bind(bdf, "vfio-pci", &err));
	/* one that does not take it: it goes back to having none */
	refused(pb_pci_bind(bdf, "virtio-pci", &err), ENODEV, "does not take it");
	ok(pb_pci_bind(bdf, NULL, &err));
	refused(pb_pci_bind(bdf, "no-such-driver", &err), ENOENT, "no driver of that name");
	refused(pb_pci_bind(bdf, "../x", &err), EINVAL, "no name of a driver");
	refused(pb_pci_bind("0000:fe:1f.7", NULL, &err), ENODEV, "no PCI function");
	/* after a refusal it is what it was */
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
}
END_TEST

START_TEST(open_refused)
{
	struct pb_device *device = NULL, *second = NULL;

	refused(pb_device_open(iommu, "01:00", &device, &err), EINVAL, "no PCI address");
	refused(pb_device_open(iommu, "0000:fe:1f.7", &device, &err), ENODEV, "no PCI function");
	ok(pb_pci_unbind(lab_bdf(LAB_EDU), &err));
	refused(pb_device_open(iommu, lab_bdf(LAB_EDU), &device, &err), ENXIO, "bind it to vfio-pci");
	device = lab_open(iommu, LAB_EDU);
	refused(pb_device_open(iommu, lab_bdf(LAB_EDU), &second, &err), EBUSY, "in use");
	ck_assert_ptr_null(second);
	pb_device_close(device);
	/* and free again */
	device = lab_open(iommu, LAB_EDU);
	pb_device_close(device);
}
END_TEST

START_TEST(a_context_that_was_given)
{
	struct pb_iommu *copy;
	struct pb_device *device;

	ok(pb_iommu_from_fd(pb_iommu_fd(iommu), &copy, &err));
	ck_assert_int_ne(pb_iommu_fd(copy), pb_iommu_fd(iommu));
	device = lab_open(copy, LAB_EDU);
	/* the device keeps it */
	pb_iommu_close(copy);
	ok(pb_device_set_decoding(device, true, &err));
	pb_device_close(device);
}
END_TEST

START_TEST(regions)
{
	struct pb_region r;
	unsigned int i;

	ck_assert_uint_ge(pb_device_regions(gpu), 8);
	ok(pb_device_region(gpu, GPU_BAR, &r, &err));
	ck_assert_uint_eq(r.size, 256 * MIB);
	ck_assert(r.readable && r.writable && r.mappable);
	ok(pb_device_region(gpu, PB_REGION_CONFIG, &r, &err));
	ck_assert_uint_ge(r.size, 256);
	ck_assert(r.readable && !r.mappable);
	/* one that it does not have, and one that nobody has */
	ok(pb_device_region(gpu, 5, &r, &err));
	ck_assert_uint_eq(r.size, 0);
	i = pb_device_regions(gpu);
	refused(pb_device_region(gpu, i, &r, &err), EINVAL, "its regions are 0 to");
}
END_TEST

START_TEST(reading_and_writing)
{
	uint8_t out[256], in[256];
	void *p;

	lab_pattern(out, sizeof(out), 7);
	ok(pb_device_write(gpu, GPU_BAR, 0x12345 & ~7, out, sizeof(out), &err));
	ok(pb_device_read(gpu, GPU_BAR, 0x12345 & ~7, in, sizeof(in), &err));
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert(lab_host_sees(0x12345 & ~7, out, sizeof(out)));
	refused(pb_device_read(gpu, 99, 0, in, 4, &err), EINVAL, "no region 99");
	refused(pb_device_read(gpu, GPU_BAR, 256 * MIB, in, 1, &err), ERANGE, "whose size is 0x10000000");
	refused(pb_device_write(gpu, GPU_BAR, 256 * MIB - 2, out, 4, &err), ERANGE, "not all inside");
	refused(pb_device_write(gpu, GPU_BAR, UINT64_MAX, out, 4, &err), ERANGE, "not all inside");
	refused(pb_device_mmap(gpu, GPU_BAR, 1, PAGE, false, &p, &err), EINVAL, "page size");
	refused(pb_device_mmap(gpu, GPU_BAR, 0, 0, false, &p, &err), EINVAL, "length not 0");
	refused(pb_device_mmap(gpu, GPU_BAR, 256 * MIB, PAGE, false, &p, &err), ERANGE, "not all inside");
	refused(pb_device_mmap(gpu, PB_REGION_CONFIG, 0, 16, false, &p, &err), EOPNOTSUPP, "cannot be mapped");
}
END_TEST

START_TEST(decoding)
{
	uint8_t byte;

	ck_assert(decodes(gpu));
	ok(pb_device_set_decoding(gpu, false, &err));
	ck_assert(!decodes(gpu));
	refused(pb_device_read(gpu, GPU_BAR, 0, &byte, 1, &err), EIO, "cannot read");
	/* off twice is off */
	ok(pb_device_set_decoding(gpu, false, &err));
	ok(pb_device_set_decoding(gpu, true, &err));
	ck_assert(decodes(gpu));
	ok(pb_device_read(gpu, GPU_BAR, 0, &byte, 1, &err));
}
END_TEST

/* a CPU mapping while decoding is off: SIGBUS, not stale data */
START_TEST(decoding_off_is_sigbus)
{
	volatile uint8_t *bar = bar_mmap(0, PAGE);

	bar[0] = 1;
	ok(pb_device_set_decoding(gpu, false, &err));
	bar[0] = 2;
}
END_TEST

START_TEST(reset)
{
	uint8_t out[16], in[16];

	lab_pattern(out, sizeof(out), 8);
	if (lab_has_no_reset()) {
		refused(pb_device_reset(gpu, &err), EOPNOTSUPP, "cannot be reset");
		return;
	}
	ok(pb_device_reset(gpu, &err));
	/* as the kernel leaves it: usable after decoding is on */
	ok(pb_device_set_decoding(gpu, true, &err));
	ok(pb_device_write(gpu, GPU_BAR, 0, out, sizeof(out), &err));
	ok(pb_device_read(gpu, GPU_BAR, 0, in, sizeof(in), &err));
	ck_assert_mem_eq(in, out, sizeof(in));
}
END_TEST

Suite *device_suite(void)
{
	Suite *s = suite_create("device");
	TCase *t = tcase_create("without a bench");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, context_up, context_down);
	tcase_add_test(t, functions_are_listed);
	tcase_add_test(t, bind_and_unbind);
	tcase_add_test(t, open_refused);
	tcase_add_test(t, a_context_that_was_given);
	suite_add_tcase(s, t);
	t = tcase_create("on the bench");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, bench_up, bench_down);
	tcase_add_test(t, regions);
	tcase_add_test(t, reading_and_writing);
	tcase_add_test(t, decoding);
	tcase_add_test_raise_signal(t, decoding_off_is_sigbus, SIGBUS);
	tcase_add_test(t, reset);
	suite_add_tcase(s, t);
	return s;
}
