//! What smbd is told.

/// The length of every reply, prefix included.
pub const REPLY_LEN: usize = 36;

const FILE_TYPE_BYTES: u16 = 1;
const FILE_TYPE_MESSAGES: u16 = 2;
/// What Windows and Samba say of every pipe: as many instances as wanted, and a kind of its own.
const DEVICE_STATE: u16 = 0x05ff;
const ALLOCATION_SIZE: u64 = 4096;

/// Says that the pipe is open, and of which kind it is: smbd then puts a length before each message, or not.
///
/// There is no reply that refuses: smbd looks at no status. Who refuses closes.
pub fn reply(level: u32, messages: bool) -> [u8; REPLY_LEN] {
    const REST: u32 = 32;
    let file_type = if messages { FILE_TYPE_MESSAGES } else { FILE_TYPE_BYTES };
    let mut reply = [0; REPLY_LEN];
    let fields: [&[u8]; 9] = [
        &REST.to_be_bytes(),
        super::MAGIC,
        &level.to_le_bytes(),
        &level.to_le_bytes(),
        &file_type.to_le_bytes(),
        &DEVICE_STATE.to_le_bytes(),
        &[0; 4],
        &ALLOCATION_SIZE.to_le_bytes(),
        // Success.
        &[0; 4],
    ];
    for (byte, value) in reply.iter_mut().zip(fields.into_iter().flatten()) {
        *byte = *value;
    }
    reply
}
