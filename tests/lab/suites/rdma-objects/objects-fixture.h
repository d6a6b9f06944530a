/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The fixture of the suite rdma-objects, which tests the objects of the verbs device: their memory
 * charges, their limits, their teardown, and the process that owns them.
 */
#ifndef OBJECTS_FIXTURE_H
#define OBJECTS_FIXTURE_H

#include "verbs.h"

/* Connect the pair. */
void objects_up(void);
void objects_down(void);

/* Build a write of 64 bytes from pair.a to pair.b. */
struct ibv_send_wr write_to_b(uint64_t id, struct ibv_sge *from);
/* Return the nanoseconds of a monotonic clock. */
uint64_t now_ns(void);

#endif
