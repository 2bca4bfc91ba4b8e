//! Slots of one process. A restart ends them: linking begins anew.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::{LIFE_MS, MAX_SLOTS, PIECES, SlotError, SlotId, Slots, Step};

/// Slots in memory.
#[derive(Default)]
pub struct MemorySlots(Mutex<HashMap<SlotId, Slot>>);

struct Slot {
    /// Unix milliseconds.
    begun: u64,
    pieces: Vec<Bytes>,
}

impl Slot {
    /// A slot that was begun a little later than now was begun by another clock, or this one was set. Far ahead is as over as long ago.
    const fn is_over(&self, now: u64) -> bool {
        now.abs_diff(self.begun) >= LIFE_MS
    }
}

impl fmt::Debug for MemorySlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySlots").finish_non_exhaustive()
    }
}

impl MemorySlots {
    fn write_now(&self, id: SlotId, number: u8, piece: Bytes, now: u64) -> Result<(), SlotError> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| !slot.is_over(now));
        let Some(slot) = slots.get_mut(&id) else {
            return match number {
                0 if slots.len() < MAX_SLOTS => {
                    slots.insert(id, Slot { begun: now, pieces: vec![piece] });
                    Ok(())
                }
                0 => Err(SlotError::Full),
                _ => Err(SlotError::Unknown),
            };
        };
        match slot.pieces.get(usize::from(number)) {
            Some(there) if *there == piece => Ok(()),
            None if usize::from(number) == slot.pieces.len() && number < PIECES => {
                slot.pieces.push(piece);
                Ok(())
            }
            _ => Err(SlotError::NotNext),
        }
    }

    fn read_now(&self, id: SlotId, number: u8, now: u64) -> Result<Bytes, SlotError> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(&id).filter(|slot| !slot.is_over(now)).ok_or(SlotError::Unknown)?;
        slot.pieces.get(usize::from(number)).cloned().ok_or(SlotError::NotYet)
    }
}

impl Slots for MemorySlots {
    fn write(&self, slot: SlotId, number: u8, piece: Bytes, now: u64) -> Step<()> {
        let done = self.write_now(slot, number, piece, now);
        Box::pin(std::future::ready(done))
    }

    fn read(&self, slot: SlotId, number: u8, now: u64) -> Step<Bytes> {
        let done = self.read_now(slot, number, now);
        Box::pin(std::future::ready(done))
    }

    fn expire(&self, now: u64) -> Step<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, slot| !slot.is_over(now));
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test]
    async fn a_slot_holds_four_pieces_in_their_order_each_written_once() {
        conformance::a_slot_holds_four_pieces_in_their_order_each_written_once(&MemorySlots::default()).await;
    }

    #[tokio::test]
    async fn a_slot_is_gone_after_its_time_whatever_the_clock_does() {
        conformance::a_slot_is_gone_after_its_time_whatever_the_clock_does(&MemorySlots::default()).await;
    }

    #[tokio::test]
    async fn there_are_so_many_slots_and_those_whose_time_is_over_make_room() {
        conformance::there_are_so_many_slots_and_those_whose_time_is_over_make_room(&MemorySlots::default()).await;
    }

    #[tokio::test]
    async fn those_whose_time_is_over_are_forgotten() {
        let slots = MemorySlots::default();
        conformance::those_whose_time_is_over_are_forgotten(&slots, async || slots.0.lock().unwrap().len()).await;
    }
}
