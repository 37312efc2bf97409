//! Runs each case alone, and counts what it leaves behind.

use libtest_mimic::{Arguments, Failed, Trial};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek},
    os::unix::fs::DirBuilderExt,
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// A name, and what to do.
pub(crate) type Case = (&'static str, fn());

const CASE_VARIABLE: &str = "PIPEWORK_HOSTILE_CASE";
const WATCHDOG: Duration = Duration::from_secs(30);
/// How long counts may take to settle: what a dead peer held, the kernel still has for a moment.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) fn main(cases: Vec<Case>) -> ExitCode {
    if let Ok(name) = std::env::var(CASE_VARIABLE) {
        let (_, case) = cases.into_iter().find(|(known, _)| *known == name).expect("a known case");
        run_alone(case);
        return ExitCode::SUCCESS;
    }
    let trials = cases.into_iter().map(|(name, _)| Trial::test(name, move || run_process(name))).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn run_process(name: &str) -> Result<(), Failed> {
    let home = tempfile::Builder::new().prefix("pipework-hostile-").tempdir()?;
    let pipes = home.path().join("pipes");
    fs::DirBuilder::new().mode(0o700).create(&pipes)?;
    let mut output = tempfile::tempfile()?;
    let mut process = Command::new(std::env::current_exe()?)
        .env(CASE_VARIABLE, name)
        .env("PIPEWORK_DIR", &pipes)
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
        Ok(status) if status.as_ref().is_ok_and(|status| status.success()) => Ok(()),
        Ok(status) => Err(format!("{text}\n{status:?}").into()),
    }
}

fn run_alone(case: fn()) {
    // A panic in any thread ends the case at once.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    // What a process makes once and keeps is there before the first count.
    drop(pipework::NamedPipe::new("warm-up").unwrap());
    let before = Held::count();
    case();
    let start = Instant::now();
    while Held::count() != before {
        assert!(start.elapsed() < SETTLE, "leaks:\nbefore {before:?}\nafter  {:?}", Held::count());
        thread::yield_now();
    }
}

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: BTreeMap<String, usize>,
    mappings: usize,
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
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mappings = maps.lines().filter(|line| line.contains("memfd:")).count();
        Held { descriptors, mappings, threads: fs::read_dir("/proc/self/task").unwrap().count() }
    }
}
