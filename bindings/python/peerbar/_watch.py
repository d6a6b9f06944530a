# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The list of the buffers of all processes, and their events."""
from __future__ import annotations

import ctypes
import select
import time
from collections.abc import Iterator

from . import _declarations as c
from ._library import Handle, call, function, records
from ._records import Event, EventType, Listed


def list_buffers() -> list[Listed]:
    """The buffers that any process exported through peerbar's modules."""
    return records('pb_list_buffers_sized', c.pb_listed, Listed)


class Watch(Handle):
    """The events of all buffers from now on. An iterator that waits for the next event, without end:

        for event in peerbar.Watch():
            print(event.type, event.buffer.device)

    For a complete view, open the watch, then call list_buffers(), then take events. An event of the type LOST means that events arrived
    faster than they were taken: list the buffers again.
    """

    _close_function = 'pb_watch_close'

    def __init__(self) -> None:
        pointer = ctypes.c_void_p()
        call('pb_watch_open', ctypes.byref(pointer))
        super().__init__(pointer)

    def fileno(self) -> int:
        """A descriptor that polls readable while an event is pending. Do not read from it."""
        return int(function('pb_watch_fd')(self._pointer))

    def next(self, timeout: float | None = None) -> Event | None:
        """Take the next event. Waits @timeout seconds at most, or without end if it is None; returns None if there was none."""
        end = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while True:
            raw = c.pb_event()
            call('pb_watch_next_sized', self._pointer, ctypes.byref(raw), ctypes.sizeof(raw))
            if raw.type != EventType.NONE:
                return Event._of(raw)
            left = None if end is None else max(end - time.monotonic(), 0)
            if left == 0:
                return None
            poll.poll(None if left is None else left * 1000)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.next()
        assert event is not None
        return event
