# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# Written by bindings/generate from lib/peerbar/*.h. Do not edit.
"""Enumerations, and the records that the functions of the module return."""
from __future__ import annotations

import dataclasses
import enum
from typing import Any

from ._open_enum import OpenEnum


def text(raw: bytes | None) -> str:
    """Decode a string of the library; any byte is kept."""
    return (raw or b'').decode('utf-8', 'surrogateescape')


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why something is not as it should be; code 0 if it is."""

    code: int
    """The errno, or 0."""
    text: str
    """One sentence, or nothing."""


class Model(OpenEnum):
    """The guarantees of a dma-buf's exporter about its memory."""

    UNKNOWN = 0
    """Unknown; never a guess."""
    PINNED = 1
    """Never moves, and is never revoked while attached."""
    REVOCABLE = 2
    """Never moves, but may be revoked; the importer must be able to stop."""
    DYNAMIC = 3
    """May move at any time; the importer must be able to follow."""


class ModelBasis(OpenEnum):
    """How the model of a buffer, or another property, is known."""

    BASIS_NONE = 0
    """It is unknown."""
    BASIS_NAME = 1
    """By the exporter's name, see pb_exporter_model()."""
    BASIS_DERIVED = 2
    """The kernel module peerbar derived it from the operations that the exporter implements, from the exporter's answer to an attachment, or from its data."""
    BASIS_DECLARED = 3
    """The exporter declared it to the kernel module peerbar."""


class Answer(OpenEnum):
    """Whether an exporter can do something."""

    UNKNOWN = 0
    """Unknown."""
    NO = 1
    """It cannot."""
    YES = 2
    """It can."""


class Place(OpenEnum):
    """Where the memory of a buffer is."""

    UNKNOWN = 0
    """Unknown."""
    SYSTEM = 1
    """In system memory."""
    BAR = 2
    """In a BAR of a PCI function."""
    DEVICE = 3
    """In a device; whether and where it is in a BAR is not known."""


class BufferState(OpenEnum):
    """Whether the memory of a buffer is accessible."""

    UNKNOWN = 0
    """Unknown."""
    LIVE = 1
    """It is."""
    REVOKED = 2
    """It is not, but may be again (memory decoding off, reset, D3)."""
    DEAD = 3
    """It never will be again."""


class Memattr(OpenEnum):
    """The memory attribute of processes' mappings of device memory."""

    NC = 0
    """Not cached, in order: the default."""
    WC = 1
    """Writes may be combined, and delayed until a fence."""
    WB = 2
    """Cached; only the memory of a few devices can be, never a plain BAR."""
    DEV = 16777216
    """Arm64: as PB_NC, but a write may be acknowledged before it reaches the device."""


class CapabilityIndex(OpenEnum):
    """The elements of the array of pb_capabilities()."""

    CAP_IOMMU = 0
    """An IOMMU is on."""
    CAP_IOMMUFD = 1
    """/dev/iommu exists, and this process may open it."""
    CAP_VFIO_CDEV = 2
    """VFIO has character devices for devices."""
    CAP_DMABUF = 3
    """Stock vfio-pci exports dma-bufs."""
    CAP_P2PDMA = 4
    """Peers can attach to dma-bufs of BARs."""
    CAP_PEERBAR = 5
    """The module peerbar answers through /dev/peerbar: the model of any dma-buf."""
    CAP_NETLINK = 6
    """The module peerbar answers through netlink: pb_list_buffers(), pb_watch_open()."""
    CAP_VFIO_PCI = 7
    """The driver peerbar-vfio-pci is loaded: mmap, memory attributes, permanent revocation, cookies."""
    CAP_IOMMUFD_SHIM = 8
    """The module peerbar-iommufd is loaded: iommufd maps buffers of peerbar-vfio-pci."""
    CAP_FTRACE = 9
    """The kernel can load peerbar-iommufd."""


class GuestIoasFlags(enum.IntFlag):
    """The kind of addresses of an address space."""

    WINDOWS = 1
    """Addresses of a virtual IOMMU, not guest-physical ones: only the windows of pb_guest_add_window() are mapped."""


class GuestSyncFlags(enum.IntFlag):
    """Flags of pb_guest_sync()."""

    RETRY = 1
    """Also retry ranges that the kernel refused for a lasting reason, such as a BAR that cannot be exported; export the BAR again if it is not mapped."""
    REMAKE = 2
    """Make all mappings again, also those that seem live: for a VMM that cannot see all revocations of its devices."""


class GuestState(OpenEnum):
    """The state of a part of a BAR."""

    MAPPED = 0
    """Mapped at the guest's address."""
    OFF = 1
    """The device does not decode: decoding is off, it is not in D0, or it is being reset."""
    UNPLACED = 2
    """The BAR has no address, or is being sized."""
    TRAPPED = 3
    """The VMM emulates it."""
    OVERLAP = 4
    """Another BAR claims the same pages."""
    REFUSED = 5
    """It should be mapped, but could not be."""


class ImporterKind(OpenEnum):
    """What an element of a list of importers is."""

    DEVICE = 0
    """A device that is attached to the buffer."""
    FENCE = 1
    """Work of a driver on the buffer that has not completed (a dma-fence). The kernel does not record which attachment it belongs to."""


class MapFlags(enum.IntFlag):
    """Flags of a mapping."""

    READ = 1
    """Devices may read."""
    WRITE = 2
    """Devices may write."""
    FIXED = 4
    """Map at the given address only."""
    UNKNOWN_MODEL = 8
    """Accept a buffer whose model is PB_UNKNOWN."""


class State(OpenEnum):
    """Whether DMA to a mapping reaches the memory."""

    LIVE = 0
    """It does."""
    REVOKED = 1
    """It does not, and faults, until pb_mapping_restore()."""


class BindFlags(enum.IntFlag):
    """Flags of pb_pci_bind_flags()."""

    FORCE = 1
    """Bind the driver to a device that it does not support."""


class HolderKind(OpenEnum):
    """How a process holds a VFIO device."""

    DEVICE = 0
    """A descriptor of the device, by its character device or its group. The device stays in use until it is closed."""
    MAPPING = 1
    """A mapping of a region. The device stays in use until it is unmapped."""
    GROUP = 2
    """A descriptor of its VFIO group. The character device cannot be bound to an iommufd."""
    BUFFER = 3
    """A descriptor of a dma-buf that, by its name, was exported from it. The device can be closed and unbound."""
    UNKNOWN = 4
    """Unknown: the caller may not inspect this process."""


class EventType(OpenEnum):
    """An event of a buffer."""

    CREATED = 0
    """It was exported."""
    REVOKED = 1
    """Its memory is inaccessible; its state shows whether permanently."""
    RESTORED = 2
    """Its memory is accessible again."""
    MOVED = 3
    """It is PB_DYNAMIC, and moved."""
    RELEASED = 4
    """Its last reference was released."""
    LOST = 5
    """Events were lost, because they arrived faster than they were taken: call pb_list_buffers()."""
    NONE = 6
    """No event is pending."""


@dataclasses.dataclass(frozen=True)
class Range:
    """A range of a BAR."""

    offset: int
    """Its offset in the BAR; page-aligned."""
    length: int
    """Its length; a multiple of the page size, not 0."""

    @classmethod
    def _of(cls, raw: Any) -> Range:
        return cls(
            raw.offset,
            raw.length,
        )


@dataclasses.dataclass(frozen=True)
class BufferInfo:
    """The properties of a buffer."""

    size: int
    """Its size."""
    id: int
    """The dma-buf's number: the same for all descriptors of it, in every process; not reused before the next boot."""
    model: Model
    """Its memory model."""
    basis: ModelBasis
    """Where @model comes from."""
    exporter: str
    """The exporter's name."""
    name: str
    """The dma-buf's name, "" if it has none. Any process with a descriptor can set it: informational only."""
    bdf: str
    """The PCI function it was exported from, "" if unknown."""
    bar: int
    """The BAR it was exported from; -1 if unknown."""
    nr_ranges: int
    """The number of ranges; 0 if unknown, as for a descriptor from another process without peerbar's modules."""
    state: BufferState
    """Whether its memory is accessible; for a buffer that is not @managed, as of the query."""
    asked: bool
    """The kernel module peerbar answered: @mappable and @importers are valid."""
    mappable: bool
    """The exporter implements mmap; false if unknown."""
    managed: bool
    """It is exported through peerbar's modules, and the following fields are valid."""
    importers: int
    """The number of devices and importers attached; 0 if unknown."""
    memattr: Memattr
    """The attribute of the next pb_buffer_mmap()."""
    list_id: int
    """Its number in pb_list_buffers() and in events."""
    faults: tuple[int, ...]
    """The number of page faults of processes' mappings of it, by the size that was mapped: a page, 2 MiB (PMD), 1 GiB (PUD)."""
    counted: bool
    """@revocations is valid."""
    revocations: int
    """How often its memory was revoked, temporarily or permanently. Each revocation ends the importers' mappings made before it, also if the buffer is live again."""
    state_basis: ModelBasis
    """How @state is known."""
    can_pin: Answer
    """Whether importers can pin the memory in its place. Only memory that moves has to be pinned."""
    can_pin_basis: ModelBasis
    """How that is known."""
    can_revoke: Answer
    """Whether the exporter can revoke the memory from importers."""
    can_revoke_basis: ModelBasis
    """How that is known."""
    place: Place
    """Where the memory is now. That of a PB_DYNAMIC buffer may have moved when the call returns."""
    place_basis: ModelBasis
    """How that is known."""
    place_bdf: str
    """The function of the BAR, or the device; "" if unknown."""
    place_bar: int
    """The BAR; valid if @place is PB_PLACE_BAR and @place_bdf is not ""."""
    place_offset: int
    """The offset in the BAR of the first byte; valid as @place_bar."""
    migrates: bool
    """Attaching moves the memory to system memory, as the exporter's driver is known to do."""
    driver: str
    """The exporter's module; "" if unknown or built in. All GPU drivers have the exporter name "drm"."""

    @classmethod
    def _of(cls, raw: Any) -> BufferInfo:
        return cls(
            raw.size,
            raw.id,
            Model(raw.model),
            ModelBasis(raw.basis),
            text(raw.exporter),
            text(raw.name),
            text(raw.bdf),
            raw.bar,
            raw.nr_ranges,
            BufferState(raw.state),
            raw.asked,
            raw.mappable,
            raw.managed,
            raw.importers,
            Memattr(raw.memattr),
            raw.list_id,
            tuple(raw.faults),
            raw.counted,
            raw.revocations,
            ModelBasis(raw.state_basis),
            Answer(raw.can_pin),
            ModelBasis(raw.can_pin_basis),
            Answer(raw.can_revoke),
            ModelBasis(raw.can_revoke_basis),
            Place(raw.place),
            ModelBasis(raw.place_basis),
            text(raw.place_bdf),
            raw.place_bar,
            raw.place_offset,
            raw.migrates,
            text(raw.driver),
        )


@dataclasses.dataclass(frozen=True)
class Capability:
    """A capability of the system."""

    name: str
    """Its name, for example "iommufd"; a constant."""
    purpose: str
    """Its purpose, in a few words; a constant."""
    there: bool
    """The system has it."""
    missing: str
    """If not, the missing kernel option, module or permission, by name; otherwise ""."""

    @classmethod
    def _of(cls, raw: Any) -> Capability:
        return cls(
            text(raw.name),
            text(raw.purpose),
            raw.there,
            text(raw.missing),
        )


@dataclasses.dataclass(frozen=True)
class Region:
    """A region of a device, from VFIO."""

    index: int
    """BARs 0 to 5, 6 the expansion ROM, 7 the configuration space."""
    size: int
    """Its size; 0 if the device has no such region."""
    readable: bool
    """Pb_device_read() works."""
    writable: bool
    """Pb_device_write() works."""
    mappable: bool
    """Pb_device_mmap() works, at least on parts of it."""

    @classmethod
    def _of(cls, raw: Any) -> Region:
        return cls(
            raw.index,
            raw.size,
            raw.readable,
            raw.writable,
            raw.mappable,
        )


@dataclasses.dataclass(frozen=True)
class GuestRange:
    """A part of a BAR, and its state."""

    device: int | None
    """The device."""
    data: int | None
    """The pointer given to pb_guest_add_device()."""
    bdf: str
    """The device's address on the host."""
    bar: int
    """The BAR."""
    offset: int
    """The offset in the BAR."""
    length: int
    """The length."""
    address: int
    """The guest-physical address; PB_GUEST_NOWHERE if @state is PB_GUEST_UNPLACED."""
    ioas: int | None
    """The address space; NULL if @state is PB_GUEST_OFF or PB_GUEST_UNPLACED, which hold for all of them."""
    iova: int
    """The address in the address space."""
    state: GuestState
    """The state."""
    why: Reason
    """With PB_GUEST_REFUSED, the reason; in a report with PB_GUEST_MAPPED, code ESTALE if the mapping was lost without being reported; otherwise code 0 and an empty text."""

    @classmethod
    def _of(cls, raw: Any) -> GuestRange:
        return cls(
            raw.device,
            raw.data,
            text(raw.bdf),
            raw.bar,
            raw.offset,
            raw.length,
            raw.address,
            raw.ioas,
            raw.iova,
            GuestState(raw.state),
            Reason(raw.why.code, text(raw.why.text)),
        )


@dataclasses.dataclass(frozen=True)
class Importer:
    """An importer of a buffer, or a fence of one."""

    list_id: int
    """The buffer's number, pb_buffer_info.list_id."""
    buffer: str
    """The exporter's name for the buffer; "" from pb_fd_importers()."""
    state: BufferState
    """The buffer's state, as of its last access or query."""
    kind: ImporterKind
    """What it is."""
    device: str
    """The importing device, for example "0000:06:00.0"; "iommu" for iommufd, "" for a fence."""
    driver: str
    """The driver of the device or, if it has none, its bus or class; of a fence, its driver."""
    timeline: str
    """Of a fence, its timeline; otherwise ""."""
    id: int
    """Of a device, the number of the attachment: unique in the buffer, ascending in the order of attaching; of a fence, its sequence number."""
    context: int
    """Of a fence, its context; otherwise 0."""
    bytes: int
    """The memory that it has."""
    nr_maps: int
    """The number of its DMA mappings."""
    addresses: bool
    """It got physical addresses, as iommufd does. A revoke does not wait for it: it stops using them when it is invalidated."""
    revocable: bool
    """It can be invalidated."""
    pinned: bool
    """It has pinned the buffer."""
    waited_for: bool
    """The buffer is not live, and a revoke waits for this importer to unmap, or for this fence."""
    attached_ns: int
    """How long ago it attached."""
    mapped_ns: int
    """How long it has had the memory without interruption; 0 if it has none."""
    waited_ns: int
    """How long ago the importers were invalidated by the revoke; 0 unless @waited_for."""

    @classmethod
    def _of(cls, raw: Any) -> Importer:
        return cls(
            raw.list_id,
            text(raw.buffer),
            BufferState(raw.state),
            ImporterKind(raw.kind),
            text(raw.device),
            text(raw.driver),
            text(raw.timeline),
            raw.id,
            raw.context,
            raw.bytes,
            raw.nr_maps,
            raw.addresses,
            raw.revocable,
            raw.pinned,
            raw.waited_for,
            raw.attached_ns,
            raw.mapped_ns,
            raw.waited_ns,
        )


@dataclasses.dataclass(frozen=True)
class IovaRange:
    """A range of addresses."""

    first: int
    """Its first address."""
    last: int
    """Its last address, included."""

    @classmethod
    def _of(cls, raw: Any) -> IovaRange:
        return cls(
            raw.first,
            raw.last,
        )


@dataclasses.dataclass(frozen=True)
class PciBar:
    """A BAR, from sysfs."""

    size: int
    """Its size; 0 if it does not exist, or is the upper half of a 64-bit BAR."""
    memory: bool
    """True for memory, false for I/O ports."""
    prefetchable: bool
    """It is prefetchable memory."""

    @classmethod
    def _of(cls, raw: Any) -> PciBar:
        return cls(
            raw.size,
            raw.memory,
            raw.prefetchable,
        )


@dataclasses.dataclass(frozen=True)
class PciFunction:
    """A PCI function, from sysfs."""

    bdf: str
    """Its address, "0000:01:00.0"."""
    vendor: int
    """Vendor id."""
    device: int
    """Device id."""
    pci_class: int
    """Class, subclass and programming interface, 24 bits."""
    driver: str
    """The driver it is bound to; "" if none."""
    cdev: str
    """Its VFIO character device, "/dev/vfio/devices/vfio0"; "" if it has none."""
    iommu_group: int
    """The number of its IOMMU group; -1 if it has none."""
    bars: tuple[PciBar, ...]
    """Its BARs."""

    @classmethod
    def _of(cls, raw: Any) -> PciFunction:
        return cls(
            text(raw.bdf),
            raw.vendor,
            raw.device,
            raw.pci_class,
            text(raw.driver),
            text(raw.cdev),
            raw.iommu_group,
            tuple(PciBar._of(element) for element in raw.bars),
        )


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process that holds a VFIO device."""

    pid: int
    """The process."""
    fd: int
    """The descriptor's number in that process; -1 for a mapping, and if unknown."""
    kind: HolderKind
    """How it holds the device."""
    command: str
    """The process's name from /proc/PID/comm, any bytes."""

    @classmethod
    def _of(cls, raw: Any) -> Holder:
        return cls(
            raw.pid,
            raw.fd,
            HolderKind(raw.kind),
            text(raw.command),
        )


@dataclasses.dataclass(frozen=True)
class Extent:
    """Physically contiguous memory."""

    start: int
    """Its physical address."""
    length: int
    """Its length."""

    @classmethod
    def _of(cls, raw: Any) -> Extent:
        return cls(
            raw.start,
            raw.length,
        )


@dataclasses.dataclass(frozen=True)
class Listed:
    """A buffer that any process exported through peerbar's modules."""

    id: int
    """Its number, not reused before the next boot; pb_buffer_info.list_id."""
    exporter: str
    """The name of the exporter's module."""
    device: str
    """The device that has the memory, for example "0000:01:00.0"; "" if none."""
    name: str
    """The exporter's name for it."""
    size: int
    """Its size."""
    model: Model
    """Its memory model."""
    state: BufferState
    """Whether its memory is accessible."""
    memattr: Memattr
    """The attribute of the next mmap."""
    nr_ranges: int
    """The number of ranges."""
    nr_importers: int
    """The number of attached importers; 0 in events."""
    nr_mmaps: int
    """The number of memory areas of processes that map it; 0 in events."""
    creator: int
    """The process that exported it; 0 if not reported."""
    nr_extents: int
    """The number of elements of @extents: @nr_ranges, fewer if a message cannot hold them all, or 0 if not reported."""
    extents: tuple[Extent, ...]
    """The ranges."""
    nr_importer_names: int
    """The number of elements of @importer_names: @nr_importers, or fewer as with @nr_extents."""
    importer_names: tuple[str, ...]
    """The importing devices."""
    can_pin: Answer
    """Whether importers can pin the memory; PB_ANSWER_UNKNOWN in events. This and the following are declared by the exporter."""
    can_revoke: Answer
    """Whether the memory can be revoked; PB_ANSWER_UNKNOWN in events."""
    place: Place
    """Where the memory is; PB_PLACE_UNKNOWN in events."""
    bar: int
    """The BAR of @device; valid if @place is PB_PLACE_BAR."""
    bar_offset: int
    """The offset in the BAR of the first byte; valid as @bar."""

    @classmethod
    def _of(cls, raw: Any) -> Listed:
        return cls(
            raw.id,
            text(raw.exporter),
            text(raw.device),
            text(raw.name),
            raw.size,
            Model(raw.model),
            BufferState(raw.state),
            Memattr(raw.memattr),
            raw.nr_ranges,
            raw.nr_importers,
            raw.nr_mmaps,
            raw.creator,
            raw.nr_extents,
            tuple(Extent._of(raw.extents[i]) for i in range(raw.nr_extents)),
            raw.nr_importer_names,
            tuple(text(raw.importer_names[i].value) for i in range(raw.nr_importer_names)),
            Answer(raw.can_pin),
            Answer(raw.can_revoke),
            Place(raw.place),
            raw.bar,
            raw.bar_offset,
        )


@dataclasses.dataclass(frozen=True)
class Event:
    """An event of a buffer."""

    type: EventType
    """The type."""
    buffer: Listed
    """The buffer at the time of the event, without importers, mmaps and privileged fields. All zero if @type is PB_EVENT_LOST or PB_EVENT_NONE. Must be the last field."""

    @classmethod
    def _of(cls, raw: Any) -> Event:
        return cls(
            EventType(raw.type),
            Listed._of(raw.buffer),
        )
