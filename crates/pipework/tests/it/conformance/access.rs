//! A1 to A4: who may open, and who the other end is.

use std::time::Duration;

use pipework::{Access, NamedPipe, NamedPipeBuilder, PipeErrorKind, ServerCheck};

use super::{Case, SHORT, every, expect, expect_alive, expect_refused, pair, pair_with, plain};
use crate::{
    child::Other,
    harness::unique,
    surface::{Grant, OpenSpec, Outcome, PeerView, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("A1", a1_an_unknown_account_is_invalid),
        plain("A1", a1_the_order_of_setters_opens_nothing),
        every("A3", a3_each_end_knows_the_others_process_and_user),
        every("A3", a3_the_peer_is_known_after_it_has_gone),
        plain("A3", a3_a_peer_belongs_to_groups),
        every("A4", a4_a_client_can_demand_who_the_server_is),
        every("A4", a4_a_refused_server_gets_no_byte),
    ]
}

/// Refused, in the words of std too.
#[track_caller]
pub(super) fn expect_denied<T>(result: Outcome<T>) {
    let fault = expect_refused(result, PipeErrorKind::AccessDenied);
    assert_eq!(fault.io_kind, "PermissionDenied");
}

/// A1: an account that can't be found lets nobody in, and nothing is made.
fn a1_an_unknown_account_is_invalid(here: &dyn Surface) {
    let name = unique();
    for grant in [Grant::User("no such user".to_owned()), Grant::Group("no such group".to_owned())] {
        let fault = expect_refused(here.create(&Spec::new(&name).grant(grant)), PipeErrorKind::Invalid);
        assert!(fault.text.contains("no such"), "the text names the account: {}", fault.text);
        expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
    }
}

/// A1: access is what was said last, whatever else is set before or after it.
fn a1_the_order_of_setters_opens_nothing() {
    let settings: [fn(&mut NamedPipeBuilder) -> &mut NamedPipeBuilder; 6] = [
        |builder| builder.pipe_mode(pipework::PipeMode::Message),
        |builder| builder.max_instances(3),
        |builder| builder.first(false),
        |builder| builder.in_buffer_size(1).out_buffer_size(1),
        |builder| builder.default_timeout(SHORT),
        |builder| builder.access(Access::owner()),
    ];
    for first in settings {
        for second in settings {
            let name = unique();
            let mut builder = NamedPipeBuilder::new(&name);
            builder.access(Access::everyone());
            builder.access(Access::owner());
            first(&mut builder);
            second(&mut builder);
            let pipe = builder.create().unwrap();
            expect_for_owner_only(&pipe, &name);
        }
    }
}

/// No other user can reach the directory of its sockets.
#[cfg(unix)]
#[track_caller]
fn expect_for_owner_only(_pipe: &NamedPipe, name: &str) {
    use std::os::unix::fs::MetadataExt;
    let directory = pipework::PipeName::new(name).unwrap().location().unwrap();
    assert_eq!(std::fs::metadata(directory).unwrap().mode() & 0o077, 0);
}

/// Its descriptor names nobody but the owner, the system and its administrators.
#[cfg(windows)]
#[track_caller]
fn expect_for_owner_only(pipe: &NamedPipe, name: &str) {
    use std::os::windows::io::AsHandle;
    let list = crate::windows::access_list(pipe.as_handle());
    let (flags, entries) = list.split_once('(').unwrap();
    let accounts: Vec<&str> =
        entries.split('(').map(|entry| entry.trim_end_matches(')').rsplit(';').next().unwrap()).collect();
    assert_eq!((flags, accounts.len()), ("D:P", 3), "{name} lets in {list}");
    assert!(accounts.contains(&"SY") && accounts.contains(&"BA"), "{name} lets in {list}");
}

/// What this process looks like to another end.
fn me(here: &dyn Surface) -> PeerView {
    let (server, _client) = pair(here, &Spec::new(&unique()));
    server.end().peer().unwrap()
}

/// Its user, as `ServerCheck` takes it.
fn my_user(here: &dyn Surface) -> String {
    let me = me(here);
    me.sid.or(me.user_id.map(|user| user.to_string())).expect("every process has a user")
}

/// A user that this process is not.
fn another_user(here: &dyn Surface) -> String {
    match me(here).user_id {
        Some(user) => (user + 1).to_string(),
        // A service of the system.
        None => "S-1-5-19".to_owned(),
    }
}

/// A3: process, user and groups, on both sides.
fn a3_each_end_knows_the_others_process_and_user(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (server, client) = pair_with(here, &there, &Spec::new(&unique()));
    for (end, process) in [(server.end(), there.id()), (client.as_ref(), std::process::id())] {
        let peer = end.peer().unwrap();
        assert_eq!(peer.process_id, Some(process));
        assert!(peer.same_user, "{peer:?}");
        expect_my_user(&peer);
        assert!(!peer.account.is_empty() && !peer.account.starts_with("unknown"), "{peer:?}");
    }
}

/// The numbers of Unix.
#[cfg(unix)]
#[track_caller]
fn expect_my_user(peer: &PeerView) {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    assert_eq!((peer.user_id, peer.group_ids.first()), (Some(user), Some(&group)));
    assert_eq!(peer.sid, None);
}

/// The identifier of Windows.
#[cfg(windows)]
#[track_caller]
fn expect_my_user(peer: &PeerView) {
    assert_eq!((peer.user_id, peer.group_ids.as_slice()), (None, [].as_slice()));
    assert!(peer.sid.as_ref().is_some_and(|sid| sid.starts_with("S-1-5-21-")), "{peer:?}");
}

/// A3: it answers still after the peer closed, or was killed.
fn a3_the_peer_is_known_after_it_has_gone(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (closed, client) = pair_with(here, &there, &Spec::new(&unique()));
    let (killed, _client) = pair_with(here, &there, &Spec::new(&unique()));
    drop(client);
    assert_eq!(closed.end().read_some(1).unwrap(), b"");
    assert_eq!(closed.end().peer().unwrap().process_id, Some(there.id()));
    there.kill();
    for server in [closed, killed] {
        let peer = server.end().peer().unwrap();
        assert_eq!(peer.process_id, Some(there.id()));
        assert!(peer.same_user, "{peer:?}");
    }
}

/// A3: a group by number or name; one that does not exist is an error or no.
fn a3_a_peer_belongs_to_groups() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    let peer = client.peer().unwrap();
    let (mine, other) = groups();
    assert!(peer.is_member_of(&mine).unwrap());
    assert!(!peer.is_member_of(&other).unwrap());
    assert!(!peer.is_member_of("no such group").unwrap_or(false));
}

/// A group that every process of this user is in, and one that none is in.
fn groups() -> (String, String) {
    #[cfg(unix)]
    let mine = rustix::process::getegid().as_raw().to_string();
    // Everyone, who has logged on or not.
    #[cfg(windows)]
    let mine = "S-1-1-0".to_owned();
    let other = if cfg!(unix) { "987654" } else { "S-1-5-32-551" };
    (mine, other.to_owned())
}

/// A4: by user, or not at all.
fn a4_a_client_can_demand_who_the_server_is(here: &dyn Surface) {
    let there = Other::spawn(here);
    let name = unique();
    let server = there.create(&Spec::new(&name)).unwrap();
    for check in [ServerCheck::Trusted, ServerCheck::User(my_user(here)), ServerCheck::Anyone] {
        let client = here.open(&OpenSpec::new(&name).server(check)).unwrap();
        server.connect().unwrap();
        expect_alive(client.as_ref(), server.end());
        server.disconnect().unwrap();
        expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    }
}

/// A4: the connection ends before a byte is sent.
fn a4_a_refused_server_gets_no_byte(here: &dyn Surface) {
    let there = Other::spawn(here);
    let wrong = another_user(here);
    let name = unique();
    let listener = there.listen(&Spec::new(&name)).unwrap();
    let open = OpenSpec::new(&name).server(ServerCheck::User(wrong));
    expect_denied(here.open(&open));
    expect_refused(listener.accept_timeout(SHORT), PipeErrorKind::TimedOut);
    expect_denied(here.connect(&open));
    expect_refused(listener.accept_timeout(SHORT), PipeErrorKind::TimedOut);
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    expect_alive(client.as_ref(), listener.accept().unwrap().as_ref());
}
