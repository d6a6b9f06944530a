/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The lab's GPU with a driver of its own: dma-bufs in its BAR 2 that move, migrate and are pinned as
 * those of GPU drivers. kernel/test/peerbar_test.h describes them (VRAM).
 */
#ifndef VRAM_H
#define VRAM_H

#include "lab.h"
#include "testmod.h"

/*
 * Load the test modules and bind the GPU to the driver; unbind it. It can be bound to another
 * driver at any time, which revokes the dma-bufs.
 */
void vram_up(void);
void vram_down(void);

/* The exporter's descriptor, between vram_up() and vram_down() */
extern int vram_exporter;

/* Where vram_export() puts the dma-buf: the offsets of the places in the BAR */
#define VRAM_A (16 * MIB)
#define VRAM_B (128 * MIB)

/* Export @length contiguous bytes: place A at VRAM_A, B at VRAM_B. Exit on failure. */
int vram_export(unsigned int flags, uint64_t length);
/*
 * Export @n segments of 64 KiB to 2 MiB, in no order of their addresses, which are all different.
 * @segments has @n elements, or is NULL. Places A are in the lower half of the BAR, at most 64.
 */
int vram_export_scattered(unsigned int flags, unsigned int n,
			  struct peerbar_test_vram_segment *segments);
/* The place that is in use, and the offset in the BAR of byte @offset; PEERBAR_TEST_NO_BAR */
enum peerbar_test_place vram_place(int fd);
uint64_t vram_bar_offset(int fd, uint64_t offset);
/* Return whether the host sees these bytes of the dma-buf in the BAR, where it is now. */
bool vram_host_sees(int fd, uint64_t offset, const void *bytes, size_t length);

#endif
