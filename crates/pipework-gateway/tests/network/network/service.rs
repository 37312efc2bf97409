//! The service itself: start, `--check`, configuration, privileges.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::{UnixListener, UnixStream},
    },
    process::{Command, Output, Stdio},
};

use super::{
    Exclusive,
    client::{self, ClientProcess, DISCONNECTED},
    fixture::{Directories, Fixture, Gateway, SIGNALS, command},
    samba::{Samba, Setup},
    server::{Behavior, Server, ServerPlan},
    wait_until,
};

pub(crate) const CASES: &[(&str, Exclusive)] = &[
    ("check_reports_what_is_missing", check),
    ("a_second_gateway_names_the_running_one", second),
    ("wrong_configurations_are_reported", wrong_configurations),
    ("sighup_reloads_the_configuration", reload),
    ("a_signal_that_was_ignored_stays_ignored", ignored),
    ("it_keeps_one_capability", capabilities),
    ("directories_that_others_can_access_are_refused", directories),
    ("each_refused_client_is_logged_once", logged_once),
    ("refusals_are_logged_at_a_limited_rate", limited_log),
    ("an_old_smbd_is_reported", old_smbd),
    ("only_the_gateway_s_own_files_are_removed", own_files),
    ("names_can_be_granted_while_it_runs", grants),
    ("systemd_is_notified", systemd),
];

/// A user that every system has. It is neither root nor the client.
const DAEMON: u32 = 1;

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code(), text)
}

fn check() {
    let samba = Samba::start(&Setup { guest: true, ..Setup::default() });
    let directories = Directories::new();
    let check = |samba: &Samba| run(command(&directories).arg("--check").arg("--smb-conf").arg(samba.conf()));
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
    let _server = Server::start(&directories.pipes(), &ServerPlan::new("checked", true, Behavior::Echo));
    let gateway = Gateway::start(&samba.conf(), &directories, &[]);
    let (code, text) = check(&samba);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Nothing is missing") && !text.contains("advice"), "{text}");
    assert!(
        text.contains(r"checked")
            && text.contains(&format!("the gateway is running: process {}", gateway.process()))
    );

    // Without Samba.
    let nothing = tempfile::tempdir().unwrap();
    let (code, text) = run(command(&directories).arg("--check").env("PATH", nothing.path()));
    assert_eq!(code, Some(1));
    assert!(text.contains("testparm is not installed") && text.contains("smbd is not installed"), "{text}");
}

fn second() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let (code, text) = run(command(&fixture.directories).arg("--np-dir").arg(fixture.samba.np()));
    assert_eq!(code, Some(1));
    let expected = format!(
        "another gateway is already running in {}: process {}",
        fixture.directories.run_dir().display(),
        fixture.gateway.process()
    );
    assert!(text.contains(&expected), "{text}");
}

fn wrong_configurations() {
    let directories = Directories::new();
    let file = directories.path("config.toml");
    for (text, expected) in [
        ("conections = 3", "unknown field `conections`"),
        ("connections = 0", "refuses every client"),
        ("grace = \"soon\"", "grace"),
        ("log = \"loud!\"", "loud!"),
    ] {
        fs::write(&file, text).unwrap();
        let (code, said) =
            run(command(&directories).args(["--np-dir", "/nowhere/at/all"]).arg("--config").arg(&file));
        assert!(matches!(code, Some(1 | 2)) && said.contains(expected), "{text}: {code:?} {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let (code, said) = run(command(&directories).args(["--config", "/nonexistent"]));
    assert_eq!((code, said.contains("/nonexistent")), (Some(2), true));
    let (code, _) = run(command(&directories).args(["--connections", "0"]));
    assert_eq!(code, Some(2));
    let (code, help) = run(command(&directories).arg("--help"));
    assert!(code == Some(0) && help.contains("EXIT CODES") && help.contains("CAP_DAC_OVERRIDE"));
    // Another user can't start the gateway.
    let (code, said) = run(Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"])
        .arg(env!("CARGO_BIN_EXE_pipework-gateway")));
    assert_eq!((code, said.contains("must run as root")), (Some(1), true), "{said}");
}

fn reload() {
    let fixture = Fixture::with_config("connections-per-caller = 1\n");
    let _server = fixture.serve(&ServerPlan::new("reloaded", false, Behavior::Wait));
    let user = fixture.samba.user();
    let first = ClientProcess::impacket(&fixture, user, &["hold", "reloaded"]);
    first.line();
    assert_eq!(first.line(), "open");
    assert_eq!(client::impacket(&fixture, user, &["opens", "reloaded"]), [DISCONNECTED]);

    fixture.reload("connections-per-caller = what\n", "keeping the old configuration");
    assert_eq!(client::impacket(&fixture, user, &["opens", "reloaded"]), [DISCONNECTED]);

    let other = "connections-per-caller = 2\nrun-dir = \"/run/elsewhere\"\nlog = \"info\"\n";
    fixture.reload(other, "configuration reloaded");
    assert_eq!(client::impacket(&fixture, user, &["opens", "reloaded"]), ["open"]);
}

/// As under `nohup`, and in a background job of a script.
fn ignored() {
    let (samba, directories) = (Samba::start(&Setup::default()), Directories::new());
    let mut gateway = Gateway::start_with(&samba.conf(), &directories, &[], &[(SIGNALS, "ignore")]);
    gateway.signal("HUP");
    gateway.signal("INT");
    let _server = Server::start(&directories.pipes(), &ServerPlan::new("after", true, Behavior::Echo));
    wait_until("the pipe is exported", || samba.np().join("after").is_symlink());
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(!gateway.log().contains("reloaded"), "{}", gateway.log());
}

fn capabilities() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    let tasks = fs::read_dir(format!("/proc/{}/task", fixture.gateway.process())).unwrap();
    let mut threads = 0;
    for task in tasks {
        // Skips a thread that has ended meanwhile.
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
    assert!(threads > 3, "all threads were checked");
    // This capability suffices for the pipe of another user, whose grant of the name is root's.
    let grant = fixture.directories.pipes().join("of-daemon");
    fs::create_dir(&grant).unwrap();
    std::os::unix::fs::chown(&grant, Some(DAEMON), None).unwrap();
    let user = fixture.samba.user();
    let plan =
        ServerPlan { user: Some(user.name.clone()), ..ServerPlan::new("of-daemon", true, Behavior::Echo) };
    let server = Server::start_as(&fixture.directories.pipes(), &plan, DAEMON);
    fixture.await_export("of-daemon");
    assert_eq!(client::impacket(&fixture, user, &["transact", "of-daemon", "1000"]), ["transact 1000"]);
    assert!(server.line().contains(&user.name));
}

/// The gateway inspects a new directory at once. It must not remove it as the remains of a dead server.
fn grants() {
    let fixture = Fixture::new(&Setup::default(), &[]);
    for number in 0..300 {
        let grant = fixture.directories.pipes().join(format!("grant-{number}"));
        fs::create_dir(&grant).unwrap();
        std::thread::yield_now();
        std::os::unix::fs::chown(&grant, Some(DAEMON), None).unwrap();
    }
}

fn directories() {
    let samba = Samba::start(&Setup::default());
    let directories = Directories::new();
    let np = directories.path("np");
    fs::create_dir(&np).unwrap();
    for mode in [0o755, 0o770, 0o1700] {
        fs::set_permissions(&np, fs::Permissions::from_mode(mode)).unwrap();
        let (code, text) = run(command(&directories).arg("--np-dir").arg(&np));
        assert_eq!((code, text.contains("must be accessible to root only")), (Some(1), true), "{text}");
    }
    fs::set_permissions(&np, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&np, Some(65534), None).unwrap();
    let (code, text) = run(command(&directories).arg("--np-dir").arg(&np));
    assert_eq!((code, text.contains("is not owned by root")), (Some(1), true), "{text}");
    fs::remove_dir(&np).unwrap();
    symlink(samba.np(), &np).unwrap();
    let (code, text) = run(command(&directories).arg("--np-dir").arg(&np));
    assert_eq!((code, text.contains("is not a directory")), (Some(1), true), "{text}");
}

/// smbd asks twice, because it starts its helper programs after the first refusal.
fn logged_once() {
    let fixture = Fixture::new(&Setup { own_pipes: true, ..Setup::default() }, &[]);
    let plan =
        ServerPlan { user: Some("nobody".into()), ..ServerPlan::new("asked-twice", true, Behavior::Echo) };
    let _server = fixture.serve(&plan);
    let refused = |level: &str| {
        let log = fixture.gateway.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("asked-twice") && line.contains("does not let this client in"));
        lines.filter(|line| line.contains(level)).count()
    };
    for round in 1..=2 {
        assert_eq!(
            client::impacket(&fixture, fixture.samba.user(), &["opens", "asked-twice"]),
            [DISCONNECTED]
        );
        super::wait_until("smbd has asked again", || refused("DEBUG") == round);
        assert_eq!(refused("WARN"), round);
    }
}

fn limited_log() {
    const CLIENTS: usize = 300;
    let fixture = Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("besieged", true, Behavior::Echo));
    for _ in 0..CLIENTS {
        drop(UnixStream::connect(fixture.link("besieged")).unwrap());
    }
    let line = fixture.gateway.await_log(&["WARN", "refused more clients", "count="]);
    let count: usize = line.rsplit_once("count=").unwrap().1.trim().parse().unwrap();
    let log = fixture.gateway.log();
    let lines = |level: &str| {
        log.lines()
            .filter(|line| line.contains(level) && line.contains("refused") && line.contains("besieged"))
            .count()
    };
    let logged = lines("WARN");
    assert_eq!(logged + lines("DEBUG"), CLIENTS);
    assert!(logged <= 100 && count > 0 && logged + count <= CLIENTS, "{logged} and {count}");
    // Later refusals are logged again.
    drop(UnixStream::connect(fixture.link("besieged")).unwrap());
    super::wait_until("a refusal is logged", || {
        let log = fixture.gateway.log();
        log.lines().rev().take_while(|line| !line.contains(" count=")).any(|line| line.contains("WARN"))
    });
}

fn old_smbd() {
    let samba = Samba::start(&Setup::default());
    let directories = Directories::new();
    let programs = directories.path("programs");
    fs::create_dir(&programs).unwrap();
    fs::write(programs.join("smbd"), "#!/bin/sh\necho Version 4.13.13-Debian\n").unwrap();
    fs::set_permissions(programs.join("smbd"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let (code, text) =
        run(command(&directories).env("PATH", &path).arg("--check").arg("--smb-conf").arg(samba.conf()));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("MISSING  smbd: Version 4.13.13-Debian"), "{text}");
    let gateway = Gateway::start_with(&samba.conf(), &directories, &[], &[("PATH", &path)]);
    gateway.await_log(&["ERROR", "4.13.13", "Samba 4.17 or later is required"]);
}

fn own_files() {
    let samba = Samba::start(&Setup::default());
    let directories = Directories::new();
    let run_dir = directories.run_dir();
    fs::create_dir(&run_dir).unwrap();
    fs::set_permissions(&run_dir, fs::Permissions::from_mode(0o700)).unwrap();
    let [foreign, own] = ["agent.sock", "12.sock"].map(|name| run_dir.join(name));
    drop([&foreign, &own].map(|path| UnixListener::bind(path).unwrap()));
    // A killed gateway had the same directory by another spelling.
    let alias = directories.path("alias");
    symlink(directories.path(""), &alias).unwrap();
    let link = samba.np().join("left");
    symlink(fs::canonicalize(&run_dir).unwrap().join("12.sock"), &link).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework-gateway"));
    command.env("PIPEWORK_DIR", directories.pipes()).arg("--run-dir").arg(alias.join("run"));
    command.arg("--smb-conf").arg(samba.conf());
    let mut gateway = Gateway::spawn(&command, directories.path("log"));
    gateway.await_log(&["lets callers of smbd in"]);
    assert!(foreign.exists() && !own.exists() && !link.is_symlink());
    // `--check` looks at the lock, and keeps no gateway from starting.
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let lock = fs::File::open(run_dir.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::park_timeout(std::time::Duration::from_millis(100));
            drop(lock);
        });
        drop(Gateway::start(&samba.conf(), &directories, &[]));
    });
    assert!(foreign.exists());
}

fn systemd() {
    let samba = Samba::start(&Setup::default());
    let directories = Directories::new();
    let path = directories.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(super::TIMEOUT)).unwrap();
    let received = |socket: &std::os::unix::net::UnixDatagram| {
        let mut text = [0; 200];
        let len = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).into_owned()
    };
    let mut gateway =
        Gateway::start_with(&samba.conf(), &directories, &[], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert!(received(&socket).contains("READY=1"));
    gateway.signal("TERM");
    assert!(received(&socket).contains("STOPPING=1"));
    assert_eq!(gateway.wait(), Some(0));
}
