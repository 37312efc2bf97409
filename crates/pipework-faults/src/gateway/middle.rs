//! The two in the middle: the smbd, and the gateway beside it.

use super::samba::Samba;
use crate::{
    conversation::{PASSWORD, PORT, USER},
    home::{Home, PATIENCE},
    inject,
    plan::Fault,
    process::Running,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// What the gateway logs when it is ready.
const READY: &str = "lets callers of smbd in";
/// How often to look again.
const PAUSE: Duration = Duration::from_millis(2);
/// The gateway's log.
pub(super) const LOG: &str = "log";

/// Why the gateway can't be a victim here, if it can't.
pub(super) fn unavailable() -> Option<String> {
    let program = gateway_program();
    let missing = (!program.is_file())
        .then(|| format!("{} was not built: cargo build -p pipework-gateway", program.display()));
    Samba::unavailable().or(missing)
}

/// It was built beside this program.
fn gateway_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("pipework-gateway")
}

/// What a remote client has in its environment.
pub(super) fn environment(samba: &Samba) -> Vec<(&'static str, String)> {
    let user = samba.user();
    vec![(PORT, samba.port().to_string()), (USER, user.name.clone()), (PASSWORD, user.password.clone())]
}

/// A gateway that was started.
#[derive(Debug)]
pub(super) struct Gateway {
    running: Running,
    is_victim: bool,
    log: PathBuf,
    /// How long the log was before.
    before: usize,
}

/// How a gateway ended.
#[derive(Debug)]
pub(super) struct End {
    /// The exit code or the signal, unless it hangs.
    pub(super) how: Option<String>,
    /// What the injector printed.
    pub(super) text: String,
}

impl Gateway {
    /// Starts it, as the victim with the fault at that call, if one is given.
    pub(super) fn start(home: &Home, samba: &Samba, at: Option<Option<(u32, Fault)>>) -> Gateway {
        let mut command = vec![gateway_program().display().to_string()];
        command.extend(["--smb-conf".into(), samba.conf().display().to_string()]);
        command.extend(["--run-dir".into(), home.file("run").display().to_string()]);
        command.extend(["--log".into(), "debug".into()]);
        let words = match at {
            Some(at) => inject::words_for_program(&command, at),
            None => [vec!["program".into(), "--".into()], command].concat(),
        };
        let log = home.file(LOG);
        let before = fs::read_to_string(&log).unwrap_or_default().len();
        let running = home.start_logged(&words, LOG);
        Gateway { running, is_victim: at.is_some(), log, before }
    }

    /// Waits until it is ready. `false`: it ended before.
    pub(super) fn wait_until_ready(&mut self) -> bool {
        wait_until(PATIENCE, || self.running.has_ended() || self.log().contains(READY));
        self.log().contains(READY) && !self.running.has_ended()
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.get(self.before..).unwrap_or_default().to_owned()
    }

    /// Whether it has ended, or is about to.
    pub(super) fn is_over(&mut self) -> bool {
        let was_killed = self.running.text().contains("#killed ");
        was_killed || self.running.has_ended()
    }

    /// Whether the fault has happened.
    pub(super) fn was_hit(&mut self) -> bool {
        self.running.text().contains("#at ")
    }

    /// Whether it watches the directory of pipes, and not only looks there from time to time.
    pub(super) fn watches(&mut self) -> bool {
        let descriptors =
            fs::read_dir(format!("/proc/{}/fd", self.process())).into_iter().flatten().flatten();
        let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| target.as_os_str() == "anon_inode:inotify")
    }

    /// Its process, as text.
    pub(super) fn process(&mut self) -> String {
        if !self.is_victim {
            return self.running.id().to_string();
        }
        let id = inject::Report::parse(self.running.text()).process;
        id.map_or_else(String::new, |id| id.to_string())
    }

    /// Asks it to stop, unless it is over, and waits for its end.
    pub(super) fn stop(mut self) -> End {
        if !self.is_over()
            && let Ok(id) = self.process().parse()
        {
            // It may end meanwhile.
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
        }
        let is_victim = self.is_victim;
        let (status, text) = self.running.finish(PATIENCE);
        let how = status.map(|status| match is_victim {
            true => inject::Report::parse(&text).end,
            false => status.code().map_or_else(|| status.to_string(), |code| code.to_string()),
        });
        End { how, text }
    }
}

/// Waits until it holds, or the time is over; returns whether it holds.
pub(super) fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > limit {
            return false;
        }
        thread::park_timeout(PAUSE);
    }
    true
}
