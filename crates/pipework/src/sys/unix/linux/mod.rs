//! Linux: sealed memory, exact backlogs, directory watches.

pub(super) mod claim;
pub(super) mod memory;
pub(super) mod watch;
