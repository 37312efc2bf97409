//! What the journals of all processes, taken together, must show.

use crate::journal::{Direction, Entry, What, by_connection};
use std::{collections::HashMap, time::Duration};

/// When processes were killed, by their number, which the system may give to another later.
#[derive(Debug, Default)]
pub(crate) struct Kills(HashMap<u32, Vec<u64>>);

impl Kills {
    pub(crate) fn note(&mut self, process: u32, time: u64) {
        self.0.entry(process).or_default().push(time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    fn has(&self, process: u32) -> bool {
        self.0.contains_key(&process)
    }

    /// The last kill of this process before that time.
    fn last_before(&self, process: u32, time: u64) -> Option<u64> {
        self.0.get(&process)?.iter().copied().filter(|kill| *kill <= time).max()
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) connections: usize,
    pub(crate) frames: u64,
    /// Ends of pipes that survivors saw because of a kill.
    pub(crate) noticed: usize,
    pub(crate) longest_delay: Duration,
    /// Writes whose reader was killed too, so that it is not known.
    pub(crate) unknown: usize,
}

/// Checks that no frame was lost whose write returned while its reader lived.
pub(crate) fn judge(entries: &[Entry], kills: &Kills) -> Result<Figures, String> {
    let readers = by_connection(entries, &[What::Ended, What::Left]);
    let writers = by_connection(entries, &[What::Wrote]);
    let mut figures = Figures::default();
    for ((connection, direction), writer) in &writers {
        if *direction == Direction::ToServer {
            figures.connections += 1;
        }
        figures.frames += u64::from(writer.frames);
        match readers.get(&(*connection, *direction)) {
            // A client that leaves before the end has read all that it asked for.
            Some(reader) if reader.frames >= writer.frames => {}
            Some(reader) => return Err(format!("written and lost: {writer:?}, {reader:?}")),
            None if writer.frames == 0 => {}
            None if kills.has(writer.peer) => figures.unknown += 1,
            None => return Err(format!("written, and nobody saw it: {writer:?}")),
        }
    }
    for ((connection, direction), reader) in &readers {
        if *connection != u64::MAX && reader.frames > 0 && !writers.contains_key(&(*connection, *direction)) {
            // The first write may have been seen and its writer killed before it could write that down.
            if !kills.has(reader.peer) {
                return Err(format!("read, and nobody wrote it: {reader:?}"));
            }
        }
    }
    for reader in entries.iter().filter(|entry| entry.what == What::Ended) {
        match kills.last_before(reader.peer, reader.time) {
            Some(kill) => {
                figures.noticed += 1;
                figures.longest_delay = figures.longest_delay.max(Duration::from_nanos(reader.time - kill));
            }
            // A client closes of its own accord; a server never does.
            None if reader.direction == Direction::ToClient => {
                return Err(format!("an end of the pipe without a reason: {reader:?}"));
            }
            None => {}
        }
    }
    Ok(figures)
}
