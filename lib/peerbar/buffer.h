/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Buffers: dma-bufs of device memory, their memory model and properties; their mmap, memory
 * attributes and permanent revocation, which need peerbar-vfio-pci.
 */
#ifndef PEERBAR_BUFFER_H
#define PEERBAR_BUFFER_H

#include <peerbar/api.h>
#include <peerbar/device.h>
#include <peerbar/error.h>
#include <peerbar/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- buffers ---- */

struct pb_buffer;

/**
 * enum pb_model - the guarantees of a dma-buf's exporter about its memory
 * @PB_UNKNOWN: unknown; never a guess
 * @PB_PINNED: never moves, and is never revoked while attached
 * @PB_REVOCABLE: never moves, but may be revoked; the importer must be able to stop
 * @PB_DYNAMIC: may move at any time; the importer must be able to follow
 */
enum pb_model { PB_UNKNOWN, PB_PINNED, PB_REVOCABLE, PB_DYNAMIC };

/** pb_model_name() - "UNKNOWN", "PINNED", "REVOCABLE" or "DYNAMIC"; a constant */
PB_API const char *pb_model_name(enum pb_model model);

/**
 * enum pb_model_basis - how the model of a buffer, or another property, is known
 * @PB_BASIS_NONE: it is unknown
 * @PB_BASIS_NAME: by the exporter's name, see pb_exporter_model()
 * @PB_BASIS_DERIVED: the kernel module peerbar derived it from the operations that the exporter
 *	implements, from the exporter's answer to an attachment, or from its data
 * @PB_BASIS_DECLARED: the exporter declared it to the kernel module peerbar
 */
enum pb_model_basis { PB_BASIS_NONE, PB_BASIS_NAME, PB_BASIS_DERIVED, PB_BASIS_DECLARED };

/** pb_model_basis_name() - "NONE", "NAME", "DERIVED" or "DECLARED"; a constant */
PB_API const char *pb_model_basis_name(enum pb_model_basis basis);

/**
 * pb_exporter_model() - the model of an exporter's dma-bufs, from the table in docs/models.md
 * @exporter: the exporter's name, exp_name in fdinfo, for example "udmabuf"
 *
 * Return: the model; PB_UNKNOWN if the exporter is not in the table.
 */
PB_API enum pb_model pb_exporter_model(const char *exporter);

/**
 * enum pb_answer - whether an exporter can do something
 * @PB_ANSWER_UNKNOWN: unknown
 * @PB_ANSWER_NO: it cannot
 * @PB_ANSWER_YES: it can
 */
enum pb_answer { PB_ANSWER_UNKNOWN, PB_ANSWER_NO, PB_ANSWER_YES };

/** pb_answer_name() - "UNKNOWN", "NO" or "YES"; a constant */
PB_API const char *pb_answer_name(enum pb_answer answer);

/**
 * enum pb_place - where the memory of a buffer is
 * @PB_PLACE_UNKNOWN: unknown
 * @PB_PLACE_SYSTEM: in system memory
 * @PB_PLACE_BAR: in a BAR of a PCI function
 * @PB_PLACE_DEVICE: in a device; whether and where it is in a BAR is not known
 */
enum pb_place { PB_PLACE_UNKNOWN, PB_PLACE_SYSTEM, PB_PLACE_BAR, PB_PLACE_DEVICE };

/** pb_place_name() - "UNKNOWN", "SYSTEM", "BAR" or "DEVICE"; a constant */
PB_API const char *pb_place_name(enum pb_place place);

/**
 * struct pb_range - a range of a BAR
 * @offset: its offset in the BAR; page-aligned
 * @length: its length; a multiple of the page size, not 0
 */
struct pb_range {
	uint64_t offset;
	uint64_t length;
};

/**
 * enum pb_buffer_state - whether the memory of a buffer is accessible
 * @PB_BUFFER_UNKNOWN: unknown
 * @PB_BUFFER_LIVE: it is
 * @PB_BUFFER_REVOKED: it is not, but may be again (memory decoding off, reset, D3)
 * @PB_BUFFER_DEAD: it never will be again
 */
enum pb_buffer_state { PB_BUFFER_UNKNOWN, PB_BUFFER_LIVE, PB_BUFFER_REVOKED, PB_BUFFER_DEAD };

/** pb_buffer_state_name() - "UNKNOWN", "LIVE", "REVOKED" or "DEAD"; a constant */
PB_API const char *pb_buffer_state_name(enum pb_buffer_state state);

/**
 * enum pb_memattr - the memory attribute of processes' mappings of device memory
 * @PB_NC: not cached, in order: the default
 * @PB_WC: writes may be combined, and delayed until a fence
 * @PB_WB: cached; only the memory of a few devices can be, never a plain BAR
 * @PB_DEV: arm64: as PB_NC, but a write may be acknowledged before it reaches the device
 *
 * The top byte of a value is its group: 0 for those of all architectures, 1 for arm64's. An
 * architecture does not support another one's. The library passes values that it does not know
 * through unchanged.
 */
enum pb_memattr { PB_NC, PB_WC, PB_WB, PB_DEV = 0x1000000 };

/** pb_memattr_name() - "NC", "WC", "WB" or "DEV"; "OTHER" for an unknown value; a constant */
PB_API const char *pb_memattr_name(enum pb_memattr memattr);

/**
 * struct pb_buffer_info - the properties of a buffer
 * @size: its size
 * @id: the dma-buf's number: the same for all descriptors of it, in every process; not reused
 *	before the next boot
 * @model: its memory model
 * @basis: where @model comes from
 * @exporter: the exporter's name
 * @name: the dma-buf's name, "" if it has none. Any process with a descriptor can set it:
 *	informational only
 * @bdf: the PCI function it was exported from, "" if unknown
 * @bar: the BAR it was exported from; -1 if unknown
 * @nr_ranges: the number of ranges; 0 if unknown, as for a descriptor from another process without
 *	peerbar's modules
 * @state: whether its memory is accessible; for a buffer that is not @managed, as of the query
 * @asked: the kernel module peerbar answered: @mappable and @importers are valid
 * @mappable: the exporter implements mmap; false if unknown
 * @importers: the number of devices and importers attached; 0 if unknown
 * @managed: it is exported through peerbar's modules, and the following fields are valid
 * @memattr: the attribute of the next pb_buffer_mmap()
 * @list_id: its number in pb_list_buffers() and in events
 * @faults: the number of page faults of processes' mappings of it, by the size that was mapped: a
 *	page, a PMD, a PUD (on x86 4 KiB, 2 MiB, 1 GiB)
 * @counted: @revocations is valid
 * @revocations: how often its memory was revoked, temporarily or permanently. Each revocation ends
 *	the importers' mappings made before it, also if the buffer is live again
 * @state_basis: how @state is known
 * @can_pin: whether importers can pin the memory in its place. Only memory that moves has to be
 *	pinned
 * @can_pin_basis: how that is known
 * @can_revoke: whether the exporter can revoke the memory from importers
 * @can_revoke_basis: how that is known
 * @place: where the memory is now. That of a PB_DYNAMIC buffer may have moved when the call returns
 * @place_basis: how that is known
 * @place_bdf: the function of the BAR, or the device; "" if unknown
 * @place_bar: the BAR; valid if @place is PB_PLACE_BAR and @place_bdf is not ""
 * @place_offset: the offset in the BAR of the first byte; valid as @place_bar
 * @migrates: attaching moves the memory to system memory, as the exporter's driver is known to do
 * @driver: the exporter's module; "" if unknown or built in. All GPU drivers have the exporter name
 *	"drm"
 */
struct pb_buffer_info {
	uint64_t size;
	uint64_t id;
	enum pb_model model;
	enum pb_model_basis basis;
	char exporter[PB_NAME_LEN];
	char name[PB_NAME_LEN];
	char bdf[PB_BDF_LEN];
	int bar;
	unsigned int nr_ranges;
	enum pb_buffer_state state;
	bool asked;
	bool mappable;
	bool managed;
	unsigned int importers;
	enum pb_memattr memattr;
	uint64_t list_id;
	uint64_t faults[3];
	bool counted;
	uint64_t revocations;
	enum pb_model_basis state_basis;
	enum pb_answer can_pin;
	enum pb_model_basis can_pin_basis;
	enum pb_answer can_revoke;
	enum pb_model_basis can_revoke_basis;
	enum pb_place place;
	enum pb_model_basis place_basis;
	char place_bdf[PB_NAME_LEN];
	unsigned int place_bar;
	uint64_t place_offset;
	bool migrates;
	char driver[PB_NAME_LEN];
};

/**
 * pb_buffer_export() - export ranges of a BAR as one dma-buf
 * @device: the device; the buffer does not keep it open, and is revoked when it is closed
 * @bar: the BAR, 0 to 5
 * @ranges: the ranges, in the order in which they make up the buffer; they may overlap
 * @nr_ranges: the number of ranges; not 0
 * @flags: must be 0
 * @buffer: receives the buffer
 * @err: may be NULL
 *
 * A buffer of several ranges takes one more descriptor for each range, because iommufd maps only
 * dma-bufs of a single range. While memory decoding is off, the export succeeds, but the buffer is
 * revoked until decoding is turned on.
 *
 * The operations that the buffer supports depend on the device's driver. With stock vfio-pci,
 * iommufd can map it. With peerbar-vfio-pci, pb_buffer_mmap() and permanent revocation
 * (pb_buffer_revoke()) work as well.
 *
 * Return: 0; -EINVAL if @bar is not 0 to 5, @flags is not 0, there is no range or more than 65,536,
 * or a range is of length 0 or not page-aligned; -EOVERFLOW if a range, or their total length,
 * wraps around; -ERANGE if a range ends beyond the BAR; -ENODEV if the device has no such memory
 * BAR; -EDQUOT if the user has as many buffers or ranges as the module peerbar allows; -EOPNOTSUPP
 * if the kernel or the driver cannot export (it has no VFIO_DEVICE_FEATURE_DMA_BUF), or does not
 * offer this BAR to peers.
 */
PB_API int pb_buffer_export(struct pb_device *device, unsigned int bar,
			    const struct pb_range *ranges, unsigned int nr_ranges,
			    unsigned int flags, struct pb_buffer **buffer, struct pb_error *err);

/**
 * pb_buffer_from_fd() - make a buffer from any dma-buf
 * @fd: the descriptor; it is duplicated, and remains the caller's
 * @buffer: receives the buffer
 * @err: may be NULL
 *
 * Return: 0; -EBADF if @fd is not open; -EINVAL if it is not a dma-buf.
 */
PB_API int pb_buffer_from_fd(int fd, struct pb_buffer **buffer, struct pb_error *err);

/**
 * pb_buffer_fd() - the dma-buf's descriptor
 * @buffer: the buffer
 *
 * It can be sent to other processes. They can map it with iommufd if it has one range, and mmap it
 * if peerbar-vfio-pci exported it.
 *
 * Return: descriptor; it remains the buffer's.
 */
PB_API int pb_buffer_fd(const struct pb_buffer *buffer);

/**
 * pb_buffer_query_sized() - get the properties of a buffer
 * @buffer: the buffer
 * @info: filled in
 * @size: sizeof(*@info)
 * @err: may be NULL
 *
 * Queries the kernel module peerbar if this process can open /dev/peerbar; that takes no privilege.
 * If the module is missing or does not know the model, the model follows from the exporter's name.
 * The first query of a buffer that was exported here keeps /dev/peerbar open, and the module
 * loaded, until the device and all its buffers are closed.
 *
 * Never moves the memory. If an exporter is known to move it, or might, when a device attaches, the
 * module does not attach, and the model or the state may be unknown. pb_buffer_probe() finds out.
 *
 * Without the module, all properties of other exporters' buffers are those of the exporter's name.
 *
 * Return: 0.
 */
PB_API int pb_buffer_query_sized(struct pb_buffer *buffer, struct pb_buffer_info *info, size_t size,
				 struct pb_error *err);

/** pb_buffer_query() - pb_buffer_query_sized() with this header's size */
static inline int pb_buffer_query(struct pb_buffer *buffer, struct pb_buffer_info *info,
				  struct pb_error *err)
{
	return pb_buffer_query_sized(buffer, info, sizeof(*info), err);
}

/**
 * pb_buffer_probe_sized() - get the properties of a buffer, also if that moves its memory
 * @buffer: the buffer
 * @info: filled in
 * @size: sizeof(*@info)
 * @err: may be NULL
 *
 * As pb_buffer_query_sized(), but the kernel module peerbar may attach to the buffer for a moment.
 * Some exporters move the memory to system memory then. Use it if a device will attach anyway.
 *
 * Return: 0.
 */
PB_API int pb_buffer_probe_sized(struct pb_buffer *buffer, struct pb_buffer_info *info, size_t size,
				 struct pb_error *err);

/** pb_buffer_probe() - pb_buffer_probe_sized() with this header's size */
static inline int pb_buffer_probe(struct pb_buffer *buffer, struct pb_buffer_info *info,
				  struct pb_error *err)
{
	return pb_buffer_probe_sized(buffer, info, sizeof(*info), err);
}

/**
 * pb_buffer_ranges() - get the ranges that the buffer was exported from
 * @buffer: the buffer
 * @ranges: receives them; may be NULL if @nr_ranges is 0
 * @nr_ranges: the capacity of @ranges
 *
 * Return: the number of ranges of the buffer, which may exceed @nr_ranges; 0 if unknown.
 */
PB_API unsigned int pb_buffer_ranges(const struct pb_buffer *buffer, struct pb_range *ranges,
				     unsigned int nr_ranges);

/** pb_buffer_id() - &struct pb_buffer_info.id; a system call on the first call only */
PB_API uint64_t pb_buffer_id(const struct pb_buffer *buffer);

/** pb_buffer_size() - &struct pb_buffer_info.size, without a system call */
PB_API uint64_t pb_buffer_size(const struct pb_buffer *buffer);

/**
 * pb_buffer_share() - make another handle of the same buffer
 * @buffer: the buffer
 * @shared: receives the handle, which takes no descriptor; close it with pb_buffer_close()
 * @err: may be NULL
 *
 * The descriptor is closed with the last handle.
 *
 * Return: 0.
 */
PB_API int pb_buffer_share(struct pb_buffer *buffer, struct pb_buffer **shared,
			   struct pb_error *err);

/** pb_buffer_close() - release the handle; NULL is allowed. Mappings of the buffer remain. */
PB_API void pb_buffer_close(struct pb_buffer *buffer);

/* ---- devices on peerbar-vfio-pci ---- */

/**
 * pb_buffer_mmap() - map a part of a buffer into this process
 * @buffer: the buffer; it may be closed while the mapping exists, and the device need not be open
 *	here
 * @offset: the offset in the buffer; page-aligned
 * @length: the length; not 0
 * @writable: also map for writing
 * @address: receives the address; unmap it with munmap()
 * @err: may be NULL
 *
 * The ranges of a buffer are mapped contiguously. From 2 MiB on, the address is aligned for huge
 * mappings if such an address is free: it has the same offset from a multiple of 2 MiB (from 1 GiB
 * on, of 1 GiB) as the part has in its BAR or, if the buffer was not exported here, in the buffer.
 * These sizes are those of pages of 4 KiB. With 16 KiB they are 32 MiB and 64 GiB, with 64 KiB 512
 * MiB and 4 TiB.
 * The mapping has the memory attribute that the buffer has now, see pb_buffer_set_memattr(). While
 * the buffer is revoked, an access raises SIGBUS. After a temporary revocation (decoding off, a
 * reset) the same mapping works again. The mapping does not keep the device open.
 *
 * Other exporters, such as udmabuf and the heaps, may implement mmap as well. Accesses may then
 * need DMA_BUF_IOCTL_SYNC, and nothing is revoked.
 *
 * Return: 0; -EINVAL if @offset is unaligned, or @length is 0; -ERANGE if the part is not all
 * inside the buffer; -EOPNOTSUPP if the exporter does not implement mmap, as stock vfio-pci: bind
 * the device to peerbar-vfio-pci; -ENODEV if the buffer was permanently revoked; -EACCES if
 * @writable, and the descriptor is read-only.
 */
PB_API int pb_buffer_mmap(struct pb_buffer *buffer, uint64_t offset, size_t length, bool writable,
			  void **address, struct pb_error *err);

/**
 * pb_buffer_set_memattr() - set the memory attribute of later pb_buffer_mmap()s, in all processes
 * @device: the device that the buffer was exported from
 * @buffer: the buffer; may come from pb_buffer_from_fd()
 * @memattrs: the attributes, best first; each is tried until one is supported
 * @nr_memattrs: the number of attributes; not 0
 * @chosen: receives the one that was set; may be NULL
 * @err: may be NULL
 *
 * Existing mappings keep their attribute.
 *
 * Return: 0; -EINVAL if @nr_memattrs is 0; -EOPNOTSUPP if none of them is supported, or the device
 * is not bound to peerbar-vfio-pci; -ENODEV if the buffer does not belong to this device, or was
 * permanently revoked.
 */
PB_API int pb_buffer_set_memattr(struct pb_device *device, struct pb_buffer *buffer,
				 const enum pb_memattr *memattrs, unsigned int nr_memattrs,
				 enum pb_memattr *chosen, struct pb_error *err);

/**
 * pb_buffer_memattr() - get the memory attribute of later pb_buffer_mmap()s
 * @device: the device that the buffer was exported from
 * @buffer: the buffer
 * @memattr: receives the attribute
 * @err: may be NULL
 *
 * A process without the device reads it from &struct pb_buffer_info.
 *
 * Return: 0; -EOPNOTSUPP if the device is not bound to peerbar-vfio-pci; -ENODEV if the buffer does
 * not belong to this device.
 */
PB_API int pb_buffer_memattr(struct pb_device *device, struct pb_buffer *buffer,
			     enum pb_memattr *memattr, struct pb_error *err);

/**
 * pb_buffer_revoke() - permanently revoke one buffer, in all processes and importers
 * @device: the device that the buffer was exported from
 * @buffer: the buffer; may come from pb_buffer_from_fd(), see below
 * @err: may be NULL
 *
 * When this returns 0, the memory is inaccessible through this buffer: no DMA, and SIGBUS in every
 * process's mapping. The buffer cannot be attached or mapped again. The device and its other
 * buffers are not affected, and the same ranges can be exported again. Mappings of the buffer
 * (&struct pb_mapping) become PB_REVOKED, with an event, and pb_mapping_restore() of them fails
 * with -ENODEV. Revoking twice is harmless.
 *
 * For a buffer of several ranges, all descriptors that the library keeps for iommufd are revoked as
 * well. If @buffer comes from pb_buffer_from_fd(), only the mappings of @buffer itself become
 * PB_REVOKED at once; pb_ioas_check() finds those of other handles of the dma-buf.
 *
 * Return: 0; -EINTR if a signal arrived before an importer released the buffer: the buffer is dead,
 * and another call waits for the importer; -EOPNOTSUPP if the device is not bound to
 * peerbar-vfio-pci; -ENODEV if the buffer does not belong to this device.
 */
PB_API int pb_buffer_revoke(struct pb_device *device, struct pb_buffer *buffer,
			    struct pb_error *err);

/**
 * pb_device_mmap_cookie() - create an offset for mmap of a part of a BAR with a memory attribute
 * @device: the device
 * @bar: the BAR, 0 to 5
 * @offset: the offset in the BAR; page-aligned
 * @length: the length; a multiple of the page size, not 0
 * @memattr: the memory attribute
 * @mmap_offset: receives the cookie: an offset for mmap() of the device's descriptor, here or in a
 *	process it was sent to
 * @err: may be NULL
 *
 * pb_device_mmap() and its offsets keep working. There may be several cookies for the same part. A
 * cookie is valid, and takes kernel memory, until the device is closed.
 *
 * Return: 0; -EINVAL if @bar is not 0 to 5, @offset or @length is not aligned, or @length is 0;
 * -ENODEV if the device has no such memory BAR; -ERANGE if the part ends beyond the BAR;
 * -EOPNOTSUPP if @memattr is not supported, or the device is not bound to peerbar-vfio-pci.
 */
PB_API int pb_device_mmap_cookie(struct pb_device *device, unsigned int bar, uint64_t offset,
				 uint64_t length, enum pb_memattr memattr, uint64_t *mmap_offset,
				 struct pb_error *err);

/**
 * pb_device_mmap_at() - map the part of a cookie into this process
 * @device: the device that created the cookie
 * @mmap_offset: the cookie, or the cookie plus a page-aligned offset into its part
 * @length: the length; not 0, and not beyond the cookie's part
 * @writable: also map for writing
 * @address: receives the address; unmap it with munmap()
 * @err: may be NULL
 *
 * As with pb_buffer_mmap(), an access raises SIGBUS while memory decoding is off, and permanently
 * once the device is closed. The mapping does not keep the device open.
 *
 * Return: 0; -EINVAL if @length is 0, or @mmap_offset is not a cookie of this device, or @length
 * exceeds its part.
 */
PB_API int pb_device_mmap_at(struct pb_device *device, uint64_t mmap_offset, size_t length,
			     bool writable, void **address, struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
