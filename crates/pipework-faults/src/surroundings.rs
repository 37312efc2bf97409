//! Pairs of processes where something is short: the disk, memory, descriptors, watches.

use crate::{
    home::{Home, Tried},
    journal::now,
    limit::Limit,
    oom,
    pair::{Pair, Short},
    process::{CANNOT, INTERRUPTED, die_with_parent, is_interrupted, note_interrupts, say, this_program},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::{getgid, getuid},
};
use std::{
    fs, io,
    process::{ExitCode, Stdio},
    time::Duration,
};

/// Runs pairs in a shortage, and notes what it finds.
type Work = fn(&mut Vec<String>) -> Tried;

/// Each by its name.
const ALL: [(&str, Work); 6] = [
    ("descriptors", descriptors),
    ("file-size", file_size),
    ("memory", memory),
    ("disk", disk),
    ("inotify", inotify),
    ("oom", oom::run),
];

/// Their names, for the command line.
pub(crate) fn names() -> [&'static str; ALL.len()] {
    ALL.map(|(name, _)| name)
}

/// Runs each in a process of its own, since some change what the process sees of the system.
pub(crate) fn run(only: Option<&str>) -> ExitCode {
    note_interrupts();
    let (mut has_failed, mut has_passed, mut reason) = (false, false, String::new());
    for (name, _) in ALL.iter().filter(|(name, _)| only.is_none_or(|only| *name == only)) {
        let begun = now();
        let home = Home::new().unwrap();
        let words = ["surrounded".to_owned(), (*name).to_owned()];
        let mut command = this_program(&words, &home.pipes());
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}");
        let time = Duration::from_nanos(now() - begun);
        let verdict = match output.status.code() {
            Some(0) => "passed",
            Some(code) if code == i32::from(CANNOT) => "SKIPPED",
            _ => "FAILED",
        };
        has_failed |= verdict == "FAILED";
        has_passed |= verdict == "passed";
        reason = text.lines().next_back().unwrap_or_default().to_owned();
        println!("{verdict} {name} ({time:.1?})");
        if is_interrupted() {
            return ExitCode::from(INTERRUPTED);
        }
    }
    match (has_failed, has_passed) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        (false, false) => {
            println!("{reason}");
            ExitCode::from(CANNOT)
        }
    }
}

/// The process of one of them.
pub(crate) fn run_inside(what: &str) -> ExitCode {
    die_with_parent();
    if let Some(group) = what.strip_prefix("oom:") {
        return oom::run_victim(group);
    }
    let Some((_, work)) = ALL.iter().find(|(name, _)| *name == what) else { return ExitCode::from(2) };
    let mut findings = Vec::new();
    let tried = work(&mut findings);
    findings.iter().for_each(|finding| say(&format!("       {finding}")));
    match tried {
        Err(why) => {
            say(&format!("{what}: {why}"));
            ExitCode::from(CANNOT)
        }
        Ok(text) => {
            say(&format!("{what}: {text}"));
            if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// From less than what a process begins with, to enough.
fn descriptors(findings: &mut Vec<String>) -> Tried {
    with_limits((4..30).map(Limit::Descriptors), findings)
}

/// Shared memory is a file to the kernel, and longer than these.
fn file_size(findings: &mut Vec<String>) -> Tried {
    let lengths = [0, 1, 4095, 4096, 8192, 12_288, 16_384, 65_536, 100_000, 104_857, 131_072];
    with_limits(lengths.into_iter().map(Limit::FileSize), findings)
}

/// The harmless form of a system that promises no more memory than it has.
fn memory(findings: &mut Vec<String>) -> Tried {
    with_limits((0..24).map(|step| Limit::Memory(step * 32 * 1024)), findings)
}

fn with_limits(limits: impl Iterator<Item = Limit>, findings: &mut Vec<String>) -> Tried {
    let mut counts = [0; 2];
    for limit in limits {
        for pair in Pair::all() {
            let home = Home::new().map_err(|error| error.to_string())?;
            let has_done_all = pair.run(&home, &Short::Limit(limit), findings, || Ok(()));
            counts[usize::from(has_done_all)] += 1;
        }
    }
    expect_both(counts, findings);
    Ok(format!("{} pairs did everything, {} ended with the error of the shortage", counts[1], counts[0]))
}

/// A file system with few files, and one with few pages.
fn disk(findings: &mut Vec<String>) -> Tried {
    let is_root = getuid().is_root();
    let flags = if is_root { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    own_namespaces(flags | CloneFlags::CLONE_NEWNS)?;
    mount::<str, str, str, str>(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
        .map_err(|errno| format!("no private mounts: {errno}"))?;
    let sizes = (2..12).map(|inodes| format!("size=1m,nr_inodes={inodes}"));
    let sizes = sizes.chain((1..3).map(|pages| format!("size={}k,nr_inodes=100", 4 * pages)));
    let mut counts = [0; 2];
    for size in sizes {
        for pair in Pair::all() {
            let home = Home::new().map_err(|error| error.to_string())?;
            let remount = |options: &str, flags| {
                let options = format!("{options},mode=700");
                mount(Some("tmpfs"), &home.pipes(), Some("tmpfs"), flags, Some(options.as_str()))
            };
            remount(&size, MsFlags::empty()).map_err(|errno| format!("no tmpfs: {errno}"))?;
            let enlarge = || remount("size=1m,nr_inodes=100", MsFlags::MS_REMOUNT).map_err(io::Error::from);
            let has_done_all = pair.run(&home, &Short::Disk, findings, enlarge);
            counts[usize::from(has_done_all)] += 1;
            nix::mount::umount(&home.pipes()).map_err(|errno| errno.to_string())?;
        }
    }
    expect_both(counts, findings);
    Ok(format!("{} pairs did everything, {} found the disk full", counts[1], counts[0]))
}

/// A shortage that no pair noticed was none, and one that ended every pair hides what comes later.
fn expect_both([ended, did_everything]: [usize; 2], findings: &mut Vec<String>) {
    if ended == 0 {
        findings.push("no pair noticed the shortage: it had no effect".into());
    }
    if did_everything == 0 {
        findings.push("no pair did everything: the shortage is never over".into());
    }
}

/// Nothing can be watched: waits are polls then.
fn inotify(findings: &mut Vec<String>) -> Tried {
    own_namespaces(CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/sys/user/max_inotify_instances", "0").map_err(|error| format!("no limit: {error}"))?;
    if rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).is_ok() {
        return Err("the limit of a user namespace has no effect".into());
    }
    let mut count = 0;
    for pair in Pair::all() {
        let home = Home::new().map_err(|error| error.to_string())?;
        if pair.run(&home, &Short::Nothing, findings, || Ok(())) {
            count += 1;
        } else {
            findings.push(format!("{pair:?} did not do everything"));
        }
    }
    Ok(format!("{count} pairs did everything"))
}

/// Leaves the namespaces of the parent process. In a user namespace of its own this user is root.
fn own_namespaces(flags: CloneFlags) -> Result<(), String> {
    let (user, group) = (getuid(), getgid());
    unshare(flags).map_err(|errno| format!("no namespaces: {errno}"))?;
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        let write = |file: &str, text: String| {
            fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("{file}: {error}"))
        };
        write("setgroups", "deny".into())?;
        write("uid_map", format!("0 {user} 1"))?;
        write("gid_map", format!("0 {group} 1"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_ends_some_pairs_and_lets_others_do_everything() {
        let findings = |counts| {
            let mut findings = Vec::new();
            expect_both(counts, &mut findings);
            findings.len()
        };
        assert_eq!([findings([1, 1]), findings([0, 9]), findings([9, 0]), findings([0, 0])], [0, 1, 1, 2]);
    }
}
