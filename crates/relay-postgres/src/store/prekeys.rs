//! The prekey directory. Any connection of any node publishes and takes: rows of the tables are locked, not slots.

use kuvert_relay::store::{
    Bundle, NewPrekeys, PrekeyCounts, PrekeyKind, PublishPrekeysError, SignedKey, StoreError, TakeBundleError,
    UnsignedKey,
};
use kuvert_types::Address;
use kuvert_types::limits::MAX_ONE_TIME_PREKEYS;
use tokio_postgres::Row;

use super::column::{bytes, number, signed_key};
use crate::link::Link;
use crate::outcome::Fault;

/// `one_time_prekey.kind`
const CURVE: i16 = 0;
/// `one_time_prekey.kind`
const KEM: i16 = 1;

/// The highest id of each kind that a device ever published, -1 for none.
#[derive(Clone, Copy)]
struct Highest {
    signed: i64,
    last_resort: i64,
    one_time: i64,
    one_time_kem: i64,
}

/// Publishes all or nothing. Refusals are committed, too: they tell of rows that have to be durable then.
pub async fn publish(link: &Link, device: Address, new: &NewPrekeys) -> Result<Result<(), PublishPrekeysError>, Fault> {
    link.begin().await?;
    let answer = put(link, device, new).await?;
    link.commit().await?;
    Ok(answer)
}

async fn put(link: &Link, device: Address, new: &NewPrekeys) -> Result<Result<(), PublishPrekeysError>, Fault> {
    // The device stays while it is locked.
    let find = "SELECT mailbox FROM device WHERE account = $1 AND number = $2 FOR SHARE";
    let row = link.query_opt(find, &[&&device.account.as_bytes()[..], &i64::from(device.device.get())]).await?;
    let Some(row) = row else { return Ok(Err(PublishPrekeysError::UnknownDevice)) };
    let mailbox: i64 = row.get(0);
    link.execute("INSERT INTO prekeys(mailbox) VALUES ($1) ON CONFLICT (mailbox) DO NOTHING", &[&mailbox]).await?;
    // The signed and the last-resort prekey stay until a higher one takes their place.
    let highest = "SELECT coalesce(signed_id, -1), coalesce(last_resort_id, -1), highest_one_time, highest_one_time_kem
        FROM prekeys WHERE mailbox = $1 FOR UPDATE";
    let row = link.query_one(highest, &[&mailbox]).await?;
    let before =
        Highest { signed: row.get(0), last_resort: row.get(1), one_time: row.get(2), one_time_kem: row.get(3) };
    let after = match rise(before, new) {
        Ok(after) => after,
        Err(error) => return Ok(Err(error)),
    };
    let stored = counts(&link.query_one(COUNT, &[&mailbox]).await?);
    for (kind, stored, added) in [
        (PrekeyKind::OneTime, stored.one_time, new.one_time.len()),
        (PrekeyKind::OneTimeKem, stored.one_time_kem, new.one_time_kem.len()),
    ] {
        if stored + added as u64 > MAX_ONE_TIME_PREKEYS as u64 {
            return Ok(Err(PublishPrekeysError::TooMany { kind }));
        }
    }
    let update = "UPDATE prekeys SET highest_one_time = $2, highest_one_time_kem = $3 WHERE mailbox = $1";
    link.execute(update, &[&mailbox, &after.one_time, &after.one_time_kem]).await?;
    if let Some(key) = &new.signed {
        let update = "UPDATE prekeys SET signed_id = $2, signed_key = $3, signed_signature = $4 WHERE mailbox = $1";
        link.execute(update, &[&mailbox, &i64::from(key.id), &&key.public_key[..], &&key.signature[..]]).await?;
    }
    if let Some(key) = &new.last_resort_kem {
        let update = "UPDATE prekeys SET last_resort_id = $2, last_resort_key = $3, last_resort_signature = $4
            WHERE mailbox = $1";
        link.execute(update, &[&mailbox, &i64::from(key.id), &&key.public_key[..], &&key.signature[..]]).await?;
    }
    let insert = "INSERT INTO one_time_prekey(mailbox, kind, id, public_key, signature)
        SELECT $1, $2, n.id, n.public_key, n.signature FROM unnest($3::int8[], $4::bytea[], $5::bytea[])
            AS n(id, public_key, signature)";
    if !new.one_time.is_empty() {
        let ids: Vec<i64> = new.one_time.iter().map(|key| key.id.into()).collect();
        let keys: Vec<&[u8]> = new.one_time.iter().map(|key| &key.public_key[..]).collect();
        let none: Vec<Option<&[u8]>> = vec![None; ids.len()];
        link.execute(insert, &[&mailbox, &CURVE, &ids, &keys, &none]).await?;
    }
    if !new.one_time_kem.is_empty() {
        let ids: Vec<i64> = new.one_time_kem.iter().map(|key| key.id.into()).collect();
        let keys: Vec<&[u8]> = new.one_time_kem.iter().map(|key| &key.public_key[..]).collect();
        let signatures: Vec<Option<&[u8]>> = new.one_time_kem.iter().map(|key| Some(&key.signature[..])).collect();
        link.execute(insert, &[&mailbox, &KEM, &ids, &keys, &signatures]).await?;
    }
    Ok(Ok(()))
}

/// The highest ids afterwards.
fn rise(before: Highest, new: &NewPrekeys) -> Result<Highest, PublishPrekeysError> {
    let kem = new.one_time_kem.iter().map(|key| key.id);
    Ok(Highest {
        signed: rising(PrekeyKind::Signed, before.signed, new.signed.iter().map(|key| key.id))?,
        last_resort: rising(
            PrekeyKind::LastResortKem,
            before.last_resort,
            new.last_resort_kem.iter().map(|key| key.id),
        )?,
        one_time: rising(PrekeyKind::OneTime, before.one_time, new.one_time.iter().map(|key| key.id))?,
        one_time_kem: rising(PrekeyKind::OneTimeKem, before.one_time_kem, kem)?,
    })
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

/// Takes a bundle. No one-time prekey is taken of a kind of which fewer than `reserve` are left.
pub async fn take(link: &Link, device: Address, reserve: u64) -> Result<Result<Bundle, TakeBundleError>, Fault> {
    link.begin().await?;
    let answer = take_within(link, device, reserve).await?;
    link.commit().await?;
    Ok(answer)
}

async fn take_within(link: &Link, device: Address, reserve: u64) -> Result<Result<Bundle, TakeBundleError>, Fault> {
    macro_rules! kept {
        ($lock:literal) => {
            concat!(
                "SELECT d.mailbox, d.certificate, p.signed_id, p.signed_key, p.signed_signature,
                    p.last_resort_id, p.last_resort_key, p.last_resort_signature
                FROM device d LEFT JOIN prekeys p ON p.mailbox = d.mailbox WHERE d.account = $1 AND d.number = $2 ",
                $lock
            )
        };
    }
    let account = &device.account.as_bytes()[..];
    let number = i64::from(device.device.get());
    // The lock makes the commit wait for what is told here to be as durable as the answer. Those who leave a reserve take one after
    // the other, so that what they count is what there is.
    let row = match reserve {
        0 | u64::MAX => link.query_opt(kept!("FOR SHARE OF d"), &[&account, &number]).await?,
        _ => link.query_opt(kept!("FOR UPDATE OF d"), &[&account, &number]).await?,
    };
    let Some(row) = row else { return Ok(Err(TakeBundleError::UnknownDevice)) };
    let mailbox: i64 = row.get(0);
    let read = || Ok((bytes(&row, 1)?, signed_key(&row, 2)?, signed_key(&row, 5)?));
    if row.get::<_, Option<i64>>(2).is_none() || row.get::<_, Option<i64>>(5).is_none() {
        return Ok(Err(TakeBundleError::NoPrekeys));
    }
    let (certificate, signed, last_resort) = match read() {
        Ok(kept) => kept,
        Err(error) => return Ok(Err(StoreError::into(error))),
    };
    // What is never reached need not be counted.
    let left = match reserve {
        0 => PrekeyCounts { one_time: u64::MAX, one_time_kem: u64::MAX },
        u64::MAX => PrekeyCounts::default(),
        _ => counts(&link.query_one(COUNT, &[&mailbox]).await?),
    };
    let one_time = if left.one_time >= reserve { take_lowest(link, mailbox, CURVE).await? } else { None };
    let kem = if left.one_time_kem >= reserve { take_lowest(link, mailbox, KEM).await? } else { None };
    let bundle = || {
        let one_time = one_time
            .map(|row| Ok::<_, StoreError>(UnsignedKey { id: self::number(&row, 0)?, public_key: bytes(&row, 1)? }));
        let kem: Option<SignedKey> = kem.map(|row| signed_key(&row, 0)).transpose()?;
        Ok(Bundle {
            certificate,
            signed,
            kem_is_last_resort: kem.is_none(),
            kem: kem.unwrap_or(last_resort),
            one_time: one_time.transpose()?,
        })
    };
    Ok(bundle().map_err(|error: StoreError| error.into()))
}

/// Past what others are taking at this moment; where all that is left is being taken, waits for how that ends, so that "none" is
/// never said while there is one.
async fn take_lowest(link: &Link, mailbox: i64, kind: i16) -> Result<Option<Row>, Fault> {
    macro_rules! take {
        ($lock:literal) => {
            concat!(
                "DELETE FROM one_time_prekey WHERE mailbox = $1 AND kind = $2 AND id =
                    (SELECT id FROM one_time_prekey WHERE mailbox = $1 AND kind = $2 ORDER BY id LIMIT 1 ",
                $lock,
                ") RETURNING id, public_key, signature"
            )
        };
    }
    match link.query_opt(take!("FOR UPDATE SKIP LOCKED"), &[&mailbox, &kind]).await? {
        Some(row) => Ok(Some(row)),
        None => link.query_opt(take!("FOR UPDATE"), &[&mailbox, &kind]).await,
    }
}

/// How many there are of both kinds.
const COUNT: &str = "SELECT count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind = 1)
    FROM one_time_prekey WHERE mailbox = $1";

fn counts(row: &Row) -> PrekeyCounts {
    PrekeyCounts { one_time: row.get::<_, i64>(0).unsigned_abs(), one_time_kem: row.get::<_, i64>(1).unsigned_abs() }
}

/// How many are left for a device.
pub async fn count(link: &Link, device: Address) -> Result<PrekeyCounts, Fault> {
    let sql = "SELECT count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind = 1) FROM one_time_prekey
        WHERE mailbox = (SELECT mailbox FROM device WHERE account = $1 AND number = $2)";
    let account = &device.account.as_bytes()[..];
    Ok(counts(&link.query_one(sql, &[&account, &i64::from(device.device.get())]).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_from_zero_on() {
        let rising = |highest, ids: &[u32]| rising(PrekeyKind::OneTime, highest, ids.iter().copied());
        assert_eq!(rising(-1, &[0, 1, 7]), Ok(7));
        assert_eq!(rising(7, &[u32::MAX]), Ok(i64::from(u32::MAX)));
        for ids in [&[7][..], &[9, 9], &[9, 8]] {
            assert!(rising(7, ids).is_err(), "{ids:?}");
        }
    }
}
