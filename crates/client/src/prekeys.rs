//! This device's prekeys: made here, published at the relay, deleted when used or past use.
//!
//! Made in one transaction with the counters and published after it: a number is never given twice, and a secret is on disk
//! before its public half can be used. What a crash left unpublished is published first next time, in the same
//! portions, so that the relay's "used before" then means "already there".
//!
//! A stored prekey: `published u8 ‖ replaced at (our clock) u64 ‖ replaced at (relay's clock) u64 ‖ the protocol's encoding`.

use kuvert_protocol::prekey::{KemPrekeyKind, KemPrekeySecret, OneTimePrekeySecret, PrekeyStore, SignedPrekeySecret};
use kuvert_protocol::replay::{ReplayRecord, STRANGERS_PER_PREKEY};
use kuvert_protocol::session::UsedPrekeys;
use kuvert_types::Reader;
use kuvert_types::limits::{MAX_ONE_TIME_PREKEYS, MAX_PREKEYS_PER_PUBLISH, MAX_RETENTION_DAYS};
use kuvert_wire::v1;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{client_frame, server_frame};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::bridge;
use crate::certain::MAX_SKEW_MS;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::error::Error;
use crate::state::{self, PrekeyStateRow, damaged, own};
use crate::store::{StoreError, Table, Transaction};
use crate::transport::Link;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Signed and last-resort prekeys are replaced when they are this old.
pub const ROTATION_MS: u64 = 7 * DAY_MS;

/// A replaced prekey is kept for as long as mail that used it can still arrive: the relay's retention, and a week for a
/// sender that took it just before and was away when it encrypted.
pub const KEEP_REPLACED_MS: u64 = (MAX_RETENTION_DAYS as u64 + 7) * DAY_MS;

/// A sender that took a bundle just before a prekey was replaced may have been away when it encrypted, for this long.
const SENT_LATE_MS: u64 = 7 * DAY_MS;

/// Between two replacements because of strangers.
const EARLY_ROTATION_MS: u64 = 60 * 60 * 1000;

/// Replaced last-resort prekeys that are kept at most when strangers are the reason: with their records some 5 MB.
const MAX_REPLACED: usize = 24;

/// Between two looks at how many one-time prekeys the relay has, where nothing says that some were used.
const CHECK_MS: u64 = 60 * 60 * 1000;

/// Numbers that are skipped when some were given twice: more than a home uses between two backups, and a hundred thousand
/// such gaps fit.
const GAP: u32 = 20_000;

/// One-time prekeys of a kind are filled up when the relay has fewer.
pub const LOW_WATER: usize = 25;

/// Kinds of prekeys. The numbers are part of the stored form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    Signed = 1,
    OneTime = 2,
    KemOneTime = 3,
    KemLastResort = 4,
}

impl Kind {
    const fn is_one_time(self) -> bool {
        matches!(self, Self::OneTime | Self::KemOneTime)
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Signed,
            2 => Self::OneTime,
            3 => Self::KemOneTime,
            4 => Self::KemLastResort,
            _ => return None,
        })
    }
}

/// A prekey's key: kind and number.
const KEY_LEN: usize = 5;

fn key(kind: Kind, id: u32) -> [u8; KEY_LEN] {
    let [a, b, c, d] = id.to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// A stored prekey around its secret.
struct Stored {
    published: bool,
    /// Our clock, the relay's clock; 0: in use.
    replaced_at: (u64, u64),
    secret: Zeroizing<Vec<u8>>,
}

impl Stored {
    fn new(secret: Zeroizing<Vec<u8>>) -> Self {
        Self { published: false, replaced_at: (0, 0), secret }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let (ours, relays) = self.replaced_at;
        let fields: [&[u8]; 4] =
            [&[u8::from(self.published)], &ours.to_be_bytes(), &relays.to_be_bytes(), self.secret.as_slice()];
        Zeroizing::new(fields.concat())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let mut read = || {
            let published = reader.u8()? != 0;
            let replaced_at = (reader.u64()?, reader.u64()?);
            Ok::<_, kuvert_types::DecodeError>((published, replaced_at))
        };
        let (published, replaced_at) = read().map_err(|_| damaged("prekeys"))?;
        Ok(Self { published, replaced_at, secret: Zeroizing::new(reader.rest().to_vec()) })
    }

    fn save(&self, tx: &dyn Transaction, kind: Kind, id: u32) -> Result<(), Error> {
        Ok(tx.put(Table::Prekey, &key(kind, id), &self.encode())?)
    }

    fn all(tx: &dyn Transaction) -> Result<Vec<(Kind, u32, Self)>, Error> {
        let mut all = Vec::new();
        for (key, value) in tx.list(Table::Prekey)? {
            let [kind, id @ ..]: [u8; KEY_LEN] = key.as_slice().try_into().map_err(|_| damaged("prekeys"))?;
            let kind = Kind::from_byte(kind).ok_or_else(|| damaged("prekeys"))?;
            all.push((kind, u32::from_be_bytes(id), Self::decode(&value)?));
        }
        Ok(all)
    }
}

/// The secrets as sessions look them up, within one transaction.
pub struct Secrets<'a> {
    tx: &'a dyn Transaction,
}

impl<'a> Secrets<'a> {
    /// Looks up in a transaction.
    pub fn new(tx: &'a dyn Transaction) -> Self {
        Self { tx }
    }

    fn find<T>(
        &self,
        kind: Kind,
        id: u32,
        decode: impl FnOnce(&[u8]) -> Result<T, kuvert_types::DecodeError>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.tx.get(Table::Prekey, &key(kind, id))? else { return Ok(None) };
        let stored = Stored::decode(&value)?;
        decode(&stored.secret).map(Some).map_err(|_| damaged("prekeys"))
    }
}

impl PrekeyStore for Secrets<'_> {
    type Error = Error;

    fn signed(&self, id: u32) -> Result<Option<SignedPrekeySecret>, Error> {
        self.find(Kind::Signed, id, SignedPrekeySecret::decode)
    }

    fn one_time(&self, id: u32) -> Result<Option<OneTimePrekeySecret>, Error> {
        self.find(Kind::OneTime, id, OneTimePrekeySecret::decode)
    }

    fn kem(&self, id: u32) -> Result<Option<(KemPrekeySecret, KemPrekeyKind)>, Error> {
        if let Some(secret) = self.find(Kind::KemOneTime, id, KemPrekeySecret::decode)? {
            return Ok(Some((secret, KemPrekeyKind::OneTime)));
        }
        let last_resort = self.find(Kind::KemLastResort, id, KemPrekeySecret::decode)?;
        Ok(last_resort.map(|secret| (secret, KemPrekeyKind::LastResort)))
    }
}

/// Deletes the one-time prekeys that an authenticated first message used.
pub fn delete_used(tx: &dyn Transaction, used: &UsedPrekeys) -> Result<(), StoreError> {
    if let Some(id) = used.one_time {
        tx.delete(Table::Prekey, &key(Kind::OneTime, id))?;
    }
    if let Some(id) = used.kem {
        tx.delete(Table::Prekey, &key(Kind::KemOneTime, id))?;
    }
    Ok(())
}

/// Whether a stored prekey can be read.
pub fn is_readable(row: &[u8], value: &[u8]) -> bool {
    let Some(kind) = row.first().copied().and_then(Kind::from_byte).filter(|_| row.len() == KEY_LEN) else {
        return false;
    };
    Stored::decode(value).is_ok_and(|stored| match kind {
        Kind::Signed => SignedPrekeySecret::decode(&stored.secret).is_ok(),
        Kind::OneTime => OneTimePrekeySecret::decode(&stored.secret).is_ok(),
        Kind::KemOneTime | Kind::KemLastResort => KemPrekeySecret::decode(&stored.secret).is_ok(),
    })
}

/// Whether a stored replay record can be read.
pub fn record_is_readable(key: &[u8], value: &[u8]) -> bool {
    key.len() == size_of::<u32>() && ReplayRecord::decode(value).is_ok()
}

/// Deletes the last-resort prekeys whose replay record is lost: with them a first message would open again. [KV-022]
/// `lost`: whether that of the prekey with this number, as it stands in its key, is.
pub fn forget_without_record(tx: &dyn Transaction, lost: impl Fn([u8; 4]) -> bool) -> Result<(), Error> {
    for (kind, id, _) in Stored::all(tx)? {
        if kind == Kind::KemLastResort && lost(id.to_be_bytes()) {
            tx.delete(Table::Prekey, &key(kind, id))?;
        }
    }
    Ok(())
}

/// Makes a rotation due if one of the two prekeys that are in use at all times is missing.
pub fn renew_what_is_missing(tx: &dyn Transaction) -> Result<(), Error> {
    let all = Stored::all(tx)?;
    let in_use = |wanted| all.iter().any(|(kind, _, stored)| *kind == wanted && stored.replaced_at == (0, 0));
    if in_use(Kind::Signed) && in_use(Kind::KemLastResort) {
        return Ok(());
    }
    let mut counters: PrekeyStateRow = state::get(tx, Table::Own, own::PREKEYS)?.unwrap_or_default();
    (counters.rotated_at, counters.checked_at) = (0, 0);
    state::put(tx, Table::Own, own::PREKEYS, &counters)
}

/// The counters are lost: numbers go on well behind the highest that is known.
pub fn count_anew(tx: &dyn Transaction) -> Result<(), Error> {
    let mut counters = PrekeyStateRow::default();
    for (kind, id, _) in Stored::all(tx)? {
        let counter = match kind {
            Kind::Signed => &mut counters.last_signed,
            Kind::OneTime => &mut counters.last_one_time,
            Kind::KemOneTime | Kind::KemLastResort => &mut counters.last_kem,
        };
        *counter = id.max(*counter);
    }
    state::put(tx, Table::Own, own::PREKEYS, &counters)?;
    skip_ahead(tx)
}

/// Reads the record of first messages that used a last-resort KEM prekey.
pub fn replay_record(tx: &dyn Transaction, prekey: u32) -> Result<ReplayRecord, Error> {
    let Some(bytes) = tx.get(Table::Replay, &prekey.to_be_bytes())? else { return Ok(ReplayRecord::new()) };
    ReplayRecord::decode(&bytes).map_err(|_| damaged("the replay record"))
}

/// Stores it, in the transaction that stores the sessions. One for a prekey that is not here stays empty and is not stored.
pub fn save_replay_record(tx: &dyn Transaction, prekey: u32, record: &ReplayRecord) -> Result<(), Error> {
    if !record.is_empty() {
        tx.put(Table::Replay, &prekey.to_be_bytes(), &record.encode())?;
    }
    Ok(())
}

/// Notes that all mail that waited at this time of the relay's clock has been fetched.
pub fn note_caught_up(tx: &dyn Transaction, relay_time: u64) -> Result<(), Error> {
    let mut counters: PrekeyStateRow = state::get(tx, Table::Own, own::PREKEYS)?.unwrap_or_default();
    counters.caught_up_at = relay_time;
    state::put(tx, Table::Own, own::PREKEYS, &counters)
}

/// [`maintain`] at most once an hour: for what only sends.
///
/// # Errors
/// As [`maintain`].
pub async fn maintain_if_due(connection: &Connection) -> Result<(), Error> {
    let due = connection.engine().read(|tx| {
        let state: PrekeyStateRow = state::get(tx, Table::Own, own::PREKEYS)?.unwrap_or_default();
        Ok(tx.now().abs_diff(state.checked_at) >= CHECK_MS)
    });
    if due.await? { maintain(connection).await } else { Ok(()) }
}

/// Keeps the relay supplied: publishes what a crash left over, replaces what is due, fills up, deletes what is past use.
///
/// # Errors
/// Those of the connection and the store.
pub async fn maintain(connection: &Connection) -> Result<(), Error> {
    let (engine, link) = (connection.engine(), connection.link());
    publish_all(engine, &link.link).await?;
    let counts = match link.request(client_frame::Body::CountPrekeys(v1::CountPrekeys {})).await? {
        Ok(server_frame::Body::PrekeyCounts(counts)) => counts,
        Ok(_) => return Err(Error::RelayProtocol { what: "no prekey counts" }),
        Err(refusal) => return Err(refusal.into_error()),
    };
    tracing::debug!(left = counts.one_time, left_kem = counts.one_time_kem, "prekeys at the relay were counted");
    let (now, relay_time) = (engine.now(), link.relay_now());
    let missing = |left: u32| {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if left < LOW_WATER { MAX_ONE_TIME_PREKEYS.saturating_sub(left) } else { 0 }
    };
    let wanted = Wanted { one_time: missing(counts.one_time), kem: missing(counts.one_time_kem) };
    let made = engine
        .write(move |tx| {
            let own = tx.identity()?;
            let made = generate(tx, own.device.secrets(), &wanted, now, relay_time, &mut crate::rng::system_rng())?;
            delete_old(tx, now, relay_time)?;
            Ok(made)
        })
        .await?;
    if made { publish_all(engine, &link.link).await } else { Ok(()) }
}

/// [KV-022] Strangers have used half of the record of the last-resort prekey that is in use: another prekey gives the next
/// ones room. Not more often than once an hour, and not while too many secrets are kept.
fn strangers_fill_the_record(tx: &dyn Transaction, rotated_ago: u64) -> Result<bool, Error> {
    if rotated_ago < EARLY_ROTATION_MS {
        return Ok(false);
    }
    let last_resort: Vec<(u32, Stored)> = Stored::all(tx)?
        .into_iter()
        .filter_map(|(kind, id, stored)| (kind == Kind::KemLastResort).then_some((id, stored)))
        .collect();
    if last_resort.len() > MAX_REPLACED {
        return Ok(false);
    }
    let Some((in_use, _)) = last_resort.iter().find(|(_, stored)| stored.replaced_at == (0, 0)) else {
        return Ok(false);
    };
    Ok(replay_record(tx, *in_use)?.strangers() >= STRANGERS_PER_PREKEY / 2)
}

/// How many one-time prekeys to make.
struct Wanted {
    one_time: usize,
    kem: usize,
}

/// Makes what is wanted and what is due; whether anything was made.
fn generate(
    tx: &dyn Transaction,
    device: &kuvert_protocol::identity::DeviceSecrets,
    wanted: &Wanted,
    now: u64,
    relay_time: u64,
    rng: &mut impl CryptoRng,
) -> Result<bool, Error> {
    let mut counters: PrekeyStateRow = state::get(tx, Table::Own, own::PREKEYS)?.unwrap_or_default();
    // Absolute: a clock that was set back must not put rotation off for years.
    // A relay that has none of ours left may have been restored from a backup, with signed prekeys of then.
    let emptied = wanted.one_time == MAX_ONE_TIME_PREKEYS && wanted.kem == MAX_ONE_TIME_PREKEYS;
    let due = counters.last_signed == 0
        || emptied
        || now.abs_diff(counters.rotated_at) >= ROTATION_MS
        || strangers_fill_the_record(tx, now.abs_diff(counters.rotated_at))?;
    if due {
        for (kind, id, mut stored) in Stored::all(tx)? {
            if matches!(kind, Kind::Signed | Kind::KemLastResort) && stored.replaced_at == (0, 0) {
                stored.replaced_at = (now.max(1), relay_time.max(1));
                stored.save(tx, kind, id)?;
            }
        }
        let id = next(&mut counters.last_signed)?;
        let secret = SignedPrekeySecret::generate(id, device, rng);
        Stored::new(secret.encode()).save(tx, Kind::Signed, id)?;
        let id = next(&mut counters.last_kem)?;
        let secret = KemPrekeySecret::generate(id, KemPrekeyKind::LastResort, device, rng);
        Stored::new(secret.encode()).save(tx, Kind::KemLastResort, id)?;
        counters.rotated_at = now;
    }
    for _ in 0..wanted.one_time {
        let id = next(&mut counters.last_one_time)?;
        Stored::new(OneTimePrekeySecret::generate(id, rng).encode()).save(tx, Kind::OneTime, id)?;
    }
    for _ in 0..wanted.kem {
        let id = next(&mut counters.last_kem)?;
        let secret = KemPrekeySecret::generate(id, KemPrekeyKind::OneTime, device, rng);
        Stored::new(secret.encode()).save(tx, Kind::KemOneTime, id)?;
    }
    counters.checked_at = now;
    state::put(tx, Table::Own, own::PREKEYS, &counters)?;
    Ok(due || wanted.one_time > 0 || wanted.kem > 0)
}

fn next(counter: &mut u32) -> Result<u32, Error> {
    *counter = counter.checked_add(1).ok_or(Error::Internal { what: "prekey numbers used up" })?;
    Ok(*counter)
}

/// [KV-022] Deletes replaced prekeys once no mail for them can arrive any more: both by our clock and by the relay's, so that one
/// clock that jumps does no harm.
///
/// A device that has fetched all its mail once no new mail for a prekey could be submitted any more need not keep it for as
/// long as a mailbox could: what was stolen of it is then worth days, not weeks.
fn delete_old(tx: &dyn Transaction, now: u64, relay_time: u64) -> Result<(), Error> {
    let counters: PrekeyStateRow = state::get(tx, Table::Own, own::PREKEYS)?.unwrap_or_default();
    for (kind, id, stored) in Stored::all(tx)? {
        let (ours, relays) = stored.replaced_at;
        // One that this machine's clock noted while it ran ahead: the relay's has to do.
        let noted_ahead = now.abs_diff(relay_time) <= MAX_SKEW_MS && ours > now.saturating_add(MAX_SKEW_MS);
        let older_than =
            |age: u64| (noted_ahead || now.saturating_sub(ours) > age) && relay_time.saturating_sub(relays) > age;
        let fetched = counters.caught_up_at >= relays.saturating_add(SENT_LATE_MS);
        let old = older_than(KEEP_REPLACED_MS) || (fetched && older_than(SENT_LATE_MS));
        if ours == 0 || !old {
            continue;
        }
        tx.delete(Table::Prekey, &key(kind, id))?;
        if kind == Kind::KemLastResort {
            // From here on a replay fails for want of the key.
            tx.delete(Table::Replay, &id.to_be_bytes())?;
        }
    }
    Ok(())
}

/// This home is a copy of one that went on: what that one numbered, published and used is not known. Numbers go on behind a gap, the relay is
/// given others of each kind, and what is here is kept for mail that is on its way, as what was replaced is. `now`: Unix milliseconds.
pub fn replace_all(tx: &dyn Transaction, now: u64) -> Result<(), Error> {
    for (kind, id, stored) in Stored::all(tx)? {
        // By the relay's clock since ever: when it was is not known, and this machine's own decides.
        let replaced_at = if stored.replaced_at == (0, 0) { (now.max(1), 0) } else { stored.replaced_at };
        Stored { published: true, replaced_at, ..stored }.save(tx, kind, id)?;
    }
    skip_ahead(tx)
}

/// Leaves a gap in all numbers and makes rotation due.
fn skip_ahead(tx: &dyn Transaction) -> Result<(), Error> {
    let mut counters: PrekeyStateRow = state::get(tx, Table::Own, own::PREKEYS)?.unwrap_or_default();
    for counter in [&mut counters.last_signed, &mut counters.last_one_time, &mut counters.last_kem] {
        *counter = counter.checked_add(GAP).ok_or(Error::Internal { what: "prekey numbers used up" })?;
    }
    counters.rotated_at = 0;
    counters.checked_at = 0;
    state::put(tx, Table::Own, own::PREKEYS, &counters)
}

/// What fits into one publish command, and which rows it is.
struct Portion {
    command: v1::PublishPrekeys,
    keys: Vec<(Kind, u32)>,
}

/// The next portion in the order of numbers: the same after a crash as before it.
fn portion(tx: &dyn Transaction) -> Result<Option<Portion>, Error> {
    let mut command = v1::PublishPrekeys::default();
    let mut keys = Vec::new();
    let unreadable = |_| damaged("prekeys");
    for (kind, id, stored) in Stored::all(tx)? {
        if stored.published {
            continue;
        }
        let secret = stored.secret.as_slice();
        match kind {
            Kind::Signed => {
                let public = SignedPrekeySecret::decode(secret).map_err(unreadable)?.public();
                command.signed_prekey = Some(bridge::signed_prekey(&public));
            }
            Kind::KemLastResort => {
                let public = KemPrekeySecret::decode(secret).map_err(unreadable)?.public();
                command.last_resort_kem_prekey = Some(bridge::kem_prekey(&public));
            }
            Kind::OneTime if command.one_time_prekeys.len() < MAX_PREKEYS_PER_PUBLISH => {
                let public = OneTimePrekeySecret::decode(secret).map_err(unreadable)?.public();
                command.one_time_prekeys.push(bridge::one_time_prekey(&public));
            }
            Kind::KemOneTime if command.one_time_kem_prekeys.len() < MAX_PREKEYS_PER_PUBLISH => {
                let public = KemPrekeySecret::decode(secret).map_err(unreadable)?.public();
                command.one_time_kem_prekeys.push(bridge::kem_prekey(&public));
            }
            Kind::OneTime | Kind::KemOneTime => continue,
        }
        keys.push((kind, id));
    }
    Ok((!keys.is_empty()).then_some(Portion { command, keys }))
}

async fn publish_all(engine: &Engine, link: &Link) -> Result<(), Error> {
    while let Some(Portion { command, mut keys }) = engine.read(|tx| portion(tx)).await? {
        tracing::info!(prekeys = keys.len(), "publishing prekeys");
        match link.request(client_frame::Body::PublishPrekeys(command)).await? {
            Ok(server_frame::Body::Done(_)) => {}
            Ok(_) => return Err(Error::RelayProtocol { what: "no answer to prekeys" }),
            // Stored by a try whose answer never came. Or this home was restored from a backup and gave numbers twice: the
            // relay then serves keys whose secrets are gone. Skipping ahead and rotating is right in both cases.
            Err(refusal) if refusal.code == Code::PrekeyReused => {
                engine.write(|tx| skip_ahead(tx)).await?;
            }
            // More than the relay keeps: a crash left some unpublished, and others filled up meanwhile. They are given up;
            // what is not one-time comes again in the next portion, alone.
            Err(refusal) if refusal.code == Code::Invalid && keys.iter().any(|(kind, _)| kind.is_one_time()) => {
                keys.retain(|(kind, _)| kind.is_one_time());
            }
            Err(refusal) => return Err(refusal.into_error()),
        }
        engine
            .write(move |tx| {
                for (kind, id) in keys {
                    // It may have been used, and deleted, in the meantime.
                    if let Some(value) = tx.get(Table::Prekey, &key(kind, id))? {
                        let stored = Stored { published: true, ..Stored::decode(&value)? };
                        stored.save(tx, kind, id)?;
                    }
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// A few prekeys of each kind, and what is due of the others: for tests of other modules.
#[cfg(test)]
pub(crate) fn make_some(tx: &dyn Transaction, device: &kuvert_protocol::identity::DeviceSecrets, now: u64) {
    let counters: PrekeyStateRow = state::get(tx, Table::Own, own::PREKEYS).unwrap().unwrap_or_default();
    let few = if counters.last_one_time == 0 { 2 } else { 0 };
    let wanted = Wanted { one_time: few, kem: few };
    generate(tx, device, &wanted, now, now, &mut crate::rng::system_rng()).unwrap();
}

#[cfg(test)]
mod tests;
