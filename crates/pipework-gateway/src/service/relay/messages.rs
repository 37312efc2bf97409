//! The two directions of a message pipe.
//!
//! On smbd's socket each message follows its length, 16 bits in little-endian order. An empty message from the server
//! fails the read of smbd's client that takes it, with STATUS_IO_DEVICE_ERROR, and the pipe goes on. smbd itself sends
//! no empty message.

use pipework::{MessageRead, is_gone};
use tokio::task::consume_budget;

use super::{
    close_reason::CloseReason,
    smbd_socket,
    transfer::{MESSAGE_LEN_MAX, Relay},
};

/// The size of a message's length.
const LENGTH_LEN: usize = 2;

/// Copies from the client to the server.
pub(super) async fn to_server(relay: &Relay<'_>) -> CloseReason {
    let mut buffer = vec![0; LENGTH_LEN + MESSAGE_LEN_MAX];
    let mut filled = 0;
    loop {
        let space = buffer.get_mut(filled..).unwrap_or_default();
        match smbd_socket::read(relay.socket, space).await {
            Ok(0) if filled == 0 => return CloseReason::ClientClosed,
            // smbd was killed while it wrote. The server gets no part of the message.
            Ok(0) => return CloseReason::Protocol("an incomplete message"),
            Ok(_) if !relay.target.inbound => return CloseReason::OutboundOnly,
            Ok(len) => filled += len,
            Err(reason) => return reason,
        }
        let mut consumed = 0;
        while let Some(message) = split_message(buffer.get(consumed..filled).unwrap_or_default()) {
            if message.is_empty() {
                return CloseReason::Protocol("an empty message");
            }
            consume_budget().await;
            match relay.pipe.write_message(message).await {
                Ok(()) => {}
                Err(error) if is_gone(&error) => return CloseReason::ServerClosed,
                Err(error) => return CloseReason::Failed(error),
            }
            relay.counts.add_to_server(message.len());
            consumed += LENGTH_LEN + message.len();
        }
        buffer.copy_within(consumed..filled, 0);
        filled -= consumed;
    }
}

/// Returns the first message, if all of it was read.
fn split_message(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<LENGTH_LEN>()?;
    rest.get(..usize::from(u16::from_le_bytes(*len)))
}

/// Copies from the server to the client.
pub(super) async fn to_client(relay: &Relay<'_>) -> CloseReason {
    if !relay.target.outbound {
        return std::future::pending().await;
    }
    let mut buffer = vec![0; LENGTH_LEN + MESSAGE_LEN_MAX];
    loop {
        let Some((length, space)) = buffer.split_first_chunk_mut::<LENGTH_LEN>() else {
            return CloseReason::MessageTooLong;
        };
        consume_budget().await;
        let len = match relay.pipe.read_message_into(space).await {
            Ok(MessageRead::Whole(len)) => len,
            Ok(MessageRead::Part(_)) => return CloseReason::MessageTooLong,
            Ok(MessageRead::End) => return CloseReason::ServerClosed,
            Err(error) if is_gone(&error) => return CloseReason::ServerClosed,
            Err(error) => return CloseReason::Failed(error),
        };
        let Ok(encoded) = u16::try_from(len) else { return CloseReason::MessageTooLong };
        *length = encoded.to_le_bytes();
        let frame = buffer.get(..LENGTH_LEN + len).unwrap_or_default();
        if let Err(reason) = smbd_socket::write_all(relay.socket, frame).await {
            return reason;
        }
        relay.counts.add_to_client(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_messages_are_split_off() {
        assert_eq!(split_message(b""), None);
        assert_eq!(split_message(b"\x01"), None);
        assert_eq!(split_message(b"\x00\x00"), Some(&b""[..]));
        assert_eq!(split_message(b"\x02\x00a"), None);
        assert_eq!(split_message(b"\x02\x00ab\x01\x00"), Some(&b"ab"[..]));
        let mut longest = vec![0xff; LENGTH_LEN + MESSAGE_LEN_MAX];
        assert_eq!(split_message(&longest).map(<[u8]>::len), Some(MESSAGE_LEN_MAX));
        longest.pop();
        assert_eq!(split_message(&longest), None);
    }
}
