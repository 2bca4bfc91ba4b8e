//! Making the report of an account while the relay serves.

use kuvert_types::AccountId;

use crate::shared::Shared;
use crate::store::{AccountBy, Cursor, StoreError};

/// Envelopes of a mailbox that are looked at in one go, and bytes of them.
const MAIL_PAGE: (usize, usize) = (1_000, 1 << 20);

/// Makes the report of an account: the bytes of a `Report` of the protocol.
///
/// # Errors
/// Those of the store.
pub async fn make(service: &Shared, account: AccountId) -> Result<Vec<u8>, StoreError> {
    let record = service.store.account(AccountBy::Id(account)).await?;
    let mut mail = Vec::new();
    for device in record.iter().flat_map(|record| &record.devices) {
        let mut after = Cursor::START;
        loop {
            let page = service.store.read(device.address, after, MAIL_PAGE.0, MAIL_PAGE.1).await?;
            mail.extend(page.envelopes.iter().map(|envelope| envelope.cursor));
            match page.envelopes.last() {
                Some(last) if page.more => after = last.cursor,
                _ => break,
            }
        }
    }
    service.rights.make_report(account, mail, service.clock.now_ms()).await
}
