//! Linux: sealed memory, exact backlogs, directory watches.

pub(super) mod address;
pub(super) mod memory;
pub(super) mod watch;
