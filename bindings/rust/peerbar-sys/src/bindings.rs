// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// Written by bindings/generate from lib/peerbar/*.h. Do not edit.

use core::ffi::{c_char, c_int, c_uint, c_void};

pub const PB_BARS: u32 = 6;
pub const PB_BDF_LEN: u32 = 24;
pub const PB_GUEST_NOWHERE: u64 = 0xffffffffffffffff;
pub const PB_NAME_LEN: u32 = 64;
pub const PB_REGION_CONFIG: u32 = 7;
pub const PB_REGION_ROM: u32 = 6;
pub const PB_VERSION: u32 = 256;
pub const PB_VERSION_MAJOR: u32 = 0;
pub const PB_VERSION_MICRO: u32 = 0;
pub const PB_VERSION_MINOR: u32 = 1;

/// The guarantees of a dma-buf's exporter about its memory.
pub type pb_model = c_uint;
/// Unknown; never a guess.
pub const PB_UNKNOWN: pb_model = 0;
/// Never moves, and is never revoked while attached.
pub const PB_PINNED: pb_model = 1;
/// Never moves, but may be revoked; the importer must be able to stop.
pub const PB_REVOCABLE: pb_model = 2;
/// May move at any time; the importer must be able to follow.
pub const PB_DYNAMIC: pb_model = 3;

/// How the model of a buffer, or another property, is known.
pub type pb_model_basis = c_uint;
/// It is unknown.
pub const PB_BASIS_NONE: pb_model_basis = 0;
/// By the exporter's name, see pb_exporter_model().
pub const PB_BASIS_NAME: pb_model_basis = 1;
/// The kernel module peerbar derived it from the operations that the exporter implements, from the exporter's answer to an attachment, or from its data.
pub const PB_BASIS_DERIVED: pb_model_basis = 2;
/// The exporter declared it to the kernel module peerbar.
pub const PB_BASIS_DECLARED: pb_model_basis = 3;

/// Whether an exporter can do something.
pub type pb_answer = c_uint;
/// Unknown.
pub const PB_ANSWER_UNKNOWN: pb_answer = 0;
/// It cannot.
pub const PB_ANSWER_NO: pb_answer = 1;
/// It can.
pub const PB_ANSWER_YES: pb_answer = 2;

/// Where the memory of a buffer is.
pub type pb_place = c_uint;
/// Unknown.
pub const PB_PLACE_UNKNOWN: pb_place = 0;
/// In system memory.
pub const PB_PLACE_SYSTEM: pb_place = 1;
/// In a BAR of a PCI function.
pub const PB_PLACE_BAR: pb_place = 2;
/// In a device; whether and where it is in a BAR is not known.
pub const PB_PLACE_DEVICE: pb_place = 3;

/// Whether the memory of a buffer is accessible.
pub type pb_buffer_state = c_uint;
/// Unknown.
pub const PB_BUFFER_UNKNOWN: pb_buffer_state = 0;
/// It is.
pub const PB_BUFFER_LIVE: pb_buffer_state = 1;
/// It is not, but may be again (memory decoding off, reset, D3).
pub const PB_BUFFER_REVOKED: pb_buffer_state = 2;
/// It never will be again.
pub const PB_BUFFER_DEAD: pb_buffer_state = 3;

/// The memory attribute of processes' mappings of device memory.
pub type pb_memattr = c_uint;
/// Not cached, in order: the default.
pub const PB_NC: pb_memattr = 0;
/// Writes may be combined, and delayed until a fence.
pub const PB_WC: pb_memattr = 1;
/// Cached; only the memory of a few devices can be, never a plain BAR.
pub const PB_WB: pb_memattr = 2;
/// Arm64: as PB_NC, but a write may be acknowledged before it reaches the device.
pub const PB_DEV: pb_memattr = 16777216;

/// The elements of the array of pb_capabilities().
pub type pb_capability_index = c_uint;
/// An IOMMU is on.
pub const PB_CAP_IOMMU: pb_capability_index = 0;
/// /dev/iommu exists, and this process may open it.
pub const PB_CAP_IOMMUFD: pb_capability_index = 1;
/// VFIO has character devices for devices.
pub const PB_CAP_VFIO_CDEV: pb_capability_index = 2;
/// Stock vfio-pci exports dma-bufs.
pub const PB_CAP_DMABUF: pb_capability_index = 3;
/// Peers can attach to dma-bufs of BARs.
pub const PB_CAP_P2PDMA: pb_capability_index = 4;
/// The module peerbar answers through /dev/peerbar: the model of any dma-buf.
pub const PB_CAP_PEERBAR: pb_capability_index = 5;
/// The module peerbar answers through netlink: pb_list_buffers(), pb_watch_open().
pub const PB_CAP_NETLINK: pb_capability_index = 6;
/// The driver peerbar-vfio-pci is loaded: mmap, memory attributes, permanent revocation, cookies.
pub const PB_CAP_VFIO_PCI: pb_capability_index = 7;
/// The module peerbar-iommufd is loaded: iommufd maps buffers of peerbar-vfio-pci.
pub const PB_CAP_IOMMUFD_SHIM: pb_capability_index = 8;
/// The kernel can load peerbar-iommufd.
pub const PB_CAP_FTRACE: pb_capability_index = 9;

/// The kind of addresses of an address space.
pub type pb_guest_ioas_flags = c_uint;
/// Addresses of a virtual IOMMU, not guest-physical ones: only the windows of pb_guest_add_window() are mapped.
pub const PB_GUEST_WINDOWS: pb_guest_ioas_flags = 1;

/// Flags of pb_guest_sync().
pub type pb_guest_sync_flags = c_uint;
/// Also retry ranges that the kernel refused for a lasting reason, such as a BAR that cannot be exported; export the BAR again if it is not mapped.
pub const PB_GUEST_RETRY: pb_guest_sync_flags = 1;
/// Make all mappings again, also those that seem live: for a VMM that cannot see all revocations of its devices.
pub const PB_GUEST_REMAKE: pb_guest_sync_flags = 2;

/// The state of a part of a BAR.
pub type pb_guest_state = c_uint;
/// Mapped at the guest's address.
pub const PB_GUEST_MAPPED: pb_guest_state = 0;
/// The device does not decode: decoding is off, it is not in D0, or it is being reset.
pub const PB_GUEST_OFF: pb_guest_state = 1;
/// The BAR has no address, or is being sized.
pub const PB_GUEST_UNPLACED: pb_guest_state = 2;
/// The VMM emulates it.
pub const PB_GUEST_TRAPPED: pb_guest_state = 3;
/// Another BAR claims the same pages.
pub const PB_GUEST_OVERLAP: pb_guest_state = 4;
/// It should be mapped, but could not be.
pub const PB_GUEST_REFUSED: pb_guest_state = 5;

/// What an element of a list of importers is.
pub type pb_importer_kind = c_uint;
/// A device that is attached to the buffer.
pub const PB_IMPORTER_DEVICE: pb_importer_kind = 0;
/// Work of a driver on the buffer that has not completed (a dma-fence). The kernel does not record which attachment it belongs to.
pub const PB_IMPORTER_FENCE: pb_importer_kind = 1;

/// Flags of a mapping.
pub type pb_map_flags = c_uint;
/// Devices may read.
pub const PB_MAP_READ: pb_map_flags = 1;
/// Devices may write.
pub const PB_MAP_WRITE: pb_map_flags = 2;
/// Map at the given address only.
pub const PB_MAP_FIXED: pb_map_flags = 4;
/// Accept a buffer whose model is PB_UNKNOWN.
pub const PB_MAP_UNKNOWN_MODEL: pb_map_flags = 8;

/// Whether DMA to a mapping reaches the memory.
pub type pb_state = c_uint;
/// It does.
pub const PB_LIVE: pb_state = 0;
/// It does not, and faults, until pb_mapping_restore().
pub const PB_REVOKED: pb_state = 1;

/// Flags of pb_pci_bind_flags().
pub type pb_bind_flags = c_uint;
/// Bind the driver to a device that it does not support.
pub const PB_BIND_FORCE: pb_bind_flags = 1;

/// How a process holds a VFIO device.
pub type pb_holder_kind = c_uint;
/// A descriptor of the device, by its character device or its group. The device stays in use until it is closed.
pub const PB_HOLDER_DEVICE: pb_holder_kind = 0;
/// A mapping of a region. The device stays in use until it is unmapped.
pub const PB_HOLDER_MAPPING: pb_holder_kind = 1;
/// A descriptor of its VFIO group. The character device cannot be bound to an iommufd.
pub const PB_HOLDER_GROUP: pb_holder_kind = 2;
/// A descriptor of a dma-buf that, by its name, was exported from it. The device can be closed and unbound.
pub const PB_HOLDER_BUFFER: pb_holder_kind = 3;
/// Unknown: the caller may not inspect this process.
pub const PB_HOLDER_UNKNOWN: pb_holder_kind = 4;

/// An event of a buffer.
pub type pb_event_type = c_uint;
/// It was exported.
pub const PB_EVENT_CREATED: pb_event_type = 0;
/// Its memory is inaccessible; its state shows whether permanently.
pub const PB_EVENT_REVOKED: pb_event_type = 1;
/// Its memory is accessible again.
pub const PB_EVENT_RESTORED: pb_event_type = 2;
/// It is PB_DYNAMIC, and moved.
pub const PB_EVENT_MOVED: pb_event_type = 3;
/// Its last reference was released.
pub const PB_EVENT_RELEASED: pb_event_type = 4;
/// Events were lost, because they arrived faster than they were taken: call pb_list_buffers().
pub const PB_EVENT_LOST: pb_event_type = 5;
/// No event is pending.
pub const PB_EVENT_NONE: pb_event_type = 6;

#[repr(C)]
pub struct pb_buffer {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

#[repr(C)]
pub struct pb_iommu {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

#[repr(C)]
pub struct pb_device {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

#[repr(C)]
pub struct pb_guest {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

#[repr(C)]
pub struct pb_guest_device {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

#[repr(C)]
pub struct pb_ioas {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

#[repr(C)]
pub struct pb_mapping {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

#[repr(C)]
pub struct pb_watch {
    _opaque: [u8; 0],
    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}

/// A range of a BAR.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_range {
    /// Its offset in the BAR; page-aligned.
    pub offset: u64,
    /// Its length; a multiple of the page size, not 0.
    pub length: u64,
}

/// The properties of a buffer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_buffer_info {
    /// Its size.
    pub size: u64,
    /// The dma-buf's number: the same for all descriptors of it, in every process; not reused before the next boot.
    pub id: u64,
    /// Its memory model.
    pub model: pb_model,
    /// Where @model comes from.
    pub basis: pb_model_basis,
    /// The exporter's name.
    pub exporter: [c_char; 64],
    /// The dma-buf's name, "" if it has none. Any process with a descriptor can set it: informational only.
    pub name: [c_char; 64],
    /// The PCI function it was exported from, "" if unknown.
    pub bdf: [c_char; 24],
    /// The BAR it was exported from; -1 if unknown.
    pub bar: c_int,
    /// The number of ranges; 0 if unknown, as for a descriptor from another process without peerbar's modules.
    pub nr_ranges: c_uint,
    /// Whether its memory is accessible; for a buffer that is not @managed, as of the query.
    pub state: pb_buffer_state,
    /// The kernel module peerbar answered: @mappable and @importers are valid.
    pub asked: bool,
    /// The exporter implements mmap; false if unknown.
    pub mappable: bool,
    /// It is exported through peerbar's modules, and the following fields are valid.
    pub managed: bool,
    /// The number of devices and importers attached; 0 if unknown.
    pub importers: c_uint,
    /// The attribute of the next pb_buffer_mmap().
    pub memattr: pb_memattr,
    /// Its number in pb_list_buffers() and in events.
    pub list_id: u64,
    /// The number of page faults of processes' mappings of it, by the size that was mapped: a page, 2 MiB (PMD), 1 GiB (PUD).
    pub faults: [u64; 3],
    /// @revocations is valid.
    pub counted: bool,
    /// How often its memory was revoked, temporarily or permanently. Each revocation ends the importers' mappings made before it, also if the buffer is live again.
    pub revocations: u64,
    /// How @state is known.
    pub state_basis: pb_model_basis,
    /// Whether importers can pin the memory in its place. Only memory that moves has to be pinned.
    pub can_pin: pb_answer,
    /// How that is known.
    pub can_pin_basis: pb_model_basis,
    /// Whether the exporter can revoke the memory from importers.
    pub can_revoke: pb_answer,
    /// How that is known.
    pub can_revoke_basis: pb_model_basis,
    /// Where the memory is now. That of a PB_DYNAMIC buffer may have moved when the call returns.
    pub place: pb_place,
    /// How that is known.
    pub place_basis: pb_model_basis,
    /// The function of the BAR, or the device; "" if unknown.
    pub place_bdf: [c_char; 64],
    /// The BAR; valid if @place is PB_PLACE_BAR and @place_bdf is not "".
    pub place_bar: c_uint,
    /// The offset in the BAR of the first byte; valid as @place_bar.
    pub place_offset: u64,
    /// Attaching moves the memory to system memory, as the exporter's driver is known to do.
    pub migrates: bool,
    /// The exporter's module; "" if unknown or built in. All GPU drivers have the exporter name "drm".
    pub driver: [c_char; 64],
}

/// A capability of the system.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_capability {
    /// Its name, for example "iommufd"; a constant.
    pub name: *const c_char,
    /// Its purpose, in a few words; a constant.
    pub purpose: *const c_char,
    /// The system has it.
    pub there: bool,
    /// If not, the missing kernel option, module or permission, by name; otherwise "".
    pub missing: [c_char; 200],
}

/// A region of a device, from VFIO.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_region {
    /// BARs 0 to 5, 6 the expansion ROM, 7 the configuration space.
    pub index: u32,
    /// Its size; 0 if the device has no such region.
    pub size: u64,
    /// Pb_device_read() works.
    pub readable: bool,
    /// Pb_device_write() works.
    pub writable: bool,
    /// Pb_device_mmap() works, at least on parts of it.
    pub mappable: bool,
}

/// Why a call failed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_error {
    /// The errno, positive; 0 in an unused error.
    pub code: c_int,
    /// One sentence, without a newline, NUL-terminated.
    pub text: [c_char; 380],
}

/// A mapping in a domain of a virtual IOMMU.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_guest_window {
    /// The first address; page-aligned.
    pub iova: u64,
    /// The guest-physical address it maps to; page-aligned.
    pub address: u64,
    /// The length; a multiple of the page size, not 0.
    pub length: u64,
    /// PB_MAP_READ, PB_MAP_WRITE or both.
    pub flags: c_uint,
}

/// A part of a BAR that the VMM emulates, and that no peer may access.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_guest_trap {
    /// The BAR, 0 to 5.
    pub bar: c_uint,
    /// Its offset in the BAR.
    pub offset: u64,
    /// Its length; each page that it overlaps is trapped.
    pub length: u64,
}

/// A part of a BAR, and its state.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_guest_range {
    /// The device.
    pub device: *mut pb_guest_device,
    /// The pointer given to pb_guest_add_device().
    pub data: *mut c_void,
    /// The device's address on the host.
    pub bdf: [c_char; 24],
    /// The BAR.
    pub bar: c_uint,
    /// The offset in the BAR.
    pub offset: u64,
    /// The length.
    pub length: u64,
    /// The guest-physical address; PB_GUEST_NOWHERE if @state is PB_GUEST_UNPLACED.
    pub address: u64,
    /// The address space; NULL if @state is PB_GUEST_OFF or PB_GUEST_UNPLACED, which hold for all of them.
    pub ioas: *mut pb_ioas,
    /// The address in the address space.
    pub iova: u64,
    /// The state.
    pub state: pb_guest_state,
    /// With PB_GUEST_REFUSED, the reason; in a report with PB_GUEST_MAPPED, code ESTALE if the mapping was lost without being reported; otherwise code 0 and an empty text.
    pub why: pb_error,
}

/// An importer of a buffer, or a fence of one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_importer {
    /// The buffer's number, pb_buffer_info.list_id.
    pub list_id: u64,
    /// The exporter's name for the buffer; "" from pb_fd_importers().
    pub buffer: [c_char; 64],
    /// The buffer's state, as of its last access or query.
    pub state: pb_buffer_state,
    /// What it is.
    pub kind: pb_importer_kind,
    /// The importing device, for example "0000:06:00.0"; "iommu" for iommufd, "" for a fence.
    pub device: [c_char; 64],
    /// The driver of the device or, if it has none, its bus or class; of a fence, its driver.
    pub driver: [c_char; 64],
    /// Of a fence, its timeline; otherwise "".
    pub timeline: [c_char; 64],
    /// Of a device, the number of the attachment: unique in the buffer, ascending in the order of attaching; of a fence, its sequence number.
    pub id: u64,
    /// Of a fence, its context; otherwise 0.
    pub context: u64,
    /// The memory that it has.
    pub bytes: u64,
    /// The number of its DMA mappings.
    pub nr_maps: c_uint,
    /// It got physical addresses, as iommufd does. A revoke does not wait for it: it stops using them when it is invalidated.
    pub addresses: bool,
    /// It can be invalidated.
    pub revocable: bool,
    /// It has pinned the buffer.
    pub pinned: bool,
    /// The buffer is not live, and a revoke waits for this importer to unmap, or for this fence.
    pub waited_for: bool,
    /// How long ago it attached.
    pub attached_ns: u64,
    /// How long it has had the memory without interruption; 0 if it has none.
    pub mapped_ns: u64,
    /// How long ago the importers were invalidated by the revoke; 0 unless @waited_for.
    pub waited_ns: u64,
}

/// A range of addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_iova_range {
    /// Its first address.
    pub first: u64,
    /// Its last address, included.
    pub last: u64,
}

/// A BAR, from sysfs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_pci_bar {
    /// Its size; 0 if it does not exist, or is the upper half of a 64-bit BAR.
    pub size: u64,
    /// True for memory, false for I/O ports.
    pub memory: bool,
    /// It is prefetchable memory.
    pub prefetchable: bool,
}

/// A PCI function, from sysfs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_pci_function {
    /// Its address, "0000:01:00.0".
    pub bdf: [c_char; 24],
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class, subclass and programming interface, 24 bits.
    pub pci_class: u32,
    /// The driver it is bound to; "" if none.
    pub driver: [c_char; 64],
    /// Its VFIO character device, "/dev/vfio/devices/vfio0"; "" if it has none.
    pub cdev: [c_char; 64],
    /// The number of its IOMMU group; -1 if it has none.
    pub iommu_group: c_int,
    /// Its BARs.
    pub bars: [pb_pci_bar; 6],
}

/// A process that holds a VFIO device.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_holder {
    /// The process.
    pub pid: c_int,
    /// The descriptor's number in that process; -1 for a mapping, and if unknown.
    pub fd: c_int,
    /// How it holds the device.
    pub kind: pb_holder_kind,
    /// The process's name from /proc/PID/comm, any bytes.
    pub command: [c_char; 64],
}

/// Physically contiguous memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_extent {
    /// Its physical address.
    pub start: u64,
    /// Its length.
    pub length: u64,
}

/// A buffer that any process exported through peerbar's modules.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_listed {
    /// Its number, not reused before the next boot; pb_buffer_info.list_id.
    pub id: u64,
    /// The name of the exporter's module.
    pub exporter: [c_char; 64],
    /// The device that has the memory, for example "0000:01:00.0"; "" if none.
    pub device: [c_char; 64],
    /// The exporter's name for it.
    pub name: [c_char; 64],
    /// Its size.
    pub size: u64,
    /// Its memory model.
    pub model: pb_model,
    /// Whether its memory is accessible.
    pub state: pb_buffer_state,
    /// The attribute of the next mmap.
    pub memattr: pb_memattr,
    /// The number of ranges.
    pub nr_ranges: c_uint,
    /// The number of attached importers; 0 in events.
    pub nr_importers: c_uint,
    /// The number of memory areas of processes that map it; 0 in events.
    pub nr_mmaps: c_uint,
    /// The process that exported it; 0 if not reported.
    pub creator: u32,
    /// The number of elements of @extents: @nr_ranges, fewer if a message cannot hold them all, or 0 if not reported.
    pub nr_extents: c_uint,
    /// The ranges.
    pub extents: *mut pb_extent,
    /// The number of elements of @importer_names: @nr_importers, or fewer as with @nr_extents.
    pub nr_importer_names: c_uint,
    /// The importing devices.
    pub importer_names: *mut [c_char; 64],
    /// Whether importers can pin the memory; PB_ANSWER_UNKNOWN in events. This and the following are declared by the exporter.
    pub can_pin: pb_answer,
    /// Whether the memory can be revoked; PB_ANSWER_UNKNOWN in events.
    pub can_revoke: pb_answer,
    /// Where the memory is; PB_PLACE_UNKNOWN in events.
    pub place: pb_place,
    /// The BAR of @device; valid if @place is PB_PLACE_BAR.
    pub bar: c_uint,
    /// The offset in the BAR of the first byte; valid as @bar.
    pub bar_offset: u64,
}

/// An event of a buffer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pb_event {
    /// The type.
    pub r#type: pb_event_type,
    /// The buffer at the time of the event, without importers, mmaps and privileged fields. All zero if @type is PB_EVENT_LOST or PB_EVENT_NONE. Must be the last field.
    pub buffer: pb_listed,
}

extern "C" {
    pub fn pb_version() -> *const c_char;
    pub fn pb_model_name(model: pb_model) -> *const c_char;
    pub fn pb_model_basis_name(basis: pb_model_basis) -> *const c_char;
    pub fn pb_exporter_model(exporter: *const c_char) -> pb_model;
    pub fn pb_answer_name(answer: pb_answer) -> *const c_char;
    pub fn pb_place_name(place: pb_place) -> *const c_char;
    pub fn pb_buffer_state_name(state: pb_buffer_state) -> *const c_char;
    pub fn pb_memattr_name(memattr: pb_memattr) -> *const c_char;
    pub fn pb_buffer_export(
        device: *mut pb_device,
        bar: c_uint,
        ranges: *const pb_range,
        nr_ranges: c_uint,
        flags: c_uint,
        buffer: *mut *mut pb_buffer,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_buffer_from_fd(fd: c_int, buffer: *mut *mut pb_buffer, err: *mut pb_error) -> c_int;
    pub fn pb_buffer_fd(buffer: *const pb_buffer) -> c_int;
    pub fn pb_buffer_query_sized(
        buffer: *mut pb_buffer,
        info: *mut pb_buffer_info,
        size: usize,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_buffer_probe_sized(
        buffer: *mut pb_buffer,
        info: *mut pb_buffer_info,
        size: usize,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_buffer_ranges(
        buffer: *const pb_buffer,
        ranges: *mut pb_range,
        nr_ranges: c_uint,
    ) -> c_uint;
    pub fn pb_buffer_id(buffer: *const pb_buffer) -> u64;
    pub fn pb_buffer_size(buffer: *const pb_buffer) -> u64;
    pub fn pb_buffer_share(
        buffer: *mut pb_buffer,
        shared: *mut *mut pb_buffer,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_buffer_close(buffer: *mut pb_buffer);
    pub fn pb_buffer_mmap(
        buffer: *mut pb_buffer,
        offset: u64,
        length: usize,
        writable: bool,
        address: *mut *mut c_void,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_buffer_set_memattr(
        device: *mut pb_device,
        buffer: *mut pb_buffer,
        memattrs: *const pb_memattr,
        nr_memattrs: c_uint,
        chosen: *mut pb_memattr,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_buffer_memattr(
        device: *mut pb_device,
        buffer: *mut pb_buffer,
        memattr: *mut pb_memattr,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_buffer_revoke(
        device: *mut pb_device,
        buffer: *mut pb_buffer,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_mmap_cookie(
        device: *mut pb_device,
        bar: c_uint,
        offset: u64,
        length: u64,
        memattr: pb_memattr,
        mmap_offset: *mut u64,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_mmap_at(
        device: *mut pb_device,
        mmap_offset: u64,
        length: usize,
        writable: bool,
        address: *mut *mut c_void,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_capabilities_sized(
        capabilities: *mut *mut pb_capability,
        size: usize,
        nr_capabilities: *mut c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_module_abi() -> c_uint;
    pub fn pb_iommu_open(iommu: *mut *mut pb_iommu, err: *mut pb_error) -> c_int;
    pub fn pb_iommu_from_fd(fd: c_int, iommu: *mut *mut pb_iommu, err: *mut pb_error) -> c_int;
    pub fn pb_iommu_fd(iommu: *const pb_iommu) -> c_int;
    pub fn pb_iommu_close(iommu: *mut pb_iommu);
    pub fn pb_device_open(
        iommu: *mut pb_iommu,
        bdf: *const c_char,
        device: *mut *mut pb_device,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_from_fd(
        iommu: *mut pb_iommu,
        fd: c_int,
        bdf: *const c_char,
        device: *mut *mut pb_device,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_bdf(device: *const pb_device) -> *const c_char;
    pub fn pb_device_fd(device: *const pb_device) -> c_int;
    pub fn pb_device_close(device: *mut pb_device);
    pub fn pb_device_regions(device: *const pb_device) -> c_uint;
    pub fn pb_device_region_sized(
        device: *mut pb_device,
        index: c_uint,
        region: *mut pb_region,
        size: usize,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_read(
        device: *mut pb_device,
        region: c_uint,
        offset: u64,
        data: *mut c_void,
        length: usize,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_write(
        device: *mut pb_device,
        region: c_uint,
        offset: u64,
        data: *const c_void,
        length: usize,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_mmap(
        device: *mut pb_device,
        region: c_uint,
        offset: u64,
        length: usize,
        writable: bool,
        address: *mut *mut c_void,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_device_set_decoding(device: *mut pb_device, on: bool, err: *mut pb_error) -> c_int;
    pub fn pb_device_decoding(device: *mut pb_device, on: *mut bool, err: *mut pb_error) -> c_int;
    pub fn pb_device_set_bus_master(device: *mut pb_device, on: bool, err: *mut pb_error) -> c_int;
    pub fn pb_device_reset(device: *mut pb_device, err: *mut pb_error) -> c_int;
    pub fn pb_guest_create(guest: *mut *mut pb_guest, err: *mut pb_error) -> c_int;
    pub fn pb_guest_destroy(guest: *mut pb_guest);
    pub fn pb_guest_add_ioas(
        guest: *mut pb_guest,
        ioas: *mut pb_ioas,
        flags: c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_remove_ioas(
        guest: *mut pb_guest,
        ioas: *mut pb_ioas,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_add_window(
        guest: *mut pb_guest,
        ioas: *mut pb_ioas,
        window: *const pb_guest_window,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_remove_window(
        guest: *mut pb_guest,
        ioas: *mut pb_ioas,
        iova: u64,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_add_device(
        guest: *mut pb_guest,
        device: *mut pb_device,
        traps: *const pb_guest_trap,
        nr_traps: c_uint,
        data: *mut c_void,
        guest_device: *mut *mut pb_guest_device,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_remove_device(device: *mut pb_guest_device, err: *mut pb_error) -> c_int;
    pub fn pb_guest_set_bar(
        device: *mut pb_guest_device,
        bar: c_uint,
        address: u64,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_set_decoding(
        device: *mut pb_guest_device,
        on: bool,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_set_power(device: *mut pb_guest_device, on: bool, err: *mut pb_error) -> c_int;
    pub fn pb_guest_reset_begin(device: *mut pb_guest_device, err: *mut pb_error) -> c_int;
    pub fn pb_guest_reset_done(device: *mut pb_guest_device, err: *mut pb_error) -> c_int;
    pub fn pb_guest_sync(guest: *mut pb_guest, flags: c_uint, err: *mut pb_error) -> c_int;
    pub fn pb_guest_nr_refused(guest: *mut pb_guest) -> c_uint;
    pub fn pb_guest_check(guest: *mut pb_guest, nr_found: *mut c_uint, err: *mut pb_error) -> c_int;
    pub fn pb_guest_fd(guest: *const pb_guest) -> c_int;
    pub fn pb_guest_state_name(state: pb_guest_state) -> *const c_char;
    pub fn pb_guest_list_sized(
        guest: *mut pb_guest,
        ranges: *mut *mut pb_guest_range,
        size: usize,
        nr_ranges: *mut c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_guest_next_report_sized(
        guest: *mut pb_guest,
        report: *mut pb_guest_range,
        size: usize,
    ) -> bool;
    pub fn pb_fd_importers_sized(
        fd: c_int,
        importers: *mut *mut pb_importer,
        size: usize,
        nr_importers: *mut c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_list_importers_sized(
        importers: *mut *mut pb_importer,
        size: usize,
        nr_importers: *mut c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_ioas_create(
        iommu: *mut pb_iommu,
        ioas: *mut *mut pb_ioas,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_ioas_from_id(
        iommu: *mut pb_iommu,
        id: u32,
        ioas: *mut *mut pb_ioas,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_ioas_id(ioas: *const pb_ioas) -> u32;
    pub fn pb_ioas_destroy(ioas: *mut pb_ioas);
    pub fn pb_ioas_attach(ioas: *mut pb_ioas, device: *mut pb_device, err: *mut pb_error) -> c_int;
    pub fn pb_ioas_detach(device: *mut pb_device, err: *mut pb_error) -> c_int;
    pub fn pb_ioas_aperture(
        ioas: *mut pb_ioas,
        ranges: *mut pb_iova_range,
        room: c_uint,
        nr_ranges: *mut c_uint,
        alignment: *mut u64,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_map_memory(
        ioas: *mut pb_ioas,
        address: *mut c_void,
        length: u64,
        flags: c_uint,
        iova: u64,
        mapping: *mut *mut pb_mapping,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_map_buffer(
        ioas: *mut pb_ioas,
        buffer: *mut pb_buffer,
        offset: u64,
        length: u64,
        flags: c_uint,
        iova: u64,
        mapping: *mut *mut pb_mapping,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_mapping_iova(mapping: *const pb_mapping) -> u64;
    pub fn pb_mapping_length(mapping: *const pb_mapping) -> u64;
    pub fn pb_mapping_state(mapping: *const pb_mapping) -> pb_state;
    pub fn pb_mapping_restore(mapping: *mut pb_mapping, err: *mut pb_error) -> c_int;
    pub fn pb_unmap(mapping: *mut pb_mapping, err: *mut pb_error) -> c_int;
    pub fn pb_mapping_set_data(mapping: *mut pb_mapping, data: *mut c_void);
    pub fn pb_mapping_data(mapping: *const pb_mapping) -> *mut c_void;
    pub fn pb_ioas_event_fd(ioas: *const pb_ioas) -> c_int;
    pub fn pb_ioas_next_revoked(ioas: *mut pb_ioas) -> *mut pb_mapping;
    pub fn pb_ioas_check(ioas: *mut pb_ioas, nr_found: *mut c_uint, err: *mut pb_error) -> c_int;
    pub fn pb_pci_get_sized(
        bdf: *const c_char,
        function: *mut pb_pci_function,
        size: usize,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_pci_list_sized(
        functions: *mut *mut pb_pci_function,
        size: usize,
        nr_functions: *mut c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_pci_bind(bdf: *const c_char, driver: *const c_char, err: *mut pb_error) -> c_int;
    pub fn pb_pci_bind_flags(
        bdf: *const c_char,
        driver: *const c_char,
        flags: c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_pci_unbind(bdf: *const c_char, err: *mut pb_error) -> c_int;
    pub fn pb_pci_holders(
        bdf: *const c_char,
        holders: *mut *mut pb_holder,
        nr_holders: *mut c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_rdma_link_add(
        name: *const c_char,
        netdev: *const c_char,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_rdma_link_delete(name: *const c_char, err: *mut pb_error) -> c_int;
    pub fn pb_list_buffers_sized(
        buffers: *mut *mut pb_listed,
        size: usize,
        nr_buffers: *mut c_uint,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_event_name(r#type: pb_event_type) -> *const c_char;
    pub fn pb_watch_open(watch: *mut *mut pb_watch, err: *mut pb_error) -> c_int;
    pub fn pb_watch_fd(watch: *const pb_watch) -> c_int;
    pub fn pb_watch_next_sized(
        watch: *mut pb_watch,
        event: *mut pb_event,
        size: usize,
        err: *mut pb_error,
    ) -> c_int;
    pub fn pb_watch_close(watch: *mut pb_watch);
}

/// The size of each structure, and the offset of each of its fields, for a comparison with C.
pub const LAYOUT: &[(&str, usize)] = &[
    ("pb_range", core::mem::size_of::<pb_range>()),
    ("pb_range.offset", core::mem::offset_of!(pb_range, offset)),
    ("pb_range.length", core::mem::offset_of!(pb_range, length)),
    ("pb_buffer_info", core::mem::size_of::<pb_buffer_info>()),
    ("pb_buffer_info.size", core::mem::offset_of!(pb_buffer_info, size)),
    ("pb_buffer_info.id", core::mem::offset_of!(pb_buffer_info, id)),
    ("pb_buffer_info.model", core::mem::offset_of!(pb_buffer_info, model)),
    ("pb_buffer_info.basis", core::mem::offset_of!(pb_buffer_info, basis)),
    ("pb_buffer_info.exporter", core::mem::offset_of!(pb_buffer_info, exporter)),
    ("pb_buffer_info.name", core::mem::offset_of!(pb_buffer_info, name)),
    ("pb_buffer_info.bdf", core::mem::offset_of!(pb_buffer_info, bdf)),
    ("pb_buffer_info.bar", core::mem::offset_of!(pb_buffer_info, bar)),
    ("pb_buffer_info.nr_ranges", core::mem::offset_of!(pb_buffer_info, nr_ranges)),
    ("pb_buffer_info.state", core::mem::offset_of!(pb_buffer_info, state)),
    ("pb_buffer_info.asked", core::mem::offset_of!(pb_buffer_info, asked)),
    ("pb_buffer_info.mappable", core::mem::offset_of!(pb_buffer_info, mappable)),
    ("pb_buffer_info.managed", core::mem::offset_of!(pb_buffer_info, managed)),
    ("pb_buffer_info.importers", core::mem::offset_of!(pb_buffer_info, importers)),
    ("pb_buffer_info.memattr", core::mem::offset_of!(pb_buffer_info, memattr)),
    ("pb_buffer_info.list_id", core::mem::offset_of!(pb_buffer_info, list_id)),
    ("pb_buffer_info.faults", core::mem::offset_of!(pb_buffer_info, faults)),
    ("pb_buffer_info.counted", core::mem::offset_of!(pb_buffer_info, counted)),
    ("pb_buffer_info.revocations", core::mem::offset_of!(pb_buffer_info, revocations)),
    ("pb_buffer_info.state_basis", core::mem::offset_of!(pb_buffer_info, state_basis)),
    ("pb_buffer_info.can_pin", core::mem::offset_of!(pb_buffer_info, can_pin)),
    ("pb_buffer_info.can_pin_basis", core::mem::offset_of!(pb_buffer_info, can_pin_basis)),
    ("pb_buffer_info.can_revoke", core::mem::offset_of!(pb_buffer_info, can_revoke)),
    ("pb_buffer_info.can_revoke_basis", core::mem::offset_of!(pb_buffer_info, can_revoke_basis)),
    ("pb_buffer_info.place", core::mem::offset_of!(pb_buffer_info, place)),
    ("pb_buffer_info.place_basis", core::mem::offset_of!(pb_buffer_info, place_basis)),
    ("pb_buffer_info.place_bdf", core::mem::offset_of!(pb_buffer_info, place_bdf)),
    ("pb_buffer_info.place_bar", core::mem::offset_of!(pb_buffer_info, place_bar)),
    ("pb_buffer_info.place_offset", core::mem::offset_of!(pb_buffer_info, place_offset)),
    ("pb_buffer_info.migrates", core::mem::offset_of!(pb_buffer_info, migrates)),
    ("pb_buffer_info.driver", core::mem::offset_of!(pb_buffer_info, driver)),
    ("pb_capability", core::mem::size_of::<pb_capability>()),
    ("pb_capability.name", core::mem::offset_of!(pb_capability, name)),
    ("pb_capability.purpose", core::mem::offset_of!(pb_capability, purpose)),
    ("pb_capability.there", core::mem::offset_of!(pb_capability, there)),
    ("pb_capability.missing", core::mem::offset_of!(pb_capability, missing)),
    ("pb_region", core::mem::size_of::<pb_region>()),
    ("pb_region.index", core::mem::offset_of!(pb_region, index)),
    ("pb_region.size", core::mem::offset_of!(pb_region, size)),
    ("pb_region.readable", core::mem::offset_of!(pb_region, readable)),
    ("pb_region.writable", core::mem::offset_of!(pb_region, writable)),
    ("pb_region.mappable", core::mem::offset_of!(pb_region, mappable)),
    ("pb_error", core::mem::size_of::<pb_error>()),
    ("pb_error.code", core::mem::offset_of!(pb_error, code)),
    ("pb_error.text", core::mem::offset_of!(pb_error, text)),
    ("pb_guest_window", core::mem::size_of::<pb_guest_window>()),
    ("pb_guest_window.iova", core::mem::offset_of!(pb_guest_window, iova)),
    ("pb_guest_window.address", core::mem::offset_of!(pb_guest_window, address)),
    ("pb_guest_window.length", core::mem::offset_of!(pb_guest_window, length)),
    ("pb_guest_window.flags", core::mem::offset_of!(pb_guest_window, flags)),
    ("pb_guest_trap", core::mem::size_of::<pb_guest_trap>()),
    ("pb_guest_trap.bar", core::mem::offset_of!(pb_guest_trap, bar)),
    ("pb_guest_trap.offset", core::mem::offset_of!(pb_guest_trap, offset)),
    ("pb_guest_trap.length", core::mem::offset_of!(pb_guest_trap, length)),
    ("pb_guest_range", core::mem::size_of::<pb_guest_range>()),
    ("pb_guest_range.device", core::mem::offset_of!(pb_guest_range, device)),
    ("pb_guest_range.data", core::mem::offset_of!(pb_guest_range, data)),
    ("pb_guest_range.bdf", core::mem::offset_of!(pb_guest_range, bdf)),
    ("pb_guest_range.bar", core::mem::offset_of!(pb_guest_range, bar)),
    ("pb_guest_range.offset", core::mem::offset_of!(pb_guest_range, offset)),
    ("pb_guest_range.length", core::mem::offset_of!(pb_guest_range, length)),
    ("pb_guest_range.address", core::mem::offset_of!(pb_guest_range, address)),
    ("pb_guest_range.ioas", core::mem::offset_of!(pb_guest_range, ioas)),
    ("pb_guest_range.iova", core::mem::offset_of!(pb_guest_range, iova)),
    ("pb_guest_range.state", core::mem::offset_of!(pb_guest_range, state)),
    ("pb_guest_range.why", core::mem::offset_of!(pb_guest_range, why)),
    ("pb_importer", core::mem::size_of::<pb_importer>()),
    ("pb_importer.list_id", core::mem::offset_of!(pb_importer, list_id)),
    ("pb_importer.buffer", core::mem::offset_of!(pb_importer, buffer)),
    ("pb_importer.state", core::mem::offset_of!(pb_importer, state)),
    ("pb_importer.kind", core::mem::offset_of!(pb_importer, kind)),
    ("pb_importer.device", core::mem::offset_of!(pb_importer, device)),
    ("pb_importer.driver", core::mem::offset_of!(pb_importer, driver)),
    ("pb_importer.timeline", core::mem::offset_of!(pb_importer, timeline)),
    ("pb_importer.id", core::mem::offset_of!(pb_importer, id)),
    ("pb_importer.context", core::mem::offset_of!(pb_importer, context)),
    ("pb_importer.bytes", core::mem::offset_of!(pb_importer, bytes)),
    ("pb_importer.nr_maps", core::mem::offset_of!(pb_importer, nr_maps)),
    ("pb_importer.addresses", core::mem::offset_of!(pb_importer, addresses)),
    ("pb_importer.revocable", core::mem::offset_of!(pb_importer, revocable)),
    ("pb_importer.pinned", core::mem::offset_of!(pb_importer, pinned)),
    ("pb_importer.waited_for", core::mem::offset_of!(pb_importer, waited_for)),
    ("pb_importer.attached_ns", core::mem::offset_of!(pb_importer, attached_ns)),
    ("pb_importer.mapped_ns", core::mem::offset_of!(pb_importer, mapped_ns)),
    ("pb_importer.waited_ns", core::mem::offset_of!(pb_importer, waited_ns)),
    ("pb_iova_range", core::mem::size_of::<pb_iova_range>()),
    ("pb_iova_range.first", core::mem::offset_of!(pb_iova_range, first)),
    ("pb_iova_range.last", core::mem::offset_of!(pb_iova_range, last)),
    ("pb_pci_bar", core::mem::size_of::<pb_pci_bar>()),
    ("pb_pci_bar.size", core::mem::offset_of!(pb_pci_bar, size)),
    ("pb_pci_bar.memory", core::mem::offset_of!(pb_pci_bar, memory)),
    ("pb_pci_bar.prefetchable", core::mem::offset_of!(pb_pci_bar, prefetchable)),
    ("pb_pci_function", core::mem::size_of::<pb_pci_function>()),
    ("pb_pci_function.bdf", core::mem::offset_of!(pb_pci_function, bdf)),
    ("pb_pci_function.vendor", core::mem::offset_of!(pb_pci_function, vendor)),
    ("pb_pci_function.device", core::mem::offset_of!(pb_pci_function, device)),
    ("pb_pci_function.pci_class", core::mem::offset_of!(pb_pci_function, pci_class)),
    ("pb_pci_function.driver", core::mem::offset_of!(pb_pci_function, driver)),
    ("pb_pci_function.cdev", core::mem::offset_of!(pb_pci_function, cdev)),
    ("pb_pci_function.iommu_group", core::mem::offset_of!(pb_pci_function, iommu_group)),
    ("pb_pci_function.bars", core::mem::offset_of!(pb_pci_function, bars)),
    ("pb_holder", core::mem::size_of::<pb_holder>()),
    ("pb_holder.pid", core::mem::offset_of!(pb_holder, pid)),
    ("pb_holder.fd", core::mem::offset_of!(pb_holder, fd)),
    ("pb_holder.kind", core::mem::offset_of!(pb_holder, kind)),
    ("pb_holder.command", core::mem::offset_of!(pb_holder, command)),
    ("pb_extent", core::mem::size_of::<pb_extent>()),
    ("pb_extent.start", core::mem::offset_of!(pb_extent, start)),
    ("pb_extent.length", core::mem::offset_of!(pb_extent, length)),
    ("pb_listed", core::mem::size_of::<pb_listed>()),
    ("pb_listed.id", core::mem::offset_of!(pb_listed, id)),
    ("pb_listed.exporter", core::mem::offset_of!(pb_listed, exporter)),
    ("pb_listed.device", core::mem::offset_of!(pb_listed, device)),
    ("pb_listed.name", core::mem::offset_of!(pb_listed, name)),
    ("pb_listed.size", core::mem::offset_of!(pb_listed, size)),
    ("pb_listed.model", core::mem::offset_of!(pb_listed, model)),
    ("pb_listed.state", core::mem::offset_of!(pb_listed, state)),
    ("pb_listed.memattr", core::mem::offset_of!(pb_listed, memattr)),
    ("pb_listed.nr_ranges", core::mem::offset_of!(pb_listed, nr_ranges)),
    ("pb_listed.nr_importers", core::mem::offset_of!(pb_listed, nr_importers)),
    ("pb_listed.nr_mmaps", core::mem::offset_of!(pb_listed, nr_mmaps)),
    ("pb_listed.creator", core::mem::offset_of!(pb_listed, creator)),
    ("pb_listed.nr_extents", core::mem::offset_of!(pb_listed, nr_extents)),
    ("pb_listed.extents", core::mem::offset_of!(pb_listed, extents)),
    ("pb_listed.nr_importer_names", core::mem::offset_of!(pb_listed, nr_importer_names)),
    ("pb_listed.importer_names", core::mem::offset_of!(pb_listed, importer_names)),
    ("pb_listed.can_pin", core::mem::offset_of!(pb_listed, can_pin)),
    ("pb_listed.can_revoke", core::mem::offset_of!(pb_listed, can_revoke)),
    ("pb_listed.place", core::mem::offset_of!(pb_listed, place)),
    ("pb_listed.bar", core::mem::offset_of!(pb_listed, bar)),
    ("pb_listed.bar_offset", core::mem::offset_of!(pb_listed, bar_offset)),
    ("pb_event", core::mem::size_of::<pb_event>()),
    ("pb_event.type", core::mem::offset_of!(pb_event, r#type)),
    ("pb_event.buffer", core::mem::offset_of!(pb_event, buffer)),
];
