//! Names: the meaning of an address, and when two names are the same pipe.

use std::{
    cmp::Ordering,
    ffi::{OsStr, OsString},
    fmt,
    hash::{Hash, Hasher},
    io,
    path::Path,
    str::FromStr,
};

use crate::error::{PipeErrorKind, fail};

/// Windows allows 256 UTF-16 units. The nine units of `\\.\pipe\` are not part of the name.
const NAME_UNITS_MAX: usize = 256 - 9;

/// The longest host name in the Domain Name System and in SMB.
const SERVER_UNITS_MAX: usize = 255;

/// Windows accepts either slash in the prefix of an address.
const SEPARATORS: [char; 2] = ['\\', '/'];

/// A parsed address. Equal names are the same pipe.
///
/// Names compare without regard to case ([rule N1](crate::rules#n1)): each character of the Basic Multilingual Plane
/// compares by its simple upper-case mapping. Remote names compare in the same way, by server and name. Socket paths compare
/// byte by byte. `Display` prints `\\.\pipe\name`, in the spelling that was given.
///
/// # Examples
/// ```
/// use pipework::{PipeName, PipeNameKind};
///
/// let name = PipeName::new("Echo")?;
/// assert_eq!(name, PipeName::new(r"\\.\pipe\ECHO")?);
/// assert_eq!(name.kind(), PipeNameKind::Local("Echo"));
/// assert_eq!(name.to_string(), r"\\.\pipe\Echo");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct PipeName {
    /// The address in its full form, which is printed and parses to this name.
    text: OsString,
    target: Target,
}

/// The target of the address. Equal names have equal `folded` texts.
#[derive(Clone)]
enum Target {
    Local { name: String, folded: String },
    Remote { server: String, name: String, folded: String },
    Socket,
}

/// The target of a [`PipeName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PipeNameKind<'a> {
    /// A local pipe.
    Local(&'a str),
    /// A remote pipe.
    Remote {
        /// The host.
        server: &'a str,
        /// The name of the pipe.
        name: &'a str,
    },
    /// A plain Unix domain socket.
    Socket(&'a Path),
}

impl PipeName {
    /// Parses `name`, `\\.\pipe\name` (also `\\?\pipe\name` and `//./pipe/name`), `\\server\pipe\name`, or on Unix an
    /// absolute path.
    ///
    /// A name has 1 to 247 UTF-16 units and may contain any Unicode character except NUL. `/`, `..`, and dots and spaces at
    /// the end are ordinary parts of a name. So is `\`, but a name without prefix can't begin with it. The prefix is
    /// case-insensitive and accepts both slashes.
    ///
    /// # Platform-specific behavior
    /// On Unix an address that begins with `/`, except `//./pipe/` and `//?/pipe/`, is the path of a Unix domain socket. On
    /// Windows `//server/pipe/name` is a remote pipe, and any other address that begins with `/` is invalid
    /// ([rule N1](crate::rules#n1)).
    ///
    /// # Errors
    /// [`PipeErrorKind::Invalid`] if the address is none of these.
    pub fn new<A: AsRef<OsStr>>(address: A) -> io::Result<PipeName> {
        let address = address.as_ref();
        if socket_paths() && is_path(address) {
            return PipeName::socket(address);
        }
        let Some(text) = address.to_str() else {
            return Err(invalid(address, "is not Unicode, and a pipe name must be"));
        };
        if !text.starts_with(SEPARATORS) {
            return PipeName::local(address, text);
        }
        match split_prefix(text) {
            Some(("." | "?", name)) => PipeName::local(address, name),
            Some((server, name)) if !server.is_empty() => PipeName::remote(address, server, name),
            _ => Err(invalid(
                address,
                r"is not a pipe address: use name, \\.\pipe\name, \\server\pipe\name, or on Unix the absolute path of a socket",
            )),
        }
    }

    /// Creates a unique name: `prefix-` and 128 random bits. Tests use it, and a parent for a pipe to its child.
    ///
    /// # Errors
    /// [`PipeErrorKind::Invalid`] if the result is not a valid address. Else the system's error if it has no random bits.
    ///
    /// # Examples
    /// ```
    /// use pipework::PipeName;
    ///
    /// assert_ne!(PipeName::unique("worker")?, PipeName::unique("worker")?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unique(prefix: &str) -> io::Result<PipeName> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)
            .map_err(|error| io::Error::other(format!("no random bits for a unique name: {error}")))?;
        PipeName::new(format!("{prefix}-{:032x}", u128::from_be_bytes(bits)))
    }

    /// Returns the parts of the name, in the spelling that was given.
    pub fn kind(&self) -> PipeNameKind<'_> {
        match &self.target {
            Target::Local { name, .. } => PipeNameKind::Local(name),
            Target::Remote { server, name, .. } => PipeNameKind::Remote { server, name },
            Target::Socket => PipeNameKind::Socket(Path::new(&self.text)),
        }
    }

    /// The canonical spelling: of a local name its folded name, of a remote one `SERVER\NAME`. Empty for a socket.
    pub(crate) fn folded(&self) -> &str {
        match &self.target {
            Target::Local { folded, .. } | Target::Remote { folded, .. } => folded,
            Target::Socket => "",
        }
    }

    /// A local pipe by its bare name, which may begin with any character.
    pub(crate) fn from_local(name: &str) -> io::Result<PipeName> {
        PipeName::local(name.as_ref(), name)
    }

    pub(crate) fn local(address: &OsStr, name: &str) -> io::Result<PipeName> {
        check_name(address, name)?;
        let target = Target::Local { name: name.to_owned(), folded: fold(name) };
        Ok(PipeName { text: format!(r"\\.\pipe\{name}").into(), target })
    }

    fn remote(address: &OsStr, server: &str, name: &str) -> io::Result<PipeName> {
        check_name(address, name)?;
        if server.contains('\0') {
            return Err(invalid(address, "has a NUL character in the server name"));
        }
        if server.encode_utf16().count() > SERVER_UNITS_MAX {
            return Err(invalid(
                address,
                "has a server name that is too long; at most 255 UTF-16 units are allowed",
            ));
        }
        let folded = fold(&format!(r"{server}\{name}"));
        let target = Target::Remote { server: server.to_owned(), name: name.to_owned(), folded };
        Ok(PipeName { text: format!(r"\\{server}\pipe\{name}").into(), target })
    }

    fn socket(path: &OsStr) -> io::Result<PipeName> {
        if path.as_encoded_bytes().contains(&0) {
            return Err(invalid(path, "has a NUL character, which a socket path can't have"));
        }
        Ok(PipeName { text: path.to_owned(), target: Target::Socket })
    }

    /// The key of equality, order and hash. A server has no `\`, so different remote names have different texts.
    fn key(&self) -> (u8, &[u8]) {
        match &self.target {
            Target::Local { .. } => (0, self.folded().as_bytes()),
            Target::Remote { .. } => (1, self.folded().as_bytes()),
            Target::Socket => (2, self.text.as_encoded_bytes()),
        }
    }
}

impl PartialEq for PipeName {
    fn eq(&self, other: &PipeName) -> bool {
        self.key() == other.key()
    }
}

impl Eq for PipeName {}

impl PartialOrd for PipeName {
    fn partial_cmp(&self, other: &PipeName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PipeName {
    fn cmp(&self, other: &PipeName) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for PipeName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl AsRef<OsStr> for PipeName {
    fn as_ref(&self) -> &OsStr {
        &self.text
    }
}

impl fmt::Display for PipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.display().fmt(f)
    }
}

impl fmt::Debug for PipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeName").field(&self.text).finish()
    }
}

impl TryFrom<&str> for PipeName {
    type Error = io::Error;

    fn try_from(address: &str) -> io::Result<PipeName> {
        PipeName::new(address)
    }
}

impl TryFrom<String> for PipeName {
    type Error = io::Error;

    fn try_from(address: String) -> io::Result<PipeName> {
        PipeName::new(address)
    }
}

impl TryFrom<&OsStr> for PipeName {
    type Error = io::Error;

    fn try_from(address: &OsStr) -> io::Result<PipeName> {
        PipeName::new(address)
    }
}

impl FromStr for PipeName {
    type Err = io::Error;

    fn from_str(address: &str) -> io::Result<PipeName> {
        PipeName::new(address)
    }
}

/// Whether sockets have paths as names: where a path that begins with a slash is absolute, which is not so on Windows.
fn socket_paths() -> bool {
    Path::new("/").is_absolute()
}

/// Whether an address is a path, where sockets have paths as names. It need not be Unicode; the prefix is ASCII.
fn is_path(address: &OsStr) -> bool {
    let text = address.to_string_lossy();
    let is_pipe = text.starts_with("//") && matches!(split_prefix(&text), Some(("." | "?", _)));
    text.starts_with('/') && !is_pipe
}

/// Splits `\\server\pipe\name` into server and name; both may be empty.
fn split_prefix(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix(SEPARATORS)?.strip_prefix(SEPARATORS)?;
    let (server, rest) = rest.split_once(SEPARATORS)?;
    let (device, name) = rest.split_once(SEPARATORS)?;
    device.eq_ignore_ascii_case("pipe").then_some((server, name))
}

fn check_name(address: &OsStr, name: &str) -> io::Result<()> {
    if name.is_empty() {
        return Err(invalid(address, "has no pipe name; a name has 1 to 247 characters"));
    }
    if name.contains('\0') {
        return Err(invalid(address, "has a NUL character, the only one that a pipe name can't have"));
    }
    let units = name.encode_utf16().count();
    if units > NAME_UNITS_MAX {
        let problem = format!(
            "is too long: the name has {units} UTF-16 units, and at most {NAME_UNITS_MAX} are allowed"
        );
        return Err(invalid(address, &problem));
    }
    Ok(())
}

pub(crate) fn invalid(address: &OsStr, problem: &str) -> io::Error {
    fail(PipeErrorKind::Invalid, format!("the address {address:?} {problem}"))
}

fn fold(name: &str) -> String {
    name.chars().map(simple_upper).collect()
}

/// The simple upper-case mapping, one character for one.
///
/// Windows folds each UTF-16 unit by itself, so characters beyond the Basic Multilingual Plane stay as they are. The
/// standard library has only the full mapping. Where that gives more than one character, there is no simple mapping,
/// except for the Greek letters with iota subscript, which are listed here.
fn simple_upper(letter: char) -> char {
    let code = u32::from(letter);
    let upper = match code {
        0x1F80..=0x1F87 | 0x1F90..=0x1F97 | 0x1FA0..=0x1FA7 => char::from_u32(code + 8),
        0x1FB3 | 0x1FC3 | 0x1FF3 => char::from_u32(code + 9),
        0..=0xFFFF => {
            let mut full = letter.to_uppercase();
            let first = full.next();
            first.filter(|upper| full.next().is_none() && u32::from(*upper) <= 0xFFFF)
        }
        _ => None,
    };
    upper.unwrap_or(letter)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn name(address: &str) -> PipeName {
        PipeName::new(address).unwrap_or_else(|error| panic!("{address:?}: {error}"))
    }

    fn local(address: &str) -> String {
        match name(address).kind() {
            PipeNameKind::Local(name) => name.to_owned(),
            other => panic!("{address:?} is {other:?}"),
        }
    }

    #[track_caller]
    fn refused(address: impl AsRef<OsStr>, words: &str) {
        let address = address.as_ref();
        let error = PipeName::new(address).expect_err(&format!("{address:?} was taken"));
        assert!(error == PipeErrorKind::Invalid, "{address:?}: {error}");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(words), "{address:?}: {error}");
    }

    #[test]
    fn all_spellings_of_the_local_prefix_are_one_name() {
        for address in [
            "echo",
            r"\\.\pipe\echo",
            r"\\?\pipe\echo",
            "//./pipe/echo",
            "//?/PiPe/echo",
            r"\\.\PIPE\echo",
            r"\\./pipe\echo",
            r"//.\pipe/echo",
        ] {
            assert_eq!(local(address), "echo", "{address}");
            assert_eq!(name(address).to_string(), r"\\.\pipe\echo");
            assert_eq!(name(address), name("ECHO"));
        }
    }

    #[test]
    fn everything_after_the_prefix_is_the_name() {
        for text in [
            "a/b", "..", ".", "a.", "a ", " ", r"a\b", r"C:\x", "./pipe/x", "pipe", "a\nb", "\u{7f}",
            "*?<>|\":",
        ] {
            assert_eq!(local(text), text);
            assert_eq!(local(&format!(r"\\.\pipe\{text}")), text);
        }
        for text in [r"\a", "/a", r"\\.\pipe\a", "//"] {
            assert_eq!(local(&format!(r"\\.\pipe\{text}")), text);
        }
        let different = ["a", "a.", "a ", "a/", r"a\", "a/.", "a/../a", " a", "./a"];
        for (index, one) in different.iter().enumerate() {
            for two in different.iter().skip(index + 1) {
                assert_ne!(name(one), name(two));
            }
        }
    }

    #[test]
    fn a_remote_name_has_a_server() {
        for (address, server) in [
            (r"\\server\pipe\a\b", "server"),
            (r"\\localhost\PIPE\a\b", "localhost"),
            (r"\\10.0.0.1/pipe/a\b", "10.0.0.1"),
            (r"\\..\pipe\a\b", ".."),
        ] {
            let name = name(address);
            assert_eq!(name.kind(), PipeNameKind::Remote { server, name: r"a\b" }, "{address}");
            assert_eq!(name.to_string(), format!(r"\\{server}\pipe\a\b"));
        }
        assert_eq!(name(r"\\SERVER\pipe\Name"), name(r"\\server\pipe\nAME"));
        assert_ne!(name(r"\\one\pipe\x"), name(r"\\two\pipe\x"));
        assert_ne!(name(r"\\localhost\pipe\x"), name("x"));
        assert_ne!(name(r"\\a\pipe\b"), name(r"\\.\pipe\a\b"));
        let server = "s".repeat(255);
        assert!(PipeName::new(format!(r"\\{server}\pipe\x")).is_ok());
        refused(format!(r"\\{server}s\pipe\x"), "255");
        refused("\\\\a\0b\\pipe\\x", "NUL");
    }

    #[test]
    fn other_prefixes_are_refused() {
        for address in [
            r"\",
            r"\\",
            r"\foo",
            r"\\.",
            r"\\.\",
            r"\\.\pipe",
            r"\\server\share\x",
            r"\\.\pipes\x",
            r"\\\pipe\x",
            r"\\\.\pipe\x",
            r"\pipe\x",
            r"\\?\UNC\server\pipe\x",
            r"\.\pipe\x",
            r"\/server/share",
        ] {
            refused(address, r"\\.\pipe\name");
        }
    }

    #[test]
    fn names_that_are_empty_or_have_a_nul_are_refused() {
        for address in ["", r"\\.\pipe\", "//?/pipe/", r"\\server\pipe\"] {
            refused(address, "1 to 247");
        }
        for address in ["\0", "a\0", "\\\\.\\pipe\\a\0b", "//./pipe/\0", "\\\\server\\pipe\\\0"] {
            refused(address, "NUL");
        }
    }

    #[test]
    fn the_length_is_counted_in_utf16_units() {
        for prefix in ["", r"\\.\pipe\", "//?/pipe/", r"\\server\pipe\"] {
            assert!(PipeName::new(format!("{prefix}{}", "x".repeat(247))).is_ok());
            refused(format!("{prefix}{}", "x".repeat(248)), "248 UTF-16 units, and at most 247");
            assert!(PipeName::new(format!("{prefix}{}", "ß".repeat(247))).is_ok());
            assert!(PipeName::new(format!("{prefix}{}x", "😀".repeat(123))).is_ok());
            refused(format!("{prefix}{}", "😀".repeat(124)), "248 UTF-16 units, and at most 247");
        }
    }

    #[test]
    fn case_does_not_count_also_beyond_ascii() {
        for (one, two) in [
            ("Grüße", "GRÜßE"),
            ("ÿ", "Ÿ"),
            ("ЖУК", "жук"),
            ("σ", "Σ"),
            ("ა", "Ა"),
            ("ﬀx", "ﬀX"),
            ("ᾀ", "ᾈ"),
            ("ᾗ", "ᾟ"),
            ("ᾠ", "ᾨ"),
            ("ᾧ", "ᾯ"),
            ("ᾳ", "ᾼ"),
            ("ῃ", "ῌ"),
            ("ῳ", "ῼ"),
        ] {
            assert_eq!(name(one), name(two), "{one} {two}");
            assert_eq!(name(one).cmp(&name(two)), Ordering::Equal);
            assert_eq!(name(one).folded(), name(two).folded());
            let hasher = RandomState::new();
            assert_eq!(hasher.hash_one(name(one)), hasher.hash_one(name(two)));
            assert_ne!(hasher.hash_one(name(one)), hasher.hash_one(name("another")));
        }
        for (one, two) in [
            ("ß", "ss"),
            ("ß", "ẞ"),
            ("ŉ", "ʼN"),
            ("ﬀ", "FF"),
            ("𐐨", "𐐀"),
            ("İ", "i"),
            ("ᾀ", "ἈΙ"),
            ("e\u{301}", "é"),
        ] {
            assert_ne!(name(one), name(two), "{one} {two}");
        }
        assert_eq!(name("Echo").to_string(), r"\\.\pipe\Echo");
        assert_eq!(name("Echo").folded(), "ECHO");
    }

    #[test]
    fn folding_gives_one_unit_for_one_and_twice_is_once() {
        let mut folded_count = 0;
        for letter in '\0'..=char::MAX {
            let upper = simple_upper(letter);
            assert_eq!(upper.len_utf16(), letter.len_utf16(), "{letter:?}");
            assert_eq!(simple_upper(upper), upper, "{letter:?}");
            assert!(upper == letter || letter <= '\u{ffff}');
            folded_count += u32::from(upper != letter);
        }
        assert!(folded_count > 1000, "only {folded_count} characters have an upper case");
    }

    #[test]
    fn order_goes_with_equality_and_keeps_the_kinds_apart() {
        let sorted = [name("A"), name("b"), name("C"), name(r"\\a\pipe\a"), name(r"\\A\pipe\B")];
        assert!(sorted.is_sorted());
        assert!(sorted.iter().zip(sorted.iter().skip(1)).all(|(one, two)| one < two && one != two));
    }

    #[test]
    fn a_unique_name_has_its_prefix_and_128_bits() {
        let (one, two) = (PipeName::unique("test").unwrap(), PipeName::unique("test").unwrap());
        assert_ne!(one, two);
        let PipeNameKind::Local(text) = one.kind() else { panic!("{one}") };
        let bits = text.strip_prefix("test-").unwrap();
        assert_eq!(bits.len(), 32);
        assert!(bits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert!(PipeName::unique(&"x".repeat(214)).is_ok());
        assert!(PipeName::unique(&"x".repeat(215)).unwrap_err() == PipeErrorKind::Invalid);
    }

    #[test]
    fn the_text_is_an_address_itself() {
        let text = name("//./pipe/x");
        assert_eq!(text.as_ref() as &OsStr, r"\\.\pipe\x");
        assert_eq!(PipeName::new(&text).unwrap(), text);
        assert_eq!("x".parse::<PipeName>().unwrap(), text);
        assert_eq!(PipeName::try_from("x").unwrap(), text);
        assert_eq!(PipeName::try_from(String::from("X")).unwrap(), text);
        assert_eq!(PipeName::try_from(OsStr::new("x")).unwrap(), text);
        assert!(PipeName::try_from("").unwrap_err() == PipeErrorKind::Invalid);
        assert!(PipeName::try_from(String::new()).unwrap_err() == PipeErrorKind::Invalid);
        assert_eq!(format!("{text:?}"), r#"PipeName("\\\\.\\pipe\\x")"#);
        assert_eq!(format!("{text:>12}"), r"  \\.\pipe\x");
    }

    #[test]
    fn what_begins_with_a_slash_is_a_path_where_sockets_have_paths() {
        assert_eq!(socket_paths(), std::path::MAIN_SEPARATOR == '/');
        let paths = ["/run/a.sock", "/", "/Pipe/x", "//tmp/a", "//./pipes/x", r"/\.pipe\x"];
        if !socket_paths() {
            paths.iter().for_each(|path| refused(path, r"\\.\pipe\name"));
            assert_eq!(name("//server/pipe/x"), name(r"\\server\pipe\x"));
            return;
        }
        for path in paths.into_iter().chain(["//server/pipe/x", r"/\.\pipe\x"]) {
            assert_eq!(name(path).kind(), PipeNameKind::Socket(Path::new(path)));
            assert_eq!(name(path).to_string(), path);
            assert_eq!(name(path).folded(), "");
            assert_eq!(name(path).location().unwrap(), Path::new(path));
        }
        assert_ne!(name("/tmp/a"), name("/tmp/A"));
        assert_ne!(name("/tmp/a"), name("//tmp/a"));
        assert_ne!(name("/tmp/a"), name("tmp/a"));
        assert!(name("/tmp/a") > name(r"\\z\pipe\z"));
        refused("/tmp/a\0b", "NUL");
    }

    fn addresses() -> impl Strategy<Value = String> {
        let prefix = prop_oneof![
            any::<u8>().prop_map(|_| String::new()),
            r"\\\\[.?]\\[pP][iI][pP][eE]\\",
            "//[.?]/pipe/",
            r"\\\\[a-zA-Z0-9.ä]{1,9}\\pipe\\",
            "[/\\\\.?a]{0,5}",
        ];
        let rest = prop_oneof![any::<String>(), "[a-cA-Cä-ÿÄ-ß./\\\\ ]{0,8}"];
        (prefix, rest).prop_map(|(prefix, rest)| prefix + &rest)
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(address in addresses()) {
            if let Ok(name) = PipeName::new(&address) {
                let again = PipeName::new(name.to_string()).unwrap();
                prop_assert_eq!(&again, &name);
                prop_assert_eq!(again.kind(), name.kind());
                prop_assert_eq!(again.to_string(), name.to_string());
                prop_assert!(address.ends_with(&name.to_string()) || !matches!(name.kind(), PipeNameKind::Socket(_)));
            }
        }

        #[test]
        fn names_are_equal_exactly_if_they_fold_alike(one in "[a-dA-Dä-üÄ-Üßσς]{1,3}", two in "[a-dA-Dä-üÄ-Üßσς]{1,3}") {
            let alike = one.chars().map(simple_upper).eq(two.chars().map(simple_upper));
            prop_assert_eq!(name(&one) == name(&two), alike);
            prop_assert_eq!(name(&one).cmp(&name(&two)) == Ordering::Equal, alike);
            prop_assert_eq!(name(&one).folded() == name(&two).folded(), alike);
            let shouted = one.chars().map(simple_upper).collect::<String>();
            prop_assert_eq!(name(&one), name(&shouted));
        }
    }
}
