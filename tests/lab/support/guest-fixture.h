/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The fixture of the tests of guests. Two devices are assigned: the GPU, and the NVMe with a
 * controller memory buffer. Every page of their memory has a stamp. Another NVMe reads stamps by
 * DMA, which shows the page that an address reaches. The test is both the VMM and its guest.
 */
#ifndef GUEST_FIXTURE_H
#define GUEST_FIXTURE_H

#include "fixture.h"

#define GIB (1024 * MIB)
#define SPACE \
	0x1000000000ULL /* 64 GiB: where guests put their BARs, far from the fixture's
			       * mappings */

/* An assigned device. */
struct assigned {
	enum lab_role role;
	unsigned int number; /* in its stamps */
	unsigned int bar;    /* the BAR with the stamps */
	uint64_t size;	     /* of that BAR */
	struct pb_device *device;
	struct pb_guest_device *guest_device;
};

extern struct pb_guest *guest;
extern struct assigned vga, cmb; /* the GPU; the NVMe with a CMB */
extern struct nvme engine;

/* Set up and tear down the fixture. */
void guest_up(void);
void guest_down(void);
/* The same with peerbar-vfio-pci, and its modules loaded. */
void guest_modules_up(void);
void guest_modules_down(void);

/* Assign a device to the guest, and take it away. */
void assign(struct assigned *a);
void unassign(struct assigned *a);
/* Return the stamp of a page. */
uint64_t stamp(const struct assigned *a, uint64_t page);
/* Write all stamps. Leaves decoding off. */
void write_stamps(struct assigned *a);

/*
 * The guest's accesses, and the library calls of the VMM, in the order that the library requires.
 */
void guest_bar(struct assigned *a, uint64_t address);
void guest_decoding(struct assigned *a, bool on);
void guest_reset(struct assigned *a);

/* Return the stamp that DMA reads at an address, or 0. The caller must declare the faults. */
uint64_t peek(uint64_t iova);
/*
 * Check that DMA reaches the page without a fault; that DMA reads nothing and faults. The latter
 * declares the faults.
 */
void reaches(uint64_t iova, const struct assigned *a, uint64_t page);
void faults_at(uint64_t iova);

/* Set a BAR's address and turn decoding on. */
void place(struct assigned *a, uint64_t address);
/* Synchronize the guest, and check that @refused ranges are refused then. */
void synced(struct pb_guest *g, unsigned int flags, unsigned int refused);
/* Check how many changes pb_guest_check() finds. */
void check_finds(struct pb_guest *g, unsigned int n);
/* Return whether the guest's descriptor is readable within @timeout milliseconds. */
bool something_to_do(int timeout);
/* Check that the guest has no report, and that its descriptor is quiet. */
void nothing_to_report(void);
/* Check that the next report has this state, errno and message. */
void reported(const struct assigned *a, enum pb_guest_state state, int code, const char *words);
/* Sum up the stamped BAR's ranges in this state in the list, which must cover the BAR. */
uint64_t listed(const struct assigned *a, enum pb_guest_state state);

#endif
