//! What goes through, in every mode and with every kind of caller.

use std::fs;

use super::{
    Shared,
    client::{self, Caller},
    matrix, pattern,
    samba::Setup,
    server::{Deed, Plan},
    site::Site,
};

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("bytes_of_every_length_come_back", bytes),
    ("a_stream_of_16_mib_goes_up_and_down", streams),
    ("nothing_is_lost_when_the_server_closes", tails),
    ("messages_of_every_length_come_back_one_by_one", messages),
    ("messages_that_there_cannot_be_reach_nobody", impossible_messages),
    ("a_server_s_messages_that_cannot_be_passed_on", odd_messages),
    ("transactions_are_answered", transactions),
    ("both_directions_at_once", both_ways),
    ("two_hundred_instances_at_once", instances),
    ("pipes_that_go_one_way", one_way),
    ("smbclient_writes_bytes_and_messages", smbclient),
    ("encrypted_and_signed_sessions", protected),
    ("a_busy_pipe_is_waited_for", busy),
];

const MIB_16: usize = 16 << 20;

/// The bytes that a server says it got.
fn taken(len: usize) -> String {
    format!("done took {len} bytes, right")
}

fn bytes(site: &Site) {
    let server = site.serve(&Plan::new("bytes", false, Deed::Echo));
    let lengths = ["1", "2", "1000", "65535", "65536", "65537", "1048576", "16777216"];
    let words: Vec<&str> = ["echo_bytes", "bytes"].into_iter().chain(lengths).collect();
    let lines = client::impacket(site, site.samba.user(), &words);
    assert_eq!(lines, lengths.map(|len| format!("echo {len}")));
    assert!(server.line().starts_with("client "));
    assert_eq!(server.line(), "done echo");
    matrix::note("impacket", "bytes", "echo of 1 B to 16 MiB", "same bytes");
}

fn streams(site: &Site) {
    let user = site.samba.user();
    let server = site.serve(&Plan::new("stream-up", false, Deed::Take));
    let len = MIB_16.to_string();
    assert_eq!(client::impacket(site, user, &["give", "stream-up", &len]), [format!("gave {len}")]);
    server.line();
    assert_eq!(server.line(), taken(MIB_16));
    matrix::note("impacket", "bytes", "16 MiB up, then close", "all of it");

    let plan = Plan { len: MIB_16, ..Plan::new("stream-down", false, Deed::Give) };
    let _server = site.serve(&plan);
    let lines = client::impacket(site, user, &["take", "stream-down"]);
    assert_eq!(lines, [format!("took {len}, then 0xc00000b0")]);
    matrix::note("impacket", "bytes", "16 MiB down, then close", "all of it, then STATUS_PIPE_DISCONNECTED");
}

fn tails(site: &Site) {
    for (name, len) in [("tail-1", 1), ("tail-2", 1000), ("tail-3", 65_537), ("tail-4", 300_000)] {
        let _server = site.serve(&Plan { len, ..Plan::new(name, false, Deed::Give) });
        for _ in 0..5 {
            let lines = client::impacket(site, site.samba.user(), &["take", name]);
            assert_eq!(lines, [format!("took {len}, then 0xc00000b0")]);
        }
    }
    let _server = site.serve(&Plan { len: 65_535, ..Plan::new("tail-5", true, Deed::Give) });
    for _ in 0..5 {
        let lines = client::impacket(site, site.samba.user(), &["take_messages", "tail-5"]);
        let lengths = "1 3 9 27 81 243 729 2187 6561 19683 59049 65535";
        assert_eq!(lines, [format!("took {lengths}, then 0xc00000b0")]);
    }
    for mode in ["bytes", "messages"] {
        matrix::note("impacket", mode, "the tail at the server's close", "all of it, 5 of 5 times");
    }
}

fn messages(site: &Site) {
    let _server = site.serve(&Plan::new("messages", true, Deed::Echo));
    let lengths = ["1", "2", "255", "256", "1000", "65534", "65535"];
    let words: Vec<&str> = ["echo_messages", "messages"].into_iter().chain(lengths).collect();
    let mut lines = client::impacket(site, site.samba.user(), &words);
    assert_eq!(lines.pop().as_deref(), Some("separate"));
    assert_eq!(lines, lengths.map(|len| format!("echo {len}")));
    matrix::note("impacket", "messages", "1 B to 65,535 B", "same messages, one by one");
}

fn impossible_messages(site: &Site) {
    let server = site.serve(&Plan::new("impossible", true, Deed::Take));
    // smbd says that it has written an empty message, and tells nobody.
    let lines = client::impacket(site, site.samba.user(), &["write_message", "impossible", "0"]);
    assert_eq!(lines, ["written 0"]);
    server.line();
    assert_eq!(server.line(), "done took 1 messages", "the ordinary one");
    let lines = client::impacket(site, site.samba.user(), &["write_message", "impossible", "65536"]);
    assert!(lines[0].starts_with("refused"), "{lines:?}");
    server.line();
    assert_eq!(server.line(), "done took 1 messages", "the ordinary one");
    matrix::note("impacket", "messages", "0 B", "smbd drops it, the server gets nothing");
    matrix::note("impacket", "messages", "65,536 B", "refused by smbd, the server gets nothing");
}

fn odd_messages(site: &Site) {
    let _server = site.serve(&Plan::new("odd", true, Deed::Odd));
    let lines = client::impacket(site, site.samba.user(), &["ask_and_take", "odd"]);
    assert_eq!(lines, ["took 1 65535, then 0xc00000b0"]);
    site.gateway.await_log(&["WARN", "odd", "leaves out a message without a byte"]);
    site.gateway.await_log(&["odd", "more than 65535 bytes"]);
    matrix::note("impacket", "messages", "an empty one from the server", "left out, with a warning");
    matrix::note("impacket", "messages", "65,536 B from the server", "ends the connection, logged");
}

fn transactions(site: &Site) {
    let _server = site.serve(&Plan::new("transact", true, Deed::Echo));
    let lengths = ["1", "1000", "65535"];
    let words: Vec<&str> = ["transact", "transact"].into_iter().chain(lengths).collect();
    let lines = client::impacket(site, site.samba.user(), &words);
    assert_eq!(lines, lengths.map(|len| format!("transact {len}")));
    matrix::note("impacket", "messages", "transact, 1 B to 65,535 B", "the reply");
}

fn both_ways(site: &Site) {
    let len = 8 << 20;
    let server = site.serve(&Plan { len, ..Plan::new("both", false, Deed::Both) });
    let lines = client::impacket(site, site.samba.user(), &["both", "both", &len.to_string()]);
    assert_eq!(lines, [format!("both {len}")]);
    server.line();
    assert_eq!(server.line(), taken(len));
    matrix::note("impacket", "bytes", "8 MiB both ways at once", "same bytes");
}

fn instances(site: &Site) {
    for (name, messages) in [("crowd-of-bytes", false), ("crowd-of-messages", true)] {
        let _server = site.serve(&Plan::new(name, messages, Deed::Echo));
        let lines = client::impacket(site, site.samba.user(), &["many", name, "200"]);
        assert_eq!(lines, ["instances 200"]);
        let mode = if messages { "messages" } else { "bytes" };
        matrix::note("impacket", mode, "200 instances at once", "each its own words");
    }
}

fn one_way(site: &Site) {
    let user = site.samba.user();
    let plan = Plan { outbound: false, ..Plan::new("only-up", false, Deed::Take) };
    let server = site.serve(&plan);
    assert_eq!(client::impacket(site, user, &["give", "only-up", "300000"]), ["gave 300000"]);
    server.line();
    assert_eq!(server.line(), taken(300_000));

    let plan = Plan { inbound: false, len: 300_000, ..Plan::new("only-down", false, Deed::Give) };
    let _server = site.serve(&plan);
    assert_eq!(client::impacket(site, user, &["take", "only-down"]), ["took 300000, then 0xc00000b0"]);
    client::impacket(site, user, &["give", "only-down", "10"]);
    site.gateway.await_log(&["only-down", "goes from the server to its clients"]);
    matrix::note("impacket", "bytes", "a pipe that goes one way", "goes that way");
    matrix::note("impacket", "bytes", "writing to one that only gives", "ends the connection, logged");
}

fn smbclient(site: &Site) {
    let user = site.samba.user();
    let server = site.serve(&Plan::new("from-smbclient", false, Deed::Take));
    let file = site.places.path("to-put");
    for len in [1, 65_536, MIB_16] {
        fs::write(&file, pattern(len)).unwrap();
        let said = client::smbclient(site, user, &[], &format!("put {} from-smbclient", file.display()));
        assert!(said.contains("putting file"), "{said}");
        server.line();
        assert_eq!(server.line(), taken(len));
    }
    matrix::note("smbclient", "bytes", "1 B to 16 MiB up, then close", "all of it");

    let server = site.serve(&Plan::new("messages-of-smbclient", true, Deed::Take));
    for len in [1, 65_535] {
        fs::write(&file, pattern(len)).unwrap();
        let commands = format!("put {} messages-of-smbclient", file.display());
        let said = client::smbclient(site, user, &[], &commands);
        assert!(said.contains("putting file"), "{said}");
        server.line();
        assert_eq!(server.line(), "done took 1 messages");
    }
    matrix::note("smbclient", "messages", "1 B and 65,535 B up", "one message");
}

fn protected(site: &Site) {
    let server = site.serve(&Plan::new("protected", false, Deed::Take));
    let file = site.places.path("to-protect");
    fs::write(&file, pattern(100_000)).unwrap();
    let put = format!("put {} protected", file.display());
    for (protection, encrypted) in [("encrypt", true), ("sign", false)] {
        let option = format!("--client-protection={protection}");
        client::smbclient(site, site.samba.user(), &[&option], &put);
        let client = server.line();
        assert!(client.contains(&format!("encrypted={encrypted}")), "{client}");
        assert_eq!(server.line(), taken(100_000));
        matrix::note("smbclient", "bytes", &format!("a session of kind `{protection}`"), "all of it");
    }
    // A server that insists on it.
    for (setup, what) in [
        (Setup { encrypt: Some("required"), ..Setup::default() }, "encryption"),
        (Setup { signing: Some("mandatory"), encrypt: Some("off"), ..Setup::default() }, "signatures"),
    ] {
        let site = Site::new(&setup, &[]);
        let server = site.serve(&Plan::new("strict", true, Deed::Echo));
        let lines = client::impacket(&site, site.samba.user(), &["transact", "strict", "65535"]);
        assert_eq!(lines, ["transact 65535"]);
        assert!(server.line().contains(&format!("encrypted={}", what == "encryption")));
        let _server = site.serve(&Plan::new("strict-bytes", false, Deed::Echo));
        let lines = client::impacket(&site, site.samba.user(), &["echo_bytes", "strict-bytes", "1048576"]);
        assert_eq!(lines, ["echo 1048576"]);
        for mode in ["bytes", "messages"] {
            matrix::note("impacket", mode, &format!("an smbd that insists on {what}"), "same bytes");
        }
    }
}

fn busy(_: &Site) {
    let site = Site::with_config("busy-timeout = \"1s\"");
    let user = site.samba.user();
    let server = site.serve(&Plan { instances: 1, ..Plan::new("busy", false, Deed::Echo) });
    let first = Caller::impacket(&site, user, &["hold", "busy"]);
    first.line();
    assert_eq!(first.line(), "open");
    server.line();
    // Answered at once, and closed when no instance became free in time.
    let lines = client::impacket(&site, user, &["hold", "busy"]);
    assert_eq!(lines, ["open", "ended 0xc00000b0"]);
    site.gateway.await_log(&["busy", "no instance"]);
    // One that becomes free is given to who waits.
    site.reload("busy-timeout = \"1h\"", "has read its settings again");
    let waiting = Caller::impacket(&site, user, &["echo_bytes", "busy", "1000"]);
    waiting.line();
    drop(first);
    assert_eq!(waiting.lines(), ["echo 1000"]);
    matrix::note("impacket", "bytes", "a busy pipe", "opens, waits, closes after --busy-timeout");
}
