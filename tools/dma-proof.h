/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Prove by DMA of an NVMe controller that a function reaches the memory of another one. */
#ifndef PBT_DMA_PROOF_H
#define PBT_DMA_PROOF_H

#include "nvme-controller.h"

/* A controller with its admin queues in memory of this process. */
struct pbt_engine {
	struct pbt_nvme nvme;
	void *memory;
	struct pb_mapping *mapping;
	uint8_t identity[PBT_NVME_PAGE]; /* the data of Identify Controller, written to memory */
};

/* The page of a BAR that is accessed, and its address for the controller. */
struct pbt_dma_page {
	struct pb_device *device;
	unsigned int bar;
	uint64_t offset;
	uint64_t iova;
};

/*
 * Each function returns 0 or -errno, with a sentence in @err.
 *
 * Reset the controller @device, which is attached to @ioas, and let it write to memory.
 */
int pbt_engine_start(struct pbt_engine *engine, struct pb_device *device, struct pb_ioas *ioas,
		     struct pb_error *err);
/* Disable it: it does no DMA afterwards. Also after a failure of pbt_engine_start(). */
void pbt_engine_stop(struct pbt_engine *engine);

/*
 * Let the controller write the page, and check the bytes. Then it does no DMA any more, and the old
 * bytes are written back. Fails with -ENXIO if the page is no memory, -ENODEV if memory decoding of
 * its function is off, -EIO or -ETIMEDOUT if the DMA does not arrive, and -ENOTRECOVERABLE if the
 * old bytes cannot be written back.
 */
int pbt_prove_write(struct pbt_engine *engine, const struct pbt_dma_page *page,
		    struct pb_error *err);
/* The same for a read: the controller fetches a command from the page. */
int pbt_prove_read(struct pbt_engine *engine, const struct pbt_dma_page *page,
		   struct pb_error *err);

#endif
