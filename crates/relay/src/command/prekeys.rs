//! The prekey directory: PublishPrekeys, CountPrekeys, TakeBundles.
//!
//! The relay cannot check the signatures inside of prekeys (it has no code for it); the taker does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kuvert_types::limits::{MAX_DEVICES, MAX_ONE_TIME_PREKEYS, MAX_PREKEYS_PER_PUBLISH};
use kuvert_types::{AccountId, Address, DeviceId, Signature};
use kuvert_wire::checked::{self, FieldError, InField};
use kuvert_wire::v1;
use kuvert_wire::v1::server_frame::Body as Response;

use super::error::Code;
use super::{Answer, AuthenticatedDevice, CommandError, account};
use crate::incidents::Kind;
use crate::limits::{ONE_TIME_RESERVE, OneTime};
use crate::observe::Event;
use crate::store::{
    AccountBy, AccountRecord, Bundle, NewPrekeys, PublishPrekeysError, SignedKey, TakeBundleError, UnsignedKey,
};

/// Bytes of an X25519 public key.
const CURVE_KEY_BYTES: usize = 32;

/// Bytes of an ML-KEM-1024 public key.
const KEM_KEY_BYTES: usize = 1568;

/// Publishes prekeys of the caller.
///
/// # Errors
/// `MALFORMED`, `INVALID`; the answer can also be `PREKEY_REUSED`.
pub fn publish(caller: &AuthenticatedDevice, request: v1::PublishPrekeys) -> Result<Answer, CommandError> {
    let prekeys = check(request)?;
    let one_time = prekeys.one_time.len() + prekeys.one_time_kem.len();
    let published = caller.service.store.publish_prekeys(caller.device, prekeys);
    let (service, connection, device) = (Arc::clone(&caller.service), caller.connection, caller.device);
    Ok(Box::pin(async move {
        published.await.map_err(|error| match error {
            PublishPrekeysError::UnknownDevice => no_such_device(),
            PublishPrekeysError::Reused { id, .. } => CommandError::new(
                Code::PrekeyReused,
                format!("prekey {id} or a later one was published before; ids of a kind must rise"),
            ),
            PublishPrekeysError::TooMany { .. } => CommandError::new(
                Code::Invalid,
                format!(
                    "a device may have {MAX_ONE_TIME_PREKEYS} one-time prekeys of a kind; count them and send fewer"
                ),
            ),
            PublishPrekeysError::Store(error) => error.into(),
        })?;
        service.observe(Event::PrekeysPublished { connection, device, one_time });
        Ok(Response::Done(v1::Done {}))
    }))
}

/// Counts the caller's one-time prekeys.
///
/// # Errors
/// None beyond the store's.
pub fn count(caller: &AuthenticatedDevice, _: v1::CountPrekeys) -> Result<Answer, CommandError> {
    let counts = caller.service.store.count_prekeys(caller.device);
    caller.service.observe(Event::PrekeysCounted { connection: caller.connection, device: caller.device });
    Ok(Box::pin(async move {
        let counts = counts.await?;
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::PrekeyCounts(v1::PrekeyCounts {
            one_time: number(counts.one_time),
            one_time_kem: number(counts.one_time_kem),
        }))
    }))
}

/// Takes a bundle for each device of an account, or for those that are named.
///
/// # Errors
/// `MALFORMED`, `LIMITED`; the answer can also be `UNKNOWN_RECIPIENT` or `UNAVAILABLE`.
pub fn take(caller: &AuthenticatedDevice, request: v1::TakeBundles) -> Result<Answer, CommandError> {
    let wanted = AccountId::try_from(request.account.as_ref()).in_field("account")?;
    if request.devices.len() > MAX_DEVICES {
        return Err(CommandError::new(Code::Invalid, format!("an account has at most {MAX_DEVICES} devices")));
    }
    let devices: Vec<_> =
        request.devices.into_iter().map(DeviceId::new).collect::<Result<_, _>>().in_field("devices")?;
    limit(caller, devices.len().max(1))?;

    let caller = caller.clone();
    Ok(Box::pin(async move {
        let found = caller.service.store.account(AccountBy::Id(wanted)).await?;
        let record = found.ok_or_else(account::unknown)?;
        let chosen = choose(&record, &devices)?;
        if devices.is_empty() {
            limit(&caller, chosen.len().saturating_sub(1))?;
        }
        limit_pair(&caller, &wanted, chosen.len())?;
        let mut bundles = Vec::with_capacity(chosen.len());
        for device in chosen {
            bundles.extend(take_one(&caller, device).await?);
        }
        if bundles.is_empty() {
            return Err(CommandError::new(
                Code::Unavailable,
                "the recipient has registered and not published its keys yet; try again later",
            ));
        }
        Ok(Response::Bundles(v1::Bundles { device_list: record.device_list.bytes, bundles }))
    }))
}

/// So many bundles for the taker, of whatever account.
fn limit(caller: &AuthenticatedDevice, bundles: usize) -> Result<(), CommandError> {
    let taken = caller.service.limiter.bundles(&caller.device, u32::try_from(bundles).unwrap_or(u32::MAX));
    taken.map_err(|wait| refuse(caller, wait))
}

/// [KV-090] So many bundles of one account for the taker. Only for accounts that exist, and behind the taker's own limit: a pair
/// is remembered for each, and made-up accounts must not fill the memory.
fn limit_pair(caller: &AuthenticatedDevice, of: &AccountId, bundles: usize) -> Result<(), CommandError> {
    let count = u32::try_from(bundles).unwrap_or(u32::MAX);
    let taken = caller.service.limiter.bundles_of(&caller.device.account, of, count);
    taken.map_err(|wait| refuse(caller, wait))
}

fn refuse(caller: &AuthenticatedDevice, wait: Duration) -> CommandError {
    caller.service.incidents.note(caller.device.account, Kind::Bundles);
    CommandError::limited("prekey bundles", wait)
}

fn choose(record: &AccountRecord, wanted: &[DeviceId]) -> Result<Vec<Address>, CommandError> {
    let all = record.devices.iter().map(|device| device.address);
    if wanted.is_empty() {
        return Ok(all.collect());
    }
    let known: Vec<_> = all.filter(|address| wanted.contains(&address.device)).collect();
    if wanted.iter().all(|device| known.iter().any(|address| address.device == *device)) {
        Ok(known)
    } else {
        Err(no_such_device())
    }
}

/// A bundle, with one-time prekeys as far as [KV-090] grants them. `None` for a device that has not published anything yet.
async fn take_one(caller: &AuthenticatedDevice, device: Address) -> Result<Option<v1::PrekeyBundle>, CommandError> {
    let AuthenticatedDevice { service, .. } = caller;
    // The taker or others together may be draining them: what is left is kept, and first messages still go through.
    let taken = match service.limiter.one_time_prekeys(&caller.device.account, &device.account) {
        OneTime::All => service.store.take_bundle(device),
        OneTime::BeyondReserve => service.store.take_bundle_sparing(device, ONE_TIME_RESERVE),
        OneTime::None => service.store.last_resort_bundle(device),
    };
    match taken.await {
        Ok(bundle) => {
            let one_time = !bundle.kem_is_last_resort || bundle.one_time.is_some();
            let AuthenticatedDevice { service, device: by, connection } = caller;
            service.metrics.bundle_taken(one_time);
            service.observe(Event::BundleTaken { connection: *connection, by: *by, device, one_time });
            Ok(Some(to_wire(bundle)))
        }
        Err(TakeBundleError::NoPrekeys) => Ok(None),
        // It was there a moment ago.
        Err(TakeBundleError::UnknownDevice) => Err(no_such_device()),
        Err(TakeBundleError::Store(error)) => Err(error.into()),
    }
}

fn no_such_device() -> CommandError {
    CommandError::new(Code::UnknownRecipient, "the account has no such device; look the account up again")
}

fn check(request: v1::PublishPrekeys) -> Result<NewPrekeys, CommandError> {
    let most = request.one_time_prekeys.len().max(request.one_time_kem_prekeys.len());
    if most > MAX_PREKEYS_PER_PUBLISH {
        return Err(CommandError::new(
            Code::Invalid,
            format!("one command publishes at most {MAX_PREKEYS_PER_PUBLISH} one-time prekeys of a kind; send several"),
        ));
    }
    let kem = |key: v1::KemPrekey| signed::<KEM_KEY_BYTES>(key.id, key.public_key, key.signature);
    let one_time = |key: v1::OneTimePrekey| -> Result<_, FieldError> {
        checked::array::<CURVE_KEY_BYTES>(&key.public_key, "public_key")?;
        Ok(UnsignedKey { id: key.id, public_key: key.public_key })
    };
    Ok(NewPrekeys {
        signed: request
            .signed_prekey
            .map(|key| signed::<CURVE_KEY_BYTES>(key.id, key.public_key, key.signature))
            .transpose()?,
        last_resort_kem: request.last_resort_kem_prekey.map(kem).transpose()?,
        one_time: request.one_time_prekeys.into_iter().map(one_time).collect::<Result<_, _>>()?,
        one_time_kem: request.one_time_kem_prekeys.into_iter().map(kem).collect::<Result<_, _>>()?,
    })
}

fn signed<const LEN: usize>(id: u32, public_key: Bytes, signature: Bytes) -> Result<SignedKey, FieldError> {
    checked::array::<LEN>(&public_key, "public_key")?;
    checked::array::<{ Signature::LEN }>(&signature, "signature")?;
    Ok(SignedKey { id, public_key, signature })
}

fn to_wire(bundle: Bundle) -> v1::PrekeyBundle {
    let SignedKey { id, public_key, signature } = bundle.signed;
    let signed_prekey = Some(v1::SignedPrekey { id, public_key, signature });
    let SignedKey { id, public_key, signature } = bundle.kem;
    v1::PrekeyBundle {
        certificate: bundle.certificate,
        signed_prekey,
        kem_prekey: Some(v1::KemPrekey { id, public_key, signature }),
        kem_prekey_is_last_resort: bundle.kem_is_last_resort,
        one_time_prekey: bundle.one_time.map(|key| v1::OneTimePrekey { id: key.id, public_key: key.public_key }),
    }
}
