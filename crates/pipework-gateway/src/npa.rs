//! The named-pipe-auth exchange: smbd tells who its caller is, and is told what kind of pipe it got.
//!
//! Pure code: bytes in, plain data out. Samba calls this exchange an internal matter that may change, so it is read strictly:
//! each count and length has a bound, what fills gaps must be zero, and nothing may come after the end. Anything else is an
//! error that says where and why, never a guess.
//!
//! The request carries secrets, the key of the session and perhaps delegated tickets. They are passed over, and no part of
//! them is kept; wiping the buffer is up to who owns it.
//!
//! # Examples
//! ```
//! let sample = include_bytes!("../tests/samples/npa-request-level8.bin");
//! let request = pipework_gateway::npa::parse(sample)?;
//! assert_eq!((request.domain.as_str(), request.account.as_str()), ("SCOUT", "smbtest"));
//! # Ok::<(), pipework_gateway::npa::Malformed>(())
//! ```

mod reader;
mod reply;
mod sid;
#[cfg(test)]
mod tests;

use std::{error::Error, fmt};

use reader::Reader;
pub use reply::{REPLY_LEN, reply};
pub use sid::Sid;

/// The bytes that tell how many come after them.
pub const PREFIX_LEN: usize = 4;

/// The longest request, prefix included: a caller with all the groups that are allowed here has less.
pub const REQUEST_LEN_MAX: usize = 512 * 1024;

const MAGIC: &[u8] = b"NPAM";
/// Level 7 is that of Samba 4.17 to 4.19, level 8 that of 4.20 and later.
const LEVELS: std::ops::RangeInclusive<u32> = 7..=8;
/// The one transport that is named pipes.
const TRANSPORT_PIPES: u8 = 1;

/// Of each caller; Windows ends at about a thousand.
const SIDS_MAX: usize = 8 * 1024;
/// Linux knows no more.
const GROUPS_MAX: usize = 65_536;
/// Session keys have 16 bytes today.
const SESSION_KEY_LEN_MAX: usize = 256;
/// Tickets that the caller has handed to the server.
const TICKETS_LEN_MAX: usize = 256 * 1024;
/// Names, paths and addresses.
const STRING_LEN_MAX: usize = 4096;

/// Who calls, as smbd has authenticated it; the secrets of the request are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The version of the exchange, which the reply repeats.
    pub level: u32,
    /// The address that the caller comes from, as text.
    pub client_address: String,
    /// The caller's name.
    pub account: String,
    /// Where that name is known.
    pub domain: String,
    /// Security identifiers: the account's own first, then its groups and what else Samba says of the session.
    pub sids: Vec<Sid>,
    /// The user that the caller is on this computer.
    pub user_id: u64,
    /// That user's first group.
    pub group_id: u64,
    /// All groups of that user.
    pub group_ids: Vec<u64>,
}

/// Why bytes are no request that this version can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A version of the exchange that is not spoken here.
    Level(u32),
    /// A length that no request has.
    Length(usize),
    /// Bytes that are not as they must be.
    At {
        /// Where, counted from the first byte of the prefix.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Level(level) => write!(
                f,
                "level {level} of the exchange is unknown: 7 is Samba 4.17 to 4.19, 8 is 4.20 and later"
            ),
            Malformed::Length(len) => write!(f, "a request of {len} bytes"),
            Malformed::At { offset, what } => write!(f, "{what} at offset {offset}"),
        }
    }
}

impl Error for Malformed {}

/// The length of the whole request, prefix included, that begins with `prefix`.
///
/// # Errors
/// When no request has that length.
pub fn request_len(prefix: [u8; PREFIX_LEN]) -> Result<usize, Malformed> {
    let rest = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    let len = rest.saturating_add(PREFIX_LEN);
    if len <= REQUEST_LEN_MAX { Ok(len) } else { Err(Malformed::Length(len)) }
}

/// Reads a whole request, prefix included.
///
/// # Errors
/// When it is not exactly a request of level 7 or 8.
pub fn parse(bytes: &[u8]) -> Result<Request, Malformed> {
    let mut reader = Reader::new(bytes);
    let prefix = reader.array()?;
    if request_len(prefix)? != bytes.len() {
        return Err(Malformed::Length(bytes.len()));
    }
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(reader.wrong("no named-pipe-auth request"));
    }
    let level = reader.u32()?;
    if !LEVELS.contains(&level) {
        return Err(Malformed::Level(level));
    }
    if reader.u32()? != level {
        return Err(reader.wrong("two different levels"));
    }
    let client_address = addresses(&mut reader)?;
    let parts = session(&mut reader)?;
    let sids = security_token(&mut reader, level)?;
    let (user_id, group_id, group_ids) = unix_token(&mut reader)?;
    let (account, domain) = user_info(&mut reader)?;
    if parts.unix_info {
        unix_info(&mut reader)?;
    }
    reader.end()?;
    Ok(Request { level, client_address, account, domain, sids, user_id, group_id, group_ids })
}

/// The two ends of the caller's connection; the address that it comes from.
fn addresses(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    if reader.u8()? != TRANSPORT_PIPES {
        return Err(reader.wrong("a transport that is not named pipes"));
    }
    let client_name = reader.pointer()?;
    let client_address = reader.pointer()?;
    let _client_port = reader.u16()?;
    let server_name = reader.pointer()?;
    let server_address = reader.pointer()?;
    let _server_port = reader.u16()?;
    if !reader.pointer()? {
        return Err(reader.wrong("no session"));
    }
    reader.pass_string(client_name)?;
    if !client_address {
        return Err(reader.wrong("no address of the caller"));
    }
    let address = reader.string()?;
    reader.pass_string(server_name)?;
    reader.pass_string(server_address)?;
    Ok(address)
}

/// What a session has that may be left out.
struct Parts {
    unix_info: bool,
}

/// The session's fixed part, with its secrets, which are passed over.
fn session(reader: &mut Reader<'_>) -> Result<Parts, Malformed> {
    if !reader.pointer()? {
        return Err(reader.wrong("an empty session"));
    }
    reader.pass_blob(TICKETS_LEN_MAX)?;
    let (token, unix_token, info) = (reader.pointer()?, reader.pointer()?, reader.pointer()?);
    let unix_info = reader.pointer()?;
    if !(token && unix_token && info) {
        return Err(reader.wrong("a session without token, user or name"));
    }
    reader.null("a pointer that is never set")?;
    reader.pass_blob(SESSION_KEY_LEN_MAX)?;
    reader.null("a pointer that is never set")?;
    let _unique_token: [u8; 16] = reader.array()?;
    let _ticket_type = reader.u16()?;
    Ok(Parts { unix_info })
}

fn security_token(reader: &mut Reader<'_>, level: u32) -> Result<Vec<Sid>, Malformed> {
    reader.align(8)?;
    let count = reader.u32()?;
    let sids = sids(reader, count)?;
    let _privileges = reader.u64()?;
    let _rights = reader.u32()?;
    if level >= 8 {
        claims(reader)?;
    }
    Ok(sids)
}

/// Claims say more of a caller than is used here; what they look like was never seen, so there must be none.
fn claims(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let claims: [u32; 3] = [reader.u32()?, reader.u32()?, reader.u32()?];
    let device_sids = reader.u32()?;
    if claims != [0; 3] {
        return Err(reader.wrong("claims, which can't be read here,"));
    }
    for _ in claims {
        if reader.u32()? != 0 {
            return Err(reader.wrong("claims that were not announced"));
        }
    }
    sids(reader, device_sids)?;
    let _evaluate_claims = reader.u16()?;
    Ok(())
}

/// An array of as many identifiers as were announced.
fn sids(reader: &mut Reader<'_>, announced: u32) -> Result<Vec<Sid>, Malformed> {
    let count = reader.count(SIDS_MAX)?;
    if u32::try_from(count) != Ok(announced) {
        return Err(reader.wrong("two different numbers of identifiers"));
    }
    (0..count).map(|_| Sid::read(reader)).collect()
}

fn unix_token(reader: &mut Reader<'_>) -> Result<(u64, u64, Vec<u64>), Malformed> {
    let count = reader.count(GROUPS_MAX)?;
    let (user_id, group_id) = (reader.u64()?, reader.u64()?);
    if reader.count(GROUPS_MAX)? != count {
        return Err(reader.wrong("two different numbers of groups"));
    }
    let group_ids = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
    Ok((user_id, group_id, group_ids))
}

/// The caller's names; account and domain are kept.
fn user_info(reader: &mut Reader<'_>) -> Result<(String, String), Malformed> {
    let account = reader.pointer()?;
    let principal = reader.pointer()?;
    let _principal_is_made_up = reader.u8()?;
    let domain = reader.pointer()?;
    // Domain in the DNS, full name, script, profile, home, drive, server.
    let mut others = [false; 7];
    for other in &mut others {
        *other = reader.pointer()?;
    }
    for _ in 0..6 {
        let _time: [u8; 8] = reader.array()?;
    }
    let _counts = (reader.u16()?, reader.u16()?);
    let _flags = reader.u32()?;
    // Of different sizes in different versions, and padded to this.
    let _last: [u8; 4] = reader.array()?;
    if !(account && domain) {
        return Err(reader.wrong("a caller without a name"));
    }
    let account = reader.string()?;
    reader.pass_string(principal)?;
    let domain = reader.string()?;
    for other in others {
        reader.pass_string(other)?;
    }
    Ok((account, domain))
}

fn unix_info(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let (name, sanitised) = (reader.pointer()?, reader.pointer()?);
    reader.pass_string(name)?;
    reader.pass_string(sanitised)
}
