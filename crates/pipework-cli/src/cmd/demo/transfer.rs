//! Sends the file through one pipe to several client processes at the same time, and hashes it at both ends.
//!
//! The server sends the file's length (8 bytes), the file in chunks, in message mode an empty message as its end, and
//! the digest of the data sent. The client sends the digest of the data received, and the number of chunks (8 bytes).
//! In message mode each of these is one message.

use std::{
    io::{self, Read, Write},
    thread,
};

use indicatif::ProgressBar;
use pipework::{Canceller, NamedPipeBuilder, PipeMode, PipeName, PipeStream};
use sha2::{Digest as _, Sha256};

use crate::{
    cmd::demo::{
        parameters::{BUFFER_LEN, STALL_TIMEOUT},
        peer_process::PeerProcess,
        source::{Digest, Source},
    },
    failure::Failure,
};

/// The length of the response: a digest and a number.
const RESPONSE_LEN: usize = 32 + 8;

/// The transfer to one client.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) mode: PipeMode,
    /// The client's process.
    pub(super) process_id: Option<u32>,
    /// The digests of the data that the server has sent, and of those that the client reports.
    pub(super) sent: Digest,
    pub(super) received: Digest,
    /// The numbers of messages sent and received; `None` in byte mode.
    pub(super) messages: Option<(u64, u64)>,
}

impl Transfer {
    /// Whether both ends have exactly this file.
    pub(super) fn is_right(&self, file: &Digest) -> bool {
        let same_messages = self.messages.is_none_or(|(sent, received)| sent == received);
        self.sent == *file && self.received == *file && same_messages
    }
}

/// Sends the file to this many client processes, with an instance and a thread for each.
pub(super) fn run(
    source: &Source,
    mode: PipeMode,
    clients: u16,
    interrupted: &Canceller,
    progress: &ProgressBar,
) -> Result<Vec<Transfer>, Failure> {
    let name = PipeName::unique("pipework-demo")?;
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(mode).in_buffer_size(BUFFER_LEN).out_buffer_size(BUFFER_LEN);
    let listener = builder.listen()?;
    listener.set_canceller(Some(interrupted));
    let peers = (0..clients).map(|_| start_client(&name, mode)).collect::<io::Result<Vec<PeerProcess>>>()?;

    let transfers = thread::scope(|scope| {
        let mut senders = Vec::new();
        for _ in &peers {
            let stream = listener.accept_timeout(STALL_TIMEOUT)?;
            senders.push(scope.spawn(move || send(source, mode, stream, progress)));
        }
        let panicked = || Err(io::Error::other("a sending thread panicked"));
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap_or_else(|_| panicked()))
            .collect::<io::Result<Vec<_>>>()
    })?;
    let mut all_succeeded = true;
    for peer in peers {
        all_succeeded &= peer.finish()?;
    }
    // If digests differ, the report has the details.
    if !all_succeeded && transfers.iter().all(|transfer| transfer.is_right(&source.digest)) {
        return Err(Failure::failed("a client process failed after it had received the file"));
    }
    Ok(transfers)
}

fn start_client(name: &PipeName, mode: PipeMode) -> io::Result<PeerProcess> {
    PeerProcess::start(|command| {
        command.arg("receive").arg(name.as_ref() as &std::ffi::OsStr);
        if mode == PipeMode::Message {
            command.arg("--message");
        }
    })
}

fn send(
    source: &Source,
    mode: PipeMode,
    mut stream: PipeStream,
    progress: &ProgressBar,
) -> io::Result<Transfer> {
    stream.set_read_timeout(Some(STALL_TIMEOUT))?;
    stream.set_write_timeout(Some(STALL_TIMEOUT))?;
    let process_id = stream.peer()?.process_id();
    let mut hasher = Sha256::new();
    let mut chunks = 0_u64;

    // On a message pipe each write is one message, so both modes use the same calls.
    stream.write_all(&source.len.to_le_bytes())?;
    source.read_chunks(|chunk| {
        hasher.update(chunk);
        stream.write_all(chunk)?;
        chunks = chunks.saturating_add(1);
        progress.inc(u64::try_from(chunk.len()).unwrap_or(0));
        Ok(())
    })?;
    if mode == PipeMode::Message {
        stream.write_message(&[])?;
    }
    let sent: Digest = hasher.finalize().into();
    stream.write_all(&sent)?;

    let mut received = Digest::default();
    let mut count = [0; 8];
    let mut response = (&stream).take(u64::try_from(RESPONSE_LEN).unwrap_or(u64::MAX));
    response.read_exact(&mut received)?;
    response.read_exact(&mut count)?;
    let messages = (mode == PipeMode::Message).then_some((chunks, u64::from_le_bytes(count)));
    Ok(Transfer { mode, process_id, sent, received, messages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_noticed() {
        let file = [1; 32];
        let right = || Transfer {
            mode: PipeMode::Message,
            process_id: None,
            sent: file,
            received: file,
            messages: Some((3, 3)),
        };
        assert!(right().is_right(&file));
        assert!(!Transfer { sent: [2; 32], ..right() }.is_right(&file));
        assert!(!Transfer { received: [2; 32], ..right() }.is_right(&file));
        assert!(!Transfer { messages: Some((3, 2)), ..right() }.is_right(&file));
        assert!(!right().is_right(&[2; 32]));
        assert!(Transfer { messages: None, mode: PipeMode::Byte, ..right() }.is_right(&file));
    }
}
