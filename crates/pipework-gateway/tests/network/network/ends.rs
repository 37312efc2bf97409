//! What is killed, stopped and started again, in the middle of things.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Child, Command, Stdio},
};

use super::{
    Alone, PATIENCE,
    client::{self, Caller, DISCONNECTED, NO_SUCH_NAME},
    matrix,
    samba::{Samba, Setup},
    server::{Deed, Plan, Server},
    site::{Gateway, OPEN_FILES, Places, Site},
    wait_until,
};

pub(crate) const CASES: &[(&str, Alone)] = &[
    ("a_killed_server_ends_its_callers", server_killed),
    ("a_killed_gateway_ends_its_callers_and_starts_again", gateway_killed),
    ("a_killed_smbd_ends_its_callers", smbd_killed),
    ("smbd_started_anew_finds_the_pipes", smbd_restarted),
    ("a_place_of_sockets_that_is_gone_is_made_again", place_made_again),
    ("a_stopped_gateway_lets_connections_end", gateway_stopped),
    ("connections_leave_nothing_behind", nothing_left),
    ("a_caller_that_is_killed_has_said_what_it_said", caller_killed),
    ("who_does_not_read_holds_up_the_writer_and_nobody_else", back_pressure),
    ("without_descriptors_callers_are_turned_away", no_descriptors),
    ("all_connections_together_have_a_limit", all_connections),
    ("samba_s_own_pipes_work_beside_ours", own_pipes),
];

fn holder(site: &Site, name: &str) -> Caller {
    let caller = Caller::impacket(site, site.samba.user(), &["hold", name]);
    assert!(caller.line().starts_with("connected"));
    assert_eq!(caller.line(), "open");
    caller
}

fn server_killed() {
    let site = Site::new(&Setup::default(), &[]);
    let mut server = site.serve(&Plan::new("victim", true, Deed::Echo));
    let caller = holder(&site, "victim");
    server.kill();
    assert_eq!(caller.lines(), ["ended 0xc00000b0"]);
    wait_until("the name is gone", || {
        client::impacket(&site, site.samba.user(), &["opens", "victim"]) == [NO_SUCH_NAME]
    });
    // Another one takes its place.
    let _server = site.serve(&Plan::new("victim", false, Deed::Echo));
    assert_eq!(client::impacket(&site, site.samba.user(), &["echo_bytes", "victim", "10"]), ["echo 10"]);
    matrix::note("impacket", "any", "server killed", "STATUS_PIPE_DISCONNECTED, then no such name");
}

fn gateway_killed() {
    let mut site = Site::new(&Setup::default(), &[]);
    let server = site.serve(&Plan::new("stays", true, Deed::Echo));
    let caller = holder(&site, "stays");
    server.line();
    site.gateway.signal("KILL");
    site.gateway.wait();
    assert_eq!(caller.lines(), ["ended 0xc00000b0"]);
    assert_eq!(server.line(), "done echo");
    // What it has left leads nowhere.
    assert!(site.link("stays").is_symlink());
    let lines = client::impacket(&site, site.samba.user(), &["opens", "stays", "stays"]);
    assert!(lines.iter().all(|line| line.starts_with("error")), "{lines:?}");

    site.gateway = Gateway::start(&site.samba.conf(), &site.places, &[]);
    site.gateway.await_log(&["removes what another gateway has left"]);
    assert_eq!(client::impacket(&site, site.samba.user(), &["transact", "stays", "10"]), ["transact 10"]);
    let sockets = fs::read_dir(site.places.run_dir()).unwrap().count();
    assert_eq!(sockets, 2, "one socket and the lock");
    matrix::note(
        "impacket",
        "any",
        "gateway killed",
        "STATUS_PIPE_DISCONNECTED; found again after its restart",
    );
}

fn smbd_killed() {
    let site = Site::new(&Setup::default(), &[]);
    let server = site.serve(&Plan::new("survivor", true, Deed::Echo));
    let caller = holder(&site, "survivor");
    server.line();
    kill_smbd(&site);
    let lines = caller.lines();
    assert!(lines[0].starts_with("lost") || lines[0].starts_with("error"), "{lines:?}");
    assert_eq!(server.line(), "done echo", "the server sees its client go");
    site.gateway.await_log(&["survivor", "the caller has closed"]);
    assert!(site.link("survivor").is_symlink(), "the gateway goes on");
    matrix::note("impacket", "any", "smbd killed", "the connection is lost; the server sees its client go");
}

/// Not by `Samba::kill`, after which its guard takes everything away.
fn kill_smbd(site: &Site) {
    let file = site.samba.conf().with_file_name("pid").join("smbd.pid");
    let first = fs::read_to_string(file).unwrap().trim().to_owned();
    Command::new("pkill").args(["-KILL", "-P", &first]).status().unwrap();
    assert!(Command::new("kill").args(["-s", "KILL", &first]).status().unwrap().success());
}

fn smbd_restarted() {
    let site = Site::new(&Setup::default(), &[]);
    let _server = site.serve(&Plan::new("anew", true, Deed::Echo));
    kill_smbd(&site);
    let mut smbd = Again::start(&site);
    wait_until("smbd answers", || {
        // It does not start as long as the dead one is known to the system, and to nobody else.
        if smbd.has_ended() {
            smbd = Again::start(&site);
        }
        let said = client::impacket_session(&site, site.samba.user(), &["transact", "anew", "5"]);
        said.last().is_some_and(|line| line == "transact 5")
    });
    matrix::note("impacket", "any", "smbd killed and started anew", "finds the pipe again");
}

/// An smbd that takes the place of a dead one.
struct Again(Child);

impl Again {
    fn start(site: &Site) -> Again {
        let mut conf = OsString::from("--configfile=");
        conf.push(site.samba.conf());
        let mut command = Command::new("smbd");
        command.args(["-F", "--no-process-group"]).arg(conf).process_group(0);
        Again(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        Command::new("kill").args(["-s", "KILL", "--", &group]).status().ok();
        self.0.wait().ok();
    }
}

fn place_made_again() {
    let site = Site::new(&Setup::default(), &[]);
    let _server = site.serve(&Plan::new("moved", true, Deed::Echo));
    fs::remove_dir_all(site.samba.np()).unwrap();
    site.await_export("moved");
    assert_eq!(client::impacket(&site, site.samba.user(), &["transact", "moved", "5"]), ["transact 5"]);
    // And a link alone.
    fs::remove_file(site.link("moved")).unwrap();
    site.await_export("moved");
}

fn gateway_stopped() {
    let mut site = Site::new(&Setup::default(), &["--grace", "2s"]);
    let server = site.serve(&Plan::new("graceful", true, Deed::Echo));
    let caller = holder(&site, "graceful");
    server.line();
    site.gateway.signal("TERM");
    // Nobody new, at once; who is there may stay for a while.
    wait_until("the way in is closed", || fs::symlink_metadata(site.link("graceful")).is_err());
    assert_eq!(site.gateway.wait(), Some(0));
    assert!(site.gateway.log().contains("ends connections that have not ended in 2s"));
    assert_eq!(caller.lines(), ["ended 0xc00000b0"]);
    assert_eq!(server.line(), "done echo");
    let left: Vec<_> =
        fs::read_dir(site.places.run_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);

    // Without connections it ends at once.
    let mut gateway = Gateway::start(&site.samba.conf(), &site.places, &["--grace", "1h"]);
    site.await_export("graceful");
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
    matrix::note("impacket", "any", "gateway stopped", "the connection ends after --grace");
}

fn nothing_left() {
    let site = Site::new(&Setup::default(), &[]);
    let _server = site.serve(&Plan::new("clean", true, Deed::Echo));
    let _bytes = site.serve(&Plan::new("clean-bytes", false, Deed::Echo));
    let user = site.samba.user();
    client::impacket(&site, user, &["many", "clean", "5"]);
    let quiet = || site.gateway.log().matches("the caller has closed").count();
    wait_until("all have ended", || quiet() == 5);
    let before = site.gateway.descriptors();
    client::impacket(&site, user, &["many", "clean", "100"]);
    client::impacket(&site, user, &["many", "clean-bytes", "100"]);
    wait_until("all have ended", || quiet() == 205);
    wait_until("no descriptor is left", || site.gateway.descriptors() <= before);
    let maps = fs::read_to_string(format!("/proc/{}/maps", site.gateway.process())).unwrap();
    assert_eq!(maps.matches("memfd:").count(), 0, "no memory of a connection is left");
}

fn caller_killed() {
    let site = Site::new(&Setup::default(), &[]);
    let server = site.serve(&Plan::new("last-words", true, Deed::Take));
    let caller = Caller::impacket(&site, site.samba.user(), &["write_and_hold", "last-words", "7"]);
    caller.line();
    assert_eq!(caller.line(), "written 7");
    server.line();
    drop(caller);
    assert_eq!(server.line(), "done took 7 messages");
    matrix::note("impacket", "messages", "caller killed", "the server gets what was written, then the end");
}

fn back_pressure() {
    let site = Site::new(&Setup::default(), &[]);
    let len = 64 << 20;
    let server = site.serve(&Plan { len, ..Plan::new("eager", false, Deed::Give) });
    let other = site.serve(&Plan::new("beside", true, Deed::Echo));
    let caller = Caller::impacket(&site, site.samba.user(), &["take_late", "eager"]);
    assert!(caller.line().starts_with("connected"));
    assert_eq!(caller.line(), "open");
    server.line();
    assert!(server.is_silent(), "it can't have written all of it");
    assert_eq!(client::impacket(&site, site.samba.user(), &["transact", "beside", "5"]), ["transact 5"]);
    other.line();
    let memory = site.gateway.memory();
    assert!(memory < 64 << 10, "{memory} KiB");
    assert_eq!(caller.lines(), [format!("took {len}, then 0xc00000b0")]);
    assert_eq!(server.line(), "done gave");
    matrix::note("impacket", "bytes", "64 MiB down to one that reads late", "the server waits, all of it");

    // The other way round: a server that never reads, until it is killed.
    let mut server = site.serve(&Plan::new("deaf", false, Deed::Wait));
    let caller = Caller::impacket(&site, site.samba.user(), &["give", "deaf", "16777216"]);
    assert!(caller.line().starts_with("connected"));
    server.line();
    assert!(server.is_silent());
    server.kill();
    let lines = caller.lines();
    assert!(lines[0].starts_with("error"), "{lines:?}");
    matrix::note("impacket", "bytes", "16 MiB up to one that never reads, killed", "an error for the caller");
}

fn no_descriptors() {
    let samba = Samba::start(&Setup::default());
    let places = Places::new();
    let gateway = Gateway::start_with(&samba.conf(), &places, &[], &[(OPEN_FILES, "60")]);
    let site = Site { samba, gateway, places };
    let _server = site.serve(&Plan::new("scarce", true, Deed::Echo));
    let time = site.gateway.processor_time();
    let silent: Vec<UnixStream> =
        (0..200).map(|_| UnixStream::connect(site.link("scarce")).unwrap()).collect();
    site.gateway.await_log(&["ERROR", "turned away"]);
    // Those that can't be had are closed at once, and not left to wait.
    let mut last = silent.last().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_or(0), 0);
    drop(silent);
    wait_until("it works again", || {
        client::impacket(&site, site.samba.user(), &["transact", "scarce", "5"]) == ["transact 5"]
    });
    let spent = site.gateway.processor_time() - time;
    assert!(spent < 500, "it has waited in circles: {spent} ticks");
}

fn all_connections() {
    let site = Site::new(&Setup::default(), &["--connections", "2"]);
    let _server = site.serve(&Plan::new("few", true, Deed::Echo));
    let holders = [holder(&site, "few"), holder(&site, "few")];
    assert_eq!(client::impacket(&site, site.samba.user(), &["opens", "few"]), [DISCONNECTED]);
    site.gateway.await_log(&["WARN", "few", "there are 2 connections already"]);
    drop(holders);
    wait_until("a place is free", || {
        client::impacket(&site, site.samba.user(), &["opens", "few"]) == ["open"]
    });
    matrix::note("impacket", "any", "more than --connections", "refused, logged");
}

/// With the helpers that an smbd starts by default, which serve Samba's own pipes in the same place.
fn own_pipes() {
    let site = Site::new(&Setup { own_pipes: true, ..Setup::default() }, &[]);
    let user = site.samba.user();
    let _server = site.serve(&Plan::new("beside-srvsvc", true, Deed::Echo));
    let plan = Plan { user: Some("nobody".into()), ..Plan::new("not-yours", true, Deed::Echo) };
    let closed = site.serve(&plan);
    for _ in 0..3 {
        assert_eq!(client::impacket(&site, user, &["opens", "srvsvc"]), ["open"]);
        assert_eq!(client::impacket(&site, user, &["transact", "beside-srvsvc", "5"]), ["transact 5"]);
        let lines = client::impacket(&site, user, &["opens", "not-yours", "nothing"]);
        assert!(lines.iter().all(|line| line.starts_with("error")), "{lines:?}");
    }
    assert!(closed.is_silent());
    // A server that would like to be one of them is not let near.
    let _rogue = Server::start(&site.places.pipes(), &Plan::new("srvsvc", true, Deed::Echo));
    site.gateway.await_log(&["srvsvc", "a pipe of Samba's own"]);
    assert_eq!(client::impacket(&site, user, &["opens", "srvsvc"]), ["open"]);
    matrix::note("impacket", "any", "Samba's own pipes beside ours", "both work");
}
