//! Files on their way: uploads that are cut and go on, readers with a capability each, and nothing left after the last.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::{Config, ManualClock};
use kuvert_relay_sqlite::Embedded;
use kuvert_types::BlobCapability;
use kuvert_wire::v1;
use kuvert_wire::v1::blob_request::What as Ask;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;

use crate::common::blob::*;
use crate::common::process::Process;
use crate::common::*;

const MIB: usize = 1024 * 1024;

/// Runs of so many bytes are looked for.
const RUN: usize = 16;

/// Without an account's first day, which has its own test.
fn old(data: &Path) -> Config {
    let mut config = config(data);
    config.limits.young_account_mib = 4096;
    config
}

/// Every file below a directory.
pub fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Whether a run of `secret` stands in a file of the relay's. Each 16-byte run of it is looked for.
fn stands(data: &Path, secret: &[u8]) -> bool {
    stands_in(&files(data), secret)
}

pub fn stands_in(files: &[PathBuf], secret: &[u8]) -> bool {
    let run = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().unwrap());
    let runs: HashSet<u128> = secret.windows(RUN).map(run).collect();
    // Most places in a file are none already by their first three bytes.
    let begins = |run: u128| (run >> 104) as usize;
    let mut begun = vec![false; 1 << 24];
    runs.iter().for_each(|run| begun[begins(*run)] = true);
    let found = |bytes: &[u8]| begun[begins(run(bytes))] && runs.contains(&run(bytes));
    files.iter().any(|path| fs::read(path).unwrap().windows(RUN).any(found))
}

/// The keys that stand in the database now.
fn row_keys(data: &Path) -> Vec<Vec<u8>> {
    let database = rusqlite::Connection::open(data.join("blobs.db")).unwrap();
    let mut keys = database.prepare("SELECT key FROM blob_key WHERE key <> zeroblob(32)").unwrap();
    keys.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Rows have files and files have rows, and no more keys stand there than rows.
fn fits(data: &Path) {
    let database = rusqlite::Connection::open(data.join("blobs.db")).unwrap();
    let mut rows = database.prepare("SELECT lower(hex(id)), durable FROM blob").unwrap();
    let rows: Vec<(String, i64)> =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(row_keys(data).len(), rows.len());
    let directory = data.join("blobs");
    for (name, durable) in &rows {
        let len = fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
        assert!(i64::try_from(len).unwrap() >= *durable, "{name} has {len} of {durable} bytes");
    }
    let named: BTreeSet<_> = rows.iter().map(|(name, _)| name.clone()).collect();
    for file in files(&directory) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(named.contains(&name), "{name} has no row");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_reaches_each_reader_and_no_byte_of_it_is_left_after_the_last() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let bob = Client::register(relay.address(), &Device::new()).await;
    for size in [1, PIECE - 1, PIECE, PIECE + 1, MIB + 7] {
        let (blob, readers) = (blob(size), [capability(), capability()]);
        let uploaded = upload(&alice.connection, &blob, &readers).await;
        let keys = row_keys(data.path());
        assert_eq!(keys.len(), 1);
        assert!(size < RUN || !stands(data.path(), &blob), "the relay encrypts it once more");
        assert!(stands(data.path(), &keys[0]), "what is looked for below is there now");

        assert_eq!(read(&bob.connection, &uploaded, &readers[0], 0).await.unwrap(), blob);
        let carol = unnamed(relay.address()).await;
        for offset in [1, size / 2, size - 1, size] {
            let rest = read(&carol.connection, &uploaded, &readers[1], offset as u64).await.unwrap();
            assert!(rest == blob[offset..], "{offset} of {size}");
        }
        assert_eq!(read(&bob.connection, &uploaded, &readers[0], size as u64 + 1).await, Err(Code::BlobOffset));

        done(&bob.connection, &uploaded, &readers[0]).await.unwrap();
        assert_eq!(read(&bob.connection, &uploaded, &readers[0], 0).await, Err(Code::BlobUnknown));
        assert_eq!(done(&bob.connection, &uploaded, &readers[0]).await, Err(Code::BlobUnknown), "it was done");
        assert_eq!(read(&carol.connection, &uploaded, &readers[1], 0).await.unwrap(), blob, "the other one's stays");

        let carol = unnamed(relay.address()).await;
        done(&carol.connection, &uploaded, &readers[1]).await.unwrap();
        assert_eq!(read(&carol.connection, &uploaded, &readers[1], 0).await, Err(Code::BlobUnknown));
        assert_eq!(on(&alice.connection, status(&uploaded)).await, Err(Code::BlobUnknown));
        assert!(files(&data.path().join("blobs")).is_empty());
        assert!(!stands(data.path(), &keys[0]), "its key is erased, in the log as well");
        assert!(size < RUN || !stands(data.path(), &blob));
    }
    relay.shutdown().await;
    fits(data.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_anywhere_goes_on_where_the_relay_says() {
    let data = tempfile::tempdir().unwrap();
    let relay = start_with(old(data.path()), Arc::new(kuvert_relay::SystemClock::new())).await;
    let device = Device::new();
    drop(Client::register(relay.address(), &device).await);
    let (blob, reader) = (blob(9 * MIB + 13), capability());
    let (alice, _) = Client::authenticate(relay.address(), &device).await;
    let uploaded = begin(&alice.connection, create(blob.len() as u64, &[reader])).await.unwrap();
    let mut last = 0;
    for cut in
        [0, 1, 100, PIECE, PIECE + 1, 3 * PIECE, 2 * MIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + PIECE, 9 * MIB, blob.len()]
    {
        // A new connection each time, which ends in the middle of it.
        let (client, _) = Client::authenticate(relay.address(), &device).await;
        let mut stream = Stream::open(&client.connection).await;
        let (request, state) = stream.append(&uploaded).await.unwrap();
        assert!(state.durable >= last && state.durable <= cut as u64, "{cut}: {} after {last}", state.durable);
        stream.pieces(request, &blob, state.durable as usize, cut).await;
        last = state.durable;
        if cut % 2 == 0 {
            // So that it has arrived; else it may be lost with the connection.
            stream.send.finish().unwrap();
            while stream.frame().await.is_some() {}
            let status = on(&client.connection, status(&uploaded)).await.map(blob::state).unwrap();
            assert_eq!(status.durable, cut as u64, "what came before the stream's end is kept");
            last = status.durable;
        }
        client.connection.close(0u32.into(), b"");
    }
    resume(&alice.connection, &uploaded, &blob).await;
    assert!(read(&alice.connection, &uploaded, &reader, 0).await.unwrap() == blob);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_says_what_is_durable_after_each_four_mebibytes() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let (blob, reader) = (blob(17 * MIB), capability());
    let uploaded = begin(&alice.connection, create(blob.len() as u64, &[reader])).await.unwrap();
    let mut stream = Stream::open(&alice.connection).await;
    let (request, _) = stream.append(&uploaded).await.unwrap();
    for step in 1..=4 {
        stream.pieces(request, &blob, (step - 1) * 4 * MIB, step * 4 * MIB).await;
        stream.durable((step * 4 * MIB) as u64).await;
    }
    // The rest is told without being asked for, too.
    stream.pieces(request, &blob, 16 * MIB, 17 * MIB).await;
    stream.durable(17 * MIB as u64).await;
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_that_came_last_goes_on_with_an_upload() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let (blob, reader) = (blob(MIB), capability());
    let uploaded = begin(&alice.connection, create(blob.len() as u64, &[reader])).await.unwrap();
    let mut first = Stream::open(&alice.connection).await;
    let (of_first, _) = first.append(&uploaded).await.unwrap();
    first.pieces(of_first, &blob, 0, PIECE).await;
    let mut second = Stream::open(&alice.connection).await;
    let (of_second, state) = second.append(&uploaded).await.unwrap();
    // Where the relay came to read its first piece only now, it has ended the stream already.
    let piece = v1::BlobPiece { offset: PIECE as u64, bytes: Bytes::copy_from_slice(&blob[PIECE..2 * PIECE]) };
    let _ = first.try_send(of_first, Ask::Piece(piece)).await;
    let refused = loop {
        match first.answer().await {
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    assert_eq!(refused, Code::BlobTakenOver);
    assert!(first.frame().await.is_none(), "the stream ends");
    second.pieces(of_second, &blob, state.durable as usize, MIB).await;
    second.durable(MIB as u64).await;
    assert!(matches!(second.ask(commit(&uploaded)).await, Ok(Response::Done(_))));
    assert!(read(&alice.connection, &uploaded, &reader, 0).await.unwrap() == blob);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_reads_appends_commits_and_discards() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let mallory = Client::register(relay.address(), &Device::new()).await;
    let (blob, reader) = (blob(100_000), capability());
    let uploaded = begin(&alice.connection, create(blob.len() as u64, &[reader])).await.unwrap();
    let at_alice = async |ask| on(&alice.connection, ask).await;
    let at_mallory = async |ask| on(&mallory.connection, ask).await;

    assert_eq!(read(&mallory.connection, &uploaded, &reader, 0).await, Err(Code::NotReady), "its upload goes on");
    assert_eq!(done(&mallory.connection, &uploaded, &reader).await, Err(Code::NotReady));
    assert_eq!(read(&mallory.connection, &uploaded, &capability(), 0).await, Err(Code::BlobUnknown));
    assert_eq!(at_alice(commit(&uploaded)).await, Err(Code::BlobOffset), "nothing has come");

    // The token is alice's account's alone, and a token that is another is none.
    let other_token = Uploaded { token: random::<32>().to_vec().into(), ..uploaded.clone() };
    let other_blob = Uploaded { blob: random::<16>().to_vec().into(), ..uploaded.clone() };
    for ask in [append, status, commit, discard] {
        assert_eq!(at_mallory(ask(&uploaded)).await, Err(Code::BlobUnknown));
        assert_eq!(at_alice(ask(&other_token)).await, Err(Code::BlobUnknown));
        assert_eq!(at_alice(ask(&other_blob)).await, Err(Code::BlobUnknown));
    }
    resume(&alice.connection, &uploaded, &blob).await;
    let mut late = Stream::open(&alice.connection).await;
    let (request, state) = late.append(&uploaded).await.unwrap();
    assert_eq!((state.committed, state.durable), (true, state.size), "what to do after a lost answer is told");
    late.pieces(request, &blob, 0, 1).await;
    assert_eq!(late.answer().await.unwrap_err(), Code::Invalid, "it is complete");
    assert!(matches!(at_alice(commit(&uploaded)).await, Ok(Response::Done(_))), "again after a lost answer");

    // Another reader's capability, that of another blob, the hash that the relay keeps.
    let another = upload(&alice.connection, &blob, &[capability()]).await;
    assert_eq!(read(&mallory.connection, &another, &reader, 0).await, Err(Code::BlobUnknown));
    let hash = BlobCapability::from_bytes(reader.hash());
    assert_eq!(read(&mallory.connection, &uploaded, &hash, 0).await, Err(Code::BlobUnknown));
    assert_eq!(done(&mallory.connection, &uploaded, &hash).await, Err(Code::BlobUnknown));
    assert_eq!(read(&mallory.connection, &other_blob, &reader, 0).await, Err(Code::BlobUnknown));
    assert!(read(&mallory.connection, &uploaded, &reader, 0).await.is_ok(), "a capability is all that reading needs");

    assert!(matches!(at_alice(discard(&uploaded)).await, Ok(Response::Done(_))));
    assert_eq!(read(&mallory.connection, &uploaded, &reader, 0).await, Err(Code::BlobUnknown));
    assert_eq!(at_alice(discard(&uploaded)).await, Err(Code::BlobUnknown));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_the_uploader_takes_off_reads_no_more() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let (blob, [kept, dropped]) = (blob(100_000), [capability(), capability()]);
    let uploaded = upload(&alice.connection, &blob, &[kept, dropped]).await;
    let take_off = |reader: &BlobCapability| {
        let readers = vec![Bytes::copy_from_slice(&reader.hash())];
        Ask::Discard(v1::DiscardBlob { blob: uploaded.blob.clone(), token: uploaded.token.clone(), readers })
    };
    let at_alice = async |ask| on(&alice.connection, ask).await;
    assert!(matches!(at_alice(take_off(&dropped)).await, Ok(Response::Done(_))));
    let removed_device = unnamed(relay.address()).await;
    assert_eq!(read(&removed_device.connection, &uploaded, &dropped, 0).await, Err(Code::BlobUnknown));
    assert!(read(&removed_device.connection, &uploaded, &kept, 0).await.unwrap() == blob);
    assert!(matches!(at_alice(take_off(&kept)).await, Ok(Response::Done(_))));
    assert!(files(&data.path().join("blobs")).is_empty(), "no reader is left");
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_next_piece_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let blob = blob(3 * PIECE);
    let uploaded = begin(&alice.connection, create(blob.len() as u64, &[capability()])).await.unwrap();
    let piece = |offset: usize, len: usize| {
        Ask::Piece(v1::BlobPiece { offset: offset as u64, bytes: Bytes::copy_from_slice(&vec![7; len]) })
    };
    for (offset, len, code) in [
        (1, PIECE, Code::BlobOffset),
        (PIECE, PIECE, Code::BlobOffset),
        (0, 0, Code::Malformed),
        (0, PIECE + 1, Code::Malformed),
        (usize::MAX, 1, Code::BlobOffset),
    ] {
        let mut stream = Stream::open(&alice.connection).await;
        let (request, _) = stream.append(&uploaded).await.unwrap();
        stream.try_send(request, piece(offset, len)).await.unwrap();
        assert_eq!(stream.answer().await, Err(code), "{offset} {len}");
        assert!(stream.frame().await.is_none(), "the stream ends");
    }
    // One byte beyond the end.
    let mut stream = Stream::open(&alice.connection).await;
    let (request, _) = stream.append(&uploaded).await.unwrap();
    stream.pieces(request, &blob, 0, 3 * PIECE - 5).await;
    stream.try_send(request, piece(3 * PIECE - 5, 6)).await.unwrap();
    let refused = loop {
        match stream.answer().await {
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    assert_eq!(refused, Code::BlobOffset);
    // A piece out of nowhere, and what is no request about a blob.
    assert_eq!(on(&alice.connection, piece(0, 1)).await, Err(Code::Invalid));
    resume(&alice.connection, &uploaded, &blob).await;
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_blob_can_be_is_not_begun() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.max_file_mib = 1;
    let relay = start_with(config, Arc::new(kuvert_relay::SystemClock::new())).await;
    let mut alice = Client::connect(relay.address()).await;
    let (max, proof) = match alice.ask(Request::Hello(v1::Hello { version: kuvert_wire::VERSION })).await {
        Response::Challenge(challenge) => (challenge.max_blob_bytes, challenge),
        other => panic!("{other:?}"),
    };
    assert!(max > MIB as u64 && max < 2 * MIB as u64 && proof.challenge.len() == 32);
    let alice = Client::register(relay.address(), &Device::new()).await;
    let [one, two] = [capability(), capability()];
    let readers = |readers: &[&[u8]]| readers.iter().map(|reader| Bytes::copy_from_slice(reader)).collect();
    let ask = |size, readers, shared| Ask::Create(v1::CreateBlob { size, readers, shared });
    let (one, two) = (one.hash(), two.hash());
    for (asked, code) in [
        (ask(0, readers(&[&one]), false), Code::Invalid),
        (ask(1, readers(&[]), false), Code::Invalid),
        (ask(1, readers(&[&one, &one]), false), Code::Invalid),
        (ask(1, readers(&[&one, &two]), true), Code::Invalid),
        (ask(1, readers(&[&one[..31]]), false), Code::Malformed),
        (ask(1, vec![Bytes::copy_from_slice(&one); 1_025], false), Code::Invalid),
        (ask(max + 1, readers(&[&one]), false), Code::TooLarge),
        (ask(u64::MAX, readers(&[&one]), false), Code::TooLarge),
    ] {
        assert_eq!(begin(&alice.connection, asked).await, Err(code));
    }
    assert!(begin(&alice.connection, ask(max, readers(&[&one, &two]), false)).await.is_ok());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capability_for_all_readers_tells_no_number_and_ends_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let (blob, shared) = (blob(100_000), capability());
    let readers = vec![Bytes::copy_from_slice(&shared.hash())];
    let asked = Ask::Create(v1::CreateBlob { size: blob.len() as u64, readers, shared: true });
    let uploaded = begin(&alice.connection, asked).await.unwrap();
    resume(&alice.connection, &uploaded, &blob).await;
    for _ in 0..3 {
        let reader = unnamed(relay.address()).await;
        assert!(read(&reader.connection, &uploaded, &shared, 0).await.unwrap() == blob);
        done(&reader.connection, &uploaded, &shared).await.unwrap();
    }
    clock.advance(DAY * 29);
    relay.expire().await.unwrap();
    assert!(read(&unnamed(relay.address()).await.connection, &uploaded, &shared, 0).await.is_ok());
    clock.advance(DAY + Duration::from_secs(1));
    relay.expire().await.unwrap();
    let keys = row_keys(data.path());
    assert!(keys.is_empty() && files(&data.path().join("blobs")).is_empty());
    assert_eq!(read(&unnamed(relay.address()).await.connection, &uploaded, &shared, 0).await, Err(Code::BlobUnknown));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fetched_or_not_completed_in_time_is_erased() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let (blob, reader) = (blob(200_000), capability());
    let complete = upload(&alice.connection, &blob, &[reader]).await;
    let upload = begin(&alice.connection, create(blob.len() as u64, &[reader])).await.unwrap();
    let mut stream = Stream::open(&alice.connection).await;
    let (request, _) = stream.append(&upload).await.unwrap();
    stream.pieces(request, &blob, 0, 2 * PIECE).await;
    stream.send.finish().unwrap();
    while stream.frame().await.is_some() {}
    let keys = row_keys(data.path());
    assert_eq!(keys.len(), 2);

    let at_alice = async |ask| on(&alice.connection, ask).await;
    clock.advance(DAY - Duration::from_secs(1));
    relay.expire().await.unwrap();
    assert!(at_alice(status(&upload)).await.is_ok());
    clock.advance(Duration::from_secs(2));
    relay.expire().await.unwrap();
    assert_eq!(at_alice(status(&upload)).await, Err(Code::BlobUnknown));
    assert!(read(&alice.connection, &complete, &reader, 0).await.is_ok(), "a complete one is kept like mail");

    clock.advance(DAY * 29);
    relay.expire().await.unwrap();
    assert_eq!(read(&alice.connection, &complete, &reader, 0).await, Err(Code::BlobUnknown));
    assert!(!stands(data.path(), &blob) && keys.iter().all(|key| !stands(data.path(), key)));
    assert!(files(&data.path().join("blobs")).is_empty());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_deleted_account_are_erased_and_readers_in_the_middle_get_no_more() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let device = Device::new();
    let mut alice = Client::register(relay.address(), &device).await;
    let (blob, reader) = (blob(8 * MIB), capability());
    let uploaded = upload(&alice.connection, &blob, &[reader]).await;
    let keys = row_keys(data.path());
    let slow = unnamed(relay.address()).await;
    let mut stream = Stream::open(&slow.connection).await;
    stream.state(ask_read(&uploaded, &reader, 0)).await.unwrap();
    let first = piece(stream.answer().await.unwrap(), 0);
    assert!(first == blob[..first.len()]);
    assert!(matches!(alice.ask(Request::DeleteAccount(v1::DeleteAccount {})).await, Response::Done(_)));
    let mut received = first.len();
    let ended = loop {
        match stream.answer().await {
            Ok(answer) => received += piece(answer, received as u64).len(),
            Err(code) => break code,
        }
    };
    assert_eq!(ended, Code::BlobUnknown);
    assert!(received < blob.len(), "what was on its way, and no more");
    assert!(keys.iter().all(|key| !stands(data.path(), key)) && files(&data.path().join("blobs")).is_empty());
    let of_blobs = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("blobs.db");
    let of_blobs: Vec<_> = files(data.path()).into_iter().filter(of_blobs).collect();
    assert!(!of_blobs.is_empty() && !stands_in(&of_blobs, device.address.account.as_bytes()), "nor who uploaded it");
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_up_no_other() {
    let data = tempfile::tempdir().unwrap();
    let relay = start_with(old(data.path()), Arc::new(kuvert_relay::SystemClock::new())).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let (blob, [slow, quick]) = (blob(6 * MIB), [capability(), capability()]);
    let uploaded = upload(&alice.connection, &blob, &[slow, quick]).await;
    let (bob, carol) = (unnamed(relay.address()).await, unnamed(relay.address()).await);
    let mut standing = Stream::open(&bob.connection).await;
    standing.state(ask_read(&uploaded, &slow, 0)).await.unwrap();
    // Bob takes nothing; carol has all of it meanwhile, and is done.
    assert!(read(&carol.connection, &uploaded, &quick, 0).await.unwrap() == blob);
    done(&carol.connection, &uploaded, &quick).await.unwrap();
    let mut received = Vec::new();
    while received.len() < blob.len() {
        let at = received.len() as u64;
        received.extend(piece(standing.answer().await.unwrap(), at));
    }
    assert!(received == blob);
    done(&bob.connection, &uploaded, &slow).await.unwrap();
    assert!(files(&data.path().join("blobs")).is_empty());
    relay.shutdown().await;
}

/// While more than half of the transfers are under way, a peer that sends nothing or takes nothing makes room after five seconds; one that came before
/// has its minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stands_still_on_its_stream_makes_room_for_others() {
    const ACCOUNTS: usize = 32;
    let data = tempfile::tempdir().unwrap();
    let relay = start_with(old(data.path()), Arc::new(kuvert_relay::SystemClock::new())).await;
    let mut clients = Vec::new();
    for _ in 0..ACCOUNTS {
        clients.push(Client::register(relay.address(), &Device::new()).await);
    }
    let (file, reader) = (blob(6 * MIB), capability());
    let whole = upload(&clients[0].connection, &file, &[reader]).await;
    // Accounts have as many transfers as all of them may: half of all. One more, and there are many.
    let mut standing = Vec::new();
    for client in &clients {
        let uploaded = begin(&client.connection, create(10, &[capability()])).await.unwrap();
        for _ in 0..4 {
            let mut stream = Stream::open(&client.connection).await;
            stream.state(status(&uploaded)).await.unwrap();
            standing.push((stream, uploaded.clone()));
        }
    }
    let (quiet, full) = (unnamed(relay.address()).await, unnamed(relay.address()).await);
    let mut silent = Stream::open(&quiet.connection).await;
    silent.state(ask_read(&whole, &reader, file.len() as u64)).await.unwrap();
    let mut taking = Stream::open(&full.connection).await;
    taking.state(ask_read(&whole, &reader, 0)).await.unwrap();
    assert_eq!(silent.answer().await, Err(Code::Limited), "it asks for nothing");
    assert!(silent.frame().await.is_none());
    assert_eq!(taking.reset().await, 3, "it takes nothing: not reading");
    let (first, uploaded) = &mut standing[0];
    first.state(status(&uploaded.clone())).await.expect("it came before there were many");
    // It goes on over a new stream, from where it was.
    for (stream, _) in standing.drain(..4) {
        stream.close().await;
    }
    assert!(read(&clients[0].connection, &whole, &reader, MIB as u64).await.unwrap() == file[MIB..]);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_name_reads_and_does_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let uploaded = begin(&alice.connection, create(10, &[capability()])).await.unwrap();
    let reader = unnamed(relay.address()).await;
    for ask in
        [create(10, &[capability()]), append(&uploaded), status(&uploaded), commit(&uploaded), discard(&uploaded)]
    {
        assert_eq!(on(&reader.connection, ask).await, Err(Code::NotAuthenticated));
    }
    // A stream for a blob says what the connection is for: what its first stream says now has no answer.
    let mut late = unnamed(relay.address()).await;
    assert_eq!(read(&late.connection, &uploaded, &capability(), 0).await, Err(Code::BlobUnknown));
    assert!(late.try_send(Request::CountPrekeys(v1::CountPrekeys {})).await);
    assert_eq!(read(&late.connection, &uploaded, &capability(), 0).await, Err(Code::BlobUnknown));
    // On the mail stream a blob has no place, and a stream beside it for mail neither.
    let mut bob = Client::register(relay.address(), &Device::new()).await;
    let read = Request::Blob(v1::BlobRequest { what: Some(ask_read(&uploaded, &capability(), 0)) });
    assert_eq!(bob.refused(read).await, Code::Invalid);
    bob.ask(Request::CountPrekeys(v1::CountPrekeys {})).await;
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_transfers_bytes_and_files() {
    let data = tempfile::tempdir().unwrap();
    let mut config = old(data.path());
    config.limits.blob_mib_per_account = 1;
    config.limits.blobs_per_account = 3;
    let relay = start_with(config, Arc::new(kuvert_relay::SystemClock::new())).await;
    let alice = Client::register(relay.address(), &Device::new()).await;
    let bob = Client::register(relay.address(), &Device::new()).await;
    let reader = [capability()];

    // Two at once, of which one fits.
    let most = 600 * 1024;
    let both =
        tokio::join!(begin(&alice.connection, create(most, &reader)), begin(&alice.connection, create(most, &reader)));
    let one = match both {
        (Ok(one), Err(Code::BlobQuota)) | (Err(Code::BlobQuota), Ok(one)) => one,
        other => panic!("{other:?}"),
    };
    assert!(begin(&bob.connection, create(most, &reader)).await.is_ok(), "another account is not concerned");
    for _ in 0..2 {
        begin(&alice.connection, create(1, &reader)).await.unwrap();
    }
    assert_eq!(begin(&alice.connection, create(1, &reader)).await, Err(Code::BlobQuota), "a fourth file");
    on(&alice.connection, discard(&one)).await.unwrap();
    begin(&alice.connection, create(1, &reader)).await.unwrap();

    // Streams that are open count; one more is told so.
    let three = begin(&bob.connection, create(1, &reader)).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = Stream::open(&bob.connection).await;
        stream.state(status(&three)).await.unwrap();
        open.push(stream);
    }
    assert_eq!(on(&bob.connection, status(&three)).await, Err(Code::Limited));
    let mut given_back = open.pop().unwrap();
    given_back.send.finish().unwrap();
    assert!(given_back.frame().await.is_none());
    relay.shutdown().await;
}

/// Says that so many bytes of a disk are free.
#[derive(Debug)]
struct Room(std::sync::atomic::AtomicU64);

impl kuvert_relay::young::Disk for Room {
    fn space(&self) -> std::io::Result<kuvert_relay::young::Space> {
        let free = self.0.load(std::sync::atomic::Ordering::SeqCst);
        Ok(kuvert_relay::young::Space { free, total: 100 << 30 })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_takes_no_files_and_goes_on_with_mail() {
    let data = tempfile::tempdir().unwrap();
    let room = Arc::new(Room((30_u64 << 30).into()));
    let clock = Arc::new(ManualClock::new(NOON));
    let mut config = old(data.path());
    config.limits.blob_disk_percent = Config::new(data.path()).limits.blob_disk_percent;
    let relay = Embedded::new(clock.clone()).with_disk(Arc::<Room>::clone(&room)).start(config).await.unwrap();
    let (alice_keys, bob_keys) = (Device::new(), Device::new());
    let mut alice = Client::register(relay.address(), &alice_keys).await;
    drop(Client::register(relay.address(), &bob_keys).await);
    let reader = [capability()];
    assert!(begin(&alice.connection, create(1_000_000, &reader)).await.is_ok());
    room.0.store(20 << 30, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(begin(&alice.connection, create(1, &reader)).await, Err(Code::BlobFull));
    alice.submit(envelope(&bob_keys, "mail goes on")).await;
    // A quarter of what is left, and for young accounts together an eighth.
    room.0.store((20 << 30) + (800 << 20), std::sync::atomic::Ordering::SeqCst);
    assert_eq!(begin(&alice.connection, create(102 << 20, &reader)).await, Err(Code::BlobFull));
    clock.advance(DAY * 2);
    assert!(begin(&alice.connection, create(102 << 20, &reader)).await.is_ok());
    assert_eq!(begin(&alice.connection, create(102 << 20, &reader)).await, Err(Code::BlobFull));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_account_fills_no_more_with_files_than_with_mail() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOON));
    let mut config = config(data.path());
    config.limits.young_account_mib = 1;
    let relay = start_with(config, clock.clone()).await;
    let (alice_keys, bob_keys) = (Device::new(), Device::new());
    let mut alice = Client::register(relay.address(), &alice_keys).await;
    drop(Client::register(relay.address(), &bob_keys).await);
    let reader = [capability()];
    let half = begin(&alice.connection, create(600 * 1024, &reader)).await.unwrap();
    assert_eq!(begin(&alice.connection, create(600 * 1024, &reader)).await, Err(Code::Limited));
    // Discarding gives nothing back: it could be done again and again.
    on(&alice.connection, discard(&half)).await.unwrap();
    assert_eq!(begin(&alice.connection, create(600 * 1024, &reader)).await, Err(Code::Limited));
    alice.submit(envelope(&bob_keys, vec![7; 1_000])).await;
    clock.advance(DAY);
    assert!(begin(&alice.connection, create(600 * 1024, &reader)).await.is_ok());
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_keeps_what_has_come() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let device = Device::new();
    let alice = Client::register(relay.address(), &device).await;
    let (blob, reader) = (blob(3 * MIB), capability());
    let uploaded = begin(&alice.connection, create(blob.len() as u64, &[reader])).await.unwrap();
    let mut stream = Stream::open(&alice.connection).await;
    let (request, _) = stream.append(&uploaded).await.unwrap();
    stream.pieces(request, &blob, 0, 10 * PIECE).await;
    let told = tokio::spawn(async move {
        loop {
            match stream.answer().await {
                Ok(_) => {}
                Err(code) => break code,
            }
        }
    });
    relay.shutdown().await;
    assert_eq!(within(told).await.unwrap(), Code::Unavailable);
    fits(data.path());
    let relay = start(data.path()).await;
    let (alice, _) = Client::authenticate(relay.address(), &device).await;
    resume(&alice.connection, &uploaded, &blob).await;
    assert!(read(&alice.connection, &uploaded, &reader, 0).await.unwrap() == blob);
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_no_files_says_so() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.max_file_mib = 0;
    let relay = start_with(config, Arc::new(kuvert_relay::SystemClock::new())).await;
    let mut alice = Client::connect(relay.address()).await;
    match alice.ask(Request::Hello(v1::Hello { version: kuvert_wire::VERSION })).await {
        Response::Challenge(challenge) => assert_eq!(challenge.max_blob_bytes, 0),
        other => panic!("{other:?}"),
    }
    let alice = Client::register(relay.address(), &Device::new()).await;
    assert_eq!(begin(&alice.connection, create(1, &[capability()])).await, Err(Code::NotOffered));
    relay.shutdown().await;
}

/// `KUVERT_KILLS=100 cargo test -p kuvert-relay-server --test relay blobs -- --nocapture` kills 100 times instead of 6.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_at_any_step_promises_nothing_that_it_does_not_keep() {
    let data = tempfile::tempdir().unwrap();
    let canaries = kill_at_any_step(
        async |more| Process::start(data.path(), more).await,
        async || fits(data.path()),
        async |when| {
            assert!(files(&data.path().join("blobs")).is_empty(), "{when}");
            assert!(row_keys(data.path()).is_empty());
        },
    )
    .await;
    assert!(canaries.iter().all(|canary| !stands(data.path(), canary)));
}

/// Kills a relay at some step of a file's way, again and again, and starts it again. `fits` looks after each start whether rows and
/// files fit; `is_empty`, after each end in order, whether nothing is left. Says what the files were.
pub async fn kill_at_any_step(
    start: impl AsyncFn(&[&str]) -> Process,
    fits: impl AsyncFn(),
    is_empty: impl AsyncFn(&str),
) -> Vec<Vec<u8>> {
    let kills = std::env::var("KUVERT_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let relay = start(&[]).await;
    let (url, device) = (relay.url.clone(), Device::new());
    drop(Client::register(&url, &device).await);
    relay.stop("-KILL").await;
    let listen = format!("127.0.0.1:{}", url.port);
    let mut random_state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        (random_state >> 11) as usize % below
    };
    let (mut erased, mut canaries) = (0, Vec::new());
    for kill in 0..kills {
        let relay = start(&["--listen", &listen]).await;
        let (alice, _) = Client::authenticate(&url, &device).await;
        // Small ones, so that the first day's bytes are enough for many.
        let (blob, reader) = (blob(100_000 + random(300_000)), capability());
        canaries.push(blob.clone());
        // Where it dies: after so many answers of the relay, in the middle of the next step.
        let step = random(6);
        let connection = alice.connection.clone();
        let killed = tokio::spawn({
            let (blob, connection) = (blob.clone(), connection.clone());
            async move {
                let uploaded = begin(&connection, create(blob.len() as u64, &[reader])).await.unwrap();
                let mut stream = Stream::open(&connection).await;
                let (request, _) = stream.append(&uploaded).await.unwrap();
                let part = if step == 1 { blob.len() / 2 } else { blob.len() };
                stream.pieces(request, &blob, 0, if step == 0 { 0 } else { part }).await;
                if step < 2 {
                    return (uploaded, 0);
                }
                stream.durable(blob.len() as u64).await;
                if step == 2 {
                    return (uploaded, blob.len() as u64);
                }
                stream.send(commit(&uploaded)).await;
                if step == 3 {
                    return (uploaded, blob.len() as u64);
                }
                assert!(matches!(stream.answer().await, Ok(Response::Done(_))));
                stream.send(ask_done(&uploaded, &reader)).await;
                if step == 5 {
                    assert!(matches!(stream.answer().await, Ok(Response::Done(_))));
                }
                (uploaded, blob.len() as u64)
            }
        });
        let (uploaded, promised) = within(killed).await.unwrap();
        relay.stop("-KILL").await;
        connection.close(0u32.into(), b"");

        let relay = start(&["--listen", &listen]).await;
        fits().await;
        let (alice, _) = Client::authenticate(&url, &device).await;
        match on(&alice.connection, status(&uploaded)).await.map(state) {
            Ok(state) => {
                assert!(state.durable >= promised, "{} of {promised} in kill {kill}, step {step}", state.durable);
                assert!(step < 5, "what was done is gone");
                assert!(state.committed || step <= 3, "an answer to the commit is a promise");
                if !state.committed {
                    resume(&alice.connection, &uploaded, &blob).await;
                }
                assert!(
                    read(&alice.connection, &uploaded, &reader, 0).await.unwrap() == blob,
                    "kill {kill}, step {step}"
                );
                done(&alice.connection, &uploaded, &reader).await.unwrap();
            }
            Err(code) => {
                assert_eq!(code, Code::BlobUnknown);
                assert!(step >= 4, "it was not done: kill {kill}, step {step}");
                erased += 1;
            }
        }
        relay.stop("-TERM").await;
        is_empty(&format!("kill {kill}, step {step}")).await;
    }
    println!("{kills} kills, {erased} of them after or in the middle of the erasure");
    canaries
}
