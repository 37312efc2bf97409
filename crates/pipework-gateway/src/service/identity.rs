//! Who a caller is, and whether it is anybody.

use std::fmt;

use pipework::NetworkCaller;

use crate::npa::{Request, Sid};

/// Windows' own authority and Samba's.
const WINDOWS: u64 = 5;
const SAMBA: u64 = 22;
const ANONYMOUS: &[u32] = &[7];
const AUTHENTICATED: &[u32] = &[11];
const GUESTS: &[u32] = &[32, 546];
/// Behind Samba's authority: users and groups of Unix, which other programs know too.
const UNIX_KINDS: [u32; 2] = [1, 2];
/// Behind Samba's authority, in an encrypted session: then the dialect, how it is signed, and how it is encrypted.
const ENCRYPTED_SESSION: u32 = 1_397_571_891;
/// Behind Samba's authority: what smbd tells the program at the other end.
const FLAGS: u32 = 2_041_152_804;
/// smbd only looks whether somebody is there.
const FLAG_PROBE: u32 = 4;

/// Why a caller is refused before any pipe is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Anonymous,
    Guest,
    NotAuthenticated,
    /// Its numbers on this computer are none.
    NoUser,
    /// It has no name, or no identifier.
    NoAccount,
    /// Its names are not what a terminal or a log should get.
    Unprintable,
    NotEncrypted,
    /// It is no caller.
    Probe,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Anonymous => "the caller is anonymous",
            Refusal::Guest => "the caller is a guest",
            Refusal::NotAuthenticated => "the caller is not authenticated",
            Refusal::NoUser => "the caller is no user of this computer",
            Refusal::NoAccount => "the caller has no account",
            Refusal::Unprintable => "the caller's names have control characters",
            Refusal::NotEncrypted => "the session is not encrypted (require-encryption)",
            Refusal::Probe => "smbd only looked",
        })
    }
}

/// The caller as a server sees it, if it is one whom a password or a ticket has made known.
pub(crate) fn caller(request: Request, require_encryption: bool) -> Result<NetworkCaller, Refusal> {
    let has = |numbers| request.sids.iter().any(|sid| is(sid, WINDOWS, numbers));
    if request.sids.iter().any(is_probe) {
        return Err(Refusal::Probe);
    }
    if has(ANONYMOUS) {
        return Err(Refusal::Anonymous);
    }
    if has(GUESTS) {
        return Err(Refusal::Guest);
    }
    if !has(AUTHENTICATED) {
        return Err(Refusal::NotAuthenticated);
    }
    let encrypted = request.sids.iter().any(is_of_an_encrypted_session);
    if require_encryption && !encrypted {
        return Err(Refusal::NotEncrypted);
    }
    if request.account.is_empty() {
        return Err(Refusal::NoAccount);
    }
    let texts = [&request.account, &request.domain, &request.client_address];
    if texts.into_iter().any(|text| text.contains(char::is_control)) {
        return Err(Refusal::Unprintable);
    }
    let user_id = id(request.user_id)?;
    let mut group_ids = vec![id(request.group_id)?];
    for group in request.group_ids {
        let group = id(group)?;
        if !group_ids.contains(&group) {
            group_ids.push(group);
        }
    }
    let sids: Vec<String> =
        request.sids.iter().filter(|sid| !is_of_samba_alone(sid)).map(Sid::to_string).collect();
    if sids.is_empty() {
        return Err(Refusal::NoAccount);
    }
    Ok(NetworkCaller {
        account: format!(r"{}\{}", request.domain, request.account),
        address: request.client_address,
        encrypted,
        user_id,
        group_ids,
        sids,
    })
}

/// A number of Linux, which has 32 bits, and the last of which stands for none.
fn id(number: u64) -> Result<u32, Refusal> {
    u32::try_from(number).ok().filter(|id| *id != u32::MAX).ok_or(Refusal::NoUser)
}

fn is(sid: &Sid, authority: u64, numbers: &[u32]) -> bool {
    sid.authority() == authority && sid.numbers() == numbers
}

/// What Samba says to itself, and says nothing of who it is.
fn is_of_samba_alone(sid: &Sid) -> bool {
    sid.authority() == SAMBA && !sid.numbers().first().is_some_and(|kind| UNIX_KINDS.contains(kind))
}

fn is_of_an_encrypted_session(sid: &Sid) -> bool {
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

    /// A sample in which some bytes, once or more, are others.
    fn changed(sample: &[u8], from: &[u8], to: &[u8]) -> Request {
        assert_eq!(from.len(), to.len());
        let mut bytes = sample.to_vec();
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        npa::parse(&bytes).unwrap()
    }

    #[test]
    fn an_authenticated_caller_is_let_in() {
        let caller = caller(npa::parse(LEVEL_7).unwrap(), true).unwrap();
        let sids = [
            "S-1-5-21-4049976485-3556789534-107472935-1000",
            "S-1-5-21-4049976485-3556789534-107472935-513",
            "S-1-22-2-1001",
            "S-1-1-0",
            "S-1-5-2",
            "S-1-5-11",
            "S-1-22-1-1001",
        ];
        let expected = NetworkCaller {
            account: r"SCOUT\smbtest".into(),
            address: "127.0.0.1".into(),
            encrypted: true,
            user_id: 1001,
            group_ids: vec![1001],
            sids: sids.map(str::to_owned).into(),
        };
        assert_eq!(caller, expected);
    }

    #[test]
    fn a_session_that_is_not_encrypted_is_told_apart() {
        let request = npa::parse(LEVEL_8).unwrap();
        assert_eq!(caller(request.clone(), true), Err(Refusal::NotEncrypted));
        assert!(!caller(request, false).unwrap().encrypted);
        // No cipher is no encryption.
        let none = changed(
            LEVEL_7,
            &[0x11, 3, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0],
            &[0x11, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        );
        assert!(!caller(none, false).unwrap().encrypted);
    }

    #[test]
    fn anonymous_callers_guests_and_strangers_are_refused() {
        let anonymous = changed(LEVEL_7, &AUTHENTICATED_USERS, &[1, 1, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0]);
        assert_eq!(caller(anonymous, false), Err(Refusal::Anonymous));
        let stranger = changed(LEVEL_7, &AUTHENTICATED_USERS, &[1, 1, 0, 0, 0, 0, 0, 5, 12, 0, 0, 0]);
        assert_eq!(caller(stranger, false), Err(Refusal::NotAuthenticated));
        // The group of the users' database becomes that of the guests.
        let from = [1, 2, 0, 0, 0, 0, 0, 22, 1, 0, 0, 0, 0xe9, 3, 0, 0];
        let to = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x22, 2, 0, 0];
        assert_eq!(caller(changed(LEVEL_7, &from, &to), false), Err(Refusal::Guest));
    }

    #[test]
    fn numbers_that_are_no_users_are_refused() {
        let with = |user: u64, group: u64| {
            let mut request = npa::parse(LEVEL_8).unwrap();
            (request.user_id, request.group_id) = (user, group);
            caller(request, false).map(|caller| (caller.user_id, caller.group_ids))
        };
        assert_eq!(with(7, 8), Ok((7, vec![8, 1001])));
        assert_eq!(with(u64::from(u32::MAX), 8), Err(Refusal::NoUser));
        assert_eq!(with(1 << 32, 8), Err(Refusal::NoUser));
        assert_eq!(with(7, u64::MAX), Err(Refusal::NoUser));
    }

    #[test]
    fn a_probe_is_no_caller() {
        let probe =
            changed(LEVEL_8, &[0x24, 0x85, 0xa9, 0x79, 0, 0, 0, 0], &[0x24, 0x85, 0xa9, 0x79, 5, 0, 0, 0]);
        assert_eq!(caller(probe, false), Err(Refusal::Probe));
    }
}
