// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
use peerbar_sys as sys;
use std::{fmt, io};

/// Why a call failed: the errno, and one sentence with the request, the reason and the remedy.
///
/// ```
/// let error = peerbar::find("nonsense").unwrap_err();
/// assert_eq!(error.code(), 22);
/// assert!(error.to_string().contains("nonsense"));
/// assert_eq!(std::io::Error::from(error).raw_os_error(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: i32,
    text: String,
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The errno, positive.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// None if the C structure has no error.
    pub(crate) fn of(raw: &sys::pb_error) -> Option<Error> {
        (raw.code != 0).then(|| Error { code: raw.code, text: crate::convert::text(&raw.text) })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(io::Error::from_raw_os_error(error.code).kind(), error)
    }
}

/// Calls a function whose last parameter is a `struct pb_error`.
pub(crate) fn check(call: impl FnOnce(*mut sys::pb_error) -> i32) -> Result<()> {
    let mut raw = sys::pb_error { code: 0, text: [0; 380] };
    let result = call(&mut raw);
    if result >= 0 {
        return Ok(());
    }
    Err(Error::of(&raw).unwrap_or_else(|| Error {
        code: -result,
        text: io::Error::from_raw_os_error(-result).to_string(),
    }))
}
