//! `--check`: reports what is missing on this system, and how to fix it.

use std::{
    fmt, fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use pipework::{PipeEntry, PipeMode};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use super::{
    config::Config,
    directories,
    failure::{EXIT_FAILED, Failure},
    names::export_names,
    samba::{self, SmbConf, SmbdVersion, TestparmError},
    target::accepts_remote,
};

/// The result of one check.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    text: String,
    fix: Option<String>,
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
        Finding { verdict: Verdict::Good, text: text.into(), fix: None }
    }

    fn advice(text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Advice, text: text.into(), fix: Some(fix.into()) }
    }

    fn missing(text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Missing, text: text.into(), fix: Some(fix.into()) }
    }
}

/// Runs all checks and prints the findings.
pub(crate) fn run(config: &Config) -> ExitCode {
    let mut findings = vec![check_root(), check_version()];
    match SmbConf::read(config.smb_conf.as_deref()) {
        Ok(smb_conf) => {
            findings.extend(check_smb_conf(&smb_conf));
            findings.push(check_smbd_runs(&smb_conf));
            findings.push(check_np_dir(config));
        }
        Err(TestparmError::NotInstalled) => findings.push(Finding::missing(
            "testparm is not installed, so smb.conf was not checked",
            "install Samba: apt-get install samba",
        )),
        Err(TestparmError::Failed(text)) => {
            findings.push(Finding::missing(format!("testparm can't read smb.conf: {text}"), "fix smb.conf"));
        }
    }
    findings.push(check_gateway_runs(config));
    findings.extend(list_exports(config));
    let missing = findings.iter().filter(|finding| finding.verdict == Verdict::Missing).count();
    // If standard output is closed, the exit code is the result.
    print_findings(&findings, missing).ok();
    if missing == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

fn print_findings(findings: &[Finding], missing: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for Finding { verdict, text, fix } in findings {
        writeln!(out, "{verdict:<8} {text}")?;
        if let Some(fix) = fix {
            writeln!(out, "{:<8}   -> {fix}", "")?;
        }
    }
    match missing {
        0 => writeln!(out, "Nothing is missing."),
        1 => writeln!(out, "One thing is missing."),
        _ => writeln!(out, "{missing} things are missing."),
    }
}

fn check_root() -> Finding {
    if rustix::process::geteuid().is_root() {
        Finding::good("running as root, as the service must")
    } else {
        Finding::missing("not running as root, so some checks see too little", "run it as root")
    }
}

fn check_version() -> Finding {
    let install = "install Samba 4.17 or later: apt-get install samba";
    match SmbdVersion::read() {
        None => Finding::missing("smbd is not installed", install),
        Some(SmbdVersion { text, is_supported: true }) => Finding::good(format!("smbd: {text}")),
        Some(SmbdVersion { text, is_supported: false }) => Finding::missing(
            format!("smbd: {text}, whose exchange with the gateway is not supported"),
            install,
        ),
    }
}

fn check_smb_conf(smb_conf: &SmbConf) -> Vec<Finding> {
    let set = |name: &str, value: &str| format!("in [global] of smb.conf: {name} = {value}");
    let is = |name: &str, values: &[&str]| {
        let value = smb_conf.value(name).unwrap_or_default();
        (value.to_owned(), values.iter().any(|one| one.eq_ignore_ascii_case(value)))
    };
    let mut findings = Vec::new();
    for (name, wanted, why) in [
        ("map to guest", "Never", "accepts unknown users as guests, which the gateway then refuses"),
        ("restrict anonymous", "2", "accepts anonymous clients, which the gateway then refuses"),
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
            "allows sessions that an attacker on the network can modify",
        ),
        (
            "server smb encrypt",
            &["required", "mandatory"][..],
            "required",
            "allows sessions that an attacker on the network can read",
        ),
    ] {
        findings.push(match is(name, good) {
            (value, true) => Finding::good(format!("{name} = {value}")),
            (value, false) => Finding::advice(format!("{name} = {value} {why}"), set(name, wanted)),
        });
    }
    // Older versions have no such helpers.
    if let Some(value) = smb_conf.value("rpc start on demand helpers") {
        let name = "rpc start on demand helpers";
        findings.push(if value.eq_ignore_ascii_case("no") {
            Finding::good(format!("{name} = {value}"))
        } else {
            let text = format!(
                "{name} = {value} starts programs for Samba's own pipes whenever a client opens a pipe that is absent or \
                 refused, and the other pipes of that client stall meanwhile"
            );
            Finding::advice(text, set(name, "no") + " (then clients can't list shares or manage accounts)")
        });
    }
    let old = ["CORE", "COREPLUS", "LANMAN1", "LANMAN2", "NT1"];
    if let (value, true) = is("server min protocol", &old) {
        let text = format!("server min protocol = {value} allows protocols without signing or encryption");
        findings.push(Finding::missing(text, set("server min protocol", "SMB2_10")));
    }
    findings
}

fn check_smbd_runs(smb_conf: &SmbConf) -> Finding {
    let start = "start it: systemctl enable --now smbd";
    let dir = smb_conf.value("pid directory").unwrap_or("/run/samba");
    let file = Path::new(dir).join("smbd.pid");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            return Finding::missing(format!("smbd is not running: {}: {error}", file.display()), start);
        }
    };
    let process = text.trim().parse().ok().and_then(Pid::from_raw);
    let name = process.and_then(|process| fs::read_to_string(format!("/proc/{process}/comm")).ok());
    match (process, name) {
        (Some(process), Some(name)) if name.trim().starts_with("smbd") => {
            Finding::good(format!("smbd is running: process {process}"))
        }
        // /proc may hide other processes. A signal shows whether there is one.
        (Some(process), None) if test_kill_process(process) != Err(Errno::SRCH) => {
            Finding::good(format!("smbd is running: process {process}, which /proc does not show"))
        }
        _ => Finding::missing(format!("smbd is no longer running: {} is stale", file.display()), start),
    }
}

fn check_np_dir(config: &Config) -> Finding {
    let path = match samba::find_np_dir(config) {
        Ok(path) => path,
        Err(failure) => return unusable_np_dir(&failure),
    };
    if !path.exists() {
        let text = format!("{} does not exist yet", path.display());
        return Finding::advice(text, "nothing to do: smbd and the gateway both create it when they start");
    }
    match directories::check_root_only(&path) {
        Ok(()) => Finding::good(format!("smbd looks for pipes in {}", path.display())),
        Err(failure) => unusable_np_dir(&failure),
    }
}

fn unusable_np_dir(failure: &Failure) -> Finding {
    Finding::missing(failure.to_string(), "smbd and the gateway both require it")
}

fn check_gateway_runs(config: &Config) -> Finding {
    match directories::find_running_gateway(&config.run_dir) {
        Some(process) => Finding::good(format!("the gateway is running: process {process}")),
        None => Finding::advice(
            "no running gateway was found",
            "start it: systemctl enable --now pipework-gateway",
        ),
    }
}

/// Lists the pipes that remote clients could open now.
fn list_exports(config: &Config) -> Vec<Finding> {
    let pipes = match pipework::list() {
        Ok(pipes) => pipes,
        Err(error) => {
            return vec![Finding::missing(format!("can't list the pipes: {error}"), "fix this error")];
        }
    };
    let exported: Vec<&PipeEntry> = pipes.iter().filter(|pipe| accepts_remote(pipe)).collect();
    if exported.is_empty() {
        let text = format!("none of {} pipes accepts remote clients", pipes.len());
        let fix =
            "use accept_remote(true) in a server; to try it: pipework serve hello --accept-remote --everyone";
        return vec![Finding::advice(text, fix)];
    }
    exported.into_iter().map(|pipe| describe_export(config, pipe)).collect()
}

fn describe_export(config: &Config, pipe: &PipeEntry) -> Finding {
    let np_dir = samba::find_np_dir(config).unwrap_or_default();
    let name = pipe.name.to_string();
    match export_names(&pipe.name, |name| np_dir.join(name).as_os_str().len()) {
        Ok(files) => {
            let kind = if pipe.mode == Some(PipeMode::Message) { "messages" } else { "bytes" };
            let owner = pipe.owner.as_deref().unwrap_or("unknown");
            let files: Vec<String> = files.iter().map(|file| format!("{file:?}")).collect();
            let files = files.join(" and ");
            Finding::good(format!("exported: {name:?} ({kind}, owner {owner:?}), as {files}"))
        }
        Err(error) => {
            Finding::missing(format!("not exported: {name:?}: {error}"), "give the pipe another name")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_line_of_smb_conf_is_reported() {
        let smb_conf = |text: &str| SmbConf::parse(&format!("[global]\n{text}"));
        let debians = "map to guest = Bad User\nrestrict anonymous = 0\nserver signing = default\n\
                       server smb encrypt = default\nserver min protocol = SMB2_02\n\
                       rpc start on demand helpers = Yes";
        let fixes: Vec<String> =
            check_smb_conf(&smb_conf(debians)).into_iter().filter_map(|finding| finding.fix).collect();
        assert_eq!(
            fixes,
            [
                "in [global] of smb.conf: map to guest = Never",
                "in [global] of smb.conf: restrict anonymous = 2",
                "in [global] of smb.conf: server signing = mandatory",
                "in [global] of smb.conf: server smb encrypt = required",
                "in [global] of smb.conf: rpc start on demand helpers = no (then clients can't list shares or manage \
                 accounts)",
            ]
        );
        let good = "map to guest = never\nrestrict anonymous = 2\nserver signing = required\n\
                    server smb encrypt = mandatory\nserver min protocol = SMB3\n\
                    rpc start on demand helpers = No";
        assert!(check_smb_conf(&smb_conf(good)).iter().all(|finding| finding.verdict == Verdict::Good));
        let old = check_smb_conf(&smb_conf("server min protocol = NT1"));
        assert_eq!(old.last().map(|finding| finding.verdict), Some(Verdict::Missing));
    }
}
