//! Whether a submit is stored, repeats one that waits, or is dropped because its sender is blocked: the relay writes as much to
//! its log and syncs it before the answer [KV-086]. So the time of an answer tells a sender nothing about its mail.
//!
//! A copy of this program works on a store under `strace`, which records what it writes and syncs. Each submit has a transaction
//! of its own, with no other work that could share its commit. No time is looked at.
//!
//! Without `strace`, or where it may not trace, this says that it is skipped.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::store::{NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Store, SubmitError, Submitted};
use kuvert_relay_sqlite::store::{Options, SqliteStore};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

/// Set for the copy: its directory.
const DIRECTORY: &str = "KUVERT_TEST_COMMITS_DIRECTORY";

/// Bytes of ciphertext: within one page, and over many.
const SIZES: [usize; 3] = [200, 6_000, 90_000];

/// What each size is submitted as.
const KINDS: [&str; 4] = ["fresh", "repeated", "dropped", "fetched"];

/// Bytes that a commit may differ by: a page where the list of free pages changes, a page of the tree that fills up, and their
/// headers in the log.
const MAX_DIFFERENCE: u64 = 3 * (4_096 + 24);

const OWNER: Address = address(1);
const WANTED: Address = address(2);
const UNWANTED: Address = address(3);

const fn address(n: u8) -> Address {
    Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY }
}

#[test]
fn whether_it_is_stored_or_not_a_submit_is_answered_after_the_same_commit() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return work(directory.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(commits) = record(folder.path()) else {
        println!("equal commits: skipped, because strace is not here or may not trace");
        return;
    };
    for size in SIZES {
        let of = |kind: &str| commits[&format!("{kind} {size}")];
        let fresh = of("fresh");
        for kind in KINDS {
            let commit = of(kind);
            assert!(commit.synced, "{kind}, {size} B: answered before the log was synced");
            let difference = commit.written.abs_diff(fresh.written);
            assert!(difference <= MAX_DIFFERENCE, "{kind}, {size} B: {commit:?} instead of {fresh:?}");
        }
        println!("{size} B: {:?}", KINDS.map(|kind| (kind, of(kind).written)));
    }
}

// ---- the copy

fn envelope(source: Address, id: u8, size: usize) -> NewEnvelope {
    NewEnvelope { id: EnvelopeId::from_bytes([id; 16]), source: Some(source), ciphertext: Bytes::from(vec![id; size]) }
}

/// Says when a submit begins, and when it was answered. `println` writes a line at once.
fn work(directory: &Path) {
    // Nothing but submits writes to the log, and nothing empties it.
    let never = Duration::from_secs(3_600);
    let options = Options { quiet: never, log_age: never, log_pages: u64::MAX / 2, ..Options::default() };
    let store = SqliteStore::open_with(directory, options).unwrap();
    let account = NewAccount {
        account: OWNER.account,
        account_key: AccountKey::from_bytes([1; 32]),
        device_list: NumberedDeviceList { number: 1, bytes: Bytes::from_static(&[1; 130]) },
        name: None,
        phone: None,
        invitation: None,
        registered_at: 1,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: DeviceSigningKey::from_bytes([2; 32]),
            certificate: Bytes::from_static(&[2; 245]),
        },
    };
    store.register(account).wait().unwrap();
    store.set_blocked(OWNER.account, UNWANTED.account, true).wait().unwrap();
    // The first submit also reserves numbers.
    store.submit(OWNER, envelope(WANTED, 255, 10), 1).wait().unwrap();
    for (number, size) in (0..).zip(SIZES) {
        let submit = |kind: &str, source, id| {
            println!("begin {kind} {size}");
            let answer = store.submit(OWNER, envelope(source, id, size), 1).wait();
            println!("end");
            answer
        };
        let stored = submit("fresh", WANTED, number).unwrap();
        assert_eq!(submit("repeated", WANTED, number), Ok(Submitted::AlreadyStored { cursor: stored.cursor() }));
        assert_eq!(submit("dropped", UNWANTED, number), Err(SubmitError::Blocked));
        store.acknowledge(OWNER, stored.cursor()).wait().unwrap();
        assert!(matches!(submit("fetched", WANTED, number), Ok(Submitted::Stored { .. })));
    }
    store.close().wait().unwrap();
}

// ---- what it did to its log

/// What happened between a submit and its answer.
#[derive(Clone, Copy, Default, Debug)]
struct Commit {
    /// Bytes written to the log.
    written: u64,
    /// The log was synced after the last of them.
    synced: bool,
}

/// `None` if there is no strace, or it may not trace.
fn record(folder: &Path) -> Option<BTreeMap<String, Commit>> {
    let (log, data) = (folder.join("strace"), folder.join("data"));
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-e", "signal=none", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "whether_it_is_stored_or_not_a_submit_is_answered_after_the_same_commit", "--nocapture"])
        .env(DIRECTORY, &data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !traced.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut commits = BTreeMap::new();
    let mut current: Option<(String, Commit)> = None;
    // A sync that is under way in another thread than the next line's.
    let mut syncing = false;
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let of_log = line.contains("relay.db-wal>");
        if let Some((_, said)) = line.split_once("write(1<").filter(|_| line.contains(", \"begin ")) {
            let what = said.split_once(", \"begin ").unwrap().1;
            current = Some((what.split_once("\\n").unwrap().0.to_owned(), Commit::default()));
        } else if line.contains("write(1<") && line.contains(", \"end") {
            let (what, commit) = current.take().unwrap();
            commits.insert(what, commit);
        } else if let Some((_, commit)) = &mut current {
            if line.contains("pwrite64(") && of_log {
                let length = line.rsplit_once("\"").unwrap().1.split([',', ' ']).filter_map(|word| word.parse().ok());
                commit.written += length.into_iter().next().unwrap_or(0);
                commit.synced = false;
            } else if line.contains("sync(") && of_log {
                syncing = line.contains("<unfinished");
                commit.synced = !syncing;
            } else if line.contains("sync resumed") && syncing {
                (syncing, commit.synced) = (false, true);
            }
        }
    }
    assert_eq!(commits.len(), SIZES.len() * KINDS.len(), "every submit was seen");
    Some(commits)
}
