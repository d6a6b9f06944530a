/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The fixture of the suite rdma-demand: a connected pair, host memory, and buffers of
 * the test module that move.
 */
#ifndef DEMAND_FIXTURE_H
#define DEMAND_FIXTURE_H

#include "testmod.h"
#include "verbs.h"

#define SIZE	  MIB
#define ON_DEMAND IBV_ACCESS_ON_DEMAND

/* A DYNAMIC buffer of several ranges. Its region is in mem.mr. */
struct moving {
	int exporter;
	int fd;
	struct mem mem;
};

/* Host memory of pair.a, registered in its domain. */
extern struct mem demand_host;

void demand_up(void);
void demand_down(void);
/* Only the pair and the host memory, without the devices of modules_up(). */
void demand_ends_up(void);
void demand_ends_down(void);

void moving_make(struct moving *m, enum peerbar_test_source source);
/* Register all of it with pair.b's domain, or fail the test. */
void moving_register(struct moving *m, int access);
void moving_close(struct moving *m);
/* Move it to its other place: 0, or -errno. */
int moving_move(struct moving *m);
bool moving_has(struct moving *m, enum peerbar_test_place place, size_t offset, const void *data,
		size_t length);
bool moving_is_poisoned(struct moving *m, enum peerbar_test_place place);
/* Write a pattern to it over the pair, and check that it arrives where the buffer is. */
void moving_works(struct moving *m, uint32_t seed);
/* The number of its DMA mappings. */
unsigned int moving_maps(struct moving *m);
/* The value of a counter of the device. */
uint64_t counter(const char *name);

#endif
