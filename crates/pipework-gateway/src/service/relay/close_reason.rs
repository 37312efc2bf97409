//! Why a connection is closed.

use std::{fmt, io};

use super::transfer::MESSAGE_LEN_MAX;

/// Why a connection, or one direction of it, has ended.
#[derive(Debug)]
pub(super) enum CloseReason {
    ClientClosed,
    /// The server has closed the pipe, or its process has ended.
    ServerClosed,
    /// No instance of a busy pipe became free before the timeout, or the pipe is gone.
    NoInstance(io::Error),
    /// The server wrote a message that is too long for the 16-bit length of the exchange with smbd.
    MessageTooLong,
    /// The client wrote to an outbound pipe.
    OutboundOnly,
    /// smbd violated the exchange; the text says what it sent.
    Protocol(&'static str),
    /// The pipe was recreated with another mode after smbd got a reply with the old one.
    ModeChanged,
    Failed(io::Error),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::ClientClosed => f.write_str("the client closed the connection"),
            CloseReason::ServerClosed => f.write_str("the server closed the pipe"),
            // The library's error texts contain names, which have to be escaped.
            CloseReason::NoInstance(error) => write!(f, "no instance became free: {:?}", error.to_string()),
            CloseReason::MessageTooLong => {
                write!(
                    f,
                    "the server sent a message of more than {MESSAGE_LEN_MAX} bytes, which smbd can't carry"
                )
            }
            CloseReason::OutboundOnly => {
                f.write_str("the client wrote to an outbound pipe, which only the server can write")
            }
            CloseReason::Protocol(what) => write!(f, "smbd sent {what}"),
            CloseReason::ModeChanged => f.write_str("the pipe was recreated with another mode"),
            CloseReason::Failed(error) => write!(f, "failed: {:?}", error.to_string()),
        }
    }
}
