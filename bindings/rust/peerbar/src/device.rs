// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
use crate::buffer::Buffer;
use crate::convert::{c_string, filled};
use crate::error::{check, Result};
use crate::ioas::Ioas;
use crate::memory::Memory;
use crate::records::{Memattr, Range, Region};
use peerbar_sys as sys;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// The region of the configuration space.
pub const CONFIG: u32 = sys::PB_REGION_CONFIG;

#[derive(Debug)]
struct IommuInner(NonNull<sys::pb_iommu>);

/// An iommufd context.
#[derive(Clone, Debug)]
pub struct Iommu(Arc<IommuInner>);

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for IommuInner {}
unsafe impl Sync for IommuInner {}

impl Iommu {
    fn new(pointer: *mut sys::pb_iommu) -> Iommu {
        Iommu(Arc::new(IommuInner(NonNull::new(pointer).expect("a context"))))
    }

    fn raw(&self) -> *mut sys::pb_iommu {
        self.0 .0.as_ptr()
    }

    /// Opens /dev/iommu.
    pub fn open() -> Result<Iommu> {
        Ok(Iommu::new(filled(|raw, err| unsafe { sys::pb_iommu_open(raw, err) })?))
    }

    /// Uses an open iommufd, for example a VMM's; the descriptor is duplicated.
    pub fn from_fd(fd: BorrowedFd<'_>) -> Result<Iommu> {
        let raw = filled(|raw, err| unsafe { sys::pb_iommu_from_fd(fd.as_raw_fd(), raw, err) })?;
        Ok(Iommu::new(raw))
    }

    /// Opens the VFIO device of a function, which must be bound to vfio-pci or peerbar-vfio-pci.
    pub fn open_device(&self, bdf: &str) -> Result<Device> {
        let bdf = c_string(bdf);
        let raw =
            filled(|raw, err| unsafe { sys::pb_device_open(self.raw(), bdf.as_ptr(), raw, err) })?;
        Ok(Device::new(raw))
    }

    /// Uses an open VFIO device that is bound to this iommufd; the descriptor is duplicated, and
    /// the device's state remains the caller's.
    pub fn device_from_fd(&self, fd: BorrowedFd<'_>, bdf: &str) -> Result<Device> {
        let bdf = c_string(bdf);
        let raw = filled(|raw, err| unsafe {
            sys::pb_device_from_fd(self.raw(), fd.as_raw_fd(), bdf.as_ptr(), raw, err)
        })?;
        Ok(Device::new(raw))
    }

    /// Creates an I/O address space.
    pub fn create_ioas(&self) -> Result<Ioas> {
        Ok(Ioas::new(filled(|raw, err| unsafe { sys::pb_ioas_create(self.raw(), raw, err) })?))
    }

    /// Uses an existing I/O address space, by iommufd's number. It remains the caller's.
    pub fn ioas_from_id(&self, id: u32) -> Result<Ioas> {
        Ok(Ioas::new(filled(|raw, err| unsafe { sys::pb_ioas_from_id(self.raw(), id, raw, err) })?))
    }
}

impl AsFd for Iommu {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the context.
        unsafe { BorrowedFd::borrow_raw(sys::pb_iommu_fd(self.raw())) }
    }
}

impl Drop for IommuInner {
    fn drop(&mut self) {
        unsafe { sys::pb_iommu_close(self.0.as_ptr()) }
    }
}

#[derive(Debug)]
struct DeviceInner(NonNull<sys::pb_device>);

/// A VFIO device. It is closed, and the buffers exported from it are revoked, with its last clone.
#[derive(Clone, Debug)]
pub struct Device(Arc<DeviceInner>);

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for DeviceInner {}
unsafe impl Sync for DeviceInner {}

impl Device {
    fn new(pointer: *mut sys::pb_device) -> Device {
        Device(Arc::new(DeviceInner(NonNull::new(pointer).expect("a device"))))
    }

    /// The C object, which is valid as long as this one.
    pub fn raw(&self) -> *mut sys::pb_device {
        self.0 .0.as_ptr()
    }

    /// The address of the PCI function.
    pub fn bdf(&self) -> String {
        crate::convert::pointed_text(unsafe { sys::pb_device_bdf(self.raw()) })
    }

    /// The number of regions.
    pub fn regions(&self) -> u32 {
        unsafe { sys::pb_device_regions(self.raw()) }
    }

    /// One region: BARs 0 to 5, 6 the expansion ROM, 7 the configuration space.
    pub fn region(&self, index: u32) -> Result<Region> {
        let raw: sys::pb_region = filled(|raw, err| unsafe {
            sys::pb_device_region_sized(self.raw(), index, raw, size_of::<sys::pb_region>(), err)
        })?;
        Ok(Region::of(&raw))
    }

    /// Reads from a region, through the kernel.
    pub fn read(&self, region: u32, offset: u64, data: &mut [u8]) -> Result<()> {
        let (pointer, length) = (data.as_mut_ptr().cast(), data.len());
        check(|err| unsafe {
            sys::pb_device_read(self.raw(), region, offset, pointer, length, err)
        })
    }

    /// Writes to a region, through the kernel.
    pub fn write(&self, region: u32, offset: u64, data: &[u8]) -> Result<()> {
        let (pointer, length) = (data.as_ptr().cast(), data.len());
        check(|err| unsafe {
            sys::pb_device_write(self.raw(), region, offset, pointer, length, err)
        })
    }

    /// Maps a part of a region. The mapping keeps the kernel's device open.
    pub fn mmap(&self, region: u32, offset: u64, length: usize, writable: bool) -> Result<Memory> {
        let address = filled(|address, err| unsafe {
            sys::pb_device_mmap(self.raw(), region, offset, length, writable, address, err)
        })?;
        Ok(Memory::new(address, length, writable))
    }

    /// An offset for `mmap()` of the device's descriptor, which maps a part of a BAR with a memory
    /// attribute. It is valid until the device is closed. Needs peerbar-vfio-pci.
    pub fn cookie(&self, bar: u32, offset: u64, length: u64, memattr: Memattr) -> Result<u64> {
        filled(|cookie, err| unsafe {
            let raw = self.raw();
            sys::pb_device_mmap_cookie(raw, bar, offset, length, memattr.0, cookie, err)
        })
    }

    /// Maps the part of a cookie. The mapping does not keep the device open: once that is closed,
    /// an access raises SIGBUS.
    pub fn mmap_at(&self, cookie: u64, length: usize, writable: bool) -> Result<Memory> {
        let address = filled(|address, err| unsafe {
            sys::pb_device_mmap_at(self.raw(), cookie, length, writable, address, err)
        })?;
        Ok(Memory::new(address, length, writable))
    }

    /// Turns memory decoding on or off. Off revokes the buffers, on makes them usable again.
    pub fn set_decoding(&self, on: bool) -> Result<()> {
        check(|err| unsafe { sys::pb_device_set_decoding(self.raw(), on, err) })
    }

    /// Whether memory decoding is on.
    pub fn decoding(&self) -> Result<bool> {
        filled(|on, err| unsafe { sys::pb_device_decoding(self.raw(), on, err) })
    }

    /// Allows or stops DMA by the device.
    pub fn set_bus_master(&self, on: bool) -> Result<()> {
        check(|err| unsafe { sys::pb_device_set_bus_master(self.raw(), on, err) })
    }

    /// Resets the function.
    pub fn reset(&self) -> Result<()> {
        check(|err| unsafe { sys::pb_device_reset(self.raw(), err) })
    }

    /// Exports ranges of a BAR as one dma-buf.
    pub fn export(&self, bar: u32, ranges: &[Range]) -> Result<Buffer> {
        let raw: Vec<_> = ranges
            .iter()
            .map(|range| sys::pb_range { offset: range.offset, length: range.length })
            .collect();
        let buffer = filled(|buffer, err| unsafe {
            sys::pb_buffer_export(self.raw(), bar, raw.as_ptr(), raw.len() as u32, 0, buffer, err)
        })?;
        Ok(Buffer::new(buffer))
    }

    /// Sets the memory attribute of later mappings of a buffer: the first that is supported, which
    /// is returned. Needs peerbar-vfio-pci.
    pub fn set_memattr(&self, buffer: &Buffer, memattrs: &[Memattr]) -> Result<Memattr> {
        let raw: Vec<_> = memattrs.iter().map(|memattr| memattr.0).collect();
        let chosen = filled(|chosen, err| unsafe {
            let (array, count) = (raw.as_ptr(), raw.len() as u32);
            sys::pb_buffer_set_memattr(self.raw(), buffer.raw(), array, count, chosen, err)
        })?;
        Ok(Memattr(chosen))
    }

    /// The memory attribute of later mappings of a buffer.
    pub fn memattr(&self, buffer: &Buffer) -> Result<Memattr> {
        let memattr = filled(|memattr, err| unsafe {
            sys::pb_buffer_memattr(self.raw(), buffer.raw(), memattr, err)
        })?;
        Ok(Memattr(memattr))
    }

    /// Revokes a buffer of this device for good, in all processes. Needs peerbar-vfio-pci.
    pub fn revoke(&self, buffer: &Buffer) -> Result<()> {
        check(|err| unsafe { sys::pb_buffer_revoke(self.raw(), buffer.raw(), err) })
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the device.
        unsafe { BorrowedFd::borrow_raw(sys::pb_device_fd(self.raw())) }
    }
}

impl Drop for DeviceInner {
    fn drop(&mut self) {
        unsafe { sys::pb_device_close(self.0.as_ptr()) }
    }
}
