//! N6, A4 and A5 where a process sees the files of pipes otherwise than their servers do: without `/proc`, by another view of
//! the file system, by another path. The cases need root, to make mount namespaces.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::Duration,
};

use pipework::PipeErrorKind;

use super::{
    Case, every, expect_alive, expect_refused,
    users::{ONE, SERVES_OTHERS, TWO, needs_pipes_for_others, open_directory, other_user},
};
use crate::{
    child::Other,
    harness::{DIRECTORY_VARIABLE, beside_pipes, needs_root, pipes_dir, remove_tree, skip, unique},
    surface::{Grant, OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("N6", n6_without_proc_pipes_are_seen_and_stay),
        every("N6", n6_without_proc_a_long_path_is_unsupported_and_stays),
        every("N6", n6_a_thread_needs_no_first_thread),
        every("N6", n6_another_view_removes_nothing),
        every("N6", n6_what_an_overlay_left_is_removed_by_the_next),
        every("N6", n6_of_two_views_at_most_one_begins),
        every("N6", n6_a_bind_mount_is_no_other_view),
        every("N6", n6_fuse_removes_only_what_fuse_made),
        every("N9", n9_a_name_for_all_users_is_restored_where_they_look),
        every("socket", socket_by_fuse_is_not_replaced),
        every("A4", a4_one_directory_by_two_paths_is_one),
        every("A4", a4_what_another_user_put_in_the_way_is_passed_over),
        every("A4", a4_where_no_place_is_left_the_remedy_is_named),
        every("A4", a4_an_empty_variable_is_no_variable),
        every("A5", a5_a_narrow_umask_does_not_narrow_the_directory_of_all_users),
        every("A5", a5_what_is_advised_suffices),
        every("A5", a5_an_id_that_is_not_mapped_is_named),
    ]
}

/// Becomes this program. Its file was opened before, since its path may be hidden; so may `/proc`.
const BECOME: &str = "if [ -x \"$0\" ]; then exec \"$0\"; fi; exec /proc/self/fd/9";

/// A process in a mount namespace of its own, after a script has changed it.
fn in_namespace(here: &dyn Surface, script: &str, change: impl FnOnce(&mut Command)) -> Other {
    needs_root();
    let mut command = namespace(&format!("exec 9<\"$0\"\n{script}\n{BECOME}"));
    command.arg(std::env::current_exe().unwrap());
    change(&mut command);
    Other::spawn_by(here, command)
}

/// Changes a command to one whose pipes live there.
fn at(directory: &Path) -> impl Fn(&mut Command) {
    move |command| {
        command.env(DIRECTORY_VARIABLE, directory);
    }
}

fn namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script]);
    command
}

/// A process in the mount namespace of another one.
fn beside(here: &dyn Surface, other: &Other, user: u32, change: impl FnOnce(&mut Command)) -> Other {
    // It answers, so its namespace is there and has changed.
    other.list().unwrap();
    let enter = format!("nsenter --mount --target {}", other.id());
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("exec 9<\"$0\"; exec {enter} -- {}", as_user(user))]);
    command.arg(std::env::current_exe().unwrap());
    change(&mut command);
    Other::spawn_by(here, command)
}

/// The end of a command: the rest runs as another user.
fn as_user(user: u32) -> String {
    format!("setpriv --reuid {user} --regid {user} --clear-groups /proc/self/fd/9")
}

/// Skips the case where a script can't be run in a mount namespace of its own.
fn needs(script: &str, what: &str) {
    needs_root();
    let mut command = namespace(script);
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        _ => skip(&format!("needs {what}")),
    }
}

/// What hides `/proc`.
const NO_PROC: &str = "mount -t tmpfs none /proc";

fn needs_namespaces() {
    needs(NO_PROC, "a mount namespace of its own");
}

/// A name for a directory of its own, whose path is long where sockets have no other address.
const SHORT: &str = "p";

/// Both ends work.
fn expect_usable(server: &dyn Surface, client: &dyn Surface) {
    expect_usable_as(&unique(), server, client);
}

fn expect_usable_as(name: &str, server: &dyn Surface, client: &dyn Surface) {
    let instance = server.create(&Spec::new(name)).unwrap();
    let opened = client.open(&OpenSpec::new(name)).unwrap();
    instance.connect().unwrap();
    expect_alive(opened.as_ref(), instance.end());
}

/// The names of everything below a directory.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        }
    }
    found.sort();
    found
}

/// N6: what can't be seen is not dead. Where the path is short, it is seen.
fn n6_without_proc_pipes_are_seen_and_stay(here: &dyn Surface) {
    needs_namespaces();
    let blind = in_namespace(here, NO_PROC, |_| {});
    let name = unique();
    let server = here.create(&Spec::new(&name).max(3)).unwrap();
    let before = files(&pipes_dir());
    assert_eq!(blind.list().unwrap().len(), 1);
    expect_refused(blind.create(&Spec::new(&name)), PipeErrorKind::NameTaken);
    blind.wait(&name, Some(Duration::ZERO)).unwrap();
    assert_eq!(files(&pipes_dir()), before);
    let client = blind.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
    drop((client, server));
    expect_usable(here, &blind);
    expect_usable(&blind, here);
    expect_usable(&blind, &blind);
    let there = Other::spawn(here);
    let _left = there.create(&Spec::new(&name)).unwrap();
    there.kill();
    assert_eq!(blind.list().unwrap(), [""; 0]);
    assert_eq!(files(&pipes_dir()).len(), 1, "only the lock");
}

/// N6: where it can't be seen, that is an error of its own.
fn n6_without_proc_a_long_path_is_unsupported_and_stays(here: &dyn Surface) {
    needs_namespaces();
    let directory = beside_pipes(&"d".repeat(90));
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    let (there, blind) =
        (Other::spawn_with(here, at(&directory)), in_namespace(here, NO_PROC, at(&directory)));
    let name = unique();
    // Where files lock instances, no path may be so long.
    if SERVES_OTHERS {
        let server = there.create(&Spec::new(&name)).unwrap();
        let before = files(&directory);
        for fault in [
            blind.list().unwrap_err(),
            expect_refused(blind.open(&OpenSpec::new(&name)), PipeErrorKind::Unsupported),
            expect_refused(blind.wait(&name, Some(Duration::ZERO)), PipeErrorKind::Unsupported),
            expect_refused(blind.create(&Spec::new(&name)), PipeErrorKind::Unsupported),
            expect_refused(blind.create(&Spec::new(&unique())), PipeErrorKind::Unsupported),
        ] {
            assert!(fault.text.contains("where /proc is mounted"), "{fault}");
        }
        assert_eq!(files(&directory), before);
        let client = there.open(&OpenSpec::new(&name)).unwrap();
        server.connect().unwrap();
        expect_alive(client.as_ref(), server.end());
    } else {
        expect_refused(there.create(&Spec::new(&name)), PipeErrorKind::Invalid);
    }
    drop((there, blind));
    fs::remove_dir_all(directory).unwrap();
}

/// N6: the descriptors of a process are not to be seen at its number when its first thread has ended.
fn n6_a_thread_needs_no_first_thread(here: &dyn Surface) {
    let hide = "mount -t tmpfs none /proc/$$/fd";
    needs(hide, "a mount namespace of its own");
    // Too long for any other way.
    let directory = beside_pipes(&"d".repeat(if SERVES_OTHERS { 90 } else { 1 }));
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    let (there, headless) =
        (Other::spawn_with(here, at(&directory)), in_namespace(here, hide, at(&directory)));
    let name = unique();
    let _server = there.create(&Spec::new(&name)).unwrap();
    assert_eq!(headless.list().unwrap().len(), 1);
    expect_usable(&headless, &there);
    expect_usable(&there, &headless);
    drop((there, headless));
    fs::remove_dir_all(directory).unwrap();
}

/// N6: the kernel knows a socket by its inode, and an overlay has inodes of its own.
fn n6_another_view_removes_nothing(here: &dyn Surface) {
    let overlay = Overlay::new();
    let view = overlay.process(here);
    let (name, other) = (unique(), unique());
    let server = here.create(&Spec::new(&name)).unwrap();
    let before = files(&pipes_dir());
    assert_eq!(view.list().unwrap(), [""; 0]);
    for fault in [
        expect_refused(view.open(&OpenSpec::new(&name)), PipeErrorKind::Unsupported),
        expect_refused(view.connect(&OpenSpec::new(&name)), PipeErrorKind::Unsupported),
        expect_refused(view.wait(&name, Some(Duration::ZERO)), PipeErrorKind::Unsupported),
        expect_refused(view.create(&Spec::new(&name)), PipeErrorKind::Unsupported),
        expect_refused(view.create(&Spec::new(&name).joining()), PipeErrorKind::Unsupported),
    ] {
        assert!(fault.text.contains("another view") && fault.text.contains("remove"), "{fault}");
    }
    assert_eq!(files(&pipes_dir()), before);
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
    // By the view itself everything works, and the other way round nothing is removed either.
    expect_usable(&view, &view);
    let _theirs = view.create(&Spec::new(&other)).unwrap();
    expect_refused(here.create(&Spec::new(&other)), PipeErrorKind::Unsupported);
    assert_eq!(pipework::list().unwrap().len(), 1);
    drop(view.open(&OpenSpec::new(&other)).unwrap());
}

/// N6: as after a container was killed and started again.
fn n6_what_an_overlay_left_is_removed_by_the_next(here: &dyn Surface) {
    let overlay = Overlay::new();
    let view = overlay.process(here);
    let (left, again) = (unique(), unique());
    let _servers = [&left, &again].map(|name| view.create(&Spec::new(name)).unwrap());
    view.kill();
    expect_refused(here.create(&Spec::new(&again)), PipeErrorKind::Unsupported);
    let view = overlay.process(here);
    drop(view.create(&Spec::new(&again)).unwrap());
    assert_eq!(view.list().unwrap(), [""; 0]);
    assert_eq!(files(&pipes_dir()).len(), 1, "only the lock");
}

/// N6: their locks do not exclude each other.
fn n6_of_two_views_at_most_one_begins(here: &dyn Surface) {
    let overlay = Overlay::new();
    let sides = [overlay.process(here), Other::spawn(here)];
    let mut begun = 0;
    for _ in 0..100 {
        let name = unique();
        let start = Barrier::new(sides.len());
        let create = |side: &Other| {
            start.wait();
            side.create(&Spec::new(&name))
        };
        let created: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = sides.iter().map(|side| scope.spawn(|| create(side).ok())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(created.iter().flatten().count() <= 1, "two servers of one name");
        for (side, instance) in sides.iter().zip(&created) {
            if let Some(instance) = instance {
                let client = side.open(&OpenSpec::new(&name)).unwrap();
                instance.connect().unwrap();
                expect_alive(client.as_ref(), instance.end());
                begun += 1;
            }
        }
        drop(created);
        // Each removes what it made.
        for side in &sides {
            side.list().unwrap();
        }
        assert_eq!(files(&pipes_dir()).len(), 1, "only the lock");
    }
    assert!(begun > 0, "one at least comes alone");
}

/// An overlay over the directory of pipes.
struct Overlay {
    mount: String,
    view: PathBuf,
}

impl Overlay {
    fn new() -> Overlay {
        let [view, lower, work] = ["view", "lower", "work"].map(beside_pipes);
        for directory in [&view, &lower, &work] {
            fs::create_dir(directory).unwrap();
        }
        let mount = format!(
            "mount -t overlay overlay -o lowerdir={},upperdir={},workdir={} {}",
            lower.display(),
            pipes_dir().display(),
            work.display(),
            view.display()
        );
        needs(&mount, "overlayfs, over the directory for temporary files");
        Overlay { mount, view }
    }

    /// A process that sees the pipes by it alone.
    fn process(&self, here: &dyn Surface) -> Other {
        in_namespace(here, &self.mount, at(&self.view))
    }
}

/// N6: the files of a bind mount have the same inodes.
fn n6_a_bind_mount_is_no_other_view(here: &dyn Surface) {
    let view = beside_pipes("view");
    fs::create_dir(&view).unwrap();
    let mount = format!("mount --bind {} {}", pipes_dir().display(), view.display());
    needs(&mount, "a mount namespace of its own");
    let bound = in_namespace(here, &mount, at(&view));
    expect_usable(here, &bound);
    expect_usable(&bound, here);
    let name = unique();
    let _left = bound.create(&Spec::new(&name)).unwrap();
    bound.kill();
    drop(here.create(&Spec::new(&name)).unwrap());
}

/// The directory of pipes by FUSE, and a process to which it leads.
fn by_fuse(here: &dyn Surface) -> (PathBuf, Other) {
    needs_root();
    let view = beside_pipes("view");
    fs::create_dir(&view).unwrap();
    let paths = format!("{} {}", pipes_dir().display(), view.display());
    needs(&format!("bindfs {paths}; umount {}", view.display()), "bindfs");
    // In the foreground: it ends with the case.
    let mount = format!(
        "bindfs -f {paths} >/dev/null 2>&1 </dev/null & until mountpoint -q {}; do :; done",
        view.display()
    );
    let far = in_namespace(here, &mount, at(&view));
    (view, far)
}

/// A plain socket does not say by which view it was bound, and by FUSE another view is likely.
fn socket_by_fuse_is_not_replaced(here: &dyn Surface) {
    let (view, far) = by_fuse(here);
    let path = view.join("plain.sock");
    let spec = Spec::new(path.to_str().unwrap());
    let farther = beside(here, &far, 0, at(&view));
    let _left = farther.listen(&spec).unwrap();
    farther.kill();
    let fault = expect_refused(far.listen(&spec), PipeErrorKind::Unsupported);
    assert!(fault.text.contains("remove it if none does"), "{fault}");
    let left = pipes_dir().join("plain.sock");
    fs::remove_file(left).unwrap();
    drop(far.listen(&spec).unwrap());
}

/// N6: a file system that a program serves has inodes of its own too.
fn n6_fuse_removes_only_what_fuse_made(here: &dyn Surface) {
    let (view, far) = by_fuse(here);
    let (name, left) = (unique(), unique());
    let _server = here.create(&Spec::new(&name)).unwrap();
    let before = files(&pipes_dir());
    assert_eq!(far.list().unwrap(), [""; 0]);
    expect_refused(far.create(&Spec::new(&name)), PipeErrorKind::Unsupported);
    expect_refused(far.open(&OpenSpec::new(&name)), PipeErrorKind::Unsupported);
    assert_eq!(files(&pipes_dir()), before);
    drop(here.open(&OpenSpec::new(&name)).unwrap());
    let before = files(&pipes_dir());
    let farther = beside(here, &far, 0, at(&view));
    expect_usable(&far, &farther);
    let _left = farther.create(&Spec::new(&left)).unwrap();
    farther.kill();
    expect_refused(here.create(&Spec::new(&left)), PipeErrorKind::Unsupported);
    drop(far.create(&Spec::new(&left)).unwrap());
    assert_eq!(files(&pipes_dir()), before, "the same mount has removed it");
}

/// Changes a command to that of a user whose session's directory is this one.
fn in_session(directory: &Path) -> impl Fn(&mut Command) {
    move |command| {
        command.env_remove(DIRECTORY_VARIABLE).env("XDG_RUNTIME_DIR", directory);
    }
}

/// A script that makes `/run` and `/tmp` empty but for `/run/user/UID` of two users.
fn empty_run() -> String {
    format!(
        "mount -t tmpfs -o mode=755 none /run; mount -t tmpfs -o mode=1777 none /tmp\n\
         install -d -m 700 /run/user/0; chmod 755 /run/user\n\
         install -d -m 700 -o {ONE} /run/user/{ONE}\n"
    )
}

/// A4: a creator would wait for the lock that it has itself.
fn a4_one_directory_by_two_paths_is_one(here: &dyn Surface) {
    needs(&empty_run(), "a mount namespace of its own");
    let script =
        format!("{}ln -s /run/user/0 /run/link; install -d -m 700 /run/user/0/pipework", empty_run());
    let linked = in_namespace(here, &script, in_session(Path::new("/run/link")));
    let straight = beside(here, &linked, 0, in_session(Path::new("/run/user/0")));
    expect_usable(&linked, &straight);
    expect_usable(&straight, &linked);
    let name = unique();
    let _one = linked.create(&Spec::new(&name).joining()).unwrap();
    let _two = straight.create(&Spec::new(&name).joining()).unwrap();
    let _three = linked.create(&Spec::new(&name).joining()).unwrap();
    expect_refused(straight.create(&Spec::new(&name)), PipeErrorKind::NameTaken);
    assert_eq!(linked.list().unwrap().len(), 1);
}

/// A4: whatever it is, and with or without pipes in it.
fn a4_what_another_user_put_in_the_way_is_passed_over(here: &dyn Surface) {
    needs(&format!("{}setpriv --reuid {ONE} true", empty_run()), "a mount namespace, and setpriv");
    let session = "install -d -m 1777 /run/all; cd /run/all";
    for (what, user) in [
        (format!("install -d -m 755 -o {TWO} pipework"), ONE),
        (format!("install -d -m 700 -o {TWO} pipework"), ONE),
        (format!("install -d -m 755 -o {TWO} pipework pipework/pipe; touch pipework/pipe/header"), ONE),
        (format!("ln -s / pipework; chown -h {TWO} pipework"), ONE),
        (format!("touch pipework; chown {TWO} pipework"), ONE),
        ("install -d -m 700 pipework".to_owned(), ONE),
        (format!("install -d -m 755 -o {TWO} pipework"), 0),
        (format!("ln -s /run/user/0 pipework; chown -h {TWO} pipework"), 0),
    ] {
        let script = format!("{}{session}\n{what}\nexec {}", empty_run(), as_user(user));
        let there = in_namespace(here, &script, in_session(Path::new("/run/all")));
        assert_eq!(there.list().unwrap(), [""; 0], "{what}");
        expect_usable_as(SHORT, &there, &there);
        expect_refused(there.open(&OpenSpec::new(&unique())), PipeErrorKind::Absent);
    }
    // A session of another user, as after `su`.
    let script = format!("{}exec {}", empty_run(), as_user(ONE));
    let there = in_namespace(here, &script, in_session(Path::new("/run/user/0")));
    expect_usable_as(SHORT, &there, &there);
}

/// A4: there is a remedy.
fn a4_where_no_place_is_left_the_remedy_is_named(here: &dyn Surface) {
    needs(&format!("{}setpriv --reuid {TWO} true", empty_run()), "a mount namespace, and setpriv");
    let script =
        format!("{}install -d -m 755 -o {ONE} /tmp/pipework-{TWO}\nexec {}", empty_run(), as_user(TWO));
    let there = in_namespace(here, &script, in_session(Path::new("/run/user/0")));
    assert_eq!(there.list().unwrap(), [""; 0]);
    let fault = expect_refused(there.create(&Spec::new(&unique())), PipeErrorKind::AccessDenied);
    for part in [&format!("/tmp/pipework-{TWO} is another user's"), "set PIPEWORK_DIR"] {
        assert!(fault.text.contains(part), "{fault}");
    }
}

/// A4: everywhere.
fn a4_an_empty_variable_is_no_variable(here: &dyn Surface) {
    needs(&empty_run(), "a mount namespace of its own");
    let there = in_namespace(here, &empty_run(), |command| {
        command.env(DIRECTORY_VARIABLE, "").env("XDG_RUNTIME_DIR", "");
    });
    let root = Path::new("/proc").join(there.id().to_string()).join("root/run");
    let _private = there.create(&Spec::new(SHORT)).unwrap();
    assert!(root.join("user/0/pipework").join(SHORT).is_dir());
    if SERVES_OTHERS {
        let name = unique();
        let _shared = there.create(&Spec::new(&name).grant(Grant::Everyone)).unwrap();
        assert!(root.join("pipework").join(&name).is_dir());
    }
}

/// A5: root makes it as it has to be.
fn a5_a_narrow_umask_does_not_narrow_the_directory_of_all_users(here: &dyn Surface) {
    needs_pipes_for_others();
    needs(&format!("{}setpriv --reuid {TWO} true", empty_run()), "a mount namespace, and setpriv");
    for mask in ["077", "027", "777"] {
        let script = format!("{}umask {mask}", empty_run());
        let server = in_namespace(here, &script, in_session(Path::new("/run/user/0")));
        let name = unique();
        let instance = server.create(&Spec::new(&name).grant(Grant::Everyone)).unwrap();
        let client = beside(here, &server, TWO, in_session(Path::new("/run/user/0")));
        let opened = client.open(&OpenSpec::new(&name)).unwrap();
        instance.connect().unwrap();
        expect_alive(opened.as_ref(), instance.end());
        // Its own is for itself, and made as it has to be too.
        expect_usable(&server, &server);
    }
}

/// N9: also by a listener that asked for a pipe of its own user, and joined one of all users.
fn n9_a_name_for_all_users_is_restored_where_they_look(here: &dyn Surface) {
    needs_pipes_for_others();
    needs(&format!("{}setpriv --reuid {TWO} true", empty_run()), "a mount namespace, and setpriv");
    let session = || in_session(Path::new("/run/user/0"));
    let (name, server) = (unique(), in_namespace(here, &empty_run(), session()));
    let _first = server.create(&Spec::new(&name).grant(Grant::Everyone)).unwrap();
    let listener = server.listen(&Spec::new(&name).joining()).unwrap();
    let client = beside(here, &server, TWO, session());
    let root = Path::new("/proc").join(server.id().to_string()).join("root/run");
    thread::scope(|scope| {
        let accepting = scope.spawn(|| listener.accept());
        remove_tree(&root.join("pipework").join(&name));
        let opened = client.connect(&OpenSpec::new(&name).wait_absent()).unwrap();
        expect_alive(opened.as_ref(), accepting.join().unwrap().unwrap().as_ref());
    });
    assert!(!root.join("user/0/pipework").join(&name).exists());
}

/// A5: as a second user finds.
fn a5_what_is_advised_suffices(here: &dyn Surface) {
    needs_pipes_for_others();
    needs_root();
    open_directory();
    let spec = Spec::new(&unique()).grant(Grant::Everyone);
    let stranger = other_user(here, ONE, ONE);
    for mode in [0o700, 0o711, 0o744] {
        fs::set_permissions(pipes_dir(), fs::Permissions::from_mode(mode)).unwrap();
        let fault = expect_refused(here.create(&spec), PipeErrorKind::AccessDenied);
        let advice = format!("chmod 0755 {}", pipes_dir().display());
        assert!(fault.text.contains(&advice), "{fault}");
    }
    fs::set_permissions(pipes_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = here.create(&spec).unwrap();
    let client = stranger.connect(&OpenSpec::new(&spec.name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
    assert_eq!(stranger.list().unwrap().len(), 1);
}

/// A5: the kernel only says that an argument is invalid.
fn a5_an_id_that_is_not_mapped_is_named(here: &dyn Surface) {
    needs_pipes_for_others();
    needs("unshare --user --map-root-user true", "a user namespace");
    let directory = beside_pipes("mapped");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap());
    command.env(DIRECTORY_VARIABLE, &directory);
    let mapped = Other::spawn_by(here, command);
    for grant in [Grant::Group(ONE.to_string()), Grant::User(ONE.to_string())] {
        let fault = mapped.create(&Spec::new(&unique()).grant(grant)).map(drop).unwrap_err();
        if fault == PipeErrorKind::Unsupported {
            skip("this file system has no access control lists");
        }
        assert!(fault == PipeErrorKind::Invalid && fault.text.contains("not mapped"), "{fault}");
    }
    assert_eq!(files(&directory).len(), 1, "only the lock");
    fs::remove_dir_all(directory).unwrap();
}
