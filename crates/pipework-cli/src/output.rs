//! The two ways out: results on stdout, everything that is said to the user on stderr.

use std::{
    fmt,
    io::{self, StdoutLock, Write},
};

use crate::failure::Failure;

/// Writes a result to stdout and flushes it, so that a reader gets it now.
pub(crate) fn print(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write(&mut stdout).and_then(|()| stdout.flush()).map_err(|error| Failure::stdout(&error))
}

/// Tells the user something. Where stderr is closed there is nobody to tell, and that is no reason to end.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    writeln!(io::stderr().lock(), "pipework: {text}").ok();
}

/// Goes on after [`say`], on a line of its own.
pub(crate) fn say_more(text: fmt::Arguments<'_>) {
    writeln!(io::stderr().lock(), "  {text}").ok();
}

/// The first `len` bytes: what a call that returned `len` has put there.
pub(crate) fn filled(buffer: &[u8], len: usize) -> &[u8] {
    buffer.get(..len).unwrap_or(buffer)
}

/// A number with its noun in the plural where that is needed.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Writes rows in columns, each as wide as its widest cell; the columns of `right` are numbers.
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
