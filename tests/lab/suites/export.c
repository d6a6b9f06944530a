// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Buffers: export, query, import by descriptor; all invalid arguments of F1. */
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fixture.h"
#include "kernel-exporters.h"

static void refuse(unsigned int bar, const struct pb_range *ranges, unsigned int n,
		   unsigned int flags, int code, const char *words)
{
	unsigned int fds = count_fds();
	struct pb_buffer *buffer = NULL;

	refused(pb_buffer_export(fixture.gpu, bar, ranges, n, flags, &buffer, &err), code, words);
	ck_assert_ptr_null(buffer);
	ck_assert_uint_eq(count_fds(), fds);
}

#define RANGE(o, l) (&(struct pb_range){ o, l })

START_TEST(bad_inputs)
{
	const struct pb_range two[] = {
		{ 0, PAGE },
		{ 2 * PAGE, 0 },
	};

	refuse(GPU_BAR, RANGE(0, 0), 1, 0, EINVAL, "its length is 0");
	refuse(GPU_BAR, two, 2, 0, EINVAL, "range 1");
	refuse(GPU_BAR, RANGE(1, PAGE), 1, 0, EINVAL, "multiples of the page size, 0x1000");
	refuse(GPU_BAR, RANGE(0, PAGE + 1), 1, 0, EINVAL, "0x1001 bytes at 0x0");
	refuse(GPU_BAR, RANGE(0xfffffffffffff000, 2 * PAGE), 1, 0, EOVERFLOW, "beyond 2^64");
	refuse(GPU_BAR, RANGE(256 * MIB, PAGE), 1, 0, ERANGE, "whose size is 0x10000000");
	refuse(GPU_BAR, RANGE(256 * MIB - PAGE, 2 * PAGE), 1, 0, ERANGE, "ends beyond the BAR");
	refuse(GPU_BAR, RANGE(0, 1ULL << 62), 1, 0, ERANGE, "ends beyond the BAR");
	refuse(GPU_BAR, NULL, 0, 0, EINVAL, "no range was given");
	refuse(GPU_BAR, NULL, 1, 0, EINVAL, "no range was given");
	refuse(GPU_BAR, two, UINT32_MAX, 0, EINVAL, "65536 is the maximum");
	refuse(GPU_BAR, RANGE(0, PAGE), 1, 1, EINVAL, "flags 0x1");
	refuse(5, RANGE(0, PAGE), 1, 0, ENODEV, "no such BAR");
	refuse(3, RANGE(0, PAGE), 1, 0, ENODEV, "no such BAR"); /* the upper half of BAR 2 */
	refuse(6, RANGE(0, PAGE), 1, 0, EINVAL, "BARs 0 to 5");
	refuse(PB_REGION_CONFIG, RANGE(0, PAGE), 1, 0, EINVAL, "BARs 0 to 5");
	refuse(UINT32_MAX, RANGE(0, PAGE), 1, 0, EINVAL, "BARs 0 to 5");
	/* registers of 256 bytes, which have no page of their own */
	refuse(0, RANGE(0, PAGE), 1, 0, ERANGE, "whose size is 0x100");
}
END_TEST

/* Peers cannot use a BAR of I/O ports. */
START_TEST(io_ports)
{
	struct pb_device *nic = lab_open(fixture.iommu, LAB_NIC);
	struct pb_buffer *buffer = NULL;
	struct pb_region r;

	ok(pb_device_region(nic, 2, &r, &err));
	ck_assert_uint_gt(r.size, 0);
	refused(pb_buffer_export(nic, 2, RANGE(0, PAGE), 1, 0, &buffer, &err), ENODEV,
		"no such BAR with memory");
	ck_assert_ptr_null(buffer);
	pb_device_close(nic);
}
END_TEST

START_TEST(one_range)
{
	struct pb_buffer *buffer = export_one(MIB, 3 * PAGE);
	struct pb_buffer_info info;
	struct pb_range range[2];

	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_uint_eq(info.size, 3 * PAGE);
	ck_assert_int_eq(info.model, PB_REVOCABLE);
	ck_assert_str_eq(info.exporter,
			 lab_driver_is_ours() ? "peerbar_vfio_pci" : "vfio_pci_core");
	ck_assert_str_eq(info.bdf, lab_bdf(LAB_GPU));
	ck_assert_int_eq(info.bar, GPU_BAR);
	ck_assert_uint_eq(info.nr_ranges, 1);
	ck_assert(strstr(info.name, info.bdf));
	ck_assert_uint_eq(pb_buffer_ranges(buffer, range, 2), 1);
	ck_assert_uint_eq(range[0].offset, MIB);
	ck_assert_uint_eq(range[0].length, 3 * PAGE);
	ck_assert(fcntl(pb_buffer_fd(buffer), F_GETFD) & FD_CLOEXEC);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(several_ranges_and_the_whole)
{
	/* Out of order, and overlapping. */
	const struct pb_range ranges[] = {
		{ 2 * MIB, 2 * PAGE },
		{ 0, PAGE },
		{ 2 * MIB + PAGE, 4 * PAGE },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 3);
	struct pb_buffer_info info;
	struct pb_range out[2];

	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_uint_eq(info.size, 7 * PAGE);
	ck_assert_uint_eq(info.nr_ranges, 3);
	/* The number of all ranges is returned, also if the array is smaller. */
	ck_assert_uint_eq(pb_buffer_ranges(buffer, out, 2), 3);
	ck_assert_uint_eq(out[1].offset, 0);
	ck_assert_uint_eq(pb_buffer_ranges(buffer, NULL, 0), 3);
	pb_buffer_close(buffer);

	buffer = export_one(0, 256 * MIB);
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_uint_eq(info.size, 256 * MIB);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(each_buffer_has_its_id)
{
	struct pb_buffer *a = export_one(0, PAGE), *b = export_one(0, PAGE), *again;
	struct pb_buffer_info ia, ib, ic;

	ok(pb_buffer_from_fd(pb_buffer_fd(a), &again, &err));
	ok(pb_buffer_query(a, &ia, &err));
	ok(pb_buffer_query(b, &ib, &err));
	ok(pb_buffer_query(again, &ic, &err));
	ck_assert_uint_ne(ia.id, ib.id);
	ck_assert_uint_eq(ia.id, ic.id);
	/* Attributes that only the exporting process knows must not be invented. */
	ck_assert_int_eq(ic.model, PB_REVOCABLE);
	ck_assert_int_eq(ic.bar, -1);
	ck_assert_str_eq(ic.bdf, "");
	ck_assert_uint_eq(ic.nr_ranges, 0);
	/* The imported buffer outlives the original. */
	pb_buffer_close(a);
	ok(pb_buffer_query(again, &ic, &err));
	ck_assert_uint_eq(ic.size, PAGE);
	pb_buffer_close(again);
	pb_buffer_close(b);
}
END_TEST

START_TEST(model_of_a_descriptor)
{
	static const struct {
		int (*make)(size_t size);
		enum pb_model model;
		const char *exporter;
	} foreign[] = {
		{ export_udmabuf, PB_PINNED, "udmabuf" },
		{ export_system_heap, PB_PINNED, "system" },
		{ export_vgem, PB_UNKNOWN, "drm" },
	};
	struct pb_buffer_info info;
	struct pb_buffer *buffer;
	size_t i;

	for (i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		int fd;

		if (foreign[i].make == export_system_heap && !has_system_heap())
			continue;
		fd = foreign[i].make(4 * PAGE);
		ok(pb_buffer_from_fd(fd, &buffer, &err));
		ok(pb_buffer_query(buffer, &info, &err));
		ck_assert_str_eq(info.exporter, foreign[i].exporter);
		ck_assert_int_eq(info.model, foreign[i].model);
		ck_assert_uint_eq(info.size, 4 * PAGE);
		pb_buffer_close(buffer);
		close(fd);
	}
}
END_TEST

/* A holder may set a buffer's name, but not change its attributes. */
START_TEST(a_forged_name)
{
	char name[DMA_BUF_NAME_LEN] = "x\nexp_name:\tudmabuf\nsize:\t1";
	int fd = export_vgem(PAGE);
	struct pb_buffer_info info;
	struct pb_buffer *buffer;

	ck_assert_int_eq(ioctl(fd, DMA_BUF_SET_NAME_B, name), 0);
	ok(pb_buffer_from_fd(fd, &buffer, &err));
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_int_eq(info.model, PB_UNKNOWN);
	ck_assert_str_eq(info.exporter, "drm");
	ck_assert_uint_eq(info.size, PAGE);
	pb_buffer_close(buffer);
	close(fd);
}
END_TEST

/* A buffer that is exported while decoding is off becomes usable when it is on. */
START_TEST(export_while_decoding_is_off)
{
	struct pb_mapping *mapping;
	struct pb_buffer *buffer;

	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	buffer = export_one(0, PAGE);
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &mapping, &err), ENODEV,
		"revoked");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	mapping = map_rw(buffer);
	dma_lands(pb_mapping_iova(mapping), 0);
	ok(pb_unmap(mapping, &err));
	pb_buffer_close(buffer);
}
END_TEST

LAB_SUITE("export", SUITE_NOT_ON_DEBUG)
{
	TCase *t = suite_case(s, "all", 120, fixture_up, fixture_down);

	tcase_add_test(t, bad_inputs);
	tcase_add_test(t, io_ports);
	tcase_add_test(t, one_range);
	tcase_add_test(t, several_ranges_and_the_whole);
	tcase_add_test(t, each_buffer_has_its_id);
	tcase_add_test(t, model_of_a_descriptor);
	tcase_add_test(t, a_forged_name);
	tcase_add_test(t, export_while_decoding_is_off);
}
