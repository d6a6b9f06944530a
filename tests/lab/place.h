/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Memory of every kind, registered with the verbs device: the tests of memory and of revocation do the same with all of them.
 * What is in a place is looked at without the verbs device, and where it is the GPU's BAR, from the host.
 */
#ifndef PLACE_H
#define PLACE_H

#include "verbs.h"

enum kind {
	HOST,	 /* memory of the process */
	BAR,	 /* a range of the GPU's BAR, exported by whichever driver the bench has it on */
	PARTS,	 /* several ranges of it in one buffer, in no order */
	UDMABUF, /* the kernel's udmabuf */
	HEAP,	 /* the kernel's system heap */
	CMB,	 /* the controller memory buffer of an NVMe, exported by stock vfio-pci */
	PINNED,	 /* of the test module, in several pieces */
	REVOCABLE,
	NR_KINDS
};

struct place {
	enum kind kind;
	struct mem mem;		  /* .addr is what verbs know it by, .p what the CPU does, if that can */
	int fd;			  /* of the dma-buf; -1 for HOST */
	struct pb_buffer *buffer; /* for those that we exported */
	struct pb_range ranges[4];
	unsigned int nr_ranges;
	struct pb_device *device; /* of CMB */
	int exporter;		  /* of the test module */
};

const char *kind_name(enum kind kind);

/* the GPU's BAR in this process; for the checked fixture, after the bench */
void places_up(void);
void places_down(void);

/*
 * @size bytes, a multiple of 256 KiB, at most 64 MiB; @slot 0 to 2 keeps those of one kind apart. The memory is not registered
 * yet.
 */
void place_make(struct place *place, enum kind kind, size_t size, unsigned int slot);
/* a region of all of it; the address that it has there begins anywhere */
void place_register(struct place *place, struct end *end, int access);
/* a region of a part of it: 0, or the errno */
int part_register(struct place *place, struct end *end, size_t offset, size_t length, uint64_t iova, int access,
		  struct ibv_mr **mr);
void place_close(struct place *place);
void place_write(struct place *place, size_t offset, const void *data, size_t length);
void place_read(struct place *place, size_t offset, void *data, size_t length);
void place_fill(struct place *place, uint8_t byte);
bool place_has(struct place *place, size_t offset, const void *data, size_t length);

/* how many importers of a dma-buf there are */
unsigned int importers(int fd);

#endif
