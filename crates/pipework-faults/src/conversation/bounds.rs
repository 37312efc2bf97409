//! How long an end waits: long enough for a busy machine, so that a wait that takes so long is a finding.

use std::time::Duration;

/// For the other end, whatever it is asked.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// The same of the server of a remote client: that gives up first.
pub(super) const WAIT_REMOTE: Duration = Duration::from_secs(20);
/// For an instance that listens.
pub(super) const OPEN: Duration = Duration::from_secs(4);
/// How often a call is tried in all; an injected error happens once.
pub(super) const TRIES: usize = 3;
