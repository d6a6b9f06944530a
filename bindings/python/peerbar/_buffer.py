# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Buffers: dma-bufs of device memory, or of any exporter."""
from __future__ import annotations

import ctypes

from . import _declarations as c
from ._library import Handle, call, function, records
from ._memory import Memory
from ._records import BufferInfo, Importer, Model, Range


class Buffer(Handle):
    """A dma-buf: Device.export() makes one, Buffer(fd) takes any; the descriptor is duplicated.

    It has fileno() and __index__(), so that it can be passed where a descriptor is expected, also to pyverbs' DmaBufMR.
    """

    _close_function = 'pb_buffer_close'

    def __init__(self, fd: int) -> None:
        pointer = ctypes.c_void_p()
        call('pb_buffer_from_fd', fd, ctypes.byref(pointer))
        super().__init__(pointer)

    @classmethod
    def _from(cls, pointer: ctypes.c_void_p) -> Buffer:
        buffer = cls.__new__(cls)
        Handle.__init__(buffer, pointer)
        return buffer

    def fileno(self) -> int:
        """The dma-buf's descriptor; it remains the buffer's."""
        return int(function('pb_buffer_fd')(self._pointer))

    __index__ = fileno

    @property
    def size(self) -> int:
        """The size in bytes."""
        return int(function('pb_buffer_size')(self._pointer))

    def __len__(self) -> int:
        return self.size

    @property
    def id(self) -> int:
        """The dma-buf's number: the same for all descriptors of it, in every process."""
        return int(function('pb_buffer_id')(self._pointer))

    def query(self) -> BufferInfo:
        """The properties: model, exporter, state, importers and so on. Never moves the memory; see probe()."""
        raw = c.pb_buffer_info()
        call('pb_buffer_query_sized', self._pointer, ctypes.byref(raw), ctypes.sizeof(raw))
        return BufferInfo._of(raw)

    def probe(self) -> BufferInfo:
        """As query(), but the module peerbar may attach to the buffer for a moment, which moves the memory of some exporters to system
        memory. Use it if a device will attach anyway.
        """
        raw = c.pb_buffer_info()
        call('pb_buffer_probe_sized', self._pointer, ctypes.byref(raw), ctypes.sizeof(raw))
        return BufferInfo._of(raw)

    def ranges(self) -> list[Range]:
        """The ranges of the BAR that make up the buffer; empty if unknown."""
        count = function('pb_buffer_ranges')(self._pointer, None, 0)
        array = (c.pb_range * count)()
        function('pb_buffer_ranges')(self._pointer, array, count)
        return [Range._of(raw) for raw in array]

    def share(self) -> Buffer:
        """Another handle of the same buffer."""
        pointer = ctypes.c_void_p()
        call('pb_buffer_share', self._pointer, ctypes.byref(pointer))
        return Buffer._from(pointer)

    def mmap(self, offset: int = 0, length: int | None = None, *, writable: bool = True) -> Memory:
        """Map a part of the buffer; without a length, all from @offset on. BARs need peerbar-vfio-pci."""
        size = self.size - offset if length is None else length
        address = ctypes.c_void_p()
        call('pb_buffer_mmap', self._pointer, offset, max(size, 0), writable, ctypes.byref(address))
        return Memory(address, size, writable)

    def importers(self) -> list[Importer]:
        """The devices that are attached, what each has mapped, and the fences that a revoke waits for."""
        return records('pb_fd_importers_sized', c.pb_importer, Importer, self.fileno())


def list_importers() -> list[Importer]:
    """The importers of the buffers of all processes. Needs CAP_SYS_ADMIN."""
    return records('pb_list_importers_sized', c.pb_importer, Importer)


def exporter_model(exporter: str) -> Model:
    """The model of an exporter's dma-bufs, by the exporter's name (exp_name in fdinfo); UNKNOWN if it is not in the table."""
    return Model(function('pb_exporter_model')(exporter.encode()))
