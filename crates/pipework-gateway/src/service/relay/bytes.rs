//! The two directions of a byte pipe.

use std::io;

use pipework::is_gone;
use tokio::task::consume_budget;

use super::{BUFFER_LEN, End, Ways, stream};

/// From the caller to the server.
pub(super) async fn up(ways: &Ways<'_>) -> End {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let read = match stream::read(ways.socket, &mut buffer).await {
            Ok(0) => return End::Caller,
            Ok(_) if !ways.target.inbound => return End::OneWay,
            Ok(len) => buffer.get(..len).unwrap_or_default(),
            Err(end) => return end,
        };
        if let Err(end) = write(ways, read).await {
            return end;
        }
        ways.progress.add_up(read.len());
    }
}

/// From the server to the caller.
pub(super) async fn down(ways: &Ways<'_>) -> End {
    if !ways.target.outbound {
        return std::future::pending().await;
    }
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let read = match read(ways, &mut buffer).await {
            Ok(0) => return End::Server,
            Ok(len) => buffer.get(..len).unwrap_or_default(),
            Err(end) => return end,
        };
        if let Err(end) = stream::write(ways.socket, read).await {
            return end;
        }
        ways.progress.add_down(read.len());
    }
}

async fn read(ways: &Ways<'_>, buffer: &mut [u8]) -> Result<usize, End> {
    loop {
        consume_budget().await;
        match ways.pipe.try_read(buffer) {
            Ok(len) => return Ok(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_gone(&error) => return Ok(0),
            Err(error) => return Err(End::Failed(error)),
        }
        ways.pipe.readable().await.map_err(End::Failed)?;
    }
}

async fn write(ways: &Ways<'_>, mut bytes: &[u8]) -> Result<(), End> {
    while !bytes.is_empty() {
        consume_budget().await;
        match ways.pipe.try_write(bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ways.pipe.writable().await.map_err(End::Failed)?;
            }
            Err(error) if is_gone(&error) => return Err(End::Server),
            Err(error) => return Err(End::Failed(error)),
        }
    }
    Ok(())
}
