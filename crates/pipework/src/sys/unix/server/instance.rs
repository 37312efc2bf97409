//! The parts of a server instance on Unix: its place among those of the name, and the sockets at which it
//! listens.

use super::{
    super::{
        connection::{Connection, rings::Shape},
        end_options::EndOptions,
        name::{check_clock::CheckClock, lock::LockWait},
        poll,
    },
    listening_socket::ListeningSocket,
    registry::{self, InstanceSlot, NameHold, Takes},
};
use crate::{
    model::dir_format::Taking,
    options::{PipeEnd, PipeInfo, PipeMode, Spec},
    sys::{Instance, WaitLimit, instance::InstanceBackend},
};
use rustix::event::PollFlags;
use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The state of an instance that all of its connections share.
#[derive(Debug)]
pub(crate) struct Backend {
    shape: Shape,
    quotas: (u32, u32),
    /// The socket at which it listened, for the instance that follows.
    renewable: Mutex<Option<Arc<ListeningSocket>>>,
    /// When its name was last known to be there.
    check_clock: CheckClock,
    /// Last, so that the instance's names are gone when its place is given back, which may end the pipe.
    slot: Arc<InstanceSlot>,
}

impl Instance {
    /// Creates an instance, which listens from now on (rule N8).
    pub(crate) fn create(spec: &Spec) -> io::Result<Instance> {
        let (slot, listening) = registry::create(spec, LockWait::Waits, Takes::One)?;
        Ok(Instance::over(spec, slot, Arc::new(listening)))
    }

    /// Creates the first instance of a listener, so that the next one can take its socket over, and holds the name for it.
    pub(crate) fn create_for_listener(spec: &Spec) -> io::Result<(Instance, NameHold)> {
        let (slot, listening) = registry::create(spec, LockWait::Waits, Takes::OneAfterTheOther)?;
        let hold = slot.hold_name();
        Ok((Instance::queued(spec, slot, listening, &hold)?, hold))
    }

    /// Creates another one; `None` while another process creates one.
    pub(crate) fn try_create_for_listener(spec: &Spec, hold: &NameHold) -> io::Result<Option<Instance>> {
        match registry::create(spec, LockWait::OneTry, Takes::OneAfterTheOther) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
            Ok((slot, listening)) => Instance::queued(spec, slot, listening, hold).map(Some),
        }
    }

    /// Creates the instance that listens after this one, which has its client; `None` while another process creates one.
    pub(crate) fn try_create_next(&self, spec: &Spec, hold: &NameHold) -> io::Result<Option<Instance>> {
        let renewed = self.renewed(spec);
        renewed.map_or_else(|| Instance::try_create_for_listener(spec, hold), |next| Ok(Some(next)))
    }

    /// An instance that also takes the clients of the listener's queue.
    fn queued(
        spec: &Spec,
        slot: InstanceSlot,
        listening: ListeningSocket,
        hold: &NameHold,
    ) -> io::Result<Instance> {
        let listening = hold.with_queue(listening, (spec.in_buffer_size, spec.out_buffer_size))?;
        Ok(Instance::over(spec, slot, Arc::new(listening)))
    }

    /// The next instance on the socket of this one, where that can be.
    fn renewed(&self, spec: &Spec) -> Option<Instance> {
        let listening = self.backend().renewable().take()?;
        if let Ok(Some(slot)) = self.backend().slot.next()
            && listening.renew().is_ok()
        {
            return Some(Instance::over(spec, slot, listening));
        }
        listening.end();
        None
    }

    fn over(spec: &Spec, slot: InstanceSlot, listening: Arc<ListeningSocket>) -> Instance {
        let (inbound, outbound) = (spec.in_buffer_size, spec.out_buffer_size);
        let header = &slot.served.header;
        let shape = Shape {
            incarnation: header.incarnation.number(),
            messages: header.messages,
            inbound: header.inbound.then_some(inbound),
            outbound: header.outbound.then_some(outbound),
            max_instances: header.max_instances,
            accept_remote: header.accept_remote,
        };
        let backend = Backend {
            shape,
            quotas: (inbound, outbound),
            renewable: Mutex::default(),
            check_clock: CheckClock::started(),
            slot: Arc::new(slot),
        };
        Instance::new(backend, spec.mode, Some(listening))
    }

    /// In a forked child: the instance at which its parent listens, if it does, and a hold on the name, as this process's own.
    pub(crate) fn adopt(
        spec: &Spec,
        current: Option<&Instance>,
        hold: &NameHold,
    ) -> io::Result<(Option<Instance>, NameHold)> {
        let listening = current.and_then(Instance::listening);
        let (hold, adopted) =
            hold.adopt(listening.as_deref(), (spec.in_buffer_size, spec.out_buffer_size))?;
        let instance = adopted.map(|(slot, listening)| {
            let listening = listening.with_queue(hold.queue().clone());
            Instance::over(spec, slot, Arc::new(listening))
        });
        Ok((instance, hold))
    }

    /// Switches how the server reads, on this connection and those that follow.
    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        self.options().set_read_mode(mode, self.backend().shape.messages)
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        Ok(self.backend().shape.info(PipeEnd::Server))
    }

    /// How long to wait at most until the identity of the client is known, if it is to come.
    #[cfg(feature = "tokio")]
    pub(super) fn identity_time_left(&self) -> Option<std::time::Duration> {
        self.connection_now().ok()?.identity_time_left()
    }
}

impl InstanceBackend for Backend {
    fn listen(
        &self,
        listening: &mut Option<Arc<ListeningSocket>>,
        _settings: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>> {
        *listening = Some(Arc::new(self.slot.served.listen(self.quotas, Taking::One)?));
        Ok(None)
    }

    fn accept(
        &self,
        listening: &mut Option<Arc<ListeningSocket>>,
        options: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>> {
        let Some(socket) = listening.as_ref().map_or(Ok(None), |listening| listening.accept())? else {
            return Ok(None);
        };
        *self.renewable() = listening.take().filter(|listening| listening.is_renewed());
        let slot = Arc::clone(&self.slot);
        Ok(Some(Connection::server(socket, self.shape, Arc::clone(options), slot)))
    }

    fn check_name(&self, listening: &ListeningSocket) -> io::Result<()> {
        if self.check_clock.is_check_due() {
            self.slot.served.check_name(listening)?;
            self.check_clock.note_found();
        }
        Ok(())
    }

    fn wait(&self, listening: &ListeningSocket, limit: &WaitLimit) -> io::Result<()> {
        let queue = listening.queue().map(|queue| queue.as_fd());
        let fds = [Some(listening.as_fd()), listening.ended(), queue];
        let fds: Vec<_> = fds.into_iter().flatten().map(|fd| (fd, PollFlags::IN)).collect();
        poll::wait(&fds, limit, Some(self.check_clock.time_left())).map(drop)
    }

    fn await_identity(&self, connection: &Connection, limit: &WaitLimit) -> io::Result<()> {
        // A call that only looks does not wait for that.
        if limit.check().is_ok() { connection.await_identity(limit) } else { Ok(()) }
    }

    fn is_known(&self, connection: &Connection) -> bool {
        connection.identity_time_left().is_none()
    }

    fn has_left(&self, connection: &Connection) -> io::Result<bool> {
        Ok(connection.poll_hangup())
    }

    fn disconnect(
        &self,
        listening: &mut Option<Arc<ListeningSocket>>,
        options: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>> {
        // A client that opened the pipe is connected, whether or not the server took notice.
        self.accept(listening, options)
    }

    fn end(&self, connection: &Connection) {
        connection.disconnect();
    }
}

impl Backend {
    fn renewable(&self) -> MutexGuard<'_, Option<Arc<ListeningSocket>>> {
        // It is replaced as a whole.
        self.renewable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
