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
 * - All file descriptors are opened with O_CLOEXEC. The library does not print, abort, start
 *   threads or keep global state.
 */
#ifndef PEERBAR_H
#define PEERBAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define PB_API __attribute__((visibility("default")))
#else
#define PB_API
#endif

/* ---- versions -------------------------------------------------------------------------------- */

/*
 * The version of this header: major, minor and micro in a byte each, 0x000100 for 0.1.0. The
 * library at run time may be newer or older: see pb_version(). docs/abi.md lists the possible
 * differences between versions.
 */
#define PB_VERSION_MAJOR 0
#define PB_VERSION_MINOR 1
#define PB_VERSION_MICRO 0
#define PB_VERSION 0x000100

/**
 * DOC: structures that may grow
 *
 * Newer versions may append fields to these structures, which the library fills in:
 * &struct pb_pci_function, &struct pb_region, &struct pb_buffer_info, &struct pb_listed,
 * &struct pb_event, &struct pb_guest_range, &struct pb_capability. The function that fills one in
 * has a name that ends in _sized, and takes the size that the caller was compiled with. It writes
 * exactly that many bytes: fields that the caller does not know are omitted, and fields that the
 * library does not know are 0. For an array, the size is that of one element. The function of the
 * same name without _sized is inline and passes sizeof. Bindings for other languages call the
 * _sized one.
 *
 * No other structure of this header changes.
 */

/** pb_version() - the version of the running library, for example "0.1.0" */
PB_API const char *pb_version(void);

/* ---- errors ---------------------------------------------------------------------------------- */

/**
 * struct pb_error - why a call failed
 * @code: the errno, positive; 0 in an unused error
 * @text: one sentence, without a newline, NUL-terminated
 */
struct pb_error {
	int code;
	char text[380];
};

/* ---- PCI functions --------------------------------------------------------------------------- */

#define PB_BDF_LEN 24 /* "ffffffff:ff:1f.7", rounded up */
#define PB_NAME_LEN 64
#define PB_BARS 6

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
PB_API int pb_pci_get_sized(const char *bdf, struct pb_pci_function *function, size_t size, struct pb_error *err);

/** pb_pci_get() - pb_pci_get_sized() with this header's size */
static inline int pb_pci_get(const char *bdf, struct pb_pci_function *function, struct pb_error *err)
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
PB_API int pb_pci_list_sized(struct pb_pci_function **functions, size_t size, unsigned int *nr_functions, struct pb_error *err);

/** pb_pci_list() - pb_pci_list_sized() with this header's size */
static inline int pb_pci_list(struct pb_pci_function **functions, unsigned int *nr_functions, struct pb_error *err)
{
	return pb_pci_list_sized(functions, sizeof(**functions), nr_functions, err);
}

/**
 * enum pb_bind_flags - flags of pb_pci_bind_flags()
 * @PB_BIND_FORCE: bind the driver to a device that it does not support
 */
enum pb_bind_flags {
	PB_BIND_FORCE = 1 << 0
};

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
 * pb_pci_bind_flags() - pb_pci_bind(), with flags of &enum pb_bind_flags
 *
 * Return: as pb_pci_bind(); also -EINVAL if a flag is unknown.
 */
PB_API int pb_pci_bind_flags(const char *bdf, const char *driver, unsigned int flags, struct pb_error *err);

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
PB_API int pb_pci_holders(const char *bdf, struct pb_holder **holders, unsigned int *nr_holders, struct pb_error *err);

/* ---- the iommufd context --------------------------------------------------------------------- */

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
 * pb_iommu_close() - release the context; NULL is allowed. Devices and address spaces made from it
 * keep it open.
 */
PB_API void pb_iommu_close(struct pb_iommu *iommu);

/* ---- devices --------------------------------------------------------------------------------- */

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

#define PB_REGION_ROM 6
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
PB_API int pb_device_open(struct pb_iommu *iommu, const char *bdf, struct pb_device **device, struct pb_error *err);

/**
 * pb_device_from_fd() - use an open VFIO device, for example a VMM's
 * @iommu: the context of the iommufd that the device is bound to
 * @fd: its VFIO descriptor, bound to that iommufd; it is duplicated, and remains the caller's
 * @bdf: the function's address
 * @device: receives the device
 * @err: may be NULL
 *
 * The caller owns the device's state: pb_device_close() only closes the duplicate, which keeps the
 * kernel's device open until then. It does not detach, revoke, or clear command register bits. The
 * library does not see the caller's own writes to the descriptor, so pb_mapping_state() does not
 * reflect it; for a VMM, see &struct pb_guest.
 *
 * Return: 0; -EINVAL if @bdf is not a PCI address, or @fd is not a bound VFIO device; -EBADF if @fd
 * is not open; -ENODEV if there is no such function.
 */
PB_API int pb_device_from_fd(struct pb_iommu *iommu, int fd, const char *bdf, struct pb_device **device, struct pb_error *err);

/** pb_device_bdf() - the device's address; valid as long as the device */
PB_API const char *pb_device_bdf(const struct pb_device *device);

/** pb_device_fd() - the VFIO descriptor; it remains the device's */
PB_API int pb_device_fd(const struct pb_device *device);

/**
 * pb_device_close() - close the device; NULL is allowed
 *
 * Detaches it from its address space, and clears its Bus Master and Memory Space bits. Buffers
 * exported from it are revoked: when this returns, no DMA reaches them, and their mappings are
 * PB_REVOKED. The revocation is permanent once the last descriptor and the last mapping of the
 * device (pb_device_mmap(), a child of fork()) are gone; until then the device cannot be opened
 * again.
 */
PB_API void pb_device_close(struct pb_device *device);

/**
 * pb_device_regions() - the number of regions; valid indices are below it
 * @device: the device
 */
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
PB_API int pb_device_region_sized(struct pb_device *device, unsigned int index, struct pb_region *region, size_t size,
				  struct pb_error *err);

/** pb_device_region() - pb_device_region_sized() with this header's size */
static inline int pb_device_region(struct pb_device *device, unsigned int index, struct pb_region *region, struct pb_error *err)
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
PB_API int pb_device_read(struct pb_device *device, unsigned int region, uint64_t offset, void *data, size_t length,
			  struct pb_error *err);

/**
 * pb_device_write() - write to a region; otherwise as pb_device_read()
 *
 * A write to the configuration space that makes the kernel revoke (decoding off, D3hot, a function
 * level reset) affects mappings as pb_device_set_decoding() does.
 */
PB_API int pb_device_write(struct pb_device *device, unsigned int region, uint64_t offset, const void *data, size_t length,
			   struct pb_error *err);

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
 * From 2 MiB on, the address is aligned for huge mappings if possible, see pb_buffer_mmap(). The
 * mapping outlives the device object, and keeps the kernel's device open until it is unmapped.
 * While memory decoding is off, as after pb_device_close(), an access raises SIGBUS.
 *
 * Return: 0; -EINVAL if there is no such region, or @offset is unaligned, or @length is 0; -ERANGE
 * if the part is not all inside the region; -EOPNOTSUPP if the region cannot be mapped.
 */
PB_API int pb_device_mmap(struct pb_device *device, unsigned int region, uint64_t offset, size_t length, bool writable,
			  void **address, struct pb_error *err);

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

/* ---- buffers --------------------------------------------------------------------------------- */

struct pb_buffer;

/**
 * enum pb_model - the guarantees of a dma-buf's exporter about its memory
 * @PB_UNKNOWN: unknown; never a guess
 * @PB_PINNED: never moves, and is never revoked while attached
 * @PB_REVOCABLE: never moves, but may be revoked; the importer must be able to stop
 * @PB_DYNAMIC: may move at any time; the importer must be able to follow
 */
enum pb_model {
	PB_UNKNOWN,
	PB_PINNED,
	PB_REVOCABLE,
	PB_DYNAMIC
};

/** pb_model_name() - "UNKNOWN", "PINNED", "REVOCABLE" or "DYNAMIC"; a constant */
PB_API const char *pb_model_name(enum pb_model model);

/**
 * enum pb_model_basis - where the model of a buffer comes from
 * @PB_BASIS_NONE: nowhere: the model is PB_UNKNOWN
 * @PB_BASIS_NAME: the exporter's name, see pb_exporter_model()
 * @PB_BASIS_DERIVED: the kernel module peerbar derived it from the operations that the exporter
 *	implements
 * @PB_BASIS_DECLARED: the exporter declared it to the kernel module peerbar
 */
enum pb_model_basis {
	PB_BASIS_NONE,
	PB_BASIS_NAME,
	PB_BASIS_DERIVED,
	PB_BASIS_DECLARED
};

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
 * @PB_BUFFER_UNKNOWN: unknown: not exported through peerbar, or the kernel module peerbar does not
 *	answer
 * @PB_BUFFER_LIVE: it is
 * @PB_BUFFER_REVOKED: it is not, but may be again (memory decoding off, reset, D3)
 * @PB_BUFFER_DEAD: it never will be again
 */
enum pb_buffer_state {
	PB_BUFFER_UNKNOWN,
	PB_BUFFER_LIVE,
	PB_BUFFER_REVOKED,
	PB_BUFFER_DEAD
};

/** pb_buffer_state_name() - "UNKNOWN", "LIVE", "REVOKED" or "DEAD"; a constant */
PB_API const char *pb_buffer_state_name(enum pb_buffer_state state);

/**
 * enum pb_memattr - the memory attribute of processes' mappings of device memory
 * @PB_NC: not cached, in order: the default
 * @PB_WC: writes may be combined, and delayed until a fence
 * @PB_WB: cached; only the memory of a few devices can be, never a plain BAR
 *
 * The top byte of a value is its group. This is group 0. The other groups are
 * architecture-specific, see <linux/peerbar.h>; the library passes their values through unchanged.
 */
enum pb_memattr {
	PB_NC,
	PB_WC,
	PB_WB
};

/** pb_memattr_name() - "NC", "WC" or "WB"; "OTHER" for a value outside group 0; a constant */
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
 * @state: whether its memory is accessible; PB_BUFFER_UNKNOWN unless @managed
 * @asked: the kernel module peerbar answered: @mappable and @importers are valid
 * @mappable: the exporter implements mmap; false if unknown
 * @importers: the number of devices and importers attached; 0 if unknown
 * @managed: it is exported through peerbar's modules, and the following fields are valid
 * @memattr: the attribute of the next pb_buffer_mmap()
 * @list_id: its number in pb_list_buffers() and in events
 * @faults: the number of page faults of processes' mappings of it, by the size that was mapped: a
 *	page, 2 MiB (PMD), 1 GiB (PUD)
 * @counted: @revocations is valid
 * @revocations: how often its memory was revoked, temporarily or permanently. Each revocation ends
 *	the importers' mappings made before it, also if the buffer is live again
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
PB_API int pb_buffer_export(struct pb_device *device, unsigned int bar, const struct pb_range *ranges, unsigned int nr_ranges,
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
 * pb_buffer_fd() - the dma-buf's descriptor; it remains the buffer's
 *
 * It can be sent to other processes. They can map it with iommufd if it has one range, and mmap it
 * if peerbar-vfio-pci exported it.
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
 * Return: 0.
 */
PB_API int pb_buffer_query_sized(struct pb_buffer *buffer, struct pb_buffer_info *info, size_t size, struct pb_error *err);

/** pb_buffer_query() - pb_buffer_query_sized() with this header's size */
static inline int pb_buffer_query(struct pb_buffer *buffer, struct pb_buffer_info *info, struct pb_error *err)
{
	return pb_buffer_query_sized(buffer, info, sizeof(*info), err);
}

/**
 * pb_buffer_ranges() - get the ranges that the buffer was exported from
 * @buffer: the buffer
 * @ranges: receives them; may be NULL if @nr_ranges is 0
 * @nr_ranges: the capacity of @ranges
 *
 * Return: the number of ranges of the buffer, which may exceed @nr_ranges; 0 if unknown.
 */
PB_API unsigned int pb_buffer_ranges(const struct pb_buffer *buffer, struct pb_range *ranges, unsigned int nr_ranges);

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
PB_API int pb_buffer_share(struct pb_buffer *buffer, struct pb_buffer **shared, struct pb_error *err);

/** pb_buffer_close() - release the handle; NULL is allowed. Mappings of the buffer remain. */
PB_API void pb_buffer_close(struct pb_buffer *buffer);

/* ---- devices on peerbar-vfio-pci ------------------------------------------------------------- */

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
PB_API int pb_buffer_mmap(struct pb_buffer *buffer, uint64_t offset, size_t length, bool writable, void **address,
			  struct pb_error *err);

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
PB_API int pb_buffer_set_memattr(struct pb_device *device, struct pb_buffer *buffer, const enum pb_memattr *memattrs,
				 unsigned int nr_memattrs, enum pb_memattr *chosen, struct pb_error *err);

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
PB_API int pb_buffer_memattr(struct pb_device *device, struct pb_buffer *buffer, enum pb_memattr *memattr,
			     struct pb_error *err);

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
PB_API int pb_buffer_revoke(struct pb_device *device, struct pb_buffer *buffer, struct pb_error *err);

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
PB_API int pb_device_mmap_cookie(struct pb_device *device, unsigned int bar, uint64_t offset, uint64_t length,
				 enum pb_memattr memattr, uint64_t *mmap_offset, struct pb_error *err);

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
PB_API int pb_device_mmap_at(struct pb_device *device, uint64_t mmap_offset, size_t length, bool writable, void **address,
			     struct pb_error *err);

/* ---- address spaces -------------------------------------------------------------------------- */

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
PB_API int pb_ioas_from_id(struct pb_iommu *iommu, uint32_t id, struct pb_ioas **ioas, struct pb_error *err);

/** pb_ioas_id() - iommufd's number of the address space */
PB_API uint32_t pb_ioas_id(const struct pb_ioas *ioas);

/**
 * pb_ioas_destroy() - destroy an address space; NULL is allowed
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
 * Return: 0, also if it was not attached.
 */
PB_API int pb_ioas_detach(struct pb_device *device, struct pb_error *err);

/**
 * struct pb_iova_range - addresses from @first to @last, both included
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
PB_API int pb_ioas_aperture(struct pb_ioas *ioas, struct pb_iova_range *ranges, unsigned int room, unsigned int *nr_ranges,
			    uint64_t *alignment, struct pb_error *err);

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
PB_API int pb_map_memory(struct pb_ioas *ioas, void *address, uint64_t length, unsigned int flags, uint64_t iova,
			 struct pb_mapping **mapping, struct pb_error *err);

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
 * A buffer of several ranges is mapped contiguously. A buffer of model PB_DYNAMIC is refused before
 * anything attaches to it. So is one of model PB_UNKNOWN, unless PB_MAP_UNKNOWN_MODEL is given.
 *
 * Return: 0; -EOPNOTSUPP if the model is refused, or the kernel cannot map this kind of dma-buf
 * (those of peerbar's modules need the module peerbar-iommufd), or the dma-buf has several ranges
 * and was not exported in this process; -ENODEV if the buffer is revoked; -ERANGE if the part is
 * not inside the buffer; otherwise as pb_map_memory().
 */
PB_API int pb_map_buffer(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset, uint64_t length, unsigned int flags,
			 uint64_t iova, struct pb_mapping **mapping, struct pb_error *err);

/** pb_mapping_iova() - its first address */
PB_API uint64_t pb_mapping_iova(const struct pb_mapping *mapping);

/** pb_mapping_length() - its length */
PB_API uint64_t pb_mapping_length(const struct pb_mapping *mapping);

/**
 * enum pb_state - whether DMA to a mapping reaches the memory
 * @PB_LIVE: it does
 * @PB_REVOKED: it does not, and faults, until pb_mapping_restore()
 */
enum pb_state {
	PB_LIVE,
	PB_REVOKED
};

/**
 * pb_mapping_state() - the state of a mapping, as known to the library
 *
 * Revocations by this process through this library are known at once. For all others, see
 * pb_ioas_check(). A live mapping may be reported as revoked: one that was made or restored during
 * a reset of the device. An unneeded pb_mapping_restore() only costs time.
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
 * For an event loop. Do not read from it; take events with pb_ioas_next_revoked(). It remains the
 * address space's.
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

/* ---- listing, and events --------------------------------------------------------------------- */

/**
 * struct pb_extent - physically contiguous memory
 * @start: its physical address
 * @length: its length
 */
struct pb_extent {
	uint64_t start;
	uint64_t length;
};

/**
 * struct pb_listed - a buffer that any process exported through peerbar's modules
 * @id: its number, not reused before the next boot; &struct pb_buffer_info.list_id
 * @exporter: the name of the exporter's module
 * @device: the device that has the memory, for example "0000:01:00.0"; "" if none
 * @name: the exporter's name for it
 * @size: its size
 * @model: its memory model
 * @state: whether its memory is accessible
 * @memattr: the attribute of the next mmap
 * @nr_ranges: the number of ranges
 * @nr_importers: the number of attached importers; 0 in events
 * @nr_mmaps: the number of memory areas of processes that map it; 0 in events
 * @creator: the process that exported it; 0 if not reported
 * @nr_extents: the number of elements of @extents: @nr_ranges, fewer if a message cannot hold them
 *	all, or 0 if not reported
 * @extents: the ranges
 * @nr_importer_names: the number of elements of @importer_names: @nr_importers, or fewer as with
 *	@nr_extents
 * @importer_names: the importing devices
 *
 * @creator, @extents and @importer_names are reported only with CAP_SYS_ADMIN, and never in events.
 */
struct pb_listed {
	uint64_t id;
	char exporter[PB_NAME_LEN];
	char device[PB_NAME_LEN];
	char name[PB_NAME_LEN];
	uint64_t size;
	enum pb_model model;
	enum pb_buffer_state state;
	enum pb_memattr memattr;
	unsigned int nr_ranges;
	unsigned int nr_importers;
	unsigned int nr_mmaps;
	uint32_t creator;
	unsigned int nr_extents;
	struct pb_extent *extents;
	unsigned int nr_importer_names;
	char (*importer_names)[PB_NAME_LEN];
};

/**
 * pb_list_buffers_sized() - list the buffers that were exported through peerbar's modules
 * @buffers: receives an array, by ascending number; free() frees it and all that its elements point
 *	to
 * @size: sizeof(**@buffers)
 * @nr_buffers: receives the number of elements
 * @err: may be NULL
 *
 * Lists the buffers of the caller's network namespace; in the initial namespace, all buffers.
 *
 * Return: 0; -ENOENT if the kernel module peerbar is not loaded; -EPERM or -EACCES if a security
 * module denies access.
 */
PB_API int pb_list_buffers_sized(struct pb_listed **buffers, size_t size, unsigned int *nr_buffers, struct pb_error *err);

/** pb_list_buffers() - pb_list_buffers_sized() with this header's size */
static inline int pb_list_buffers(struct pb_listed **buffers, unsigned int *nr_buffers, struct pb_error *err)
{
	return pb_list_buffers_sized(buffers, sizeof(**buffers), nr_buffers, err);
}

struct pb_watch;

/**
 * enum pb_event_type - an event of a buffer
 * @PB_EVENT_CREATED: it was exported
 * @PB_EVENT_REVOKED: its memory is inaccessible; its state shows whether permanently
 * @PB_EVENT_RESTORED: its memory is accessible again
 * @PB_EVENT_MOVED: it is PB_DYNAMIC, and moved
 * @PB_EVENT_RELEASED: its last reference was released
 * @PB_EVENT_LOST: events were lost, because they arrived faster than they were taken: call
 *	pb_list_buffers()
 * @PB_EVENT_NONE: no event is pending
 */
enum pb_event_type {
	PB_EVENT_CREATED,
	PB_EVENT_REVOKED,
	PB_EVENT_RESTORED,
	PB_EVENT_MOVED,
	PB_EVENT_RELEASED,
	PB_EVENT_LOST,
	PB_EVENT_NONE
};

/**
 * pb_event_name() - the name of the type in lower case without PB_EVENT_, such as "created"; a
 * constant
 */
PB_API const char *pb_event_name(enum pb_event_type type);

/**
 * struct pb_event - an event of a buffer
 * @type: the type
 * @buffer: the buffer at the time of the event, without importers, mmaps and privileged fields. All
 *	zero if @type is PB_EVENT_LOST or PB_EVENT_NONE. Must be the last field.
 */
struct pb_event {
	enum pb_event_type type;
	struct pb_listed buffer;
};

/**
 * pb_watch_open() - receive the events of all buffers from now on
 * @watch: receives the watch
 * @err: may be NULL
 *
 * For a complete view, open the watch, then list the buffers, then take events. After the module
 * peerbar is unloaded, the watch receives no events, even if the module is loaded again.
 *
 * Return: 0; otherwise as pb_list_buffers().
 */
PB_API int pb_watch_open(struct pb_watch **watch, struct pb_error *err);

/**
 * pb_watch_fd() - a descriptor that polls readable while an event is pending; it remains the
 * watch's. Do not read from it.
 */
PB_API int pb_watch_fd(const struct pb_watch *watch);

/**
 * pb_watch_next_sized() - take the next event, without waiting
 * @watch: the watch
 * @event: filled in; its type is PB_EVENT_NONE if no event is pending
 * @size: sizeof(*@event)
 * @err: may be NULL
 *
 * When the descriptor polls readable, take events until PB_EVENT_NONE.
 *
 * Return: 0.
 */
PB_API int pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size, struct pb_error *err);

/** pb_watch_next() - pb_watch_next_sized() with this header's size */
static inline int pb_watch_next(struct pb_watch *watch, struct pb_event *event, struct pb_error *err)
{
	return pb_watch_next_sized(watch, event, sizeof(*event), err);
}

/** pb_watch_close() - close a watch; NULL is allowed */
PB_API void pb_watch_close(struct pb_watch *watch);

/* ---- guests ---------------------------------------------------------------------------------- */

/**
 * DOC: guests - DMA between the assigned devices of a virtual machine
 *
 * A &struct pb_guest maintains a VMM's address spaces: each page of a BAR of an assigned device is
 * mapped at the guest-physical address that the guest programmed, for as long as the guest wants it
 * there. The VMM traps the guest's accesses and reports them by these functions. The rules:
 *
 * - A page is mapped if and only if exactly one BAR claims it, that BAR's device decodes (decoding
 *   on, D0, not in a reset), the page is not trapped, and the kernel maps it. A page that cannot be
 *   mapped, because the IOMMU reserves its address or the VMM has mapped something there, does not
 *   prevent the other pages of the BAR. A page that two BARs claim is mapped for neither, until one
 *   of them moves.
 * - Wrong mappings are unmapped before new ones are made, in all address spaces. So DMA never
 *   reaches a page that the guest did not put there; at worst it faults.
 * - A refusal by the kernel does not make a call fail: the pages stay unmapped, with the reason,
 *   which is reported once and can be listed. Each later call tries again.
 * - The VMM maps the guest's RAM. A BAR is not mapped over it, or over any other mapping of the
 *   VMM's.
 *
 * Report a change that disables a BAR (decoding off, D3, a reset, a new address) before applying it
 * to the device, and a change that enables it (decoding on, D0, the end of a reset) after. In the
 * wrong order, DMA still reaches no wrong page, but there are reports of pages that could not be
 * mapped.
 *
 * All functions may be called from any thread. Each holds one lock of the guest, taken before all
 * other locks of the library, for its whole duration and across its ioctls. There are no callbacks.
 * A function that maps takes some hundred microseconds per BAR.
 */
struct pb_guest;
struct pb_guest_device;

/**
 * pb_guest_create() - create a guest
 * @guest: receives the guest
 * @err: may be NULL
 *
 * Return: 0; -EMFILE if descriptors run out: it takes four, and one more for each BAR that is
 * exported.
 */
PB_API int pb_guest_create(struct pb_guest **guest, struct pb_error *err);

/**
 * pb_guest_destroy() - unmap all BARs and free the guest; NULL is allowed
 *
 * Address spaces and devices stay as they are; they may then be destroyed and closed. Every
 * &struct pb_guest_device of the guest becomes invalid. No other thread may use the guest.
 */
PB_API void pb_guest_destroy(struct pb_guest *guest);

/**
 * enum pb_guest_ioas_flags - the kind of addresses of an address space
 * @PB_GUEST_WINDOWS: addresses of a virtual IOMMU, not guest-physical ones: only the windows of
 *	pb_guest_add_window() are mapped
 */
enum pb_guest_ioas_flags {
	PB_GUEST_WINDOWS = 1 << 0
};

/**
 * pb_guest_add_ioas() - map BARs in an address space
 * @guest: the guest
 * @ioas: the address space; must not be destroyed before pb_guest_remove_ioas() or
 *	pb_guest_destroy()
 * @flags: of &enum pb_guest_ioas_flags; 0 if its addresses are guest-physical
 * @err: may be NULL
 *
 * A guest without a virtual IOMMU has one. A guest with a virtual IOMMU has one for each of its
 * domains or, if the IOMMU nests, a single one with guest-physical addresses below the guest's page
 * tables.
 *
 * Return: 0; -EINVAL if @flags are unknown; -EEXIST if it was added already.
 */
PB_API int pb_guest_add_ioas(struct pb_guest *guest, struct pb_ioas *ioas, unsigned int flags, struct pb_error *err);

/**
 * pb_guest_remove_ioas() - unmap all BARs from an address space, and remove it
 * @guest: the guest
 * @ioas: the address space
 * @err: may be NULL
 *
 * Return: 0; -ENOENT if it was not added; -EBUSY if the kernel did not unmap everything: call
 * again.
 */
PB_API int pb_guest_remove_ioas(struct pb_guest *guest, struct pb_ioas *ioas, struct pb_error *err);

/**
 * struct pb_guest_window - a mapping in a domain of a virtual IOMMU
 * @iova: the first address; page-aligned
 * @address: the guest-physical address it maps to; page-aligned
 * @length: the length; a multiple of the page size, not 0
 * @flags: PB_MAP_READ, PB_MAP_WRITE or both
 */
struct pb_guest_window {
	uint64_t iova;
	uint64_t address;
	uint64_t length;
	unsigned int flags;
};

/**
 * pb_guest_add_window() - report that the guest mapped a range in a domain of its virtual IOMMU
 * @guest: the guest
 * @ioas: the domain's address space, added with PB_GUEST_WINDOWS
 * @window: the range
 * @err: may be NULL
 *
 * Only windows onto BARs are needed. BARs may appear and disappear behind a window. The VMM maps
 * the parts of it that are the guest's RAM.
 *
 * Return: 0; -EINVAL if @ioas was not added with PB_GUEST_WINDOWS, or @window is not aligned, is
 * empty, wraps around or allows no access; -EEXIST if it overlaps another window of @ioas.
 */
PB_API int pb_guest_add_window(struct pb_guest *guest, struct pb_ioas *ioas, const struct pb_guest_window *window,
			       struct pb_error *err);

/**
 * pb_guest_remove_window() - report that the guest unmapped the range
 * @guest: the guest
 * @ioas: the domain's address space
 * @iova: the window's first address
 * @err: may be NULL
 *
 * When it returns 0, DMA to the window's BAR pages faults.
 *
 * Return: 0; -ENOENT if there is no such window; -EBUSY if the kernel did not unmap everything:
 * call again.
 */
PB_API int pb_guest_remove_window(struct pb_guest *guest, struct pb_ioas *ioas, uint64_t iova, struct pb_error *err);

/**
 * struct pb_guest_trap - a part of a BAR that the VMM emulates, and that no peer may access
 * @bar: the BAR, 0 to 5
 * @offset: its offset in the BAR
 * @length: its length; each page that it overlaps is trapped
 */
struct pb_guest_trap {
	unsigned int bar;
	uint64_t offset;
	uint64_t length;
};

/**
 * pb_guest_add_device() - assign a device to the guest
 * @guest: the guest
 * @device: the device; must not be closed before pb_guest_remove_device() or pb_guest_destroy()
 * @traps: the VMM's traps; may be NULL if @nr_traps is 0. The pages of the MSI-X table and pending
 *	bits are trapped automatically
 * @nr_traps: the number of traps
 * @data: a pointer of the caller's, to identify the device in &struct pb_guest_range
 * @guest_device: receives the guest's device
 * @err: may be NULL
 *
 * Its initial state is that after a reset: decoding off, D0, BARs at no address. A BAR smaller than
 * a page is trapped as a whole. It is not an error if the device's BARs cannot be exported.
 *
 * Return: 0; -EEXIST if it was added already; -EINVAL if a trap is not inside a memory BAR of the
 * device.
 */
PB_API int pb_guest_add_device(struct pb_guest *guest, struct pb_device *device, const struct pb_guest_trap *traps,
			       unsigned int nr_traps, void *data, struct pb_guest_device **guest_device, struct pb_error *err);

/**
 * pb_guest_remove_device() - remove a device from the guest
 * @device: the device, which is freed
 * @err: may be NULL
 *
 * When it returns 0, the device has no mappings and can be closed. Its reports are dropped.
 *
 * Return: 0; -EBUSY if the kernel did not unmap everything: the device still exists, with decoding
 * off; call again.
 */
PB_API int pb_guest_remove_device(struct pb_guest_device *device, struct pb_error *err);

#define PB_GUEST_NOWHERE 0xffffffffffffffffULL

/**
 * pb_guest_set_bar() - report that the guest wrote a BAR register
 * @device: the device
 * @bar: the BAR, 0 to 5
 * @address: the guest-physical address in the register, or in both registers of a 64-bit BAR; a
 *	multiple of the page size, or of the BAR's size if that is smaller. PB_GUEST_NOWHERE if the
 *	BAR has no address.
 * @err: may be NULL
 *
 * Call it for each write, with the resulting address. A BAR whose address bits are all ones is
 * being sized, and has no address. A half-written address of a 64-bit BAR is used as it is, as on
 * the bus.
 *
 * Return: 0, also if the kernel refuses to map it there; -EINVAL if there is no such memory BAR, or
 * @address is not aligned.
 */
PB_API int pb_guest_set_bar(struct pb_guest_device *device, unsigned int bar, uint64_t address, struct pb_error *err);

/**
 * pb_guest_set_decoding() - report that the guest wrote the Memory Space bit of the command
 * register
 * @device: the device
 * @on: the new state of the bit
 * @err: may be NULL
 *
 * The caller writes the device's own bit: to set it, before this call; to clear it, after.
 *
 * Return: 0, also if the kernel refuses to map something.
 */
PB_API int pb_guest_set_decoding(struct pb_guest_device *device, bool on, struct pb_error *err);

/**
 * pb_guest_set_power() - report that the guest moved the device to D0 (@on) or out of it; otherwise
 * as pb_guest_set_decoding()
 */
PB_API int pb_guest_set_power(struct pb_guest_device *device, bool on, struct pb_error *err);

/**
 * pb_guest_reset_begin() - report that the device is about to be reset, alone or with others
 * @device: the device
 * @err: may be NULL
 *
 * For a hot reset, call it for each affected device, then reset, then call pb_guest_reset_done()
 * for each.
 *
 * Return: 0. When it returns, no page of the device is mapped.
 */
PB_API int pb_guest_reset_begin(struct pb_guest_device *device, struct pb_error *err);

/**
 * pb_guest_reset_done() - report that the reset is over, successful or not
 * @device: the device
 * @err: may be NULL
 *
 * The state is then that after a reset: decoding off, D0. The BARs keep their addresses. If the
 * guest sees cleared BAR registers, call pb_guest_set_bar(). If the VMM restored the command
 * register, call pb_guest_set_decoding().
 *
 * Return: 0.
 */
PB_API int pb_guest_reset_done(struct pb_guest_device *device, struct pb_error *err);

/**
 * enum pb_guest_sync_flags - flags of pb_guest_sync()
 * @PB_GUEST_RETRY: also retry ranges that the kernel refused for a lasting reason, such as a BAR
 *	that cannot be exported; export the BAR again if it is not mapped
 * @PB_GUEST_REMAKE: make all mappings again, also those that seem live: for a VMM that cannot see
 *	all revocations of its devices
 */
enum pb_guest_sync_flags {
	PB_GUEST_RETRY = 1 << 0,
	PB_GUEST_REMAKE = 1 << 1
};

/**
 * pb_guest_sync() - process pending events, and retry refused ranges
 * @guest: the guest
 * @flags: of &enum pb_guest_sync_flags
 * @err: may be NULL
 *
 * Call it when pb_guest_fd() polls readable, and when the VMM freed addresses without the library
 * that a BAR may be waiting for.
 *
 * Return: 0, also if ranges are refused, see pb_guest_nr_refused(); -EINVAL if @flags are unknown.
 */
PB_API int pb_guest_sync(struct pb_guest *guest, unsigned int flags, struct pb_error *err);

/** pb_guest_nr_refused() - the number of ranges that should be mapped now, but were refused */
PB_API unsigned int pb_guest_nr_refused(struct pb_guest *guest);

/**
 * pb_guest_check() - compare with the kernel's mappings, and repair them
 * @guest: the guest
 * @nr_found: receives the number of ranges that were wrong; may be NULL
 * @err: may be NULL
 *
 * For each mapping, asks the kernel whether its addresses are mapped and its buffer is live; on
 * peerbar-vfio-pci also whether it was revoked since it was mapped. Differences are reported, and
 * mapped again if possible. The stock kernel does not report a buffer that was revoked and is live
 * again: a VMM that resets a device without reporting it needs PB_GUEST_REMAKE.
 *
 * Return: 0; a negative errno if a mapping could not be queried.
 */
PB_API int pb_guest_check(struct pb_guest *guest, unsigned int *nr_found, struct pb_error *err);

/**
 * pb_guest_fd() - a descriptor that polls readable while work is pending: call pb_guest_sync(),
 * then pb_guest_next_report()
 *
 * It becomes readable when a mapping that should exist was revoked, when a refused range may be
 * possible, and when a report is pending. Actions of this process through the library, on the
 * device or on mappings of the address space, are seen at once. Actions of other processes, or on
 * the device's descriptor, are seen only with peerbar-vfio-pci, and if netlink events were
 * available at pb_guest_create(). It does not become readable for other buffers, of this process or
 * others, nor for actions of the guest that the VMM reports in the right order.
 *
 * After pb_guest_sync(), and pb_guest_next_report() until there is none, it is not readable until
 * the next event, and each event triggers it again: edge-triggered polling (EPOLLET) works as well.
 * It remains the guest's. Do not read from it.
 */
PB_API int pb_guest_fd(const struct pb_guest *guest);

/**
 * enum pb_guest_state - the state of a part of a BAR
 * @PB_GUEST_MAPPED: mapped at the guest's address
 * @PB_GUEST_OFF: the device does not decode: decoding is off, it is not in D0, or it is being reset
 * @PB_GUEST_UNPLACED: the BAR has no address, or is being sized
 * @PB_GUEST_TRAPPED: the VMM emulates it
 * @PB_GUEST_OVERLAP: another BAR claims the same pages
 * @PB_GUEST_REFUSED: it should be mapped, but could not be
 */
enum pb_guest_state {
	PB_GUEST_MAPPED,
	PB_GUEST_OFF,
	PB_GUEST_UNPLACED,
	PB_GUEST_TRAPPED,
	PB_GUEST_OVERLAP,
	PB_GUEST_REFUSED
};

/** pb_guest_state_name() - the name of the state without PB_GUEST_, such as "MAPPED"; a constant */
PB_API const char *pb_guest_state_name(enum pb_guest_state state);

/**
 * struct pb_guest_range - a part of a BAR, and its state
 * @device: the device
 * @data: the pointer given to pb_guest_add_device()
 * @bdf: the device's address on the host
 * @bar: the BAR
 * @offset: the offset in the BAR
 * @length: the length
 * @address: the guest-physical address; PB_GUEST_NOWHERE if @state is PB_GUEST_UNPLACED
 * @ioas: the address space; NULL if @state is PB_GUEST_OFF or PB_GUEST_UNPLACED, which hold for all
 *	of them
 * @iova: the address in the address space
 * @state: the state
 * @why: with PB_GUEST_REFUSED, the reason; in a report with PB_GUEST_MAPPED, code ESTALE if the
 *	mapping was lost without being reported; otherwise code 0 and an empty text
 */
struct pb_guest_range {
	struct pb_guest_device *device;
	void *data;
	char bdf[PB_BDF_LEN];
	unsigned int bar;
	uint64_t offset;
	uint64_t length;
	uint64_t address;
	struct pb_ioas *ioas;
	uint64_t iova;
	enum pb_guest_state state;
	struct pb_error why;
};

/**
 * pb_guest_list_sized() - list all parts of all BARs
 * @guest: the guest
 * @ranges: receives an array, to be freed with free(): for each BAR and address space, its ranges,
 *	ascending
 * @size: sizeof(**@ranges)
 * @nr_ranges: receives the number of elements
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_guest_list_sized(struct pb_guest *guest, struct pb_guest_range **ranges, size_t size, unsigned int *nr_ranges,
			       struct pb_error *err);

/** pb_guest_list() - pb_guest_list_sized() with this header's size */
static inline int pb_guest_list(struct pb_guest *guest, struct pb_guest_range **ranges, unsigned int *nr_ranges, struct pb_error *err)
{
	return pb_guest_list_sized(guest, ranges, sizeof(**ranges), nr_ranges, err);
}

/**
 * pb_guest_next_report_sized() - take the next report, for the VMM's log
 * @guest: the guest
 * @report: filled in if there is one
 * @size: sizeof(*@report)
 *
 * PB_GUEST_REFUSED is reported when a range could not be mapped, or lost its mapping and could not
 * be mapped again: once for each range and reason, and only once for a BAR that cannot be exported.
 * PB_GUEST_MAPPED is reported when such a range is mapped after all, and when a mapping was lost
 * without being reported and was made again: DMA may have faulted in between. More than 256 pending
 * reports drop the oldest.
 *
 * Return: true if there was a report, false if there is none.
 */
PB_API bool pb_guest_next_report_sized(struct pb_guest *guest, struct pb_guest_range *report, size_t size);

/** pb_guest_next_report() - pb_guest_next_report_sized() with this header's size */
static inline bool pb_guest_next_report(struct pb_guest *guest, struct pb_guest_range *report)
{
	return pb_guest_next_report_sized(guest, report, sizeof(*report));
}

/* ---- capabilities of this system ------------------------------------------------------------- */

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
PB_API int pb_capabilities_sized(struct pb_capability **capabilities, size_t size, unsigned int *nr_capabilities,
				 struct pb_error *err);

/** pb_capabilities() - pb_capabilities_sized() with this header's size */
static inline int pb_capabilities(struct pb_capability **capabilities, unsigned int *nr_capabilities, struct pb_error *err)
{
	return pb_capabilities_sized(capabilities, sizeof(**capabilities), nr_capabilities, err);
}

/**
 * pb_module_abi() - the ABI version of the kernel module peerbar; 0 if the module does not answer
 */
PB_API unsigned int pb_module_abi(void);

/**
 * pb_rdma_link_add() - create an RDMA device of the driver peerbar-rdma
 * @name: its name, for example "pb0"; at most 63 characters
 * @netdev: the Ethernet device to create it on, in the caller's network namespace; must have a PCI
 *	function, whose DMA identity the RDMA device uses
 * @err: may be NULL
 *
 * Equivalent to "rdma link add @name type peerbar netdev @netdev". The kernel loads the module
 * peerbar-rdma if it finds it.
 *
 * Return: 0; -EINVAL if a name is invalid, or the kernel has no such links (the module peerbar-rdma
 * is missing); -ENODEV if there is no such network device; -EEXIST if the name is in use, or
 * @netdev has such a device; -EOPNOTSUPP if @netdev has no PCI function or is not Ethernet; -EPERM
 * without CAP_NET_ADMIN; -EPROTONOSUPPORT without the kernel's RDMA core; -ENOMEM; -EIO if netlink
 * fails.
 */
PB_API int pb_rdma_link_add(const char *name, const char *netdev, struct pb_error *err);

/**
 * pb_rdma_link_delete() - remove an RDMA device that was created by a link
 * @name: its name, for example "pb0"
 * @err: may be NULL
 *
 * Processes that have it open get IBV_EVENT_DEVICE_FATAL, and errors from then on.
 *
 * Return: 0; -ENODEV if there is none of that name; -EINVAL if it cannot be removed, such as a
 * hardware device; -EPERM without CAP_NET_ADMIN; otherwise as pb_rdma_link_add().
 */
PB_API int pb_rdma_link_delete(const char *name, struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
