//! The accept loop.

use crate::{
    cancel::Canceller,
    error::{PipeErrorKind, fail},
    name::{PipeName, PipeNameKind},
    named::NamedPipeBuilder,
    options::Spec,
    stream::PipeStream,
    sys::{self, WaitLimit},
};
use std::{
    ffi::OsStr,
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

/// When to look again while another process of this user creates an instance.
const LOCKED_PAUSE: Duration = Duration::from_millis(1);
/// How long `incoming` pauses after an error that may be temporary.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts clients, one after the other, without a gap in which none could connect.
///
/// It creates the next instance before it returns a connected one. A pipe that has its maximum of instances returns the
/// connected one first and listens again as soon as another instance closes. A client that connects and leaves does not end
/// the loop; if it wrote something, its connection is returned ([rule C2](crate::rules#c2)). The listener never waits for a
/// client to write. Several threads may call `accept`.
///
/// # Examples
/// ```
/// use pipework::{Listener, PipeName};
/// use std::io::{Read, Write};
/// # fn main() -> std::io::Result<()> {
/// let name = PipeName::unique("greeter")?;
/// let listener = Listener::bind(&name)?;
/// let client = std::thread::spawn(move || {
///     let mut text = String::new();
///     pipework::connect(&name)?.read_to_string(&mut text)?;
///     std::io::Result::Ok(text)
/// });
/// listener.accept()?.write_all(b"welcome")?;
/// assert_eq!(client.join().unwrap()?, "welcome");
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    pub(crate) spec: Spec,
    pub(crate) source: Source,
    canceller: Mutex<Option<Canceller>>,
    /// Created on first use by an event loop, where the system has such a thing.
    pub(crate) accept_readiness: OnceLock<sys::AcceptReadiness>,
}

/// The source of clients.
pub(crate) enum Source {
    /// The instance that listens now. None while the pipe has its maximum of instances.
    Instances {
        current: Mutex<Option<sys::Instance>>,
        /// Keeps the name when, at the maximum, the last instance closes before the next one is created.
        name: sys::NameHold,
    },
    /// A plain socket; another one after its path was restored.
    Socket(Mutex<Arc<sys::SocketListener>>),
}

/// What one look for a client finds.
pub(crate) enum Look {
    /// A client, at an instance of its own.
    Client(sys::Instance),
    /// A client of a plain socket.
    ClientAt(sys::End),
    /// No client: this instance listens.
    Nobody(sys::Instance),
    /// This instance has a client whose identity is not known yet.
    Unknown(sys::Instance),
    /// No client: this plain socket listens.
    NobodyAt(Arc<sys::SocketListener>),
    /// The pipe has all of its instances.
    Full,
    /// Another process creates an instance, so there can't be one now; a client that is there waits for it.
    Locked,
}

/// The outcome of creating an instance without waiting.
enum Created {
    Instance(sys::Instance),
    Full,
    Locked,
}

impl Listener {
    /// Creates a listener that owns the name.
    ///
    /// # Errors
    /// `NameTaken` if the name exists, and those of [`NamedPipeBuilder::listen`].
    pub fn bind<A: AsRef<OsStr>>(address: A) -> io::Result<Listener> {
        NamedPipeBuilder::new(address).listen()
    }

    /// Returns the listening sockets that the parent process has passed by socket activation.
    ///
    /// It is the protocol of systemd's `sd_listen_fds`: `LISTEN_PID` is the id of this process, `LISTEN_FDS` is the number of
    /// sockets, and their descriptors begin with 3. The list is empty if there are none, if they were passed to another
    /// process, and from the second call on.
    ///
    /// Each is a listener of a plain Unix socket at its path, in the order of the descriptors. Dropping it closes the socket
    /// and leaves the socket file to whoever made it. The environment stays as it is, since other threads may be reading it;
    /// child processes ignore the variables because `LISTEN_PID` is not their id.
    ///
    /// # Platform-specific behavior
    /// On Windows the list is always empty.
    ///
    /// # Errors
    /// - `Invalid`: `LISTEN_FDS` is not a number, or one of the descriptors is not open or not a Unix stream socket that
    ///   listens.
    /// - `Unsupported`: one of the sockets has an abstract address.
    ///
    /// After an error no descriptor has been taken.
    ///
    /// # Examples
    /// ```no_run
    /// use pipework::Listener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = match Listener::from_env()?.pop() {
    ///     Some(activated) => activated,
    ///     None => Listener::bind("/run/user/1000/example.sock")?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "sd_listen_fds")]
    pub fn from_env() -> io::Result<Vec<Listener>> {
        let inherited = sys::inherited_listeners()?;
        inherited.into_iter().map(|(path, socket)| Listener::over_plain(&path, socket)).collect()
    }

    /// A listener of a socket that another process or other code has bound.
    pub(crate) fn over_plain(path: &Path, socket: sys::SocketListener) -> io::Result<Listener> {
        let spec = NamedPipeBuilder::new(path).spec()?;
        let source = Source::Socket(Mutex::new(Arc::new(socket)));
        Ok(Listener { spec, source, canceller: Mutex::new(None), accept_readiness: OnceLock::new() })
    }

    pub(crate) fn new(mut spec: Spec) -> io::Result<Listener> {
        let source = match spec.name.kind() {
            PipeNameKind::Socket(path) => {
                Source::Socket(Mutex::new(Arc::new(sys::SocketListener::bind(path, &spec.access)?)))
            }
            _ => {
                let (instance, name) = sys::Instance::create_for_listener(&spec)?;
                Source::Instances { name, current: Mutex::new(Some(instance)) }
            }
        };
        // The instances that follow the first one.
        spec.first = false;
        Ok(Listener { spec, source, canceller: Mutex::new(None), accept_readiness: OnceLock::new() })
    }

    /// Waits for the next client. Several threads may call it.
    ///
    /// # Errors
    /// - `Aborted`: the canceller was used.
    /// - `NameTaken`, `AccessDenied` or `Unsupported`: something has removed the name, and it can't be restored, because another
    ///   process serves it by now, the directory is not this user's, or its file system does not allow it.
    /// - `Invalid`: this is a forked child, and the listener of a named pipe is its parent's.
    /// - The system's error, such as too many open files. The call can be repeated.
    pub fn accept(&self) -> io::Result<PipeStream> {
        self.accept_within(&self.limit(None))
    }

    /// Waits for the next client until the timeout. Zero looks once without waiting.
    ///
    /// # Errors
    /// Those of [`accept`](Listener::accept), and `TimedOut`.
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<PipeStream> {
        self.accept_within(&self.limit(Some(timeout)))
    }

    /// Returns an iterator over the clients. It ends only after the canceller was used.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self, has_failed: false }
    }

    /// Lets `canceller` cancel waiting calls. Streams that are accepted later inherit it.
    pub fn set_canceller(&self, canceller: Option<&Canceller>) {
        *self.canceller() = canceller.cloned();
    }

    /// Returns how often the name was restored after something had removed it.
    ///
    /// A cleaner of temporary files, the end of a login session, or `rm` can remove the files of a pipe that is being served.
    /// A listener that waits for a client notices it within a few seconds and creates the name anew
    /// ([rule N9](crate::rules#n9)). If another process serves the name by then, accepting returns `NameTaken`.
    ///
    /// # Platform-specific behavior
    /// On Windows nothing can remove a name, and this is always 0.
    pub fn restorations(&self) -> u64 {
        match &self.source {
            Source::Instances { name, .. } => name.restorations(),
            Source::Socket(current) => lock(current).restorations(),
        }
    }

    /// Returns the name of the pipe.
    pub fn name(&self) -> &PipeName {
        &self.spec.name
    }

    /// The same listener without its readiness descriptor, which async accepting does not keep up to date. The next call of
    /// `ready_fd` creates another one.
    #[cfg(feature = "tokio")]
    pub(crate) fn without_gate(self) -> Listener {
        Listener { accept_readiness: OnceLock::new(), ..self }
    }

    /// Looks for a client until the limit is reached.
    fn accept_within(&self, limit: &WaitLimit) -> io::Result<PipeStream> {
        if let Some(accept_readiness) = self.accept_readiness.get() {
            accept_readiness.arm()?;
        }
        // One look does not wait for the identity of a client.
        let may_wait = limit.check().is_ok();
        let mut watch = None;
        loop {
            match self.look(|instance| Ok(!may_wait || instance.is_known()))? {
                Look::Client(instance) => return Ok(self.hand_out(instance.into_end())),
                Look::ClientAt(end) => return Ok(self.hand_out(end)),
                Look::Nobody(instance) => instance.wait_for_client(limit)?,
                Look::Unknown(instance) => match instance.connect(limit) {
                    // The next look decides what a client that left means.
                    Err(error) if error == PipeErrorKind::NoData => {}
                    outcome => outcome?,
                },
                Look::NobodyAt(listener) => listener.wait(limit)?,
                Look::Full => match &watch {
                    None => {
                        limit.check()?;
                        watch = Some(sys::Watch::new(&self.spec.name)?);
                    }
                    Some(watch) => watch.wait(limit)?,
                },
                Look::Locked => {
                    limit.check()?;
                    sys::pause(&limit.at_most(LOCKED_PAUSE))?;
                }
            }
        }
    }

    /// Looks once for a client that `is_known` accepts, and never waits. It replaces the instance that has the client before it
    /// hands that out; at the maximum the next look does.
    pub(crate) fn look(
        &self,
        mut is_known: impl FnMut(&sys::Instance) -> io::Result<bool>,
    ) -> io::Result<Look> {
        let (current, name) = match &self.source {
            Source::Socket(current) => return self.look_at_socket(&mut lock(current)),
            Source::Instances { name, .. } if !name.is_here() => return Err(inherited(&self.spec.name)),
            Source::Instances { current, name } => (current, name),
        };
        // Others may look at the same time: each step is whole, and of two only one replaces an instance.
        let mut current = lock(current);
        loop {
            let instance = match &*current {
                Some(instance) => instance.clone(),
                None => match self.create(name)? {
                    Created::Instance(instance) => current.insert(instance).clone(),
                    Created::Full => return Ok(Look::Full),
                    Created::Locked => return Ok(Look::Locked),
                },
            };
            let has_left = match instance.connect(&WaitLimit::zero()) {
                Ok(()) => false,
                Err(error) if error == PipeErrorKind::NoData => true,
                Err(error) if error == PipeErrorKind::TimedOut => return Ok(Look::Nobody(instance)),
                // Its name was removed. Creating the next one restores it.
                Err(error) if error == PipeErrorKind::Absent => {
                    *current = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !is_known(&instance)? {
                return Ok(Look::Unknown(instance));
            }
            *current = match instance.try_create_next(&self.spec, name) {
                Ok(Some(next)) => self.follow(&next).is_ok().then_some(next),
                // The client waits until there can be another instance.
                Ok(None) => return Ok(self.locked()),
                Err(_) => None,
            };
            // The next look creates one where none can be created now. Where the descriptor has to signal that, it watches
            // from before one more try.
            if current.is_none()
                && self.accept_readiness.get().is_some()
                && let Ok(Created::Instance(next)) = self.create(name)
            {
                *current = Some(next);
            }
            // A client that wrote and left still counts; one that left nothing behind does not.
            if !has_left || instance.left_bytes() {
                return Ok(Look::Client(instance));
            }
        }
    }

    /// The same at a plain socket.
    fn look_at_socket(&self, current: &mut Arc<sys::SocketListener>) -> io::Result<Look> {
        if let Some(client) = current.try_accept()? {
            return Ok(Look::ClientAt(client));
        }
        if current.is_lost() {
            // Before its path was removed one may have come.
            if let Some(client) = current.try_accept()? {
                return Ok(Look::ClientAt(client));
            }
            match current.restore(&self.spec.access) {
                Ok(restored) => *current = Arc::new(restored),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.locked()),
                Err(error) => {
                    self.follow_pause(PAUSE_AFTER_ERROR);
                    return Err(error);
                }
            }
        }
        if let Some(accept_readiness) = self.accept_readiness.get() {
            accept_readiness.follow_socket(current)?;
        }
        Ok(Look::NobodyAt(Arc::clone(current)))
    }

    /// Creates the instance that listens, where none does.
    fn create(&self, name: &sys::NameHold) -> io::Result<Created> {
        // Before the try, so that an instance that is closed after it is signalled.
        self.follow_places()?;
        match sys::Instance::try_create_for_listener(&self.spec, name) {
            Ok(Some(instance)) => self.follow(&instance).map(|()| Created::Instance(instance)),
            Ok(None) => {
                self.locked();
                Ok(Created::Locked)
            }
            Err(error) if error == PipeErrorKind::Busy => Ok(Created::Full),
            Err(error) => {
                // What was made and removed again would signal at once.
                self.follow_pause(PAUSE_AFTER_ERROR);
                Err(error)
            }
        }
    }

    /// Lets the descriptor signal a client of this instance.
    fn follow(&self, instance: &sys::Instance) -> io::Result<()> {
        self.accept_readiness.get().map_or(Ok(()), |accept_readiness| accept_readiness.follow(instance))
    }

    /// Lets the descriptor signal that an instance may have been closed.
    fn follow_places(&self) -> io::Result<()> {
        let Some(accept_readiness) = self.accept_readiness.get() else { return Ok(()) };
        accept_readiness.follow_places(sys::Watch::new(&self.spec.name)?)
    }

    /// Another process creates an instance; the descriptor signals when another look is due.
    fn locked(&self) -> Look {
        self.follow_pause(LOCKED_PAUSE);
        Look::Locked
    }

    /// No instance listens; the descriptor signals after a pause.
    fn follow_pause(&self, pause: Duration) {
        if let Some(accept_readiness) = self.accept_readiness.get() {
            // A timer that exists can be started.
            accept_readiness.follow_pause(pause).ok();
        }
    }

    fn hand_out(&self, end: sys::End) -> PipeStream {
        let stream = PipeStream::new(end);
        stream.set_canceller(self.canceller().as_ref());
        stream
    }

    fn limit(&self, timeout: Option<Duration>) -> WaitLimit {
        let canceller = self.canceller().as_ref().map(|canceller| canceller.sys().clone());
        WaitLimit::new(timeout, canceller).awaiting("a client")
    }

    fn canceller(&self) -> MutexGuard<'_, Option<Canceller>> {
        lock(&self.canceller)
    }
}

/// A forked child has a listener of its parent: taking a client from it would end the parent's instance.
fn inherited(name: &PipeName) -> io::Error {
    let text =
        format!("the listener of {name} is the parent's: a forked child calls `adopt_after_fork` first");
    fail(PipeErrorKind::Invalid, text)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value is replaced as a whole, so a panic elsewhere leaves none half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

/// An iterator over clients. `next` waits for a client, and pauses after an error such as too many open files.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a Listener,
    has_failed: bool,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<PipeStream>;

    fn next(&mut self) -> Option<Self::Item> {
        if std::mem::take(&mut self.has_failed) {
            // The outcome does not matter: a used canceller also ends `accept`.
            sys::pause(&self.listener.limit(Some(PAUSE_AFTER_ERROR))).ok();
        }
        match self.listener.accept() {
            Err(error) if error == PipeErrorKind::Aborted => None,
            outcome => {
                self.has_failed = outcome.is_err();
                Some(outcome)
            }
        }
    }
}

impl<'a> IntoIterator for &'a Listener {
    type Item = io::Result<PipeStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_is_the_name() {
        let name = PipeName::unique("debug").unwrap();
        let listener = Listener::bind(&name).unwrap();
        assert_eq!(format!("{listener:?}"), format!("Listener {{ name: {name:?}, .. }}"));
        assert!(format!("{:?}", listener.incoming()).contains(&format!("{name:?}")));
    }
}
