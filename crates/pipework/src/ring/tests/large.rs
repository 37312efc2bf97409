//! Large messages: what the ring says of them, and every false value of the word that says how much is there.

use super::{
    super::{Corrupt, Direction, Front, Storage, layout::Word, record::Record, sync::Ordering},
    hostile_words::{TAIL, read, ring, write},
};

#[test]
fn attached_messages_are_announced_and_counted() {
    let (_, _, mut producer, mut consumer) = ring(true, 4096);
    let len = 1_000_000;
    assert!(!producer.is_inline(len));
    assert!(producer.has_room(len).unwrap());
    producer.announce_large(len, Storage::NewObject, len);
    assert!(!producer.has_room(1).unwrap(), "the quota is more than used up");
    assert!(!producer.is_settled().unwrap());
    assert_eq!(consumer.front(), Ok(Front::Message { left: len, taken: 0, attached: true }));
    assert_eq!(consumer.available(), Ok(len));
    assert_eq!(consumer.copy_front(&mut [0; 4]), 0, "it lies elsewhere");
    consumer.took_attached(len - 4096);
    consumer.end_message();
    assert_eq!(consumer.front(), Ok(Front::Message { left: 4096, taken: len - 4096, attached: true }));
    assert!(producer.is_settled().unwrap());
    assert!(!producer.is_drained().unwrap());
    consumer.took_attached(4096);
    consumer.end_message();
    assert_eq!(consumer.front(), Ok(Front::Empty));
    assert!(producer.is_drained().unwrap());
}

#[test]
fn a_large_message_is_shown_when_it_is_whole() {
    let (_, _, mut producer, mut consumer) = ring(true, 4096);
    for (place, position) in [(Storage::NewObject, 0), (Storage::KeptObject, 100_000)] {
        producer.announce_large(100_000, place, 0);
        assert!(producer.take_published());
        for filled in [0, 1, 60_000, 99_999] {
            producer.fill_large(filled);
            assert_eq!((consumer.front(), consumer.available()), (Ok(Front::Empty), Ok(0)), "{filled}");
            assert_eq!(consumer.copy_front(&mut [0; 4]), 0);
            consumer.end_message();
            let large = consumer.large().unwrap().unwrap();
            assert_eq!(
                (large.position, large.len, large.taken, large.filled),
                (position, 100_000, 0, filled)
            );
            assert!(large.is_new == (place == Storage::NewObject) && !large.is_whole());
        }
        assert!(!producer.is_drained().unwrap());
        producer.fill_large(100_000);
        assert!(producer.take_published(), "a reader that waits for the end is woken");
        let front = Front::Message { left: 100_000, taken: 0, attached: true };
        assert_eq!((consumer.front(), consumer.available()), (Ok(front), Ok(100_000)));
        consumer.received_object();
        let large = consumer.large().unwrap().unwrap();
        assert!(large.is_whole() && !large.is_new);
        consumer.took_attached(100_000);
        consumer.end_message();
        assert_eq!(consumer.large(), Ok(None));
        assert!(producer.is_drained().unwrap());
    }
}

#[test]
fn how_much_of_a_large_message_is_there_grows_up_to_its_length() {
    const WHY: Corrupt = Corrupt("the writer says that more or less of a message is there than can be");
    for (claims, is_lie) in [
        (vec![100_001], true),
        (vec![u64::MAX], true),
        (vec![1 << 63], true),
        (vec![50_000, 49_999], true),
        (vec![50_000, 0], true),
        (vec![0, 50_000, 50_000, 100_000], false),
        // What is whole stays whole.
        (vec![100_000, 0], false),
        (vec![100_000, u64::MAX], false),
    ] {
        let (memory, _, mut producer, mut consumer) = ring(true, 4096);
        producer.announce_large(100_000, Storage::KeptObject, 0);
        let mut seen = Ok(Front::Empty);
        for claim in &claims {
            memory.store(Word::Filled(Direction::Inbound), *claim, Ordering::Release);
            seen = consumer.front();
        }
        assert_eq!(seen == Err(WHY), is_lie, "{claims:?}: {seen:?}");
        assert_eq!(consumer.large().is_err(), is_lie, "{claims:?}");
    }
}

#[test]
fn a_large_message_has_nothing_before_it() {
    let (memory, geometry, mut producer, mut consumer) = ring(true, 4096);
    assert!(write(&mut producer, b"small"));
    let at = geometry.lane(Direction::Inbound).unwrap().offset + 32;
    memory.copy_in(at, &Record { len: 100_000, storage: Storage::KeptObject }.encode());
    memory.store(TAIL, 48, Ordering::Release);
    assert_eq!(consumer.available(), Err(Corrupt("a large message before the one in front of it was read")));
    assert_eq!(read(&mut consumer).unwrap(), b"small");
    assert_eq!(consumer.front(), Ok(Front::Empty), "it is in front now, and not there yet");
}
