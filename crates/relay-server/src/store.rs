//! Where a relay keeps what it has: its data directory, or PostgreSQL. Its key and its limits stay in the directory either way.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use kuvert_relay::admin::{Admin, BackupMade, Invitation, KnownAccount, KnownBlob, Rights, WaitingEnvelope};
use kuvert_relay::blobs::store::BlobGauges;
use kuvert_relay::clock::Clock;
use kuvert_relay::config::Config;
use kuvert_relay::relay::RunningRelay;
use kuvert_relay::store::{Cursor, InvitationHash, NewInvitation, Stats};
use kuvert_relay_sqlite::blobs::look;
use kuvert_relay_sqlite::{OpenError, SqliteAdmin};
use kuvert_types::AccountId;

use crate::args::Place;
use crate::failure::Failure;
use crate::say;
use crate::serve::default_data;

/// The file whose lock keeps a second relay out of a directory: the embedded store's, too.
const LOCK_FILE: &str = "relay.lock";

/// The embedded store's file.
const EMBEDDED_FILE: &str = "relay.db";

/// What others than a directory's owner must not have: the right to write there.
const OTHERS_WRITE: u32 = 0o022;

/// A directory that no other relay uses, for as long as this is there.
#[derive(Debug)]
pub struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // By its own word, not with its descriptor: a child that another thread is starting has a copy of that one for a moment. One
        // that is closed lets go of it in any case.
        let _ = self.0.unlock();
    }
}

/// The directory of a relay whose store is elsewhere: made if it is not there, and held.
///
/// # Errors
/// It cannot be used, another relay uses it, or it holds an embedded store.
pub fn hold(directory: &Path) -> Result<Held, Failure> {
    let io = |error| OpenError::Io { path: directory.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
    if directory.metadata().map_err(io)?.mode() & OTHERS_WRITE != 0 {
        return Err(Failure::new(
            "data-permissions",
            format!("{} can be written by other users: run `chmod 700` on it", directory.display()),
        ));
    }
    if directory.join(EMBEDDED_FILE).exists() {
        return Err(Failure::usage(
            "data-embedded",
            format!(
                "{} holds accounts and mail of its own, which a relay on another store would leave there: choose another \
                 directory with --data",
                directory.display()
            ),
        ));
    }
    let path = directory.join(LOCK_FILE);
    let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.map_err(|error| OpenError::Io { path: path.clone(), error })?;
    match lock.try_lock() {
        Ok(()) => Ok(Held(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned()).into()),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }.into()),
    }
}

/// Says that a password stands where other users see it. Not for addresses from the environment or a file.
pub fn warn_of_password(address: &str) {
    if backend::holds_password(address) {
        say("warning: the password stands in the command line, which other users of this machine can read: use \
             KUVERT_RELAY_STORE, PGPASSFILE or PGPASSWORD");
    }
}

/// Starts a relay on a store that is not its directory.
///
/// # Errors
/// See [`Failure`].
pub async fn start(address: &str, clock: Arc<dyn Clock>, config: Config) -> Result<(RunningRelay, Elsewhere), Failure> {
    config.check()?;
    let held = hold(&config.data)?;
    let (relay, member) = backend::start(address, clock, config).await?;
    Ok((relay, Elsewhere { member, _held: held }))
}

/// What a relay has whose store is elsewhere: its part in a cluster, and its directory, which is given back after it.
#[derive(Debug)]
pub struct Elsewhere {
    /// Its part in a cluster.
    pub member: backend::Member,
    _held: Held,
}

/// Makes a store's tables, or brings them to this version. Says from which version to which.
///
/// # Errors
/// See [`Failure`].
pub fn migrate(address: &str, restored: bool) -> Result<(i64, i64), Failure> {
    backend::migrate(address, restored)
}

/// An operator's hand on a relay's data, wherever they are.
#[derive(Debug)]
pub enum AnyAdmin {
    /// In a directory.
    Directory(SqliteAdmin),
    /// On PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres {
        /// The store.
        admin: Box<kuvert_relay_postgres::PostgresAdmin>,
        /// Where it is, without a password.
        place: String,
    },
}

/// Opens what a command is about.
///
/// # Errors
/// See [`Failure`].
pub fn open(place: &Place) -> Result<AnyAdmin, Failure> {
    match &place.store {
        Some(address) => backend::open(address),
        None => {
            let data = place.data.clone().map_or_else(default_data, Ok)?;
            Ok(AnyAdmin::Directory(SqliteAdmin::open(&data)?))
        }
    }
}

/// The same for both.
macro_rules! either {
    ($self:ident, $admin:ident => $work:expr) => {
        match $self {
            AnyAdmin::Directory($admin) => Ok($work?),
            #[cfg(feature = "postgres")]
            AnyAdmin::Postgres { admin: $admin, .. } => Ok($work?),
        }
    };
}

impl AnyAdmin {
    /// How many files are on their way. `data`: the relay's directory.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn blob_gauges(&self, data: &Path) -> Result<BlobGauges, Failure> {
        match self {
            Self::Directory(_) => Ok(look::gauges(data)?),
            #[cfg(feature = "postgres")]
            Self::Postgres { admin, .. } => Ok(admin.blob_gauges()?),
        }
    }

    /// Files on their way, in the order in which they began.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn blobs(&self, data: &Path) -> Result<Vec<KnownBlob>, Failure> {
        match self {
            Self::Directory(_) => Ok(look::all(data)?),
            #[cfg(feature = "postgres")]
            Self::Postgres { admin, .. } => Ok(admin.blobs()?),
        }
    }

    /// Where it is, for people.
    pub fn place(&self, data: &Path) -> String {
        match self {
            Self::Directory(_) => data.display().to_string(),
            #[cfg(feature = "postgres")]
            Self::Postgres { place, .. } => place.clone(),
        }
    }
}

impl Admin for AnyAdmin {
    type Error = Failure;

    fn invite(&mut self, invitation: &NewInvitation) -> Result<(), Failure> {
        either!(self, admin => admin.invite(invitation))
    }

    fn invitations(&self) -> Result<Vec<Invitation>, Failure> {
        either!(self, admin => admin.invitations())
    }

    fn revoke(&mut self, hash: &InvitationHash) -> Result<bool, Failure> {
        either!(self, admin => admin.revoke(hash))
    }

    fn hold(&mut self, account: &AccountId, reason: &str, now: u64) -> Result<bool, Failure> {
        either!(self, admin => admin.hold(account, reason, now))
    }

    fn held_report(&self, account: &AccountId) -> Result<Option<Vec<u8>>, Failure> {
        either!(self, admin => admin.held_report(account))
    }

    fn release(&mut self, account: &AccountId) -> Result<bool, Failure> {
        either!(self, admin => admin.release(account))
    }

    fn rights(&self) -> Result<Rights, Failure> {
        either!(self, admin => admin.rights())
    }

    fn stats(&self) -> Result<Stats, Failure> {
        either!(self, admin => admin.stats())
    }

    fn accounts(&self) -> Result<Vec<KnownAccount>, Failure> {
        either!(self, admin => admin.accounts())
    }

    fn waiting(&self, after: Cursor, limit: usize) -> Result<Vec<WaitingEnvelope>, Failure> {
        either!(self, admin => admin.waiting(after, limit))
    }

    fn back_up(&self, to: &Path, now: u64) -> Result<BackupMade, Failure> {
        either!(self, admin => admin.back_up(to, now))
    }
}

#[cfg(feature = "postgres")]
mod backend {
    use kuvert_relay::relay::{Parts, close_store};
    use kuvert_relay::store::Store;
    use kuvert_relay_postgres::PostgresBlobs;
    use kuvert_relay_postgres::blobs::objects::place;
    use kuvert_relay_postgres::schema::{OpenError, VERSION};
    use kuvert_relay_postgres::settings::Settings;
    use kuvert_relay_postgres::{PostgresAdmin, after_restore};

    use super::*;
    pub use crate::member::Member;

    pub fn holds_password(address: &str) -> bool {
        address.parse::<Settings>().is_ok_and(|settings| settings.password_in_address())
    }

    fn settings(address: &str) -> Result<Settings, Failure> {
        address.parse::<Settings>().map_err(|error| OpenError::from(error).into())
    }

    pub async fn start(
        address: &str,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Result<(RunningRelay, Member), Failure> {
        let settings = settings(address)?;
        let place = config.blobs.clone();
        let objects = tokio::task::spawn_blocking(move || place::open(&place)).await;
        // The other error is that opening panicked, which has been printed.
        let objects = objects.map_err(|error| Failure::new("blobs-place", error.to_string()))??;
        let (store, member) = Member::join(&config, settings.clone()).await?;
        let rights = Arc::new(store.rights(config.retention_days));
        let slots = Arc::new(store.clone());
        let store: Arc<dyn Store> = Arc::new(store);
        let parts = Parts::new(clock, Arc::clone(&store), rights).with_slots(slots);
        let parts = member.complete(parts);
        let started = async {
            let parts = match objects {
                Some(objects) => {
                    let blobs = PostgresBlobs::open(settings, objects).await?;
                    let disk = blobs.disk();
                    parts.with_blobs(Arc::new(blobs)).with_blob_disk(disk)
                }
                None => parts,
            };
            Ok::<_, Failure>(parts.start(config).await?)
        };
        match started.await {
            Ok(relay) => Ok((relay, member)),
            Err(error) => {
                close_store(store).await;
                member.leave().await;
                Err(error)
            }
        }
    }

    pub fn migrate(address: &str, restored: bool) -> Result<(i64, i64), Failure> {
        let settings = settings(address)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new("runtime", format!("cannot start threads: {error}")))?;
        let from = runtime.block_on(async {
            let from = kuvert_relay_postgres::migrate(&settings).await?;
            if restored {
                after_restore(&settings).await?;
            }
            Ok::<_, OpenError>(from)
        })?;
        Ok((from, VERSION))
    }

    pub fn open(address: &str) -> Result<AnyAdmin, Failure> {
        let settings = settings(address)?;
        let admin = Box::new(PostgresAdmin::open(&settings)?);
        Ok(AnyAdmin::Postgres { admin, place: settings.to_string() })
    }
}

#[cfg(not(feature = "postgres"))]
mod backend {
    use super::*;

    fn none() -> Failure {
        Failure::usage(
            "store-unsupported",
            "this program was built without PostgreSQL: use kuvert-relay, or a directory",
        )
    }

    pub fn holds_password(_: &str) -> bool {
        false
    }

    pub async fn start(_: &str, _: Arc<dyn Clock>, _: Config) -> Result<(RunningRelay, Member), Failure> {
        Err(none())
    }

    /// There is none.
    #[derive(Debug)]
    pub enum Member {}

    impl Member {
        pub async fn lost(&self) -> Failure {
            match *self {}
        }

        pub fn reload(&self, _: &Config) {
            match *self {}
        }

        pub async fn hand_over(&self) {
            match *self {}
        }

        pub async fn leave(self) {
            match self {}
        }
    }

    pub fn migrate(_: &str, _: bool) -> Result<(i64, i64), Failure> {
        Err(none())
    }

    pub fn open(_: &str) -> Result<AnyAdmin, Failure> {
        Err(none())
    }
}
