//! Waiting for descriptors under a limit.

use super::super::WaitLimit;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};
use std::{io, os::fd::AsFd, os::fd::BorrowedFd, time::Duration};

/// Waits until one of `fds` has its events or has hung up, the limit is reached, or `at_most` has passed.
///
/// Says whether a descriptor is ready; the caller asks the limit itself.
pub(crate) fn wait(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    limit: &WaitLimit,
    at_most: Option<Duration>,
) -> io::Result<bool> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
    if let Some(canceller) = limit.canceller() {
        polled.push(PollFd::from_borrowed_fd(canceller.as_fd(), PollFlags::IN));
    }
    let time = [limit.left(), at_most].into_iter().flatten().min().map(timespec);
    match rustix::event::poll(&mut polled, time.as_ref()) {
        // A signal: the caller looks at everything again.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled.iter().take(fds.len()).any(|fd| !fd.revents().is_empty()))
}

/// The events for which `fd` is ready now.
pub(crate) fn now(fd: BorrowedFd<'_>, events: PollFlags) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, events)];
    match rustix::event::poll(&mut polled, Some(&timespec(Duration::ZERO))) {
        Ok(_) => polled.iter().fold(PollFlags::empty(), |all, fd| all | fd.revents()),
        Err(_) => PollFlags::empty(),
    }
}

fn timespec(time: Duration) -> Timespec {
    // A time that the system can't represent is for ever in practice: 68 years.
    let longest = Timespec { tv_sec: i32::MAX.into(), tv_nsec: 0 };
    match Timespec::try_from(time) {
        Ok(time) if time.tv_sec < longest.tv_sec => time,
        _ => longest,
    }
}
