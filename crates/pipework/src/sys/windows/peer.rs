//! The identity of the peer, as the kernel reports it.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    handle::{done, system_error},
    pipe::{PeerLocation, Pipe},
    sid::{Local, Sid},
    token::{self, Identity},
};
use crate::{
    access::ServerCheck,
    error::{PipeErrorKind, fail},
    network::NetworkPeer,
    options::PipeEnd,
};
use std::{io, ptr, sync::Arc};
use windows_sys::Win32::{
    Foundation::ERROR_NOT_SUPPORTED,
    Security::{
        Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT},
        OWNER_SECURITY_INFORMATION,
    },
    System::Pipes::{
        GetNamedPipeClientComputerNameW, GetNamedPipeClientProcessId, GetNamedPipeServerProcessId,
    },
};

/// The longest computer name, in UTF-16 units, with its NUL.
const COMPUTER_NAME_UNITS_MAX: usize = 256;

/// The identity of the peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    process: Option<u32>,
    identity: Option<Arc<Known>>,
    network: Option<Arc<NetworkPeer>>,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    /// The user's SID.
    text: String,
}

impl Peer {
    /// Queries the identity of a pipe's peer.
    pub(super) fn of(pipe: &Pipe, side: PipeEnd) -> io::Result<Peer> {
        let address = match pipe.computer() {
            PeerLocation::This => None,
            PeerLocation::Any => client_computer(pipe),
            PeerLocation::Other(name) => Some(name.clone()),
        };
        let process = match side {
            // A process number of another machine means nothing here.
            _ if address.is_some() => Err(system_error(ERROR_NOT_SUPPORTED)),
            PipeEnd::Server => client_process(pipe),
            PipeEnd::Client => server_process(pipe),
        };
        let of_process = |process: &io::Result<u32>| {
            process.as_ref().ok().and_then(|process| token::identity_of_process(*process).ok())
        };
        let identity = match side {
            // The client's own token if possible: the system may refuse it until the server has read from the client.
            PipeEnd::Server => token::identity_of_client(pipe).ok().or_else(|| of_process(&process)),
            PipeEnd::Client => of_process(&process)
                .or_else(|| owner(pipe).ok().map(|owner| Identity { user: owner, groups: Vec::new() })),
        };
        let identity = match identity {
            Some(identity) => Some(Arc::new(Known { text: identity.user.to_text()?, identity })),
            None => None,
        };
        let network = address.map(|address| {
            let account = identity.as_ref().and_then(|known| known.identity.user.account().ok());
            Arc::new(NetworkPeer { account: account.unwrap_or_default(), address, encrypted: None })
        });
        match (process, identity) {
            (Err(error), None) if network.is_none() => Err(error),
            (process, identity) => Ok(Peer { process: process.ok(), identity, network }),
        }
    }

    /// Whether everything is known.
    pub(super) fn is_complete(&self) -> bool {
        (self.process.is_some() || self.network.is_some()) && self.identity.is_some()
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process
    }

    pub(crate) fn is_same_user(&self) -> bool {
        let user = self.identity.as_ref().map(|known| &known.identity.user);
        self.network.is_none() && token::my_user().is_ok_and(|me| user == Some(me))
    }

    pub(crate) fn account(&self) -> io::Result<String> {
        self.known()?.identity.user.account()
    }

    pub(crate) fn is_member_of(&self, group: &str) -> io::Result<bool> {
        let group = Sid::of(group)?;
        Ok(self.known()?.identity.groups.contains(&group))
    }

    pub(crate) fn user_id(&self) -> Option<u32> {
        None
    }

    pub(crate) fn group_ids(&self) -> &[u32] {
        &[]
    }

    pub(crate) fn sid(&self) -> Option<&str> {
        self.identity.as_ref().map(|known| known.text.as_str())
    }

    pub(crate) fn network(&self) -> Option<&NetworkPeer> {
        self.network.as_deref()
    }

    fn known(&self) -> io::Result<&Known> {
        self.identity.as_deref().ok_or_else(|| {
            let text =
                "the system does not reveal the peer's identity; a server may learn it after it has read";
            fail(PipeErrorKind::AccessDenied, text)
        })
    }
}

/// Whether a client accepts the server of this pipe, before it has written a byte.
///
/// The owner of the pipe created the name; the server process serves this instance, but its token is not always
/// accessible. Both are checked as far as they are known, and neither may be another user.
pub(super) fn accepts(check: &ServerCheck, pipe: &Pipe, is_local: bool) -> io::Result<bool> {
    let required = match check {
        ServerCheck::Anyone => return Ok(true),
        // Users of a remote server can't be compared with local ones; the client trusts the server by naming it.
        ServerCheck::Trusted if !is_local => return Ok(true),
        ServerCheck::Trusted => None,
        ServerCheck::User(account) => Some(Sid::of(account)?),
    };
    let me = token::my_user()?;
    let is_trusted = |user: &Sid| user == me || user.is_of_system();
    let owner = owner(pipe).ok();
    let process = server_process(pipe).ok().filter(|_| is_local);
    let process = process.and_then(|process| token::identity_of_process(process).ok());
    let process = process.map(|identity| identity.user);
    Ok(match (required, owner, process) {
        (_, None, None) => false,
        (None, owner, process) => owner.iter().chain(&process).all(is_trusted),
        // A pipe of an administrator may be owned by the whole group, so the process decides if it is known.
        (Some(user), owner, Some(process)) => {
            process == user && owner.is_none_or(|owner| owner == user || owner.is_of_system())
        }
        (Some(user), Some(owner), None) => owner == user,
    })
}

fn client_process(pipe: &Pipe) -> io::Result<u32> {
    let mut process = 0;
    // SAFETY: the handle is open while `pipe` is borrowed; `process` is a local that the call writes.
    let answer = unsafe { GetNamedPipeClientProcessId(pipe.raw(), &mut process) };
    done(answer).map(|()| process)
}

fn server_process(pipe: &Pipe) -> io::Result<u32> {
    let mut process = 0;
    // SAFETY: the handle is open while `pipe` is borrowed; `process` is a local that the call writes.
    let answer = unsafe { GetNamedPipeServerProcessId(pipe.raw(), &mut process) };
    done(answer).map(|()| process)
}

/// The computer name of a remote client.
fn client_computer(pipe: &Pipe) -> Option<String> {
    let mut name = [0_u16; COMPUTER_NAME_UNITS_MAX];
    let len = u32::try_from(size_of_val(&name)).ok()?;
    // SAFETY: the handle is open while `pipe` is borrowed; the call writes a name of at most `len` bytes into a local.
    let answer = unsafe { GetNamedPipeClientComputerNameW(pipe.raw(), name.as_mut_ptr(), len) };
    // The call fails for a local client.
    done(answer).ok()?;
    let name = name.split(|unit| *unit == 0).next().unwrap_or_default();
    Some(String::from_utf16_lossy(name))
}

/// The owner of the pipe.
fn owner(pipe: &Pipe) -> io::Result<Sid> {
    let (mut owner, mut descriptor) = (ptr::null_mut(), ptr::null_mut());
    let none = ptr::null_mut();
    // SAFETY: the handle is open while `pipe` is borrowed; owner and descriptor are locals that the call writes, and null means that
    // the rest is not needed.
    let refused = unsafe {
        GetSecurityInfo(
            pipe.raw(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &mut owner,
            none,
            none.cast(),
            none.cast(),
            &mut descriptor,
        )
    };
    if refused != 0 {
        return Err(system_error(refused));
    }
    let _descriptor = Local(descriptor);
    if owner.is_null() {
        return Err(fail(PipeErrorKind::Unsupported, "the system does not report the owner of the pipe"));
    }
    // SAFETY: it points into the descriptor, which lives until the end of this function.
    unsafe { Sid::copied(owner) }
}
