//! A hex dump in the usual format: offset, sixteen bytes, and the same bytes as text. And the way back, from digits.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

const LINE_LEN: usize = 16;

/// Prints each piece of data immediately: a piece that ends within a line is printed as a shorter line.
#[derive(Debug, Default)]
pub(super) struct HexDump {
    /// The offset of the next byte: in a byte pipe from its beginning, in a message from that of the message.
    offset: usize,
}

impl HexDump {
    pub(super) fn write(&mut self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        for line in bytes.chunks(LINE_LEN) {
            writeln!(out, "{}", format_line(self.offset, line))?;
            self.offset = self.offset.saturating_add(line.len());
        }
        Ok(())
    }

    /// Prints the end of a message with its length, so that empty messages are visible.
    pub(super) fn end_message(&mut self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{:08x}  end of message", self.offset)?;
        self.offset = 0;
        Ok(())
    }
}

/// The bytes of hexadecimal digits. Blanks between them mean nothing.
pub(super) fn decode(text: &[u8]) -> io::Result<Vec<u8>> {
    let wrong = || {
        let text = String::from_utf8_lossy(text);
        io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is not hexadecimal bytes", text.trim_end()))
    };
    let mut digits = text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| {
        let digit = char::from(*byte).to_digit(16).ok_or_else(wrong)?;
        u8::try_from(digit).map_err(|_| wrong())
    });
    let mut bytes = Vec::new();
    while let Some(high) = digits.next() {
        let low = digits.next().ok_or_else(wrong)??;
        bytes.push(high? << 4 | low);
    }
    Ok(bytes)
}

fn format_line(offset: usize, bytes: &[u8]) -> String {
    let mut hex = String::new();
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let gap = if index == LINE_LEN / 2 { "  " } else { " " };
        write!(hex, "{gap}{byte:02x}").ok();
        text.push(if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' });
    }
    format!("{offset:08x} {hex:<49}  |{text}|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(pieces: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut hex = HexDump::default();
        for piece in pieces {
            hex.write(&mut out, piece).unwrap();
        }
        hex.end_message(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_have_sixteen_bytes_and_offsets_go_on() {
        let expected = "\
00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|
00000010  0a ff                                             |..|
00000012  20 7e                                             | ~|
00000014  end of message
";
        assert_eq!(dump(&[b"0123456789abcdef\n\xff", b" ~"]), expected);
    }

    #[test]
    fn an_empty_message_shows() {
        assert_eq!(dump(&[]), "00000000  end of message\n");
    }
}
