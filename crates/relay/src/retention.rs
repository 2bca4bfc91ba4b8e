//! Deletes what nobody fetched in time, in slices, so that submits get their turn in between; and what else has its time:
//! observations, incidents, reports.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::mailbox::{MS_PER_DAY, accepted_before};
use crate::observe::Event;
use crate::people::{incidents, reports};
use crate::service::Service;
use crate::store::{StoreError, Unavailable};

/// How often expired mail is looked for: a minute is nothing against days.
const EVERY: Duration = Duration::from_secs(60);

/// Days that traces of what happened are kept: incidents, and what `--observe` writes. The hard bound of a deletion.
pub const TRACE_DAYS: u32 = 90;

/// How often traces that are too old are looked for, in times of [`EVERY`]: an hour.
const TIDY_EVERY: u32 = 60;

/// Envelopes deleted in one step of the store's writer: some milliseconds.
pub const SLICE: usize = 1_000;

/// Deletes all that is expired by the relay's clock, and says how many envelopes that were.
///
/// # Errors
/// Those of the store. What was deleted before stays deleted.
pub async fn expire(service: &Service, retention_days: u32) -> Result<u64, StoreError> {
    let mut total = 0;
    loop {
        let older_than = accepted_before(service.clock.now_ms(), retention_days);
        let count = service.store.expire(older_than, SLICE).await?;
        total += count;
        if count < SLICE as u64 {
            break;
        }
    }
    if total > 0 {
        service.observe(Event::Expired { count: total });
        tracing::info!(count = total, "envelopes expired");
        service.store.checkpoint().await?;
    }
    Ok(total)
}

/// Writes down the limits that accounts ran into.
///
/// # Errors
/// Those of the store. They are forgotten then: no service depends on them.
pub async fn write_incidents(service: &Service) -> Result<(), StoreError> {
    let (incidents, now) = (service.incidents.take(), service.clock.now_ms());
    if incidents.is_empty() {
        return Ok(());
    }
    service.people.run(move |tx| incidents::write(tx, now, &incidents)).await
}

/// Deletes traces and reports that are too old by the relay's clock.
///
/// # Errors
/// Those of the store. What was deleted before stays deleted.
pub async fn tidy(service: &Service) -> Result<(), StoreError> {
    let now = service.clock.now_ms();
    let before = now.saturating_sub(u64::from(TRACE_DAYS) * MS_PER_DAY);
    service
        .people
        .run(move |tx| {
            incidents::purge(tx, before)?;
            reports::purge(tx, now)
        })
        .await?;
    let observer = Arc::clone(&service.observer);
    let purged = tokio::task::spawn_blocking(move || observer.purge(before)).await;
    // The other error is that it panicked, which has been printed.
    purged.unwrap_or_else(|error| Err(Unavailable::Io(error.to_string()).into()))
}

/// Expires from time to time, and forgets what limits need not remember, until the relay stops.
pub async fn run(service: Arc<Service>, retention_days: u32) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = service.stopped();
    tokio::pin!(stopped);
    let mut since_tidy = 0;
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        service.limiter.tidy();
        if let Err(error) = write_incidents(&service).await {
            tracing::warn!(error = crate::logging::kind(&error), "incidents could not be written");
        }
        since_tidy += 1;
        if since_tidy >= TIDY_EVERY {
            since_tidy = 0;
            if let Err(error) = tidy(&service).await {
                tracing::warn!(
                    error = crate::logging::kind(&error),
                    "old traces could not be deleted; trying again in an hour"
                );
            }
        }
        if let Err(error) = expire(&service, retention_days).await {
            tracing::warn!(
                error = crate::logging::kind(&error),
                "expired envelopes could not be deleted; trying again in a minute"
            );
        }
    }
}
