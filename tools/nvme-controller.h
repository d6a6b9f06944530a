/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * An NVMe controller as a DMA engine, driven from user space by polling. Names of registers and
 * fields are those of the NVMe base specification.
 *
 * Functions that return an int return 0 or -errno, with a sentence in @err, unless noted.
 */
#ifndef PBT_NVME_CONTROLLER_H
#define PBT_NVME_CONTROLLER_H

#include <stddef.h>
#include <stdint.h>

#include "peerbar.h"

#define PBT_NVME_CLASS	 0x010802
#define PBT_NVME_PAGE	 4096
#define PBT_NVME_ENTRIES 16 /* of each queue */

#define PBT_NVME_IDENTIFY   0x06
#define PBT_NVME_CONTROLLER 1 /* dw10 of Identify: the controller, 4096 bytes */

struct pbt_nvme_command {
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

struct pbt_nvme_completion {
	uint32_t result;
	uint32_t reserved;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t id;
	uint16_t status; /* bit 0 is the phase */
};

/* A pair of queues, each of at most a page. The caller sets the first four. */
struct pbt_nvme_queues {
	struct pbt_nvme_command *sq;
	struct pbt_nvme_completion *cq;
	uint64_t sq_iova;
	uint64_t cq_iova;
	unsigned int tail;
	unsigned int head;
	unsigned int phase;
};

struct pbt_nvme {
	struct pb_device *device;
	volatile uint8_t *mmio;
	size_t mmio_size;
	uint32_t command_set; /* CC.CSS */
	uint32_t db_stride;
	unsigned int ready_ms; /* CAP.TO: how long enabling and disabling may take */
	uint16_t next_id;
	struct pbt_nvme_queues queues[2]; /* admin, I/O */
};

/* Map the registers of @device, and disable the controller. */
int pbt_nvme_open(struct pbt_nvme *nvme, struct pb_device *device, struct pb_error *err);
/*
 * Let it do DMA, and enable it with the admin queues queues[0]. It must be attached to the address
 * space of their addresses.
 */
int pbt_nvme_enable(struct pbt_nvme *nvme, struct pb_error *err);
/* Prepare queues[@q] for a controller that knows none of them yet. */
void pbt_nvme_clear_queues(struct pbt_nvme *nvme, unsigned int q);
/* Disable it. It does no DMA afterwards, even on failure. */
int pbt_nvme_disable(struct pbt_nvme *nvme, struct pb_error *err);
/* The same, and unmap the registers. */
void pbt_nvme_close(struct pbt_nvme *nvme);

/*
 * Submit @command to queues[@q] and wait for its completion, 10 s at most. Returns 0, the NVMe
 * status (positive) if the command failed, -ETIMEDOUT, -EIO if the controller reports a fatal
 * status, or -ENODEV if it does not answer. No sentence.
 */
int pbt_nvme_submit(struct pbt_nvme *nvme, unsigned int q, struct pbt_nvme_command *command);
/* The same for a command that the caller has written to the next entry of the submission queue. */
int pbt_nvme_ring(struct pbt_nvme *nvme, unsigned int q);

/* Write a sentence to @err, which may be NULL. Returns -@code. */
int pbt_fail(struct pb_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
