//! Files at several nodes: one upload at two of them, an end at any step, a place that is away, another store's place, and what is left
//! when all is done.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/mail.rs"]
mod mail;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::{fs, future};

use bytes::Bytes;
use common::{Database, OwnServer};
use kuvert_relay::blobs::conformance::world::{self, *};
use kuvert_relay::blobs::room::{NoRoom, Share, charge};
use kuvert_relay::blobs::store::{BlobError, BlobGauges, BlobStore, Collected, Expired, NewBlob};
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_relay::young::Disk;
use kuvert_relay_postgres::blobs::objects::directory::SharedDirectory;
use kuvert_relay_postgres::blobs::objects::name::{MARK, Piece};
use kuvert_relay_postgres::blobs::objects::{ObjectError, Objects, Work};
use kuvert_relay_postgres::blobs::{OpenBlobsError, PlaceError};
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::{PostgresBlobs, schema};
use kuvert_types::BlobHash;
use mail::patiently;
use tokio::sync::Notify;

/// The one reader of every blob here.
const READER: BlobHash = hash(1);

fn new(n: u8, size: usize) -> NewBlob {
    world::new(n, size, 1)
}

async fn whole(store: &dyn BlobStore, n: u8) -> Result<Vec<u8>, BlobError> {
    world::whole(store, n, 1).await
}

fn is_unavailable<T>(result: Result<T, BlobError>) -> bool {
    matches!(result, Err(BlobError::Store(StoreError::Unavailable(Unavailable::Io(_)))))
}

/// What a place does with the next operation.
const FINE: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;

/// A place that a test takes away, or that dies at its n-th operation.
#[derive(Clone, Debug)]
struct Faulty {
    objects: Arc<dyn Objects>,
    does: Arc<AtomicU8>,
    /// Hears of each operation that is not answered.
    unanswered: Arc<Notify>,
    /// Operations that are left until it dies.
    left: Arc<AtomicUsize>,
    /// Whether the one at which it dies is done all the same, and only its answer is lost.
    done: bool,
}

impl Faulty {
    fn at(directory: &Path) -> Self {
        let objects = Arc::new(SharedDirectory::open(directory).unwrap());
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        Self { objects, does: Arc::default(), unanswered: Arc::default(), left, done: false }
    }

    fn dies_after(directory: &Path, operations: usize, done: bool) -> Self {
        Self { left: Arc::new(AtomicUsize::new(operations)), done, ..Self::at(directory) }
    }

    fn set(&self, does: u8) {
        self.does.store(does, Ordering::SeqCst);
    }

    fn has_died(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn work<T: Send + 'static>(&self, work: Work<T>) -> Work<T> {
        let this = self.clone();
        Box::pin(async move {
            match this.does.load(Ordering::SeqCst) {
                AWAY => return Err(ObjectError::Away("taken away".into())),
                SILENT => {
                    this.unanswered.notify_one();
                    return future::pending().await;
                }
                _ => {}
            }
            let one = |left: usize| (left > 0).then(|| left - 1);
            match this.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one) {
                Ok(left) if left > 1 => work.await,
                last => {
                    if last.is_ok() && this.done {
                        let _ = work.await;
                    }
                    this.left.store(0, Ordering::SeqCst);
                    Err(ObjectError::Away("it died".into()))
                }
            }
        })
    }
}

impl Objects for Faulty {
    fn put(&self, name: &str, bytes: Bytes) -> Work<()> {
        self.work(self.objects.put(name, bytes))
    }

    fn get(&self, name: &str, range: Range<u64>) -> Work<Bytes> {
        self.work(self.objects.get(name, range))
    }

    fn delete(&self, name: &str) -> Work<()> {
        self.work(self.objects.delete(name))
    }

    fn list(&self, folder: &str) -> Work<Vec<(String, u64)>> {
        self.work(self.objects.list(folder))
    }

    fn disk(&self) -> Arc<dyn Disk> {
        self.objects.disk()
    }

    fn place(&self) -> String {
        self.objects.place()
    }
}

/// A store with a directory for files.
struct World {
    database: Database,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Option<Self> {
        Some(Self { database: Database::migrated()?, directory: tempfile::tempdir().unwrap() })
    }

    async fn node(&self) -> PostgresBlobs {
        self.node_with(Faulty::at(self.directory.path())).await
    }

    async fn node_with(&self, objects: Faulty) -> PostgresBlobs {
        PostgresBlobs::open(self.database.settings.clone(), Arc::new(objects)).await.unwrap()
    }

    /// The objects that are there.
    fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for folder in
            fs::read_dir(self.directory.path()).unwrap().map(Result::unwrap).filter(|it| it.file_name() != MARK)
        {
            for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
                let name = format!("{}/{}", folder.file_name().display(), file.file_name().display());
                // One that goes meanwhile is gone.
                found.extend(fs::read(file.path()).ok().map(|bytes| (name, bytes)));
            }
        }
        found
    }

    async fn until_empty(&self) {
        patiently(async || {
            let left: Vec<_> = self.objects().into_iter().map(|(name, _)| name).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }

    async fn count(&self, sql: &'static str) -> i64 {
        self.database.link().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// Drops nodes where that may wait for their threads.
async fn gone(nodes: impl IntoIterator<Item = PostgresBlobs>) {
    let nodes: Vec<_> = nodes.into_iter().collect();
    tokio::task::spawn_blocking(move || drop(nodes)).await.unwrap();
}

macro_rules! world {
    () => {
        match World::new_on_thread().await {
            Some(world) => world,
            None => return,
        }
    };
}

impl World {
    /// Makes it where it may block on a runtime of its own.
    async fn new_on_thread() -> Option<Self> {
        tokio::task::spawn_blocking(Self::new).await.unwrap()
    }

    async fn end(self) {
        tokio::task::spawn_blocking(move || drop(self)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_goes_on_at_another_node_is_that_node_s_alone() {
    let world = world!();
    let (a, b) = (world.node().await, world.node().await);
    let (older, newer) = (content(3 * MIB), content(3 * MIB));
    a.create(new(1, 3 * MIB), PLENTY).await.unwrap();
    let (at_a, _) = a.append(key(1)).await.unwrap();
    write(&*at_a, &older, 0, 1_500 * KIB).await.unwrap();
    assert_eq!(at_a.sync().await, Ok(1_500 * KIB as u64));
    // Not promised: whole pieces of it lie there.
    write(&*at_a, &older, 1_500 * KIB, 2_800 * KIB).await.unwrap();

    let (at_b, state) = b.append(key(1)).await.unwrap();
    assert_eq!(state.durable, 1_500 * KIB as u64);
    write(&*at_b, &newer, 1_500 * KIB, 2_500 * KIB).await.unwrap();
    // The old node is late with what it wrote, and with more.
    assert_eq!(at_a.sync().await, Err(BlobError::TakenOver));
    assert_eq!(at_b.sync().await, Ok(2_500 * KIB as u64));
    let late = write(&*at_a, &older, 2_800 * KIB, 3 * MIB).await;
    assert!(late == Ok(()) || late == Err(BlobError::TakenOver));
    assert_eq!(at_a.sync().await, Err(BlobError::TakenOver));
    write(&*at_b, &newer, 2_500 * KIB, 3 * MIB).await.unwrap();
    assert_eq!(at_b.sync().await, Ok(3 * MIB as u64));
    a.commit(key(1), NOW).await.unwrap();
    assert_eq!(at_a.sync().await, Err(BlobError::Committed));

    for node in [&a, &b] {
        let got = whole(node, 1).await.unwrap();
        assert!(got[..1_500 * KIB] == older[..1_500 * KIB] && got[1_500 * KIB..] == newer[1_500 * KIB..]);
    }
    let left = world.objects().iter().map(|(_, bytes)| bytes.len()).sum::<usize>() - 3 * MIB;
    assert!(left > 0, "the old node left something");
    assert!(b.collect().await.unwrap().files > 0);
    assert_eq!(world.objects().iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), 3 * MIB);
    assert!(whole(&a, 1).await.unwrap()[1_500 * KIB..] == newer[1_500 * KIB..]);
    // Nothing of the two is encrypted alike.
    let names: Vec<Piece> = world.objects().iter().map(|(name, _)| Piece::parse(name).unwrap().1).collect();
    assert!(names.iter().any(|piece| piece.epoch == 1) && names.iter().any(|piece| piece.epoch == 2), "{names:?}");
    gone([a, b]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_took_another_one_gives_out_and_erases_for_all() {
    let world = world!();
    let (a, b) = (world.node().await, world.node().await);
    let bytes = content(2 * MIB + 9);
    for n in [1, 2] {
        a.create(new(n, bytes.len()), PLENTY).await.unwrap();
        complete(&a, n, &bytes).await.unwrap();
    }
    assert!(whole(&b, 1).await.unwrap() == bytes);
    let (at_b, _) = b.read(id(1), READER).await.unwrap();
    at_b.read(0, 100).await.unwrap();
    a.done(id(1), READER).await.unwrap();
    assert_eq!(at_b.read(100, 100).await, Err(BlobError::Unknown), "not even what was fetched before");

    b.create(new(3, MIB), PLENTY).await.unwrap();
    let (upload, _) = b.append(key(3)).await.unwrap();
    write(&*upload, &bytes, 0, 100).await.unwrap();
    let (at_b, _) = b.read(id(2), READER).await.unwrap();
    assert_eq!(a.delete_account(account(1)).await, Ok(2));
    assert_eq!(at_b.read(0, 100).await, Err(BlobError::Unknown));
    assert_eq!(upload.sync().await, Err(BlobError::Unknown));
    b.collect().await.unwrap();
    world.until_empty().await;
    gone([a, b]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_count_over_all_nodes() {
    let world = world!();
    let (a, b) = (world.node().await, world.node().await);
    let share = Share { bytes: 4 * charge(1_000, 1), ..PLENTY };
    // Where there is no end of room, only those of one account wait for each other.
    for (first, room) in [(0_u8, PLENTY.room), (100, 1 << 62)] {
        let share = Share { room, ..share };
        let begun: Vec<_> = (first + 1..=first + 20)
            .map(|n| {
                let node = if n % 2 == 0 { &a } else { &b };
                let blob = NewBlob { account: account(first + 1), ..new(n, 1_000) };
                tokio::spawn(node.create(blob, share))
            })
            .collect();
        let mut admitted = 0;
        for one in begun {
            match one.await.unwrap() {
                Ok(()) => admitted += 1,
                Err(error) => assert_eq!(error, BlobError::NoRoom(NoRoom::Account)),
            }
        }
        assert_eq!(admitted, 4);
    }
    gone([a, b]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_away_costs_nothing_but_time() {
    let world = world!();
    let place = Faulty::at(world.directory.path());
    let node = world.node_with(place.clone()).await;
    let bytes = content(4 * MIB);
    for n in [1, 2] {
        node.create(new(n, bytes.len()), PLENTY).await.unwrap();
    }
    complete(&node, 2, &bytes).await.unwrap();
    let (upload, _) = node.append(key(1)).await.unwrap();
    write(&*upload, &bytes, 0, MIB + 100).await.unwrap();
    assert_eq!(upload.sync().await, Ok((MIB + 100) as u64));
    write(&*upload, &bytes, MIB + 100, 2 * MIB + 10).await.unwrap();
    let (download, _) = node.read(id(2), READER).await.unwrap();

    place.set(AWAY);
    assert!(is_unavailable(write(&*upload, &bytes, 2 * MIB + 10, 4 * MIB).await));
    assert!(is_unavailable(upload.write(0, Vec::new()).await), "the stream has ended");
    assert!(is_unavailable(upload.sync().await));
    assert_eq!(node.status(key(1)).await.unwrap().durable, 2 * MIB as u64, "what lay there before is noted");
    assert!(is_unavailable(read(&*download, 0, 100).await));
    // What needs rows alone goes on.
    node.create(new(3, 10), PLENTY).await.unwrap();
    assert_eq!(node.gauges().await.unwrap(), BlobGauges { blobs: 1, bytes: 4 * MIB as u64, uploads: 2 });
    node.done(id(2), READER).await.unwrap();
    assert_eq!(node.read(id(2), READER).await.map(drop), Err(BlobError::Unknown));
    assert_eq!(node.expire(0, 0).await, Ok(Expired::default()), "and is no error");
    assert_eq!(node.collect().await, Ok(Collected::default()), "a relay starts all the same");
    assert!(world.count("SELECT count(*) FROM blob_gone").await > 0);

    place.set(FINE);
    complete(&node, 1, &bytes).await.unwrap();
    assert!(whole(&node, 1).await.unwrap() == bytes);
    node.expire(0, 0).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM blob_gone").await, 0);
    assert_eq!(world.objects().iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), 4 * MIB);
    gone([node]).await;
    world.end().await;
}

/// As a relay that is killed: what it does with objects ends at some operation, and nothing of it is closed.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_at_any_step_breaks_no_promise_and_leaves_nothing() {
    let world = world!();
    let bytes = content(2 * MIB + 70_000);
    let mut steps = 0;
    for done in [false, true] {
        for operations in 1.. {
            let place = Faulty::dies_after(world.directory.path(), operations, done);
            let node = world.node_with(place.clone()).await;
            let mut promised = 0;
            let ended = async {
                node.create(new(1, bytes.len()), PLENTY).await?;
                for to in [MIB / 2, MIB + 5, MIB + 6, 2 * MIB, bytes.len()] {
                    let (upload, state) = node.append(key(1)).await?;
                    write(&*upload, &bytes, state.durable as usize, to).await?;
                    promised = upload.sync().await?;
                    assert_eq!(promised, to as u64);
                }
                node.commit(key(1), NOW).await?;
                assert!(whole(&node, 1).await? == bytes);
                node.done(id(1), READER).await.map(drop)
            };
            let ended = ended.await;
            // Those that go in the background end, too.
            gone([node]).await;
            let next = world.node().await;
            match next.status(key(1)).await {
                Ok(state) => {
                    assert!(state.durable >= promised, "{} of {promised} at {operations}", state.durable);
                    assert!(is_unavailable(ended));
                    if !state.committed {
                        complete(&next, 1, &bytes).await.unwrap();
                    }
                    assert!(whole(&next, 1).await.unwrap() == bytes, "{operations}");
                    assert_eq!(next.collect().await.unwrap().rows, 0);
                    assert!(whole(&next, 1).await.unwrap() == bytes, "{operations}");
                    next.done(id(1), READER).await.unwrap();
                }
                Err(error) => {
                    assert_eq!(error, BlobError::Unknown);
                    assert_eq!(ended, Ok(()), "only what was done is gone");
                }
            }
            next.expire(0, 0).await.unwrap();
            next.collect().await.unwrap();
            world.until_empty().await;
            assert_eq!(world.count("SELECT count(*) FROM blob_gone").await, 0);
            assert_eq!(world.count("SELECT count(*) FROM blob_piece").await, 0);
            gone([next]).await;
            steps += 1;
            if !place.has_died() {
                break;
            }
        }
    }
    assert!(steps > 20, "{steps}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_one_store_s_and_an_empty_one_is_not_taken_for_it() {
    let world = world!();
    let open = |settings: Settings, directory: &Path| {
        PostgresBlobs::open(settings, Arc::new(SharedDirectory::open(directory).unwrap()))
    };
    let node = world.node().await;
    node.create(new(1, 10), PLENTY).await.unwrap();
    complete(&node, 1, &content(10)).await.unwrap();
    gone([node]).await;

    // The same directory, of another store: it would take these files for left over.
    let other = tokio::task::spawn_blocking(Database::migrated).await.unwrap().unwrap();
    match open(other.settings.clone(), world.directory.path()).await {
        Err(OpenBlobsError::Place(PlaceError::OfAnother(_))) => {}
        other => panic!("{other:?}"),
    }
    tokio::task::spawn_blocking(move || drop(other)).await.unwrap();
    // Another directory, of this store: it would take these rows for broken.
    let empty = tempfile::tempdir().unwrap();
    let Err(OpenBlobsError::Place(error @ PlaceError::Empty { .. })) =
        open(world.database.settings.clone(), empty.path()).await
    else {
        panic!("opened")
    };
    let said = error.to_string();
    assert!(!empty.path().join(MARK).exists() && said.contains(MARK), "{said}");
    // An operator may give them up.
    let PlaceError::Empty { word, .. } = error else { unreachable!() };
    fs::write(empty.path().join(MARK), word).unwrap();
    let node = open(world.database.settings.clone(), empty.path()).await.unwrap();
    assert_eq!(node.collect().await, Ok(Collected { files: 0, rows: 1 }));
    gone([node]).await;
    world.end().await;
}

/// The one node that collects keeps others of its store from it, and none of another store in the same database.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_being_collected_keeps_no_other_one_of_the_database_from_it() {
    let (slow, world) = (world!(), world!());
    let place = Faulty::at(slow.directory.path());
    let (collecting, beside) = (slow.node_with(place.clone()).await, slow.node().await);
    place.set(SILENT);
    let collection = tokio::spawn(collecting.collect());
    place.unanswered.notified().await;

    let node = world.node().await;
    let piece = Piece { number: 0, epoch: 1, length: 10 };
    for (of, collected) in [(&slow, 0), (&world, 1)] {
        fs::write(of.directory.path().join(piece.name(&id(1))), content(10)).unwrap();
        let by = if collected == 0 { &beside } else { &node };
        assert_eq!(by.collect().await, Ok(Collected { files: collected, rows: 0 }));
    }
    collection.abort();
    gone([collecting, beside, node]).await;
    slow.end().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_place_keeps_no_relay_from_starting() {
    let world = world!();
    let place = Faulty::at(world.directory.path());
    place.set(SILENT);
    let node = world.node_with(place.clone()).await;
    node.create(new(1, 10), PLENTY).await.unwrap();
    assert_eq!(node.collect().await, Ok(Collected::default()));
    assert_eq!(node.gauges().await.unwrap().uploads, 1);
    place.set(FINE);
    // It is not asked again at once.
    let bytes = content(10);
    patiently(async || complete(&node, 1, &bytes).await).await;
    assert!(whole(&node, 1).await.unwrap() == bytes);
    gone([node]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_of_the_rows_does_not_use_a_name_again() {
    let world = world!();
    let node = world.node().await;
    node.create(new(1, MIB), PLENTY).await.unwrap();
    let (upload, _) = node.append(key(1)).await.unwrap();
    write(&*upload, &content(MIB), 0, 1_000).await.unwrap();
    upload.sync().await.unwrap();
    gone([node]).await;
    let link = world.database.link().await;
    schema::after_restore(&link).await.unwrap();
    let epoch: i64 = link.query_one("SELECT epoch FROM blob", &[]).await.unwrap().get(0);
    assert!(epoch > 1 << 32, "{epoch}");
    let node = world.node().await;
    assert_eq!(node.append(key(1)).await.unwrap().1.durable, 1_000);
    gone([node]).await;
    world.end().await;
}

/// Whether a server's tables hold these bytes, on the disk. The write-ahead log is another matter: docs/SCALING.md, "Gone".
fn stands(server: &OwnServer, secret: &[u8]) -> bool {
    fn look(below: &Path, secret: &[u8]) -> bool {
        fs::read_dir(below).unwrap().map(Result::unwrap).any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return look(&path, secret);
            }
            fs::read(path).unwrap_or_default().windows(secret.len()).any(|run| run == secret)
        })
    }
    look(&server.place().1.join("data/base"), secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_erased_is_in_no_table_any_more() {
    let Some(server) = tokio::task::spawn_blocking(OwnServer::start).await.unwrap() else { return };
    kuvert_relay_postgres::migrate(&server.settings).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let objects = Arc::new(SharedDirectory::open(directory.path()).unwrap());
    let node = PostgresBlobs::open(server.settings.clone(), objects).await.unwrap();
    for n in [1, 2] {
        node.create(new(n, 100), PLENTY).await.unwrap();
        complete(&node, n, &content(100)).await.unwrap();
    }
    let link = common::apart(&server.settings).await;
    let keys: Vec<Vec<u8>> = {
        let rows = link.query("SELECT key FROM blob_key JOIN blob USING (slot) ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    link.batch("CHECKPOINT").await.unwrap();
    assert!(keys.iter().all(|key| stands(&server, key)), "what is looked for below is there now");
    node.done(id(1), READER).await.unwrap();
    // Within a minute, with this.
    node.expire(0, 0).await.unwrap();
    link.batch("CHECKPOINT").await.unwrap();
    assert!(!stands(&server, &keys[0]), "it is gone");
    assert!(stands(&server, &keys[1]), "the other one is not");
    assert!(whole(&node, 2).await.is_ok());
    node.delete_account(account(1)).await.unwrap();
    node.close().await.unwrap();
    link.batch("CHECKPOINT").await.unwrap();
    assert!(!stands(&server, &keys[1]));
    drop(link);
    gone([node]).await;
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}
