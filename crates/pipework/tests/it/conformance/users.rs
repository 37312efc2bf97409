//! A1 to A5 on Unix: what others may, and what modes and directories have to do with it. The cases about other users
//! need root, to become them.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use pipework::PipeErrorKind;

use super::{Case, access::expect_denied, every, expect, expect_alive, expect_refused, pair_with};
use crate::{
    child::Other,
    harness::{beside_pipes, needs_root, pipes_dir, skip, unique},
    surface::{Grant, Instance, OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("A1", a1_another_user_is_refused_unless_let_in),
        every("A1", a1_everyone_may_be_let_in),
        every("A1", a1_everyone_may_be_let_in_where_the_owner_alone_was),
        every("A1", a1_one_user_may_be_let_in),
        every("A1", a1_one_group_may_be_let_in),
        every("A1", a1_whoever_is_let_in_may_not_create_instances),
        every("A1", a1_nobody_is_let_in_where_memory_cannot_be_sealed),
        every("A2", a2_refusal_takes_no_instance_and_moves_no_byte),
        every("A3", a3_a_peer_of_another_user_is_told_apart),
        every("A4", a4_a_strangers_directory_is_not_trusted),
        every("A5", a5_the_mode_is_set_before_the_name_is_visible),
        every("A5", a5_another_user_never_gets_in_while_pipes_are_made),
        every("A5", a5_the_umask_changes_nothing),
        every("A5", a5_a_narrow_umask_keeps_nobody_out_who_was_let_in),
    ]
}

/// Two users that no machine has.
pub(super) const ONE: u32 = 12_345;
pub(super) const TWO: u32 = 12_346;

/// Lets other users look names up, as they can in a directory that serves several users.
pub(super) fn open_directory() {
    for path in [pipes_dir().parent().unwrap(), pipes_dir().as_path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Whether a pipe can serve several users here: its memory is sealed against a hostile one.
pub(super) const SERVES_OTHERS: bool = cfg!(all(target_os = "linux", not(pipework_portable)));

/// Skips the case where a pipe is for the processes of one user.
pub(super) fn needs_pipes_for_others() {
    if !SERVES_OTHERS {
        skip("needs memory that can be sealed, to share it with other users");
    }
}

/// A process of another user.
pub(super) fn other_user(here: &dyn Surface, user: u32, group: u32) -> Other {
    Other::spawn_with(here, |command| {
        command.uid(user).gid(group);
    })
}

/// Creates, where this file system can express the access that is asked for.
fn create_granting(here: &dyn Surface, spec: &Spec) -> Box<dyn Instance> {
    match here.create(spec) {
        Err(fault) if fault == PipeErrorKind::Unsupported => {
            skip("this file system has no access control lists")
        }
        result => result.unwrap(),
    }
}

/// A1: the default is the same user.
fn a1_another_user_is_refused_unless_let_in(here: &dyn Surface) {
    needs_root();
    open_directory();
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    let stranger = other_user(here, ONE, ONE);
    expect_denied(stranger.open(&OpenSpec::new(&name)));
    expect_denied(stranger.connect(&OpenSpec::new(&name)));
    expect_denied(stranger.connect_to(&name));
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// A1: everyone with an account.
fn a1_everyone_may_be_let_in(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let stranger = other_user(here, ONE, ONE);
    for spec in [Spec::new(&unique()), Spec::new(&unique()).messages()] {
        let (server, client) = pair_with(here, &stranger, &spec.grant(Grant::Everyone));
        expect_alive(client.as_ref(), server.end());
    }
    let name = unique();
    let listener = here.listen(&Spec::new(&name).grant(Grant::Everyone)).unwrap();
    for _ in 0..3 {
        let client = stranger.connect(&OpenSpec::new(&name)).unwrap();
        let server = listener.accept().unwrap();
        expect_alive(client.as_ref(), server.as_ref());
    }
}

/// A1: a directory that was left by a pipe for its owner alone keeps nobody out, and none is opened that has foreign files.
fn a1_everyone_may_be_let_in_where_the_owner_alone_was(here: &dyn Surface) {
    needs_pipes_for_others();
    open_directory();
    let name = unique();
    let directory = pipes_dir().join(&name);
    let mode = || fs::metadata(&directory).unwrap().mode() & 0o777;
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(directory.join("foreign"), "").unwrap();
    let spec = Spec::new(&name).grant(Grant::Everyone);
    let fault = expect_refused(here.create(&spec), PipeErrorKind::AccessDenied);
    assert!(fault.text.contains("chmod 0755") && mode() == 0o700, "{fault}");
    fs::remove_file(directory.join("foreign")).unwrap();
    let server = create_granting(here, &spec);
    assert_eq!(mode(), 0o755);
    drop(server);
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let _server = here.create(&Spec::new(&name)).unwrap();
    assert_eq!(mode(), 0o700);
}

/// A1: one user and no other.
fn a1_one_user_may_be_let_in(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let name = unique();
    let server = create_granting(here, &Spec::new(&name).grant(Grant::User(ONE.to_string())));
    expect_denied(other_user(here, TWO, ONE).open(&OpenSpec::new(&name)));
    let client = other_user(here, ONE, ONE).open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// A1: the members of one group.
fn a1_one_group_may_be_let_in(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let name = unique();
    let server = create_granting(here, &Spec::new(&name).grant(Grant::Group(ONE.to_string())));
    expect_denied(other_user(here, ONE, TWO).open(&OpenSpec::new(&name)));
    let client = other_user(here, TWO, ONE).open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// A1: access grants reading and writing; a client that could create instances could take the server's place.
fn a1_whoever_is_let_in_may_not_create_instances(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let name = unique();
    let spec = Spec::new(&name).grant(Grant::Everyone).joining();
    let _server = here.create(&spec).unwrap();
    let stranger = other_user(here, ONE, ONE);
    expect_denied(stranger.create(&spec));
    expect_denied(stranger.listen(&spec));
    expect_denied(stranger.create(&Spec::new(&unique())));
}

/// A1: what can't be kept makes creating fail.
fn a1_nobody_is_let_in_where_memory_cannot_be_sealed(here: &dyn Surface) {
    if SERVES_OTHERS {
        skip("this system seals memory");
    }
    let name = unique();
    for grant in [Grant::Everyone, Grant::User(ONE.to_string()), Grant::Group(ONE.to_string())] {
        expect_refused(here.create(&Spec::new(&name).grant(grant)), PipeErrorKind::Unsupported);
        expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
    }
}

/// A2: the one refused learns so at once; the server never hears of it.
fn a2_refusal_takes_no_instance_and_moves_no_byte(here: &dyn Surface) {
    needs_root();
    open_directory();
    let name = unique();
    let listener = here.listen(&Spec::new(&name).max(1)).unwrap();
    let stranger = other_user(here, ONE, ONE);
    for _ in 0..3 {
        expect_denied(stranger.open(&OpenSpec::new(&name)));
    }
    expect_refused(listener.accept_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    expect_alive(client.as_ref(), listener.accept().unwrap().as_ref());
}

/// A3: another user is one to both ends.
fn a3_a_peer_of_another_user_is_told_apart(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let stranger = other_user(here, ONE, TWO);
    let (server, client) = pair_with(here, &stranger, &Spec::new(&unique()).grant(Grant::Everyone));
    let peer = server.end().peer().unwrap();
    assert_eq!((peer.user_id, peer.process_id), (Some(ONE), Some(stranger.id())));
    assert_eq!(peer.group_ids.first(), Some(&TWO));
    assert!(!peer.same_user, "{peer:?}");
    let peer = client.peer().unwrap();
    assert_eq!((peer.user_id, peer.same_user), (Some(0), false));
}

/// A4: whoever owns the directory could serve any name in it.
fn a4_a_strangers_directory_is_not_trusted(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let directory = beside_pipes("strangers");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&directory, Some(ONE), Some(ONE)).unwrap();
    let in_directory = |user: u32| {
        Other::spawn_with(here, |command| {
            command.uid(user).gid(user).env(crate::harness::DIRECTORY_VARIABLE, &directory);
        })
    };
    let (owner, stranger) = (in_directory(ONE), in_directory(TWO));
    let name = unique();
    let server = owner.create(&Spec::new(&name).grant(Grant::Everyone)).unwrap();
    expect_denied(stranger.open(&OpenSpec::new(&name)));
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    drop(server);
    drop(owner);
    fs::remove_dir_all(directory).unwrap();
}

/// A5: whoever looks, at whatever moment, sees nothing that is open to others.
fn a5_the_mode_is_set_before_the_name_is_visible(here: &dyn Surface) {
    rustix::process::umask(rustix::fs::Mode::empty());
    let done = AtomicBool::new(false);
    let looks = thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0_u64;
            while !done.load(Ordering::Relaxed) {
                expect_private(&pipes_dir());
                looks += 1;
            }
            looks
        });
        for _ in 0..200 {
            let name = unique();
            let _one = here.create(&Spec::new(&name)).unwrap();
            let _two = here.create(&Spec::new(&name).joining()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        looking.join().unwrap()
    });
    assert!(looks > 0);
}

/// A directory of pipes in which every directory is for its owner alone.
fn expect_private(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        // What has gone in the meantime is not visible.
        let Ok(metadata) = entry.and_then(|entry| entry.metadata()) else { continue };
        assert_eq!(metadata.mode() & 0o077, 0, "{metadata:?}");
    }
}

/// A5: not in the first moment either.
fn a5_another_user_never_gets_in_while_pipes_are_made(here: &dyn Surface) {
    needs_root();
    open_directory();
    rustix::process::umask(rustix::fs::Mode::empty());
    let name = unique();
    let stranger = other_user(here, ONE, ONE);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let fault = stranger.open(&OpenSpec::new(&name)).map(drop).unwrap_err();
                assert!(fault == PipeErrorKind::AccessDenied || fault == PipeErrorKind::Absent, "{fault}");
            }
        });
        for _ in 0..300 {
            drop(here.create(&Spec::new(&name)).unwrap());
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A5: neither a wide one, which would let others in, nor a narrow one, which would keep the owner out.
fn a5_the_umask_changes_nothing(here: &dyn Surface) {
    let there = Other::spawn(here);
    for mask in [0o777, 0o077, 0] {
        there.umask(mask);
        let (server, client) = pair_with(&there, here, &Spec::new(&unique()));
        expect_alive(client.as_ref(), server.end());
    }
}

/// A5: for those who were let in, too.
fn a5_a_narrow_umask_keeps_nobody_out_who_was_let_in(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let there = Other::spawn(here);
    there.umask(0o777);
    let stranger = other_user(here, ONE, ONE);
    let (server, client) = pair_with(&there, &stranger, &Spec::new(&unique()).grant(Grant::Everyone));
    expect_alive(client.as_ref(), server.end());
}
