//! A server and a client, one of which has too little of something for its whole life.

use crate::{
    conversation::Conversation,
    home::{Home, PATIENCE, expect_end},
    journal::Entries,
    limit::Limit,
    plan::{Mode, Side, Surface},
};
use std::{fs, io, path::PathBuf};

/// What is short.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Short {
    /// Nothing that a caller may notice.
    Nothing,
    /// Of the victim only.
    Limit(Limit),
    /// Of both.
    Disk,
}

impl Short {
    fn explains(self, text: &str) -> bool {
        match self {
            Short::Nothing => false,
            Short::Limit(limit) => limit.explains(text),
            Short::Disk => text.contains("os error 28"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    victim: Side,
    surface: Surface,
    mode: Mode,
}

impl Pair {
    /// Each end on each of the ways to wait.
    pub(crate) fn all() -> Vec<Pair> {
        let pair = |victim, surface, mode| Pair { victim, surface, mode };
        vec![
            pair(Side::Server, Surface::Blocking, Mode::Messages),
            pair(Side::Server, Surface::EventLoop, Mode::Bytes),
            pair(Side::Server, Surface::AsyncListener, Mode::Messages),
            pair(Side::Client, Surface::Blocking, Mode::Messages),
            pair(Side::Client, Surface::EventLoop, Mode::Messages),
            pair(Side::Client, Surface::Async, Mode::Bytes),
        ]
    }

    /// Runs it, ends the shortage, and checks what is left. Returns whether the victim did everything.
    pub(crate) fn run(
        self,
        home: &Home,
        short: &Short,
        findings: &mut Vec<String>,
        end_shortage: impl FnOnce() -> io::Result<()>,
    ) -> bool {
        let mut found = Vec::new();
        let limit = if let Short::Limit(limit) = short { Some(*limit) } else { None };
        // A file may not grow then; a pipe may.
        let journal = limit.map_or_else(|| home.file("victim"), |_| PathBuf::from("/dev/stdout"));
        let victim = Conversation {
            once: true,
            limit,
            ..Conversation::new(self.victim, self.surface, self.mode, journal)
        };
        let survivor = self.surface.of_survivor(self.victim);
        let survivor = Conversation {
            once: true,
            ..Conversation::new(self.victim.other(), survivor, self.mode, home.file("survivor"))
        };
        let text = match self.victim {
            Side::Server => run_server(home, &victim, &survivor, &mut found),
            Side::Client => self.run_client(home, &victim, &survivor, &mut found),
        };
        if let Err(error) = end_shortage() {
            found.push(format!("the shortage does not end: {error}"));
        }
        home.use_name(self.mode, &mut found);
        let file = fs::read_to_string(home.file("victim")).unwrap_or_default();
        let has_done_all = self.judge(home, *short, &Entries::of(text + &file), &mut found);
        findings.extend(found.into_iter().map(|finding| format!("{self:?} {short:?}: {finding}")));
        has_done_all
    }

    fn run_client(
        self,
        home: &Home,
        victim: &Conversation,
        survivor: &Conversation,
        found: &mut Vec<String>,
    ) -> String {
        let mut server = home.start(&survivor.words());
        if !server.wait_for("ready", PATIENCE) {
            // Without a disk there is no server either; its error is the pair's.
            expect_end("server", server.finish(PATIENCE).0.is_some(), found);
            return why_not_started(&Entries::read(&home.file("survivor")), found);
        }
        let (status, text) = home.start(&victim.words()).finish(PATIENCE);
        expect_end("victim", status.is_some(), found);
        home.ask_to_quit(self.mode, found);
        expect_end("survivor", server.finish(PATIENCE).0.is_some(), found);
        text
    }

    fn judge(self, home: &Home, short: Short, victim: &Entries, found: &mut Vec<String>) -> bool {
        let survivor = Entries::read(&home.file("survivor"));
        for (name, entries) in [("victim", victim), ("survivor", &survivor)] {
            for bad in ["WRONG DATA", "LEAK", "Corrupt", "TimedOut"] {
                let line = entries.text().lines().find(|line| line.contains(bad));
                found.extend(line.map(|line| format!("{name}: {line}")));
            }
        }
        let stderr = fs::read_to_string(home.file("stderr")).unwrap_or_default();
        found.extend(stderr.lines().find(|line| line.contains("panicked")).map(str::to_owned));
        if victim.has("done") {
            return true;
        }
        // Rust ends a process whose allocator has no memory.
        let was_aborted =
            matches!(short, Short::Limit(Limit::Memory(_))) && stderr.contains("memory allocation");
        match victim.after("failed").next() {
            _ if was_aborted => {}
            Some(text) if short.explains(text) => {}
            Some(text) => found.push(format!("another error than that of the shortage: {text}")),
            None => found.push("the victim died".into()),
        }
        false
    }
}

/// The line of a server that failed before it was ready.
fn why_not_started(server: &Entries, found: &mut Vec<String>) -> String {
    let Some(why) = server.after("failed").next() else {
        found.push("the server did not start, and did not say why".into());
        return String::new();
    };
    format!("failed {why}\n")
}

fn run_server(
    home: &Home,
    victim: &Conversation,
    survivor: &Conversation,
    found: &mut Vec<String>,
) -> String {
    let mut server = home.start(&victim.words());
    let client = server.wait_for("ready", PATIENCE).then(|| home.start(&survivor.words()));
    let (status, text) = server.finish(PATIENCE);
    expect_end("victim", status.is_some(), found);
    if let Some(client) = client {
        expect_end("survivor", client.finish(PATIENCE).0.is_some(), found);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_explains_that_a_server_does_not_start() {
        let why = |journal: &str| {
            let mut found = Vec::new();
            let text = why_not_started(&Entries::of(journal.into()), &mut found);
            (Short::Disk.explains(&text), found.len())
        };
        assert_eq!(why("failed untyped (StorageFull): no room (os error 28)\n"), (true, 0));
        assert_eq!(why("failed untyped (Uncategorized): no files (os error 24)\n"), (false, 0));
        assert_eq!(why(""), (false, 1), "it hangs, or died");
    }
}
