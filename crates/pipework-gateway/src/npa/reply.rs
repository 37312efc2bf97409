//! The reply to smbd.

/// The length of every reply with its prefix.
pub const REPLY_LEN: usize = 36;

/// Marks requests and replies, after the prefix.
pub(super) const MAGIC: &[u8] = b"NPAM";

const FILE_TYPE_BYTES: u16 = 1;
const FILE_TYPE_MESSAGES: u16 = 2;
/// The device state that Windows and Samba report for every pipe: unlimited instances, and the flags of a named pipe.
const DEVICE_STATE: u16 = 0x05ff;
const ALLOCATION_SIZE: u64 = 4096;

/// Encodes the reply that the pipe is open. `messages` selects whether smbd puts a length before each message.
///
/// No reply refuses a client, because smbd ignores the status. To refuse, close the socket.
pub fn reply(level: u32, messages: bool) -> [u8; REPLY_LEN] {
    const REST: u32 = 32;
    let file_type = if messages { FILE_TYPE_MESSAGES } else { FILE_TYPE_BYTES };
    let mut reply = [0; REPLY_LEN];
    let fields: [&[u8]; 9] = [
        &REST.to_be_bytes(),
        MAGIC,
        &level.to_le_bytes(),
        &level.to_le_bytes(),
        &file_type.to_le_bytes(),
        &DEVICE_STATE.to_le_bytes(),
        &[0; 4],
        &ALLOCATION_SIZE.to_le_bytes(),
        // The status: success.
        &[0; 4],
    ];
    for (byte, value) in reply.iter_mut().zip(fields.into_iter().flatten()) {
        *byte = *value;
    }
    reply
}
