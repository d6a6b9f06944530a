# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Buffers for pyverbs (rdma-core's Python module), which allocates dma-bufs of i915 and amdgpu only.

    mr = pyverbs.mr.DmaBufMR(pd, length, access, peerbar.verbs.DmaBuf.of(buffer))

pyverbs is not needed to import this module.
"""
from __future__ import annotations

import array
import fcntl
import os
import struct
import weakref
from typing import Any

from ._buffer import Buffer
from ._memory import Memory

# _IOW('u', 0x42, struct udmabuf_create)
_UDMABUF_CREATE = 0x40187542


class DmaBuf(Buffer):
    """A buffer with the interface of pyverbs.dmabuf.DmaBuf: an argument of pyverbs' DmaBufMR, which takes it as a descriptor.

    Keep it as long as the region. A revoked buffer ends the region: its keys stay reserved, and work that uses them fails.
    """

    _memory: Memory | None = None

    @classmethod
    def of(cls, buffer: Buffer) -> DmaBuf:
        """A DmaBuf of the same dma-buf."""
        return cls(buffer.fileno())

    @classmethod
    def udmabuf(cls, size: int) -> DmaBuf:
        """A DmaBuf of new ordinary memory, @size rounded up to pages, from /dev/udmabuf."""
        page = os.sysconf('SC_PAGESIZE')
        size = -(-size // page) * page
        memory = os.memfd_create('udmabuf', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        device = fd = -1
        try:
            os.ftruncate(memory, size)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            device = os.open('/dev/udmabuf', os.O_RDWR | os.O_CLOEXEC)
            fd = fcntl.ioctl(device, _UDMABUF_CREATE, array.array('B', struct.pack('=IIQQ', memory, 1, 0, size)))
            return cls(fd)
        finally:
            for number in (memory, device, fd):
                if number >= 0:
                    os.close(number)

    @property
    def fd(self) -> int:
        """The descriptor; it remains the buffer's."""
        return self.fileno()

    def __int__(self) -> int:
        return self.fileno()

    def add_ref(self, region: Any) -> None:
        """pyverbs reports each region of the buffer; close() closes them first."""
        self.__dict__.setdefault('_regions', weakref.WeakSet()).add(region)

    def _mapped(self) -> Memory:
        if self._memory is None:
            self._memory = self.mmap()
        return self._memory

    def read(self, length: int, offset: int) -> bytes:
        """Copy from the buffer, by an mmap of it: see Memory.read()."""
        return self._mapped().read(offset, length)

    def write(self, data: bytes | str, length: int, offset: int = 0) -> None:
        """Copy to the buffer."""
        raw = data.encode() if isinstance(data, str) else data
        self._mapped().write(offset, raw[:length])

    def _release(self, value: int) -> None:
        for region in list(self.__dict__.get('_regions', ())):
            region.close()
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        super()._release(value)
