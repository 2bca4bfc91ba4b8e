//! What everything that keeps slots has to do, as checks.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;

use super::{LIFE_MS, MAX_SLOTS, PIECES, SlotError, SlotId, Slots};

const NOW: u64 = 1_800_000_000_000;

fn id(n: u32) -> SlotId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SlotId(bytes)
}

fn piece(n: u8) -> Bytes {
    vec![n; 10].into()
}

pub async fn a_slot_holds_four_pieces_in_their_order_each_written_once(slots: &dyn Slots) {
    assert_eq!(slots.read(id(1), 0, NOW).await, Err(SlotError::Unknown));
    assert_eq!(slots.write(id(1), 1, piece(1), NOW).await, Err(SlotError::Unknown));
    for n in 0..PIECES {
        assert_eq!(slots.write(id(1), n, piece(n), NOW).await, Ok(()));
        assert_eq!(slots.write(id(1), n, piece(n), NOW).await, Ok(()), "again, after a lost answer");
        assert_eq!(slots.write(id(1), n, piece(9), NOW).await, Err(SlotError::NotNext), "nothing is replaced");
        assert_eq!(slots.write(id(1), n + 2, piece(9), NOW).await, Err(SlotError::NotNext), "nothing is left out");
        assert_eq!(slots.read(id(1), n + 1, NOW).await, Err(SlotError::NotYet));
    }
    assert_eq!(slots.write(id(1), PIECES, piece(9), NOW).await, Err(SlotError::NotNext));
    for n in 0..PIECES {
        assert_eq!(slots.read(id(1), n, NOW).await, Ok(piece(n)));
        assert_eq!(slots.read(id(1), n, NOW).await, Ok(piece(n)), "reading takes nothing");
    }
    assert_eq!(slots.read(id(2), 0, NOW).await, Err(SlotError::Unknown), "slots are separate");
}

pub async fn a_slot_is_gone_after_its_time_whatever_the_clock_does(slots: &dyn Slots) {
    slots.write(id(1), 0, piece(0), NOW).await.unwrap();
    slots.write(id(1), 1, piece(1), NOW + LIFE_MS - 1).await.unwrap();
    assert_eq!(slots.read(id(1), 0, NOW + LIFE_MS - 1).await, Ok(piece(0)), "it counts from the first piece");
    assert_eq!(slots.read(id(1), 1, NOW + LIFE_MS).await, Err(SlotError::Unknown));
    assert_eq!(slots.write(id(1), 2, piece(2), NOW + LIFE_MS).await, Err(SlotError::Unknown));
    slots.write(id(2), 0, piece(0), NOW).await.unwrap();
    assert_eq!(slots.read(id(2), 0, NOW - 1_000).await, Ok(piece(0)), "another relay's clock is a second behind");
    assert_eq!(slots.write(id(2), 1, piece(1), NOW - 1_000).await, Ok(()));
    assert_eq!(slots.read(id(2), 0, NOW - LIFE_MS).await, Err(SlotError::Unknown));
    assert_eq!(slots.write(id(1), 0, piece(7), NOW + LIFE_MS).await, Ok(()), "the name is as good as new");
    assert_eq!(slots.read(id(1), 1, NOW + LIFE_MS).await, Err(SlotError::NotYet), "with nothing of before");
}

pub async fn there_are_so_many_slots_and_those_whose_time_is_over_make_room(slots: &dyn Slots) {
    for n in 0..MAX_SLOTS as u32 {
        slots.write(id(n), 0, piece(0), NOW).await.unwrap();
    }
    assert_eq!(slots.write(id(9_999), 0, piece(0), NOW + 1).await, Err(SlotError::Full));
    assert_eq!(slots.write(id(1), 0, piece(0), NOW + 1).await, Ok(()), "a repetition begins none");
    assert_eq!(slots.write(id(1), 1, piece(1), NOW + 1).await, Ok(()), "those that are there go on");
    assert_eq!(slots.write(id(9_999), 0, piece(0), NOW + LIFE_MS).await, Ok(()));
}

pub async fn those_whose_time_is_over_are_forgotten(slots: &dyn Slots, kept: impl AsyncFn() -> usize) {
    slots.write(id(1), 0, piece(0), NOW).await.unwrap();
    slots.write(id(1), 1, piece(1), NOW + 1).await.unwrap();
    slots.write(id(2), 0, piece(0), NOW + 1).await.unwrap();
    slots.expire(NOW + LIFE_MS).await.unwrap();
    assert_eq!(kept().await, 1);
    assert_eq!(slots.read(id(2), 0, NOW + LIFE_MS).await, Ok(piece(0)));
}
