# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""I/O address spaces, and the mappings in them."""
from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

from . import _declarations as c
from ._library import Handle, call, function
from ._records import IovaRange, MapFlags, State

if TYPE_CHECKING:
    from ._buffer import Buffer
    from ._device import Device


class Ioas(Handle):
    """An I/O address space. Closing it detaches its devices and ends its mappings."""

    _close_function = 'pb_ioas_destroy'

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        super().__init__(pointer)
        self._mappings: weakref.WeakValueDictionary[int, Mapping] = weakref.WeakValueDictionary()

    def _release(self, value: int) -> None:
        for mapping in list(self._mappings.values()):
            mapping._value = None
        super()._release(value)

    @property
    def id(self) -> int:
        """iommufd's number of the address space."""
        return int(function('pb_ioas_id')(self._pointer))

    def attach(self, device: Device) -> None:
        """Attach a device: its DMA uses this address space from now on."""
        call('pb_ioas_attach', self._pointer, device._pointer)

    @staticmethod
    def detach(device: Device) -> None:
        """Detach a device: its DMA faults from now on."""
        call('pb_ioas_detach', device._pointer)

    def aperture(self) -> list[IovaRange]:
        """The addresses that can be mapped. Attaching a device may remove some."""
        count = ctypes.c_uint()
        call('pb_ioas_aperture', self._pointer, None, 0, ctypes.byref(count), None)
        array = (c.pb_iova_range * count.value)()
        call('pb_ioas_aperture', self._pointer, array, len(array), ctypes.byref(count), None)
        return [IovaRange._of(raw) for raw in array[:count.value]]

    def alignment(self) -> int:
        """The required alignment of addresses and lengths. Attaching a device may increase it."""
        result = ctypes.c_uint64()
        call('pb_ioas_aperture', self._pointer, None, 0, None, ctypes.byref(result))
        return result.value

    def map(self, buffer: Buffer, offset: int = 0, length: int = 0, *, iova: int | None = None, read: bool = True, write: bool = True,
            unknown_model: bool = False) -> Mapping:
        """Map a buffer, or a part of it, at @iova or at a free address. A buffer that moves is refused before anything attaches to it."""
        flags = _flags(read, write, iova)
        if unknown_model:
            flags |= MapFlags.UNKNOWN_MODEL
        pointer = ctypes.c_void_p()
        call('pb_map_buffer', self._pointer, buffer._pointer, offset, length, int(flags), iova or 0, ctypes.byref(pointer))
        return Mapping(pointer, self, None)

    def map_memory(self, memory: Any, *, iova: int | None = None, read: bool = True, write: bool = True) -> Mapping:
        """Map ordinary memory: a writable object of whole pages, such as mmap.mmap(-1, 4096), which is kept until the mapping is closed."""
        view = memoryview(memory)
        address = ctypes.addressof(ctypes.c_char.from_buffer(view))
        pointer = ctypes.c_void_p()
        call('pb_map_memory', self._pointer, address, view.nbytes, int(_flags(read, write, iova)), iova or 0, ctypes.byref(pointer))
        return Mapping(pointer, self, view)

    def fileno(self) -> int:
        """A descriptor that polls readable while revoked() has something to return. Do not read from it."""
        return int(function('pb_ioas_event_fd')(self._pointer))

    def revoked(self) -> list[Mapping]:
        """Take the mappings that were revoked since the last call, without waiting."""
        result: list[Mapping] = []
        while True:
            value = function('pb_ioas_next_revoked')(self._pointer)
            if not value:
                return result
            mapping = self._mappings.get(value)
            if mapping is not None:
                result.append(mapping)

    def check(self) -> int:
        """Ask the kernel for revoked mappings, which stock vfio-pci does not report; return how many were found."""
        count = ctypes.c_uint()
        call('pb_ioas_check', self._pointer, ctypes.byref(count))
        return count.value


def _flags(read: bool, write: bool, iova: int | None) -> MapFlags:
    flags = MapFlags(0)
    if read:
        flags |= MapFlags.READ
    if write:
        flags |= MapFlags.WRITE
    if iova is not None:
        flags |= MapFlags.FIXED
    return flags


class Mapping(Handle):
    """A mapping in an address space. Closing it unmaps it: when close() returns, DMA to its addresses faults."""

    def __init__(self, pointer: ctypes.c_void_p, ioas: Ioas, memory: memoryview | None) -> None:
        super().__init__(pointer)
        self._ioas = ioas
        self._memory = memory
        ioas._mappings[self._pointer] = self

    def _release(self, value: int) -> None:
        self._ioas._mappings.pop(value, None)
        try:
            call('pb_unmap', value)
        except BaseException:
            self._value = value
            raise
        self._memory = None

    @property
    def iova(self) -> int:
        """The first address."""
        return int(function('pb_mapping_iova')(self._pointer))

    def __len__(self) -> int:
        return int(function('pb_mapping_length')(self._pointer))

    @property
    def state(self) -> State:
        """LIVE, or REVOKED until restore(). For buffers of other processes, call Ioas.check() first."""
        return State(function('pb_mapping_state')(self._pointer))

    def restore(self) -> None:
        """Map it again after a revocation, at the same address."""
        call('pb_mapping_restore', self._pointer)
