//! The state of a connection's async reads and writes.

use super::{pending_write::Writing, read_watch::Reading};
use crate::sys::waiters::Waiters;
use std::sync::{Arc, Mutex};

/// The state of a connection's async reads and writes.
#[derive(Debug, Default)]
pub(in super::super) struct State {
    pub(super) readers: Arc<Waiters>,
    pub(super) reading: Mutex<Reading>,
    pub(super) writers: Arc<Waiters>,
    pub(super) writing: Mutex<Writing>,
}

impl State {
    /// Wakes all tasks that wait here, so that they try again.
    pub(in super::super) fn wake_tasks(&self) {
        self.readers.wake_all();
        self.writers.wake_all();
    }
}
