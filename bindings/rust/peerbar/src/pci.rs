// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! PCI functions, what the system can do, and RDMA links.

use crate::convert::{c_string, filled, take_array};
use crate::error::{check, Result};
use crate::records::{Capability, Holder, PciFunction};
use peerbar_sys as sys;
use std::mem::size_of;

/// All PCI functions, sorted by address.
pub fn functions() -> Result<Vec<PciFunction>> {
    // SAFETY: the pointers are valid for the call; so for all calls below.
    take_array(
        |array, size, n, err| unsafe { sys::pb_pci_list_sized(array, size, n, err) },
        PciFunction::of,
    )
}

/// One PCI function, by its address: `0000:01:00.0` or, in domain 0, `01:00.0`.
pub fn find(bdf: &str) -> Result<PciFunction> {
    let bdf = c_string(bdf);
    let raw: sys::pb_pci_function = filled(|raw, err| unsafe {
        sys::pb_pci_get_sized(bdf.as_ptr(), raw, size_of::<sys::pb_pci_function>(), err)
    })?;
    Ok(PciFunction::of(&raw))
}

/// Binds a function to a driver. A VFIO driver takes any device; `force` makes another driver take
/// one that it does not support.
pub fn bind(bdf: &str, driver: &str, force: bool) -> Result<()> {
    let (bdf, driver) = (c_string(bdf), c_string(driver));
    let flags = if force { sys::PB_BIND_FORCE } else { 0 };
    check(|err| unsafe { sys::pb_pci_bind_flags(bdf.as_ptr(), driver.as_ptr(), flags, err) })
}

/// Unbinds a function, and lets the kernel bind the default driver.
pub fn unbind(bdf: &str) -> Result<()> {
    let bdf = c_string(bdf);
    check(|err| unsafe { sys::pb_pci_unbind(bdf.as_ptr(), err) })
}

/// The processes that hold the function's VFIO device, its group, or a dma-buf of it.
pub fn holders(bdf: &str) -> Result<Vec<Holder>> {
    let bdf = c_string(bdf);
    take_array(
        |array, _, n, err| unsafe { sys::pb_pci_holders(bdf.as_ptr(), array, n, err) },
        Holder::of,
    )
}

/// What this process can do on this system, and what is missing for the rest.
pub fn capabilities() -> Result<Vec<Capability>> {
    take_array(
        |array, size, n, err| unsafe { sys::pb_capabilities_sized(array, size, n, err) },
        Capability::of,
    )
}

/// The ABI version of the kernel module peerbar; 0 if the module does not answer.
pub fn module_abi() -> u32 {
    unsafe { sys::pb_module_abi() }
}

/// Creates an RDMA device of the driver peerbar-rdma on an Ethernet device.
pub fn add_rdma_link(name: &str, netdev: &str) -> Result<()> {
    let (name, netdev) = (c_string(name), c_string(netdev));
    check(|err| unsafe { sys::pb_rdma_link_add(name.as_ptr(), netdev.as_ptr(), err) })
}

/// Removes an RDMA device that [`add_rdma_link`] created.
pub fn delete_rdma_link(name: &str) -> Result<()> {
    let name = c_string(name);
    check(|err| unsafe { sys::pb_rdma_link_delete(name.as_ptr(), err) })
}
