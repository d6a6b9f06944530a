// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! From C's types.

use crate::error::{check, Result};
use peerbar_sys as sys;
use std::ffi::{c_char, c_void, CStr, CString};
use std::mem::MaybeUninit;

extern "C" {
    fn free(pointer: *mut c_void);
}

/// A string in an array of bytes, up to its NUL.
pub(crate) fn text(bytes: &[c_char]) -> String {
    let bytes: Vec<u8> =
        bytes.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A constant string of the library.
pub(crate) fn pointed_text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the library's strings end with a NUL.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// An array that a structure of the library points to; such a structure exists only inside a call
/// of this crate.
pub(crate) fn elements<'a, T>(pointer: *const T, count: u32) -> &'a [T] {
    if pointer.is_null() {
        return &[];
    }
    // SAFETY: the library sets the pointer and the count together.
    unsafe { std::slice::from_raw_parts(pointer, count as usize) }
}

/// Panics if there is a NUL byte inside.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).expect("a string without NUL bytes")
}

/// Takes an array that a `*_sized` function allocates, converts and frees it.
pub(crate) fn take_array<T, R>(
    call: impl FnOnce(*mut *mut T, usize, *mut u32, *mut sys::pb_error) -> i32,
    convert: impl Fn(&T) -> R,
) -> Result<Vec<R>> {
    let mut array = std::ptr::null_mut();
    let mut count = 0;
    check(|err| call(&mut array, size_of::<T>(), &mut count, err))?;
    let result = elements(array, count).iter().map(convert).collect();
    // SAFETY: the library allocated it with malloc(), and nothing refers to it any more.
    unsafe { free(array.cast()) };
    Ok(result)
}

/// Takes a structure that a function of the library fills in completely.
pub(crate) fn filled<T>(call: impl FnOnce(*mut T, *mut sys::pb_error) -> i32) -> Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    check(|err| call(value.as_mut_ptr(), err))?;
    // SAFETY: the function succeeded.
    Ok(unsafe { value.assume_init() })
}

fn size_of<T>() -> usize {
    std::mem::size_of::<T>()
}
