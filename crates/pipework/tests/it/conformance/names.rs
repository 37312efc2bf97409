//! N1 to N8: names, and creating instances.

use std::{
    ffi::{OsStr, OsString},
    sync::Barrier,
    thread,
    time::Duration,
};

use pipework::{Listener, NamedPipe, PipeEnd, PipeErrorKind, PipeMode, PipeName, PipeNameKind};

use super::{Case, HOUR, every, expect, expect_alive, expect_named, expect_refused, plain};
use crate::{
    child::Other,
    harness::unique,
    surface::{End, Instance, OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("N1", n1_a_name_may_have_247_units_and_not_248),
        every("N1", n1_units_are_those_of_utf16),
        every("N1", n1_case_is_ignored_also_beyond_ascii),
        every("N1", n1_any_character_makes_a_name_of_its_own),
        every("N1", n1_long_names_never_collide),
        every("N1", n1_all_spellings_of_an_address_are_one_pipe),
        every("N1", n1_no_name_is_invalid),
        every("N1", n1_nul_is_invalid),
        every("N1", n1_another_prefix_is_invalid),
        every("N1", n1_another_computer_cannot_be_served),
        plain("N1", n1_case_folds_one_to_one),
        plain("N1", n1_a_name_keeps_its_spelling_and_ignores_case_when_compared),
        plain("N1", n1_unique_names_differ_and_per_user_names_do_not),
        plain("N1", n1_unpaired_surrogates_are_invalid),
        every("N2", n2_first_is_refused_when_the_name_exists),
        every("N2", n2_first_is_refused_when_the_name_exists_in_another_process),
        plain("N2", n2_the_short_forms_are_first),
        every("N2", n2_of_sixteen_racing_processes_exactly_one_is_first),
        every("N2", n2_not_first_joins_or_begins),
        every("N3", n3_another_direction_is_refused),
        every("N3", n3_another_type_is_refused),
        every("N3", n3_the_maximum_is_that_of_the_first),
        every("N3", n3_buffer_sizes_are_each_instances_own),
        every("N4", n4_beyond_the_maximum_is_busy),
        every("N4", n4_the_maximum_counts_all_processes),
        every("N4", n4_a_killed_process_frees_its_places),
        every("N4", n4_zero_is_invalid),
        every("N4", n4_255_is_no_limit),
        every("N5", n5_message_reading_on_a_byte_pipe_is_invalid),
        every("N6", n6_the_name_lives_as_long_as_any_instance),
        every("N6", n6_the_name_lives_in_another_process),
        every("N6", n6_a_client_does_not_keep_the_name),
        every("N6", n6_a_killed_server_is_absent_at_once),
        every("N6", n6_the_name_of_a_killed_server_can_be_taken_at_once),
        every("N7", n7_two_processes_serve_one_name),
        every("N8", n8_an_instance_is_connectable_from_its_creation),
    ]
}

/// Where remote pipes are not supported.
#[cfg(unix)]
pub(super) fn cases_of_this_system() -> Vec<Case> {
    vec![every("N1", n1_another_computer_is_unsupported)]
}

/// Creates, opens, and sends a byte each way.
fn expect_usable(here: &dyn Surface, name: &str) {
    let server = here.create(&Spec::new(name)).unwrap();
    let client = here.open(&OpenSpec::new(name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// Nobody can create or open that name, nor wait for it.
fn expect_invalid(here: &dyn Surface, name: &str) {
    expect_refused(here.create(&Spec::new(name)), PipeErrorKind::Invalid);
    expect_refused(here.listen(&Spec::new(name)), PipeErrorKind::Invalid);
    expect_refused(here.open(&OpenSpec::new(name)), PipeErrorKind::Invalid);
    expect_refused(here.connect_to(name), PipeErrorKind::Invalid);
    expect(here.wait(name, Some(HOUR)), PipeErrorKind::Invalid);
}

/// A unique name of this length.
fn name_of(len: usize) -> String {
    let mut name = unique();
    name.extend(std::iter::repeat_n('x', len - name.len()));
    name
}

/// N1: 256 characters with the prefix, which has nine.
fn n1_a_name_may_have_247_units_and_not_248(here: &dyn Surface) {
    expect_usable(here, &name_of(247));
    expect_invalid(here, &name_of(248));
}

/// N1: the length counts UTF-16 units, of which a character beyond the basic plane has two.
fn n1_units_are_those_of_utf16(here: &dyn Surface) {
    let start = name_of(41);
    let fits = format!("{start}{}", "🦀".repeat(103));
    assert_eq!(fits.encode_utf16().count(), 247);
    expect_usable(here, &fits);
    expect_invalid(here, &format!("{start}x{}", "🦀".repeat(103)));
}

/// N1: case-insensitive, also beyond ASCII.
fn n1_case_is_ignored_also_beyond_ascii(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&format!("{name}-Ärger-ПРИВЕТ-Ωmega"))).unwrap();
    let client = here.open(&OpenSpec::new(&format!("{}-äRGER-привет-ωMEGA", name.to_uppercase()))).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// N1: `/`, `..`, dots and spaces at the end, and whatever else, each a name of its own; `\` inside is allowed.
fn n1_any_character_makes_a_name_of_its_own(here: &dyn Surface) {
    let base = unique();
    let endings = [
        "", ".", "..", " ", "  ", "\t", "/", "/..", "/../..", "\\", "\\x", "/x", "%", "%2e", "_", "=", "-",
        "~", "*", "?", ":", "|", "\"", "<", "\n", "\u{7f}", "\u{e000}", "é", "e\u{301}", "名前", "🦀",
        "\u{feff}", ".lock",
    ];
    let names: Vec<String> = endings.iter().map(|ending| format!("{base}{ending}")).collect();
    let servers: Vec<Box<dyn Instance>> =
        names.iter().map(|name| here.create(&Spec::new(name)).unwrap()).collect();
    let clients: Vec<Box<dyn End>> =
        names.iter().map(|name| here.open(&OpenSpec::new(name)).unwrap()).collect();
    for ((name, server), client) in names.iter().zip(&servers).zip(&clients) {
        server.connect().unwrap();
        client.write_all(name.as_bytes()).unwrap();
        assert_eq!(server.end().read_exact(name.len()).unwrap(), name.as_bytes());
    }
}

/// N1: no truncation, two different names never collide.
fn n1_long_names_never_collide(here: &dyn Surface) {
    let start = name_of(246);
    let names = ["a", "b", "c", "é"].map(|last| format!("{start}{last}"));
    let servers = names.each_ref().map(|name| here.create(&Spec::new(name)).unwrap());
    for (name, server) in names.iter().zip(&servers) {
        let client = here.open(&OpenSpec::new(name)).unwrap();
        server.connect_timeout(HOUR).unwrap();
        expect_alive(client.as_ref(), server.end());
    }
}

/// N1: the bare name and every form of the prefix.
fn n1_all_spellings_of_an_address_are_one_pipe(here: &dyn Surface) {
    let name = unique();
    let spellings = [r"\\.\pipe\", r"\\.\PIPE\", r"\\?\pipe\", "//./pipe/", ""];
    for prefix in spellings {
        let server = here.create(&Spec::new(&format!("{prefix}{name}"))).unwrap();
        for other in spellings {
            let client = here.open(&OpenSpec::new(&format!("{other}{name}"))).unwrap();
            server.connect().unwrap();
            drop(client);
            server.disconnect().unwrap();
            // The next spelling's client comes while nobody waits: let the instance listen first.
            expect(server.connect_timeout(std::time::Duration::ZERO), PipeErrorKind::TimedOut);
        }
    }
}

/// N1: at least one character.
fn n1_no_name_is_invalid(here: &dyn Surface) {
    for name in ["", r"\\.\pipe\", r"\\?\pipe\", "//./pipe/"] {
        expect_invalid(here, name);
    }
}

/// N1: any character but NUL.
fn n1_nul_is_invalid(here: &dyn Surface) {
    let name = unique();
    expect_invalid(here, &format!("{name}\0"));
    expect_invalid(here, &format!("\0{name}"));
}

/// N1: another prefix is an invalid name.
fn n1_another_prefix_is_invalid(here: &dyn Surface) {
    for address in
        [r"\\.\mailslot\x", r"\\.\x", r"\\?\x", r"\\server\share\x", r"\\", r"\\server", r"\\\pipe\x"]
    {
        expect_invalid(here, address);
    }
}

/// N1: the name of a remote pipe is refused, not taken for a local one.
#[cfg(unix)]
fn n1_another_computer_is_unsupported(here: &dyn Surface) {
    if cfg!(feature = "remote") {
        crate::harness::skip("this build opens remote pipes: `tests/remote` tests them");
    }
    let name = format!(r"\\server\pipe\{}", unique());
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Unsupported);
    expect_refused(here.connect_to(&name), PipeErrorKind::Unsupported);
}

/// N1: a name on another host can't be served.
fn n1_another_computer_cannot_be_served(here: &dyn Surface) {
    let name = format!(r"\\server\pipe\{}", unique());
    let refused = [here.create(&Spec::new(&name)).map(drop), here.listen(&Spec::new(&name)).map(drop)];
    for result in refused {
        expect(result, PipeErrorKind::Unsupported);
    }
    let parsed = PipeName::new(&name).unwrap();
    assert!(matches!(parsed.kind(), PipeNameKind::Remote { server: "server", .. }), "{parsed:?}");
}

/// N1: case folds one to one, so that no character becomes two.
fn n1_case_folds_one_to_one() {
    let name = |text: &str| PipeName::new(text).unwrap();
    assert_eq!(name("straßE"), name("STRAßE"));
    assert_ne!(name("straße"), name("strasse"));
    assert_ne!(name("ﬁ"), name("fi"));
    assert_eq!(name("ÿ"), name("Ÿ"));
    assert_ne!(name("é"), name("e\u{301}"));
}

/// N1: a name prints with its prefix and as it was given; equal names are one pipe.
fn n1_a_name_keeps_its_spelling_and_ignores_case_when_compared() {
    use std::{collections::HashSet, path::Path};
    let mixed = PipeName::new("Mixed").unwrap();
    assert_eq!(mixed.to_string(), r"\\.\pipe\Mixed");
    assert_eq!(mixed.kind(), PipeNameKind::Local("Mixed"));
    let same: PipeName = r"\\.\pipe\MIXED".parse().unwrap();
    assert_eq!(mixed, same);
    assert_eq!(mixed.cmp(&same), std::cmp::Ordering::Equal);
    assert_eq!(HashSet::from([mixed.clone(), same]).len(), 1);
    assert_eq!(PipeName::new(AsRef::<OsStr>::as_ref(&mixed)).unwrap(), mixed);
    if cfg!(unix) {
        assert_eq!(
            PipeName::new("/run/x.sock").unwrap().kind(),
            PipeNameKind::Socket(Path::new("/run/x.sock"))
        );
    } else {
        expect(PipeName::new("/run/x.sock"), PipeErrorKind::Invalid);
    }
}

/// N1: made names are names.
fn n1_unique_names_differ_and_per_user_names_do_not() {
    let (one, two) = (PipeName::unique("x").unwrap(), PipeName::unique("x").unwrap());
    assert_ne!(one, two);
    assert!(one.to_string().starts_with(r"\\.\pipe\x-"), "{one}");
    assert_eq!(PipeName::per_user("app").unwrap(), PipeName::per_user("APP").unwrap());
    expect(PipeName::unique(&"x".repeat(300)), PipeErrorKind::Invalid);
    expect(PipeName::per_user(""), PipeErrorKind::Invalid);
    drop(NamedPipe::new(&one).unwrap());
}

/// N1: what is not Unicode is refused.
fn n1_unpaired_surrogates_are_invalid() {
    for name in names_that_are_not_unicode() {
        expect(PipeName::new(&name), PipeErrorKind::Invalid);
        expect(pipework::connect(&name), PipeErrorKind::Invalid);
    }
}

#[cfg(unix)]
fn names_that_are_not_unicode() -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let names = [b"half-\xed\xa0\x80".as_slice(), b"\xff", b"cut-\xf0\x9f\xa6"];
    names.map(|bytes| OsString::from_vec(bytes.to_vec())).into()
}

#[cfg(windows)]
fn names_that_are_not_unicode() -> Vec<OsString> {
    use std::os::windows::ffi::OsStringExt;
    let (half, other_half, letter) = (0xd800, 0xdc00, 0x61);
    let names = [[letter, half], [half, letter], [other_half, half]];
    names.map(|units| OsString::from_wide(&units)).into()
}

/// N2: first is refused, as access denied under its own name, and the pipe that exists is not disturbed.
fn n2_first_is_refused_when_the_name_exists(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    let fault = expect_refused(here.create(&Spec::new(&name)), PipeErrorKind::NameTaken);
    assert_eq!(fault.io_kind, "PermissionDenied");
    assert!(fault.text.contains(&name), "the text names the pipe: {}", fault.text);
    expect_refused(here.listen(&Spec::new(&name.to_uppercase())), PipeErrorKind::NameTaken);
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// N2: who says nothing about it does not join a pipe by accident.
fn n2_the_short_forms_are_first() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    expect(Listener::bind(&name), PipeErrorKind::NameTaken);
    expect(NamedPipe::new(&name), PipeErrorKind::NameTaken);
    drop(listener);
    drop(NamedPipe::new(&name).unwrap());
}

/// N2: in any process.
fn n2_first_is_refused_when_the_name_exists_in_another_process(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = there.create(&Spec::new(&name)).unwrap();
    expect_refused(here.create(&Spec::new(&name)), PipeErrorKind::NameTaken);
    drop(server);
    let _server = here.create(&Spec::new(&name)).unwrap();
    expect_refused(there.create(&Spec::new(&name)), PipeErrorKind::NameTaken);
}

/// N2: without a race.
fn n2_of_sixteen_racing_processes_exactly_one_is_first(here: &dyn Surface) {
    let others: Vec<Other> = (0..16).map(|_| Other::spawn(here)).collect();
    for round in 0..8 {
        let name = format!("{}-{round}", unique());
        let start = Barrier::new(others.len());
        let results: Vec<_> = thread::scope(|scope| {
            let race = |other| {
                let (start, name) = (&start, &name);
                move || {
                    start.wait();
                    Other::create(other, &Spec::new(name))
                }
            };
            let racing: Vec<_> = others.iter().map(|other| scope.spawn(race(other))).collect();
            racing.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}");
        for result in lost {
            expect_refused(result, PipeErrorKind::NameTaken);
        }
    }
}

/// N2: without `first`, the instance joins a name or is its first.
fn n2_not_first_joins_or_begins(here: &dyn Surface) {
    let name = unique();
    let _one = here.create(&Spec::new(&name).joining()).unwrap();
    let _two = here.create(&Spec::new(&name).joining()).unwrap();
    let _first = here.open(&OpenSpec::new(&name)).unwrap();
    let _second = here.open(&OpenSpec::new(&name)).unwrap();
}

/// N3: a later instance with another direction is refused.
fn n3_another_direction_is_refused(here: &dyn Surface) {
    let specs = [
        Spec::new,
        |name: &str| Spec::new(name).inbound_only(),
        |name: &str| Spec::new(name).outbound_only(),
    ];
    for (one, first) in specs.iter().enumerate() {
        let name = unique();
        let _server = here.create(&first(&name)).unwrap();
        for (two, second) in specs.iter().enumerate() {
            let result = here.create(&second(&name).joining());
            if one == two {
                result.map(drop).unwrap();
            } else {
                expect_refused(result, PipeErrorKind::AccessDenied);
            }
        }
    }
}

/// N3: a later instance with another type is refused, also in another process.
fn n3_another_type_is_refused(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let bytes = here.create(&Spec::new(&name)).unwrap();
    expect_refused(here.create(&Spec::new(&name).messages().joining()), PipeErrorKind::AccessDenied);
    expect_refused(there.create(&Spec::new(&name).messages().joining()), PipeErrorKind::AccessDenied);
    drop(bytes);
    let _messages = here.create(&Spec::new(&name).messages()).unwrap();
    expect_refused(there.create(&Spec::new(&name).joining()), PipeErrorKind::AccessDenied);
}

/// N3: the first instance fixes the maximum.
fn n3_the_maximum_is_that_of_the_first(here: &dyn Surface) {
    let name = unique();
    let _one = here.create(&Spec::new(&name).max(2)).unwrap();
    let two = here.create(&Spec::new(&name).joining().max(100)).unwrap();
    expect_refused(here.create(&Spec::new(&name).joining().max(100)), PipeErrorKind::Busy);
    assert_eq!(two.end().info().unwrap().max_instances, 2);
}

/// N3: other buffer sizes are an instance's own; both ends know them.
fn n3_buffer_sizes_are_each_instances_own(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    for (out_len, in_len) in [(4096, 512), (0, 100_000)] {
        let spec = Spec { out_len, in_len, ..Spec::new(&name).joining().max(7) };
        let server = here.create(&spec).unwrap();
        let client = there.open(&OpenSpec::new(&name)).unwrap();
        server.connect().unwrap();
        let (at_server, at_client) = (server.end().info().unwrap(), client.info().unwrap());
        assert_eq!((at_server.out_len, at_server.in_len), (out_len, in_len));
        assert_eq!((at_client.out_len, at_client.in_len), (out_len, in_len));
        assert_eq!((at_server.end, at_client.end), (PipeEnd::Server, PipeEnd::Client));
        assert_eq!((at_server.max_instances, at_client.max_instances), (7, 7));
        assert_eq!((at_server.mode, at_client.mode), (PipeMode::Byte, PipeMode::Byte));
    }
}

/// N4: beyond the maximum it is busy; a closed instance frees its place.
fn n4_beyond_the_maximum_is_busy(here: &dyn Surface) {
    let name = unique();
    let spec = Spec::new(&name).joining().max(2);
    let _one = here.create(&spec).unwrap();
    let two = here.create(&spec).unwrap();
    let fault = expect_refused(here.create(&spec), PipeErrorKind::Busy);
    assert_eq!(PipeErrorKind::Busy.code(), 231);
    expect_named(&fault, &name);
    drop(two);
    let _again = here.create(&spec).unwrap();
    expect_refused(here.create(&spec), PipeErrorKind::Busy);
}

/// N4: across processes, connected instances included.
fn n4_the_maximum_counts_all_processes(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let spec = Spec::new(&name).joining().max(3);
    let one = here.create(&spec).unwrap();
    let _client = here.open(&OpenSpec::new(&name)).unwrap();
    one.connect().unwrap();
    let two = there.create(&spec).unwrap();
    let _three = there.create(&spec).unwrap();
    expect_refused(here.create(&spec), PipeErrorKind::Busy);
    expect_refused(there.create(&spec), PipeErrorKind::Busy);
    drop(two);
    let _again = here.create(&spec).unwrap();
    expect_refused(there.create(&spec), PipeErrorKind::Busy);
}

/// N4: a killed process has no instances.
fn n4_a_killed_process_frees_its_places(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let spec = Spec::new(&name).joining().max(2);
    let _mine = here.create(&spec).unwrap();
    let _theirs = there.create(&spec).unwrap();
    expect_refused(here.create(&spec), PipeErrorKind::Busy);
    there.kill();
    let _again = here.create(&spec).unwrap();
    expect_refused(here.create(&spec), PipeErrorKind::Busy);
}

/// N4: a maximum of 0 is invalid, and nothing is made.
fn n4_zero_is_invalid(here: &dyn Surface) {
    let name = unique();
    expect_refused(here.create(&Spec::new(&name).max(0)), PipeErrorKind::Invalid);
    expect_refused(here.listen(&Spec::new(&name).max(0)), PipeErrorKind::Invalid);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}

/// N4: 255 means no limit, not 255 instances.
fn n4_255_is_no_limit(here: &dyn Surface) {
    let name = unique();
    let spec = Spec::new(&name).joining().max(255);
    let servers: Vec<_> = (0..260).map(|_| here.create(&spec).unwrap()).collect();
    assert_eq!(servers[259].end().info().unwrap().max_instances, 255);
}

/// N5: message read mode on a byte pipe is invalid, when opening and later.
fn n5_message_reading_on_a_byte_pipe_is_invalid(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    expect_refused(here.open(&OpenSpec::new(&name).messages()), PipeErrorKind::Invalid);
    if cfg!(windows) {
        // What a pipe is can only be seen by opening it: the attempt was a client that came and left.
        expect(server.connect(), PipeErrorKind::NoData);
        server.disconnect().unwrap();
        expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    }
    let client = here.connect(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    expect(client.set_read_mode(PipeMode::Message), PipeErrorKind::Invalid);
    expect(server.end().set_read_mode(PipeMode::Message), PipeErrorKind::Invalid);
    client.set_read_mode(PipeMode::Byte).unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// N6: the name exists as long as any instance is open, listening or not; then it is absent.
fn n6_the_name_lives_as_long_as_any_instance(here: &dyn Surface) {
    let name = unique();
    let one = here.create(&Spec::new(&name)).unwrap();
    let two = here.create(&Spec::new(&name).joining()).unwrap();
    drop(one);
    let client = here.open(&OpenSpec::new(&name)).unwrap();
    two.connect().unwrap();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    drop(client);
    two.disconnect().unwrap();
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Busy);
    drop(two);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}

/// N6: in any process.
fn n6_the_name_lives_in_another_process(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let mine = here.create(&Spec::new(&name)).unwrap();
    let theirs = there.create(&Spec::new(&name).joining()).unwrap();
    drop(mine);
    drop(here.open(&OpenSpec::new(&name)).unwrap());
    drop(theirs);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}

/// N6: an open client without an instance is no pipe.
fn n6_a_client_does_not_keep_the_name(here: &dyn Surface) {
    let name = unique();
    let server = here.create(&Spec::new(&name)).unwrap();
    let _client = here.open(&OpenSpec::new(&name)).unwrap();
    server.connect().unwrap();
    drop(server);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
    drop(here.create(&Spec::new(&name)).unwrap());
}

/// N6: after a server is killed its name is absent at once, for opening and for waiting.
fn n6_a_killed_server_is_absent_at_once(here: &dyn Surface) {
    let there = Other::spawn(here);
    let (listening, connected) = (unique(), unique());
    let _listening = there.create(&Spec::new(&listening)).unwrap();
    let server = there.create(&Spec::new(&connected)).unwrap();
    let _client = here.open(&OpenSpec::new(&connected)).unwrap();
    server.connect().unwrap();
    there.kill();
    for name in [&listening, &connected] {
        expect_refused(here.open(&OpenSpec::new(name)), PipeErrorKind::Absent);
        expect(here.wait(name, Some(HOUR)), PipeErrorKind::Absent);
        expect_refused(here.connect(&OpenSpec::new(name).timeout(HOUR)), PipeErrorKind::Absent);
    }
}

/// N6: with nothing to clean by hand, whatever the new pipe is like.
fn n6_the_name_of_a_killed_server_can_be_taken_at_once(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let _one = there.create(&Spec::new(&name).max(2)).unwrap();
    let _two = there.create(&Spec::new(&name).joining()).unwrap();
    there.kill();
    let spec = Spec::new(&name).messages().max(1);
    let server = here.create(&spec).unwrap();
    assert_eq!(server.end().info().unwrap().max_instances, 1);
    expect_refused(here.create(&spec.clone().joining()), PipeErrorKind::Busy);
    let client = here.open(&OpenSpec::new(&name).messages()).unwrap();
    server.connect().unwrap();
    expect_alive(client.as_ref(), server.end());
}

/// N7: several processes hold instances of one name, and clients reach all of them.
fn n7_two_processes_serve_one_name(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let mine = here.create(&Spec::new(&name)).unwrap();
    let theirs = there.create(&Spec::new(&name).joining()).unwrap();
    let clients = [here.open(&OpenSpec::new(&name)).unwrap(), here.open(&OpenSpec::new(&name)).unwrap()];
    mine.connect().unwrap();
    theirs.connect().unwrap();
    mine.end().write_all(b"m").unwrap();
    theirs.end().write_all(b"t").unwrap();
    let mut heard: Vec<u8> = clients.iter().flat_map(|client| client.read_exact(1).unwrap()).collect();
    heard.sort_unstable();
    assert_eq!(heard, b"mt");
}

/// N8: before the server calls connect, a client may come and write.
fn n8_an_instance_is_connectable_from_its_creation(here: &dyn Surface) {
    let name = unique();
    let there = Other::spawn(here);
    let server = here.create(&Spec::new(&name)).unwrap();
    let client = there.open(&OpenSpec::new(&name)).unwrap();
    client.write_all(b"early").unwrap();
    server.connect().unwrap();
    assert_eq!(server.end().read_exact(5).unwrap(), b"early");
    expect_alive(server.end(), client.as_ref());
}
