//! N9: names that something else than their server removes, such as a cleaner of temporary files.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant, SystemTime},
};

use pipework::{
    ClientOptions, Listener, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeName,
    os::unix::{ListenerExt, PipeStreamExt},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Case, every, expect, expect_alive, expect_refused, plain};
#[cfg(target_os = "linux")]
use crate::harness::skip;
use crate::{
    child::Other,
    harness::{beside_pipes, blocked, pipes_dir, remove_tree, unique, wait_until},
    surface::{OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("N9", n9_a_listener_restores_its_name),
        every("N9", n9_a_listener_restores_each_part_of_its_name),
        every("N9", n9_a_listener_restores_the_directory_of_names),
        every("N9", n9_a_listener_restores_its_name_when_it_accepts),
        plain("N9", n9_an_event_loop_restores_its_name),
        plain("N9", n9_a_listener_counts_what_it_restored),
        every("N9", n9_an_instance_whose_name_was_removed_is_absent),
        every("N9", n9_a_name_that_another_server_took_stays_its_own),
        every("N9", n9_a_name_without_its_header_is_taken),
        every("N9", n9_a_header_of_another_pipe_is_noticed),
        every("N9", n9_a_restored_name_counts_all_instances),
        every("N9", n9_all_processes_restore_their_part_of_a_name),
        every("N9", n9_an_ended_name_is_not_restored),
        every("N9", n9_no_file_of_a_live_name_looks_old),
        plain("N9", n9_a_count_that_something_changed_is_an_error),
        plain("N9", n9_a_listener_restores_its_socket),
        plain("N9", n9_a_socket_that_another_server_took_stays_its_own),
        plain("N9", n9_a_listener_that_only_looks_waits_for_no_lock),
    ]
}

/// The cases about a cleaner that only Linux has.
#[cfg(target_os = "linux")]
pub(super) fn cases_of_linux() -> Vec<Case> {
    vec![plain("N9", n9_tmpfiles_leaves_live_names)]
}

/// Where a name lives.
fn directory_of(name: &str) -> PathBuf {
    PipeName::new(name).unwrap().location().unwrap()
}

/// The files of a name whose leaf begins with one of these letters.
fn files_of(name: &str, kinds: &[char]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory_of(name)).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(kinds);
    entries.filter(is_one).collect()
}

/// A client of a name that is absent for a while.
fn returning(name: &str) -> OpenSpec {
    OpenSpec::new(name).wait_absent()
}

/// Removes something while a listener waits for a client; it finds one all the same.
fn restores(here: &dyn Surface, remove: impl FnOnce(&str)) {
    let (name, there) = (unique(), Other::spawn(here));
    let listener = here.listen(&Spec::new(&name)).unwrap();
    thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept());
        remove(&name);
        let client = there.connect(&returning(&name)).unwrap();
        expect_alive(client.as_ref(), accepting.join().unwrap().unwrap().as_ref());
    });
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    expect_alive(client.as_ref(), listener.accept().unwrap().as_ref());
}

fn n9_a_listener_restores_its_name(here: &dyn Surface) {
    restores(here, |name| remove_tree(&directory_of(name)));
}

/// A cleaner may take some files and leave others.
fn n9_a_listener_restores_each_part_of_its_name(here: &dyn Surface) {
    for kinds in [&['h'][..], &['s'], &['i', 'n', 'f'], &['h', 's']] {
        restores(here, |name| {
            let files = files_of(name, kinds);
            assert!(!files.is_empty(), "{kinds:?} are letters of files");
            files.iter().for_each(|file| fs::remove_file(file).unwrap());
        });
    }
}

/// As the end of a login session removes it.
fn n9_a_listener_restores_the_directory_of_names(here: &dyn Surface) {
    restores(here, |_| remove_tree(&pipes_dir()));
}

/// The client that came before is served, and the next one finds the name.
fn n9_a_listener_restores_its_name_when_it_accepts(here: &dyn Surface) {
    let name = unique();
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    remove_tree(&directory_of(&name));
    expect_alive(client.as_ref(), listener.accept().unwrap().as_ref());
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    expect_alive(client.as_ref(), listener.accept().unwrap().as_ref());
}

fn n9_an_event_loop_restores_its_name() {
    let (name, path) = (unique(), beside_pipes("loop.sock"));
    for address in [name.as_str(), path.to_str().unwrap()] {
        let listener = Listener::bind(address).unwrap();
        let ready = listener.ready_fd().unwrap();
        if address == name {
            remove_tree(&directory_of(address));
        } else {
            fs::remove_file(address).unwrap();
        }
        thread::scope(|scope| {
            let client = scope.spawn(|| ClientOptions::new().wait_absent(true).connect(address).unwrap());
            let server = loop {
                match listener.try_accept() {
                    Ok(server) => break server,
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
                }
                poll(&mut [PollFd::new(&ready, PollFlags::IN)], None).unwrap();
            };
            client.join().unwrap().try_write(b"!").unwrap();
            let mut byte = [0];
            std::io::Read::read_exact(&mut &server, &mut byte).unwrap();
        });
        assert_eq!(listener.restorations(), 1);
    }
}

/// So that a server can report it.
fn n9_a_listener_counts_what_it_restored() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    for count in 0..2 {
        assert_eq!(listener.restorations(), count);
        remove_tree(&directory_of(&name));
        wait_until(|| {
            expect(listener.accept_timeout(Duration::from_millis(10)), PipeErrorKind::TimedOut);
            NamedPipe::wait(&name, Some(Duration::ZERO)).is_ok()
        });
    }
    assert_eq!(listener.restorations(), 2);
}

/// It ends with a reason instead of waiting for ever. A new one makes the name anew.
fn n9_an_instance_whose_name_was_removed_is_absent(here: &dyn Surface) {
    let name = unique();
    let instance = here.create(&Spec::new(&name)).unwrap();
    thread::scope(|scope| {
        let connecting = blocked(scope, || instance.connect());
        remove_tree(&directory_of(&name));
        let fault = expect_refused(connecting.join().unwrap(), PipeErrorKind::Absent);
        assert!(fault.text.contains(&name) && fault.text.contains("removed"), "{fault}");
    });
    expect_refused(instance.connect(), PipeErrorKind::Absent);
    let again = here.create(&Spec::new(&name).joining()).unwrap();
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    again.connect().unwrap();
    expect_alive(client.as_ref(), again.end());
    // The first one can be used again, too.
    instance.disconnect().unwrap();
    thread::scope(|scope| {
        let connecting = blocked(scope, || instance.connect());
        let client = here.open(&OpenSpec::new(&name)).unwrap();
        connecting.join().unwrap().unwrap();
        expect_alive(client.as_ref(), instance.end());
    });
}

/// The listener says so each time, until the name is free.
fn n9_a_name_that_another_server_took_stays_its_own(here: &dyn Surface) {
    let (name, there) = (unique(), Other::spawn(here));
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let theirs = thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept());
        remove_tree(&directory_of(&name));
        let theirs = there.create(&Spec::new(&name)).unwrap();
        let fault = expect_refused(accepting.join().unwrap(), PipeErrorKind::NameTaken);
        assert!(fault.text.contains("removed"), "{fault}");
        theirs
    });
    expect_refused(listener.accept(), PipeErrorKind::NameTaken);
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    theirs.connect().unwrap();
    expect_alive(client.as_ref(), theirs.end());
    drop((client, theirs));
    thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept());
        let client = there.connect(&returning(&name)).unwrap();
        expect_alive(client.as_ref(), accepting.join().unwrap().unwrap().as_ref());
    });
}

/// Whoever creates it meanwhile can't make its server deaf.
fn n9_a_name_without_its_header_is_taken(here: &dyn Surface) {
    let (name, there) = (unique(), Other::spawn(here));
    let listener = here.listen(&Spec::new(&name)).unwrap();
    for spec in [Spec::new(&name), Spec::new(&name).joining(), Spec::new(&name).messages()] {
        fs::remove_file(directory_of(&name).join("header")).unwrap();
        let fault = expect_refused(there.create(&spec), PipeErrorKind::NameTaken);
        assert!(fault.text.contains("a live process serves") && fault.text.contains("header"), "{fault}");
        thread::scope(|scope| {
            let accepting = blocked(scope, || listener.accept());
            let client = there.connect(&returning(&name)).unwrap();
            expect_alive(client.as_ref(), accepting.join().unwrap().unwrap().as_ref());
        });
    }
}

/// As a program that sees the directory by another view may put one there.
fn n9_a_header_of_another_pipe_is_noticed(here: &dyn Surface) {
    let name = unique();
    let instance = here.create(&Spec::new(&name)).unwrap();
    let path = directory_of(&name).join("header");
    let ours = fs::read_to_string(&path).unwrap();
    let (start, rest) = ours.split_once("incarnation ").unwrap();
    let theirs = format!("{start}incarnation {}{}", "0".repeat(8), &rest[8..]);
    for header in [theirs.as_str(), "no header"] {
        fs::write(&path, &ours).unwrap();
        thread::scope(|scope| {
            let connecting = blocked(scope, || instance.connect());
            // In one step, so that the server never finds none.
            let aside = directory_of(&name).join("aside");
            fs::write(&aside, header).unwrap();
            fs::rename(&aside, &path).unwrap();
            expect_refused(connecting.join().unwrap(), PipeErrorKind::Absent);
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), header);
    }
    fs::write(&path, &ours).unwrap();
}

fn n9_a_restored_name_counts_all_instances(here: &dyn Surface) {
    let (name, there) = (unique(), Other::spawn(here));
    let spec = Spec::new(&name).max(3);
    let listener = here.listen(&spec).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    let server = listener.accept().unwrap();
    thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept());
        remove_tree(&directory_of(&name));
        let second = there.connect(&returning(&name)).unwrap();
        expect_alive(second.as_ref(), accepting.join().unwrap().unwrap().as_ref());
        expect_alive(client.as_ref(), server.as_ref());
    });
    // The second connection has ended, the first has not, and one instance listens: one place is free.
    let one = there.create(&spec.clone().joining()).unwrap();
    expect_refused(there.create(&spec.clone().joining()), PipeErrorKind::Busy);
    let entry = pipework::list().unwrap().into_iter().find(|entry| entry.name.to_string().ends_with(&name));
    let entry = entry.unwrap();
    assert_eq!((entry.instances, entry.servers.len()), (3, 2), "{entry:?}");
    drop((one, listener));
    drop(server);
    assert_eq!(pipework::list().unwrap().len(), 0);
}

fn n9_all_processes_restore_their_part_of_a_name(here: &dyn Surface) {
    let name = unique();
    let there = [Other::spawn(here), Other::spawn(here)];
    let listeners = there.each_ref().map(|there| there.listen(&Spec::new(&name).joining()).unwrap());
    thread::scope(|scope| {
        let accepting: Vec<_> = std::iter::zip(&there, &listeners)
            .map(|(there, listener)| there.blocked(scope, || listener.accept()))
            .collect();
        remove_tree(&directory_of(&name));
        let mut clients = Vec::new();
        wait_until(|| {
            clients.extend(here.open(&OpenSpec::new(&name)));
            accepting.iter().all(ScopedJoinHandle::is_finished)
        });
        accepting.into_iter().for_each(|accepting| drop(accepting.join().unwrap().unwrap()));
    });
    let servers = pipework::list().unwrap().into_iter().map(|entry| entry.servers.len());
    assert_eq!(servers.collect::<Vec<_>>(), [2]);
}

/// What its server ends is not made anew by anything.
fn n9_an_ended_name_is_not_restored(here: &dyn Surface) {
    let name = unique();
    let listener = here.listen(&Spec::new(&name)).unwrap();
    remove_tree(&directory_of(&name));
    drop(listener);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
    let other = here.create(&Spec::new(&name).joining().messages()).unwrap();
    drop(other);
    assert!(!directory_of(&name).exists());
}

/// `find -mtime` and its kin look at the time of the last change.
fn n9_no_file_of_a_live_name_looks_old(here: &dyn Surface) {
    let begun = SystemTime::now() - Duration::from_secs(60);
    let name = unique();
    let listener = here.listen(&Spec::new(&name)).unwrap();
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    let server = listener.accept().unwrap();
    let files = everything_in(&pipes_dir());
    assert!(files.len() >= 4, "{files:?}");
    for (path, metadata) in files {
        assert!(metadata.modified().unwrap() >= begun, "{path:?} looks old");
        assert!(metadata.accessed().unwrap() >= begun, "{path:?} looks unused");
        let is_spared = metadata.is_dir() || metadata.mode() & 0o1000 != 0;
        assert!(is_spared || cfg!(not(target_os = "linux")), "{path:?} has no sticky bit");
    }
    expect_alive(client.as_ref(), server.as_ref());
}

fn everything_in(directory: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))).unwrap();
        if metadata.is_dir() {
            all.extend(everything_in(&path));
        }
        all.push((path, metadata));
    }
    all
}

/// A file time that is no count is not taken for one.
fn n9_a_count_that_something_changed_is_an_error() {
    let name = unique();
    let _served = NamedPipeBuilder::new(&name).max_instances(2).create().unwrap();
    for liveness in files_of(&name, &['s']) {
        let time = rustix::fs::Timespec { tv_sec: 1_700_000_000, tv_nsec: 123_456_789 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, &liveness, &times, flags).unwrap();
    }
    let error = NamedPipeBuilder::new(&name).first(false).max_instances(2).create().unwrap_err();
    expect(Err::<(), _>(error), PipeErrorKind::Corrupt);
    // It hides no pipe from a list, not even its own.
    let other = unique();
    let _other = NamedPipe::new(&other).unwrap();
    for (name, instances) in [(&name, 0), (&other, 1)] {
        let name = PipeName::new(name).unwrap();
        let entry = pipework::list().unwrap().into_iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(
            (entry.instances, entry.servers.len(), entry.listening),
            (instances, 1, Some(1)),
            "{entry:?}"
        );
    }
}

fn n9_a_listener_restores_its_socket() {
    let path = beside_pipes("it.sock");
    let listener = Listener::bind(&path).unwrap();
    thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept().unwrap());
        fs::remove_file(&path).unwrap();
        let _client = ClientOptions::new().wait_absent(true).connect(&path).unwrap();
        accepting.join().unwrap();
    });
    assert_eq!(listener.restorations(), 1);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    drop(listener);
    assert!(!path.exists());
}

fn n9_a_socket_that_another_server_took_stays_its_own() {
    let path = beside_pipes("it.sock");
    let listener = Listener::bind(&path).unwrap();
    let _theirs = thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept().map(drop));
        fs::remove_file(&path).unwrap();
        let theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        expect(accepting.join().unwrap(), PipeErrorKind::NameTaken);
        expect(listener.accept().map(drop), PipeErrorKind::NameTaken);
        theirs
    });
    drop(listener);
    assert!(path.exists(), "it is theirs");
    fs::remove_file(&path).unwrap();
}

/// A dead process has left a socket at the path, and a stopped one holds the lock under which such a socket is replaced.
fn n9_a_listener_that_only_looks_waits_for_no_lock() {
    let path = beside_pipes("it.sock");
    let listener = Listener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let lock = path.with_file_name(".it.sock.lock");
    let held = fs::File::create(&lock).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let looked = Instant::now();
        let error = listener.try_accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        assert!(looked.elapsed() < Duration::from_secs(5));
        poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).unwrap();
    }
    assert_eq!(listener.restorations(), 0);
    drop(held);
    fs::remove_file(&lock).unwrap();
    let _client = thread::scope(|scope| {
        let accepting = blocked(scope, || listener.accept().map(drop));
        let client = ClientOptions::new().wait_absent(true).connect(&path).unwrap();
        accepting.join().unwrap().unwrap();
        client
    });
    assert_eq!(listener.restorations(), 1);
}

/// With rules for the directory of names itself, for all of its parent, and for each directory in it.
#[cfg(target_os = "linux")]
fn n9_tmpfiles_leaves_live_names() {
    if std::process::Command::new("systemd-tmpfiles").arg("--version").output().is_err() {
        skip("needs systemd-tmpfiles");
    }
    let (name, path) = (unique(), beside_pipes("it.sock"));
    let other = format!("{name}-other");
    let (listener, socket) = (Listener::bind(&name).unwrap(), Listener::bind(&path).unwrap());
    let single = NamedPipe::new(&other).unwrap();
    let (pipes, parent) = (pipes_dir(), path.parent().unwrap());
    let rules = [
        format!("q {} - - - {{}}", parent.display()),
        format!("e {} - - - {{}}", pipes.display()),
        format!("d {} - - - {{}}", directory_of(&name).display()),
    ];
    for rule in rules {
        let idle = parent.join("idle");
        let also_idle = directory_of(&name).join("idle");
        let age = Duration::from_secs(2 * 3600);
        for file in [&idle, &also_idle] {
            fs::write(file, "").unwrap();
        }
        for (file, metadata) in everything_in(parent) {
            // The part of a second is a count.
            let time = rustix::fs::Timespec {
                tv_sec: metadata.mtime() - i64::try_from(age.as_secs()).unwrap(),
                tv_nsec: metadata.mtime_nsec(),
            };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, &file, &times, flags).unwrap();
        }
        let conf = pipes.with_file_name("rules.conf");
        fs::write(&conf, rule.replace("{}", "m:1h") + "\n").unwrap();
        let cleaning =
            std::process::Command::new("systemd-tmpfiles").arg("--clean").arg(&conf).output().unwrap();
        if idle.exists() && also_idle.exists() {
            skip(&format!("this systemd-tmpfiles cleans nothing here: {cleaning:?}"));
        }
        let _clients =
            [name.as_str(), path.to_str().unwrap()].map(|address| pipework::connect(address).unwrap());
        NamedPipe::wait(&other, Some(Duration::ZERO)).unwrap();
        drop((listener.accept().unwrap(), socket.accept().unwrap()));
        fs::remove_file(&idle).ok();
        fs::remove_file(&also_idle).ok();
        fs::remove_file(conf).ok();
    }
    drop(single);
}
