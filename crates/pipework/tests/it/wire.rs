//! The lines that a case and the other process exchange: words, with text and bytes in hexadecimal.

use std::{fmt::Write as _, time::Duration};

use pipework::{MessageRead, PipeEnd, PipeErrorKind, PipeMode, ServerCheck};

use crate::surface::{Fault, Grant, Info, OpenSpec, Peeked, PeerView, Spec};

/// The words of a line being written.
#[derive(Debug, Default)]
pub(crate) struct Words(Vec<String>);

impl Words {
    pub(crate) fn new() -> Words {
        Words::default()
    }

    pub(crate) fn line(&self) -> String {
        self.0.join(" ")
    }

    pub(crate) fn word(mut self, word: &str) -> Words {
        self.0.push(word.to_owned());
        self
    }

    pub(crate) fn number(self, number: impl Into<u64>) -> Words {
        self.word(&number.into().to_string())
    }

    pub(crate) fn len(self, len: usize) -> Words {
        self.number(u64::try_from(len).unwrap())
    }

    pub(crate) fn flag(self, flag: bool) -> Words {
        self.word(if flag { "yes" } else { "no" })
    }

    /// Bytes in hexadecimal after a dash, so that nothing at all is a word too.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Words {
        let mut word = String::with_capacity(1 + bytes.len() * 2);
        word.push('-');
        for byte in bytes {
            write!(word, "{byte:02x}").unwrap();
        }
        self.0.push(word);
        self
    }

    pub(crate) fn text(self, text: &str) -> Words {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn mode(self, mode: PipeMode) -> Words {
        self.flag(mode == PipeMode::Message)
    }

    pub(crate) fn duration(self, duration: Duration) -> Words {
        self.number(duration.as_secs()).number(duration.subsec_nanos())
    }

    pub(crate) fn maybe<T>(self, value: Option<T>, put: impl FnOnce(Words, T) -> Words) -> Words {
        match value {
            None => self.flag(false),
            Some(value) => put(self.flag(true), value),
        }
    }

    pub(crate) fn spec(self, spec: &Spec) -> Words {
        let words = self
            .text(&spec.name)
            .flag(spec.inbound)
            .flag(spec.outbound)
            .flag(spec.first)
            .number(spec.max_instances)
            .number(spec.out_len)
            .number(spec.in_len)
            .mode(spec.mode)
            .duration(spec.default_timeout)
            .flag(spec.accept_remote)
            .len(spec.grants.len());
        spec.grants.iter().fold(words, |words, grant| match grant {
            Grant::Everyone => words.word("everyone").text(""),
            Grant::User(account) => words.word("user").text(account),
            Grant::Group(account) => words.word("group").text(account),
        })
    }

    pub(crate) fn open(self, spec: &OpenSpec) -> Words {
        let words = self
            .text(&spec.name)
            .flag(spec.read)
            .flag(spec.write)
            .mode(spec.mode)
            .maybe(spec.timeout, Words::duration)
            .flag(spec.wait_absent)
            .maybe(spec.caller, Words::number);
        match &spec.server {
            ServerCheck::User(account) => words.word("user").text(account),
            ServerCheck::Anyone => words.word("anyone"),
            _ => words.word("trusted"),
        }
    }

    pub(crate) fn fault(self, fault: &Fault) -> Words {
        let kind = fault.kind.map_or_else(String::new, |kind| format!("{kind:?}"));
        self.text(&kind).text(&fault.io_kind).text(&fault.text)
    }

    pub(crate) fn message_read(self, read: MessageRead) -> Words {
        match read {
            MessageRead::Whole(len) => self.word("whole").len(len),
            MessageRead::Part(len) => self.word("part").len(len),
            MessageRead::End => self.word("end").len(0),
        }
    }

    pub(crate) fn peeked(self, peeked: &Peeked) -> Words {
        self.bytes(&peeked.data).len(peeked.available).maybe(peeked.message_left, Words::len)
    }

    pub(crate) fn info(self, info: &Info) -> Words {
        self.mode(info.mode)
            .flag(info.end == PipeEnd::Server)
            .number(info.max_instances)
            .number(info.out_len)
            .number(info.in_len)
    }

    pub(crate) fn peer(self, peer: &PeerView) -> Words {
        let words = self
            .maybe(peer.process_id, Words::number)
            .flag(peer.same_user)
            .maybe(peer.user_id, Words::number)
            .len(peer.group_ids.len());
        let words = peer.group_ids.iter().fold(words, |words, group| words.number(*group));
        let words = words.maybe(peer.sid.as_deref(), Words::text).text(&peer.account);
        words.maybe(peer.network.as_ref(), |words, (account, address, encrypted)| {
            words.text(account).text(address).maybe(*encrypted, Words::flag)
        })
    }
}

/// The words of a line being read. Both sides are this program, so a line that makes no sense is a bug and panics.
#[derive(Debug)]
pub(crate) struct Line<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Line<'a> {
    pub(crate) fn new(line: &'a str) -> Line<'a> {
        Line(line.split_ascii_whitespace())
    }

    pub(crate) fn word(&mut self) -> &'a str {
        self.0.next().expect("a line has all its words")
    }

    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> T {
        let number: u64 = self.word().parse().expect("a number");
        T::try_from(number).ok().expect("a number in range")
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.word() == "yes"
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let digits = self.word().strip_prefix('-').expect("bytes begin with a dash");
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).expect("a digit")).unwrap();
        digits.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).expect("text")
    }

    pub(crate) fn mode(&mut self) -> PipeMode {
        if self.flag() { PipeMode::Message } else { PipeMode::Byte }
    }

    pub(crate) fn duration(&mut self) -> Duration {
        let seconds = self.number();
        Duration::new(seconds, self.number())
    }

    pub(crate) fn maybe<T>(&mut self, take: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(take(self)) } else { None }
    }

    pub(crate) fn spec(&mut self) -> Spec {
        let mut spec = Spec::new(&self.text());
        spec.inbound = self.flag();
        spec.outbound = self.flag();
        spec.first = self.flag();
        spec.max_instances = self.number();
        spec.out_len = self.number();
        spec.in_len = self.number();
        spec.mode = self.mode();
        spec.default_timeout = self.duration();
        spec.accept_remote = self.flag();
        for _ in 0..self.number::<usize>() {
            let grant = match self.word() {
                "user" => Grant::User(self.text()),
                "group" => Grant::Group(self.text()),
                _ => {
                    self.text();
                    Grant::Everyone
                }
            };
            spec.grants.push(grant);
        }
        spec
    }

    pub(crate) fn open(&mut self) -> OpenSpec {
        let mut spec = OpenSpec::new(&self.text());
        spec.read = self.flag();
        spec.write = self.flag();
        spec.mode = self.mode();
        spec.timeout = self.maybe(Line::duration);
        spec.wait_absent = self.flag();
        spec.caller = self.maybe(Line::number);
        spec.server = match self.word() {
            "user" => ServerCheck::User(self.text()),
            "anyone" => ServerCheck::Anyone,
            _ => ServerCheck::Trusted,
        };
        spec
    }

    pub(crate) fn fault(&mut self) -> Fault {
        let name = self.text();
        let kind = error_kinds().into_iter().find(|kind| format!("{kind:?}") == name);
        Fault { kind, io_kind: self.text(), text: self.text() }
    }

    pub(crate) fn message_read(&mut self) -> MessageRead {
        let word = self.word();
        let len = self.number();
        match word {
            "whole" => MessageRead::Whole(len),
            "part" => MessageRead::Part(len),
            _ => MessageRead::End,
        }
    }

    pub(crate) fn peeked(&mut self) -> Peeked {
        Peeked { data: self.bytes(), available: self.number(), message_left: self.maybe(Line::number) }
    }

    pub(crate) fn info(&mut self) -> Info {
        Info {
            mode: self.mode(),
            end: if self.flag() { PipeEnd::Server } else { PipeEnd::Client },
            max_instances: self.number(),
            out_len: self.number(),
            in_len: self.number(),
        }
    }

    pub(crate) fn peer(&mut self) -> PeerView {
        let process_id = self.maybe(Line::number);
        let same_user = self.flag();
        let user_id = self.maybe(Line::number);
        let group_ids = (0..self.number::<usize>()).map(|_| self.number()).collect();
        let sid = self.maybe(Line::text);
        let account = self.text();
        let network = self.maybe(|line| (line.text(), line.text(), line.maybe(Line::flag)));
        PeerView { process_id, same_user, user_id, group_ids, sid, account, network }
    }
}

/// Every kind of error there is.
pub(crate) fn error_kinds() -> Vec<PipeErrorKind> {
    vec![
        PipeErrorKind::Absent,
        PipeErrorKind::AccessDenied,
        PipeErrorKind::NameTaken,
        PipeErrorKind::Busy,
        PipeErrorKind::NoData,
        PipeErrorKind::MoreData,
        PipeErrorKind::Broken,
        PipeErrorKind::NotConnected,
        PipeErrorKind::Listening,
        PipeErrorKind::TimedOut,
        PipeErrorKind::BadPipe,
        PipeErrorKind::Invalid,
        PipeErrorKind::Aborted,
        PipeErrorKind::Unsupported,
        PipeErrorKind::Corrupt,
    ]
}
