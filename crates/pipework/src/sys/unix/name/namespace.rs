//! Where names live: the directories that may be trusted with them.

use crate::error::{PipeErrorKind, context, fail};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    env, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Where pipes that others may open live; root's.
const SYSTEM_DIR: &str = "/run/pipework";
/// Names the one root to use, and no other.
const DIR_VARIABLE: &str = "PIPEWORK_DIR";

/// A directory of names.
#[derive(Debug)]
pub(crate) struct NameDir {
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
    /// Whether it belongs to this user, who may then create in it. Else it is root's.
    pub(crate) is_mine: bool,
    /// Whether other users can look names up in it.
    pub(crate) is_open: bool,
}

impl NameDir {
    pub(crate) fn try_clone(&self) -> io::Result<NameDir> {
        let (path, dir) = (self.path.clone(), self.dir.try_clone()?);
        Ok(NameDir { path, dir, is_mine: self.is_mine, is_open: self.is_open })
    }
}

/// A place where a root is or would be.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    /// Whether the parent must exist and be ours: another program has to make it.
    parent_is_mine: bool,
    /// Whether a directory of another user there is passed over rather than an error: anybody can make one.
    may_be_foreign: bool,
}

/// The user whose rights this process has.
pub(crate) fn my_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The trusted roots that exist, in the order in which names are looked up, and every place that was looked at.
pub(crate) fn existing() -> io::Result<(Vec<NameDir>, Vec<PathBuf>)> {
    let mut name_dirs: Vec<NameDir> = Vec::new();
    let mut places = Vec::new();
    for candidate in private_candidates().into_iter().chain(system_candidate()) {
        if let Some(name_dir) = candidate.open()?
            && name_dirs.iter().all(|other| other.path != name_dir.path)
        {
            name_dirs.push(name_dir);
        }
        if !places.contains(&candidate.path) {
            places.push(candidate.path);
        }
    }
    Ok((name_dirs, places))
}

/// Every place where names are looked up.
pub(crate) fn places() -> Vec<PathBuf> {
    private_candidates().into_iter().chain(system_candidate()).map(|candidate| candidate.path).collect()
}

/// The root in which this process creates pipes for this user; made if it is missing.
pub(crate) fn private() -> io::Result<NameDir> {
    for candidate in private_candidates() {
        if candidate.applies() {
            return candidate.make();
        }
    }
    Err(fail(
        PipeErrorKind::AccessDenied,
        "there is no directory in which a pipe could be made; set PIPEWORK_DIR",
    ))
}

/// The root in which pipes for other users are created.
pub(crate) fn shared() -> io::Result<NameDir> {
    let candidate = match private_candidates().pop() {
        Some(candidate) if env::var_os(DIR_VARIABLE).is_some() && !ignores_environment() => candidate,
        _ => Candidate { path: SYSTEM_DIR.into(), parent_is_mine: false, may_be_foreign: false },
    };
    if my_user() == 0 && candidate.path == Path::new(SYSTEM_DIR) {
        make_directory(&candidate.path, Mode::from_bits_truncate(0o755))?;
    }
    let name_dir = candidate.open()?.ok_or_else(|| {
        let path = candidate.path.display();
        fail(
            PipeErrorKind::AccessDenied,
            format!(
                "a pipe for other users lives in {path}, which root has to make: install -d -m 0755 {path}"
            ),
        )
    })?;
    if !name_dir.is_open {
        let path = name_dir.path.display();
        return Err(fail(
            PipeErrorKind::AccessDenied,
            format!(
                "other users can't reach {path}: let them with chmod 0711 {path}, or take another directory"
            ),
        ));
    }
    Ok(name_dir)
}

/// The place where a root of this process is or would be, without making it.
pub(crate) fn private_path() -> Option<PathBuf> {
    private_candidates().into_iter().find(Candidate::applies).map(|candidate| candidate.path)
}

fn private_candidates() -> Vec<Candidate> {
    let user = my_user();
    let named = if ignores_environment() { None } else { env::var_os(DIR_VARIABLE) };
    if let Some(path) = named.filter(|path| !path.is_empty()) {
        return vec![Candidate { path: path.into(), parent_is_mine: false, may_be_foreign: false }];
    }
    let mut candidates = Vec::new();
    let session = if ignores_environment() { None } else { env::var_os("XDG_RUNTIME_DIR") };
    if let Some(session) = session.map(PathBuf::from).filter(|path| path.is_absolute()) {
        candidates.push(Candidate {
            path: session.join("pipework"),
            parent_is_mine: true,
            may_be_foreign: false,
        });
    }
    let path = PathBuf::from(format!("/run/user/{user}/pipework"));
    candidates.push(Candidate { path, parent_is_mine: true, may_be_foreign: false });
    let path = PathBuf::from(format!("/tmp/pipework-{user}"));
    candidates.push(Candidate { path, parent_is_mine: false, may_be_foreign: true });
    candidates
}

fn system_candidate() -> Option<Candidate> {
    let named = env::var_os(DIR_VARIABLE).is_some_and(|path| !path.is_empty()) && !ignores_environment();
    let path = PathBuf::from(SYSTEM_DIR);
    (!named).then_some(Candidate { path, parent_is_mine: false, may_be_foreign: true })
}

pub(crate) fn ignores_environment() -> bool {
    super::super::os::is_privileged_start()
}

impl Candidate {
    /// Whether a root can be made here.
    fn applies(&self) -> bool {
        if !self.parent_is_mine {
            return true;
        }
        let parent =
            self.path.parent().and_then(|parent| rustix::fs::statat(CWD, parent, AtFlags::empty()).ok());
        parent.is_some_and(|parent| parent.st_uid == my_user())
    }

    fn make(&self) -> io::Result<NameDir> {
        if let Some(name_dir) = self.open()? {
            return Ok(name_dir);
        }
        make_directory(&self.path, Mode::RWXU)?;
        self.open()?.ok_or_else(|| {
            let path = self.path.display();
            fail(PipeErrorKind::AccessDenied, format!("{path} belongs to another user; set PIPEWORK_DIR"))
        })
    }

    /// Opens the root, if it is there and can be trusted.
    fn open(&self) -> io::Result<Option<NameDir>> {
        if !self.path.is_absolute() {
            let text = format!("PIPEWORK_DIR is `{}`; it has to be an absolute path", self.path.display());
            return Err(fail(PipeErrorKind::Invalid, text));
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let dir = match rustix::fs::openat(CWD, &self.path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return self.distrust("it is not a directory, or a symbolic link");
            }
            Err(Errno::ACCESS) => return self.distrust("this user may not read it"),
            Err(error) => return Err(context(format!("opening {}", self.path.display()), error)),
        };
        let stat = rustix::fs::fstat(&dir)?;
        let user = my_user();
        if stat.st_uid != user && stat.st_uid != 0 {
            return self.distrust(&format!("it belongs to user {}", stat.st_uid));
        }
        if others_may_write(&stat) {
            return self.distrust("others may write into it: chmod go-w");
        }
        let is_open = mode_of(&stat).contains(Mode::XOTH);
        Ok(Some(NameDir { path: self.path.clone(), dir, is_mine: stat.st_uid == user, is_open }))
    }

    fn distrust(&self, why: &str) -> io::Result<Option<NameDir>> {
        if self.may_be_foreign {
            return Ok(None);
        }
        let path = self.path.display();
        Err(fail(PipeErrorKind::AccessDenied, format!("{path} can't be trusted with pipes: {why}")))
    }
}

/// The permission bits.
pub(crate) fn mode_of(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

/// Whether others than the owner may write.
pub(crate) fn others_may_write(stat: &Stat) -> bool {
    mode_of(stat).intersects(Mode::WGRP | Mode::WOTH)
}

fn make_directory(path: &Path, mode: Mode) -> io::Result<()> {
    match rustix::fs::mkdirat(CWD, path, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(context(format!("making {}, where pipes live", path.display()), error)),
    }
}
