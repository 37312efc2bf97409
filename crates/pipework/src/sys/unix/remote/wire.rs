//! The requests of a pipe, and what the statuses of their answers mean for it.

use super::session::{CREDIT_LEN, Session};
use crate::{
    error::{PipeErrorKind, fail},
    name::PipeName,
    sys::errors::{closed, unread},
};
use smb2::{
    Frame,
    msg::{
        close::CloseRequest,
        create::{CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess},
        flush::FlushRequest,
        ioctl::{FSCTL_PIPE_TRANSCEIVE, IoctlRequest, IoctlResponse, SMB2_0_IOCTL_IS_FSCTL},
        query_info::InfoType,
        read::{ReadRequest, ReadResponse, SMB2_CHANNEL_NONE},
        set_info::SetInfoRequest,
        write::WriteRequest,
    },
    pack::{ReadCursor, Unpack},
    types::{Command, FileId, OplockLevel, flags::FileAccessMask},
};
use std::io;

/// How much one read asks for: what one credit pays for, and more than the longest message.
const READ_LEN: u32 = 65_536;
/// The longest message that the network carries.
pub(super) const MESSAGE_LEN_MAX: usize = 65_535;
/// Where the data of a write begins: after the header and the fixed part.
const WRITE_DATA_OFFSET: u16 = 64 + 48;
/// Looking ahead, and what the answer has before the data.
const FSCTL_PIPE_PEEK: u32 = 0x0011_400C;
const PEEK_LEN: u32 = 16;
/// `FilePipeInformation`, and in it the mode in which the end reads.
const PIPE_INFORMATION: u8 = 23;

/// The outcome of a read.
pub(super) enum Received {
    /// This, and whether a message ends with it.
    Data { data: Vec<u8>, is_end: bool },
    /// An empty message, or a failed device: Samba has one status for both.
    Empty,
    /// Nothing, now and for ever.
    Over(Over),
    /// Nothing this time.
    Failed(io::Error),
}

/// How a pipe is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The other end closed.
    Closed,
    /// The server threw the client out.
    Disconnected,
    /// The session ended.
    Lost,
}

/// An opened pipe, as the server calls it.
pub(super) async fn open(
    session: &Session,
    name: &PipeName,
    bare: &str,
    access: u32,
    level: u32,
) -> io::Result<FileId> {
    let request = CreateRequest {
        requested_oplock_level: OplockLevel::None,
        impersonation_level: ImpersonationLevel::try_from(level)
            .unwrap_or(ImpersonationLevel::Identification),
        desired_access: FileAccessMask::new(access),
        file_attributes: 0,
        share_access: ShareAccess(ShareAccess::FILE_SHARE_READ | ShareAccess::FILE_SHARE_WRITE),
        create_disposition: CreateDisposition::FileOpen,
        create_options: 0,
        name: bare.to_owned(),
        create_contexts: Vec::new(),
    };
    let answer = session.ask(Command::Create, &request, 0).await?;
    match answer.header.status.0 {
        SUCCESS => Ok(unpacked::<CreateResponse>(&answer)?.file_id),
        status => Err(not_opened(name, status)),
    }
}

/// Rights to read, to know of the pipe, to switch the read mode and to wait.
pub(super) const READ_ACCESS: u32 = FileAccessMask::FILE_READ_DATA
    | FileAccessMask::FILE_READ_ATTRIBUTES
    | FileAccessMask::FILE_WRITE_ATTRIBUTES
    | FileAccessMask::SYNCHRONIZE;
/// Rights to write, without that of making instances, which generic writing would contain.
pub(super) const WRITE_ACCESS: u32 =
    FileAccessMask::FILE_WRITE_DATA | FileAccessMask::FILE_READ_ATTRIBUTES | FileAccessMask::SYNCHRONIZE;

/// Waits for something to read.
pub(super) async fn read(session: &Session, file_id: FileId) -> Received {
    let request = ReadRequest {
        padding: 0x50,
        flags: 0,
        length: READ_LEN,
        offset: 0,
        file_id,
        minimum_count: 0,
        channel: SMB2_CHANNEL_NONE,
        remaining_bytes: 0,
        read_channel_info: Vec::new(),
    };
    match session.ask(Command::Read, &request, CREDIT_LEN).await {
        Ok(answer) => received(&answer, |answer| Ok(unpacked::<ReadResponse>(answer)?.data)),
        Err(error) => Received::lost(error),
    }
}

/// Writes a message and waits for its reply, in one request.
pub(super) async fn transceive(session: &Session, file_id: FileId, message: Vec<u8>) -> Received {
    let request = IoctlRequest {
        ctl_code: FSCTL_PIPE_TRANSCEIVE,
        file_id,
        max_input_response: 0,
        max_output_response: READ_LEN,
        flags: SMB2_0_IOCTL_IS_FSCTL,
        input_data: message,
    };
    match session.ask(Command::Ioctl, &request, CREDIT_LEN).await {
        Ok(answer) => received(&answer, |answer| Ok(unpacked::<IoctlResponse>(answer)?.output_data)),
        Err(error) => Received::lost(error),
    }
}

/// Writes all of it.
pub(super) async fn write(session: &Session, file_id: FileId, data: Vec<u8>) -> io::Result<()> {
    let len = data.len();
    let request = WriteRequest {
        data_offset: WRITE_DATA_OFFSET,
        offset: 0,
        file_id,
        channel: SMB2_CHANNEL_NONE,
        remaining_bytes: 0,
        write_channel_info_offset: 0,
        write_channel_info_length: 0,
        flags: 0,
        data,
    };
    let answer = session.ask(Command::Write, &request, len).await?;
    match answer.header.status.0 {
        SUCCESS => Ok(()),
        PIPE_DISCONNECTED => Err(true_end(session, file_id).await.of_write(session)),
        status => match over_of(status) {
            Some(over) => Err(over.of_write(session)),
            // It was a message pipe.
            None if status == MESSAGE_TOO_LONG => Err(too_long(len)),
            None => Err(unexpected("writing", status)),
        },
    }
}

/// Waits until the other end has read everything.
pub(super) async fn flush(session: &Session, file_id: FileId) -> io::Result<()> {
    let answer = session.ask(Command::Flush, &FlushRequest { file_id }, 0).await?;
    match answer.header.status.0 {
        SUCCESS => Ok(()),
        status if over_of(status).is_some() => Err(unread()),
        status if is_unknown(status) => {
            let text =
                "the remote host does not report when everything was read: acknowledge in your protocol";
            Err(fail(PipeErrorKind::Unsupported, text))
        }
        status => Err(unexpected("draining", status)),
    }
}

/// Switches how the server lets this end read. Where it knows no such thing, each read is a message.
pub(super) async fn set_read_mode(session: &Session, file_id: FileId, messages: bool) -> io::Result<()> {
    let mode = u32::from(messages).to_le_bytes();
    // The mode of reading, and that calls wait.
    let buffer = [mode, [0; 4]].concat();
    let request = SetInfoRequest {
        info_type: InfoType::File,
        file_info_class: PIPE_INFORMATION,
        additional_information: 0,
        file_id,
        buffer,
    };
    let answer = session.ask(Command::SetInfo, &request, 0).await?;
    match answer.header.status.0 {
        SUCCESS => Ok(()),
        status if is_unknown(status) => Ok(()),
        INVALID_PARAMETER => Err(fail(PipeErrorKind::Invalid, "a byte pipe has no messages to read")),
        status => Err(unexpected("switching the read mode", status)),
    }
}

/// The outcome of a read, made precise: Samba reports every end of a pipe as a disconnect and has no peek; on
/// a server that has peek, the report is true.
pub(super) async fn with_its_true_end(session: &Session, file_id: FileId, received: Received) -> Received {
    match received {
        Received::Over(Over::Disconnected) => Received::Over(true_end(session, file_id).await),
        received => received,
    }
}

/// The meaning of "disconnected" on this server.
async fn true_end(session: &Session, file_id: FileId) -> Over {
    let request = IoctlRequest {
        ctl_code: FSCTL_PIPE_PEEK,
        file_id,
        max_input_response: 0,
        max_output_response: PEEK_LEN,
        flags: SMB2_0_IOCTL_IS_FSCTL,
        input_data: Vec::new(),
    };
    match session.ask(Command::Ioctl, &request, 0).await {
        Ok(answer) if is_unknown(answer.header.status.0) => Over::Closed,
        Ok(_) => Over::Disconnected,
        Err(error) if error == PipeErrorKind::Broken => Over::Lost,
        Err(_) => Over::Closed,
    }
}

/// Closes it; what was not read is lost.
pub(super) async fn close(session: &Session, file_id: FileId) -> io::Result<()> {
    session.ask(Command::Close, &CloseRequest { flags: 0, file_id }, 0).await.map(drop)
}

impl Over {
    /// The error that a write reports for it.
    pub(super) fn of_write(self, session: &Session) -> io::Error {
        match self {
            Over::Closed => closed(),
            Over::Disconnected => disconnected(),
            Over::Lost => session.loss(),
        }
    }
}

impl Received {
    fn lost(error: io::Error) -> Received {
        if error == PipeErrorKind::Broken { Received::Over(Over::Lost) } else { Received::Failed(error) }
    }
}

fn received(answer: &Frame, data: impl FnOnce(&Frame) -> io::Result<Vec<u8>>) -> Received {
    let status = answer.header.status.0;
    if let Some(over) = over_of(status) {
        return Received::Over(over);
    }
    if status == IO_DEVICE_ERROR {
        return Received::Empty;
    }
    if !matches!(status, SUCCESS | BUFFER_OVERFLOW) {
        return Received::Failed(unexpected("reading", status));
    }
    match data(answer) {
        Ok(data) => Received::Data { data, is_end: status == SUCCESS },
        Err(error) => Received::Failed(error),
    }
}

/// The error where every read has the status of a failed device.
pub(super) fn device_failed() -> io::Error {
    unexpected("reading, again and again", IO_DEVICE_ERROR)
}

fn unpacked<T: Unpack>(answer: &Frame) -> io::Result<T> {
    T::unpack(&mut ReadCursor::new(&answer.body))
        .map_err(|error| fail(PipeErrorKind::Corrupt, format!("the remote host broke the protocol: {error}")))
}

const SUCCESS: u32 = 0;
const BUFFER_OVERFLOW: u32 = 0x8000_0005;
const INVALID_PARAMETER: u32 = 0xC000_000D;
const END_OF_FILE: u32 = 0xC000_0011;
const ACCESS_DENIED: u32 = 0xC000_0022;
const MESSAGE_TOO_LONG: u32 = 0xC000_002F;
const OBJECT_NAME_INVALID: u32 = 0xC000_0033;
const OBJECT_NAME_NOT_FOUND: u32 = 0xC000_0034;
const OBJECT_PATH_NOT_FOUND: u32 = 0xC000_003A;
/// The message is empty, says Samba.
const IO_DEVICE_ERROR: u32 = 0xC000_0185;
const INSTANCE_NOT_AVAILABLE: u32 = 0xC000_00AB;
const PIPE_NOT_AVAILABLE: u32 = 0xC000_00AC;
const PIPE_BUSY: u32 = 0xC000_00AE;
const PIPE_DISCONNECTED: u32 = 0xC000_00B0;
const PIPE_CLOSING: u32 = 0xC000_00B1;
const PIPE_BROKEN: u32 = 0xC000_014B;
/// The name's socket has a full queue, says Samba.
const NETWORK_BUSY: u32 = 0xC000_00BF;
const CONNECTION_DISCONNECTED: u32 = 0xC000_020C;
const CONNECTION_RESET: u32 = 0xC000_020D;
const CONNECTION_REFUSED: u32 = 0xC000_0236;

/// How a pipe is over by this status, if it is.
fn over_of(status: u32) -> Option<Over> {
    match status {
        END_OF_FILE | PIPE_CLOSING | PIPE_BROKEN | CONNECTION_DISCONNECTED | CONNECTION_RESET => {
            Some(Over::Closed)
        }
        PIPE_DISCONNECTED => Some(Over::Disconnected),
        _ => None,
    }
}

/// Whether a status says that the server knows no such request of pipes.
fn is_unknown(status: u32) -> bool {
    const NOT_IMPLEMENTED: u32 = 0xC000_0002;
    const INVALID_INFO_CLASS: u32 = 0xC000_0003;
    const INVALID_DEVICE_REQUEST: u32 = 0xC000_0010;
    const NOT_SUPPORTED: u32 = 0xC000_00BB;
    const FS_DRIVER_REQUIRED: u32 = 0xC000_019C;
    matches!(
        status,
        NOT_IMPLEMENTED | INVALID_INFO_CLASS | INVALID_DEVICE_REQUEST | NOT_SUPPORTED | FS_DRIVER_REQUIRED
    )
}

fn not_opened(name: &PipeName, status: u32) -> io::Error {
    let (kind, text) = match status {
        OBJECT_NAME_NOT_FOUND | OBJECT_PATH_NOT_FOUND => (PipeErrorKind::Absent, "there is no such pipe"),
        CONNECTION_REFUSED => (PipeErrorKind::Absent, "no process serves it any more"),
        OBJECT_NAME_INVALID | INVALID_PARAMETER => {
            (PipeErrorKind::Invalid, "the remote host does not accept this name of a pipe")
        }
        ACCESS_DENIED => (PipeErrorKind::AccessDenied, "the remote host refused access to the pipe"),
        CONNECTION_DISCONNECTED | CONNECTION_RESET => (
            PipeErrorKind::AccessDenied,
            "the pipe was closed before it was open: its server does not admit this account, or has just ended",
        ),
        PIPE_NOT_AVAILABLE | INSTANCE_NOT_AVAILABLE | PIPE_BUSY | NETWORK_BUSY => {
            (PipeErrorKind::Busy, "no instance of it listens now")
        }
        _ => return unexpected(&format!("opening {name}"), status),
    };
    fail(kind, format!("{name}: {text}"))
}

/// The error of an end that was disconnected by the server (rule F2).
pub(super) fn disconnected() -> io::Error {
    fail(PipeErrorKind::NotConnected, "the server has disconnected this client")
}

pub(super) fn too_long(len: usize) -> io::Error {
    let text = format!("over the network a message has 1 to {MESSAGE_LEN_MAX} bytes, not {len}");
    fail(PipeErrorKind::Invalid, text)
}

fn unexpected(what: &str, status: u32) -> io::Error {
    io::Error::other(format!("{what}: the remote host answers with the status {status:#010x}"))
}
