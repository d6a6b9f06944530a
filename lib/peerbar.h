/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/**
 * DOC: libpeerbar - P2P DMA to the memory of PCI devices
 *
 * A range of a BAR is exported as a dma-buf (&struct pb_buffer). An IOMMU address space
 * (&struct pb_ioas) imports it, and the devices attached to that address space access it by DMA.
 * This works on an unmodified kernel, 7.2 or newer, with vfio-pci and iommufd.
 *
 * peerbar's kernel modules add mmap of a buffer, memory attributes, permanent revocation, cookies,
 * the memory model of any dma-buf, a list of buffers, and events. Without the module, these
 * functions fail, and the error names the module: -EOPNOTSUPP if the device must be bound to
 * peerbar-vfio-pci, -ENOENT if the module peerbar is not loaded. pb_capabilities() reports
 * beforehand which of them work.
 *
 * Conventions, for every function unless its description differs:
 *
 * - A function that returns int returns 0 on success and a negative errno on failure. A function
 *   that fails undoes what it began, and changes nothing. Counts and results are returned through
 *   pointers. Exception: functions named *_fd, except *_from_fd, return a descriptor and cannot
 *   fail.
 * - @err may be NULL. On failure it receives the errno and one sentence: the request, the reason,
 *   and the remedy. On success it is not written.
 * - Any function that allocates may also fail with -ENOMEM. A failed system call may return any
 *   other errno; the sentence then names the call.
 * - Functions may be called from several threads at a time, on the same objects. Exception: no
 *   other call may use an object while or after it is freed (close, destroy, unmap).
 * - An object holds references to the objects it was made from. A &struct pb_iommu may be closed
 *   while a device of it is open.
 * - Sizes, offsets and addresses are in bytes. "Page" is the system's page, sysconf(_SC_PAGESIZE).
 * - All file descriptors are opened with O_CLOEXEC. The library does not abort, start threads or
 *   keep global state. It prints only if the environment variable PEERBAR_DEBUG asks for it, which
 *   is read once: see libpeerbar(3).
 */
#ifndef PEERBAR_H
#define PEERBAR_H

/*
 * All of libpeerbar. A program may include the headers of the subjects that it uses instead: each
 * stands alone. <peerbar/guest.h> is for authors of VMMs alone.
 */
#include <peerbar/api.h>
#include <peerbar/buffer.h>
#include <peerbar/capabilities.h>
#include <peerbar/device.h>
#include <peerbar/error.h>
#include <peerbar/guest.h>
#include <peerbar/importers.h>
#include <peerbar/ioas.h>
#include <peerbar/pci.h>
#include <peerbar/rdma-link.h>
#include <peerbar/watch.h>

#endif
