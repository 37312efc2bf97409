//! Remote clients on Unix, and the gateway that runs as root and delegates their identity: here this process is the
//! gateway.

use std::time::Duration;

use pipework::{ClientOptions, NamedPipeBuilder, PipeErrorKind, RemoteClient, os::unix::ClientOptionsExt};

use super::{
    Case,
    access::expect_denied,
    every, expect, expect_alive, expect_refused, plain,
    users::{ONE, SERVES_OTHERS, TWO, needs_pipes_for_others, open_directory, other_user},
};
use crate::{
    child::Other,
    harness::{needs_root, skip, unique},
    surface::{Grant, OpenSpec, Spec, Surface, caller_of},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("N3", n3_all_instances_accept_the_network_or_none),
        every("A1", a1_the_network_is_refused_where_memory_cannot_be_sealed),
        every("A1", a1_the_network_comes_only_where_it_was_asked_for),
        every("A1", a1_access_counts_for_callers_of_the_network),
        every("A1", a1_a_pipe_for_the_network_needs_roots_grant),
        every("A2", a2_a_refused_caller_of_the_network_takes_no_instance),
        every("A3", a3_a_caller_of_the_network_is_known),
        every("A3", a3_a_caller_of_the_network_is_known_after_it_has_gone),
        every("A3", a3_only_root_is_believed_about_the_network),
        plain("A3", a3_a_caller_that_cannot_be_told_is_invalid),
        every("list", list_tells_what_accepts_the_network),
    ]
}

/// Only root's process is believed, and where others can reach names.
fn needs_a_service() {
    needs_pipes_for_others();
    needs_root();
    open_directory();
}

/// N3: which instance a client gets is not its choice, so all are alike in this.
fn n3_all_instances_accept_the_network_or_none(here: &dyn Surface) {
    needs_a_service();
    let (local, open) = (unique(), unique());
    let _local = here.create(&Spec::new(&local).joining()).unwrap();
    expect_denied(here.create(&Spec::new(&local).joining().accept_remote()));
    let _open = here.create(&Spec::new(&open).joining().accept_remote()).unwrap();
    expect_denied(here.create(&Spec::new(&open).joining()));
    expect_denied(Other::spawn(here).create(&Spec::new(&open).joining()));
    drop(here.create(&Spec::new(&open).joining().accept_remote()).unwrap());
}

/// A1: a server that accepts remote clients gets an error where none can connect, instead of waiting for them.
fn a1_the_network_is_refused_where_memory_cannot_be_sealed(here: &dyn Surface) {
    if SERVES_OTHERS {
        skip("this system seals memory");
    }
    let name = unique();
    expect_refused(here.create(&Spec::new(&name).accept_remote()), PipeErrorKind::Unsupported);
    expect_refused(here.listen(&Spec::new(&name).accept_remote()), PipeErrorKind::Unsupported);
    drop(here.create(&Spec::new(&name)).unwrap());
}

/// A1: the default is this computer, whoever the caller is.
fn a1_the_network_comes_only_where_it_was_asked_for(here: &dyn Surface) {
    needs_a_service();
    for everyone in [false, true] {
        let (local, open) = (unique(), unique());
        let grant = |spec: Spec| if everyone { spec.grant(Grant::Everyone) } else { spec };
        let server = here.listen(&grant(Spec::new(&local))).unwrap();
        let fault =
            expect_refused(here.open(&OpenSpec::new(&local).on_behalf_of(0)), PipeErrorKind::AccessDenied);
        assert!(fault.text.contains("local clients only"), "{fault}");
        expect_denied(here.connect(&OpenSpec::new(&local).on_behalf_of(0)));
        expect_refused(server.accept_timeout(Duration::ZERO), PipeErrorKind::TimedOut);

        let server = here.listen(&grant(Spec::new(&open).accept_remote())).unwrap();
        let client = here.open(&OpenSpec::new(&open).on_behalf_of(0)).unwrap();
        expect_alive(client.as_ref(), server.accept().unwrap().as_ref());
        // Clients on this computer are as welcome as ever.
        let client = here.open(&OpenSpec::new(&open)).unwrap();
        let end = server.accept().unwrap();
        assert_eq!(end.peer().unwrap().network, None);
        expect_alive(client.as_ref(), end.as_ref());
    }
}

/// A1: the uid and the gids that a caller was mapped to count as those of a process do.
fn a1_access_counts_for_callers_of_the_network(here: &dyn Surface) {
    needs_a_service();
    let cases = [
        (Vec::new(), [true, false, false]),
        (vec![Grant::User(ONE.to_string())], [true, true, false]),
        (vec![Grant::Group(TWO.to_string())], [true, false, true]),
        (vec![Grant::User(TWO.to_string()), Grant::Group(ONE.to_string())], [true, true, true]),
        (vec![Grant::Everyone], [true, true, true]),
    ];
    for (grants, expected) in cases {
        let name = unique();
        let spec = grants.iter().cloned().fold(Spec::new(&name).accept_remote(), Spec::grant);
        let _server = match here.create(&spec) {
            Err(fault) if fault == PipeErrorKind::Unsupported => skip("no access control lists here"),
            server => server.unwrap(),
        };
        for (user, is_let_in) in [0, ONE, TWO].into_iter().zip(expected) {
            // Another instance for each, so that none is busy.
            let _next = here.create(&Spec { first: false, ..spec.clone() }).unwrap();
            let opened = here.open(&OpenSpec::new(&name).on_behalf_of(user));
            assert_eq!(opened.is_ok(), is_let_in, "{user} by {grants:?}");
            opened.map_or_else(|fault| assert!(fault == PipeErrorKind::AccessDenied, "{fault}"), drop);
        }
    }
}

/// A1: where the service looks, nobody but root gives names away.
fn a1_a_pipe_for_the_network_needs_roots_grant(here: &dyn Surface) {
    needs_a_service();
    let name = unique();
    let stranger = other_user(here, ONE, ONE);
    expect_denied(stranger.create(&Spec::new(&name).accept_remote()));
    expect_denied(stranger.listen(&Spec::new(&name).accept_remote()));
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}

/// A2: the server never hears of who is refused.
fn a2_a_refused_caller_of_the_network_takes_no_instance(here: &dyn Surface) {
    needs_a_service();
    let name = unique();
    let listener = here.listen(&Spec::new(&name).max(1).accept_remote()).unwrap();
    for _ in 0..3 {
        expect_denied(here.open(&OpenSpec::new(&name).on_behalf_of(ONE)));
    }
    expect_refused(listener.accept_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let client = here.open(&OpenSpec::new(&name).on_behalf_of(0)).unwrap();
    expect_alive(client.as_ref(), listener.accept().unwrap().as_ref());
}

/// A3: the server sees the caller, and nothing of the service that speaks for it.
fn a3_a_caller_of_the_network_is_known(here: &dyn Surface) {
    needs_a_service();
    let name = unique();
    let spec = Spec::new(&name).accept_remote().grant(Grant::Everyone);
    let (listener, service) = (here.listen(&spec).unwrap(), Other::spawn(here));
    for user in [ONE, 0, TWO] {
        let _client = service.open(&OpenSpec::new(&name).on_behalf_of(user)).unwrap();
        let peer = listener.accept().unwrap().peer().unwrap();
        let caller = caller_of(user);
        assert_eq!(peer.network, Some((caller.account.clone(), caller.address, Some(true))));
        assert_eq!((peer.process_id, peer.same_user, peer.user_id), (None, false, Some(user)));
        assert_eq!((peer.group_ids, peer.account), (caller.group_ids, caller.account));
        assert_eq!(peer.sid.as_deref(), caller.sids.first().map(String::as_str));
    }
    let name = unique();
    let server = here.create(&Spec::new(&name).accept_remote()).unwrap();
    let _client = service.open(&OpenSpec::new(&name).on_behalf_of(0)).unwrap();
    server.connect().unwrap();
    assert!(server.end().peer().unwrap().network.is_some());
}

/// A3: it answers after the caller has gone, with what it wrote still to be read.
fn a3_a_caller_of_the_network_is_known_after_it_has_gone(here: &dyn Surface) {
    needs_a_service();
    let name = unique();
    let listener = here.listen(&Spec::new(&name).accept_remote().grant(Grant::Everyone)).unwrap();
    let client = here.open(&OpenSpec::new(&name).on_behalf_of(ONE)).unwrap();
    client.write_all(b"left").unwrap();
    drop(client);
    let end = listener.accept().unwrap();
    assert_eq!(end.peer().unwrap().user_id, Some(ONE));
    assert_eq!(end.read_to_end().unwrap(), b"left");
    assert!(end.peer().unwrap().network.is_some());
}

/// A3: another process may say what it likes; its connection is over.
fn a3_only_root_is_believed_about_the_network(here: &dyn Surface) {
    needs_a_service();
    let name = unique();
    let listener = here.listen(&Spec::new(&name).accept_remote().grant(Grant::Everyone)).unwrap();
    let liar = other_user(here, ONE, ONE);
    let client = liar.open(&OpenSpec::new(&name).on_behalf_of(0)).unwrap();
    client.write(b"I am root").ok();
    let end = listener.accept().unwrap();
    let fault = expect_refused(end.read(&mut [0; 16]), PipeErrorKind::Corrupt);
    assert!(fault.text.contains("only root"), "{fault}");
    let peer = end.peer().unwrap();
    assert_eq!((peer.user_id, peer.network), (Some(ONE), None), "who it is comes from the kernel");
    // The next client is served.
    let client = liar.open(&OpenSpec::new(&name)).unwrap();
    expect_alive(client.as_ref(), listener.accept().unwrap().as_ref());
}

/// A3: what a server could not read back is refused before anything is sent.
fn a3_a_caller_that_cannot_be_told_is_invalid() {
    needs_a_service();
    let name = unique();
    let listener = NamedPipeBuilder::new(&name).accept_remote(true).listen().unwrap();
    let callers = [
        RemoteClient { account: String::new(), ..caller_of(0) },
        RemoteClient { account: "line\nbreak".to_owned(), ..caller_of(0) },
        RemoteClient { address: "a".repeat(2_000), ..caller_of(0) },
        RemoteClient { sids: vec!["Administrators".to_owned()], ..caller_of(0) },
        RemoteClient { group_ids: vec![1; 20_000], ..caller_of(0) },
    ];
    for caller in callers {
        expect(ClientOptions::new().on_behalf_of(&caller).open(&name), PipeErrorKind::Invalid);
    }
    expect(listener.accept_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
}

/// The service finds what it may let callers into.
fn list_tells_what_accepts_the_network(here: &dyn Surface) {
    needs_a_service();
    let (local, open) = (unique(), unique());
    let _local = here.create(&Spec::new(&local)).unwrap();
    let _open = here.create(&Spec::new(&open).accept_remote()).unwrap();
    let pipes = pipework::list().unwrap();
    let listed = |name: &str| {
        let name = pipework::PipeName::new(name).unwrap();
        pipes.iter().find(|pipe| pipe.name == name).unwrap().accept_remote
    };
    assert_eq!((listed(&local), listed(&open)), (Some(false), Some(true)));
}
