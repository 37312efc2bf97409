//! Claiming an instance: of several clients exactly one becomes its client.

#[cfg(all(target_os = "linux", not(pipework_portable)))]
mod linux;
#[cfg(all(target_os = "linux", not(pipework_portable)))]
pub(super) use linux::{BACKLOG, Ending, RENEWS, SERVES_OTHERS, claim, end_queue, prepare, queue};
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
pub(super) use portable::{BACKLOG, Ending, RENEWS, SERVES_OTHERS, claim, end_queue, prepare, queue};

/// The outcome of an attempt to claim an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The socket is connected to it.
    Taken,
    /// Another client has it, or is about to, or it is no more.
    Lost,
}
