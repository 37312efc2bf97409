//! Claiming an instance: of several clients exactly one becomes its client.

#[cfg(all(target_os = "linux", not(pipework_portable)))]
mod linux;
#[cfg(all(target_os = "linux", not(pipework_portable)))]
pub(super) use linux::{BACKLOG, Claim, Ending, RENEWS, SERVES_OTHERS, claim, end_queue, prepare, queue};
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(pipework_portable))))]
pub(super) use portable::{BACKLOG, Claim, Ending, RENEWS, SERVES_OTHERS, claim, end_queue, prepare, queue};
