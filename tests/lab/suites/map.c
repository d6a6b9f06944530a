// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Mapping into an address space: addresses, permissions, and failures, which must leave nothing
 * behind.
 */
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"
#include "kernel-exporters.h"

START_TEST(found_addresses)
{
	struct pb_buffer *buffer = export_one(0, 4 * MIB);
	struct pb_mapping *a = map_rw(buffer), *b = map_rw(buffer);
	uint64_t first = pb_mapping_iova(a), second = pb_mapping_iova(b);

	ck_assert_uint_eq(pb_mapping_length(a), 4 * MIB);
	ck_assert_uint_eq(first % PAGE, 0);
	ck_assert_msg(first + 4 * MIB <= second || second + 4 * MIB <= first,
		      "two mappings overlap");
	ck_assert_int_eq(pb_mapping_state(a), PB_LIVE);
	/* The buffer is mapped twice: both addresses reach it. */
	dma_lands(first, 0);
	dma_lands(second + MIB, MIB);
	ok(pb_unmap(a, &err));
	/* The other one is not affected. */
	dma_lands(second, 0);
	ok(pb_unmap(b, &err));
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(given_addresses)
{
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	struct pb_mapping *a, *b = NULL;
	uint64_t at = 0x123456000;

	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, at, &a, &err));
	ck_assert_uint_eq(pb_mapping_iova(a), at);
	dma_lands(at + PAGE, PAGE);
	/* The addresses are in use, in whole and in part, by a buffer and by memory. */
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, at, &b, &err), EEXIST,
		"IOVA 0x123456000");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, at + PAGE, &b, &err),
		EEXIST, "something is mapped there");
	refused(pb_map_memory(fixture.ioas, fixture.memory.p, PAGE, RW | PB_MAP_FIXED, at, &b,
			      &err),
		EEXIST, "something is mapped there");
	/* The addresses of memory are in use, too. */
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, fixture.memory.iova,
			      &b, &err),
		EEXIST, "something is mapped there");
	/* Unaligned addresses. */
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, at + 1, &b, &err),
		EINVAL, "multiple of the page size");
	refused(pb_map_memory(fixture.ioas, fixture.memory.p, PAGE, RW | PB_MAP_FIXED, 0x800, &b,
			      &err),
		EINVAL, "multiple of the page size");
	/* The addresses behind it are free. */
	ok(pb_map_buffer(fixture.ioas, buffer, 0, PAGE, RW | PB_MAP_FIXED, at + 2 * PAGE, &b,
			 &err));
	ok(pb_unmap(b, &err));
	ok(pb_unmap(a, &err));
	/* And so are its own, after unmapping. */
	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, at, &a, &err));
	ok(pb_unmap(a, &err));
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(beyond_the_aperture)
{
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	struct pb_iova_range ranges[8];
	struct pb_mapping *m = NULL;
	uint64_t alignment, last;
	unsigned int n, again;

	ok(pb_ioas_aperture(fixture.ioas, ranges, 8, &n, &alignment, &err));
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_le(n, 8);
	ck_assert_uint_eq(alignment, PAGE);
	last = ranges[n - 1].last;
	ck_assert_msg(last < UINT64_MAX >> 4, "an emulated VT-d does not reach that far");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, last + 1, &m, &err),
		ERANGE, "not inside the aperture");
	/* Half inside. */
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, last + 1 - PAGE, &m,
			      &err),
		ERANGE, "not inside the aperture");
	refused(pb_map_memory(fixture.ioas, fixture.memory.p, PAGE, RW | PB_MAP_FIXED, last + 1, &m,
			      &err),
		ERANGE, "not inside the aperture");
	/* The interrupt range. */
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, MSI_IOVA, &m, &err),
		ERANGE, "not inside the aperture");
	/* Beyond 2^64. */
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, 0xfffffffffffff000, &m,
			      &err),
		ERANGE, "beyond 2^64");
	ck_assert_ptr_null(m);
	/* The last page can be mapped. */
	ok(pb_map_buffer(fixture.ioas, buffer, 0, PAGE, RW | PB_MAP_FIXED, last + 1 - PAGE, &m,
			 &err));
	dma_lands(last + 1 - PAGE, 0);
	ok(pb_unmap(m, &err));
	/* An array of size 0 is permitted. */
	ok(pb_ioas_aperture(fixture.ioas, NULL, 0, &again, NULL, &err));
	ck_assert_uint_eq(again, n);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(bad_parts_and_flags)
{
	struct pb_buffer *buffer = export_one(0, 4 * PAGE);
	struct pb_mapping *m = NULL;

	refused(pb_map_buffer(fixture.ioas, buffer, 4 * PAGE, 0, RW, 0, &m, &err), ERANGE,
		"its size is 0x4000");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 5 * PAGE, RW, 0, &m, &err), ERANGE,
		"its size is 0x4000");
	refused(pb_map_buffer(fixture.ioas, buffer, PAGE, UINT64_MAX, RW, 0, &m, &err), ERANGE,
		"its size is 0x4000");
	refused(pb_map_buffer(fixture.ioas, buffer, 100, PAGE, RW, 0, &m, &err), EINVAL,
		"multiples of the page size");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 100, RW, 0, &m, &err), EINVAL,
		"multiples of the page size");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, 0, 0, &m, &err), EINVAL,
		"they allow no access");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | 1 << 8, 0, &m, &err), EINVAL,
		"0x100 is not known");
	refused(pb_map_memory(fixture.ioas, fixture.memory.p, 0, RW, 0, &m, &err), EINVAL,
		"length not 0");
	refused(pb_map_memory(fixture.ioas, (char *)fixture.memory.p + 8, PAGE, RW, 0, &m, &err),
		EINVAL, "multiples of the page size");
	refused(pb_map_memory(fixture.ioas, fixture.memory.p, PAGE + 1, RW, 0, &m, &err), EINVAL,
		"multiples of the page size");
	refused(pb_map_memory(fixture.ioas, fixture.memory.p, PAGE, 0, 0, &m, &err), EINVAL,
		"they allow no access");
	/* Memory has no model. */
	refused(pb_map_memory(fixture.ioas, fixture.memory.p, PAGE, RW | PB_MAP_UNKNOWN_MODEL, 0,
			      &m, &err),
		EINVAL, "is not known");
	ck_assert_ptr_null(m);
	ck_assert_int_eq(count_attachments(buffer), 0);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(memory_that_cannot_be_pinned)
{
	void *bar = bar_mmap(0, PAGE);
	struct pb_mapping *m = NULL;

	/* The reason why VMMs need dma-bufs: a BAR has no pages to pin by address. */
	refused(pb_map_memory(fixture.ioas, bar, PAGE, RW, 0, &m, &err), EFAULT,
		"map a device's memory as a buffer");
	munmap(bar, PAGE);
	refused(pb_map_memory(fixture.ioas, bar, PAGE, RW, 0, &m, &err), EFAULT,
		"not mapped in this process");
	ck_assert_ptr_null(m);
}
END_TEST

START_TEST(a_part_of_a_buffer)
{
	struct pb_buffer *buffer = export_one(MIB, 16 * PAGE);
	struct pb_mapping *m;

	ok(pb_map_buffer(fixture.ioas, buffer, 4 * PAGE, 2 * PAGE, RW | PB_MAP_FIXED, 0x20000000,
			 &m, &err));
	ck_assert_uint_eq(pb_mapping_length(m), 2 * PAGE);
	dma_lands(pb_mapping_iova(m) + PAGE, MIB + 5 * PAGE);
	/* The page behind it is not reachable. */
	dma_faults(pb_mapping_iova(m) + 2 * PAGE, MIB + 6 * PAGE);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
}
END_TEST

/*
 * An UNKNOWN model fails before the buffer is attached. If the caller insists, the kernel decides.
 */
START_TEST(unknown_model)
{
	unsigned int fds = count_fds();
	int fd = export_vgem(4 * PAGE);
	struct pb_mapping *m = NULL;
	struct pb_buffer *buffer;
	int attached;

	ok(pb_buffer_from_fd(fd, &buffer, &err));
	close(fd);
	attached = count_attachments(buffer);
	/* The module peerbar would derive from its behaviour that it is PINNED. */
	ck_assert_msg(access("/dev/peerbar", F_OK),
		      "the module peerbar is loaded, and this test is for a kernel without it");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &m, &err), EOPNOTSUPP, "UNKNOWN");
	ck_assert_int_eq(count_attachments(buffer), attached);
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_UNKNOWN_MODEL, 0, &m, &err),
		EOPNOTSUPP, "of the exporter 'drm'");
	ck_assert_int_eq(count_attachments(buffer), attached);
	ck_assert_ptr_null(m);
	pb_buffer_close(buffer);
	ck_assert_uint_eq(count_fds(), fds);
}
END_TEST

/*
 * PINNED would be possible, but the stock kernel's iommufd accepts only buffers of vfio-pci.
 * Mapping must fail with that reason, and leave nothing behind.
 */
START_TEST(pinned_but_not_of_vfio)
{
	int fd = export_udmabuf(4 * PAGE);
	struct pb_mapping *m = NULL;
	struct pb_buffer *buffer;

	ok(pb_buffer_from_fd(fd, &buffer, &err));
	close(fd);
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &m, &err), EOPNOTSUPP,
		"of the exporter 'udmabuf'");
	ck_assert_ptr_null(m);
	ck_assert_int_eq(count_attachments(buffer), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* The kernel maps one range at a time, so several need the exporting process. */
START_TEST(several_ranges_from_elsewhere)
{
	const struct pb_range ranges[] = {
		{ 0, PAGE },
		{ MIB, PAGE },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 2), *taken;
	struct pb_mapping *m = NULL;

	ok(pb_buffer_from_fd(pb_buffer_fd(buffer), &taken, &err));
	refused(pb_map_buffer(fixture.ioas, taken, 0, 0, RW, 0, &m, &err), EOPNOTSUPP,
		"single range");
	ck_assert_ptr_null(m);
	ck_assert_int_eq(count_attachments(taken), 0);
	pb_buffer_close(taken);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(attaching)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_iommu *other;
	struct pb_mapping *m;
	struct pb_ioas *foreign, *occupied;

	/* A device of another context. */
	ok(pb_iommu_open(&other, &err));
	ok(pb_ioas_create(other, &foreign, &err));
	refused(pb_ioas_attach(foreign, fixture.edu_device, &err), EXDEV,
		"different struct pb_iommu");
	pb_ioas_destroy(foreign);
	pb_iommu_close(other);

	/* A mapping at the addresses that the device reserves for interrupts. */
	ok(pb_ioas_create(fixture.iommu, &occupied, &err));
	ok(pb_map_buffer(occupied, buffer, 0, 0, RW | PB_MAP_FIXED, MSI_IOVA, &m, &err));
	refused(pb_ioas_attach(occupied, fixture.edu_device, &err), EADDRINUSE,
		"addresses that the device reserves");
	/* The device stays attached to its address space. */
	pb_ioas_destroy(occupied);
	m = map_rw(buffer);
	dma_lands(pb_mapping_iova(m), 0);
	ok(pb_unmap(m, &err));
	/* Detaching twice is harmless. */
	ok(pb_ioas_detach(fixture.edu_device, &err));
	ok(pb_ioas_detach(fixture.edu_device, &err));
	ok(pb_ioas_attach(fixture.ioas, fixture.edu_device, &err));
	ok(pb_ioas_attach(fixture.ioas, fixture.edu_device, &err));
	m = map_rw(buffer);
	dma_lands(pb_mapping_iova(m), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* Map first, attach later: the device must be able to use the addresses. */
START_TEST(mapping_before_attaching)
{
	const struct pb_range ranges[] = {
		{ 2 * MIB, PAGE },
		{ 0, 2 * PAGE },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 2);
	struct pb_mapping *m;
	struct pb_ioas *early;
	uint64_t alignment;

	lab_memory_free(&fixture.memory);
	ok(pb_ioas_create(fixture.iommu, &early, &err));
	ok(pb_ioas_aperture(early, NULL, 0, NULL, &alignment, &err));
	ck_assert_uint_eq(alignment, PAGE);
	ok(pb_map_buffer(early, buffer, 0, 0, RW, 0, &m, &err));
	ck_assert_uint_eq(pb_mapping_iova(m) % PAGE, 0);
	ok(pb_ioas_attach(early, fixture.edu_device, &err));
	lab_memory(early, MEMORY_IOVA, 4 * PAGE, &fixture.memory);
	dma_lands(pb_mapping_iova(m), 2 * MIB);
	dma_lands(pb_mapping_iova(m) + PAGE, 0);
	lab_memory_free(&fixture.memory);
	pb_ioas_destroy(early);
	pb_buffer_close(buffer);
}
END_TEST

/* Another user of the IOAS unmaps the buffer without the library. */
START_TEST(unmapped_by_a_stranger)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m = map_rw(buffer);

	stranger_unmaps(pb_mapping_iova(m), PAGE);
	dma_faults(pb_mapping_iova(m), 0);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
}
END_TEST

/* Mappings left when the address space is destroyed. */
START_TEST(destroying_with_mappings)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m;
	struct pb_ioas *other;

	ok(pb_ioas_create(fixture.iommu, &other, &err));
	ok(pb_ioas_attach(other, fixture.edu_device, &err));
	ok(pb_map_buffer(other, buffer, 0, 0, RW, 0, &m, &err));
	ok(pb_map_buffer(other, buffer, 0, 0, RW, 0, &m, &err));
	pb_mapping_set_data(m, &other);
	ck_assert_ptr_eq(pb_mapping_data(m), &other);
	pb_ioas_destroy(other);
	ck_assert_int_eq(count_attachments(buffer), 0);
	pb_buffer_close(buffer);
}
END_TEST

LAB_SUITE("map", 0)
{
	TCase *t = suite_case(s, "all", 120, fixture_up, fixture_down);

	tcase_add_test(t, found_addresses);
	tcase_add_test(t, given_addresses);
	tcase_add_test(t, beyond_the_aperture);
	tcase_add_test(t, bad_parts_and_flags);
	tcase_add_test(t, memory_that_cannot_be_pinned);
	tcase_add_test(t, a_part_of_a_buffer);
	tcase_add_test(t, unknown_model);
	tcase_add_test(t, pinned_but_not_of_vfio);
	tcase_add_test(t, several_ranges_from_elsewhere);
	tcase_add_test(t, attaching);
	tcase_add_test(t, destroying_with_mappings);
	tcase_add_test(t, mapping_before_attaching);
	tcase_add_test(t, unmapped_by_a_stranger);
}
