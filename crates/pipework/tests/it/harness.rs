//! Runs each case in a process of its own, under a watchdog, and counts what the case leaves behind.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use libtest_mimic::{Completion, Failed, Trial};
use pipework::{NamedPipe, PipeName, PipeNameKind};
use shared_child::SharedChild;

use crate::{
    conformance::{self, Case, Run, skips},
    surface::{Surface, surfaces},
};

/// Names the case that a re-run of this binary is to run.
pub(crate) const CASE_VARIABLE: &str = "PIPEWORK_IT_CASE";
/// Asks for the cases of each rule, instead of running them.
pub(crate) const RULES_VARIABLE: &str = "PIPEWORK_IT_RULES";
/// Runs what is skipped because Wine gets it wrong.
const TRY_VARIABLE: &str = "PIPEWORK_IT_TRY_SKIPPED";
/// The directory of pipes, private to each case.
pub(crate) const DIRECTORY_VARIABLE: &str = "PIPEWORK_DIR";

/// How long a case may take before the watchdog ends it.
const WATCHDOG: Duration = Duration::from_secs(30);
/// The watchdog of the few cases that move much data or race many processes.
const WATCHDOG_LONG: Duration = Duration::from_secs(120);
/// How long counts may take to settle after a case: a thread that was joined is still listed for a moment.
const SETTLE: Duration = Duration::from_secs(5);
/// The exit code of a case that can't run here; a failure is 101, as of every Rust test.
const SKIPPED: u8 = 77;
/// The start of the line with the reason.
const SKIP_MARK: &str = "skipped: ";

/// A case on one surface.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    /// `surface::case`.
    pub(crate) name: String,
    /// The rule that it proves.
    pub(crate) rule: &'static str,
    long: bool,
    plan: Plan,
}

/// What is to become of a test.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// It is run and must pass.
    Pass,
    /// It is not run, and why.
    Skip(&'static str),
    /// It is run and must fail; else there is no reason to skip it.
    Fail,
}

impl Plan {
    fn of(surface: &dyn Surface, case: &Case) -> Plan {
        if let Run::Elsewhere(why) = case.run {
            return Plan::Skip(why);
        }
        if let Some((_, why)) = surface.exempt().iter().find(|(name, _)| *name == case.name) {
            return Plan::Skip(why);
        }
        match skips::reason_against(case.name) {
            None => Plan::Pass,
            Some(_) if std::env::var_os(TRY_VARIABLE).is_some() => Plan::Fail,
            Some(why) => Plan::Skip(why),
        }
    }
}

/// Every case on every surface. Cases that are about one surface run once, on the first.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (index, surface) in surfaces().into_iter().enumerate() {
        for case in conformance::cases() {
            if index == 0 || matches!(case.run, Run::Every(_)) {
                let name = format!("{}::{}", surface.name(), case.name);
                let plan = Plan::of(surface, &case);
                tests.push(Test { name, rule: case.rule, long: case.long, plan });
            }
        }
    }
    tests
}

/// Prints each rule with its cases.
pub(crate) fn print_rules() -> ExitCode {
    let mut rules: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for test in tests() {
        rules.entry(test.rule).or_default().push(test.name);
    }
    let mut stdout = std::io::stdout().lock();
    for (rule, names) in rules {
        if writeln!(stdout, "{rule}: {}", names.join(", ")).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The test that starts the case's process.
pub(crate) fn trial(test: Test) -> Trial {
    Trial::ignorable_test(test.name.clone(), move || match test.plan {
        Plan::Pass => run_process(&test),
        Plan::Skip(why) => Ok(ignored(&test, why)),
        Plan::Fail if run_process(&test).is_err() => Ok(Completion::Completed),
        Plan::Fail => Err("it passes, so it should not be skipped".into()),
    })
}

fn ignored(test: &Test, why: &str) -> Completion {
    Completion::ignored_with(format!("rule {}: {why}", test.rule))
}

/// Starts a case's process in a fresh directory and waits for it, but not for ever.
fn run_process(test: &Test) -> Result<Completion, Failed> {
    let home = tempfile::Builder::new().prefix("pw-").tempdir()?;
    let mut output = tempfile::tempfile()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .env(CASE_VARIABLE, &test.name)
        .env(DIRECTORY_VARIABLE, make_pipes_dir(home.path())?)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    own_group(&mut command);
    let process = Arc::new(started(|| SharedChild::spawn(&mut command))?);
    let (ended, end) = mpsc::channel();
    let waiter = thread::spawn({
        let process = Arc::clone(&process);
        move || ended.send(process.wait())
    });
    let limit = if test.long { WATCHDOG_LONG } else { WATCHDOG };
    let status = end.recv_timeout(limit);
    end_group(&process)?;
    if waiter.join().is_err() {
        return Err("the thread that waits for the case failed".into());
    }
    let mut text = String::new();
    output.rewind()?;
    output.read_to_string(&mut text)?;
    let about = format!("rule {}: {}\n{text}", test.rule, test.name);
    match status.map(|status| status.map(|status| (status.success(), status.code()))) {
        Err(_) => Err(format!("{about}the watchdog ended it after {limit:?}").into()),
        Ok(Err(error)) => Err(format!("{about}waiting for it: {error}").into()),
        Ok(Ok((true, _))) => {
            show(&text);
            Ok(Completion::Completed)
        }
        Ok(Ok((_, Some(code)))) if code == i32::from(SKIPPED) => {
            let reason =
                text.lines().rev().find_map(|line| line.strip_prefix(SKIP_MARK)).unwrap_or("no reason");
            Ok(ignored(test, reason))
        }
        Ok(Ok((_, code))) => Err(format!("{about}exit code {code:?}").into()),
    }
}

/// Prints what a case that passed has printed, if that was asked for.
fn show(text: &str) {
    if std::env::args().any(|argument| argument == "--nocapture") {
        // A test whose output can't be written has passed all the same.
        drop(std::io::stdout().lock().write_all(text.as_bytes()));
    }
}

/// Runs one case in this process and reports by the exit code.
pub(crate) fn run_alone(name: &str) -> ExitCode {
    // A panic in any thread ends the case at once: no other thread goes on waiting for the one that failed.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    let (surface, case) = find(name);
    let directory = pipes_dir();
    warm_up(&directory);
    if case.is_of_all_surfaces {
        surfaces().into_iter().for_each(Surface::warm_up);
    } else {
        surface.warm_up();
    }
    let before = Resources::count();
    match case.run {
        Run::Every(run) => run(surface),
        Run::Plain(run) => run(),
        Run::Elsewhere(why) => skip(why),
    }
    before.expect_unchanged();
    expect_no_files(&directory);
    ExitCode::SUCCESS
}

/// Ends the case: it can't run here, and why.
pub(crate) fn skip(reason: &str) -> ! {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{SKIP_MARK}{reason}").expect("the output of a case can be written");
    drop(stdout);
    std::process::exit(SKIPPED.into())
}

/// Skips the case unless it runs as root.
#[cfg(unix)]
pub(crate) fn needs_root() {
    if !rustix::process::geteuid().is_root() {
        skip("needs root, to become other users");
    }
}

/// The directory of this case's pipes.
pub(crate) fn pipes_dir() -> PathBuf {
    PathBuf::from(std::env::var_os(DIRECTORY_VARIABLE).expect("a case has a directory"))
}

/// A file or directory beside the pipes, in what is removed after the case.
#[cfg(unix)]
pub(crate) fn beside_pipes(leaf: &str) -> PathBuf {
    pipes_dir().parent().expect("the directory has a parent").join(leaf)
}

/// A name that nobody else uses.
pub(crate) fn unique() -> String {
    let name = PipeName::unique("it").unwrap();
    match name.kind() {
        PipeNameKind::Local(name) => name.to_owned(),
        other => panic!("a unique name is a local one, not {other:?}"),
    }
}

/// Says that a process with pipes was killed: what it left goes with the next `list`.
pub(crate) fn note_kill() {
    KILLED.store(true, Ordering::Relaxed);
}

static KILLED: AtomicBool = AtomicBool::new(false);

/// Runs `work` on a thread of its own and returns once that thread waits.
pub(crate) fn blocked<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let (sender, receiver) = mpsc::channel();
    let thread = scope.spawn(move || {
        sender.send(thread_id()).unwrap();
        work()
    });
    let id = receiver.recv().unwrap();
    wait_until(|| {
        assert!(!thread.is_finished(), "the call came back instead of waiting");
        is_asleep(std::process::id(), id)
    });
    thread
}

/// Gives a call that waits the time to go on from its first, light sleep to one at the socket.
pub(crate) fn let_sleep_deepen() {
    const LONGER_THAN_LIGHT: Duration = Duration::from_millis(50);
    let (_silent, nothing) = mpsc::channel::<()>();
    nothing.recv_timeout(LONGER_THAN_LIGHT).expect_err("nobody sends");
}

/// Waits, without a time limit of its own, until something has come true.
pub(crate) fn wait_until(mut come_true: impl FnMut() -> bool) {
    while !come_true() {
        thread::yield_now();
    }
}

/// Removes a directory with all that is in it, though a server may restore parts of it meanwhile.
#[cfg(unix)]
pub(crate) fn remove_tree(path: &std::path::Path) {
    wait_until(|| match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => false,
        removed => {
            removed.unwrap();
            true
        }
    });
}

#[cfg(target_os = "linux")]
pub(crate) fn thread_id() -> u32 {
    u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_id() -> u32 {
    0
}

/// Whether a thread sleeps, and does so for a while: looked at several times, it was not woken in between.
#[cfg(target_os = "linux")]
pub(crate) fn is_asleep(process: u32, thread: u32) -> bool {
    let look = || {
        let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).ok()?;
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        let asleep = value("State:")?.trim_start().starts_with('S');
        asleep.then(|| value("voluntary_ctxt_switches:"))
    };
    let first = look();
    first.is_some() && (0..10).all(|_| look() == first)
}

/// Other systems do not show it. The thread gets some time, so that it most probably sleeps: the cases are the same, and
/// catch a little less.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_asleep(_process: u32, _thread: u32) -> bool {
    // In naps: on a busy machine, who only looks at the clock takes the time of the thread that is waited for.
    const NAPS: u32 = 10;
    const NAP: Duration = Duration::from_millis(5);
    let (_silent, nothing) = mpsc::channel::<()>();
    for _ in 0..NAPS {
        nothing.recv_timeout(NAP).expect_err("nobody sends");
    }
    true
}

fn find(name: &str) -> (&'static dyn Surface, Case) {
    let (surface, case) = name.split_once("::").expect("surface::case");
    let surface = surfaces().into_iter().find(|known| known.name() == surface).expect("a known surface");
    let case = conformance::cases().into_iter().find(|known| known.name == case).expect("a known case");
    (surface, case)
}

fn make_pipes_dir(home: &Path) -> std::io::Result<PathBuf> {
    let directory = home.join("pipes");
    fs::create_dir(&directory)?;
    #[cfg(unix)]
    fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(directory)
}

/// Makes what a process makes once and keeps, so that it is there before the first count.
fn warm_up(directory: &Path) {
    let error = NamedPipe::wait("no-such-pipe", Some(Duration::ZERO)).expect_err("nobody serves that name");
    assert_eq!(error, pipework::PipeErrorKind::Absent);
    drop(NamedPipe::new(unique()).expect("the warm-up pipe can be made"));
    #[cfg(feature = "tokio")]
    crate::asynchronous::make_what_stays();
    expect_no_files(directory);
}

/// After the case no pipe is left: at the root there is nothing but what belongs to the root itself.
fn expect_no_files(directory: &Path) {
    // Windows keeps no files of pipes, and lists those of the whole computer.
    if cfg!(unix) && KILLED.load(Ordering::Relaxed) {
        assert_eq!(pipework::list().expect("listing").len(), 0, "no pipe is left");
    }
    let left: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the directory of pipes can be read")
        .map(|entry| entry.unwrap().path())
        .filter(|path| !ROOT_FILES.iter().any(|name| path.ends_with(name)))
        .collect();
    assert!(left.is_empty(), "files were left: {left:?}");
}

/// The fixed files of a root directory.
const ROOT_FILES: [&str; 1] = [".lock"];

/// The resources of a process. Counted on Linux, by `/proc`, and on Windows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Open descriptors, or handles, by what they are.
    descriptors: BTreeMap<String, usize>,
    /// Mappings of shared memory.
    mappings: usize,
    /// Threads.
    threads: usize,
}

/// Descriptors that a process may make on first use and then keeps, one of each.
#[cfg(target_os = "linux")]
const PROCESS_WIDE: [&str; 1] = ["anon_inode:inotify"];

impl Resources {
    /// Open descriptors, or handles, by what they are.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) fn descriptors(&self) -> &BTreeMap<String, usize> {
        &self.descriptors
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn count() -> Resources {
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fd").expect("/proc/self/fd") {
            // The descriptor of this very listing is gone when the listing has ended.
            let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
            let target = target.display().to_string();
            let kind = target.split(":[").next().unwrap_or_default().to_owned();
            *descriptors.entry(kind).or_insert(0) += 1;
        }
        for name in PROCESS_WIDE {
            if let Some(count) = descriptors.remove(name) {
                assert_eq!(count, 1, "one {name} serves the whole process");
            }
        }
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
        let shared = |line: &&str| line.contains("memfd:") || line.contains("/dev/shm/");
        let threads = fs::read_dir("/proc/self/task").expect("/proc/self/task").count();
        Resources { descriptors, mappings: maps.lines().filter(shared).count(), threads }
    }

    #[cfg(windows)]
    pub(crate) fn count() -> Resources {
        let handles = ("handle".to_owned(), crate::windows::handle_count());
        Resources { descriptors: BTreeMap::from([handles]), mappings: 0, threads: 0 }
    }

    #[cfg(not(any(target_os = "linux", windows)))]
    pub(crate) fn count() -> Resources {
        Resources { descriptors: BTreeMap::new(), mappings: 0, threads: 0 }
    }

    /// A thread of the system's pool that was there before the case may end meanwhile, and with it a handle.
    fn is_less_on_windows(&self, before: &Resources) -> bool {
        let count = |resources: &Resources| resources.descriptors.values().sum::<usize>();
        cfg!(windows) && count(self) < count(before)
    }

    pub(crate) fn expect_unchanged(&self) {
        let start = Instant::now();
        loop {
            let now = Resources::count();
            if now == *self || now.is_less_on_windows(self) {
                return;
            }
            assert!(start.elapsed() < SETTLE, "the case leaks:\nbefore {self:?}\nafter  {now:?}");
            thread::yield_now();
        }
    }
}

/// Starts a program. Wine on a busy machine fails to, once in some thousand times, by an error that Windows does not give.
pub(crate) fn started<T>(mut start: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    const INTERNAL_ERROR: i32 = 1359;
    const TRIES: usize = 3;
    for _ in 1..TRIES {
        match start() {
            Err(error) if cfg!(windows) && error.raw_os_error() == Some(INTERNAL_ERROR) => {}
            outcome => return outcome,
        }
    }
    start()
}

/// A process group of its own, so that the watchdog ends a case together with what it started.
#[cfg(unix)]
fn own_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

#[cfg(unix)]
fn end_group(process: &SharedChild) -> std::io::Result<()> {
    let group = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It fails when nobody is left, which is how it should be.
        let _nobody_left = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    Ok(())
}

/// What it started ends by itself, when its input ends.
#[cfg(not(unix))]
fn end_group(process: &SharedChild) -> std::io::Result<()> {
    process.kill()
}

/// Holds the lock of the creators of pipes, as another process does that is creating one.
#[cfg(unix)]
pub(crate) fn creators_lock() -> fs::File {
    let file = fs::File::open(pipes_dir().join(".lock")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

/// The sockets of this process: the number that the kernel gave each, and its descriptor.
#[cfg(target_os = "linux")]
pub(crate) fn sockets() -> BTreeMap<String, i32> {
    let open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    open.filter_map(|path| {
        // The descriptor of the listing itself is closed by now.
        let target = fs::read_link(&path).ok()?.into_os_string().into_string().ok()?;
        let number = path.file_name()?.to_str()?.parse().ok()?;
        target.starts_with("socket:").then_some((target, number))
    })
    .collect()
}

/// Fills the one socket that this process has got since `before` with wake-ups, as a busy end does whose peer is slow.
#[cfg(target_os = "linux")]
pub(crate) fn fill_new_socket(before: &BTreeMap<String, i32>) {
    use rustix::{net::SendFlags, process};
    let new: Vec<i32> =
        sockets().into_iter().filter(|(number, _)| !before.contains_key(number)).map(|(_, fd)| fd).collect();
    let [descriptor] = new[..] else { panic!("{} new sockets", new.len()) };
    let this = process::pidfd_open(process::getpid(), process::PidfdFlags::empty());
    let copy =
        this.and_then(|this| process::pidfd_getfd(this, descriptor, process::PidfdGetfdFlags::empty()));
    let Ok(socket) = copy else { skip("needs a kernel that copies descriptors by `pidfd_getfd`") };
    while rustix::net::send(&socket, b".", SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok() {}
}

/// An empty file to prove that something foreign was left alone.
#[cfg(unix)]
pub(crate) fn make_file(path: &Path, text: &str) {
    fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).unwrap();
}
