/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Dma-bufs of the kernel's other exporters; each returns a descriptor, or ends the test. */
#ifndef FOREIGN_H
#define FOREIGN_H

#include <stddef.h>

int foreign_udmabuf(size_t size);
int foreign_system_heap(size_t size);
/* of a GPU driver that never moves, but its exporter is called "drm", as those that do: not in the table of models */
int foreign_vgem(size_t size);

#endif
