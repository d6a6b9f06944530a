/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The fixture of the suite rdma-revoke: a connected pair, memory of the process to copy from, and
 * the ways to revoke a buffer.
 */
#ifndef REVOKE_FIXTURE_H
#define REVOKE_FIXTURE_H

#include "memory-kinds.h"

/* Tests compare all of it with the host's view: on the debug kernel a MiB takes seconds. */
#define SIZE	 (lab_kernel_is("debug") ? 256 * KIB : MIB)
/* The offset in the GPU's BAR, by slot. */
#define AT(slot) (64 * MIB * (slot))

extern struct place host; /* memory of the process, registered in both ends' domains */
extern struct mem host_b;

/* With peerbar-vfio-pci, and with stock vfio-pci. */
void revoke_up(void);
void revoke_down(void);
void stock_up(void);
void stock_down(void);

/* ---- ways to revoke ---- */

enum how { KILL, DECODING, RESET, RESET_BY_SYSFS, NR_HOW };

extern const char *const how_names[NR_HOW];

bool is_reset(enum how how);
/*
 * A reset is not possible everywhere. Stock vfio-pci has no permanent revoke, and does not revoke
 * buffers at a reset that it did not start.
 */
bool can(enum how how);
void take_away(struct place *place, enum how how);
void give_back(enum how how);

/* ---- checks ---- */

/* Check that the end is in the error state, and that new work is flushed. */
void in_error(struct end *end);
void works(struct place *place, uint32_t seed);

#endif
