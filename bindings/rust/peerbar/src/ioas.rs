// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
use crate::buffer::Buffer;
use crate::convert::filled;
use crate::device::Device;
use crate::error::{check, Result};
use crate::records::{IovaRange, State};
use peerbar_sys as sys;
use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct IoasInner {
    pointer: NonNull<sys::pb_ioas>,
    /// Held while a mapping is made or unmapped, and while an event is taken: the library's event
    /// is a pointer to the mapping.
    mappings: Mutex<()>,
    next: AtomicUsize,
}

/// An I/O address space. It is destroyed with its last clone and its last [`Mapping`].
#[derive(Clone, Debug)]
pub struct Ioas(Arc<IoasInner>);

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for IoasInner {}
unsafe impl Sync for IoasInner {}

/// What devices may do in a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Devices may read.
    Read,
    /// Devices may write.
    Write,
    /// Devices may read and write.
    ReadWrite,
}

/// Identifies a mapping in [`Ioas::next_revoked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappingId(usize);

impl Ioas {
    pub(crate) fn new(pointer: *mut sys::pb_ioas) -> Ioas {
        let pointer = NonNull::new(pointer).expect("an address space");
        Ioas(Arc::new(IoasInner { pointer, mappings: Mutex::new(()), next: AtomicUsize::new(1) }))
    }

    pub(crate) fn raw(&self) -> *mut sys::pb_ioas {
        self.0.pointer.as_ptr()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// iommufd's number of the address space.
    pub fn id(&self) -> u32 {
        unsafe { sys::pb_ioas_id(self.raw()) }
    }

    /// Attaches a device: its DMA uses this address space from now on.
    pub fn attach(&self, device: &Device) -> Result<()> {
        check(|err| unsafe { sys::pb_ioas_attach(self.raw(), device.raw(), err) })
    }

    /// Detaches a device from its address space: its DMA faults from now on.
    pub fn detach(device: &Device) -> Result<()> {
        check(|err| unsafe { sys::pb_ioas_detach(device.raw(), err) })
    }

    /// The addresses that can be mapped. Attaching a device may remove some.
    pub fn aperture(&self) -> Result<Vec<IovaRange>> {
        let mut raw: Vec<sys::pb_iova_range> = Vec::new();
        loop {
            let room = raw.len() as u32;
            let count: u32 = filled(|count, err| unsafe {
                let array = raw.as_mut_ptr();
                sys::pb_ioas_aperture(self.raw(), array, room, count, ptr::null_mut(), err)
            })?;
            let enough = count <= room;
            raw.resize(count as usize, sys::pb_iova_range { first: 0, last: 0 });
            if enough {
                return Ok(raw.iter().map(IovaRange::of).collect());
            }
        }
    }

    /// The required alignment of addresses and lengths. Attaching a device may increase it.
    pub fn alignment(&self) -> Result<u64> {
        filled(|alignment, err| unsafe {
            let (array, count) = (ptr::null_mut(), ptr::null_mut());
            sys::pb_ioas_aperture(self.raw(), array, 0, count, alignment, err)
        })
    }

    fn make(
        &self,
        access: Access,
        iova: Option<u64>,
        call: impl FnOnce(u32, u64, *mut *mut sys::pb_mapping, *mut sys::pb_error) -> i32,
    ) -> Result<Mapping> {
        let access = match access {
            Access::Read => sys::PB_MAP_READ,
            Access::Write => sys::PB_MAP_WRITE,
            Access::ReadWrite => sys::PB_MAP_READ | sys::PB_MAP_WRITE,
        };
        let flags = access | iova.map_or(0, |_| sys::PB_MAP_FIXED);
        let lock = self.lock();
        let raw = filled(|raw, err| call(flags, iova.unwrap_or(0), raw, err))?;
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        unsafe { sys::pb_mapping_set_data(raw, id as *mut c_void) };
        drop(lock);
        let pointer = NonNull::new(raw).expect("a mapping");
        Ok(Mapping { pointer, ioas: self.clone(), id: MappingId(id) })
    }

    /// Maps a buffer from `offset` on, `length` bytes or, if that is 0, all; at `iova`, or at a free
    /// address. A buffer that may move is refused before anything attaches to it.
    pub fn map(
        &self,
        buffer: &Buffer,
        offset: u64,
        length: u64,
        access: Access,
        iova: Option<u64>,
    ) -> Result<Mapping> {
        self.make(access, iova, |flags, iova, raw, err| unsafe {
            sys::pb_map_buffer(self.raw(), buffer.raw(), offset, length, flags, iova, raw, err)
        })
    }

    /// Maps ordinary memory of this process, of whole pages.
    ///
    /// # Safety
    ///
    /// Devices access the memory until the mapping is dropped. It must stay mapped, and nothing may
    /// rely on its contents.
    pub unsafe fn map_memory(
        &self,
        address: *mut u8,
        length: u64,
        access: Access,
        iova: Option<u64>,
    ) -> Result<Mapping> {
        self.make(access, iova, |flags, iova, raw, err| unsafe {
            sys::pb_map_memory(self.raw(), address.cast(), length, flags, iova, raw, err)
        })
    }

    /// Takes the next mapping that was revoked, without waiting.
    pub fn next_revoked(&self) -> Option<MappingId> {
        let _lock = self.lock();
        // SAFETY: no mapping is unmapped while the lock is held.
        unsafe {
            let mapping = sys::pb_ioas_next_revoked(self.raw());
            (!mapping.is_null()).then(|| MappingId(sys::pb_mapping_data(mapping) as usize))
        }
    }

    /// Asks the kernel for revoked mappings, which stock vfio-pci does not report; returns how many
    /// were found.
    pub fn check(&self) -> Result<u32> {
        filled(|count, err| unsafe { sys::pb_ioas_check(self.raw(), count, err) })
    }
}

/// A descriptor that polls readable while [`Ioas::next_revoked`] has something to return.
impl AsFd for Ioas {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the address space.
        unsafe { BorrowedFd::borrow_raw(sys::pb_ioas_event_fd(self.raw())) }
    }
}

impl Drop for IoasInner {
    fn drop(&mut self) {
        unsafe { sys::pb_ioas_destroy(self.pointer.as_ptr()) }
    }
}

/// A mapping in an address space. When it has been dropped, DMA to its addresses faults.
#[derive(Debug)]
pub struct Mapping {
    pointer: NonNull<sys::pb_mapping>,
    ioas: Ioas,
    id: MappingId,
}

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for Mapping {}
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Identifies it in [`Ioas::next_revoked`].
    pub fn id(&self) -> MappingId {
        self.id
    }

    /// Its first address.
    pub fn iova(&self) -> u64 {
        unsafe { sys::pb_mapping_iova(self.pointer.as_ptr()) }
    }

    /// Its length.
    pub fn length(&self) -> u64 {
        unsafe { sys::pb_mapping_length(self.pointer.as_ptr()) }
    }

    /// LIVE, or REVOKED until [`Mapping::restore`]. For buffers of other processes, call
    /// [`Ioas::check`] first.
    pub fn state(&self) -> State {
        State(unsafe { sys::pb_mapping_state(self.pointer.as_ptr()) })
    }

    /// Maps it again after a revocation, at the same address.
    pub fn restore(&self) -> Result<()> {
        check(|err| unsafe { sys::pb_mapping_restore(self.pointer.as_ptr(), err) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _lock = self.ioas.lock();
        // After a failure the mapping ends with its address space.
        let _ = check(|err| unsafe { sys::pb_unmap(self.pointer.as_ptr(), err) });
    }
}
