/* SPDX-License-Identifier: GPL-2.0 */
/* Interfaces between the files of peerbar-iommufd, lowest layer first, as in the core's core.h. */
#ifndef _PEERBAR_IOMMUFD_H
#define _PEERBAR_IOMMUFD_H

#include <linux/pci.h>

#include "peerbar_kapi.h"

struct dma_buf;
struct sg_table;

/* shim.c: both do nothing but fail on a kernel without the shim's requirements */
int peerbar_shim_init(void);
void peerbar_shim_exit(void);

/**
 * struct peerbar_functions - PCI functions that will access a dma-buf by DMA
 * @nr: number of elements of @dev
 * @dev: the functions, with a reference each
 */
struct peerbar_functions {
	unsigned int nr;
	struct pci_dev *dev[PEERBAR_BRIDGE_FUNCTIONS];
};

/* functions.c: set the reason of a failure in @request; put the functions after a failure, too */
int peerbar_functions_get(struct peerbar_functions *functions, struct peerbar_bridge *request);
void peerbar_functions_put(struct peerbar_functions *functions);
int peerbar_functions_check_p2p(const struct peerbar_functions *functions, struct pci_dev *owner,
				struct peerbar_bridge *request);

/* twin.c: a device at @function's place, whose DMA addresses are physical; put by put_device() */
struct device *peerbar_twin_create(struct pci_dev *function);

/**
 * struct peerbar_memory - the physical ranges of a dma-buf
 * @owner: the PCI function in whose BAR they are, with a reference
 * @bar: the BAR
 * @nr: number of ranges
 * @vec: the ranges; allocated with kvmalloc()
 */
struct peerbar_memory {
	struct pci_dev *owner;
	unsigned int bar;
	unsigned int nr;
	struct phys_vec *vec;
};

/*
 * memory.c: resolve the DMA addresses of a twin; put the memory after a failure, too. Sets the
 * reason of a failure in @request.
 */
int peerbar_memory_get(struct peerbar_memory *memory, struct sg_table *sgt, size_t size,
		       struct peerbar_bridge *request);
void peerbar_memory_put(struct peerbar_memory *memory);

/*
 * import.c: import a dma-buf for the functions, and make a buffer of each of its ranges, whose
 * number is in request->nr_ranges. Returns an array of the buffers, whose references belong to the
 * caller, to be freed with kvfree(); or ERR_PTR. Sets the reason of a failure in @request.
 */
struct peerbar_buffer **peerbar_import(struct dma_buf *dmabuf,
				       const struct peerbar_functions *functions,
				       struct peerbar_bridge *request);

/* request.c */
extern const struct peerbar_bridge_ops peerbar_iommufd_bridge_ops;

/* Record why a request fails. Return @ret. */
static inline int peerbar_refuse(struct peerbar_bridge *request, enum peerbar_bridge_reason reason,
				 int ret)
{
	request->reason = reason;
	return ret;
}

#endif
