//! Access, in the words of the system: a security descriptor that is in force before the name can be seen.
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

/// What others may do: read, write, switch the read mode; but not what makes an instance, `FILE_CREATE_PIPE_INSTANCE`,
/// which `GENERIC_WRITE` would include.
const READ_AND_WRITE: u32 = FILE_GENERIC_READ | FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES;

/// A security descriptor.
#[derive(Debug)]
pub(super) struct Descriptor {
    descriptor: Local,
}

impl Descriptor {
    /// The one that lets in whom `access` says; looks the accounts up.
    pub(super) fn new(access: &Access) -> io::Result<Descriptor> {
        let text = text_of(access)?;
        let invalid = |error| {
            let text = format!("the security descriptor `{text}` can't be used");
            fail_from(PipeErrorKind::Invalid, text, error)
        };
        let (units, mut descriptor) = (wide(&text), ptr::null_mut());
        // SAFETY: the text ends with a NUL; `descriptor` is a local that the call writes; null asks for no length.
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

    /// The attributes for a call, valid as long as `self` lives: no child inherits the handle.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or_default(),
            lpSecurityDescriptor: self.descriptor.0,
            bInheritHandle: 0,
        }
    }
}

/// The descriptor in the system's own language, SDDL: owner, system and administrators may everything.
fn text_of(access: &Access) -> io::Result<String> {
    if let Some(exactly) = &access.sddl {
        let mut alone = Access::owner();
        alone.sddl = access.sddl.clone();
        if *access != alone {
            let text = "a security descriptor says it all: nobody can be added to it";
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        if exactly.contains('\0') {
            return Err(fail(PipeErrorKind::Invalid, "a security descriptor has no NUL character"));
        }
        return Ok(exactly.clone());
    }
    let me = token::my_user()?.to_text()?;
    let mut text = format!("O:{me}D:P(A;;FA;;;{me})(A;;FA;;;SY)(A;;FA;;;BA)");
    let mut grant = |sid: &str| write!(text, "(A;;{READ_AND_WRITE:#x};;;{sid})").map_err(io::Error::other);
    if access.is_everyone() {
        // Who was authenticated: neither anonymous nor guests.
        grant("AU")?;
    }
    for account in access.users().iter().chain(access.groups()) {
        grant(&Sid::of(account)?.to_text()?)?;
    }
    Ok(text)
}
