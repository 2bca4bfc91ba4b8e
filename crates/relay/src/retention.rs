//! Deletes what was not fetched in time, in slices, so that submits get their turn in between; and what else has its time:
//! observations, incidents, reports.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kuvert_privacy::retention::TRACE_DAYS;
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use crate::blobs::store::{BlobError, Collected, Expired};
use crate::mailbox::{MS_PER_DAY, accepted_before};
use crate::observe::Event;
use crate::shared::Shared;
use crate::store::{Store, StoreError, Unavailable};
use crate::young;

/// How often expired mail is looked for: a minute is nothing against days.
const EVERY: Duration = Duration::from_secs(60);

/// How often traces that are too old are looked for, in times of [`EVERY`]: an hour.
const PRUNE_EVERY: u32 = 60;

/// How long an upload may take: what is not complete then is deleted.
const UPLOAD: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a slice should take, with the submits that it waits for: others wait for it in turn.
const SLICE_TIME: Duration = Duration::from_millis(40);

/// Envelopes of a slice: begun small, then as many as fit into [`SLICE_TIME`]. Larger slices are cheaper, because the counts
/// of many mailboxes lie in the same pages; fewer would not help where it is the submits before that take long.
const SLICE: RangeInclusive<usize> = 2_000..=8_000;

/// How far back each minute is looked for accounts that registered at other relays: further than their word could be late, and than
/// clocks are apart.
const REGISTERED_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Learns who registered so lately.
///
/// # Errors
/// Those of the store.
pub async fn look_for_young(service: &Shared, lately: Duration) -> Result<(), StoreError> {
    let since = service.clock.now_ms().saturating_sub(young::millis(lately));
    for (account, at) in service.store.registered_since(since).await? {
        service.young.registered(account, at);
    }
    Ok(())
}

/// Deletes all that is expired by the relay's clock, and says how many envelopes that were.
///
/// # Errors
/// Those of the store. What was deleted before stays deleted.
pub async fn expire(service: &Shared, retention_days: u32) -> Result<u64, StoreError> {
    let older_than = accepted_before(service.clock.now_ms(), retention_days);
    let total = expire_in_slices(&*service.store, older_than).await?;
    if total > 0 {
        service.metrics.expired(total);
        service.observe(Event::Expired { count: total });
        tracing::info!(count = total, "envelopes expired");
        service.store.checkpoint().await?;
    }
    Ok(total)
}

/// Deletes everything accepted before `older_than` (Unix milliseconds), and says how many envelopes that were. After each
/// slice it rests for a while, so that however much has expired, submits keep most of their rate.
///
/// # Errors
/// As [`expire`].
pub async fn expire_in_slices(store: &dyn Store, older_than: u64) -> Result<u64, StoreError> {
    let mut total = 0;
    let mut budget = *SLICE.start();
    loop {
        let begun = Instant::now();
        let count = store.expire(older_than, budget).await?;
        total += count;
        if count < budget as u64 {
            return Ok(total);
        }
        let took = begun.elapsed();
        budget = fitting(budget, took);
        sleep(took / 2).await;
    }
}

/// How many envelopes the next slice should have when `budget` took this long: at most twice as many.
fn fitting(budget: usize, took: Duration) -> usize {
    let factor = SLICE_TIME.as_secs_f64() / took.as_secs_f64().max(1e-6);
    ((budget as f64 * factor.min(2.0)) as usize).clamp(*SLICE.start(), *SLICE.end())
}

/// Writes down the limits that accounts ran into.
///
/// # Errors
/// Those of the store. They are forgotten then: no service depends on them.
pub async fn write_incidents(service: &Shared) -> Result<(), StoreError> {
    let (incidents, now) = (service.incidents.take(), service.clock.now_ms());
    if incidents.is_empty() {
        return Ok(());
    }
    service.rights.note_incidents(now, incidents).await
}

/// Writes down the limits that outlast a restart. What cannot be written is said in the log: no service depends on it.
pub async fn save_limits(service: &Arc<Shared>) {
    let service = Arc::clone(service);
    let saved = tokio::task::spawn_blocking(move || {
        service.saved_limits.write(&service.limiter, &service.young, service.clock.now_ms())
    });
    // The other error is that it panicked, which has been printed.
    if let Ok(Err(error)) = saved.await {
        tracing::warn!(%error, "limits could not be written: after a restart they begin anew");
    }
}

/// Tells the store how far the relay's time has come. What cannot be told is told next time.
pub async fn note_time(service: &Shared) {
    if let Err(error) = service.store.note_time(service.clock.known()).await {
        tracing::debug!(error = error.kind(), "the time could not be noted");
    }
}

/// Where the clock turned out to be wrong: mail that it stamped later than now is stamped with now, so that it is kept as
/// long as any other. Says how many envelopes that were.
///
/// # Errors
/// Those of the store. It is done with the next try.
pub async fn restamp(service: &Shared) -> Result<u64, StoreError> {
    if !service.clock.must_restamp() {
        return Ok(0);
    }
    let count = service.store.restamp(service.clock.now_ms()).await?;
    service.clock.restamped();
    if count > 0 {
        tracing::warn!(count, "mail that was accepted under a clock that was ahead expires by the right one");
    }
    Ok(count)
}

/// Deletes traces and reports that are too old by the relay's clock.
///
/// # Errors
/// Those of the store. What was deleted before stays deleted.
pub async fn prune(service: &Shared) -> Result<(), StoreError> {
    let now = service.clock.now_ms();
    let before = now.saturating_sub(u64::from(TRACE_DAYS) * MS_PER_DAY);
    service.rights.purge(before, now).await?;
    let observer = Arc::clone(&service.observer);
    let purged = tokio::task::spawn_blocking(move || observer.purge(before)).await;
    // The other error is that it panicked, which has been printed.
    purged.unwrap_or_else(|error| Err(Unavailable::Io(error.to_string()).into()))
}

/// Erases files that were not fetched in time, and uploads that were not completed.
///
/// # Errors
/// Those of the store. What was erased before stays erased.
pub async fn expire_blobs(service: &Shared, retention_days: u32) -> Result<(), StoreError> {
    let Some(blobs) = &service.blobs else { return Ok(()) };
    let now = service.clock.now_ms();
    let uploads_before = now.saturating_sub(young::millis(UPLOAD));
    let expired = blobs.store.expire(uploads_before, accepted_before(now, retention_days)).await;
    let Expired { uploads, blobs } = expired.map_err(store_error)?;
    if uploads > 0 || blobs > 0 {
        service.metrics.blobs_expired(uploads + blobs);
        service.observe(Event::BlobsExpired { count: uploads + blobs });
        tracing::info!(count = uploads + blobs, "files expired");
    }
    Ok(())
}

/// Puts right what an interruption left of files.
///
/// # Errors
/// Those of the store.
pub async fn collect_blobs(service: &Shared) -> Result<(), StoreError> {
    let Some(blobs) = &service.blobs else { return Ok(()) };
    let Collected { files, rows } = blobs.store.collect().await.map_err(store_error)?;
    if files > 0 {
        tracing::info!(count = files, "removed what was left of files that were being deleted");
    }
    if rows > 0 {
        tracing::warn!(
            count = rows,
            "files of people are not on the disk any more: it is damaged, or they were not restored"
        );
    }
    Ok(())
}

/// Those that these operations have.
fn store_error(error: BlobError) -> StoreError {
    match error {
        BlobError::Store(error) => error,
        other => Unavailable::Io(other.to_string()).into(),
    }
}

/// Deletes what has had its time at the extension, and says how many rows.
///
/// # Errors
/// Those of the store.
pub async fn prune_extension(service: &Shared) -> Result<usize, StoreError> {
    match &service.extension {
        Some(extension) => extension.prune(service.clock.now_ms()).await,
        None => Ok(0),
    }
}

/// Expires each minute, and forgets what limits need not remember, until the relay stops.
pub async fn run(service: Arc<Shared>, retention_days: u32) {
    // The start has just looked.
    let mut ticks = interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = service.stopped();
    tokio::pin!(stopped);
    let mut since_pruned = 0;
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        service.limiter.prune();
        service.young.prune(service.clock.now_ms());
        if let Err(error) = service.slots.expire(service.clock.now_ms()).await {
            tracing::warn!(%error, "slots whose time is over could not be deleted; trying again in a minute");
        }
        if service.others.is_some()
            && let Err(error) = look_for_young(&service, REGISTERED_AGAIN).await
        {
            tracing::debug!(error = error.kind(), "who registered at other relays could not be read");
        }
        save_limits(&service).await;
        if let Err(error) = prune_extension(&service).await {
            let error = error.kind();
            tracing::warn!(error, "old rows of the extension could not be deleted; trying again in a minute");
        }
        if let Err(error) = write_incidents(&service).await {
            tracing::warn!(error = error.kind(), "incidents could not be written");
        }
        if let Err(error) = restamp(&service).await {
            tracing::warn!(error = error.kind(), "mail keeps the wrong time for now; trying again in a minute");
        }
        since_pruned += 1;
        if since_pruned >= PRUNE_EVERY {
            since_pruned = 0;
            note_time(&service).await;
            if let Err(error) = collect_blobs(&service).await {
                tracing::warn!(error = error.kind(), "files could not be looked through; trying again in an hour");
            }
            if let Err(error) = prune(&service).await {
                tracing::warn!(error = error.kind(), "old traces could not be deleted; trying again in an hour");
            }
        }
        if let Err(error) = expire_blobs(&service, retention_days).await {
            tracing::warn!(error = error.kind(), "expired files could not be deleted; trying again in a minute");
        }
        if let Err(error) = expire(&service, retention_days).await {
            tracing::warn!(error = error.kind(), "expired envelopes could not be deleted; trying again in a minute");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_while_they_are_quick_and_shrink_when_they_are_slow() {
        assert_eq!(fitting(2_000, Duration::ZERO), 4_000);
        assert_eq!(fitting(4_000, SLICE_TIME), 4_000);
        assert_eq!(fitting(8_000, SLICE_TIME * 2), 4_000);
        assert_eq!(fitting(8_000, Duration::ZERO), 8_000);
        assert_eq!(fitting(8_000, Duration::from_secs(60)), 2_000);
    }
}
