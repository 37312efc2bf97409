//! One connection, seen from one end.

use super::{
    super::{WaitLimit, end_options::EndOptions, errors::disconnected},
    direction::Direction,
    handle_info::{self, State},
    peer::Peer,
    pipe::{PeerLocation, Pipe, Rights},
};
use crate::{
    error::{PipeErrorKind, fail},
    options::{PipeEnd, PipeInfo, PipeMode},
};
use std::{
    io,
    os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle},
    sync::{Arc, Mutex, PoisonError},
};

/// A connection. Its calls fail after the server has disconnected its client, whatever connection the handle has then.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) pipe: Arc<Pipe>,
    /// Identifies this one among the connections of the handle.
    pub(super) generation: u32,
    pub(super) side: PipeEnd,
    /// Whether this is a message pipe.
    pub(super) messages: bool,
    pub(super) options: Arc<EndOptions>,
    pub(super) reading: Direction,
    pub(super) writing: Direction,
    /// The state of async reads and writes, created on first use.
    #[cfg(feature = "tokio")]
    pub(super) state: std::sync::OnceLock<Box<super::asynchronous::State>>,
    /// The peer, as far as the last query learned it.
    peer: Mutex<Option<Peer>>,
}

impl Connection {
    pub(super) fn new(
        pipe: Arc<Pipe>,
        side: PipeEnd,
        messages: bool,
        options: Arc<EndOptions>,
    ) -> Connection {
        if !messages {
            // Nothing is written yet, so there is room: this learns whether the system reports it.
            pipe.room().ok();
        }
        Connection {
            generation: pipe.generation(),
            pipe,
            side,
            messages,
            options,
            reading: Direction::default(),
            writing: Direction::default(),
            #[cfg(feature = "tokio")]
            state: std::sync::OnceLock::new(),
            peer: Mutex::new(None),
        }
    }

    /// Takes over a handle of a connected end, of either side.
    pub(crate) fn adopt(handle: OwnedHandle) -> io::Result<Connection> {
        let facts = handle_info::check_adoptable(handle.as_handle())?;
        if !matches!(handle_info::state(handle.as_handle())?, State::Connected | State::Closing) {
            return Err(fail(PipeErrorKind::Invalid, "the pipe of this handle is not connected"));
        }
        let side = if facts.is_server { PipeEnd::Server } else { PipeEnd::Client };
        let options = EndOptions::new(handle_info::read_mode(handle.as_handle())?, None);
        let pipe = Arc::new(Pipe::new(handle, Rights::ALL, PeerLocation::This));
        Ok(Connection::new(pipe, side, facts.has_messages, Arc::new(options)))
    }

    /// The state of async reads and writes.
    #[cfg(feature = "tokio")]
    pub(super) fn state(&self) -> &super::asynchronous::State {
        self.state.get_or_init(Box::default)
    }

    /// Wakes all tasks that wait here, so that they try again.
    #[cfg(feature = "tokio")]
    pub(super) fn wake_tasks(&self) {
        if let Some(state) = self.state.get() {
            state.wake_tasks();
        }
    }

    /// Without tasks there is no watch that could take an empty message.
    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_self, reason = "as with tasks")]
    pub(super) fn take_watched_empty(&self) -> bool {
        false
    }

    pub(super) fn handle(&self) -> BorrowedHandle<'_> {
        self.pipe.as_handle()
    }

    /// Fails if the server has disconnected its client. A peer that has closed is no error here.
    pub(super) fn check_usable(&self) -> io::Result<()> {
        self.pipe.within(self.generation, || match handle_info::state(self.pipe.as_handle()) {
            Ok(State::Disconnected) => Err(disconnected()),
            // A handle without the right to query leaves the answer to the call itself.
            _ => match self.pipe.peek(&mut []) {
                Err(error) if error == PipeErrorKind::NotConnected => Err(error),
                _ => Ok(()),
            },
        })
    }

    pub(super) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        match self.switch_read_mode(mode) {
            // A disconnected client reads nothing any more, in either mode. A server's mode outlives the connection, so a
            // connection that is over does not change it.
            Err(error) if error == PipeErrorKind::NotConnected => match self.side {
                PipeEnd::Client => self.options.set_read_mode(mode, self.messages),
                PipeEnd::Server => Ok(()),
            },
            outcome => outcome,
        }
    }

    /// Switches the read mode if the connection is still this one.
    pub(super) fn switch_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.without_watch(|| {
            self.pipe.within(self.generation, || switch(&self.pipe, &self.options, mode, self.messages))
        })
    }

    /// Only async reads watch a pipe.
    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_self, reason = "as with the feature `tokio`")]
    fn without_watch<T>(&self, act: impl FnOnce() -> T) -> T {
        act()
    }

    pub(super) fn info(&self) -> io::Result<PipeInfo> {
        handle_info::info(self.pipe.as_handle())
    }

    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let state = self.pipe.within(self.generation, || handle_info::state(self.pipe.as_handle()));
        match state {
            // The handle of a server that only writes has no right to it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let text = "the system does not report the peer's state to a server end that only writes";
                Err(fail(PipeErrorKind::Unsupported, text))
            }
            state => Ok(state? == State::Connected),
        }
    }

    /// Returns the peer. What was learned once stays available after the peer has gone (rule A3).
    pub(super) fn peer(&self) -> io::Result<Peer> {
        let mut known = self.peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = &*known
            && peer.is_complete()
        {
            return Ok(peer.clone());
        }
        let queried = self.pipe.within(self.generation, || Peer::of(&self.pipe, self.side));
        match (queried, &*known) {
            // The peer has gone meanwhile, or the system reports nothing more.
            (Err(_), Some(peer)) => Ok(peer.clone()),
            (queried, _) => {
                let peer = queried?;
                *known = Some(peer.clone());
                Ok(peer)
            }
        }
    }

    pub(super) fn read_limit(&self) -> WaitLimit {
        self.options.read_limit()
    }

    pub(super) fn write_limit(&self) -> WaitLimit {
        self.options.write_limit()
    }
}

/// Switches the read mode of an end, in the kernel and in its settings.
pub(super) fn switch(
    pipe: &Pipe,
    options: &EndOptions,
    mode: PipeMode,
    has_messages: bool,
) -> io::Result<()> {
    let messages = mode == PipeMode::Message;
    // Not every handle has the right to set the mode, so it is not asked for the mode that it has.
    if has_messages && messages != options.reads_messages() {
        pipe.set_read_mode(messages)?;
    }
    options.set_read_mode(mode, has_messages)
}
