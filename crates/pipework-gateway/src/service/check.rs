//! `--check`: what is missing on this computer, and how to mend it.

use std::{
    fmt, fs,
    io::{self, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use pipework::{PipeEntry, PipeMode};

use super::{
    FAILED, Failure,
    config::Settings,
    names::network_name,
    places,
    samba::{self, Global, Unknown},
    table::is_for_the_network,
};

/// The first one that speaks a level of the exchange that is known here.
const SAMBA_MIN: (u32, u32) = (4, 17);

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    text: String,
    mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Advice,
    Missing,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Good => "ok",
            Verdict::Advice => "advice",
            Verdict::Missing => "MISSING",
        })
    }
}

impl Finding {
    fn good(text: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Good, text: text.into(), mend: None }
    }

    fn advice(text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Advice, text: text.into(), mend: Some(mend.into()) }
    }

    fn missing(text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Missing, text: text.into(), mend: Some(mend.into()) }
    }
}

/// Looks at everything, and tells it.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    let mut findings = vec![root(), version()];
    match Global::read(settings.smb_conf.as_deref()) {
        Ok(global) => {
            findings.extend(configuration(&global));
            findings.push(running(&global));
            findings.extend(directory(settings));
        }
        Err(Unknown::NoProgram) => findings.push(Finding::missing(
            "testparm is not there, so smb.conf was not looked at",
            "install Samba: apt-get install samba",
        )),
        Err(Unknown::Wrong(text)) => {
            findings
                .push(Finding::missing(format!("testparm does not read smb.conf: {text}"), "mend smb.conf"));
        }
    }
    findings.push(gateway(settings));
    findings.extend(pipes(settings));
    let missing = findings.iter().filter(|finding| finding.verdict == Verdict::Missing).count();
    // Where nobody reads, the exit code is all that is asked for.
    tell(&findings, missing).ok();
    if missing == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn tell(findings: &[Finding], missing: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for Finding { verdict, text, mend } in findings {
        writeln!(out, "{verdict:<8} {text}")?;
        if let Some(mend) = mend {
            writeln!(out, "{:<8}   -> {mend}", "")?;
        }
    }
    match missing {
        0 => writeln!(out, "Nothing is missing."),
        1 => writeln!(out, "One thing is missing."),
        _ => writeln!(out, "{missing} things are missing."),
    }
}

fn root() -> Finding {
    if rustix::process::geteuid().is_root() {
        Finding::good("runs as root, as the service has to")
    } else {
        Finding::missing("this user is not root, so some things can't be seen", "run it as root")
    }
}

fn version() -> Finding {
    let output = Command::new("smbd").arg("--version").stdin(Stdio::null()).output();
    let install = "install Samba 4.17 or later: apt-get install samba";
    let Ok(output) = output else { return Finding::missing("smbd is not installed", install) };
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match parse_version(&text) {
        Some(version) if version >= SAMBA_MIN => Finding::good(format!("smbd: {text}")),
        _ => Finding::missing(format!("smbd: {text}, which speaks another exchange"), install),
    }
}

/// The first two numbers of `Version 4.17.12-Debian`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("Version ")?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

fn configuration(global: &Global) -> Vec<Finding> {
    let set = |name: &str, value: &str| format!("in [global] of smb.conf: {name} = {value}");
    let is = |name: &str, values: &[&str]| {
        let value = global.value(name).unwrap_or_default();
        (value.to_owned(), values.iter().any(|one| one.eq_ignore_ascii_case(value)))
    };
    let mut findings = Vec::new();
    for (name, wanted, why) in [
        ("map to guest", "Never", "makes guests of strangers, whom the gateway then refuses"),
        ("restrict anonymous", "2", "lets anonymous callers in, whom the gateway then refuses"),
    ] {
        findings.push(match is(name, &[wanted]) {
            (value, true) => Finding::good(format!("{name} = {value}")),
            (value, false) => Finding::missing(format!("{name} = {value} {why}"), set(name, wanted)),
        });
    }
    for (name, good, wanted, why) in [
        (
            "server signing",
            &["mandatory", "required"][..],
            "mandatory",
            "lets sessions be that anybody on the way can change",
        ),
        (
            "server smb encrypt",
            &["required", "mandatory"][..],
            "required",
            "lets sessions be that anybody on the way can read",
        ),
    ] {
        findings.push(match is(name, good) {
            (value, true) => Finding::good(format!("{name} = {value}")),
            (value, false) => Finding::advice(format!("{name} = {value} {why}"), set(name, wanted)),
        });
    }
    let old = ["CORE", "COREPLUS", "LANMAN1", "LANMAN2", "NT1"];
    if let (value, true) = is("server min protocol", &old) {
        let text = format!("server min protocol = {value} allows protocols without protection");
        findings.push(Finding::missing(text, set("server min protocol", "SMB2_10")));
    }
    findings
}

fn running(global: &Global) -> Finding {
    let start = "start it: systemctl enable --now smbd";
    let dir = global.value("pid directory").unwrap_or("/run/samba");
    let file = Path::new(dir).join("smbd.pid");
    let process = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let Some(process) = process else {
        return Finding::missing(format!("smbd does not run: there is no {}", file.display()), start);
    };
    match fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) if name.trim().starts_with("smbd") => Finding::good(format!("smbd runs: process {process}")),
        _ => Finding::missing(format!("smbd does not run any more: {} is old", file.display()), start),
    }
}

/// Where smbd looks.
fn directory(settings: &Settings) -> Vec<Finding> {
    let path = match samba::np_dir(settings) {
        Ok(path) => path,
        Err(failure) => return vec![unusable(&failure)],
    };
    if !path.exists() {
        let text = format!("{} is not there yet", path.display());
        return vec![Finding::advice(
            text,
            "nothing to do: smbd makes it when it starts, and so does the gateway",
        )];
    }
    match places::check_private(&path) {
        Ok(()) => vec![Finding::good(format!("smbd looks for pipes in {}", path.display()))],
        Err(failure) => vec![unusable(&failure)],
    }
}

fn unusable(failure: &Failure) -> Finding {
    Finding::missing(failure.to_string(), "smbd and the gateway both insist on it")
}

fn gateway(settings: &Settings) -> Finding {
    match places::running(&settings.run_dir) {
        Some(process) => Finding::good(format!("the gateway runs: process {process}")),
        None => Finding::advice(
            "the gateway does not run, as far as can be seen",
            "start it: systemctl enable --now pipework-gateway",
        ),
    }
}

/// Which pipes the network would reach now.
fn pipes(settings: &Settings) -> Vec<Finding> {
    let pipes = match pipework::list() {
        Ok(pipes) => pipes,
        Err(error) => {
            return vec![Finding::missing(format!("pipes can't be listed: {error}"), "mend what it says")];
        }
    };
    let exported: Vec<&PipeEntry> = pipes.iter().filter(|pipe| is_for_the_network(pipe)).collect();
    if exported.is_empty() {
        let text = format!("of {} pipes none accepts callers from the network", pipes.len());
        let mend =
            "a server says accept_remote(true); to try it: pipework serve hello --accept-remote --everyone";
        return vec![Finding::advice(text, mend)];
    }
    exported.into_iter().map(|pipe| exported_as(settings, pipe)).collect()
}

fn exported_as(settings: &Settings, pipe: &PipeEntry) -> Finding {
    let np_dir = samba::np_dir(settings).unwrap_or_default();
    let name = pipe.name.to_string();
    match network_name(&pipe.name, |name| np_dir.join(name).as_os_str().len()) {
        Ok(file) => {
            let kind = if pipe.mode == Some(PipeMode::Message) { "messages" } else { "bytes" };
            let owner = pipe.owner.as_deref().unwrap_or("unknown");
            Finding::good(format!("exported: {name:?} ({kind}, of {owner:?}), as {file:?}"))
        }
        Err(unfit) => {
            Finding::missing(format!("not exported: {name:?}: {unfit}"), "give the pipe another name")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("Version 4.17.12-Debian"), Some((4, 17)));
        assert_eq!(parse_version("Version 4.9.5"), Some((4, 9)));
        assert!(parse_version("Version 4.9.5") < Some(SAMBA_MIN));
        assert_eq!(parse_version("nothing"), None);
    }

    #[test]
    fn what_smb_conf_lacks_is_told_line_by_line() {
        let global = |text: &str| Global::parse(&format!("[global]\n{text}"));
        let debians = "map to guest = Bad User\nrestrict anonymous = 0\nserver signing = default\n\
                       server smb encrypt = default\nserver min protocol = SMB2_02";
        let mends: Vec<String> =
            configuration(&global(debians)).into_iter().filter_map(|finding| finding.mend).collect();
        assert_eq!(
            mends,
            [
                "in [global] of smb.conf: map to guest = Never",
                "in [global] of smb.conf: restrict anonymous = 2",
                "in [global] of smb.conf: server signing = mandatory",
                "in [global] of smb.conf: server smb encrypt = required",
            ]
        );
        let good = "map to guest = never\nrestrict anonymous = 2\nserver signing = required\n\
                    server smb encrypt = mandatory\nserver min protocol = SMB3";
        assert!(configuration(&global(good)).iter().all(|finding| finding.verdict == Verdict::Good));
        let old = configuration(&global("server min protocol = NT1"));
        assert_eq!(old.last().map(|finding| finding.verdict), Some(Verdict::Missing));
    }
}
