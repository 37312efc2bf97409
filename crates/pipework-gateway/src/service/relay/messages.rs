//! The two directions of a message pipe. Towards smbd a message has its length before it, in 16 bits, little-endian; a length of
//! zero is an error there.

use pipework::{MessageRead, is_gone};
use tokio::task::consume_budget;
use tracing::warn;

use super::{End, MESSAGE_LEN_MAX, Ways, stream};

const LENGTH_LEN: usize = 2;

/// From the caller to the server.
pub(super) async fn up(ways: &Ways<'_>) -> End {
    let mut buffer = vec![0; LENGTH_LEN + MESSAGE_LEN_MAX];
    let mut filled = 0;
    loop {
        let space = buffer.get_mut(filled..).unwrap_or_default();
        match stream::read(ways.socket, space).await {
            Ok(0) if filled == 0 => return End::Caller,
            // smbd was killed in the middle: no part of a message reaches the server.
            Ok(0) => return End::Exchange("a part of a message, and no more"),
            Ok(_) if !ways.target.inbound => return End::OneWay,
            Ok(len) => filled += len,
            Err(end) => return end,
        }
        let mut passed = 0;
        while let Some(message) = first(buffer.get(passed..filled).unwrap_or_default()) {
            if message.is_empty() {
                return End::Exchange("a message without a byte");
            }
            consume_budget().await;
            match ways.pipe.write_message(message).await {
                Ok(()) => {}
                Err(error) if is_gone(&error) => return End::Server,
                Err(error) => return End::Failed(error),
            }
            ways.progress.add_up(message.len());
            passed += LENGTH_LEN + message.len();
        }
        buffer.copy_within(passed..filled, 0);
        filled -= passed;
    }
}

/// The first message of what was read, if it is there as a whole.
fn first(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<LENGTH_LEN>()?;
    rest.get(..usize::from(u16::from_le_bytes(*len)))
}

/// From the server to the caller.
pub(super) async fn down(ways: &Ways<'_>) -> End {
    if !ways.target.outbound {
        return std::future::pending().await;
    }
    let mut buffer = vec![0; LENGTH_LEN + MESSAGE_LEN_MAX];
    loop {
        let Some((length, space)) = buffer.split_first_chunk_mut::<LENGTH_LEN>() else { return End::TooLong };
        consume_budget().await;
        let len = match ways.pipe.read_message_into(space).await {
            Ok(MessageRead::Whole(0)) => {
                warn!(pipe = ?ways.target.label, "leaves out a message without a byte, which can't be passed on");
                continue;
            }
            Ok(MessageRead::Whole(len)) => len,
            Ok(MessageRead::Part(_)) => return End::TooLong,
            Ok(MessageRead::End) => return End::Server,
            Err(error) if is_gone(&error) => return End::Server,
            Err(error) => return End::Failed(error),
        };
        let Ok(encoded) = u16::try_from(len) else { return End::TooLong };
        *length = encoded.to_le_bytes();
        let written = stream::write(ways.socket, buffer.get(..LENGTH_LEN + len).unwrap_or_default());
        if let Err(end) = written.await {
            return end;
        }
        ways.progress.add_down(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole() {
        assert_eq!(first(b""), None);
        assert_eq!(first(b"\x01"), None);
        assert_eq!(first(b"\x00\x00"), Some(&b""[..]));
        assert_eq!(first(b"\x02\x00a"), None);
        assert_eq!(first(b"\x02\x00ab\x01\x00"), Some(&b"ab"[..]));
        let mut longest = vec![0xff; LENGTH_LEN + MESSAGE_LEN_MAX];
        assert_eq!(first(&longest).map(<[u8]>::len), Some(MESSAGE_LEN_MAX));
        longest.pop();
        assert_eq!(first(&longest), None);
    }
}
