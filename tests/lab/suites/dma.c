// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * DMA from one device into another's BAR: the data that arrives, and the accesses that the IOMMU
 * blocks.
 */
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"

/* Check a pattern in three ways. */
START_TEST(a_pattern_arrives)
{
	struct pb_buffer *buffer = export_one(16 * MIB, 2 * MIB);
	struct pb_mapping *m = map_rw(buffer);
	uint8_t *bar = bar_mmap(16 * MIB, 2 * MIB), *back = (uint8_t *)fixture.memory.p + 2 * PAGE;
	uint64_t iova = pb_mapping_iova(m);

	/* Neither at the beginning nor aligned. */
	lab_pattern(fixture.memory.p, EDU_MAX, 1);
	edu_copy(&fixture.edu, fixture.memory.iova, iova + MIB + 123, EDU_MAX);
	ck_assert(lab_equal(bar + MIB + 123, fixture.memory.p, EDU_MAX));
	edu_copy(&fixture.edu, iova + MIB + 123, fixture.memory.iova + 2 * PAGE, EDU_MAX);
	ck_assert_mem_eq(back, fixture.memory.p, EDU_MAX);
	ck_assert(lab_host_sees(17 * MIB + 123, fixture.memory.p, EDU_MAX));
	/* The bytes beside it are unchanged: the GPU's memory is zeroed at start. */
	ck_assert_uint_eq(bar[MIB + 122], 0);
	ck_assert_uint_eq(bar[MIB + 123 + EDU_MAX], 0);
	munmap(bar, 2 * MIB);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
}
END_TEST

/* Three ranges, out of order, are contiguous at one address. DMA crosses each boundary. */
START_TEST(ranges_are_contiguous)
{
	const struct pb_range ranges[] = {
		{ 64 * MIB, 3 * PAGE },
		{ 2 * PAGE, PAGE },
		{ 32 * MIB, 2 * PAGE },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 3);
	struct pb_mapping *found, *fixed, *part;
	uint64_t iova;
	int round;

	found = map_rw(buffer);
	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, 0x40000000, &fixed, &err));
	for (round = 0; round < 2; round++) {
		iova = pb_mapping_iova(round ? fixed : found);
		ck_assert_uint_eq(pb_mapping_length(round ? fixed : found), 6 * PAGE);
		/* 2,000 bytes, half of them on either side of a boundary. */
		lab_pattern(fixture.memory.p, 2000, 10 + (uint32_t)round);
		edu_copy(&fixture.edu, fixture.memory.iova, iova + 3 * PAGE - 1000, 2000);
		ck_assert(lab_host_sees(64 * MIB + 3 * PAGE - 1000, fixture.memory.p, 1000));
		ck_assert(lab_host_sees(2 * PAGE, (uint8_t *)fixture.memory.p + 1000, 1000));
		lab_pattern(fixture.memory.p, 2000, 20 + (uint32_t)round);
		edu_copy(&fixture.edu, fixture.memory.iova, iova + 4 * PAGE - 1000, 2000);
		ck_assert(lab_host_sees(2 * PAGE + PAGE - 1000, fixture.memory.p, 1000));
		ck_assert(lab_host_sees(32 * MIB, (uint8_t *)fixture.memory.p + 1000, 1000));
		/* DMA in the other direction. */
		edu_copy(&fixture.edu, iova + 4 * PAGE - 1000, fixture.memory.iova + 2 * PAGE,
			 2000);
		ck_assert_mem_eq((uint8_t *)fixture.memory.p + 2 * PAGE, fixture.memory.p, 2000);
	}
	/* There is no mapping behind the last range (iova is the fixed one's). */
	dma_faults(iova + 6 * PAGE, 32 * MIB + 2 * PAGE);
	/* A part, from the middle of the first range to the middle of the last. */
	ok(pb_map_buffer(fixture.ioas, buffer, 2 * PAGE, 3 * PAGE, RW | PB_MAP_FIXED, 0x20000000,
			 &part, &err));
	dma_lands(pb_mapping_iova(part), 64 * MIB + 2 * PAGE);
	dma_lands(pb_mapping_iova(part) + PAGE, 2 * PAGE);
	dma_lands(pb_mapping_iova(part) + 2 * PAGE, 32 * MIB);
	dma_faults(pb_mapping_iova(part) + 3 * PAGE, 32 * MIB + PAGE);
	ok(pb_unmap(part, &err));
	ok(pb_unmap(found, &err));
	dma_lands(iova, 64 * MIB);
	ok(pb_unmap(fixed, &err));
	dma_faults(iova + 3 * PAGE, 2 * PAGE);
	pb_buffer_close(buffer);
}
END_TEST

/*
 * Another user maps in the same IOAS without the library. The buffer must go where all its ranges
 * fit.
 */
START_TEST(ranges_among_strangers)
{
	const struct pb_range ranges[] = {
		{ 0, PAGE },
		{ MIB, PAGE },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 2);
	struct pb_mapping *m;
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t iova, strange;

	/* The second page of the first free addresses. */
	strange = 2 * PAGE;
	stranger_maps(page, PAGE, strange);
	m = map_rw(buffer);
	iova = pb_mapping_iova(m);
	ck_assert_msg(iova > strange || iova + 2 * PAGE <= strange,
		      "the buffer lies on the stranger's page");
	dma_lands(iova, 0);
	dma_lands(iova + PAGE, MIB);
	ok(pb_unmap(m, &err));
	/* The failed attempts left nothing mapped. */
	ok(pb_map_buffer(fixture.ioas, buffer, 0, PAGE, RW | PB_MAP_FIXED, strange - PAGE, &m,
			 &err));
	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, strange + PAGE, &m, &err));
	munmap(page, PAGE);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(permissions)
{
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	struct pb_mapping *ro, *wo;
	uint8_t *bar = bar_mmap(0, PAGE);
	uint8_t before[LEN];
	unsigned int faults;

	/*
	 * Make the forbidden access first: once a page is in QEMU's IOTLB, forbidden accesses are
	 * blocked without a fault.
	 */
	lab_pattern(bar, LEN, 30);
	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, PB_MAP_READ, 0, &ro, &err));
	dma_faults(pb_mapping_iova(ro), 0);
	edu_copy(&fixture.edu, pb_mapping_iova(ro), fixture.memory.iova + PAGE, LEN);
	ck_assert(lab_equal(bar, (uint8_t *)fixture.memory.p + PAGE, LEN));
	/* Now blocked without a fault; by an SMMU with one. */
	faults = lab_faults();
	lab_host_read(0, before, LEN);
	lab_pattern(fixture.memory.p, LEN, 31);
	edu_copy(&fixture.edu, fixture.memory.iova, pb_mapping_iova(ro), LEN);
	faults_since(faults, "a write that the IOTLB blocks");
	ck_assert_msg(lab_host_sees(0, before, LEN),
		      "a DMA write went through a read-only mapping");
	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, PB_MAP_WRITE, 0, &wo, &err));
#ifndef __aarch64__ /* an SMMU's page tables have no pages for writing only */
	dma_read_faults(pb_mapping_iova(wo), 0);
#endif
	dma_lands(pb_mapping_iova(wo), 0);
	munmap(bar, PAGE);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(unmapped_faults)
{
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	struct pb_mapping *m = map_rw(buffer);
	uint64_t iova = pb_mapping_iova(m);

	dma_lands(iova, 0);
	ok(pb_unmap(m, &err));
	dma_faults(iova, 0);
	/* A mapping outlives its buffer object, and ends with pb_unmap(). */
	m = map_rw(buffer);
	iova = pb_mapping_iova(m);
	pb_buffer_close(buffer);
	dma_lands(iova, 0);
	ok(pb_unmap(m, &err));
	dma_faults(iova, 0);
}
END_TEST

/* A device reaches the mappings of its own address space only. */
START_TEST(two_address_spaces)
{
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	struct pb_mapping *in_first, *in_second;
	struct pb_ioas *second;

	ok(pb_ioas_create(fixture.iommu, &second, &err));
	ck_assert_uint_ne(pb_ioas_id(second), pb_ioas_id(fixture.ioas));
	ok(pb_map_buffer(second, buffer, 0, PAGE, RW | PB_MAP_FIXED, 0x10000000, &in_second, &err));
	dma_faults(0x10000000, 0);
	/* The same address, another page. */
	ok(pb_map_buffer(fixture.ioas, buffer, PAGE, PAGE, RW | PB_MAP_FIXED, 0x10000000, &in_first,
			 &err));
	dma_lands(0x10000000, PAGE);

	/* Attach it to the second one, where the memory must be mapped, too. */
	lab_memory_free(&fixture.memory);
	ok(pb_ioas_attach(second, fixture.edu_device, &err));
	lab_memory(second, MEMORY_IOVA, 4 * PAGE, &fixture.memory);
	dma_lands(0x10000000, 0);
	lab_memory_free(&fixture.memory);
	/* Detached, all accesses fault. */
	ok(pb_ioas_detach(fixture.edu_device, &err));
	dma_read_from_nowhere(0x10000000);
	ok(pb_ioas_attach(fixture.ioas, fixture.edu_device, &err));
	lab_memory(fixture.ioas, MEMORY_IOVA, 4 * PAGE, &fixture.memory);
	dma_lands(0x10000000, PAGE);
	pb_ioas_destroy(second);
	pb_buffer_close(buffer);
}
END_TEST

/* edu and an NVMe share an address space and the BAR. */
START_TEST(two_devices)
{
	struct pb_buffer *buffer = export_one(8 * MIB, 2 * MIB);
	struct pb_mapping *m = map_rw(buffer);
	struct pb_device *device = lab_open(fixture.iommu, LAB_NVME);
	uint8_t *want = malloc(MIB);
	struct nvme nvme;
	unsigned int before;
	uint64_t iova;

	ok(pb_ioas_attach(fixture.ioas, device, &err));
	ok(nvme_start(&nvme, device, fixture.ioas, &err));
	iova = pb_mapping_iova(m);
	/* From the disk into the BAR. */
	ck_assert_int_eq(nvme_read(&nvme, MIB / 2, iova + MIB, MIB), 0);
	lab_disk_bytes(1, MIB / 2, want, MIB);
	ck_assert(lab_host_sees(9 * MIB, want, MIB));
	dma_lands(iova, 8 * MIB);
	/* From the BAR to the disk, and back to another part of the BAR. */
	ck_assert_int_eq(nvme_write(&nvme, 32 * MIB, iova + MIB, MIB), 0);
	ck_assert_int_eq(nvme_read(&nvme, 32 * MIB, iova, MIB), 0);
	ck_assert(lab_host_sees(8 * MIB, want, MIB));
	/* After unmapping, it faults, and the BAR is unchanged. */
	ok(pb_unmap(m, &err));
	before = lab_faults();
	/* QEMU's controller reports success nevertheless, unlike a real one: ignore the status. */
	nvme_read(&nvme, 0, iova, 8 * PAGE);
	faulted(before, pb_device_bdf(device), iova, 8 * PAGE, true,
		"NVMe read into an unmapped buffer");
	ck_assert(lab_host_sees(8 * MIB, want, MIB));
	nvme_stop(&nvme);
	pb_device_close(device);
	pb_buffer_close(buffer);
	free(want);
}
END_TEST

/* An NVMe's controller memory buffer is device memory like any other. */
START_TEST(a_cmb_as_exporter)
{
	struct pb_device *device = lab_open(fixture.iommu, LAB_NVME_CMB);
	struct pb_range range = { 4 * MIB, MIB };
	struct pb_buffer_info info;
	struct pb_buffer *buffer;
	struct pb_mapping *m;
	uint8_t *cmb;
	void *p;

	ok(pb_device_set_decoding(device, true, &err));
	ok(pb_buffer_export(device, CMB_BAR, &range, 1, 0, &buffer, &err));
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_str_eq(info.bdf, lab_bdf(LAB_NVME_CMB));
	m = map_rw(buffer);
	ok(pb_device_mmap(device, CMB_BAR, range.offset, range.length, false, &p, &err));
	cmb = p;
	lab_pattern(fixture.memory.p, LEN, 50);
	edu_copy(&fixture.edu, fixture.memory.iova, pb_mapping_iova(m) + PAGE, LEN);
	ck_assert_mem_eq(cmb + PAGE, fixture.memory.p, LEN);
	munmap(p, range.length);
	pb_buffer_close(buffer);
	pb_device_close(device);
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
}
END_TEST

LAB_SUITE("dma", 0)
{
	TCase *t = suite_case(s, "all", 240, fixture_up, fixture_down);

	tcase_add_test(t, a_pattern_arrives);
	tcase_add_test(t, ranges_are_contiguous);
	tcase_add_test(t, ranges_among_strangers);
	tcase_add_test(t, permissions);
	tcase_add_test(t, unmapped_faults);
	tcase_add_test(t, two_address_spaces);
	tcase_add_test(t, two_devices);
	tcase_add_test(t, a_cmb_as_exporter);
}
