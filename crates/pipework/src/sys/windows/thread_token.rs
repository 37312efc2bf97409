//! The token that a thread impersonates with: setting it to that of a client, and restoring it.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    handle::{code, done, own_or_null},
    pipe::Pipe,
};
use std::{
    io,
    os::windows::io::{AsRawHandle, OwnedHandle},
    process, ptr,
};
use windows_sys::Win32::{
    Foundation::ERROR_NO_TOKEN,
    Security::TOKEN_IMPERSONATE,
    System::{
        Pipes::ImpersonateNamedPipeClient,
        Threading::{GetCurrentThread, OpenThreadToken, SetThreadToken},
    },
};

/// The token that this thread impersonates with, if any.
pub(super) fn thread_token(access: u32) -> io::Result<Option<OwnedHandle>> {
    // SAFETY: it returns a constant that means this thread and needs no closing.
    let thread = unsafe { GetCurrentThread() };
    let mut token = ptr::null_mut();
    // SAFETY: `token` is a local that the call writes. Access is checked against the process, not the impersonated user.
    let answer = unsafe { OpenThreadToken(thread, access, 1, &mut token) };
    match done(answer) {
        // SAFETY: the call has just created the handle for this caller.
        Ok(()) => unsafe { own_or_null(token) }.map(Some),
        Err(error) if code(&error) == Some(ERROR_NO_TOKEN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs `act` on this thread as the client of a server's end, then restores the thread's own identity.
pub(super) fn impersonate<T>(pipe: &Pipe, act: impl FnOnce() -> T) -> io::Result<T> {
    let _restore = RestoreToken { token: thread_token(TOKEN_IMPERSONATE)? };
    // SAFETY: the handle is open while `pipe` is borrowed.
    let answer = unsafe { ImpersonateNamedPipeClient(pipe.raw()) };
    done(answer)?;
    Ok(act())
}

/// The token that the thread had before; dropping this restores it.
struct RestoreToken {
    token: Option<OwnedHandle>,
}

impl Drop for RestoreToken {
    fn drop(&mut self) {
        let token = self.token.as_ref().map_or(ptr::null_mut(), AsRawHandle::as_raw_handle);
        // SAFETY: a null thread means this thread. The token is open while `self` is borrowed, or it is null, which makes
        // the thread use the token of its process again.
        let answer = unsafe { SetThreadToken(ptr::null(), token) };
        if answer == 0 {
            // The thread must not continue with the rights of another user.
            process::abort();
        }
    }
}
