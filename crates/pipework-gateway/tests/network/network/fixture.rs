//! The test fixture: a private smbd, a gateway, and a directory for pipes.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Instant,
};

use super::{
    TIMEOUT,
    samba::{Samba, Setup},
    server::{Server, ServerPlan},
    wait_until,
};

/// Debian's Python. The first one in `PATH` may be another, without Debian's packages.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// Why the tests can't run on this system, if they can't.
pub(crate) fn missing() -> Option<String> {
    if let Some(why) = Samba::unavailable() {
        return Some(why);
    }
    let works = |program: &str, args: &[&str]| {
        let command = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        command.is_ok_and(|status| status.success())
    };
    if !works("smbclient", &["--version"]) {
        return Some("smbclient is not installed (apt-get install --no-install-recommends smbclient)".into());
    }
    if !works("strace", &["-V"]) {
        return Some("strace is not installed (apt-get install --no-install-recommends strace)".into());
    }
    if !works(PYTHON, &["-c", "import impacket"]) {
        let text = "impacket is not installed (apt-get install --no-install-recommends python3-impacket)";
        return Some(text.into());
    }
    None
}

/// A fixture that is started by its first user.
#[derive(Debug, Default)]
pub(crate) struct LazyFixture {
    fixture: OnceLock<Fixture>,
}

impl LazyFixture {
    pub(crate) fn get(&self) -> &Fixture {
        self.fixture.get_or_init(|| Fixture::new(&Setup::default(), &[]))
    }
}

/// smbd, gateway and directories.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) samba: Samba,
    pub(crate) gateway: Gateway,
    pub(crate) directories: Directories,
}

/// The temporary directories of a fixture.
#[derive(Debug)]
pub(crate) struct Directories {
    dir: tempfile::TempDir,
}

impl Directories {
    pub(crate) fn new() -> Directories {
        let dir = tempfile::Builder::new().prefix("pipework-gateway-").tempdir().unwrap();
        // Pipes of other users are in here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let directories = Directories { dir };
        fs::create_dir(directories.pipes()).unwrap();
        fs::set_permissions(directories.pipes(), fs::Permissions::from_mode(0o755)).unwrap();
        directories
    }

    pub(crate) fn pipes(&self) -> PathBuf {
        self.dir.path().join("pipes")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Fixture {
    /// Starts smbd, and a gateway with additional options.
    pub(crate) fn new(setup: &Setup, options: &[&str]) -> Fixture {
        let samba = Samba::start(setup);
        let directories = Directories::new();
        let gateway = Gateway::start(&samba.conf(), &directories, options);
        Fixture { samba, gateway, directories }
    }

    /// Starts smbd, and a gateway with a configuration file.
    pub(crate) fn with_config(config: &str) -> Fixture {
        let samba = Samba::start(&Setup::default());
        let directories = Directories::new();
        let file = directories.path("config.toml");
        fs::write(&file, config).unwrap();
        let gateway = Gateway::start(&samba.conf(), &directories, &["--config", file.to_str().unwrap()]);
        Fixture { samba, gateway, directories }
    }

    /// Changes the configuration file, reloads it, and waits for a line of the log that contains `text`.
    pub(crate) fn reload(&self, config: &str, text: &str) {
        fs::write(self.directories.path("config.toml"), config).unwrap();
        self.gateway.signal("HUP");
        self.gateway.await_log(&[text]);
    }

    /// Starts a server, and waits until its pipe is exported.
    pub(crate) fn serve(&self, plan: &ServerPlan) -> Server {
        let server = Server::start(&self.directories.pipes(), plan);
        if !plan.is_local {
            self.await_export(&plan.name);
        }
        server
    }

    pub(crate) fn await_export(&self, name: &str) {
        let link = self.link(name);
        wait_until("the pipe is exported", || link.is_symlink());
    }

    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.samba.np().join(name.to_lowercase())
    }
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// A shell that kills the gateway when this process ends.
    guard: Child,
    lifeline: Option<ChildStdin>,
    process: u32,
    log: PathBuf,
}

/// The environment variable that limits the open files of a gateway.
pub(crate) const OPEN_FILES: &str = "OPEN_FILES";

/// The environment variable that, as `ignore`, lets a gateway start with SIGHUP and SIGINT ignored.
pub(crate) const SIGNALS: &str = "SIGNALS";

/// Runs the gateway, and kills it when standard input is closed. Exits with the gateway's exit code.
const GUARD: &str = r#"
log=$1
shift
[ -z "$OPEN_FILES" ] || ulimit -n "$OPEN_FILES"
# The shell redirects the standard input of background jobs, so they use descriptor 3.
exec 3<&0
# The shell lets background jobs ignore SIGINT.
env "--${SIGNALS:-default}-signal=HUP,INT" "$@" 2>>"$log" </dev/null 3<&- &
gateway=$!
echo $gateway
(cat >/dev/null; kill $gateway 2>/dev/null) <&3 >/dev/null &
lifeline=$!
exec 3<&-
wait $gateway
status=$?
kill $lifeline 2>/dev/null
exit $status
"#;

impl Gateway {
    /// Starts a gateway, and waits until it is ready.
    pub(crate) fn start(smb_conf: &Path, directories: &Directories, options: &[&str]) -> Gateway {
        Gateway::start_with(smb_conf, directories, options, &[])
    }

    /// Does the same with additional environment variables.
    pub(crate) fn start_with(
        smb_conf: &Path,
        directories: &Directories,
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Gateway {
        let log = directories.path("log");
        let before = fs::read_to_string(&log).unwrap_or_default().len();
        let mut command = command(directories);
        command.arg("--smb-conf").arg(smb_conf).args(["--log", "debug"]).args(options);
        command.envs(environment.iter().copied());
        let gateway = Gateway::spawn(&command, log);
        wait_until("the gateway is ready", || {
            gateway.log().get(before..).is_some_and(|log| log.contains("lets callers of smbd in"))
        });
        gateway
    }

    /// Starts a gateway without waiting until it is ready.
    pub(crate) fn spawn(command: &Command, log: PathBuf) -> Gateway {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD]);
        guard.arg("guard").arg(&log).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            guard.env(name, value.unwrap());
        }
        let mut guard =
            guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lifeline = guard.stdin.take();
        let mut line = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Gateway { guard, lifeline, process: line.trim().parse().unwrap(), log }
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line of the log that contains all of these words.
    pub(crate) fn await_log(&self, words: &[&str]) -> String {
        let mut found = None;
        wait_until(&format!("a line of the log with {words:?}"), || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            found = line.map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, signal: &str) {
        let process = self.process.to_string();
        assert!(Command::new("kill").args(["-s", signal, &process]).status().unwrap().success());
    }

    /// Waits until the gateway has ended, and returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.guard.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < TIMEOUT, "the gateway did not end");
            thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// The resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The processor time used, in hundredths of a second.
    pub(crate) fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process)).unwrap();
        // After the program's name, which may contain spaces: `utime` and `stime` are fields 12 and 13.
        let times = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        times.map(|time| time.parse::<u64>().unwrap()).sum()
    }

    /// The number of open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process)).map_or(0, |entries| entries.count())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("---- the log of the gateway\n{}\n----", self.log());
        }
        self.lifeline = None;
        let start = Instant::now();
        while let Ok(None) = self.guard.try_wait() {
            if start.elapsed() > TIMEOUT {
                self.guard.kill().ok();
                self.guard.wait().ok();
                return;
            }
            thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
}

/// The command that runs the gateway with these directories.
pub(crate) fn command(directories: &Directories) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework-gateway"));
    command.env("PIPEWORK_DIR", directories.pipes()).arg("--run-dir").arg(directories.run_dir());
    command
}
