//! Every Unix but Linux: memory without seals, backlogs of more than one, no directory watches.
//!
//! What Linux makes safe against a hostile peer is only orderly here, so these pipes are for the processes of one user.
//! It works on Linux too, where the tests run it with `--cfg pipework_portable`.

pub(super) mod address;
pub(super) mod memory;
pub(super) mod watch;
