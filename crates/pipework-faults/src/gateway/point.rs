//! Runs one point, and judges what came of it.

use super::{
    middle::{self, Gateway, LOG, wait_until},
    samba::Samba,
};
use crate::{
    check::What,
    conversation::Conversation,
    home::{Home, PATIENCE, SOON, expect_end, expect_ok_within},
    inject::{self, Report},
    journal::Entries,
    plan::{Fault, GatewaySetup, NAME, Side, Surface, Victim},
    point::{Outcome, is_end, judge_ends, judge_loss, judge_stderr, judge_words},
    process::{CANNOT, Held, Running},
};
use std::{fs, io, mem::replace, path::PathBuf, thread, time::Duration};

/// By when the gateway exports a pipe again that it lost sight of: it looks every two seconds.
const NEXT_LOOK: Duration = Duration::from_secs(3);
/// What does not change in this time is there to stay.
const SETTLED: Duration = Duration::from_millis(20);
/// More connections than a client makes, with all retries.
const CONNECTIONS: u8 = 8;
/// The error of a client that has waited for the pipe.
const NO_GATEWAY: &str = "did not exist";
/// The exit code of a gateway that could not start; its log says why.
const NOT_STARTED: &str = "1";

/// Runs a conversation, with the fault at that call if one is given; else its calls are counted.
pub(super) fn run(samba: &Samba, setup: GatewaySetup, at: Option<(u32, Fault)>) -> io::Result<Outcome> {
    let home = Home::with_environment(middle::environment(samba))?;
    let mut run = Run { home: &home, samba, setup, at, findings: Vec::new(), notice: None };
    let text = run.run();
    let report = Report::parse(&text);
    if report.end == CANNOT.to_string() {
        return Err(inject::not_permitted());
    }
    run.judge(&report);
    let read = |name: &str| fs::read_to_string(home.file(name)).unwrap_or_default();
    let log = format!(
        "-- injector\n{}-- client\n{}-- server\n{}-- stderr\n{}-- log of the gateway\n{}",
        text.lines()
            .filter(|line| !line.starts_with("#call"))
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
        read("client"),
        read("survivor"),
        read("stderr"),
        read(LOG)
    );
    let errors = Entries::read(&home.file("client")).after("error").count();
    Ok(Outcome { report, findings: run.findings, errors, notice: run.notice, log })
}

/// What a gateway has that has nothing to do: its watch is made a moment after the first pipes are exported.
fn held_by_idle(process: &str) -> Held {
    let mut held = Held::of(process);
    wait_until(SOON, || {
        thread::park_timeout(SETTLED);
        let before = replace(&mut held, Held::of(process));
        held == before
    });
    held
}

struct Run<'a> {
    home: &'a Home,
    samba: &'a Samba,
    setup: GatewaySetup,
    at: Option<(u32, Fault)>,
    findings: Vec<String>,
    notice: Option<Duration>,
}

impl Run<'_> {
    /// Runs all processes to their ends; returns what the injector printed.
    fn run(&mut self) -> String {
        let victim = self.setup.victim;
        let mut gateway =
            Gateway::start(self.home, self.samba, (victim == Victim::Gateway).then_some(self.at));
        gateway.wait_until_ready();
        let mut server = self.start_server("survivor");
        let mut text = String::new();
        // A gateway that ends before it exports the pipe has no client.
        if self.is_exported(&mut gateway) {
            let process = gateway.process();
            let before = held_by_idle(&process);
            text = self.converse();
            self.expect_service(&mut gateway, &mut server, &mut text);
            self.expect_nothing_held(&process, &before);
        } else {
            self.expect_service(&mut gateway, &mut server, &mut text);
        }
        expect_end("server", server.finish(PATIENCE).0.is_some(), &mut self.findings);
        text += &self.stop(gateway);
        self.expect_nothing_left();
        text
    }

    /// Lets the client do everything. Returns what the injector printed, if smbd is the victim.
    fn converse(&mut self) -> String {
        let parent = self.samba.main_process();
        let is_victim = self.setup.victim == Victim::Smbd;
        let mut injector = is_victim.then(|| self.home.start(&inject::words_for_child(parent, self.at)));
        if let Some(injector) = &mut injector
            && !injector.wait_for("ready", PATIENCE)
        {
            self.findings.push("the injector did not start".into());
        }
        let client = Conversation {
            once: self.is_kill(),
            remote: true,
            ..Conversation::new(Side::Client, Surface::Blocking, self.setup.mode, self.home.file("client"))
        };
        let (status, _) = self.home.start(&client.words()).finish(PATIENCE);
        expect_end("client", status.is_some(), &mut self.findings);
        let Some(injector) = injector else { return String::new() };
        let (status, text) = injector.finish(PATIENCE);
        expect_end("smbd of the client", status.is_some(), &mut self.findings);
        text
    }

    /// The next remote client is served soon: by this server, or by the next one of the name.
    fn expect_service(&mut self, gateway: &mut Gateway, server: &mut Running, text: &mut String) {
        let was_hit = gateway.was_hit();
        let mut findings = self.serve_next_client(gateway, server, text);
        // The fault may have waited until now.
        if !findings.is_empty() && !was_hit && gateway.was_hit() {
            findings = self.serve_next_client(gateway, server, text);
        }
        self.findings.extend(findings);
    }

    fn serve_next_client(
        &mut self,
        gateway: &mut Gateway,
        server: &mut Running,
        text: &mut String,
    ) -> Vec<String> {
        let mut findings = Vec::new();
        if gateway.is_over() {
            let next = Gateway::start(self.home, self.samba, None);
            let end = replace(gateway, next).stop();
            self.judge_gateway(end.how.as_deref());
            text.push_str(&end.text);
            if !gateway.wait_until_ready() {
                findings.push(format!("the next gateway does not start: {}", gateway.log()));
            }
        }
        if self.home.has_quit() && !self.home.file("next").exists() {
            expect_end("server", wait_until(PATIENCE, || server.has_ended()), &mut findings);
            // Before, a client may come to the end of the old one, which looks like a refusal.
            if !wait_until(NEXT_LOOK, || !self.link().is_symlink()) {
                findings.push("late: a pipe without a server is still exported".into());
            }
            *server = self.start_server("next");
        }
        if self.is_exported(gateway) {
            let answer = self.home.check(What::RemoteServer, self.setup.mode);
            let limit = if self.is_kill() { SOON } else { NEXT_LOOK };
            expect_ok_within(limit, &answer, &mut findings);
        } else {
            findings.push("late: no client was served".into());
        }
        findings
    }

    fn start_server(&mut self, journal: &str) -> Running {
        let server = Conversation {
            remote: true,
            ..Conversation::new(Side::Server, Surface::Listener, self.setup.mode, self.home.file(journal))
        };
        let mut server = self.home.start(&server.words());
        if !server.wait_for("ready", PATIENCE) {
            self.findings.push("the server did not start".into());
        }
        server
    }

    fn is_exported(&mut self, gateway: &mut Gateway) -> bool {
        let link = self.link();
        let mut is_over = false;
        let is_exported = wait_until(NEXT_LOOK, || {
            is_over = gateway.is_over();
            is_over || link.is_symlink() && gateway.watches()
        });
        if !is_exported {
            self.findings.push("late: the pipe is not exported, or the gateway does not watch".into());
        }
        is_exported && !is_over
    }

    /// Where smbd finds the pipe.
    fn link(&self) -> PathBuf {
        self.samba.np().join(NAME)
    }

    /// Stops the gateway; one that is killed meanwhile has a successor. Returns what the injector printed.
    fn stop(&mut self, gateway: Gateway) -> String {
        let end = gateway.stop();
        self.judge_gateway(end.how.as_deref());
        if Report::parse(&end.text).killed.is_some() {
            let mut next = Gateway::start(self.home, self.samba, None);
            next.wait_until_ready();
            let how = next.stop().how;
            if how.as_deref() != Some("0") {
                self.findings.push(format!("the next gateway ended with {how:?}"));
            }
        }
        end.text
    }

    fn is_kill(&self) -> bool {
        self.at.is_some_and(|(_, fault)| fault.is_kill())
    }

    /// How a gateway may end: when it is asked to, when it is killed, and with a reason if it could not start.
    fn judge_gateway(&mut self, how: Option<&str>) {
        let log = fs::read_to_string(self.home.file(LOG)).unwrap_or_default();
        match how {
            None => self.findings.push("the gateway hangs".into()),
            Some("0") => {}
            Some("SIGKILL") if self.is_kill() => {}
            Some(NOT_STARTED) if log.contains("ERROR") => {}
            Some(how) => self.findings.push(format!("the gateway ended with {how}")),
        }
    }

    /// The gateway has no more descriptors and mappings than before its clients.
    fn expect_nothing_held(&mut self, process: &str, before: &Held) {
        let after = Held::settle(process, before);
        if after.is_more_than(before) {
            self.findings.push(format!("LEAK in the gateway: {before:?} -> {after:?}"));
        }
    }

    /// No file, no directory, no process.
    fn expect_nothing_left(&mut self) {
        for (directory, mine) in [(self.home.file("run"), Some("lock")), (self.samba.np(), None)] {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if Some(entry.file_name().as_os_str()) != mine.map(AsRef::as_ref) {
                    self.findings.push(format!("left: {}", entry.path().display()));
                }
            }
        }
        if !wait_until(PATIENCE, || self.samba.connection_processes().is_empty()) {
            self.findings.push("left: a process of smbd without a client".into());
        }
        self.home.use_name(self.setup.mode, &mut self.findings);
    }

    fn judge(&mut self, report: &Report) {
        let client = Entries::read(&self.home.file("client"));
        let [server, next] = ["survivor", "next"].map(|name| Entries::read(&self.home.file(name)));
        for (name, entries) in [("client", &client), ("server", &server), ("next server", &next)] {
            judge_words(name, entries, &["WRONG DATA", "LEAK", "Corrupt"], &mut self.findings);
            let must_be_done = name == "server" || !entries.text().is_empty();
            let failed = entries.after("failed").next();
            if must_be_done && !entries.has("done") && !(name == "client" && self.may_fail(report, failed)) {
                self.findings.push(format!("the {name} failed: {}", failed.unwrap_or("without a word")));
            }
        }
        judge_stderr(self.home, "stderr", &mut self.findings);
        judge_stderr(self.home, LOG, &mut self.findings);
        if let Some(killed) = report.killed {
            let of_server = judge_ends("server", killed, &server, &mut self.findings);
            // Where no gateway runs, there is no pipe: the client waits for it until its deadline.
            let ended = client.without(NO_GATEWAY);
            let of_client = judge_ends("client", killed, &ended, &mut self.findings);
            self.notice = of_server.max(of_client);
        }
        // What is in the middle when that ends is lost.
        for connection in (1..=CONNECTIONS).map(|connection| connection.to_string()) {
            let begins = format!("{connection} ");
            let has_ended = |entries: &Entries| entries.after("ended").any(|line| line.starts_with(&begins));
            if !has_ended(&client) && !has_ended(&server) {
                judge_loss(&connection, ("client", &client), ("server", &server), &mut self.findings);
                judge_loss(&connection, ("server", &server), ("client", &client), &mut self.findings);
            }
        }
    }

    /// A client whose way is killed sees an end, and does not come back.
    fn may_fail(&self, report: &Report, how: Option<&str>) -> bool {
        self.is_kill()
            && report.killed.is_some()
            && how.is_some_and(|how| is_end(how) || how.contains(NO_GATEWAY))
    }
}
