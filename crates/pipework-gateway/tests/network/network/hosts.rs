//! Two computers: a network namespace each, and a cable between them.

use std::{
    io::Read,
    net::Ipv4Addr,
    process::{Child, Command, ExitCode, Stdio},
};

use pipework::{ClientOptions, Credentials, PipeMode};

use super::{
    Alone, matrix, pattern,
    samba::Setup,
    server::{Deed, Plan},
    site::Site,
};

pub(crate) const CASES: &[(&str, Alone)] = &[("two_computers", two_computers)];

/// Tells this program to call: port, user and password, a line each.
const CALLER: &str = "PIPEWORK_NETWORK_CALLER";
/// Of the range that is for documentation; they are in no other network.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Why there can't be two computers here, if there can't.
pub(crate) fn missing() -> Option<String> {
    let name = format!("pipework-try-{}", std::process::id());
    let tried = ip(&["netns", "add", &name]);
    ip(&["netns", "delete", &name]).ok();
    tried.err().map(|why| format!("this machine makes no network namespaces: {why}"))
}

fn two_computers() {
    let hosts = Hosts::new();
    let setup = Setup { host: Some((hosts.server.clone(), SERVER)), ..Setup::default() };
    let site = Site::new(&setup, &[]);
    let (asked, taken) = (Plan::new("far", true, Deed::Echo), Plan::new("far-bytes", false, Deed::Take));
    let (server, taker) = (site.serve(&asked), site.serve(&taken));
    let user = site.samba.user();

    // Our client.
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &hosts.client]).arg(std::env::current_exe().unwrap());
    command.env(CALLER, format!("{}\n{}\n{}", site.samba.port(), user.name, user.password));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = server.line();
    assert!(seen.contains(&format!("{CLIENT} encrypted=true")), "{seen}");
    taker.line();
    assert_eq!(taker.line(), "done took 1048576 bytes, right");
    matrix::note("pipework", "any", "from another computer (network namespace)", "its address is seen");

    // Samba's.
    let file = site.places.path("credentials");
    std::fs::write(&file, format!("username={}\npassword={}\n", user.name, user.password)).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &hosts.client, "smbclient", "--port", &site.samba.port().to_string()]);
    command.arg("--authentication-file").arg(&file);
    command.args([&format!("//{SERVER}/IPC$"), "--command", "open far"]);
    let said = String::from_utf8(command.stdin(Stdio::null()).output().unwrap().stdout).unwrap();
    assert!(said.contains("open file"), "{said}");
    matrix::note("smbclient", "any", "from another computer (network namespace)", "open");
}

/// Calls from the other computer, if it was told to.
pub(crate) fn run_if_told() -> Option<ExitCode> {
    let told = std::env::var(CALLER).ok()?;
    let mut words = told.splitn(3, '\n');
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

/// Both namespaces, which are gone with this, or with this process.
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
        let cable = ["pws", "pwc"].map(|end| format!("{end}{id}"));
        for host in [&hosts.server, &hosts.client] {
            ip(&["netns", "add", host]).unwrap();
        }
        ip(&["link", "add", &cable[0], "type", "veth", "peer", "name", &cable[1]]).unwrap();
        for ((host, end), address) in
            [&hosts.server, &hosts.client].into_iter().zip(&cable).zip([SERVER, CLIENT])
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

/// Runs `ip`, and gives what it says if it fails.
fn ip(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("ip: {error}"))?;
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).ok();
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}
