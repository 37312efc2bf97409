//! Where messages begin and end in stdin and in stdout.

use std::io::{self, BufRead, Read, Write};

use crate::{
    args::ConnectArgs,
    cmd::connect::hex::{self, HexDump},
};

/// The length of a message, before it: 4 bytes, the lowest first.
const LENGTH_LEN: usize = size_of::<u32>();

/// How messages are separated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There are no messages.
    Bytes,
    /// This byte ends a message.
    Ended(u8),
    /// Its length comes before a message.
    Lengths,
}

impl Framing {
    pub(super) fn new(args: &ConnectArgs) -> Framing {
        match args {
            ConnectArgs { framed: true, .. } => Framing::Lengths,
            ConnectArgs { null: true, .. } => Framing::Ended(0),
            ConnectArgs { message: true, .. } => Framing::Ended(b'\n'),
            _ => Framing::Bytes,
        }
    }

    pub(super) fn has_messages(self) -> bool {
        self != Framing::Bytes
    }
}

/// Stdin in pieces: messages, and for a byte pipe what is sent by one write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) framing: Framing,
    /// Whether it is lines of hexadecimal digits.
    pub(super) hex: bool,
}

impl Input {
    /// Replaces the piece by the next one. Returns `false` at the end. The last message needs no end.
    pub(super) fn read(self, stdin: &mut impl BufRead, piece: &mut Vec<u8>) -> io::Result<bool> {
        piece.clear();
        match self.framing {
            _ if self.hex => {
                let found = read_until(stdin, b'\n', piece)?;
                *piece = hex::decode(piece)?;
                Ok(found)
            }
            Framing::Bytes => {
                piece.extend_from_slice(stdin.fill_buf()?);
                stdin.consume(piece.len());
                Ok(!piece.is_empty())
            }
            Framing::Ended(end) => read_until(stdin, end, piece),
            Framing::Lengths => {
                let mut length = [0; LENGTH_LEN];
                // An end of stdin is one only before a message.
                if stdin.fill_buf()?.is_empty() {
                    return Ok(false);
                }
                stdin.read_exact(&mut length).map_err(cut)?;
                let length = u64::from(u32::from_le_bytes(length));
                // Only what arrives takes memory.
                let read = stdin.take(length).read_to_end(piece)?;
                if u64::try_from(read).is_ok_and(|read| read == length) {
                    Ok(true)
                } else {
                    Err(cut(io::ErrorKind::UnexpectedEof.into()))
                }
            }
        }
    }
}

/// Reads up to this byte, and removes it.
fn read_until(stdin: &mut impl BufRead, end: u8, piece: &mut Vec<u8>) -> io::Result<bool> {
    let found = stdin.read_until(end, piece)? > 0;
    if piece.last() == Some(&end) {
        piece.pop();
    }
    Ok(found)
}

fn cut(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it ends within a message"),
        _ => error,
    }
}

/// Prints received data in the format that the options select.
pub(super) struct Printer {
    framing: Framing,
    hex: Option<HexDump>,
    /// The parts of a message whose length is not known yet.
    held: Vec<u8>,
}

impl Printer {
    pub(super) fn new(framing: Framing, hex: bool) -> Printer {
        Printer { framing, hex: hex.then(HexDump::default), held: Vec::new() }
    }

    /// `whole` means that a message ends here.
    pub(super) fn write(&mut self, out: &mut impl Write, bytes: &[u8], whole: bool) -> io::Result<()> {
        if let Some(hex) = &mut self.hex {
            hex.write(out, bytes)?;
            return if self.framing.has_messages() && whole { hex.end_message(out) } else { Ok(()) };
        }
        match self.framing {
            Framing::Bytes => out.write_all(bytes),
            Framing::Ended(end) => {
                out.write_all(bytes)?;
                if whole { out.write_all(&[end]) } else { Ok(()) }
            }
            Framing::Lengths => {
                self.held.extend_from_slice(bytes);
                if !whole {
                    return Ok(());
                }
                let length = u32::try_from(self.held.len())
                    .map_err(|_| io::Error::other("a message is too long for --framed"))?;
                out.write_all(&length.to_le_bytes())?;
                out.write_all(&self.held)?;
                self.held = Vec::new();
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(framing: Framing) -> Vec<u8> {
        let mut printer = Printer::new(framing, false);
        let mut out = Vec::new();
        printer.write(&mut out, b"ab", false).unwrap();
        printer.write(&mut out, b"\nc", true).unwrap();
        printer.write(&mut out, b"", true).unwrap();
        out
    }

    fn pieces(framing: Framing, hex: bool, mut stdin: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        while (Input { framing, hex }).read(&mut stdin, &mut piece)? {
            pieces.push(piece.clone());
        }
        Ok(pieces)
    }

    #[test]
    fn a_message_is_framed_even_in_parts_or_empty() {
        assert_eq!(printed(Framing::Bytes), b"ab\nc");
        assert_eq!(printed(Framing::Ended(b'\n')), b"ab\nc\n\n");
        assert_eq!(printed(Framing::Ended(0)), b"ab\nc\0\0");
        assert_eq!(printed(Framing::Lengths), b"\x04\0\0\0ab\nc\0\0\0\0");
    }

    #[test]
    fn what_is_printed_can_be_sent() {
        for framing in [Framing::Ended(0), Framing::Lengths] {
            let sent = pieces(framing, false, &printed(framing)).unwrap();
            assert_eq!(sent, [&b"ab\nc"[..], b""], "{framing:?}");
        }
        assert_eq!(pieces(Framing::Ended(0), false, b"a\0b").unwrap(), [b"a", b"b"]);
    }

    #[test]
    fn a_message_that_is_cut_is_an_error() {
        for cut in [&b"\x01"[..], b"\x02\0\0\0a", b"\0\0\0\0\xff\xff\xff\xff"] {
            let error = pieces(Framing::Lengths, false, cut).unwrap_err();
            assert_eq!(error.to_string(), "it ends within a message");
        }
    }

    #[test]
    fn a_line_of_hexadecimal_digits_is_a_piece() {
        let sent = pieces(Framing::Bytes, true, b"68 69\n\nFf0 0").unwrap();
        assert_eq!(sent, [&b"hi"[..], b"", b"\xff\0"]);
        assert!(pieces(Framing::Bytes, true, b"6").is_err());
        assert!(pieces(Framing::Bytes, true, b"no").is_err());
    }
}
