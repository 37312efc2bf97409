//! Opening a pipe, and waiting until it can be opened.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::{WaitLimit, end_options::EndOptions, errors::ended},
    connection::Connection,
    handle::{code, done, milliseconds, own_or_invalid, wide},
    peer,
    pipe::{PeerLocation, Pipe, Rights},
    unsupported::pause_briefly,
};
use crate::{
    credentials::CredentialsKind,
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    options::{PipeEnd, PipeMode, Request},
};
use std::{
    io,
    os::windows::io::{AsHandle, OwnedHandle},
    ptr,
    sync::Arc,
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_INVALID_NAME, ERROR_PATH_NOT_FOUND, ERROR_PIPE_BUSY,
        ERROR_SEM_TIMEOUT, GENERIC_READ,
    },
    Security::SECURITY_ATTRIBUTES,
    Storage::FileSystem::{
        CreateFileW, FILE_FLAG_OVERLAPPED, FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_WRITE_ATTRIBUTES,
        FILE_WRITE_DATA, OPEN_EXISTING, READ_CONTROL, SECURITY_SQOS_PRESENT, SYNCHRONIZE,
    },
    System::Pipes::WaitNamedPipeW,
};

/// How long one system call waits before the canceller is checked: a canceller can't end that call.
const CHECK_CANCELLER: Duration = Duration::from_millis(10);
/// `NMPWAIT_WAIT_FOREVER` and `NMPWAIT_USE_DEFAULT_WAIT`.
const FOREVER: u32 = u32::MAX;
const DEFAULT_WAIT: u32 = 0;

/// The system opens remote pipes in its own way: options that it does not have are refused.
fn check_remote(request: &Request) -> io::Result<()> {
    if !matches!(request.name.kind(), PipeNameKind::Remote { .. }) {
        return Ok(());
    }
    let remote = &request.remote;
    let text = match remote.credentials.as_ref().map(|credentials| &credentials.kind) {
        Some(CredentialsKind::Password { .. }) => {
            r"the system signs in to remote servers itself: give it the password with `net use \\server\IPC$`"
        }
        _ if remote.port.is_some() => "the system connects to remote servers on the standard SMB port only",
        _ if remote.require_encryption == Some(true) => {
            "the system does not report whether a remote connection is encrypted; its policies can require encryption"
        }
        _ => return Ok(()),
    };
    Err(fail(PipeErrorKind::Unsupported, text))
}

/// The form of path in which the system leaves a name unchanged.
pub(super) fn path_of(name: &PipeName) -> String {
    match name.kind() {
        PipeNameKind::Remote { server, name } => format!(r"\\?\UNC\{server}\pipe\{name}"),
        PipeNameKind::Local(name) => format!(r"\\?\pipe\{name}"),
        // No address of this system gives one.
        PipeNameKind::Socket(path) => path.display().to_string(),
    }
}

/// Whether a pipe with this path exists.
pub(super) fn exists(path: &[u16]) -> bool {
    !matches!(wait_once(path, 1), Err(error) if code(&error) == Some(ERROR_FILE_NOT_FOUND))
}

/// Opens without waiting: busy and absent are errors.
pub(super) fn open(request: &Request, limit: &WaitLimit) -> io::Result<Connection> {
    // SAFETY: null means default attributes.
    unsafe { open_with_attributes(request, limit, ptr::null()) }
}

/// The same with these security attributes for the handle.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
pub(super) unsafe fn open_with_attributes(
    request: &Request,
    limit: &WaitLimit,
    attributes: *const SECURITY_ATTRIBUTES,
) -> io::Result<Connection> {
    if request.remote_client.is_some() {
        let text =
            "a client can't be opened for a remote client here: the system admits remote clients itself";
        return Err(fail(PipeErrorKind::Unsupported, text));
    }
    check_remote(request)?;
    // SAFETY: the caller promises the same.
    let open = |access| unsafe { open_with(request, access, attributes) };
    let (handle, rights) = open_allowed(request, &open)?;
    let options = EndOptions::new(request.read_mode, limit.canceller().cloned());
    let computer = match request.name.kind() {
        PipeNameKind::Remote { server, .. } => PeerLocation::Other(server.to_owned()),
        _ => PeerLocation::This,
    };
    let pipe = Arc::new(Pipe::new(handle, rights, computer));
    let is_local = matches!(request.name.kind(), PipeNameKind::Local(_));
    if !peer::accepts(&request.server, &pipe, is_local)? {
        let text = format!("the server of {} is not the user that was asked for", request.name);
        return Err(fail(PipeErrorKind::AccessDenied, text));
    }
    if request.read_mode == PipeMode::Message {
        pipe.set_read_mode(true)?;
    }
    let has_messages = super::handle_info::handle_info(pipe.as_handle())?.has_messages;
    let connection = Connection::new(pipe, PipeEnd::Client, has_messages, Arc::new(options));
    // Queried now, because the peer must be known after the server has gone. A failure is retried by `peer`.
    connection.peer().ok();
    Ok(connection)
}

/// Opens. Waits while the pipe is busy, and while it is absent if the request says so.
pub(super) fn connect(request: &Request, limit: &WaitLimit) -> io::Result<Connection> {
    let name = &request.name;
    let path = wide(wait_path_of(name));
    loop {
        let why = match open(request, limit) {
            Err(error) if code(&error) == Some(ERROR_PIPE_BUSY) => "was busy",
            Err(error) if code(&error) == Some(ERROR_FILE_NOT_FOUND) && request.wait_absent => {
                "did not exist"
            }
            outcome => return outcome,
        };
        let waited = limit.check().and_then(|()| match why {
            "was busy" => wait_while_busy(&path, limit),
            _ => pause_briefly(limit),
        });
        waited.map_err(|error| ended(name, why, error))?;
    }
}

/// Waits until an instance listens (rule C4). It reserves nothing.
pub(super) fn wait(name: &PipeName, timeout: Option<Duration>) -> io::Result<()> {
    let path = wide(wait_path_of(name));
    match timeout {
        None => wait_once(&path, FOREVER),
        Some(Duration::ZERO) => wait_once(&path, DEFAULT_WAIT),
        Some(timeout) => {
            let limit = WaitLimit::new(Some(timeout), None);
            loop {
                let left = limit.left().map_or(FOREVER - 1, milliseconds).max(1);
                match wait_once(&path, left) {
                    // The timeout is longer than one call can wait.
                    Err(error) if error == PipeErrorKind::TimedOut && limit.check().is_ok() => {}
                    outcome => return outcome,
                }
            }
        }
    }
}

/// Waits in the system until an instance may listen; the next attempt to open finds out whether one does.
pub(super) fn wait_while_busy(path: &[u16], limit: &WaitLimit) -> io::Result<()> {
    let slice = limit.canceller().map(|_| CHECK_CANCELLER);
    let time = [limit.left(), slice].into_iter().flatten().min();
    match wait_once(path, time.map_or(FOREVER, |time| milliseconds(time).max(1))) {
        Ok(()) => Ok(()),
        Err(error) if matches!(code(&error), Some(ERROR_SEM_TIMEOUT | ERROR_FILE_NOT_FOUND)) => Ok(()),
        // The system can't wait for this pipe, so the caller polls.
        Err(_) => pause_briefly(limit),
    }
}

fn wait_once(path: &[u16], milliseconds: u32) -> io::Result<()> {
    // SAFETY: the path ends with a NUL.
    let answer = unsafe { WaitNamedPipeW(path.as_ptr(), milliseconds) };
    match done(answer) {
        Err(error) if matches!(code(&error), Some(ERROR_INVALID_NAME | ERROR_PATH_NOT_FOUND)) => {}
        outcome => return outcome,
    }
    // Some systems accept only the form of path that the documentation of this call shows.
    let mut path = path.to_vec();
    if let Some(mark) = path.get_mut(2).filter(|unit| **unit == u16::from(b'?')) {
        *mark = u16::from(b'.');
    }
    // SAFETY: the path ends with a NUL.
    done(unsafe { WaitNamedPipeW(path.as_ptr(), milliseconds) })
}

/// The path for waiting. For a remote pipe there is no form that leaves the name unchanged.
pub(super) fn wait_path_of(name: &PipeName) -> String {
    match name.kind() {
        PipeNameKind::Remote { .. } => name.to_string(),
        _ => path_of(name),
    }
}

/// Opens with an access mask.
type Open<'a> = dyn Fn(u32) -> io::Result<OwnedHandle> + 'a;

/// Opens for the directions of the request, or for one of them if the request allows that; returns which.
fn open_allowed(request: &Request, open: &Open<'_>) -> io::Result<(OwnedHandle, Rights)> {
    let both = open_for(request, open, request.read, request.write);
    let is_denied = |error: &io::Error| code(error) == Some(ERROR_ACCESS_DENIED);
    match both {
        Err(error) if is_denied(&error) && request.allow_one_way && request.read && request.write => {
            for (read, write) in [(true, false), (false, true)] {
                match open_for(request, open, read, write) {
                    Err(error) if is_denied(&error) => {}
                    one => return one.map(|handle| (handle, Rights { read, write })),
                }
            }
            Err(error)
        }
        both => both.map(|handle| (handle, Rights { read: request.read, write: request.write })),
    }
}

/// Opens with the least access that works. `GENERIC_WRITE` would include the right to create instances. Optional rights,
/// to switch the read mode and to query the owner, are omitted if the system refuses them.
fn open_for(request: &Request, open: &Open<'_>, read: bool, write: bool) -> io::Result<OwnedHandle> {
    let reading = if read { GENERIC_READ } else { 0 };
    let writing = if write { FILE_WRITE_DATA } else { 0 };
    let optional = FILE_READ_ATTRIBUTES | SYNCHRONIZE | FILE_WRITE_ATTRIBUTES | READ_CONTROL;
    match open(reading | writing | optional) {
        Err(error) if code(&error) == Some(ERROR_ACCESS_DENIED) && request.read_mode == PipeMode::Byte => {
            let reading = if read { FILE_READ_DATA } else { 0 };
            open(reading | writing | FILE_READ_ATTRIBUTES | SYNCHRONIZE).map_err(|_| error)
        }
        outcome => outcome,
    }
}

/// Opens with this access mask.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
unsafe fn open_with(
    request: &Request,
    access: u32,
    attributes: *const SECURITY_ATTRIBUTES,
) -> io::Result<OwnedHandle> {
    let path = wide(path_of(&request.name));
    let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | request.security_qos_flags;
    // SAFETY: the path ends with a NUL; the caller promises valid attributes; null means no template.
    let handle =
        unsafe { CreateFileW(path.as_ptr(), access, 0, attributes, OPEN_EXISTING, flags, ptr::null_mut()) };
    // SAFETY: the call has just created the handle for this caller, or it is the value of a failure.
    unsafe { own_or_invalid(handle) }
}
