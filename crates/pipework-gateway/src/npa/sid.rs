//! Security identifiers.

use std::fmt;

use super::{malformed::Malformed, reader::Reader};

/// The limit on the numbers after the authority.
const NUMBERS_MAX: u8 = 15;

/// A security identifier, displayed as in `S-1-5-11`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: u64,
    numbers: Vec<u32>,
}

impl Sid {
    /// The authority: 5 is that of Windows, 22 that of Samba.
    pub fn authority(&self) -> u64 {
        self.authority
    }

    /// The numbers after the authority.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Sid, Malformed> {
        // The alignment of its largest field.
        reader.align(4)?;
        if reader.u8()? != 1 {
            return Err(reader.malformed("a SID of an unknown revision"));
        }
        let count = reader.u8()?;
        if count > NUMBERS_MAX {
            return Err(reader.malformed("a SID that is too long"));
        }
        let authority: [u8; 6] = reader.array()?;
        let authority = authority.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let numbers = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
        Ok(Sid { authority, numbers })
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Windows writes an authority of more than 32 bits in hexadecimal.
        if self.authority <= u64::from(u32::MAX) {
            write!(f, "S-1-{}", self.authority)?;
        } else {
            write!(f, "S-1-{:#014x}", self.authority)?;
        }
        self.numbers.iter().try_for_each(|number| write!(f, "-{number}"))
    }
}
