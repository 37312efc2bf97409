//! The names under which smbd looks for pipes: file names in its directory.

use std::fmt;

use pipework::{PipeName, PipeNameKind};

use super::smbd_case;

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

/// Returns the file names that smbd looks up when a remote client opens a pipe. `path_len` returns the length of the
/// path that a file name has.
///
/// The first is for the name as the server spells it. smbd leaves some capitals as they are, so the name in small
/// letters and the name in capitals can be other files. Each name belongs to one pipe: see [`is_same_pipe`].
pub(crate) fn export_names(
    name: &PipeName,
    path_len: impl Fn(&str) -> usize,
) -> Result<Vec<String>, NameError> {
    let PipeNameKind::Local(given) = name.kind() else { return Err(NameError::NotLocal) };
    let mut files = vec![lookup_name(given, &path_len)?];
    for map in [to_small, to_capital] {
        let spelling: String = given.chars().map(map).collect();
        // Another spelling that smbd can't look up is reached by the spellings that it can.
        let file = lookup_name(&spelling, &path_len).ok().filter(|_| is_same_pipe(name, &spelling));
        files.extend(file.filter(|file| !files.contains(file)));
    }
    Ok(files)
}

/// Returns the file name that smbd looks up when a remote client asks for this spelling.
fn lookup_name(spelling: &str, path_len: impl Fn(&str) -> usize) -> Result<String, NameError> {
    let file: String = spelling.chars().map(smbd_case::to_lowercase).collect();
    if file.contains(['/', '\0']) || file == "." || file == ".." {
        return Err(NameError::NotAFileName);
    }
    if RESERVED_NAMES.contains(&file.as_str()) {
        return Err(NameError::Reserved);
    }
    if path_len(&file) > SOCKET_PATH_LEN_MAX {
        return Err(NameError::TooLong);
    }
    Ok(file)
}

/// Whether a spelling names this pipe. Then no other pipe has the file name of the spelling: letters that smbd puts into
/// one are one for the library too.
fn is_same_pipe(name: &PipeName, spelling: &str) -> bool {
    PipeName::new(format!(r"\\.\pipe\{spelling}")).is_ok_and(|other| other == *name)
}

fn to_small(letter: char) -> char {
    single(letter.to_lowercase()).unwrap_or(letter)
}

fn to_capital(letter: char) -> char {
    single(letter.to_uppercase()).unwrap_or(letter)
}

/// The letter, unless the mapping has several.
fn single(mut mapped: impl Iterator<Item = char>) -> Option<char> {
    let first = mapped.next();
    first.filter(|_| mapped.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(name: &str) -> PipeName {
        // With the prefix: without it, a name that begins with a slash is the path of a Unix socket.
        PipeName::new(format!(r"\\.\pipe\{name}")).unwrap()
    }

    fn all_exported(name: &str) -> Result<Vec<String>, NameError> {
        export_names(&pipe(name), |name| "/run/samba/ncalrpc/np/".len() + name.len())
    }

    fn exported(name: &str) -> Result<String, NameError> {
        let files = all_exported(name)?;
        assert_eq!(files.len(), 1, "{files:?}");
        Ok(files[0].clone())
    }

    #[test]
    fn names_are_in_lower_case() {
        assert_eq!(exported("Echo.Service-1"), Ok("echo.service-1".into()));
        assert_eq!(exported("GRÜSSE"), Ok("grüsse".into()));
        assert_eq!(exported(r"Back\Slash"), Ok(r"back\slash".into()));
        assert_eq!(exported("..."), Ok("...".into()));
    }

    #[test]
    fn a_name_has_a_file_for_each_spelling_that_smbd_tells_apart() {
        // smbd puts Ă into lower case, and not Ș.
        assert_eq!(all_exported("Știri Ă"), Ok(vec!["Știri ă".into(), "știri ă".into()]));
        assert_eq!(all_exported("știri"), Ok(vec!["știri".into(), "Știri".into()]));
        assert_eq!(all_exported("ȘȚ-șț"), Ok(vec!["ȘȚ-șț".into(), "șț-șț".into(), "ȘȚ-ȘȚ".into()]));
        // Beyond the Basic Multilingual Plane, case counts for smbd and for the library.
        assert_eq!(all_exported("\u{10400}"), Ok(vec!["\u{10400}".into()]));
        // The Ohm sign is not the letter Ω for the library, so its small letter belongs to another pipe.
        assert_eq!(all_exported("\u{2126}"), Ok(vec!["\u{2126}".into()]));
        // A spelling that is reserved is left out.
        assert_eq!(all_exported("\u{17f}poolss"), Ok(vec!["\u{17f}poolss".into()]));
    }

    #[test]
    fn letters_that_are_one_for_smbd_are_one_for_the_library() {
        let letters = ('\u{1}'..=char::MAX).filter(|letter| !r"\/".contains(*letter));
        let changed: Vec<char> =
            letters.filter(|letter| smbd_case::to_lowercase(*letter) != *letter).collect();
        assert_eq!(changed.len(), 635);
        for letter in changed {
            let small = smbd_case::to_lowercase(letter);
            assert!(is_same_pipe(&pipe(&letter.to_string()), &small.to_string()), "{letter:?} {small:?}");
            assert_eq!(smbd_case::to_lowercase(small), small, "{letter:?}");
        }
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
