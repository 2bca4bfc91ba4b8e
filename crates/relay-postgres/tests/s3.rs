//! Blobs of a store on PostgreSQL, with their bytes in a bucket of S3, are what every backend's are. On the servers that `KUVERT_POSTGRES` and
//! `KUVERT_S3` name: `.ci/with-postgres .ci/with-s3 cargo test --workspace --features kuvert-relay-postgres/s3 --test s3`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use bytes::Bytes;
use common::Database;
use kuvert_relay::blobs::conformance::BlobBackend;
use kuvert_relay::blobs::store::BlobStore;
use kuvert_relay_postgres::PostgresBlobs;
use kuvert_relay_postgres::blobs::objects::name::{FOLDERS, folder};
use kuvert_relay_postgres::blobs::objects::s3::{Bucket, BucketError};
use kuvert_relay_postgres::blobs::objects::{ObjectError, Objects};
use kuvert_relay_postgres::blobs::{OpenBlobsError, PlaceError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Names the bucket; variables that begin with `AWS_` say how it is reached.
const VARIABLE: &str = "KUVERT_S3";

/// A part of the bucket that no other test has. `None`: there is no server.
fn place() -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Ok(bucket) = env::var(VARIABLE) else {
        let _ = writeln!(std::io::stderr(), "skipped: no server of S3 ({VARIABLE} is not set)");
        return None;
    };
    Some(format!("{bucket}/{}/{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)))
}

fn open(place: &str) -> Bucket {
    Bucket::open(place, env::vars()).unwrap()
}

/// One with another value of a variable.
fn with(place: &str, name: &str, value: &str) -> Bucket {
    let others = env::vars().filter(|(other, _)| other != name);
    Bucket::open(place, others.chain([(name.to_owned(), value.to_owned())])).unwrap()
}

/// A schema and a part of the bucket.
struct InBucket {
    database: Database,
    place: String,
}

impl InBucket {
    /// Works on the objects, away from any runtime, as connections belong to one.
    fn work<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce(Bucket) -> F + Send) -> T {
        let place = &self.place;
        thread::scope(|scope| scope.spawn(move || common::wait(async { work(open(place)).await })).join().unwrap())
    }
}

/// All objects but the mark, which is in none of the folders.
async fn names(bucket: &Bucket) -> Vec<(String, u64)> {
    let mut names = Vec::new();
    for number in 0..FOLDERS {
        names.extend(bucket.list(&folder(number)).await.unwrap());
    }
    names
}

impl BlobBackend for InBucket {
    fn new() -> Self {
        Self { database: Database::migrated().unwrap(), place: place().unwrap() }
    }

    fn is_there() -> bool {
        // Both say what is missing.
        let (database, bucket) = (common::server(), place());
        database.is_some() && bucket.is_some()
    }

    async fn open(&self) -> Arc<dyn BlobStore> {
        let objects = Arc::new(open(&self.place));
        Arc::new(PostgresBlobs::open(self.database.settings.clone(), objects).await.unwrap())
    }

    fn stored(&self) -> Vec<Vec<u8>> {
        self.work(|bucket| async move {
            let mut stored = Vec::new();
            for (name, size) in names(&bucket).await {
                match bucket.get(&name, 0..size).await {
                    Ok(bytes) => stored.push(bytes.to_vec()),
                    // One that goes meanwhile is gone.
                    Err(error) => assert_eq!(error, ObjectError::Missing),
                }
            }
            stored
        })
    }

    fn strew(&self) {
        let name = format!("f/{}-0-1-9", "f".repeat(32));
        self.work(|bucket| async move { bucket.put(&name, Bytes::from_static(b"left over")).await.unwrap() });
    }

    fn lose(&self) {
        self.work(|bucket| async move {
            for (name, _) in names(&bucket).await {
                bucket.delete(&name).await.unwrap();
            }
        });
    }
}

kuvert_relay::blob_conformance!(InBucket);

#[tokio::test]
async fn objects_are_written_read_in_parts_listed_and_deleted() {
    let Some(place) = place() else { return };
    let bucket = open(&place);
    let bytes: Bytes = (0..1 << 20).map(|n: u32| n.to_le_bytes()[n as usize % 3]).collect::<Vec<_>>().into();
    bucket.put("a/one", bytes.clone()).await.unwrap();
    bucket.put("a/two", Bytes::from_static(b"short")).await.unwrap();
    bucket.put("a/two", Bytes::from_static(b"longer")).await.unwrap();
    bucket.put("b/three", Bytes::from_static(b"elsewhere")).await.unwrap();
    assert_eq!(bucket.get("a/one", 0..1 << 20).await.unwrap(), bytes);
    assert_eq!(bucket.get("a/one", 77_777..600_000).await.unwrap(), bytes.slice(77_777..600_000));
    assert_eq!(bucket.get("a/two", 0..6).await.unwrap(), "longer");
    // Not all of what was asked for, or nothing of it.
    for range in [0..7, 5..7, 6..7, 100..200] {
        assert_eq!(bucket.get("a/two", range.clone()).await, Err(ObjectError::Missing), "{range:?}");
    }
    assert_eq!(bucket.get("a/none", 0..1).await, Err(ObjectError::Missing));

    let mut listed = bucket.list("a").await.unwrap();
    listed.sort();
    assert_eq!(listed, [("a/one".to_owned(), 1 << 20), ("a/two".to_owned(), 6)]);
    assert_eq!(bucket.list("c").await.unwrap(), []);
    bucket.delete("a/two").await.unwrap();
    bucket.delete("a/two").await.unwrap();
    assert_eq!(bucket.get("a/two", 0..1).await, Err(ObjectError::Missing));
    assert_eq!(bucket.list("a").await.unwrap().len(), 1);
    // Beside it, in the same bucket.
    let other = open(&format!("{place}x"));
    assert_eq!(other.list("a").await.unwrap(), []);
}

/// A server tells a thousand names at once.
#[tokio::test]
async fn a_long_list_is_read_to_its_end() {
    const OBJECTS: usize = 1_100;
    let Some(place) = place() else { return };
    let bucket = open(&place);
    let put = |n: usize| bucket.put(&format!("a/{n}"), Bytes::from_static(b"x"));
    for slice in (0..OBJECTS).collect::<Vec<_>>().chunks(50) {
        futures_util::future::try_join_all(slice.iter().map(|n| put(*n))).await.unwrap();
    }
    let mut listed: Vec<usize> =
        bucket.list("a").await.unwrap().iter().map(|(name, _)| name["a/".len()..].parse().unwrap()).collect();
    listed.sort_unstable();
    assert!(listed.into_iter().eq(0..OBJECTS));
}

/// What a refusal is, and that no key is in its words. "Missing" would make a store give up its blobs.
#[tokio::test]
async fn a_wrong_key_and_a_wrong_bucket_are_refused_and_never_missing() {
    let Some(place) = place() else { return };
    open(&place).put("a/one", Bytes::from_static(b"there")).await.unwrap();
    let secret = with(&place, "AWS_SECRET_ACCESS_KEY", "geheim-aber-falsch");
    let unknown = with(&place, "AWS_ACCESS_KEY_ID", "nicht-bekannt");
    let elsewhere = open("s3://kuvert-no-such-bucket/a");
    for (bucket, code) in
        [(secret, "SignatureDoesNotMatch"), (unknown, "InvalidAccessKeyId"), (elsewhere, "NoSuchBucket")]
    {
        let told = format!("{bucket:?}");
        let all = [
            bucket.put("a/two", Bytes::from_static(b"x")).await,
            bucket.get("a/one", 0..5).await.map(|_| ()),
            bucket.list("a").await.map(|_| ()),
        ];
        for done in all {
            assert_eq!(done, Err(ObjectError::Refused(code.into())));
        }
        for word in ["geheim", "nicht-bekannt", &env::var("AWS_ACCESS_KEY_ID").unwrap()] {
            assert!(!told.contains(word), "{told}");
        }
    }
}

#[test]
fn a_store_does_not_begin_with_a_wrong_key_and_says_why() {
    let (Some(place), Some(database)) = (place(), Database::migrated()) else { return };
    let wrong = Arc::new(with(&place, "AWS_SECRET_ACCESS_KEY", "geheim-aber-falsch"));
    let refused = common::wait(PostgresBlobs::open(database.settings.clone(), wrong)).unwrap_err();
    assert!(matches!(refused, OpenBlobsError::Place(PlaceError::Refused { .. })), "{refused}");
    let words = format!("{refused} {refused:?}");
    assert!(words.contains("SignatureDoesNotMatch") && !words.contains("geheim"), "{words}");
}

/// What answers at an address that no server of S3 has any more.
async fn answering(answer: impl Into<String>) -> String {
    let answer: Arc<str> = answer.into().into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

fn open_with(place: &str, variables: &[(&str, &str)]) -> Result<Bucket, BucketError> {
    Bucket::open(place, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn at(endpoint: &str) -> Bucket {
    let key = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let place = [("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", "true")];
    open_with("s3://files", &[key, place].concat()).unwrap()
}

#[test]
fn an_address_is_a_bucket_and_a_prefix() {
    for (address, place) in [
        ("s3://files", "s3://files"),
        ("s3://files/", "s3://files"),
        ("s3://my.files-1/kuvert/a_b", "s3://my.files-1/kuvert/a_b"),
        ("s3://files/kuvert/", "s3://files/kuvert"),
    ] {
        let bucket = open_with(address, &[]).unwrap();
        assert_eq!(bucket.place(), place);
        assert_eq!(format!("{bucket:?}"), format!("Bucket({place:?})"));
    }
    let long = format!("s3://files/{}", "a".repeat(513));
    for wrong in [
        "s3://",
        "s3://ab",
        "s3://Files",
        "s3:///files",
        "s3://files//a",
        "s3://files/../a",
        "s3://files/a b",
        "s3://.files",
        "s3://key:geheim@files",
        "s3://files/?x=1",
        "http://files",
        &long,
    ] {
        let error = open_with(wrong, &[]).unwrap_err();
        assert_eq!(error, BucketError::Address, "{wrong}");
        assert!(!error.to_string().contains("geheim"));
    }
}

#[test]
fn variables_that_do_not_fit_are_told_without_what_they_hold() {
    for wrong in ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"] {
        let error = open_with("s3://files", &[(wrong, "geheim")]).unwrap_err();
        assert!(matches!(error, BucketError::Variables(_)), "{wrong}: {error}");
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
        // An empty one is none, and others' are not looked at.
        open_with("s3://files", &[(wrong, ""), (&wrong.replace("AWS_", ""), "geheim")]).unwrap();
    }
}

#[test]
fn an_endpoint_without_tls_is_asked_for() {
    let open = |of: &[(&str, &str)]| open_with("s3://files", of).map(|_| ());
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"] {
        let endpoint = (name, "HTTP://127.0.0.1:9000");
        assert_eq!(open(&[endpoint]), Err(BucketError::WithoutTls), "{name}");
        assert_eq!(open(&[endpoint, ("AWS_ALLOW_HTTP", "false")]), Err(BucketError::WithoutTls));
        assert_eq!(open(&[endpoint, ("AWS_ALLOW_HTTP", "true")]), Ok(()));
        assert_eq!(open(&[(name, "https://s3.example.org")]), Ok(()));
    }
}

/// Needs no server.
#[tokio::test]
async fn what_a_server_says_is_understood_and_not_passed_on() {
    let html = || ObjectError::Refused("it answers 404, and not as S3 does".into());
    let refused = |words: &str| ObjectError::Refused(words.into());
    for (status, code, means) in [
        (404, "NoSuchKey", ObjectError::Missing),
        (416, "InvalidRange", ObjectError::Missing),
        // Not the object alone.
        (404, "NoSuchBucket", refused("NoSuchBucket")),
        (404, "", html()),
        (403, "SignatureDoesNotMatch", refused("SignatureDoesNotMatch")),
        (400, "ExpiredToken", refused("ExpiredToken")),
        // In another region.
        (301, "PermanentRedirect", refused("the bucket is in another region than AWS_REGION says")),
        (403, "QuotaExceeded", ObjectError::Full),
        (507, "", ObjectError::Full),
        (503, "SlowDown", ObjectError::Away("SlowDown".into())),
        (502, "", ObjectError::Away("it answers 502, and not as S3 does".into())),
        // No word, but a text that would be printed.
        (403, "no key: geheim", refused("it answers 403, and not as S3 does")),
    ] {
        let body = format!("<Error><Code>{code}</Code><AWSAccessKeyId>AKIA7</AWSAccessKeyId></Error>");
        let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let bucket = at(&answering(answer).await);
        assert_eq!(bucket.get("a/one", 0..5).await, Err(means), "{status} {code}");
    }
}

/// Needs no server.
#[tokio::test]
async fn another_program_at_the_address_is_no_bucket_without_the_object() {
    let page = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nnot found").await;
    let page = at(&page);
    let refused = ObjectError::Refused("it answers 404, and not as S3 does".into());
    assert_eq!(page.get("a/one", 0..5).await, Err(refused.clone()));
    assert_eq!(page.put("a/one", Bytes::from_static(b"x")).await, Err(refused.clone()));
    assert_eq!(page.delete("a/one").await, Err(refused.clone()));
    assert_eq!(page.list("a").await, Err(refused));
}

/// Needs no server.
#[tokio::test]
async fn a_server_that_is_away_broken_or_silent_is_an_error_in_time() {
    let nothing_there = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let busy = answering("HTTP/1.1 503 Slow\r\ncontent-length: 27\r\n\r\n<Code>ServiceBusy</Code>...").await;
    let silent = answering("").await;
    for (endpoint, words) in [(nothing_there, "no connection"), (busy, "ServiceBusy"), (silent, "too late")] {
        let bucket = at(&endpoint);
        let began = Instant::now();
        let (get, list) = tokio::join!(bucket.get("a/one", 0..5), bucket.list("a"));
        assert_eq!(get, Err(ObjectError::Away(words.into())));
        assert_eq!(list, Err(ObjectError::Away(words.into())));
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    }
}
