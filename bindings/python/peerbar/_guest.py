# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The BARs of a virtual machine's assigned devices, in its address spaces: docs/guests.md describes them."""
from __future__ import annotations

import ctypes
import dataclasses
import weakref
from collections.abc import Iterator, Sequence

from . import _declarations as c
from ._device import Device
from ._ioas import Ioas
from ._library import Handle, call, function, records
from ._records import GuestIoasFlags, GuestRange, GuestSyncFlags

NOWHERE = c.PB_GUEST_NOWHERE


@dataclasses.dataclass(frozen=True)
class Trap:
    """A part of a BAR that the VMM emulates, and that no peer may access."""

    bar: int
    offset: int
    length: int


class Guest(Handle):
    """The assigned devices of a virtual machine. After each report of a change, the BARs are mapped as the guest's state requires."""

    _close_function = 'pb_guest_destroy'

    def __init__(self) -> None:
        pointer = ctypes.c_void_p()
        call('pb_guest_create', ctypes.byref(pointer))
        super().__init__(pointer)
        # The library uses these until they are removed.
        self._spaces: list[Ioas] = []
        self._devices: dict[int, GuestDevice] = {}

    def _release(self, value: int) -> None:
        for device in self._devices.values():
            device._value = None
        super()._release(value)
        self._spaces, self._devices = [], {}

    def add_ioas(self, ioas: Ioas, *, windows: bool = False) -> None:
        """Map BARs in an address space: at guest-physical addresses or, with @windows, where add_window() reports."""
        call('pb_guest_add_ioas', self._pointer, ioas._pointer, int(GuestIoasFlags.WINDOWS) if windows else 0)
        self._spaces.append(ioas)

    def remove_ioas(self, ioas: Ioas) -> None:
        """Unmap all BARs from an address space, and remove it."""
        call('pb_guest_remove_ioas', self._pointer, ioas._pointer)
        self._spaces.remove(ioas)

    def add_window(self, ioas: Ioas, iova: int, address: int, length: int, *, read: bool = True, write: bool = True) -> None:
        """The guest mapped a range in a domain of its virtual IOMMU."""
        window = c.pb_guest_window(iova, address, length, (1 if read else 0) | (2 if write else 0))
        call('pb_guest_add_window', self._pointer, ioas._pointer, ctypes.byref(window))

    def remove_window(self, ioas: Ioas, iova: int) -> None:
        """The guest unmapped that range."""
        call('pb_guest_remove_window', self._pointer, ioas._pointer, iova)

    def add_device(self, device: Device, traps: Sequence[Trap] = ()) -> GuestDevice:
        """Assign a device. It is as after a reset: decoding off, D0, BARs at no address."""
        array = (c.pb_guest_trap * len(traps))(*(c.pb_guest_trap(t.bar, t.offset, t.length) for t in traps))
        pointer = ctypes.c_void_p()
        call('pb_guest_add_device', self._pointer, device._pointer, array, len(traps), None, ctypes.byref(pointer))
        return GuestDevice(pointer, self, device)

    def sync(self, *, retry: bool = False, remake: bool = False) -> None:
        """Process pending events, and retry refused ranges: when the descriptor polls readable."""
        call('pb_guest_sync', self._pointer, (GuestSyncFlags.RETRY if retry else 0) | (GuestSyncFlags.REMAKE if remake else 0))

    def check(self) -> int:
        """Compare with the kernel's mappings, repair them, and return how many were wrong."""
        count = ctypes.c_uint()
        call('pb_guest_check', self._pointer, ctypes.byref(count))
        return count.value

    def fileno(self) -> int:
        """A descriptor that polls readable while work is pending: call sync(), then take reports()."""
        return int(function('pb_guest_fd')(self._pointer))

    @property
    def refused(self) -> int:
        """The number of ranges that should be mapped, and could not be."""
        return int(function('pb_guest_nr_refused')(self._pointer))

    def ranges(self) -> list[GuestRange]:
        """All parts of all BARs, and the state of each."""
        return records('pb_guest_list_sized', c.pb_guest_range, GuestRange, self._pointer)

    def reports(self) -> Iterator[GuestRange]:
        """Take the pending reports, for the VMM's log."""
        raw = c.pb_guest_range()
        while function('pb_guest_next_report_sized')(self._pointer, ctypes.byref(raw), ctypes.sizeof(raw)):
            yield GuestRange._of(raw)

    def device_of(self, part: GuestRange) -> GuestDevice | None:
        """The device of a range or a report."""
        return self._devices.get(part.device) if part.device is not None else None


class GuestDevice(Handle):
    """A device of a guest. Report a change that disables a BAR before it is applied, one that enables a BAR after."""

    def __init__(self, pointer: ctypes.c_void_p, guest: Guest, device: Device) -> None:
        super().__init__(pointer)
        self._guest = weakref.ref(guest)
        # The library uses it until it is removed.
        self.device = device
        guest._devices[self._pointer] = self

    def __del__(self) -> None:
        """The guest keeps its devices."""

    def _release(self, value: int) -> None:
        try:
            call('pb_guest_remove_device', value)
        except BaseException:
            self._value = value
            raise
        guest = self._guest()
        if guest is not None:
            guest._devices.pop(value, None)

    def set_bar(self, bar: int, address: int = NOWHERE) -> None:
        """The guest wrote a BAR register, which now has this address."""
        call('pb_guest_set_bar', self._pointer, bar, address)

    def set_decoding(self, on: bool) -> None:
        """The guest wrote the Memory Space bit."""
        call('pb_guest_set_decoding', self._pointer, on)

    def set_power(self, on: bool) -> None:
        """The guest moved the device to D0, or out of it."""
        call('pb_guest_set_power', self._pointer, on)

    def reset_begin(self) -> None:
        """The device is about to be reset."""
        call('pb_guest_reset_begin', self._pointer)

    def reset_done(self) -> None:
        """The reset is over."""
        call('pb_guest_reset_done', self._pointer)
