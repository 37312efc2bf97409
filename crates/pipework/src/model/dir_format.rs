//! The names and the header of a pipe's directory: how they are written, and strictly read back.

use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The version of the directory; another one is another program's.
pub(crate) const VERSION: u32 = 2;
/// Sorts as numbers do, and survives file systems that fold case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits of an identifier: 80 bits, of which the upper 52 are microseconds.
const ID_LEN: usize = 16;
/// Digits of an incarnation: 40 bits.
const INCARNATION_LEN: usize = 8;
/// Digits of a 32-bit number.
const NUMBER_LEN: usize = 7;
/// Digits of a hash in a directory's name: 160 bits.
const HASH_LEN: usize = 32;
/// The longest header, in bytes; the name takes at most 741 of them.
pub(crate) const HEADER_LEN_MAX: usize = 4096;
/// The leaf of the header.
pub(crate) const HEADER: &str = "header";
/// The leaf of the lock.
pub(crate) const LOCK: &str = ".lock";

/// The directory name of a folded pipe name: readable where it can be, injective always, never longer than `len_max`
/// bytes (at least 33).
///
/// Letters, digits, `-`, `_` and a `.` that is not the first stand for themselves (letters in lower case), other bytes
/// are `%` and two hex digits. A name that is too long for that is `~` and 160 bits of its SHA-256, in digits of five bits.
pub(crate) fn directory_name(folded: &str, len_max: usize) -> String {
    let mut encoded = String::with_capacity(folded.len());
    for byte in folded.bytes() {
        match byte {
            b'A'..=b'Z' => encoded.push(char::from(byte.to_ascii_lowercase())),
            b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            b'.' if !encoded.is_empty() => encoded.push('.'),
            // Writing to a String can't fail.
            _ => drop(write!(encoded, "%{byte:02x}")),
        }
    }
    if encoded.len() <= len_max {
        return encoded;
    }
    let mut hashed = String::from("~");
    for group in Sha256::digest(folded.as_bytes()).as_chunks::<5>().0.iter().take(HASH_LEN / 8) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        push_digits(&mut hashed, bits, 8);
    }
    hashed
}

/// By which view of the file system a file was made. The kernel finds a socket by its inode, so a socket that is looked
/// at by another view than its maker's refuses although it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct View(u32);

impl View {
    /// A local file system: its files have one inode each, however it is mounted.
    pub(crate) const LOCAL: View = View(0);
    /// An overlay: two of them share no file that either may remove.
    pub(crate) const OVERLAY: View = View(1);
    /// Not known: nothing that was made by it is ever proved dead.
    pub(crate) const UNKNOWN: View = View(2);
    const FIRST_OF_MOUNTS: u32 = 3;

    /// Any other file system: one mount of it, in one run of the kernel.
    pub(crate) fn of_mount(boot: &str, device: u64) -> View {
        let mut hash = Sha256::new();
        hash.update(boot.as_bytes());
        hash.update(device.to_be_bytes());
        let number = hash.finalize().iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte));
        View(number.max(View::FIRST_OF_MOUNTS))
    }

    /// Whether a socket that refuses this view proves that its maker is dead.
    pub(crate) fn proves_death_by(self, maker: View) -> bool {
        self == maker && self != View::UNKNOWN
    }
}

/// A name that is never used twice and sorts by the time it was made. It says by which view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    number: u128,
    view: View,
}

impl Id {
    pub(crate) fn new(microseconds: u64, random: u64, view: View) -> Id {
        let time = u128::from(microseconds) & ((1 << 52) - 1);
        Id { number: time << 28 | u128::from(random) & ((1 << 28) - 1), view }
    }

    /// The view by which its maker saw the directory.
    pub(crate) fn view(self) -> View {
        self.view
    }

    fn push(self, text: &mut String) {
        push_digits(text, self.number, ID_LEN);
        text.push('-');
        push_digits(text, self.view.0.into(), NUMBER_LEN);
    }

    fn decode<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Id> {
        let id = digits(parts.next()?, ID_LEN)?;
        Some(Id { number: id, view: View(number(parts.next()?)?) })
    }
}

/// Which creation of a pipe a thing belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation(u64);

impl Incarnation {
    pub(crate) fn new(random: u64) -> Incarnation {
        Incarnation(random & ((1 << 40) - 1))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// How a listening instance takes its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taking {
    /// One, and then its socket never takes another.
    One,
    /// One; the instance that follows it takes its socket over and gives it a new name.
    Next,
    /// The same, and a client has come that the server did not take yet.
    Full,
    /// None: it is where clients wait until a listener has an instance for them, in the order in which they came.
    Queue,
}

/// A file of ours in a pipe's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryName {
    /// Not finished; only its maker uses it.
    Temporary(Id),
    /// The proof that a server process lives.
    Server { id: Id, incarnation: Incarnation, process: u32 },
    /// An instance that listens, with its own quotas.
    Instance { id: Id, incarnation: Incarnation, inbound: u32, outbound: u32, taking: Taking },
    /// The file that a client locks to claim an instance, where the system can't queue exactly one client.
    Claim(Id),
}

impl EntryName {
    pub(crate) fn id(self) -> Id {
        match self {
            EntryName::Temporary(id)
            | EntryName::Claim(id)
            | EntryName::Server { id, .. }
            | EntryName::Instance { id, .. } => id,
        }
    }

    /// Whether an instance of this incarnation listens here and is not known to be full.
    pub(crate) fn is_listening(self, of: Incarnation) -> bool {
        matches!(
            self,
            EntryName::Instance { incarnation, taking: Taking::One | Taking::Next, .. } if incarnation == of
        )
    }

    /// Whether clients of this incarnation wait here for an instance.
    pub(crate) fn is_queue(self, of: Incarnation) -> bool {
        matches!(
            self,
            EntryName::Instance { incarnation, taking: Taking::Queue, .. } if incarnation == of
        )
    }

    /// The name of the same instance while its client waits for the server, where its socket lives on after that.
    pub(crate) fn full(self) -> Option<EntryName> {
        match self {
            EntryName::Instance {
                id,
                incarnation,
                inbound,
                outbound,
                taking: Taking::Next | Taking::Full,
            } => Some(EntryName::Instance { id, incarnation, inbound, outbound, taking: Taking::Full }),
            _ => None,
        }
    }

    pub(crate) fn encode(self) -> String {
        let mut text = String::with_capacity(56);
        let number = |text: &mut String, value: u32| {
            text.push('-');
            push_digits(text, u128::from(value), NUMBER_LEN);
        };
        text.push_str(match self {
            EntryName::Temporary(_) => "t-",
            EntryName::Server { .. } => "s-",
            EntryName::Instance { taking: Taking::One, .. } => "i-",
            EntryName::Instance { taking: Taking::Next, .. } => "n-",
            EntryName::Instance { taking: Taking::Full, .. } => "f-",
            EntryName::Instance { taking: Taking::Queue, .. } => "q-",
            EntryName::Claim(_) => "c-",
        });
        self.id().push(&mut text);
        if let EntryName::Server { incarnation, .. } | EntryName::Instance { incarnation, .. } = self {
            text.push('-');
            push_digits(&mut text, u128::from(incarnation.0), INCARNATION_LEN);
        }
        match self {
            EntryName::Temporary(_) | EntryName::Claim(_) => {}
            EntryName::Server { process, .. } => number(&mut text, process),
            EntryName::Instance { inbound, outbound, .. } => {
                number(&mut text, inbound);
                number(&mut text, outbound);
            }
        }
        text
    }

    /// Reads a leaf back; `None` is a file that isn't ours. Only what `encode` would write is ours.
    pub(crate) fn decode(text: &str) -> Option<EntryName> {
        let mut parts = text.split('-');
        let kind = parts.next()?;
        let id = Id::decode(&mut parts)?;
        let mut incarnation = || digits(parts.next()?, INCARNATION_LEN).and_then(|n| u64::try_from(n).ok());
        let leaf = match kind {
            "t" => EntryName::Temporary(id),
            "c" => EntryName::Claim(id),
            "s" => {
                let incarnation = Incarnation(incarnation()?);
                EntryName::Server { id, incarnation, process: number(parts.next()?)? }
            }
            "i" | "n" | "f" | "q" => {
                let taking = match kind {
                    "i" => Taking::One,
                    "n" => Taking::Next,
                    "f" => Taking::Full,
                    _ => Taking::Queue,
                };
                let incarnation = Incarnation(incarnation()?);
                let inbound = number(parts.next()?)?;
                EntryName::Instance { id, incarnation, inbound, outbound: number(parts.next()?)?, taking }
            }
            _ => return None,
        };
        parts.next().is_none().then_some(leaf)
    }
}

fn push_digits(text: &mut String, value: u128, len: usize) {
    for place in (0..len).rev() {
        let digit = ((value >> (5 * place)) & 31) as usize;
        text.push(DIGITS.get(digit).copied().map_or('0', char::from));
    }
}

fn digits(text: &str, len: usize) -> Option<u128> {
    if text.len() != len {
        return None;
    }
    text.bytes().try_fold(0, |value, byte| {
        let digit = DIGITS.iter().position(|candidate| *candidate == byte)?;
        Some(value << 5 | digit as u128)
    })
}

fn number(text: &str) -> Option<u32> {
    u32::try_from(digits(text, NUMBER_LEN)?).ok()
}

/// The properties that the first instance fixed for all of them; a text, so that an operator can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) incarnation: Incarnation,
    pub(crate) messages: bool,
    /// Client to server.
    pub(crate) inbound: bool,
    /// Server to client.
    pub(crate) outbound: bool,
    /// 255 is unlimited.
    pub(crate) max_instances: u8,
    pub(crate) default_timeout_ms: u32,
    /// The users that may open it, as text.
    pub(crate) access: String,
    pub(crate) accept_remote: bool,
    /// As the server gave it.
    pub(crate) name: String,
}

/// Why a header can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Malformed,
    Version(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> String {
        let mut incarnation = String::new();
        push_digits(&mut incarnation, u128::from(self.incarnation.0), INCARNATION_LEN);
        // The name is last and goes to the end of the text, since it may hold any character.
        format!(
            "pipework {VERSION}\nincarnation {incarnation}\nmode {}\ninbound {}\noutbound {}\nmax_instances {}\n\
             default_timeout_ms {}\naccess {}\naccept_remote {}\nname {}",
            if self.messages { "message" } else { "byte" },
            yes_or_no(self.inbound),
            yes_or_no(self.outbound),
            self.max_instances,
            self.default_timeout_ms,
            self.access,
            yes_or_no(self.accept_remote),
            self.name,
        )
    }

    pub(crate) fn decode(text: &str) -> Result<Header, Unreadable> {
        let mut rest = text;
        let version = field(&mut rest, "pipework").and_then(|version| version.parse().ok());
        match version {
            Some(VERSION) => {}
            Some(other) => return Err(Unreadable::Version(other)),
            None => return Err(Unreadable::Malformed),
        }
        let header = Header::decode_fields(rest).ok_or(Unreadable::Malformed)?;
        if header.encode() == text { Ok(header) } else { Err(Unreadable::Malformed) }
    }

    fn decode_fields(mut rest: &str) -> Option<Header> {
        let incarnation = digits(field(&mut rest, "incarnation")?, INCARNATION_LEN)?;
        Some(Header {
            incarnation: Incarnation(u64::try_from(incarnation).ok()?),
            messages: field(&mut rest, "mode")? == "message",
            inbound: field(&mut rest, "inbound")? == "yes",
            outbound: field(&mut rest, "outbound")? == "yes",
            max_instances: field(&mut rest, "max_instances")?.parse().ok()?,
            default_timeout_ms: field(&mut rest, "default_timeout_ms")?.parse().ok()?,
            access: field(&mut rest, "access")?.to_owned(),
            accept_remote: field(&mut rest, "accept_remote")? == "yes",
            name: rest.strip_prefix("name ")?.to_owned(),
        })
    }
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn field<'a>(rest: &mut &'a str, key: &str) -> Option<&'a str> {
    let (line, after) = rest.split_once('\n')?;
    *rest = after;
    line.strip_prefix(key)?.strip_prefix(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn directory_names_are_readable_and_safe() {
        let cases = [
            ("ECHO", "echo"),
            ("MY-APP_1.0", "my-app_1.0"),
            ("..", "%2e."),
            (".HIDDEN", "%2ehidden"),
            ("A/B", "a%2fb"),
            ("A\\B", "a%5cb"),
            ("~", "%7e"),
            ("%2E", "%252e"),
            ("É", "%c3%89"),
            (" ", "%20"),
        ];
        for (folded, expected) in cases {
            assert_eq!(directory_name(folded, 200), expected, "{folded}");
        }
    }

    #[test]
    fn a_long_name_is_hashed_and_never_truncated() {
        assert_eq!(directory_name(&"A".repeat(42), 42), "a".repeat(42));
        let one = directory_name(&"A".repeat(43), 42);
        let two = directory_name(&("A".repeat(42) + "B"), 42);
        assert_eq!((one.len(), two.len()), (33, 33));
        assert!(one.starts_with('~') && one != two);
        // The bits of `printf %043d 0 | tr 0 A | sha256sum`, five to a digit.
        assert_eq!(one, "~1w0771dpz7abfvnjej30bbz1n62a18xz");
        assert_eq!(one, directory_name(&"A".repeat(43), 100).replace(&"a".repeat(43), &one), "stable");
    }

    #[test]
    fn a_mount_is_a_view_of_its_own_in_each_run_of_the_kernel() {
        // The first bytes of `printf 'boot\0\0\0\0\0\0\0\5' | sha256sum`.
        assert_eq!(View::of_mount("boot", 5), View(0xb96b_1903));
    }

    fn any_leaf() -> impl Strategy<Value = EntryName> {
        let numbers = any::<(u64, u64, u32, u64, u32, u32)>();
        (0..7, numbers).prop_map(|(kind, (time, random, view, incarnation, a, b))| {
            let (id, incarnation) = (Id::new(time, random, View(view)), Incarnation::new(incarnation));
            let instance = |taking| EntryName::Instance { id, incarnation, inbound: a, outbound: b, taking };
            match kind {
                0 => EntryName::Temporary(id),
                1 => EntryName::Claim(id),
                2 => EntryName::Server { id, incarnation, process: a },
                3 => instance(Taking::One),
                4 => instance(Taking::Next),
                5 => instance(Taking::Full),
                _ => instance(Taking::Queue),
            }
        })
    }

    proptest! {
        #[test]
        fn directory_names_do_not_collide(one in "\\PC{1,80}", two in "\\PC{1,80}") {
            let (one, two) = (one.to_uppercase(), two.to_uppercase());
            prop_assert_eq!(one == two, directory_name(&one, 60) == directory_name(&two, 60));
            prop_assert!(directory_name(&one, 60).len() <= 60);
        }

        #[test]
        fn a_directory_name_is_one_component(name in any::<String>()) {
            let encoded = directory_name(&name, 200);
            prop_assert!(!encoded.contains('/') && !encoded.contains('\0') && !encoded.starts_with('.'));
        }

        #[test]
        fn leaves_are_read_back(leaf in any_leaf()) {
            let text = leaf.encode();
            prop_assert_eq!(EntryName::decode(&text), Some(leaf));
            prop_assert!(text.len() <= 51, "room in a socket's path");
        }

        #[test]
        fn what_is_read_is_what_would_be_written(text in "[tsinfqc]-[0-9a-z-]{0,53}") {
            if let Some(leaf) = EntryName::decode(&text) {
                prop_assert_eq!(leaf.encode(), text);
            }
        }

        #[test]
        fn headers_are_read_back(
            (messages, inbound, outbound, accept_remote) in any::<(bool, bool, bool, bool)>(),
            (incarnation, max_instances, default_timeout_ms) in any::<(u64, u8, u32)>(),
            name in any::<String>(),
        ) {
            let incarnation = Incarnation::new(incarnation);
            let access = "owner".to_owned();
            let header = Header {
                incarnation, messages, inbound, outbound, max_instances, default_timeout_ms, access, accept_remote, name,
            };
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn noise_is_no_header(text in any::<String>()) {
            prop_assert!(Header::decode(&text).is_err());
        }
    }

    #[test]
    fn only_a_socket_that_lives_on_is_named_full() {
        let (id, incarnation) = (Id::new(1, 2, View::LOCAL), Incarnation::new(3));
        let named = |taking| EntryName::Instance { id, incarnation, inbound: 4, outbound: 5, taking };
        assert_eq!(named(Taking::One).full(), None);
        assert_eq!(named(Taking::Next).full(), Some(named(Taking::Full)));
        assert_eq!(named(Taking::Full).full(), Some(named(Taking::Full)));
        assert_eq!(EntryName::Temporary(id).full(), None);
        let listening =
            [Taking::One, Taking::Next, Taking::Full].map(|taking| named(taking).is_listening(incarnation));
        assert_eq!(listening, [true, true, false]);
        assert!(!named(Taking::Next).is_listening(Incarnation::new(4)), "of another creation");
        assert!(!EntryName::Server { id, incarnation, process: 6 }.is_listening(incarnation));
    }

    #[test]
    fn identifiers_sort_by_time() {
        let id = |time, random, view| Id::new(time, random, View(view));
        let leaf = |time, random| EntryName::Temporary(id(time, random, 0)).encode();
        assert!(leaf(1, u64::MAX) < leaf(2, 0));
        assert!(leaf(999, 5) < leaf(1000, 4));
        assert!(id(1, u64::MAX, 9) < id(2, 0, 8), "the view comes last");
    }

    #[test]
    fn an_incarnation_is_a_number_of_forty_bits() {
        assert_eq!(Incarnation::new(0x12_3456_789a).number(), 0x12_3456_789a);
        assert_eq!(Incarnation::new(u64::MAX).number(), (1 << 40) - 1);
    }

    #[test]
    fn foreign_files_are_not_ours() {
        let id = format!("{}-0000000", "0".repeat(16));
        for text in
            ["", "t", "t-", "header", "t-abc", "x-0", ".lock", "i", &format!("t-{id}-"), &format!("u-{id}")]
        {
            assert_eq!(EntryName::decode(text), None, "{text}");
        }
        assert!(EntryName::decode(&format!("t-{id}")).is_some());
        assert_eq!(EntryName::decode(&format!("s-{id}-00000000-zzzzzzz")), None, "more than 32 bits");
        assert_eq!(EntryName::decode(&format!("t-{}-0000000", "u".repeat(16))), None, "not a digit");
    }

    #[test]
    fn a_garbled_view_is_no_view() {
        let with_view = |view: &str| EntryName::decode(&format!("t-{}-{view}", "0".repeat(16)));
        for view in
            ["", "0", "000000", "00000000", "000000u", "-000000", "+000001", "0000000-", "4000000", "A"]
        {
            assert_eq!(with_view(view), None, "{view}");
        }
        assert_eq!(EntryName::decode(&format!("t-{}", "0".repeat(16))), None, "as version 1 wrote it");
        assert_eq!(with_view("0000000").unwrap().id().view(), View::LOCAL);
        assert_eq!(with_view("3zzzzzz").unwrap().id().view(), View(u32::MAX));
    }

    #[test]
    fn only_the_same_known_view_proves_death() {
        let mount = View::of_mount("boot", 7);
        let other = [View::of_mount("boot", 8), View::of_mount("another boot", 7)];
        let all = [View::LOCAL, View::OVERLAY, View::UNKNOWN, mount, other[0], other[1]];
        for one in all {
            for two in all {
                let expected = one == two && one != View::UNKNOWN;
                assert_eq!(one.proves_death_by(two), expected, "{one:?} {two:?}");
            }
        }
        assert_eq!(mount, View::of_mount("boot", 7));
        assert!((0..9999).all(|device| View::of_mount("", device) > View::UNKNOWN));
    }

    #[test]
    fn another_version_is_told_apart() {
        assert_eq!(Header::decode("pipework 1\nwhatever"), Err(Unreadable::Version(1)));
        assert_eq!(Header::decode("pipework 3\nwhatever"), Err(Unreadable::Version(3)));
        assert_eq!(Header::decode("pipework x\n"), Err(Unreadable::Malformed));
        assert_eq!(Header::decode(""), Err(Unreadable::Malformed));
    }
}
