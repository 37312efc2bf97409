//! The named-pipe-auth exchange: smbd sends the identity of its client, the gateway replies with the mode of the
//! pipe.
//!
//! This module does no I/O. Samba may change the exchange, which it considers internal. So the parser is strict: each
//! count and length has a limit, padding must be zero, and nothing may follow the end. Anything else is an error with
//! an offset and a reason.
//!
//! A request contains secrets: the session key, and delegated tickets if there are any. The parser skips them and
//! keeps no part of them. The owner of the buffer has to wipe it.
//!
//! # Examples
//! ```
//! let sample = include_bytes!("../tests/samples/npa-request-level8.bin");
//! let request = pipework_gateway::npa::parse(sample)?;
//! assert_eq!((request.domain.as_str(), request.account.as_str()), ("SCOUT", "smbtest"));
//! # Ok::<(), pipework_gateway::npa::Malformed>(())
//! ```

mod malformed;
mod reader;
mod reply;
mod sid;
#[cfg(test)]
mod tests;

pub use malformed::Malformed;
use reader::Reader;
use reply::MAGIC;
pub use reply::{REPLY_LEN, reply};
pub use sid::Sid;

/// The size of the prefix, which is the number of bytes that follow it.
pub const PREFIX_LEN: usize = 4;

/// The limit on the length of a request with its prefix. A client with the most groups that are accepted needs less.
pub const REQUEST_LEN_MAX: usize = 512 * 1024;

/// Samba 4.17 to 4.19 use level 7, 4.20 and later use level 8.
const LEVELS: std::ops::RangeInclusive<u32> = 7..=8;
/// The transport of named pipes; the others belong to RPC.
const TRANSPORT_PIPES: u8 = 1;

/// The limit on the SIDs of a client; on Windows it is about a thousand.
const SIDS_MAX: usize = 8 * 1024;
/// The limit of Linux.
const GROUPS_MAX: usize = 65_536;
/// The limit on the session key, which has 16 bytes in current versions.
const SESSION_KEY_LEN_MAX: usize = 256;
/// The limit on the tickets that the client has delegated.
const TICKETS_LEN_MAX: usize = 256 * 1024;

/// The identity of a client, as smbd has authenticated it. It contains no secret of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The level of the exchange, which the reply repeats.
    pub level: u32,
    /// The client's address, as text.
    pub client_address: String,
    /// The account's name.
    pub account: String,
    /// The domain of the account.
    pub domain: String,
    /// Security identifiers: first the account's, then those of its groups and those by which Samba describes the
    /// session.
    pub sids: Vec<Sid>,
    /// The Unix user to which Samba maps the account.
    pub user_id: u64,
    /// The primary group of that user.
    pub group_id: u64,
    /// All groups of that user.
    pub group_ids: Vec<u64>,
}

/// Returns the length of a request from its prefix. The prefix is included.
///
/// # Errors
/// [`Malformed::Length`] if the length exceeds [`REQUEST_LEN_MAX`].
pub fn request_len(prefix: [u8; PREFIX_LEN]) -> Result<usize, Malformed> {
    let rest = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    let len = rest.saturating_add(PREFIX_LEN);
    if len <= REQUEST_LEN_MAX { Ok(len) } else { Err(Malformed::Length(len)) }
}

/// Parses a whole request with its prefix.
///
/// # Errors
/// If the bytes are not exactly one request of level 7 or 8.
pub fn parse(bytes: &[u8]) -> Result<Request, Malformed> {
    let mut reader = Reader::new(bytes);
    let prefix = reader.array()?;
    if request_len(prefix)? != bytes.len() {
        return Err(Malformed::Length(bytes.len()));
    }
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(reader.malformed("not a named-pipe-auth request"));
    }
    let level = reader.u32()?;
    if !LEVELS.contains(&level) {
        return Err(Malformed::Level(level));
    }
    if reader.u32()? != level {
        return Err(reader.malformed("two different levels"));
    }
    let client_address = read_addresses(&mut reader)?;
    let has_unix_info = read_session(&mut reader)?;
    let sids = read_security_token(&mut reader, level)?;
    let (user_id, group_id, group_ids) = read_unix_token(&mut reader)?;
    let (account, domain) = read_user_info(&mut reader)?;
    if has_unix_info {
        skip_unix_info(&mut reader)?;
    }
    reader.expect_end()?;
    Ok(Request { level, client_address, account, domain, sids, user_id, group_id, group_ids })
}

/// Reads names and addresses of the client and of smbd. Returns the client's address.
fn read_addresses(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    if reader.u8()? != TRANSPORT_PIPES {
        return Err(reader.malformed("a transport that is not named pipes"));
    }
    let client_name = reader.pointer()?;
    let client_address = reader.pointer()?;
    let _client_port = reader.u16()?;
    let server_name = reader.pointer()?;
    let server_address = reader.pointer()?;
    let _server_port = reader.u16()?;
    if !reader.pointer()? {
        return Err(reader.malformed("no session"));
    }
    reader.skip_string(client_name)?;
    if !client_address {
        return Err(reader.malformed("no address of the client"));
    }
    let address = reader.string()?;
    reader.skip_string(server_name)?;
    reader.skip_string(server_address)?;
    Ok(address)
}

/// Reads the fixed part of the session and skips its secrets. Returns whether the optional Unix names follow.
fn read_session(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    if !reader.pointer()? {
        return Err(reader.malformed("an empty session"));
    }
    reader.skip_blob(TICKETS_LEN_MAX)?;
    let (token, unix_token, info) = (reader.pointer()?, reader.pointer()?, reader.pointer()?);
    let has_unix_info = reader.pointer()?;
    if !(token && unix_token && info) {
        return Err(reader.malformed("a session without token, user or name"));
    }
    reader.expect_null("a pointer that must be null")?;
    reader.skip_blob(SESSION_KEY_LEN_MAX)?;
    reader.expect_null("a pointer that must be null")?;
    let _unique_token: [u8; 16] = reader.array()?;
    let _ticket_type = reader.u16()?;
    Ok(has_unix_info)
}

fn read_security_token(reader: &mut Reader<'_>, level: u32) -> Result<Vec<Sid>, Malformed> {
    reader.align(8)?;
    let count = reader.u32()?;
    let sids = read_sids(reader, count)?;
    let _privileges = reader.u64()?;
    let _rights = reader.u32()?;
    if level >= 8 {
        check_claims(reader)?;
    }
    Ok(sids)
}

/// Checks that there are no claims. The parser does not know their encoding, and the gateway does not need them.
fn check_claims(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let claims: [u32; 3] = [reader.u32()?, reader.u32()?, reader.u32()?];
    let device_sids = reader.u32()?;
    if claims != [0; 3] {
        return Err(reader.malformed("unsupported claims"));
    }
    for _ in claims {
        if reader.u32()? != 0 {
            return Err(reader.malformed("claims that were not announced"));
        }
    }
    read_sids(reader, device_sids)?;
    let _evaluate_claims = reader.u16()?;
    Ok(())
}

/// Reads an array of SIDs, whose count must be the announced one.
fn read_sids(reader: &mut Reader<'_>, announced: u32) -> Result<Vec<Sid>, Malformed> {
    let count = reader.count(SIDS_MAX)?;
    if u32::try_from(count) != Ok(announced) {
        return Err(reader.malformed("two different counts of SIDs"));
    }
    (0..count).map(|_| Sid::read(reader)).collect()
}

fn read_unix_token(reader: &mut Reader<'_>) -> Result<(u64, u64, Vec<u64>), Malformed> {
    let count = reader.count(GROUPS_MAX)?;
    let (user_id, group_id) = (reader.u64()?, reader.u64()?);
    if reader.count(GROUPS_MAX)? != count {
        return Err(reader.malformed("two different counts of groups"));
    }
    let group_ids = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
    Ok((user_id, group_id, group_ids))
}

/// Reads the names of the account. Returns the account and its domain.
fn read_user_info(reader: &mut Reader<'_>) -> Result<(String, String), Malformed> {
    let account = reader.pointer()?;
    let principal = reader.pointer()?;
    let _principal_is_constructed = reader.u8()?;
    let domain = reader.pointer()?;
    // DNS domain, full name, logon script, profile path, home directory, home drive, logon server.
    let mut others = [false; 7];
    for other in &mut others {
        *other = reader.pointer()?;
    }
    for _ in 0..6 {
        let _time: [u8; 8] = reader.array()?;
    }
    let _counts = (reader.u16()?, reader.u16()?);
    let _flags = reader.u32()?;
    // Its size differs between versions; padding makes it 4 bytes in all.
    let _last: [u8; 4] = reader.array()?;
    if !(account && domain) {
        return Err(reader.malformed("no name of the account"));
    }
    let account = reader.string()?;
    reader.skip_string(principal)?;
    let domain = reader.string()?;
    for other in others {
        reader.skip_string(other)?;
    }
    Ok((account, domain))
}

fn skip_unix_info(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let (name, sanitized) = (reader.pointer()?, reader.pointer()?);
    reader.skip_string(name)?;
    reader.skip_string(sanitized)
}
