//! A private smbd on the loopback device, for one test: own directories, own users, own port.
//!
//! It needs root and Samba's packages. Everything is gone after it: a guard process, which lives as long as the standard
//! input that this process holds, ends smbd and removes the users, also after a panic and after a kill.
#![allow(dead_code, reason = "several test binaries share this file, and each uses what it needs")]
#![allow(clippy::print_stderr, reason = "the log of smbd, when a test failed")]

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long smbd may take until it listens.
const START: Duration = Duration::from_secs(30);
/// How long the guard may take to clean up.
const STOP: Duration = Duration::from_secs(20);
/// How often to try what another process may hold: the lock of the user database, a port.
const TRIES: u32 = 50;

/// What to change in the configuration. The default: SMB 2 and 3, whoever is not known is refused, signing and encryption as the
/// client asks for it, Samba's own pipes absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// `server smb encrypt`: `off`, `if_required`, `desired` or `required`.
    pub(crate) encrypt: Option<&'static str>,
    /// `server signing`: `disabled`, `auto` or `mandatory`.
    pub(crate) signing: Option<&'static str>,
    /// Makes a guest of whoever has a wrong name or password, and lets anonymous clients in.
    pub(crate) guest: bool,
    /// Serves Samba's own pipes too, `srvsvc` and its like.
    pub(crate) own_pipes: bool,
    /// More lines of `[global]`.
    pub(crate) global: Vec<String>,
    /// A network namespace to run in, and the address that it has there.
    pub(crate) host: Option<(String, Ipv4Addr)>,
}

/// A running smbd.
#[derive(Debug)]
pub(crate) struct Samba {
    guard: Child,
    /// The first process of smbd, a child of the guard.
    smbd: u32,
    /// While it is open, the guard waits.
    _leash: Option<ChildStdin>,
    dir: tempfile::TempDir,
    port: u16,
    users: Vec<User>,
}

/// A user of this computer and of the smbd.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Samba {
    /// Why it can't be run here, if it can't, or why it is not to be.
    pub(crate) fn unavailable() -> Option<String> {
        if let Ok(why) = std::env::var("PIPEWORK_WITHOUT_SAMBA") {
            return Some(why);
        }
        // The directory of this very process belongs to the user that it acts as.
        let owner = fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
        if !owner.is_ok_and(|uid| uid == 0) {
            return Some("needs root, for a private smbd and its users".to_owned());
        }
        ["smbd", "smbpasswd", "useradd", "userdel", "pgrep"]
            .into_iter()
            .find(|name| find(name).is_none())
            .map(|name| {
                format!(
                    "{name} is not installed (apt-get install --no-install-recommends samba passwd procps)"
                )
            })
    }

    /// Starts it with one user, and waits until it answers.
    ///
    /// # Panics
    /// If that fails, with smbd's log.
    pub(crate) fn start(setup: &Setup) -> Samba {
        let dir = tempfile::Builder::new().prefix("pipework-smbd-").tempdir().expect("a directory");
        for leaf in ["private", "lock", "state", "cache", "pid", "ncalrpc", "users"] {
            fs::create_dir(dir.path().join(leaf)).expect("a directory of smbd");
        }
        let mut tried = 0;
        let (guard, smbd, leash, port) = loop {
            let port = free_port();
            fs::write(dir.path().join("smb.conf"), configuration(setup, dir.path(), port)).expect("smb.conf");
            match launch(dir.path(), port, setup.host.as_ref()) {
                Ok((guard, smbd, leash)) => break (guard, smbd, leash, port),
                // Somebody else may have been quicker at the port.
                Err(text) if tried == 2 => panic!("smbd does not start: {text}"),
                Err(_) => tried += 1,
            }
        };
        let mut samba = Samba { guard, smbd, _leash: Some(leash), dir, port, users: Vec::new() };
        samba.add_user("Pa55 word,$%&\"'ü");
        samba
    }

    /// The TCP port, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory in which smbd looks for the sockets of pipes.
    pub(crate) fn np(&self) -> PathBuf {
        self.dir.path().join("ncalrpc/np")
    }

    /// The configuration file.
    pub(crate) fn conf(&self) -> PathBuf {
        self.dir.path().join("smb.conf")
    }

    /// The first user.
    pub(crate) fn user(&self) -> &User {
        self.users.first().expect("there is one from the start")
    }

    /// Makes one more user.
    pub(crate) fn add_user(&mut self, password: &str) -> User {
        let name = new_user_name();
        // Noted first: then it is removed whatever happens from here on.
        let noted = self.dir.path().join("users").join(&name);
        fs::write(noted, "").expect("a note for the guard");
        let make =
            || run(Command::new("useradd").args(["-M", "-N", "-s", "/usr/sbin/nologin"]).arg(&name), "");
        patiently(make).expect("a user");
        let conf = self.conf();
        let twice = format!("{password}\n{password}\n");
        run(Command::new("smbpasswd").arg("-c").arg(conf).args(["-s", "-a"]).arg(&name), &twice)
            .expect("a user of smbd");
        let user = User { name, password: password.to_owned() };
        self.users.push(user.clone());
        user
    }

    /// What smbd has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Ends smbd and all that it started, by force: its connections end with them.
    pub(crate) fn kill(&self) {
        let start = Instant::now();
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            assert!(start.elapsed() < STOP, "smbd can't be killed");
            let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
            // Those that are gone by now need no signal.
            run(Command::new("kill").arg("-KILL").args(ids), "").ok();
            thread::yield_now();
        }
    }

    /// Ends the processes that serve connections, by force; it goes on taking new ones.
    pub(crate) fn kill_connections(&self) {
        let start = Instant::now();
        while self.connection_count() > 0 {
            assert!(start.elapsed() < STOP, "a connection can't be killed");
            let ids: Vec<String> = self.connection_processes().iter().map(u32::to_string).collect();
            run(Command::new("kill").arg("-KILL").args(ids), "").ok();
            thread::yield_now();
        }
    }

    /// Stops all of its processes: connections stay, and nobody answers.
    pub(crate) fn stop_answering(&self) {
        let ids: Vec<String> = self.processes().iter().map(u32::to_string).collect();
        run(Command::new("kill").arg("-STOP").args(ids), "").expect("they can be stopped");
    }

    /// The processes that serve connections.
    pub(crate) fn connection_processes(&self) -> Vec<u32> {
        self.processes().into_iter().filter(|id| has_connection(*id, self.port)).collect()
    }

    /// The process that takes new connections.
    pub(crate) fn main_process(&self) -> u32 {
        self.smbd
    }

    /// How many TCP connections there are to it.
    pub(crate) fn connection_count(&self) -> usize {
        connections(self.port).len()
    }

    /// Smbd's processes; not the guard, and not the programs that it runs: it waits for the end of one.
    fn processes(&self) -> Vec<u32> {
        let group = self.guard.id().to_string();
        let all = fs::read_dir("/proc").expect("/proc");
        let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let is_smbd = |id: &u32| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // After the program's name, which may have spaces: state, parent, group.
            let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            let words: Vec<&str> = rest.split_whitespace().take(3).collect();
            let [state, parent, of_group] = words[..] else { return false };
            state != "Z" && of_group == group && (*id == self.smbd || parent != group)
        };
        ids.filter(|id| *id != self.guard.id()).filter(is_smbd).collect()
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the log of smbd\n{}\n----", self.log());
        }
        self._leash = None;
        let start = Instant::now();
        while let Ok(None) = self.guard.try_wait() {
            if start.elapsed() > STOP {
                kill_group(&mut self.guard);
                return;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Runs smbd, and cleans up once the standard input ends. It has a process group of its own, with all that smbd starts.
const GUARD: &str = r#"
dir=$1
host=$2
${host:+ip netns exec "$host"} smbd -F --no-process-group --configfile="$dir/smb.conf" </dev/null >"$dir/output" 2>&1 &
smbd=$!
echo $smbd
cat >/dev/null
# The children first, for their parent to take note of.
tries=0
while children=$(pgrep -P $smbd) && [ $tries -lt 40 ]; do
    kill -KILL $children 2>/dev/null
    sleep 0.05
    tries=$((tries + 1))
done
kill -KILL $smbd 2>/dev/null
wait
for round in 1 2 3; do
    kill -KILL $(pgrep -g $$ | grep -vx $$) 2>/dev/null
done
# The programs behind Samba's own pipes leave the group.
pkill -KILL -f -- "--configfile=$dir/smb.conf"
for note in "$dir"/users/*; do
    name=${note##*/}
    tries=0
    while id "$name" >/dev/null 2>&1 && [ $tries -lt 100 ]; do
        # By force: where nobody buries dead processes, one of the user's may be left.
        userdel -f "$name" >/dev/null 2>&1 || sleep 0.05
        tries=$((tries + 1))
    done
done
rm -rf "$dir"
"#;

/// Starts smbd and waits until it listens; else says why not. In a namespace nobody here can try that; but there it has made its
/// place for pipes.
fn launch(
    dir: &Path,
    port: u16,
    host: Option<&(String, Ipv4Addr)>,
) -> Result<(Child, u32, ChildStdin), String> {
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "guard"])
        .arg(dir)
        .arg(host.map_or("", |(name, _)| name))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let leash = guard.stdin.take().expect("it was piped");
    let mut line = String::new();
    BufReader::new(guard.stdout.take().expect("it was piped")).read_line(&mut line).ok();
    let smbd = line.trim().parse().unwrap_or_default();
    let start = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while start.elapsed() < START {
        let listens = match host {
            None => TcpStream::connect(address).is_ok(),
            Some(_) => dir.join("ncalrpc/np").exists(),
        };
        if listens {
            return Ok((guard, smbd, leash));
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    let texts = ["output", "log"].map(|leaf| fs::read_to_string(dir.join(leaf)).unwrap_or_default());
    kill_group(&mut guard);
    Err(texts.join("\n"))
}

/// Ends a guard by force, with the smbd that is in its group.
fn kill_group(guard: &mut Child) {
    run(Command::new("kill").args(["-KILL", "--"]).arg(format!("-{}", guard.id())), "").ok();
    guard.wait().ok();
}

fn configuration(setup: &Setup, dir: &Path, port: u16) -> String {
    let path = |leaf: &str| dir.join(leaf).display().to_string();
    let mut lines: Vec<String> = [
        "workgroup = WORKGROUP",
        "netbios name = PIPEWORK",
        "server role = standalone server",
        "server min protocol = SMB2",
        "bind interfaces only = yes",
        "disable netbios = yes",
        "load printers = no",
        "printing = bsd",
        "printcap name = /dev/null",
        "disable spoolss = yes",
        "max log size = 0",
    ]
    .map(str::to_owned)
    .into();
    lines.push(format!("smb ports = {port}"));
    let address = setup.host.as_ref().map_or(Ipv4Addr::LOCALHOST, |(_, address)| *address);
    lines.push(format!("interfaces = {address}/8"));
    for (option, leaf) in [
        ("private dir", "private"),
        ("lock directory", "lock"),
        ("state directory", "state"),
        ("cache directory", "cache"),
        ("pid directory", "pid"),
        ("ncalrpc dir", "ncalrpc"),
        ("log file", "log"),
    ] {
        lines.push(format!("{option} = {}", path(leaf)));
    }
    lines.push(format!("passdb backend = tdbsam:{}", path("private/passdb.tdb")));
    let helpers = if setup.own_pipes { "yes" } else { "no" };
    lines.push(format!("rpc start on demand helpers = {helpers}"));
    let (guest, anonymous) = if setup.guest { ("Bad User", 0) } else { ("Never", 2) };
    lines.push(format!("map to guest = {guest}"));
    lines.push(format!("restrict anonymous = {anonymous}"));
    lines.extend(setup.encrypt.map(|value| format!("server smb encrypt = {value}")));
    lines.extend(setup.signing.map(|value| format!("server signing = {value}")));
    lines.extend(setup.global.iter().cloned());
    format!("[global]\n{}\n", lines.join("\n"))
}

/// A name of a user that nobody has: this process, and a count.
fn new_user_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("pipework-t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The numbers of the sockets of connections to a port.
fn connections(port: u16) -> Vec<String> {
    const ESTABLISHED: &str = "01";
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let ours = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words.get(1) == Some(&local.as_str()) && words.get(3) == Some(&ESTABLISHED);
        words.get(9).filter(|_| is_ours).map(|inode| format!("socket:[{inode}]"))
    };
    table.lines().filter_map(ours).collect()
}

/// Whether a process has a connection to a port.
fn has_connection(process: u32, port: u16) -> bool {
    let sockets = connections(port);
    let held = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
    let mut targets = held.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Does again what fails while another process holds a lock.
fn patiently(mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 1..TRIES {
        if work().is_ok() {
            return Ok(());
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    work()
}

/// Runs a program with this input to its end.
fn run(command: &mut Command, input: &str) -> io::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped");
    io::Write::write_all(&mut stdin, input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {} {said}", output.status)))
}
