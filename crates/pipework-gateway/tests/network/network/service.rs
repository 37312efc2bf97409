//! The service itself: starting, checking, being configured.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use super::{
    Alone,
    client::{self, Caller, DISCONNECTED},
    samba::{Samba, Setup},
    server::{Deed, Plan, Server},
    site::{Gateway, Places, Site, command},
};

pub(crate) const CASES: &[(&str, Alone)] = &[
    ("check_tells_what_is_missing", check),
    ("a_second_gateway_says_who_runs", second),
    ("wrong_settings_are_told", wrong_settings),
    ("a_hangup_reads_the_settings_again", reload),
    ("it_keeps_one_capability", capabilities),
    ("places_that_others_can_reach_are_refused", places),
    ("names_can_be_given_away_while_it_runs", grants),
    ("systemd_is_told", systemd),
];

/// A user that every system has, neither root nor the caller.
const DAEMON: u32 = 1;

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code(), text)
}

fn check() {
    let samba = Samba::start(&Setup { guest: true, ..Setup::default() });
    let places = Places::new();
    let check = |samba: &Samba| run(command(&places).arg("--check").arg("--smb-conf").arg(samba.conf()));
    let (code, text) = check(&samba);
    assert_eq!(code, Some(1), "{text}");
    for words in
        ["map to guest = Never", "restrict anonymous = 2", "server smb encrypt = required", "MISSING"]
    {
        assert!(text.contains(words), "{words} in {text}");
    }
    drop(samba);

    let setup = Setup { encrypt: Some("required"), signing: Some("mandatory"), ..Setup::default() };
    let samba = Samba::start(&setup);
    let _server = Server::start(&places.pipes(), &Plan::new("checked", true, Deed::Echo));
    let gateway = Gateway::start(&samba.conf(), &places, &[]);
    let (code, text) = check(&samba);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Nothing is missing") && !text.contains("advice"), "{text}");
    assert!(
        text.contains(r"checked")
            && text.contains(&format!("the gateway runs: process {}", gateway.process()))
    );

    // Where there is no Samba.
    let nothing = tempfile::tempdir().unwrap();
    let (code, text) = run(command(&places).arg("--check").env("PATH", nothing.path()));
    assert_eq!(code, Some(1));
    assert!(text.contains("testparm is not there") && text.contains("smbd is not installed"), "{text}");
}

fn second() {
    let site = Site::new(&Setup::default(), &[]);
    let (code, text) = run(command(&site.places).arg("--np-dir").arg(site.samba.np()));
    assert_eq!(code, Some(1));
    let expected = format!(
        "another gateway runs already in {}: process {}",
        site.places.run_dir().display(),
        site.gateway.process()
    );
    assert!(text.contains(&expected), "{text}");
}

fn wrong_settings() {
    let places = Places::new();
    let file = places.path("config.toml");
    for (text, expected) in [
        ("conections = 3", "unknown field `conections`"),
        ("connections = 0", "lets nobody in"),
        ("grace = \"soon\"", "grace"),
        ("log = \"loud!\"", "loud!"),
    ] {
        fs::write(&file, text).unwrap();
        let (code, said) =
            run(command(&places).args(["--np-dir", "/nowhere/at/all"]).arg("--config").arg(&file));
        assert!(matches!(code, Some(1 | 2)) && said.contains(expected), "{text}: {code:?} {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let (code, said) = run(command(&places).args(["--config", "/nonexistent"]));
    assert_eq!((code, said.contains("/nonexistent")), (Some(2), true));
    let (code, _) = run(command(&places).args(["--connections", "0"]));
    assert_eq!(code, Some(2));
    let (code, help) = run(command(&places).arg("--help"));
    assert!(code == Some(0) && help.contains("EXIT CODES") && help.contains("CAP_DAC_OVERRIDE"));
    // Another user can't even begin.
    let (code, said) = run(Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"])
        .arg(env!("CARGO_BIN_EXE_pipework-gateway")));
    assert_eq!((code, said.contains("has to run as root")), (Some(1), true), "{said}");
}

fn reload() {
    let site = Site::with_config("connections-per-caller = 1\n");
    let _server = site.serve(&Plan::new("reloaded", false, Deed::Wait));
    let user = site.samba.user();
    let first = Caller::impacket(&site, user, &["hold", "reloaded"]);
    first.line();
    assert_eq!(first.line(), "open");
    assert_eq!(client::impacket(&site, user, &["opens", "reloaded"]), [DISCONNECTED]);

    site.reload("connections-per-caller = what\n", "goes on with the old settings");
    assert_eq!(client::impacket(&site, user, &["opens", "reloaded"]), [DISCONNECTED]);

    let other = "connections-per-caller = 2\nrun-dir = \"/run/elsewhere\"\nlog = \"info\"\n";
    site.reload(other, "has read its settings again");
    assert_eq!(client::impacket(&site, user, &["opens", "reloaded"]), ["open"]);
}

fn capabilities() {
    let site = Site::new(&Setup::default(), &[]);
    let tasks = fs::read_dir(format!("/proc/{}/task", site.gateway.process())).unwrap();
    let mut threads = 0;
    for task in tasks {
        // One that has ended since is not of interest.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .unwrap()
        };
        let kept = "0000000000000002";
        assert_eq!(
            (field("CapEff:").as_str(), field("CapPrm:").as_str(), field("CapBnd:").as_str()),
            (kept, kept, kept)
        );
        assert_eq!(
            (field("CapInh:").as_str(), field("CapAmb:").as_str()),
            ("0000000000000000", "0000000000000000")
        );
        assert_eq!(field("NoNewPrivs:"), "1");
        threads += 1;
    }
    assert!(threads > 3, "all of them were looked at");
    // It is enough for a pipe of another user: one to whom root has given the name.
    let grant = site.places.pipes().join("of-daemon");
    fs::create_dir(&grant).unwrap();
    std::os::unix::fs::chown(&grant, Some(DAEMON), None).unwrap();
    let user = site.samba.user();
    let plan = Plan { user: Some(user.name.clone()), ..Plan::new("of-daemon", true, Deed::Echo) };
    let server = Server::start_as(&site.places.pipes(), &plan, DAEMON);
    site.await_export("of-daemon");
    assert_eq!(client::impacket(&site, user, &["transact", "of-daemon", "1000"]), ["transact 1000"]);
    assert!(server.line().contains(&user.name));
}

/// The gateway looks at a new directory at once, and must not take it for what a dead server has left.
fn grants() {
    let site = Site::new(&Setup::default(), &[]);
    for number in 0..300 {
        let grant = site.places.pipes().join(format!("grant-{number}"));
        fs::create_dir(&grant).unwrap();
        std::thread::yield_now();
        std::os::unix::fs::chown(&grant, Some(DAEMON), None).unwrap();
    }
}

fn places() {
    let samba = Samba::start(&Setup::default());
    let places = Places::new();
    let np = places.path("np");
    fs::create_dir(&np).unwrap();
    for mode in [0o755, 0o770, 0o1700] {
        fs::set_permissions(&np, fs::Permissions::from_mode(mode)).unwrap();
        let (code, text) = run(command(&places).arg("--np-dir").arg(&np));
        assert_eq!((code, text.contains("has to be for root alone")), (Some(1), true), "{text}");
    }
    fs::set_permissions(&np, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&np, Some(65534), None).unwrap();
    let (code, text) = run(command(&places).arg("--np-dir").arg(&np));
    assert_eq!((code, text.contains("does not belong to root")), (Some(1), true), "{text}");
    fs::remove_dir(&np).unwrap();
    std::os::unix::fs::symlink(samba.np(), &np).unwrap();
    let (code, text) = run(command(&places).arg("--np-dir").arg(&np));
    assert_eq!((code, text.contains("is no directory")), (Some(1), true), "{text}");
}

fn systemd() {
    let samba = Samba::start(&Setup::default());
    let places = Places::new();
    let path = places.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let told = |socket: &std::os::unix::net::UnixDatagram| {
        let mut text = [0; 200];
        let len = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).into_owned()
    };
    let mut gateway =
        Gateway::start_with(&samba.conf(), &places, &[], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert!(told(&socket).contains("READY=1"));
    gateway.signal("TERM");
    assert!(told(&socket).contains("STOPPING=1"));
    assert_eq!(gateway.wait(), Some(0));
}
