//! The caller's own tickets, from a real Kerberos server (MIT's) that this test starts.

use crate::{
    harness::{Case, Place, again, skip, unique},
    samba::{Samba, Setup},
    server::{Client, Kind, Served},
};
use pipework::{ClientOptions, Credentials, PipeErrorKind, PipeStream};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) const CASES: &[Case] = &[
    ("tickets_sign_in", tickets_sign_in),
    ("a_ticket_with_a_pac_is_refused_with_the_remedy", a_ticket_with_a_pac_is_refused_with_the_remedy),
    ("pipes_outlive_the_ticket_of_their_session", pipes_outlive_the_ticket_of_their_session),
    ("a_session_stays_its_users", a_session_stays_its_users),
    ("an_ended_ticket_for_the_server_is_not_used", an_ended_ticket_for_the_server_is_not_used),
];

/// Where everything of the realm is; set in the process that calls.
const REALM_VARIABLE: &str = "PIPEWORK_REMOTE_REALM";
const REALM: &str = "PIPE.TEST";
/// Programs of Debian's packages krb5-kdc, krb5-admin-server and krb5-user.
const PROGRAMS: [&str; 4] = ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"];
const START: Duration = Duration::from_secs(20);

/// The password of the realm's user.
const PASSWORD: &str = "of-the-realm";

fn tickets_sign_in(_: &Place) {
    with_realm("tickets_sign_in", false, sign_in);
}

fn a_ticket_with_a_pac_is_refused_with_the_remedy(_: &Place) {
    with_realm("a_ticket_with_a_pac_is_refused_with_the_remedy", true, sign_in_with_pac);
}

fn pipes_outlive_the_ticket_of_their_session(_: &Place) {
    with_realm("pipes_outlive_the_ticket_of_their_session", false, outlive_tickets);
}

fn a_session_stays_its_users(_: &Place) {
    with_realm("a_session_stays_its_users", false, sign_in_as_another);
}

fn an_ended_ticket_for_the_server_is_not_used(_: &Place) {
    with_realm("an_ended_ticket_for_the_server_is_not_used", false, outlive_service_ticket);
}

/// Runs a case in a process that has a realm in its environment: smbd and the library find it there.
fn with_realm(name: &str, pac: bool, case: fn(&Path)) {
    if let Some(realm) = std::env::var_os(REALM_VARIABLE) {
        return case(Path::new(&realm));
    }
    if let Some(missing) = PROGRAMS.iter().find(|program| !runs(program)) {
        skip(&format!("{missing} is not installed (apt-get install krb5-kdc krb5-admin-server krb5-user)"));
    }
    again(name, &Realm::new(pac).environment());
}

/// An smbd that takes tickets of the realm, and a user of both.
fn serve(realm: &Path) -> (Samba, String) {
    let keytab = realm.join("keytab");
    let mut samba = Samba::start(&Setup {
        global: vec![
            format!("realm = {REALM}"),
            "kerberos method = dedicated keytab".to_owned(),
            format!("dedicated keytab file = {}", keytab.display()),
        ],
        ..Setup::default()
    });
    let user = add_user(&mut samba);
    kadmin("addprinc -randkey cifs/localhost");
    kadmin(&format!("ktadd -k {} cifs/localhost", keytab.display()));
    (samba, user)
}

fn add_user(samba: &mut Samba) -> String {
    let user = samba.add_user("of no use with tickets").name;
    kadmin(&format!("addprinc -pw {PASSWORD} {user}"));
    user
}

fn kinit(user: &str, lifetime: &str) {
    run(Command::new("kinit").args(["-l", lifetime, user]), &format!("{PASSWORD}\n"));
}

fn sign_in_with_pac(realm: &Path) {
    let (samba, user) = serve(realm);
    kinit(&user, "1h");
    let error = ClientOptions::new().remote_port(samba.port()).open(r"\\localhost\pipe\x").unwrap_err();
    assert!(error == PipeErrorKind::AccessDenied, "{error}");
    assert!(error.to_string().contains("disable_pac = true"), "{error}");
}

fn outlive_tickets(realm: &Path) {
    /// `LIFETIME`, and a second more.
    const OVER: Duration = Duration::from_secs(7);
    const LIFETIME: &str = "6s";
    let (samba, user) = serve(realm);
    let (np, name) = (samba.np(), unique());
    let served = Served::new(&np, &name, Kind::Bytes);
    let start = Instant::now();
    kinit(&user, LIFETIME);
    let address = format!(r"\\localhost\pipe\{name}");
    let open = |require_encryption: bool| {
        let mut options = ClientOptions::new();
        options.remote_port(samba.port()).require_encryption(require_encryption).open(&address)
    };
    let opened = [false, true].map(|encrypted| {
        thread::scope(|scope| {
            let accepting = scope.spawn(|| served.accept());
            (open(encrypted).unwrap(), accepting.join().unwrap(), encrypted)
        })
    });
    thread::scope(|scope| {
        // A read that waits goes on waiting.
        let reading: Vec<_> = opened.iter().map(|(client, ..)| scope.spawn(|| read_late(client))).collect();
        outwait(start, OVER);
        for (client, _, encrypted) in &opened {
            let mut client = client;
            for error in [client.write(b"refused").unwrap_err(), open(*encrypted).map(drop).unwrap_err()] {
                assert!(error == PipeErrorKind::AccessDenied, "{error}");
                assert!(
                    error.to_string().contains("expired") && error.to_string().contains("kinit"),
                    "{error}"
                );
            }
        }
        kinit(&user, "1h");
        for (client, server, encrypted) in &opened {
            let mut client = client;
            client.write_all(b"by the new ticket").unwrap();
            let mut written = [0; 17];
            (&server.socket).read_exact(&mut written).unwrap();
            assert_eq!(&written, b"by the new ticket");
            (&server.socket).write_all(b"late").unwrap();
            let accepting = scope.spawn(|| served.accept());
            open(*encrypted).unwrap();
            accepting.join().unwrap();
        }
        assert!(reading.into_iter().all(|thread| thread.join().unwrap() == *b"late"));
    });
    assert_eq!(samba.connection_count(), 2, "the sessions are the same");
}

fn sign_in_as_another(realm: &Path) {
    let (mut samba, user) = serve(realm);
    let other = add_user(&mut samba);
    let (np, name) = (samba.np(), unique());
    let served = Served::new(&np, &name, Kind::Bytes);
    let start = Instant::now();
    kinit(&user, "4s");
    let (mut client, mut server) = open(&samba, &served, &name);
    outwait(start, Duration::from_secs(6));
    kinit(&other, "1h");
    let error = client.write(b"by another").unwrap_err();
    assert!(error == PipeErrorKind::AccessDenied && error.to_string().contains(&user), "{error}");
    kinit(&user, "1h");
    client.write_all(b"by the same").unwrap();
    assert_eq!(server.read_exactly(11), b"by the same");
}

fn outlive_service_ticket(realm: &Path) {
    let (samba, user) = serve(realm);
    let (np, name) = (samba.np(), unique());
    let served = Served::new(&np, &name, Kind::Bytes);
    kadmin("modprinc -maxlife 3seconds cifs/localhost");
    kinit(&user, "1h");
    let start = Instant::now();
    run(Command::new("kvno").arg("cifs/localhost"), "");
    outwait(start, Duration::from_secs(5));
    open(&samba, &served, &name);
}

fn open(samba: &Samba, served: &Served, name: &str) -> (PipeStream, Client) {
    thread::scope(|scope| {
        let accepting = scope.spawn(|| served.accept());
        let mut options = ClientOptions::new();
        let client = options.remote_port(samba.port()).open(format!(r"\\localhost\pipe\{name}"));
        (client.unwrap(), accepting.join().unwrap())
    })
}

/// Waits until a ticket has ended, which nothing reports.
fn outwait(start: Instant, over: Duration) {
    while start.elapsed() < over {
        thread::park_timeout(over.saturating_sub(start.elapsed()));
    }
}

fn read_late(mut client: &PipeStream) -> [u8; 4] {
    let mut data = [0; 4];
    client.read_exact(&mut data).unwrap();
    data
}

/// Signs in and uses a pipe.
fn sign_in(realm: &Path) {
    let (samba, user) = serve(realm);
    let (np, name) = (samba.np(), unique());
    let mut options = ClientOptions::new();
    options.remote_port(samba.port());
    let address = format!(r"\\localhost\pipe\{name}");

    // Without a ticket nobody is asked.
    let error = options.open(&address).unwrap_err();
    assert!(error == PipeErrorKind::AccessDenied, "{error}");
    assert!(error.to_string().contains("kinit"), "{error}");

    kinit(&user, "1h");
    for require_encryption in [false, true] {
        options.credentials(Credentials::current()).require_encryption(require_encryption);
        let served = Served::new(&np, &name, Kind::Bytes);
        thread::scope(|scope| {
            let accepting = scope.spawn(|| served.accept());
            let mut client = options.open(&address).unwrap();
            client.write_all(b"by a ticket").unwrap();
            let mut server = accepting.join().unwrap();
            assert_eq!(server.read_exactly(11), b"by a ticket");
            drop(server);
            assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
            assert_eq!(client.peer().unwrap().network().unwrap().encrypted, Some(require_encryption));
        });
    }
    // A ticket for another server is none for this one.
    let error = options.open(format!(r"\\127.0.0.1\pipe\{name}")).unwrap_err();
    assert!(error == PipeErrorKind::AccessDenied, "{error}");
}

/// A Kerberos server with a realm of its own.
struct Realm {
    dir: tempfile::TempDir,
    server: Child,
}

impl Realm {
    /// `pac`: whether its tickets say what a domain knows of their owner, as they do unless it is configured otherwise.
    fn new(pac: bool) -> Realm {
        let dir = tempfile::Builder::new().prefix("pipework-realm-").tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let path = |leaf: &str| dir.path().join(leaf).display().to_string();
        fs::write(
            path("krb5.conf"),
            format!(
                "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = \
                 false\n dns_canonicalize_hostname = false\n[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n",
            ),
        )
        .unwrap();
        let disable_pac = if pac { "" } else { "disable_pac = true" };
        fs::write(
            path("kdc.conf"),
            format!(
                "[realms]\n {REALM} = {{\n  database_name = {}\n  key_stash_file = {}\n  acl_file = {}\n  kdc_listen = \
                 127.0.0.1:{port}\n  kdc_tcp_listen = 127.0.0.1:{port}\n  {disable_pac}\n }}\n[logging]\n kdc = \
                 FILE:{}\n",
                path("principal"),
                path("stash"),
                path("acl"),
                path("log"),
            ),
        )
        .unwrap();
        let environment = environment_of(dir.path());
        run(
            Command::new("kdb5_util")
                .args(["create", "-s", "-P", "master", "-r", REALM])
                .envs(environment.clone()),
            "",
        );
        let mut server = Command::new("krb5kdc");
        server.arg("-n").envs(environment).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let realm = Realm { server: server.spawn().unwrap(), dir };
        let start = Instant::now();
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(start.elapsed() < START, "krb5kdc does not start");
            thread::park_timeout(Duration::from_millis(10));
        }
        realm
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        environment_of(self.dir.path())
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn environment_of(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("KRB5_CONFIG", dir.join("krb5.conf")),
        ("KRB5_KDC_PROFILE", dir.join("kdc.conf")),
        ("KRB5CCNAME", dir.join("tickets")),
        (REALM_VARIABLE, dir.to_owned()),
    ]
}

fn kadmin(query: &str) {
    run(Command::new("kadmin.local").args(["-q", query]), "");
}

fn run(command: &mut Command, input: &str) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn runs(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()));
    found || Path::new("/usr/sbin").join(program).is_file()
}
