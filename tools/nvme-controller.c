// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* An NVMe controller as a DMA engine, see nvme-controller.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "nvme-controller.h"

#define REG_CAP	    0x00
#define REG_CC	    0x14
#define REG_CSTS    0x1c
#define REG_AQA	    0x24
#define REG_ASQ	    0x28
#define REG_ACQ	    0x30
#define REG_SQ0TDBL 0x1000

#define CAP_TO(cap)	((unsigned int)((cap) >> 24 & 0xff))
#define CAP_DSTRD(cap)	((unsigned int)((cap) >> 32 & 0xf))
#define CAP_NVM		(1ULL << 37)
#define CAP_ADMIN_ONLY	(1ULL << 44)
#define CAP_MPSMIN(cap) ((unsigned int)((cap) >> 48 & 0xf))

#define CC_ENABLE	  (6 << 16 | 4 << 20 | 1) /* 64-byte SQEs, 16-byte CQEs, 4 KiB pages */
#define CC_CSS_ADMIN_ONLY (7 << 4)
#define CSTS_RDY	  1
#define CSTS_CFS	  2
#define GONE		  0xffffffff

#define COMMAND_MS 10000

int pbt_fail(struct pb_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -code;
}

static uint32_t read32(const struct pbt_nvme *nvme, size_t reg)
{
	return *(volatile uint32_t *)(nvme->mmio + reg);
}

static void write32(const struct pbt_nvme *nvme, size_t reg, uint32_t value)
{
	*(volatile uint32_t *)(nvme->mmio + reg) = value;
}

static void write64(const struct pbt_nvme *nvme, size_t reg, uint64_t value)
{
	write32(nvme, reg, (uint32_t)value);
	write32(nvme, reg + 4, (uint32_t)(value >> 32));
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_ready(const struct pbt_nvme *nvme, uint32_t ready)
{
	int64_t end = now_ms() + nvme->ready_ms;

	for (;;) {
		bool late = now_ms() > end;
		uint32_t status = read32(nvme, REG_CSTS);

		if (status == GONE)
			return -ENODEV;
		if ((status & CSTS_RDY) == ready)
			return 0;
		if (ready && status & CSTS_CFS)
			return -EIO;
		if (late)
			return -ETIMEDOUT;
		usleep(1000);
	}
}

static int fail_ready(const struct pbt_nvme *nvme, const char *what, int ret, struct pb_error *err)
{
	const char *bdf = pb_device_bdf(nvme->device);

	switch (ret) {
	case -ENODEV:
		return pbt_fail(err, ENODEV, "the NVMe controller %s does not answer", bdf);
	case -EIO:
		return pbt_fail(err, EIO, "the NVMe controller %s reports a fatal status", bdf);
	default:
		return pbt_fail(err, ETIMEDOUT,
				"the NVMe controller %s does not become %s within %u ms", bdf, what,
				nvme->ready_ms);
	}
}

static void unmap_registers(struct pbt_nvme *nvme)
{
	munmap((void *)nvme->mmio, nvme->mmio_size);
	nvme->mmio = NULL;
}

int pbt_nvme_open(struct pbt_nvme *nvme, struct pb_device *device, struct pb_error *err)
{
	uint64_t cap;
	void *p;
	int ret;

	memset(nvme, 0, sizeof(*nvme));
	nvme->device = device;
	ret = pb_device_set_decoding(device, true, err);
	if (!ret)
		ret = pb_device_read(device, 0, REG_CAP, &cap, sizeof(cap), err);
	if (ret)
		return ret;
	if (cap == UINT64_MAX)
		return fail_ready(nvme, "", -ENODEV, err);
	if (CAP_MPSMIN(cap))
		return pbt_fail(err, EOPNOTSUPP,
				"the NVMe controller %s does not support pages of 4 KiB",
				pb_device_bdf(device));
	if (!(cap & CAP_NVM) && cap & CAP_ADMIN_ONLY)
		nvme->command_set = CC_CSS_ADMIN_ONLY;
	nvme->db_stride = 4u << CAP_DSTRD(cap);
	/* In units of 500 ms. */
	nvme->ready_ms = 500 * (CAP_TO(cap) ? CAP_TO(cap) : 1);
	/*
	 * The doorbells of both pairs of queues. Don't round up to whole pages of the host, which
	 * the BAR may be smaller than.
	 */
	nvme->mmio_size = REG_SQ0TDBL + 4 * (size_t)nvme->db_stride;
	ret = pb_device_mmap(device, 0, 0, nvme->mmio_size, true, &p, err);
	if (ret)
		return ret;
	nvme->mmio = p;
	ret = pbt_nvme_disable(nvme, err);
	if (ret)
		unmap_registers(nvme);
	return ret;
}

void pbt_nvme_clear_queues(struct pbt_nvme *nvme, unsigned int q)
{
	struct pbt_nvme_queues *queues = &nvme->queues[q];

	memset(queues->cq, 0, PBT_NVME_ENTRIES * sizeof(*queues->cq));
	queues->tail = 0;
	queues->head = 0;
	queues->phase = 1;
}

int pbt_nvme_enable(struct pbt_nvme *nvme, struct pb_error *err)
{
	int ret;

	pbt_nvme_clear_queues(nvme, 0);
	ret = pb_device_set_bus_master(nvme->device, true, err);
	if (ret)
		return ret;
	write32(nvme, REG_AQA, (PBT_NVME_ENTRIES - 1) << 16 | (PBT_NVME_ENTRIES - 1));
	write64(nvme, REG_ASQ, nvme->queues[0].sq_iova);
	write64(nvme, REG_ACQ, nvme->queues[0].cq_iova);
	write32(nvme, REG_CC, CC_ENABLE | nvme->command_set);
	ret = wait_ready(nvme, CSTS_RDY);
	return ret ? fail_ready(nvme, "ready", ret, err) : 0;
}

int pbt_nvme_disable(struct pbt_nvme *nvme, struct pb_error *err)
{
	int ret;

	write32(nvme, REG_CC, 0);
	ret = wait_ready(nvme, 0);
	/* Also stops a controller that does not obey. */
	pb_device_set_bus_master(nvme->device, false, NULL);
	return ret ? fail_ready(nvme, "disabled", ret, err) : 0;
}

void pbt_nvme_close(struct pbt_nvme *nvme)
{
	if (!nvme->mmio)
		return;
	pbt_nvme_disable(nvme, NULL);
	unmap_registers(nvme);
}

int pbt_nvme_ring(struct pbt_nvme *nvme, unsigned int q)
{
	struct pbt_nvme_queues *queues = &nvme->queues[q];
	volatile struct pbt_nvme_completion *done = queues->cq + queues->head;
	int64_t end = now_ms() + COMMAND_MS;
	uint16_t status;

	queues->tail = (queues->tail + 1) % PBT_NVME_ENTRIES;
	__sync_synchronize();
	write32(nvme, REG_SQ0TDBL + 2 * (size_t)q * nvme->db_stride, queues->tail);
	while ((done->status & 1) != queues->phase) {
		bool late = now_ms() > end;
		uint32_t csts;

		usleep(500);
		/* Look again: the process may have been stopped in between. */
		if ((done->status & 1) == queues->phase)
			break;
		csts = read32(nvme, REG_CSTS);
		if (csts == GONE)
			return -ENODEV;
		if (csts & CSTS_CFS)
			return -EIO;
		if (late)
			return -ETIMEDOUT;
	}
	__sync_synchronize();
	status = done->status >> 1;
	queues->head = (queues->head + 1) % PBT_NVME_ENTRIES;
	if (!queues->head)
		queues->phase ^= 1;
	write32(nvme, REG_SQ0TDBL + (2 * (size_t)q + 1) * nvme->db_stride, queues->head);
	return status & 0x7ff;
}

int pbt_nvme_submit(struct pbt_nvme *nvme, unsigned int q, struct pbt_nvme_command *command)
{
	command->id = nvme->next_id++;
	nvme->queues[q].sq[nvme->queues[q].tail] = *command;
	return pbt_nvme_ring(nvme, q);
}
