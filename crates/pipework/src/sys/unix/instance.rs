//! A server instance: drives the pure state machine with sockets.

use super::{
    super::{
        Limit,
        errors::{client_left, listening, not_connected},
    },
    connection::Connection,
    link::Shape,
    listening::Listening,
    poll,
    served::{self, NameHold, Patience, Place, Takes},
    settings::Settings,
};
use crate::{
    model::{
        instance::{self, Connect, Unusable},
        place::Taking,
    },
    options::{PipeEnd, PipeInfo, PipeMode, Spec},
};
use rustix::event::PollFlags;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A server instance; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shape: Shape,
    quotas: (u32, u32),
    /// Of the instance, for all of its connections.
    settings: Arc<Settings>,
    current: Mutex<Current>,
    /// Last, so that the instance's names are gone when its place is given back, which may end the pipe.
    place: Arc<Place>,
}

/// What the instance is at now.
#[derive(Debug)]
struct Current {
    machine: instance::Instance,
    listening: Option<Arc<Listening>>,
    /// The socket at which it listened, for the instance that follows.
    renewable: Option<Arc<Listening>>,
    connection: Option<Arc<Connection>>,
}

impl Instance {
    /// Creates an instance, which listens from now on (rule N8).
    pub(crate) fn create(spec: &Spec) -> io::Result<Instance> {
        let (place, listening) = served::create(spec, Patience::Waits, Takes::One)?;
        Ok(Instance::over(spec, place, Arc::new(listening)))
    }

    /// Creates an instance that listens once, so that the next one can take its socket over.
    pub(crate) fn create_for_listener(spec: &Spec) -> io::Result<Instance> {
        let (place, listening) = served::create(spec, Patience::Waits, Takes::OneAfterTheOther)?;
        Ok(Instance::over(spec, place, Arc::new(listening)))
    }

    /// The same; `None` while another process creates one.
    #[cfg(feature = "tokio")]
    pub(crate) fn try_create_for_listener(spec: &Spec) -> io::Result<Option<Instance>> {
        match served::create(spec, Patience::OneTry, Takes::OneAfterTheOther) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
            Ok((place, listening)) => Ok(Some(Instance::over(spec, place, Arc::new(listening)))),
        }
    }

    /// Creates the instance that listens after this one, which has its client.
    pub(crate) fn create_next(&self, spec: &Spec) -> io::Result<Instance> {
        self.renewed(spec).map_or_else(|| Instance::create_for_listener(spec), Ok)
    }

    /// The same; `None` while another process creates one.
    #[cfg(feature = "tokio")]
    pub(crate) fn try_create_next(&self, spec: &Spec) -> io::Result<Option<Instance>> {
        self.renewed(spec).map_or_else(|| Instance::try_create_for_listener(spec), |next| Ok(Some(next)))
    }

    /// The next instance on the socket of this one, where that can be.
    fn renewed(&self, spec: &Spec) -> Option<Instance> {
        let listening = self.current().renewable.take()?;
        if let Ok(Some(place)) = self.shared.place.next()
            && listening.renew().is_ok()
        {
            return Some(Instance::over(spec, place, listening));
        }
        listening.end();
        None
    }

    fn over(spec: &Spec, place: Place, listening: Arc<Listening>) -> Instance {
        let (inbound, outbound) = (spec.in_buffer_size, spec.out_buffer_size);
        let header = &place.served.header;
        let shape = Shape {
            incarnation: header.incarnation.number(),
            messages: header.messages,
            inbound: header.inbound.then_some(inbound),
            outbound: header.outbound.then_some(outbound),
            max_instances: header.max_instances,
            accept_remote: header.accept_remote,
        };
        let current = Current {
            machine: instance::Instance::new(),
            listening: Some(listening),
            renewable: None,
            connection: None,
        };
        Instance {
            shared: Arc::new(Shared {
                shape,
                quotas: (inbound, outbound),
                settings: Arc::new(Settings::new(spec.mode, None)),
                current: Mutex::new(current),
                place: Arc::new(place),
            }),
        }
    }

    /// Waits for a client (rules C2, C3, C7). Several threads may: one client serves them all.
    pub(crate) fn connect(&self, limit: &Limit) -> io::Result<()> {
        loop {
            let Some(listening) = self.connect_now()? else { return self.greet(limit) };
            limit.check()?;
            let fds = [Some((*listening).as_fd()), listening.ended()];
            let fds: Vec<_> = fds.into_iter().flatten().map(|fd| (fd, PollFlags::IN)).collect();
            poll::wait(&fds, limit, None)?;
        }
    }

    /// Waits until it is known whether the client, which is there, speaks for somebody on another computer. One look does
    /// not wait for that.
    fn greet(&self, limit: &Limit) -> io::Result<()> {
        match self.current().connection.clone() {
            Some(connection) if limit.check().is_ok() => connection.greet(limit),
            _ => Ok(()),
        }
    }

    /// How long to wait for that at most, if it is to come.
    #[cfg(feature = "tokio")]
    pub(super) fn greeting_left(&self) -> Option<std::time::Duration> {
        self.current().connection.clone()?.greeting_left()
    }

    /// Takes a client if one is there; else what to wait at.
    fn connect_now(&self) -> io::Result<Option<Arc<Listening>>> {
        let mut current = self.current();
        if current.machine.connect() == Connect::Listen {
            let listening = self.shared.place.served.listen(self.shared.quotas, Taking::One)?;
            current.listening = Some(Arc::new(listening));
            current.machine.listens();
        }
        self.accept(&mut current)?;
        if let (Ok(generation), Some(connection)) = (current.machine.usable(), &current.connection)
            && connection.poll_hangup()
        {
            current.machine.client_left(generation);
        }
        match current.machine.connect() {
            Connect::Already => Ok(None),
            Connect::Left => Err(client_left()),
            Connect::Wait | Connect::Listen => Ok(current.listening.clone()),
        }
    }

    /// Takes a client if one is there.
    fn accept(&self, current: &mut Current) -> io::Result<()> {
        let Some(listening) = &current.listening else { return Ok(()) };
        if let Some(socket) = listening.accept()? {
            current.connection = Some(Arc::new(self.connection(socket)));
            current.machine.client_came();
            current.renewable = current.listening.take().filter(|listening| listening.is_renewed());
        }
        Ok(())
    }

    fn connection(&self, socket: OwnedFd) -> Connection {
        let Shared { shape, settings, place, .. } = &*self.shared;
        Connection::server(socket, *shape, Arc::clone(settings), Arc::clone(place))
    }

    /// The connection that reads and writes go to; a client that waits is taken (rule C6).
    pub(crate) fn connection_now(&self) -> io::Result<Arc<Connection>> {
        let mut current = self.current();
        if current.machine.usable() == Err(Unusable::Listening) {
            self.accept(&mut current)?;
        }
        match (current.machine.usable(), &current.connection) {
            (Ok(_), Some(connection)) => Ok(Arc::clone(connection)),
            (Err(Unusable::Listening), _) => Err(listening()),
            _ => Err(not_connected()),
        }
    }

    /// Throws the client and all unread data out (rule F2).
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        let mut current = self.current();
        // A client that opened the pipe is connected, whether or not the server took notice.
        self.accept(&mut current)?;
        if !current.machine.disconnect() {
            return Err(not_connected());
        }
        current.listening = None;
        if let Some(connection) = current.connection.take() {
            connection.disconnect();
        }
        Ok(())
    }

    /// Keeps the name for as long as the hold lives.
    pub(crate) fn hold_name(&self) -> NameHold {
        self.shared.place.hold_name()
    }

    pub(crate) fn is_same(&self, other: &Instance) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.shared.settings
    }

    /// Switches how the server reads, on this connection and those that follow.
    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.shared.settings.set_read_mode(mode, self.shared.shape.messages)
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        Ok(self.shared.shape.info(PipeEnd::Server))
    }

    /// What to poll for a client: the socket it listens at, if it does.
    pub(crate) fn with_listening<T>(&self, use_it: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
        let listening = self.current().listening.clone()?;
        Some(use_it((*listening).as_fd()))
    }

    /// Where it listens now, if it does.
    #[cfg(feature = "tokio")]
    pub(super) fn listening(&self) -> Option<Arc<Listening>> {
        self.current().listening.clone()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // Each step leaves it whole, so a panic elsewhere can't have left it half-done.
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
