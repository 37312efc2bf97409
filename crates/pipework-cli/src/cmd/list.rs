//! `pipework list`: lists the pipes.

use std::io::Write;

use pipework::{PipeEntry, PipeMode, PipeName, PipeNameKind};
use serde_json::{Value, json};

use crate::{
    args::ListArgs,
    failure::Failure,
    output::{print, say, write_table},
};

/// The value of `max_instances` without a limit.
const UNLIMITED: u32 = 255;

pub(crate) fn run(args: &ListArgs) -> Result<(), Failure> {
    let mut entries = pipework::list()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if args.json {
        let entries: Vec<Value> = entries.iter().map(to_json).collect();
        return print(|out| writeln!(out, "{:#}", Value::from(entries)));
    }
    if entries.is_empty() {
        say(format_args!("no pipes found; `pipework serve NAME --echo` creates one"));
        return Ok(());
    }
    let head = [
        "NAME",
        "MODE",
        "DIRECTION",
        "NETWORK",
        "INSTANCES",
        "MAX",
        "LISTENING",
        "SERVERS",
        "OWNER",
        "PLACE",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(entries.iter().map(to_row));
    print(|out| write_table(out, &rows, &[4, 5, 6]))
}

fn to_row(entry: &PipeEntry) -> [String; 10] {
    let unknown = || "-".to_owned();
    let servers: Vec<String> = entry.servers.iter().map(u32::to_string).collect();
    [
        printable(&bare(&entry.name)),
        mode(entry).unwrap_or("-").to_owned(),
        direction(entry).unwrap_or("-").to_owned(),
        network(entry).to_owned(),
        entry.instances.to_string(),
        if entry.max_instances == UNLIMITED { unknown() } else { entry.max_instances.to_string() },
        entry.listening.map_or_else(unknown, |count| count.to_string()),
        if servers.is_empty() { unknown() } else { servers.join(",") },
        entry.owner.as_deref().map_or_else(unknown, printable),
        printable(&entry.location.to_string_lossy()),
    ]
}

fn to_json(entry: &PipeEntry) -> Value {
    json!({
        "name": bare(&entry.name),
        "mode": mode(entry),
        "direction": direction(entry),
        "instances": entry.instances,
        "accept_remote": entry.accept_remote,
        "max_instances": (entry.max_instances != UNLIMITED).then_some(entry.max_instances),
        "listening": entry.listening,
        "servers": entry.servers,
        "owner": entry.owner,
        "place": entry.location.to_string_lossy(),
    })
}

fn bare(name: &PipeName) -> String {
    match name.kind() {
        PipeNameKind::Local(name) => name.to_owned(),
        _ => name.to_string(),
    }
}

fn mode(entry: &PipeEntry) -> Option<&'static str> {
    match entry.mode? {
        PipeMode::Byte => Some("byte"),
        PipeMode::Message => Some("message"),
        _ => None,
    }
}

/// The direction of the server.
fn direction(entry: &PipeEntry) -> Option<&'static str> {
    let directions = entry.directions?;
    match (directions.inbound, directions.outbound) {
        (true, true) => Some("duplex"),
        (true, false) => Some("in"),
        (false, true) => Some("out"),
        (false, false) => None,
    }
}

/// Whether the pipe accepts remote clients.
fn network(entry: &PipeEntry) -> &'static str {
    match entry.accept_remote {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
}

/// Escapes control characters: a name may contain any character, and a terminal executes some.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
    }
}
