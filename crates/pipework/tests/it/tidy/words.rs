//! Words and names that the project does not use, because its readers know others.

use super::sources::{Source, everything, sources_of_crates};

/// Phrases that are not written, in no case of letters, and what is written instead. They are found across the ends of
/// lines too; a part of an identifier is not one of its words.
const PHRASES: &[(&str, &str)] = &[
    ("tell", "return, report, signal, expose, distinguish"),
    ("tells", "returns, reports, signals, exposes, distinguishes"),
    ("told", "returned, reported, signalled, exposed, distinguished"),
    ("telling", "returning, reporting, signalling, exposing, distinguishing"),
    ("untold", "idle, unknown"),
    ("whom", "name the user, the process or the peer"),
    ("other computer", "remote host, remote pipe"),
    ("other computers", "remote hosts, remote pipes"),
    ("another computer", "a remote host, a remote pipe"),
    ("caller of the network", "remote client"),
    ("callers of the network", "remote clients"),
    ("callers from the network", "remote clients"),
    ("for tasks", "async"),
    ("of one's own", "own, private"),
];

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Type,
    Module,
    Function,
}

use Named::{Function, Module, Type};

/// Names that nothing declares any more, and the names that stand for them now: in which crate (in all, if none is named),
/// and of what. Case counts.
const NAMES: &[(&str, Named, &str, &str)] = &[
    ("pipework", Type, "Served", "ServedName"),
    ("pipework", Type, "Place", "InstanceSlot"),
    ("pipework", Type, "Gate", "ReadyFd"),
    ("pipework", Type, "Gathered", "PollSet"),
    ("pipework", Type, "Alarm", "Timer"),
    ("pipework", Type, "Waiting", "Parking"),
    ("pipework", Type, "Turn", "DirectionLock"),
    ("pipework", Type, "TurnGuard", "DirectionGuard"),
    ("pipework", Type, "Taken", "Step"),
    ("pipework", Type, "Link", "Rings"),
    ("pipework", Type, "Offer", "ClientHandshake"),
    ("pipework", Type, "Welcome", "ServerHandshake"),
    ("pipework", Type, "Arrival", "an outcome of ServerHandshake"),
    ("pipework", Type, "Root", "NameDir"),
    ("pipework", Type, "Leaf", "EntryName"),
    ("pipework", Type, "PlainEnd", "SocketEnd"),
    ("pipework", Type, "NetworkCaller", "RemoteClient"),
    ("pipework", Type, "Patience", "TaskSpin"),
    ("pipework", Type, "Told", "Signalled"),
    ("pipework", Type, "Untold", "Idle"),
    ("pipework", Type, "Keeper", "OwnsFd"),
    ("pipework", Type, "Made", "Registrations"),
    ("pipework", Type, "Beside", "Blocked"),
    ("pipework", Type, "Now", "Attempt"),
    ("pipework", Type, "Computer", "PeerLocation"),
    ("pipework", Type, "Settings", "EndOptions"),
    ("pipework", Type, "Limit", "WaitLimit"),
    ("pipework", Type, "LazyLimit", "WaitLimit"),
    ("pipework-gateway", Type, "Desk", "Admission"),
    ("pipework-gateway", Type, "Ways", "Relay"),
    ("pipework-bench", Type, "Contender", "Competitor"),
    ("pipework", Module, "served", "registry"),
    ("pipework", Module, "gate", "accept_readiness"),
    ("pipework", Module, "waiting", "parking"),
    ("pipework", Module, "turn", "DirectionLock, for both systems"),
    ("pipework", Module, "link", "rings, handshake"),
    ("pipework", Module, "roots", "namespace"),
    ("pipework", Module, "place", "dir_format"),
    ("pipework", Module, "plain", "unix_socket"),
    ("pipework", Module, "plain_place", "unix_socket::path"),
    ("pipework", Module, "caller", "delegation"),
    ("pipework", Module, "aside", "blocking_call"),
    ("pipework", Module, "bell", "pool_wait"),
    ("pipework", Module, "making", "open or create"),
    ("pipework", Module, "pause", "timer"),
    ("pipework", Module, "patience", "task_spin"),
    ("pipework", Module, "tasks", "waiters"),
    ("pipework", Module, "facts", "handle_info"),
    ("pipework", Module, "extras", "overlapped, impersonate"),
    ("pipework", Module, "absent", "unsupported"),
    ("pipework", Module, "lies", "hostile_words"),
    ("pipework-gateway", Module, "desk", "admission"),
    ("pipework-gateway", Module, "places", "directories"),
    ("pipework-gateway", Module, "table", "exports"),
    ("pipework-gateway", Module, "opening", "admission"),
    ("pipework-gateway", Module, "check", "preflight"),
    ("pipework-bench", Module, "near", "sample"),
    ("pipework-bench", Module, "far", "peer_process"),
    ("pipework-bench", Module, "job", "sample_args"),
    ("pipework-bench", Module, "setting", "placement"),
    ("pipework-bench", Module, "crowd", "idle_connections"),
    ("pipework-cli", Module, "conduit", "transport"),
    ("", Function, "own_bed", "futex_word"),
    ("", Function, "thrown_out", "disconnected_by_server"),
    ("", Function, "look_whether_closed", "poll_hangup"),
    ("", Function, "is_unknown", "await_identity"),
    ("", Function, "greet", "await_identity"),
    ("", Function, "at_once", "without_waiting"),
    ("", Function, "soon", "retry_briefly"),
    ("", Function, "among", "try_listed"),
    ("", Function, "everywhere", "search_all"),
    ("", Function, "again", "verb and object"),
    ("", Function, "connect_as_it_goes", "connect_any_direction"),
    ("", Function, "one_way_will_do", "allow_one_way"),
    ("", Function, "as_tokio_says", "busy_as_os_error"),
    ("", Function, "told", "reported, signalled"),
];

/// Where one of them stays: the end of a path, the phrase or the name, and why.
const EXEMPT: &[(&str, &str, &str)] =
    &[("tidy/words.rs", "", "the list itself"), ("remote/wire.rs", "is_unknown", "of a status of SMB")];

fn is_exempt(source: &Source, word: &str) -> bool {
    EXEMPT
        .iter()
        .any(|(path, exempt, _)| source.path.ends_with(path) && (exempt.is_empty() || *exempt == word))
}

/// Phrases that are written all the same.
pub(super) fn unwanted_phrases() -> Vec<String> {
    let phrases: Vec<(Vec<&str>, &str)> =
        PHRASES.iter().map(|(phrase, instead)| (phrase.split(' ').collect(), *instead)).collect();
    let mut faults = Vec::new();
    for source in everything() {
        let words = words(&source.text);
        for (phrase, instead) in &phrases {
            let is_it = |window: &&[(usize, String)]| window.iter().map(|(_, word)| word).eq(phrase);
            let phrase_text = phrase.join(" ");
            if !is_exempt(&source, &phrase_text) {
                faults.extend(words.windows(phrase.len()).filter(is_it).map(|window| {
                    source.fault(window[0].0, &format!("\"{phrase_text}\"; rather: {instead}"))
                }));
            }
        }
    }
    faults
}

/// The words of a text in small letters, each with the number of its line.
fn words(text: &str) -> Vec<(usize, String)> {
    let is_part = |letter: char| letter.is_alphanumeric() || "_'’".contains(letter);
    let mut words = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let of_line = line.split(|letter| !is_part(letter)).filter(|word| !word.is_empty());
        words.extend(of_line.map(|word| (index + 1, word.to_lowercase().replace('’', "'"))));
    }
    words
}

/// Names that something has all the same.
pub(super) fn unwanted_declarations() -> Vec<String> {
    let mut faults = Vec::new();
    for (of_crate, sources) in sources_of_crates() {
        for source in sources {
            for (number, code) in source.code() {
                let unwanted = declared(code).filter_map(|(kind, name)| {
                    let is_it = |(of, named, unwanted, _): &&(&str, Named, &str, &str)| {
                        (of.is_empty() || *of == of_crate) && *named == kind && *unwanted == name
                    };
                    NAMES.iter().find(is_it).filter(|_| !is_exempt(&source, name))
                });
                faults.extend(unwanted.map(|(_, _, name, instead)| {
                    source.fault(number, &format!("`{name}`; rather: {instead}"))
                }));
            }
        }
    }
    faults
}

/// What a line of code declares.
fn declared(code: &str) -> impl Iterator<Item = (Named, &str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words: Vec<&str> = code.split(|letter| !is_part(letter)).filter(|word| !word.is_empty()).collect();
    let named = |kind: &str| match kind {
        "struct" | "enum" | "trait" | "type" | "union" => Some(Type),
        "mod" => Some(Module),
        "fn" => Some(Function),
        _ => None,
    };
    let pairs: Vec<_> = words.windows(2).map(|pair| (named(pair[0]), pair[1])).collect();
    pairs.into_iter().filter_map(|(kind, name)| kind.map(|kind| (kind, name)))
}
