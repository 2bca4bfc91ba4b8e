//! Slots by which a device is linked: one table in the first group, so that two devices meet at whichever relays they are. It is
//! unlogged: what stands in it for some minutes is in no log, and a failover ends it.

use bytes::Bytes;
use kuvert_relay::slots::{LIFE_MS, MAX_SLOTS, PIECES, SlotError, SlotId, Slots, Step};

use super::column::{bytes, signed};
use super::{Asked, Postgres};
use crate::link::Link;
use crate::outcome::Fault;

/// Among the advisory locks, with the hash of the schema's name: how many slots there are is decided by one at a time.
const ONE_BEGINS: i32 = 0x4B75_7677;

/// For how many milliseconds a slot is there. The clocks of two relays differ: one that was begun a little later than now is there, too.
const LIFE: i64 = LIFE_MS as i64;

impl Slots for Postgres {
    fn write(&self, slot: SlotId, number: u8, piece: Bytes, now: u64) -> Step<()> {
        Box::pin(self.pooled(Asked::Write, move |link| async move {
            link.begin().await?;
            let answer = write(&link, &slot.0, number, &piece, signed(now)).await?;
            link.commit().await?;
            Ok(answer)
        }))
    }

    fn read(&self, slot: SlotId, number: u8, now: u64) -> Step<Bytes> {
        Box::pin(self.pooled(Asked::Read, move |link| async move { read(&link, &slot.0, number, signed(now)).await }))
    }

    fn expire(&self, now: u64) -> Step<()> {
        Box::pin(self.pooled(Asked::Write, move |link| async move {
            let over = "DELETE FROM link_slot WHERE abs(begun_at - $1) >= $2";
            link.execute(over, &[&signed(now), &LIFE]).await?;
            Ok(Ok(()))
        }))
    }
}

async fn write(
    link: &Link,
    slot: &[u8; 16],
    number: u8,
    piece: &[u8],
    now: i64,
) -> Result<Result<(), SlotError>, Fault> {
    let (slot, number) = (&slot[..], i16::from(number));
    // Two that write the same slot come one after the other.
    link.execute("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", &[&ONE_BEGINS]).await?;
    let over = "DELETE FROM link_slot WHERE slot = $3 AND abs(begun_at - $1) >= $2";
    link.execute(over, &[&now, &LIFE, &slot]).await?;
    let known = "SELECT count(*), max(begun_at), (array_agg(piece) FILTER (WHERE number = $2))[1]
        FROM link_slot WHERE slot = $1";
    let row = link.query_one(known, &[&slot, &number]).await?;
    let (pieces, begun_at): (i64, Option<i64>) = (row.get(0), row.get(1));
    let there: Option<&[u8]> = row.get(2);
    match there {
        Some(there) if there == piece => return Ok(Ok(())),
        Some(_) => return Ok(Err(SlotError::NotNext)),
        None => {}
    }
    let begun_at = match begun_at {
        None if number > 0 => return Ok(Err(SlotError::Unknown)),
        None => {
            let count = "SELECT count(*) FROM link_slot WHERE number = 0 AND abs(begun_at - $1) < $2";
            let slots: i64 = link.query_one(count, &[&now, &LIFE]).await?.get(0);
            if slots >= MAX_SLOTS as i64 {
                return Ok(Err(SlotError::Full));
            }
            now
        }
        Some(_) if i64::from(number) != pieces || number >= i16::from(PIECES) => return Ok(Err(SlotError::NotNext)),
        Some(begun_at) => begun_at,
    };
    let insert = "INSERT INTO link_slot(slot, number, piece, begun_at) VALUES ($1, $2, $3, $4)";
    link.execute(insert, &[&slot, &number, &piece, &begun_at]).await?;
    Ok(Ok(()))
}

async fn read(link: &Link, slot: &[u8; 16], number: u8, now: i64) -> Result<Result<Bytes, SlotError>, Fault> {
    let sql = "SELECT number, piece FROM link_slot
        WHERE slot = $3 AND abs(begun_at - $1) < $2 AND number IN (0, $4::int2) ORDER BY number DESC";
    let rows = link.query(sql, &[&now, &LIFE, &&slot[..], &i16::from(number)]).await?;
    let Some(last) = rows.first() else { return Ok(Err(SlotError::Unknown)) };
    if last.get::<_, i16>(0) != i16::from(number) {
        return Ok(Err(SlotError::NotYet));
    }
    Ok(bytes(last, 1).map_err(SlotError::from))
}
