//! The first record of a client: what the memory that comes with it looks like.

/// Bytes of a hello.
pub(crate) const HELLO_LEN: usize = 40;
/// Begins every hello.
const MAGIC: [u8; 8] = *b"pipework";
/// Of what two ends say to each other: the hello, the words of the memory, the records, the bytes of the doorbell.
pub(crate) const VERSION: u32 = 2;
/// The byte by which a listener says to a client in its queue that it has an instance, and may say hello.
pub(crate) const ADMITTED: u8 = b'+';

/// The description of the memory that a client made. The server knows all of it already, and checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Which creation of the name the client means to talk to.
    pub(crate) incarnation: u64,
    /// Quota of the client-to-server direction in bytes, if the pipe has it.
    pub(crate) inbound: Option<u32>,
    /// Quota of the server-to-client direction in bytes, if the pipe has it.
    pub(crate) outbound: Option<u32>,
    /// Whether the payload is framed into messages.
    pub(crate) messages: bool,
    /// Length of the identity of the remote client that follows; 0 where the client speaks for itself.
    pub(crate) identity_len: u32,
}

/// Why a hello is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It isn't one.
    Malformed,
    /// Of a version that we don't speak.
    Version(u32),
}

impl Hello {
    pub(crate) fn encode(self) -> [u8; HELLO_LEN] {
        let flags = u32::from(self.messages)
            | u32::from(self.inbound.is_some()) << 1
            | u32::from(self.outbound.is_some()) << 2;
        let mut bytes = [0; HELLO_LEN];
        let fields = MAGIC
            .into_iter()
            .chain(VERSION.to_le_bytes())
            .chain(flags.to_le_bytes())
            .chain(self.incarnation.to_le_bytes())
            .chain(self.inbound.unwrap_or(0).to_le_bytes())
            .chain(self.outbound.unwrap_or(0).to_le_bytes())
            .chain(self.identity_len.to_le_bytes());
        // The last four bytes stay zero: room for what a later version says.
        for (place, byte) in bytes.iter_mut().zip(fields) {
            *place = byte;
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HELLO_LEN]) -> Result<Hello, Refused> {
        let mut rest = bytes.as_slice();
        if take::<8>(&mut rest) != MAGIC {
            return Err(Refused::Malformed);
        }
        let version = u32::from_le_bytes(take(&mut rest));
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        let flags = u32::from_le_bytes(take(&mut rest));
        let incarnation = u64::from_le_bytes(take(&mut rest));
        let inbound = u32::from_le_bytes(take(&mut rest));
        let outbound = u32::from_le_bytes(take(&mut rest));
        let identity_len = u32::from_le_bytes(take(&mut rest));
        let hello = Hello {
            incarnation,
            messages: flags & 1 != 0,
            inbound: (flags & 2 != 0).then_some(inbound),
            outbound: (flags & 4 != 0).then_some(outbound),
            identity_len,
        };
        // One meaning, one encoding: anything else is not what we would have sent.
        if hello.encode() == *bytes { Ok(hello) } else { Err(Refused::Malformed) }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    match rest.split_first_chunk::<N>() {
        Some((first, after)) => {
            *rest = after;
            *first
        }
        None => [0; N],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_hello() -> impl Strategy<Value = Hello> {
        (any::<u64>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<bool>(), any::<u32>()).prop_map(
            |(incarnation, inbound, outbound, messages, identity_len)| Hello {
                incarnation,
                inbound,
                outbound,
                messages,
                identity_len,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(hello in any_hello()) {
            prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }

        #[test]
        fn any_changed_byte_is_seen(hello in any_hello(), index in 0..HELLO_LEN, change in 1..=255_u8) {
            let mut bytes = hello.encode();
            bytes[index] ^= change;
            prop_assert_ne!(Hello::decode(&bytes), Ok(hello));
        }

        #[test]
        fn noise_never_panics(bytes in any::<[u8; 32]>()) {
            let mut noise = [0; HELLO_LEN];
            noise[..32].copy_from_slice(&bytes);
            prop_assert!(Hello::decode(&noise).is_err());
        }
    }

    #[test]
    fn other_versions_are_told_apart_from_noise() {
        let hello =
            Hello { incarnation: 1, inbound: Some(2), outbound: None, messages: true, identity_len: 0 };
        let mut bytes = hello.encode();
        for version in [VERSION - 1, VERSION + 1] {
            bytes[8..12].copy_from_slice(&version.to_le_bytes());
            assert_eq!(Hello::decode(&bytes), Err(Refused::Version(version)));
        }
        assert_eq!(Hello::decode(&[0; HELLO_LEN]), Err(Refused::Malformed));
        let mut later = hello.encode();
        later[HELLO_LEN - 1] = 1;
        assert_eq!(Hello::decode(&later), Err(Refused::Malformed), "unknown words are not ignored");
    }
}
