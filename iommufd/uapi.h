/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The kernel's iommufd interface, with definitions that the installed headers may lack. */
#ifndef PB_UAPI_H
#define PB_UAPI_H

#include <linux/iommufd.h>
#include <linux/types.h>

#include "vfio-uapi.h"

/* Linux 6.13; Debian 13 has the headers of 6.12 */
#ifndef IOMMU_IOAS_MAP_FILE
#define IOMMU_IOAS_MAP_FILE _IO(IOMMUFD_TYPE, 0x8f)

struct iommu_ioas_map_file {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__s32 fd;
	__aligned_u64 start;
	__aligned_u64 length;
	__aligned_u64 iova;
};
#endif

#endif
