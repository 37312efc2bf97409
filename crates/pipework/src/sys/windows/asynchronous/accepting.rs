//! The server's side, async: creating instances and waiting for clients.
#![expect(unsafe_code, reason = "security attributes are pointers")]

use super::{
    super::{descriptor::Descriptor, unsupported::SocketListener},
    pool_wait::PoolWait,
};
use crate::{
    name::PipeName,
    options::Spec,
    sys::{Instance, async_end::AsyncEnd},
};
use std::{
    ffi::c_void,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

/// The polling interval for a free instance, which the system does not signal.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Creates an instance; `open_mode` has the bits of `dwOpenMode` beyond the specification.
pub(crate) fn create(spec: &Spec, open_mode: u32) -> io::Result<AsyncEnd> {
    let descriptor = Descriptor::new(&spec.access)?;
    let attributes = descriptor.attributes();
    // SAFETY: the attributes are a local that points to the descriptor, which lives until the end of the call.
    let instance = unsafe { Instance::create_with(spec, open_mode, &attributes) }?;
    Ok(AsyncEnd::of_instance(&instance))
}

/// The same with these security attributes.
///
/// # Safety
/// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
pub(crate) unsafe fn create_with_attributes(
    spec: &Spec,
    open_mode: u32,
    attributes: *mut c_void,
) -> io::Result<AsyncEnd> {
    // SAFETY: the caller promises the same.
    let instance = unsafe { Instance::create_with(spec, open_mode, attributes.cast_const().cast()) }?;
    Ok(AsyncEnd::of_instance(&instance))
}

/// What a task that waits for clients keeps between polls. `Ready` always means to try again.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    client: Option<PoolWait>,
    pause: Option<PoolWait>,
}

impl Accepting {
    /// Waits for a client of this instance.
    pub(crate) fn poll_client(&mut self, cx: &mut Context<'_>, instance: &Instance) -> Poll<io::Result<()>> {
        let Some(listening) = instance.listening() else {
            self.client = None;
            return Poll::Ready(Ok(()));
        };
        let wait = match self.client.take() {
            Some(wait) if wait.is_at(listening.event()) => wait,
            _ => PoolWait::at(listening.event())?,
        };
        if wait.poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.client = Some(wait);
        Poll::Pending
    }

    /// The identity of a client is known without waiting.
    #[expect(clippy::unused_self, reason = "as on other systems")]
    pub(crate) fn poll_identity(
        &mut self,
        _cx: &mut Context<'_>,
        _instance: &Instance,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// There are no sockets by path.
    #[expect(clippy::unused_self, reason = "as on other systems")]
    pub(crate) fn poll_path(
        &mut self,
        _cx: &mut Context<'_>,
        listener: &SocketListener,
    ) -> Poll<io::Result<()>> {
        match *listener {}
    }

    /// Waits until another instance of the name may be possible.
    pub(crate) fn poll_place(&mut self, cx: &mut Context<'_>, _name: &PipeName) -> Poll<io::Result<()>> {
        self.poll_pause(cx, POLL_INTERVAL)
    }

    /// Creators do not lock each other out here, so this is ready.
    #[expect(clippy::unused_self, reason = "as on other systems")]
    pub(crate) fn poll_lock(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Waits for the given time.
    pub(crate) fn poll_pause(&mut self, cx: &mut Context<'_>, time: Duration) -> Poll<io::Result<()>> {
        let pause = match &self.pause {
            Some(pause) => pause,
            None => self.pause.insert(PoolWait::after(time)?),
        };
        ready!(pause.poll(cx));
        self.pause = None;
        Poll::Ready(Ok(()))
    }
}
