/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* PCI functions: list, bind to drivers, and the processes that hold their VFIO devices. */
#ifndef PEERBAR_PCI_H
#define PEERBAR_PCI_H

#include <peerbar/api.h>
#include <peerbar/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PB_BDF_LEN  24 /* "ffffffff:ff:1f.7", rounded up */
#define PB_NAME_LEN 64
#define PB_BARS	    6

/**
 * struct pb_pci_bar - a BAR, from sysfs
 * @size: its size; 0 if it does not exist, or is the upper half of a 64-bit BAR
 * @memory: true for memory, false for I/O ports
 * @prefetchable: it is prefetchable memory
 */
struct pb_pci_bar {
	uint64_t size;
	bool memory;
	bool prefetchable;
};

/**
 * struct pb_pci_function - a PCI function, from sysfs
 * @bdf: its address, "0000:01:00.0"
 * @vendor: vendor id
 * @device: device id
 * @pci_class: class, subclass and programming interface, 24 bits
 * @driver: the driver it is bound to; "" if none
 * @cdev: its VFIO character device, "/dev/vfio/devices/vfio0"; "" if it has none
 * @iommu_group: the number of its IOMMU group; -1 if it has none
 * @bars: its BARs
 */
struct pb_pci_function {
	char bdf[PB_BDF_LEN];
	uint16_t vendor;
	uint16_t device;
	uint32_t pci_class;
	char driver[PB_NAME_LEN];
	char cdev[PB_NAME_LEN];
	int iommu_group;
	struct pb_pci_bar bars[PB_BARS];
};

/**
 * pb_pci_get_sized() - look up a PCI function
 * @bdf: its address, "0000:01:00.0" or, in domain 0, "01:00.0"
 * @function: filled in
 * @size: sizeof(*@function)
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if @bdf is not a PCI address; -ENODEV if there is no such function.
 */
PB_API int pb_pci_get_sized(const char *bdf, struct pb_pci_function *function, size_t size,
			    struct pb_error *err);

/** pb_pci_get() - pb_pci_get_sized() with this header's size */
static inline int pb_pci_get(const char *bdf, struct pb_pci_function *function,
			     struct pb_error *err)
{
	return pb_pci_get_sized(bdf, function, sizeof(*function), err);
}

/**
 * pb_pci_list_sized() - list all PCI functions, sorted by address
 * @functions: receives an array; free it with free()
 * @size: sizeof(**@functions)
 * @nr_functions: receives the number of elements
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_pci_list_sized(struct pb_pci_function **functions, size_t size,
			     unsigned int *nr_functions, struct pb_error *err);

/** pb_pci_list() - pb_pci_list_sized() with this header's size */
static inline int pb_pci_list(struct pb_pci_function **functions, unsigned int *nr_functions,
			      struct pb_error *err)
{
	return pb_pci_list_sized(functions, sizeof(**functions), nr_functions, err);
}

/**
 * enum pb_bind_flags - flags of pb_pci_bind_flags()
 * @PB_BIND_FORCE: bind the driver to a device that it does not support
 */
enum pb_bind_flags { PB_BIND_FORCE = 1 << 0 };

/**
 * pb_pci_bind() - bind a function to a driver
 * @bdf: the function's address
 * @driver: the driver's name; NULL for "vfio-pci"
 * @err: may be NULL
 *
 * Unbinds the current driver first. VFIO drivers bind any device, by driver_override. Other drivers
 * bind only devices that they support, as the kernel decides: a driver that runs a device it does
 * not know can crash the kernel. If the new driver does not bind, the previous override is restored
 * and the previous driver is bound again. If the function is bound to @driver already, the call
 * succeeds and does nothing. A hotplugged function is visible before the kernel lets drivers bind
 * it, so the driver gets a second to bind.
 *
 * If the current driver is a VFIO driver, unbinding waits, uninterruptibly, until no process, this
 * one included, has the device open or mapped. So the call fails with -EBUSY while a process has,
 * and @err names it; pb_pci_holders() lists all of them. If a process opens the device between this
 * check and the kernel's own, the call waits for it.
 *
 * Return: 0; -EINVAL if @bdf is not a PCI address or @driver is not a valid name; -ENODEV if there
 * is no such function, or the driver does not bind it; -EPERM if the driver does not support the
 * device, see pb_pci_bind_flags(); -EBUSY if a process has the device open or mapped; -ENOENT if no
 * driver of that name is loaded; -EACCES without the privilege to write sysfs.
 */
PB_API int pb_pci_bind(const char *bdf, const char *driver, struct pb_error *err);

/**
 * pb_pci_bind_flags() - bind a function to a driver, as pb_pci_bind(), with flags
 * @bdf: the function's address
 * @driver: the driver's name; NULL for "vfio-pci"
 * @flags: of &enum pb_bind_flags
 * @err: may be NULL
 *
 * Return: as pb_pci_bind(); also -EINVAL if a flag is unknown.
 */
PB_API int pb_pci_bind_flags(const char *bdf, const char *driver, unsigned int flags,
			     struct pb_error *err);

/**
 * pb_pci_unbind() - unbind a function, clear the override, and let the kernel bind the default
 * driver
 * @bdf: the function's address
 * @err: may be NULL
 *
 * Fails with -EBUSY while a process has the device open or mapped, as pb_pci_bind() does.
 *
 * Return: 0, also if it was not bound; otherwise as pb_pci_bind().
 */
PB_API int pb_pci_unbind(const char *bdf, struct pb_error *err);

/**
 * enum pb_holder_kind - how a process holds a VFIO device
 * @PB_HOLDER_DEVICE: a descriptor of the device, by its character device or its group. The device
 *	stays in use until it is closed
 * @PB_HOLDER_MAPPING: a mapping of a region. The device stays in use until it is unmapped
 * @PB_HOLDER_GROUP: a descriptor of its VFIO group. The character device cannot be bound to an
 *	iommufd
 * @PB_HOLDER_BUFFER: a descriptor of a dma-buf that, by its name, was exported from it. The device
 *	can be closed and unbound
 * @PB_HOLDER_UNKNOWN: unknown: the caller may not inspect this process
 */
enum pb_holder_kind {
	PB_HOLDER_DEVICE,
	PB_HOLDER_MAPPING,
	PB_HOLDER_GROUP,
	PB_HOLDER_BUFFER,
	PB_HOLDER_UNKNOWN
};

/**
 * struct pb_holder - a process that holds a VFIO device
 * @pid: the process
 * @fd: the descriptor's number in that process; -1 for a mapping, and if unknown
 * @kind: how it holds the device
 * @command: the process's name from /proc/PID/comm, any bytes
 */
struct pb_holder {
	int pid;
	int fd;
	enum pb_holder_kind kind;
	char command[PB_NAME_LEN];
};

/**
 * pb_pci_holders() - list the processes that hold a function's VFIO device, its group or a dma-buf
 * of it
 * @bdf: the function's address
 * @holders: receives an array, to be freed with free(); NULL if it is empty. Each descriptor is one
 *	element; all mappings of a process are one element. Elements of the same process are
 *	adjacent
 * @nr_holders: receives the number of elements
 * @err: may be NULL
 *
 * Reads /proc/PID/fd and /proc/PID/maps of all processes in this PID namespace. Another user's
 * processes need CAP_SYS_PTRACE. Descriptors that are queued in a socket, or that only io_uring
 * holds, are not found; pb_pci_bind() and pb_pci_unbind() detect these by trying to open the
 * device.
 *
 * Return: 0; -EINVAL if @bdf is not a PCI address; -ENODEV if there is no such function; -ENOENT if
 * /proc is not mounted.
 */
PB_API int pb_pci_holders(const char *bdf, struct pb_holder **holders, unsigned int *nr_holders,
			  struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
