//! The caller's own tickets, from a real Kerberos server (MIT's) that this test starts.

use crate::{
    harness::{Case, Place, again, skip, unique},
    samba::{Samba, Setup},
    server::{Kind, Served},
};
use pipework::{ClientOptions, Credentials, PipeErrorKind};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) const CASES: &[Case] = &[("tickets_sign_in", tickets_sign_in)];

/// Where everything of the realm is; set in the process that calls.
const REALM_VARIABLE: &str = "PIPEWORK_REMOTE_REALM";
const REALM: &str = "PIPE.TEST";
/// Programs of Debian's packages krb5-kdc, krb5-admin-server and krb5-user.
const PROGRAMS: [&str; 4] = ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"];
const START: Duration = Duration::from_secs(20);

fn tickets_sign_in(_: &Place) {
    if let Some(realm) = std::env::var_os(REALM_VARIABLE) {
        return call(Path::new(&realm));
    }
    if let Some(missing) = PROGRAMS.iter().find(|program| !runs(program)) {
        skip(&format!("{missing} is not installed (apt-get install krb5-kdc krb5-admin-server krb5-user)"));
    }
    let realm = Realm::new();
    // smbd and the library find the realm by their environment, which is that of a process from its beginning.
    again("tickets_sign_in", &realm.environment());
}

/// Serves and calls, in a process that has the realm in its environment.
fn call(realm: &Path) {
    let keytab = realm.join("keytab");
    let mut samba = Samba::start(&Setup {
        global: vec![
            format!("realm = {REALM}"),
            "kerberos method = dedicated keytab".to_owned(),
            format!("dedicated keytab file = {}", keytab.display()),
        ],
        ..Setup::default()
    });
    let user = samba.add_user("of no use with tickets").name;
    let password = "of-the-realm";
    kadmin(&format!("addprinc -pw {password} {user}"));
    kadmin("addprinc -randkey cifs/localhost");
    kadmin(&format!("ktadd -k {} cifs/localhost", keytab.display()));
    let (np, name) = (samba.np(), unique());
    let mut options = ClientOptions::new();
    options.remote_port(samba.port());
    let address = format!(r"\\localhost\pipe\{name}");

    // Without a ticket nobody is asked.
    let error = options.open(&address).unwrap_err();
    assert!(error == PipeErrorKind::AccessDenied, "{error}");
    assert!(error.to_string().contains("kinit"), "{error}");

    run(Command::new("kinit").arg(&user), &format!("{password}\n"));
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
    fn new() -> Realm {
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
        // A server that belongs to no domain takes no tickets with what a domain says of their owner.
        fs::write(
            path("kdc.conf"),
            format!(
                "[realms]\n {REALM} = {{\n  database_name = {}\n  key_stash_file = {}\n  acl_file = {}\n  kdc_listen = \
                 127.0.0.1:{port}\n  kdc_tcp_listen = 127.0.0.1:{port}\n  disable_pac = true\n }}\n[logging]\n kdc = \
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
