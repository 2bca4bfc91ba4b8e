//! Blobs of a store on PostgreSQL: rows there, in the first group of servers; bytes as objects in a place that all relays reach.
//!
//! ```text
//! a stream ──► Upload ──► object (AES-256-CTR under the row's key) ──durable──► rows: piece, durable ──commit──► "so many bytes"
//! last done ─► rows: key, pieces deleted; objects in the list of what is to go ──commit──► objects deleted ──► list
//!                    └─ within a minute the table of keys is written anew
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `rows` | the statements |
//! | [`objects`] | the place: a directory that all relays share |
//! | `cipher` | the encryption whose key is erased |
//! | `upload`, `download` | what a stream has |
//! | `opened` | uploads that streams of this node have open |
//! | `collect` | objects and rows that lack their other half |
//!
//! # What is first
//! A row comes before its objects, and goes before them. An object is written before a row refers to it, and no row refers to it any more
//! before it is deleted. So an end at any moment leaves objects that nothing refers to, never a row without its object.
//!
//! # Several nodes
//! Each stream that goes on with an upload raises the epoch in the blob's row. What it notes counts only while that epoch stands there,
//! and its objects bear it in their names: what an older stream writes late, at whichever node, lies beside and is collected.
//!
//! # An outage of the place
//! Rows are there, so all but bytes goes on: blobs are made, erased, expire. What needs bytes is refused as unavailable within seconds;
//! what was durable before is durable, and an upload goes on there. Deletions wait in their list.

mod cipher;
mod collect;
mod download;
pub mod objects;
mod opened;
pub(crate) mod rows;
mod upload;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kuvert_relay::blobs::room::Share;
use kuvert_relay::blobs::store::{
    BlobError, BlobGauges, BlobState, BlobStore, Collected, Download, Expired, Left, NewBlob, Step, Upload, UploadKey,
};
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_relay::young::Disk;
use kuvert_types::{AccountId, BlobHash, BlobId};
use tokio::time::timeout;

use self::cipher::RowKey;
use self::download::Reading;
use self::objects::{ObjectError, Objects, name};
use self::opened::Opened;
use self::rows::{Answer, Erased};
use self::upload::Appending;
use crate::link::{Door, Lent, Pool};
use crate::outcome::Fault;
use crate::schema::{self, OpenError};
use crate::settings::Settings;
use crate::store::whole;
use crate::threads::{Spawn, Threads};

/// Bytes of a piece, which is an object: what an upload holds in memory.
pub const PIECE_BYTES: u64 = 1024 * 1024;

/// Connections to PostgreSQL that blobs have for themselves.
const CONNECTIONS: u32 = 4;

/// Blobs that are erased in one transaction when their time is over.
const EXPIRE_AT_ONCE: usize = 256;

/// Objects that are taken from the list of what is to go at once, and deleted at the same time.
const DELETE_AT_ONCE: i64 = 512;
const DELETE_BESIDE: usize = 8;

/// How long it may take to make sure of the place: a relay that starts waits for it.
const SURE_PATIENCE: Duration = Duration::from_secs(6);

/// A place that was away then is asked again after this time.
const SURE_AGAIN: Duration = Duration::from_secs(3);

/// Why the place for blobs cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It says no.
    #[error("{place}: {error}. Check that it is there and that the relay may write, read, list and delete in it")]
    Refused {
        /// Where.
        place: String,
        /// What it says.
        error: ObjectError,
    },
    /// Another store's files are there.
    #[error("{0} holds the files of another store: give this one a place of its own")]
    OfAnother(String),
    /// The files of this store are not there.
    #[error(
        "{place} holds none of this store's files, and some are on their way: name the place where they are, or mount it. To give them \
         up, write the word {word} into the object {} there",
        name::MARK
    )]
    Empty {
        /// Where.
        place: String,
        /// What would say that they are given up.
        word: String,
    },
}

/// Blobs of a store on PostgreSQL. Cheap to clone.
#[derive(Clone)]
pub struct PostgresBlobs {
    steps: Steps,
    // Not in what tasks hold: a thread cannot wait for its own end.
    _threads: Arc<Threads>,
}

impl fmt::Debug for PostgresBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBlobs").field("objects", &self.steps.core.objects).finish_non_exhaustive()
    }
}

/// What operations share.
pub(crate) struct Core {
    pool: Pool,
    objects: Arc<dyn Objects>,
    opened: Opened,
    /// Whether the place is this store's.
    sure: tokio::sync::Mutex<Sure>,
    /// Keys were deleted that may stand in the server's files still.
    unscrubbed: AtomicBool,
    closed: AtomicBool,
    spawn: Spawn,
}

/// What is known of the place.
#[derive(Default)]
enum Sure {
    /// Nothing yet.
    #[default]
    No,
    /// It is this store's.
    Yes,
    /// It was away, and is not asked again until then.
    Away(Instant, BlobError),
}

/// Does operations of which each finishes once it has begun.
#[derive(Clone)]
pub(crate) struct Steps {
    core: Arc<Core>,
}

fn stopped() -> BlobError {
    BlobError::Store(Unavailable::Stopped.into())
}

/// What a fault means for something that only reads.
fn reading(fault: &Fault) -> BlobError {
    BlobError::Store(fault.reading())
}

/// What it means for something that writes.
fn writing(fault: &Fault) -> BlobError {
    BlobError::Store(fault.store_error())
}

/// What an error of the place means.
fn object_error(error: &ObjectError) -> BlobError {
    let reason = match error {
        ObjectError::Full => Unavailable::DiskFull,
        error => Unavailable::Io(error.to_string()),
    };
    BlobError::Store(reason.into())
}

/// What an answer means to which only reading led.
fn read<T>(answer: Answer<T>) -> Result<T, BlobError> {
    answer.map_err(|fault| reading(&fault))?
}

/// What one means to which writing led.
fn written<T>(answer: Answer<T>) -> Result<T, BlobError> {
    answer.map_err(|fault| writing(&fault))?
}

impl PostgresBlobs {
    /// Opens the blobs of a store that has this program's tables. A place that does not answer is looked at again before it is used.
    ///
    /// # Errors
    /// See [`OpenBlobsError`].
    pub async fn open(settings: Settings, objects: Arc<dyn Objects>) -> Result<Self, OpenBlobsError> {
        let door = Door::new(settings).map_err(OpenError::from)?;
        let threads = Threads::start("files")?;
        let core = Arc::new(Core {
            pool: Pool::of(door, CONNECTIONS),
            objects,
            opened: Opened::default(),
            sure: tokio::sync::Mutex::default(),
            // What an end in the middle left is not known.
            unscrubbed: AtomicBool::new(true),
            closed: AtomicBool::new(false),
            spawn: threads.spawn().clone(),
        });
        let (opening, spawn) = (Arc::clone(&core), threads.spawn().clone());
        let opened = spawn.begin(async move { opening.look().await }).await;
        match opened.unwrap_or_else(|_| Err(OpenError::Unreachable("its thread ended".into()).into())) {
            Ok(()) => Ok(Self { steps: Steps { core }, _threads: Arc::new(threads) }),
            Err(error) => {
                drop(core);
                // Waits for threads, which a task must not.
                let _ = tokio::task::spawn_blocking(move || drop(threads)).await;
                Err(error)
            }
        }
    }

    /// How much room there is where the bytes are.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.steps.core.objects.disk()
    }
}

/// Why blobs cannot be opened. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenBlobsError {
    /// The rows.
    #[error(transparent)]
    Rows(#[from] OpenError),
    /// The bytes.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// What making sure of the place came to.
enum Unsure {
    /// It cannot be used.
    Place(PlaceError),
    /// It, or PostgreSQL, does not answer.
    Away(BlobError),
}

impl Steps {
    /// Begins when it is first polled, and finishes whether or not it is waited for.
    pub fn run<T, F>(&self, work: impl FnOnce(Arc<Core>) -> F + Send + 'static) -> Step<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BlobError>> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            if core.closed.load(Ordering::Acquire) {
                return Err(stopped());
            }
            let spawn = core.spawn.clone();
            let done = spawn.begin(work(core)).await;
            // It panicked, which has been printed, or the relay stops.
            done.unwrap_or_else(|_| Err(BlobError::Store(StoreError::Unknown("the work on files ended".into()))))
        })
    }
}

impl Core {
    async fn lend(&self) -> Result<Lent, BlobError> {
        self.pool.lend().await.map_err(|fault| reading(&fault))
    }

    /// At the start: refuses what trying again does not help.
    async fn look(&self) -> Result<(), OpenBlobsError> {
        schema::check(&*self.pool.lend().await.map_err(OpenError::from)?).await?;
        match self.try_make_sure().await {
            Err(Unsure::Place(error)) => Err(error.into()),
            Err(Unsure::Away(error)) => {
                tracing::warn!(%error, "files are refused until their place answers; mail goes on");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Before objects are written, compared or deleted: that the place is this store's.
    async fn make_sure(&self) -> Result<(), BlobError> {
        self.try_make_sure().await.map_err(|unsure| match unsure {
            Unsure::Away(error) => error,
            Unsure::Place(error) => {
                tracing::error!(%error, "files are refused");
                BlobError::Store(Unavailable::Io(error.to_string()).into())
            }
        })
    }

    async fn try_make_sure(&self) -> Result<(), Unsure> {
        let mut sure = self.sure.lock().await;
        match &*sure {
            Sure::Yes => return Ok(()),
            // Those that wait for the answer do not ask one after the other.
            Sure::Away(until, error) if *until > Instant::now() => return Err(Unsure::Away(error.clone())),
            Sure::Away(..) | Sure::No => {}
        }
        let looked = timeout(SURE_PATIENCE, self.look_at_mark()).await;
        let looked = looked.unwrap_or_else(|_| Err(Unsure::Away(object_error(&ObjectError::Away("too late".into())))));
        *sure = match &looked {
            Ok(()) => Sure::Yes,
            Err(Unsure::Away(error)) => Sure::Away(Instant::now() + SURE_AGAIN, error.clone()),
            Err(Unsure::Place(_)) => Sure::No,
        };
        looked
    }

    /// Looks for the word that says whose files are there, and writes it.
    async fn look_at_mark(&self) -> Result<(), Unsure> {
        let mut new = [0; 8];
        let filled = aws_lc_rs::rand::fill(&mut new);
        filled.map_err(|_| Unsure::Away(object_error(&ObjectError::Away("the system has no randomness".into()))))?;
        let link = self.lend().await.map_err(Unsure::Away)?;
        let marked = rows::mark(&link, i64::from_be_bytes(new)).await;
        drop(link);
        let (number, any) = marked.map_err(|fault| Unsure::Away(writing(&fault)))?;
        let word = format!("{:016x}", number.cast_unsigned());
        let place = self.objects.place();
        let refuse = |error: ObjectError| match error {
            error @ (ObjectError::Refused(_) | ObjectError::Missing) => {
                Unsure::Place(PlaceError::Refused { place: place.clone(), error })
            }
            error => Unsure::Away(object_error(&error)),
        };
        match self.objects.get(name::MARK, 0..word.len() as u64).await {
            Ok(found) if found == word.as_bytes() => {}
            Ok(_) => return Err(Unsure::Place(PlaceError::OfAnother(place))),
            Err(ObjectError::Missing) if any => return Err(Unsure::Place(PlaceError::Empty { place, word })),
            Err(ObjectError::Missing) => {}
            Err(error) => return Err(refuse(error)),
        }
        // Also where it is there: that it can be written is to be known.
        self.objects.put(name::MARK, word.into_bytes().into()).await.map_err(refuse)
    }

    /// [KV-128] After the commit that erased rows: streams of this node end, and the objects go in the background.
    fn erased(self: &Arc<Self>, erased: Erased) {
        let Erased { ids, objects } = erased;
        if ids.is_empty() {
            return;
        }
        self.opened.end(&ids);
        self.unscrubbed.store(true, Ordering::Release);
        if !objects.is_empty() {
            self.delete_soon(objects);
        }
    }

    /// Deletes objects that nothing refers to. Those that cannot be deleted now stay in the list, if they are in it.
    fn delete_soon(self: &Arc<Self>, objects: Vec<String>) {
        let core = Arc::clone(self);
        self.spawn.start(async move {
            if let Err(error) = core.delete(objects).await {
                tracing::debug!(%error, "objects of files that are gone are there still; they are deleted within a minute");
            }
        });
    }

    /// Deletes objects, and takes them off the list of what is to go.
    async fn delete(&self, objects: Vec<String>) -> Result<(), BlobError> {
        self.make_sure().await?;
        let each = objects.into_iter().map(|object| async move {
            match self.objects.delete(&object).await {
                Ok(()) => Ok(object),
                Err(error) => Err(error),
            }
        });
        let done: Vec<_> = futures_util::stream::iter(each).buffer_unordered(DELETE_BESIDE).collect().await;
        let mut failed = None;
        let mut deleted = Vec::new();
        for one in done {
            match one {
                Ok(object) => deleted.push(object),
                Err(error) => failed = Some(object_error(&error)),
            }
        }
        if !deleted.is_empty() {
            let link = self.lend().await?;
            rows::forget_gone(&link, &deleted).await.map_err(|fault| writing(&fault))?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Deletes what is in the list of what is to go.
    async fn delete_gone(&self) -> Result<(), BlobError> {
        loop {
            let gone = rows::gone(&*self.lend().await?, DELETE_AT_ONCE).await.map_err(|fault| reading(&fault))?;
            let count = gone.len() as i64;
            if count > 0 {
                self.delete(gone).await?;
            }
            if count < DELETE_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Writes the table of keys anew, if keys were deleted.
    async fn scrub(&self) -> Result<(), BlobError> {
        if self.unscrubbed.swap(false, Ordering::AcqRel) {
            let link = self.lend().await?;
            let scrubbed = async {
                rows::rewrite_keys(&link).await?;
                whole::checkpoint(&link).await
            };
            scrubbed.await.map_err(|fault| {
                self.unscrubbed.store(true, Ordering::Release);
                writing(&fault)
            })?;
        }
        Ok(())
    }
}

impl BlobStore for PostgresBlobs {
    fn create(&self, blob: NewBlob, share: Share) -> Step<()> {
        self.steps.run(move |core| async move {
            let key = RowKey::random()?;
            // Where there is no end of room, what other accounts were promised does not matter.
            let bounded = share.room < objects::ENDLESS / 2;
            written(rows::create(&*core.lend().await?, &blob, &key, &share, bounded).await)
        })
    }

    fn append(&self, key: UploadKey) -> Step<(Box<dyn Upload>, BlobState)> {
        let steps = self.steps.clone();
        self.steps.run(move |core| async move {
            let turn = written(rows::take_over(&*core.lend().await?, &key, PIECE_BYTES).await)?;
            let state = turn.state;
            let (upload, durable) = Appending::begin(&core, steps, key.id, turn).await?;
            Ok((Box::new(upload) as Box<dyn Upload>, BlobState { durable, ..state }))
        })
    }

    fn status(&self, key: UploadKey) -> Step<BlobState> {
        self.steps.run(move |core| async move { read(rows::status(&*core.lend().await?, &key).await) })
    }

    fn commit(&self, key: UploadKey, now: u64) -> Step<()> {
        self.steps.run(move |core| async move {
            written(rows::commit(&*core.lend().await?, &key, now).await)?;
            core.opened.commit(&key.id);
            Ok(())
        })
    }

    fn discard(&self, key: UploadKey, readers: Vec<BlobHash>) -> Step<()> {
        self.steps.run(move |core| async move {
            let erased = written(rows::discard(&*core.lend().await?, &key, &readers).await)?;
            core.erased(erased);
            Ok(())
        })
    }

    fn read(&self, id: BlobId, capability: BlobHash) -> Step<(Box<dyn Download>, BlobState)> {
        let steps = self.steps.clone();
        self.steps.run(move |core| async move {
            let opened = read(rows::read(&*core.lend().await?, &id, &capability).await)?;
            let state = opened.state;
            Ok((Box::new(Reading::new(steps, id, opened)?) as Box<dyn Download>, state))
        })
    }

    fn done(&self, id: BlobId, capability: BlobHash) -> Step<Left> {
        self.steps.run(move |core| async move {
            let (left, erased) = written(rows::done(&*core.lend().await?, &id, &capability).await)?;
            core.erased(erased);
            Ok(left)
        })
    }

    fn delete_account(&self, account: AccountId) -> Step<u64> {
        self.steps.run(move |core| async move {
            let erased = written(rows::delete_account(&*core.lend().await?, &account).await)?;
            let count = erased.ids.len() as u64;
            core.erased(erased);
            Ok(count)
        })
    }

    fn expire(&self, uploads_before: u64, committed_before: u64) -> Step<Expired> {
        self.steps.run(move |core| async move {
            let mut expired = Expired::default();
            loop {
                let slice =
                    rows::expire(&*core.lend().await?, uploads_before, committed_before, EXPIRE_AT_ONCE).await;
                let (Expired { uploads, blobs }, erased) = written(slice)?;
                core.erased(erased);
                expired.uploads += uploads;
                expired.blobs += blobs;
                if uploads < EXPIRE_AT_ONCE as u64 && blobs < EXPIRE_AT_ONCE as u64 {
                    break;
                }
            }
            // What could not be done at once is tried each minute, with this.
            core.scrub().await?;
            if let Err(error) = core.delete_gone().await {
                tracing::warn!(%error, "objects of files that are gone are there still; they are deleted when their place answers");
            }
            Ok(expired)
        })
    }

    fn collect(&self) -> Step<Collected> {
        self.steps.run(|core| async move {
            match core.collect().await {
                // A relay starts all the same: mail does not wait for files.
                Err(BlobError::Store(error @ StoreError::Unavailable(_))) => {
                    tracing::warn!(%error, "files could not be looked through; trying again within an hour");
                    Ok(Collected::default())
                }
                collected => collected,
            }
        })
    }

    fn gauges(&self) -> Step<BlobGauges> {
        self.steps.run(|core| async move { read(rows::gauges(&*core.lend().await?).await) })
    }

    fn close(&self) -> Step<()> {
        self.steps.run(|core| async move {
            core.closed.store(true, Ordering::Release);
            // What is to go is in the list; the keys go with what there is time for.
            let scrubbed = core.scrub().await;
            core.pool.finish().await;
            scrubbed
        })
    }
}
