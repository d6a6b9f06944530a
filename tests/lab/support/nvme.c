// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A minimal NVMe driver that reads and writes blocks by polling. Names of registers and fields are
 * those of the NVMe base specification.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"

#define REG_CAP	    0x00
#define REG_CC	    0x14
#define REG_CSTS    0x1c
#define REG_AQA	    0x24
#define REG_ASQ	    0x28
#define REG_ACQ	    0x30
#define REG_SQ0TDBL 0x1000

#define CC_ENABLE (6 << 16 | 4 << 20 | 1) /* 64-byte SQEs, 16-byte CQEs, 4 KiB pages, enabled */
#define CSTS_RDY  1

#define ADMIN_CREATE_SQ	   0x01
#define ADMIN_CREATE_CQ	   0x05
#define ADMIN_IDENTIFY	   0x06
#define ADMIN_SET_FEATURES 0x09
#define ADMIN_GET_FEATURES 0x0a
#define FEATURE_TIMESTAMP  0x0e
#define IO_WRITE	   0x01
#define IO_READ		   0x02

#define ENTRIES	  16
#define MMIO_SIZE 0x2000

/* The queues' memory, one page each: admin SQ and CQ, I/O SQ and CQ, PRP list, identify data. */
enum { ASQ, ACQ, SQ, CQ, PRP_LIST, DATA, PAGES };

struct command {
	uint8_t opcode;
	uint8_t flags;
	uint16_t id;
	uint32_t nsid;
	uint64_t reserved;
	uint64_t metadata;
	uint64_t prp1;
	uint64_t prp2;
	uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};

struct completion {
	uint32_t result;
	uint32_t reserved;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t id;
	uint16_t status; /* bit 0 is the phase */
};

static uint32_t read32(struct nvme *nvme, size_t reg)
{
	return *(volatile uint32_t *)(nvme->mmio + reg);
}

static void write32(struct nvme *nvme, size_t reg, uint32_t value)
{
	*(volatile uint32_t *)(nvme->mmio + reg) = value;
}

static void write64(struct nvme *nvme, size_t reg, uint64_t value)
{
	write32(nvme, reg, (uint32_t)value);
	write32(nvme, reg + 4, (uint32_t)(value >> 32));
}

static uint8_t *page(struct nvme *nvme, int n)
{
	return (uint8_t *)nvme->queues.p + n * PAGE;
}

static uint64_t page_iova(struct nvme *nvme, int n)
{
	return nvme->queues.iova + (uint64_t)n * PAGE;
}

/*
 * Submit to queue 0 (admin) or 1 (I/O) and wait for the completion. Return its status, or
 * -ETIMEDOUT.
 */
static int submit(struct nvme *nvme, int q, struct command *command)
{
	volatile struct completion *done;
	uint16_t status;
	int i;

	command->id = nvme->next_id++;
	memcpy(page(nvme, q ? SQ : ASQ) + nvme->sq_tail[q] * sizeof(*command), command,
	       sizeof(*command));
	nvme->sq_tail[q] = (nvme->sq_tail[q] + 1) % ENTRIES;
	__sync_synchronize();
	write32(nvme, REG_SQ0TDBL + 2 * (size_t)q * nvme->db_stride, nvme->sq_tail[q]);

	done = (volatile struct completion *)page(nvme, q ? CQ : ACQ) + nvme->cq_head[q];
	for (i = 0; (done->status & 1) != nvme->phase[q]; i++) {
		if (i == 20000)
			return -ETIMEDOUT;
		usleep(500);
	}
	__sync_synchronize();
	status = done->status >> 1;
	nvme->cq_head[q] = (nvme->cq_head[q] + 1) % ENTRIES;
	if (!nvme->cq_head[q])
		nvme->phase[q] ^= 1;
	write32(nvme, REG_SQ0TDBL + (2 * (size_t)q + 1) * nvme->db_stride, nvme->cq_head[q]);
	return status & 0x7ff;
}

static int wait_ready(struct nvme *nvme, uint32_t ready)
{
	int i;

	for (i = 0; i < 5000; i++) {
		if ((read32(nvme, REG_CSTS) & CSTS_RDY) == ready)
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

static int make_queue(struct nvme *nvme, uint8_t opcode, int memory, uint32_t dw11)
{
	struct command c = { .opcode = opcode,
			     .prp1 = page_iova(nvme, memory),
			     .dw10 = (ENTRIES - 1) << 16 | 1,
			     .dw11 = dw11 };

	return submit(nvme, 0, &c);
}

static int failed(struct pb_error *err, const char *what, int status)
{
	err->code = EIO;
	strcpy(err->text, what);
	return status < 0 ? status : -EIO;
}

int nvme_start(struct nvme *nvme, struct pb_device *device, struct pb_ioas *ioas,
	       struct pb_error *err)
{
	struct command identify = { .opcode = ADMIN_IDENTIFY, .nsid = 1 };
	uint8_t *data;
	void *p;
	int ret;

	memset(nvme, 0, sizeof(*nvme));
	nvme->device = device;
	ret = pb_device_set_decoding(device, true, err);
	if (!ret)
		ret = pb_device_set_bus_master(device, true, err);
	if (!ret)
		ret = pb_device_mmap(device, 0, 0, MMIO_SIZE, true, &p, err);
	if (ret)
		return ret;
	nvme->mmio = p;
	lab_memory(ioas, 0, PAGES * PAGE, &nvme->queues);
	nvme->db_stride = 4u << (read32(nvme, REG_CAP + 4) & 0xf);
	nvme->phase[0] = nvme->phase[1] = 1;

	write32(nvme, REG_CC, 0);
	ret = wait_ready(nvme, 0);
	if (ret)
		return failed(err, "the NVMe controller does not become disabled", ret);
	write32(nvme, REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	write64(nvme, REG_ASQ, page_iova(nvme, ASQ));
	write64(nvme, REG_ACQ, page_iova(nvme, ACQ));
	write32(nvme, REG_CC, CC_ENABLE);
	ret = wait_ready(nvme, CSTS_RDY);
	if (ret)
		return failed(err, "the NVMe controller does not become ready", ret);
	ret = make_queue(nvme, ADMIN_CREATE_CQ, CQ, 1);
	if (!ret)
		ret = make_queue(nvme, ADMIN_CREATE_SQ, SQ, 1 << 16 | 1);
	if (ret)
		return failed(err, "the NVMe controller makes no I/O queues", ret);
	identify.prp1 = page_iova(nvme, DATA);
	ret = submit(nvme, 0, &identify);
	if (ret)
		return failed(err, "the NVMe controller does not identify its namespace", ret);
	data = page(nvme, DATA);
	/* The LBA data size of the format in use. */
	nvme->block = 1u << data[128 + 4 * (data[26] & 0xf) + 2];
	return 0;
}

void nvme_stop(struct nvme *nvme)
{
	if (!nvme->mmio)
		return;
	write32(nvme, REG_CC, 0);
	wait_ready(nvme, 0);
	munmap((void *)nvme->mmio, MMIO_SIZE);
	lab_memory_free(&nvme->queues);
	nvme->mmio = NULL;
}

static int transfer(struct nvme *nvme, uint8_t opcode, uint64_t at, uint64_t iova, size_t length)
{
	struct command c = { .opcode = opcode, .nsid = 1, .prp1 = iova };
	uint64_t lba = at / nvme->block;
	uint64_t *list = (uint64_t *)page(nvme, PRP_LIST);
	size_t i, pages = (length + PAGE - 1) / PAGE;

	if (!length || length > NVME_MAX || length % nvme->block || at % nvme->block || iova % PAGE)
		lab_die("an NVMe transfer of 0x%zx bytes at 0x%llx is none", length,
			(unsigned long long)at);
	if (pages == 2) {
		c.prp2 = iova + PAGE;
	} else if (pages > 2) {
		for (i = 1; i < pages; i++)
			list[i - 1] = iova + i * PAGE;
		c.prp2 = page_iova(nvme, PRP_LIST);
	}
	c.dw10 = (uint32_t)lba;
	c.dw11 = (uint32_t)(lba >> 32);
	c.dw12 = (uint32_t)(length / nvme->block - 1);
	return submit(nvme, 1, &c);
}

int nvme_read(struct nvme *nvme, uint64_t at, uint64_t iova, size_t length)
{
	return transfer(nvme, IO_READ, at, iova, length);
}

int nvme_write(struct nvme *nvme, uint64_t at, uint64_t iova, size_t length)
{
	return transfer(nvme, IO_WRITE, at, iova, length);
}

static int timestamp(struct nvme *nvme, uint8_t opcode, uint64_t iova)
{
	struct command c = { .opcode = opcode, .prp1 = iova, .dw10 = FEATURE_TIMESTAMP };

	return submit(nvme, 0, &c);
}

int nvme_peek(struct nvme *nvme, uint64_t iova, uint64_t *value)
{
	uint64_t *data = (uint64_t *)page(nvme, DATA);
	int ret;

	*value = 0;
	ret = timestamp(nvme, ADMIN_SET_FEATURES, iova);
	if (!ret)
		ret = timestamp(nvme, ADMIN_GET_FEATURES, page_iova(nvme, DATA));
	if (!ret)
		*value = *data & NVME_PEEK_MASK;
	return ret;
}

int nvme_poke(struct nvme *nvme, uint64_t iova, uint64_t value)
{
	uint64_t *data = (uint64_t *)page(nvme, DATA);
	int ret;

	*data = value & NVME_PEEK_MASK;
	ret = timestamp(nvme, ADMIN_SET_FEATURES, page_iova(nvme, DATA));
	return ret ? ret : timestamp(nvme, ADMIN_GET_FEATURES, iova);
}
