//! Forgetting: what `--observe` wrote does not outlive an account, nor [`TRACE_DAYS`](kuvert_privacy::retention::TRACE_DAYS).

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use kuvert_relay::observe::{Event, Forgotten, Observer};
use kuvert_relay::store::StoreError;
use kuvert_relay_sqlite::store::store_error;

/// How long a reader may keep the relay waiting.
const BUSY: Duration = Duration::from_secs(5);

/// Sees nothing, and forgets what was seen when the relay still served with `--observe`.
#[derive(Clone, Debug)]
pub struct Past(PathBuf);

impl Past {
    /// The observations in this file, which exists.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn with(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<()>) -> Result<(), StoreError> {
        let run = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_with_flags(&self.0, flags)?;
            prepare(&connection)?;
            work(&mut connection)
        };
        run().map_err(|error| store_error(&error))
    }
}

impl Observer for Past {
    fn see(&self, _at: u64, _event: Event) {}

    fn forget(&self, account: &Forgotten) -> Result<(), StoreError> {
        self.with(|connection| forget(connection, account))
    }

    fn purge(&self, before: u64) -> Result<(), StoreError> {
        self.with(|connection| purge(connection, before))
    }
}

/// What a connection needs so that deleted bytes are overwritten.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "secure_delete", "ON")
}

/// Takes an account off the events.
pub(super) fn forget(connection: &mut Connection, who: &Forgotten) -> rusqlite::Result<()> {
    let account = who.account.to_string();
    // `account.device`, or the account alone.
    let is = |column: &str| format!("substr({column}, 1, {}) = ?1", account.len());
    let (device, other, source) = (is("device"), is("other"), is("source"));
    let transaction = connection.transaction()?;
    let run = |sql: &str| transaction.execute(sql, [&account]).map(drop);
    run(&format!(
        "UPDATE event SET ip = NULL, port = NULL
            WHERE connection IN (SELECT connection FROM event WHERE {device})"
    ))?;
    run(&format!("UPDATE event SET name = NULL, phone = NULL WHERE {device} AND other IS NULL"))?;
    run(&format!("UPDATE event SET other = NULL, name = NULL, phone = NULL WHERE {other}"))?;
    run(&format!("UPDATE event SET device = NULL WHERE {device}"))?;
    run(&format!("UPDATE event SET source = NULL WHERE {source}"))?;
    // Look-ups that found nobody.
    transaction.execute("UPDATE event SET name = NULL WHERE name = ?1", [&who.name])?;
    transaction.execute("UPDATE event SET phone = NULL WHERE phone = ?1", [&who.phone])?;
    transaction.commit()?;
    // secure_delete alone leaves copies in pages that were laid out anew; and the log keeps what it was told.
    connection.execute_batch("VACUUM")?;
    empty_log(connection)
}

/// Deletes events from before a time.
pub(super) fn purge(connection: &mut Connection, before: u64) -> rusqlite::Result<()> {
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let deleted = connection.execute("DELETE FROM event WHERE at < ?1", [before])?
        + connection.execute("DELETE FROM lost WHERE at < ?1", [before])?;
    if deleted > 0 { empty_log(connection) } else { Ok(()) }
}

fn empty_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId};

    use super::*;
    use crate::observe::database::Database;
    use kuvert_relay::observe::ConnectionNumber;

    const ALICE: AccountId = AccountId::from_bytes([1; 16]);
    const BOB: AccountId = AccountId::from_bytes([2; 16]);

    fn device(account: AccountId) -> Address {
        Address { account, device: DeviceId::PRIMARY }
    }

    /// Alice registers, is looked up by Bob and writes to him; time goes on by one with each event.
    fn conversation(database: &Database) {
        let [hers, his] = [7, 8].map(ConnectionNumber::new);
        let registered = |connection, account, name: &str, phone: &str| Event::Registered {
            connection,
            device: device(account),
            name: Some(name.into()),
            phone: Some(phone.into()),
        };
        let looked_up = |name: &str, account| Event::LookedUp {
            connection: his,
            by: device(BOB),
            name: Some(name.into()),
            account,
            found: account.is_some(),
        };
        let events = [
            Event::Connected { connection: hers, from: "192.0.2.1:5".parse().unwrap() },
            Event::Connected { connection: his, from: "192.0.2.2:6".parse().unwrap() },
            looked_up("alice", None),
            registered(hers, ALICE, "alice", "+4915550000001"),
            registered(his, BOB, "bob", "+4915550000002"),
            looked_up("alice", Some(ALICE)),
            Event::Submitted {
                connection: hers,
                by: Some(device(ALICE)),
                source: Some(device(ALICE)),
                recipient: device(BOB),
                id: EnvelopeId::from_bytes([9; 16]),
                size: 512,
                repeated: false,
            },
        ];
        for (at, event) in (0..).zip(events) {
            database.see(at, event);
        }
    }

    fn forgotten() -> Forgotten {
        Forgotten { account: ALICE, name: Some("alice".into()), phone: Some("+4915550000001".into()) }
    }

    fn holds(folder: &Path, text: &str) -> bool {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    fn count(path: &Path, condition: &str) -> i64 {
        let connection = Connection::open(path).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM event WHERE {condition}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_was_seen_stays_and_names_the_account_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("observe.db");
        let database = Database::open(&path).unwrap();
        conversation(&database);
        database.forget(&forgotten()).unwrap();
        for trace in [&ALICE.to_string(), "alice", "+4915550000001", "192.0.2.1"] {
            assert!(!holds(folder.path(), trace), "{trace}, while the relay runs");
        }
        assert!(holds(folder.path(), &BOB.to_string()) && holds(folder.path(), "192.0.2.2"));
        assert_eq!(count(&path, "true"), 7);
        assert_eq!(count(&path, &format!("kind = 'submitted' AND device IS NULL AND other = '{}'", device(BOB))), 1);
        database.close();
        assert!(database.forget(&forgotten()).is_err(), "what cannot be done is not said to be done");
    }

    #[test]
    fn the_past_is_forgotten_when_nothing_is_observed_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("observe.db");
        let database = Database::open(&path).unwrap();
        conversation(&database);
        database.close();
        let past = Past::new(path.clone());
        past.see(9, Event::Expired { count: 1 });
        past.purge(3).unwrap();
        assert_eq!(count(&path, "true"), 4, "those at 3, 4, 5 and 6");
        past.forget(&forgotten()).unwrap();
        assert!(!holds(folder.path(), &ALICE.to_string()));
        past.purge(u64::MAX).unwrap();
        assert_eq!(count(&path, "true"), 0);
        assert!(Past::new(folder.path().join("nowhere.db")).forget(&forgotten()).is_err());
    }
}
