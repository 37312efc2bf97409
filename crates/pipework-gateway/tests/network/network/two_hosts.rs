//! A client on another host: two network namespaces with a veth pair between them.

use std::{
    io::Read,
    net::Ipv4Addr,
    process::{Child, Command, ExitCode, Stdio},
};

use pipework::{ClientOptions, Credentials, PipeMode};

use super::{
    Exclusive,
    fixture::Fixture,
    matrix, pattern,
    samba::Setup,
    server::{Behavior, ServerPlan},
};

pub(crate) const CASES: &[(&str, Exclusive)] = &[("a_client_on_another_host", client_on_another_host)];

/// The environment variable that makes this program the client: port, user and password, one per line.
const CLIENT_ROLE: &str = "PIPEWORK_NETWORK_CLIENT";
/// Addresses from the range for documentation, which no real network uses.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Why network namespaces can't be used here, if they can't.
pub(crate) fn missing() -> Option<String> {
    let name = format!("pipework-try-{}", std::process::id());
    let tried = ip(&["netns", "add", &name]);
    ip(&["netns", "delete", &name]).ok();
    tried.err().map(|why| format!("can't create network namespaces: {why}"))
}

fn client_on_another_host() {
    let hosts = Hosts::new();
    let setup = Setup { host: Some((hosts.server.clone(), SERVER)), ..Setup::default() };
    let fixture = Fixture::new(&setup, &[]);
    let (echo, sink) =
        (ServerPlan::new("far", true, Behavior::Echo), ServerPlan::new("far-bytes", false, Behavior::Take));
    let (echo_server, sink_server) = (fixture.serve(&echo), fixture.serve(&sink));
    let user = fixture.samba.user();

    // This project's library.
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &hosts.client]).arg(std::env::current_exe().unwrap());
    command.env(CLIENT_ROLE, format!("{}\n{}\n{}", fixture.samba.port(), user.name, user.password));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = echo_server.line();
    assert!(seen.contains(&format!("{CLIENT} encrypted=true")), "{seen}");
    sink_server.line();
    assert_eq!(sink_server.line(), "done took 1048576 bytes, right");
    matrix::note("pipework", "any", "from another host (network namespace)", "the server sees its address");

    // smbclient.
    let file = fixture.directories.path("credentials");
    std::fs::write(&file, format!("username={}\npassword={}\n", user.name, user.password)).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &hosts.client, "smbclient", "--port", &fixture.samba.port().to_string()]);
    command.arg("--authentication-file").arg(&file);
    command.args([&format!("//{SERVER}/IPC$"), "--command", "open far"]);
    let said = String::from_utf8(command.stdin(Stdio::null()).output().unwrap().stdout).unwrap();
    assert!(said.contains("open file"), "{said}");
    matrix::note("smbclient", "any", "from another host (network namespace)", "open");
}

/// Runs the client in the other namespace, if the environment requests it.
pub(crate) fn run_role() -> Option<ExitCode> {
    let role = std::env::var(CLIENT_ROLE).ok()?;
    let mut words = role.splitn(3, '\n');
    let (port, user, password) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let mut options = ClientOptions::new();
    options.credentials(Credentials::password(user, password)).remote_port(port);
    let mut bytes = options.connect(format!(r"\\{SERVER}\pipe\far-bytes")).unwrap();
    std::io::Write::write_all(&mut bytes, &pattern(1 << 20)).unwrap();
    drop(bytes);
    let pipe = options.read_mode(PipeMode::Message).connect(format!(r"\\{SERVER}\pipe\far")).unwrap();
    assert_eq!(pipe.transact(b"from afar", 100).unwrap(), b"from afar");
    assert_eq!(pipe.peer().unwrap().network().unwrap().address, SERVER.to_string());
    Some(ExitCode::SUCCESS)
}

/// Both namespaces. A guard process deletes them when this value is dropped or this process ends.
struct Hosts {
    server: String,
    client: String,
    guard: Child,
}

const GUARD: &str = r#"cat >/dev/null; for host in "$@"; do ip netns delete "$host"; done"#;

impl Hosts {
    fn new() -> Hosts {
        let id = std::process::id();
        let (server, client) = (format!("pipework-s{id}"), format!("pipework-c{id}"));
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &server, &client])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let hosts = Hosts { server, client, guard };
        let links = ["pws", "pwc"].map(|end| format!("{end}{id}"));
        for host in [&hosts.server, &hosts.client] {
            ip(&["netns", "add", host]).unwrap();
        }
        ip(&["link", "add", &links[0], "type", "veth", "peer", "name", &links[1]]).unwrap();
        for ((host, end), address) in
            [&hosts.server, &hosts.client].into_iter().zip(&links).zip([SERVER, CLIENT])
        {
            ip(&["link", "set", end, "netns", host]).unwrap();
            ip(&["-n", host, "address", "add", &format!("{address}/24"), "dev", end]).unwrap();
            ip(&["-n", host, "link", "set", end, "up"]).unwrap();
            ip(&["-n", host, "link", "set", "lo", "up"]).unwrap();
        }
        hosts
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}

/// Runs `ip`. The error is its error output.
fn ip(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("ip: {error}"))?;
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).ok();
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}
