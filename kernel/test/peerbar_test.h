/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * The devices of the test modules, for tests that the super-user runs:
 *
 *	/dev/peerbar-test-exporter	makes dma-bufs of each model, from system memory
 *	/dev/peerbar-test-importer	attaches to any dma-buf, as importers of each kind do, and looks at page tables
 *
 * Reserved fields are 0, or the call fails with EINVAL. A dma-buf's descriptor that is none: EBADF, EINVAL.
 */
#ifndef PEERBAR_TEST_H
#define PEERBAR_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PEERBAR_TEST_IOC	0xB6

#define PEERBAR_TEST_EXPORTER	"peerbar-test-exporter"
#define PEERBAR_TEST_IMPORTER	"peerbar-test-importer"

/* ---- the exporter ---- */

/*
 * enum peerbar_test_source - who exports
 * @PEERBAR_TEST_SOURCE_CORE: peerbar's core
 * @PEERBAR_TEST_SOURCE_FOREIGN: the test module by itself; only its behaviour tells the model. PINNED takes every importer and
 *	offers no pin, REVOCABLE refuses importers that cannot be revoked, DYNAMIC offers pin
 * @PEERBAR_TEST_SOURCE_DECLARED: as REVOCABLE by behaviour, but for PINNED; it tells the core its model
 * @PEERBAR_TEST_SOURCE_REFUSING: refuses every attachment with EOPNOTSUPP, so that nothing tells the model
 */
enum peerbar_test_source {
	PEERBAR_TEST_SOURCE_CORE,
	PEERBAR_TEST_SOURCE_FOREIGN,
	PEERBAR_TEST_SOURCE_DECLARED,
	PEERBAR_TEST_SOURCE_REFUSING,
};

#define PEERBAR_TEST_RANGES	16
#define PEERBAR_TEST_RANGE_MAX	0x400000

/*
 * EXPORT - make a dma-buf of zeroed memory; returns its descriptor
 * @source: enum peerbar_test_source
 * @model: enum peerbar_model of <linux/peerbar.h>, not UNKNOWN
 * @nr_ranges: 1 to PEERBAR_TEST_RANGES
 * @reserved: 0
 * @lengths: of the ranges: multiples of the page size, not 0, at most PEERBAR_TEST_RANGE_MAX. Each is contiguous, and aligned to
 *	its length rounded up to a power of two. The rest are 0.
 *
 * A DYNAMIC one has two places, A and B, and begins in A. Where it is not, all bytes are PEERBAR_TEST_POISON.
 */
struct peerbar_test_export {
	__u32 source;
	__u32 model;
	__u32 nr_ranges;
	__u32 reserved;
	__aligned_u64 lengths[PEERBAR_TEST_RANGES];
};

#define PEERBAR_TEST_EXPORT	_IOW(PEERBAR_TEST_IOC, 0x00, struct peerbar_test_export)

#define PEERBAR_TEST_POISON	0x5b

/*
 * enum peerbar_test_place - where the memory of a DYNAMIC dma-buf is
 * @PEERBAR_TEST_PLACE_HERE: where it is now
 * @PEERBAR_TEST_PLACE_THERE: where it is not now
 * @PEERBAR_TEST_PLACE_A: the first place; the only one of a dma-buf that is not DYNAMIC
 * @PEERBAR_TEST_PLACE_B: the second
 */
enum peerbar_test_place {
	PEERBAR_TEST_PLACE_HERE,
	PEERBAR_TEST_PLACE_THERE,
	PEERBAR_TEST_PLACE_A,
	PEERBAR_TEST_PLACE_B,
};

/*
 * MOVE - move a DYNAMIC dma-buf, with its contents
 * @fd: the dma-buf
 * @place: in: where to; out: where it is now, A or B
 *
 * EINVAL if it is not DYNAMIC; EBUSY while an importer pins it; ENODEV while it is revoked; EINTR. Moving to where it is does
 * nothing.
 */
struct peerbar_test_move {
	__s32 fd;
	__u32 place;
};

#define PEERBAR_TEST_MOVE	_IOWR(PEERBAR_TEST_IOC, 0x01, struct peerbar_test_move)

/*
 * AUTOMOVE - let a DYNAMIC dma-buf move to and fro by itself, until told otherwise or the exporter's descriptor is closed
 * @fd: the dma-buf, which lives at least as long as it moves
 * @period_ms: how often; at most 60000; 0 stops it
 */
struct peerbar_test_automove {
	__s32 fd;
	__u32 period_ms;
};

#define PEERBAR_TEST_AUTOMOVE	_IOW(PEERBAR_TEST_IOC, 0x02, struct peerbar_test_automove)

/*
 * REVOKE - take the memory away for now, and wait until importers have let go
 * RESTORE - give it back; ENODEV if it is gone for good
 * KILL - take it away for good, and wait likewise
 * @fd: the dma-buf; EOPNOTSUPP if it is PINNED
 * @reserved: 0
 *
 * EINTR: it is taken away, but an importer has not let go yet; asking again waits again.
 */
struct peerbar_test_fd {
	__s32 fd;
	__u32 reserved;
};

#define PEERBAR_TEST_REVOKE	_IOW(PEERBAR_TEST_IOC, 0x03, struct peerbar_test_fd)
#define PEERBAR_TEST_RESTORE	_IOW(PEERBAR_TEST_IOC, 0x04, struct peerbar_test_fd)
#define PEERBAR_TEST_KILL	_IOW(PEERBAR_TEST_IOC, 0x05, struct peerbar_test_fd)

/*
 * READ, WRITE - look at, or change the memory, whether it is revoked or not
 * @fd: the dma-buf
 * @place: enum peerbar_test_place; ENXIO if there is no such place
 * @offset: bytes from its beginning
 * @length: at most PEERBAR_TEST_IO_MAX; ERANGE past the end
 * @data: address of the caller's bytes
 */
struct peerbar_test_io {
	__s32 fd;
	__u32 place;
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 data;
};

#define PEERBAR_TEST_IO_MAX	0x100000

#define PEERBAR_TEST_READ	_IOW(PEERBAR_TEST_IOC, 0x06, struct peerbar_test_io)
#define PEERBAR_TEST_WRITE	_IOW(PEERBAR_TEST_IOC, 0x07, struct peerbar_test_io)

/*
 * WHERE - where the memory is
 * @fd: the dma-buf
 * @place: in: enum peerbar_test_place; out: which that is, A or B
 * @offset: bytes from its beginning; ERANGE past the end
 * @paddr: out: the physical address of that byte in that place
 * @moves: out: how often it moved
 * @maps: out: how many DMA mappings there are
 */
struct peerbar_test_where {
	__s32 fd;
	__u32 place;
	__aligned_u64 offset;
	__aligned_u64 paddr;
	__u32 moves;
	__u32 maps;
};

#define PEERBAR_TEST_WHERE	_IOWR(PEERBAR_TEST_IOC, 0x08, struct peerbar_test_where)

/* ---- the importer ---- */

/*
 * enum peerbar_test_kind - what an importer can do, and which models it takes
 * @PEERBAR_TEST_KIND_STATIC: dma_buf_attach(): keeps its mapping as long as it likes. PINNED
 * @PEERBAR_TEST_KIND_PINNING: the same, with dma_buf_pin(). PINNED
 * @PEERBAR_TEST_KIND_REVOCABLE: when told, unmaps at once, and never maps again. PINNED, REVOCABLE
 * @PEERBAR_TEST_KIND_LATE: when told, unmaps later, and never maps again. PINNED, REVOCABLE
 * @PEERBAR_TEST_KIND_FENCED: LATE, and while it maps it has a fence in the reservation object, which it signals before it unmaps
 * @PEERBAR_TEST_KIND_DYNAMIC: when told, unmaps at once, and can map again. Every model, UNKNOWN too
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
 * ATTACH - returns a handle, which is above 0 and belongs to the importer's descriptor: closing it detaches all
 * @fd: the dma-buf
 * @kind: enum peerbar_test_kind
 * @flags: PEERBAR_TEST_ATTACH_*
 * @delay_ms: how long LATE and FENCED wait when told; PEERBAR_TEST_NEVER: until RELEASE. 0 for the others
 * @device: the PCI function that imports, as "0000:01:00.0", ENODEV if there is none; "" for one that is no PCI device, and that
 *	reaches all of memory
 *
 * EOPNOTSUPP if the importer does not take the model; the kernel's log says why. Otherwise, the exporter's errors.
 */
struct peerbar_test_attach {
	__s32 fd;
	__u32 kind;
	__u32 flags;
	__u32 delay_ms;
	char device[32];
};

#define PEERBAR_TEST_ATTACH_ANY		0x1	/* do not ask for the model */
#define PEERBAR_TEST_ATTACH_AGAIN	0x2	/* do map again after having been told to let go */

#define PEERBAR_TEST_NEVER		0xffffffffU

#define PEERBAR_TEST_ATTACH	_IOW(PEERBAR_TEST_IOC, 0x20, struct peerbar_test_attach)

#define PEERBAR_TEST_SEGMENTS	32

struct peerbar_test_segment {
	__aligned_u64 addr;
	__aligned_u64 len;
};

/*
 * MAP - map for DMA
 * @handle: ENOENT if there is none such
 * @direction: 0 both, 1 the device reads, 2 the device writes (enum dma_data_direction)
 * @nr_segments: out: how many there are
 * @reserved: 0
 * @segments: out: DMA addresses of the first of them
 *
 * EBUSY if it is mapped; ESTALE if it has been told to let go, and never maps again; ENODEV if its device is gone. Otherwise, the
 * exporter's errors.
 */
struct peerbar_test_map {
	__u32 handle;
	__u32 direction;
	__u32 nr_segments;
	__u32 reserved;
	struct peerbar_test_segment segments[PEERBAR_TEST_SEGMENTS];
};

#define PEERBAR_TEST_MAP	_IOWR(PEERBAR_TEST_IOC, 0x21, struct peerbar_test_map)

/*
 * UNMAP - EINVAL if it is not mapped; ENODEV if its device is gone
 * DETACH - unmaps, if need be
 * RELEASE - signal the fence, and if it was told to let go, unmap now; EINVAL if it is not LATE or FENCED
 * @handle: ENOENT if there is none such
 * @reserved: 0
 */
struct peerbar_test_handle {
	__u32 handle;
	__u32 reserved;
};

#define PEERBAR_TEST_UNMAP	_IOW(PEERBAR_TEST_IOC, 0x22, struct peerbar_test_handle)
#define PEERBAR_TEST_DETACH	_IOW(PEERBAR_TEST_IOC, 0x23, struct peerbar_test_handle)
#define PEERBAR_TEST_RELEASE	_IOW(PEERBAR_TEST_IOC, 0x24, struct peerbar_test_handle)

/*
 * STATUS - takes no lock, so it answers while a revocation waits
 * @handle: ENOENT if there is none such
 * @flags: out: PEERBAR_TEST_STATUS_*
 * @invalidations: out: how often it was told to let go, mapped or not
 * @reserved: 0
 */
struct peerbar_test_status {
	__u32 handle;
	__u32 flags;
	__u32 invalidations;
	__u32 reserved;
};

#define PEERBAR_TEST_STATUS_MAPPED	0x1
#define PEERBAR_TEST_STATUS_STALE	0x2	/* told to let go while it was mapped, and not mapped again since */
#define PEERBAR_TEST_STATUS_FENCE	0x4	/* has a fence that is not signalled */
#define PEERBAR_TEST_STATUS_GONE	0x8	/* its device was removed */

#define PEERBAR_TEST_STATUS	_IOWR(PEERBAR_TEST_IOC, 0x25, struct peerbar_test_status)

#define PEERBAR_TEST_CHUNKS_MAX	16
#define PEERBAR_TEST_ADDRS_MAX	128

/*
 * CHUNKS - the memory as peerbar_dma_buf_get_chunks() tells it, with its errors; EOVERFLOW if there is no room
 * @handle: ENOENT if there is none such
 * @nr_chunks: out
 * @nr_addrs: out: of all chunks
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

#define PEERBAR_TEST_CHUNKS	_IOWR(PEERBAR_TEST_IOC, 0x26, struct peerbar_test_chunks)

/*
 * PFN - one page frame as peerbar_dma_buf_get_pfn() tells it, with its errors
 * @handle: ENOENT if there is none such
 * @max_order: the largest order that is of interest
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

#define PEERBAR_TEST_PFN	_IOWR(PEERBAR_TEST_IOC, 0x27, struct peerbar_test_pfn)

/* enum peerbar_test_cache - how a page is cached; NC is UC- or UC */
enum peerbar_test_cache {
	PEERBAR_TEST_CACHE_OTHER,
	PEERBAR_TEST_CACHE_NC,
	PEERBAR_TEST_CACHE_WC,
	PEERBAR_TEST_CACHE_WB,
};

/*
 * PTE - what a page table says; it does not fault the page in
 * @pid: whose; 0: the caller's; ESRCH if there is none
 * @reserved: 0
 * @address: EFAULT if nothing is mapped there, EINVAL if it is not memory of this sort, ENOENT if no page is there now
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

#define PEERBAR_TEST_PTE	_IOWR(PEERBAR_TEST_IOC, 0x28, struct peerbar_test_pte)

/*
 * MODEL - as peerbar_dma_buf_model() tells it
 * @fd: the dma-buf
 * @reserved: 0
 * @model: out: enum peerbar_model
 * @declared: out: 1 if the exporter said so, 0 if its behaviour did
 */
struct peerbar_test_model {
	__s32 fd;
	__u32 reserved;
	__u32 model;
	__u32 declared;
};

#define PEERBAR_TEST_MODEL	_IOWR(PEERBAR_TEST_IOC, 0x29, struct peerbar_test_model)

/*
 * UNMAPPABLE - mark a PCI function as one whose BARs the CPU cannot map, as some are on other architectures; VFIO looks when the
 * device is opened
 * @device: its address; ENODEV if there is none
 * @unmappable: 0 or 1
 */
struct peerbar_test_unmappable {
	char device[32];
	__u32 unmappable;
};

#define PEERBAR_TEST_UNMAPPABLE	_IOW(PEERBAR_TEST_IOC, 0x2a, struct peerbar_test_unmappable)

#endif
