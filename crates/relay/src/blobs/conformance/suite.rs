//! The checks. Their names are what they check.

#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use super::BlobBackend;
use super::world::*;
use crate::blobs::room::{NoRoom, Share, charge};
use crate::blobs::store::{BlobError, BlobGauges, BlobState, BlobStore, Collected, Expired, Left, NewBlob, UploadKey};
use crate::store::{StoreError, Unavailable};

/// Runs of so many bytes are looked for in what is stored.
const RUN: usize = 16;

/// What is begun in the background has this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a check where a backend can start what it needs.
pub fn run(check: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(check);
}

/// A whole upload.
async fn upload(store: &dyn BlobStore, n: u8, content: &[u8], readers: u8) {
    store.create(new(n, content.len(), readers), PLENTY).await.unwrap();
    complete(store, n, content).await.unwrap();
}

fn is_unknown<T>(result: Result<T, BlobError>) -> bool {
    matches!(result, Err(BlobError::Unknown))
}

/// Waits for what goes in the background.
async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

pub async fn bytes_come_out_as_they_went_in<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    for (n, size) in
        (1..).zip([1, 15, 64 * KIB, 512 * KIB, MIB - 1, MIB, MIB + 1, 4 * MIB, 4 * MIB + 64 * KIB, 5 * MIB + 7])
    {
        let content = content(size);
        upload(&*store, n, &content, 1).await;
        assert!(whole(&*store, n, 1).await.unwrap() == content, "{size}");
        let (download, _) = store.read(id(n), hash(1)).await.unwrap();
        for from in [size / 2, size - 1, 1.min(size - 1), size / 3] {
            assert!(read(&*download, from, size).await.unwrap() == content[from..], "{from} of {size}");
        }
        assert!(download.read(size as u64, 10).await.unwrap().is_empty(), "nothing is beyond the end");
        let end = download.read(size as u64 - 1, 10).await.unwrap();
        assert_eq!(end, content[size - 1..], "fewer at the end");
    }
    store.close().await.unwrap();
}

pub async fn what_was_synced_survives_closing_and_goes_on_there<B: BlobBackend>(backend: &B) {
    let content = content(3 * MIB + 5);
    let first = backend.open().await;
    first.create(new(1, content.len(), 1), PLENTY).await.unwrap();
    let (upload, state) = first.append(key(1)).await.unwrap();
    assert_eq!(state, BlobState { size: content.len() as u64, durable: 0, committed: false });
    write(&*upload, &content, 0, MIB + 100).await.unwrap();
    assert_eq!(upload.sync().await.unwrap(), (MIB + 100) as u64);
    // Not promised.
    write(&*upload, &content, MIB + 100, 2 * MIB).await.unwrap();
    drop(upload);
    first.close().await.unwrap();
    drop(first);

    let second = backend.open().await;
    let state = second.status(key(1)).await.unwrap();
    assert!((MIB + 100..=2 * MIB).contains(&(state.durable as usize)), "{state:?}");
    complete(&*second, 1, &content).await.unwrap();
    second.close().await.unwrap();
    drop(second);

    let third = backend.open().await;
    assert_eq!(third.collect().await.unwrap().rows, 0);
    assert!(whole(&*third, 1, 1).await.unwrap() == content);
    third.close().await.unwrap();
}

pub async fn an_upload_that_breaks_often_is_whole_in_the_end<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let content = content(2 * MIB + 300);
    store.create(new(1, content.len(), 1), PLENTY).await.unwrap();
    let mut durable = 0;
    for (step, to) in [1, 2, 17, 100, 64 * KIB, MIB - 1, MIB, MIB + 1, MIB + 2, 2 * MIB, 2 * MIB + 299, 2 * MIB + 300]
        .into_iter()
        .enumerate()
    {
        let (upload, state) = store.append(key(1)).await.unwrap();
        assert_eq!(state.durable, durable, "what was synced, and nothing else");
        write(&*upload, &content, durable as usize, to).await.unwrap();
        if step % 3 == 0 {
            assert_eq!(upload.sync().await.unwrap(), to as u64);
            assert_eq!(upload.sync().await.unwrap(), to as u64, "again it changes nothing");
            durable = to as u64;
        }
        assert_eq!(store.status(key(1)).await.unwrap().durable, durable);
    }
    complete(&*store, 1, &content).await.unwrap();
    assert!(whole(&*store, 1, 1).await.unwrap() == content);
    store.collect().await.unwrap();
    assert!(whole(&*store, 1, 1).await.unwrap() == content, "nothing of it is taken for left over");
    let stored: usize = backend.stored().iter().map(Vec::len).sum();
    assert_eq!(stored, content.len(), "what short pieces there were is gone");
    store.close().await.unwrap();
}

pub async fn what_is_not_next_is_refused<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let content = content(1_000);
    store.create(new(1, 1_000, 1), PLENTY).await.unwrap();
    let (upload, _) = store.append(key(1)).await.unwrap();
    assert_eq!(upload.write(1, pieces(&content)).await, Err(BlobError::Offset));
    assert_eq!(upload.write(0, vec![vec![0; 1_001].into()]).await, Err(BlobError::Offset));
    upload.write(0, pieces(&content[..600])).await.unwrap();
    assert_eq!(upload.write(0, pieces(&content[..600])).await, Err(BlobError::Offset));
    assert_eq!(upload.write(600, pieces(&content[..600])).await, Err(BlobError::Offset));
    upload.write(600, pieces(&content[600..])).await.unwrap();
    assert_eq!(upload.write(1_000, vec![vec![0].into()]).await, Err(BlobError::Offset));
    assert_eq!(store.commit(key(1), NOW).await, Err(BlobError::Offset), "nothing of it is promised");
    assert_eq!(upload.sync().await, Ok(1_000));
    store.commit(key(1), NOW).await.unwrap();
    assert!(whole(&*store, 1, 1).await.unwrap() == content);
    store.close().await.unwrap();
}

pub async fn the_stream_that_came_last_goes_on<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let (older, newer) = (content(3 * MIB), content(3 * MIB));
    store.create(new(1, 3 * MIB, 1), PLENTY).await.unwrap();
    let (first, _) = store.append(key(1)).await.unwrap();
    write(&*first, &older, 0, 1_500 * KIB).await.unwrap();
    let (second, state) = store.append(key(1)).await.unwrap();
    let at = state.durable as usize;
    let next = first.write(1_500 * KIB as u64, pieces(&older[..10])).await;
    assert_eq!(next, Err(BlobError::TakenOver));
    assert_eq!(first.sync().await, Err(BlobError::TakenOver));
    write(&*second, &newer, at, 3 * MIB).await.unwrap();
    assert_eq!(second.sync().await, Ok(3 * MIB as u64));
    assert_eq!(first.sync().await, Err(BlobError::TakenOver));
    store.commit(key(1), NOW).await.unwrap();
    let got = whole(&*store, 1, 1).await.unwrap();
    assert!(got[..at] == older[..at] && got[at..] == newer[at..]);
    assert_eq!(second.write(0, pieces(&newer[..1])).await, Err(BlobError::Committed));
    store.close().await.unwrap();
}

pub async fn only_the_uploader_goes_on<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    upload(&*store, 1, &content(10), 1).await;
    store.create(new(2, 10, 1), PLENTY).await.unwrap();
    for n in [1, 2] {
        for wrong in [
            UploadKey { account: account(2), ..key(n) },
            UploadKey { token: hash(0), ..key(n) },
            UploadKey { id: id(3), ..key(n) },
        ] {
            assert!(is_unknown(store.append(wrong).await));
            assert!(is_unknown(store.status(wrong).await));
            assert!(is_unknown(store.commit(wrong, NOW).await));
            assert!(is_unknown(store.discard(wrong, Vec::new()).await));
            assert!(is_unknown(store.discard(wrong, vec![hash(1)]).await));
        }
    }
    assert!(whole(&*store, 1, 1).await.is_ok());
    assert!(store.append(key(2)).await.is_ok());
    store.close().await.unwrap();
}

pub async fn a_blob_is_read_once_it_is_complete<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let content = content(100_000);
    store.create(new(1, content.len(), 2), PLENTY).await.unwrap();
    assert!(matches!(store.read(id(1), hash(1)).await, Err(BlobError::NotCommitted)));
    assert_eq!(store.done(id(1), hash(1)).await, Err(BlobError::NotCommitted));
    assert!(is_unknown(store.read(id(1), hash(3)).await));
    assert_eq!(store.commit(key(1), NOW).await, Err(BlobError::Offset));
    complete(&*store, 1, &content).await.unwrap();
    store.commit(key(1), NOW + 5).await.unwrap();
    assert!(matches!(store.append(key(1)).await, Err(BlobError::Committed)));
    let state = store.status(key(1)).await.unwrap();
    assert_eq!(state, BlobState { size: 100_000, durable: 100_000, committed: true });
    assert!(is_unknown(store.read(id(1), hash(3)).await), "another capability");
    assert!(is_unknown(store.read(id(2), hash(1)).await), "another blob");
    assert!(whole(&*store, 1, 1).await.unwrap() == content && whole(&*store, 1, 2).await.unwrap() == content);
    store.close().await.unwrap();
}

pub async fn the_last_reader_erases<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let content = content(MIB + 1);
    upload(&*store, 1, &content, 2).await;
    assert_eq!(store.done(id(1), hash(3)).await, Err(BlobError::Unknown));
    assert_eq!(store.done(id(1), hash(1)).await, Ok(Left::Readers));
    assert!(is_unknown(store.read(id(1), hash(1)).await));
    assert_eq!(store.done(id(1), hash(1)).await, Err(BlobError::Unknown));
    assert!(whole(&*store, 1, 2).await.unwrap() == content);
    assert_eq!(store.done(id(1), hash(2)).await, Ok(Left::Nothing));
    assert!(is_unknown(store.read(id(1), hash(2)).await));
    assert!(is_unknown(store.status(key(1)).await));
    assert_eq!(store.gauges().await.unwrap(), BlobGauges::default());
    until("its bytes are gone", || backend.stored().is_empty()).await;
    // Its name is free, as if it had never been.
    upload(&*store, 1, &content, 1).await;
    assert!(whole(&*store, 1, 1).await.unwrap() == content);
    store.close().await.unwrap();
}

pub async fn one_of_two_last_readers_erases<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    for n in 1..=10 {
        upload(&*store, n, &content(100), 2).await;
        let [one, other] = [1, 2].map(|reader| tokio::spawn(store.done(id(n), hash(reader))));
        let left = [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()];
        assert!(left.contains(&Left::Readers) && left.contains(&Left::Nothing), "{left:?}");
    }
    assert_eq!(store.gauges().await.unwrap().blobs, 0);
    store.close().await.unwrap();
}

pub async fn a_capability_for_all_stays<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let content = content(100);
    store.create(NewBlob { shared: true, ..new(1, 100, 1) }, PLENTY).await.unwrap();
    complete(&*store, 1, &content).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.done(id(1), hash(1)).await, Ok(Left::Shared));
        assert!(whole(&*store, 1, 1).await.unwrap() == content);
    }
    store.discard(key(1), Vec::new()).await.unwrap();
    assert!(is_unknown(store.read(id(1), hash(1)).await));
    store.close().await.unwrap();
}

pub async fn the_uploader_takes_readers_off_and_discards<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    upload(&*store, 1, &content(100), 3).await;
    store.discard(key(1), vec![hash(1), hash(9)]).await.unwrap();
    assert!(is_unknown(store.read(id(1), hash(1)).await));
    assert!(whole(&*store, 1, 2).await.is_ok());
    store.discard(key(1), vec![hash(2), hash(3)]).await.unwrap();
    assert!(is_unknown(store.discard(key(1), Vec::new()).await), "no reader was left");
    // In the middle of an upload, too.
    store.create(new(2, 2 * MIB, 1), PLENTY).await.unwrap();
    let (upload, _) = store.append(key(2)).await.unwrap();
    let bytes = content(2 * MIB);
    write(&*upload, &bytes, 0, MIB + 1).await.unwrap();
    upload.sync().await.unwrap();
    store.discard(key(2), Vec::new()).await.unwrap();
    until("its bytes are gone", || backend.stored().is_empty()).await;
    store.close().await.unwrap();
}

pub async fn an_account_has_its_share<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let one = charge(1_000, 1);
    let share = Share { bytes: 3 * one, blobs: 2, room: 1 << 40 };
    let create = |n, size, share| store.create(new(n, size, 1), share);
    create(1, 1_000, share).await.unwrap();
    create(2, 1_000, share).await.unwrap();
    assert_eq!(create(3, 1, share).await, Err(BlobError::NoRoom(NoRoom::Account)), "so many blobs");
    let share = Share { blobs: 9, ..share };
    assert_eq!(create(3, 1_001, share).await, Err(BlobError::NoRoom(NoRoom::Account)), "so many bytes");
    assert!(is_unknown(store.status(key(3)).await), "nothing is left of what was refused");
    create(3, 1_000, share).await.unwrap();
    // Another one has its own.
    store.create(NewBlob { account: account(2), ..new(4, 1_000, 1) }, share).await.unwrap();
    // What was promised to uploads counts as taken of the room.
    let room = Share { room: 4 * one, ..PLENTY };
    assert_eq!(create(5, 1_000, room).await, Err(BlobError::NoRoom(NoRoom::Disk)));
    store.discard(key(1), Vec::new()).await.unwrap();
    create(6, 1_000, share).await.unwrap();
    store.close().await.unwrap();
}

pub async fn concurrent_uploads_take_no_more_than_there_is<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let admitted = async |new: Vec<NewBlob>, share: Share| {
        let begun: Vec<_> = new.into_iter().map(|blob| tokio::spawn(store.create(blob, share))).collect();
        let mut admitted = 0;
        for one in begun {
            match one.await.unwrap() {
                Ok(()) => admitted += 1,
                Err(error) => assert!(matches!(error, BlobError::NoRoom(_)), "{error:?}"),
            }
        }
        admitted
    };
    // Of one account, which has an end.
    let share = Share { blobs: 3, ..PLENTY };
    assert_eq!(admitted((1..=12).map(|n| new(n, 1_000, 1)).collect(), share).await, 3);
    let bytes = Share { bytes: 5 * charge(1_000, 1) + 10, ..PLENTY };
    assert_eq!(admitted((21..=32).map(|n| new(n, 1_000, 1)).collect(), bytes).await, 2);
    // Of several, of a room that has an end: each has a quarter of what is left.
    let others = (41..=60).map(|n| NewBlob { account: account(n), ..new(n, 100_000, 1) }).collect();
    let room = 1_000_000;
    let most = admitted(others, Share { room, ..PLENTY }).await;
    assert!((1..=6).contains(&most), "{most} of which each may have a quarter of what is left");
    store.close().await.unwrap();
}

pub async fn uploads_and_blobs_expire<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    store.create(NewBlob { created_at: 100, ..new(1, 10, 1) }, PLENTY).await.unwrap();
    store.create(NewBlob { created_at: 200, ..new(2, 10, 1) }, PLENTY).await.unwrap();
    for (n, at) in [(3, 300), (4, 400)] {
        store.create(NewBlob { created_at: 50, ..new(n, 10, 1) }, PLENTY).await.unwrap();
        let (upload, _) = store.append(key(n)).await.unwrap();
        upload.write(0, pieces(&content(10))).await.unwrap();
        upload.sync().await.unwrap();
        store.commit(key(n), at).await.unwrap();
    }
    assert_eq!(store.expire(100, 300).await.unwrap(), Expired::default());
    assert_eq!(store.expire(101, 301).await.unwrap(), Expired { uploads: 1, blobs: 1 });
    assert!(is_unknown(store.status(key(1)).await) && is_unknown(store.read(id(3), hash(1)).await));
    assert!(store.status(key(2)).await.is_ok() && whole(&*store, 4, 1).await.is_ok());
    for n in 100..=255 {
        store.create(NewBlob { created_at: 100, ..new(n, 10, 1) }, PLENTY).await.unwrap();
    }
    assert_eq!(store.expire(u64::MAX, 0).await.unwrap(), Expired { uploads: 157, blobs: 0 });
    assert_eq!(store.expire(0, u64::MAX).await.unwrap(), Expired { uploads: 0, blobs: 1 });
    until("their bytes are gone", || backend.stored().is_empty()).await;
    store.close().await.unwrap();
}

pub async fn an_account_s_blobs_go_with_it<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    upload(&*store, 1, &content(MIB + 1), 2).await;
    store.create(new(2, 10, 1), PLENTY).await.unwrap();
    store.create(NewBlob { account: account(2), ..new(3, 10, 1) }, PLENTY).await.unwrap();
    assert_eq!(store.delete_account(account(1)).await, Ok(2));
    assert_eq!(store.delete_account(account(1)).await, Ok(0));
    assert!(is_unknown(store.read(id(1), hash(1)).await) && is_unknown(store.append(key(2)).await));
    assert_eq!(store.gauges().await.unwrap().uploads, 1, "another one's stays");
    until("its bytes are gone", || backend.stored().is_empty()).await;
    store.close().await.unwrap();
}

pub async fn what_is_erased_ends_for_those_that_have_it_open<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let bytes = content(2 * MIB);
    upload(&*store, 1, &bytes, 1).await;
    let (download, _) = store.read(id(1), hash(1)).await.unwrap();
    download.read(0, 100).await.unwrap();
    store.create(new(2, 2 * MIB, 1), PLENTY).await.unwrap();
    let (upload, _) = store.append(key(2)).await.unwrap();
    write(&*upload, &bytes, 0, MIB + 1).await.unwrap();
    assert_eq!(store.delete_account(account(1)).await, Ok(2));
    // Also what was read ahead.
    assert!(is_unknown(download.read(100, 100).await));
    assert!(is_unknown(download.read(MIB as u64, 100).await));
    assert!(is_unknown(upload.write((MIB + 1) as u64, pieces(&bytes[..1])).await));
    assert!(is_unknown(upload.sync().await));
    store.collect().await.unwrap();
    until("its bytes are gone", || backend.stored().is_empty()).await;
    store.close().await.unwrap();
}

pub async fn what_there_is_is_counted<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    assert_eq!(store.gauges().await.unwrap(), BlobGauges::default());
    upload(&*store, 1, &content(1_000), 1).await;
    upload(&*store, 2, &content(500), 1).await;
    store.create(new(3, 10_000, 1), PLENTY).await.unwrap();
    assert_eq!(store.gauges().await.unwrap(), BlobGauges { blobs: 2, bytes: 1_500, uploads: 1 });
    store.close().await.unwrap();
}

pub async fn what_is_stored_shows_nothing<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let (content, same) = (content(MIB + 100), vec![0; MIB + 100]);
    upload(&*store, 1, &content, 1).await;
    upload(&*store, 2, &same, 1).await;
    let stored = backend.stored();
    assert_eq!(stored.iter().map(Vec::len).sum::<usize>(), 2 * (MIB + 100));
    let runs: std::collections::HashSet<&[u8]> = content.windows(RUN).step_by(RUN).collect();
    let mut seen = std::collections::HashSet::new();
    for bytes in &stored {
        assert!(bytes.windows(RUN).all(|run| !runs.contains(run)), "it is encrypted once more");
        assert!(bytes.chunks_exact(RUN).all(|run| seen.insert(run.to_vec())), "equal bytes look different everywhere");
    }
    store.close().await.unwrap();
}

pub async fn what_lacks_its_other_half_is_collected<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    let bytes = content(MIB + 100);
    upload(&*store, 1, &bytes, 1).await;
    store.create(new(2, 10, 1), PLENTY).await.unwrap();
    store.create(new(3, 3 * MIB, 1), PLENTY).await.unwrap();
    let (upload, _) = store.append(key(3)).await.unwrap();
    write(&*upload, &bytes, 0, MIB + 100).await.unwrap();
    assert_eq!(store.collect().await.unwrap(), Collected::default(), "what is under way is whole");
    upload.sync().await.unwrap();
    assert_eq!(store.collect().await.unwrap(), Collected::default());
    let before = backend.stored().len();
    backend.strew();
    assert_eq!(backend.stored().len(), before + 1);
    assert_eq!(store.collect().await.unwrap(), Collected { files: 1, rows: 0 });
    assert_eq!(backend.stored().len(), before);
    assert!(whole(&*store, 1, 1).await.unwrap() == bytes);
    backend.lose();
    assert!(matches!(whole(&*store, 1, 1).await, Err(BlobError::Store(_))) || before == 0);
    assert_eq!(store.collect().await.unwrap(), Collected { files: 0, rows: 2 }, "the second has nothing to lose");
    assert!(is_unknown(store.read(id(1), hash(1)).await) && is_unknown(store.status(key(3)).await));
    assert!(store.status(key(2)).await.is_ok());
    store.close().await.unwrap();
}

pub async fn a_closed_store_refuses_blobs<B: BlobBackend>(backend: &B) {
    let store = backend.open().await;
    upload(&*store, 1, &content(10), 1).await;
    store.close().await.unwrap();
    let stopped = BlobError::Store(StoreError::Unavailable(Unavailable::Stopped));
    assert_eq!(store.create(new(2, 10, 1), PLENTY).await, Err(stopped.clone()));
    assert_eq!(store.read(id(1), hash(1)).await.map(drop), Err(stopped.clone()));
    assert_eq!(store.append(key(1)).await.map(drop), Err(stopped.clone()));
    assert_eq!(store.done(id(1), hash(1)).await, Err(stopped.clone()));
    assert_eq!(store.gauges().await, Err(stopped));
    let again: Arc<dyn BlobStore> = store;
    drop(again);
}
