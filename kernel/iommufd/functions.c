// SPDX-License-Identifier: GPL-2.0
/*
 * The PCI functions that will access a bridged dma-buf.
 *
 * A caller proves that it controls a function by a descriptor of the iommufd that the function is
 * bound to: it is the descriptor by which memory is mapped for the function. A descriptor of the
 * VFIO device does not allow that by itself.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "iommufd.h"

void peerbar_functions_put(struct peerbar_functions *functions)
{
	while (functions->nr)
		pci_dev_put(functions->dev[--functions->nr]);
}

#if IS_ENABLED(CONFIG_IOMMUFD)

MODULE_IMPORT_NS("IOMMUFD");

static bool peerbar_is_bound(struct pci_dev *pdev, struct iommufd_ctx *ictx)
{
	struct iommu_group *group = iommu_group_get(&pdev->dev);
	bool bound;

	if (!group)
		return false;
	bound = iommufd_ctx_has_group(ictx, group);
	iommu_group_put(group);
	return bound;
}

/* VFIO without an IOMMU has a group, too, but no IOMMU driver. */
static bool peerbar_has_iommu(struct pci_dev *pdev)
{
	return device_iommu_mapped(&pdev->dev) && pdev->dev.iommu;
}

static int peerbar_get_named(struct peerbar_functions *functions, struct iommufd_ctx *ictx,
			     struct peerbar_bridge *request)
{
	const struct peerbar_bridge_function __user *user = u64_to_user_ptr(request->functions);
	struct peerbar_bridge_function function;
	struct device *dev;
	unsigned int i;

	for (i = 0; i < request->nr_functions; i++) {
		if (copy_from_user(&function, &user[i], sizeof(function)))
			return -EFAULT;
		function.name[sizeof(function.name) - 1] = '\0';
		strscpy(request->function, function.name);
		dev = bus_find_device_by_name(&pci_bus_type, NULL, function.name);
		if (!dev)
			return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_NOT_BOUND, -ENODEV);
		functions->dev[functions->nr++] = to_pci_dev(dev);
		if (!peerbar_has_iommu(to_pci_dev(dev)))
			return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_NO_IOMMU, -EOPNOTSUPP);
		if (!peerbar_is_bound(to_pci_dev(dev), ictx))
			return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_NOT_BOUND, -ENODEV);
	}
	return 0;
}

/* All functions of the groups that are bound to the iommufd, except bridges and those unused. */
static int peerbar_get_bound(struct peerbar_functions *functions, struct iommufd_ctx *ictx,
			     struct peerbar_bridge *request)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		if (pdev->hdr_type != PCI_HEADER_TYPE_NORMAL || !READ_ONCE(pdev->dev.driver) ||
		    !peerbar_is_bound(pdev, ictx))
			continue;
		if (functions->nr == ARRAY_SIZE(functions->dev)) {
			pci_dev_put(pdev);
			return -E2BIG;
		}
		functions->dev[functions->nr++] = pci_dev_get(pdev);
	}
	return functions->nr ? 0 : peerbar_refuse(request, PEERBAR_BRIDGE_WHY_NO_FUNCTION, -ENODEV);
}

int peerbar_functions_get(struct peerbar_functions *functions, struct peerbar_bridge *request)
{
	struct iommufd_ctx *ictx;
	int ret;

	functions->nr = 0;
	if (request->nr_functions > PEERBAR_BRIDGE_FUNCTIONS)
		return -E2BIG;
	ictx = iommufd_ctx_from_fd(request->iommufd);
	if (IS_ERR(ictx))
		return PTR_ERR(ictx);
	if (request->nr_functions)
		ret = peerbar_get_named(functions, ictx, request);
	else
		ret = peerbar_get_bound(functions, ictx, request);
	iommufd_ctx_put(ictx);
	request->nr_functions = functions->nr;
	if (!ret)
		strscpy(request->function, pci_name(functions->dev[0]));
	return ret;
}

#else

int peerbar_functions_get(struct peerbar_functions *functions, struct peerbar_bridge *request)
{
	functions->nr = 0;
	return -EOPNOTSUPP;
}

#endif

int peerbar_functions_check_p2p(const struct peerbar_functions *functions, struct pci_dev *owner,
				struct peerbar_bridge *request)
{
	struct device *client;
	unsigned int i;

	for (i = 0; i < functions->nr; i++) {
		client = &functions->dev[i]->dev;
		/* Not verbose: any user can cause this. */
		if (pci_p2pdma_distance_many(owner, &client, 1, false) >= 0)
			continue;
		strscpy(request->function, dev_name(client));
		return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_P2P, -EOPNOTSUPP);
	}
	return 0;
}
