//! Deleting an account: its rows in every database at once, its connections, and nothing of what it sent.
//!
//! Three things are left (M-32), and each can be seen: how many accounts were deleted on a day; the limits that were run
//! into, without whom, for [`TRACE_DAYS`](kuvert_privacy::retention::TRACE_DAYS); and, under a legal hold, the account's report.
//!
//! The account itself goes last. Whatever fails before leaves an account that can ask again.

use std::sync::Arc;

use kuvert_types::AccountId;

use crate::blobs::store::BlobError;
use crate::observe::Forgotten;
use crate::others::Word;
use crate::report;
use crate::retention;
use crate::shared::Shared;
use crate::store::{AccountBy, StoreError, Unavailable};

/// Deletes an account. `Ok` is durable. An account that is not there is no error.
///
/// # Errors
/// Those of the stores. The account is there still, maybe without some of what belongs to it.
pub async fn delete(service: &Arc<Shared>, account: AccountId) -> Result<(), StoreError> {
    let record = service.store.account(AccountBy::Id(account)).await?;
    let forgotten = Forgotten {
        account,
        name: record.as_ref().and_then(|record| record.name.clone()),
        phone: record.and_then(|record| record.phone),
    };
    let now = service.clock.now_ms();
    let held = if service.rights.is_held(account).await? { Some(report::make(service, account).await?) } else { None };
    service.rights.erase(account, held, now).await?;
    // The report is kept by now: what it tells of the extension's rows is in it.
    if let Some(extension) = &service.extension {
        extension.erase(account).await?;
    }
    // Before the account goes, so that it is tried again if it fails.
    forget(service, &forgotten).await?;
    // Without its files no reader has anything of it left to fetch.
    if let Some(blobs) = &service.blobs {
        let erased = blobs.store.delete_account(account).await;
        erased.map_err(|error| match error {
            BlobError::Store(error) => error,
            other => Unavailable::Io(other.to_string()).into(),
        })?;
    }
    if service.store.delete_account(account).await? {
        service.rights.count_deletion(now).await?;
    }
    service.presence.end(&account);
    service.forget(&account);
    service.tell_others(&Word::Gone(account));
    retention::save_limits(service).await;
    // And what was seen meanwhile.
    forget(service, &forgotten).await
}

async fn forget(service: &Shared, forgotten: &Forgotten) -> Result<(), StoreError> {
    let (observer, forgotten) = (Arc::clone(&service.observer), forgotten.clone());
    let done = tokio::task::spawn_blocking(move || observer.forget(&forgotten)).await;
    // The other error is that it panicked, which has been printed.
    done.unwrap_or_else(|error| Err(Unavailable::Io(error.to_string()).into()))
}
