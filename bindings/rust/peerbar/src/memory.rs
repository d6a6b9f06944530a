// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
use std::ffi::{c_int, c_void};
use std::ptr;

extern "C" {
    fn munmap(address: *mut c_void, length: usize) -> c_int;
}

/// Device memory that is mapped into this process, until it is dropped.
///
/// While the memory is revoked, an access raises SIGBUS, which ends the process unless it has a
/// handler. After a temporary revocation the same mapping works again.
#[derive(Debug)]
pub struct Memory {
    address: *mut u8,
    length: usize,
    writable: bool,
}

// SAFETY: device memory is shared with the device anyway; accesses are volatile, by raw pointers.
unsafe impl Send for Memory {}
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(address: *mut c_void, length: usize, writable: bool) -> Memory {
        Memory { address: address.cast(), length, writable }
    }

    /// Its first address, for accesses of a certain width and order.
    pub fn as_ptr(&self) -> *mut u8 {
        self.address
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether its length is 0.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn inside(&self, offset: usize, length: usize) -> *mut u8 {
        let end = offset.checked_add(length);
        assert!(
            end.is_some_and(|end| end <= self.length),
            "{length} bytes at {offset} are not inside the mapping"
        );
        // SAFETY: it is inside.
        unsafe { self.address.add(offset) }
    }

    /// Copies from the memory, byte by byte. Panics if the bytes are not all inside it.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        let from = self.inside(offset, data.len());
        for (i, byte) in data.iter_mut().enumerate() {
            // SAFETY: it is inside the mapping.
            *byte = unsafe { ptr::read_volatile(from.add(i)) };
        }
    }

    /// Copies to the memory, byte by byte. Panics if the bytes are not all inside it, or if it is
    /// mapped for reading only.
    pub fn write(&self, offset: usize, data: &[u8]) {
        assert!(self.writable, "the memory is mapped for reading only");
        let to = self.inside(offset, data.len());
        for (i, byte) in data.iter().enumerate() {
            // SAFETY: it is inside the mapping, which is writable.
            unsafe { ptr::write_volatile(to.add(i), *byte) };
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's, and nothing borrows it.
        unsafe { munmap(self.address.cast(), self.length) };
    }
}
