//! Access as a security descriptor, which is in force before the name is visible.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    handle::{done, wide},
    sid::{Local, Sid},
    token,
};
use crate::{
    access::Access,
    error::{PipeErrorKind, fail, fail_from},
};
use std::{fmt::Write, io, ptr};
use windows_sys::Win32::{
    Security::{
        Authorization::{ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1},
        SECURITY_ATTRIBUTES,
    },
    Storage::FileSystem::{FILE_GENERIC_READ, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA},
};

/// The rights of other accounts: read, write, switch the read mode. `GENERIC_WRITE` would add the right to create
/// instances, `FILE_CREATE_PIPE_INSTANCE`.
const READ_AND_WRITE: u32 = FILE_GENERIC_READ | FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES;

/// A security descriptor.
#[derive(Debug)]
pub(super) struct Descriptor {
    descriptor: Local,
}

impl Descriptor {
    /// The descriptor that grants what `access` says; looks up the accounts.
    pub(super) fn new(access: &Access) -> io::Result<Descriptor> {
        let text = text_of(access)?;
        let invalid = |error| {
            let text = format!("the security descriptor `{text}` is invalid");
            fail_from(PipeErrorKind::Invalid, text, error)
        };
        let (units, mut descriptor) = (wide(&text), ptr::null_mut());
        // SAFETY: the text ends with a NUL; `descriptor` is a local that the call writes; null means that the length is not needed.
        let answer = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                units.as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                ptr::null_mut(),
            )
        };
        done(answer).map_err(invalid)?;
        Ok(Descriptor { descriptor: Local(descriptor) })
    }

    /// The attributes for a call, valid while `self` lives. Children do not inherit the handle.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or_default(),
            lpSecurityDescriptor: self.descriptor.0,
            bInheritHandle: 0,
        }
    }
}

/// The descriptor as SDDL text. Owner, system and administrators have all rights.
fn text_of(access: &Access) -> io::Result<String> {
    if let Some(exactly) = &access.sddl {
        let mut alone = Access::owner();
        alone.sddl = access.sddl.clone();
        if *access != alone {
            let text = "a security descriptor is complete: users and groups can't be added to it";
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        if exactly.contains('\0') {
            return Err(fail(PipeErrorKind::Invalid, "a security descriptor can't contain a NUL character"));
        }
        return Ok(exactly.clone());
    }
    let me = token::my_user()?.to_text()?;
    let mut text = format!("O:{me}D:P(A;;FA;;;{me})(A;;FA;;;SY)(A;;FA;;;BA)");
    let mut grant = |sid: &str| write!(text, "(A;;{READ_AND_WRITE:#x};;;{sid})").map_err(io::Error::other);
    if access.is_everyone() {
        // Authenticated users: neither anonymous clients nor guests.
        grant("AU")?;
    }
    for account in access.users().iter().chain(access.groups()) {
        grant(&Sid::of(account)?.to_text()?)?;
    }
    Ok(text)
}
