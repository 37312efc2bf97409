//! Making ends for tasks, now.
#![expect(unsafe_code, reason = "security attributes are pointers")]

use super::{
    super::{End, client, descriptor::Descriptor, instance::Instance},
    at_once,
    end::AsyncEnd,
};
use crate::options::{Request, Spec};
use std::{ffi::c_void, io, sync::Arc};

/// Creates an instance; `open_mode` is what of `dwOpenMode` is no part of the specification.
pub(crate) fn create(spec: &Spec, open_mode: u32) -> io::Result<AsyncEnd> {
    let descriptor = Descriptor::new(&spec.access)?;
    let attributes = descriptor.attributes();
    // SAFETY: the attributes are a local that points to the descriptor, which lives until the end of the call.
    let instance = unsafe { Instance::create_with(spec, open_mode, &attributes) }?;
    Ok(AsyncEnd::of_instance(&instance))
}

/// The same with these security attributes.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
pub(crate) unsafe fn create_with_attributes(
    spec: &Spec,
    open_mode: u32,
    attributes: *mut c_void,
) -> io::Result<AsyncEnd> {
    // SAFETY: the caller promises the same.
    let instance = unsafe { Instance::create_with(spec, open_mode, attributes.cast_const().cast()) }?;
    Ok(AsyncEnd::of_instance(&instance))
}

/// Opens now: busy and absent are errors.
pub(crate) fn open(request: &Request) -> io::Result<AsyncEnd> {
    let connection = client::open(request, &at_once())?;
    Ok(AsyncEnd::new(End::Connection(Arc::new(connection))))
}

/// The same with these security attributes, for the handle.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
pub(crate) unsafe fn open_with_attributes(
    request: &Request,
    attributes: *mut c_void,
) -> io::Result<AsyncEnd> {
    // SAFETY: the caller promises the same.
    let connection =
        unsafe { client::open_with_attributes(request, &at_once(), attributes.cast_const().cast()) }?;
    Ok(AsyncEnd::new(End::Connection(Arc::new(connection))))
}
