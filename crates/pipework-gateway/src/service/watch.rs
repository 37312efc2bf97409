//! Noticing that pipes come and go.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::warn;

/// Where pipes live that callers of the network may open, unless the environment says otherwise.
const SHARED_ROOT: &str = "/run/pipework";
const ROOT_VARIABLE: &str = "PIPEWORK_DIR";

/// What wakes the thread that keeps the table.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rung {
    news: bool,
    stop: bool,
}

/// Why a wait at the bell has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    News,
    Time,
    Stop,
}

impl Bell {
    /// Something may have changed.
    pub(crate) fn ring(&self) {
        self.change(|state| state.news = true);
    }

    /// The service ends.
    pub(crate) fn stop(&self) {
        self.change(|state| state.stop = true);
    }

    /// Waits for news, which it takes, until `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> Woken {
        let mut state = self.lock();
        loop {
            if state.stop {
                return Woken::Stop;
            }
            if std::mem::take(&mut state.news) {
                return Woken::News;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::Time;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets time pass, whatever the news; whether the service goes on.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let goes_on = |state: &mut Rung| !state.stop;
        let rested = self.changed.wait_timeout_while(self.lock(), time, goes_on);
        !rested.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    fn change(&self, change: impl FnOnce(&mut Rung)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch on the directory of pipes, which rings the bell.
#[derive(Debug)]
pub(crate) struct Watch {
    root: PathBuf,
    bell: Arc<Bell>,
    watched: Option<Watched>,
    /// Whether the log knows that there can be no watch.
    has_complained: bool,
}

#[derive(Debug)]
struct Watched {
    _watcher: RecommendedWatcher,
    /// Tells the directory from one that was made in its place.
    identity: (u64, u64),
}

impl Watch {
    pub(crate) fn new(bell: Arc<Bell>) -> Watch {
        Watch { root: shared_root(), bell, watched: None, has_complained: false }
    }

    /// Begins to watch, if the directory is there and not watched yet. Where it can't be, changes are seen with the next look.
    pub(crate) fn keep(&mut self) {
        let identity = fs::metadata(&self.root).ok().map(|stat| (stat.dev(), stat.ino()));
        if self.watched.as_ref().map(|watched| watched.identity) == identity {
            return;
        }
        self.watched = None;
        let Some(identity) = identity else { return };
        match self.watch() {
            Ok(watcher) => self.watched = Some(Watched { _watcher: watcher, identity }),
            Err(error) if !self.has_complained => {
                warn!(root = ?self.root, %error, "can't be told of new pipes, so looks every two seconds");
                self.has_complained = true;
            }
            Err(_) => {}
        }
    }

    fn watch(&self) -> notify::Result<RecommendedWatcher> {
        let bell = Arc::clone(&self.bell);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at pipes is an event, too, and no news.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                bell.ring();
            }
        })?;
        watcher.watch(&self.root, RecursiveMode::Recursive)?;
        Ok(watcher)
    }
}

/// The directory in which pipes live that may be exported.
pub(crate) fn shared_root() -> PathBuf {
    let named = std::env::var_os(ROOT_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| SHARED_ROOT.into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_keeps_its_news_and_ends_its_waits() {
        let bell = Bell::default();
        let later = || Instant::now() + Duration::from_secs(60);
        assert_eq!(bell.wait(Instant::now()), Woken::Time);
        bell.ring();
        bell.ring();
        assert_eq!(bell.wait(later()), Woken::News);
        assert_eq!(bell.wait(Instant::now()), Woken::Time, "taken");
        assert!(bell.rest(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| bell.wait(later()));
            bell.stop();
            assert_eq!(waiting.join().unwrap(), Woken::Stop);
        });
        assert!(!bell.rest(Duration::from_secs(60)));
    }

    #[test]
    fn what_happens_in_a_watched_directory_rings() {
        let root = tempfile::tempdir().unwrap();
        let bell = Arc::new(Bell::default());
        let mut watch = Watch::new(Arc::clone(&bell));
        watch.root = root.path().join("pipes");
        watch.keep();
        assert!(watch.watched.is_none(), "nothing to watch");
        fs::create_dir(root.path().join("pipes")).unwrap();
        watch.keep();
        let pipe = root.path().join("pipes/one");
        fs::create_dir(&pipe).unwrap();
        assert_eq!(bell.wait(Instant::now() + Duration::from_secs(60)), Woken::News);
    }
}
