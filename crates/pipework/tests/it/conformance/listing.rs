//! `list`: what it reports about the pipes that exist.

use std::path::Path;

use pipework::{NamedPipe, NamedPipeBuilder, PipeEntry, PipeErrorKind, PipeMode, PipeName, list};

use super::{Case, every, expect, pair, plain};
use crate::{
    child::Other,
    harness::{pipes_dir, unique},
    surface::{OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("list", list_tells_what_a_pipe_is),
        every("list", list_counts_instances_of_all_processes),
        every("list", list_counts_what_listens),
        every("list", list_forgets_killed_servers),
        every("list", list_removes_what_a_killed_server_left),
        plain("list", list_shows_names_as_they_were_given),
        plain("list", list_is_empty_without_pipes),
    ]
}

/// What is no pipe of this system.
#[cfg(unix)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![
        plain("list", list_leaves_plain_sockets_out),
        plain("list", list_removes_an_empty_directory),
        every("N6", n6_what_was_left_of_a_name_is_for_its_next_creator),
        every("list", list_leaves_another_version_alone),
        every("list", list_leaves_foreign_headers_alone),
    ]
}

#[track_caller]
fn entry(name: &str) -> PipeEntry {
    let name = PipeName::new(name).unwrap();
    let mut found: Vec<PipeEntry> = list().unwrap().into_iter().filter(|entry| entry.name == name).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Everything that the system says of it.
fn list_tells_what_a_pipe_is() {
    let name = unique();
    let _server = NamedPipeBuilder::new(&name)
        .pipe_mode(PipeMode::Message)
        .inbound(false)
        .max_instances(7)
        .create()
        .unwrap();
    let entry = entry(&name);
    assert!(!format!("{entry:?} {entry:#?}").is_empty());
    assert_eq!((entry.instances, entry.max_instances), (1, 7));
    assert_eq!(entry.location, PipeName::new(&name).unwrap().location().unwrap());
    if cfg!(unix) {
        assert_eq!(entry.mode, Some(PipeMode::Message));
        let directions = entry.directions.unwrap();
        assert_eq!((directions.inbound, directions.outbound), (false, true));
        assert_eq!(entry.listening, Some(1));
        assert_eq!(entry.servers, [std::process::id()]);
        assert!(entry.owner.is_some_and(|owner| !owner.is_empty()));
        assert!(entry.location.is_dir() && entry.location.starts_with(pipes_dir()), "{:?}", entry.location);
    }
}

/// Instances and servers of every process.
fn list_counts_instances_of_all_processes(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let spec = Spec::new(&name).joining();
    let _mine = here.create(&spec).unwrap();
    let theirs = [there.create(&spec).unwrap(), there.create(&spec).unwrap()];
    let both = entry(&name);
    assert_eq!(both.instances, 3);
    if cfg!(unix) {
        let mut servers = both.servers;
        servers.sort_unstable();
        let mut wanted = vec![std::process::id(), there.id()];
        wanted.sort_unstable();
        assert_eq!(servers, wanted);
    }
    drop(theirs);
    assert_eq!(entry(&name).instances, 1);
}

/// A connected instance does not listen, nor does one that a client has taken.
fn list_counts_what_listens(here: &dyn Surface) {
    let name = unique();
    let spec = Spec::new(&name).joining();
    let (server, client) = pair(here, &spec);
    let _listening = here.create(&spec).unwrap();
    let listening = || entry(&name).listening;
    if listening().is_some() {
        assert_eq!(listening(), Some(1));
        let _second = here.open(&OpenSpec::new(&name)).unwrap();
        assert_eq!(listening(), Some(0));
    }
    assert_eq!(entry(&name).instances, 2);
    drop((server, client));
    assert_eq!(entry(&name).instances, 1);
}

/// At once.
fn list_forgets_killed_servers(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let _mine = here.create(&Spec::new(&name)).unwrap();
    let _theirs = there.create(&Spec::new(&name).joining()).unwrap();
    assert_eq!(entry(&name).instances, 2);
    there.kill();
    let left = entry(&name);
    assert_eq!((left.instances, left.listening.unwrap_or(1)), (1, 1));
    if cfg!(unix) {
        assert_eq!(left.servers, [std::process::id()]);
    }
}

/// What nobody serves any more is not shown, and its files are gone.
fn list_removes_what_a_killed_server_left(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = there.create(&Spec::new(&name)).unwrap();
    let _client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    let _another = there.create(&Spec::new(&name).joining()).unwrap();
    let location = entry(&name).location;
    there.kill();
    let name = PipeName::new(&name).unwrap();
    assert!(!list().unwrap().iter().any(|entry| entry.name == name));
    if cfg!(unix) {
        assert!(!Path::new(&location).exists(), "{} is left", location.display());
    }
}

/// Odd ones too, and in any case of letters.
fn list_shows_names_as_they_were_given() {
    let names = [
        unique(),
        format!("{}-Gerät/../ x.", unique()),
        format!("{}-{}", unique(), "Ж".repeat(100)),
        format!("{}-{}", unique(), "x".repeat(200)),
    ];
    let _servers = names.each_ref().map(|name| NamedPipe::new(name).unwrap());
    for name in &names {
        assert_eq!(entry(name).name.to_string(), format!(r"\\.\pipe\{name}"));
        assert_eq!(entry(&name.to_uppercase()).name.to_string(), format!(r"\\.\pipe\{name}"));
    }
}

/// Not an error.
fn list_is_empty_without_pipes() {
    if cfg!(unix) {
        assert_eq!(list().unwrap().len(), 0);
    }
    let name = unique();
    drop(NamedPipe::new(&name).unwrap());
    expect(NamedPipe::wait(&name, None), PipeErrorKind::Absent);
    let name = PipeName::new(&name).unwrap();
    assert!(!list().unwrap().iter().any(|entry| entry.name == name));
}

/// They have no name of a pipe.
#[cfg(unix)]
fn list_leaves_plain_sockets_out() {
    let path = crate::harness::beside_pipes("socket");
    let listener = NamedPipeBuilder::new(&path).listen().unwrap();
    assert_eq!(list().unwrap().len(), 0);
    drop(listener);
}

/// As a process leaves it that is killed after it has removed the last file. Root may be about to give it away.
#[cfg(unix)]
fn list_removes_an_empty_directory() {
    use std::os::unix::fs::PermissionsExt;
    let directory = pipes_dir().join("empty");
    std::fs::create_dir(&directory).unwrap();
    assert!(list().unwrap().is_empty() && !directory.exists());
    std::fs::set_permissions(pipes_dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(&directory).unwrap();
    assert!(list().unwrap().is_empty());
    assert_eq!(directory.exists(), rustix::process::geteuid().is_root());
    if directory.exists() {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 60 * 60);
        std::fs::File::open(&directory).unwrap().set_modified(long_ago).unwrap();
        assert!(list().unwrap().is_empty() && !directory.exists());
    }
}

/// An empty directory, or all files of a killed server: it is absent, and neither a client nor the creator of another name
/// removes it.
#[cfg(unix)]
fn n6_what_was_left_of_a_name_is_for_its_next_creator(here: &dyn Surface) {
    use super::expect_refused;
    let (empty, full) = (unique(), unique());
    let place = |name: &str| PipeName::new(name).unwrap().location().unwrap();
    std::fs::create_dir(place(&empty)).unwrap();
    let there = Other::spawn(here);
    let _killed = there.create(&Spec::new(&full)).unwrap();
    there.kill();
    for name in [&empty, &full] {
        expect_refused(here.open(&OpenSpec::new(name)), PipeErrorKind::Absent);
        drop(here.create(&Spec::new(&unique())).unwrap());
        assert!(place(name).exists(), "{name} is not this creator's");
        drop(here.create(&Spec::new(name)).unwrap());
        assert!(!place(name).exists(), "{name} ended with its last instance");
    }
}

/// It is refused, for nobody knows what lives there; that program refuses this version's header likewise.
#[cfg(unix)]
fn list_leaves_another_version_alone(here: &dyn Surface) {
    use super::expect_refused;
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    let location = entry(&name).location;
    let header = std::fs::read_to_string(location.join("header")).unwrap();
    assert!(header.starts_with("pipework 2\n"), "{header}");
    drop(server);
    for version in ["1", "3"] {
        std::fs::create_dir(&location).unwrap();
        std::fs::write(location.join("header"), header.replacen('2', version, 1)).unwrap();
        std::fs::write(location.join("s-cran39tbfhe2vd32-sepjrk0p-0000sdn"), "").unwrap();
        let fault = list().unwrap_err();
        assert!(fault == PipeErrorKind::Unsupported, "{fault}");
        for fault in [
            expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Unsupported),
            expect_refused(here.create(&Spec::new(&name)), PipeErrorKind::Unsupported),
            expect_refused(here.listen(&Spec::new(&name)), PipeErrorKind::Unsupported),
            expect_refused(here.wait(&name, None), PipeErrorKind::Unsupported),
        ] {
            let text = format!("is a pipe of version {version}, and this program speaks version 2");
            assert!(fault.text.contains(&text), "{fault}");
        }
        assert_eq!(std::fs::read_dir(&location).unwrap().count(), 2, "nothing was removed");
        std::fs::remove_dir_all(&location).unwrap();
    }
}

/// Whatever else a user keeps in that directory: it hides no pipe, and a failed creation does not remove it either.
#[cfg(unix)]
fn list_leaves_foreign_headers_alone(here: &dyn Surface) {
    use super::expect_refused;
    let (name, file, directory, link) = (unique(), unique(), unique(), unique());
    let _server = here.create(&Spec::new(&name)).unwrap();
    // A long name has a directory of another name.
    let place = |name: &str| PipeName::new(name).unwrap().location().unwrap();
    let header = |name: &str| place(name).join("header");
    for name in [&file, &directory, &link] {
        std::fs::create_dir(place(name)).unwrap();
    }
    std::fs::write(header(&file), "#pragma once\n").unwrap();
    std::fs::create_dir(header(&directory)).unwrap();
    std::os::unix::fs::symlink("elsewhere", header(&link)).unwrap();
    for foreign in [&file, &directory, &link] {
        expect_refused(here.create(&Spec::new(foreign)), PipeErrorKind::Corrupt);
        expect_refused(here.open(&OpenSpec::new(foreign)), PipeErrorKind::Corrupt);
        assert_eq!(entry(&name).instances, 1);
        assert!(header(foreign).symlink_metadata().is_ok(), "{foreign} was removed");
        std::fs::remove_dir_all(place(foreign)).unwrap();
    }
}
