//! Runs each case in a process of its own, under a watchdog, and counts what it leaves behind. The cases share one smbd.

use crate::{
    samba::{Samba, Setup},
    server::{Client, Kind, Served},
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use pipework::{ClientOptions, Credentials, PipeErrorKind, PipeMode, PipeStream};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Seek},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Connects until the time is over, and for this reason. The time is long enough for one attempt, however slow the machine is.
#[track_caller]
pub(crate) fn expect_timeout_because(options: &ClientOptions, address: &str, why: &str) {
    let mut timeout = Duration::from_millis(50);
    loop {
        let error = options.clone().timeout(timeout).connect(address).unwrap_err();
        assert!(error == PipeErrorKind::TimedOut, "{error}");
        if error.to_string().contains(why) {
            return;
        }
        timeout *= 2;
        assert!(timeout < Duration::from_secs(60), "{error}");
    }
}

/// A name, and what to do.
pub(crate) type Case = (&'static str, fn(&Place));

/// Where the smbd of a case is, and the accounts that it has.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) np: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
}

const CASE_VARIABLE: &str = "PIPEWORK_REMOTE_CASE";
const PLACE_VARIABLES: [&str; 4] =
    ["PIPEWORK_REMOTE_PORT", "PIPEWORK_REMOTE_NP", "PIPEWORK_REMOTE_USER", "PIPEWORK_REMOTE_PASSWORD"];
/// How the process of a case ends that was skipped; the reason is the last line that it prints.
const SKIPPED: i32 = 77;
const WATCHDOG: Duration = Duration::from_secs(90);
/// How long counts may take to settle: the last session says good-bye.
const SETTLE: Duration = Duration::from_secs(20);

impl Place {
    pub(crate) fn of(samba: &Samba) -> Place {
        let user = samba.user().clone();
        Place { port: samba.port(), np: samba.np(), user: user.name, password: user.password }
    }

    fn from_environment() -> Place {
        let [port, np, user, password] = PLACE_VARIABLES.map(|name| std::env::var(name).expect("a place"));
        Place { port: port.parse().unwrap(), np: np.into(), user, password }
    }

    /// The address of a pipe there.
    pub(crate) fn address(&self, name: &str) -> String {
        format!(r"\\127.0.0.1\pipe\{name}")
    }

    /// How to open a pipe there, as its user.
    pub(crate) fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::new();
        options.credentials(self.credentials()).remote_port(self.port);
        options
    }

    /// The same, async.
    pub(crate) fn task_options(&self) -> pipework::tokio::ClientOptions {
        let mut options = pipework::tokio::ClientOptions::new();
        options.credentials(self.credentials()).remote_port(self.port);
        options
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::password(&self.user, &self.password)
    }
}

pub(crate) fn main(cases: Vec<Case>) -> ExitCode {
    if let Ok(name) = std::env::var(CASE_VARIABLE) {
        let (_, case) = cases.into_iter().find(|(known, _)| *known == name).expect("a known case");
        run_alone(case);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let why_not = Samba::unavailable();
    let samba: Arc<OnceLock<Samba>> = Arc::default();
    let trials = cases.into_iter().map(|(name, _)| {
        let (samba, why_not) = (Arc::clone(&samba), why_not.clone());
        Trial::ignorable_test(name, move || match why_not {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => run_process(name, samba.get_or_init(|| Samba::start(&Setup::default()))),
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(samba) = samba.get()
        && conclusion.has_failed()
    {
        println!("---- the log of smbd\n{}----", samba.log());
    }
    drop(samba);
    conclusion.exit_code()
}

fn run_process(name: &str, samba: &Samba) -> Result<Completion, Failed> {
    let place = Place::of(samba);
    let values = [place.port.to_string(), place.np.display().to_string(), place.user, place.password];
    let mut output = tempfile::tempfile()?;
    let mut process = Command::new(std::env::current_exe()?)
        .env(CASE_VARIABLE, name)
        .envs(PLACE_VARIABLES.into_iter().zip(values))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()?;
    let id = rustix::process::Pid::from_child(&process);
    let (ended, end) = mpsc::channel();
    let waiter = thread::spawn(move || ended.send(process.wait()));
    let status = end.recv_timeout(WATCHDOG);
    if status.is_err() {
        // It is not waited for yet, so its number is still its own.
        rustix::process::kill_process(id, rustix::process::Signal::KILL)?;
    }
    if waiter.join().is_err() {
        return Err("the thread that waits for the case failed".into());
    }
    let mut text = String::new();
    output.rewind()?;
    output.read_to_string(&mut text)?;
    match status {
        Err(_) => Err(format!("{text}\nhangs: the watchdog ended it after {WATCHDOG:?}").into()),
        Ok(status) if status.as_ref().is_ok_and(|status| status.success()) => Ok(Completion::Completed),
        Ok(Ok(status)) if status.code() == Some(SKIPPED) => {
            Ok(Completion::ignored_with(text.lines().last().unwrap_or_default()))
        }
        Ok(status) => Err(format!("{text}\n{status:?}").into()),
    }
}

/// Ends a case that can't be run here.
pub(crate) fn skip(why: &str) -> ! {
    println!("{why}");
    std::process::exit(SKIPPED);
}

/// Runs a case once more from within, in a process with this in its environment too.
pub(crate) fn again(name: &str, environment: &[(&'static str, PathBuf)]) {
    let status = Command::new(std::env::current_exe().unwrap())
        .env(CASE_VARIABLE, name)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .status();
    assert!(status.unwrap().success());
}

fn run_alone(case: fn(&Place)) {
    // A panic in any thread ends the case at once.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    let place = Place::from_environment();
    // What a process makes once and keeps is there before the first count: nobody listens, so there is no session.
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let refused = place.options().remote_port(nobody).open(place.address("warm-up")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{refused}");
    let before = settled();
    case(&place);
    let start = Instant::now();
    while Held::count() != before {
        assert!(start.elapsed() < SETTLE, "leaks:\nbefore {before:?}\nafter  {:?}", Held::count());
        thread::yield_now();
    }
}

/// What a process holds that has nothing to do any more.
fn settled() -> Held {
    let (mut held, mut since) = (Held::count(), Instant::now());
    while since.elapsed() < Duration::from_millis(20) {
        let now = Held::count();
        if now != held {
            (held, since) = (now, Instant::now());
        }
    }
    held
}

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: BTreeMap<String, usize>,
    threads: usize,
}

impl Held {
    fn count() -> Held {
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fd").unwrap() {
            let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
            let kind = target.display().to_string().split(":[").next().unwrap_or_default().to_owned();
            *descriptors.entry(kind).or_insert(0) += 1;
        }
        Held { descriptors, threads: fs::read_dir("/proc/self/task").unwrap().count() }
    }
}

/// A pipe of its own, from end to end; the client reads messages where there are any.
pub(crate) fn open(place: &Place, kind: Kind) -> (PipeStream, Client) {
    let name = unique();
    let served = Served::new(&place.np, &name, kind);
    let accepting = thread::spawn(move || served.accept());
    let mode = if kind == Kind::Messages { PipeMode::Message } else { PipeMode::Byte };
    let client = place.options().read_mode(mode).open(place.address(&name)).unwrap();
    (client, accepting.join().unwrap())
}

/// A name that nobody else uses.
pub(crate) fn unique() -> String {
    let name = pipework::PipeName::unique("Remote").unwrap();
    match name.kind() {
        pipework::PipeNameKind::Local(name) => name.to_owned(),
        other => panic!("a unique name is a local one, not {other:?}"),
    }
}

/// Waits until something has come true; the watchdog is the limit.
pub(crate) fn wait_until(mut come_true: impl FnMut() -> bool) {
    while !come_true() {
        thread::yield_now();
    }
}
