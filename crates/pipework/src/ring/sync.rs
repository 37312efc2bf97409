//! The only door to atomics of the shared memory, so that loom can stand behind it.

#[cfg(loom)]
pub(super) use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
#[expect(clippy::disallowed_types, reason = "this is the door that the others must use")]
pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};
