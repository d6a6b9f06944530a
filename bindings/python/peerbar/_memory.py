# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Device memory that is mapped into this process.

A CPU's access to a revoked mapping raises SIGBUS, which Python cannot turn into an exception. So read() and write(), and slices, let the
kernel copy: a system call that takes a revoked address fails with EFAULT, whether the revocation was before or during the copy.
"""
from __future__ import annotations

import ctypes
import errno
import os
import threading
import weakref
from types import TracebackType
from typing import Any

from ._library import Error, munmap

CHUNK = 1 << 20


class Memory:
    """A mapping of device memory, or of another exporter's dma-buf; close it, or use it in a with block.

    read(), write(), and memory[i], memory[i:j] and their assignments never raise SIGBUS: they raise Error with EFAULT while the memory is
    revoked, and work again after a temporary revocation. The width and the order of the accesses are the kernel's, so use them for memory,
    not for registers.

    view() returns a memoryview for everything else: struct, NumPy, accesses of a certain width. It is checked when it is made only: an
    access through it while the memory is revoked kills the process by SIGBUS.
    """

    def __init__(self, address: ctypes.c_void_p, length: int, writable: bool) -> None:
        self._address: int | None = address.value
        self._length = length
        self._writable = writable
        # What is copied passes through this file.
        self._file: int | None = None
        self._lock = threading.Lock()
        self._view: weakref.ref[Any] | None = None

    def __len__(self) -> int:
        return self._length

    @property
    def address(self) -> int:
        """The address of the mapping in this process, for example for verbs by address."""
        if self._address is None:
            raise ValueError('this Memory is closed')
        return self._address

    @property
    def writable(self) -> bool:
        """Whether it is mapped for writing."""
        return self._writable

    def _array(self, offset: int, length: int) -> Any:
        address = self.address
        if offset < 0 or length < 0 or offset + length > self._length:
            raise IndexError(f'{length} bytes at {offset} are not inside the {self._length} bytes of this mapping')
        return (ctypes.c_char * length).from_address(address + offset)

    def _scratch(self) -> int:
        if self._file is None:
            self._file = os.memfd_create('peerbar', os.MFD_CLOEXEC)
        return self._file

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Copy from the memory; without a length, all from @offset on."""
        size = self._length - offset if length is None else length
        source = memoryview(self._array(offset, size)).cast('B')
        parts = []
        with self._lock:
            file = self._scratch()
            done = 0
            while done < size:
                count = self._checked(os.pwrite, file, source[done:done + CHUNK], 0)
                parts.append(os.pread(file, count, 0))
                done += count
        return b''.join(parts)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Copy to the memory."""
        source = memoryview(data).cast('B')
        if not self._writable:
            raise TypeError('this Memory is mapped read-only')
        target = memoryview(self._array(offset, len(source))).cast('B')
        with self._lock:
            file = self._scratch()
            done = 0
            while done < len(source):
                size = os.pwrite(file, source[done:done + CHUNK], 0)
                done += self._checked(os.preadv, file, [target[done:done + size]], 0)

    def _checked(self, system_call: Any, *arguments: Any) -> int:
        try:
            count = int(system_call(*arguments))
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            count = 0
        if count == 0:
            raise Error(errno.EFAULT, 'cannot access the memory: it is revoked, or its device is closed')
        return count

    def _slice(self, key: int | slice) -> tuple[int, int]:
        if isinstance(key, slice):
            start, stop, step = key.indices(self._length)
            if step != 1:
                raise ValueError('a slice of a Memory has no step')
            return start, max(stop - start, 0)
        index = key + self._length if key < 0 else key
        if not 0 <= index < self._length:
            raise IndexError(f'{key} is not inside the {self._length} bytes of this mapping')
        return index, 1

    def __getitem__(self, key: int | slice) -> Any:
        offset, length = self._slice(key)
        data = self.read(offset, length)
        return data if isinstance(key, slice) else data[0]

    def __setitem__(self, key: int | slice, value: Any) -> None:
        offset, length = self._slice(key)
        data = bytes(value) if isinstance(key, slice) else bytes([value])
        if len(data) != length:
            raise ValueError(f'{len(data)} bytes do not fit a slice of {length}')
        self.write(offset, data)

    def view(self) -> memoryview:
        """A memoryview of all of it. Raises Error if the memory is revoked now; later accesses are not checked."""
        if self._length:
            self.read(0, 1)
        # The array keeps this object, and with it the mapping, until the last view is released.
        array = self._view() if self._view is not None else None
        if array is None:
            array = self._array(0, self._length)
            array._memory = self
            self._view = weakref.ref(array)
        result = memoryview(array).cast('B')
        return result if self._writable else result.toreadonly()

    def close(self) -> None:
        """Unmap it. Raises BufferError while a view() exists."""
        if self._view is not None and self._view() is not None:
            raise BufferError('cannot close a Memory while a view of it exists')
        with self._lock:
            address, self._address = self._address, None
            file, self._file = self._file, None
        if file is not None:
            os.close(file)
        if address is not None:
            munmap(address, self._length)

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, '_address', None) is not None:
            self._view = None
            self.close()
