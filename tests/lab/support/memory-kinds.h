/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Memory of every kind, registered with the verbs device, so that the tests of memory and of
 * revocation can iterate over the kinds. The contents are checked without the verbs device, and for
 * the GPU's BAR in the host's view.
 */
#ifndef MEMORY_KINDS_H
#define MEMORY_KINDS_H

#include "verbs.h"

enum kind {
	HOST,	 /* memory of the process */
	BAR,	 /* a range of the GPU's BAR, exported by the driver that the fixture bound */
	PARTS,	 /* several ranges of the BAR in one buffer, out of order */
	UDMABUF, /* the kernel's udmabuf */
	HEAP,	 /* the kernel's system heap */
	CMB,	 /* the controller memory buffer of an NVMe, exported by stock vfio-pci */
	PINNED,	 /* the test module's, like REVOCABLE; several ranges */
	REVOCABLE,
	DYNAMIC, /* likewise; registering it pins it */
	NR_KINDS
};

struct place {
	enum kind kind;
	struct mem mem;		  /* .addr for verbs; .p for the CPU, NULL if it cannot access
				   * the memory */
	int fd;			  /* of the dma-buf; -1 for HOST */
	struct pb_buffer *buffer; /* of BAR, PARTS and CMB */
	struct pb_range ranges[4];
	unsigned int nr_ranges;
	struct pb_device *device; /* of CMB */
	int exporter;		  /* of PINNED, REVOCABLE and DYNAMIC */
};

const char *kind_name(enum kind kind);

/* Map the GPU's BAR into this process, in a checked fixture, after the common fixture. */
void places_up(void);
void places_down(void);

/*
 * Allocate @size bytes: a multiple of 256 KiB, at most 64 MiB. @slot, 0 to 2, separates places of
 * one kind. Does not register the memory.
 */
void place_make(struct place *place, enum kind kind, size_t size, unsigned int slot);
/* Register all of it, at an arbitrary address. */
void place_register(struct place *place, struct end *end, int access);
/* Register a part of it: 0, or the errno. */
int part_register(struct place *place, struct end *end, size_t offset, size_t length, uint64_t iova,
		  int access, struct ibv_mr **mr);
void place_close(struct place *place);
void place_write(struct place *place, size_t offset, const void *data, size_t length);
void place_read(struct place *place, size_t offset, void *data, size_t length);
void place_fill(struct place *place, uint8_t byte);
bool place_has(struct place *place, size_t offset, const void *data, size_t length);

/* Return the number of a dma-buf's importers. */
unsigned int importers(int fd);

#endif
