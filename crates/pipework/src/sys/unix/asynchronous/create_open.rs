#![expect(unsafe_code, reason = "the signatures are those of every system; here a pointer is only looked at")]
//! Creating and opening async ends, without waiting.

use super::super::open as open_end;
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeNameKind,
    options::{Request, Spec},
    sys::{Instance, WaitLimit, async_end::AsyncEnd},
};
use std::{ffi::c_void, io};

/// Creates an instance. `open_mode` is what of `dwOpenMode` only Windows knows.
pub(crate) fn create(spec: &Spec, open_mode: u32) -> io::Result<AsyncEnd> {
    if open_mode != 0 {
        let text = "the access list of a pipe can't be changed through its handle here";
        return Err(fail(PipeErrorKind::Unsupported, text));
    }
    Ok(AsyncEnd::of_instance(&Instance::create(spec)?))
}

/// The same with security attributes of Windows.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
pub(crate) unsafe fn create_with_attributes(
    spec: &Spec,
    open_mode: u32,
    attributes: *mut c_void,
) -> io::Result<AsyncEnd> {
    check_attributes(attributes)?;
    create(spec, open_mode)
}

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request) -> io::Result<AsyncEnd> {
    if let PipeNameKind::Remote { .. } = request.name.kind() {
        let text =
            format!("{} is a remote pipe and can't be opened without waiting: use `connect`", request.name);
        return Err(fail(PipeErrorKind::Unsupported, text));
    }
    open_end(request, &WaitLimit::zero()).map(AsyncEnd::new)
}

/// The same with security attributes of Windows.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
pub(crate) unsafe fn open_with_attributes(
    request: &Request,
    attributes: *mut c_void,
) -> io::Result<AsyncEnd> {
    check_attributes(attributes)?;
    open(request)
}

fn check_attributes(attributes: *mut c_void) -> io::Result<()> {
    if attributes.is_null() {
        return Ok(());
    }
    let text = "security attributes exist on Windows only; use `access` to set which users may open the pipe";
    Err(fail(PipeErrorKind::Unsupported, text))
}
