//! Security identifiers.

use std::fmt;

use super::{Malformed, reader::Reader};

/// No identifier has more numbers behind its authority.
const NUMBERS_MAX: u8 = 15;

/// A security identifier, which prints as `S-1-5-11`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: u64,
    numbers: Vec<u32>,
}

impl Sid {
    /// The authority: 5 is Windows' own, 22 is Samba's.
    pub fn authority(&self) -> u64 {
        self.authority
    }

    /// What comes behind the authority.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Sid, Malformed> {
        // Aligned as its largest number.
        reader.align(4)?;
        if reader.u8()? != 1 {
            return Err(reader.wrong("an identifier of an unknown revision"));
        }
        let count = reader.u8()?;
        if count > NUMBERS_MAX {
            return Err(reader.wrong("an identifier that is too long"));
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
