//! What each operation comes to in each state, as the rule book has it, and where a surface differs for a reason.

use pipework::PipeErrorKind;

use super::{
    Alive, AliveFull, BATCH, BeforeHello, Column, Kind, Listening, MINE, Operation, Row, Seen, Side,
};

/// What a row should have in every column.
pub(super) fn expected(row: Row) -> Seen {
    use Operation::{
        Drain, DrainUnread, Flush, Peek, Read, ReadMessage, ReadMessageInto, ReadMessages, ReadNothing,
        Readable, Transact, Writable, Write, WriteMessage, WriteMessages, WriteNothing,
    };
    match row.operation {
        // Readiness says that a try would not wait, be it for an error.
        Readable => {
            if waits_for_data(row) {
                Seen::Waits
            } else {
                Seen::Ready
            }
        }
        Writable => {
            if waits_for_room(row) {
                Seen::Waits
            } else {
                Seen::Ready
            }
        }
        Flush => flush(row),
        Peek => peek(row),
        // C6: whatever is asked of an instance without a client.
        _ if row.state == Listening => Seen::Failed(PipeErrorKind::Listening),
        // F2: an instance that has disconnected has no connection, so nothing else is looked at.
        _ if row.state.is_disconnected() && row.side == Side::Server => not_connected(),
        // M1, M2, M5, M6: whatever has become of the peer.
        ReadMessage | ReadMessageInto | WriteMessage | ReadMessages | WriteMessages | Transact
            if row.kind == Kind::Bytes =>
        {
            Seen::Failed(PipeErrorKind::BadPipe)
        }
        // F2.
        _ if row.state.is_disconnected() => not_connected(),
        // B4.
        ReadNothing => Seen::Len(0),
        WriteNothing if row.kind == Kind::Bytes => Seen::Len(0),
        // B5, B6.
        Read => data(row, Seen::Len(0)),
        ReadMessage | ReadMessageInto | ReadMessages => data(row, Seen::End),
        Write => write(row, Seen::Len(MINE.len())),
        // M1: an empty message needs no part of the quota.
        WriteNothing if row.state == AliveFull => Seen::Len(0),
        WriteNothing => write(row, Seen::Len(0)),
        WriteMessage => write(row, Seen::Done),
        WriteMessages => write(row, Seen::Len(BATCH.len())),
        // M5.
        Transact if row.state.has_unread() => Seen::Failed(PipeErrorKind::Busy),
        Transact if row.state.is_closed() => broken(),
        Transact => Seen::Waits,
        // F1: with nothing written there is nothing to wait for.
        Drain if row.state == AliveFull => Seen::Waits,
        Drain => Seen::Done,
        DrainUnread if row.state.is_closed() => broken(),
        DrainUnread => Seen::Waits,
    }
}

/// What reading finds: data, else a wait, else the end.
fn data(row: Row, end: Seen) -> Seen {
    match row.state {
        state if state.has_unread() => Seen::Len(row.kind.unread().len()),
        Alive | AliveFull | BeforeHello => Seen::Waits,
        _ => end,
    }
}

fn write(row: Row, written: Seen) -> Seen {
    if row.state.is_closed() {
        return Seen::Failed(PipeErrorKind::NoData);
    }
    if waits_for_room(row) { Seen::Waits } else { written }
}

/// M4.
fn peek(row: Row) -> Seen {
    match row.state {
        Listening => Seen::Failed(PipeErrorKind::BadPipe),
        state if state.is_disconnected() => match row.side {
            Side::Server => Seen::Failed(PipeErrorKind::BadPipe),
            Side::Client => not_connected(),
        },
        state if state.has_unread() => Seen::Len(row.kind.unread().len()),
        state if state.is_closed() => broken(),
        _ => Seen::Len(0),
    }
}

/// F1: that of a stream never waits and never fails, that of an instance drains.
fn flush(row: Row) -> Seen {
    match (row.side, row.state) {
        (Side::Client, _) => Seen::Done,
        (Side::Server, Listening) => Seen::Failed(PipeErrorKind::Listening),
        (Side::Server, state) if state.is_disconnected() => not_connected(),
        (Side::Server, AliveFull) => Seen::Waits,
        (Side::Server, _) => Seen::Done,
    }
}

fn waits_for_data(row: Row) -> bool {
    matches!(row.state, Alive | AliveFull | BeforeHello)
}

/// B2. A server can't write to a client that has not said hello, either.
fn waits_for_room(row: Row) -> bool {
    row.state == AliveFull || (row.side == Side::Server && row.state == BeforeHello)
}

fn not_connected() -> Seen {
    Seen::Failed(PipeErrorKind::NotConnected)
}

fn broken() -> Seen {
    Seen::Failed(PipeErrorKind::Broken)
}

// ------------------------------------------------------------------ exceptions

/// Where an exception holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Every,
    Windows,
    /// What Wine does otherwise than Windows.
    Wine,
}

impl System {
    fn is_this(self) -> bool {
        match self {
            System::Every => true,
            System::Windows => cfg!(windows),
            #[cfg(windows)]
            System::Wine => crate::windows::is_wine(),
            #[cfg(not(windows))]
            System::Wine => false,
        }
    }
}

/// Cells that differ from what [`expected`] says, and why they may.
#[derive(Debug)]
pub(super) struct Exception {
    system: System,
    /// Which cells.
    is_of: fn(&Column, Row) -> bool,
    /// What they have instead.
    pub(super) instead: Seen,
    pub(super) why: &'static str,
}

impl Exception {
    pub(super) fn is_of_this_system(&self) -> bool {
        self.system.is_this()
    }

    pub(super) fn is_of(&self, column: &Column, row: Row) -> bool {
        self.is_of_this_system() && (self.is_of)(column, row)
    }
}

/// Each with its reason, which `docs/SEMANTICS.md` has too.
pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        system: System::Every,
        is_of: |column, row| column.is_async && row.operation == Operation::Flush && row.side == Side::Server,
        instead: Seen::Done,
        why: "`flush` of an async end returns without waiting, as tokio's does; `drain` waits",
    },
    Exception {
        system: System::Windows,
        is_of: |column, row| column.is_async && row.state == AliveFull && row.operation == Operation::Write,
        instead: Seen::Len(MINE.len()),
        why: "an async write beyond the room is started, and is not taken back",
    },
    Exception {
        system: System::Windows,
        is_of: |column, row| {
            column.is_async
                && (row.kind, row.state, row.operation)
                    == (Kind::Messages, AliveFull, Operation::WriteMessages)
        },
        instead: Seen::Len(1),
        why: "the first async write beyond the room is started, and is not taken back",
    },
    Exception {
        system: System::Windows,
        is_of: |column, row| {
            column.is_async && row.state == AliveFull && row.operation == Operation::Writable
        },
        instead: Seen::Ready,
        why: "one async write beyond the room is started, so it is worth a try",
    },
    Exception {
        system: System::Wine,
        is_of: |_, row| row.state.is_closed() && row.operation == Operation::DrainUnread,
        instead: Seen::Done,
        why: "Wine flushes a pipe that is closed",
    },
];
