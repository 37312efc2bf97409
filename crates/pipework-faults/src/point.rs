//! Runs one point, and judges what came of it.

use crate::{
    conversation::Conversation,
    home::{Home, PATIENCE, SOON, expect_end},
    inject::{self, Report},
    journal::Entries,
    plan::{Fault, Setup, Side, Surface},
    process::CANNOT,
};
use std::{fs, io, time::Duration};

/// More connections than a conversation has, with all retries.
const CONNECTIONS: u8 = 8;
/// How a survivor sees that its peer has died.
const ENDS: [&str; 6] =
    ["Broken", "NoData", "NotConnected", "Absent", "untyped (UnexpectedEof)", "untyped (BrokenPipe)"];

/// What came of a point.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// What was not as it must be.
    pub(crate) findings: Vec<String>,
    /// How many calls of the victim returned an error.
    pub(crate) errors: usize,
    /// How long after the kill the survivor saw it.
    pub(crate) notice: Option<Duration>,
    /// Both journals and all that was printed, for a reader.
    pub(crate) log: String,
}

impl Outcome {
    /// Whether nothing but the time is wrong, which a busy machine explains.
    pub(crate) fn is_only_late(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|finding| finding.starts_with("late"))
    }
}

/// Counts the calls of a step: a run without a fault.
pub(crate) fn count(setup: Setup) -> io::Result<Outcome> {
    run(setup, None)
}

/// Runs a conversation, with the fault at that call if one is given.
pub(crate) fn run(setup: Setup, at: Option<(u32, Fault)>) -> io::Result<Outcome> {
    let home = Home::new()?;
    let is_kill = at.is_some_and(|(_, fault)| fault.is_kill());
    let end = |side, surface, journal| Conversation::new(side, surface, setup.mode, home.file(journal));
    let victim = Conversation { step: Some(setup.step), ..end(setup.victim, setup.surface, "victim") };
    let survivor = setup.surface.of_survivor(setup.victim);
    let survivor = Conversation { once: is_kill, ..end(setup.victim.other(), survivor, "survivor") };
    let run = Run { home: &home, setup, is_kill };
    let outcome = match setup.victim {
        Side::Server => run.with_server_as_victim(&inject::words(&victim, at), &survivor.words()),
        Side::Client => run.with_client_as_victim(&inject::words(&victim, at), &survivor.words()),
    };
    let mut judge = Judge { home: &home, setup, findings: outcome.findings, notice: None };
    let report = Report::parse(&outcome.victim_text);
    if report.end == CANNOT.to_string() {
        return Err(inject::not_permitted());
    }
    judge.judge(&report, is_kill && report.killed.is_some());
    let read = |name: &str| fs::read_to_string(home.file(name)).unwrap_or_default();
    let log = format!(
        "-- victim\n{}{}-- survivor\n{}-- stderr\n{}",
        read("victim"),
        outcome.victim_text,
        read("survivor"),
        read("stderr")
    );
    let errors = Entries::read(&home.file("victim")).after("error").count();
    Ok(Outcome { report, findings: judge.findings, errors, notice: judge.notice, log })
}

/// A run in progress.
struct Run<'a> {
    home: &'a Home,
    setup: Setup,
    is_kill: bool,
}

struct Ended {
    victim_text: String,
    findings: Vec<String>,
}

impl Run<'_> {
    fn with_server_as_victim(&self, victim: &[String], survivor: &[String]) -> Ended {
        let mut findings = Vec::new();
        let mut server = self.home.start(victim);
        // A server that dies before it is ready has no client.
        let client = server.wait_for("ready", PATIENCE).then(|| self.home.start(survivor));
        let (status, victim_text) = server.finish(PATIENCE);
        expect_end("victim", status.is_some(), &mut findings);
        if let Some(client) = client {
            expect_end("survivor", client.finish(PATIENCE).0.is_some(), &mut findings);
        }
        self.home.use_name(self.setup.mode, &mut findings);
        Ended { victim_text, findings }
    }

    fn with_client_as_victim(&self, victim: &[String], survivor: &[String]) -> Ended {
        let mut findings = Vec::new();
        let mut server = self.home.start(survivor);
        if !server.wait_for("ready", PATIENCE) {
            findings.push("the server did not start".into());
        }
        let (status, victim_text) = self.home.start(victim).finish(PATIENCE);
        expect_end("victim", status.is_some(), &mut findings);
        // A server that was not asked to quit serves the next client.
        if self.is_kill {
            self.home.ask_to_quit(self.setup.mode, &mut findings);
        }
        expect_end("survivor", server.finish(PATIENCE).0.is_some(), &mut findings);
        self.home.use_name(self.setup.mode, &mut findings);
        Ended { victim_text, findings }
    }
}

struct Judge<'a> {
    home: &'a Home,
    setup: Setup,
    findings: Vec<String>,
    notice: Option<Duration>,
}

impl Judge<'_> {
    fn judge(&mut self, report: &Report, was_killed: bool) {
        let victim = Entries::read(&self.home.file("victim"));
        let survivor = Entries::read(&self.home.file("survivor"));
        for (name, entries) in [("victim", &victim), ("survivor", &survivor)] {
            judge_words(name, entries, &["WRONG DATA", "LEAK", "Corrupt", "TimedOut"], &mut self.findings);
        }
        judge_stderr(self.home, "stderr", &mut self.findings);
        if was_killed {
            self.judge_death(report.killed.unwrap_or(0), &victim, &survivor);
        } else {
            self.judge_recovery(report, &victim, &survivor);
        }
    }

    fn judge_death(&mut self, killed: u64, victim: &Entries, survivor: &Entries) {
        self.notice = judge_ends("survivor", killed, survivor, &mut self.findings);
        self.findings.extend(judge_survivor(self.setup.victim.other(), survivor));
        self.expect_read("victim", victim, "survivor", survivor);
    }

    fn judge_recovery(&mut self, report: &Report, victim: &Entries, survivor: &Entries) {
        if report.end != "0" {
            self.findings.push(format!("the victim ended with {}", report.end));
        }
        for (name, entries) in [("victim", victim), ("survivor", survivor)] {
            if !entries.has("done") {
                let why = entries.after("failed").next().unwrap_or("without a word");
                self.findings.push(format!("the {name} failed: {why}"));
            }
        }
        if ended_unseen(victim, survivor) {
            self.findings.push("the connection ended, and the victim saw no error".into());
        }
        let reuses = matches!(self.setup.surface, Surface::Blocking | Surface::Async);
        let discards = self.setup.victim == Side::Server && reuses && victim.has("ended");
        if !discards {
            self.expect_read("victim", victim, "survivor", survivor);
        }
        if !victim.has("ended") {
            self.expect_read("survivor", survivor, "victim", victim);
        }
    }

    /// What one end's library accepted was read by the other end. That it was read only once, the reader has seen itself.
    fn expect_read(&mut self, writer: &str, wrote: &Entries, reader: &str, read: &Entries) {
        for connection in 1..=CONNECTIONS {
            judge_loss(&connection.to_string(), (writer, wrote), (reader, read), &mut self.findings);
        }
    }
}

/// What was written on a connection was read there.
pub(crate) fn judge_loss(
    connection: &str,
    (writer, wrote): (&str, &Entries),
    (reader, read): (&str, &Entries),
    findings: &mut Vec<String>,
) {
    let (wrote, read) = (wrote.count("wrote", connection), read.count("read", connection));
    if read < wrote {
        findings.push(format!(
            "lost: on connection {connection} the {writer} wrote {wrote} frames, and the {reader} read {read}"
        ));
    }
}

/// No line of the journal has one of these words.
pub(crate) fn judge_words(name: &str, entries: &Entries, words: &[&str], findings: &mut Vec<String>) {
    for bad in words {
        let line = entries.text().lines().find(|line| line.contains(bad));
        findings.extend(line.map(|line| format!("{name}: {line}")));
    }
}

/// No process panicked.
pub(crate) fn judge_stderr(home: &Home, file: &str, findings: &mut Vec<String>) {
    let stderr = fs::read_to_string(home.file(file)).unwrap_or_default();
    let bad = |line: &&str| line.contains("panicked") || line.contains("memory allocation");
    findings.extend(stderr.lines().find(bad).map(str::to_owned));
}

/// Each connection ended as it must, and soon after the kill. Returns how soon at the latest.
pub(crate) fn judge_ends(
    name: &str,
    killed: u64,
    survivor: &Entries,
    findings: &mut Vec<String>,
) -> Option<Duration> {
    let mut latest = None;
    for line in survivor.after("ended") {
        let mut words = line.splitn(3, ' ').skip(1);
        let time: u64 = words.next().and_then(|time| time.parse().ok()).unwrap_or(0);
        let how = words.next().unwrap_or_default();
        if !is_end(how) {
            findings.push(format!("the {name}'s connection ended with {how}"));
        }
        // An end that was seen before the kill is none of its.
        if time >= killed {
            let notice = Duration::from_nanos(time - killed);
            latest = latest.max(Some(notice));
            if notice > SOON {
                findings.push(format!("late: the {name} saw the death after {} ms", notice.as_millis()));
            }
        }
    }
    latest
}

pub(crate) fn is_end(how: &str) -> bool {
    ENDS.iter().any(|end| how.starts_with(end))
}

/// Whether a connection ended for the survivor, and the victim saw no error. One that ended before its first frame may be
/// that of an open which failed after it had claimed its instance.
fn ended_unseen(victim: &Entries, survivor: &Entries) -> bool {
    let may_end_unopened = victim.after("error").any(|line| line.starts_with("Open: "));
    let mut ended = survivor.after("ended").filter(|line| !(may_end_unopened && line.starts_with("0 ")));
    ended.next().is_some() && !victim.has("ended")
}

/// What is wrong with the survivor of a death as a whole: a server does everything, and a client stops where it sees the
/// end, or does everything too. One that was never started wrote nothing.
fn judge_survivor(side: Side, survivor: &Entries) -> Option<String> {
    if survivor.text().is_empty() && side == Side::Client || survivor.has("done") {
        return None;
    }
    match survivor.after("failed").next() {
        Some(how) if side == Side::Client && is_end(how) => None,
        Some(how) => Some(format!("the survivor failed: {how}")),
        None => Some("the survivor ended without a word".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_an_error_is_judged() {
        let unseen = |victim: &str, survivor: &str| {
            ended_unseen(&Entries::of(victim.into()), &Entries::of(survivor.into()))
        };
        assert!(unseen("done\n", "ended 1 5 Broken (BrokenPipe): gone\n"));
        assert!(unseen("done\n", "ended 0 5 untyped (UnexpectedEof): gone\n"));
        assert!(unseen("error Open: untyped (OutOfMemory): no\n", "ended 1 5 Broken (BrokenPipe): gone\n"));
        assert!(!unseen(
            "error Open: untyped (OutOfMemory): no\n",
            "ended 0 5 untyped (UnexpectedEof): gone\n"
        ));
        assert!(!unseen("ended 1 5 Broken (BrokenPipe): gone\n", "ended 1 5 Broken (BrokenPipe): gone\n"));
        assert!(!unseen("done\n", "done\n"));
    }

    #[test]
    fn a_survivor_that_only_fails_is_judged() {
        let judge = |side, text: &str| judge_survivor(side, &Entries::of(text.into())).is_none();
        assert!(judge(Side::Client, "done\n"));
        assert!(judge(
            Side::Client,
            "ended 1 5 Broken (BrokenPipe): gone\nfailed Broken (BrokenPipe): gone\n"
        ));
        assert!(judge(Side::Client, "failed Absent (NotFound): no pipe\n"));
        assert!(judge(Side::Client, ""), "the server died before it was ready");
        assert!(!judge(Side::Client, "failed AccessDenied (PermissionDenied): list\n"));
        assert!(!judge(Side::Client, "wrote 1\n"));
        assert!(!judge(Side::Server, "failed Broken (BrokenPipe): gone\n"));
        assert!(!judge(Side::Server, ""));
    }
}
