/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * The devices of the test modules, for tests that root runs:
 *
 *	/dev/peerbar-test-exporter	exports dma-bufs of each model, from system memory, and
 *					from a BAR
 *	/dev/peerbar-test-importer	attaches to any dma-buf as each kind of importer, and
 *					reads page tables
 *
 * A reserved field must be 0; otherwise the call fails with EINVAL. A descriptor that is not a
 * dma-buf's fails with EBADF or EINVAL.
 */
#ifndef PEERBAR_TEST_H
#define PEERBAR_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PEERBAR_TEST_IOC 0xB6

#define PEERBAR_TEST_EXPORTER "peerbar-test-exporter"
#define PEERBAR_TEST_IMPORTER "peerbar-test-importer"

/* ---- exporter ---- */

/*
 * enum peerbar_test_source - the exporter of a dma-buf
 * @PEERBAR_TEST_SOURCE_CORE: peerbar's core
 * @PEERBAR_TEST_SOURCE_FOREIGN: the test module itself, without declaring the model. PINNED accepts
 *	all importers and has no pin operation. REVOCABLE refuses importers that cannot be revoked.
 *	DYNAMIC has a pin operation.
 * @PEERBAR_TEST_SOURCE_DECLARED: behaves as REVOCABLE, except for PINNED, and declares its model to
 *	the core
 * @PEERBAR_TEST_SOURCE_REFUSING: refuses every attachment with EOPNOTSUPP, so that the model cannot
 *	be derived
 */
enum peerbar_test_source {
	PEERBAR_TEST_SOURCE_CORE,
	PEERBAR_TEST_SOURCE_FOREIGN,
	PEERBAR_TEST_SOURCE_DECLARED,
	PEERBAR_TEST_SOURCE_REFUSING,
};

#define PEERBAR_TEST_RANGES    16
#define PEERBAR_TEST_RANGE_MAX 0x400000

/*
 * EXPORT - export a dma-buf of zeroed memory; returns its descriptor
 * @source: enum peerbar_test_source
 * @model: enum peerbar_model of <linux/peerbar.h>, not UNKNOWN
 * @nr_ranges: 1 to PEERBAR_TEST_RANGES
 * @reserved: 0
 * @lengths: lengths of the ranges: multiples of the page size, not 0, at most
 *	PEERBAR_TEST_RANGE_MAX. Each range is contiguous, and aligned to its length rounded up to a
 *	power of two. The remaining elements are 0.
 *
 * A DYNAMIC dma-buf has two places, A and B, and begins in A. In the place not in use, all bytes
 * are PEERBAR_TEST_POISON.
 */
struct peerbar_test_export {
	__u32 source;
	__u32 model;
	__u32 nr_ranges;
	__u32 reserved;
	__aligned_u64 lengths[PEERBAR_TEST_RANGES];
};

#define PEERBAR_TEST_EXPORT _IOW(PEERBAR_TEST_IOC, 0x00, struct peerbar_test_export)

#define PEERBAR_TEST_POISON 0x5b

/*
 * enum peerbar_test_place - a memory location of a DYNAMIC dma-buf
 * @PEERBAR_TEST_PLACE_HERE: the place in use
 * @PEERBAR_TEST_PLACE_THERE: B if A is in use, otherwise A
 * @PEERBAR_TEST_PLACE_A: the first place; the only one of a dma-buf that is not DYNAMIC
 * @PEERBAR_TEST_PLACE_B: the second place
 * @PEERBAR_TEST_PLACE_SYSTEM: system memory; only VRAM
 */
enum peerbar_test_place {
	PEERBAR_TEST_PLACE_HERE,
	PEERBAR_TEST_PLACE_THERE,
	PEERBAR_TEST_PLACE_A,
	PEERBAR_TEST_PLACE_B,
	PEERBAR_TEST_PLACE_SYSTEM,
};

/*
 * MOVE - move a DYNAMIC dma-buf, with its contents
 * @fd: the dma-buf
 * @place: in: the destination; out: the place in use now, A, B or SYSTEM
 *
 * Fails with EINVAL if it is not DYNAMIC; EBUSY while an importer pins it; ENODEV while it is
 * revoked; EINTR. Moving to the place in use does nothing.
 */
struct peerbar_test_move {
	__s32 fd;
	__u32 place;
};

#define PEERBAR_TEST_MOVE _IOWR(PEERBAR_TEST_IOC, 0x01, struct peerbar_test_move)

/*
 * AUTOMOVE - move a DYNAMIC dma-buf back and forth periodically, until stopped or the exporter's
 * descriptor is closed
 * @fd: the dma-buf, which is kept while it moves
 * @period_ms: interval of the moves; at most 60000; 0 stops them
 */
struct peerbar_test_automove {
	__s32 fd;
	__u32 period_ms;
};

#define PEERBAR_TEST_AUTOMOVE _IOW(PEERBAR_TEST_IOC, 0x02, struct peerbar_test_automove)

/*
 * REVOKE - revoke the memory temporarily, and wait until importers have unmapped
 * RESTORE - restore it; ENODEV if it is dead
 * KILL - revoke it permanently, and wait likewise
 * @fd: the dma-buf; EOPNOTSUPP if it is PINNED
 * @reserved: 0
 *
 * EINTR: it is revoked, but an importer has not unmapped yet; a repeated call waits again.
 */
struct peerbar_test_fd {
	__s32 fd;
	__u32 reserved;
};

#define PEERBAR_TEST_REVOKE  _IOW(PEERBAR_TEST_IOC, 0x03, struct peerbar_test_fd)
#define PEERBAR_TEST_RESTORE _IOW(PEERBAR_TEST_IOC, 0x04, struct peerbar_test_fd)
#define PEERBAR_TEST_KILL    _IOW(PEERBAR_TEST_IOC, 0x05, struct peerbar_test_fd)

/*
 * READ, WRITE - read or write the memory, revoked or not
 * @fd: the dma-buf
 * @place: enum peerbar_test_place; ENXIO if there is no such place
 * @offset: bytes from its beginning
 * @length: at most PEERBAR_TEST_IO_MAX; ERANGE past the end
 * @data: address of the caller's buffer
 */
struct peerbar_test_io {
	__s32 fd;
	__u32 place;
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 data;
};

#define PEERBAR_TEST_IO_MAX 0x100000

#define PEERBAR_TEST_READ  _IOW(PEERBAR_TEST_IOC, 0x06, struct peerbar_test_io)
#define PEERBAR_TEST_WRITE _IOW(PEERBAR_TEST_IOC, 0x07, struct peerbar_test_io)

/*
 * WHERE - report the location of the memory
 * @fd: the dma-buf
 * @place: in: enum peerbar_test_place; out: the place it resolves to, A, B or SYSTEM; ENXIO if
 *	there is no such place, ERANGE if nothing has been in SYSTEM yet
 * @offset: bytes from its beginning; ERANGE past the end
 * @paddr: out: the physical address of that byte in that place
 * @bar_offset: out: its offset in the BAR; PEERBAR_TEST_NO_BAR if it is in system memory
 * @moves: out: number of moves
 * @maps: out: number of DMA mappings
 * @pins: out: number of pins
 * @pad: 0
 */
struct peerbar_test_where {
	__s32 fd;
	__u32 place;
	__aligned_u64 offset;
	__aligned_u64 paddr;
	__aligned_u64 bar_offset;
	__u32 moves;
	__u32 maps;
	__u32 pins;
	__u32 pad;
};

#define PEERBAR_TEST_NO_BAR (~0ULL)

#define PEERBAR_TEST_WHERE _IOWR(PEERBAR_TEST_IOC, 0x08, struct peerbar_test_where)

/*
 * enum peerbar_test_operation - an operation of the exporter that can fail
 */
enum peerbar_test_operation {
	PEERBAR_TEST_FAIL_MAP,
	PEERBAR_TEST_FAIL_PIN,
};

/*
 * FAIL - let an operation of the exporter fail
 * @fd: the dma-buf; EOPNOTSUPP if it is the core's
 * @operation: enum peerbar_test_operation
 * @error: the errno, also one of the kernel's own such as 524; 0: it succeeds again
 * @times: how often; 0: always
 */
struct peerbar_test_fail {
	__s32 fd;
	__u32 operation;
	__u32 error;
	__u32 times;
};

#define PEERBAR_TEST_FAIL _IOW(PEERBAR_TEST_IOC, 0x09, struct peerbar_test_fail)

/*
 * COPY_BEGIN - act as if the exporter copied the memory to its place: the reservation object gets a
 *	fence of usage KERNEL, for which importers wait before they access the memory; EBUSY if it
 *	has one
 * COPY_END - signal the fence; EINVAL if there is none. The end of the dma-buf does the same
 * @fd: the dma-buf
 * @reserved: 0
 */
#define PEERBAR_TEST_COPY_BEGIN _IOW(PEERBAR_TEST_IOC, 0x0b, struct peerbar_test_fd)
#define PEERBAR_TEST_COPY_END	_IOW(PEERBAR_TEST_IOC, 0x0c, struct peerbar_test_fd)

/*
 * VRAM: DYNAMIC dma-bufs in the largest memory BAR of a PCI function that is bound to the driver
 * peerbar-test-vram (by driver_override). They have the manners of GPU drivers:
 *
 * - A pin keeps it in the BAR if P2P reaches the BAR from all attached importers, and moves it back
 *   there from system memory. Otherwise a pin migrates it to system memory.
 * - Mapping it for an importer from which P2P does not reach the BAR migrates it to system memory
 *   too. While it is pinned in the BAR, such a pin or mapping fails with EINVAL.
 * - Moving or migrating it copies the contents, and poisons the old place.
 * - While it is pinned, it does not move, but it can be revoked. Revoking fails with EBUSY if an
 *   importer that cannot be invalidated maps it; it is revoked nevertheless.
 *
 * @PEERBAR_TEST_VRAM_NO_PIN: the exporter has no pin operation (i915)
 * @PEERBAR_TEST_VRAM_STAY: it does not migrate by itself: where P2P does not reach the BAR, pinning
 *	and mapping fail with EOPNOTSUPP
 * @PEERBAR_TEST_VRAM_STATIC_MIGRATES: it migrates to system memory when an importer attaches that
 *	cannot be invalidated
 * @PEERBAR_TEST_VRAM_ATTACH_MIGRATES: it migrates to system memory when an importer attaches (i915)
 * @PEERBAR_TEST_VRAM_UNTRANSLATED: in the BAR, DMA addresses are physical addresses; the importer's
 *	IOMMU does not map them
 * @PEERBAR_TEST_VRAM_DECLARED: the exporter declares to the core what it is, can, and where it is;
 *	not with NO_PIN
 */
#define PEERBAR_TEST_VRAM_NO_PIN	  0x1
#define PEERBAR_TEST_VRAM_STAY		  0x2
#define PEERBAR_TEST_VRAM_STATIC_MIGRATES 0x4
#define PEERBAR_TEST_VRAM_ATTACH_MIGRATES 0x8
#define PEERBAR_TEST_VRAM_UNTRANSLATED	  0x10
#define PEERBAR_TEST_VRAM_DECLARED	  0x20
#define PEERBAR_TEST_VRAM_FLAGS		  0x3f

#define PEERBAR_TEST_VRAM_DRIVER   "peerbar-test-vram"
#define PEERBAR_TEST_VRAM_SEGMENTS 4096

/*
 * struct peerbar_test_vram_segment - contiguous memory of VRAM
 * @a: offset in the BAR, of place A
 * @b: of place B
 * @length: bytes. All are multiples of the page size
 */
struct peerbar_test_vram_segment {
	__aligned_u64 a;
	__aligned_u64 b;
	__aligned_u64 length;
};

/*
 * EXPORT_VRAM - export a dma-buf that begins in place A; returns its descriptor. A keeps the bytes
 * that it has, B is poisoned
 * @device: the PCI function, as "0000:01:00.0"; ENODEV if the driver is not bound to it
 * @flags: PEERBAR_TEST_VRAM_*
 * @nr_segments: 1 to PEERBAR_TEST_VRAM_SEGMENTS
 * @segments: address of the segments. ERANGE past the end of the BAR. Segments may overlap those of
 *	other dma-bufs
 */
struct peerbar_test_export_vram {
	char device[32];
	__u32 flags;
	__u32 nr_segments;
	__aligned_u64 segments;
};

#define PEERBAR_TEST_EXPORT_VRAM _IOW(PEERBAR_TEST_IOC, 0x0a, struct peerbar_test_export_vram)

/* ---- importer ---- */

/*
 * enum peerbar_test_kind - abilities of an importer, and the models that it accepts
 * @PEERBAR_TEST_KIND_STATIC: dma_buf_attach(), cannot be invalidated. Accepts PINNED
 * @PEERBAR_TEST_KIND_PINNING: cannot be invalidated, and calls dma_buf_pin(). Accepts PINNED
 * @PEERBAR_TEST_KIND_REVOCABLE: when invalidated, unmaps at once, and never maps again. Accepts
 *	PINNED, REVOCABLE
 * @PEERBAR_TEST_KIND_LATE: when invalidated, unmaps later, and never maps again. Accepts PINNED,
 *	REVOCABLE
 * @PEERBAR_TEST_KIND_FENCED: as LATE; while mapped, it has a fence in the reservation object, which
 *	it signals before it unmaps
 * @PEERBAR_TEST_KIND_DYNAMIC: when invalidated, unmaps at once, and can map again. Accepts every
 *	model, also UNKNOWN
 */
enum peerbar_test_kind {
	PEERBAR_TEST_KIND_STATIC,
	PEERBAR_TEST_KIND_PINNING,
	PEERBAR_TEST_KIND_REVOCABLE,
	PEERBAR_TEST_KIND_LATE,
	PEERBAR_TEST_KIND_FENCED,
	PEERBAR_TEST_KIND_DYNAMIC,
};

/*
 * ATTACH - attach an importer; returns a handle above 0, which belongs to the importer's
 * descriptor. Closing the descriptor detaches all
 * @fd: the dma-buf
 * @kind: enum peerbar_test_kind
 * @flags: PEERBAR_TEST_ATTACH_*
 * @delay_ms: delay of LATE and FENCED after an invalidation; PEERBAR_TEST_NEVER: until RELEASE, or
 *	the end of the descriptor. Don't use NEVER in a process that may be killed: its exit may
 *	wait for a lock of a task that waits for this importer. 0 for the others
 * @device: the PCI function that imports, as "0000:01:00.0", ENODEV if there is none; "" for a
 *	device that is not a PCI device and reaches all memory
 *
 * Fails with EOPNOTSUPP if the importer does not accept the model; the kernel log contains the
 * reason. Otherwise fails with the exporter's errors.
 */
struct peerbar_test_attach {
	__s32 fd;
	__u32 kind;
	__u32 flags;
	__u32 delay_ms;
	char device[32];
};

#define PEERBAR_TEST_ATTACH_ANY	  0x1 /* don't check the model */
#define PEERBAR_TEST_ATTACH_AGAIN 0x2 /* can map again after an invalidation */

#define PEERBAR_TEST_NEVER 0xffffffffU

#define PEERBAR_TEST_ATTACH _IOW(PEERBAR_TEST_IOC, 0x20, struct peerbar_test_attach)

#define PEERBAR_TEST_SEGMENTS 32

struct peerbar_test_segment {
	__aligned_u64 addr;
	__aligned_u64 len;
};

/*
 * MAP - map for DMA
 * @handle: ENOENT if there is no such handle
 * @direction: 0 both, 1 the device reads, 2 the device writes (enum dma_data_direction)
 * @nr_segments: out: number of segments
 * @reserved: 0
 * @segments: out: DMA addresses of the first PEERBAR_TEST_SEGMENTS of them
 *
 * Fails with EBUSY if it is mapped; ESTALE if it was invalidated and cannot map again; ENODEV if
 * its device is gone. Otherwise fails with the exporter's errors.
 */
struct peerbar_test_map {
	__u32 handle;
	__u32 direction;
	__u32 nr_segments;
	__u32 reserved;
	struct peerbar_test_segment segments[PEERBAR_TEST_SEGMENTS];
};

#define PEERBAR_TEST_MAP _IOWR(PEERBAR_TEST_IOC, 0x21, struct peerbar_test_map)

/*
 * UNMAP - unmap; EINVAL if it is not mapped; ENODEV if its device is gone
 * DETACH - detach; unmaps first if mapped
 * RELEASE - signal the fence; if it was invalidated, unmap now. EINVAL if it is not LATE or FENCED
 * @handle: ENOENT if there is no such handle
 * @reserved: 0
 */
struct peerbar_test_handle {
	__u32 handle;
	__u32 reserved;
};

#define PEERBAR_TEST_UNMAP   _IOW(PEERBAR_TEST_IOC, 0x22, struct peerbar_test_handle)
#define PEERBAR_TEST_DETACH  _IOW(PEERBAR_TEST_IOC, 0x23, struct peerbar_test_handle)
#define PEERBAR_TEST_RELEASE _IOW(PEERBAR_TEST_IOC, 0x24, struct peerbar_test_handle)

/*
 * STATUS - report the status; takes no lock, so it returns while a revocation waits
 * @handle: ENOENT if there is no such handle
 * @flags: out: PEERBAR_TEST_STATUS_*
 * @invalidations: out: number of invalidations, mapped or not
 * @reserved: 0
 */
struct peerbar_test_status {
	__u32 handle;
	__u32 flags;
	__u32 invalidations;
	__u32 reserved;
};

#define PEERBAR_TEST_STATUS_MAPPED 0x1
#define PEERBAR_TEST_STATUS_STALE  0x2 /* invalidated while mapped; not mapped since */
#define PEERBAR_TEST_STATUS_FENCE  0x4 /* has a fence that is not signalled */
#define PEERBAR_TEST_STATUS_GONE   0x8 /* its device was removed */

#define PEERBAR_TEST_STATUS _IOWR(PEERBAR_TEST_IOC, 0x25, struct peerbar_test_status)

#define PEERBAR_TEST_CHUNKS_MAX 16
#define PEERBAR_TEST_ADDRS_MAX	128

/*
 * CHUNKS - call peerbar_dma_buf_get_chunks(); fails with its errors, or EOVERFLOW if the result
 * does not fit
 * @handle: ENOENT if there is no such handle
 * @nr_chunks: out
 * @nr_addrs: out: total of all chunks
 * @reserved: 0
 * @chunks: out
 * @addrs: out: physical addresses of the first chunk, of the second, ...
 */
struct peerbar_test_chunks {
	__u32 handle;
	__u32 nr_chunks;
	__u32 nr_addrs;
	__u32 reserved;
	struct {
		__u32 has_provider;
		__u32 nr_addrs;
	} chunks[PEERBAR_TEST_CHUNKS_MAX];
	struct peerbar_test_segment addrs[PEERBAR_TEST_ADDRS_MAX];
};

#define PEERBAR_TEST_CHUNKS _IOWR(PEERBAR_TEST_IOC, 0x26, struct peerbar_test_chunks)

/*
 * PFN - call peerbar_dma_buf_get_pfn(); fails with its errors
 * @handle: ENOENT if there is no such handle
 * @max_order: the largest order that the caller can use
 * @offset: bytes
 * @pfn: out
 * @order: out
 * @reserved: 0
 */
struct peerbar_test_pfn {
	__u32 handle;
	__u32 max_order;
	__aligned_u64 offset;
	__aligned_u64 pfn;
	__u32 order;
	__u32 reserved;
};

#define PEERBAR_TEST_PFN _IOWR(PEERBAR_TEST_IOC, 0x27, struct peerbar_test_pfn)

/* enum peerbar_test_cache - cache mode of a page; NC is UC- or UC */
enum peerbar_test_cache {
	PEERBAR_TEST_CACHE_OTHER,
	PEERBAR_TEST_CACHE_NC,
	PEERBAR_TEST_CACHE_WC,
	PEERBAR_TEST_CACHE_WB,
	PEERBAR_TEST_CACHE_DEV, /* arm64 only */
};

/*
 * PTE - read a page table entry, without a fault
 * @pid: the process; 0 for the caller; ESRCH if there is none
 * @reserved: 0
 * @address: EFAULT if nothing is mapped there, EINVAL if the mapping is neither VM_IO nor
 *	VM_PFNMAP, ENOENT if the entry is empty
 * @pfn: out: the frame at @address
 * @size: out: bytes that the entry maps: a page, 2 MiB, 1 GiB
 * @cache: out: enum peerbar_test_cache
 * @writable: out
 * @any_uncached: out: the mapping has VM_ALLOW_ANY_UNCACHED
 * @pad: 0
 */
struct peerbar_test_pte {
	__s32 pid;
	__u32 reserved;
	__aligned_u64 address;
	__aligned_u64 pfn;
	__aligned_u64 size;
	__u32 cache;
	__u32 writable;
	__u32 any_uncached;
	__u32 pad;
};

#define PEERBAR_TEST_PTE _IOWR(PEERBAR_TEST_IOC, 0x28, struct peerbar_test_pte)

/*
 * MODEL - call peerbar_dma_buf_model()
 * @fd: the dma-buf
 * @reserved: 0
 * @model: out: enum peerbar_model
 * @declared: out: 1 if the exporter declares the model, 0 if it is derived from its behaviour
 */
struct peerbar_test_model {
	__s32 fd;
	__u32 reserved;
	__u32 model;
	__u32 declared;
};

#define PEERBAR_TEST_MODEL _IOWR(PEERBAR_TEST_IOC, 0x29, struct peerbar_test_model)

/*
 * UNMAPPABLE - mark a PCI function as one whose BARs the CPU cannot map, as on some other
 * architectures. VFIO checks the mark when the device is opened
 * @device: its address; ENODEV if there is none
 * @unmappable: 0 or 1
 */
struct peerbar_test_unmappable {
	char device[32];
	__u32 unmappable;
};

#define PEERBAR_TEST_UNMAPPABLE _IOW(PEERBAR_TEST_IOC, 0x2a, struct peerbar_test_unmappable)

#endif
