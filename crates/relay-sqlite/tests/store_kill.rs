//! SIGKILL at random moments: whatever the store acknowledged before is there afterwards, exactly once and in order, and
//! no one-time key is ever handed out twice.
//!
//! The test starts a copy of itself that works on a store and says on stdout what was acknowledged, kills it after a random
//! number of lines, looks at the store, and starts the next.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::store::{
    Cursor, NewAccount, NewDevice, NewEnvelope, NewPrekeys, NumberedDeviceList, RegisterError, SignedKey, Store,
    StoredEnvelope, UnsignedKey,
};
use kuvert_relay_sqlite::store::{Options, SqliteStore};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

const ROUNDS: u32 = 30;
const MAILBOXES: u8 = 3;
/// Ids of one round.
const PER_ROUND: u32 = 1_000_000;

/// All over the envelopes.
const MARKER: &[u8] = b"KuvertMarker";

/// Set for the copy: the directory and the round.
const DIRECTORY: &str = "KUVERT_TEST_KILL_DIRECTORY";
const ROUND: &str = "KUVERT_TEST_KILL_ROUND";

fn address(n: u8) -> Address {
    Address { account: AccountId::from_bytes([n; 16]), device: DeviceId::PRIMARY }
}

fn number(envelope: &StoredEnvelope) -> u32 {
    u32::from_be_bytes(envelope.id.as_bytes()[..4].try_into().unwrap())
}

fn open(directory: &Path) -> SqliteStore {
    // Checkpoints all the time, so that many kills hit one.
    let options = Options {
        log_pages: 40,
        log_age: Duration::from_millis(30),
        quiet: Duration::from_millis(1),
        max_batch: 50,
        ..Options::default()
    };
    SqliteStore::open_with(directory, options).unwrap()
}

// ---- the copy

/// Works until it is killed.
fn work(directory: &Path, round: u32) -> ! {
    let store = open(directory);
    for n in 1..=MAILBOXES {
        let account = NewAccount {
            account: address(n).account,
            account_key: AccountKey::from_bytes([n; 32]),
            device_list: NumberedDeviceList { number: 1, bytes: Bytes::from_static(&[1; 130]) },
            name: Some(format!("name{n}")),
            phone: None,
            registered_at: 1,
            device: NewDevice {
                device: DeviceId::PRIMARY,
                signing_key: DeviceSigningKey::from_bytes([n; 32]),
                certificate: Bytes::from_static(&[2; 245]),
            },
            invitation: None,
        };
        match store.register(account).wait() {
            Ok(()) | Err(RegisterError::AccountExists) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let mut pending = VecDeque::new();
    let mut next_key = round * PER_ROUND;
    for step in 0.. {
        let mailbox = 1 + (step % u32::from(MAILBOXES)) as u8;
        let id = round * PER_ROUND + step;
        pending.push_back((mailbox, id, store.submit(address(mailbox), envelope(id), 1)));
        if pending.len() == 40 {
            for (mailbox, id, stored) in pending.drain(..20) {
                stored.wait().unwrap();
                println!("stored {mailbox} {id}");
            }
        }
        if step % 97 == 96 {
            let page = store.read(address(mailbox), Cursor::START, 60, usize::MAX).wait().unwrap();
            if let Some(last) = page.envelopes.last() {
                println!("acknowledging {mailbox} {}", number(last));
                store.acknowledge(address(mailbox), last.cursor).wait().unwrap();
                println!("acknowledged {mailbox} {}", number(last));
            }
        }
        if step % 31 == 0 {
            let publish = store.publish_prekeys(address(1), prekeys(next_key, step == 0));
            next_key += 2;
            publish.wait().unwrap();
        }
        if step % 13 == 1 {
            let bundle = store.take_bundle(address(1)).wait().unwrap();
            if !bundle.kem_is_last_resort {
                println!("kem {}", bundle.kem.id);
            }
            if let Some(key) = bundle.one_time {
                println!("curve {}", key.id);
            }
        }
    }
    unreachable!("killed before")
}

fn envelope(id: u32) -> NewEnvelope {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    let size = 100 + (id as usize * 37) % 3_000;
    NewEnvelope {
        id: EnvelopeId::from_bytes(bytes),
        source: None,
        ciphertext: MARKER.iter().copied().cycle().take(size).collect(),
    }
}

fn prekeys(first: u32, kept: bool) -> NewPrekeys {
    let signed = |id: u32| SignedKey {
        id,
        public_key: Bytes::from(vec![id as u8; 1_568]),
        signature: Bytes::from_static(&[1; 64]),
    };
    let unsigned = |id| UnsignedKey { id, public_key: Bytes::from_static(&[3; 32]) };
    NewPrekeys {
        signed: kept.then(|| signed(first)),
        last_resort_kem: kept.then(|| signed(first)),
        one_time: (first..first + 2).map(unsigned).collect(),
        one_time_kem: (first..first + 2).map(signed).collect(),
    }
}

// ---- the test

/// What the copies said.
#[derive(Default)]
struct Known {
    stored: BTreeMap<u8, Vec<u32>>,
    /// Up to here it may be gone.
    may_be_gone: BTreeMap<u8, u32>,
    /// Up to here it is gone.
    gone: BTreeMap<u8, u32>,
    keys: HashSet<String>,
    envelopes: usize,
}

impl Known {
    fn line(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let numbers = || (words[1].parse().unwrap(), words[2].parse().unwrap());
        match words[0] {
            "stored" => {
                let (mailbox, id): (u8, u32) = numbers();
                self.stored.entry(mailbox).or_default().push(id);
                self.envelopes += 1;
            }
            "acknowledging" => drop(self.may_be_gone.insert(numbers().0, numbers().1)),
            "acknowledged" => drop(self.gone.insert(numbers().0, numbers().1)),
            "kem" | "curve" => assert!(self.keys.insert(line.to_owned()), "handed out twice: {line}"),
            // What the test harness says.
            _ => {}
        }
    }

    fn check(&self, store: &SqliteStore) {
        for mailbox in 1..=MAILBOXES {
            let page = store.read(address(mailbox), Cursor::START, usize::MAX, usize::MAX).wait().unwrap();
            let there: Vec<_> = page.envelopes.iter().map(number).collect();
            assert!(there.is_sorted_by(|a, b| a < b), "in order, none twice: {there:?}");
            for found in &page.envelopes {
                assert_eq!(found.ciphertext, envelope(number(found)).ciphertext);
            }
            let may_be_gone = self.may_be_gone.get(&mailbox);
            let there: HashSet<_> = there.into_iter().collect();
            for id in self.stored.get(&mailbox).into_iter().flatten() {
                assert!(there.contains(id) || may_be_gone >= Some(id), "{id} in mailbox {mailbox} is lost");
            }
            if let Some(gone) = self.gone.get(&mailbox) {
                assert!(there.iter().all(|id| id > gone), "an acknowledged envelope came back");
            }
            let waiting = store.waiting(address(mailbox)).wait().unwrap();
            assert_eq!(waiting.count, there.len() as u64);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        work(directory.as_ref(), std::env::var(ROUND).unwrap().parse().unwrap());
    }
    let directory = tempfile::TempDir::new().unwrap();
    let mut known = Known::default();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let lines = random % 500;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_acknowledged_is_lost_when_the_process_is_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..lines {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            known.line(line.trim_end());
        }
        assert!(child.try_wait().unwrap().is_none(), "round {round}: the copy ended by itself");
        child.kill().unwrap();
        // What it had said before it died counts as well, but for a line that was cut.
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        for line in rest.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            known.line(line);
        }
        child.wait().unwrap();
        let store = open(directory.path());
        known.check(&store);
    }
    let store = open(directory.path());
    for mailbox in 1..=MAILBOXES {
        store.acknowledge(address(mailbox), Cursor::new(u64::MAX)).wait().unwrap();
    }
    store.checkpoint().wait().unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let left = std::fs::read(&path).unwrap().windows(MARKER.len()).filter(|window| *window == MARKER).count();
        assert_eq!(left, 0, "delivered bytes are left in {path:?}");
    }
    assert!(known.envelopes > 1_000 && known.keys.len() > 100, "{} {}", known.envelopes, known.keys.len());
}
