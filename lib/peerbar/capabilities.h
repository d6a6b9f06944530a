/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The capabilities of this system, and what the missing ones need. */
#ifndef PEERBAR_CAPABILITIES_H
#define PEERBAR_CAPABILITIES_H

#include <peerbar/api.h>
#include <peerbar/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum pb_capability_index - the elements of the array of pb_capabilities()
 * @PB_CAP_IOMMU: an IOMMU is on
 * @PB_CAP_IOMMUFD: /dev/iommu exists, and this process may open it
 * @PB_CAP_VFIO_CDEV: VFIO has character devices for devices
 * @PB_CAP_DMABUF: stock vfio-pci exports dma-bufs
 * @PB_CAP_P2PDMA: peers can attach to dma-bufs of BARs
 * @PB_CAP_PEERBAR: the module peerbar answers through /dev/peerbar: the model of any dma-buf
 * @PB_CAP_NETLINK: the module peerbar answers through netlink: pb_list_buffers(), pb_watch_open()
 * @PB_CAP_VFIO_PCI: the driver peerbar-vfio-pci is loaded: mmap, memory attributes, permanent
 *	revocation, cookies
 * @PB_CAP_IOMMUFD_SHIM: the module peerbar-iommufd is loaded: iommufd maps buffers of
 *	peerbar-vfio-pci
 * @PB_CAP_FTRACE: the kernel can load peerbar-iommufd
 *
 * An older library may report fewer of them.
 */
enum pb_capability_index {
	PB_CAP_IOMMU,
	PB_CAP_IOMMUFD,
	PB_CAP_VFIO_CDEV,
	PB_CAP_DMABUF,
	PB_CAP_P2PDMA,
	PB_CAP_PEERBAR,
	PB_CAP_NETLINK,
	PB_CAP_VFIO_PCI,
	PB_CAP_IOMMUFD_SHIM,
	PB_CAP_FTRACE
};

/**
 * struct pb_capability - a capability of the system
 * @name: its name, for example "iommufd"; a constant
 * @purpose: its purpose, in a few words; a constant
 * @there: the system has it
 * @missing: if not, the missing kernel option, module or permission, by name; otherwise ""
 */
struct pb_capability {
	const char *name;
	const char *purpose;
	bool there;
	char missing[200];
};

/**
 * pb_capabilities_sized() - get the present capabilities of this process on this system, and their
 * missing requirements
 * @capabilities: receives an array, indexed by &enum pb_capability_index, to be freed with free()
 * @size: sizeof(**@capabilities)
 * @nr_capabilities: receives the number of elements: all that the running library knows
 * @err: may be NULL
 *
 * Reads the kernel's symbols, which takes some hundredths of a second.
 *
 * Return: 0, also if capabilities are missing.
 */
PB_API int pb_capabilities_sized(struct pb_capability **capabilities, size_t size,
				 unsigned int *nr_capabilities, struct pb_error *err);

/** pb_capabilities() - pb_capabilities_sized() with this header's size */
static inline int pb_capabilities(struct pb_capability **capabilities,
				  unsigned int *nr_capabilities, struct pb_error *err)
{
	return pb_capabilities_sized(capabilities, sizeof(**capabilities), nr_capabilities, err);
}

/**
 * pb_module_abi() - the ABI version of the kernel module peerbar
 *
 * Return: version; 0 if the module does not answer.
 */
PB_API unsigned int pb_module_abi(void);

#ifdef __cplusplus
}
#endif

#endif
