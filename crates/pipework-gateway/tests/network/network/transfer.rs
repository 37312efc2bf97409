//! Data transfer, in every mode and with every client.

use std::fs;

use super::{
    Shared,
    client::{self, ClientProcess},
    fixture::Fixture,
    matrix, pattern,
    samba::Setup,
    server::{Behavior, ServerPlan},
};

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("bytes_of_every_length_come_back", bytes),
    ("streams_of_16_mib_arrive_in_both_directions", streams),
    ("data_before_the_server_s_close_arrives", tails),
    ("messages_of_every_length_come_back_separately", messages),
    ("invalid_messages_of_the_client_are_not_delivered", invalid_messages),
    ("an_empty_message_of_the_server_is_seen_and_a_long_one_ends_the_pipe", odd_messages),
    ("transactions_get_their_replies", transactions),
    ("both_directions_at_once", both_directions),
    ("two_hundred_instances_at_once", instances),
    ("one_way_pipes", one_way),
    ("smbclient_writes_bytes_and_messages", smbclient),
    ("encrypted_and_signed_sessions", protected),
    ("the_client_of_a_busy_pipe_waits", busy),
];

const MIB_16: usize = 16 << 20;

/// The line by which a server reports the received bytes.
fn taken(len: usize) -> String {
    format!("done took {len} bytes, right")
}

fn bytes(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("bytes", false, Behavior::Echo));
    let lengths = ["1", "2", "1000", "65535", "65536", "65537", "1048576", "16777216"];
    let words: Vec<&str> = ["echo_bytes", "bytes"].into_iter().chain(lengths).collect();
    let lines = client::impacket(fixture, fixture.samba.user(), &words);
    assert_eq!(lines, lengths.map(|len| format!("echo {len}")));
    assert!(server.line().starts_with("client "));
    assert_eq!(server.line(), "done echo");
    matrix::note("impacket", "bytes", "echo of 1 B to 16 MiB", "same bytes");
}

fn streams(fixture: &Fixture) {
    let user = fixture.samba.user();
    let server = fixture.serve(&ServerPlan::new("stream-up", false, Behavior::Take));
    let len = MIB_16.to_string();
    assert_eq!(client::impacket(fixture, user, &["give", "stream-up", &len]), [format!("gave {len}")]);
    server.line();
    assert_eq!(server.line(), taken(MIB_16));
    matrix::note("impacket", "bytes", "16 MiB up, then close", "all of it");

    let plan = ServerPlan { len: MIB_16, ..ServerPlan::new("stream-down", false, Behavior::Give) };
    let _server = fixture.serve(&plan);
    let lines = client::impacket(fixture, user, &["take", "stream-down"]);
    assert_eq!(lines, [format!("took {len}, then 0xc00000b0")]);
    matrix::note("impacket", "bytes", "16 MiB down, then close", "all of it, then STATUS_PIPE_DISCONNECTED");
}

fn tails(fixture: &Fixture) {
    for (name, len) in [("tail-1", 1), ("tail-2", 1000), ("tail-3", 65_537), ("tail-4", 300_000)] {
        let _server = fixture.serve(&ServerPlan { len, ..ServerPlan::new(name, false, Behavior::Give) });
        for _ in 0..5 {
            let lines = client::impacket(fixture, fixture.samba.user(), &["take", name]);
            assert_eq!(lines, [format!("took {len}, then 0xc00000b0")]);
        }
    }
    let _server =
        fixture.serve(&ServerPlan { len: 65_535, ..ServerPlan::new("tail-5", true, Behavior::Give) });
    for _ in 0..5 {
        let lines = client::impacket(fixture, fixture.samba.user(), &["take_messages", "tail-5"]);
        let lengths = "1 3 9 27 81 243 729 2187 6561 19683 59049 65535";
        assert_eq!(lines, [format!("took {lengths}, then 0xc00000b0")]);
    }
    for mode in ["bytes", "messages"] {
        matrix::note("impacket", mode, "the tail at the server's close", "all of it, 5 of 5 times");
    }
}

fn messages(fixture: &Fixture) {
    let _server = fixture.serve(&ServerPlan::new("messages", true, Behavior::Echo));
    let lengths = ["1", "2", "255", "256", "1000", "65534", "65535"];
    let words: Vec<&str> = ["echo_messages", "messages"].into_iter().chain(lengths).collect();
    let mut lines = client::impacket(fixture, fixture.samba.user(), &words);
    assert_eq!(lines.pop().as_deref(), Some("separate"));
    assert_eq!(lines, lengths.map(|len| format!("echo {len}")));
    matrix::note("impacket", "messages", "1 B to 65,535 B", "same messages, separate");
}

fn invalid_messages(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("impossible", true, Behavior::Take));
    // smbd reports success for an empty message, and does not deliver it.
    let lines = client::impacket(fixture, fixture.samba.user(), &["write_message", "impossible", "0"]);
    assert_eq!(lines, ["written 0"]);
    server.line();
    assert_eq!(server.line(), "done took 1 messages", "the valid one");
    let lines = client::impacket(fixture, fixture.samba.user(), &["write_message", "impossible", "65536"]);
    assert!(lines[0].starts_with("refused"), "{lines:?}");
    server.line();
    assert_eq!(server.line(), "done took 1 messages", "the valid one");
    matrix::note("impacket", "messages", "0 B", "smbd drops it, the server gets nothing");
    matrix::note("impacket", "messages", "65,536 B", "refused by smbd, the server gets nothing");
}

fn odd_messages(fixture: &Fixture) {
    let _server = fixture.serve(&ServerPlan::new("odd", true, Behavior::Odd));
    let lines = client::impacket(fixture, fixture.samba.user(), &["ask_and_take", "odd"]);
    assert_eq!(lines, ["took 0xc0000185 1 65535, then 0xc00000b0"]);
    fixture.gateway.await_log(&["odd", "more than 65535 bytes"]);
    matrix::note("impacket", "messages", "an empty one from the server", "one read ends with 0xc0000185");
    matrix::note("impacket", "messages", "65,536 B from the server", "closes the connection, logged");
}

fn transactions(fixture: &Fixture) {
    let _server = fixture.serve(&ServerPlan::new("transact", true, Behavior::Echo));
    let lengths = ["1", "1000", "65535"];
    let words: Vec<&str> = ["transact", "transact"].into_iter().chain(lengths).collect();
    let lines = client::impacket(fixture, fixture.samba.user(), &words);
    assert_eq!(lines, lengths.map(|len| format!("transact {len}")));
    matrix::note("impacket", "messages", "transact, 1 B to 65,535 B", "the reply");
}

fn both_directions(fixture: &Fixture) {
    let len = 8 << 20;
    let server = fixture.serve(&ServerPlan { len, ..ServerPlan::new("both", false, Behavior::Both) });
    let lines = client::impacket(fixture, fixture.samba.user(), &["both", "both", &len.to_string()]);
    assert_eq!(lines, [format!("both {len}")]);
    server.line();
    assert_eq!(server.line(), taken(len));
    matrix::note("impacket", "bytes", "8 MiB both ways at once", "same bytes");
}

fn instances(fixture: &Fixture) {
    for (name, messages) in [("crowd-of-bytes", false), ("crowd-of-messages", true)] {
        let _server = fixture.serve(&ServerPlan::new(name, messages, Behavior::Echo));
        let lines = client::impacket(fixture, fixture.samba.user(), &["many", name, "200"]);
        assert_eq!(lines, ["instances 200"]);
        let mode = if messages { "messages" } else { "bytes" };
        matrix::note("impacket", mode, "200 instances at once", "each its own data");
    }
}

fn one_way(fixture: &Fixture) {
    let user = fixture.samba.user();
    let plan = ServerPlan { outbound: false, ..ServerPlan::new("only-up", false, Behavior::Take) };
    let server = fixture.serve(&plan);
    assert_eq!(client::impacket(fixture, user, &["give", "only-up", "300000"]), ["gave 300000"]);
    server.line();
    assert_eq!(server.line(), taken(300_000));

    let plan =
        ServerPlan { inbound: false, len: 300_000, ..ServerPlan::new("only-down", false, Behavior::Give) };
    let _server = fixture.serve(&plan);
    assert_eq!(client::impacket(fixture, user, &["take", "only-down"]), ["took 300000, then 0xc00000b0"]);
    client::impacket(fixture, user, &["give", "only-down", "10"]);
    fixture.gateway.await_log(&["only-down", "wrote to an outbound pipe"]);
    matrix::note("impacket", "bytes", "a one-way pipe", "works in its direction");
    matrix::note("impacket", "bytes", "writing to an outbound pipe", "closes the connection, logged");
}

fn smbclient(fixture: &Fixture) {
    let user = fixture.samba.user();
    let server = fixture.serve(&ServerPlan::new("from-smbclient", false, Behavior::Take));
    let file = fixture.directories.path("to-put");
    for len in [1, 65_536, MIB_16] {
        fs::write(&file, pattern(len)).unwrap();
        let said = client::smbclient(fixture, user, &[], &format!("put {} from-smbclient", file.display()));
        assert!(said.contains("putting file"), "{said}");
        server.line();
        assert_eq!(server.line(), taken(len));
    }
    matrix::note("smbclient", "bytes", "1 B to 16 MiB up, then close", "all of it");

    let server = fixture.serve(&ServerPlan::new("messages-of-smbclient", true, Behavior::Take));
    for len in [1, 65_535] {
        fs::write(&file, pattern(len)).unwrap();
        let commands = format!("put {} messages-of-smbclient", file.display());
        let said = client::smbclient(fixture, user, &[], &commands);
        assert!(said.contains("putting file"), "{said}");
        server.line();
        assert_eq!(server.line(), "done took 1 messages");
    }
    matrix::note("smbclient", "messages", "1 B and 65,535 B up", "one message");
}

fn protected(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("protected", false, Behavior::Take));
    let file = fixture.directories.path("to-protect");
    fs::write(&file, pattern(100_000)).unwrap();
    let put = format!("put {} protected", file.display());
    for (protection, encrypted) in [("encrypt", true), ("sign", false)] {
        let option = format!("--client-protection={protection}");
        client::smbclient(fixture, fixture.samba.user(), &[&option], &put);
        let client = server.line();
        assert!(client.contains(&format!("encrypted={encrypted}")), "{client}");
        assert_eq!(server.line(), taken(100_000));
        matrix::note("smbclient", "bytes", &format!("a session of kind `{protection}`"), "all of it");
    }
    // An smbd that requires protection.
    for (setup, what) in [
        (Setup { encrypt: Some("required"), ..Setup::default() }, "encryption"),
        (Setup { signing: Some("mandatory"), encrypt: Some("off"), ..Setup::default() }, "signatures"),
    ] {
        let fixture = Fixture::new(&setup, &[]);
        let server = fixture.serve(&ServerPlan::new("strict", true, Behavior::Echo));
        let lines = client::impacket(&fixture, fixture.samba.user(), &["transact", "strict", "65535"]);
        assert_eq!(lines, ["transact 65535"]);
        assert!(server.line().contains(&format!("encrypted={}", what == "encryption")));
        let _server = fixture.serve(&ServerPlan::new("strict-bytes", false, Behavior::Echo));
        let lines =
            client::impacket(&fixture, fixture.samba.user(), &["echo_bytes", "strict-bytes", "1048576"]);
        assert_eq!(lines, ["echo 1048576"]);
        for mode in ["bytes", "messages"] {
            matrix::note("impacket", mode, &format!("an smbd that requires {what}"), "same bytes");
        }
    }
}

fn busy(_: &Fixture) {
    let fixture = Fixture::with_config("busy-timeout = \"1s\"");
    let user = fixture.samba.user();
    let server =
        fixture.serve(&ServerPlan { instances: 1, ..ServerPlan::new("busy", false, Behavior::Echo) });
    let first = ClientProcess::impacket(&fixture, user, &["hold", "busy"]);
    first.line();
    assert_eq!(first.line(), "open");
    server.line();
    // The reply comes at once. The connection is closed when no instance becomes free in time.
    let lines = client::impacket(&fixture, user, &["hold", "busy"]);
    assert_eq!(lines, ["open", "ended 0xc00000b0"]);
    fixture.gateway.await_log(&["busy", "no instance"]);
    // A waiting client gets the instance that becomes free.
    fixture.reload("busy-timeout = \"1h\"", "configuration reloaded");
    let waiting = ClientProcess::impacket(&fixture, user, &["echo_bytes", "busy", "1000"]);
    waiting.line();
    drop(first);
    assert_eq!(waiting.lines(), ["echo 1000"]);
    matrix::note("impacket", "bytes", "a busy pipe", "opens, waits, closes after --busy-timeout");
}
