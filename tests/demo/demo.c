// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The demonstration: one device writes into another device's BAR through a real IOMMU, until a
 * revoke stops it. Each step prints its evidence. The last line counts the checks that held and
 * those that failed. modules.c, bridge.c, rdma.c and hosts.c
 * demonstrate peerbar's modules.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"

#define OFFSET (16 * MIB) /* of the exported range in the BAR */
#define SIZE   (2 * MIB)
#define LEN    3000

static int held, failed;
static struct timespec begin;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9;
}

void step(const char *what)
{
	printf("\n%5.1fs  %s\n", seconds(), what);
}

bool check(bool ok, const char *what)
{
	printf("        %s  %s\n", ok ? "held  " : "FAILED", what);
	ok ? held++ : failed++;
	return ok;
}

void show(const char *whose, const void *bytes)
{
	const uint8_t *p = bytes;
	int i;

	printf("        %-30s", whose);
	for (i = 0; i < 16; i++)
		printf(" %02x", p[i]);
	printf(" ...\n");
}

struct pb_error err;

void must(int ret)
{
	if (ret < 0)
		lab_die("%s", err.text);
}

/* On the stock kernel and its drivers. */
static void demo_stock(void)
{
	struct pb_range range = { OFFSET, SIZE };
	struct pb_mapping *mapping, *revoked;
	struct pb_device *gpu, *edu_dev, *nvme_dev;
	uint8_t before[LEN], after[LEN];
	struct pb_buffer_info info;
	struct lab_memory memory;
	struct pb_buffer *buffer;
	struct pb_iommu *iommu;
	struct pb_ioas *ioas;
	unsigned int faults;
	struct nvme nvme;
	uint8_t *bar, *disk;
	struct lab_fault last;
	uint64_t iova;
	struct edu edu;
	void *p;
	int ret;

	step("Two devices on vfio-pci, one I/O address space");
	must(pb_iommu_open(&iommu, &err));
	gpu = lab_open(iommu, LAB_GPU);
	edu_dev = lab_open(iommu, LAB_EDU);
	nvme_dev = lab_open(iommu, LAB_NVME);
	must(pb_ioas_create(iommu, &ioas, &err));
	must(pb_ioas_attach(ioas, edu_dev, &err));
	must(pb_ioas_attach(ioas, nvme_dev, &err));
	must(pb_device_set_decoding(gpu, true, &err));
	printf("        exporter %s (the \"GPU\"), DMA engines %s (edu) and %s (NVMe), address space %u\n",
	       pb_device_bdf(gpu), pb_device_bdf(edu_dev), pb_device_bdf(nvme_dev),
	       pb_ioas_id(ioas));

	step("Export a range of the GPU's BAR as a dma-buf");
	must(pb_buffer_export(gpu, GPU_BAR, &range, 1, 0, &buffer, &err));
	must(pb_buffer_query(buffer, &info, &err));
	printf("        fd %d, size 0x%llx, model %s, exporter %s, BAR %d of %s from 0x%llx\n",
	       pb_buffer_fd(buffer), (ull)info.size, pb_model_name(info.model), info.exporter,
	       info.bar, info.bdf, (ull)range.offset);
	check(info.size == SIZE && info.model == PB_REVOCABLE,
	      "the buffer has the size of the range, and is REVOCABLE");

	step("Map it for the DMA engines");
	must(pb_map_buffer(ioas, buffer, 0, 0, PB_MAP_READ | PB_MAP_WRITE, 0, &mapping, &err));
	iova = pb_mapping_iova(mapping);
	printf("        IOVA 0x%llx, 0x%llx bytes\n", (ull)iova, (ull)pb_mapping_length(mapping));

	step("edu copies a pattern from memory into the BAR, by DMA through that IOVA");
	edu_start(&edu, edu_dev);
	lab_memory(ioas, 0, 4 * PAGE, &memory);
	lab_pattern(memory.p, LEN, 1);
	show("the pattern in memory", memory.p);
	faults = lab_faults();
	edu_copy(&edu, memory.iova, iova, LEN);
	must(pb_device_mmap(gpu, GPU_BAR, OFFSET, SIZE, false, &p, &err));
	bar = p;
	lab_copy(before, bar, LEN);
	show("the BAR, by mmap of the device", before);
	check(!memcmp(before, memory.p, LEN), "the mmap of the device shows the pattern");
	edu_copy(&edu, iova, memory.iova + 2 * PAGE, LEN);
	show("the BAR, by another DMA", (uint8_t *)memory.p + 2 * PAGE);
	check(!memcmp((uint8_t *)memory.p + 2 * PAGE, memory.p, LEN),
	      "a DMA back into other memory brings the pattern");
	lab_host_read(OFFSET, after, LEN);
	show("the host's backing file", after);
	check(!memcmp(after, memory.p, LEN),
	      "the host sees the pattern in the file behind the BAR");
	check(lab_faults() == faults, "the IOMMU reported no fault");

	step("NVMe reads 1 MiB of a disk straight into the BAR");
	must(nvme_start(&nvme, nvme_dev, ioas, &err));
	ret = nvme_read(&nvme, 0, iova + MIB, MIB);
	printf("        NVMe status 0x%x\n", ret);
	disk = malloc(MIB);
	if (!disk)
		lab_die("no memory");
	lab_disk_bytes(1, 0, disk, MIB);
	show("the disk", disk + 64 * KIB);
	show("the BAR, by mmap of the device", bar + MIB + 64 * KIB);
	check(!ret && !memcmp(bar + MIB, disk, MIB) && lab_host_sees(OFFSET + MIB, disk, MIB),
	      "all of the 1 MiB is in the BAR, by mmap and for the host");

	step("Memory decoding of the GPU off: the kernel revokes the buffer");
	must(pb_device_set_decoding(gpu, false, &err));
	revoked = pb_ioas_next_revoked(ioas);
	check(revoked == mapping && pb_mapping_state(mapping) == PB_REVOKED,
	      "the library tells that the mapping was revoked");
	lab_pattern(memory.p, LEN, 2);
	edu_load(&edu, memory.iova, LEN);
	faults = lab_faults();
	edu_store(&edu, iova, LEN);
	faults = lab_faults() - faults;
	lab_expect_faults(faults, "demo: DMA into a revoked buffer");
	lab_last_fault(&last);
	printf("        the same DMA with another pattern: %u faults (one an access), the last: %s\n",
	       faults, last.line);
	check(faults > 0, "it faulted in the IOMMU");
	lab_host_read(OFFSET, after, LEN);
	show("the host's backing file", after);
	check(!memcmp(after, before, LEN), "no byte of the BAR changed");
	ret = pb_mapping_restore(mapping, &err);
	printf("        mapping it again: %s\n", ret ? err.text : "worked");
	check(ret == -19, "the revoked buffer cannot be mapped (ENODEV)");

	step("Memory decoding on, and mapped again");
	must(pb_device_set_decoding(gpu, true, &err));
	must(pb_mapping_restore(mapping, &err));
	faults = lab_faults();
	edu_copy(&edu, memory.iova, iova, LEN);
	lab_host_read(OFFSET, after, LEN);
	show("the pattern in memory", memory.p);
	show("the host's backing file", after);
	check(!memcmp(after, memory.p, LEN) && !memcmp(bar, memory.p, LEN) &&
		      lab_faults() == faults,
	      "the DMA lands");

	nvme_stop(&nvme);
	edu_stop(&edu);
	lab_memory_free(&memory);
	munmap(p, SIZE);
	free(disk);
	pb_ioas_destroy(ioas);
	pb_buffer_close(buffer);
	pb_device_close(nvme_dev);
	pb_device_close(edu_dev);
	pb_device_close(gpu);
	pb_iommu_close(iommu);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	printf("peerbar %s: P2P DMA into a BAR, on stock vfio-pci and iommufd\n", pb_version());
	demo_stock();
	printf("\n        and with peerbar's modules: buffers that other processes map, and that their owner can revoke permanently\n");
	demo_modules();
	printf("\n        and dma-bufs of any other exporter, as a GPU's\n");
	demo_bridge();
	printf("\n        and RDMA to it, which needs no RDMA hardware\n");
	demo_rdma();
	printf("\n        and from another host, over the wire (RoCE v2)\n");
	demo_hosts();
	printf("\n%5.1fs  %d of %d claims held%s\n", seconds(), held, held + failed,
	       failed ? "; what FAILED is marked above" : "");
	return failed ? 1 : 0;
}
