// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
use crate::convert::{c_string, filled, take_array};
use crate::error::Result;
use crate::memory::Memory;
use crate::records::{BufferInfo, Importer, Model, Range};
use peerbar_sys as sys;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// A dma-buf: of a BAR ([`crate::Device::export`]), or of any exporter.
#[derive(Debug)]
pub struct Buffer(NonNull<sys::pb_buffer>);

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for Buffer {}
unsafe impl Sync for Buffer {}

impl Buffer {
    pub(crate) fn new(pointer: *mut sys::pb_buffer) -> Buffer {
        Buffer(NonNull::new(pointer).expect("a buffer"))
    }

    pub(crate) fn raw(&self) -> *mut sys::pb_buffer {
        self.0.as_ptr()
    }

    /// Takes any dma-buf; the descriptor is duplicated.
    pub fn from_fd(fd: BorrowedFd<'_>) -> Result<Buffer> {
        let raw = filled(|raw, err| unsafe { sys::pb_buffer_from_fd(fd.as_raw_fd(), raw, err) })?;
        Ok(Buffer::new(raw))
    }

    /// Another handle of the same buffer.
    pub fn share(&self) -> Result<Buffer> {
        let raw = filled(|raw, err| unsafe { sys::pb_buffer_share(self.raw(), raw, err) })?;
        Ok(Buffer::new(raw))
    }

    /// Its properties: model, exporter, state, importers and so on. Never moves the memory; see
    /// [`Buffer::probe`].
    pub fn query(&self) -> Result<BufferInfo> {
        let raw: sys::pb_buffer_info = filled(|raw, err| unsafe {
            sys::pb_buffer_query_sized(self.raw(), raw, size_of::<sys::pb_buffer_info>(), err)
        })?;
        Ok(BufferInfo::of(&raw))
    }

    /// As [`Buffer::query`], but the module peerbar may attach to the buffer for a moment, which
    /// moves the memory of some exporters to system memory. Use it if a device will attach anyway.
    pub fn probe(&self) -> Result<BufferInfo> {
        let raw: sys::pb_buffer_info = filled(|raw, err| unsafe {
            sys::pb_buffer_probe_sized(self.raw(), raw, size_of::<sys::pb_buffer_info>(), err)
        })?;
        Ok(BufferInfo::of(&raw))
    }

    /// The ranges of the BAR that make it up; empty if unknown.
    pub fn ranges(&self) -> Vec<Range> {
        // SAFETY: the library writes at most as many elements as there are.
        unsafe {
            let count = sys::pb_buffer_ranges(self.raw(), std::ptr::null_mut(), 0);
            let mut raw = vec![sys::pb_range { offset: 0, length: 0 }; count as usize];
            sys::pb_buffer_ranges(self.raw(), raw.as_mut_ptr(), count);
            raw.iter().map(Range::of).collect()
        }
    }

    /// The dma-buf's number: the same for all descriptors of it, in every process.
    pub fn id(&self) -> u64 {
        unsafe { sys::pb_buffer_id(self.raw()) }
    }

    /// Its size.
    pub fn size(&self) -> u64 {
        unsafe { sys::pb_buffer_size(self.raw()) }
    }

    /// Maps a part into this process. BARs need peerbar-vfio-pci.
    pub fn mmap(&self, offset: u64, length: usize, writable: bool) -> Result<Memory> {
        let address = filled(|address, err| unsafe {
            sys::pb_buffer_mmap(self.raw(), offset, length, writable, address, err)
        })?;
        Ok(Memory::new(address, length, writable))
    }

    /// The devices that are attached, what each has mapped, and the fences that a revoke waits for.
    pub fn importers(&self) -> Result<Vec<Importer>> {
        let fd = self.as_fd().as_raw_fd();
        take_array(
            |array, size, n, err| unsafe { sys::pb_fd_importers_sized(fd, array, size, n, err) },
            Importer::of,
        )
    }
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the buffer.
        unsafe { BorrowedFd::borrow_raw(sys::pb_buffer_fd(self.raw())) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        unsafe { sys::pb_buffer_close(self.raw()) }
    }
}

/// The importers of the buffers of all processes. Needs CAP_SYS_ADMIN.
pub fn list_importers() -> Result<Vec<Importer>> {
    take_array(
        |array, size, n, err| unsafe { sys::pb_list_importers_sized(array, size, n, err) },
        Importer::of,
    )
}

/// The model of an exporter's dma-bufs, by the exporter's name.
///
/// ```
/// assert_eq!(peerbar::exporter_model("udmabuf"), peerbar::Model::PINNED);
/// assert_eq!(peerbar::exporter_model("nobody"), peerbar::Model::UNKNOWN);
/// ```
pub fn exporter_model(exporter: &str) -> Model {
    Model(unsafe { sys::pb_exporter_model(c_string(exporter).as_ptr()) })
}
