# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Load libpeerbar, call its functions, and own its objects."""
from __future__ import annotations

import ctypes
import os
import threading
from types import TracebackType
from typing import Any, TypeVar

from . import _declarations as c

LIBRARY = 'libpeerbar.so.0'

Self = TypeVar('Self', bound='Handle')


class Error(OSError):
    """A function of the library failed.

    errno is the error's number, strerror (and str()) one sentence: the request, the reason and the remedy.
    """

    def __str__(self) -> str:
        return str(self.strerror)


def _load() -> ctypes.CDLL:
    name = os.environ.get('PEERBAR_LIBRARY', LIBRARY)
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(f'cannot load {name}, which is libpeerbar: {error}; install it, or set PEERBAR_LIBRARY to its path') from error
    for function, (result, parameters) in c.FUNCTIONS.items():
        try:
            symbol = getattr(library, function)
        except AttributeError:
            continue  # an older library
        symbol.restype, symbol.argtypes = result, parameters
    return library


_library = _load()
_libc = ctypes.CDLL(None, use_errno=True)
_libc.free.argtypes = [ctypes.c_void_p]
_libc.free.restype = None
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def function(name: str) -> Any:
    """Return a function of the library; raises NotImplementedError if the library is too old."""
    try:
        return getattr(_library, name)
    except AttributeError:
        raise NotImplementedError(f'this libpeerbar ({version()}) has no {name}()') from None


def call(name: str, *arguments: Any) -> None:
    """Call a function whose last parameter is a struct pb_error, and raise Error if it fails."""
    error = c.pb_error()
    result = function(name)(*arguments, ctypes.byref(error))
    if result < 0:
        raise Error(error.code or -result, error.text.decode('utf-8', 'surrogateescape') or os.strerror(-result))


def take_array(name: str, structure: Any, *arguments: Any) -> tuple[Any, int, ctypes.c_void_p]:
    """Call a *_sized function that allocates an array: the array, its length, and what to pass to free()."""
    array, count = ctypes.POINTER(structure)(), ctypes.c_uint()
    call(name, *arguments, ctypes.byref(array), ctypes.sizeof(structure), ctypes.byref(count))
    return array, count.value, ctypes.cast(array, ctypes.c_void_p)


def records(name: str, structure: Any, record: Any, *arguments: Any) -> list[Any]:
    """The same, converted to records."""
    array, count, memory = take_array(name, structure, *arguments)
    try:
        return [record._of(array[i]) for i in range(count)]
    finally:
        _libc.free(memory)


def munmap(address: int, length: int) -> None:
    if _libc.munmap(address, length):
        number = ctypes.get_errno()
        raise Error(number, f'cannot unmap {length} bytes at {address:#x}: {os.strerror(number)}')


def version() -> str:
    """The version of the library at run time, for example '0.1.0'."""
    return str(_library.pb_version().decode())


class Handle:
    """An object of the library: a context manager, closed by close(), at the end of a with block, or when it is collected.

    Methods of a closed object raise ValueError. Any thread may call them, but no method may run while another thread closes the object.
    """

    _close_function: str

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self._value: int | None = pointer.value
        self._closing = threading.Lock()

    @property
    def _pointer(self) -> int:
        if self._value is None:
            raise ValueError(f'this {type(self).__name__} is closed')
        return self._value

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._value is None

    def close(self) -> None:
        """Release the object. Closing it twice is harmless."""
        with self._closing:
            value, self._value = self._value, None
        if value is not None:
            self._release(value)

    def _release(self, value: int) -> None:
        function(self._close_function)(value)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, '_value', None) is not None:
            self.close()
