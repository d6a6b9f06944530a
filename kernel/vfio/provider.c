// SPDX-License-Identifier: GPL-2.0
/*
 * The physical ranges of a BAR and its P2P provider. Builds without PCI_P2PDMA; then there is no
 * provider.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/overflow.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include "vfio.h"

static int peerbar_vfio_fill_ranges(struct vfio_pci_core_device *vdev,
				    struct p2pdma_provider **provider, unsigned int region,
				    struct phys_vec *vec, struct vfio_region_dma_range *ranges,
				    size_t nr)
{
	phys_addr_t start = pci_resource_start(vdev->pdev, region);
	u64 size = pci_resource_len(vdev->pdev, region);
	size_t i;

	if (PEERBAR_OVERLAY)
		return vfio_pci_core_get_dmabuf_phys(vdev, provider, region, vec, ranges, nr);
	*provider = NULL;
	for (i = 0; i < nr; i++) {
		u64 end;

		if (!ranges[i].length) {
			pci_dbg(vdev->pdev, "cannot export: range %zu is empty\n", i);
			return -EINVAL;
		}
		if (check_add_overflow(ranges[i].offset, ranges[i].length, &end)) {
			pci_dbg(vdev->pdev, "cannot export: range %zu wraps around\n", i);
			return -EOVERFLOW;
		}
		if (end > size) {
			pci_dbg(vdev->pdev,
				"cannot export: range %zu ends at 0x%llx, and BAR%u at 0x%llx\n", i,
				end, region, size);
			return -EINVAL;
		}
		vec[i].paddr = start + ranges[i].offset;
		vec[i].len = ranges[i].length;
	}
	return 0;
}

/* Called by the core when it exports; keep a copy of the result in @wanted. */
int peerbar_vfio_get_dmabuf_phys(struct vfio_pci_core_device *vdev,
				 struct p2pdma_provider **provider, unsigned int region,
				 struct phys_vec *vec, struct vfio_region_dma_range *ranges,
				 size_t nr)
{
	struct peerbar_ranges *wanted = to_peerbar_vfio(&vdev->vdev)->wanted;
	int ret;

	ret = peerbar_vfio_fill_ranges(vdev, provider, region, vec, ranges, nr);
	if (ret)
		return ret;
	wanted->vec = kvmalloc_objs(*wanted->vec, nr, GFP_KERNEL_ACCOUNT);
	if (!wanted->vec)
		return -ENOMEM;
	memcpy(wanted->vec, vec, array_size(nr, sizeof(*vec)));
	wanted->nr = nr;
	wanted->region = region;
	wanted->provider = *provider;
	return 0;
}
