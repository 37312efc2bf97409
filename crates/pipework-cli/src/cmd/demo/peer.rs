//! The peer process of the demo: a client that receives the file, or the other end of a measurement.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    process,
};

use pipework::{ClientOptions, MessageRead, PipeMode, PipeStream, is_gone};
use sha2::{Digest as _, Sha256};

use crate::{
    args::{DemoPeerArgs, PeerTask},
    cmd::demo::{
        parameters::{CHUNK_LEN, STALL_TIMEOUT},
        source::Digest,
        speed, transport,
    },
    failure::Failure,
    output::filled,
};

pub(crate) fn run(args: &DemoPeerArgs) -> Result<(), Failure> {
    let result = match &args.task {
        PeerTask::Receive { name, message: false } => receive_bytes(name),
        PeerTask::Receive { name, message: true } => receive_messages(name),
        PeerTask::Measure { transport, bytes, name } => transport::connect(*transport, name.as_deref())
            .and_then(|mut endpoint| speed::respond(endpoint.as_mut(), *bytes)),
    };
    match result {
        // The demo has ended, by Ctrl-C or by an error that it reports itself.
        Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::UnexpectedEof => process::exit(1),
        Err(error) => Err(Failure::failed(format!("client process {}: {error}", process::id()))),
        Ok(()) => Ok(()),
    }
}

fn open(name: &OsStr, mode: PipeMode) -> io::Result<PipeStream> {
    let stream = ClientOptions::new().read_mode(mode).connect(name)?;
    stream.set_read_timeout(Some(STALL_TIMEOUT))?;
    stream.set_write_timeout(Some(STALL_TIMEOUT))?;
    Ok(stream)
}

fn receive_bytes(name: &OsStr) -> io::Result<()> {
    let mut stream = open(name, PipeMode::Byte)?;
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_LEN];
    let mut left = u64::from_le_bytes(length);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
        let len = stream.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(filled(&buffer, len));
        left = left.saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
    }
    let mut sent = Digest::default();
    stream.read_exact(&mut sent)?;
    respond(&mut stream, &hasher.finalize().into(), &sent, 0)
}

fn receive_messages(name: &OsStr) -> io::Result<()> {
    let mut stream = open(name, PipeMode::Message)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_LEN];
    let mut messages = 0_u64;
    let length = u64::from_le_bytes(read_array(&stream)?);
    let mut total = 0_u64;
    loop {
        match stream.read_message_into(&mut buffer)? {
            MessageRead::Whole(0) => break,
            MessageRead::Whole(len) => {
                hasher.update(filled(&buffer, len));
                messages = messages.saturating_add(1);
                total = total.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            }
            MessageRead::Part(_) => {
                return Err(io::Error::other("received a longer message than any that was sent"));
            }
            MessageRead::End => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    if total != length {
        return Err(io::Error::other(format!("received {total} of {length} bytes")));
    }
    let sent = read_array(&stream)?;
    respond(&mut stream, &hasher.finalize().into(), &sent, messages)
}

/// Reads one message of exactly this length.
fn read_array<const N: usize>(stream: &PipeStream) -> io::Result<[u8; N]> {
    let message = stream.read_message(N)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    message.try_into().map_err(|_| io::Error::other("received a message of the wrong length"))
}

/// Sends the digest of the received data to the server, and compares it with the server's.
fn respond(stream: &mut PipeStream, received: &Digest, sent: &Digest, messages: u64) -> io::Result<()> {
    stream.write_all(&[received.as_slice(), &messages.to_le_bytes()].concat())?;
    if received == sent {
        Ok(())
    } else {
        Err(io::Error::other("the received data differ from the data sent"))
    }
}
