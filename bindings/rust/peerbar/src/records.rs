// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// Written by bindings/generate from lib/peerbar/*.h. Do not edit.

//! Enumerations, and the records that the functions return.
#![allow(clippy::upper_case_acronyms)]

use crate::convert::{elements, pointed_text, text};
use crate::Error;
use peerbar_sys as sys;
use std::fmt;

/// The guarantees of a dma-buf's exporter about its memory.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Model(pub u32);

impl Model {
    /// Unknown; never a guess.
    pub const UNKNOWN: Model = Model(sys::PB_UNKNOWN);
    /// Never moves, and is never revoked while attached.
    pub const PINNED: Model = Model(sys::PB_PINNED);
    /// Never moves, but may be revoked; the importer must be able to stop.
    pub const REVOCABLE: Model = Model(sys::PB_REVOCABLE);
    /// May move at any time; the importer must be able to follow.
    pub const DYNAMIC: Model = Model(sys::PB_DYNAMIC);
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Model::UNKNOWN => f.write_str("UNKNOWN"),
            Model::PINNED => f.write_str("PINNED"),
            Model::REVOCABLE => f.write_str("REVOCABLE"),
            Model::DYNAMIC => f.write_str("DYNAMIC"),
            Model(other) => write!(f, "Model({other:#x})"),
        }
    }
}

/// How the model of a buffer, or another property, is known.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelBasis(pub u32);

impl ModelBasis {
    /// It is unknown.
    pub const BASIS_NONE: ModelBasis = ModelBasis(sys::PB_BASIS_NONE);
    /// By the exporter's name, see pb_exporter_model().
    pub const BASIS_NAME: ModelBasis = ModelBasis(sys::PB_BASIS_NAME);
    /// The kernel module peerbar derived it from the operations that the exporter implements, from the exporter's answer to an attachment, or from its data.
    pub const BASIS_DERIVED: ModelBasis = ModelBasis(sys::PB_BASIS_DERIVED);
    /// The exporter declared it to the kernel module peerbar.
    pub const BASIS_DECLARED: ModelBasis = ModelBasis(sys::PB_BASIS_DECLARED);
}

impl fmt::Debug for ModelBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ModelBasis::BASIS_NONE => f.write_str("BASIS_NONE"),
            ModelBasis::BASIS_NAME => f.write_str("BASIS_NAME"),
            ModelBasis::BASIS_DERIVED => f.write_str("BASIS_DERIVED"),
            ModelBasis::BASIS_DECLARED => f.write_str("BASIS_DECLARED"),
            ModelBasis(other) => write!(f, "ModelBasis({other:#x})"),
        }
    }
}

/// Whether an exporter can do something.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Answer(pub u32);

impl Answer {
    /// Unknown.
    pub const UNKNOWN: Answer = Answer(sys::PB_ANSWER_UNKNOWN);
    /// It cannot.
    pub const NO: Answer = Answer(sys::PB_ANSWER_NO);
    /// It can.
    pub const YES: Answer = Answer(sys::PB_ANSWER_YES);
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Answer::UNKNOWN => f.write_str("UNKNOWN"),
            Answer::NO => f.write_str("NO"),
            Answer::YES => f.write_str("YES"),
            Answer(other) => write!(f, "Answer({other:#x})"),
        }
    }
}

/// Where the memory of a buffer is.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub u32);

impl Place {
    /// Unknown.
    pub const UNKNOWN: Place = Place(sys::PB_PLACE_UNKNOWN);
    /// In system memory.
    pub const SYSTEM: Place = Place(sys::PB_PLACE_SYSTEM);
    /// In a BAR of a PCI function.
    pub const BAR: Place = Place(sys::PB_PLACE_BAR);
    /// In a device; whether and where it is in a BAR is not known.
    pub const DEVICE: Place = Place(sys::PB_PLACE_DEVICE);
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Place::UNKNOWN => f.write_str("UNKNOWN"),
            Place::SYSTEM => f.write_str("SYSTEM"),
            Place::BAR => f.write_str("BAR"),
            Place::DEVICE => f.write_str("DEVICE"),
            Place(other) => write!(f, "Place({other:#x})"),
        }
    }
}

/// Whether the memory of a buffer is accessible.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferState(pub u32);

impl BufferState {
    /// Unknown.
    pub const UNKNOWN: BufferState = BufferState(sys::PB_BUFFER_UNKNOWN);
    /// It is.
    pub const LIVE: BufferState = BufferState(sys::PB_BUFFER_LIVE);
    /// It is not, but may be again (memory decoding off, reset, D3).
    pub const REVOKED: BufferState = BufferState(sys::PB_BUFFER_REVOKED);
    /// It never will be again.
    pub const DEAD: BufferState = BufferState(sys::PB_BUFFER_DEAD);
}

impl fmt::Debug for BufferState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            BufferState::UNKNOWN => f.write_str("UNKNOWN"),
            BufferState::LIVE => f.write_str("LIVE"),
            BufferState::REVOKED => f.write_str("REVOKED"),
            BufferState::DEAD => f.write_str("DEAD"),
            BufferState(other) => write!(f, "BufferState({other:#x})"),
        }
    }
}

/// The memory attribute of processes' mappings of device memory.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Memattr(pub u32);

impl Memattr {
    /// Not cached, in order: the default.
    pub const NC: Memattr = Memattr(sys::PB_NC);
    /// Writes may be combined, and delayed until a fence.
    pub const WC: Memattr = Memattr(sys::PB_WC);
    /// Cached; only the memory of a few devices can be, never a plain BAR.
    pub const WB: Memattr = Memattr(sys::PB_WB);
    /// Arm64: as PB_NC, but a write may be acknowledged before it reaches the device.
    pub const DEV: Memattr = Memattr(sys::PB_DEV);
}

impl fmt::Debug for Memattr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Memattr::NC => f.write_str("NC"),
            Memattr::WC => f.write_str("WC"),
            Memattr::WB => f.write_str("WB"),
            Memattr::DEV => f.write_str("DEV"),
            Memattr(other) => write!(f, "Memattr({other:#x})"),
        }
    }
}

/// The elements of the array of pb_capabilities().
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CapabilityIndex(pub u32);

impl CapabilityIndex {
    /// An IOMMU is on.
    pub const CAP_IOMMU: CapabilityIndex = CapabilityIndex(sys::PB_CAP_IOMMU);
    /// /dev/iommu exists, and this process may open it.
    pub const CAP_IOMMUFD: CapabilityIndex = CapabilityIndex(sys::PB_CAP_IOMMUFD);
    /// VFIO has character devices for devices.
    pub const CAP_VFIO_CDEV: CapabilityIndex = CapabilityIndex(sys::PB_CAP_VFIO_CDEV);
    /// Stock vfio-pci exports dma-bufs.
    pub const CAP_DMABUF: CapabilityIndex = CapabilityIndex(sys::PB_CAP_DMABUF);
    /// Peers can attach to dma-bufs of BARs.
    pub const CAP_P2PDMA: CapabilityIndex = CapabilityIndex(sys::PB_CAP_P2PDMA);
    /// The module peerbar answers through /dev/peerbar: the model of any dma-buf.
    pub const CAP_PEERBAR: CapabilityIndex = CapabilityIndex(sys::PB_CAP_PEERBAR);
    /// The module peerbar answers through netlink: pb_list_buffers(), pb_watch_open().
    pub const CAP_NETLINK: CapabilityIndex = CapabilityIndex(sys::PB_CAP_NETLINK);
    /// The driver peerbar-vfio-pci is loaded: mmap, memory attributes, permanent revocation, cookies.
    pub const CAP_VFIO_PCI: CapabilityIndex = CapabilityIndex(sys::PB_CAP_VFIO_PCI);
    /// The module peerbar-iommufd is loaded: iommufd maps buffers of peerbar-vfio-pci.
    pub const CAP_IOMMUFD_SHIM: CapabilityIndex = CapabilityIndex(sys::PB_CAP_IOMMUFD_SHIM);
    /// The kernel can load peerbar-iommufd.
    pub const CAP_FTRACE: CapabilityIndex = CapabilityIndex(sys::PB_CAP_FTRACE);
}

impl fmt::Debug for CapabilityIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CapabilityIndex::CAP_IOMMU => f.write_str("CAP_IOMMU"),
            CapabilityIndex::CAP_IOMMUFD => f.write_str("CAP_IOMMUFD"),
            CapabilityIndex::CAP_VFIO_CDEV => f.write_str("CAP_VFIO_CDEV"),
            CapabilityIndex::CAP_DMABUF => f.write_str("CAP_DMABUF"),
            CapabilityIndex::CAP_P2PDMA => f.write_str("CAP_P2PDMA"),
            CapabilityIndex::CAP_PEERBAR => f.write_str("CAP_PEERBAR"),
            CapabilityIndex::CAP_NETLINK => f.write_str("CAP_NETLINK"),
            CapabilityIndex::CAP_VFIO_PCI => f.write_str("CAP_VFIO_PCI"),
            CapabilityIndex::CAP_IOMMUFD_SHIM => f.write_str("CAP_IOMMUFD_SHIM"),
            CapabilityIndex::CAP_FTRACE => f.write_str("CAP_FTRACE"),
            CapabilityIndex(other) => write!(f, "CapabilityIndex({other:#x})"),
        }
    }
}

/// The kind of addresses of an address space.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestIoasFlags(pub u32);

impl GuestIoasFlags {
    /// Addresses of a virtual IOMMU, not guest-physical ones: only the windows of pb_guest_add_window() are mapped.
    pub const WINDOWS: GuestIoasFlags = GuestIoasFlags(sys::PB_GUEST_WINDOWS);
}

impl fmt::Debug for GuestIoasFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            GuestIoasFlags::WINDOWS => f.write_str("WINDOWS"),
            GuestIoasFlags(other) => write!(f, "GuestIoasFlags({other:#x})"),
        }
    }
}

/// Flags of pb_guest_sync().
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestSyncFlags(pub u32);

impl GuestSyncFlags {
    /// Also retry ranges that the kernel refused for a lasting reason, such as a BAR that cannot be exported; export the BAR again if it is not mapped.
    pub const RETRY: GuestSyncFlags = GuestSyncFlags(sys::PB_GUEST_RETRY);
    /// Make all mappings again, also those that seem live: for a VMM that cannot see all revocations of its devices.
    pub const REMAKE: GuestSyncFlags = GuestSyncFlags(sys::PB_GUEST_REMAKE);
}

impl fmt::Debug for GuestSyncFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            GuestSyncFlags::RETRY => f.write_str("RETRY"),
            GuestSyncFlags::REMAKE => f.write_str("REMAKE"),
            GuestSyncFlags(other) => write!(f, "GuestSyncFlags({other:#x})"),
        }
    }
}

/// The state of a part of a BAR.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestState(pub u32);

impl GuestState {
    /// Mapped at the guest's address.
    pub const MAPPED: GuestState = GuestState(sys::PB_GUEST_MAPPED);
    /// The device does not decode: decoding is off, it is not in D0, or it is being reset.
    pub const OFF: GuestState = GuestState(sys::PB_GUEST_OFF);
    /// The BAR has no address, or is being sized.
    pub const UNPLACED: GuestState = GuestState(sys::PB_GUEST_UNPLACED);
    /// The VMM emulates it.
    pub const TRAPPED: GuestState = GuestState(sys::PB_GUEST_TRAPPED);
    /// Another BAR claims the same pages.
    pub const OVERLAP: GuestState = GuestState(sys::PB_GUEST_OVERLAP);
    /// It should be mapped, but could not be.
    pub const REFUSED: GuestState = GuestState(sys::PB_GUEST_REFUSED);
}

impl fmt::Debug for GuestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            GuestState::MAPPED => f.write_str("MAPPED"),
            GuestState::OFF => f.write_str("OFF"),
            GuestState::UNPLACED => f.write_str("UNPLACED"),
            GuestState::TRAPPED => f.write_str("TRAPPED"),
            GuestState::OVERLAP => f.write_str("OVERLAP"),
            GuestState::REFUSED => f.write_str("REFUSED"),
            GuestState(other) => write!(f, "GuestState({other:#x})"),
        }
    }
}

/// What an element of a list of importers is.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImporterKind(pub u32);

impl ImporterKind {
    /// A device that is attached to the buffer.
    pub const DEVICE: ImporterKind = ImporterKind(sys::PB_IMPORTER_DEVICE);
    /// Work of a driver on the buffer that has not completed (a dma-fence). The kernel does not record which attachment it belongs to.
    pub const FENCE: ImporterKind = ImporterKind(sys::PB_IMPORTER_FENCE);
}

impl fmt::Debug for ImporterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ImporterKind::DEVICE => f.write_str("DEVICE"),
            ImporterKind::FENCE => f.write_str("FENCE"),
            ImporterKind(other) => write!(f, "ImporterKind({other:#x})"),
        }
    }
}

/// Flags of a mapping.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapFlags(pub u32);

impl MapFlags {
    /// Devices may read.
    pub const READ: MapFlags = MapFlags(sys::PB_MAP_READ);
    /// Devices may write.
    pub const WRITE: MapFlags = MapFlags(sys::PB_MAP_WRITE);
    /// Map at the given address only.
    pub const FIXED: MapFlags = MapFlags(sys::PB_MAP_FIXED);
    /// Accept a buffer whose model is PB_UNKNOWN.
    pub const UNKNOWN_MODEL: MapFlags = MapFlags(sys::PB_MAP_UNKNOWN_MODEL);
}

impl fmt::Debug for MapFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            MapFlags::READ => f.write_str("READ"),
            MapFlags::WRITE => f.write_str("WRITE"),
            MapFlags::FIXED => f.write_str("FIXED"),
            MapFlags::UNKNOWN_MODEL => f.write_str("UNKNOWN_MODEL"),
            MapFlags(other) => write!(f, "MapFlags({other:#x})"),
        }
    }
}

/// Whether DMA to a mapping reaches the memory.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State(pub u32);

impl State {
    /// It does.
    pub const LIVE: State = State(sys::PB_LIVE);
    /// It does not, and faults, until pb_mapping_restore().
    pub const REVOKED: State = State(sys::PB_REVOKED);
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            State::LIVE => f.write_str("LIVE"),
            State::REVOKED => f.write_str("REVOKED"),
            State(other) => write!(f, "State({other:#x})"),
        }
    }
}

/// Flags of pb_pci_bind_flags().
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindFlags(pub u32);

impl BindFlags {
    /// Bind the driver to a device that it does not support.
    pub const FORCE: BindFlags = BindFlags(sys::PB_BIND_FORCE);
}

impl fmt::Debug for BindFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            BindFlags::FORCE => f.write_str("FORCE"),
            BindFlags(other) => write!(f, "BindFlags({other:#x})"),
        }
    }
}

/// How a process holds a VFIO device.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HolderKind(pub u32);

impl HolderKind {
    /// A descriptor of the device, by its character device or its group. The device stays in use until it is closed.
    pub const DEVICE: HolderKind = HolderKind(sys::PB_HOLDER_DEVICE);
    /// A mapping of a region. The device stays in use until it is unmapped.
    pub const MAPPING: HolderKind = HolderKind(sys::PB_HOLDER_MAPPING);
    /// A descriptor of its VFIO group. The character device cannot be bound to an iommufd.
    pub const GROUP: HolderKind = HolderKind(sys::PB_HOLDER_GROUP);
    /// A descriptor of a dma-buf that, by its name, was exported from it. The device can be closed and unbound.
    pub const BUFFER: HolderKind = HolderKind(sys::PB_HOLDER_BUFFER);
    /// Unknown: the caller may not inspect this process.
    pub const UNKNOWN: HolderKind = HolderKind(sys::PB_HOLDER_UNKNOWN);
}

impl fmt::Debug for HolderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            HolderKind::DEVICE => f.write_str("DEVICE"),
            HolderKind::MAPPING => f.write_str("MAPPING"),
            HolderKind::GROUP => f.write_str("GROUP"),
            HolderKind::BUFFER => f.write_str("BUFFER"),
            HolderKind::UNKNOWN => f.write_str("UNKNOWN"),
            HolderKind(other) => write!(f, "HolderKind({other:#x})"),
        }
    }
}

/// An event of a buffer.
///
/// A newer library may have values that have no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(pub u32);

impl EventType {
    /// It was exported.
    pub const CREATED: EventType = EventType(sys::PB_EVENT_CREATED);
    /// Its memory is inaccessible; its state shows whether permanently.
    pub const REVOKED: EventType = EventType(sys::PB_EVENT_REVOKED);
    /// Its memory is accessible again.
    pub const RESTORED: EventType = EventType(sys::PB_EVENT_RESTORED);
    /// It is PB_DYNAMIC, and moved.
    pub const MOVED: EventType = EventType(sys::PB_EVENT_MOVED);
    /// Its last reference was released.
    pub const RELEASED: EventType = EventType(sys::PB_EVENT_RELEASED);
    /// Events were lost, because they arrived faster than they were taken: call pb_list_buffers().
    pub const LOST: EventType = EventType(sys::PB_EVENT_LOST);
    /// No event is pending.
    pub const NONE: EventType = EventType(sys::PB_EVENT_NONE);
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            EventType::CREATED => f.write_str("CREATED"),
            EventType::REVOKED => f.write_str("REVOKED"),
            EventType::RESTORED => f.write_str("RESTORED"),
            EventType::MOVED => f.write_str("MOVED"),
            EventType::RELEASED => f.write_str("RELEASED"),
            EventType::LOST => f.write_str("LOST"),
            EventType::NONE => f.write_str("NONE"),
            EventType(other) => write!(f, "EventType({other:#x})"),
        }
    }
}

/// A range of a BAR.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Range {
    /// Its offset in the BAR; page-aligned.
    pub offset: u64,
    /// Its length; a multiple of the page size, not 0.
    pub length: u64,
}

impl Range {
    pub(crate) fn of(raw: &sys::pb_range) -> Range {
        Range {
            offset: raw.offset,
            length: raw.length,
        }
    }
}

/// The properties of a buffer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BufferInfo {
    /// Its size.
    pub size: u64,
    /// The dma-buf's number: the same for all descriptors of it, in every process; not reused before the next boot.
    pub id: u64,
    /// Its memory model.
    pub model: Model,
    /// Where @model comes from.
    pub basis: ModelBasis,
    /// The exporter's name.
    pub exporter: String,
    /// The dma-buf's name, "" if it has none. Any process with a descriptor can set it: informational only.
    pub name: String,
    /// The PCI function it was exported from, "" if unknown.
    pub bdf: String,
    /// The BAR it was exported from; -1 if unknown.
    pub bar: i32,
    /// The number of ranges; 0 if unknown, as for a descriptor from another process without peerbar's modules.
    pub nr_ranges: u32,
    /// Whether its memory is accessible; for a buffer that is not @managed, as of the query.
    pub state: BufferState,
    /// The kernel module peerbar answered: @mappable and @importers are valid.
    pub asked: bool,
    /// The exporter implements mmap; false if unknown.
    pub mappable: bool,
    /// It is exported through peerbar's modules, and the following fields are valid.
    pub managed: bool,
    /// The number of devices and importers attached; 0 if unknown.
    pub importers: u32,
    /// The attribute of the next pb_buffer_mmap().
    pub memattr: Memattr,
    /// Its number in pb_list_buffers() and in events.
    pub list_id: u64,
    /// The number of page faults of processes' mappings of it, by the size that was mapped: a page, 2 MiB (PMD), 1 GiB (PUD).
    pub faults: [u64; 3],
    /// @revocations is valid.
    pub counted: bool,
    /// How often its memory was revoked, temporarily or permanently. Each revocation ends the importers' mappings made before it, also if the buffer is live again.
    pub revocations: u64,
    /// How @state is known.
    pub state_basis: ModelBasis,
    /// Whether importers can pin the memory in its place. Only memory that moves has to be pinned.
    pub can_pin: Answer,
    /// How that is known.
    pub can_pin_basis: ModelBasis,
    /// Whether the exporter can revoke the memory from importers.
    pub can_revoke: Answer,
    /// How that is known.
    pub can_revoke_basis: ModelBasis,
    /// Where the memory is now. That of a PB_DYNAMIC buffer may have moved when the call returns.
    pub place: Place,
    /// How that is known.
    pub place_basis: ModelBasis,
    /// The function of the BAR, or the device; "" if unknown.
    pub place_bdf: String,
    /// The BAR; valid if @place is PB_PLACE_BAR and @place_bdf is not "".
    pub place_bar: u32,
    /// The offset in the BAR of the first byte; valid as @place_bar.
    pub place_offset: u64,
    /// Attaching moves the memory to system memory, as the exporter's driver is known to do.
    pub migrates: bool,
    /// The exporter's module; "" if unknown or built in. All GPU drivers have the exporter name "drm".
    pub driver: String,
}

impl BufferInfo {
    pub(crate) fn of(raw: &sys::pb_buffer_info) -> BufferInfo {
        BufferInfo {
            size: raw.size,
            id: raw.id,
            model: Model(raw.model),
            basis: ModelBasis(raw.basis),
            exporter: text(&raw.exporter),
            name: text(&raw.name),
            bdf: text(&raw.bdf),
            bar: raw.bar,
            nr_ranges: raw.nr_ranges,
            state: BufferState(raw.state),
            asked: raw.asked,
            mappable: raw.mappable,
            managed: raw.managed,
            importers: raw.importers,
            memattr: Memattr(raw.memattr),
            list_id: raw.list_id,
            faults: raw.faults,
            counted: raw.counted,
            revocations: raw.revocations,
            state_basis: ModelBasis(raw.state_basis),
            can_pin: Answer(raw.can_pin),
            can_pin_basis: ModelBasis(raw.can_pin_basis),
            can_revoke: Answer(raw.can_revoke),
            can_revoke_basis: ModelBasis(raw.can_revoke_basis),
            place: Place(raw.place),
            place_basis: ModelBasis(raw.place_basis),
            place_bdf: text(&raw.place_bdf),
            place_bar: raw.place_bar,
            place_offset: raw.place_offset,
            migrates: raw.migrates,
            driver: text(&raw.driver),
        }
    }
}

/// A capability of the system.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capability {
    /// Its name, for example "iommufd"; a constant.
    pub name: String,
    /// Its purpose, in a few words; a constant.
    pub purpose: String,
    /// The system has it.
    pub there: bool,
    /// If not, the missing kernel option, module or permission, by name; otherwise "".
    pub missing: String,
}

impl Capability {
    pub(crate) fn of(raw: &sys::pb_capability) -> Capability {
        Capability {
            name: pointed_text(raw.name),
            purpose: pointed_text(raw.purpose),
            there: raw.there,
            missing: text(&raw.missing),
        }
    }
}

/// A region of a device, from VFIO.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Region {
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

impl Region {
    pub(crate) fn of(raw: &sys::pb_region) -> Region {
        Region {
            index: raw.index,
            size: raw.size,
            readable: raw.readable,
            writable: raw.writable,
            mappable: raw.mappable,
        }
    }
}

/// A part of a BAR, and its state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GuestRange {
    /// The device.
    pub device: usize,
    /// The pointer given to pb_guest_add_device().
    pub data: usize,
    /// The device's address on the host.
    pub bdf: String,
    /// The BAR.
    pub bar: u32,
    /// The offset in the BAR.
    pub offset: u64,
    /// The length.
    pub length: u64,
    /// The guest-physical address; PB_GUEST_NOWHERE if @state is PB_GUEST_UNPLACED.
    pub address: u64,
    /// The address space; NULL if @state is PB_GUEST_OFF or PB_GUEST_UNPLACED, which hold for all of them.
    pub ioas: usize,
    /// The address in the address space.
    pub iova: u64,
    /// The state.
    pub state: GuestState,
    /// With PB_GUEST_REFUSED, the reason; in a report with PB_GUEST_MAPPED, code ESTALE if the mapping was lost without being reported; otherwise code 0 and an empty text.
    pub why: Option<Error>,
}

impl GuestRange {
    pub(crate) fn of(raw: &sys::pb_guest_range) -> GuestRange {
        GuestRange {
            device: raw.device as usize,
            data: raw.data as usize,
            bdf: text(&raw.bdf),
            bar: raw.bar,
            offset: raw.offset,
            length: raw.length,
            address: raw.address,
            ioas: raw.ioas as usize,
            iova: raw.iova,
            state: GuestState(raw.state),
            why: Error::of(&raw.why),
        }
    }
}

/// An importer of a buffer, or a fence of one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Importer {
    /// The buffer's number, pb_buffer_info.list_id.
    pub list_id: u64,
    /// The exporter's name for the buffer; "" from pb_fd_importers().
    pub buffer: String,
    /// The buffer's state, as of its last access or query.
    pub state: BufferState,
    /// What it is.
    pub kind: ImporterKind,
    /// The importing device, for example "0000:06:00.0"; "iommu" for iommufd, "" for a fence.
    pub device: String,
    /// The driver of the device or, if it has none, its bus or class; of a fence, its driver.
    pub driver: String,
    /// Of a fence, its timeline; otherwise "".
    pub timeline: String,
    /// Of a device, the number of the attachment: unique in the buffer, ascending in the order of attaching; of a fence, its sequence number.
    pub id: u64,
    /// Of a fence, its context; otherwise 0.
    pub context: u64,
    /// The memory that it has.
    pub bytes: u64,
    /// The number of its DMA mappings.
    pub nr_maps: u32,
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

impl Importer {
    pub(crate) fn of(raw: &sys::pb_importer) -> Importer {
        Importer {
            list_id: raw.list_id,
            buffer: text(&raw.buffer),
            state: BufferState(raw.state),
            kind: ImporterKind(raw.kind),
            device: text(&raw.device),
            driver: text(&raw.driver),
            timeline: text(&raw.timeline),
            id: raw.id,
            context: raw.context,
            bytes: raw.bytes,
            nr_maps: raw.nr_maps,
            addresses: raw.addresses,
            revocable: raw.revocable,
            pinned: raw.pinned,
            waited_for: raw.waited_for,
            attached_ns: raw.attached_ns,
            mapped_ns: raw.mapped_ns,
            waited_ns: raw.waited_ns,
        }
    }
}

/// A range of addresses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IovaRange {
    /// Its first address.
    pub first: u64,
    /// Its last address, included.
    pub last: u64,
}

impl IovaRange {
    pub(crate) fn of(raw: &sys::pb_iova_range) -> IovaRange {
        IovaRange {
            first: raw.first,
            last: raw.last,
        }
    }
}

/// A BAR, from sysfs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PciBar {
    /// Its size; 0 if it does not exist, or is the upper half of a 64-bit BAR.
    pub size: u64,
    /// True for memory, false for I/O ports.
    pub memory: bool,
    /// It is prefetchable memory.
    pub prefetchable: bool,
}

impl PciBar {
    pub(crate) fn of(raw: &sys::pb_pci_bar) -> PciBar {
        PciBar {
            size: raw.size,
            memory: raw.memory,
            prefetchable: raw.prefetchable,
        }
    }
}

/// A PCI function, from sysfs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PciFunction {
    /// Its address, "0000:01:00.0".
    pub bdf: String,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class, subclass and programming interface, 24 bits.
    pub pci_class: u32,
    /// The driver it is bound to; "" if none.
    pub driver: String,
    /// Its VFIO character device, "/dev/vfio/devices/vfio0"; "" if it has none.
    pub cdev: String,
    /// The number of its IOMMU group; -1 if it has none.
    pub iommu_group: i32,
    /// Its BARs.
    pub bars: [PciBar; 6],
}

impl PciFunction {
    pub(crate) fn of(raw: &sys::pb_pci_function) -> PciFunction {
        PciFunction {
            bdf: text(&raw.bdf),
            vendor: raw.vendor,
            device: raw.device,
            pci_class: raw.pci_class,
            driver: text(&raw.driver),
            cdev: text(&raw.cdev),
            iommu_group: raw.iommu_group,
            bars: raw.bars.map(|element| PciBar::of(&element)),
        }
    }
}

/// A process that holds a VFIO device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// The process.
    pub pid: i32,
    /// The descriptor's number in that process; -1 for a mapping, and if unknown.
    pub fd: i32,
    /// How it holds the device.
    pub kind: HolderKind,
    /// The process's name from /proc/PID/comm, any bytes.
    pub command: String,
}

impl Holder {
    pub(crate) fn of(raw: &sys::pb_holder) -> Holder {
        Holder {
            pid: raw.pid,
            fd: raw.fd,
            kind: HolderKind(raw.kind),
            command: text(&raw.command),
        }
    }
}

/// Physically contiguous memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Extent {
    /// Its physical address.
    pub start: u64,
    /// Its length.
    pub length: u64,
}

impl Extent {
    pub(crate) fn of(raw: &sys::pb_extent) -> Extent {
        Extent {
            start: raw.start,
            length: raw.length,
        }
    }
}

/// A buffer that any process exported through peerbar's modules.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Its number, not reused before the next boot; pb_buffer_info.list_id.
    pub id: u64,
    /// The name of the exporter's module.
    pub exporter: String,
    /// The device that has the memory, for example "0000:01:00.0"; "" if none.
    pub device: String,
    /// The exporter's name for it.
    pub name: String,
    /// Its size.
    pub size: u64,
    /// Its memory model.
    pub model: Model,
    /// Whether its memory is accessible.
    pub state: BufferState,
    /// The attribute of the next mmap.
    pub memattr: Memattr,
    /// The number of ranges.
    pub nr_ranges: u32,
    /// The number of attached importers; 0 in events.
    pub nr_importers: u32,
    /// The number of memory areas of processes that map it; 0 in events.
    pub nr_mmaps: u32,
    /// The process that exported it; 0 if not reported.
    pub creator: u32,
    /// The number of elements of @extents: @nr_ranges, fewer if a message cannot hold them all, or 0 if not reported.
    pub nr_extents: u32,
    /// The ranges.
    pub extents: Vec<Extent>,
    /// The number of elements of @importer_names: @nr_importers, or fewer as with @nr_extents.
    pub nr_importer_names: u32,
    /// The importing devices.
    pub importer_names: Vec<String>,
    /// Whether importers can pin the memory; PB_ANSWER_UNKNOWN in events. This and the following are declared by the exporter.
    pub can_pin: Answer,
    /// Whether the memory can be revoked; PB_ANSWER_UNKNOWN in events.
    pub can_revoke: Answer,
    /// Where the memory is; PB_PLACE_UNKNOWN in events.
    pub place: Place,
    /// The BAR of @device; valid if @place is PB_PLACE_BAR.
    pub bar: u32,
    /// The offset in the BAR of the first byte; valid as @bar.
    pub bar_offset: u64,
}

impl Listed {
    pub(crate) fn of(raw: &sys::pb_listed) -> Listed {
        Listed {
            id: raw.id,
            exporter: text(&raw.exporter),
            device: text(&raw.device),
            name: text(&raw.name),
            size: raw.size,
            model: Model(raw.model),
            state: BufferState(raw.state),
            memattr: Memattr(raw.memattr),
            nr_ranges: raw.nr_ranges,
            nr_importers: raw.nr_importers,
            nr_mmaps: raw.nr_mmaps,
            creator: raw.creator,
            nr_extents: raw.nr_extents,
            extents: elements(raw.extents, raw.nr_extents).iter().map(Extent::of).collect(),
            nr_importer_names: raw.nr_importer_names,
            importer_names: elements(raw.importer_names, raw.nr_importer_names).iter().map(|row| text(row)).collect(),
            can_pin: Answer(raw.can_pin),
            can_revoke: Answer(raw.can_revoke),
            place: Place(raw.place),
            bar: raw.bar,
            bar_offset: raw.bar_offset,
        }
    }
}

/// An event of a buffer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The type.
    pub r#type: EventType,
    /// The buffer at the time of the event, without importers, mmaps and privileged fields. All zero if @type is PB_EVENT_LOST or PB_EVENT_NONE. Must be the last field.
    pub buffer: Listed,
}

impl Event {
    pub(crate) fn of(raw: &sys::pb_event) -> Event {
        Event {
            r#type: EventType(raw.r#type),
            buffer: Listed::of(&raw.buffer),
        }
    }
}
