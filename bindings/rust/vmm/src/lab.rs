// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! The lab's devices, its host's view of them, and its driver for edu: tests/lab/support/lab.h.

use peerbar_sys::pb_device;
use std::ffi::{c_char, c_uint, c_void, CStr};

#[repr(C)]
pub struct Edu {
    device: *mut pb_device,
    mmio: *mut u8,
}

extern "C" {
    fn lab_bdf(role: c_uint) -> *const c_char;
    fn lab_driver() -> *const c_char;
    fn lab_host_sees(offset: u64, data: *const c_void, length: usize) -> bool;
    fn lab_faults() -> c_uint;
    fn lab_expect_faults(n: c_uint, why: *const c_char);
    fn edu_start(edu: *mut Edu, device: *mut pb_device);
    fn edu_stop(edu: *mut Edu);
    fn edu_copy(edu: *mut Edu, from: u64, to: u64, length: usize);
}

/// Binds a device of the lab (0: the GPU, 1: edu) to the driver under test, and opens it.
pub fn open(iommu: &peerbar::Iommu, role: u32) -> peerbar::Result<peerbar::Device> {
    // SAFETY: constants of the lab.
    let (bdf, driver) = unsafe { (CStr::from_ptr(lab_bdf(role)), CStr::from_ptr(lab_driver())) };
    let bdf = bdf.to_str().expect("an address");
    peerbar::bind(bdf, driver.to_str().expect("a name"), false)?;
    iommu.open_device(bdf)
}

/// Whether the host reads exactly these bytes in the GPU's BAR.
pub fn host_sees(offset: u64, data: &[u8]) -> bool {
    unsafe { lab_host_sees(offset, data.as_ptr().cast(), data.len()) }
}

/// The number of IOMMU faults since the machine was started.
pub fn faults() -> u32 {
    unsafe { lab_faults() }
}

/// Declares faults as expected.
pub fn expect_faults(n: u32) {
    unsafe { lab_expect_faults(n, c"vmm in Rust: DMA to where the GPU is not".as_ptr()) }
}

/// edu, which copies between IOVAs.
pub struct Copier(Edu, #[allow(dead_code)] peerbar::Device);

impl Copier {
    pub fn new(device: &peerbar::Device) -> Copier {
        let mut edu = Edu { device: std::ptr::null_mut(), mmio: std::ptr::null_mut() };
        unsafe { edu_start(&mut edu, device.raw()) };
        Copier(edu, device.clone())
    }

    pub fn copy(&mut self, from: u64, to: u64, length: usize) {
        unsafe { edu_copy(&mut self.0, from, to, length) }
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        unsafe { edu_stop(&mut self.0) }
    }
}
