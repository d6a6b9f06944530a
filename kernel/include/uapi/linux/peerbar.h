/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * peerbar: queries about dma-bufs (/dev/peerbar), features of VFIO devices bound to
 * peerbar-vfio-pci, and the generic netlink family that lists buffers and reports their events.
 * docs/uapi.md describes each with its errnos.
 */
#ifndef _UAPI_LINUX_PEERBAR_H
#define _UAPI_LINUX_PEERBAR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * enum peerbar_model - what the exporter of a dma-buf guarantees about its memory
 * @PEERBAR_MODEL_UNKNOWN: not declared, and cannot be derived from the exporter's behaviour
 * @PEERBAR_MODEL_PINNED: never moves, and stays while attached
 * @PEERBAR_MODEL_REVOCABLE: never moves, may be revoked; importers must be able to invalidate
 * @PEERBAR_MODEL_DYNAMIC: may move at any time; importers must be able to invalidate and remap
 */
enum peerbar_model {
	PEERBAR_MODEL_UNKNOWN,
	PEERBAR_MODEL_PINNED,
	PEERBAR_MODEL_REVOCABLE,
	PEERBAR_MODEL_DYNAMIC,
};

/*
 * enum peerbar_state - whether the memory of a buffer is reachable
 * @PEERBAR_STATE_UNKNOWN: the exporter is not peerbar's, and it is not known
 * @PEERBAR_STATE_LIVE: reachable
 * @PEERBAR_STATE_REVOKED: unreachable, but may become LIVE again (memory decoding off, reset, D3)
 * @PEERBAR_STATE_DEAD: unreachable permanently
 */
enum peerbar_state {
	PEERBAR_STATE_UNKNOWN,
	PEERBAR_STATE_LIVE,
	PEERBAR_STATE_REVOKED,
	PEERBAR_STATE_DEAD,
};

/*
 * enum peerbar_basis - how a property of a dma-buf is known
 * @PEERBAR_BASIS_NONE: it is unknown
 * @PEERBAR_BASIS_NAME: from a table of the kernel's exporters, by their names
 * @PEERBAR_BASIS_DERIVED: from the operations that the exporter implements, from its answer to an
 *	attachment, or from its data
 * @PEERBAR_BASIS_DECLARED: the exporter declares it
 */
enum peerbar_basis {
	PEERBAR_BASIS_NONE,
	PEERBAR_BASIS_NAME,
	PEERBAR_BASIS_DERIVED,
	PEERBAR_BASIS_DECLARED,
};

/*
 * enum peerbar_answer - whether an exporter can do something
 */
enum peerbar_answer {
	PEERBAR_ANSWER_UNKNOWN,
	PEERBAR_ANSWER_NO,
	PEERBAR_ANSWER_YES,
};

/*
 * enum peerbar_place - where the memory of a dma-buf is now
 * @PEERBAR_PLACE_UNKNOWN: unknown
 * @PEERBAR_PLACE_SYSTEM: system memory
 * @PEERBAR_PLACE_BAR: a BAR of a PCI function
 * @PEERBAR_PLACE_DEVICE: memory of a device; whether and where it is in a BAR is not known
 */
enum peerbar_place {
	PEERBAR_PLACE_UNKNOWN,
	PEERBAR_PLACE_SYSTEM,
	PEERBAR_PLACE_BAR,
	PEERBAR_PLACE_DEVICE,
};

/*
 * Memory attributes of CPU mappings: one value, not flags. The top byte selects a group: 0 is the
 * base set; others are specific to an architecture, and not supported on another one. NC and WC
 * have the values of the series on the list.
 */
#define PEERBAR_MEMATTR_GROUP(attr) ((attr) >> 24)
#define PEERBAR_MEMATTR_GROUP_BASE  0
#define PEERBAR_MEMATTR_GROUP_ARM64 1
#define PEERBAR_MEMATTR_NC	    0 /* not cached: pgprot_noncached(), the default */
#define PEERBAR_MEMATTR_WC	    1 /* write-combining: pgprot_writecombine() */
#define PEERBAR_MEMATTR_WB	    2 /* cached, if the driver allows; no plain BAR */
/* arm64: as NC, but a write may be acknowledged before it reaches the device: pgprot_device() */
#define PEERBAR_MEMATTR_DEV	    0x01000000

/* ---- /dev/peerbar ---- */

/* Not in the kernel's list, Documentation/userspace-api/ioctl/ioctl-number.rst */
#define PEERBAR_IOC 0xD5

/*
 * PEERBAR_INFO - report the capabilities of the modules on this kernel
 * @size: in: the size of the caller's structure; out: the size of the kernel's structure
 * @flags: 0
 * @abi: 1
 * @caps: PEERBAR_CAP_*
 */
struct peerbar_info {
	__u32 size;
	__u32 flags;
	__u32 abi;
	__u32 caps;
};

#define PEERBAR_CAP_P2PDMA    0x1   /* the kernel has PCI_P2PDMA: peers can attach to BARs */
#define PEERBAR_CAP_IOMMUFD   0x2   /* peerbar-iommufd is loaded: iommufd maps buffers */
#define PEERBAR_CAP_VFIO      0x4   /* peerbar-vfio-pci is loaded */
#define PEERBAR_CAP_PAGE      0x80  /* mmap() of /dev/peerbar, @revocations in PEERBAR_QUERY */
#define PEERBAR_CAP_IMPORTERS 0x100 /* PEERBAR_IMPORTERS, PEERBAR_CMD_IMPORTERS_GET */
#define PEERBAR_CAP_BRIDGE    0x400 /* PEERBAR_BRIDGE: peerbar-iommufd is loaded */

#define PEERBAR_INFO _IOWR(PEERBAR_IOC, 0, struct peerbar_info)

/*
 * PEERBAR_QUERY - query a dma-buf of any exporter that the caller holds
 *
 * Does not move the memory. In particular, does not attach to a dma-buf if the exporter might move
 * the memory then, as i915, nouveau and radeon do; without an attachment, the model and the state
 * of such a dma-buf can be unknown. PEERBAR_QUERY_PROBE allows attachments.
 *
 * @size: in: the size of the caller's structure; out: the size of the kernel's structure
 * @fd: the dma-buf
 * @flags: in: 0 or PEERBAR_QUERY_PROBE; out: the other PEERBAR_QUERY_*
 * @model: enum peerbar_model
 * @state: enum peerbar_state
 * @memattr: the attribute of the next mmap(); 0 without PEERBAR_QUERY_OURS
 * @nr_ranges: number of ranges; 0 without PEERBAR_QUERY_OURS
 * @importers: number of attachments, by peerbar or other importers
 * @length: bytes
 * @id: its number in netlink; 0 without PEERBAR_QUERY_OURS. Not reused before the next boot.
 * @faults: number of page faults of its mappings, by the size of the entry: a page, 2 MiB (PMD),
 *	1 GiB (PUD). A fault of a write-combining mapping maps all pages of its 2 MiB, and counts as
 *	a page.
 * @revocations: number of revocations; 0 without PEERBAR_QUERY_OURS
 * @inode: the dma-buf's inode number, as fstat() reports it
 * @exporter: the name of its exporter, 0-terminated, as in /proc/PID/fdinfo
 * @name: the name set with DMA_BUF_SET_NAME, any bytes, 0-terminated
 * @model_basis: how @model is known: enum peerbar_basis
 * @state_basis: how @state is known
 * @can_pin: whether importers can pin the memory in its place: enum peerbar_answer
 * @can_pin_basis: how that is known
 * @can_revoke: whether the memory can be revoked from importers
 * @can_revoke_basis: how that is known
 * @place: where the memory is now: enum peerbar_place. The memory of a DYNAMIC dma-buf may have
 *	moved when the call returns
 * @place_basis: how that is known
 * @place_device: the function of the BAR, or the device, 0-terminated, as "0000:01:00.0"; "" if
 *	unknown
 * @bar: index of the BAR; valid if @place is PEERBAR_PLACE_BAR and @place_device is not ""
 * @pad: 0
 * @bar_offset: offset in the BAR of the first byte; valid as @bar
 * @driver: the exporter's module, 0-terminated; "" if it is built in. All GPU drivers have the
 *	@exporter "drm"
 */
struct peerbar_query {
	__u32 size;
	__s32 fd;
	__u32 flags;
	__u32 model;
	__u32 state;
	__u32 memattr;
	__u32 nr_ranges;
	__u32 importers;
	__aligned_u64 length;
	__aligned_u64 id;
	__aligned_u64 faults[3];
	__aligned_u64 revocations;
	__aligned_u64 inode;
	char exporter[64];
	char name[32];
	__u32 model_basis;
	__u32 state_basis;
	__u32 can_pin;
	__u32 can_pin_basis;
	__u32 can_revoke;
	__u32 can_revoke_basis;
	__u32 place;
	__u32 place_basis;
	char place_device[32];
	__u32 bar;
	__u32 pad;
	__aligned_u64 bar_offset;
	char driver[64];
};

#define PEERBAR_QUERY_OURS     0x1 /* exported through peerbar */
#define PEERBAR_QUERY_DECLARED 0x2 /* the exporter declares the model */
#define PEERBAR_QUERY_MMAP     0x4 /* the exporter offers mmap() */
/* Attaching moves the memory to system memory. */
#define PEERBAR_QUERY_MIGRATES 0x8
/* In: attach briefly where that reveals more, also if it may move the memory. */
#define PEERBAR_QUERY_PROBE    0x80000000

#define PEERBAR_QUERY _IOWR(PEERBAR_IOC, 1, struct peerbar_query)

/*
 * struct peerbar_importer - one attachment to a buffer
 * @id: its number: unique for the buffer, ascending in the order of attaching, never 0
 * @attached_ns: the time when it attached, CLOCK_BOOTTIME
 * @mapped_ns: the time since which it has the memory without interruption: when it made the first
 *	of @maps, or got the addresses; 0 if it has neither
 * @bytes: the memory that it has: the sum of the lengths of @maps, or, with none, the buffer's
 *	length with PEERBAR_IMPORTER_ADDRESSES
 * @maps: number of its DMA mappings
 * @flags: PEERBAR_IMPORTER_*
 * @device: the importing device, 0-terminated, as "0000:06:00.0"; iommufd is "iommu"
 * @driver: the driver of that device when it attached, 0-terminated; for a device without a driver,
 *	its bus or class, as "misc"
 */
struct peerbar_importer {
	__aligned_u64 id;
	__aligned_u64 attached_ns;
	__aligned_u64 mapped_ns;
	__aligned_u64 bytes;
	__u32 maps;
	__u32 flags;
	char device[64];
	char driver[32];
};

/* The importer can be invalidated. One that cannot keeps its mappings while it is attached. */
#define PEERBAR_IMPORTER_REVOCABLE  0x1
/* It has pinned the buffer (DYNAMIC only). */
#define PEERBAR_IMPORTER_PINNED	    0x2
/*
 * It got physical addresses since it was last invalidated, as iommufd does. It stops using them
 * before invalidate_mappings() returns, so that no revoke waits for it afterwards. The exporter
 * cannot see whether it uses them.
 */
#define PEERBAR_IMPORTER_ADDRESSES  0x4
/* The buffer is not LIVE, and a revoke waits until this importer has unmapped. */
#define PEERBAR_IMPORTER_WAITED_FOR 0x8

/*
 * struct peerbar_fence - a fence of a buffer's reservation object that has not signalled
 *
 * A revoke waits for the fences that were pending when importers were invalidated, before it waits
 * for importers to unmap. A fence does not refer to an attachment: compare @driver.
 *
 * @context: as in the events of the kernel's trace system dma_fence
 * @seqno: the same
 * @driver: the driver that made it, 0-terminated
 * @timeline: its timeline, 0-terminated
 */
struct peerbar_fence {
	__aligned_u64 context;
	__aligned_u64 seqno;
	char driver[32];
	char timeline[64];
};

/*
 * PEERBAR_IMPORTERS - list the importers and pending fences of a buffer that the caller holds
 *
 * Takes no lock of the buffer: does not wait for a revoke, and does not change the state. Fails
 * with EOPNOTSUPP if the dma-buf is not peerbar's.
 *
 * @size: in: the size of the caller's structure; out: the size of the kernel's structure
 * @fd: the dma-buf
 * @flags: 0
 * @state: out: enum peerbar_state
 * @nr_importers: in: number of elements of @importers; out: number of attachments. The smaller of
 *	both is filled in, and at most PEERBAR_IMPORTERS_MAX
 * @nr_fences: in: number of elements of @fences; out: number of pending fences, likewise
 * @importer_size: in: the caller's sizeof(struct peerbar_importer); out: the kernel's. Fields that
 *	the kernel does not have become 0
 * @fence_size: the same of struct peerbar_fence
 * @importers: in: address of an array, by ascending id; ignored if @nr_importers is 0
 * @fences: in: address of an array, in no particular order; ignored if @nr_fences is 0
 * @id: out: the buffer's number
 * @revoked_ns: out: the time when importers were last invalidated by a revoke, CLOCK_BOOTTIME; 0 if
 *	none did since the buffer was LIVE
 * @now_ns: out: the time of this call. In another time namespace, CLOCK_BOOTTIME has an offset: use
 *	the differences
 */
struct peerbar_importers {
	__u32 size;
	__s32 fd;
	__u32 flags;
	__u32 state;
	__u32 nr_importers;
	__u32 nr_fences;
	__u32 importer_size;
	__u32 fence_size;
	__aligned_u64 importers;
	__aligned_u64 fences;
	__aligned_u64 id;
	__aligned_u64 revoked_ns;
	__aligned_u64 now_ns;
};

#define PEERBAR_IMPORTERS_MAX 4096

#define PEERBAR_IMPORTERS _IOWR(PEERBAR_IOC, 2, struct peerbar_importers)

/*
 * struct peerbar_bridge_function - a PCI function that will access the memory by DMA
 * @name: its address, 0-terminated, as "0000:06:00.0"
 */
struct peerbar_bridge_function {
	char name[32];
};

/*
 * struct peerbar_bridge_range - a range of a bridged dma-buf
 * @fd: a dma-buf of this range, which IOMMU_IOAS_MAP_FILE maps; closed on exec
 * @reserved: 0
 * @length: bytes
 */
struct peerbar_bridge_range {
	__s32 fd;
	__u32 reserved;
	__aligned_u64 length;
};

/*
 * enum peerbar_bridge_reason - why a dma-buf cannot be bridged; errno in parentheses
 * @PEERBAR_BRIDGE_WHY_OTHER: none of the reasons below
 * @PEERBAR_BRIDGE_WHY_NO_FUNCTION: no PCI function is bound to the iommufd (ENODEV)
 * @PEERBAR_BRIDGE_WHY_NOT_BOUND: @function does not exist, or is not bound to the iommufd (ENODEV)
 * @PEERBAR_BRIDGE_WHY_NO_IOMMU: no IOMMU translates the DMA of @function (EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_READ_ONLY: the descriptor of the dma-buf is read-only, which iommufd does not
 *	respect (EACCES)
 * @PEERBAR_BRIDGE_WHY_ATTACH: its exporter refuses to attach @function (@exporter_errno)
 * @PEERBAR_BRIDGE_WHY_PIN: its exporter refuses to pin it (@exporter_errno)
 * @PEERBAR_BRIDGE_WHY_MAP: its exporter refuses to map it (@exporter_errno)
 * @PEERBAR_BRIDGE_WHY_EXPORTER_P2P: its exporter reports that P2P does not reach the memory from
 *	@function; it was not moved (EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_P2P: the topology has no path for P2P from @function to @device (EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_SYSTEM_MEMORY: at @offset it is in system memory (EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_NOT_BAR: at @offset it is neither in a BAR nor in system memory (EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_OTHER_DEVICE: at @offset it is in a BAR of another function than @device
 *	(EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_UNALIGNED: the range at @offset does not begin and end at pages (EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_TOO_SHORT: its exporter maps less than the dma-buf's length (EOPNOTSUPP)
 * @PEERBAR_BRIDGE_WHY_MEMLOCK: RLIMIT_MEMLOCK does not allow the user to pin so much (ENOMEM)
 * @PEERBAR_BRIDGE_WHY_MOVING: it moved while it was being bridged, repeatedly (EAGAIN)
 */
enum peerbar_bridge_reason {
	PEERBAR_BRIDGE_WHY_OTHER,
	PEERBAR_BRIDGE_WHY_NO_FUNCTION,
	PEERBAR_BRIDGE_WHY_NOT_BOUND,
	PEERBAR_BRIDGE_WHY_NO_IOMMU,
	PEERBAR_BRIDGE_WHY_READ_ONLY,
	PEERBAR_BRIDGE_WHY_ATTACH,
	PEERBAR_BRIDGE_WHY_PIN,
	PEERBAR_BRIDGE_WHY_MAP,
	PEERBAR_BRIDGE_WHY_EXPORTER_P2P,
	PEERBAR_BRIDGE_WHY_P2P,
	PEERBAR_BRIDGE_WHY_SYSTEM_MEMORY,
	PEERBAR_BRIDGE_WHY_NOT_BAR,
	PEERBAR_BRIDGE_WHY_OTHER_DEVICE,
	PEERBAR_BRIDGE_WHY_UNALIGNED,
	PEERBAR_BRIDGE_WHY_TOO_SHORT,
	PEERBAR_BRIDGE_WHY_MEMLOCK,
	PEERBAR_BRIDGE_WHY_MOVING,
};

/*
 * PEERBAR_BRIDGE - make a dma-buf of any exporter mappable by iommufd
 *
 * Attaches to the dma-buf for the PCI functions that will access it, pins it if its exporter has a
 * pin operation, and returns a dma-buf for each physically contiguous range. IOMMU_IOAS_MAP_FILE
 * maps these, in order, at consecutive addresses. When the exporter revokes or moves the memory,
 * they become DEAD, and DMA faults. The memory stays pinned, and counts against RLIMIT_MEMLOCK,
 * until the last reference to all of them is dropped, that is, descriptors are closed and iommufd
 * has unmapped.
 *
 * Also fills in the fields for output if it fails.
 *
 * @size: in: the size of the caller's structure; out: the size of the kernel's structure
 * @fd: the dma-buf; open for writing
 * @iommufd: an iommufd, to which the functions are bound
 * @flags: in: PEERBAR_BRIDGE_UNPINNED; out: PEERBAR_BRIDGE_PINNED if it was pinned
 * @functions: in: address of an array of struct peerbar_bridge_function; ignored if @nr_functions
 *	is 0
 * @nr_functions: in: number of its elements, at most PEERBAR_BRIDGE_FUNCTIONS; 0: all functions
 *	that are bound to the iommufd. Out: number of functions
 * @nr_ranges: in: number of elements of @ranges; out: number of ranges. EMSGSIZE if @ranges has
 *	fewer elements; nothing is bridged then
 * @ranges: in: address of an array of struct peerbar_bridge_range; filled in on success
 * @reason: out: enum peerbar_bridge_reason
 * @exporter_errno: out: with ATTACH, PIN and MAP, the positive errno of the exporter, also one that
 *	is the kernel's own, such as 524. The call then fails with the errno, or with EOPNOTSUPP for
 *	one of the kernel's own
 * @offset: out: the offset in the dma-buf that @reason is about
 * @function: out: the function that @reason is about, 0-terminated; otherwise the first
 * @device: out: the function whose BAR the memory is in, as far as it was found
 */
struct peerbar_bridge {
	__u32 size;
	__s32 fd;
	__s32 iommufd;
	__u32 flags;
	__aligned_u64 functions;
	__u32 nr_functions;
	__u32 nr_ranges;
	__aligned_u64 ranges;
	__u32 reason;
	__u32 exporter_errno;
	__aligned_u64 offset;
	char function[32];
	char device[32];
};

/* Don't pin. The exporter may then move the memory at any time, which revokes the ranges. */
#define PEERBAR_BRIDGE_UNPINNED 0x1
#define PEERBAR_BRIDGE_PINNED	0x2

#define PEERBAR_BRIDGE_FUNCTIONS 64

#define PEERBAR_BRIDGE _IOWR(PEERBAR_IOC, 3, struct peerbar_bridge)

/*
 * struct peerbar_page - the page at offset 0 of mmap() of /dev/peerbar, read-only
 * @revocations: number of revocations of all buffers of peerbar, and of others that peerbar-rdma
 *	had registered. Changes before the call that revokes returns. While it is unchanged, a
 *	process need not query the buffers that it counts.
 */
struct peerbar_page {
	__aligned_u64 revocations;
};

/* ---- VFIO_DEVICE_FEATURE on a device bound to peerbar-vfio-pci ---- */

/*
 * SET: revoke a dma-buf of this device permanently. On return, nothing reaches the memory any more.
 * Fails with:
 * EBADF, EINVAL: the descriptor is not a dma-buf's
 * ENODEV: the dma-buf is not one of this device's
 * EBADFD: it was revoked permanently before, and nothing reaches the memory
 * EINTR: the buffer is dead, but an importer has not unmapped yet; a repeated call waits for it
 */
#define VFIO_DEVICE_FEATURE_PEERBAR_REVOKE 0x5042

struct peerbar_vfio_revoke {
	__s32 dmabuf_fd;
};

/*
 * GET, SET: the memory attribute of later mmap()s of a dma-buf of this device. Existing mappings
 * keep theirs. Fails with EOPNOTSUPP for an unsupported value, so that user space can try a list in
 * order of preference.
 */
#define VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR 0x5043

struct peerbar_vfio_memattr {
	__s32 dmabuf_fd;
	__u32 memattr;
};

/*
 * GET: prepare a part of a BAR for mmap() of the device's descriptor, at @mmap_offset. The kernel's
 * offsets for whole regions remain valid. Closing the device deletes its cookies.
 *
 * The first fields have the layout of struct vfio_device_feature_dma_buf with one range.
 * @region_index: the BAR
 * @open_flags: 0
 * @flags: 0
 * @nr_ranges: 1
 * @offset: offset in the BAR; page-aligned
 * @length: bytes; a multiple of the page size, not 0
 * @memattr: PEERBAR_MEMATTR_*
 * @reserved: 0
 * @mmap_offset: out: the offset for mmap()
 */
#define VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE 0x5044

struct peerbar_vfio_mmap_cookie {
	__u32 region_index;
	__u32 open_flags;
	__u32 flags;
	__u32 nr_ranges;
	__aligned_u64 offset;
	__aligned_u64 length;
	__u32 memattr;
	__u32 reserved;
	__aligned_u64 mmap_offset;
};

/* ---- generic netlink ---- */

#define PEERBAR_GENL_NAME    "peerbar"
#define PEERBAR_GENL_VERSION 1
#define PEERBAR_GENL_EVENTS  "events" /* the multicast group */

/*
 * A buffer belongs to the network namespace that it was created in. A socket sees the buffers of
 * its own namespace; a socket of the initial namespace sees all.
 *
 * @PEERBAR_CMD_BUFFER_GET: request: one buffer, by PEERBAR_A_ID, or all (dump). Doesn't wait for a
 *	revoke: while another task holds a buffer's reservation lock, or a lock that its exporter
 *	needs, PEERBAR_A_STATE is the last known state
 * @PEERBAR_CMD_BUFFER_CREATED: event: a buffer was created
 * @PEERBAR_CMD_BUFFER_REVOKED: event: it was revoked, and new accesses fail. PEERBAR_A_STATE
 *	reports whether it is permanent. Importers may still have to unmap; they have when the call
 *	that revokes returns.
 * @PEERBAR_CMD_BUFFER_RESTORED: event: it is reachable again
 * @PEERBAR_CMD_BUFFER_MOVED: event: a DYNAMIC buffer moved
 * @PEERBAR_CMD_BUFFER_RELEASED: event: its last reference is gone
 * @PEERBAR_CMD_IMPORTERS_GET: request: the importers and pending fences of one buffer, by
 *	PEERBAR_A_ID, or of all (dump). Only for CAP_SYS_ADMIN. Like BUFFER_GET, does not wait for a
 *	revoke that hangs; unlike BUFFER_GET, does not change the state
 */
enum peerbar_cmd {
	PEERBAR_CMD_UNSPEC,
	PEERBAR_CMD_BUFFER_GET,
	PEERBAR_CMD_BUFFER_CREATED,
	PEERBAR_CMD_BUFFER_REVOKED,
	PEERBAR_CMD_BUFFER_RESTORED,
	PEERBAR_CMD_BUFFER_MOVED,
	PEERBAR_CMD_BUFFER_RELEASED,
	PEERBAR_CMD_IMPORTERS_GET,
};

/*
 * @PEERBAR_A_ID: u64
 * @PEERBAR_A_EXPORTER: string: the name of the exporter's module
 * @PEERBAR_A_DEVICE: string: the device whose memory it is, as "0000:01:00.0"; absent if none
 * @PEERBAR_A_NAME: string: the exporter's name for it, as "0000:01:00.0/BAR2"
 * @PEERBAR_A_SIZE: u64, bytes
 * @PEERBAR_A_MODEL: u32, enum peerbar_model
 * @PEERBAR_A_STATE: u32, enum peerbar_state
 * @PEERBAR_A_MEMATTR: u32
 * @PEERBAR_A_NR_RANGES: u32
 * @PEERBAR_A_NR_IMPORTERS: u32, attachments (not in events)
 * @PEERBAR_A_NR_MMAPS: u32, VMAs of processes that map it (not in events)
 * @PEERBAR_A_RANGE: nested, one for each range: PEERBAR_A_RANGE_*. Only for CAP_SYS_ADMIN, never in
 *	events
 * @PEERBAR_A_IMPORTER: string, one for each attachment: the importing device. Only for
 *	CAP_SYS_ADMIN, never in events
 * @PEERBAR_A_CREATOR: u32, the process that created it. Only for CAP_SYS_ADMIN, never in events
 * @PEERBAR_A_CAN_PIN: u32, enum peerbar_answer (not in events). This and the following are declared
 *	by the exporter
 * @PEERBAR_A_CAN_REVOKE: u32, enum peerbar_answer (not in events)
 * @PEERBAR_A_PLACE: u32, enum peerbar_place (not in events)
 * @PEERBAR_A_BAR: u32, index of the BAR of PEERBAR_A_DEVICE that it is in; absent if unknown (not
 *	in events)
 * @PEERBAR_A_BAR_OFFSET: u64, offset in the BAR of the first byte; absent if unknown (not in
 *	events)
 *
 * Only in replies to PEERBAR_CMD_IMPORTERS_GET; fields as in PEERBAR_IMPORTERS:
 *
 * @PEERBAR_A_NR_FENCES: u32, pending fences
 * @PEERBAR_A_REVOKED_NS: u64
 * @PEERBAR_A_NOW_NS: u64
 * @PEERBAR_A_ATTACHMENT: nested, one for each attachment: PEERBAR_A_ATTACHMENT_*
 * @PEERBAR_A_FENCE: nested, one for each pending fence: PEERBAR_A_FENCE_*
 */
enum peerbar_attr {
	PEERBAR_A_UNSPEC,
	PEERBAR_A_PAD,
	PEERBAR_A_ID,
	PEERBAR_A_EXPORTER,
	PEERBAR_A_DEVICE,
	PEERBAR_A_NAME,
	PEERBAR_A_SIZE,
	PEERBAR_A_MODEL,
	PEERBAR_A_STATE,
	PEERBAR_A_MEMATTR,
	PEERBAR_A_NR_RANGES,
	PEERBAR_A_NR_IMPORTERS,
	PEERBAR_A_NR_MMAPS,
	PEERBAR_A_RANGE,
	PEERBAR_A_IMPORTER,
	PEERBAR_A_CREATOR,
	PEERBAR_A_NR_FENCES,
	PEERBAR_A_REVOKED_NS,
	PEERBAR_A_NOW_NS,
	PEERBAR_A_ATTACHMENT,
	PEERBAR_A_FENCE,
	PEERBAR_A_CAN_PIN,
	PEERBAR_A_CAN_REVOKE,
	PEERBAR_A_PLACE,
	PEERBAR_A_BAR,
	PEERBAR_A_BAR_OFFSET,
	__PEERBAR_A_MAX,
};

#define PEERBAR_A_MAX (__PEERBAR_A_MAX - 1)

/*
 * @PEERBAR_A_RANGE_START: u64, physical address
 * @PEERBAR_A_RANGE_LENGTH: u64, bytes
 */
enum peerbar_range_attr {
	PEERBAR_A_RANGE_UNSPEC,
	PEERBAR_A_RANGE_PAD,
	PEERBAR_A_RANGE_START,
	PEERBAR_A_RANGE_LENGTH,
	__PEERBAR_A_RANGE_MAX,
};

#define PEERBAR_A_RANGE_MAX (__PEERBAR_A_RANGE_MAX - 1)

/*
 * The fields of struct peerbar_importer
 *
 * @PEERBAR_A_ATTACHMENT_ID: u64
 * @PEERBAR_A_ATTACHMENT_DEVICE: string
 * @PEERBAR_A_ATTACHMENT_DRIVER: string
 * @PEERBAR_A_ATTACHMENT_FLAGS: u32, PEERBAR_IMPORTER_*
 * @PEERBAR_A_ATTACHMENT_MAPS: u32
 * @PEERBAR_A_ATTACHMENT_BYTES: u64
 * @PEERBAR_A_ATTACHMENT_ATTACHED_NS: u64
 * @PEERBAR_A_ATTACHMENT_MAPPED_NS: u64
 */
enum peerbar_attachment_attr {
	PEERBAR_A_ATTACHMENT_UNSPEC,
	PEERBAR_A_ATTACHMENT_PAD,
	PEERBAR_A_ATTACHMENT_ID,
	PEERBAR_A_ATTACHMENT_DEVICE,
	PEERBAR_A_ATTACHMENT_DRIVER,
	PEERBAR_A_ATTACHMENT_FLAGS,
	PEERBAR_A_ATTACHMENT_MAPS,
	PEERBAR_A_ATTACHMENT_BYTES,
	PEERBAR_A_ATTACHMENT_ATTACHED_NS,
	PEERBAR_A_ATTACHMENT_MAPPED_NS,
	__PEERBAR_A_ATTACHMENT_MAX,
};

#define PEERBAR_A_ATTACHMENT_MAX (__PEERBAR_A_ATTACHMENT_MAX - 1)

/*
 * The fields of struct peerbar_fence
 *
 * @PEERBAR_A_FENCE_DRIVER: string
 * @PEERBAR_A_FENCE_TIMELINE: string
 * @PEERBAR_A_FENCE_CONTEXT: u64
 * @PEERBAR_A_FENCE_SEQNO: u64
 */
enum peerbar_fence_attr {
	PEERBAR_A_FENCE_UNSPEC,
	PEERBAR_A_FENCE_PAD,
	PEERBAR_A_FENCE_DRIVER,
	PEERBAR_A_FENCE_TIMELINE,
	PEERBAR_A_FENCE_CONTEXT,
	PEERBAR_A_FENCE_SEQNO,
	__PEERBAR_A_FENCE_MAX,
};

#define PEERBAR_A_FENCE_MAX (__PEERBAR_A_FENCE_MAX - 1)

#endif
