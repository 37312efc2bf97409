//! Tests with recorded samples, damaged samples and random requests.

mod writer;

use proptest::prelude::*;

use super::*;
use writer::{Fields, Padding, write};

const LEVEL_7: &[u8] = include_bytes!("../../tests/samples/npa-request-level7.bin");
const LEVEL_8: &[u8] = include_bytes!("../../tests/samples/npa-request-level8.bin");
const REPLY: &[u8] = include_bytes!("../../tests/samples/npa-reply-level7.bin");
/// The session key in the samples.
const SESSION_KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

#[test]
fn a_request_of_level_7_is_parsed() {
    let request = parse(LEVEL_7).unwrap();
    assert_eq!(request.level, 7);
    assert_eq!(request.client_address, "127.0.0.1");
    assert_eq!((request.domain.as_str(), request.account.as_str()), ("SCOUT", "smbtest"));
    assert_eq!((request.user_id, request.group_id, request.group_ids.as_slice()), (1001, 1001, &[1001][..]));
    let sids: Vec<String> = request.sids.iter().map(Sid::to_string).collect();
    let expected = [
        "S-1-5-21-4049976485-3556789534-107472935-1000",
        "S-1-5-21-4049976485-3556789534-107472935-513",
        "S-1-22-2-1001",
        "S-1-1-0",
        "S-1-5-2",
        "S-1-5-11",
        "S-1-22-1-1001",
        "S-1-22-1397571891-785-2-1",
        "S-1-22-2041152804-0",
    ];
    assert_eq!(sids, expected);
}

#[test]
fn a_request_of_level_8_is_parsed() {
    let request = parse(LEVEL_8).unwrap();
    assert_eq!(request.level, 8);
    assert_eq!(request.client_address, "127.0.0.1");
    assert_eq!((request.domain.as_str(), request.account.as_str()), ("SCOUT", "smbtest"));
    assert_eq!((request.user_id, request.group_ids.as_slice()), (1001, &[1001][..]));
    assert_eq!(request.sids.len(), 8);
    assert_eq!(request.sids[0].to_string(), "S-1-5-21-1882553894-154924090-2603417022-1000");
}

#[test]
fn the_reply_equals_the_recorded_one() {
    assert_eq!(reply(7, true), REPLY);
    let bytes = reply(8, false);
    assert_eq!((bytes[8], bytes[12], bytes[16]), (8, 8, 1));
}

#[test]
fn the_session_key_is_not_kept() {
    for sample in [LEVEL_7, LEVEL_8] {
        assert!(sample.windows(16).any(|window| window == SESSION_KEY), "the sample contains it");
        // `Debug` would print the bytes of the key as a list.
        assert!(!format!("{:?}", parse(sample).unwrap()).contains("0, 1, 2, 3"));
    }
}

#[test]
fn every_shorter_and_longer_request_is_refused() {
    for sample in [LEVEL_7, LEVEL_8] {
        for len in 0..sample.len() {
            let mut short = sample[..len].to_vec();
            assert!(parse(&short).is_err(), "{len} bytes");
            // Also with a prefix that matches the shorter length.
            set_len(&mut short);
            assert!(parse(&short).is_err(), "{len} bytes with a matching prefix");
        }
        for more in 1..9 {
            let mut long = sample.to_vec();
            long.resize(sample.len() + more, 0);
            assert!(parse(&long).is_err());
            set_len(&mut long);
            assert!(matches!(
                parse(&long),
                Err(Malformed::At { what: "bytes after the end of the request", .. })
            ));
        }
    }
}

#[test]
fn other_levels_are_refused() {
    for level in [0, 1, 4, 5, 6, 9, 0x0700_0000, u32::MAX] {
        let mut request = LEVEL_7.to_vec();
        request[8..12].copy_from_slice(&level.to_le_bytes());
        assert_eq!(parse(&request), Err(Malformed::Level(level)));
        assert!(parse(&request).unwrap_err().to_string().contains(&level.to_string()));
    }
    let mut request = LEVEL_7.to_vec();
    request[12] = 8;
    assert!(matches!(parse(&request), Err(Malformed::At { what: "two different levels", .. })));
}

#[test]
fn an_excessive_length_is_refused_by_its_prefix() {
    assert_eq!(request_len([0, 0, 2, 0xe8]), Ok(LEVEL_7.len()));
    assert_eq!(request_len([0; 4]), Ok(4));
    let longest = u32::try_from(REQUEST_LEN_MAX - PREFIX_LEN).unwrap();
    assert_eq!(request_len(longest.to_be_bytes()), Ok(REQUEST_LEN_MAX));
    assert!(request_len((longest + 1).to_be_bytes()).is_err());
    assert!(request_len([0xff; 4]).is_err());
}

/// Sets each 32-bit word of the samples to values that attack counts and pointers.
#[test]
fn attacks_on_a_single_word_never_add_data() {
    for sample in [LEVEL_7, LEVEL_8] {
        let original = parse(sample).unwrap();
        for offset in (0..sample.len() - 3).step_by(4) {
            for value in [0, 1, 2, 15, 16, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let mut request = sample.to_vec();
                request[offset..offset + 4].copy_from_slice(&u32::to_le_bytes(value));
                if let Ok(parsed) = parse(&request) {
                    assert_eq!(parsed.level, original.level);
                    assert!(parsed.sids.len() <= original.sids.len());
                }
            }
        }
    }
}

/// Makes 200,000 changes to the samples, the same ones in every run: changed bytes, cuts, moved pieces.
#[test]
fn changed_samples_never_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        // Marsaglia's xorshift with 64 bits.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 16).unwrap() % below
    };
    for round in 0..200_000 {
        let sample = if round % 2 == 0 { LEVEL_7 } else { LEVEL_8 };
        let mut request = sample.to_vec();
        for _ in 0..=next(4) {
            let at = next(request.len());
            match next(5) {
                0 => request[at] ^= 1 << next(8),
                1 => request[at] = u8::try_from(next(256)).unwrap(),
                2 => request.truncate(at.max(4)),
                3 => {
                    let from = next(request.len());
                    let piece = request[from..(from + next(64)).min(request.len())].to_vec();
                    request.splice(at..at, piece);
                }
                _ => {
                    let to = (at + next(16)).min(request.len());
                    request.drain(at..to);
                }
            }
            if request.len() < 4 {
                request = sample.to_vec();
            }
        }
        set_len(&mut request);
        // The output can't be larger than the input.
        if let Ok(parsed) = parse(&request) {
            assert!(parsed.sids.len() * 8 <= request.len());
            assert!(parsed.account.len() + parsed.domain.len() <= request.len());
        }
    }
}

/// Sets the prefix to the length of the request.
fn set_len(request: &mut [u8]) {
    if let Some(rest) = request.len().checked_sub(4) {
        request[..4].copy_from_slice(&u32::try_from(rest).unwrap().to_be_bytes());
    }
}

#[test]
fn the_writer_reproduces_the_samples() {
    // Except for time stamps, random numbers, unused names and ports.
    for sample in [LEVEL_7, LEVEL_8] {
        let request = parse(sample).unwrap();
        let written = write(&Fields::of(&request), Padding::Zero);
        assert_eq!(parse(&written), Ok(request));
    }
}

#[test]
fn deviations_from_sambas_encoding_are_refused() {
    let fields = Fields::of(&parse(LEVEL_8).unwrap());
    type Change = fn(&mut Fields);
    let changes: [(&str, Change); 8] = [
        ("no address of the client", |fields| fields.client_address = None),
        ("no name of the account", |fields| fields.account = None),
        ("no name of the account", |fields| fields.domain = None),
        ("a string with a NUL before its end", |fields| fields.account = Some("a\0b".into())),
        ("unsupported claims", |fields| fields.claims = 1),
        ("a transport that is not named pipes", |fields| fields.transport = 10),
        ("a count that is too large", |fields| fields.session_key = vec![7; 257]),
        ("a count that is too large", |fields| fields.sids = vec![(5, vec![11]); SIDS_MAX + 1]),
    ];
    for (expected, change) in changes {
        let mut fields = fields.clone();
        change(&mut fields);
        match parse(&write(&fields, Padding::Zero)) {
            Err(Malformed::At { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let padded = parse(&write(&fields, Padding::Noise));
    assert!(matches!(padded, Err(Malformed::At { what: "padding that is not zero", .. })));
}

#[test]
fn a_client_with_many_groups_fits() {
    let mut fields = Fields::of(&parse(LEVEL_8).unwrap());
    fields.sids = (0..4000).map(|number| (5, vec![21, 1, 2, 3, number])).collect();
    fields.group_ids = (0..4000).collect();
    let request = write(&fields, Padding::Zero);
    assert!(request.len() < REQUEST_LEN_MAX);
    assert_eq!(parse(&request).unwrap().sids.len(), 4000);
}

#[test]
fn large_authorities_are_displayed_as_on_windows() {
    let mut fields = Fields::of(&parse(LEVEL_7).unwrap());
    fields.sids = vec![(0xffff_ffff, vec![]), (0x0001_0000_0000, vec![7])];
    let sids = parse(&write(&fields, Padding::Zero)).unwrap().sids;
    let sids: Vec<String> = sids.iter().map(Sid::to_string).collect();
    assert_eq!(sids, ["S-1-4294967295", "S-1-0x000100000000-7"]);
}

fn any_fields() -> impl Strategy<Value = Fields> {
    let text = || "[^\0]{0,40}";
    let sids = prop::collection::vec((0..1_u64 << 48, prop::collection::vec(any::<u32>(), 0..=15)), 0..40);
    (
        (7..=8_u32, text(), text(), text(), prop::option::of(text())),
        sids,
        (any::<u64>(), any::<u64>(), prop::collection::vec(any::<u64>(), 0..40)),
        (
            prop::collection::vec(any::<u8>(), 0..33),
            prop::collection::vec(any::<u8>(), 0..100),
            any::<bool>(),
        ),
    )
        .prop_map(|(names, sids, ids, (session_key, tickets, has_unix_info))| {
            let (level, client_address, account, domain, other) = names;
            let (user_id, group_id, group_ids) = ids;
            Fields {
                level,
                transport: 1,
                client_address: Some(client_address),
                account: Some(account),
                domain: Some(domain),
                other,
                sids,
                user_id,
                group_id,
                group_ids,
                session_key,
                tickets,
                claims: 0,
                has_unix_info,
            }
        })
}

proptest! {
    #[test]
    fn a_written_request_is_parsed(fields in any_fields()) {
        let request = parse(&write(&fields, Padding::Zero)).unwrap();
        prop_assert_eq!(Some(&request.account), fields.account.as_ref());
        prop_assert_eq!(Some(&request.domain), fields.domain.as_ref());
        prop_assert_eq!(Some(&request.client_address), fields.client_address.as_ref());
        prop_assert_eq!(&request.group_ids, &fields.group_ids);
        prop_assert_eq!((request.user_id, request.group_id), (fields.user_id, fields.group_id));
        let sids: Vec<_> = request.sids.iter().map(|sid| (sid.authority(), sid.numbers().to_vec())).collect();
        prop_assert_eq!(sids, fields.sids);
    }

    #[test]
    fn noise_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(parse(&bytes).is_err());
        set_len(&mut bytes);
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn a_cut_request_is_refused(fields in any_fields(), cut in any::<prop::sample::Index>()) {
        let mut request = write(&fields, Padding::Zero);
        request.truncate(cut.index(request.len()));
        set_len(&mut request);
        prop_assert!(parse(&request).is_err());
    }
}
