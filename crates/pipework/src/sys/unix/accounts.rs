//! Users and groups of this host, by name and by number.

use std::io;

use nix::{
    errno::Errno,
    unistd::{Group, Uid, User},
};

use crate::error::{PipeErrorKind, context, fail};

/// The uid of an account: a name, or a uid in decimal, which needs no entry.
pub(crate) fn user_id(account: &str) -> io::Result<u32> {
    id_of(account, "user", |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

/// The gid of a group: a name, or a gid in decimal, which needs no entry.
pub(crate) fn group_id(group: &str) -> io::Result<u32> {
    id_of(group, "group", |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
}

/// The name of an account, or its uid in decimal when it has none.
pub(crate) fn user_name(uid: u32) -> io::Result<String> {
    match found(User::from_uid(Uid::from_raw(uid))) {
        Ok(Some(user)) => Ok(user.name),
        Ok(None) => Ok(uid.to_string()),
        Err(error) => Err(context(format!("looking up the user {uid}"), error)),
    }
}

/// Whether this is the SID of an account of Windows, and no name.
pub(crate) fn is_sid(account: &str) -> bool {
    account.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("S-1-"))
}

fn id_of(account: &str, what: &str, look_up: fn(&str) -> nix::Result<Option<u32>>) -> io::Result<u32> {
    if is_sid(account) {
        let text = format!(
            "{account} is a SID, and this system has none: give the name or the number of the {what}"
        );
        return Err(fail(PipeErrorKind::Unsupported, text));
    }
    if !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit()) {
        // The largest number means "no one" to the system.
        return account.parse().ok().filter(|id| *id != u32::MAX).ok_or_else(|| {
            fail(PipeErrorKind::Invalid, format!("{account} is too large for the number of a {what}"))
        });
    }
    match found(look_up(account)) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => {
            Err(fail(PipeErrorKind::Invalid, format!("there is no {what} named {account:?} on this host")))
        }
        Err(error) => Err(context(format!("looking up the {what} {account:?}"), error)),
    }
}

/// Some systems answer for an unknown account with one of these errors instead of an empty result.
fn found<T>(result: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match result {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::Gid;

    use super::*;

    const UNUSED: u32 = 3_999_999_999;

    #[test]
    fn names_and_numbers_are_looked_up() {
        assert_eq!(user_id("root").unwrap(), 0);
        assert_eq!(user_name(0).unwrap(), "root");
        let own_uid = Uid::effective().as_raw();
        assert_eq!(user_id(&user_name(own_uid).unwrap()).unwrap(), own_uid);
        let own_gid = Gid::effective();
        if let Some(group) = Group::from_gid(own_gid).unwrap() {
            assert_eq!(group_id(&group.name).unwrap(), own_gid.as_raw());
        }
    }

    #[test]
    fn a_number_needs_no_entry() {
        assert_eq!(user_id("0").unwrap(), 0);
        assert_eq!(user_id("007").unwrap(), 7);
        assert_eq!(user_id(&UNUSED.to_string()).unwrap(), UNUSED);
        assert_eq!(group_id(&UNUSED.to_string()).unwrap(), UNUSED);
        assert_eq!(user_name(UNUSED).unwrap(), UNUSED.to_string());
    }

    #[test]
    fn what_is_no_account_is_invalid_and_named() {
        for account in
            ["", "no such user", "nul\0", "-1", "+5", "4294967295", "4294967296", "99999999999999999999"]
        {
            for (what, result) in [("user", user_id(account)), ("group", group_id(account))] {
                let error = result.unwrap_err();
                assert!(error == PipeErrorKind::Invalid, "{account:?}: {error}");
                assert!(error.to_string().contains(format!("{account:?}").trim_matches('"')), "{error}");
                assert!(error.to_string().contains(what), "{error}");
            }
        }
    }

    #[test]
    fn a_sid_is_unsupported() {
        for sid in ["S-1-5-18", "s-1-5-21-1-2-3-500", "S-1-"] {
            assert!(user_id(sid).unwrap_err() == PipeErrorKind::Unsupported);
            let error = group_id(sid).unwrap_err();
            assert!(error == PipeErrorKind::Unsupported);
            assert!(error.to_string().contains(sid), "{error}");
        }
        assert!(user_id("S-2").unwrap_err() == PipeErrorKind::Invalid);
    }
}
