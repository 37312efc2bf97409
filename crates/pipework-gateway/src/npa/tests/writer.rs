//! A writer of requests as smbd encodes them, and of malformed ones.

use super::super::Request;

/// The fields of a request.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) level: u32,
    pub(super) transport: u8,
    pub(super) client_address: Option<String>,
    pub(super) account: Option<String>,
    pub(super) domain: Option<String>,
    /// All other optional names.
    pub(super) other: Option<String>,
    pub(super) sids: Vec<(u64, Vec<u32>)>,
    pub(super) user_id: u64,
    pub(super) group_id: u64,
    pub(super) group_ids: Vec<u64>,
    pub(super) session_key: Vec<u8>,
    pub(super) tickets: Vec<u8>,
    pub(super) claims: u32,
    pub(super) has_unix_info: bool,
}

impl Fields {
    pub(super) fn of(request: &Request) -> Fields {
        let sids = request.sids.iter().map(|sid| (sid.authority(), sid.numbers().to_vec())).collect();
        Fields {
            level: request.level,
            transport: 1,
            client_address: Some(request.client_address.clone()),
            account: Some(request.account.clone()),
            domain: Some(request.domain.clone()),
            other: None,
            sids,
            user_id: request.user_id,
            group_id: request.group_id,
            group_ids: request.group_ids.clone(),
            session_key: vec![0x5a; 16],
            tickets: Vec::new(),
            claims: 0,
            has_unix_info: true,
        }
    }
}

/// The bytes between aligned fields.
#[derive(Clone, Copy, Debug)]
pub(super) enum Padding {
    Zero,
    Noise,
}

pub(super) fn write(fields: &Fields, padding: Padding) -> Vec<u8> {
    let padding = match padding {
        Padding::Zero => 0,
        Padding::Noise => 0xee,
    };
    let mut writer = Writer { bytes: vec![0; 4], padding };
    writer.bytes.extend(b"NPAM");
    writer.u32(fields.level);
    writer.u32(fields.level);
    addresses(&mut writer, fields);
    session(&mut writer, fields);
    tokens(&mut writer, fields);
    names(&mut writer, fields);
    super::set_len(&mut writer.bytes);
    writer.bytes
}

fn addresses(writer: &mut Writer, fields: &Fields) {
    writer.bytes.push(fields.transport);
    writer.pointer(fields.other.is_some());
    writer.pointer(fields.client_address.is_some());
    writer.u16(50_000);
    writer.pointer(fields.other.is_some());
    writer.pointer(fields.other.is_some());
    writer.u16(445);
    writer.pointer(true);
    writer.string(fields.other.as_deref());
    writer.string(fields.client_address.as_deref());
    writer.string(fields.other.as_deref());
    writer.string(fields.other.as_deref());
}

fn session(writer: &mut Writer, fields: &Fields) {
    writer.pointer(true);
    writer.blob(&fields.tickets);
    for is_present in [true, true, true, fields.has_unix_info, false] {
        writer.pointer(is_present);
    }
    writer.blob(&fields.session_key);
    writer.pointer(false);
    writer.bytes.extend([0xa5; 16]);
    writer.u16(0);
}

fn tokens(writer: &mut Writer, fields: &Fields) {
    writer.align(8);
    writer.count(fields.sids.len());
    writer.count(fields.sids.len());
    for (authority, numbers) in &fields.sids {
        writer.align(4);
        writer.bytes.extend([1, u8::try_from(numbers.len()).unwrap()]);
        writer.bytes.extend(&authority.to_be_bytes()[2..]);
        numbers.iter().for_each(|number| writer.u32(*number));
    }
    writer.u64(0x1234);
    writer.u32(1);
    if fields.level >= 8 {
        for count in [fields.claims, 0, 0, 0, fields.claims, 0, 0, 0] {
            writer.u32(count);
        }
        writer.u16(1);
    }
    writer.count(fields.group_ids.len());
    writer.u64(fields.user_id);
    writer.u64(fields.group_id);
    writer.count(fields.group_ids.len());
    fields.group_ids.iter().for_each(|id| writer.u64(*id));
}

fn names(writer: &mut Writer, fields: &Fields) {
    writer.pointer(fields.account.is_some());
    writer.pointer(fields.other.is_some());
    writer.bytes.push(1);
    writer.pointer(fields.domain.is_some());
    for _ in 0..7 {
        writer.pointer(fields.other.is_some());
    }
    writer.align(4);
    writer.bytes.extend([0x77; 48]);
    writer.u16(3);
    writer.u16(4);
    writer.u32(16);
    writer.u32(0x120);
    writer.string(fields.account.as_deref());
    writer.string(fields.other.as_deref());
    writer.string(fields.domain.as_deref());
    for _ in 0..7 {
        writer.string(fields.other.as_deref());
    }
    if fields.has_unix_info {
        writer.pointer(true);
        writer.pointer(fields.other.is_some());
        writer.string(Some("unix"));
        writer.string(fields.other.as_deref());
    }
}

struct Writer {
    bytes: Vec<u8>,
    padding: u8,
}

impl Writer {
    fn align(&mut self, size: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(size), self.padding);
    }

    fn u16(&mut self, value: u16) {
        self.align(2);
        self.bytes.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap());
    }

    fn pointer(&mut self, is_present: bool) {
        self.u32(if is_present { 0x0002_0000 } else { 0 });
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend(bytes);
    }

    fn string(&mut self, text: Option<&str>) {
        let Some(text) = text else { return };
        self.count(text.len() + 1);
        self.u32(0);
        self.count(text.len() + 1);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }
}
