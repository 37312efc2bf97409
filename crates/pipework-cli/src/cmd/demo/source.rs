//! The file to send. It is never in memory as a whole.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use pipework::Canceller;
use sha2::{Digest as _, Sha256};

use crate::{cmd::demo::parameters::CHUNK_LEN, failure::Failure, output::filled};

/// A SHA-256.
pub(super) type Digest = [u8; 32];

/// The maximum that the measurement keeps in memory.
const WINDOW_LEN_MAX: usize = 16 << 20;

/// The file, with the length and digest that the clients have to receive.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    pub(super) digest: Digest,
}

impl Source {
    pub(super) fn open(
        path: PathBuf,
        interrupted: &Canceller,
        progress: &ProgressBar,
    ) -> Result<Source, Failure> {
        let explain = |error: io::Error| Failure::failed(format!("can't read {}: {error}", path.display()));
        let metadata = path.metadata().map_err(explain)?;
        if !metadata.is_file() {
            return Err(Failure::failed(format!("can't send {}: not a regular file", path.display())));
        }
        progress.set_message("hashing the file");
        progress.set_length(metadata.len());
        let mut hasher = Sha256::new();
        let len = read_chunks(&path, u64::MAX, |chunk| {
            hasher.update(chunk);
            progress.inc(u64::try_from(chunk.len()).unwrap_or(0));
            if interrupted.is_cancelled() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
        })
        .map_err(explain)?;
        Ok(Source { len, digest: hasher.finalize().into(), path })
    }

    /// Reads the file in chunks, up to the length that it had when its digest was computed.
    pub(super) fn read_chunks(&self, take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let len = read_chunks(&self.path, self.len, take)?;
        if len < self.len {
            return Err(io::Error::other(format!("{} was truncated while it was sent", self.path.display())));
        }
        Ok(())
    }

    /// The beginning of the file in whole chunks. A file shorter than a chunk is repeated to fill one.
    pub(super) fn window(&self) -> io::Result<Vec<u8>> {
        let mut window = Vec::new();
        let max = u64::try_from(WINDOW_LEN_MAX).unwrap_or(u64::MAX);
        File::open(&self.path)?.take(max).read_to_end(&mut window)?;
        if window.is_empty() {
            window.push(0);
        }
        while window.len() < CHUNK_LEN {
            window.extend_from_within(..);
        }
        window.truncate(window.len() / CHUNK_LEN * CHUNK_LEN);
        Ok(window)
    }
}

fn read_chunks(path: &Path, max: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut file = File::open(path)?.take(max);
    let mut buffer = vec![0; CHUNK_LEN];
    let mut total = 0_u64;
    loop {
        let len = match file.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        take(filled(&buffer, len))?;
        total = total.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
}
