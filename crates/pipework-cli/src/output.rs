//! Output: results on stdout, messages to the user on stderr.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    failure::{Failure, Status},
    stdio::{write_stderr, write_stdout},
};

/// Writes a result to stdout in one piece, so that a reader gets it immediately.
pub(crate) fn print(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), Failure> {
    let mut text = Vec::new();
    write(&mut text).and_then(|()| write_stdout(&text)).map_err(|error| Failure::stdout(&error))
}

/// Reports a failure to the user, and returns the exit code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    if failure.status != Status::StdoutClosed {
        say(format_args!("{}", failure.text));
        if let Some(hint) = &failure.hint {
            say_more(format_args!("hint: {hint}"));
        }
    }
    ExitCode::from(failure.status as u8)
}

/// Writes a message to stderr. If stderr is closed, the message is lost, and the command goes on.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    write_stderr(format!("pipework: {text}\n").as_bytes()).ok();
}

/// Writes one more line of the message of [`say`].
fn say_more(text: fmt::Arguments<'_>) {
    write_stderr(format!("  {text}\n").as_bytes()).ok();
}

/// The first `len` bytes, which a call that returned `len` has filled.
pub(crate) fn filled(buffer: &[u8], len: usize) -> &[u8] {
    buffer.get(..len).unwrap_or(buffer)
}

/// Formats a number with its noun, in the plural if needed.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Writes rows in columns, each as wide as its widest cell. The columns in `right` are aligned to the right.
pub(crate) fn write_table<const N: usize>(
    out: &mut impl Write,
    rows: &[[String; N]],
    right: &[usize],
) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (index, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            line.push_str(&if right.contains(&index) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            });
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let rows = [["NAME", "N", "PLACE"], ["a", "12", "x"], ["längst", "3", ""]];
        let rows = rows.map(|row| row.map(str::to_owned));
        let mut out = Vec::new();
        write_table(&mut out, &rows, &[1]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "NAME     N  PLACE\na       12  x\nlängst   3\n");
    }
}
