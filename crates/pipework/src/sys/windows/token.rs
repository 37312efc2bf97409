//! Tokens: the users and groups of processes, threads and clients.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    handle::{code, done, own_or_null},
    pipe::Pipe,
    sid::Sid,
    thread_token::{impersonate, thread_token},
};
use std::{
    io,
    os::windows::io::{AsRawHandle, OwnedHandle, RawHandle},
    ptr, slice,
    sync::OnceLock,
};
use windows_sys::Win32::{
    Foundation::{ERROR_INSUFFICIENT_BUFFER, HANDLE},
    Security::{
        GetTokenInformation, SID_AND_ATTRIBUTES, TOKEN_GROUPS, TOKEN_QUERY, TOKEN_USER, TokenGroups,
        TokenUser,
    },
    System::Threading::{
        GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
    },
};

/// `SE_GROUP_ENABLED`: the group grants access, and does not only deny it.
const GROUP_ENABLED: u32 = 4;

/// A user with its groups.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) user: Sid,
    pub(super) groups: Vec<Sid>,
}

/// The user of this process.
pub(super) fn my_user() -> io::Result<&'static Sid> {
    static ME: OnceLock<Sid> = OnceLock::new();
    if let Some(me) = ME.get() {
        return Ok(me);
    }
    // SAFETY: it returns a constant that means this process and needs no closing.
    let process = unsafe { GetCurrentProcess() };
    let user = user_of(&token_of(process)?)?;
    Ok(ME.get_or_init(|| user))
}

/// The identity of a process, if this user may query it.
pub(super) fn identity_of_process(process_id: u32) -> io::Result<Identity> {
    // SAFETY: the call uses no memory of this process.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, process_id) };
    // SAFETY: the call has just created the handle for this caller, or it is null.
    let process = unsafe { own_or_null(process) }?;
    identity_of(&token_of(process.as_raw_handle())?)
}

/// The identity of a server's client, as far as the client permits.
pub(super) fn identity_of_client(pipe: &Pipe) -> io::Result<Identity> {
    let token = impersonate(pipe, || thread_token(TOKEN_QUERY))??;
    let none = || io::Error::other("the thread did not impersonate the client");
    identity_of(&token.ok_or_else(none)?)
}

fn token_of(process: HANDLE) -> io::Result<OwnedHandle> {
    let mut token = ptr::null_mut();
    // SAFETY: the callers keep the process open; `token` is a local that the call writes.
    let answer = unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) };
    done(answer)?;
    // SAFETY: the call has just created the handle for this caller.
    unsafe { own_or_null(token) }
}

fn identity_of(token: &OwnedHandle) -> io::Result<Identity> {
    Ok(Identity { user: user_of(token)?, groups: groups_of(token)? })
}

fn user_of(token: &OwnedHandle) -> io::Result<Sid> {
    let answer = ask(token, TokenUser)?;
    let user: *const TOKEN_USER = answer.as_ptr().cast();
    // SAFETY: the call has filled the buffer, which is aligned for it, with a `TOKEN_USER`.
    let user = unsafe { &*user };
    // SAFETY: it points into the same buffer, which lives until the end of this function.
    unsafe { Sid::copied(user.User.Sid) }
}

fn groups_of(token: &OwnedHandle) -> io::Result<Vec<Sid>> {
    let answer = ask(token, TokenGroups)?;
    let groups: *const TOKEN_GROUPS = answer.as_ptr().cast();
    // SAFETY: the call has filled the buffer, which is aligned for it, with the head of a `TOKEN_GROUPS`.
    let count = unsafe { (*groups).GroupCount };
    // SAFETY: this only computes the address of a field inside the buffer.
    let first: *const SID_AND_ATTRIBUTES = unsafe { (&raw const (*groups).Groups).cast() };
    let count = usize::try_from(count).map_err(io::Error::other)?;
    // SAFETY: the call has written so many consecutive entries.
    let groups = unsafe { slice::from_raw_parts(first, count) };
    let enabled = groups.iter().filter(|group| group.Attributes & GROUP_ENABLED != 0);
    // SAFETY: each points into the same buffer, which lives until the end of this function.
    enabled.map(|group| unsafe { Sid::copied(group.Sid) }).collect()
}

/// Queries a token. The answer is aligned for every structure that it may hold.
fn ask(token: &OwnedHandle, class: i32) -> io::Result<Vec<u64>> {
    let handle: RawHandle = token.as_raw_handle();
    let mut answer: Vec<u64> = vec![0; 32];
    loop {
        let len = u32::try_from(answer.len() * size_of::<u64>()).map_err(io::Error::other)?;
        let mut needed = 0;
        // SAFETY: the buffer has the length that the call gets; `needed` is a local that the call writes.
        let answered =
            unsafe { GetTokenInformation(handle, class, answer.as_mut_ptr().cast(), len, &mut needed) };
        match done(answered) {
            Ok(()) => return Ok(answer),
            Err(error) if code(&error) == Some(ERROR_INSUFFICIENT_BUFFER) && needed > len => {
                answer.resize(usize::try_from(needed).map_err(io::Error::other)?.div_ceil(8), 0);
            }
            Err(error) => return Err(error),
        }
    }
}
