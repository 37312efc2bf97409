//! What is killed, stopped and started again, in the middle of things.

use std::fs;

use super::{
    Alone,
    client::{self, Caller, NO_SUCH_NAME},
    matrix,
    samba::Setup,
    server::{Deed, Plan},
    site::{Gateway, Site},
    wait_until,
};

pub(crate) const CASES: &[(&str, Alone)] = &[
    ("a_killed_server_ends_its_callers", server_killed),
    ("a_killed_gateway_ends_its_callers_and_starts_again", gateway_killed),
    ("a_killed_smbd_ends_its_callers", smbd_killed),
    ("a_stopped_gateway_lets_connections_end", gateway_stopped),
    ("connections_leave_nothing_behind", nothing_left),
    ("a_caller_that_is_killed_has_said_what_it_said", caller_killed),
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
    site.samba.kill();
    let lines = caller.lines();
    assert!(lines[0].starts_with("lost") || lines[0].starts_with("error"), "{lines:?}");
    assert_eq!(server.line(), "done echo", "the server sees its client go");
    site.gateway.await_log(&["survivor", "the caller has closed"]);
    assert!(site.link("survivor").is_symlink(), "the gateway goes on");
    matrix::note("impacket", "any", "smbd killed", "the connection is lost; the server sees its client go");
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
