//! Servers, clients, smbd and gateway that are killed, stopped or restarted while connected.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Child, Command, Stdio},
};

use super::{
    Exclusive, TIMEOUT,
    client::{self, ClientProcess, DISCONNECTED, NO_SUCH_NAME},
    fixture::{Directories, Fixture, Gateway, OPEN_FILES},
    matrix,
    samba::{Samba, Setup},
    server::{Behavior, Server, ServerPlan},
    wait_until,
};

pub(crate) const CASES: &[(&str, Exclusive)] = &[
    ("a_killed_server_closes_its_connections", server_killed),
    ("a_killed_gateway_closes_its_connections_and_can_restart", gateway_killed),
    ("a_killed_smbd_closes_its_connections", smbd_killed),
    ("a_restarted_smbd_finds_the_pipes", smbd_restarted),
    ("a_removed_socket_directory_is_recreated", socket_directory_removed),
    ("a_stopping_gateway_waits_for_its_connections", gateway_stopped),
    ("connections_leave_nothing_behind", no_leaks),
    ("data_before_the_kill_of_a_client_arrives", client_killed),
    ("back_pressure_stops_only_the_writer", back_pressure),
    ("without_descriptors_connections_are_rejected", no_descriptors),
    ("total_connections_are_limited", all_connections),
    ("samba_s_own_pipes_still_work", own_pipes),
];

fn hold_open(fixture: &Fixture, name: &str) -> ClientProcess {
    let client = ClientProcess::impacket(fixture, fixture.samba.user(), &["hold", name]);
    assert!(client.line().starts_with("connected"));
    assert_eq!(client.line(), "open");
    client
}

fn server_killed() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let mut server = fixture.serve(&ServerPlan::new("victim", true, Behavior::Echo));
    let client = hold_open(&fixture, "victim");
    server.kill();
    assert_eq!(client.lines(), ["ended 0xc00000b0"]);
    wait_until("the name is gone", || {
        client::impacket(&fixture, fixture.samba.user(), &["opens", "victim"]) == [NO_SUCH_NAME]
    });
    // A new server can reuse the name.
    let _server = fixture.serve(&ServerPlan::new("victim", false, Behavior::Echo));
    assert_eq!(
        client::impacket(&fixture, fixture.samba.user(), &["echo_bytes", "victim", "10"]),
        ["echo 10"]
    );
    matrix::note("impacket", "any", "server killed", "STATUS_PIPE_DISCONNECTED, then no such name");
}

fn gateway_killed() {
    let mut fixture = Fixture::new(&Setup::default(), &[]);
    let server = fixture.serve(&ServerPlan::new("stays", true, Behavior::Echo));
    let client = hold_open(&fixture, "stays");
    server.line();
    fixture.gateway.signal("KILL");
    fixture.gateway.wait();
    assert_eq!(client.lines(), ["ended 0xc00000b0"]);
    assert_eq!(server.line(), "done echo");
    // Its stale links lead to closed sockets.
    assert!(fixture.link("stays").is_symlink());
    let lines = client::impacket(&fixture, fixture.samba.user(), &["opens", "stays", "stays"]);
    assert!(lines.iter().all(|line| line.starts_with("error")), "{lines:?}");

    fixture.gateway = Gateway::start(&fixture.samba.conf(), &fixture.directories, &[]);
    fixture.gateway.await_log(&["removing a stale link of another gateway"]);
    assert_eq!(
        client::impacket(&fixture, fixture.samba.user(), &["transact", "stays", "10"]),
        ["transact 10"]
    );
    let sockets = fs::read_dir(fixture.directories.run_dir()).unwrap().count();
    assert_eq!(sockets, 2, "one socket and the lock");
    matrix::note(
        "impacket",
        "any",
        "gateway killed",
        "STATUS_PIPE_DISCONNECTED; found again after its restart",
    );
}

fn smbd_killed() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let server = fixture.serve(&ServerPlan::new("survivor", true, Behavior::Echo));
    let client = hold_open(&fixture, "survivor");
    server.line();
    fixture.samba.kill();
    let lines = client.lines();
    assert!(lines[0].starts_with("lost") || lines[0].starts_with("error"), "{lines:?}");
    assert_eq!(server.line(), "done echo", "the server sees the close");
    fixture.gateway.await_log(&["survivor", "the client closed the connection"]);
    assert!(fixture.link("survivor").is_symlink(), "the gateway still runs");
    matrix::note("impacket", "any", "smbd killed", "the connection is lost; the server sees the close");
}

fn smbd_restarted() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("restarted", true, Behavior::Echo));
    fixture.samba.kill();
    let mut smbd = RestartedSmbd::start(&fixture);
    wait_until("smbd answers", || {
        // It does not start while the system still has the dead process.
        if smbd.has_ended() {
            smbd = RestartedSmbd::start(&fixture);
        }
        let said = client::impacket_session(&fixture, fixture.samba.user(), &["transact", "restarted", "5"]);
        said.last().is_some_and(|line| line == "transact 5")
    });
    matrix::note("impacket", "any", "smbd killed and restarted", "finds the pipe again");
}

/// An smbd that replaces a killed one.
struct RestartedSmbd(Child);

impl RestartedSmbd {
    fn start(fixture: &Fixture) -> RestartedSmbd {
        let mut conf = OsString::from("--configfile=");
        conf.push(fixture.samba.conf());
        let mut command = Command::new("smbd");
        command.args(["-F", "--no-process-group"]).arg(conf).process_group(0);
        RestartedSmbd(
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
        )
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for RestartedSmbd {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        Command::new("kill").args(["-s", "KILL", "--", &group]).status().ok();
        self.0.wait().ok();
    }
}

fn socket_directory_removed() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("moved", true, Behavior::Echo));
    fs::remove_dir_all(fixture.samba.np()).unwrap();
    fixture.await_export("moved");
    assert_eq!(client::impacket(&fixture, fixture.samba.user(), &["transact", "moved", "5"]), ["transact 5"]);
    // A removed link is restored too.
    fs::remove_file(fixture.link("moved")).unwrap();
    fixture.await_export("moved");
}

fn gateway_stopped() {
    let mut fixture = Fixture::new(&Setup::default(), &["--grace", "2s"]);
    let server = fixture.serve(&ServerPlan::new("graceful", true, Behavior::Echo));
    let client = hold_open(&fixture, "graceful");
    server.line();
    fixture.gateway.signal("TERM");
    // New clients are refused at once. Open connections may stay for the grace period.
    wait_until("the export is withdrawn", || fs::symlink_metadata(fixture.link("graceful")).is_err());
    assert_eq!(fixture.gateway.wait(), Some(0));
    assert!(fixture.gateway.log().contains("closing connections that are still open after 2s"));
    assert_eq!(client.lines(), ["ended 0xc00000b0"]);
    assert_eq!(server.line(), "done echo");
    let left: Vec<_> = fs::read_dir(fixture.directories.run_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);

    // Without connections the gateway stops at once.
    let mut gateway = Gateway::start(&fixture.samba.conf(), &fixture.directories, &["--grace", "1h"]);
    fixture.await_export("graceful");
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
    matrix::note("impacket", "any", "gateway stopped", "the connection is closed after --grace");
}

fn no_leaks() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("clean", true, Behavior::Echo));
    let _bytes = fixture.serve(&ServerPlan::new("clean-bytes", false, Behavior::Echo));
    let user = fixture.samba.user();
    client::impacket(&fixture, user, &["many", "clean", "5"]);
    let closed_count = || fixture.gateway.log().matches("the client closed the connection").count();
    wait_until("all connections are closed", || closed_count() == 5);
    let before = fixture.gateway.descriptors();
    client::impacket(&fixture, user, &["many", "clean", "100"]);
    client::impacket(&fixture, user, &["many", "clean-bytes", "100"]);
    wait_until("all connections are closed", || closed_count() == 205);
    wait_until("no descriptor leaks", || fixture.gateway.descriptors() <= before);
    let maps = fs::read_to_string(format!("/proc/{}/maps", fixture.gateway.process())).unwrap();
    assert_eq!(maps.matches("memfd:").count(), 0, "no memory of a connection leaks");
}

fn client_killed() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let server = fixture.serve(&ServerPlan::new("last-words", true, Behavior::Take));
    let client =
        ClientProcess::impacket(&fixture, fixture.samba.user(), &["write_and_hold", "last-words", "7"]);
    client.line();
    assert_eq!(client.line(), "written 7");
    server.line();
    drop(client);
    assert_eq!(server.line(), "done took 7 messages");
    matrix::note("impacket", "messages", "client killed", "the server gets what was written, then the end");
}

fn back_pressure() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let len = 64 << 20;
    let server = fixture.serve(&ServerPlan { len, ..ServerPlan::new("eager", false, Behavior::Give) });
    let other = fixture.serve(&ServerPlan::new("beside", true, Behavior::Echo));
    let client = ClientProcess::impacket(&fixture, fixture.samba.user(), &["take_late", "eager"]);
    assert!(client.line().starts_with("connected"));
    assert_eq!(client.line(), "open");
    server.line();
    assert!(server.is_silent(), "the pipe can't hold all of it");
    assert_eq!(
        client::impacket(&fixture, fixture.samba.user(), &["transact", "beside", "5"]),
        ["transact 5"]
    );
    other.line();
    let memory = fixture.gateway.memory();
    assert!(memory < 64 << 10, "{memory} KiB");
    assert_eq!(client.lines(), [format!("took {len}, then 0xc00000b0")]);
    assert_eq!(server.line(), "done gave");
    matrix::note("impacket", "bytes", "64 MiB down, read late", "the server waits, then all of it");

    // The other direction: a server that never reads and is killed.
    let mut server = fixture.serve(&ServerPlan::new("deaf", false, Behavior::Wait));
    let client = ClientProcess::impacket(&fixture, fixture.samba.user(), &["give", "deaf", "16777216"]);
    assert!(client.line().starts_with("connected"));
    server.line();
    assert!(server.is_silent());
    server.kill();
    let lines = client.lines();
    assert!(lines[0].starts_with("error"), "{lines:?}");
    matrix::note("impacket", "bytes", "16 MiB up, never read, server killed", "an error for the client");
}

fn no_descriptors() {
    let samba = Samba::start(&Setup::default());
    let directories = Directories::new();
    let gateway = Gateway::start_with(&samba.conf(), &directories, &[], &[(OPEN_FILES, "60")]);
    let fixture = Fixture { samba, gateway, directories };
    let _server = fixture.serve(&ServerPlan::new("scarce", true, Behavior::Echo));
    let time = fixture.gateway.processor_time();
    let silent: Vec<UnixStream> =
        (0..200).map(|_| UnixStream::connect(fixture.link("scarce")).unwrap()).collect();
    fixture.gateway.await_log(&["ERROR", "rejected connections"]);
    // Connections that can't be accepted are closed at once.
    let mut last = silent.last().unwrap();
    last.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_or(0), 0);
    drop(silent);
    wait_until("clients are admitted again", || {
        client::impacket(&fixture, fixture.samba.user(), &["transact", "scarce", "5"]) == ["transact 5"]
    });
    let spent = fixture.gateway.processor_time() - time;
    assert!(spent < 500, "the gateway was busy-waiting: {spent} ticks");
}

fn all_connections() {
    let fixture = Fixture::new(&Setup::default(), &["--connections", "2"]);
    let _server = fixture.serve(&ServerPlan::new("few", true, Behavior::Echo));
    let held = [hold_open(&fixture, "few"), hold_open(&fixture, "few")];
    assert_eq!(client::impacket(&fixture, fixture.samba.user(), &["opens", "few"]), [DISCONNECTED]);
    fixture.gateway.await_log(&["WARN", "few", "the limit of 2 connections is reached"]);
    drop(held);
    wait_until("a connection is allowed again", || {
        client::impacket(&fixture, fixture.samba.user(), &["opens", "few"]) == ["open"]
    });
    matrix::note("impacket", "any", "more than --connections", "refused, logged");
}

/// With the helper processes that smbd starts by default, which serve Samba's own pipes in the same directory.
fn own_pipes() {
    let fixture = Fixture::new(&Setup { own_pipes: true, ..Setup::default() }, &[]);
    let user = fixture.samba.user();
    let _server = fixture.serve(&ServerPlan::new("beside-srvsvc", true, Behavior::Echo));
    let plan =
        ServerPlan { user: Some("nobody".into()), ..ServerPlan::new("not-yours", true, Behavior::Echo) };
    let closed = fixture.serve(&plan);
    for _ in 0..3 {
        assert_eq!(client::impacket(&fixture, user, &["opens", "srvsvc"]), ["open"]);
        assert_eq!(client::impacket(&fixture, user, &["transact", "beside-srvsvc", "5"]), ["transact 5"]);
        let lines = client::impacket(&fixture, user, &["opens", "not-yours", "nothing"]);
        assert!(lines.iter().all(|line| line.starts_with("error")), "{lines:?}");
    }
    assert!(closed.is_silent());
    // A pipe with the name of one of them is not exported.
    let _rogue =
        Server::start(&fixture.directories.pipes(), &ServerPlan::new("srvsvc", true, Behavior::Echo));
    fixture.gateway.await_log(&["srvsvc", "reserved for one of Samba's pipes"]);
    assert_eq!(client::impacket(&fixture, user, &["opens", "srvsvc"]), ["open"]);
    matrix::note("impacket", "any", "Samba's own pipes beside exported ones", "both work");
}
