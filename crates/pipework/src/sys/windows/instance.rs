//! What a server instance is made of on Windows: one handle of the kernel for all of its connections.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::{Instance, WaitLimit, end_options::EndOptions, instance::InstanceBackend},
    connection::{self, Connection},
    descriptor::Descriptor,
    handle::{code, milliseconds, own_or_invalid, wait, wide},
    handle_info::{self, State},
    operation::{self, Connecting, Listened},
    pipe::{PeerLocation, Pipe, Rights},
    unsupported::NameHold,
};
use crate::{
    error::{PipeErrorKind, fail, fail_from},
    options::{PipeEnd, PipeInfo, PipeMode, Spec},
};
use std::{
    ffi::c_void,
    io,
    os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle},
    sync::Arc,
};
use windows_sys::Win32::{
    Foundation::{ERROR_ACCESS_DENIED, ERROR_OPERATION_ABORTED},
    Security::SECURITY_ATTRIBUTES,
    Storage::FileSystem::{
        FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_INBOUND, PIPE_ACCESS_OUTBOUND,
    },
    System::Pipes::{
        CreateNamedPipeW, PIPE_ACCEPT_REMOTE_CLIENTS, PIPE_READMODE_BYTE, PIPE_READMODE_MESSAGE,
        PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_TYPE_MESSAGE,
    },
};

/// What an instance has for all of its connections.
#[derive(Debug)]
pub(crate) struct Backend {
    has_messages: bool,
    pipe: Arc<Pipe>,
}

impl Instance {
    /// Creates an instance, which listens from then on (rule N8), with the security descriptor of its access.
    pub(crate) fn create(spec: &Spec) -> io::Result<Instance> {
        let descriptor = Descriptor::new(&spec.access)?;
        let attributes = descriptor.attributes();
        // SAFETY: the attributes are a local that points to the descriptor, which lives until the end of the call.
        unsafe { Instance::create_with(spec, 0, &attributes) }
    }

    /// The same: every instance has its own handle here.
    pub(crate) fn create_for_listener(spec: &Spec) -> io::Result<(Instance, NameHold)> {
        Ok((Instance::create(spec)?, NameHold))
    }

    /// The same without waiting for other creators, for which nothing waits here.
    pub(crate) fn try_create_for_listener(spec: &Spec, _hold: &NameHold) -> io::Result<Option<Instance>> {
        Instance::create(spec).map(Some)
    }

    /// The same without waiting for other creators, for which nothing waits here.
    pub(crate) fn try_create_next(&self, spec: &Spec, _hold: &NameHold) -> io::Result<Option<Instance>> {
        Instance::create(spec).map(Some)
    }

    /// Creates an instance with raw security attributes.
    ///
    /// # Safety
    /// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
    pub(crate) unsafe fn create_raw(spec: &Spec, attributes: *mut c_void) -> io::Result<Instance> {
        // SAFETY: the caller promises the same.
        unsafe { Instance::create_with(spec, 0, attributes.cast_const().cast()) }
    }

    /// Creates an instance with these attributes, and with bits of `dwOpenMode` beyond those of the specification.
    ///
    /// # Safety
    /// `attributes` is null or points to a valid `SECURITY_ATTRIBUTES`.
    pub(crate) unsafe fn create_with(
        spec: &Spec,
        more_open_mode: u32,
        attributes: *const SECURITY_ATTRIBUTES,
    ) -> io::Result<Instance> {
        let path = path_of(spec);
        let has_messages = spec.mode == PipeMode::Message;
        // Zero would mean the system's default timeout.
        let default_timeout = milliseconds(spec.default_timeout).max(1);
        // SAFETY: the name ends with a NUL; the caller promises valid attributes.
        let handle = unsafe {
            CreateNamedPipeW(
                path.as_ptr(),
                open_mode(spec) | more_open_mode,
                pipe_mode(spec),
                spec.max_instances.into(),
                spec.out_buffer_size,
                spec.in_buffer_size,
                default_timeout,
                attributes,
            )
        };
        // SAFETY: the call has just created the handle for this caller, or it is the value of a failure.
        let handle = unsafe { own_or_invalid(handle) }.map_err(|error| refused(spec, &path, error))?;
        let rights = Rights { read: spec.inbound, write: spec.outbound };
        let computer = if spec.accept_remote { PeerLocation::Any } else { PeerLocation::This };
        let pipe = Pipe::new(handle, rights, computer);
        Ok(Instance::new(Backend { has_messages, pipe: Arc::new(pipe) }, spec.mode, None))
    }

    /// Takes over a handle of a server's end: connected, listening, or disconnected.
    pub(crate) fn adopt(handle: OwnedHandle) -> io::Result<Instance> {
        let facts = handle_info::check_adoptable(handle.as_handle())?;
        if !facts.is_server {
            return Err(fail(PipeErrorKind::Invalid, "this is the handle of a client's end"));
        }
        let read_mode = handle_info::read_mode(handle.as_handle())?;
        let is_disconnected = handle_info::state(handle.as_handle())? == State::Disconnected;
        let pipe = Arc::new(Pipe::new(handle, Rights::ALL, PeerLocation::This));
        let instance = Instance::new(Backend { has_messages: facts.has_messages, pipe }, read_mode, None);
        if is_disconnected {
            instance.current().machine.disconnect();
        }
        Ok(instance)
    }

    /// Listens with the caller's own operation, which `begin` begins. Its completion goes to the caller; the next call here
    /// that needs a client queries the kernel again.
    pub(super) fn listen_by<T>(&self, begin: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut current = self.current();
        let begun = begin()?;
        current.machine.listens();
        Ok(begun)
    }

    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.backend().pipe.as_handle()
    }

    /// Gives the handle away; a duplicate of it if clones still use it.
    pub(crate) fn into_handle(self) -> io::Result<OwnedHandle> {
        let pipe = Arc::clone(&self.backend().pipe);
        drop(self);
        pipe.into_handle()
    }

    /// Switches the read mode of this connection and of all that follow.
    pub(crate) fn set_read_mode(&self, mode: PipeMode) -> io::Result<()> {
        if let Ok(connection) = self.connection_now() {
            match connection.switch_read_mode(mode) {
                // The client was disconnected just now.
                Err(error) if error == PipeErrorKind::NotConnected => {}
                outcome => return outcome,
            }
        }
        let Backend { pipe, has_messages } = self.backend();
        connection::switch(pipe, self.options(), mode, *has_messages)
    }

    pub(crate) fn info(&self) -> io::Result<PipeInfo> {
        handle_info::info(self.handle())
    }
}

impl InstanceBackend for Backend {
    fn listen(
        &self,
        listening: &mut Option<Arc<Connecting>>,
        options: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>> {
        match operation::listen(&self.pipe)? {
            Listened::Pending(connecting) => {
                *listening = Some(Arc::new(connecting));
                Ok(None)
            }
            // The instance looks itself whether the client has left already.
            Listened::Came | Listened::Left => Ok(Some(self.connection(options))),
        }
    }

    fn accept(
        &self,
        listening: &mut Option<Arc<Connecting>>,
        options: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>> {
        // The kernel aborts an operation when its thread ends; the instance listens nevertheless.
        let is_aborted = |error: &io::Error| code(error) == Some(ERROR_OPERATION_ABORTED);
        match listening.as_ref().map(|connecting| connecting.outcome()) {
            Some(None) => Ok(None),
            Some(Some(Ok(()))) => Ok(Some(self.connection(options))),
            Some(Some(Err(error))) if !is_aborted(&error) => {
                // The next call begins another operation.
                *listening = None;
                Err(error)
            }
            None | Some(Some(Err(_))) => self.listen(listening, options),
        }
    }

    fn wait(&self, listening: &Connecting, limit: &WaitLimit) -> io::Result<()> {
        wait(listening.event().as_handle(), limit)
    }

    fn has_left(&self, _connection: &Connection) -> io::Result<bool> {
        match handle_info::state(self.pipe.as_handle()) {
            Ok(state) => Ok(state == State::Closing),
            // The handle of an end that only writes has no right to query. Listening reports it too.
            Err(_) => Ok(matches!(operation::listen(&self.pipe)?, Listened::Left)),
        }
    }

    fn disconnect(
        &self,
        _listening: &mut Option<Arc<Connecting>>,
        _settings: &Arc<EndOptions>,
    ) -> io::Result<Option<Connection>> {
        // A thread that waits for a client is woken by the end of the operation, and listens again.
        self.pipe.disconnect().map(|()| None)
    }

    #[cfg(feature = "tokio")]
    fn end(&self, connection: &Connection) {
        connection.wake_tasks();
    }
}

impl Backend {
    fn connection(&self, options: &Arc<EndOptions>) -> Connection {
        let options = Arc::clone(options);
        let connection = Connection::new(Arc::clone(&self.pipe), PipeEnd::Server, self.has_messages, options);
        // What is still unknown is queried again on demand.
        connection.peer().ok();
        connection
    }
}

fn path_of(spec: &Spec) -> Vec<u16> {
    wide(super::client::path_of(&spec.name))
}

fn open_mode(spec: &Spec) -> u32 {
    let directions = [(spec.inbound, PIPE_ACCESS_INBOUND), (spec.outbound, PIPE_ACCESS_OUTBOUND)];
    let directions = directions.iter().filter(|(is_open, _)| *is_open).fold(0, |all, (_, flag)| all | flag);
    let first = if spec.first { FILE_FLAG_FIRST_PIPE_INSTANCE } else { 0 };
    directions | first | FILE_FLAG_OVERLAPPED
}

fn pipe_mode(spec: &Spec) -> u32 {
    let mode = match spec.mode {
        PipeMode::Byte => PIPE_TYPE_BYTE | PIPE_READMODE_BYTE,
        PipeMode::Message => PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE,
    };
    mode | if spec.accept_remote { PIPE_ACCEPT_REMOTE_CLIENTS } else { PIPE_REJECT_REMOTE_CLIENTS }
}

/// The system has one number for a taken name and for other refusals; this finds out which it is.
fn refused(spec: &Spec, path: &[u16], error: io::Error) -> io::Error {
    if spec.first && code(&error) == Some(ERROR_ACCESS_DENIED) && super::client::exists(path) {
        let text = format!("{} already exists", spec.name);
        return fail_from(PipeErrorKind::NameTaken, text, error);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Access, ClientOptions, NamedPipeBuilder, PipeName,
        os::windows::{ClientOptionsExt, NamedPipeBuilderExt},
    };
    use std::ptr;

    type Setter = fn(&mut NamedPipeBuilder) -> &mut NamedPipeBuilder;

    /// All setters that have nothing to do with remote clients.
    const SETTERS: [Setter; 9] = [
        |builder| builder,
        |builder| builder.pipe_mode(PipeMode::Byte),
        |builder| builder.pipe_mode(PipeMode::Message),
        |builder| builder.inbound(false).outbound(true),
        |builder| builder.outbound(false).inbound(true),
        |builder| builder.first(false),
        |builder| builder.max_instances(3),
        |builder| builder.in_buffer_size(1).out_buffer_size(1).default_timeout(std::time::Duration::MAX),
        |builder| builder.access(Access::everyone()),
    ];

    /// Whether the system rejects remote clients, with these setters around one for remote clients.
    fn rejects_remote(first: Setter, remote: Setter, second: Setter) -> bool {
        let mut builder = NamedPipeBuilder::new("x");
        let mode = pipe_mode(&second(remote(first(&mut builder))).spec().unwrap());
        mode & PIPE_REJECT_REMOTE_CLIENTS != 0
    }

    #[test]
    fn remote_clients_are_rejected_unless_accepted() {
        for first in SETTERS {
            for second in SETTERS {
                assert!(rejects_remote(first, |builder| builder, second));
                assert!(!rejects_remote(first, |builder| builder.accept_remote(true), second));
                let revoked: Setter = |builder| builder.accept_remote(true).accept_remote(false);
                assert!(rejects_remote(first, revoked, second));
            }
        }
    }

    #[test]
    fn a_builder_becomes_the_flags_of_the_system() {
        let flags = |set: Setter| {
            let spec = set(&mut NamedPipeBuilder::new("x")).spec().unwrap();
            (open_mode(&spec), pipe_mode(&spec))
        };
        // Duplex, overlapped, first; bytes, rejecting remote clients.
        assert_eq!(flags(|builder| builder), (0x4008_0003, 0x8));
        assert_eq!(flags(|builder| builder.first(false)), (0x4000_0003, 0x8));
        assert_eq!(flags(|builder| builder.inbound(false)), (0x4008_0002, 0x8));
        assert_eq!(flags(|builder| builder.outbound(false)), (0x4008_0001, 0x8));
        // Type and read mode of messages.
        assert_eq!(flags(|builder| builder.pipe_mode(PipeMode::Message)), (0x4008_0003, 0xe));
    }
    #[test]
    fn raw_attributes_replace_access() {
        let name = PipeName::unique("attributes").unwrap();
        let mut builder = NamedPipeBuilder::new(&name);
        // SAFETY: null means the default.
        let server = unsafe { builder.with_security_attributes(ptr::null_mut()) }.unwrap();
        let anonymous = ClientOptions::new().security_qos_flags(0).open(&name).unwrap();
        server.connect().unwrap();
        assert!(anonymous.peer().unwrap().is_same_user());
    }
}
