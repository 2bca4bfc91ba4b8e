//! A relay on the embedded backend, from start to stop. The program does this; tests and other programs can, too.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kuvert_relay::clock::Clock;
use kuvert_relay::config::Config;
use kuvert_relay::extension::Extension;
use kuvert_relay::observe::Observer;
use kuvert_relay::others::Others;
use kuvert_relay::relay::{self, Parts, RunningRelay, close_store};
use kuvert_relay::store::{Store, StoreError};
use kuvert_relay::young::Disk;

use crate::OBSERVE_FILE;
use crate::blobs::{BlobsError, DirectoryBlobs};
use crate::people::schema::Tables;
use crate::people::{People, PeopleError};
use crate::report::{Documents, Sources};
use crate::rights::SqliteRights;
use crate::store::{OpenError, SqliteStore};

/// What a program offers beyond mail, on this backend.
pub trait Offer: Send + Sync + fmt::Debug + 'static {
    /// Its tables in `people.db`.
    fn tables(&self) -> &'static Tables;

    /// Its files in an account's report.
    fn documents(&self, config: &Config) -> Arc<dyn Documents>;

    /// The extension, which keeps its rows in `people`.
    fn extension(&self, config: &Config, people: People) -> Arc<dyn Extension>;

    /// What sees all that the relay learns, if anything does. Called before the relay starts, in the data directory.
    ///
    /// # Errors
    /// It cannot be opened. The message says what to do.
    fn observer(&self, config: &Config) -> Result<Option<Arc<dyn Observer>>, Box<dyn Error + Send + Sync>>;
}

/// Why a relay cannot start. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Files on their way cannot be kept.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
    /// The database of rights, and of an extension, cannot be opened.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// The directory holds observations, and this relay does not write any: it would leave the traces of accounts that it
    /// deletes.
    #[error(
        "{} holds what a relay with --observe learnt, and this relay does not keep such files: serve the directory with \
         `kuvert-relay-lens serve`, or delete that file",
        path.display()
    )]
    Observations {
        /// The file.
        path: PathBuf,
    },
    /// The observer cannot be opened.
    #[error("{0}")]
    Observer(Box<dyn Error + Send + Sync>),
    /// Everything else.
    #[error(transparent)]
    Relay(#[from] relay::StartError),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Relay(error.into())
    }
}

/// What an embedded relay is made of.
#[derive(Clone)]
pub struct Embedded {
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn Store>>,
    offer: Option<Arc<dyn Offer>>,
    disk: Option<Arc<dyn Disk>>,
    others: Option<Arc<dyn Others>>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("offer", &self.offer).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Mail and nothing beyond, in `config.data`.
    pub const fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, store: None, offer: None, disk: None, others: None }
    }

    /// Another store than the one in `config.data`. Rights stay there.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn Store>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Something beyond mail.
    #[must_use]
    pub fn with_offer(self, offer: Arc<dyn Offer>) -> Self {
        Self { offer: Some(offer), ..self }
    }

    /// Another way to measure the room on the disk than asking the system.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk: Some(disk), ..self }
    }

    /// Other relays that serve the same store.
    #[must_use]
    pub fn with_others(self, others: Arc<dyn Others>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// Starts the relay. It serves when this returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(mut self, config: Config) -> Result<RunningRelay, StartError> {
        config.check().map_err(relay::StartError::from)?;
        if let Some(store) = self.store.take() {
            return self.serve(config, store).await;
        }
        // The store first: it makes the directory, checks who may read it, and keeps a second relay out.
        let store = open_store(&config.data).await?;
        match self.serve(config, Arc::clone(&store)).await {
            Ok(relay) => Ok(relay),
            Err(error) => {
                close_store(store).await;
                Err(error)
            }
        }
    }

    async fn serve(self, config: Config, store: Arc<dyn Store>) -> Result<RunningRelay, StartError> {
        let Self { clock, store: _, offer, disk, others } = self;
        let observer = match &offer {
            Some(offer) => offer.observer(&config).map_err(StartError::Observer)?,
            None => {
                no_observations(&config.data)?;
                None
            }
        };
        let people = People::open(&config.data, offer.as_deref().map(Offer::tables))?;
        let sources = Sources { data: config.data.clone(), retention_days: config.retention_days };
        let documents = offer.as_deref().map(|offer| offer.documents(&config));
        let rights = Arc::new(SqliteRights::new(people.clone(), sources, documents));
        let data = config.data.clone();
        let blobs = tokio::task::spawn_blocking(move || DirectoryBlobs::open(&data)).await;
        // The other error is that opening panicked.
        let blobs = blobs.map_err(|error| StoreError::Corrupt(error.to_string()))??;
        let mut parts = Parts::new(clock, store, rights).with_blobs(Arc::new(blobs));
        if let Some(observer) = observer {
            parts = parts.with_observer(observer);
        }
        if let Some(offer) = offer {
            parts = parts.with_extension(offer.extension(&config, people));
        }
        if let Some(disk) = disk {
            parts = parts.with_disk(disk);
        }
        if let Some(others) = others {
            parts = parts.with_others(others);
        }
        Ok(parts.start(config).await?)
    }
}

/// Starts a relay that offers mail and nothing beyond, in `config.data`. It serves when this returns.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<RunningRelay, StartError> {
    Embedded::new(clock).start(config).await
}

/// Refuses a directory with observations. What SQLite keeps beside a database counts, too.
fn no_observations(data: &Path) -> Result<(), StartError> {
    // A directory that cannot be read, or is not there, is refused where its files are opened.
    let files = data.read_dir().into_iter().flatten().flatten().map(|file| file.path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OBSERVE_FILE));
    match files.into_iter().find(named) {
        Some(path) => Err(StartError::Observations { path }),
        None => Ok(()),
    }
}

async fn open_store(data: &Path) -> Result<Arc<dyn Store>, StartError> {
    let directory = data.to_owned();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&directory)).await;
    // The other error is that opening panicked.
    let store = opened.map_err(|error| StoreError::Corrupt(error.to_string()))??;
    Ok(Arc::new(store))
}
