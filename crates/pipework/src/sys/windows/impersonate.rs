//! Impersonation: running code with the rights of a server's client.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{connection::Connection, end::End, handle::done, pipe::Pipe, token::thread_token};
use crate::{
    error::{PipeErrorKind, fail},
    options::PipeEnd,
};
use std::{
    io,
    os::windows::io::{AsRawHandle, OwnedHandle},
    process, ptr,
};
use windows_sys::Win32::{
    Security::TOKEN_IMPERSONATE,
    System::{Pipes::ImpersonateNamedPipeClient, Threading::SetThreadToken},
};

impl End {
    /// Runs `act` on this thread as the client (server ends only).
    pub(crate) fn as_client<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        self.connection()?.as_client(act)
    }
}

impl Connection {
    fn as_client<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        if self.side == PipeEnd::Client {
            let text = "only a server can impersonate its client; a client can't impersonate its server";
            return Err(fail(PipeErrorKind::Unsupported, text));
        }
        self.check_usable()?;
        impersonate(&self.pipe, act)
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
