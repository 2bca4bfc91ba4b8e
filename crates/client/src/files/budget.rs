//! How much of what contacts send is fetched in a day without being asked for: a contact, or all of them, must not fill the disk. What is beyond stays
//! at the relay until it is asked for, or until the next day. The first file of a day passes whatever its size: the caller's bound is on that.

use super::{Error, MessageRef, Transaction, Tx, state};
use crate::state::{FetchRow, FetchedRow, file_key, own};
use crate::store::Table;

/// Bytes of one contact's files.
const MAX_OF_CONTACT: u64 = 256 * 1024 * 1024;

/// Bytes of all contacts' files.
const MAX_OF_ALL: u64 = 1024 * 1024 * 1024;

/// What a file counts as at least: it has a name, and a place on the disk.
const LEAST: u64 = 4 * 1024;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Whether a file may be fetched by itself now. One that is here already, or whose relay is only to be told so, may.
pub(super) fn has_room(tx: &Tx<'_>, message: MessageRef, number: u8) -> Result<bool, Error> {
    let Some(row) = state::get::<FetchRow>(tx, Table::Fetch, &file_key(&message, number))? else { return Ok(true) };
    if row.done {
        return Ok(true);
    }
    let today = tx.now() / DAY_MS;
    for (key, most) in counts(&message) {
        if !fits(used(tx, &key, today)?, row.size, most) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Counts a file that was fetched by itself.
pub(super) fn charge(tx: &Tx<'_>, message: &MessageRef, bytes: u64) -> Result<(), Error> {
    let day = tx.now() / DAY_MS;
    for (key, _) in counts(message) {
        let bytes = used(tx, &key, day)?.saturating_add(bytes.max(LEAST));
        state::put(tx, Table::Own, &key, &FetchedRow { day, bytes })?;
    }
    Ok(())
}

/// What is counted for a message's files, and how much each may be.
fn counts(message: &MessageRef) -> [(Vec<u8>, u64); 2] {
    let of_contact = [own::FETCHED, message.author.as_bytes()].concat();
    [(of_contact, MAX_OF_CONTACT), (own::FETCHED.to_vec(), MAX_OF_ALL)]
}

fn used(tx: &dyn Transaction, key: &[u8], today: u64) -> Result<u64, Error> {
    let row = state::get::<FetchedRow>(tx, Table::Own, key)?.unwrap_or_default();
    Ok(if row.day == today { row.bytes } else { 0 })
}

const fn fits(used: u64, size: u64, most: u64) -> bool {
    used == 0 || used.saturating_add(if size > LEAST { size } else { LEAST }) <= most
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use kuvert_types::{AccountId, EnvelopeId};

    use super::*;
    use crate::conversation::ConversationId;
    use crate::engine::Engine;
    use crate::home::Home;
    use crate::options::{Clock, Options};
    use crate::store::memory::MemoryStore;

    #[derive(Debug)]
    struct Hands(Arc<AtomicU64>);

    impl Clock for Hands {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_contact_has_so_much_in_a_day_and_all_have_so_much() {
        const DAY: u64 = 20_000;
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(&folder.path().join("home"), None).unwrap();
        let now = Arc::new(AtomicU64::new(DAY * DAY_MS));
        let options = Options { clock: Arc::new(Hands(Arc::clone(&now))), ..Options::default() };
        let engine = Engine::new(home, Box::new(MemoryStore::new()), options, None);
        let of = |account: u8| {
            let account = AccountId::from_bytes([account; 16]);
            MessageRef {
                conversation: ConversationId::Contact(account),
                author: account,
                id: EnvelopeId::from_bytes([9; 16]),
            }
        };
        let asked = |account, size| {
            engine.write(move |tx| {
                let message = of(account);
                state::put(tx, Table::Fetch, &file_key(&message, 1), &FetchRow { size, ..FetchRow::default() })?;
                has_room(tx, message, 1)
            })
        };
        let fetched = |account, size| engine.write(move |tx| charge(tx, &of(account), size));
        assert!(asked(1, MAX_OF_CONTACT).await.unwrap());
        fetched(1, MAX_OF_CONTACT - LEAST).await.unwrap();
        assert!(asked(1, LEAST).await.unwrap() && !asked(1, LEAST + 1).await.unwrap());
        assert!(asked(2, MAX_OF_CONTACT).await.unwrap(), "another contact has its own");
        for account in 2..=4 {
            fetched(account, MAX_OF_CONTACT).await.unwrap();
        }
        assert!(!asked(5, 2 * LEAST).await.unwrap(), "and all have so much together");
        now.fetch_add(DAY_MS, Ordering::SeqCst);
        assert!(asked(1, MAX_OF_CONTACT).await.unwrap(), "the next day");
        let done = engine.write(move |tx| {
            let row = FetchRow { size: u64::MAX, done: true, ..FetchRow::default() };
            state::put(tx, Table::Fetch, &file_key(&of(1), 1), &row)?;
            charge(tx, &of(1), u64::MAX)?;
            has_room(tx, of(1), 1)
        });
        assert!(done.await.unwrap(), "the relay is told of one that is here");
    }

    #[test]
    fn the_first_file_passes_and_no_other_goes_beyond() {
        assert!(fits(0, 2 * MAX_OF_CONTACT, MAX_OF_CONTACT));
        assert!(fits(MAX_OF_CONTACT - 10_000, 10_000, MAX_OF_CONTACT));
        assert!(!fits(MAX_OF_CONTACT - 10_000, 10_001, MAX_OF_CONTACT));
        assert!(!fits(MAX_OF_CONTACT - 10, 0, MAX_OF_CONTACT), "files of no bytes are not free");
        assert!(!fits(u64::MAX, 1, MAX_OF_CONTACT));
    }
}
