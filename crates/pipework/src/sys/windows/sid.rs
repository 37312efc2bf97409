//! Security identifiers of users and groups.
#![expect(unsafe_code, reason = "calls of the system")]

use super::handle::{code, done, wide};
use crate::error::{PipeErrorKind, fail, fail_from};
use std::{ffi::c_void, io, ptr, slice};
use windows_sys::Win32::{
    Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_NONE_MAPPED, LocalFree},
    Security::{
        Authorization::{ConvertSidToStringSidW, ConvertStringSidToSidW},
        CopySid, GetLengthSid, IsWellKnownSid, LookupAccountNameW, LookupAccountSidW, PSID,
        SECURITY_MAX_SID_SIZE, WinBuiltinAdministratorsSid, WinLocalServiceSid, WinLocalSystemSid,
        WinNetworkServiceSid,
    },
};

/// The first buffer for a name, in UTF-16 units; the system reports if it needs more.
const NAME_UNITS: u32 = 257;

/// A copy of a security identifier. The system has one encoding for each, so equal ones have equal words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sid {
    words: Box<[u32]>,
}

impl Sid {
    /// Copies a security identifier of the system.
    ///
    /// # Safety
    /// `sid` points to a valid security identifier.
    pub(super) unsafe fn copied(sid: PSID) -> io::Result<Sid> {
        // SAFETY: the caller promises that it is valid.
        let len = unsafe { GetLengthSid(sid) };
        let words = usize::try_from(len.div_ceil(4)).map_err(io::Error::other)?;
        let mut words = vec![0_u32; words].into_boxed_slice();
        // SAFETY: the words have room for `len` bytes, which is what the valid identifier takes.
        let answer = unsafe { CopySid(len, words.as_mut_ptr().cast(), sid) };
        done(answer)?;
        Ok(Sid { words })
    }

    /// The identifier that a text stands for: a SID, or the account name of a user or group.
    pub(super) fn of(account: &str) -> io::Result<Sid> {
        let unknown = |error| {
            let text = format!("there is no account `{account}` on this machine or in its domain");
            fail_from(PipeErrorKind::Invalid, text, error)
        };
        if account.contains('\0') || account.is_empty() {
            let text = format!("{account:?} is not an account name");
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        if account.starts_with("S-1-") || account.starts_with("s-1-") {
            return Sid::parse(account).map_err(unknown);
        }
        Sid::look_up(account).map_err(unknown)
    }

    fn parse(text: &str) -> io::Result<Sid> {
        let text = wide(text);
        let mut sid = ptr::null_mut();
        // SAFETY: the text ends with a NUL; `sid` is a local that the call writes.
        let answer = unsafe { ConvertStringSidToSidW(text.as_ptr(), &mut sid) };
        done(answer)?;
        let sid = Local(sid);
        // SAFETY: the call has just created it.
        unsafe { Sid::copied(sid.0) }
    }

    fn look_up(account: &str) -> io::Result<Sid> {
        let account = wide(account);
        let (mut sid_len, mut domain_len) = (SECURITY_MAX_SID_SIZE, NAME_UNITS);
        let mut sid: Vec<u32> = Vec::new();
        let mut domain: Vec<u16> = Vec::new();
        let mut account_type = 0;
        for _ in 0..2 {
            sid.resize(usize::try_from(sid_len).unwrap_or(0).div_ceil(4), 0);
            domain.resize(usize::try_from(domain_len).unwrap_or(0), 0);
            // SAFETY: the name ends with a NUL; both buffers have the lengths that the call gets; null means this machine.
            let answer = unsafe {
                LookupAccountNameW(
                    ptr::null(),
                    account.as_ptr(),
                    sid.as_mut_ptr().cast(),
                    &mut sid_len,
                    domain.as_mut_ptr(),
                    &mut domain_len,
                    &mut account_type,
                )
            };
            match done(answer) {
                // SAFETY: the call has filled the buffer with a valid identifier.
                Ok(()) => return unsafe { Sid::copied(sid.as_mut_ptr().cast()) },
                Err(error) if code(&error) == Some(ERROR_INSUFFICIENT_BUFFER) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the account changed while it was looked up"))
    }

    /// As text: `S-1-…`.
    pub(super) fn to_text(&self) -> io::Result<String> {
        let mut text = ptr::null_mut();
        // SAFETY: the identifier is valid; `text` is a local that the call writes.
        let answer = unsafe { ConvertSidToStringSidW(self.as_ptr(), &mut text) };
        done(answer)?;
        let text = Local(text.cast());
        let start: *const u16 = text.0.cast();
        let mut len = 0;
        // SAFETY: the text ends with a NUL, and the loop does not go beyond it.
        while unsafe { *start.wrapping_add(len) } != 0 {
            len += 1;
        }
        // SAFETY: the loop has read so many units; the text lives until `text` is dropped.
        let units = unsafe { slice::from_raw_parts(start, len) };
        Ok(String::from_utf16_lossy(units))
    }

    /// The account name, `DOMAIN\name`; the text of the SID if there is none.
    pub(super) fn account(&self) -> io::Result<String> {
        let (mut name_len, mut domain_len) = (NAME_UNITS, NAME_UNITS);
        let (mut name, mut domain): (Vec<u16>, Vec<u16>) = (Vec::new(), Vec::new());
        let mut account_type = 0;
        for _ in 0..2 {
            name.resize(usize::try_from(name_len).unwrap_or(0), 0);
            domain.resize(usize::try_from(domain_len).unwrap_or(0), 0);
            // SAFETY: the identifier is valid; both buffers have the lengths that the call gets; null means this machine.
            let answer = unsafe {
                LookupAccountSidW(
                    ptr::null(),
                    self.as_ptr(),
                    name.as_mut_ptr(),
                    &mut name_len,
                    domain.as_mut_ptr(),
                    &mut domain_len,
                    &mut account_type,
                )
            };
            match done(answer) {
                Ok(()) => return Ok(joined(&text_of(&domain), &text_of(&name))),
                Err(error) if code(&error) == Some(ERROR_INSUFFICIENT_BUFFER) => {}
                Err(error) if code(&error) == Some(ERROR_NONE_MAPPED) => return self.to_text(),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the account changed while it was looked up"))
    }

    /// Whether this is the system, the administrators, or a service account.
    pub(super) fn is_of_system(&self) -> bool {
        let known =
            [WinLocalSystemSid, WinLocalServiceSid, WinNetworkServiceSid, WinBuiltinAdministratorsSid];
        // SAFETY: the identifier is valid.
        let is_known = |kind: &i32| unsafe { IsWellKnownSid(self.as_ptr(), *kind) } != 0;
        known.iter().any(is_known) || self.is_service()
    }

    /// Service accounts are `S-1-5-80-…`.
    fn is_service(&self) -> bool {
        /// The last four bytes of the identifier authority 5.
        const AUTHORITY: u32 = u32::from_ne_bytes([0, 0, 0, 5]);
        matches!(&*self.words, [_, AUTHORITY, 80, ..])
    }

    fn as_ptr(&self) -> PSID {
        // The calls that take the pointer only read, in spite of its type.
        self.words.as_ptr().cast_mut().cast()
    }
}

fn joined(domain: &str, name: &str) -> String {
    if domain.is_empty() { name.to_owned() } else { format!("{domain}\\{name}") }
}

/// The text before its NUL.
fn text_of(units: &[u16]) -> String {
    let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
    String::from_utf16_lossy(text)
}

/// Memory that the system allocated for this caller.
#[derive(Debug)]
pub(super) struct Local(pub(super) *mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the call that allocated it requires `LocalFree`, and nothing else frees it.
        unsafe { LocalFree(self.0) };
    }
}
