// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The part of the demonstration about other exporters' dma-bufs: a "GPU driver's" buffer, whose
 * memory is scattered over the BAR and moves, is mapped by iommufd and written by the NVMe.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/peerbar.h>

#include "demo.h"
#include "testmod.h"

#define SEGMENTS 16
#define SEGMENT	 (64 * KIB)
#define SIZE	 (SEGMENTS * SEGMENT)
#define LEN	 3000

static struct peerbar_test_vram_segment segments[SEGMENTS];

/* A buffer of segments that are apart from each other, in descending order. */
static int export_scattered(int exporter)
{
	unsigned int i;
	int fd;

	for (i = 0; i < SEGMENTS; i++)
		segments[i] = (struct peerbar_test_vram_segment){ .a = (SEGMENTS - i) * MIB,
								  .b = 128 * MIB + i * MIB,
								  .length = SEGMENT };
	fd = test_export_vram(exporter, lab_bdf(LAB_GPU), 0, segments, SEGMENTS);
	if (fd < 0)
		lab_die("no VRAM: %s", strerror(-fd));
	return fd;
}

static bool host_sees(const uint8_t *bytes)
{
	unsigned int i;

	for (i = 0; i < SEGMENTS; i++)
		if (!lab_host_sees(segments[i].a, bytes + i * SEGMENT, SEGMENT))
			return false;
	return true;
}

/* Try to map a dma-buf, which must fail with @words in the sentence. */
static void refuse(struct pb_ioas *ioas, int fd, int code, const char *words, const char *claim)
{
	struct pb_mapping *mapping;
	struct pb_buffer *buffer;
	int ret;

	must(pb_buffer_from_fd(fd, &buffer, &err));
	ret = pb_map_buffer(ioas, buffer, 0, 0, PB_MAP_READ | PB_MAP_WRITE, 0, &mapping, &err);
	printf("        %s\n", ret ? err.text : "worked");
	check(ret == -code && strstr(err.text, words), claim);
	pb_buffer_close(buffer);
}

static void demo_refusals(struct pb_ioas *ioas, int exporter, int vram)
{
	int fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_PINNED, PAGE);

	step("What cannot be mapped is refused, with the reason");
	if (fd < 0)
		lab_die("the test exporter does not work");
	refuse(ioas, fd, 95, "system memory", "memory that is in no BAR (EOPNOTSUPP)");
	close(fd);
	test_restore(exporter, vram);
	test_fail(exporter, vram, PEERBAR_TEST_FAIL_PIN, 524, 0);
	refuse(ioas, vram, 95, "ENOTSUPP",
	       "memory that its driver does not pin (the driver's 524)");
	test_fail(exporter, vram, PEERBAR_TEST_FAIL_PIN, 0, 0);
}

void demo_bridge(void)
{
	uint8_t *disk = malloc(SIZE), before[LEN], after[LEN];
	struct pb_device *edu_dev, *nvme_dev;
	struct pb_buffer_info info;
	struct pb_mapping *mapping;
	struct lab_memory memory;
	struct pb_buffer *buffer;
	struct pb_iommu *iommu;
	struct pb_ioas *ioas;
	int exporter, fd, ret;
	unsigned int faults;
	struct nvme nvme;
	struct edu edu;

	if (!disk)
		lab_die("no memory");
	step("The GPU with a driver of its own, whose buffers move; edu and the NVMe on VFIO");
	must(pb_pci_bind_flags(lab_bdf(LAB_GPU), PEERBAR_TEST_VRAM_DRIVER, PB_BIND_FORCE, &err));
	exporter = test_exporter_open();
	fd = export_scattered(exporter);
	must(pb_iommu_open(&iommu, &err));
	edu_dev = lab_open(iommu, LAB_EDU);
	nvme_dev = lab_open(iommu, LAB_NVME);
	must(pb_ioas_create(iommu, &ioas, &err));
	must(pb_ioas_attach(ioas, edu_dev, &err));
	must(pb_ioas_attach(ioas, nvme_dev, &err));
	must(nvme_start(&nvme, nvme_dev, ioas, &err));
	edu_start(&edu, edu_dev);
	lab_memory(ioas, 0, PAGE, &memory);
	must(pb_buffer_from_fd(fd, &buffer, &err));
	must(pb_buffer_query(buffer, &info, &err));
	printf("        fd %d, exporter %s, model %s (%s), %u segments of 64 KiB all over the BAR\n",
	       fd, info.exporter, pb_model_name(info.model), pb_model_basis_name(info.basis),
	       SEGMENTS);

	step("iommufd maps it, contiguously: peerbar attaches for both devices, and pins it");
	must(pb_map_buffer(ioas, buffer, 0, 0, PB_MAP_READ | PB_MAP_WRITE, 0, &mapping, &err));
	printf("        IOVA 0x%llx, 0x%llx bytes\n", (ull)pb_mapping_iova(mapping),
	       (ull)pb_mapping_length(mapping));
	ret = nvme_read(&nvme, 0, pb_mapping_iova(mapping), SIZE);
	lab_disk_bytes(1, 0, disk, SIZE);
	check(!ret && host_sees(disk),
	      "the NVMe reads 1 MiB of a disk into it, and the host sees the bytes in each segment");
	check(test_move(exporter, fd, PEERBAR_TEST_PLACE_B) == -16,
	      "while it is mapped, its driver cannot move it (EBUSY)");

	step("Its driver revokes it all the same");
	lab_host_read(segments[0].a, before, LEN);
	if (test_revoke(exporter, fd))
		lab_die("the test exporter does not revoke");
	lab_pattern(memory.p, LEN, 20);
	edu_load(&edu, memory.iova, LEN);
	faults = lab_faults();
	edu_store(&edu, pb_mapping_iova(mapping), LEN);
	faults = lab_faults() - faults;
	lab_expect_faults(faults, "demo: DMA into a GPU driver's buffer that it revoked");
	lab_host_read(segments[0].a, after, LEN);
	printf("        DMA: %u faults\n", faults);
	check(faults > 0 && !memcmp(before, after, LEN),
	      "DMA faults in the IOMMU, and no byte of the BAR changed");
	must(pb_ioas_check(ioas, NULL, &err));
	check(pb_mapping_state(mapping) == PB_REVOKED, "the library finds the mapping revoked");
	must(pb_unmap(mapping, &err));
	demo_refusals(ioas, exporter, fd);

	nvme_stop(&nvme);
	edu_stop(&edu);
	lab_memory_free(&memory);
	pb_ioas_destroy(ioas);
	pb_buffer_close(buffer);
	close(fd);
	close(exporter);
	free(disk);
	pb_device_close(nvme_dev);
	pb_device_close(edu_dev);
	pb_iommu_close(iommu);
}
