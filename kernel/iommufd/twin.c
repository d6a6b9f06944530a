// SPDX-License-Identifier: GPL-2.0
/*
 * Twins: devices to attach to a dma-buf with, instead of the function that will do the DMA.
 *
 * iommufd needs physical addresses, and an exporter returns DMA addresses of the attached device.
 * For a function that a user owns, these are addresses of its default domain, which no module can
 * look up. A twin has the place of the function in the PCI topology, so that exporters find the
 * same path for P2P, but no IOMMU: its DMA addresses are physical addresses. A child device of the
 * function would have these too, but pci_p2pdma_map_type() accepts PCI functions only.
 *
 * A twin is not registered, has no driver, and never does DMA.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "iommufd.h"

/**
 * struct peerbar_twin - a device at the place of a function
 * @pdev: the device; not registered
 * @function: the function, with a reference, which keeps its bus
 */
struct peerbar_twin {
	struct pci_dev pdev;
	struct pci_dev *function;
};

static void peerbar_twin_release(struct device *dev)
{
	struct peerbar_twin *twin = container_of(to_pci_dev(dev), struct peerbar_twin, pdev);

	pci_dev_put(twin->function);
	kfree(twin);
}

/* Copy what describes the function and its place. */
static void peerbar_twin_place(struct pci_dev *pdev, struct pci_dev *function)
{
	pdev->bus = function->bus;
	pdev->sysdata = function->sysdata;
	pdev->devfn = function->devfn;
	pdev->vendor = function->vendor;
	pdev->device = function->device;
	pdev->subsystem_vendor = function->subsystem_vendor;
	pdev->subsystem_device = function->subsystem_device;
	pdev->class = function->class;
	pdev->revision = function->revision;
	pdev->hdr_type = function->hdr_type;
	pdev->pcie_cap = function->pcie_cap;
	pdev->pcie_flags_reg = function->pcie_flags_reg;
	pdev->acs_cap = function->acs_cap;
	pdev->cfg_size = function->cfg_size;
	pdev->error_state = pci_channel_io_normal;
	pdev->current_state = PCI_D0;
#ifdef CONFIG_PCI_ATS
	pdev->is_virtfn = function->is_virtfn;
	pdev->physfn = function->physfn;
#endif
}

static void peerbar_twin_set_dma(struct pci_dev *pdev)
{
	struct device *dev = &pdev->dev;

	pdev->dma_mask = DMA_BIT_MASK(64);
	dev->dma_mask = &pdev->dma_mask;
	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	dev->dma_parms = &pdev->dma_parms;
	dma_set_max_seg_size(dev, UINT_MAX);
	dma_set_seg_boundary(dev, ULONG_MAX);
}

struct device *peerbar_twin_create(struct pci_dev *function)
{
	struct peerbar_twin *twin = kzalloc_obj(*twin, GFP_KERNEL_ACCOUNT);
	struct device *dev;
	int ret;

	if (!twin)
		return ERR_PTR(-ENOMEM);
	twin->function = pci_dev_get(function);
	dev = &twin->pdev.dev;
	device_initialize(dev);
	dev->release = peerbar_twin_release;
	dev->bus = &pci_bus_type;
	set_dev_node(dev, dev_to_node(&function->dev));
	peerbar_twin_place(&twin->pdev, function);
	peerbar_twin_set_dma(&twin->pdev);
	/* Operations of the platform would return other addresses than physical ones. */
	ret = get_dma_ops(dev) ? -EOPNOTSUPP : dev_set_name(dev, "%s", pci_name(function));
	if (ret) {
		put_device(dev);
		return ERR_PTR(ret);
	}
	return dev;
}
