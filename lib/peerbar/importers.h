/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The importers of a buffer: what each has mapped, and what a revoke waits for. */
#ifndef PEERBAR_IMPORTERS_H
#define PEERBAR_IMPORTERS_H

#include <peerbar/api.h>
#include <peerbar/buffer.h>
#include <peerbar/error.h>
#include <peerbar/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum pb_importer_kind - what an element of a list of importers is
 * @PB_IMPORTER_DEVICE: a device that is attached to the buffer
 * @PB_IMPORTER_FENCE: work of a driver on the buffer that has not completed (a dma-fence). The
 *	kernel does not record which attachment it belongs to
 */
enum pb_importer_kind { PB_IMPORTER_DEVICE, PB_IMPORTER_FENCE };

/**
 * struct pb_importer - an importer of a buffer, or a fence of one
 * @list_id: the buffer's number, &struct pb_buffer_info.list_id
 * @buffer: the exporter's name for the buffer; "" from pb_fd_importers()
 * @state: the buffer's state, as of its last access or query
 * @kind: what it is
 * @device: the importing device, for example "0000:06:00.0"; "iommu" for iommufd, "" for a fence
 * @driver: the driver of the device or, if it has none, its bus or class; of a fence, its driver
 * @timeline: of a fence, its timeline; otherwise ""
 * @id: of a device, the number of the attachment: unique in the buffer, ascending in the order of
 *	attaching; of a fence, its sequence number
 * @context: of a fence, its context; otherwise 0
 * @bytes: the memory that it has
 * @nr_maps: the number of its DMA mappings
 * @addresses: it got physical addresses, as iommufd does. A revoke does not wait for it: it stops
 *	using them when it is invalidated
 * @revocable: it can be invalidated
 * @pinned: it has pinned the buffer
 * @waited_for: the buffer is not live, and a revoke waits for this importer to unmap, or for this
 *	fence
 * @attached_ns: how long ago it attached
 * @mapped_ns: how long it has had the memory without interruption; 0 if it has none
 * @waited_ns: how long ago the importers were invalidated by the revoke; 0 unless @waited_for
 */
struct pb_importer {
	uint64_t list_id;
	char buffer[PB_NAME_LEN];
	enum pb_buffer_state state;
	enum pb_importer_kind kind;
	char device[PB_NAME_LEN];
	char driver[PB_NAME_LEN];
	char timeline[PB_NAME_LEN];
	uint64_t id;
	uint64_t context;
	uint64_t bytes;
	unsigned int nr_maps;
	bool addresses;
	bool revocable;
	bool pinned;
	bool waited_for;
	uint64_t attached_ns;
	uint64_t mapped_ns;
	uint64_t waited_ns;
};

/**
 * pb_fd_importers_sized() - list the importers of a dma-buf of peerbar's modules
 * @fd: a descriptor of the dma-buf
 * @importers: receives an array, to be freed with free(): devices by ascending @id, then fences
 * @size: sizeof(**@importers)
 * @nr_importers: receives the number of elements
 * @err: may be NULL
 *
 * Never waits: while a revoke hangs, pb_buffer_from_fd() and pb_buffer_query() may wait for it, but
 * this reports what it waits for.
 *
 * Return: 0; -EBADF if @fd is not open; -EINVAL if it is not a dma-buf; -EOPNOTSUPP if it is not one
 * of peerbar's modules, or the module is too old; -ENOENT if the module peerbar is not loaded.
 */
PB_API int pb_fd_importers_sized(int fd, struct pb_importer **importers, size_t size,
				 unsigned int *nr_importers, struct pb_error *err);

/** pb_fd_importers() - pb_fd_importers_sized() with this header's size */
static inline int pb_fd_importers(int fd, struct pb_importer **importers,
				  unsigned int *nr_importers, struct pb_error *err)
{
	return pb_fd_importers_sized(fd, importers, sizeof(**importers), nr_importers, err);
}

/**
 * pb_list_importers_sized() - list the importers of the buffers of all processes
 * @importers: receives an array, to be freed with free(): by ascending number of the buffer, then as
 *	pb_fd_importers()
 * @size: sizeof(**@importers)
 * @nr_importers: receives the number of elements
 * @err: may be NULL
 *
 * Lists the buffers that pb_list_buffers() lists; unlike that, it never waits. Needs CAP_SYS_ADMIN.
 *
 * Return: 0; -EPERM without the capability; -EOPNOTSUPP if the module is too old; otherwise as
 * pb_list_buffers().
 */
PB_API int pb_list_importers_sized(struct pb_importer **importers, size_t size,
				   unsigned int *nr_importers, struct pb_error *err);

/** pb_list_importers() - pb_list_importers_sized() with this header's size */
static inline int pb_list_importers(struct pb_importer **importers, unsigned int *nr_importers,
				    struct pb_error *err)
{
	return pb_list_importers_sized(importers, sizeof(**importers), nr_importers, err);
}

#ifdef __cplusplus
}
#endif

#endif
