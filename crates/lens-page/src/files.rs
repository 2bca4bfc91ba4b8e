//! A relay's data directory, read from outside, also while the relay runs.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kuvert_relay::admin::KnownAccount;
use kuvert_relay::blobs::store::BlobGauges;
use kuvert_relay::mailbox::expires_at;
use kuvert_relay::store::{Cursor, StoreError};
use kuvert_relay_lens::look::Rights;
use kuvert_relay_lens::observe::RecordError;
use kuvert_relay_lens::observe::{Observed, Record};
use kuvert_relay_sqlite::OBSERVE_FILE;
use kuvert_relay_sqlite::blobs::look::{self, KnownBlob};
use kuvert_relay_sqlite::blobs::{BLOBS_FILE, BlobsError};
use kuvert_relay_sqlite::people::PEOPLE_FILE;
use kuvert_relay_sqlite::serving::{last_demonstration, last_region, last_retention};
use kuvert_relay_sqlite::store::{DATABASE_FILE, Inspector, OpenError};
use kuvert_types::limits::MAX_RETENTION_DAYS;

use crate::told::{self, Holder, ToldError};

/// Waiting envelopes that are shown one by one; the sums are over all.
pub const SHOWN_WAITING: usize = 200;

/// Bytes of a waiting envelope that are shown.
const FIRST_BYTES: u32 = 48;

/// The newest events that are looked at.
pub const EVENTS: usize = 200_000;

/// The relay's files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory is another user's: what it says is that user's to show, and its files are that user's to choose.
    #[error("{} belongs to another user of this machine: run this as that user, with `sudo -u`", .0.display())]
    Owner(PathBuf),
    /// The database cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What people told cannot be read.
    #[error("{0}")]
    Told(#[from] ToldError),
    /// What it has of files cannot be read.
    #[error("{0}")]
    Blobs(#[from] BlobsError),
    /// The observations cannot be read.
    #[error("{0}")]
    Record(#[from] RecordError),
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Files {
    data: PathBuf,
}

/// What stands in the files at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In the order of registration.
    pub accounts: Vec<KnownAccount>,
    /// What accounts told beyond what mail needs.
    pub told: Vec<Holder>,
    /// What was agreed to, shared and asked for.
    pub rights: Rights,
    /// Whether the relay ran the demonstration of sharing.
    pub demonstration: bool,
    /// All waiting envelopes.
    pub waiting_count: u64,
    /// Their ciphertext's bytes.
    pub waiting_bytes: u64,
    /// The first [`SHOWN_WAITING`] of them.
    pub waiting: Vec<Waiting>,
    /// How many files wait.
    pub blobs: BlobGauges,
    /// The first [`SHOWN_WAITING`] of them.
    pub files: Vec<KnownBlob>,
    /// Days after which undelivered mail is deleted.
    pub retention_days: u32,
    /// Where the relay stands, by its operator's label.
    pub region: Option<String>,
    /// Whether the relay ran with `--observe` at all.
    pub observed: bool,
    /// What it saw then: the newest [`EVENTS`].
    pub events: Vec<Observed>,
}

/// A waiting envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// As the sender drew it.
    pub id: String,
    /// `account.device`
    pub recipient: String,
    /// `account.device`, if the sender told.
    pub sender: Option<String>,
    /// Bytes of ciphertext.
    pub size: u64,
    /// Unix milliseconds.
    pub accepted_at: u64,
    /// Unix milliseconds.
    pub expires_at: u64,
    /// How the ciphertext begins.
    pub first_bytes: Vec<u8>,
}

impl Files {
    /// The files in this directory.
    ///
    /// # Errors
    /// There is no relay's database in it, or it belongs to another user. The superuser reads what others own: an operator looks
    /// at a service's directory so.
    pub fn open(data: &Path) -> Result<Self, FilesError> {
        let owner = data.metadata().ok().map(|metadata| metadata.uid());
        if !owner.is_none_or(|owner| may_read(owner, rustix::process::geteuid().as_raw())) {
            return Err(FilesError::Owner(data.to_owned()));
        }
        Inspector::open(data)?;
        Ok(Self { data: data.to_owned() })
    }

    /// Reads everything.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub fn read(&self) -> Result<Snapshot, FilesError> {
        let inspector = Inspector::open(&self.data)?;
        let totals = inspector.stats()?;
        let retention_days = last_retention(&self.data).unwrap_or(MAX_RETENTION_DAYS);
        let mut waiting = Vec::new();
        for envelope in inspector.waiting(Cursor::START, SHOWN_WAITING)? {
            // Fetched in the meantime: it waits no more.
            let Some(first_bytes) = inspector.first_bytes(envelope.cursor, FIRST_BYTES)? else { continue };
            waiting.push(Waiting {
                id: envelope.id.to_string(),
                recipient: envelope.recipient.to_string(),
                sender: envelope.sender.map(|sender| sender.to_string()),
                size: envelope.size,
                accepted_at: envelope.accepted_at,
                expires_at: expires_at(envelope.accepted_at, retention_days),
                first_bytes,
            });
        }
        let observations = self.data.join(OBSERVE_FILE);
        let observed = observations.exists();
        let accounts = inspector.accounts()?;
        let (told, rights) = told::read(&self.data, &accounts)?;
        Ok(Snapshot {
            told,
            rights,
            demonstration: last_demonstration(&self.data),
            accounts,
            waiting_count: totals.waiting,
            waiting_bytes: totals.waiting_bytes,
            waiting,
            blobs: look::gauges(&self.data)?,
            files: look::oldest(&self.data, SHOWN_WAITING)?,
            retention_days,
            region: last_region(&self.data),
            observed,
            events: if observed { Record::open(&observations)?.newest(EVENTS)? } else { Vec::new() },
        })
    }

    /// Changes whenever the files are written to.
    pub fn version(&self) -> Vec<Option<(SystemTime, u64)>> {
        let files = [DATABASE_FILE, OBSERVE_FILE, PEOPLE_FILE, BLOBS_FILE];
        let names = files.iter().flat_map(|file| [(*file).to_owned(), format!("{file}-wal")]);
        let stamp = |name: String| {
            let metadata = std::fs::metadata(self.data.join(name)).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        names.map(stamp).collect()
    }
}

/// Whether a user may be shown a directory of an owner's.
fn may_read(owner: u32, user: u32) -> bool {
    owner == user || user == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_user_is_read_by_the_superuser_only() {
        assert!(may_read(1000, 1000) && may_read(1000, 0) && may_read(0, 0));
        assert!(!may_read(0, 1000) && !may_read(1000, 1001));
    }

    #[test]
    fn opening_asks_who_owns_the_directory() {
        // The root of the file system is the superuser's on every machine, and holds no relay.
        let refused = Files::open(Path::new("/")).unwrap_err();
        let superuser = rustix::process::geteuid().is_root();
        assert_eq!(matches!(refused, FilesError::Owner(_)), !superuser, "{refused}");
    }
}
