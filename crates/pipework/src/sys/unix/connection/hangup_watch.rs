//! One look of the kernel at the sockets of all busy connections of this process, instead of one at each.
//!
//! A writer must know that its reader was alive a moment ago. With many connections each write comes later than a moment after
//! the one before, and would ask the kernel. A connection that asks often, among others that do, joins the watch: an epoll set
//! that reports hang-ups and nothing else. While it has reported none, all of its sockets are alive.

use super::{
    super::{fork::Origin, os},
    SEEN_ALIVE_FOR,
};
use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Instant,
};

/// How often a connection asks the kernel by itself, before it joins the watch.
const ASKED_MIN: u32 = 4;

/// As long as a connection has joined it.
static WATCH: Mutex<Weak<HangupWatch>> = Mutex::new(Weak::new());

/// The member that asked the kernel by itself last, by its address: one busy connection alone needs no watch.
static ASKED_LAST: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct HangupWatch {
    /// Locked while a thread looks.
    set: Mutex<os::HangupSet>,
    made: Instant,
    /// When a thread looked last, in nanoseconds since then. It wraps, which costs one look more or less.
    looked: AtomicUsize,
    /// How often a look found hang-ups. Each connection that has joined then asks for itself.
    hangups: AtomicUsize,
    /// The process that made it. A look of a forked child would take hang-ups away from its parent.
    origin: Origin,
}

/// The place of a connection in the watch.
#[derive(Debug, Default)]
pub(super) struct HangupMember {
    asked: AtomicU32,
    joined: OnceLock<Joined>,
}

#[derive(Debug)]
struct Joined {
    watch: Arc<HangupWatch>,
    /// The hang-ups of the watch at which this connection was alive.
    alive_at: AtomicUsize,
}

impl HangupMember {
    /// Whether the peer was alive a moment ago, as far as the watch knows; else asks `is_alive`.
    pub(super) fn is_alive(
        &self,
        socket: BorrowedFd<'_>,
        now: Instant,
        is_alive: impl FnOnce() -> bool,
    ) -> bool {
        let Some(joined) = self.joined.get() else {
            let is_alive = is_alive();
            if is_alive {
                self.count(socket);
            }
            return is_alive;
        };
        // Read before the socket is asked: a later hang-up counts as another one.
        let hangups = joined.watch.hangups(now);
        if hangups == Some(joined.alive_at.load(Ordering::Relaxed)) {
            return true;
        }
        let is_alive = is_alive();
        if let Some(hangups) = hangups
            && is_alive
        {
            joined.alive_at.store(hangups, Ordering::Relaxed);
        }
        is_alive
    }

    /// Joins the watch, if this connection asks often, among others. Where that fails, it goes on asking.
    fn count(&self, socket: BorrowedFd<'_>) {
        let address = std::ptr::from_ref(self).addr();
        // Relaxed: a count that is a little off costs a little time.
        if ASKED_LAST.swap(address, Ordering::Relaxed) == address
            || self.asked.fetch_add(1, Ordering::Relaxed) + 1 < ASKED_MIN
        {
            return;
        }
        self.asked.store(0, Ordering::Relaxed);
        if let Ok(joined) = HangupWatch::of_process().and_then(|watch| Joined::new(watch, socket)) {
            // Another thread may have been quicker.
            self.joined.set(joined).ok();
        }
    }
}

impl Joined {
    fn new(watch: Arc<HangupWatch>, socket: BorrowedFd<'_>) -> io::Result<Joined> {
        watch.set.lock().unwrap_or_else(PoisonError::into_inner).add(socket)?;
        // It has not been seen alive at any of them.
        let alive_at = AtomicUsize::new(watch.hangups.load(Ordering::Relaxed).wrapping_sub(1));
        Ok(Joined { watch, alive_at })
    }
}

impl HangupWatch {
    fn of_process() -> io::Result<Arc<HangupWatch>> {
        // It is replaced as a whole.
        let mut known = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = known.upgrade().filter(|watch| watch.origin.is_here()) {
            return Ok(watch);
        }
        let watch = Arc::new(HangupWatch::new()?);
        *known = Arc::downgrade(&watch);
        Ok(watch)
    }

    fn new() -> io::Result<HangupWatch> {
        Ok(HangupWatch {
            set: Mutex::new(os::HangupSet::new()?),
            made: Instant::now(),
            looked: AtomicUsize::new(0),
            hangups: AtomicUsize::new(0),
            origin: Origin::current(),
        })
    }

    /// How often hang-ups were found, up to a moment ago. `None` where that is not known without waiting.
    fn hangups(&self, now: Instant) -> Option<usize> {
        if !self.origin.is_here() {
            return None;
        }
        let now = now.duration_since(self.made).as_nanos() as usize;
        // Acquire: with the time of a look comes what it found.
        let since = now.wrapping_sub(self.looked.load(Ordering::Acquire));
        if since as u128 > SEEN_ALIVE_FOR.as_nanos() {
            // What another thread has taken from the kernel it may not have counted yet.
            let set = self.set.try_lock().ok()?;
            if set.take().ok()? {
                self.hangups.fetch_add(1, Ordering::Relaxed);
            }
            self.looked.store(now, Ordering::Release);
        }
        Some(self.hangups.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tests {
    use super::*;
    use std::{
        cell::Cell,
        os::{fd::AsFd, unix::net::UnixStream},
        time::Duration,
    };

    /// A connection that asks the kernel, and how often it did.
    struct Asking {
        member: HangupMember,
        socket: UnixStream,
        asked: Cell<u32>,
        is_alive: Cell<bool>,
    }

    impl Asking {
        fn new() -> (Asking, UnixStream) {
            let (socket, peer) = UnixStream::pair().unwrap();
            let (member, asked, is_alive) = (HangupMember::default(), Cell::new(0), Cell::new(true));
            (Asking { member, socket, asked, is_alive }, peer)
        }

        fn join(&self, watch: &Arc<HangupWatch>) {
            self.member.joined.set(Joined::new(Arc::clone(watch), self.socket.as_fd()).unwrap()).unwrap();
        }

        fn is_alive_at(&self, now: Instant) -> bool {
            self.member.is_alive(self.socket.as_fd(), now, || {
                self.asked.set(self.asked.get() + 1);
                self.is_alive.get()
            })
        }
    }

    /// Two connections that have joined a watch and were seen alive there, and the time of that.
    fn joined() -> ([(Asking, UnixStream); 2], Instant) {
        let (both, watch) = ([Asking::new(), Asking::new()], Arc::new(HangupWatch::new().unwrap()));
        let now = Instant::now();
        for (one, _) in &both {
            one.join(&watch);
            assert!(one.is_alive_at(now));
            assert_eq!(one.asked.get(), 1, "it has not been seen before");
        }
        (both, now)
    }

    #[test]
    fn connections_that_ask_often_among_others_join() {
        let [(one, _peer), (other, _other_peer)] = [Asking::new(), Asking::new()];
        for _ in 0..2 * ASKED_MIN {
            one.is_alive_at(Instant::now());
            other.is_alive_at(Instant::now());
        }
        assert!(one.member.joined.get().is_some() && other.member.joined.get().is_some());
    }

    #[test]
    fn one_look_is_enough_for_all_while_none_hangs_up() {
        let (both, now) = joined();
        for wait in 1..100 {
            for (one, _) in &both {
                assert!(one.is_alive_at(now + 2 * SEEN_ALIVE_FOR * wait));
            }
        }
        assert_eq!(both.each_ref().map(|(one, _)| one.asked.get()), [1, 1]);
    }

    #[test]
    fn a_hang_up_lets_each_ask_for_itself() {
        let ([(one, peer), (other, _other_peer)], now) = joined();
        drop(peer);
        one.is_alive.set(false);
        let later = now + 2 * SEEN_ALIVE_FOR;
        assert!(other.is_alive_at(later));
        assert_eq!(other.asked.get(), 2, "one of the watched sockets has hung up");
        assert!(!one.is_alive_at(later), "the other one took its event from the kernel");
        assert!(!one.is_alive_at(later + Duration::from_secs(1)), "it stays so");
        assert!(other.is_alive_at(later + Duration::from_secs(2)));
        assert_eq!(other.asked.get(), 2, "it asks once for each hang-up");
    }

    #[test]
    fn what_hung_up_before_it_joined_is_seen() {
        let (one, peer) = Asking::new();
        drop(peer);
        one.is_alive.set(false);
        one.join(&Arc::new(HangupWatch::new().unwrap()));
        assert!(!one.is_alive_at(Instant::now()));
    }
}
