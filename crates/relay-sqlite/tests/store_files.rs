//! What the SQLite store does with its files: erasure, permissions, the lock, a full disk, foreign and damaged files,
//! looking from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_relay::store::{
    AccountBy, Cursor, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Stats, Store, StoreError, SubmitError,
    Unavailable,
};
use kuvert_relay_sqlite::store::{DATABASE_FILE, Inspector, OpenError, Options, SqliteStore};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};
use tempfile::TempDir;

const LOG_FILE: &str = "relay.db-wal";
const MARKER: &[u8] = b"KuvertMarker";

fn address(n: u8) -> Address {
    Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY }
}

fn account(n: u8, name: Option<String>) -> NewAccount {
    NewAccount {
        account: address(n).account,
        account_key: AccountKey::from_bytes([n; 32]),
        device_list: NumberedDeviceList { number: 1, bytes: Bytes::from_static(&[1; 130]) },
        name,
        phone: None,
        registered_at: 1,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: DeviceSigningKey::from_bytes([n; 32]),
            certificate: Bytes::from_static(&[2; 245]),
        },
        invitation: None,
    }
}

fn open(directory: &TempDir, options: Options, mailboxes: u8) -> SqliteStore {
    let store = SqliteStore::open_with(directory.path(), options).unwrap();
    for n in 1..=mailboxes {
        store.register(account(n, None)).wait().unwrap();
    }
    store
}

/// An envelope whose bytes say all over which one it is.
fn marked(n: u32, size: usize) -> NewEnvelope {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    // The number twice, once inverted: at the end of a page other bytes may follow the marker.
    let pattern: Vec<u8> = MARKER.iter().copied().chain(n.to_be_bytes()).chain((!n).to_be_bytes()).collect();
    let ciphertext: Bytes = pattern.iter().copied().cycle().take(size.max(pattern.len())).collect();
    NewEnvelope { id: EnvelopeId::from_bytes(id), source: None, ciphertext }
}

/// The envelopes of which any file of the directory holds a piece.
fn found(directory: &Path) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for window in bytes.windows(MARKER.len() + 8).filter(|window| window.starts_with(MARKER)) {
            let number = |at| u32::from_be_bytes(window[at..at + 4].try_into().unwrap());
            if number(MARKER.len()) == !number(MARKER.len() + 4) {
                found.insert(number(MARKER.len()));
            }
        }
    }
    found
}

/// A small generator: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

// ---- erasure

#[test]
fn delivered_and_expired_bytes_are_in_no_file_any_more() {
    let directory = TempDir::new().unwrap();
    let mut store = open(&directory, Options::default(), 20);
    let mut numbers = Numbers(42);
    // Small ones share pages, large ones spill over into pages of their own.
    let sizes = [16, 100, 512, 512, 512, 1_500, 4_000, 9_000, 60_000];
    let mut live: Vec<(u32, u8, Cursor)> = Vec::new();
    let mut next = 0;
    for round in 0..12_u64 {
        let pending: Vec<_> = (0..150)
            .map(|_| {
                let (n, mailbox) = (next, 1 + numbers.below(20) as u8);
                next += 1;
                let size = sizes[numbers.below(sizes.len() as u64) as usize] + numbers.below(40) as usize;
                (n, mailbox, store.submit(address(mailbox), marked(n, size), round * 10_000))
            })
            .collect();
        live.extend(pending.into_iter().map(|(n, mailbox, stored)| (n, mailbox, stored.wait().unwrap().cursor())));
        // Deliver some mailboxes in part, some whole, and let the oldest expire.
        for _ in 0..8 {
            let (_, mailbox, cursor) = live[numbers.below(live.len() as u64) as usize];
            store.acknowledge(address(mailbox), cursor).wait().unwrap();
            live.retain(|(_, m, c)| *m != mailbox || *c > cursor);
        }
        let cutoff = (round.saturating_sub(4)) * 10_000;
        store.expire(cutoff, usize::MAX).wait().unwrap();
        live.retain(|(n, ..)| u64::from(*n / 150) * 10_000 >= cutoff);
        if round % 4 == 3 {
            drop(store);
            store = SqliteStore::open(directory.path()).unwrap();
        } else {
            store.checkpoint().wait().unwrap();
        }
        assert_eq!(found(directory.path()), live.iter().map(|(n, ..)| *n).collect(), "round {round}");
    }
    for mailbox in 1..=20 {
        store.acknowledge(address(mailbox), Cursor::new(u64::MAX)).wait().unwrap();
    }
    store.checkpoint().wait().unwrap();
    assert_eq!(found(directory.path()), BTreeSet::new());
}

#[test]
fn deleted_accounts_are_in_no_file_any_more() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let mut numbers = Numbers(7);
    // Spread over the tree of accounts as random identifiers are.
    let ids: Vec<AccountId> =
        (0..600).map(|_| AccountId::from_bytes([(); 16].map(|()| numbers.below(256) as u8))).collect();
    let register = |n: u32| {
        let certificate = marked(n, 245).ciphertext;
        let device_list = NumberedDeviceList { number: 1, bytes: marked(n, 130).ciphertext };
        let new = account(1, Some(format!("name{n}")));
        let device = NewDevice { certificate, ..new.device.clone() };
        store.register(NewAccount { account: ids[n as usize], device_list, device, ..new })
    };
    let registered: Vec<_> = (0..600).map(register).collect();
    registered.into_iter().for_each(|pending| pending.wait().unwrap());
    let mut live: BTreeSet<u32> = (0..600).collect();
    for round in 0..6 {
        // A third each time, and at last all.
        let going: Vec<u32> = live.iter().copied().filter(|n| round == 5 || (n * 7 + round) % 3 == 0).collect();
        let pending: Vec<_> = going.iter().map(|n| store.delete_account(ids[*n as usize])).collect();
        pending.into_iter().for_each(|pending| assert_eq!(pending.wait(), Ok(true)));
        live.retain(|n| !going.contains(n));
        store.checkpoint().wait().unwrap();
        assert_eq!(found(directory.path()), live, "round {round}");
    }
    assert!(live.is_empty());
}

#[test]
fn a_quiet_store_empties_its_log_by_itself() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, Options { quiet: Duration::from_millis(1), ..Options::default() }, 1);
    let cursor = store.submit(address(1), marked(1, 500), 1).wait().unwrap().cursor();
    store.acknowledge(address(1), cursor).wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::metadata(directory.path().join(LOG_FILE)).unwrap().len() > 0 {
        assert!(Instant::now() < deadline, "the log was never truncated");
        std::thread::yield_now();
    }
    assert_eq!(found(directory.path()), BTreeSet::new());
}

#[test]
fn the_log_stays_small_under_load() {
    let directory = TempDir::new().unwrap();
    let options = Options { log_pages: 100, max_batch: 20, quiet: Duration::from_secs(600), ..Options::default() };
    // More than may wait in one mailbox.
    let store = open(&directory, options, 2);
    let mut largest = 0;
    for chunk in 0..60 {
        let submit = |n: u32| store.submit(address(1 + (n % 2) as u8), marked(chunk * 200 + n, 1_000), 1);
        let pending: Vec<_> = (0..200).map(submit).collect();
        for pending in pending {
            pending.wait().unwrap();
        }
        largest = largest.max(fs::metadata(directory.path().join(LOG_FILE)).unwrap().len());
    }
    // 12,000 envelopes wrote some 20 MB into the log.
    assert!(largest < 8 * 1024 * 1024, "{largest}");
}

// ---- permissions and the lock

#[test]
fn files_are_private() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("a/relay");
    let store = SqliteStore::open(&path).unwrap();
    store.register(account(1, None)).wait().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o700);
    let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(names.contains(&path.join(LOG_FILE)), "{names:?}");
    for name in names {
        assert_eq!(mode(&name), 0o600, "{name:?}");
    }
}

#[test]
fn files_that_are_open_to_others_are_refused() {
    for (name, mode) in [(DATABASE_FILE, 0o640), ("relay.lock", 0o606), ("", 0o777)] {
        let directory = TempDir::new().unwrap();
        drop(open(&directory, Options::default(), 1));
        fs::set_permissions(directory.path().join(name), Permissions::from_mode(mode)).unwrap();
        let error = SqliteStore::open(directory.path()).err().unwrap();
        assert!(matches!(error, OpenError::Permissions { mode: found, .. } if found == mode), "{name:?}: {error}");
        assert!(error.to_string().contains("chmod"), "{error}");
    }
}

#[test]
fn a_directory_of_another_user_is_refused_also_by_the_superuser() {
    let directory = TempDir::new().unwrap();
    drop(open(&directory, Options::default(), 1));
    // Only the superuser can give its own away; others find one that is not theirs.
    let another = match std::os::unix::fs::chown(directory.path(), Some(12_345), None) {
        Ok(()) => directory.path(),
        Err(_) => Path::new("/usr"),
    };
    let error = SqliteStore::open(another).err().unwrap();
    assert!(matches!(error, OpenError::Owner { owner, us, .. } if owner != us), "{error}");
    assert!(error.to_string().contains("sudo -u '#"), "{error}");
}

#[test]
fn a_second_relay_on_the_same_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, Options::default(), 1);
    assert!(matches!(SqliteStore::open(directory.path()), Err(OpenError::Locked(_))));
    store.submit(address(1), marked(1, 50), 1).wait().unwrap();
    store.close().wait().unwrap();
    // `store` still exists, but is closed.
    let second = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(second.waiting(address(1)).wait().unwrap().count, 1);
    drop(store);
    assert_eq!(second.waiting(address(1)).wait().unwrap().count, 1);
    drop(second);
    assert!(!directory.path().join(LOG_FILE).exists(), "a clean end leaves no log");
}

// ---- looking from outside

/// Set for the copy of this program that looks at the store of another process.
const INSPECT: &str = "KUVERT_TEST_INSPECT";

#[test]
fn another_process_may_look_while_the_relay_runs() {
    if let Some(directory) = std::env::var_os(INSPECT) {
        let inspector = Inspector::open(directory.as_ref()).unwrap();
        println!("@{:?}", inspector.stats().unwrap());
        println!("@{:?}", inspector.waiting(Cursor::START, 1).unwrap());
        assert!(matches!(SqliteStore::open(directory.as_ref()), Err(OpenError::Locked(_))));
        return;
    }
    let directory = TempDir::new().unwrap();
    let store = open(&directory, Options::default(), 2);
    let first = NewEnvelope { source: Some(address(1)), ..marked(7, 100) };
    let cursor = store.submit(address(2), first, 77).wait().unwrap().cursor();
    store.submit(address(1), marked(8, 50), 78).wait().unwrap();

    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_process_may_look_while_the_relay_runs", "--nocapture"])
        .env(INSPECT, directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    let totals = Stats { accounts: 2, devices: 2, waiting: 2, waiting_bytes: 150, one_time_prekeys: 0 };
    assert!(output.contains(&format!("@{totals:?}")), "{output}");

    let inspector = Inspector::open(directory.path()).unwrap();
    let all = inspector.waiting(Cursor::START, 10).unwrap();
    assert!(output.contains(&format!("@{:?}", &all[..1])), "{output}");
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].cursor, all[0].id), (cursor, marked(7, 0).id));
    assert_eq!((all[0].recipient, all[0].sender), (address(2), Some(address(1))));
    assert_eq!((all[0].size, all[0].accepted_at), (100, 77));
    assert_eq!(all[1].sender, None);
    assert_eq!(inspector.waiting(cursor, 10).unwrap(), all[1..]);
    // Nothing is held open: the log can be emptied, and what happens later is seen.
    store.acknowledge(address(2), cursor).wait().unwrap();
    store.checkpoint().wait().unwrap();
    assert_eq!(inspector.stats().unwrap().waiting, 1);
    drop(store);
    assert_eq!(Inspector::open(directory.path()).unwrap().stats().unwrap().waiting, 1, "also without a relay");
}

#[test]
fn people_may_look_with_any_sqlite_tool() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, Options::default(), 1);
    store.submit(address(1), marked(7, 100), 1_000).wait().unwrap();
    let connection = rusqlite::Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    let (recipient, size, at): (String, i64, String) = connection
        .query_row("SELECT recipient_account, size, accepted_at FROM waiting", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!((recipient.as_str(), size, at.as_str()), ("01".repeat(16).as_str(), 100, "1970-01-01 00:00:01"));
}

// ---- foreign, newer and damaged files

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let text = "a text that somebody keeps here. ".repeat(100).into_bytes();
    let other = TempDir::new().unwrap();
    let path = other.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes(text)").unwrap();
    for content in [text, fs::read(&path).unwrap()] {
        let directory = TempDir::new().unwrap();
        let database = directory.path().join(DATABASE_FILE);
        fs::write(&database, &content).unwrap();
        fs::set_permissions(&database, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(SqliteStore::open(directory.path()), Err(OpenError::Foreign(_))));
        assert!(matches!(Inspector::open(directory.path()), Err(OpenError::Foreign(_))));
        assert!(fs::read(&database).unwrap() == content, "the file was changed");
    }
    let empty = TempDir::new().unwrap();
    assert!(matches!(Inspector::open(empty.path()), Err(OpenError::Missing(_))));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "looking makes no files");
}

#[test]
fn a_newer_format_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(open(&directory, Options::default(), 1));
    let connection = rusqlite::Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    connection.pragma_update(None, "user_version", version + 1).unwrap();
    drop(connection);
    let newer =
        |error| matches!(error, OpenError::Newer { found, known, .. } if (found, known) == (version + 1, version));
    assert!(newer(SqliteStore::open(directory.path()).err().unwrap()));
    assert!(newer(Inspector::open(directory.path()).err().unwrap()));
}

#[test]
fn damaged_files_give_errors_and_no_panic() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, Options::default(), 3);
    for n in 0..300 {
        store.submit(address(1 + (n % 3) as u8), marked(n, 400), 1).wait().unwrap();
    }
    drop(store);
    let database = directory.path().join(DATABASE_FILE);
    let good = fs::read(&database).unwrap();
    let mut numbers = Numbers(7);
    let mut noticed = 0;
    for _ in 0..40 {
        let mut bad = good.clone();
        let page = (1 + numbers.below(good.len() as u64 / 4096 - 1)) as usize * 4096;
        for _ in 0..1 + numbers.below(200) {
            bad[page + numbers.below(4096) as usize] = numbers.below(256) as u8;
        }
        fs::write(&database, &bad).unwrap();
        match SqliteStore::open(directory.path()) {
            Err(OpenError::Store(_) | OpenError::Foreign(_)) => noticed += 1,
            Err(error) => panic!("{error}"),
            Ok(store) => {
                for mailbox in 1..=3 {
                    let read = store.read(address(mailbox), Cursor::START, usize::MAX, usize::MAX).wait();
                    let submit = store.submit(address(mailbox), marked(1_000, 10), 1).wait();
                    let acknowledge = store.acknowledge(address(mailbox), Cursor::new(u64::MAX)).wait();
                    let corrupt = |error: &StoreError| matches!(error, StoreError::Corrupt(_));
                    noticed += usize::from(read.as_ref().is_err_and(corrupt));
                    noticed += usize::from(acknowledge.as_ref().is_err_and(corrupt));
                    noticed += usize::from(matches!(submit, Err(SubmitError::Store(StoreError::Corrupt(_)))));
                }
            }
        }
    }
    assert!(noticed > 0, "no damage was ever noticed: the test damages nothing");
}

// ---- a full disk

fn full() -> StoreError {
    StoreError::Unavailable(Unavailable::DiskFull)
}

fn small_disk() -> Options {
    Options {
        max_database_bytes: Some(600 * 1024),
        probe_interval: Duration::ZERO,
        max_batch: 64,
        room_bytes: 64 * 1024,
        ..Options::default()
    }
}

/// Submits many at once until the disk is full. Returns what was accepted.
fn fill(store: &SqliteStore, first: u32) -> Vec<u32> {
    let pending: Vec<_> = (first..first + 2_000).map(|n| (n, store.submit(address(1), marked(n, 500), 1))).collect();
    let mut accepted = Vec::new();
    let mut refused = 0;
    for (n, pending) in pending {
        match pending.wait() {
            Ok(_) => accepted.push(n),
            Err(SubmitError::Store(error)) if error == full() => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "the disk is larger than the test thinks");
    accepted
}

fn waiting(store: &SqliteStore) -> Vec<u32> {
    let page = store.read(address(1), Cursor::START, usize::MAX, usize::MAX).wait().unwrap();
    page.envelopes.iter().map(|e| u32::from_be_bytes(e.id.as_bytes()[..4].try_into().unwrap())).collect()
}

#[test]
fn a_full_disk_refuses_new_mail_and_serves_the_rest() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, small_disk(), 2);
    let accepted = fill(&store, 0);
    assert!(accepted.len() > 100);
    assert_eq!(waiting(&store), accepted, "exactly what was accepted is there");
    assert_eq!(store.waiting(address(1)).wait().unwrap().count, accepted.len() as u64);

    let submit = |n| store.submit(address(2), marked(n, 60_000), 1).wait();
    assert_eq!(submit(9_000), Err(SubmitError::Store(full())));
    let register = (3..250).map(|n| store.register(account(n, Some(format!("n{n}")))).wait()).find(Result::is_err);
    assert_eq!(register, Some(Err(full().into())));
    let registered = store.stats().wait().unwrap().accounts;
    let refused = 1 + registered as u8;
    assert_eq!(store.device(address(refused)).wait(), Ok(None));
    assert_eq!(store.account(AccountBy::Name(format!("n{refused}"))).wait(), Ok(None), "no half account");

    // Reading, acknowledging and expiring go on and make room.
    let page = store.read(address(1), Cursor::START, 300, usize::MAX).wait().unwrap();
    let deleted = store.acknowledge(address(1), page.envelopes.last().unwrap().cursor).wait();
    assert_eq!(deleted, Ok(300));
    assert!(submit(9_000).is_ok(), "service resumes by itself");
    let accepted_later = fill(&store, 10_000);
    let expected: Vec<_> = accepted[300..].iter().chain(&accepted_later).copied().collect();
    assert_eq!(waiting(&store), expected);
    assert_eq!(store.expire(2, usize::MAX).wait(), Ok(expected.len() as u64 + 1));
    assert_eq!(store.checkpoint().wait(), Ok(()));
    drop(store);

    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.stats().wait().unwrap().waiting, 0);
    assert_eq!(store.waiting(address(1)).wait().unwrap().expired, expected.len() as u64);
}

#[test]
fn a_full_disk_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, small_disk(), 1);
    let accepted = fill(&store, 0);
    drop(store);
    let store = SqliteStore::open_with(directory.path(), small_disk()).unwrap();
    assert_eq!(waiting(&store), accepted);
    assert_eq!(store.acknowledge(address(1), Cursor::new(u64::MAX)).wait(), Ok(accepted.len() as u64));
    assert!(store.submit(address(1), marked(1, 500), 1).wait().is_ok());
}

#[test]
fn the_reserve_goes_when_the_disk_is_full_and_comes_back() {
    let directory = TempDir::new().unwrap();
    let reserve = || fs::metadata(directory.path().join("relay.reserve")).unwrap().len();
    let store = open(&directory, Options { probe_interval: Duration::from_secs(3600), ..small_disk() }, 1);
    let whole = reserve();
    assert!(whole >= 1024 * 1024);
    let accepted = fill(&store, 0);
    assert_eq!(reserve(), 0);
    store.acknowledge(address(1), Cursor::new(u64::MAX)).wait().unwrap();
    let early = store.submit(address(1), marked(1, 500), 1).wait();
    assert_eq!(early, Err(SubmitError::Store(full())), "it does not try again before its time");
    drop(store);
    let store = SqliteStore::open_with(directory.path(), small_disk()).unwrap();
    assert_eq!(reserve(), whole);
    assert!(store.submit(address(1), marked(1, 500), 1).wait().is_ok(), "{} fitted before", accepted.len());
}

#[test]
fn too_much_in_the_queue_is_refused_and_not_kept() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, Options::default(), 8);
    // 1,600 × 90 kB are more than the queue holds; whatever is refused is refused at once.
    let pending: Vec<_> = (0..1_600).map(|n| store.submit(address(1 + (n % 8) as u8), marked(n, 90_000), 1)).collect();
    let results: Vec<_> = pending.into_iter().map(|pending| pending.wait()).collect();
    let stored = results.iter().filter(|result| result.is_ok()).count() as u64;
    let overloaded = SubmitError::Store(StoreError::Unavailable(Unavailable::Overloaded));
    assert!(results.iter().all(|result| result.is_ok() || result.as_ref() == Err(&overloaded)));
    assert_eq!(store.stats().wait().unwrap().waiting, stored);
    assert!(store.submit(address(1), marked(5_000, 90_000), 1).wait().is_ok(), "and the queue is free again");
}

/// Rows that hold what cannot be (a bit of a disk, not this program) keep no other's mail, neither while the store is open nor
/// when it is opened.
#[test]
fn a_row_that_cannot_be_read_keeps_no_others_mail_and_its_device_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, Options::default(), 3);
    let [alice, bob, carol] = [1, 2, 3].map(address);
    let mut cursors = Vec::new();
    for (n, mailbox) in (0..).zip([bob, carol, bob, bob]) {
        let envelope = NewEnvelope { source: Some(alice), ..marked(n, 100) };
        cursors.push(store.submit(mailbox, envelope, 1_000).wait().unwrap().cursor().get());
    }
    store.close().wait().unwrap();
    let damage = |sql: &str| {
        let db = rusqlite::Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
        db.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
        assert_eq!(db.execute(sql, []).unwrap(), 1, "{sql}");
    };
    let ids = |store: &SqliteStore, mailbox: Address| -> Vec<u8> {
        let page = store.read(mailbox, Cursor::new(0), 10, 1 << 20).wait().unwrap();
        page.envelopes.iter().map(|envelope| envelope.id.as_bytes()[3]).collect()
    };
    // While it is open: the others of the page come.
    let store = SqliteStore::open_with(directory.path(), Options::default()).unwrap();
    damage(&format!("UPDATE envelope SET source = x'01' WHERE cursor = {}", cursors[0]));
    assert_eq!((ids(&store, bob), ids(&store, carol)), (vec![2, 3], vec![1]));
    // Also where it is all of a page: a reader goes on behind the last envelope that it got.
    let page = store.read(bob, Cursor::new(0), 1, 1 << 20).wait().unwrap();
    assert_eq!((page.envelopes[0].cursor.get(), page.more), (cursors[2], true));
    store.close().wait().unwrap();
    // When it is opened: each kind of row that is read then.
    damage(&format!("UPDATE envelope SET accepted_at = -1 WHERE cursor = {}", cursors[2]));
    damage("UPDATE device SET number = 0 WHERE mailbox = 1");
    damage(
        "UPDATE account SET access_key_hash = x'07', takes_sealed = 0 WHERE id = x'01010101010101010101010101010101'",
    );
    damage("INSERT INTO blocked(account, blocked) VALUES(x'05', x'06')");
    damage("INSERT INTO expired(mailbox, count) VALUES(77, -1)");
    let store = SqliteStore::open_with(directory.path(), Options::default()).unwrap();
    assert_eq!((ids(&store, bob), ids(&store, carol)), (vec![3], vec![1]));
    let waiting = store.waiting(bob).wait().unwrap();
    assert_eq!((waiting.count, waiting.expired), (1, 2), "its device is told that two are gone");
    assert_eq!(store.waiting(carol).wait().unwrap().expired, 0);
    // And expiry goes on.
    assert_eq!(store.expire(2_000, 100).wait().unwrap(), 2);
    store.close().wait().unwrap();
    let db = rusqlite::Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    let left: i64 = db.query_row("SELECT count(*) FROM envelope", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "nothing of what could not be read is left");
}
