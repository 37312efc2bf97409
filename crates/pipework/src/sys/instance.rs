//! A server instance: its life, which is the same on every system, over the few things that each backend does its own way.

use super::{
    WaitLimit,
    end_options::EndOptions,
    errors::{client_left, listening, not_connected},
    system::{Backend, Connection, ListeningSocket},
};
use crate::{
    model::instance::{self, Connect, Unusable},
    options::PipeMode,
};
use std::{
    fmt::Debug,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A server instance; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Before the backend, so that listening has ended when the backend gives back what it listened with.
    current: Mutex<Current>,
    /// Of the instance, for all of its connections.
    options: Arc<EndOptions>,
    backend: Backend,
}

/// The current state of the instance.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) machine: instance::Instance,
    listening: Option<Arc<ListeningSocket>>,
    connection: Option<Arc<Connection>>,
}

/// The operations that an instance needs from its backend. `listening` is where the server waits for a
/// client, if anywhere.
pub(super) trait InstanceBackend: Debug + Send + Sync {
    /// Listens again; a connection, if a client is there at once.
    fn listen(
        &self,
        listening: &mut Option<Arc<ListeningSocket>>,
        options: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>>;
    /// Takes a client if one is there. While none is, the instance goes on listening.
    fn accept(
        &self,
        listening: &mut Option<Arc<ListeningSocket>>,
        options: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>>;
    /// Whether clients can find where it listens, where something else than the server may take that away.
    fn check_name(&self, _listening: &ListeningSocket) -> io::Result<()> {
        Ok(())
    }
    /// Waits until `accept` may have something to do.
    fn wait(&self, listening: &ListeningSocket, limit: &WaitLimit) -> io::Result<()>;
    /// Waits until the identity of the client is known, where it is not known at once.
    fn await_identity(&self, _connection: &Connection, _limit: &WaitLimit) -> io::Result<()> {
        Ok(())
    }
    /// Whether the identity of the client is known, or can't become known any more.
    fn is_known(&self, _connection: &Connection) -> bool {
        true
    }
    /// Whether the client of this connection has closed.
    fn has_left(&self, connection: &Connection) -> io::Result<bool>;
    /// Ends listening, or the connection as far as it is the system's; a connection, if a client was there unnoticed.
    fn disconnect(
        &self,
        listening: &mut Option<Arc<ListeningSocket>>,
        options: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>>;
    /// Lets everything that waits at this connection know that it is disconnected.
    fn end(&self, _connection: &Connection) {}
}

impl Instance {
    /// An instance that listens from now on (rule N8).
    pub(super) fn new(
        backend: Backend,
        read_mode: PipeMode,
        listening: Option<Arc<ListeningSocket>>,
    ) -> Instance {
        let current = Current { machine: instance::Instance::new(), listening, connection: None };
        let options = Arc::new(EndOptions::new(read_mode, None));
        Instance { shared: Arc::new(Shared { current: Mutex::new(current), options, backend }) }
    }

    /// How long a `connect` that begins now may wait.
    pub(crate) fn connect_limit(&self, timeout: Option<Duration>) -> WaitLimit {
        WaitLimit::new(timeout, self.options().canceller()).awaiting("a client")
    }

    /// Waits for a client (rules C2, C3, C7). If several threads wait, one client ends all their waits.
    pub(crate) fn connect(&self, limit: &WaitLimit) -> io::Result<()> {
        while let Some(listening) = self.connect_now()? {
            limit.check()?;
            self.backend().wait(&listening, limit)?;
        }
        let connection = self.current().connection.clone();
        connection.map_or(Ok(()), |connection| self.backend().await_identity(&connection, limit))
    }

    /// Waits until a client may be there, after a look that has found none.
    pub(crate) fn wait_for_client(&self, limit: &WaitLimit) -> io::Result<()> {
        limit.check()?;
        // Another thread may have taken the client since.
        self.listening().map_or(Ok(()), |listening| self.backend().wait(&listening, limit))
    }

    /// Whether the identity of the client, if there is one, is known or can't become known any more.
    pub(crate) fn is_known(&self) -> bool {
        let connection = self.current().connection.clone();
        connection.is_none_or(|connection| self.backend().is_known(&connection))
    }

    /// Takes a client if one is there; else where to wait for one.
    fn connect_now(&self) -> io::Result<Option<Arc<ListeningSocket>>> {
        let mut current = self.current();
        if current.machine.connect() == Connect::Listen {
            let client = self.backend().listen(&mut current.listening, self.options())?;
            current.machine.listens();
            current.note(client);
        }
        self.accept(&mut current)?;
        if let (Connect::Wait, Some(listening)) = (current.machine.connect(), &current.listening) {
            self.backend().check_name(listening)?;
        }
        if let (Connect::Already, Ok(generation)) = (current.machine.connect(), current.machine.usable())
            && let Some(connection) = &current.connection
            && self.backend().has_left(connection)?
        {
            current.machine.client_left(generation);
        }
        match current.machine.connect() {
            Connect::Already => Ok(None),
            Connect::Left => Err(client_left()),
            Connect::Wait | Connect::Listen => Ok(current.listening.clone()),
        }
    }

    fn accept(&self, current: &mut Current) -> io::Result<()> {
        if current.machine.connect() == Connect::Wait {
            let client = self.backend().accept(&mut current.listening, self.options())?;
            current.note(client);
        }
        Ok(())
    }

    /// The connection that reads and writes go to; a client that waits is taken (rule C6).
    pub(crate) fn connection_now(&self) -> io::Result<Arc<Connection>> {
        let mut current = self.current();
        self.accept(&mut current)?;
        match (current.machine.usable(), &current.connection) {
            (Ok(_), Some(connection)) => Ok(Arc::clone(connection)),
            (Err(Unusable::Listening), _) => Err(listening()),
            _ => Err(not_connected()),
        }
    }

    /// Disconnects the client and discards all unread data (rule F2).
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        let mut current = self.current();
        if current.machine.usable() == Err(Unusable::Disconnected) {
            return Err(not_connected());
        }
        let client = self.backend().disconnect(&mut current.listening, self.options())?;
        current.note(client);
        current.machine.disconnect();
        current.listening = None;
        let connection = current.connection.take();
        // A task that is woken may use the instance at once.
        drop(current);
        if let Some(connection) = connection {
            self.backend().end(&connection);
        }
        Ok(())
    }

    /// Where it listens now, if it does.
    pub(super) fn listening(&self) -> Option<Arc<ListeningSocket>> {
        self.current().listening.clone()
    }

    pub(crate) fn options(&self) -> &Arc<EndOptions> {
        &self.shared.options
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    pub(super) fn current(&self) -> MutexGuard<'_, Current> {
        // Each step leaves it whole, so a panic elsewhere can't have left it half-done.
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    /// Takes note of a client, if one came.
    fn note(&mut self, client: Option<Connection>) {
        if let Some(connection) = client {
            self.machine.client_came();
            self.listening = None;
            self.connection = Some(Arc::new(connection));
        }
    }
}
