//! The remote client for which the gateway opens a pipe: how its identity is sent, and whether the pipe
//! admits it.

use super::name::{directory::Directory, permission};
use crate::{
    error::{PipeErrorKind, fail},
    model::dir_format::Header,
    network::RemoteClient,
    options::Request,
};
use std::io;

/// The longest identity, in bytes. An account is in a few dozen groups; one that is in thousands still fits.
pub(super) const IDENTITY_LEN_MAX: usize = 64 * 1024;
/// The longest account, address or SID, in bytes.
const TEXT_LEN_MAX: usize = 1024;

/// Whether the pipe admits the remote client for which it is opened, if there is one (rules A1, A2).
pub(super) fn check_access(request: &Request, directory: &Directory, header: &Header) -> io::Result<()> {
    let Some(remote_client) = &request.remote_client else { return Ok(()) };
    let why = if !header.accept_remote {
        "accepts local clients only"
    } else if !permission::lets_in(
        &header.access,
        directory.owner,
        remote_client.user_id,
        &remote_client.group_ids,
    ) {
        "does not let this client in"
    } else {
        return Ok(());
    };
    let text = format!("{} {why}: {} at {}", request.name, remote_client.account, remote_client.address);
    Err(fail(PipeErrorKind::AccessDenied, text))
}

/// Encodes the remote client. An identity that does not decode to the same one is refused before anything is
/// sent.
pub(super) fn encode(remote_client: &RemoteClient) -> io::Result<Vec<u8>> {
    let mut bytes = vec![u8::from(remote_client.encrypted)];
    bytes.extend(remote_client.user_id.to_le_bytes());
    push_count(&mut bytes, remote_client.group_ids.len());
    bytes.extend(remote_client.group_ids.iter().flat_map(|group| group.to_le_bytes()));
    push_count(&mut bytes, remote_client.sids.len());
    for text in remote_client.sids.iter().chain([&remote_client.account, &remote_client.address]) {
        push_count(&mut bytes, text.len());
        bytes.extend(text.as_bytes());
    }
    let is_ours = decode(&bytes).as_ref() == Some(remote_client);
    is_ours.then_some(bytes).ok_or_else(|| {
        let text = "a remote client needs an account and an address of at most 1024 bytes, without control \
                    characters, and valid SIDs; with its groups they have at most 64 KiB";
        fail(PipeErrorKind::Invalid, text)
    })
}

fn push_count(bytes: &mut Vec<u8>, count: usize) {
    // A count that overflows this makes the whole too long, and the check at the end refuses it.
    bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// Decodes a remote client; `None` is anything that `encode` would not have written.
pub(super) fn decode(bytes: &[u8]) -> Option<RemoteClient> {
    let mut rest = (bytes.len() <= IDENTITY_LEN_MAX).then_some(bytes)?;
    let encrypted = match take(&mut rest, 1)? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let user_id = number(&mut rest)?;
    let groups = number(&mut rest)?;
    let group_ids = (0..groups).map(|_| number(&mut rest)).collect::<Option<_>>()?;
    let count = number(&mut rest)?;
    let sids = (0..count).map(|_| text(&mut rest).filter(|sid| is_plain_sid(sid))).collect::<Option<_>>()?;
    let (account, address) = (text(&mut rest)?, text(&mut rest)?);
    let is_whole = rest.is_empty() && !account.is_empty() && !address.is_empty();
    is_whole.then_some(RemoteClient { account, address, encrypted, user_id, group_ids, sids })
}

fn is_plain_sid(text: &str) -> bool {
    super::accounts::is_sid(text)
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'S' | b'-'))
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(number(rest)?).ok().filter(|len| *len <= TEXT_LEN_MAX)?;
    let text = str::from_utf8(take(rest, len)?).ok()?;
    // It goes into logs and onto terminals.
    (!text.contains(char::is_control)).then(|| text.to_owned())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn remote_client() -> RemoteClient {
        RemoteClient {
            account: r"WORKGROUP\eve".into(),
            address: "192.0.2.7".into(),
            encrypted: true,
            user_id: 1001,
            group_ids: vec![100, 27],
            sids: vec!["S-1-5-21-1-2-3-1001".into(), "S-1-5-11".into()],
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            (account, address) in ("\\PC{1,40}", "\\PC{1,40}"),
            (encrypted, user_id) in any::<(bool, u32)>(),
            group_ids in prop::collection::vec(any::<u32>(), 0..20),
            sids in prop::collection::vec("S-1(-[0-9]{1,9}){1,6}", 0..20),
        ) {
            let remote_client = RemoteClient { account, address, encrypted, user_id, group_ids, sids };
            prop_assert_eq!(decode(&encode(&remote_client).unwrap()), Some(remote_client));
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(remote_client) = decode(&bytes) {
                prop_assert_eq!(encode(&remote_client).unwrap(), bytes, "one meaning, one encoding");
            }
        }

        #[test]
        fn a_part_is_nothing(cut in 0..1000_usize) {
            let bytes = encode(&remote_client()).unwrap();
            prop_assert_eq!(decode(&bytes[..cut % bytes.len()]), None);
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_refused() {
        let mut long = remote_client();
        long.group_ids = vec![1; IDENTITY_LEN_MAX / 4];
        let cases = [
            RemoteClient { account: String::new(), ..remote_client() },
            RemoteClient { account: "a".repeat(TEXT_LEN_MAX + 1), ..remote_client() },
            RemoteClient { address: "line\nbreak".into(), ..remote_client() },
            RemoteClient { sids: vec!["Everyone".into()], ..remote_client() },
            long,
        ];
        for remote_client in cases {
            assert!(encode(&remote_client).unwrap_err() == PipeErrorKind::Invalid);
        }
    }

    #[test]
    fn counts_without_their_items_are_refused() {
        let mut bytes = vec![0];
        bytes.extend([0; 4]);
        bytes.extend(u32::MAX.to_le_bytes());
        assert_eq!(decode(&bytes), None);
    }
}
