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
/// The mode that lets other users look pipes up: they open the directory, and watch it.
const OPEN: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

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

    /// The same for one directory, however its path is spelled.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        Ok(identity(&rustix::fs::fstat(&self.dir)?))
    }
}

/// A place where a root is or would be.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    /// Whether the parent must exist and be ours: another program has to make it.
    parent_is_mine: bool,
    on_distrust: OnDistrust,
}

/// What becomes of a place that can't be trusted with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDistrust {
    /// The user has asked for this place and no other.
    Fail,
    /// What another user has put there must not keep this one from all other places. What is the user's own can be mended.
    PassOverForeign,
    /// Names are looked up elsewhere too.
    PassOver,
}

/// The user whose rights this process has.
pub(crate) fn my_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The trusted roots that exist, in the order in which names are looked up, and every place that was looked at.
pub(crate) fn existing() -> io::Result<(Vec<NameDir>, Vec<PathBuf>)> {
    existing_among(private_candidates().into_iter().chain(system_candidate()))
}

fn existing_among(
    candidates: impl IntoIterator<Item = Candidate>,
) -> io::Result<(Vec<NameDir>, Vec<PathBuf>)> {
    let mut name_dirs: Vec<NameDir> = Vec::new();
    let mut places = Vec::new();
    for candidate in candidates {
        if let Some(name_dir) = candidate.open()? {
            // Mostly there is only one.
            let mut is_new = true;
            for other in &name_dirs {
                is_new &= other.identity()? != name_dir.identity()?;
            }
            if is_new {
                name_dirs.push(name_dir);
            }
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
    let mut reasons = Vec::new();
    for candidate in private_candidates() {
        if candidate.applies() {
            if let Some(name_dir) = candidate.make()? {
                return Ok(name_dir);
            }
            reasons.push(format!("{} is another user's", candidate.path.display()));
        }
    }
    let text = format!(
        "there is no directory in which a pipe could be made ({}); set PIPEWORK_DIR to a directory of yours",
        reasons.join(", ")
    );
    Err(fail(PipeErrorKind::AccessDenied, text))
}

/// The root in which pipes for other users are created.
pub(crate) fn shared() -> io::Result<NameDir> {
    shared_at(named_directory().unwrap_or_else(|| SYSTEM_DIR.into()))
}

fn shared_at(path: PathBuf) -> io::Result<NameDir> {
    let candidate = Candidate { path, parent_is_mine: false, on_distrust: OnDistrust::Fail };
    if my_user() == 0 && candidate.path == Path::new(SYSTEM_DIR) {
        make_directory(&candidate.path, OPEN)?;
    }
    let path = candidate.path.display();
    let name_dir = candidate.open()?.ok_or_else(|| {
        fail(
            PipeErrorKind::AccessDenied,
            format!(
                "a pipe for other users lives in {path}, which root has to make: install -d -m 0755 {path}"
            ),
        )
    })?;
    if !name_dir.is_open {
        return Err(fail(
            PipeErrorKind::AccessDenied,
            format!(
                "other users can't read {path}: let them with chmod 0755 {path}, or take another directory"
            ),
        ));
    }
    Ok(name_dir)
}

/// The place where a root of this process is or would be, without making it.
pub(crate) fn private_path() -> Option<PathBuf> {
    private_path_among(private_candidates())
}

fn private_path_among(candidates: Vec<Candidate>) -> Option<PathBuf> {
    let is_passed_over =
        |candidate: &Candidate| candidate.on_distrust != OnDistrust::Fail && candidate.is_foreign();
    candidates
        .into_iter()
        .find(|candidate| candidate.applies() && !is_passed_over(candidate))
        .map(|candidate| candidate.path)
}

/// The one directory that the environment names. An empty variable is as none.
fn named_directory() -> Option<PathBuf> {
    directory_in(DIR_VARIABLE)
}

/// The same if nothing is there: its name may be mistyped.
pub(crate) fn missing_named_directory() -> Option<PathBuf> {
    let is_missing = |path: &PathBuf| rustix::fs::stat(path).is_err_and(|error| error == Errno::NOENT);
    named_directory().filter(is_missing)
}

fn directory_in(variable: &str) -> Option<PathBuf> {
    let named = if ignores_environment() { None } else { env::var_os(variable) };
    named.filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn private_candidates() -> Vec<Candidate> {
    let user = my_user();
    if let Some(path) = named_directory() {
        return vec![Candidate { path, parent_is_mine: false, on_distrust: OnDistrust::Fail }];
    }
    let of_session = directory_in("XDG_RUNTIME_DIR").filter(|path| path.is_absolute());
    let of_user = PathBuf::from(format!("/run/user/{user}"));
    let sessions = of_session.into_iter().chain([of_user]);
    let mut candidates: Vec<Candidate> = sessions
        .map(|session| Candidate {
            path: session.join("pipework"),
            parent_is_mine: true,
            on_distrust: OnDistrust::PassOverForeign,
        })
        .collect();
    let path = PathBuf::from(format!("/tmp/pipework-{user}"));
    candidates.push(Candidate { path, parent_is_mine: false, on_distrust: OnDistrust::PassOverForeign });
    candidates
}

fn system_candidate() -> Option<Candidate> {
    let path = PathBuf::from(SYSTEM_DIR);
    let candidate = Candidate { path, parent_is_mine: false, on_distrust: OnDistrust::PassOver };
    named_directory().is_none().then_some(candidate)
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

    /// The root, made if it is missing; `None` where another user was quicker.
    fn make(&self) -> io::Result<Option<NameDir>> {
        if self.open()?.is_none() {
            make_directory(&self.path, Mode::RWXU)?;
        }
        Ok(self.open()?.filter(|name_dir| self.is_for_creating(name_dir)))
    }

    /// A root of root's holds names that root has given away. A user creates there only on request.
    fn is_for_creating(&self, name_dir: &NameDir) -> bool {
        name_dir.is_mine || self.on_distrust == OnDistrust::Fail
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
        if !may_own(stat.st_uid, user) {
            return self.distrust(&format!("it belongs to user {}", stat.st_uid));
        }
        if others_may_write(&stat) {
            return self.distrust("others may write into it: chmod go-w");
        }
        let is_open = mode_of(&stat).contains(Mode::ROTH | Mode::XOTH);
        Ok(Some(NameDir { path: self.path.clone(), dir, is_mine: stat.st_uid == user, is_open }))
    }

    /// Passes over what another user has put there, with or without pipes in it.
    fn distrust(&self, why: &str) -> io::Result<Option<NameDir>> {
        let path = self.path.display();
        match self.on_distrust {
            OnDistrust::PassOver => Ok(None),
            OnDistrust::PassOverForeign if self.is_foreign() => Ok(None),
            _ => Err(fail(PipeErrorKind::AccessDenied, format!("{path} can't be trusted with pipes: {why}"))),
        }
    }

    /// Whether what is there is not this user's, or not to be seen.
    fn is_foreign(&self) -> bool {
        match rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat.st_uid != my_user(),
            Err(error) => error != Errno::NOENT,
        }
    }
}

/// Whether a user may trust a directory of this owner.
fn may_own(owner: u32, user: u32) -> bool {
    owner == user || owner == 0
}

/// The same for one file or directory by all of its names.
pub(in crate::sys::unix) fn identity(stat: &Stat) -> (u64, u64) {
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the types differ between systems")]
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// The error of a call that the system refused at a path.
pub(in crate::sys::unix) fn refused(path: &Path, error: Errno) -> io::Error {
    let text = format!("{}", path.display());
    match error {
        Errno::ACCESS | Errno::PERM => crate::error::fail_from(PipeErrorKind::AccessDenied, text, error),
        _ => context(text, error),
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

/// Makes a directory with just this mode, also where the umask takes bits away.
fn make_directory(path: &Path, mode: Mode) -> io::Result<()> {
    let made = rustix::fs::mkdirat(CWD, path, mode).and_then(|()| {
        let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_right = mode_of(&stat).contains(mode);
        if is_right { Ok(()) } else { rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()) }
    });
    match made {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(context(format!("making {}, where pipes live", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::FdFlags;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    fn candidate(path: PathBuf, on_distrust: OnDistrust) -> Candidate {
        Candidate { path, parent_is_mine: true, on_distrust }
    }

    fn stat(path: &Path) -> Stat {
        rustix::fs::statat(CWD, path, AtFlags::empty()).unwrap()
    }

    #[test]
    fn a_directory_is_known_by_its_device_and_inode() {
        let home = tempfile::tempdir().unwrap();
        let metadata = home.path().metadata().unwrap();
        let name_dir = candidate(home.path().to_owned(), OnDistrust::Fail).open().unwrap().unwrap();
        assert_eq!(name_dir.identity().unwrap(), (metadata.dev(), metadata.ino()));
        assert_eq!(identity(&stat(home.path())), (metadata.dev(), metadata.ino()));
        assert_eq!(my_user(), metadata.uid());
    }

    #[test]
    fn a_place_is_opened_if_it_can_be_trusted() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pipes");
        let place = candidate(path.clone(), OnDistrust::PassOverForeign);
        assert!(place.open().unwrap().is_none());
        assert!(!place.is_foreign());
        let made = place.make().unwrap().unwrap();
        assert!(made.is_mine && !made.is_open && made.path == path);
        assert!(rustix::io::fcntl_getfd(&made.dir).unwrap().contains(FdFlags::CLOEXEC));
        for (mode, is_open) in [(0o755, true), (0o704, false), (0o701, false), (0o700, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(!others_may_write(&stat(&path)));
            assert_eq!(place.make().unwrap().unwrap().is_open, is_open, "{mode:o}");
        }
        for mode in [0o720, 0o702] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(others_may_write(&stat(&path)));
            let error = place.open().unwrap_err();
            assert!(error == PipeErrorKind::AccessDenied, "{mode:o}: {error}");
        }
        assert!(!place.is_foreign());
    }

    #[test]
    fn a_user_trusts_itself_and_root() {
        assert!(may_own(5, 5) && may_own(0, 5) && may_own(0, 0));
        assert!(!may_own(6, 5) && !may_own(5, 0));
    }

    #[test]
    fn a_user_creates_in_a_directory_of_roots_only_on_request() {
        let home = tempfile::tempdir().unwrap();
        let place = |on_distrust| candidate(home.path().to_owned(), on_distrust);
        let mut name_dir = place(OnDistrust::Fail).open().unwrap().unwrap();
        assert!(place(OnDistrust::PassOverForeign).is_for_creating(&name_dir));
        name_dir.is_mine = false;
        assert!(!place(OnDistrust::PassOverForeign).is_for_creating(&name_dir));
        assert!(place(OnDistrust::Fail).is_for_creating(&name_dir));
    }

    #[test]
    fn what_is_no_directory_is_not_trusted() {
        let home = tempfile::tempdir().unwrap();
        let (file, link) = (home.path().join("file"), home.path().join("link"));
        fs::write(&file, "").unwrap();
        symlink(home.path(), &link).unwrap();
        for path in [&file, &link] {
            for on_distrust in [OnDistrust::Fail, OnDistrust::PassOverForeign] {
                let error = candidate(path.clone(), on_distrust).open().unwrap_err();
                assert!(error == PipeErrorKind::AccessDenied, "{}: {error}", path.display());
            }
            assert!(candidate(path.clone(), OnDistrust::PassOver).open().unwrap().is_none());
        }
        // It can't be seen whose it is.
        let unseen = file.join("pipes");
        assert!(
            candidate(unseen.clone(), OnDistrust::Fail).open().unwrap_err() == PipeErrorKind::AccessDenied
        );
        let place = candidate(unseen, OnDistrust::PassOverForeign);
        assert!(place.open().unwrap().is_none());
        assert!(place.is_foreign());
        assert!(
            candidate("pipes".into(), OnDistrust::PassOver).open().unwrap_err() == PipeErrorKind::Invalid
        );
    }

    #[test]
    fn a_place_below_the_directory_of_a_session_applies_where_that_is_ours() {
        let home = tempfile::tempdir().unwrap();
        let mut place = candidate(home.path().join("pipes"), OnDistrust::PassOverForeign);
        assert!(place.applies());
        place.path = home.path().join("session/pipes");
        assert!(!place.applies());
        place.parent_is_mine = false;
        assert!(place.applies());
        place.make().unwrap_err();
    }

    #[test]
    fn one_directory_is_looked_up_once_by_whatever_paths() {
        let home = tempfile::tempdir().unwrap();
        let path = |leaf: &str| home.path().join(leaf);
        fs::create_dir_all(path("real/pipes")).unwrap();
        fs::create_dir(path("pipes")).unwrap();
        symlink(path("real"), path("link")).unwrap();
        let paths = ["real/pipes", "link/pipes", "absent", "pipes", "absent"].map(path);
        let candidates = paths.iter().cloned().map(|path| candidate(path, OnDistrust::PassOver));
        let (name_dirs, places) = existing_among(candidates).unwrap();
        let found: Vec<PathBuf> = name_dirs.into_iter().map(|name_dir| name_dir.path).collect();
        assert_eq!(found, [path("real/pipes"), path("pipes")]);
        assert_eq!(places, paths[..4]);
    }

    #[test]
    fn the_first_place_that_no_other_user_took_is_for_this_user() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        let free = home.path().join("pipes");
        // It can't be seen whose it is.
        let taken = home.path().join("file/pipes");
        let first = |on_distrust| {
            let mut first = candidate(taken.clone(), on_distrust);
            first.parent_is_mine = false;
            let absent = candidate(home.path().join("absent/pipes"), on_distrust);
            private_path_among(vec![absent, first, candidate(free.clone(), on_distrust)]).unwrap()
        };
        assert_eq!(first(OnDistrust::PassOverForeign), free);
        assert_eq!(first(OnDistrust::Fail), taken, "the user asked for it");
    }

    #[test]
    fn pipes_for_other_users_need_a_directory_that_they_can_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pipes");
        let error = shared_at(path.clone()).unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied && error.to_string().contains("install -d"), "{error}");
        make_directory(&path, Mode::RWXU).unwrap();
        let error = shared_at(path.clone()).unwrap_err();
        assert!(error == PipeErrorKind::AccessDenied && error.to_string().contains("chmod 0755"), "{error}");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert!(shared_at(path).unwrap().is_open);
    }

    #[test]
    fn a_directory_is_made_once_with_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pipes");
        for mode in [OPEN, Mode::RWXU] {
            make_directory(&path, mode).unwrap();
            assert_eq!(mode_of(&stat(&path)), OPEN);
        }
    }

    #[test]
    fn an_empty_variable_is_none() {
        assert_eq!(directory_in("PATH").unwrap().into_os_string(), env::var_os("PATH").unwrap());
        assert_eq!(directory_in("PIPEWORK_NO_SUCH_VARIABLE"), None);
    }

    #[test]
    fn names_are_looked_up_in_the_places_of_the_environment() {
        let named = env::var_os(DIR_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        assert!(!ignores_environment());
        assert_eq!(named_directory(), named);
        let (places, private) = (places(), private_path().unwrap());
        assert!(places.contains(&private));
        let Some(named) = named else {
            let user = my_user();
            let of_user = [format!("/run/user/{user}/pipework"), format!("/tmp/pipework-{user}")];
            assert!(of_user.iter().all(|path| places.contains(&path.into())), "{places:?}");
            assert_eq!(places.last().unwrap(), Path::new(SYSTEM_DIR));
            assert!(private.parent().unwrap().is_dir(), "{}", private.display());
            return;
        };
        assert_eq!(places, [named]);
    }

    #[test]
    fn an_error_of_access_is_one_for_callers_too() {
        let path = Path::new("/pipes");
        assert!(refused(path, Errno::PERM) == PipeErrorKind::AccessDenied);
        assert!(refused(path, Errno::ACCESS) == PipeErrorKind::AccessDenied);
        assert!(refused(path, Errno::IO) != PipeErrorKind::AccessDenied);
    }
}
