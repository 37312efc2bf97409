//! Who is let in, where to, and what a server sees of it.

use std::{fs, os::unix::fs::MetadataExt};

use super::{
    Shared,
    client::{self, ACCESS_DENIED, Caller, DISCONNECTED, LOGON_FAILURE, NO_SUCH_NAME},
    matrix,
    samba::{Samba, Setup, User},
    server::{Deed, Plan, Server},
    site::{Gateway, Places, Site},
};

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("a_server_sees_who_calls", identity),
    ("a_wrong_password_reaches_nobody", wrong_password),
    ("anonymous_callers_and_guests_reach_nobody", strangers),
    ("a_user_without_access_reaches_nobody", without_access),
    ("a_local_pipe_is_never_reached", local_only),
    ("names_that_are_not_exported_reach_nobody", unknown_names),
    ("names_are_found_in_any_case", any_case),
    ("samba_s_own_names_are_not_taken", reserved_names),
    ("what_is_not_the_gateway_s_stays", foreign_files),
    ("an_account_has_so_many_connections_and_no_more", limits),
    ("encryption_can_be_required", required_encryption),
    ("users_with_names_of_every_length_are_read", lengths_of_names),
    ("a_pipe_is_reachable_at_once_and_gone_at_once", coming_and_going),
];

fn identity(site: &Site) {
    let server = site.serve(&Plan::new("identity", true, Deed::Echo));
    let user = site.samba.user();
    client::impacket(site, user, &["transact", "identity", "1"]);
    let seen = server.line();
    let uid = uid_of(user);
    let expected = format!(r"client PIPEWORK\{} 127.0.0.1 ", user.name);
    assert!(seen.starts_with(&expected), "{seen}");
    assert!(seen.contains(&format!(" uid={uid} ")) && seen.contains(" sid=S-1-5-21-"), "{seen}");
    // And the log, with all of it in one line.
    site.gateway.await_log(&["INFO", &user.name, "127.0.0.1", "identity", "the caller has closed"]);
    matrix::note("impacket", "messages", "who the server sees", "account, address, uid, SID of the caller");
}

fn uid_of(user: &User) -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with(&format!("{}:", user.name))).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}

fn wrong_password(site: &Site) {
    let server = site.serve(&Plan::new("password", false, Deed::Echo));
    let user = User { password: "wrong".into(), ..site.samba.user().clone() };
    assert_eq!(client::impacket_session(site, &user, &["opens", "password"]), [LOGON_FAILURE]);
    let said = client::smbclient(site, &user, &[], "open password");
    assert!(said.contains("NT_STATUS_LOGON_FAILURE"), "{said}");
    assert!(server.is_silent());
    for caller in ["impacket", "smbclient"] {
        matrix::note(caller, "any", "a wrong password", "STATUS_LOGON_FAILURE, the server sees nothing");
    }
}

fn strangers(site: &Site) {
    let nobody = User { name: String::new(), password: String::new() };
    let server = site.serve(&Plan::new("strangers", false, Deed::Echo));
    let lines = client::impacket_session(site, &nobody, &["opens", "strangers"]);
    assert_eq!(lines, [ACCESS_DENIED]);
    assert!(server.is_silent());
    matrix::note("impacket", "any", "anonymous", "refused by smbd");

    // Where smbd lets them in, the gateway does not.
    let site = Site::new(&Setup { guest: true, ..Setup::default() }, &[]);
    let server = site.serve(&Plan::new("strangers", false, Deed::Echo));
    assert_eq!(client::impacket(&site, &nobody, &["opens", "strangers"]), [DISCONNECTED]);
    site.gateway.await_log(&["WARN", "strangers", "the caller is anonymous"]);
    let guest = User { name: "somebody".into(), password: "anything".into() };
    assert_eq!(client::impacket(&site, &guest, &["opens", "strangers"]), [DISCONNECTED]);
    site.gateway.await_log(&["WARN", "strangers", "the caller is a guest"]);
    assert!(server.is_silent());
    matrix::note("impacket", "any", "anonymous, smbd lets them in", "refused, the server sees nothing");
    matrix::note("impacket", "any", "guest, smbd lets them in", "refused, the server sees nothing");
}

fn without_access(site: &Site) {
    // The user nobody: an account, and not the caller's.
    let plan = Plan { user: Some("nobody".into()), ..Plan::new("for-another", true, Deed::Echo) };
    let server = site.serve(&plan);
    let user = site.samba.user();
    assert_eq!(client::impacket(site, user, &["opens", "for-another"]), [DISCONNECTED]);
    let said = client::smbclient(site, user, &[], "open for-another");
    assert!(said.contains("NT_STATUS_CONNECTION_DISCONNECTED"), "{said}");
    assert!(server.is_silent());
    site.gateway.await_log(&["WARN", &user.name, "for-another", "does not let this caller in"]);
    // One that lets the caller in by name.
    let plan = Plan { user: Some(user.name.clone()), ..Plan::new("for-the-caller", true, Deed::Echo) };
    let _server = site.serve(&plan);
    assert_eq!(client::impacket(site, user, &["transact", "for-the-caller", "9"]), ["transact 9"]);
    for caller in ["impacket", "smbclient"] {
        matrix::note(caller, "any", "a user without access", "refused, the server sees nothing");
    }
}

fn local_only(site: &Site) {
    let server = site.serve(&Plan { is_local: true, ..Plan::new("local-only", false, Deed::Echo) });
    let _other = site.serve(&Plan::new("beside-local-only", false, Deed::Echo));
    assert!(!site.link("local-only").exists());
    let user = site.samba.user();
    assert_eq!(client::impacket(site, user, &["opens", "local-only"]), [NO_SUCH_NAME]);
    let said = client::smbclient(site, user, &[], "open local-only");
    assert!(said.contains("NT_STATUS_OBJECT_NAME_NOT_FOUND"), "{said}");
    assert!(server.is_silent());
    assert!(server.unread().is_empty());
    for caller in ["impacket", "smbclient"] {
        matrix::note(caller, "any", "a local-only pipe", "no such name, the server sees nothing");
    }
}

fn unknown_names(site: &Site) {
    let server = site.serve(&Plan::new("known", false, Deed::Echo));
    let long = "x".repeat(3000);
    let names = [
        "unknown",
        "..",
        r"..\..\etc\passwd",
        "../../etc/passwd",
        r"known\..\known",
        "kno/wn",
        ".",
        r"\known\",
        "known ",
        "known.",
        "kn?wn",
        "*",
        "lock",
        "0.sock",
        "ünknown",
        &long,
    ];
    let words: Vec<&str> = ["opens"].into_iter().chain(names).collect();
    let lines = client::impacket(site, site.samba.user(), &words);
    assert_eq!(lines.len(), names.len());
    for (name, line) in names.iter().zip(&lines) {
        assert!(line.starts_with("error"), "{name}: {line}");
    }
    for name in ["unknown", r"..\..\etc\passwd", "kno/wn"] {
        let said = client::smbclient(site, site.samba.user(), &[], &format!("open {name}"));
        assert!(said.contains("NT_STATUS_"), "{name}: {said}");
    }
    assert!(server.is_silent());
    matrix::note(
        "impacket",
        "any",
        "16 names with .., /, \\, *, over-long",
        "an error each, no server sees it",
    );
    matrix::note("smbclient", "any", "names with .., /, \\", "an error each, no server sees it");
}

fn any_case(site: &Site) {
    let _server = site.serve(&Plan::new("MixedCase.Ü", true, Deed::Echo));
    for name in ["MixedCase.Ü", "mixedcase.ü", "MIXEDCASE.Ü"] {
        assert_eq!(client::impacket(site, site.samba.user(), &["transact", name, "5"]), ["transact 5"]);
    }
    // A name with a part that other systems would take for a directory.
    let _server = site.serve(&Plan::new(r"part\name", true, Deed::Echo));
    assert_eq!(client::impacket(site, site.samba.user(), &["transact", r"PART\name", "5"]), ["transact 5"]);
    matrix::note("impacket", "any", "unusual case, ü, \\ in a name", "found");
}

fn reserved_names(site: &Site) {
    let _server = Server::start(&site.places.pipes(), &Plan::new("LsaRpc", false, Deed::Echo));
    site.gateway.await_log(&["LsaRpc", "a pipe of Samba's own"]);
    let _other = Server::start(&site.places.pipes(), &Plan::new("sla/sh", false, Deed::Echo));
    site.gateway.await_log(&["sla/sh", "slash"]);
    let name = "l".repeat(100);
    let _long = Server::start(&site.places.pipes(), &Plan::new(&name, false, Deed::Echo));
    site.gateway.await_log(&[&name, "too long"]);
    let lines = client::impacket(site, site.samba.user(), &["opens", "lsarpc", &name]);
    assert!(lines.iter().all(|line| line.starts_with("error")), "{lines:?}");
}

fn foreign_files(_: &Site) {
    let samba = Samba::start(&Setup::default());
    let places = Places::new();
    // A file of somebody else, a link that leads elsewhere, and what a killed gateway leaves.
    let (file, link) = (samba.np().join("occupied"), samba.np().join("elsewhere"));
    fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink("/run/other.sock", &link).unwrap();
    let stale = samba.np().join("stale");
    std::os::unix::fs::symlink(places.run_dir().join("7.sock"), &stale).unwrap();
    let gateway = Gateway::start(&samba.conf(), &places, &[]);
    let _server = Server::start(&places.pipes(), &Plan::new("occupied", false, Deed::Echo));
    gateway.await_log(&["occupied", "not exported", "not the gateway's"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(link.is_symlink() && !stale.is_symlink());
    // Free again, it is taken.
    fs::remove_file(&file).unwrap();
    gateway.await_log(&["occupied", "is exported"]);
    drop(gateway);
    assert!(!file.is_symlink() && link.is_symlink());
}

fn limits(_: &Site) {
    let site = Site::new(&Setup::default(), &["--connections-per-caller", "3", "--connections", "4"]);
    let _server = site.serve(&Plan::new("limited", false, Deed::Wait));
    let user = site.samba.user();
    let holders: Vec<Caller> = (0..3)
        .map(|_| {
            let caller = Caller::impacket(&site, user, &["hold", "limited"]);
            caller.line();
            assert_eq!(caller.line(), "open");
            caller
        })
        .collect();
    assert_eq!(client::impacket(&site, user, &["opens", "limited"]), [DISCONNECTED]);
    site.gateway.await_log(&["WARN", &user.name, "limited", "this account has 3 connections already"]);
    drop(holders);
    // Each place is free again once its connection has ended.
    super::wait_until("a place is free", || client::impacket(&site, user, &["opens", "limited"]) == ["open"]);
    matrix::note("impacket", "any", "more than --connections-per-caller", "refused, logged");
}

fn required_encryption(_: &Site) {
    let site = Site::new(&Setup::default(), &["--require-encryption"]);
    let server = site.serve(&Plan::new("secret", false, Deed::Echo));
    let user = site.samba.user();
    let said = client::smbclient(&site, user, &["--client-protection=sign"], "open secret");
    assert!(said.contains("NT_STATUS_CONNECTION_DISCONNECTED"), "{said}");
    site.gateway.await_log(&["WARN", "secret", "not encrypted"]);
    assert!(server.is_silent());
    let said = client::smbclient(&site, user, &["--client-protection=encrypt"], "open secret");
    assert!(said.contains("fnum"), "{said}");
    matrix::note("smbclient", "any", "a session that is not encrypted, where it has to be", "refused");
}

/// The end of a request is where the last name ends, aligned or not.
fn lengths_of_names(_: &Site) {
    let mut site = Site::new(&Setup::default(), &[]);
    let _server = site.serve(&Plan::new("names", true, Deed::Echo));
    // Their names are counted, so some of ten have another length.
    for _ in 0..10 {
        let user = site.samba.add_user("secret");
        assert_eq!(client::impacket(&site, &user, &["transact", "names", "3"]), ["transact 3"], "{user:?}");
    }
}

fn coming_and_going(site: &Site) {
    let user = site.samba.user();
    for round in 0..5 {
        let server = site.serve(&Plan::new("comes-and-goes", true, Deed::Echo));
        let lines = client::impacket(site, user, &["transact", "comes-and-goes", "3"]);
        assert_eq!(lines, ["transact 3"], "round {round}");
        drop(server);
        // Killed: its files are still there, and the next look finds it dead.
        let lines = client::impacket(site, user, &["opens", "comes-and-goes"]);
        assert!(lines == [NO_SUCH_NAME] || lines == [DISCONNECTED], "{lines:?}");
        let link = site.link("comes-and-goes");
        super::wait_until("the link is gone", || fs::symlink_metadata(&link).is_err());
    }
    assert_eq!(fs::metadata(site.places.run_dir()).unwrap().mode() & 0o7777, 0o700);
}
