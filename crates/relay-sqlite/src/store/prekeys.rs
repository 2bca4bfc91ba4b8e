//! The prekey directory.

use kuvert_relay::store::{
    Bundle, NewPrekeys, PrekeyCounts, PrekeyKind, PublishPrekeysError, SignedKey, TakeBundleError, UnsignedKey,
};
use kuvert_types::Address;
use kuvert_types::limits::MAX_ONE_TIME_PREKEYS;
use rusqlite::{Connection, OptionalExtension, Row};

use super::column::{bytes, unsigned};
use super::index::MailboxNumber;
use super::writer::Work;

/// `one_time_prekey.kind`
const CURVE: i64 = 0;
/// `one_time_prekey.kind`
const KEM: i64 = 1;

/// The highest id of each kind that a device ever published, -1 for none.
struct Highest {
    signed: i64,
    last_resort: i64,
    one_time: i64,
    one_time_kem: i64,
}

/// Runs within the writer's transaction. A rule error changes nothing.
pub fn publish(
    work: &mut Work<'_>,
    device: &Address,
    new: &NewPrekeys,
) -> rusqlite::Result<Result<(), PublishPrekeysError>> {
    let Some(number) = work.index.lock().number(device) else { return Ok(Err(PublishPrekeysError::UnknownDevice)) };
    let connection = work.connection;
    let before = highest(connection, number)?;
    let after = match check(connection, number, &before, new)? {
        Ok(after) => after,
        Err(error) => return Ok(Err(error)),
    };
    connection
        .prepare_cached(
            "INSERT INTO prekeys(mailbox, highest_one_time, highest_one_time_kem) VALUES(?1, ?2, ?3)
                ON CONFLICT(mailbox) DO UPDATE SET highest_one_time = ?2, highest_one_time_kem = ?3",
        )?
        .execute((number, after.one_time, after.one_time_kem))?;
    if let Some(key) = &new.signed {
        connection
            .prepare_cached(
                "UPDATE prekeys SET signed_id = ?2, signed_key = ?3, signed_signature = ?4 WHERE mailbox = ?1",
            )?
            .execute((number, key.id, &key.public_key[..], &key.signature[..]))?;
    }
    if let Some(key) = &new.last_resort_kem {
        connection
            .prepare_cached(
                "UPDATE prekeys SET last_resort_id = ?2, last_resort_key = ?3, last_resort_signature = ?4
                    WHERE mailbox = ?1",
            )?
            .execute((number, key.id, &key.public_key[..], &key.signature[..]))?;
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO one_time_prekey(mailbox, kind, id, public_key, signature) VALUES(?1, ?2, ?3, ?4, ?5)",
    )?;
    for key in &new.one_time {
        insert.execute((number, CURVE, key.id, &key.public_key[..], None::<&[u8]>))?;
    }
    for key in &new.one_time_kem {
        insert.execute((number, KEM, key.id, &key.public_key[..], Some(&key.signature[..])))?;
    }
    Ok(Ok(()))
}

/// The rules; the highest ids if all hold.
fn check(
    connection: &Connection,
    number: MailboxNumber,
    before: &Highest,
    new: &NewPrekeys,
) -> rusqlite::Result<Result<Highest, PublishPrekeysError>> {
    let ids = || {
        Ok(Highest {
            signed: rising(PrekeyKind::Signed, before.signed, new.signed.iter().map(|key| key.id))?,
            last_resort: rising(
                PrekeyKind::LastResortKem,
                before.last_resort,
                new.last_resort_kem.iter().map(|key| key.id),
            )?,
            one_time: rising(PrekeyKind::OneTime, before.one_time, new.one_time.iter().map(|key| key.id))?,
            one_time_kem: rising(
                PrekeyKind::OneTimeKem,
                before.one_time_kem,
                new.one_time_kem.iter().map(|key| key.id),
            )?,
        })
    };
    let after = match ids() {
        Ok(after) => after,
        Err(error) => return Ok(Err(error)),
    };
    let stored = count(connection, number)?;
    for (kind, stored, added) in [
        (PrekeyKind::OneTime, stored.one_time, new.one_time.len()),
        (PrekeyKind::OneTimeKem, stored.one_time_kem, new.one_time_kem.len()),
    ] {
        if stored + added as u64 > MAX_ONE_TIME_PREKEYS as u64 {
            return Ok(Err(PublishPrekeysError::TooMany { kind }));
        }
    }
    Ok(Ok(after))
}

/// The highest of ids that must rise from `highest` on.
fn rising(kind: PrekeyKind, highest: i64, ids: impl Iterator<Item = u32>) -> Result<i64, PublishPrekeysError> {
    let mut highest = highest;
    for id in ids {
        if i64::from(id) <= highest {
            return Err(PublishPrekeysError::Reused { kind, id });
        }
        highest = i64::from(id);
    }
    Ok(highest)
}

fn highest(connection: &Connection, number: MailboxNumber) -> rusqlite::Result<Highest> {
    // The signed and the last-resort prekey stay until a higher one takes their place.
    let mut select = connection.prepare_cached(
        "SELECT ifnull(signed_id, -1), ifnull(last_resort_id, -1), highest_one_time, highest_one_time_kem
            FROM prekeys WHERE mailbox = ?1",
    )?;
    let stored = select.query_row([number], |row| {
        Ok(Highest { signed: row.get(0)?, last_resort: row.get(1)?, one_time: row.get(2)?, one_time_kem: row.get(3)? })
    });
    let none = Highest { signed: -1, last_resort: -1, one_time: -1, one_time_kem: -1 };
    Ok(stored.optional()?.unwrap_or(none))
}

/// Runs within the writer's transaction, so that the deletion is durable before a taker sees the keys.
/// No one-time prekey is taken of a kind of which fewer than `reserve` are left. A rule error changes nothing.
pub fn take(work: &mut Work<'_>, device: &Address, reserve: u64) -> rusqlite::Result<Result<Bundle, TakeBundleError>> {
    let Some(number) = work.index.lock().number(device) else { return Ok(Err(TakeBundleError::UnknownDevice)) };
    let kept = work
        .connection
        .prepare_cached(
            "SELECT certificate, signed_id, signed_key, signed_signature,
                    last_resort_id, last_resort_key, last_resort_signature
                FROM prekeys JOIN device USING(mailbox)
                WHERE mailbox = ?1 AND signed_id IS NOT NULL AND last_resort_id IS NOT NULL",
        )?
        .query_row([number], |row| Ok((bytes(row, 0)?, signed_key(row, 1)?, signed_key(row, 4)?)))
        .optional()?;
    let Some((certificate, signed, last_resort)) = kept else { return Ok(Err(TakeBundleError::NoPrekeys)) };
    // What is never reached need not be counted.
    let left = match reserve {
        0 => PrekeyCounts { one_time: u64::MAX, one_time_kem: u64::MAX },
        u64::MAX => PrekeyCounts::default(),
        _ => count(work.connection, number)?,
    };
    let mut one_time = None;
    if left.one_time >= reserve {
        one_time = take_lowest(work.connection, number, CURVE, |row| {
            Ok(UnsignedKey { id: row.get(0)?, public_key: bytes(row, 1)? })
        })?;
    }
    let mut one_time_kem = None;
    if left.one_time_kem >= reserve {
        one_time_kem = take_lowest(work.connection, number, KEM, |row| signed_key(row, 0))?;
    }
    let kem_is_last_resort = one_time_kem.is_none();
    let kem = one_time_kem.unwrap_or(last_resort);
    Ok(Ok(Bundle { certificate, signed, kem, kem_is_last_resort, one_time }))
}

fn take_lowest<T>(
    connection: &Connection,
    number: MailboxNumber,
    kind: i64,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM one_time_prekey WHERE mailbox = ?1 AND kind = ?2
                AND id = (SELECT min(id) FROM one_time_prekey WHERE mailbox = ?1 AND kind = ?2)
            RETURNING id, public_key, signature",
    )?;
    delete.query_row((number, kind), read).optional()
}

fn signed_key(row: &Row<'_>, first: usize) -> rusqlite::Result<SignedKey> {
    Ok(SignedKey { id: row.get(first)?, public_key: bytes(row, first + 1)?, signature: bytes(row, first + 2)? })
}

pub fn count(connection: &Connection, number: MailboxNumber) -> rusqlite::Result<PrekeyCounts> {
    let mut select =
        connection.prepare_cached("SELECT count(*) FROM one_time_prekey WHERE mailbox = ?1 AND kind = ?2")?;
    let mut of = |kind: i64| select.query_row((number, kind), |row| unsigned(row, 0));
    Ok(PrekeyCounts { one_time: of(CURVE)?, one_time_kem: of(KEM)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_from_zero_on() {
        let rising = |highest, ids: &[u32]| rising(PrekeyKind::OneTime, highest, ids.iter().copied());
        assert_eq!(rising(-1, &[0, 1, 7]), Ok(7));
        assert_eq!(rising(7, &[]), Ok(7));
        assert_eq!(rising(7, &[u32::MAX]), Ok(i64::from(u32::MAX)));
        for ids in [&[7][..], &[9, 9], &[9, 8]] {
            assert!(rising(7, ids).is_err(), "{ids:?}");
        }
    }
}
