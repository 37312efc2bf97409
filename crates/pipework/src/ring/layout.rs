//! Where everything lies in the memory of a connection.

/// The first part holds the words below; a page, so that the payload begins on one.
const CONTROL_LEN: usize = 4096;
/// Words that different ends write lie this far apart: two cache lines, since processors fetch lines in pairs.
const LINE: usize = 128;
/// The smallest ring; a page. Here and below loom has less to look at.
const CAPACITY_MIN: u64 = if cfg!(loom) { 64 } else { 4096 };
/// The front of a ring, where a producer stays as long as its consumer keeps up. With one page instead of two, a stream of
/// small messages looks twice as often whether that is so.
pub(super) const FRONT_LEN: u64 = if cfg!(loom) { 4 } else { 2 * 4096 };
/// How much a burst must have touched so that releasing its memory pays.
pub(super) const RELEASED_MIN: u64 = 2 * FRONT_LEN;
/// The bit of an index that distinguishes its epoch from the one before and the one after. The other bits count from the
/// beginning of the epoch.
const EPOCH: u64 = 1 << 63;
/// How much of a stream is copied before it is published, so that the other end copies at the same time. Half
/// of it took a tenth more time for publishing, twice as much a tenth more for waiting.
pub(crate) const PIECE_LEN: usize = 32 * 1024;
/// The largest quota that is kept as asked; a larger one counts as this one.
const QUOTA_MAX: u64 = 256 * 1024 * 1024;

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// One of the two directions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Client to server.
    Inbound,
    /// Server to client.
    Outbound,
}

/// A shared 64-bit word. Each is written by one end only, but for the waiting words, which the peer clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// How far the producer has published: the epoch, and the ring bytes since its beginning.
    Tail(Direction),
    /// How much of a large message lies in its memory object, in bytes since its beginning.
    Filled(Direction),
    /// How far the consumer has read: the epoch, and the ring bytes since its beginning.
    Head(Direction),
    /// How much payload the consumer has read; differs from the head by the records' headers.
    Payload(Direction),
    /// The interests that the threads of an end sleep for.
    Waiting(Side),
    /// Whether an end has closed or disconnected.
    Mark(Side),
    /// On which processor an end last waited.
    Processor(Side),
}

impl Word {
    /// The offset in bytes of the word in the memory.
    pub(super) fn offset(self) -> usize {
        match self {
            Word::Tail(Direction::Inbound) => 0,
            Word::Filled(Direction::Inbound) => 8,
            Word::Tail(Direction::Outbound) => LINE,
            Word::Filled(Direction::Outbound) => LINE + 8,
            Word::Head(Direction::Inbound) => 2 * LINE,
            Word::Payload(Direction::Inbound) => 2 * LINE + 8,
            Word::Head(Direction::Outbound) => 3 * LINE,
            Word::Payload(Direction::Outbound) => 3 * LINE + 8,
            Word::Waiting(Side::Client) => 4 * LINE,
            Word::Waiting(Side::Server) => 5 * LINE,
            Word::Mark(Side::Client) => 6 * LINE,
            Word::Mark(Side::Server) => 7 * LINE,
            Word::Processor(Side::Client) => 8 * LINE,
            Word::Processor(Side::Server) => 9 * LINE,
        }
    }
}

/// The ring of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) direction: Direction,
    /// Where the payload begins in the memory.
    pub(super) offset: usize,
    /// Bytes of the ring; a power of two.
    pub(super) capacity: u64,
    /// Bytes that may lie unread while writes return at once.
    pub(super) quota: u64,
    /// Whether the payload is framed into messages.
    pub(super) messages: bool,
}

/// The shape of a connection's memory: follows from what both ends know, so that none has to believe the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    inbound: Option<Lane>,
    outbound: Option<Lane>,
    len: usize,
}

impl Geometry {
    /// The shape for these quotas in bytes; `None` is a direction that the pipe does not have.
    pub(crate) fn new(messages: bool, inbound: Option<u32>, outbound: Option<u32>) -> Geometry {
        let mut len = CONTROL_LEN;
        let mut lane = |direction, quota: Option<u32>| {
            let quota = u64::from(quota?).min(QUOTA_MAX);
            // Twice the quota leaves room for the headers of messages.
            let wanted = if messages { quota * 2 } else { quota };
            let capacity = wanted.max(CAPACITY_MIN).next_power_of_two();
            let offset = len;
            len += usize::try_from(capacity).ok()?;
            Some(Lane { direction, offset, capacity, quota, messages })
        };
        let inbound = lane(Direction::Inbound, inbound);
        let outbound = lane(Direction::Outbound, outbound);
        Geometry { inbound, outbound, len }
    }

    /// Bytes of the whole memory.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn lane(&self, direction: Direction) -> Option<Lane> {
        match direction {
            Direction::Inbound => self.inbound,
            Direction::Outbound => self.outbound,
        }
    }
}

/// How many ring bytes lie before `index` in its epoch.
pub(super) fn since_epoch(index: u64) -> u64 {
    index & !EPOCH
}

/// The first index of the epoch that follows the one of `index`.
pub(super) fn next_epoch(index: u64) -> u64 {
    !index & EPOCH
}

impl Lane {
    /// Where the ring byte `index` lies in the memory, and how many bytes follow it up to the end of the ring.
    pub(super) fn place(&self, index: u64) -> (usize, usize) {
        // An epoch begins at the beginning of the ring.
        let within = index & (self.capacity - 1);
        // Both fit: the capacity does, as the geometry was made.
        let at = self.offset + usize::try_from(within).unwrap_or(0);
        (at, usize::try_from(self.capacity - within).unwrap_or(0))
    }
}
