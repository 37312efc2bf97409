//! What smbd, or somebody in its place, may send: read without a panic, and nothing made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework_gateway::npa::{parse, request_len};

fuzz_target!(|bytes: &[u8]| {
    look_at(bytes);
    // Most changes of a length make the prefix wrong, and end there; so also look at what comes after a right one.
    let mut whole = bytes.to_vec();
    if let (Some(prefix), Ok(rest)) = (whole.first_chunk_mut(), u32::try_from(bytes.len().saturating_sub(4)))
    {
        *prefix = rest.to_be_bytes();
    }
    look_at(&whole);
});

fn look_at(bytes: &[u8]) {
    let Ok(request) = parse(bytes) else { return };
    let prefix = bytes.first_chunk().copied().unwrap_or_default();
    assert_eq!(request_len(prefix), Ok(bytes.len()));
    assert!((7..=8).contains(&request.level));
    // Each thing that came out takes room in what went in.
    let texts = request.account.len() + request.domain.len() + request.client_address.len();
    let numbers: usize = request.sids.iter().map(|sid| 8 + 4 * sid.numbers().len()).sum();
    assert!(texts + numbers + 8 * request.group_ids.len() <= bytes.len());
    assert!(!request.account.contains('\0') && !request.client_address.contains('\0'));
}
