//! The identity of a remote client, and whether it is acceptable.

use std::fmt;

use pipework::RemoteClient;

use crate::npa::{Request, Sid};

/// The SID authority of Windows, and that of Samba.
const WINDOWS: u64 = 5;
const SAMBA: u64 = 22;
const ANONYMOUS: &[u32] = &[7];
const AUTHENTICATED: &[u32] = &[11];
const GUESTS: &[u32] = &[32, 546];
/// First number after Samba's authority: Unix users and Unix groups, which other programs know too.
const UNIX_KINDS: [u32; 2] = [1, 2];
/// First number after Samba's authority: the protection of the session. Dialect, signing algorithm and cipher follow.
const ENCRYPTED_SESSION: u32 = 1_397_571_891;
/// First number after Samba's authority: flags for the peer of smbd.
const FLAGS: u32 = 2_041_152_804;
/// smbd only probes whether the pipe is served.
const FLAG_PROBE: u32 = 4;

/// Why a client is refused before the pipe is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentityError {
    Anonymous,
    Guest,
    NotAuthenticated,
    /// A user or group id of the client is not a valid Unix id.
    InvalidUnixId,
    /// The client has no account name or no SID.
    NoAccount,
    /// A name contains control characters, which must not reach a terminal or a log.
    ControlCharacters,
    NotEncrypted,
    /// smbd probes the pipe; there is no client.
    Probe,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdentityError::Anonymous => "the client is anonymous",
            IdentityError::Guest => "the client is a guest",
            IdentityError::NotAuthenticated => "the client is not authenticated",
            IdentityError::InvalidUnixId => "a user or group id of the client is not a valid Unix id",
            IdentityError::NoAccount => "the client has no account name or no SID",
            IdentityError::ControlCharacters => "a name of the client contains control characters",
            IdentityError::NotEncrypted => "the session is not encrypted (require-encryption)",
            IdentityError::Probe => "smbd only probed the pipe",
        })
    }
}

/// Converts a request to the identity that the server gets. Refuses a client that smbd has not authenticated by
/// password or ticket.
pub(crate) fn identify(request: Request, require_encryption: bool) -> Result<RemoteClient, IdentityError> {
    let has = |numbers| request.sids.iter().any(|sid| matches_sid(sid, WINDOWS, numbers));
    if request.sids.iter().any(is_probe) {
        return Err(IdentityError::Probe);
    }
    if has(ANONYMOUS) {
        return Err(IdentityError::Anonymous);
    }
    if has(GUESTS) {
        return Err(IdentityError::Guest);
    }
    if !has(AUTHENTICATED) {
        return Err(IdentityError::NotAuthenticated);
    }
    let encrypted = request.sids.iter().any(has_cipher);
    if require_encryption && !encrypted {
        return Err(IdentityError::NotEncrypted);
    }
    if request.account.is_empty() {
        return Err(IdentityError::NoAccount);
    }
    let texts = [&request.account, &request.domain, &request.client_address];
    if texts.into_iter().any(|text| text.contains(char::is_control)) {
        return Err(IdentityError::ControlCharacters);
    }
    let user_id = to_unix_id(request.user_id)?;
    let mut group_ids = vec![to_unix_id(request.group_id)?];
    for group in request.group_ids {
        let group = to_unix_id(group)?;
        if !group_ids.contains(&group) {
            group_ids.push(group);
        }
    }
    let sids: Vec<String> =
        request.sids.iter().filter(|sid| !is_samba_internal(sid)).map(Sid::to_string).collect();
    if sids.is_empty() {
        return Err(IdentityError::NoAccount);
    }
    Ok(RemoteClient {
        account: format!(r"{}\{}", request.domain, request.account),
        address: request.client_address,
        encrypted,
        user_id,
        group_ids,
        sids,
    })
}

/// Unix ids have 32 bits, and the largest value means "no id".
fn to_unix_id(number: u64) -> Result<u32, IdentityError> {
    u32::try_from(number).ok().filter(|id| *id != u32::MAX).ok_or(IdentityError::InvalidUnixId)
}

fn matches_sid(sid: &Sid, authority: u64, numbers: &[u32]) -> bool {
    sid.authority() == authority && sid.numbers() == numbers
}

/// Whether a SID describes the session for Samba itself and does not identify the client.
fn is_samba_internal(sid: &Sid) -> bool {
    sid.authority() == SAMBA && !sid.numbers().first().is_some_and(|kind| UNIX_KINDS.contains(kind))
}

fn has_cipher(sid: &Sid) -> bool {
    sid.authority() == SAMBA
        && matches!(sid.numbers(), [ENCRYPTED_SESSION, _dialect, _signing, cipher] if *cipher != 0)
}

fn is_probe(sid: &Sid) -> bool {
    sid.authority() == SAMBA && matches!(sid.numbers(), [FLAGS, flags] if flags & FLAG_PROBE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npa;

    const LEVEL_7: &[u8] = include_bytes!("../../tests/samples/npa-request-level7.bin");
    const LEVEL_8: &[u8] = include_bytes!("../../tests/samples/npa-request-level8.bin");
    /// S-1-5-11, as it stands in the samples.
    const AUTHENTICATED_USERS: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 11, 0, 0, 0];

    /// Replaces all occurrences of some bytes in a sample.
    fn with_replaced(sample: &[u8], from: &[u8], to: &[u8]) -> Request {
        assert_eq!(from.len(), to.len());
        let mut bytes = sample.to_vec();
        let offsets: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
        assert!(!offsets.is_empty());
        for at in offsets {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        npa::parse(&bytes).unwrap()
    }

    #[test]
    fn an_authenticated_client_is_identified() {
        let client = identify(npa::parse(LEVEL_7).unwrap(), true).unwrap();
        let sids = [
            "S-1-5-21-4049976485-3556789534-107472935-1000",
            "S-1-5-21-4049976485-3556789534-107472935-513",
            "S-1-22-2-1001",
            "S-1-1-0",
            "S-1-5-2",
            "S-1-5-11",
            "S-1-22-1-1001",
        ];
        let expected = RemoteClient {
            account: r"SCOUT\smbtest".into(),
            address: "127.0.0.1".into(),
            encrypted: true,
            user_id: 1001,
            group_ids: vec![1001],
            sids: sids.map(str::to_owned).into(),
        };
        assert_eq!(client, expected);
    }

    #[test]
    fn an_unencrypted_session_is_recognized() {
        let request = npa::parse(LEVEL_8).unwrap();
        assert_eq!(identify(request.clone(), true), Err(IdentityError::NotEncrypted));
        assert!(!identify(request, false).unwrap().encrypted);
        // A session without a cipher is not encrypted.
        let none = with_replaced(
            LEVEL_7,
            &[0x11, 3, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0],
            &[0x11, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        );
        assert!(!identify(none, false).unwrap().encrypted);
    }

    #[test]
    fn anonymous_guest_and_unauthenticated_clients_are_refused() {
        let anonymous = with_replaced(LEVEL_7, &AUTHENTICATED_USERS, &[1, 1, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0]);
        assert_eq!(identify(anonymous, false), Err(IdentityError::Anonymous));
        let unauthenticated =
            with_replaced(LEVEL_7, &AUTHENTICATED_USERS, &[1, 1, 0, 0, 0, 0, 0, 5, 12, 0, 0, 0]);
        assert_eq!(identify(unauthenticated, false), Err(IdentityError::NotAuthenticated));
        // Replaces the SID of the Unix user by that of the guests.
        let from = [1, 2, 0, 0, 0, 0, 0, 22, 1, 0, 0, 0, 0xe9, 3, 0, 0];
        let to = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x22, 2, 0, 0];
        assert_eq!(identify(with_replaced(LEVEL_7, &from, &to), false), Err(IdentityError::Guest));
    }

    #[test]
    fn invalid_unix_ids_are_refused() {
        let with = |user: u64, group: u64| {
            let mut request = npa::parse(LEVEL_8).unwrap();
            (request.user_id, request.group_id) = (user, group);
            identify(request, false).map(|client| (client.user_id, client.group_ids))
        };
        assert_eq!(with(7, 8), Ok((7, vec![8, 1001])));
        assert_eq!(with(u64::from(u32::MAX), 8), Err(IdentityError::InvalidUnixId));
        assert_eq!(with(1 << 32, 8), Err(IdentityError::InvalidUnixId));
        assert_eq!(with(7, u64::MAX), Err(IdentityError::InvalidUnixId));
    }

    #[test]
    fn a_probe_is_recognized() {
        let probe = with_replaced(
            LEVEL_8,
            &[0x24, 0x85, 0xa9, 0x79, 0, 0, 0, 0],
            &[0x24, 0x85, 0xa9, 0x79, 5, 0, 0, 0],
        );
        assert_eq!(identify(probe, false), Err(IdentityError::Probe));
    }
}
