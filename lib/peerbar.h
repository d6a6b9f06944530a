/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/**
 * DOC: libpeerbar - one PCI device's memory, used by its peers
 *
 * A range of a BAR is exported as a dma-buf (&struct pb_buffer), and an IOMMU address space (&struct pb_ioas) imports it, so
 * that the devices attached to that address space reach it by DMA. This works on an unmodified kernel, 7.2 or newer, with
 * vfio-pci and iommufd. peerbar's own kernel modules add to it: mmap of a buffer, memory attributes, revocation for good,
 * cookies, the model of any dma-buf, a list of buffers, and events. Without them the functions for these fail, and the
 * sentence says which module is needed: with -EOPNOTSUPP where a device has to be bound to peerbar-vfio-pci, and with -ENOENT
 * where the module peerbar is not loaded. pb_capabilities() tells beforehand.
 *
 * Conventions, for every function unless its description says otherwise:
 *
 * - A function that returns int returns 0 on success and a negative errno on failure. A failing function changes nothing: what
 *   it had begun is undone. Counts and answers come through a pointer, so that "if (a() || b())" finds failures and nothing else.
 *   The exceptions cannot fail: the functions whose names end in _fd return a descriptor.
 * - @err may be NULL. On failure it receives the errno and one sentence that says what was asked, what is wrong with it, and
 *   what would be right. On success it is left alone.
 * - Besides the errnos that are listed, -ENOMEM is possible wherever memory is allocated, and so is any errno of the system
 *   call beneath, whose sentence then names the call.
 * - Functions may be called from several threads at a time, on the same objects. Only the functions that free an object (close,
 *   destroy, unmap) must be the last to use it.
 * - Objects keep alive what they were made from: closing a &struct pb_iommu while a device of it is open is no error.
 * - Sizes, offsets and addresses are in bytes. "Page" is the system's page, sysconf(_SC_PAGESIZE).
 * - All file descriptors are opened with O_CLOEXEC. The library neither prints, nor aborts, nor starts threads, nor keeps global
 *   state.
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

/* ---- versions ------------------------------------------------------------------------------------------------------------ */

/*
 * The version of this header: major, minor and micro in a byte each, as 0x000100 for 0.1.0. pb_version() is that of the running
 * library, which may be newer or older. docs/abi.md says what may differ between versions.
 */
#define PB_VERSION_MAJOR 0
#define PB_VERSION_MINOR 1
#define PB_VERSION_MICRO 0
#define PB_VERSION 0x000100

/**
 * DOC: structures that may grow
 *
 * Some structures that the library fills in get more fields in newer versions, always at the end: &struct pb_pci_function,
 * &struct pb_region, &struct pb_buffer_info, &struct pb_listed, &struct pb_event, &struct pb_guest_range, &struct pb_capability. The
 * function that fills one in takes its size as the caller was compiled with, and its name ends in _sized. It writes that many bytes
 * and no more: fields that the caller does not know are left out, and fields that the library does not know are 0. Of an array, the
 * size is that of an element. The function of the same name without _sized is inline, and passes sizeof; bindings for other
 * languages call the one with _sized.
 *
 * No other structure of this header ever changes.
 */

/** pb_version() - the version of the library that is running, as "0.1.0" */
PB_API const char *pb_version(void);

/* ---- errors -------------------------------------------------------------------------------------------------------------- */

/**
 * struct pb_error - why a call failed
 * @code: the errno, positive; 0 in an error that has not been used
 * @text: one sentence, without a newline, NUL-terminated
 */
struct pb_error {
	int code;
	char text[380];
};

/* ---- PCI functions ------------------------------------------------------------------------------------------------------- */

#define PB_BDF_LEN 24 /* "ffffffff:ff:1f.7", with room */
#define PB_NAME_LEN 64
#define PB_BARS 6

/**
 * struct pb_pci_bar - a BAR as sysfs tells it
 * @size: its size; 0 if there is none, or it is the upper half of a 64-bit BAR
 * @memory: it is memory, not I/O ports
 * @prefetchable: it is prefetchable memory
 */
struct pb_pci_bar {
	uint64_t size;
	bool memory;
	bool prefetchable;
};

/**
 * struct pb_pci_function - a PCI function as sysfs tells it
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
 * pb_pci_get_sized() - look a PCI function up
 * @bdf: its address, "0000:01:00.0" or, in domain 0, "01:00.0"
 * @function: filled in
 * @size: sizeof(*@function)
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if @bdf is no PCI address; -ENODEV if no such function is there.
 */
PB_API int pb_pci_get_sized(const char *bdf, struct pb_pci_function *function, size_t size, struct pb_error *err);

/** pb_pci_get() - pb_pci_get_sized() with the size that this header knows */
static inline int pb_pci_get(const char *bdf, struct pb_pci_function *function, struct pb_error *err)
{
	return pb_pci_get_sized(bdf, function, sizeof(*function), err);
}

/**
 * pb_pci_list_sized() - all PCI functions, in the order of their addresses
 * @functions: receives an array to be freed with free()
 * @size: sizeof(**@functions)
 * @nr_functions: receives how many elements it has
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_pci_list_sized(struct pb_pci_function **functions, size_t size, unsigned int *nr_functions, struct pb_error *err);

/** pb_pci_list() - pb_pci_list_sized() with the size that this header knows */
static inline int pb_pci_list(struct pb_pci_function **functions, unsigned int *nr_functions, struct pb_error *err)
{
	return pb_pci_list_sized(functions, sizeof(**functions), nr_functions, err);
}

/**
 * enum pb_bind_flags - how pb_pci_bind_flags() binds
 * @PB_BIND_FORCE: make the driver take a device that it is not for
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
 * The function is taken from the driver that has it. VFIO drivers take any device, by driver_override. Other drivers take only
 * devices that they are for, as the kernel decides: one that runs a device it does not know can crash the kernel. If the new driver
 * does not take the function, the former override is put back and the former driver gets it back. Binding to the driver that the
 * function is bound to already succeeds and does nothing. A function that was just plugged is visible before the kernel lets drivers
 * have it, so a driver is given a second to take it.
 *
 * If the former driver is a VFIO driver, the kernel waits for as long as any process, this one included, has the device open or
 * mapped, and nothing interrupts it. So the function fails with -EBUSY while one has, and @err names it; pb_pci_holders() lists
 * all. A process that opens the device between this check and the kernel's own is waited for.
 *
 * Return: 0; -EINVAL if @bdf is no PCI address or @driver no name; -ENODEV if no such function is there, or the driver does
 * not take it; -EPERM if the driver is not for the device, see pb_pci_bind_flags(); -EBUSY if a process has the device open or
 * mapped; -ENOENT if no driver of that name is loaded; -EACCES without the privilege to write sysfs.
 */
PB_API int pb_pci_bind(const char *bdf, const char *driver, struct pb_error *err);

/**
 * pb_pci_bind_flags() - as pb_pci_bind(), with flags of &enum pb_bind_flags
 *
 * Return: as pb_pci_bind(); -EINVAL too if a flag is unknown.
 */
PB_API int pb_pci_bind_flags(const char *bdf, const char *driver, unsigned int flags, struct pb_error *err);

/**
 * pb_pci_unbind() - take a function from its driver, forget the override, and let the kernel find it its ordinary driver
 * @bdf: the function's address
 * @err: may be NULL
 *
 * Fails with -EBUSY while a process has the device open or mapped, as pb_pci_bind() does.
 *
 * Return: 0, also if it was bound to nothing; otherwise as pb_pci_bind().
 */
PB_API int pb_pci_unbind(const char *bdf, struct pb_error *err);

/**
 * enum pb_holder_kind - what a process has of a VFIO device
 * @PB_HOLDER_DEVICE: a descriptor of the device, by its character device or its group. The device stays in use until it is closed
 * @PB_HOLDER_MAPPING: a mapping of a region. The device stays in use until it is unmapped
 * @PB_HOLDER_GROUP: a descriptor of its VFIO group. The character device cannot be bound to an iommufd
 * @PB_HOLDER_BUFFER: a descriptor of a dma-buf that, by its name, was exported from it. The device can be closed and unbound
 * @PB_HOLDER_UNKNOWN: not known: the caller may not look at this process
 */
enum pb_holder_kind {
	PB_HOLDER_DEVICE,
	PB_HOLDER_MAPPING,
	PB_HOLDER_GROUP,
	PB_HOLDER_BUFFER,
	PB_HOLDER_UNKNOWN
};

/**
 * struct pb_holder - a process that has something of a VFIO device
 * @pid: the process
 * @fd: the descriptor's number there; -1 for a mapping, and if it is not known
 * @kind: what it has
 * @command: the process's name, as /proc/PID/comm shows it, any bytes
 */
struct pb_holder {
	int pid;
	int fd;
	enum pb_holder_kind kind;
	char command[PB_NAME_LEN];
};

/**
 * pb_pci_holders() - which processes have a function's VFIO device open or mapped, its group open, or a dma-buf of it
 * @bdf: the function's address
 * @holders: receives an array, one element for each descriptor and one for all mappings of a process, those of a process side by side;
 *	to be freed with free(). NULL if there are none
 * @nr_holders: receives how many elements it has
 * @err: may be NULL
 *
 * It looks at /proc/PID/fd and /proc/PID/maps of all processes in this PID namespace. To look at another user's process takes
 * CAP_SYS_PTRACE. Descriptors that wait in a socket or that only io_uring has are not found; pb_pci_bind() and pb_pci_unbind()
 * notice these by trying to open the device.
 *
 * Return: 0; -EINVAL if @bdf is no PCI address; -ENODEV if no such function is there; -ENOENT if /proc is not mounted.
 */
PB_API int pb_pci_holders(const char *bdf, struct pb_holder **holders, unsigned int *nr_holders, struct pb_error *err);

/* ---- the iommufd context ------------------------------------------------------------------------------------------------- */

struct pb_iommu;

/**
 * pb_iommu_open() - open /dev/iommu
 * @iommu: receives the context
 * @err: may be NULL
 *
 * Return: 0; -ENOENT if there is no /dev/iommu (the module iommufd is not loaded); -EACCES if it may not be opened.
 */
PB_API int pb_iommu_open(struct pb_iommu **iommu, struct pb_error *err);

/**
 * pb_iommu_from_fd() - use an iommufd that is open already, as one that a VMM was given
 * @fd: a descriptor of /dev/iommu; it is duplicated, and stays the caller's
 * @iommu: receives the context
 * @err: may be NULL
 *
 * Return: 0; -EBADF if @fd is not open; -EINVAL if it is no iommufd.
 */
PB_API int pb_iommu_from_fd(int fd, struct pb_iommu **iommu, struct pb_error *err);

/** pb_iommu_fd() - the descriptor, which stays the context's */
PB_API int pb_iommu_fd(const struct pb_iommu *iommu);

/** pb_iommu_close() - let go of the context; NULL is allowed. It ends when the devices and address spaces made from it do. */
PB_API void pb_iommu_close(struct pb_iommu *iommu);

/* ---- devices ------------------------------------------------------------------------------------------------------------- */

struct pb_device;

/**
 * struct pb_region - a region of a device, as VFIO tells it
 * @index: BARs 0 to 5, 6 the expansion ROM, 7 the configuration space
 * @size: its size; 0 if the device has no such region
 * @readable: pb_device_read() works
 * @writable: pb_device_write() works
 * @mappable: pb_device_mmap() works, at least in parts
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
 * @iommu: the context; it is kept alive
 * @bdf: the function's address; it must be bound to vfio-pci or a variant of it, see pb_pci_bind()
 * @device: receives the device
 * @err: may be NULL
 *
 * Until it is attached to an address space (pb_ioas_attach()) and is a bus master (pb_device_set_bus_master()), a device can
 * do no DMA.
 *
 * Return: 0; -EINVAL if @bdf is no PCI address; -ENODEV if no such function is there; -ENXIO if it is bound to no VFIO
 * driver, or the kernel has no VFIO character devices; -EBUSY if it, or another function of its IOMMU group, is in use, by
 * this process too, and then @err names the process; -EPERM if the machine does not remap interrupts; -EACCES if the character device may not be opened, or
 * needs a VF token.
 */
PB_API int pb_device_open(struct pb_iommu *iommu, const char *bdf, struct pb_device **device, struct pb_error *err);

/**
 * pb_device_from_fd() - take a device that is open already, as a VMM has it
 * @iommu: the context of the iommufd that it is bound to
 * @fd: its VFIO descriptor, bound to that iommufd; it is duplicated, and stays the caller's
 * @bdf: the function's address
 * @device: receives the device
 * @err: may be NULL
 *
 * Its life stays the caller's business: pb_device_close() neither detaches it, nor turns anything off, nor revokes; it only keeps the
 * kernel's device open until then. What the caller writes to the descriptor without the library, mappings are not told of: see
 * pb_mapping_state(), and &struct pb_guest for how a VMM does it.
 *
 * Return: 0; -EINVAL if @bdf is no PCI address, or @fd no VFIO device that is bound; -EBADF if @fd is not open; -ENODEV if no such
 * function is there.
 */
PB_API int pb_device_from_fd(struct pb_iommu *iommu, int fd, const char *bdf, struct pb_device **device, struct pb_error *err);

/** pb_device_bdf() - the device's address, valid as long as the device */
PB_API const char *pb_device_bdf(const struct pb_device *device);

/** pb_device_fd() - the VFIO descriptor, which stays the device's */
PB_API int pb_device_fd(const struct pb_device *device);

/**
 * pb_device_close() - close the device; NULL is allowed
 *
 * It is detached from its address space, stops being a bus master, and its memory decoding is turned off. Buffers exported
 * from it are revoked: no DMA reaches them when this returns, and mappings of them say so (PB_REVOKED). They are revoked for
 * good as soon as the last descriptor and the last mapping of the device (pb_device_mmap(), a child of fork()) are gone;
 * until then it cannot be opened again either.
 */
PB_API void pb_device_close(struct pb_device *device);

/**
 * pb_device_regions() - how many regions the device has; indices from there on are refused
 * @device: the device
 */
PB_API unsigned int pb_device_regions(const struct pb_device *device);

/**
 * pb_device_region_sized() - ask for one region
 * @device: the device
 * @index: its index, below pb_device_regions()
 * @region: filled in; a region that the device does not have has size 0
 * @size: sizeof(*@region)
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if @index is out of range.
 */
PB_API int pb_device_region_sized(struct pb_device *device, unsigned int index, struct pb_region *region, size_t size,
				  struct pb_error *err);

/** pb_device_region() - pb_device_region_sized() with the size that this header knows */
static inline int pb_device_region(struct pb_device *device, unsigned int index, struct pb_region *region, struct pb_error *err)
{
	return pb_device_region_sized(device, index, region, sizeof(*region), err);
}

/**
 * pb_device_read() - read from a region, through the kernel
 * @device: the device
 * @region: the region's index
 * @offset: where in the region
 * @data: receives the bytes
 * @length: how many
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if there is no such region; -ERANGE if the bytes are not all inside it; -EIO if memory decoding is off.
 */
PB_API int pb_device_read(struct pb_device *device, unsigned int region, uint64_t offset, void *data, size_t length,
			  struct pb_error *err);

/**
 * pb_device_write() - write to a region, through the kernel; as pb_device_read()
 *
 * A write to the configuration space that makes the kernel revoke (decoding off, D3hot, a function level reset) has the same
 * effect on mappings as pb_device_set_decoding() has.
 */
PB_API int pb_device_write(struct pb_device *device, unsigned int region, uint64_t offset, const void *data, size_t length,
			   struct pb_error *err);

/**
 * pb_device_mmap() - map a part of a region into this process
 * @device: the device
 * @region: the region's index
 * @offset: where in the region; page-aligned
 * @length: how much; not 0
 * @writable: map for writing too
 * @address: receives the address; to be unmapped with munmap()
 * @err: may be NULL
 *
 * From 2 MiB on, an address is taken, if it is free, at which the kernel can map large pages, see pb_buffer_mmap(). The mapping
 * outlives the device object, and keeps the kernel's device open until it is unmapped. While memory decoding is off, as after
 * pb_device_close(), an access raises SIGBUS.
 *
 * Return: 0; -EINVAL if there is no such region, or @offset is unaligned, or @length is 0; -ERANGE if the part is not all
 * inside the region; -EOPNOTSUPP if the region cannot be mapped.
 */
PB_API int pb_device_mmap(struct pb_device *device, unsigned int region, uint64_t offset, size_t length, bool writable,
			  void **address, struct pb_error *err);

/**
 * pb_device_set_decoding() - turn memory decoding on or off (the Memory Space bit of the PCI command register)
 * @device: the device
 * @on: the new state
 * @err: may be NULL
 *
 * Off revokes the buffers exported from the device: when this returns, no DMA reaches them any more, and their mappings are
 * PB_REVOKED. On makes the buffers usable again, but not the mappings, whose revocation is final in the kernel: see
 * pb_mapping_restore(). On a virtual function, which has no such bit of its own, off only revokes the mappings, and the
 * buffers are usable again at once.
 *
 * Return: 0.
 */
PB_API int pb_device_set_decoding(struct pb_device *device, bool on, struct pb_error *err);

/**
 * pb_device_decoding() - ask whether memory decoding is on
 * @device: the device
 * @on: receives the answer
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_device_decoding(struct pb_device *device, bool *on, struct pb_error *err);

/** pb_device_set_bus_master() - let the device start DMA, or not (the Bus Master bit). Return: 0. */
PB_API int pb_device_set_bus_master(struct pb_device *device, bool on, struct pb_error *err);

/**
 * pb_device_reset() - reset the function
 * @device: the device
 * @err: may be NULL
 *
 * Buffers exported from the device are revoked, and usable again when this returns if memory decoding was on before and the
 * kernel restored it; their mappings are PB_REVOKED, as with pb_device_set_decoding().
 *
 * Return: 0; -EOPNOTSUPP if the device has no reset; -EAGAIN if the device is in use by the kernel at this moment: then it
 * was not reset, but the mappings are revoked all the same.
 */
PB_API int pb_device_reset(struct pb_device *device, struct pb_error *err);

/* ---- buffers ------------------------------------------------------------------------------------------------------------- */

struct pb_buffer;

/**
 * enum pb_model - what the exporter of a dma-buf promises about its memory
 * @PB_UNKNOWN: nobody says; not a guess
 * @PB_PINNED: it never moves, and never goes away while attached
 * @PB_REVOCABLE: it never moves, but may go away; an importer must be able to stop
 * @PB_DYNAMIC: it may move at any time; an importer must be able to follow
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
 * enum pb_model_basis - how the model of a buffer is known
 * @PB_BASIS_NONE: it is not: the model is PB_UNKNOWN
 * @PB_BASIS_NAME: by the exporter's name, as pb_exporter_model() tells it
 * @PB_BASIS_DERIVED: from what the exporter offers and refuses, which the kernel module peerbar looked at
 * @PB_BASIS_DECLARED: the exporter itself told the kernel module peerbar
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
 * pb_exporter_model() - the model of the dma-bufs of an exporter, from the table in docs/models.md
 * @exporter: the name that the kernel shows as exp_name in fdinfo, as "udmabuf"
 *
 * Return: the model; PB_UNKNOWN if the exporter is not in the table.
 */
PB_API enum pb_model pb_exporter_model(const char *exporter);

/**
 * struct pb_range - a range of a BAR
 * @offset: where it begins in the BAR; page-aligned
 * @length: its length; a multiple of the page size, not 0
 */
struct pb_range {
	uint64_t offset;
	uint64_t length;
};

/**
 * enum pb_buffer_state - whether the memory of a buffer can be reached
 * @PB_BUFFER_UNKNOWN: nobody says: it is not exported through peerbar, or the kernel module peerbar cannot be asked
 * @PB_BUFFER_LIVE: it can
 * @PB_BUFFER_REVOKED: it cannot now, but may again (memory decoding off, reset, D3)
 * @PB_BUFFER_DEAD: it never will again
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
 * enum pb_memattr - how processes' mappings of device memory behave
 * @PB_NC: not cached, in order: the default
 * @PB_WC: writes may be combined, and delayed until a fence
 * @PB_WB: cached; only memory of a few devices can be, a plain BAR never
 *
 * The top byte of a value is its group. This is group 0; the others are for one architecture's own values, see
 * <linux/peerbar.h>, which are handed to the kernel, and told, as they are.
 */
enum pb_memattr {
	PB_NC,
	PB_WC,
	PB_WB
};

/** pb_memattr_name() - "NC", "WC" or "WB", and "OTHER" for a value that is not of the base group; a constant */
PB_API const char *pb_memattr_name(enum pb_memattr memattr);

/**
 * struct pb_buffer_info - what is known of a buffer
 * @size: its size
 * @id: the dma-buf's number, the same for all descriptors of it, in every process, and not used again before the next boot
 * @model: its memory model
 * @basis: how @model is known
 * @exporter: the exporter's name, as the kernel shows it
 * @name: the dma-buf's name, "" if it has none. Any holder may set it: a hint for people, no more
 * @bdf: the PCI function it was exported from, "" if not known
 * @bar: the BAR it was exported from; -1 if not known
 * @nr_ranges: the number of ranges; 0 if not known, as with a descriptor from elsewhere on a kernel without our modules
 * @state: whether its memory can be reached; PB_BUFFER_UNKNOWN unless @managed
 * @asked: the kernel module peerbar was asked: @mappable and @importers are known
 * @mappable: the exporter offers mmap; false if not known
 * @importers: how many devices and importers are attached; 0 if not known
 * @managed: it is exported through peerbar's modules, and what follows is known
 * @memattr: the attribute of the next pb_buffer_mmap()
 * @list_id: its number in pb_list_buffers() and in events
 * @faults: how many page faults its mappings in processes took, by what they mapped: a page, 2 MiB (PMD), 1 GiB (PUD)
 * @counted: @revocations is known
 * @revocations: how often its memory was taken away, for now or for good. What an importer had of it before is lost to it
 *	since, also where the buffer is back
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
 * @nr_ranges: how many; not 0
 * @flags: must be 0
 * @buffer: receives the buffer
 * @err: may be NULL
 *
 * A buffer of several ranges costs one descriptor more for each range, because iommufd takes only dma-bufs of a single
 * range. While memory decoding is off, the export succeeds, but the buffer is revoked until it is turned on.
 *
 * What the buffer offers depends on the driver of the device: one of stock vfio-pci can be mapped with iommufd; one of
 * peerbar-vfio-pci also with pb_buffer_mmap(), and be revoked for good by itself, see pb_buffer_revoke().
 *
 * Return: 0; -EINVAL if @bar is not 0 to 5, @flags is not 0, there is no range or more than 65,536, or a range is of length
 * 0 or not page-aligned; -EOVERFLOW if a range, or all together, wrap around; -ERANGE if a range ends beyond the BAR;
 * -ENODEV if the device has no such memory BAR; -EOPNOTSUPP if the kernel or the driver cannot export (it has no
 * VFIO_DEVICE_FEATURE_DMA_BUF), or does not offer this BAR to peers.
 */
PB_API int pb_buffer_export(struct pb_device *device, unsigned int bar, const struct pb_range *ranges, unsigned int nr_ranges,
			    unsigned int flags, struct pb_buffer **buffer, struct pb_error *err);

/**
 * pb_buffer_from_fd() - take any dma-buf as a buffer
 * @fd: the descriptor; it is duplicated, and stays the caller's
 * @buffer: receives the buffer
 * @err: may be NULL
 *
 * Return: 0; -EBADF if @fd is not open; -EINVAL if it is no dma-buf.
 */
PB_API int pb_buffer_from_fd(int fd, struct pb_buffer **buffer, struct pb_error *err);

/**
 * pb_buffer_fd() - the dma-buf's descriptor, which stays the buffer's
 *
 * It can be sent to other processes. They can map it with iommufd if it has one range, and mmap it if it was exported by
 * peerbar-vfio-pci.
 */
PB_API int pb_buffer_fd(const struct pb_buffer *buffer);

/**
 * pb_buffer_query_sized() - what is known of a buffer
 * @buffer: the buffer
 * @info: filled in
 * @size: sizeof(*@info)
 * @err: may be NULL
 *
 * The kernel module peerbar is asked, through /dev/peerbar, where that can be opened; anybody may. Otherwise, and where the
 * module does not know the model either, the model is that of the exporter's name. For a buffer that was exported here,
 * /dev/peerbar then stays open, and the module loaded, until the device and all its buffers are closed.
 *
 * Return: 0.
 */
PB_API int pb_buffer_query_sized(struct pb_buffer *buffer, struct pb_buffer_info *info, size_t size, struct pb_error *err);

/** pb_buffer_query() - pb_buffer_query_sized() with the size that this header knows */
static inline int pb_buffer_query(struct pb_buffer *buffer, struct pb_buffer_info *info, struct pb_error *err)
{
	return pb_buffer_query_sized(buffer, info, sizeof(*info), err);
}

/**
 * pb_buffer_ranges() - the ranges that the buffer was exported from
 * @buffer: the buffer
 * @ranges: receives them; may be NULL if @nr_ranges is 0
 * @nr_ranges: the room in @ranges
 *
 * Return: the number of ranges that the buffer has, which may be more than were filled in; 0 if they are not known.
 */
PB_API unsigned int pb_buffer_ranges(const struct pb_buffer *buffer, struct pb_range *ranges, unsigned int nr_ranges);

/** pb_buffer_id() - &struct pb_buffer_info.id, without a system call but for the first time */
PB_API uint64_t pb_buffer_id(const struct pb_buffer *buffer);

/** pb_buffer_size() - &struct pb_buffer_info.size, without a system call */
PB_API uint64_t pb_buffer_size(const struct pb_buffer *buffer);

/**
 * pb_buffer_share() - another handle of the same buffer, to be closed like the first
 * @buffer: the buffer
 * @shared: receives the handle; it needs no descriptor of its own
 * @err: may be NULL
 *
 * The descriptor is closed with the last handle.
 *
 * Return: 0.
 */
PB_API int pb_buffer_share(struct pb_buffer *buffer, struct pb_buffer **shared, struct pb_error *err);

/** pb_buffer_close() - let go of the buffer; NULL is allowed. Mappings of it stay. */
PB_API void pb_buffer_close(struct pb_buffer *buffer);

/* ---- what a device on peerbar-vfio-pci adds ------------------------------------------------------------------------------- */

/**
 * pb_buffer_mmap() - map a part of a buffer into this process
 * @buffer: the buffer; it may be closed while the mapping lives, and the device need not be open here
 * @offset: where in the buffer; page-aligned
 * @length: how much; not 0
 * @writable: map for writing too
 * @address: receives the address; to be unmapped with munmap()
 * @err: may be NULL
 *
 * The ranges of a buffer lie behind one another. From 2 MiB on, an address is taken, if it is free, at which the kernel can map
 * large pages: as far behind a multiple of 2 MiB (1 GiB, from there on) as the part lies in its BAR, or for a buffer that was
 * not exported here, in the buffer. The mapping has the memory attribute that the buffer has now, see pb_buffer_set_memattr().
 * Whenever the buffer is revoked, an access raises SIGBUS; after a revocation that was not for good, as decoding off or a reset,
 * the same mapping works again. It does not keep the device open.
 *
 * Other exporters may offer mmap as well, as udmabuf and the heaps do; then the descriptor may need DMA_BUF_IOCTL_SYNC
 * around accesses, and nothing is revoked.
 *
 * Return: 0; -EINVAL if @offset is unaligned, or @length is 0; -ERANGE if the part is not all inside the buffer;
 * -EOPNOTSUPP if the exporter offers no mmap, as stock vfio-pci: it needs the kernel module peerbar-vfio-pci; -ENODEV if the
 * buffer was revoked for good; -EACCES if @writable, and the descriptor was opened for reading only.
 */
PB_API int pb_buffer_mmap(struct pb_buffer *buffer, uint64_t offset, size_t length, bool writable, void **address,
			  struct pb_error *err);

/**
 * pb_buffer_set_memattr() - choose the memory attribute of later pb_buffer_mmap()s, in whatever process
 * @device: the device that the buffer was exported from
 * @buffer: the buffer; one of pb_buffer_from_fd() is right too
 * @memattrs: the attributes, the best first; each is tried until one is supported
 * @nr_memattrs: how many; not 0
 * @chosen: receives the one that was set; may be NULL
 * @err: may be NULL
 *
 * Mappings that exist keep their attribute.
 *
 * Return: 0; -EINVAL if @nr_memattrs is 0; -EOPNOTSUPP if none of them is supported, or the device is not bound to
 * peerbar-vfio-pci; -ENODEV if the buffer is not one of this device, or was revoked for good.
 */
PB_API int pb_buffer_set_memattr(struct pb_device *device, struct pb_buffer *buffer, const enum pb_memattr *memattrs,
				 unsigned int nr_memattrs, enum pb_memattr *chosen, struct pb_error *err);

/**
 * pb_buffer_memattr() - the memory attribute of later pb_buffer_mmap()s
 * @device: the device that the buffer was exported from
 * @buffer: the buffer
 * @memattr: receives the attribute
 * @err: may be NULL
 *
 * A process without the device finds it in &struct pb_buffer_info.
 *
 * Return: 0; -EOPNOTSUPP if the device is not bound to peerbar-vfio-pci; -ENODEV if the buffer is not one of this device.
 */
PB_API int pb_buffer_memattr(struct pb_device *device, struct pb_buffer *buffer, enum pb_memattr *memattr,
			     struct pb_error *err);

/**
 * pb_buffer_revoke() - revoke one buffer for good, wherever it is used
 * @device: the device that the buffer was exported from
 * @buffer: the buffer; one of pb_buffer_from_fd() is right too, see below
 * @err: may be NULL
 *
 * When it returns 0, nothing reaches the memory through this buffer any more: no DMA, no mapping of any process (SIGBUS), and
 * it can neither be attached nor mapped again. The device and its other buffers are not affected, and the same ranges can be
 * exported afresh. Mappings of the buffer (&struct pb_mapping) become PB_REVOKED, with an event, and pb_mapping_restore() of
 * them fails with -ENODEV from now on. Revoking twice is harmless.
 *
 * A buffer of several ranges is revoked with all the descriptors that the library keeps for iommufd. If @buffer is one of
 * pb_buffer_from_fd(), only the mappings of @buffer itself are told; others of the same dma-buf are found by
 * pb_ioas_check().
 *
 * Return: 0; -EINTR if a signal came while an importer had not let go yet: the buffer is dead, and calling again waits for
 * the importer; -EOPNOTSUPP if the device is not bound to peerbar-vfio-pci; -ENODEV if the buffer is not one of this device.
 */
PB_API int pb_buffer_revoke(struct pb_device *device, struct pb_buffer *buffer, struct pb_error *err);

/**
 * pb_device_mmap_cookie() - prepare a part of a BAR for mmap of the device, with a memory attribute
 * @device: the device
 * @bar: the BAR, 0 to 5
 * @offset: where in the BAR; page-aligned
 * @length: how much; a multiple of the page size, not 0
 * @memattr: the memory attribute
 * @mmap_offset: receives the cookie: an offset for mmap() of the device's descriptor, here or in a process it was sent to
 * @err: may be NULL
 *
 * pb_device_mmap() and the offsets that it uses keep working beside cookies. There can be several for the same part. A cookie
 * ends when the device is closed; until then it costs kernel memory.
 *
 * Return: 0; -EINVAL if @bar is not 0 to 5, @offset or @length is not aligned, or @length is 0; -ENODEV if the device has no
 * such memory BAR; -ERANGE if the part ends beyond the BAR; -EOPNOTSUPP if @memattr is not supported, or the device is not
 * bound to peerbar-vfio-pci.
 */
PB_API int pb_device_mmap_cookie(struct pb_device *device, unsigned int bar, uint64_t offset, uint64_t length,
				 enum pb_memattr memattr, uint64_t *mmap_offset, struct pb_error *err);

/**
 * pb_device_mmap_at() - map what a cookie stands for into this process
 * @device: the device that made the cookie
 * @mmap_offset: the cookie, or a page-aligned offset behind it
 * @length: how much; not 0, and not beyond the cookie's part
 * @writable: map for writing too
 * @address: receives the address; to be unmapped with munmap()
 * @err: may be NULL
 *
 * As with pb_buffer_mmap(), an access raises SIGBUS while memory decoding is off, and for ever once the device is closed, which
 * the mapping does not keep open.
 *
 * Return: 0; -EINVAL if @length is 0, or @mmap_offset is no cookie of this device, or the part is larger than what it stands
 * for.
 */
PB_API int pb_device_mmap_at(struct pb_device *device, uint64_t mmap_offset, size_t length, bool writable, void **address,
			     struct pb_error *err);

/* ---- address spaces ------------------------------------------------------------------------------------------------------ */

struct pb_ioas;
struct pb_mapping;

/**
 * pb_ioas_create() - make an I/O address space
 * @iommu: the context; it is kept alive
 * @ioas: receives the address space
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_ioas_create(struct pb_iommu *iommu, struct pb_ioas **ioas, struct pb_error *err);

/**
 * pb_ioas_from_id() - take an address space that there is already, as a VMM has it
 * @iommu: the context; it is kept alive
 * @id: iommufd's number of the address space
 * @ioas: receives the address space
 * @err: may be NULL
 *
 * It stays the caller's: pb_ioas_destroy() takes out what was mapped through @ioas, and nothing else, and detaches nobody. What the
 * caller maps there without the library is never replaced: a map at the same addresses fails with -EEXIST.
 *
 * Return: 0; -ENOENT if the iommufd has no such address space.
 */
PB_API int pb_ioas_from_id(struct pb_iommu *iommu, uint32_t id, struct pb_ioas **ioas, struct pb_error *err);

/** pb_ioas_id() - iommufd's number of the address space */
PB_API uint32_t pb_ioas_id(const struct pb_ioas *ioas);

/**
 * pb_ioas_destroy() - end an address space; NULL is allowed
 *
 * Devices attached to it are detached, its mappings are unmapped, and every &struct pb_mapping of it becomes invalid.
 */
PB_API void pb_ioas_destroy(struct pb_ioas *ioas);

/**
 * pb_ioas_attach() - let a device use the address space
 * @ioas: the address space
 * @device: the device, of the same &struct pb_iommu
 * @err: may be NULL
 *
 * A device is attached to one address space at a time; attaching it to another moves it there at once, and with it the other
 * functions of its IOMMU group. Attach and detach with the library only: it does not see what is done to the descriptors.
 *
 * Return: 0; -EXDEV if the device belongs to another &struct pb_iommu; -EADDRINUSE if a mapping lies where the device has
 * reserved addresses, or beyond those that it can use; -EBUSY if another function of its IOMMU group is attached elsewhere;
 * -EFAULT or -ENOMEM if memory that was mapped before cannot be pinned.
 */
PB_API int pb_ioas_attach(struct pb_ioas *ioas, struct pb_device *device, struct pb_error *err);

/**
 * pb_ioas_detach() - end the use; the device's DMA faults from then on
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
 * pb_ioas_aperture() - which addresses can be mapped
 * @ioas: the address space
 * @ranges: receives the ranges, ascending; may be NULL if @room is 0
 * @room: how many elements @ranges has
 * @nr_ranges: receives how many ranges there are, which may be more than were filled in; may be NULL
 * @alignment: receives the alignment that addresses and lengths need; may be NULL
 * @err: may be NULL
 *
 * Attaching a device may take ranges away.
 *
 * Return: 0.
 */
PB_API int pb_ioas_aperture(struct pb_ioas *ioas, struct pb_iova_range *ranges, unsigned int room, unsigned int *nr_ranges,
			    uint64_t *alignment, struct pb_error *err);

/**
 * enum pb_map_flags - how to map
 * @PB_MAP_READ: devices may read
 * @PB_MAP_WRITE: devices may write
 * @PB_MAP_FIXED: map at the given address, and nowhere else
 * @PB_MAP_UNKNOWN_MODEL: take a buffer whose model is PB_UNKNOWN
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
 * @address: where it is; page-aligned
 * @length: how much; a multiple of the page size, not 0
 * @flags: of &enum pb_map_flags; PB_MAP_READ or PB_MAP_WRITE at least
 * @iova: the address for PB_MAP_FIXED, otherwise ignored
 * @mapping: receives the mapping
 * @err: may be NULL
 *
 * The pages are pinned while a device is attached, and count against RLIMIT_MEMLOCK. While none is, whether they can be
 * pinned shows only at pb_ioas_attach().
 *
 * Return: 0; -EINVAL if @address, @length or @iova is not aligned, @length is 0, or @flags are unknown or allow no access;
 * -EEXIST if something is mapped at @iova; -ERANGE if @iova is not inside the aperture; -ENOSPC if no room was found;
 * -EFAULT if the memory is not mapped in this process, is read-only although PB_MAP_WRITE is given, or is a device's.
 */
PB_API int pb_map_memory(struct pb_ioas *ioas, void *address, uint64_t length, unsigned int flags, uint64_t iova,
			 struct pb_mapping **mapping, struct pb_error *err);

/**
 * pb_map_buffer() - map a buffer
 * @ioas: the address space
 * @buffer: the buffer; it may be closed while the mapping lives
 * @offset: where in the buffer to begin; page-aligned
 * @length: how much; a multiple of the page size, or 0 for all from @offset on
 * @flags: of &enum pb_map_flags; PB_MAP_READ or PB_MAP_WRITE at least
 * @iova: the address for PB_MAP_FIXED, otherwise ignored
 * @mapping: receives the mapping
 * @err: may be NULL
 *
 * A buffer of several ranges lies contiguously. A buffer of model PB_DYNAMIC is refused before anything is attached to it, and
 * so is one of model PB_UNKNOWN, unless PB_MAP_UNKNOWN_MODEL is given.
 *
 * Return: 0; -EOPNOTSUPP if the model is refused, or if the kernel cannot map this kind of dma-buf (those of peerbar's modules
 * need the module peerbar-iommufd), or one of several ranges that was not exported in this process; -ENODEV if the buffer is
 * revoked; -ERANGE if the part is not inside the buffer; otherwise as pb_map_memory().
 */
PB_API int pb_map_buffer(struct pb_ioas *ioas, struct pb_buffer *buffer, uint64_t offset, uint64_t length, unsigned int flags,
			 uint64_t iova, struct pb_mapping **mapping, struct pb_error *err);

/** pb_mapping_iova() - where it begins */
PB_API uint64_t pb_mapping_iova(const struct pb_mapping *mapping);

/** pb_mapping_length() - its length */
PB_API uint64_t pb_mapping_length(const struct pb_mapping *mapping);

/**
 * enum pb_state - whether a mapping reaches its memory
 * @PB_LIVE: it does
 * @PB_REVOKED: it does not, and DMA to it faults, until pb_mapping_restore()
 */
enum pb_state {
	PB_LIVE,
	PB_REVOKED
};

/**
 * pb_mapping_state() - whether a mapping is live, as far as the library has been told
 *
 * What this process does through this library to the exporting device is known at once. For what others do, see
 * pb_ioas_check(). In doubt a mapping reads as revoked: one that was made or restored while the device was being reset may
 * be live, and lose nothing but the time of a pb_mapping_restore().
 */
PB_API enum pb_state pb_mapping_state(const struct pb_mapping *mapping);

/**
 * pb_mapping_restore() - map a revoked mapping again, at the same address, with the same permissions
 * @mapping: the mapping
 * @err: may be NULL
 *
 * A revocation is final for a mapping in the kernel, even when the buffer comes back, so this takes the dead mapping out and
 * makes a new one in its place. On failure the mapping stays PB_REVOKED, and its address range stays its own. Restoring a
 * mapping that is PB_LIVE does nothing.
 *
 * Return: 0; -ENODEV if the buffer is still revoked; -EEXIST if somebody else mapped something there (only possible for
 * those who use the IOAS without this library).
 */
PB_API int pb_mapping_restore(struct pb_mapping *mapping, struct pb_error *err);

/**
 * pb_unmap() - end a mapping, and free it; NULL is allowed
 * @mapping: the mapping
 * @err: may be NULL
 *
 * When it returns, DMA to the addresses faults. Live or revoked makes no difference.
 *
 * Return: 0. After a failure (a sentence says which) the mapping is still there.
 */
PB_API int pb_unmap(struct pb_mapping *mapping, struct pb_error *err);

/**
 * pb_mapping_set_data() - keep a pointer of the caller's with a mapping, to recognise it in events
 *
 * A mapping can be revoked, and its event be taken by another thread, before the caller gets to set it.
 */
PB_API void pb_mapping_set_data(struct pb_mapping *mapping, void *data);

/** pb_mapping_data() - that pointer; NULL at first */
PB_API void *pb_mapping_data(const struct pb_mapping *mapping);

/**
 * pb_ioas_event_fd() - a descriptor that polls readable while an event waits
 * @ioas: the address space
 *
 * For an event loop; read events with pb_ioas_next_revoked(), not from the descriptor. It stays the address space's.
 */
PB_API int pb_ioas_event_fd(const struct pb_ioas *ioas);

/**
 * pb_ioas_next_revoked() - take the next mapping that was revoked
 * @ioas: the address space
 *
 * Each time a mapping becomes PB_REVOKED is told once. The mapping is returned as it is now: it may have been restored in
 * the meantime. A mapping that was unmapped is not told any more; it is the caller's business that no other thread unmaps
 * the one that is returned.
 *
 * Return: the mapping, or NULL if there is none.
 */
PB_API struct pb_mapping *pb_ioas_next_revoked(struct pb_ioas *ioas);

/**
 * pb_ioas_check() - ask the kernel which mappings have been revoked
 * @ioas: the address space
 * @nr_found: receives how many were found revoked and were not known to be; may be NULL
 * @err: may be NULL
 *
 * The stock kernel tells nobody in user space that it revoked a mapping. What this process did to a device through this
 * library needs no check; a buffer that came from elsewhere does: its exporter may have reset its device. Each mapping that
 * reads as revoked becomes PB_REVOKED, with an event. A buffer that was revoked and came back between two checks reads as
 * live although the mapping is dead: a program whose peers reset devices must hear it from them, or, if they are bound to
 * peerbar-vfio-pci, from pb_watch_next().
 *
 * Return: 0. After a failure too, events may wait.
 */
PB_API int pb_ioas_check(struct pb_ioas *ioas, unsigned int *nr_found, struct pb_error *err);

/* ---- listing, and events -------------------------------------------------------------------------------------------------- */

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
 * struct pb_listed - a buffer that was exported through peerbar's modules, whoever did it
 * @id: its number, not used again before the next boot; &struct pb_buffer_info.list_id
 * @exporter: the name of the exporter's module
 * @device: the device whose memory it is, as "0000:01:00.0"; "" if none
 * @name: what the exporter calls it
 * @size: its size
 * @model: its memory model
 * @state: whether its memory can be reached
 * @memattr: the attribute of the next mmap
 * @nr_ranges: the number of ranges
 * @nr_importers: how many importers are attached; 0 in events
 * @nr_mmaps: how many memory areas of processes map it; 0 in events
 * @creator: the process that exported it; 0 if not told
 * @nr_extents: how many elements @extents has: @nr_ranges, or less if there are too many for a message, or 0 if not told
 * @extents: the ranges
 * @nr_importer_names: how many elements @importer_names has: likewise
 * @importer_names: the importing devices
 *
 * @creator, @extents and @importer_names are told to those with CAP_SYS_ADMIN only, and never in events.
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
 * pb_list_buffers_sized() - the buffers that were exported through peerbar's modules
 * @buffers: receives an array, by ascending number, to be freed with free(), which frees what it points to as well
 * @size: sizeof(**@buffers)
 * @nr_buffers: receives how many elements it has
 * @err: may be NULL
 *
 * A process sees the buffers of its network namespace; one in the initial namespace sees all.
 *
 * Return: 0; -ENOENT if the kernel module peerbar is not loaded; -EPERM or -EACCES if a security module forbids to ask.
 */
PB_API int pb_list_buffers_sized(struct pb_listed **buffers, size_t size, unsigned int *nr_buffers, struct pb_error *err);

/** pb_list_buffers() - pb_list_buffers_sized() with the size that this header knows */
static inline int pb_list_buffers(struct pb_listed **buffers, unsigned int *nr_buffers, struct pb_error *err)
{
	return pb_list_buffers_sized(buffers, sizeof(**buffers), nr_buffers, err);
}

struct pb_watch;

/**
 * enum pb_event_type - what happened to a buffer
 * @PB_EVENT_CREATED: it was exported
 * @PB_EVENT_REVOKED: its memory cannot be reached any more; its state says whether for good
 * @PB_EVENT_RESTORED: it can be reached again
 * @PB_EVENT_MOVED: it is PB_DYNAMIC, and moved
 * @PB_EVENT_RELEASED: the last reference to it is gone
 * @PB_EVENT_LOST: events were lost, because they came faster than they were taken: pb_list_buffers() tells what there is
 * @PB_EVENT_NONE: nothing: no event waits
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

/** pb_event_name() - "created", "revoked", "restored", "moved", "released", "lost" or "none"; a constant */
PB_API const char *pb_event_name(enum pb_event_type type);

/**
 * struct pb_event - something that happened to a buffer
 * @type: what
 * @buffer: which, as it was then; without importers, mmaps, and what is told to the privileged. All zero if @type is
 *	PB_EVENT_LOST or PB_EVENT_NONE. It stays the last field.
 */
struct pb_event {
	enum pb_event_type type;
	struct pb_listed buffer;
};

/**
 * pb_watch_open() - hear of what happens to buffers from now on
 * @watch: receives the watch
 * @err: may be NULL
 *
 * For a picture without gaps, open the watch, then list the buffers, then take events. A watch hears nothing any more once the
 * module peerbar is unloaded, not even when it is loaded again.
 *
 * Return: 0; otherwise as pb_list_buffers().
 */
PB_API int pb_watch_open(struct pb_watch **watch, struct pb_error *err);

/** pb_watch_fd() - a descriptor that polls readable while an event waits; it stays the watch's, and is not to be read from */
PB_API int pb_watch_fd(const struct pb_watch *watch);

/**
 * pb_watch_next_sized() - take the next event; it does not wait for one
 * @watch: the watch
 * @event: filled in; its type is PB_EVENT_NONE if no event waits
 * @size: sizeof(*@event)
 * @err: may be NULL
 *
 * After the descriptor polled readable, take events until there is none.
 *
 * Return: 0.
 */
PB_API int pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size, struct pb_error *err);

/** pb_watch_next() - pb_watch_next_sized() with the size that this header knows */
static inline int pb_watch_next(struct pb_watch *watch, struct pb_event *event, struct pb_error *err)
{
	return pb_watch_next_sized(watch, event, sizeof(*event), err);
}

/** pb_watch_close() - end a watch; NULL is allowed */
PB_API void pb_watch_close(struct pb_watch *watch);

/* ---- guests -------------------------------------------------------------------------------------------------------------- */

/**
 * DOC: guests - what a VMM needs so that an assigned device can DMA into another assigned device's BAR
 *
 * A &struct pb_guest keeps address spaces right: each page of a BAR of an assigned device is mapped where the guest has put it, for as
 * long as the guest means it to be there. The VMM says what its guest did, when it traps the access; the rest follows:
 *
 * - A page is mapped if and only if exactly one BAR claims it, that BAR's device decodes (decoding on, D0, not in a reset), the page
 *   is not trapped, and the kernel takes it. Pages that cannot be mapped, because the IOMMU reserves their addresses or the VMM has
 *   mapped something there, do not keep the others of the BAR out. A page that two BARs claim reaches neither, until one of them moves on.
 * - What is wrong is unmapped before anything new is mapped, in all address spaces. So no moment is there in which a DMA reaches
 *   a page that the guest did not put there; at worst it faults.
 * - Nothing that the kernel refuses makes a call fail: the pages stay out, with the reason, which is reported once and can be
 *   listed. It is tried again with every later call.
 * - The guest's RAM is the VMM's business, and mapped by the VMM. Where it is, or anything else of the VMM's, a BAR is kept out.
 *
 * Tell of what takes a BAR away (decoding off, D3, a reset, a new address) before it is done to the device, and of what brings it
 * back (decoding on, D0, the end of a reset) after. The other way round nothing reaches a wrong place either, but there are reports
 * of pages that could not be mapped.
 *
 * All functions may be called from any thread; one lock of the guest is held for the whole of each, and across its ioctls, before
 * all other locks of the library. They call nobody back. A function that maps takes some hundred microseconds a BAR.
 */
struct pb_guest;
struct pb_guest_device;

/**
 * pb_guest_create() - begin to manage a guest
 * @guest: receives the guest
 * @err: may be NULL
 *
 * Return: 0; -EMFILE without descriptors: it takes four, and one more for each BAR that is exported.
 */
PB_API int pb_guest_create(struct pb_guest **guest, struct pb_error *err);

/**
 * pb_guest_destroy() - unmap all BARs, and forget; NULL is allowed
 *
 * Address spaces and devices stay as they are, and may be destroyed and closed from then on. Every &struct pb_guest_device of the
 * guest becomes invalid. No other thread may use the guest any more.
 */
PB_API void pb_guest_destroy(struct pb_guest *guest);

/**
 * enum pb_guest_ioas_flags - what the addresses of an address space are
 * @PB_GUEST_WINDOWS: not the guest's physical addresses, but those of a virtual IOMMU: only what pb_guest_add_window() says is there
 */
enum pb_guest_ioas_flags {
	PB_GUEST_WINDOWS = 1 << 0
};

/**
 * pb_guest_add_ioas() - let BARs appear in an address space
 * @guest: the guest
 * @ioas: the address space; not destroyed before pb_guest_remove_ioas() or pb_guest_destroy()
 * @flags: of &enum pb_guest_ioas_flags; 0 if its addresses are the guest's physical ones
 * @err: may be NULL
 *
 * A guest without a virtual IOMMU has one; with a virtual IOMMU there is one for each of its domains, or a single one with guest-physical
 * addresses below the guest's own page tables, where the IOMMU nests.
 *
 * Return: 0; -EINVAL if @flags are unknown; -EEXIST if it was added already.
 */
PB_API int pb_guest_add_ioas(struct pb_guest *guest, struct pb_ioas *ioas, unsigned int flags, struct pb_error *err);

/**
 * pb_guest_remove_ioas() - take all BARs out of an address space, and forget it
 * @guest: the guest
 * @ioas: the address space
 * @err: may be NULL
 *
 * Return: 0; -ENOENT if it was not added; -EBUSY if the kernel did not unmap something: call again.
 */
PB_API int pb_guest_remove_ioas(struct pb_guest *guest, struct pb_ioas *ioas, struct pb_error *err);

/**
 * struct pb_guest_window - addresses of a virtual IOMMU's domain, and what is behind them
 * @iova: the first address; page-aligned
 * @address: the guest-physical address that it leads to; page-aligned
 * @length: how much; a multiple of the page size, not 0
 * @flags: PB_MAP_READ, PB_MAP_WRITE or both
 */
struct pb_guest_window {
	uint64_t iova;
	uint64_t address;
	uint64_t length;
	unsigned int flags;
};

/**
 * pb_guest_add_window() - the guest mapped something in a domain of its virtual IOMMU
 * @guest: the guest
 * @ioas: the domain's address space, added with PB_GUEST_WINDOWS
 * @window: what it mapped
 * @err: may be NULL
 *
 * Only windows onto BARs are needed. BARs may come and go behind a window. What of it is the guest's RAM, the VMM maps.
 *
 * Return: 0; -EINVAL if @ioas was not added with PB_GUEST_WINDOWS, or @window is not aligned, empty, or wraps around, or allows no
 * access; -EEXIST if another window of @ioas has some of the addresses.
 */
PB_API int pb_guest_add_window(struct pb_guest *guest, struct pb_ioas *ioas, const struct pb_guest_window *window,
			       struct pb_error *err);

/**
 * pb_guest_remove_window() - the guest unmapped it
 * @guest: the guest
 * @ioas: the domain's address space
 * @iova: the window's first address
 * @err: may be NULL
 *
 * When it returns 0, DMA to the window's BAR pages faults.
 *
 * Return: 0; -ENOENT if there is no such window; -EBUSY if the kernel did not unmap something: call again.
 */
PB_API int pb_guest_remove_window(struct pb_guest *guest, struct pb_ioas *ioas, uint64_t iova, struct pb_error *err);

/**
 * struct pb_guest_trap - a part of a BAR that the VMM emulates, so that no peer may reach it
 * @bar: the BAR, 0 to 5
 * @offset: where it begins
 * @length: its length; each page that it touches is trapped
 */
struct pb_guest_trap {
	unsigned int bar;
	uint64_t offset;
	uint64_t length;
};

/**
 * pb_guest_add_device() - a device is assigned to the guest
 * @guest: the guest
 * @device: the device; not closed before pb_guest_remove_device() or pb_guest_destroy()
 * @traps: what the VMM traps, besides the pages of the MSI-X table and pending bits, which are found; may be NULL if @nr_traps is 0
 * @nr_traps: how many
 * @data: a pointer of the caller's, to recognise the device in &struct pb_guest_range
 * @guest_device: receives the device as the guest has it
 * @err: may be NULL
 *
 * It begins as after a reset: decoding off, in D0, its BARs nowhere. A BAR smaller than a page is trapped as a whole. A device whose
 * BARs cannot be exported is no failure.
 *
 * Return: 0; -EEXIST if it was added already; -EINVAL if a trap is not inside a memory BAR of the device.
 */
PB_API int pb_guest_add_device(struct pb_guest *guest, struct pb_device *device, const struct pb_guest_trap *traps,
			       unsigned int nr_traps, void *data, struct pb_guest_device **guest_device, struct pb_error *err);

/**
 * pb_guest_remove_device() - a device is taken from the guest
 * @device: the device, which is freed
 * @err: may be NULL
 *
 * When it returns 0, nothing of the device is mapped any more, and it can be closed. Reports of it are dropped.
 *
 * Return: 0; -EBUSY if the kernel did not unmap something: the device is still there, and decodes no more; call again.
 */
PB_API int pb_guest_remove_device(struct pb_guest_device *device, struct pb_error *err);

#define PB_GUEST_NOWHERE 0xffffffffffffffffULL

/**
 * pb_guest_set_bar() - the guest wrote a BAR register
 * @device: the device
 * @bar: the BAR, 0 to 5
 * @address: the guest-physical address that the register, or both of a 64-bit BAR, hold now; a multiple of the page size, or of the
 *	BAR's size if that is smaller. PB_GUEST_NOWHERE if the BAR is nowhere.
 * @err: may be NULL
 *
 * Call it for each write, with whatever came of it: a BAR whose address bits are all ones is being sized, and is nowhere. Half-written
 * addresses of 64-bit BARs are taken as they are, as the bus would.
 *
 * Return: 0, also if the kernel refuses to map it there; -EINVAL if there is no such memory BAR, or @address is not aligned.
 */
PB_API int pb_guest_set_bar(struct pb_guest_device *device, unsigned int bar, uint64_t address, struct pb_error *err);

/**
 * pb_guest_set_decoding() - the guest wrote the Memory Space bit of the command register
 * @device: the device
 * @on: the bit as it is now
 * @err: may be NULL
 *
 * The device's own bit is the caller's to write: on before, off after this call.
 *
 * Return: 0, also if the kernel refuses to map something.
 */
PB_API int pb_guest_set_decoding(struct pb_guest_device *device, bool on, struct pb_error *err);

/** pb_guest_set_power() - the guest moved the device to D0 (@on), or away from it; otherwise as pb_guest_set_decoding() */
PB_API int pb_guest_set_power(struct pb_guest_device *device, bool on, struct pb_error *err);

/**
 * pb_guest_reset_begin() - the device is about to be reset, alone or with others
 * @device: the device
 * @err: may be NULL
 *
 * For a hot reset, call it for each device that is affected, then reset, then pb_guest_reset_done() for each.
 *
 * Return: 0. When it returns, nothing of the device is mapped.
 */
PB_API int pb_guest_reset_begin(struct pb_guest_device *device, struct pb_error *err);

/**
 * pb_guest_reset_done() - the device was reset, or not, and can be used again
 * @device: the device
 * @err: may be NULL
 *
 * Decoding is off from now on, as after a reset, and the device in D0. The addresses of its BARs are remembered: a VMM whose guest sees
 * the registers cleared says so with pb_guest_set_bar(), and one that restored the command register with pb_guest_set_decoding().
 *
 * Return: 0.
 */
PB_API int pb_guest_reset_done(struct pb_guest_device *device, struct pb_error *err);

/**
 * enum pb_guest_sync_flags - how much is done anew
 * @PB_GUEST_RETRY: also what the kernel refused for a reason that seldom goes away, as a BAR that cannot be exported; with another
 *	buffer, if the BAR is not mapped anywhere
 * @PB_GUEST_REMAKE: all mappings, also those that look right: for a VMM whose devices may have been revoked behind its back
 */
enum pb_guest_sync_flags {
	PB_GUEST_RETRY = 1 << 0,
	PB_GUEST_REMAKE = 1 << 1
};

/**
 * pb_guest_sync() - hear of what happened, and try again what was refused
 * @guest: the guest
 * @flags: of &enum pb_guest_sync_flags
 * @err: may be NULL
 *
 * To be called when pb_guest_fd() polls readable, and whenever the VMM freed addresses without the library that a BAR may be waiting
 * for.
 *
 * Return: 0, also if ranges are refused, see pb_guest_nr_refused(); -EINVAL if @flags are unknown.
 */
PB_API int pb_guest_sync(struct pb_guest *guest, unsigned int flags, struct pb_error *err);

/** pb_guest_nr_refused() - how many ranges the guest means to be mapped now that are not, because they were refused */
PB_API unsigned int pb_guest_nr_refused(struct pb_guest *guest);

/**
 * pb_guest_check() - compare with what the kernel has, and repair it
 * @guest: the guest
 * @nr_found: receives how many ranges were not as they should have been; may be NULL
 * @err: may be NULL
 *
 * For each mapping the kernel is asked whether its addresses are mapped, and whether its buffer can be reached; on peerbar-vfio-pci also
 * whether it was revoked since it was mapped. What differs is reported, and mapped again if it can be. The stock kernel does not tell
 * of a buffer that was revoked and came back: somebody who resets a device without a word needs PB_GUEST_REMAKE.
 *
 * Return: 0; a negative errno if the kernel could not be asked of all.
 */
PB_API int pb_guest_check(struct pb_guest *guest, unsigned int *nr_found, struct pb_error *err);

/**
 * pb_guest_fd() - a descriptor that polls readable while there is something to do: call pb_guest_sync(), then pb_guest_next_report()
 *
 * That is when a mapping was revoked that should not have been, when something that was refused may be possible now, or when a report
 * waits. What this process does by the library (to the device, or to mappings of the address space) is told at once; what others do, or
 * what is done by the device's descriptor, only by peerbar-vfio-pci and where netlink events can be had, which shows when
 * pb_guest_create() is called. What happens to buffers of other processes, or of this one that are not the guest's, makes it
 * readable never, nor does what the guest does and the VMM tells of in the right order.
 *
 * After pb_guest_sync() and pb_guest_next_report() until there is none, it is not readable until something else happens, and becomes so
 * anew for each thing: it can be polled edge-triggered (EPOLLET) as well. It stays the guest's, and is not to be read from.
 */
PB_API int pb_guest_fd(const struct pb_guest *guest);

/**
 * enum pb_guest_state - what has become of a part of a BAR
 * @PB_GUEST_MAPPED: peers reach it where the guest has put it
 * @PB_GUEST_OFF: the device does not decode: decoding is off, it is not in D0, or it is being reset
 * @PB_GUEST_UNPLACED: it is nowhere, or is being sized
 * @PB_GUEST_TRAPPED: the VMM emulates it
 * @PB_GUEST_OVERLAP: another BAR claims the same pages
 * @PB_GUEST_REFUSED: it should be mapped, and could not be
 */
enum pb_guest_state {
	PB_GUEST_MAPPED,
	PB_GUEST_OFF,
	PB_GUEST_UNPLACED,
	PB_GUEST_TRAPPED,
	PB_GUEST_OVERLAP,
	PB_GUEST_REFUSED
};

/** pb_guest_state_name() - "MAPPED", "OFF", "UNPLACED", "TRAPPED", "OVERLAP" or "REFUSED"; a constant */
PB_API const char *pb_guest_state_name(enum pb_guest_state state);

/**
 * struct pb_guest_range - a part of a BAR, and what has become of it
 * @device: whose BAR
 * @data: the pointer given to pb_guest_add_device()
 * @bdf: the device's address on the host
 * @bar: which BAR
 * @offset: where in the BAR
 * @length: how much
 * @address: where in the guest; PB_GUEST_NOWHERE if @state is PB_GUEST_UNPLACED
 * @ioas: the address space; NULL if @state is PB_GUEST_OFF or PB_GUEST_UNPLACED, which is so in all of them
 * @iova: where in the address space
 * @state: what has become of it
 * @why: of PB_GUEST_REFUSED, the reason; in a report with PB_GUEST_MAPPED, ESTALE if it had lost its mapping without a word; otherwise
 *	its code is 0, and its text empty
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
 * pb_guest_list_sized() - what has become of every part of every BAR
 * @guest: the guest
 * @ranges: receives an array to be freed with free(): for each BAR, and each address space, the ranges that it falls into, in the
 *	order of their addresses
 * @size: sizeof(**@ranges)
 * @nr_ranges: receives how many elements it has
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pb_guest_list_sized(struct pb_guest *guest, struct pb_guest_range **ranges, size_t size, unsigned int *nr_ranges,
			       struct pb_error *err);

/** pb_guest_list() - pb_guest_list_sized() with the size that this header knows */
static inline int pb_guest_list(struct pb_guest *guest, struct pb_guest_range **ranges, unsigned int *nr_ranges, struct pb_error *err)
{
	return pb_guest_list_sized(guest, ranges, sizeof(**ranges), nr_ranges, err);
}

/**
 * pb_guest_next_report_sized() - take the next thing that a person may want to know
 * @guest: the guest
 * @report: filled in if there is one
 * @size: sizeof(*@report)
 *
 * PB_GUEST_REFUSED is reported when a range could not be mapped, or lost its mapping and did not get it back: once for each range and
 * reason, and once in all for a BAR that cannot be exported. PB_GUEST_MAPPED is reported when it can be mapped after all, and when it
 * lost its mapping without a word and got it back: then DMA may have faulted in between. If nobody takes them, the oldest of more than
 * 256 are dropped.
 *
 * Return: true if there was a report, false if there is none.
 */
PB_API bool pb_guest_next_report_sized(struct pb_guest *guest, struct pb_guest_range *report, size_t size);

/** pb_guest_next_report() - pb_guest_next_report_sized() with the size that this header knows */
static inline bool pb_guest_next_report(struct pb_guest *guest, struct pb_guest_range *report)
{
	return pb_guest_next_report_sized(guest, report, sizeof(*report));
}

/* ---- what this system can do ---------------------------------------------------------------------------------------------- */

/**
 * enum pb_capability_index - the elements of the array of pb_capabilities()
 * @PB_CAP_IOMMU: an IOMMU is on
 * @PB_CAP_IOMMUFD: /dev/iommu is there, and this process may open it
 * @PB_CAP_VFIO_CDEV: VFIO has character devices for devices
 * @PB_CAP_DMABUF: stock vfio-pci exports dma-bufs
 * @PB_CAP_P2PDMA: peers can be attached to dma-bufs of BARs
 * @PB_CAP_PEERBAR: the module peerbar answers through /dev/peerbar: the model of any dma-buf
 * @PB_CAP_NETLINK: the module peerbar answers through netlink: pb_list_buffers(), pb_watch_open()
 * @PB_CAP_VFIO_PCI: the driver peerbar-vfio-pci is loaded: mmap, memory attributes, revocation for good, cookies
 * @PB_CAP_IOMMUFD_SHIM: the module peerbar-iommufd is loaded: iommufd maps buffers of peerbar-vfio-pci
 * @PB_CAP_FTRACE: the kernel has what peerbar-iommufd needs
 *
 * A library older than this header may know fewer of them.
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
 * struct pb_capability - something that a system can do, or not
 * @name: a word for it, as "iommufd"; a constant
 * @purpose: what it is good for, in a few words; a constant
 * @there: whether it can
 * @missing: if it cannot, what is missing, by name: a kernel option, a module, a permission; otherwise ""
 */
struct pb_capability {
	const char *name;
	const char *purpose;
	bool there;
	char missing[200];
};

/**
 * pb_capabilities_sized() - what this system can do, for this process, now, and what it lacks
 * @capabilities: receives an array, by &enum pb_capability_index, to be freed with free()
 * @size: sizeof(**@capabilities)
 * @nr_capabilities: receives how many elements it has: as many as the running library knows
 * @err: may be NULL
 *
 * It looks at the symbols of the kernel, which takes some hundredths of a second.
 *
 * Return: 0. That something is missing is no failure.
 */
PB_API int pb_capabilities_sized(struct pb_capability **capabilities, size_t size, unsigned int *nr_capabilities,
				 struct pb_error *err);

/** pb_capabilities() - pb_capabilities_sized() with the size that this header knows */
static inline int pb_capabilities(struct pb_capability **capabilities, unsigned int *nr_capabilities, struct pb_error *err)
{
	return pb_capabilities_sized(capabilities, sizeof(**capabilities), nr_capabilities, err);
}

/** pb_module_abi() - the version of the interface of the kernel module peerbar; 0 if the module cannot be asked */
PB_API unsigned int pb_module_abi(void);

/**
 * pb_rdma_link_add() - make an RDMA device of peerbar's own
 * @name: what it is to be called, as "pb0"; at most 63 characters
 * @netdev: the Ethernet device that it is made on, in the network namespace of the caller; it needs a PCI function behind it, whose
 *	DMA identity the RDMA device gets
 * @err: may be NULL
 *
 * What "rdma link add @name type peerbar netdev @netdev" does. The kernel loads the module peerbar-rdma if it finds it.
 *
 * Return: 0; -EINVAL if a name is none, or the kernel has no such links (the module peerbar-rdma is missing); -ENODEV if there is no
 * such network device; -EEXIST if the name is in use, or @netdev has such a device; -EOPNOTSUPP if @netdev has no PCI function or is
 * not Ethernet; -EPERM without CAP_NET_ADMIN; -EPROTONOSUPPORT without the kernel's RDMA core; -ENOMEM; -EIO if netlink fails.
 */
PB_API int pb_rdma_link_add(const char *name, const char *netdev, struct pb_error *err);

/**
 * pb_rdma_link_delete() - remove an RDMA device that was made by a link
 * @name: as "pb0"
 * @err: may be NULL
 *
 * Whoever has it open gets IBV_EVENT_DEVICE_FATAL, and errors from then on.
 *
 * Return: 0; -ENODEV if there is none of that name; -EINVAL if it cannot be removed, such as a hardware device; -EPERM without
 * CAP_NET_ADMIN; otherwise as above.
 */
PB_API int pb_rdma_link_delete(const char *name, struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
