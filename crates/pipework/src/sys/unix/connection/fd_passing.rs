//! Bytes with a descriptor through a socket.

use super::super::os;
use crate::error::context;
use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

/// When to look again for fewer descriptors of this user in flight, of which the kernel signals no change.
pub(in crate::sys::unix) const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(2);

/// The outcome of a receive from the socket.
#[derive(Debug)]
pub(crate) enum Received {
    /// Nothing now.
    Nothing,
    /// Nothing any more: reset and hang-up are both closed.
    End,
    /// So many bytes, and a descriptor with them.
    Bytes(usize, Option<OwnedFd>),
    /// Several descriptors at once, which our ends never send; they are closed.
    TooMany,
    /// The kernel took a descriptor out of the socket and threw it away: this process had no number for it.
    Lost,
}

/// Receives without waiting, with at most one descriptor. Where there is no number left for a descriptor, the bytes
/// stay where they are, so that nothing is lost: they come when a number is free.
///
/// Another thread may take the last number at any time. So where a look gets a copy of the descriptor, that copy is kept,
/// and what is taken afterwards is bytes alone. On other systems a look only tries whether a number is left, and a
/// descriptor may be [`Lost`](Received::Lost) between the look and the taking.
pub(crate) fn receive_with(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Received> {
    let (len, descriptor) = match look(socket, buf)? {
        Received::Bytes(len, descriptor) => (len, descriptor),
        // A look does not get past an urgent byte, and a real receive does. Our ends never send one.
        Received::Nothing if take_urgent_byte(socket) => return receive(socket, buf, os::RECEIVE_FLAGS),
        other => return Ok(other),
    };
    // Nothing that came after the look: it may have a descriptor with it.
    let (seen, _) = buf.split_at_mut(len.min(buf.len()));
    if descriptor.is_none() {
        return receive(socket, seen, os::RECEIVE_FLAGS);
    }
    match rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut *seen, os::RECEIVE_FLAGS)) {
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Received::End),
        Ok((len, _)) => Ok(Received::Bytes(len, descriptor)),
        Err(Errno::AGAIN) => Ok(Received::Nothing),
        Err(error) => Err(error.into()),
    }
}

fn take_urgent_byte(socket: BorrowedFd<'_>) -> bool {
    let flags = os::RECEIVE_FLAGS | rustix::net::RecvFlags::OOB;
    rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut [0; 1], flags)).is_ok_and(|(len, _)| len > 0)
}

/// Receives without taking. Fails if there is no number for a descriptor.
fn look(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Received> {
    let flags = os::RECEIVE_FLAGS | rustix::net::RecvFlags::PEEK;
    if os::PEEK_SHOWS_DESCRIPTORS {
        return match receive(socket, buf, flags)? {
            // It is still in the socket.
            Received::Lost => Err(no_number_left(Errno::MFILE)),
            seen => Ok(seen),
        };
    }
    match rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut *buf, flags)) {
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Received::End),
        Err(Errno::AGAIN) => Ok(Received::Nothing),
        Err(error) => Err(error.into()),
        Ok((len, _)) => match rustix::io::fcntl_dupfd_cloexec(socket, 0) {
            Ok(_spare) => Ok(Received::Bytes(len, None)),
            Err(error) => Err(no_number_left(error)),
        },
    }
}

fn no_number_left(error: Errno) -> io::Error {
    context("taking a descriptor that the other end sent; close some, then try again", error)
}

fn receive(socket: BorrowedFd<'_>, buf: &mut [u8], flags: rustix::net::RecvFlags) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buf)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::End),
            outcome => break outcome?,
        }
    };
    let mut descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let (first, second) = (descriptors.next(), descriptors.next());
    drop(descriptors);
    let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
    if second.is_some() || (is_cut && first.is_some()) {
        return Ok(Received::TooMany);
    }
    if is_cut {
        return Ok(Received::Lost);
    }
    if let Some(first) = &first {
        os::keep_from_children(first)?;
    }
    Ok(if received.bytes == 0 { Received::End } else { Received::Bytes(received.bytes, first) })
}

/// Sends bytes with a descriptor, without waiting: all or an error.
pub(crate) fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [fd];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, os::SEND_FLAGS)
    })?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::AGAIN) }
}
