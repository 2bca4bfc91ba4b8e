//! What accounts have a right to, and what is kept about limits that were run into: `DATA/people.db`, apart from the mail. It
//! holds a few small rows, written seldom, one transaction each. An extension of the relay may have tables there, too
//! ([`schema::Tables`]). Every column has its entry in the registry ([`kuvert_privacy::registry`]).
//!
//! | module | holds |
//! |---|---|
//! | [`holds`] | what the law holds back |
//! | [`incidents`] | limits that accounts ran into |
//! | [`reports`] | reports that were asked for |
//! | [`rights`] | deleting what belongs to an account, and counting that |
//! | [`look`] | what there is, for `inspect` |
//! | [`schema`] | tables and versions |
//! | [`mod@column`] | columns to and from the types of the relay |

pub mod column;
pub mod holds;
pub mod incidents;
pub mod look;
pub mod reports;
pub mod rights;
pub mod schema;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kuvert_privacy::registry::Mismatch;
use kuvert_relay::store::{Pending, StoreError};
use kuvert_relay::whole_file;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use self::schema::{Opening, Tables};
use crate::store::store_error;

/// Name of the database within the data directory.
pub const PEOPLE_FILE: &str = "people.db";

/// Why the database cannot be opened. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// SQLite cannot read or write it.
    #[error("cannot open {}: {error}. Check its permissions and the disk, or restore it from a backup", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// The operating system refused.
    #[error("cannot open {}: {error}. Check its permissions and the disk", path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Not this program's, or by a later version of it.
    #[error("{} has format {found}, this program knows up to {}: use a newer program", path.display(), schema::VERSION)]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Written by an earlier version of this program, and only to be looked at.
    #[error(
        "{} has format {found}, this program reads {}: start this version's relay on it once",
        path.display(),
        schema::VERSION
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// An extension that this relay does not have left rows in it.
    #[error(
        "{} holds what accounts told at level L0, and this relay does not offer that level: serve the directory with \
         `kuvert-relay-lens serve`, or delete all of it with `kuvert-relay-lens withdraw`",
        path.display()
    )]
    Disclosures {
        /// The database.
        path: PathBuf,
    },
    /// Its columns are not those that the registry tells of.
    #[error("{}: {mismatch}", path.display())]
    Unregistered {
        /// The database.
        path: PathBuf,
        /// Which column.
        mismatch: Mismatch,
    },
}

/// The database, open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct People(Arc<Mutex<Connection>>);

impl People {
    /// Opens or creates `DATA/people.db`, to serve it with an extension's tables or without. Without, tables of an extension
    /// that are empty are dropped.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub fn open(data: &Path, extension: Option<&'static Tables>) -> Result<Self, PeopleError> {
        Self::open_for(data, Opening::Serve(extension))
    }

    /// Opens `DATA/people.db` beside a relay that may be running, to change rows of the relay's own.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub fn beside(data: &Path) -> Result<Self, PeopleError> {
        Self::open_for(data, Opening::Beside)
    }

    fn open_for(data: &Path, opening: Opening) -> Result<Self, PeopleError> {
        let path = data.join(PEOPLE_FILE);
        // SQLite gives its other files the mode of this one.
        let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map_err(|error| PeopleError::Io { path: path.clone(), error })?;
        let connection = schema::open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, opening)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// One that is kept in memory only, for tests and simulations.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub fn in_memory(extension: Option<&'static Tables>) -> Result<Self, PeopleError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = schema::open(Path::new(":memory:"), flags, Opening::Serve(extension))?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Opens the database of a relay that may be running, to look at. `None`: there is none.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub fn open_read_only(data: &Path) -> Result<Option<Self>, PeopleError> {
        let Some(people) = Self::open_unmigrated(data)? else { return Ok(None) };
        let path = data.join(PEOPLE_FILE);
        let found = schema::version(&people.0.lock().unwrap_or_else(PoisonError::into_inner));
        match found.map_err(|error| PeopleError::Database { path: path.clone(), error })? {
            found if found < schema::VERSION => Err(PeopleError::Older { path, found }),
            _ => Ok(Some(people)),
        }
    }

    /// The same, whatever version of this program wrote it: to be copied.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub fn open_unmigrated(data: &Path) -> Result<Option<Self>, PeopleError> {
        let path = data.join(PEOPLE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        schema::open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, Opening::Beside)
            .map(|connection| Some(Self(Arc::new(Mutex::new(connection)))))
    }

    /// Whether what accounts told at level L0 stands in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn holds_disclosures(&self) -> Result<bool, StoreError> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        schema::holds_disclosures(&connection).map_err(|error| store_error(&error))
    }

    /// Copies all of it, as it is at one moment, to the new file `to`, without what deletions left. `Ok`: the copy is on the
    /// disk.
    ///
    /// # Errors
    /// `to` exists or cannot be written, or this cannot be read.
    pub fn copy(&self, to: &Path) -> Result<(), PeopleError> {
        let io = |error| PeopleError::Io { path: to.to_owned(), error };
        let refuse = |error| PeopleError::Database { path: to.to_owned(), error };
        // SQLite fills an empty file without changing its mode.
        let file = whole_file::create_new(to, whole_file::PRIVATE).map_err(io)?;
        let name = to.to_str().ok_or_else(|| io(io::ErrorKind::InvalidFilename.into()))?;
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connection.execute("VACUUM INTO ?1", [name]).map_err(refuse)?;
        file.sync_all().map_err(io)
    }

    /// Runs `work` in one transaction, which is durable when this returns: all of it or nothing.
    ///
    /// # Errors
    /// What SQLite says, as the store says it.
    pub fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        // A panic in another holder rolled its transaction back.
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || {
            let behavior = if connection.is_readonly("main")? {
                TransactionBehavior::Deferred
            } else {
                TransactionBehavior::Immediate
            };
            let transaction = connection.transaction_with_behavior(behavior)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| store_error(&error))
    }

    /// [`transact`](Self::transact) for work that deletes, after which none of what it deleted stands in the file any more.
    ///
    /// # Errors
    /// Those of [`transact`](Self::transact). With an error, rows that are gone may have left bytes behind.
    pub fn erase<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let value = self.transact(work)?;
        // SQLite overwrites what is deleted, but not the copies that it left in a page when it moved rows between pages.
        // Writing the whole file anew leaves none. It is small, and this is seldom.
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connection.execute_batch("VACUUM").map_err(|error| store_error(&error))?;
        Ok(value)
    }

    /// [`transact`](Self::transact) where it may block. It is under way when this returns, and finishes even if the answer is
    /// not waited for. Within a tokio runtime.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T, StoreError> {
        self.blocking(move |people| people.transact(work))
    }

    /// [`erase`](Self::erase) where it may block. It is under way when this returns, and finishes even if the answer is not
    /// waited for. Within a tokio runtime.
    pub fn run_erasing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T, StoreError> {
        self.blocking(move |people| people.erase(work))
    }

    /// Work that may block.
    pub(crate) fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Pending<T, StoreError> {
        let (reply, pending) = Pending::channel();
        let people = self.clone();
        // If the work panics, that has been printed and rolled back, and the answer is that nothing is known. An error of
        // sending means that the answer is not waited for.
        drop(tokio::task::spawn_blocking(move || drop(reply.send(work(&people)))));
        pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_leaves_nothing_and_what_is_deleted_leaves_no_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let people = People::open(folder.path(), None).unwrap();
        let insert = "INSERT INTO hold VALUES(x'00', '+4915550000001', 1)";
        let failed = people.transact(|tx| {
            tx.execute(insert, [])?;
            tx.execute("SELECT nonsense", [])
        });
        assert!(failed.is_err());
        let count =
            |people: &People| people.transact(|tx| tx.query_row("SELECT count(*) FROM hold", [], |row| row.get(0)));
        assert_eq!(count(&people), Ok(0_i64));
        people.transact(|tx| tx.execute(insert, [])).unwrap();
        let bytes = || std::fs::read(folder.path().join(PEOPLE_FILE)).unwrap();
        let holds = |bytes: &[u8]| bytes.windows(14).any(|window| window == b"+4915550000001");
        assert!(holds(&bytes()));
        let look = People::open_read_only(folder.path()).unwrap().unwrap();
        assert_eq!(count(&look), Ok(1));
        assert!(look.transact(|tx| tx.execute("DELETE FROM hold", [])).is_err());
        people.transact(|tx| tx.execute("DELETE FROM hold", [])).unwrap();
        assert!(!holds(&bytes()));
    }

    #[test]
    fn somebody_elses_database_is_refused_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(People::open_read_only(folder.path()).unwrap().is_none());
        let path = folder.path().join(PEOPLE_FILE);
        drop(People::open(folder.path(), None).unwrap());
        Connection::open(&path).unwrap().execute_batch("ALTER TABLE hold ADD COLUMN shoe_size INTEGER").unwrap();
        assert!(matches!(People::open(folder.path(), None), Err(PeopleError::Unregistered { .. })));
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(matches!(People::open(folder.path(), None), Err(PeopleError::Newer { found: 99, .. })));
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
        assert!(matches!(People::open_read_only(folder.path()), Err(PeopleError::Older { found: 1, .. })));
        assert!(
            People::open_unmigrated(folder.path()).unwrap().is_some(),
            "a backup is made before a new version starts"
        );
        std::fs::write(&path, b"not a database, only text that somebody put there by mistake").unwrap();
        assert!(matches!(People::open(folder.path(), None), Err(PeopleError::Database { .. })));
    }
}
