/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The bench of the tests of guests: two devices that are assigned, the GPU and the NVMe with a controller memory buffer, every page of
 * whose memory has a stamp; and an NVMe that reads stamps by DMA, so that it is known which page an address reaches. The test is the
 * VMM, and its guest.
 */
#ifndef GUEST_H
#define GUEST_H

#include "fixture.h"

#define SPACE 0x1000000000ULL /* 64 GiB: where guests put their BARs, far from what the bench has mapped */

/* an assigned device */
struct assigned {
	enum lab_role role;
	unsigned int number; /* in its stamps */
	unsigned int bar; /* whose pages are stamped */
	uint64_t size; /* of that BAR */
	struct pb_device *device;
	struct pb_guest_device *guest_device;
};

extern struct pb_guest *guest;
extern struct assigned vga, cmb; /* the GPU, and the other */
extern struct nvme engine;

/* for test cases */
void guest_up(void);
void guest_down(void);
/* the same with our driver below it, and its modules loaded */
void guest_ours_up(void);
void guest_ours_down(void);

/* give a device to the guest, and take it away */
void assign(struct assigned *a);
void unassign(struct assigned *a);
/* the stamp of a page */
uint64_t stamp(const struct assigned *a, uint64_t page);
/* write all stamps; decoding is off afterwards */
void write_stamps(struct assigned *a);

/* what the guest does, and what a VMM makes of it, in the order in which the library wants it */
void guest_bar(struct assigned *a, uint64_t address);
void guest_decoding(struct assigned *a, bool on);
void guest_reset(struct assigned *a);

/* the stamp that DMA finds at an address; 0 if none. The faults of that are for the caller to announce. */
uint64_t peek(uint64_t iova);
/* that DMA finds the page there without a fault; that it finds nothing and faults, which is announced */
void reaches(uint64_t iova, const struct assigned *a, uint64_t page);
void faults_at(uint64_t iova);

#endif
