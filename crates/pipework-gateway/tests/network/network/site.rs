//! A private smbd with a gateway beside it, and a directory for pipes.

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
    PATIENCE,
    samba::{Samba, Setup},
    server::{Plan, Server},
    wait_until,
};

/// Not the first one of a path, which may be a newer one without Debian's packages.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// What is missing on this computer, if anything is.
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
    if !works(PYTHON, &["-c", "import impacket"]) {
        let text = "impacket is not installed (apt-get install --no-install-recommends python3-impacket)";
        return Some(text.into());
    }
    None
}

/// A site that is made when it is first wanted.
#[derive(Debug, Default)]
pub(crate) struct Lazy {
    site: OnceLock<Site>,
}

impl Lazy {
    pub(crate) fn site(&self) -> &Site {
        self.site.get_or_init(|| Site::new(&Setup::default(), &[]))
    }
}

/// smbd, gateway, and pipes.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) samba: Samba,
    pub(crate) gateway: Gateway,
    pub(crate) places: Places,
}

/// Where everything lies.
#[derive(Debug)]
pub(crate) struct Places {
    dir: tempfile::TempDir,
}

impl Places {
    pub(crate) fn new() -> Places {
        let dir = tempfile::Builder::new().prefix("pipework-gateway-").tempdir().unwrap();
        // Other users reach pipes in here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let places = Places { dir };
        fs::create_dir(places.pipes()).unwrap();
        fs::set_permissions(places.pipes(), fs::Permissions::from_mode(0o755)).unwrap();
        places
    }

    pub(crate) fn pipes(&self) -> PathBuf {
        self.dir.path().join("pipes")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn path(&self, leaf: &str) -> PathBuf {
        self.dir.path().join(leaf)
    }
}

impl Site {
    /// Starts smbd and a gateway with these further options.
    pub(crate) fn new(setup: &Setup, options: &[&str]) -> Site {
        let samba = Samba::start(setup);
        let places = Places::new();
        let gateway = Gateway::start(&samba.conf(), &places, options);
        Site { samba, gateway, places }
    }

    /// The same with a gateway that reads its settings from a file.
    pub(crate) fn with_config(config: &str) -> Site {
        let samba = Samba::start(&Setup::default());
        let places = Places::new();
        let file = places.path("config.toml");
        fs::write(&file, config).unwrap();
        let gateway = Gateway::start(&samba.conf(), &places, &["--config", file.to_str().unwrap()]);
        Site { samba, gateway, places }
    }

    /// Gives that gateway other settings, and waits until it says `word` of them.
    pub(crate) fn reload(&self, config: &str, word: &str) {
        fs::write(self.places.path("config.toml"), config).unwrap();
        self.gateway.signal("HUP");
        self.gateway.await_log(&[word]);
    }

    /// Starts a server, and waits until smbd would find it.
    pub(crate) fn serve(&self, plan: &Plan) -> Server {
        let server = Server::start(&self.places.pipes(), plan);
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
    /// A shell that ends the gateway when this process is gone.
    guard: Child,
    leash: Option<ChildStdin>,
    process: u32,
    log: PathBuf,
}

/// In the environment of a gateway: how many files it may open.
pub(crate) const OPEN_FILES: &str = "OPEN_FILES";

/// Runs the gateway, and ends it once the standard input ends, or ends with it.
const GUARD: &str = r#"
log=$1
shift
[ -z "$OPEN_FILES" ] || ulimit -n "$OPEN_FILES"
# A shell gives an empty input to what it starts in the background.
exec 3<&0
"$@" 2>>"$log" </dev/null 3<&- &
gateway=$!
echo $gateway
(cat >/dev/null; kill $gateway 2>/dev/null) <&3 >/dev/null &
leash=$!
exec 3<&-
wait $gateway
status=$?
kill $leash 2>/dev/null
exit $status
"#;

impl Gateway {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(smb_conf: &Path, places: &Places, options: &[&str]) -> Gateway {
        Gateway::start_with(smb_conf, places, options, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with(
        smb_conf: &Path,
        places: &Places,
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Gateway {
        let log = places.path("log");
        let before = fs::read_to_string(&log).unwrap_or_default().len();
        let mut command = command(places);
        command.arg("--smb-conf").arg(smb_conf).args(["--log", "debug"]).args(options);
        command.envs(environment.iter().copied());
        let gateway = Gateway::spawn(&command, log);
        wait_until("the gateway is ready", || {
            gateway.log().get(before..).is_some_and(|log| log.contains("lets callers of smbd in"))
        });
        gateway
    }

    fn spawn(command: &Command, log: PathBuf) -> Gateway {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD]);
        guard.arg("guard").arg(&log).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            guard.env(name, value.unwrap());
        }
        let mut guard =
            guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let leash = guard.stdin.take();
        let mut line = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Gateway { guard, leash, process: line.trim().parse().unwrap(), log }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line of the log that has all of these words.
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

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, signal: &str) {
        let process = self.process.to_string();
        assert!(Command::new("kill").args(["-s", signal, &process]).status().unwrap().success());
    }

    /// Waits until it has ended, and gives its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.guard.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the gateway does not end");
            thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// How much memory it has, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How much of a processor's time it has had, in hundredths of a second.
    pub(crate) fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process)).unwrap();
        // Behind the program's name, which may have blanks: `utime` and `stime` are the 12th and 13th.
        let times = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        times.map(|time| time.parse::<u64>().unwrap()).sum()
    }

    /// How many descriptors it has.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process)).map_or(0, |entries| entries.count())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("---- the log of the gateway\n{}\n----", self.log());
        }
        self.leash = None;
        let start = Instant::now();
        while let Ok(None) = self.guard.try_wait() {
            if start.elapsed() > PATIENCE {
                self.guard.kill().ok();
                self.guard.wait().ok();
                return;
            }
            thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
}

/// The gateway's program, for these places.
pub(crate) fn command(places: &Places) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipework-gateway"));
    command.env("PIPEWORK_DIR", places.pipes()).arg("--run-dir").arg(places.run_dir());
    command
}
