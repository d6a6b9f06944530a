// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The lab's NVMe disks: read and write blocks. tools/nvme-controller.c drives the controller. */
#include <errno.h>
#include <string.h>

#include "lab.h"

#define ADMIN_CREATE_SQ	   0x01
#define ADMIN_CREATE_CQ	   0x05
#define ADMIN_SET_FEATURES 0x09
#define ADMIN_GET_FEATURES 0x0a
#define FEATURE_TIMESTAMP  0x0e
#define IO_WRITE	   0x01
#define IO_READ		   0x02

/* The queues' memory, one page each: admin SQ and CQ, I/O SQ and CQ, PRP list, identify data. */
enum { ASQ, ACQ, SQ, CQ, PRP_LIST, DATA, PAGES };

static uint8_t *page(struct nvme *nvme, int n)
{
	return (uint8_t *)nvme->memory.p + n * PBT_NVME_PAGE;
}

static uint64_t page_iova(struct nvme *nvme, int n)
{
	return nvme->memory.iova + (uint64_t)n * PBT_NVME_PAGE;
}

/* Use these pages as queues[@q]. */
static void set_queues(struct nvme *nvme, unsigned int q, int sq, int cq)
{
	struct pbt_nvme_queues *queues = &nvme->controller.queues[q];

	queues->sq = (struct pbt_nvme_command *)page(nvme, sq);
	queues->sq_iova = page_iova(nvme, sq);
	queues->cq = (struct pbt_nvme_completion *)page(nvme, cq);
	queues->cq_iova = page_iova(nvme, cq);
	pbt_nvme_clear_queues(&nvme->controller, q);
}

static int make_queue(struct nvme *nvme, uint8_t opcode, int memory, uint32_t dw11)
{
	struct pbt_nvme_command c = { .opcode = opcode,
				      .prp1 = page_iova(nvme, memory),
				      .dw10 = (PBT_NVME_ENTRIES - 1) << 16 | 1,
				      .dw11 = dw11 };

	return pbt_nvme_submit(&nvme->controller, 0, &c);
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
	struct pbt_nvme_command identify = { .opcode = PBT_NVME_IDENTIFY, .nsid = 1 };
	uint8_t *data;
	int ret;

	memset(nvme, 0, sizeof(*nvme));
	ret = pbt_nvme_open(&nvme->controller, device, err);
	if (ret)
		return ret;
	lab_memory(ioas, 0, (PAGES * PBT_NVME_PAGE + PAGE - 1) / PAGE * PAGE, &nvme->memory);
	set_queues(nvme, 0, ASQ, ACQ);
	set_queues(nvme, 1, SQ, CQ);
	ret = pbt_nvme_enable(&nvme->controller, err);
	if (ret)
		return ret;
	ret = make_queue(nvme, ADMIN_CREATE_CQ, CQ, 1);
	if (!ret)
		ret = make_queue(nvme, ADMIN_CREATE_SQ, SQ, 1 << 16 | 1);
	if (ret)
		return failed(err, "the NVMe controller makes no I/O queues", ret);
	identify.prp1 = page_iova(nvme, DATA);
	ret = pbt_nvme_submit(&nvme->controller, 0, &identify);
	if (ret)
		return failed(err, "the NVMe controller does not identify its namespace", ret);
	data = page(nvme, DATA);
	/* The LBA data size of the format in use. */
	nvme->block = 1u << data[128 + 4 * (data[26] & 0xf) + 2];
	return 0;
}

void nvme_stop(struct nvme *nvme)
{
	if (!nvme->controller.mmio)
		return;
	pbt_nvme_close(&nvme->controller);
	lab_memory_free(&nvme->memory);
}

static int transfer(struct nvme *nvme, uint8_t opcode, uint64_t at, uint64_t iova, size_t length)
{
	struct pbt_nvme_command c = { .opcode = opcode, .nsid = 1, .prp1 = iova };
	uint64_t lba = at / nvme->block;
	uint64_t *list = (uint64_t *)page(nvme, PRP_LIST);
	size_t i, pages = (length + PBT_NVME_PAGE - 1) / PBT_NVME_PAGE;

	if (!length || length > NVME_MAX || length % nvme->block || at % nvme->block ||
	    iova % PBT_NVME_PAGE)
		lab_die("an NVMe transfer of 0x%zx bytes at 0x%llx is none", length,
			(unsigned long long)at);
	if (pages == 2) {
		c.prp2 = iova + PBT_NVME_PAGE;
	} else if (pages > 2) {
		for (i = 1; i < pages; i++)
			list[i - 1] = iova + i * PBT_NVME_PAGE;
		c.prp2 = page_iova(nvme, PRP_LIST);
	}
	c.dw10 = (uint32_t)lba;
	c.dw11 = (uint32_t)(lba >> 32);
	c.dw12 = (uint32_t)(length / nvme->block - 1);
	return pbt_nvme_submit(&nvme->controller, 1, &c);
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
	struct pbt_nvme_command c = { .opcode = opcode, .prp1 = iova, .dw10 = FEATURE_TIMESTAMP };

	return pbt_nvme_submit(&nvme->controller, 0, &c);
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
