//! Watching the directory of pipes with inotify.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::warn;

use super::refresh::RefreshSignal;

/// The default directory of pipes that remote clients may open.
const SHARED_DIR: &str = "/run/pipework";
/// The environment variable that names another directory.
const DIR_VARIABLE: &str = "PIPEWORK_DIR";

/// A watch on the directory of pipes. Each change requests a refresh.
#[derive(Debug)]
pub(crate) struct PipeDirWatch {
    dir: PathBuf,
    refresh: Arc<RefreshSignal>,
    active: Option<ActiveWatch>,
    /// Whether a failed watch was logged.
    has_warned: bool,
}

#[derive(Debug)]
struct ActiveWatch {
    _watcher: RecommendedWatcher,
    /// Device and inode: they differ if the directory was removed and created again.
    identity: (u64, u64),
}

impl PipeDirWatch {
    pub(crate) fn new(refresh: Arc<RefreshSignal>) -> PipeDirWatch {
        PipeDirWatch { dir: shared_dir(), refresh, active: None, has_warned: false }
    }

    /// Starts the watch if the directory exists and is not watched yet. Without a watch, polling finds the changes.
    pub(crate) fn renew(&mut self) {
        let identity = fs::metadata(&self.dir).ok().map(|stat| (stat.dev(), stat.ino()));
        if self.active.as_ref().map(|active| active.identity) == identity {
            return;
        }
        self.active = None;
        let Some(identity) = identity else { return };
        match self.start() {
            Ok(watcher) => self.active = Some(ActiveWatch { _watcher: watcher, identity }),
            Err(error) if !self.has_warned => {
                warn!(dir = ?self.dir, %error, "can't watch for new pipes; polling every two seconds");
                self.has_warned = true;
            }
            Err(_) => {}
        }
    }

    fn start(&self) -> notify::Result<RecommendedWatcher> {
        let refresh = Arc::clone(&self.refresh);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // A refresh reads the directory, which is an event too. It must not request the next refresh.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                refresh.request();
            }
        })?;
        watcher.watch(&self.dir, RecursiveMode::Recursive)?;
        Ok(watcher)
    }
}

/// The directory of the pipes that may be exported.
fn shared_dir() -> PathBuf {
    let named = std::env::var_os(DIR_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| SHARED_DIR.into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{super::refresh::Wake, *};

    #[test]
    fn a_change_in_the_watched_directory_requests_a_refresh() {
        let parent = tempfile::tempdir().unwrap();
        let refresh = Arc::new(RefreshSignal::default());
        let mut watch = PipeDirWatch::new(Arc::clone(&refresh));
        watch.dir = parent.path().join("pipes");
        watch.renew();
        assert!(watch.active.is_none(), "nothing to watch");
        fs::create_dir(parent.path().join("pipes")).unwrap();
        watch.renew();
        let pipe = parent.path().join("pipes/one");
        fs::create_dir(&pipe).unwrap();
        assert_eq!(refresh.wait(Instant::now() + Duration::from_secs(60)), Wake::Refresh);
    }
}
