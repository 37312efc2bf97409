//! The client's side, async: opening a pipe, and waiting until it can be opened.
#![expect(unsafe_code, reason = "security attributes are pointers")]

use super::{
    super::{
        End,
        client::{self, wait_while_busy},
        connection::Connection,
        handle::{code, wide},
    },
    blocking_call::BlockingCall,
    pool_wait::PoolWait,
};
use crate::{
    options::Request,
    sys::{WaitLimit, async_end::AsyncEnd, errors::ended},
};
use std::{ffi::c_void, future::poll_fn, io, sync::Arc, time::Duration};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PIPE_BUSY};

/// The polling interval for a name that does not exist; the system does not signal its creation.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Opens, and waits as the request says, at most for the timeout.
pub(crate) async fn connect(request: &Request, timeout: Duration) -> io::Result<AsyncEnd> {
    let limit = WaitLimit::new(Some(timeout), None);
    let name = &request.name;
    loop {
        let why = match open(request) {
            Err(error) if code(&error) == Some(ERROR_PIPE_BUSY) => "was busy",
            Err(error) if code(&error) == Some(ERROR_FILE_NOT_FOUND) && request.wait_absent => {
                "did not exist"
            }
            outcome => return outcome,
        };
        limit.check().map_err(|error| ended(name, why, error))?;
        if why == "was busy" {
            let (path, limit) = (wide(client::wait_path_of(name)), limit.clone());
            BlockingCall::begin(None, move || wait_while_busy(&path, &limit))?.await?;
        } else {
            let pause = PoolWait::after(limit.left().map_or(POLL_INTERVAL, |left| left.min(POLL_INTERVAL)))?;
            poll_fn(|cx| pause.poll(cx)).await;
        }
    }
}

/// Opens without waiting: busy and absent are errors.
pub(crate) fn open(request: &Request) -> io::Result<AsyncEnd> {
    client::open(request, &WaitLimit::zero()).map(end_of)
}

/// The same with these security attributes for the handle.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
pub(crate) unsafe fn open_with_attributes(
    request: &Request,
    attributes: *mut c_void,
) -> io::Result<AsyncEnd> {
    let attributes = attributes.cast_const().cast();
    // SAFETY: the caller promises the same.
    unsafe { client::open_with_attributes(request, &WaitLimit::zero(), attributes) }.map(end_of)
}

fn end_of(connection: Connection) -> AsyncEnd {
    AsyncEnd::new(End::Connection(Arc::new(connection)))
}
