//! The result of the demo, as text and as JSON.

use std::{
    fmt::Write as _,
    io::{self, Write},
    time::Duration,
};

use indicatif::{HumanBytes, HumanCount};
use pipework::PipeMode;
use serde_json::{Value, json};

use crate::{
    cmd::demo::{
        mode_name,
        parameters::{BUFFER_LEN, CHUNK_LEN},
        source::{Digest, Source},
        speed::{PASSES, PING_LEN, Speed, label},
        transfer::Transfer,
    },
    failure::Failure,
    output::{print, write_table},
};

/// The whole result.
pub(super) struct Report<'a> {
    pub(super) source: &'a Source,
    pub(super) clients: u16,
    pub(super) transfers: &'a [Transfer],
    pub(super) speeds: &'a [Speed],
}

impl Report<'_> {
    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        print(|out| if as_json { writeln!(out, "{:#}", self.to_json()) } else { self.write(out) })
    }

    /// Success, if every client has received the file.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let wrong = self.transfers.iter().filter(|transfer| !transfer.is_right(&self.source.digest)).count();
        if wrong == 0 {
            return Ok(());
        }
        let of = self.transfers.len();
        Err(Failure::failed(format!("SHA-256 mismatch: {wrong} of {of} transfers differ from the file"))
            .hint("did the file change during the demo? If not, please report this"))
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Source { path, len, digest } = self.source;
        writeln!(out, "{}  {}  SHA-256 {}", path.display(), HumanBytes(*len), to_hex(digest))?;
        writeln!(out)?;
        for mode in [PipeMode::Byte, PipeMode::Message] {
            let transfers: Vec<_> = self.transfers.iter().filter(|transfer| transfer.mode == mode).collect();
            if !transfers.is_empty() {
                self.write_mode(out, mode, &transfers)?;
            }
        }
        if self.speeds.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let round_trip = format!("{PING_LEN} B ROUND TRIP");
        let mut rows = vec![["TRANSPORT".to_owned(), "BYTES".to_owned(), "GB/s".to_owned(), round_trip]];
        rows.extend(self.speeds.iter().map(to_row));
        write_table(out, &rows, &[1, 2, 3])?;
        writeln!(out)?;
        writeln!(
            out,
            "Between two processes, without hashing: {} KiB writes from memory; medians of {PASSES} passes.",
            CHUNK_LEN >> 10
        )?;
        let buffer = BUFFER_LEN >> 20;
        writeln!(out, "Buffers: {buffer} MiB for pipework, the system's default for the others.")
    }

    fn write_mode(&self, out: &mut impl Write, mode: PipeMode, transfers: &[&Transfer]) -> io::Result<()> {
        let digest = &self.source.digest;
        let right = transfers.iter().filter(|transfer| transfer.is_right(digest)).count();
        let clients = if self.clients == 1 {
            "1 client process".into()
        } else {
            format!("{} client processes", self.clients)
        };
        let messages = match transfers.first().and_then(|transfer| transfer.messages) {
            Some((1, _)) => " in 1 message".to_owned(),
            Some((sent, _)) => format!(" in {} messages", HumanCount(sent)),
            None => String::new(),
        };
        let verdict = match right == transfers.len() {
            true => "every SHA-256 matches at both ends".to_owned(),
            false => format!("ONLY {right} OF {} SHA-256 MATCH", transfers.len()),
        };
        writeln!(
            out,
            "{:8} {clients}, {} each{messages}: {verdict}",
            mode_name(mode),
            HumanBytes(self.source.len)
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "file": self.source.path.to_string_lossy(),
            "bytes": self.source.len,
            "sha256": to_hex(&self.source.digest),
            "clients": self.clients,
            "right": self.verdict().is_ok(),
            "transfers": self.transfers.iter().map(|transfer| self.transfer_to_json(transfer)).collect::<Vec<_>>(),
            "chunk_bytes": CHUNK_LEN,
            "buffer_bytes": BUFFER_LEN,
            "round_trip_bytes": PING_LEN,
            "speeds": self.speeds.iter().map(speed_to_json).collect::<Vec<_>>(),
        })
    }

    fn transfer_to_json(&self, transfer: &Transfer) -> Value {
        json!({
            "mode": mode_name(transfer.mode),
            "client_process": transfer.process_id,
            "sha256_sent": to_hex(&transfer.sent),
            "sha256_received": to_hex(&transfer.received),
            "messages_sent": transfer.messages.map(|(sent, _)| sent),
            "messages_received": transfer.messages.map(|(_, received)| received),
            "right": transfer.is_right(&self.source.digest),
        })
    }
}

fn to_row(speed: &Speed) -> [String; 4] {
    [
        label(speed.transport).to_owned(),
        HumanCount(speed.bytes).to_string(),
        format!("{:.2}", speed.gigabytes_per_second()),
        format!("{:.2} µs", speed.round_trip_median().as_secs_f64() * 1e6),
    ]
}

fn speed_to_json(speed: &Speed) -> Value {
    let seconds = |times: &[Duration]| times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    json!({
        "transport": label(speed.transport),
        "bytes": speed.bytes,
        "gigabytes_per_second": speed.gigabytes_per_second(),
        "round_trip_microseconds": speed.round_trip_median().as_secs_f64() * 1e6,
        "bulk_seconds_of_each_pass": seconds(&speed.bulk),
        "round_trip_seconds_of_each_pass": seconds(&speed.round_trip),
    })
}

fn to_hex(digest: &Digest) -> String {
    digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    })
}
