// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! P2P DMA to the memory of PCI devices: libpeerbar, safely.
//!
//! ```no_run
//! # fn main() -> peerbar::Result<()> {
//! let iommu = peerbar::Iommu::open()?;
//! let gpu = iommu.open_device("0000:01:00.0")?;
//! let buffer = gpu.export(2, &[peerbar::range(0, 2 << 20)])?;
//! println!("{:?}", buffer.query()?.model);
//! let ioas = iommu.create_ioas()?;
//! ioas.attach(&gpu)?;
//! let mapping = ioas.map(&buffer, 0, 0, peerbar::Access::ReadWrite, None)?;
//! println!("{:#x}", mapping.iova());
//! # Ok(())
//! # }
//! ```
//!
//! # Objects
//!
//! An object is released when it is dropped, and keeps those alive that the library needs for it: a
//! [`Mapping`] its [`Ioas`], a [`GuestDevice`] its [`Guest`] and its [`Device`]. [`Iommu`],
//! [`Device`], [`Ioas`] and [`Guest`] are handles: a clone is the same object, which is released
//! with the last clone. So no call can use what was released.
//!
//! # Threads
//!
//! All types are [`Send`] and [`Sync`]: the library locks for itself. [`Guest`] holds one lock for
//! the whole of each call, across its ioctls, so that a vCPU thread may report what its guest did
//! while the event loop calls [`Guest::sync`]. The library starts no threads, has no callbacks, and
//! keeps no global state.
//!
//! # Errors
//!
//! [`Error`] has the errno and one sentence. The library does not print, abort or panic; this crate
//! panics only for a string with a NUL byte.

mod buffer;
mod convert;
mod device;
mod error;
mod guest;
mod ioas;
mod memory;
mod pci;
#[rustfmt::skip]
mod records;
mod watch;

pub use buffer::{exporter_model, list_importers, Buffer};
pub use device::{Device, Iommu, CONFIG};
pub use error::{Error, Result};
pub use guest::{Guest, GuestDevice, Reports, Trap, Window, NOWHERE};
pub use ioas::{Access, Ioas, Mapping, MappingId};
pub use memory::Memory;
pub use pci::*;
pub use records::*;
pub use watch::{list_buffers, Events, Watch};

/// A range of a BAR.
pub fn range(offset: u64, length: u64) -> Range {
    Range { offset, length }
}

/// The version of the library at run time.
///
/// ```
/// assert!(peerbar::version().starts_with("0."));
/// ```
pub fn version() -> &'static str {
    // SAFETY: a constant of the library.
    unsafe { std::ffi::CStr::from_ptr(peerbar_sys::pb_version()) }.to_str().unwrap_or("")
}
