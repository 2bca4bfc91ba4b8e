//! Deletes what nobody fetched in time, in slices, so that submits get their turn in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::mailbox::accepted_before;
use crate::observe::Event;
use crate::service::Service;
use crate::store::StoreError;

/// How often expired mail is looked for: a minute is nothing against days.
const EVERY: Duration = Duration::from_secs(60);

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

/// Expires from time to time, and forgets what limits need not remember, until the relay stops.
pub async fn run(service: Arc<Service>, retention_days: u32) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = service.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        service.limiter.tidy();
        if let Err(error) = expire(&service, retention_days).await {
            tracing::warn!(
                error = crate::logging::kind(&error),
                "expired envelopes could not be deleted; trying again in a minute"
            );
        }
    }
}
