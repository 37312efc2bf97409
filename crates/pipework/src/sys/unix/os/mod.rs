//! What differs between kernels and is not part of the design: sockets' flags, credentials, events, readiness.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as kernel;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod bsd;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use bsd as kernel;

pub(crate) use kernel::{
    Event, Gathered, HANGUP, RECEIVE_FLAGS, SEND_FLAGS, accept, credentials, groups, is_privileged_start, new_socket,
    process_handle, unread_bytes,
};
