//! The names under which smbd looks for pipes: file names in its directory.

use std::fmt;

use pipework::{PipeName, PipeNameKind};

/// The longest path of a Unix socket: `sun_path` without the NUL.
const SOCKET_PATH_LEN_MAX: usize = 107;

/// The names of pipes that Samba and Windows serve. Clients expect these services there, so no other pipe is exported
/// by such a name.
const RESERVED_NAMES: [&str; 33] = [
    "atsvc",
    "backupkey",
    "browser",
    "dnsserver",
    "drsuapi",
    "dssetup",
    "epmapper",
    "eventlog",
    "fssagentrpc",
    "fsrvp",
    "initshutdown",
    "keysvc",
    "lsarpc",
    "lsass",
    "mdssvc",
    "mgmt",
    "netdfs",
    "netlogon",
    "ntsvcs",
    "plugplay",
    "protected_storage",
    "rpcecho",
    "samr",
    "scerpc",
    "spoolss",
    "srvsvc",
    "svcctl",
    "trkwks",
    "unixinfo",
    "winreg",
    "witness",
    "wkssvc",
    "w32time",
];

/// Why a pipe can't be exported under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// One of Samba's pipes has this name.
    Reserved,
    /// The name is not a valid file name, or smbd refuses it.
    NotAFileName,
    /// The path of the link is too long for a socket.
    TooLong,
    /// The name is not that of a local pipe.
    NotLocal,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Reserved => "the name is reserved for one of Samba's pipes",
            NameError::NotAFileName => {
                "smbd can't look up the name: it contains a slash or NUL, or is `.` or `..`"
            }
            NameError::TooLong => "the name is too long for a socket in smbd's directory",
            NameError::NotLocal => "the pipe is not a local pipe",
        })
    }
}

/// Returns the file name that smbd looks up when a remote client opens a pipe: the pipe's name in lower case.
/// `path_len` returns the length of the path that a file name has.
pub(crate) fn export_name(name: &PipeName, path_len: impl Fn(&str) -> usize) -> Result<String, NameError> {
    let PipeNameKind::Local(name) = name.kind() else { return Err(NameError::NotLocal) };
    let name: String = name.chars().map(to_lowercase).collect();
    if name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(NameError::NotAFileName);
    }
    if RESERVED_NAMES.contains(&name.as_str()) {
        return Err(NameError::Reserved);
    }
    if path_len(&name) > SOCKET_PATH_LEN_MAX {
        return Err(NameError::TooLong);
    }
    Ok(name)
}

/// Unicode's simple case mapping: one character for one character.
fn to_lowercase(char: char) -> char {
    let mut mapped = char.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(name: &str) -> Result<String, NameError> {
        // With the prefix: without it, a name that begins with a slash is the path of a Unix socket.
        let name = PipeName::new(format!(r"\\.\pipe\{name}")).unwrap();
        export_name(&name, |name| "/run/samba/ncalrpc/np/".len() + name.len())
    }

    #[test]
    fn names_are_in_lower_case() {
        assert_eq!(exported("Echo.Service-1"), Ok("echo.service-1".into()));
        assert_eq!(exported("GRÜSSE"), Ok("grüsse".into()));
        assert_eq!(exported(r"Back\Slash"), Ok(r"back\slash".into()));
        assert_eq!(exported("..."), Ok("...".into()));
    }

    #[test]
    fn names_that_are_not_file_names_are_refused() {
        for name in ["a/b", "/", "..", ".", "../../etc/passwd"] {
            assert_eq!(exported(name), Err(NameError::NotAFileName), "{name}");
        }
    }

    #[test]
    fn the_names_of_sambas_pipes_are_reserved() {
        for name in ["lsarpc", "LSARPC", "Srvsvc", "samr", "netlogon", "spoolss"] {
            assert_eq!(exported(name), Err(NameError::Reserved), "{name}");
        }
    }

    #[test]
    fn the_length_of_the_path_is_limited() {
        assert!(exported(&"x".repeat(107 - 22)).is_ok());
        assert_eq!(exported(&"x".repeat(107 - 22 + 1)), Err(NameError::TooLong));
        assert_eq!(exported(&"ü".repeat(43)), Err(NameError::TooLong), "bytes count");
    }
}
