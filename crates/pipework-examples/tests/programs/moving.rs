//! The loops from the documentation of tokio's named pipes, and the chapter that shows them.

use crate::process::{Process, WATCHDOG, connect, example, file, run, run_concurrently};
use pipework::NamedPipeBuilder;
use std::{
    fs,
    io::{Read, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// The name is a constant in both programs, so only one test at a time can use it.
const NAME: &str = r"\\.\pipe\ping-pong";
static IN_USE: Mutex<()> = Mutex::new(());

fn name() -> MutexGuard<'static, ()> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn the_documented_loops_serve_concurrent_clients() {
    let _name = name();
    let server = start_server();
    for outcome in run_concurrently(8, || example("busy_loop", &[]), b"") {
        assert_eq!(outcome.success(), "pong\n");
    }
    assert_eq!(server.finish().success(), "");
    let complaint = run(&mut example("busy_loop", &[]), b"").failure();
    assert!(complaint.starts_with("Error: "), "{complaint}");
}

pub(crate) fn the_documented_accept_loop_is_the_first_of_its_name() {
    let _name = name();
    let server = start_server();
    let complaint = run(&mut example("accept_loop", &[]), b"").failure();
    assert!(complaint.contains("PermissionDenied"), "{complaint}");
    assert_eq!(run(&mut example("busy_loop", &[]), b"").success(), "pong\n");
    server.finish().success();
}

/// Eight clients share one instance, which is busy when they start.
pub(crate) fn the_documented_busy_loop_waits_while_the_pipe_is_busy() {
    const COUNT: usize = 8;

    let _name = name();
    let mut server = NamedPipeBuilder::new(NAME).max_instances(1).create().unwrap();
    let first = connect(NAME);
    server.connect().unwrap();
    server.stream().set_read_timeout(Some(WATCHDOG)).unwrap();
    let clients = thread::spawn(|| run_concurrently(COUNT, || example("busy_loop", &[]), b""));
    drop(first);
    for _ in 0..COUNT {
        server.disconnect().unwrap();
        server.connect_timeout(WATCHDOG).unwrap();
        let mut request = [0; 4];
        server.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"ping");
        server.write_all(b"pong").unwrap();
        server.flush().unwrap();
    }
    drop(server);
    for outcome in clients.join().unwrap() {
        assert_eq!(outcome.success(), "pong\n");
    }
}

pub(crate) fn the_chapter_shows_the_programs_that_run() {
    let chapter = fs::read_to_string(file("../../docs/FROM_TOKIO.md")).unwrap();
    for name in ["accept_loop", "busy_loop"] {
        let program = fs::read_to_string(file("examples").join(name).with_extension("rs")).unwrap();
        let shown = &program[program.find("use pipework").unwrap()..];
        assert!(chapter.contains(shown), "docs/FROM_TOKIO.md does not show {name} as it is");
        let import = shown.lines().next().unwrap();
        let before = import.replace("pipework::tokio", "tokio::net::windows::named_pipe");
        assert!(chapter.contains(&format!("-{before}\n+{import}\n")), "docs/FROM_TOKIO.md: {before}");
    }
}

/// Starts the accept loop, and waits until it has served one client.
fn start_server() -> Process {
    let server = Process::start(&mut example("accept_loop", &[]));
    let mut client = connect(NAME);
    client.write_all(b"????").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "what");
    server
}
