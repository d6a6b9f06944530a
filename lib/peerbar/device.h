/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The iommufd context, and VFIO devices: regions, the command register, reset. */
#ifndef PEERBAR_DEVICE_H
#define PEERBAR_DEVICE_H

#include <peerbar/api.h>
#include <peerbar/error.h>
#include <peerbar/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the iommufd context ---- */

struct pb_iommu;

/**
 * pb_iommu_open() - open /dev/iommu
 * @iommu: receives the context
 * @err: may be NULL
 *
 * Return: 0; -ENOENT if there is no /dev/iommu (the module iommufd is not loaded); -EACCES if this
 * process may not open it.
 */
PB_API int pb_iommu_open(struct pb_iommu **iommu, struct pb_error *err);

/**
 * pb_iommu_from_fd() - use an open iommufd, for example one passed to a VMM
 * @fd: a descriptor of /dev/iommu; it is duplicated, and remains the caller's
 * @iommu: receives the context
 * @err: may be NULL
 *
 * Return: 0; -EBADF if @fd is not open; -EINVAL if it is not an iommufd.
 */
PB_API int pb_iommu_from_fd(int fd, struct pb_iommu **iommu, struct pb_error *err);

/** pb_iommu_fd() - the descriptor; it remains the context's */
PB_API int pb_iommu_fd(const struct pb_iommu *iommu);

/**
 * pb_iommu_close() - release the context
 * @iommu: the context; may be NULL
 *
 * Devices and address spaces made from it keep it open.
 */
PB_API void pb_iommu_close(struct pb_iommu *iommu);

/* ---- devices ---- */

struct pb_device;

/**
 * struct pb_region - a region of a device, from VFIO
 * @index: BARs 0 to 5, 6 the expansion ROM, 7 the configuration space
 * @size: its size; 0 if the device has no such region
 * @readable: pb_device_read() works
 * @writable: pb_device_write() works
 * @mappable: pb_device_mmap() works, at least on parts of it
 */
struct pb_region {
	uint32_t index;
	uint64_t size;
	bool readable;
	bool writable;
	bool mappable;
};

#define PB_REGION_ROM	 6
#define PB_REGION_CONFIG 7

/**
 * pb_device_open() - open a function's VFIO character device and bind it to an iommufd
 * @iommu: the context; the device holds a reference
 * @bdf: the function's address; it must be bound to vfio-pci or a variant driver, see pb_pci_bind()
 * @device: receives the device
 * @err: may be NULL
 *
 * The device can do DMA only once it is attached to an address space (pb_ioas_attach()) and is a
 * bus master (pb_device_set_bus_master()).
 *
 * Return: 0; -EINVAL if @bdf is not a PCI address; -ENODEV if there is no such function; -ENXIO if
 * it is not bound to a VFIO driver, or the kernel has no VFIO character devices; -EBUSY if it, or
 * another function of its IOMMU group, is in use, by this process or another, which @err names if
 * it is known; -EPERM if the machine does not remap interrupts; -EACCES if this process may not
 * open the character device, or the device needs a VF token.
 */
PB_API int pb_device_open(struct pb_iommu *iommu, const char *bdf, struct pb_device **device,
			  struct pb_error *err);

/**
 * pb_device_from_fd() - use an open VFIO device, for example a VMM's
 * @iommu: the context of the iommufd that the device is bound to
 * @fd: its VFIO descriptor, bound to that iommufd; it is duplicated, and remains the caller's
 * @bdf: the function's address
 * @device: receives the device
 * @err: may be NULL
 *
 * The caller owns the device's state: pb_device_close() only closes the duplicate, which keeps the
 * kernel's device open until then. It does not detach, revoke, or clear command register bits. A
 * guest learns that addresses that the device reserved are free only from pb_ioas_detach(), of a
 * device that pb_ioas_attach() attached. The
 * library does not see the caller's own writes to the descriptor, so pb_mapping_state() does not
 * reflect it; for a VMM, see &struct pb_guest.
 *
 * Return: 0; -EINVAL if @bdf is not a PCI address, or @fd is not a bound VFIO device; -EBADF if @fd
 * is not open; -ENODEV if there is no such function.
 */
PB_API int pb_device_from_fd(struct pb_iommu *iommu, int fd, const char *bdf,
			     struct pb_device **device, struct pb_error *err);

/** pb_device_bdf() - the device's address; valid as long as the device */
PB_API const char *pb_device_bdf(const struct pb_device *device);

/** pb_device_fd() - the VFIO descriptor; it remains the device's */
PB_API int pb_device_fd(const struct pb_device *device);

/**
 * pb_device_close() - close the device
 * @device: the device; may be NULL
 *
 * Detaches it from its address space, and clears its Bus Master and Memory Space bits. If a &struct
 * pb_guest has BARs at addresses that the device reserved, its descriptor becomes readable, as after
 * pb_ioas_detach(). Buffers exported from the device are revoked: when this returns, no DMA reaches
 * them, and their mappings are PB_REVOKED. The revocation is permanent once the last descriptor and
 * the last mapping of the device (pb_device_mmap(), a child of fork()) are gone; until then the
 * device cannot be opened again.
 */
PB_API void pb_device_close(struct pb_device *device);

/** pb_device_regions() - the number of regions; valid indices are below it */
PB_API unsigned int pb_device_regions(const struct pb_device *device);

/**
 * pb_device_region_sized() - get one region
 * @device: the device
 * @index: its index, below pb_device_regions()
 * @region: filled in; its size is 0 if the device has no such region
 * @size: sizeof(*@region)
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if @index is out of range.
 */
PB_API int pb_device_region_sized(struct pb_device *device, unsigned int index,
				  struct pb_region *region, size_t size, struct pb_error *err);

/** pb_device_region() - pb_device_region_sized() with this header's size */
static inline int pb_device_region(struct pb_device *device, unsigned int index,
				   struct pb_region *region, struct pb_error *err)
{
	return pb_device_region_sized(device, index, region, sizeof(*region), err);
}

/**
 * pb_device_read() - read from a region, through the kernel
 * @device: the device
 * @region: the region's index
 * @offset: the offset in the region
 * @data: receives the bytes
 * @length: the number of bytes
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if there is no such region; -ERANGE if the bytes are not all inside it; -EIO
 * if memory decoding is off.
 */
PB_API int pb_device_read(struct pb_device *device, unsigned int region, uint64_t offset,
			  void *data, size_t length, struct pb_error *err);

/**
 * pb_device_write() - write to a region, through the kernel
 * @device: the device
 * @region: the region's index
 * @offset: the offset in the region
 * @data: the bytes
 * @length: the number of bytes
 * @err: may be NULL
 *
 * A write to the configuration space that makes the kernel revoke (decoding off, D3hot, a function
 * level reset) affects mappings as pb_device_set_decoding() does.
 *
 * Return: as pb_device_read().
 */
PB_API int pb_device_write(struct pb_device *device, unsigned int region, uint64_t offset,
			   const void *data, size_t length, struct pb_error *err);

/**
 * pb_device_mmap() - map a part of a region into this process
 * @device: the device
 * @region: the region's index
 * @offset: the offset in the region; page-aligned
 * @length: the length; not 0
 * @writable: also map for writing
 * @address: receives the address; unmap it with munmap()
 * @err: may be NULL
 *
 * A large mapping's address is aligned for huge pages if possible, see pb_buffer_mmap(). The
 * mapping outlives the device object, and keeps the kernel's device open until it is unmapped.
 * While memory decoding is off, as after pb_device_close(), an access raises SIGBUS.
 *
 * Return: 0; -EINVAL if there is no such region, or @offset is unaligned, or @length is 0; -ERANGE
 * if the part is not all inside the region; -EOPNOTSUPP if the region cannot be mapped.
 */
PB_API int pb_device_mmap(struct pb_device *device, unsigned int region, uint64_t offset,
			  size_t length, bool writable, void **address, struct pb_error *err);

/**
 * pb_device_set_decoding() - turn memory decoding on or off (the Memory Space bit of the PCI
 * command register)
 * @device: the device
 * @on: the new state
 * @err: may be NULL
 *
 * Off revokes the buffers exported from the device: when this returns, no DMA reaches them, and
 * their mappings are PB_REVOKED. On makes the buffers usable again, but not the mappings, whose
 * revocation is final in the kernel: see pb_mapping_restore(). A virtual function has no Memory
 * Space bit of its own: off only revokes the mappings, and the buffers are usable again at once.
 *
 * Return: 0.
 */
PB_API int pb_device_set_decoding(struct pb_device *device, bool on, struct pb_error *err);

/**
 * pb_device_decoding() - get whether memory decoding is on
 * @device: the device
 * @on: receives the state
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_device_decoding(struct pb_device *device, bool *on, struct pb_error *err);

/** pb_device_set_bus_master() - allow or stop DMA by the device (the Bus Master bit). Return: 0. */
PB_API int pb_device_set_bus_master(struct pb_device *device, bool on, struct pb_error *err);

/**
 * pb_device_reset() - reset the function
 * @device: the device
 * @err: may be NULL
 *
 * Buffers exported from the device are revoked. They are usable again when this returns, if memory
 * decoding was on before and the kernel restored it. Their mappings are PB_REVOKED, as after
 * pb_device_set_decoding().
 *
 * Return: 0; -EOPNOTSUPP if the device has no reset; -EAGAIN if the kernel is using the device: it
 * was not reset, but the mappings are revoked.
 */
PB_API int pb_device_reset(struct pb_device *device, struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
