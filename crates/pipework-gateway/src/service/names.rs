//! Names of pipes as smbd looks for them: files in a directory.

use std::fmt;

use pipework::{PipeName, PipeNameKind};

/// The longest path of a Unix socket, `sun_path` without its NUL.
const SOCKET_PATH_LEN_MAX: usize = 107;

/// Pipes of Samba and Windows, which mean something to every client. No pipe of ours may stand in for one of them.
const SAMBAS_OWN: [&str; 33] = [
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

/// Why the network can't have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is one of Samba's own.
    Reserved,
    /// smbd refuses it, or it is no name of a file.
    NoFile,
    /// The path of its socket would not fit.
    TooLong,
    /// It is no local pipe.
    Elsewhere,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::Reserved => "it is the name of a pipe of Samba's own",
            Unfit::NoFile => "smbd can't look for it: it has a slash, or is made of dots",
            Unfit::TooLong => "it is too long for a socket where smbd looks",
            Unfit::Elsewhere => "it is no pipe of this computer",
        })
    }
}

/// What smbd looks for when a caller opens a pipe: its name in small letters. `path_len` tells how long the path to it is.
pub(crate) fn network_name(name: &PipeName, path_len: impl Fn(&str) -> usize) -> Result<String, Unfit> {
    let PipeNameKind::Local(name) = name.kind() else { return Err(Unfit::Elsewhere) };
    let name: String = name.chars().map(lower).collect();
    if name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(Unfit::NoFile);
    }
    if SAMBAS_OWN.contains(&name.as_str()) {
        return Err(Unfit::Reserved);
    }
    if path_len(&name) > SOCKET_PATH_LEN_MAX {
        return Err(Unfit::TooLong);
    }
    Ok(name)
}

/// The simple mapping, one to one.
fn lower(char: char) -> char {
    let mut lower = char.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(name: &str) -> Result<String, Unfit> {
        // With its prefix: a bare one that begins with a slash would be the path of a socket.
        let name = PipeName::new(format!(r"\\.\pipe\{name}")).unwrap();
        network_name(&name, |name| "/run/samba/ncalrpc/np/".len() + name.len())
    }

    #[test]
    fn names_are_in_small_letters() {
        assert_eq!(fit("Echo.Service-1"), Ok("echo.service-1".into()));
        assert_eq!(fit("GRÜSSE"), Ok("grüsse".into()));
        assert_eq!(fit(r"Back\Slash"), Ok(r"back\slash".into()));
        assert_eq!(fit("..."), Ok("...".into()));
    }

    #[test]
    fn names_that_are_no_files_are_unfit() {
        for name in ["a/b", "/", "..", ".", "../../etc/passwd"] {
            assert_eq!(fit(name), Err(Unfit::NoFile), "{name}");
        }
    }

    #[test]
    fn sambas_own_names_are_reserved() {
        for name in ["lsarpc", "LSARPC", "Srvsvc", "samr", "netlogon", "spoolss"] {
            assert_eq!(fit(name), Err(Unfit::Reserved), "{name}");
        }
    }

    #[test]
    fn names_fit_into_the_path_of_a_socket() {
        assert!(fit(&"x".repeat(107 - 22)).is_ok());
        assert_eq!(fit(&"x".repeat(107 - 22 + 1)), Err(Unfit::TooLong));
        assert_eq!(fit(&"ü".repeat(43)), Err(Unfit::TooLong), "bytes count");
    }
}
