// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* QEMU's edu device as a DMA engine. QEMU's docs/specs/edu.rst describes its registers. */
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"

#define EDU_SIZE       MIB
#define EDU_ID	       0x00
#define EDU_DMA_SRC    0x80
#define EDU_DMA_DST    0x88
#define EDU_DMA_COUNT  0x90
#define EDU_DMA_CMD    0x98
#define EDU_CMD_RUN    0x1
#define EDU_CMD_TO_RAM 0x2
#define EDU_BUFFER     0x40000

static void write64(struct edu *edu, size_t reg, uint64_t value)
{
	*(volatile uint64_t *)(edu->mmio + reg) = value;
}

void edu_start(struct edu *edu, struct pb_device *device)
{
	struct pb_error err;
	void *p;

	edu->device = device;
	if (pb_device_set_decoding(device, true, &err) ||
	    pb_device_set_bus_master(device, true, &err) ||
	    pb_device_mmap(device, 0, 0, EDU_SIZE, true, &p, &err))
		lab_die("%s", err.text);
	edu->mmio = p;
	if ((*(volatile uint32_t *)(edu->mmio + EDU_ID) & 0xffff) != 0x00ed)
		lab_die("%s does not answer as edu does", pb_device_bdf(device));
}

void edu_stop(struct edu *edu)
{
	if (edu->mmio)
		munmap((void *)edu->mmio, EDU_SIZE);
	edu->mmio = NULL;
}

static void transfer(struct edu *edu, uint64_t src, uint64_t dst, size_t length, uint64_t command)
{
	int i;

	if (length > EDU_MAX)
		lab_die("edu moves at most %d bytes at a time", EDU_MAX);
	write64(edu, EDU_DMA_SRC, src);
	write64(edu, EDU_DMA_DST, dst);
	write64(edu, EDU_DMA_COUNT, length);
	write64(edu, EDU_DMA_CMD, command | EDU_CMD_RUN);
	for (i = 0; i < 10000; i++) {
		if (!(*(volatile uint64_t *)(edu->mmio + EDU_DMA_CMD) & EDU_CMD_RUN))
			return;
		usleep(5000);
	}
	lab_die("edu did not finish a transfer in 50 s");
}

void edu_load(struct edu *edu, uint64_t from, size_t length)
{
	transfer(edu, from, EDU_BUFFER, length, 0);
}

void edu_store(struct edu *edu, uint64_t to, size_t length)
{
	transfer(edu, EDU_BUFFER, to, length, EDU_CMD_TO_RAM);
}

void edu_copy(struct edu *edu, uint64_t from, uint64_t to, size_t length)
{
	edu_load(edu, from, length);
	edu_store(edu, to, length);
}
