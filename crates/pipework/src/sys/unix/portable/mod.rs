//! Every Unix but Linux: memory without seals, backlogs of more than one, no directory watches.
//!
//! A hostile peer can break guarantees here that Linux enforces, so these pipes are for the processes of one
//! user. It works on Linux too, where the tests run it with `--cfg pipework_portable`.

pub(super) mod address;
pub(super) mod memory;
pub(super) mod watch;
