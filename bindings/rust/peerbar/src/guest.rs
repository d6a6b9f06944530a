// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
use crate::convert::{filled, take_array};
use crate::device::Device;
use crate::error::{check, Result};
use crate::ioas::Ioas;
use crate::records::GuestRange;
use peerbar_sys as sys;
use std::ffi::c_void;
use std::mem::{size_of, MaybeUninit};
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// The address of a BAR that has none.
pub const NOWHERE: u64 = sys::PB_GUEST_NOWHERE;

#[derive(Debug)]
struct GuestInner {
    pointer: NonNull<sys::pb_guest>,
    /// The library uses these until they are removed.
    spaces: Mutex<Vec<Ioas>>,
    /// Devices that could not be removed.
    stuck: Mutex<Vec<Device>>,
}

/// The BARs of a virtual machine's assigned devices, in its address spaces.
///
/// Report a change that disables a BAR before applying it to the device, and one that enables it
/// after. Every call may be made by any thread; one lock is held for its whole duration.
///
/// ```no_run
/// # fn main() -> peerbar::Result<()> {
/// # let iommu = peerbar::Iommu::open()?;
/// # let ioas = iommu.create_ioas()?;
/// # let device = iommu.open_device("0000:01:00.0")?;
/// let guest = peerbar::Guest::new()?;
/// guest.add_ioas(&ioas, false)?;
/// let gpu = guest.add_device(&device, &[], 1)?;
/// gpu.set_bar(2, 0x10_8000_0000)?;
/// device.set_decoding(true)?;
/// gpu.set_decoding(true)?;
/// for report in guest.reports() {
///     eprintln!("BAR {} at {:#x}: {:?}", report.bar, report.address, report.why);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Guest(Arc<GuestInner>);

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for GuestInner {}
unsafe impl Sync for GuestInner {}

/// A part of a BAR that the VMM emulates, and that no peer may access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    pub bar: u32,
    pub offset: u64,
    pub length: u64,
}

/// A mapping in a domain of a virtual IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub iova: u64,
    pub address: u64,
    pub length: u64,
    pub read: bool,
    pub write: bool,
}

impl Guest {
    /// Creates a guest without devices.
    pub fn new() -> Result<Guest> {
        let raw = filled(|raw, err| unsafe { sys::pb_guest_create(raw, err) })?;
        let pointer = NonNull::new(raw).expect("a guest");
        let inner = GuestInner { pointer, spaces: Mutex::default(), stuck: Mutex::default() };
        Ok(Guest(Arc::new(inner)))
    }

    fn raw(&self) -> *mut sys::pb_guest {
        self.0.pointer.as_ptr()
    }

    /// Maps BARs in an address space: at guest-physical addresses or, with `windows`, where
    /// [`Guest::add_window`] reports.
    pub fn add_ioas(&self, ioas: &Ioas, windows: bool) -> Result<()> {
        let flags = if windows { sys::PB_GUEST_WINDOWS } else { 0 };
        check(|err| unsafe { sys::pb_guest_add_ioas(self.raw(), ioas.raw(), flags, err) })?;
        self.0.spaces.lock().unwrap_or_else(PoisonError::into_inner).push(ioas.clone());
        Ok(())
    }

    /// Unmaps all BARs from an address space, and removes it.
    pub fn remove_ioas(&self, ioas: &Ioas) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_remove_ioas(self.raw(), ioas.raw(), err) })?;
        let mut spaces = self.0.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        spaces.retain(|other| other.raw() != ioas.raw());
        Ok(())
    }

    /// The guest mapped a range in a domain of its virtual IOMMU.
    pub fn add_window(&self, ioas: &Ioas, window: &Window) -> Result<()> {
        let read = if window.read { sys::PB_MAP_READ } else { 0 };
        let write = if window.write { sys::PB_MAP_WRITE } else { 0 };
        let raw = sys::pb_guest_window {
            iova: window.iova,
            address: window.address,
            length: window.length,
            flags: read | write,
        };
        check(|err| unsafe { sys::pb_guest_add_window(self.raw(), ioas.raw(), &raw, err) })
    }

    /// The guest unmapped that range.
    pub fn remove_window(&self, ioas: &Ioas, iova: u64) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_remove_window(self.raw(), ioas.raw(), iova, err) })
    }

    /// Assigns a device, which is as after a reset: decoding off, D0, BARs at no address. `data`
    /// identifies it in [`GuestRange::data`].
    pub fn add_device(&self, device: &Device, traps: &[Trap], data: usize) -> Result<GuestDevice> {
        let traps: Vec<_> = traps
            .iter()
            .map(|t| sys::pb_guest_trap { bar: t.bar, offset: t.offset, length: t.length })
            .collect();
        let raw = filled(|raw, err| unsafe {
            let (array, count) = (traps.as_ptr(), traps.len() as u32);
            let data = data as *mut c_void;
            sys::pb_guest_add_device(self.raw(), device.raw(), array, count, data, raw, err)
        })?;
        let pointer = NonNull::new(raw).expect("a device of a guest");
        Ok(GuestDevice { pointer, guest: self.clone(), device: device.clone() })
    }

    /// Processes pending events, and retries refused ranges: when the descriptor polls readable.
    pub fn sync(&self) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_sync(self.raw(), 0, err) })
    }

    /// The same; also retries ranges that were refused for a lasting reason.
    pub fn retry(&self) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_sync(self.raw(), sys::PB_GUEST_RETRY, err) })
    }

    /// The same as [`Guest::sync`]; makes all mappings again.
    pub fn remake(&self) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_sync(self.raw(), sys::PB_GUEST_REMAKE, err) })
    }

    /// Compares with the kernel's mappings, repairs them, and returns how many were wrong.
    pub fn check(&self) -> Result<u32> {
        filled(|count, err| unsafe { sys::pb_guest_check(self.raw(), count, err) })
    }

    /// The number of ranges that should be mapped, and could not be.
    pub fn refused(&self) -> u32 {
        unsafe { sys::pb_guest_nr_refused(self.raw()) }
    }

    /// All parts of all BARs, and the state of each.
    pub fn ranges(&self) -> Result<Vec<GuestRange>> {
        take_array(
            |array, size, n, err| unsafe {
                sys::pb_guest_list_sized(self.raw(), array, size, n, err)
            },
            GuestRange::of,
        )
    }

    /// Takes the pending reports, for the VMM's log.
    pub fn reports(&self) -> Reports<'_> {
        Reports(self)
    }
}

/// A descriptor that polls readable while work is pending: call [`Guest::sync`], then take
/// [`Guest::reports`]. Do not read from it.
impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the guest.
        unsafe { BorrowedFd::borrow_raw(sys::pb_guest_fd(self.raw())) }
    }
}

impl Drop for GuestInner {
    fn drop(&mut self) {
        // Before the address spaces and devices that it uses.
        unsafe { sys::pb_guest_destroy(self.pointer.as_ptr()) }
    }
}

/// An iterator over pending reports: see [`Guest::reports`].
#[derive(Debug)]
pub struct Reports<'a>(&'a Guest);

impl Iterator for Reports<'_> {
    type Item = GuestRange;

    fn next(&mut self) -> Option<GuestRange> {
        let mut raw = MaybeUninit::<sys::pb_guest_range>::zeroed();
        let size = size_of::<sys::pb_guest_range>();
        // SAFETY: it is filled in if the function returns true.
        unsafe {
            sys::pb_guest_next_report_sized(self.0.raw(), raw.as_mut_ptr(), size)
                .then(|| GuestRange::of(raw.assume_init_ref()))
        }
    }
}

/// A device of a guest. Dropping it removes it from the guest.
#[derive(Debug)]
pub struct GuestDevice {
    pointer: NonNull<sys::pb_guest_device>,
    guest: Guest,
    device: Device,
}

// SAFETY: the library's functions may be called from any thread.
unsafe impl Send for GuestDevice {}
unsafe impl Sync for GuestDevice {}

impl GuestDevice {
    fn raw(&self) -> *mut sys::pb_guest_device {
        self.pointer.as_ptr()
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The guest wrote a BAR register, which now has this address; [`NOWHERE`] if it has none.
    pub fn set_bar(&self, bar: u32, address: u64) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_set_bar(self.raw(), bar, address, err) })
    }

    /// The guest wrote the Memory Space bit. Set the device's own bit before, clear it after.
    pub fn set_decoding(&self, on: bool) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_set_decoding(self.raw(), on, err) })
    }

    /// The guest moved the device to D0, or out of it.
    pub fn set_power(&self, on: bool) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_set_power(self.raw(), on, err) })
    }

    /// The device is about to be reset, alone or with others.
    pub fn reset_begin(&self) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_reset_begin(self.raw(), err) })
    }

    /// The reset is over, successful or not.
    pub fn reset_done(&self) -> Result<()> {
        check(|err| unsafe { sys::pb_guest_reset_done(self.raw(), err) })
    }
}

impl Drop for GuestDevice {
    fn drop(&mut self) {
        if check(|err| unsafe { sys::pb_guest_remove_device(self.raw(), err) }).is_err() {
            // It still exists, with decoding off, and uses the device until the guest ends.
            let mut stuck = self.guest.0.stuck.lock().unwrap_or_else(PoisonError::into_inner);
            stuck.push(self.device.clone());
        }
    }
}
