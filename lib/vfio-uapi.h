/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel's VFIO interface, with definitions that the installed headers may lack. Numbers and
 * layouts are those of include/uapi/linux/vfio.h of Linux 7.2.
 */
#ifndef PB_VFIO_UAPI_H
#define PB_VFIO_UAPI_H

#include <linux/pci_regs.h>
#include <linux/types.h>
#include <linux/vfio.h>

#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF 11

struct vfio_region_dma_range {
	__u64 offset;
	__u64 length;
};

struct vfio_device_feature_dma_buf {
	__u32 region_index;
	__u32 open_flags;
	__u32 flags;
	__u32 nr_ranges;
	struct vfio_region_dma_range dma_ranges[];
};
#endif

#endif
