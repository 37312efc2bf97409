//! Which clients reach which pipes, and what the servers learn of them.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{MetadataExt, symlink},
        net::{UnixListener, UnixStream},
    },
    thread,
};

use pipework::{ClientOptions, Credentials};
use pipework_gateway::npa;

use super::{
    Shared,
    client::{self, ACCESS_DENIED, ClientProcess, DISCONNECTED, LOGON_FAILURE, NO_SUCH_NAME},
    fixture::{Directories, Fixture, Gateway},
    matrix,
    samba::{Samba, Setup, User},
    server::{Behavior, Server, ServerPlan},
    smbd_case,
};

pub(crate) const CASES: &[(&str, Shared)] = &[
    ("the_server_sees_the_identity_of_the_client", identity),
    ("a_wrong_password_is_refused", wrong_password),
    ("anonymous_clients_and_guests_are_refused", anonymous_and_guest),
    ("a_user_without_access_is_refused", without_access),
    ("a_local_pipe_is_not_exported", local_only),
    ("names_that_are_not_exported_are_not_found", unknown_names),
    ("names_are_case_insensitive", any_case),
    ("names_with_capitals_that_smbd_leaves_are_found", capitals_that_stay),
    ("smbd_lowers_the_letters_of_the_table", letters_of_smbd),
    ("names_of_samba_s_pipes_are_not_exported", reserved_names),
    ("foreign_files_are_not_touched", foreign_files),
    ("connections_per_account_are_limited", limits),
    ("encryption_can_be_required", required_encryption),
    ("account_names_of_every_length_are_parsed", lengths_of_names),
    ("exports_follow_the_servers", server_restarts),
];

fn identity(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("identity", true, Behavior::Echo));
    let user = fixture.samba.user();
    client::impacket(fixture, user, &["transact", "identity", "1"]);
    let seen = server.line();
    let uid = uid_of(user);
    let expected = format!(r"client PIPEWORK\{} 127.0.0.1 ", user.name);
    assert!(seen.starts_with(&expected), "{seen}");
    assert!(seen.contains(&format!(" uid={uid} ")) && seen.contains(" sid=S-1-5-21-"), "{seen}");
    // The log has all of this in one line.
    fixture.gateway.await_log(&[
        "INFO",
        &user.name,
        "127.0.0.1",
        "identity",
        "the client closed the connection",
    ]);
    matrix::note("impacket", "messages", "what the server sees", "account, address, uid, SID of the client");
}

fn uid_of(user: &User) -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with(&format!("{}:", user.name))).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}

fn wrong_password(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("password", false, Behavior::Echo));
    let user = User { password: "wrong".into(), ..fixture.samba.user().clone() };
    assert_eq!(client::impacket_session(fixture, &user, &["opens", "password"]), [LOGON_FAILURE]);
    let said = client::smbclient(fixture, &user, &[], "open password");
    assert!(said.contains("NT_STATUS_LOGON_FAILURE"), "{said}");
    assert!(server.is_silent());
    for client in ["impacket", "smbclient"] {
        matrix::note(client, "any", "a wrong password", "STATUS_LOGON_FAILURE, the server sees nothing");
    }
}

fn anonymous_and_guest(fixture: &Fixture) {
    let nobody = User { name: String::new(), password: String::new() };
    let server = fixture.serve(&ServerPlan::new("strangers", false, Behavior::Echo));
    let lines = client::impacket_session(fixture, &nobody, &["opens", "strangers"]);
    assert_eq!(lines, [ACCESS_DENIED]);
    assert!(server.is_silent());
    matrix::note("impacket", "any", "anonymous", "refused by smbd");

    // An smbd that accepts them: the gateway refuses them.
    let fixture = Fixture::new(&Setup { guest: true, ..Setup::default() }, &[]);
    let server = fixture.serve(&ServerPlan::new("strangers", false, Behavior::Echo));
    assert_eq!(client::impacket(&fixture, &nobody, &["opens", "strangers"]), [DISCONNECTED]);
    fixture.gateway.await_log(&["WARN", "strangers", "the client is anonymous"]);
    let guest = User { name: "somebody".into(), password: "anything".into() };
    assert_eq!(client::impacket(&fixture, &guest, &["opens", "strangers"]), [DISCONNECTED]);
    fixture.gateway.await_log(&["WARN", "strangers", "the client is a guest"]);
    assert!(server.is_silent());
    matrix::note("impacket", "any", "anonymous, accepted by smbd", "refused, the server sees nothing");
    matrix::note("impacket", "any", "guest, accepted by smbd", "refused, the server sees nothing");
}

fn without_access(fixture: &Fixture) {
    // The account `nobody` exists and is not the client's.
    let plan =
        ServerPlan { user: Some("nobody".into()), ..ServerPlan::new("for-another", true, Behavior::Echo) };
    let server = fixture.serve(&plan);
    let user = fixture.samba.user();
    assert_eq!(client::impacket(fixture, user, &["opens", "for-another"]), [DISCONNECTED]);
    let said = client::smbclient(fixture, user, &[], "open for-another");
    assert!(said.contains("NT_STATUS_CONNECTION_DISCONNECTED"), "{said}");
    assert!(server.is_silent());
    fixture.gateway.await_log(&["WARN", &user.name, "for-another", "does not let this client in"]);
    // A pipe whose access names the account.
    let plan = ServerPlan {
        user: Some(user.name.clone()),
        ..ServerPlan::new("for-the-client", true, Behavior::Echo)
    };
    let _server = fixture.serve(&plan);
    assert_eq!(client::impacket(fixture, user, &["transact", "for-the-client", "9"]), ["transact 9"]);
    for client in ["impacket", "smbclient"] {
        matrix::note(client, "any", "a user without access", "refused, the server sees nothing");
    }
}

fn local_only(fixture: &Fixture) {
    let server =
        fixture.serve(&ServerPlan { is_local: true, ..ServerPlan::new("local-only", false, Behavior::Echo) });
    let _other = fixture.serve(&ServerPlan::new("beside-local-only", false, Behavior::Echo));
    assert!(!fixture.link("local-only").exists());
    let user = fixture.samba.user();
    assert_eq!(client::impacket(fixture, user, &["opens", "local-only"]), [NO_SUCH_NAME]);
    let said = client::smbclient(fixture, user, &[], "open local-only");
    assert!(said.contains("NT_STATUS_OBJECT_NAME_NOT_FOUND"), "{said}");
    assert!(server.is_silent());
    assert!(server.unread().is_empty());
    for client in ["impacket", "smbclient"] {
        matrix::note(client, "any", "a local-only pipe", "no such name, the server sees nothing");
    }
}

fn unknown_names(fixture: &Fixture) {
    let server = fixture.serve(&ServerPlan::new("known", false, Behavior::Echo));
    let long = "x".repeat(3000);
    let names = [
        "unknown",
        "..",
        r"..\..\etc\passwd",
        "../../etc/passwd",
        r"known\..\known",
        "kno/wn",
        ".",
        r"\known\",
        "known ",
        "known.",
        "kn?wn",
        "*",
        "lock",
        "0.sock",
        "ünknown",
        &long,
    ];
    let words: Vec<&str> = ["opens"].into_iter().chain(names).collect();
    let lines = client::impacket(fixture, fixture.samba.user(), &words);
    assert_eq!(lines.len(), names.len());
    for (name, line) in names.iter().zip(&lines) {
        assert!(line.starts_with("error"), "{name}: {line}");
    }
    for name in ["unknown", r"..\..\etc\passwd", "kno/wn"] {
        let said = client::smbclient(fixture, fixture.samba.user(), &[], &format!("open {name}"));
        assert!(said.contains("NT_STATUS_"), "{name}: {said}");
    }
    assert!(server.is_silent());
    matrix::note(
        "impacket",
        "any",
        "16 names with .., /, \\, *, over-long",
        "an error for each, the server sees nothing",
    );
    matrix::note("smbclient", "any", "names with .., /, \\", "an error for each, the server sees nothing");
}

fn any_case(fixture: &Fixture) {
    let _server = fixture.serve(&ServerPlan::new("MixedCase.Ü", true, Behavior::Echo));
    for name in ["MixedCase.Ü", "mixedcase.ü", "MIXEDCASE.Ü"] {
        assert_eq!(client::impacket(fixture, fixture.samba.user(), &["transact", name, "5"]), ["transact 5"]);
    }
    // A name with a backslash.
    let _server = fixture.serve(&ServerPlan::new(r"part\name", true, Behavior::Echo));
    assert_eq!(
        client::impacket(fixture, fixture.samba.user(), &["transact", r"PART\name", "5"]),
        ["transact 5"]
    );
    matrix::note("impacket", "any", "unusual case, ü, \\ in a name", "found");
}

fn capitals_that_stay(fixture: &Fixture) {
    for (name, spellings) in [
        ("Știri-Țară", ["Știri-Țară", "știri-țară", "ȘTIRI-ȚARĂ"]),
        ("\u{10d0}-\u{1c90}", ["\u{10d0}-\u{1c90}", "\u{10d0}-\u{10d0}", "\u{1c90}-\u{1c90}"]),
    ] {
        let _server = fixture.serve(&ServerPlan::new(name, true, Behavior::Echo));
        for spelling in spellings {
            let lines = client::impacket(fixture, fixture.samba.user(), &["transact", spelling, "5"]);
            assert_eq!(lines, ["transact 5"], "{name} as {spelling}");
        }
    }
    matrix::note("impacket", "any", "Ș, Ț, Georgian in a name", "found");
}

/// Opens names with every letter that has another case, and serves each where the gateway would export it.
fn letters_of_smbd(fixture: &Fixture) {
    let has_case = |letter: &char| {
        !letter.is_ascii() && (letter.to_lowercase().ne([*letter]) || letter.to_uppercase().ne([*letter]))
    };
    let letters: Vec<char> = ('A'..='Z').chain(('\u{80}'..=char::MAX).filter(has_case)).collect();
    assert!(letters.len() > 2800, "{}", letters.len());
    let socket = fixture.directories.path("letters");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || listener.incoming().try_for_each(|client| admit(&client?)));
    let user = fixture.samba.user();
    let mut options = ClientOptions::new();
    options.credentials(Credentials::password(&user.name, &user.password)).remote_port(fixture.samba.port());
    // One session for all of them.
    let _held = fixture.serve(&ServerPlan::new("beside-letters", false, Behavior::Wait));
    let _session = options.connect(r"\\127.0.0.1\pipe\beside-letters").unwrap();
    for letters in letters.chunks(12) {
        let name: String = letters.iter().collect();
        let file: String = letters.iter().copied().map(smbd_case::to_lowercase).collect();
        let link = fixture.samba.np().join(format!("letters-{file}"));
        symlink(&socket, &link).unwrap();
        let opened = options.open(format!(r"\\127.0.0.1\pipe\letters-{name}"));
        assert!(opened.is_ok(), "smbd looks for other letters than {file}: {opened:?}");
        fs::remove_file(&link).unwrap();
    }
}

/// Lets any client in.
fn admit(mut socket: &UnixStream) -> io::Result<()> {
    let mut prefix = [0; npa::PREFIX_LEN];
    socket.read_exact(&mut prefix)?;
    let len = npa::request_len(prefix).map_err(io::Error::other)?;
    let mut request = prefix.to_vec();
    request.resize(len, 0);
    socket.read_exact(&mut request[npa::PREFIX_LEN..])?;
    let level = npa::parse(&request).map_err(io::Error::other)?.level;
    socket.write_all(&npa::reply(level, false))
}

fn reserved_names(fixture: &Fixture) {
    let _server =
        Server::start(&fixture.directories.pipes(), &ServerPlan::new("LsaRpc", false, Behavior::Echo));
    fixture.gateway.await_log(&["LsaRpc", "reserved for one of Samba's pipes"]);
    let _other =
        Server::start(&fixture.directories.pipes(), &ServerPlan::new("sla/sh", false, Behavior::Echo));
    fixture.gateway.await_log(&["sla/sh", "slash"]);
    let name = "l".repeat(100);
    let _long = Server::start(&fixture.directories.pipes(), &ServerPlan::new(&name, false, Behavior::Echo));
    fixture.gateway.await_log(&[&name, "too long"]);
    let lines = client::impacket(fixture, fixture.samba.user(), &["opens", "lsarpc", &name]);
    assert!(lines.iter().all(|line| line.starts_with("error")), "{lines:?}");
}

fn foreign_files(_: &Fixture) {
    let samba = Samba::start(&Setup::default());
    let directories = Directories::new();
    // A foreign file, a foreign link, and a stale link of a killed gateway.
    let (file, link) = (samba.np().join("occupied"), samba.np().join("elsewhere"));
    fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink("/run/other.sock", &link).unwrap();
    let stale = samba.np().join("stale");
    std::os::unix::fs::symlink(directories.run_dir().join("7.sock"), &stale).unwrap();
    let gateway = Gateway::start(&samba.conf(), &directories, &[]);
    let _server = Server::start(&directories.pipes(), &ServerPlan::new("occupied", false, Behavior::Echo));
    gateway.await_log(&["occupied", "not exported", "not the gateway's"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(link.is_symlink() && !stale.is_symlink());
    // Once the file is gone, the pipe is exported.
    fs::remove_file(&file).unwrap();
    gateway.await_log(&["occupied", "now exported"]);
    drop(gateway);
    assert!(!file.is_symlink() && link.is_symlink());
}

fn limits(_: &Fixture) {
    let fixture = Fixture::new(&Setup::default(), &["--connections-per-caller", "3", "--connections", "4"]);
    let _server = fixture.serve(&ServerPlan::new("limited", false, Behavior::Wait));
    let user = fixture.samba.user();
    let held: Vec<ClientProcess> = (0..3)
        .map(|_| {
            let client = ClientProcess::impacket(&fixture, user, &["hold", "limited"]);
            client.line();
            assert_eq!(client.line(), "open");
            client
        })
        .collect();
    assert_eq!(client::impacket(&fixture, user, &["opens", "limited"]), [DISCONNECTED]);
    fixture.gateway.await_log(&[
        "WARN",
        &user.name,
        "limited",
        "this account has reached its limit of 3 connections",
    ]);
    drop(held);
    // A closed connection no longer counts.
    super::wait_until("a connection is allowed again", || {
        client::impacket(&fixture, user, &["opens", "limited"]) == ["open"]
    });
    matrix::note("impacket", "any", "more than --connections-per-caller", "refused, logged");
}

fn required_encryption(_: &Fixture) {
    let fixture = Fixture::new(&Setup::default(), &["--require-encryption"]);
    let server = fixture.serve(&ServerPlan::new("secret", false, Behavior::Echo));
    let user = fixture.samba.user();
    let said = client::smbclient(&fixture, user, &["--client-protection=sign"], "open secret");
    assert!(said.contains("NT_STATUS_CONNECTION_DISCONNECTED"), "{said}");
    fixture.gateway.await_log(&["WARN", "secret", "not encrypted"]);
    assert!(server.is_silent());
    let said = client::smbclient(&fixture, user, &["--client-protection=encrypt"], "open secret");
    assert!(said.contains("fnum"), "{said}");
    matrix::note("smbclient", "any", "an unencrypted session, with --require-encryption", "refused");
}

/// A request ends after its last name, at an aligned offset or not.
fn lengths_of_names(_: &Fixture) {
    let mut fixture = Fixture::new(&Setup::default(), &[]);
    let _server = fixture.serve(&ServerPlan::new("names", true, Behavior::Echo));
    // The names contain a counter, so their lengths differ.
    for _ in 0..10 {
        let user = fixture.samba.add_user("secret");
        assert_eq!(
            client::impacket(&fixture, &user, &["transact", "names", "3"]),
            ["transact 3"],
            "{user:?}"
        );
    }
}

fn server_restarts(fixture: &Fixture) {
    let user = fixture.samba.user();
    for round in 0..5 {
        let server = fixture.serve(&ServerPlan::new("comes-and-goes", true, Behavior::Echo));
        let lines = client::impacket(fixture, user, &["transact", "comes-and-goes", "3"]);
        assert_eq!(lines, ["transact 3"], "round {round}");
        drop(server);
        // The killed server leaves its files. The next refresh finds that no server lives.
        let lines = client::impacket(fixture, user, &["opens", "comes-and-goes"]);
        assert!(lines == [NO_SUCH_NAME] || lines == [DISCONNECTED], "{lines:?}");
        let link = fixture.link("comes-and-goes");
        super::wait_until("the link is gone", || fs::symlink_metadata(&link).is_err());
    }
    assert_eq!(fs::metadata(fixture.directories.run_dir()).unwrap().mode() & 0o7777, 0o700);
}
