//! The two directions of a byte pipe.

use std::io;

use pipework::is_gone;
use tokio::task::consume_budget;

use super::{close_reason::CloseReason, smbd_socket, transfer::Relay};

/// The most bytes that are moved at once; smbd's own buffers have the same size.
const BUFFER_LEN: usize = 64 * 1024;

/// Copies from the client to the server.
pub(super) async fn to_server(relay: &Relay<'_>) -> CloseReason {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let bytes = match smbd_socket::read(relay.socket, &mut buffer).await {
            Ok(0) => return CloseReason::ClientClosed,
            Ok(_) if !relay.target.inbound => return CloseReason::OutboundOnly,
            Ok(len) => buffer.get(..len).unwrap_or_default(),
            Err(reason) => return reason,
        };
        if let Err(reason) = write_all(relay, bytes).await {
            return reason;
        }
        relay.counts.add_to_server(bytes.len());
    }
}

/// Copies from the server to the client.
pub(super) async fn to_client(relay: &Relay<'_>) -> CloseReason {
    if !relay.target.outbound {
        return std::future::pending().await;
    }
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let bytes = match read(relay, &mut buffer).await {
            Ok(0) => return CloseReason::ServerClosed,
            Ok(len) => buffer.get(..len).unwrap_or_default(),
            Err(reason) => return reason,
        };
        if let Err(reason) = smbd_socket::write_all(relay.socket, bytes).await {
            return reason;
        }
        relay.counts.add_to_client(bytes.len());
    }
}

async fn read(relay: &Relay<'_>, buffer: &mut [u8]) -> Result<usize, CloseReason> {
    loop {
        consume_budget().await;
        match relay.pipe.try_read(buffer) {
            Ok(len) => return Ok(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_gone(&error) => return Ok(0),
            Err(error) => return Err(CloseReason::Failed(error)),
        }
        relay.pipe.readable().await.map_err(CloseReason::Failed)?;
    }
}

async fn write_all(relay: &Relay<'_>, mut bytes: &[u8]) -> Result<(), CloseReason> {
    while !bytes.is_empty() {
        consume_budget().await;
        match relay.pipe.try_write(bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                relay.pipe.writable().await.map_err(CloseReason::Failed)?;
            }
            Err(error) if is_gone(&error) => return Err(CloseReason::ServerClosed),
            Err(error) => return Err(CloseReason::Failed(error)),
        }
    }
    Ok(())
}
