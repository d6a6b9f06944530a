// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
use crate::convert::{filled, take_array};
use crate::error::Result;
use crate::records::{Event, EventType, Listed};
use peerbar_sys as sys;
use std::ffi::{c_int, c_short, c_ulong};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

const POLLIN: c_short = 1;

extern "C" {
    fn poll(fds: *mut PollFd, nfds: c_ulong, timeout: c_int) -> c_int;
}

/// The buffers that any process exported through peerbar's modules.
pub fn list_buffers() -> Result<Vec<Listed>> {
    take_array(
        |array, size, n, err| unsafe { sys::pb_list_buffers_sized(array, size, n, err) },
        Listed::of,
    )
}

/// The events of all buffers, from [`Watch::open`] on.
#[derive(Debug)]
pub struct Watch(NonNull<sys::pb_watch>);

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for Watch {}
unsafe impl Sync for Watch {}

impl Watch {
    /// Receives the events of all buffers from now on. Needs the module peerbar.
    pub fn open() -> Result<Watch> {
        let raw = filled(|raw, err| unsafe { sys::pb_watch_open(raw, err) })?;
        Ok(Watch(NonNull::new(raw).expect("a watch")))
    }

    /// Takes the next event, without waiting.
    pub fn take(&self) -> Result<Option<Event>> {
        let raw: sys::pb_event = filled(|raw, err| unsafe {
            sys::pb_watch_next_sized(self.0.as_ptr(), raw, size_of::<sys::pb_event>(), err)
        })?;
        let event = Event::of(&raw);
        Ok((event.r#type != EventType::NONE).then_some(event))
    }

    /// Takes the next event, and waits for it as long as this.
    pub fn wait(&self, timeout: Duration) -> Result<Option<Event>> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut fd = PollFd { fd: self.as_fd().as_raw_fd(), events: POLLIN, revents: 0 };
            // SAFETY: one element.
            unsafe { poll(&mut fd, 1, left.as_millis().clamp(1, 1000) as c_int) };
        }
    }

    /// All events, without end: the iterator waits for each.
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }
}

/// A descriptor that polls readable while an event is pending. Do not read from it.
impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the watch.
        unsafe { BorrowedFd::borrow_raw(sys::pb_watch_fd(self.0.as_ptr())) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        unsafe { sys::pb_watch_close(self.0.as_ptr()) }
    }
}

/// An iterator over events: see [`Watch::events`].
#[derive(Debug)]
pub struct Events<'a>(&'a Watch);

impl Iterator for Events<'_> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        loop {
            match self.0.wait(Duration::from_secs(3600)) {
                Ok(None) => continue,
                Ok(Some(event)) => return Some(Ok(event)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
