// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Dma-bufs of the kernel's other exporters, see kernel-exporters.h. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "lab.h"

/* The same as libdrm's <drm/drm.h>, but needs no library. */
#include <drm/drm.h>
#include <drm/drm_mode.h>

int export_udmabuf(size_t size)
{
	struct udmabuf_create create = { .size = size, .flags = UDMABUF_FLAGS_CLOEXEC };
	int memfd, dev, fd;

	memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (memfd < 0 || dev < 0 || ftruncate(memfd, (off_t)size) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		lab_die("no udmabuf");
	create.memfd = (uint32_t)memfd;
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	if (fd < 0)
		lab_die("UDMABUF_CREATE failed");
	close(memfd);
	close(dev);
	return fd;
}

#define SYSTEM_HEAP "/dev/dma_heap/system"

bool has_system_heap(void)
{
	return !access(SYSTEM_HEAP, F_OK);
}

int export_system_heap(size_t size)
{
	struct dma_heap_allocation_data alloc = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev;

	if (!has_system_heap())
		return export_udmabuf(size);
	dev = open(SYSTEM_HEAP, O_RDWR | O_CLOEXEC);
	if (dev < 0 || ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &alloc))
		lab_die("no system heap");
	close(dev);
	return (int)alloc.fd;
}

static int open_vgem(void)
{
	char path[64], name[32];
	int i;

	if (system("modprobe vgem"))
		lab_die("no module vgem");
	for (i = 0; i < 64; i++) {
		struct drm_version version = { .name = name, .name_len = sizeof(name) };
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_IOCTL_VERSION, &version) && version.name_len == 4 &&
		    !memcmp(name, "vgem", 4))
			return fd;
		close(fd);
	}
	lab_die("no card of vgem");
}

int export_vgem(size_t size)
{
	struct drm_mode_create_dumb create = { .width = (uint32_t)(size / 4),
					       .height = 1,
					       .bpp = 32 };
	struct drm_prime_handle prime = { .flags = DRM_CLOEXEC | DRM_RDWR };
	int card = open_vgem();

	if (ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &create))
		lab_die("vgem allocates no buffer");
	prime.handle = create.handle;
	if (ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime))
		lab_die("vgem exports no buffer");
	close(card);
	return prime.fd;
}
