# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The iommufd context, and VFIO devices."""
from __future__ import annotations

import ctypes
from collections.abc import Iterable

from . import _declarations as c
from ._buffer import Buffer
from ._ioas import Ioas
from ._library import Handle, call, function
from ._memory import Memory
from ._records import Memattr, Range, Region

CONFIG = c.PB_REGION_CONFIG


class Iommu(Handle):
    """An iommufd context: a new one, or that of an open descriptor, which is duplicated."""

    _close_function = 'pb_iommu_close'

    def __init__(self, fd: int | None = None) -> None:
        pointer = ctypes.c_void_p()
        if fd is None:
            call('pb_iommu_open', ctypes.byref(pointer))
        else:
            call('pb_iommu_from_fd', fd, ctypes.byref(pointer))
        super().__init__(pointer)

    def fileno(self) -> int:
        """The descriptor; it remains the context's."""
        return int(function('pb_iommu_fd')(self._pointer))

    def open(self, bdf: str) -> Device:
        """Open the VFIO device of a PCI function, which must be bound to vfio-pci or peerbar-vfio-pci."""
        pointer = ctypes.c_void_p()
        call('pb_device_open', self._pointer, bdf.encode(), ctypes.byref(pointer))
        return Device(pointer)

    def device(self, fd: int, bdf: str) -> Device:
        """Use an open VFIO device that is bound to this iommufd; the descriptor is duplicated."""
        pointer = ctypes.c_void_p()
        call('pb_device_from_fd', self._pointer, fd, bdf.encode(), ctypes.byref(pointer))
        return Device(pointer)

    def create_ioas(self) -> Ioas:
        """Create an I/O address space."""
        pointer = ctypes.c_void_p()
        call('pb_ioas_create', self._pointer, ctypes.byref(pointer))
        return Ioas(pointer)

    def ioas(self, number: int) -> Ioas:
        """Use an existing I/O address space, by iommufd's number."""
        pointer = ctypes.c_void_p()
        call('pb_ioas_from_id', self._pointer, number, ctypes.byref(pointer))
        return Ioas(pointer)


class Device(Handle):
    """A VFIO device. Closing it revokes the buffers that were exported from it."""

    _close_function = 'pb_device_close'

    @property
    def bdf(self) -> str:
        """The address of the PCI function."""
        return str(function('pb_device_bdf')(self._pointer).decode())

    def fileno(self) -> int:
        """The VFIO descriptor; it remains the device's."""
        return int(function('pb_device_fd')(self._pointer))

    def regions(self) -> list[Region]:
        """The regions: BARs 0 to 5, 6 the expansion ROM, 7 the configuration space."""
        return [self.region(i) for i in range(function('pb_device_regions')(self._pointer))]

    def region(self, index: int) -> Region:
        """One region; its size is 0 if the device has none of that index."""
        raw = c.pb_region()
        call('pb_device_region_sized', self._pointer, index, ctypes.byref(raw), ctypes.sizeof(raw))
        return Region._of(raw)

    def read(self, region: int, offset: int, length: int) -> bytes:
        """Read from a region, through the kernel: it fails with EIO while memory decoding is off."""
        data = ctypes.create_string_buffer(length)
        call('pb_device_read', self._pointer, region, offset, data, length)
        return data.raw

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Write to a region, through the kernel."""
        call('pb_device_write', self._pointer, region, offset, bytes(data), len(data))

    def mmap(self, region: int, offset: int, length: int, *, writable: bool = True) -> Memory:
        """Map a part of a region. The mapping keeps the kernel's device open until it is closed."""
        address = ctypes.c_void_p()
        call('pb_device_mmap', self._pointer, region, offset, length, writable, ctypes.byref(address))
        return Memory(address, length, writable)

    def cookie(self, bar: int, offset: int, length: int, memattr: Memattr = Memattr.NC) -> int:
        """An offset for mmap() of the device's descriptor, which maps a part of a BAR with a memory attribute. Needs peerbar-vfio-pci."""
        result = ctypes.c_uint64()
        call('pb_device_mmap_cookie', self._pointer, bar, offset, length, int(memattr), ctypes.byref(result))
        return result.value

    def mmap_at(self, cookie: int, length: int, *, writable: bool = True) -> Memory:
        """Map the part of a cookie."""
        address = ctypes.c_void_p()
        call('pb_device_mmap_at', self._pointer, cookie, length, writable, ctypes.byref(address))
        return Memory(address, length, writable)

    @property
    def decoding(self) -> bool:
        """Whether memory decoding is on. Turning it off revokes the buffers, turning it on makes them usable again."""
        result = ctypes.c_bool()
        call('pb_device_decoding', self._pointer, ctypes.byref(result))
        return result.value

    @decoding.setter
    def decoding(self, on: bool) -> None:
        call('pb_device_set_decoding', self._pointer, on)

    def set_bus_master(self, on: bool) -> None:
        """Allow or stop DMA by the device."""
        call('pb_device_set_bus_master', self._pointer, on)

    def reset(self) -> None:
        """Reset the function. Buffers are revoked during the reset, and usable again after it."""
        call('pb_device_reset', self._pointer)

    def export(self, bar: int, ranges: Iterable[Range | tuple[int, int]]) -> Buffer:
        """Export ranges (offset, length) of a BAR as one dma-buf."""
        pairs = [(r.offset, r.length) if isinstance(r, Range) else r for r in ranges]
        array = (c.pb_range * len(pairs))(*(c.pb_range(*pair) for pair in pairs))
        pointer = ctypes.c_void_p()
        call('pb_buffer_export', self._pointer, bar, array, len(pairs), 0, ctypes.byref(pointer))
        return Buffer._from(pointer)

    def set_memattr(self, buffer: Buffer, *memattrs: Memattr) -> Memattr:
        """Set the memory attribute of later mappings of a buffer: the first of these that is supported, which is returned."""
        array = (ctypes.c_uint * len(memattrs))(*(int(m) for m in memattrs))
        chosen = ctypes.c_uint()
        call('pb_buffer_set_memattr', self._pointer, buffer._pointer, array, len(memattrs), ctypes.byref(chosen))
        return Memattr(chosen.value)

    def memattr(self, buffer: Buffer) -> Memattr:
        """The memory attribute of later mappings of a buffer."""
        result = ctypes.c_uint()
        call('pb_buffer_memattr', self._pointer, buffer._pointer, ctypes.byref(result))
        return Memattr(result.value)

    def revoke(self, buffer: Buffer) -> None:
        """Revoke a buffer of this device for good, in all processes and importers. Needs peerbar-vfio-pci."""
        call('pb_buffer_revoke', self._pointer, buffer._pointer)
