//! One connection, seen from one end.

use super::{
    super::{Limit, settings::Settings},
    facts::{self, State},
    peer::Peer,
    pipe::{Computer, Pipe, Rights},
    turn::Turn,
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

/// A connection. Its calls fail once the server has thrown its client out, whatever its handle serves then.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) pipe: Arc<Pipe>,
    /// The one of the handle's connections that this is.
    pub(super) generation: u32,
    pub(super) side: PipeEnd,
    /// Whether the pipe has messages.
    pub(super) messages: bool,
    pub(super) settings: Arc<Settings>,
    pub(super) reading: Turn,
    pub(super) writing: Turn,
    /// What tasks wait for, made when one does.
    #[cfg(feature = "tokio")]
    pub(super) state: std::sync::OnceLock<Box<super::asynchronous::State>>,
    /// Who the other end is, as far as it was known when last asked.
    peer: Mutex<Option<Peer>>,
}

impl Connection {
    pub(super) fn new(pipe: Arc<Pipe>, side: PipeEnd, messages: bool, settings: Arc<Settings>) -> Connection {
        if !messages {
            // While nothing is written yet: so it is known whether the system tells.
            pipe.room().ok();
        }
        Connection {
            generation: pipe.generation(),
            pipe,
            side,
            messages,
            settings,
            reading: Turn::default(),
            writing: Turn::default(),
            #[cfg(feature = "tokio")]
            state: std::sync::OnceLock::new(),
            peer: Mutex::new(None),
        }
    }

    /// Takes over a handle of a connected end, of either side.
    pub(crate) fn adopt(handle: OwnedHandle) -> io::Result<Connection> {
        let facts = facts::check_adoptable(handle.as_handle())?;
        if !matches!(facts::state(handle.as_handle())?, State::Connected | State::Closing) {
            return Err(fail(PipeErrorKind::Invalid, "the handle is of a pipe that is not connected"));
        }
        let side = if facts.is_server { PipeEnd::Server } else { PipeEnd::Client };
        let settings = Settings::new(facts::read_mode(handle.as_handle())?, None);
        let pipe = Arc::new(Pipe::new(handle, Rights::ALL, Computer::This));
        Ok(Connection::new(pipe, side, facts.has_messages, Arc::new(settings)))
    }

    /// Without tasks there is no watch that could take an empty message.
    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_self, reason = "as with tasks")]
    pub(super) fn take_watched_empty(&self) -> bool {
        false
    }

    /// The handle, for as long as the connection is borrowed.
    pub(super) fn handle(&self) -> BorrowedHandle<'_> {
        self.pipe.as_handle()
    }

    /// Whether calls still mean something.
    pub(super) fn check_usable(&self) -> io::Result<()> {
        self.pipe.within(self.generation, || match facts::state(self.pipe.as_handle()) {
            Ok(State::Disconnected) => Err(super::thrown_out()),
            // What the handle may not ask, the call itself will say.
            _ => match self.pipe.peek(&mut []) {
                Err(error) if error == PipeErrorKind::NotConnected => Err(error),
                _ => Ok(()),
            },
        })
    }

    pub(super) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        match self.pipe.within(self.generation, || switch(&self.pipe, &self.settings, mode, self.messages)) {
            // Nothing will be read here any more, in whatever mode. A server's mode is that of its next connection too.
            Err(error) if error == PipeErrorKind::NotConnected => match self.side {
                PipeEnd::Client => self.settings.set_read_mode(mode, self.messages),
                PipeEnd::Server => Ok(()),
            },
            outcome => outcome,
        }
    }

    pub(super) fn info(&self) -> io::Result<PipeInfo> {
        facts::info(self.pipe.as_handle())
    }

    /// Who the other end is. What is known once stays known after it has gone.
    pub(super) fn peer(&self) -> io::Result<Peer> {
        let mut known = self.peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = &*known
            && peer.is_complete()
        {
            return Ok(peer.clone());
        }
        let now = self.pipe.within(self.generation, || Peer::of(&self.pipe, self.side));
        match (now, &*known) {
            // It has gone meanwhile, or nothing more is told.
            (Err(_), Some(peer)) => Ok(peer.clone()),
            (now, _) => {
                let peer = now?;
                *known = Some(peer.clone());
                Ok(peer)
            }
        }
    }

    pub(super) fn read_limit(&self) -> Limit {
        self.settings.read_limit()
    }

    pub(super) fn write_limit(&self) -> Limit {
        self.settings.write_limit()
    }
}

/// Switches how an end reads, here and in the system.
pub(super) fn switch(pipe: &Pipe, settings: &Settings, mode: PipeMode, has_messages: bool) -> io::Result<()> {
    let messages = mode == PipeMode::Message;
    // Not every end may call it, and none has to for what it does already.
    if has_messages && messages != settings.reads_messages() {
        pipe.set_read_mode(messages)?;
    }
    settings.set_read_mode(mode, has_messages)
}
