//! Reading from and writing to smbd's socket.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{net::UnixStream, task::consume_budget};

use super::End;

/// How many bytes have gone through.
#[derive(Debug, Default)]
pub(super) struct Progress {
    up: AtomicUsize,
    down: AtomicUsize,
}

impl Progress {
    pub(super) fn up(&self) -> usize {
        self.up.load(Ordering::Relaxed)
    }

    pub(super) fn down(&self) -> usize {
        self.down.load(Ordering::Relaxed)
    }

    pub(super) fn add_up(&self, len: usize) {
        self.up.fetch_add(len, Ordering::Relaxed);
    }

    pub(super) fn add_down(&self, len: usize) {
        self.down.fetch_add(len, Ordering::Relaxed);
    }
}

/// Reads what there is, at least a byte; 0 is the end. A caller that closes with data unread is no error.
pub(super) async fn read(socket: &UnixStream, buffer: &mut [u8]) -> Result<usize, End> {
    loop {
        // The other direction runs in the same task.
        consume_budget().await;
        match socket.try_read(buffer) {
            Ok(len) => return Ok(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_closed(&error) => return Ok(0),
            Err(error) => return Err(End::Failed(error)),
        }
        socket.readable().await.map_err(End::Failed)?;
    }
}

/// Writes all of it.
pub(super) async fn write(socket: &UnixStream, mut bytes: &[u8]) -> Result<(), End> {
    while !bytes.is_empty() {
        consume_budget().await;
        match socket.try_write(bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.writable().await.map_err(End::Failed)?;
            }
            Err(error) if is_closed(&error) => return Err(End::Caller),
            Err(error) => return Err(End::Failed(error)),
        }
    }
    Ok(())
}

/// Waits until the caller has closed; what it still writes has nowhere to go.
pub(super) async fn closed(socket: &UnixStream) {
    let mut buffer = [0; 1024];
    while matches!(read(socket, &mut buffer).await, Ok(1..)) {}
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
