//! Reading from and writing to smbd's socket.

use std::io;

use tokio::{net::UnixStream, task::consume_budget};

use super::close_reason::CloseReason;

/// Reads at least one byte; 0 is the end. A client that closes while data for it is unread is no error.
pub(super) async fn read(socket: &UnixStream, buffer: &mut [u8]) -> Result<usize, CloseReason> {
    loop {
        // The other direction runs in the same task, so it has to get its turn.
        consume_budget().await;
        match socket.try_read(buffer) {
            Ok(len) => return Ok(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_closed(&error) => return Ok(0),
            Err(error) => return Err(CloseReason::Failed(error)),
        }
        socket.readable().await.map_err(CloseReason::Failed)?;
    }
}

/// Writes all bytes.
pub(super) async fn write_all(socket: &UnixStream, mut bytes: &[u8]) -> Result<(), CloseReason> {
    while !bytes.is_empty() {
        consume_budget().await;
        match socket.try_write(bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.writable().await.map_err(CloseReason::Failed)?;
            }
            Err(error) if is_closed(&error) => return Err(CloseReason::ClientClosed),
            Err(error) => return Err(CloseReason::Failed(error)),
        }
    }
    Ok(())
}

/// Waits until smbd has closed the socket. Data that arrives meanwhile is discarded, because the server is gone.
pub(super) async fn wait_for_close(socket: &UnixStream) {
    let mut buffer = [0; 1024];
    while matches!(read(socket, &mut buffer).await, Ok(1..)) {}
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
