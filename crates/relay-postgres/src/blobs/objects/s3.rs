//! A bucket of S3, or of what speaks its protocol.
//!
//! # What it must promise
//! An object that was written is found by the next read and stands in the next list, as Amazon's S3 and most others promise. An object is
//! there as a whole or not at all.
//!
//! # Secrets
//! Keys come from the variables that all programs for S3 know (`AWS_ACCESS_KEY_ID` and so on), or from the machine's role. What the library
//! and the server say of an error is not passed on: names of objects stand in it, and of keys. Of the server's answer only its code is
//! (`AccessDenied`, `SlowDown`).
//!
//! # What is missing
//! A blob whose piece is missing is given up. So "missing" is said only where the server says that it knows the bucket and has no such
//! object: an answer of "not found" without these words may be another program's at that address.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use kuvert_relay::young::Disk;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore as _, ObjectStoreExt as _, RetryConfig};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Endless, ObjectError, Objects, Work};

/// Requests that are under way at once: each holds a piece of a blob in memory, and a connection.
const REQUESTS: usize = 32;

/// How long one operation may take, with the wait for its turn and what is tried again; of a list each page.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one request may take, how long it takes to connect, and how often one is sent again that failed for the moment.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const TRIES_AGAIN: usize = 2;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Bytes that a bucket's name has, and a prefix at most: an object's name goes behind it, and has 1,024 with it.
const BUCKET_BYTES: std::ops::RangeInclusive<usize> = 3..=63;
const PREFIX_BYTES: usize = 512;

/// Bytes of a server's code that are shown.
const CODE_BYTES: usize = 40;

/// What servers say when they have no room: MinIO, Ceph, and others.
const FULL: [&str; 4] = ["XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "EntityTooLargeForQuota"];

/// Why a bucket cannot be used. No message holds a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BucketError {
    /// The address. Not shown: it may be a key's, by mistake.
    #[error(
        "blobs.store is no bucket's address: write s3://BUCKET or s3://BUCKET/PREFIX, with letters, digits, `-`, `_` and `.` in the prefix. \
         Keys stand in the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not here"
    )]
    Address,
    /// Its endpoint has no TLS.
    #[error(
        "the endpoint of the bucket is http://: who is on the way sees when files come and go, and can send the same once more. Give \
         https://, or set AWS_ALLOW_HTTP=true where the network is yours alone"
    )]
    WithoutTls,
    /// The variables.
    #[error("the variables AWS_* do not fit together: {0}")]
    Variables(String),
}

/// The bucket, or the part of it below a prefix.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    name: String,
    prefix: String,
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store's own would show the id of a key.
        let Self { store: _, name: _, prefix: _, turns: _ } = self;
        f.debug_tuple("Bucket").field(&self.place()).finish()
    }
}

impl Bucket {
    /// A bucket that is there already. Asks nothing of it yet. Of the variables those count that begin with `AWS_`.
    ///
    /// # Errors
    /// See [`BucketError`].
    pub fn open(address: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, BucketError> {
        let (name, prefix) = parse(address).ok_or(BucketError::Address)?;
        let variables: HashMap<AmazonS3ConfigKey, String> = variables
            .into_iter()
            .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
            .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
            .collect();
        refuse_open_endpoint(&variables)?;
        let options = ClientOptions::new().with_timeout(REQUEST_PATIENCE).with_connect_timeout(CONNECT_PATIENCE);
        let backoff = BackoffConfig { init_backoff: BETWEEN_TRIES, max_backoff: BETWEEN_TRIES * 5, base: 2.0 };
        let retry = RetryConfig { backoff, max_retries: TRIES_AGAIN, retry_timeout: REQUEST_PATIENCE };
        let builder = AmazonS3Builder::new().with_client_options(options).with_retry(retry);
        let builder = variables.iter().fold(builder, |builder, (key, value)| builder.with_config(*key, value));
        // Each object is deleted by a request of its own, which all servers know.
        let builder = builder.with_bucket_name(name).with_disable_bulk_delete(true);
        let store = builder.build().map_err(|error| BucketError::Variables(without(&variables, error.to_string())))?;
        Ok(Self {
            store: Arc::new(store),
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            turns: Arc::new(Semaphore::new(REQUESTS)),
        })
    }

    fn path(&self, name: &str) -> Result<Path, ObjectError> {
        let path = if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        Path::parse(path).map_err(|_| ObjectError::Refused("no name of an object".into()))
    }

    /// A request at its turn, in time.
    fn work<T, F>(&self, name: &str, work: impl FnOnce(Arc<AmazonS3>, Path) -> F + Send + 'static) -> Work<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ObjectError>> + Send,
    {
        let (store, turns, path) = (Arc::clone(&self.store), Arc::clone(&self.turns), self.path(name));
        Box::pin(async move {
            let done = timeout(PATIENCE, async {
                let _turn = turns.acquire_owned().await.map_err(|_| ObjectError::Away("the relay stops".into()))?;
                work(store, path?).await
            });
            done.await.unwrap_or_else(|_| Err(late()))
        })
    }
}

fn late() -> ObjectError {
    ObjectError::Away("too late".into())
}

/// The bucket's name and the prefix.
fn parse(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let of_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let of_prefix = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(of_prefix);
    let fits = BUCKET_BYTES.contains(&bucket.len())
        && bucket.chars().all(of_bucket)
        && !bucket.starts_with(['-', '.'])
        && !bucket.ends_with(['-', '.'])
        && prefix.len() <= PREFIX_BYTES
        && (prefix.is_empty() || prefix.split('/').all(is_part));
    fits.then_some((bucket, prefix))
}

fn refuse_open_endpoint(variables: &HashMap<AmazonS3ConfigKey, String>) -> Result<(), BucketError> {
    use object_store::ClientConfigKey;
    let allowed = variables.get(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    let allowed = allowed.is_some_and(|value| matches!(&value.to_ascii_lowercase()[..], "true" | "1" | "yes" | "on"));
    let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let open = |value: &String| value.to_ascii_lowercase().starts_with("http://");
    let is_open = endpoints.iter().filter_map(|key| variables.get(key)).any(open);
    if is_open && !allowed { Err(BucketError::WithoutTls) } else { Ok(()) }
}

/// A text without what variables hold.
fn without(variables: &HashMap<AmazonS3ConfigKey, String>, text: String) -> String {
    variables.values().fold(text, |text, value| text.replace(&value[..], "…"))
}

/// What an error means.
fn meaning(error: &Error) -> ObjectError {
    let mut texts = String::new();
    let mut transport = None;
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(one) = next {
        texts.push_str(&one.to_string());
        transport = transport.or_else(|| one.downcast_ref::<HttpError>().map(HttpError::kind));
        next = one.source();
    }
    let (status, code) = (status(&texts), code(&texts));
    let says = || match (code, status) {
        (Some(code), _) => code.to_owned(),
        (None, Some(status)) => format!("it answers {status}, and not as S3 does"),
        (None, None) => "it is not known why".to_owned(),
    };
    match (error, code, status, transport) {
        (_, Some("NoSuchKey" | "InvalidRange"), ..) => ObjectError::Missing,
        (_, Some(code), ..) if FULL.contains(&code) => ObjectError::Full,
        (_, _, Some(507), _) => ObjectError::Full,
        // It asks for patience.
        (_, _, Some(408 | 429 | 500..), _) => ObjectError::Away(says()),
        (_, _, Some(_), _) => ObjectError::Refused(says()),
        (_, _, None, Some(HttpErrorKind::Connect)) => ObjectError::Away("no connection".into()),
        (_, _, None, Some(HttpErrorKind::Timeout)) => late(),
        (_, _, None, Some(_)) => ObjectError::Away("the connection broke".into()),
        _ if texts.contains("redirect without LOCATION") => {
            ObjectError::Refused("the bucket is in another region than AWS_REGION says".into())
        }
        (Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, ..) => {
            ObjectError::Refused(says())
        }
        _ => ObjectError::Away(says()),
    }
}

/// The number of an answer, out of the library's words.
fn status(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

/// The code of an answer, which is a word.
fn code(text: &str) -> Option<&str> {
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    ((1..=CODE_BYTES).contains(&code.len()) && code.chars().all(|c| c.is_ascii_alphanumeric())).then_some(code)
}

impl Objects for Bucket {
    fn put(&self, name: &str, bytes: Bytes) -> Work<()> {
        self.work(name, |store, path| async move {
            store.put(&path, bytes.into()).await.map(|_| ()).map_err(|error| meaning(&error))
        })
    }

    fn get(&self, name: &str, range: Range<u64>) -> Work<Bytes> {
        self.work(name, |store, path| async move {
            let bytes = store.get_range(&path, range.clone()).await.map_err(|error| meaning(&error))?;
            // One that is shorter than it was is not what was written.
            let whole = bytes.len() as u64 == range.end.saturating_sub(range.start);
            if whole { Ok(bytes) } else { Err(ObjectError::Missing) }
        })
    }

    fn delete(&self, name: &str) -> Work<()> {
        self.work(name, |store, path| async move {
            match store.delete(&path).await.map_err(|error| meaning(&error)) {
                Err(ObjectError::Missing) => Ok(()),
                done => done,
            }
        })
    }

    fn list(&self, folder: &str) -> Work<Vec<(String, u64)>> {
        let (store, turns, path) = (Arc::clone(&self.store), Arc::clone(&self.turns), self.path(folder));
        let skip = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        Box::pin(async move {
            let stopped = |_| ObjectError::Away("the relay stops".into());
            let _turn = timeout(PATIENCE, turns.acquire_owned()).await.map_err(|_| late())?.map_err(stopped)?;
            let mut pages = store.list(Some(&path?));
            let mut found = Vec::new();
            while let Some(object) = timeout(PATIENCE, pages.next()).await.map_err(|_| late())? {
                let object = object.map_err(|error| meaning(&error))?;
                let name = object.location.as_ref().get(skip..).unwrap_or_default();
                found.push((name.to_owned(), object.size));
            }
            Ok(found)
        })
    }

    fn disk(&self) -> Arc<dyn Disk> {
        // What is full says so when it is written to.
        Arc::new(Endless)
    }

    fn place(&self) -> String {
        let Self { name, prefix, .. } = self;
        if prefix.is_empty() { format!("s3://{name}") } else { format!("s3://{name}/{prefix}") }
    }
}
