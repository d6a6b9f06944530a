/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* I/O address spaces, the devices attached to them, and mappings. */
#ifndef PEERBAR_IOAS_H
#define PEERBAR_IOAS_H

#include <peerbar/api.h>
#include <peerbar/buffer.h>
#include <peerbar/device.h>
#include <peerbar/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pb_ioas;
struct pb_mapping;

/**
 * pb_ioas_create() - create an I/O address space
 * @iommu: the context; the address space holds a reference
 * @ioas: receives the address space
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_ioas_create(struct pb_iommu *iommu, struct pb_ioas **ioas, struct pb_error *err);

/**
 * pb_ioas_from_id() - use an existing address space, for example a VMM's
 * @iommu: the context; the address space holds a reference
 * @id: iommufd's number of the address space
 * @ioas: receives the address space
 * @err: may be NULL
 *
 * The caller owns it: pb_ioas_destroy() unmaps only the mappings made through @ioas, and detaches
 * no device. Mappings that the caller makes without the library are never replaced: mapping at the
 * same addresses fails with -EEXIST.
 *
 * Return: 0; -ENOENT if the iommufd has no such address space.
 */
PB_API int pb_ioas_from_id(struct pb_iommu *iommu, uint32_t id, struct pb_ioas **ioas,
			   struct pb_error *err);

/** pb_ioas_id() - iommufd's number of the address space */
PB_API uint32_t pb_ioas_id(const struct pb_ioas *ioas);

/**
 * pb_ioas_destroy() - destroy an address space
 * @ioas: the address space; may be NULL
 *
 * Its devices are detached, its mappings are unmapped, and every &struct pb_mapping of it becomes
 * invalid.
 */
PB_API void pb_ioas_destroy(struct pb_ioas *ioas);

/**
 * pb_ioas_attach() - attach a device to the address space
 * @ioas: the address space
 * @device: the device, of the same &struct pb_iommu
 * @err: may be NULL
 *
 * A device is attached to one address space at a time. Attaching it to another moves it atomically,
 * together with the other functions of its IOMMU group. Attach and detach through the library only:
 * it does not see ioctls on the descriptors.
 *
 * Return: 0; -EXDEV if the device belongs to another &struct pb_iommu; -EADDRINUSE if a mapping
 * lies at addresses that the device reserves or cannot use; -EBUSY if another function of its IOMMU
 * group is attached to another address space; -EFAULT or -ENOMEM if memory that was mapped before
 * cannot be pinned.
 */
PB_API int pb_ioas_attach(struct pb_ioas *ioas, struct pb_device *device, struct pb_error *err);

/**
 * pb_ioas_detach() - detach a device; its DMA faults from then on
 * @device: the device
 * @err: may be NULL
 *
 * Addresses that only this device reserved are free then. If a &struct pb_guest has BARs there, its
 * descriptor becomes readable, and pb_guest_sync() maps them.
 *
 * Return: 0, also if it was not attached.
 */
PB_API int pb_ioas_detach(struct pb_device *device, struct pb_error *err);

/**
 * struct pb_iova_range - a range of addresses
 * @first: its first address
 * @last: its last address, included
 */
struct pb_iova_range {
	uint64_t first;
	uint64_t last;
};

/**
 * pb_ioas_aperture() - get the addresses that can be mapped
 * @ioas: the address space
 * @ranges: receives the ranges, ascending; may be NULL if @room is 0
 * @room: the capacity of @ranges
 * @nr_ranges: receives the number of ranges, which may exceed @room; may be NULL
 * @alignment: receives the required alignment of addresses and lengths; may be NULL
 * @err: may be NULL
 *
 * Attaching a device may remove ranges.
 *
 * Return: 0.
 */
PB_API int pb_ioas_aperture(struct pb_ioas *ioas, struct pb_iova_range *ranges, unsigned int room,
			    unsigned int *nr_ranges, uint64_t *alignment, struct pb_error *err);

/**
 * enum pb_map_flags - flags of a mapping
 * @PB_MAP_READ: devices may read
 * @PB_MAP_WRITE: devices may write
 * @PB_MAP_FIXED: map at the given address only
 * @PB_MAP_UNKNOWN_MODEL: accept a buffer whose model is PB_UNKNOWN
 */
enum pb_map_flags {
	PB_MAP_READ = 1 << 0,
	PB_MAP_WRITE = 1 << 1,
	PB_MAP_FIXED = 1 << 2,
	PB_MAP_UNKNOWN_MODEL = 1 << 3
};

/**
 * pb_map_memory() - map ordinary memory of this process
 * @ioas: the address space
 * @address: its address; page-aligned
 * @length: its length; a multiple of the page size, not 0
 * @flags: of &enum pb_map_flags; at least PB_MAP_READ or PB_MAP_WRITE
 * @iova: the address for PB_MAP_FIXED, otherwise ignored
 * @mapping: receives the mapping
 * @err: may be NULL
 *
 * The pages are pinned while a device is attached, and count against RLIMIT_MEMLOCK. Without an
 * attached device, failure to pin them is only reported by pb_ioas_attach().
 *
 * Return: 0; -EINVAL if @address, @length or @iova is not aligned, @length is 0, or @flags are
 * unknown or allow no access; -EEXIST if something is mapped at @iova; -ERANGE if @iova is not
 * inside the aperture; -ENOSPC if there is no free range of this size; -EFAULT if the memory is not
 * mapped in this process, is read-only although PB_MAP_WRITE is given, or is a device's; -ENOMEM if
 * RLIMIT_MEMLOCK does not allow to pin it.
 */
PB_API int pb_map_memory(struct pb_ioas *ioas, void *address, uint64_t length, unsigned int flags,
			 uint64_t iova, struct pb_mapping **mapping, struct pb_error *err);

/**
 * pb_map_buffer() - map a buffer
 * @ioas: the address space
 * @buffer: the buffer; it may be closed while the mapping exists
 * @offset: the offset in the buffer; page-aligned
 * @length: the length; a multiple of the page size, or 0 for all from @offset on
 * @flags: of &enum pb_map_flags; at least PB_MAP_READ or PB_MAP_WRITE
 * @iova: the address for PB_MAP_FIXED, otherwise ignored
 * @mapping: receives the mapping
 * @err: may be NULL
 *
 * A buffer of several ranges is mapped contiguously. If the kernel module peerbar-iommufd is loaded,
 * a dma-buf of any exporter whose memory is in a BAR is mapped: the module attaches to it for the
 * devices that are attached to the address space (for all that are bound to its iommufd if none
 * is), and pins it until it is unmapped or revoked (docs/bridge.md). Pinned bytes count against
 * RLIMIT_MEMLOCK. While it is mapped, one descriptor for each range is opened, and one is kept.
 *
 * Without the module, only dma-bufs of vfio-pci are mapped, those of several ranges only if they
 * were exported in this process. A buffer of model PB_DYNAMIC is refused before anything attaches
 * to it. So is one of model PB_UNKNOWN, unless PB_MAP_UNKNOWN_MODEL is given.
 *
 * Return: 0; -EOPNOTSUPP if the kernel cannot map this dma-buf: its model is refused, a module is
 * missing, it is in system memory, or peer-to-peer DMA does not reach it; -ENODEV if the buffer is
 * revoked, or no device is bound to the iommufd although the exporter must know for which it is;
 * -EACCES if the descriptor is read-only and another exporter's; -ENOMEM if RLIMIT_MEMLOCK does not
 * allow to pin it; -EMFILE or -EDQUOT if it has too many ranges; -EAGAIN if its exporter moves it
 * all the time; another errno if its exporter fails with it; -ERANGE if the part is not inside the
 * buffer; otherwise as pb_map_memory().
 */
PB_API int pb_map_buffer(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset,
			 uint64_t length, unsigned int flags, uint64_t iova,
			 struct pb_mapping **mapping, struct pb_error *err);

/** pb_mapping_iova() - its first address */
PB_API uint64_t pb_mapping_iova(const struct pb_mapping *mapping);

/** pb_mapping_length() - its length */
PB_API uint64_t pb_mapping_length(const struct pb_mapping *mapping);

/**
 * enum pb_state - whether DMA to a mapping reaches the memory
 * @PB_LIVE: it does
 * @PB_REVOKED: it does not, and faults, until pb_mapping_restore()
 */
enum pb_state { PB_LIVE, PB_REVOKED };

/**
 * pb_mapping_state() - the state of a mapping, as known to the library
 * @mapping: the mapping
 *
 * Revocations by this process through this library are known at once. For all others, see
 * pb_ioas_check(). A live mapping may be reported as revoked: one that was made or restored during
 * a reset of the device. An unneeded pb_mapping_restore() only costs time.
 *
 * Return: PB_LIVE or PB_REVOKED.
 */
PB_API enum pb_state pb_mapping_state(const struct pb_mapping *mapping);

/**
 * pb_mapping_restore() - map a revoked mapping again, with the same address and permissions
 * @mapping: the mapping
 * @err: may be NULL
 *
 * In the kernel, the revocation of a mapping is final, even if the buffer becomes live again. So
 * this unmaps the dead mapping and makes a new one at its address. On failure the mapping stays
 * PB_REVOKED, and its address range stays reserved. For a PB_LIVE mapping this does nothing.
 *
 * Return: 0; -ENODEV if the buffer is still revoked; -EEXIST if the range was mapped in the
 * meantime, which only users of the IOAS without this library can do.
 */
PB_API int pb_mapping_restore(struct pb_mapping *mapping, struct pb_error *err);

/**
 * pb_unmap() - unmap and free a mapping, live or revoked; NULL is allowed
 * @mapping: the mapping
 * @err: may be NULL
 *
 * When it returns, DMA to the addresses faults.
 *
 * Return: 0. After a failure the mapping still exists.
 */
PB_API int pb_unmap(struct pb_mapping *mapping, struct pb_error *err);

/**
 * pb_mapping_set_data() - attach a pointer of the caller's to a mapping, to identify it in events
 * @mapping: the mapping
 * @data: the pointer, which pb_mapping_data() returns
 *
 * The mapping may be revoked, and another thread may take its event, before the caller sets the
 * pointer.
 */
PB_API void pb_mapping_set_data(struct pb_mapping *mapping, void *data);

/** pb_mapping_data() - the pointer of pb_mapping_set_data(); NULL initially */
PB_API void *pb_mapping_data(const struct pb_mapping *mapping);

/**
 * pb_ioas_event_fd() - a descriptor that polls readable while an event is pending
 * @ioas: the address space
 *
 * For an event loop. Do not read from it; take events with pb_ioas_next_revoked().
 *
 * Return: descriptor; it remains the address space's.
 */
PB_API int pb_ioas_event_fd(const struct pb_ioas *ioas);

/**
 * pb_ioas_next_revoked() - take the next mapping that was revoked
 * @ioas: the address space
 *
 * Each transition of a mapping to PB_REVOKED is reported once. The mapping may have been restored
 * in the meantime. An unmapped mapping is not reported; the caller must ensure that no other thread
 * unmaps the one that is returned.
 *
 * Return: the mapping, or NULL if no event is pending.
 */
PB_API struct pb_mapping *pb_ioas_next_revoked(struct pb_ioas *ioas);

/**
 * pb_ioas_check() - query the kernel for revoked mappings
 * @ioas: the address space
 * @nr_found: receives the number of mappings newly found revoked; may be NULL
 * @err: may be NULL
 *
 * The stock kernel does not report to user space that it revoked a mapping. Revocations by this
 * process through this library need no check. A buffer from another process does: its exporter may
 * have reset its device. Each mapping found revoked becomes PB_REVOKED, with an event. If a buffer
 * is revoked and becomes live again between two checks, its mapping is dead, but this reports it as
 * live: a program whose peers reset devices must be notified by them or, if the devices are bound
 * to peerbar-vfio-pci, by pb_watch_next().
 *
 * Return: 0. Also after a failure, events may be pending.
 */
PB_API int pb_ioas_check(struct pb_ioas *ioas, unsigned int *nr_found, struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
