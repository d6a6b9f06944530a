/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Dma-bufs of the kernel's other exporters. Each function returns a descriptor, or exits. */
#ifndef KERNEL_EXPORTERS_H
#define KERNEL_EXPORTERS_H

#include <stdbool.h>
#include <stddef.h>

int export_udmabuf(size_t size);
/* A udmabuf if the kernel has no heaps: Debian's for arm64 has none. */
int export_system_heap(size_t size);
bool has_system_heap(void);
/*
 * vgem never moves its buffers, but its exporter's name is "drm", as of drivers that do. It is not
 * in the table of models.
 */
int export_vgem(size_t size);

#endif
