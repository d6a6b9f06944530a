// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! The C interface of libpeerbar, as it is: the headers and man pages describe the functions. The
//! crate `peerbar` has a safe interface.
//!
//! The declarations are written by bindings/generate, and checked in.
#![no_std]
#![allow(non_camel_case_types)]

#[rustfmt::skip]
mod bindings;
pub use bindings::*;
