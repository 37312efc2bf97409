//! Finds the commit that the tool is built from, for `--version`.
#![allow(clippy::print_stdout, reason = "it speaks to cargo so")]

use std::{fs, process::Command};

fn main() {
    let commit = of_package().or_else(of_repository).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=PIPEWORK_COMMIT={commit}");
    println!("cargo::rerun-if-changed=build.rs");
}

/// What cargo notes in a package.
fn of_package() -> Option<String> {
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\": \"")?;
    Some(rest.chars().take_while(char::is_ascii_hexdigit).collect())
}

/// Only of a repository that has this file: a package may lie in another one.
fn of_repository() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    // It changes with each commit; without it, as in a new repository, nothing is known to change.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
