//! A disk that fails for a while: broken writes, syncs and reads, a file system that turns read-only, a used-up quota. And
//! one that is read-only from the start.
//!
//! A copy of this program works on a store under `strace`, which lets chosen system calls on chosen files fail for a while.
//! The copy says what the store answered. Whatever was accepted is there afterwards, once; whatever was refused is not; mail is
//! accepted again by itself when the trouble is over.
//!
//! Without `strace`, or where it may not trace, this says that it is skipped.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::store::{
    Cursor, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Store, StoreError, SubmitError, Unavailable,
};
use kuvert_relay_sqlite::store::{Options, SqliteStore};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

/// Set for the copy: its directory.
const DIRECTORY: &str = "KUVERT_TEST_IO_DIRECTORY";

const MAILBOX: Address = Address { account: AccountId::from_bytes([1; 16]), device: DeviceId::PRIMARY };

/// Envelopes that are accepted before the trouble may begin.
const BEFORE: u32 = 20;

/// Tries until it must be over.
const TRIES: u32 = 900;

/// Accepted one after another, the last ones are proof that the trouble is over.
const WELL: u32 = 200;

struct Trouble {
    name: &'static str,
    files: &'static [&'static str],
    /// What `strace` is told after `inject=`. Calls are counted for each thread by itself.
    inject: &'static str,
    /// What the store says while it lasts; empty: nothing is refused.
    said: &'static [&'static str],
}

const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "writes to the log fail",
        files: &["relay.db-wal"],
        inject: "pwrite64:error=EIO:when=120..160",
        said: &["unavailable", "unknown"],
    },
    Trouble {
        name: "syncs of the log fail",
        files: &["relay.db-wal"],
        inject: "fsync,fdatasync:error=EIO:when=40..60",
        said: &["unknown"],
    },
    Trouble { name: "checkpoints fail", files: &["relay.db"], inject: "pwrite64:error=EIO:when=30..60", said: &[] },
    Trouble {
        name: "the file system is read-only for a while",
        files: &["relay.db", "relay.db-wal", "relay.reserve"],
        inject: "write,pwrite64,ftruncate,fsync,fdatasync:error=EROFS:when=200..260",
        said: &["unavailable", "unknown"],
    },
    Trouble {
        name: "the quota is used up",
        files: &["relay.db-wal", "relay.reserve"],
        // Of two calls, one is the store's look whether there is room: the last one that fails must be such a look.
        inject: "write,pwrite64:error=EDQUOT:when=250..299",
        said: &["full"],
    },
];

fn main() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return work(directory.as_ref());
    }
    a_read_only_directory();
    for trouble in TROUBLES {
        let folder = tempfile::tempdir().unwrap();
        let Some(said) = run(folder.path(), trouble) else {
            println!("I/O errors: skipped, because strace is not here or may not trace");
            return;
        };
        let counts = check(folder.path(), trouble, &said);
        println!("{}: {counts:?}, 0 lost", trouble.name);
    }
}

/// A relay whose directory cannot be written does not start, says why and what to do, and changes nothing.
fn a_read_only_directory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(open(&data));
    let files = || {
        let entries = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let before = files();
    // Permissions would not stop root; a mount of one's own does.
    let within = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        let mounted = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"";
        unshare.arg(format!("{mounted} && {command}")).arg(env!("CARGO_BIN_EXE_kuvert-relay")).arg(&data);
        unshare.output()
    };
    if !within("true").is_ok_and(|output| output.status.success()) {
        println!("a read-only directory: skipped, because mounts are not permitted here");
        return;
    }
    let output = within("exec \"$0\" serve --listen 127.0.0.1:0 --data \"$1\"").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("--data"), "{said}");
    assert_eq!(files(), before);
    println!("a read-only directory: refused");
}

/// Answers of the store, as `word → envelopes`; `None` if there is no strace, or it may not trace.
fn run(folder: &Path, trouble: &Trouble) -> Option<String> {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !works {
        return None;
    }
    let data = folder.join("data");
    // Makes the directory, and fills the reserve without being counted.
    drop(open(&data));
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "signal=none", "-o"]).arg(folder.join("strace"));
    for file in trouble.files {
        command.arg("-P").arg(data.join(file));
    }
    command.args(["-e", &format!("inject={}", trouble.inject)]);
    let output = command.arg(std::env::current_exe().unwrap()).env(DIRECTORY, &data).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}{errors}", trouble.name);
    let calls = std::fs::read_to_string(folder.join("strace")).unwrap();
    assert!(calls.contains("(INJECTED)"), "{}: no call failed, so nothing is tested", trouble.name);
    Some(said.into_owned())
}

/// Opens the store again, without trouble, and compares it with what it said.
fn check(folder: &Path, trouble: &Trouble, said: &str) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for line in said.lines() {
        let (word, number) = line.split_once(' ').unwrap();
        *counts.entry(word.to_owned()).or_insert(0) += 1;
        answers.insert(number.parse::<u32>().unwrap(), word);
    }
    for word in counts.keys() {
        assert!(word == "accepted" || trouble.said.contains(&word.as_str()), "{}: {word}", trouble.name);
    }
    assert_eq!(trouble.said.is_empty(), counts.len() == 1, "{}: {counts:?}", trouble.name);

    let store = open(&folder.join("data"));
    let page = store.read(MAILBOX, Cursor::START, usize::MAX, usize::MAX).wait().unwrap();
    let mut there = BTreeMap::new();
    for found in page.envelopes {
        let number = u32::from_be_bytes(found.id.as_bytes()[..4].try_into().unwrap());
        assert_eq!(found.ciphertext, envelope(number).ciphertext, "{}", trouble.name);
        *there.entry(number).or_insert(0) += 1;
    }
    for (number, word) in answers {
        let count = there.remove(&number).unwrap_or(0);
        match word {
            "accepted" => assert_eq!(count, 1, "{}: {number} was accepted", trouble.name),
            "unknown" => assert!(count <= 1, "{}: {number} came twice", trouble.name),
            _ => assert_eq!(count, 0, "{}: {number} was refused ({word})", trouble.name),
        }
    }
    assert!(there.is_empty(), "{}: nobody submitted {there:?}", trouble.name);
    counts
}

// ---- the copy

fn open(directory: &Path) -> SqliteStore {
    let options = Options {
        // Checkpoints all the time, so that trouble meets some.
        log_pages: 20,
        log_age: Duration::from_millis(20),
        quiet: Duration::from_millis(2),
        probe_interval: Duration::ZERO,
        ..Options::default()
    };
    SqliteStore::open_with(directory, options).unwrap()
}

fn envelope(n: u32) -> NewEnvelope {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    NewEnvelope { id: EnvelopeId::from_bytes(id), source: None, ciphertext: Bytes::from(vec![n as u8; 900]) }
}

/// Submits one after another, saying what the answers are, until many in a row were accepted after the trouble. An answer
/// "unknown" is asked for again, as a client does.
fn work(directory: &Path) {
    let store = open(directory);
    let account = NewAccount {
        account: MAILBOX.account,
        account_key: AccountKey::from_bytes([1; 32]),
        device_list: NumberedDeviceList { number: 1, bytes: Bytes::from_static(&[1; 130]) },
        name: None,
        phone: None,
        invitation: None,
        registered_at: 1,
        device: NewDevice {
            device: MAILBOX.device,
            signing_key: DeviceSigningKey::from_bytes([2; 32]),
            certificate: Bytes::from_static(&[2; 245]),
        },
    };
    store.register(account).wait().unwrap();
    let mut in_a_row = 0;
    for n in 0..TRIES {
        let word = match store.submit(MAILBOX, envelope(n), 1).wait() {
            Ok(_) => "accepted",
            Err(SubmitError::Store(StoreError::Unavailable(Unavailable::DiskFull))) => "full",
            Err(SubmitError::Store(StoreError::Unavailable(_))) => "unavailable",
            Err(SubmitError::Store(StoreError::Unknown(_))) => "unknown",
            Err(error) => panic!("{error}"),
        };
        println!("{word} {n}");
        in_a_row = if word == "accepted" { in_a_row + 1 } else { 0 };
        if n % 16 == 0 {
            // What waits can be read whatever becomes of writes, and nothing refused is in it.
            let page = store.read(MAILBOX, Cursor::START, 5, usize::MAX).wait().unwrap();
            assert!(n < BEFORE || page.envelopes.len() == 5);
        }
        if n > TRIES / 3 && in_a_row >= WELL {
            break;
        }
    }
    assert!(in_a_row >= WELL, "mail is not accepted again");
    store.close().wait().unwrap();
}
