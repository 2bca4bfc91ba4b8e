//! Power loss: whatever the store acknowledged is there after the power failed at any moment, and the database opens.
//!
//! A copy of this program works on a store under `strace`, which records every write, truncation, deletion and sync in
//! their order, and what the copy said it had been told. Then the power fails, after each of these or after a seeded choice:
//! the files are built as a disk could hold them, and the store is opened on them. A disk holds what was synced; of what was
//! not it may hold everything, nothing, or any part, the last sector of a write torn.
//!
//! `KUVERT_POWER_CUTS=N` looks at N moments instead of 150, `all` at every one. Without `strace`, or where it may not trace, this
//! says that it is skipped.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use kuvert_relay::store::{Cursor, NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Store};
use kuvert_relay_sqlite::store::{Options, SqliteStore};
use kuvert_types::{AccountId, AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

const MAILBOXES: u32 = 3;
const ENVELOPES: u32 = 240;
const CUTS: usize = 150;

/// Set for the copy: its directory.
const DIRECTORY: &str = "KUVERT_TEST_POWER_DIRECTORY";

/// What a disk writes whole.
const SECTOR: u64 = 512;

fn main() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return work(directory.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(record) = record(folder.path()) else {
        println!("power loss: skipped, because strace is not here or may not trace");
        return;
    };
    let moments = record.events.len();
    let cuts: BTreeSet<usize> = match std::env::var("KUVERT_POWER_CUTS") {
        Ok(all) if all == "all" => (0..=moments).collect(),
        Ok(count) => choose(count.parse().unwrap(), moments),
        Err(_) => choose(CUTS, moments),
    };
    let (mut states, mut proven) = (0, 0);
    let target = folder.path().join("after");
    for cut in &cuts {
        for disk in [Disk::Everything, Disk::Synced, Disk::Some(*cut as u64), Disk::Some(*cut as u64 + (1 << 32))] {
            record.restore(*cut, disk, &target);
            proven +=
                record.check(*cut, &target).unwrap_or_else(|wrong| panic!("cut {cut} of {moments}, {disk:?}: {wrong}"));
            states += 1;
        }
    }
    println!(
        "power loss: {} cuts of {moments}, {states} states of the disk, {proven} acknowledgements kept, 0 lost",
        cuts.len()
    );
    assert!(record.said.len() > ENVELOPES as usize && proven > 0);
}

fn choose(count: usize, moments: usize) -> BTreeSet<usize> {
    let mut random = Random(20_261_121);
    (0..count).map(|_| random.below(moments as u64 + 1) as usize).chain([moments]).collect()
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }
}

// ---- the copy

fn address(n: u32) -> Address {
    Address { account: AccountId::from_bytes([n as u8 + 1; 16]), device: DeviceId::PRIMARY }
}

fn envelope(n: u32) -> NewEnvelope {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    let size = 100 + (n as usize * 37) % 2_000;
    NewEnvelope { id: EnvelopeId::from_bytes(id), source: None, ciphertext: Bytes::from(vec![n as u8; size]) }
}

fn open(directory: &Path) -> SqliteStore {
    // Many small transactions, and checkpoints all the time.
    let options = Options {
        log_pages: 20,
        log_age: Duration::from_millis(20),
        quiet: Duration::from_millis(2),
        max_batch: 7,
        ..Options::default()
    };
    SqliteStore::open_with(directory, options).unwrap()
}

/// Says one line for each answer of the store. `println` writes a line at once: nothing after it in the record came before.
fn work(directory: &Path) {
    let store = open(directory);
    for n in 0..MAILBOXES {
        let account = NewAccount {
            account: address(n).account,
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
        println!("registered {n}");
    }
    let mut pending = VecDeque::new();
    for n in 0..ENVELOPES {
        pending.push_back((n, store.submit(address(n % MAILBOXES), envelope(n), 1)));
        if pending.len() == 12 {
            for (n, stored) in pending.drain(..9) {
                stored.wait().unwrap();
                println!("stored {n}");
            }
        }
        if n % 40 == 39 {
            let mailbox = n / 40 % MAILBOXES;
            let page = store.read(address(mailbox), Cursor::START, 10, usize::MAX).wait().unwrap();
            let Some(last) = page.envelopes.last() else { continue };
            let number = u32::from_be_bytes(last.id.as_bytes()[..4].try_into().unwrap());
            println!("acknowledging {number}");
            store.acknowledge(address(mailbox), last.cursor).wait().unwrap();
            println!("acknowledged {number}");
        }
        if n % 60 == 59 {
            store.checkpoint().wait().unwrap();
        }
    }
    for (n, stored) in pending {
        stored.wait().unwrap();
        println!("stored {n}");
    }
    store.close().wait().unwrap();
}

// ---- what it did to its files

/// Something that happened, in the order of its beginning.
enum Event {
    Write {
        file: String,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        file: String,
        len: u64,
    },
    Delete {
        file: String,
    },
    /// What was written to the file before `begun` is on the disk now. The directory is a file, too.
    Sync {
        file: String,
        begun: usize,
    },
    Said(String),
}

struct Record {
    events: Vec<Event>,
    /// For each event, the sync that made it durable.
    durable: Vec<usize>,
    said: Vec<(usize, String)>,
}

/// `None` if there is no strace, or it may not trace.
fn record(folder: &Path) -> Option<Record> {
    let (log, data) = (folder.join("strace"), folder.join("data"));
    let calls = "trace=write,pwrite64,ftruncate,unlink,fsync,fdatasync";
    let traced = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "200000", "-e", calls, "-e", "signal=none", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, &data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !traced.is_ok_and(|status| status.success()) {
        return None;
    }
    Some(Record::read(&std::fs::read_to_string(log).unwrap(), &data))
}

impl Record {
    fn read(log: &str, data: &Path) -> Self {
        let mut events = Vec::new();
        // Syncs that have begun, by thread.
        let mut begun: HashMap<&str, (String, usize)> = HashMap::new();
        for line in log.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if call.starts_with("<... f") && call.contains("sync resumed") {
                if let Some((file, begun)) = begun.remove(thread) {
                    assert!(call.ends_with("= 0"), "{call}");
                    events.push(Event::Sync { file, begun });
                }
                continue;
            }
            let Some((name, rest)) = call.split_once('(') else { continue };
            let file = match name {
                "unlink" => text(rest.split('"').nth(1).unwrap_or_default()),
                _ => text(rest.split(['<', '>']).nth(1).unwrap_or_default()),
            };
            if name == "write" && rest.starts_with("1<") {
                let said = text(rest.split('"').nth(1).unwrap());
                events.push(Event::Said(said.trim_end().to_owned()));
                continue;
            }
            let Ok(file) = Path::new(&file).strip_prefix(data) else { continue };
            let file = file.to_str().unwrap().to_owned();
            // The memory shared by processes is no part of what is durable; SQLite makes it anew.
            if !(file.is_empty() || file.starts_with("relay.db")) || file.ends_with("-shm") {
                continue;
            }
            let numbers: Vec<u64> =
                rest.rsplit('"').next().unwrap().split([',', ')', ' ']).filter_map(|word| word.parse().ok()).collect();
            match name {
                "pwrite64" => {
                    let bytes = unhex(rest.split('"').nth(1).unwrap());
                    assert_eq!(bytes.len() as u64, numbers[0], "cut short by strace");
                    events.push(Event::Write { file, offset: numbers[1], data: bytes });
                }
                "ftruncate" => events.push(Event::Truncate { file, len: numbers[0] }),
                "unlink" => events.push(Event::Delete { file }),
                "fsync" | "fdatasync" if call.contains("<unfinished") => {
                    begun.insert(thread, (file, events.len()));
                }
                "fsync" | "fdatasync" => {
                    let begun = events.len();
                    events.push(Event::Sync { file, begun });
                }
                _ => panic!("the store writes in a way that this test does not know: {call:.80}"),
            }
        }
        let said = events.iter().enumerate().filter_map(|(at, event)| match event {
            Event::Said(line) => Some((at, line.clone())),
            _ => None,
        });
        Self { durable: durable(&events), said: said.collect(), events }
    }

    /// Builds the files as a disk could hold them when the power fails before event `cut`.
    fn restore(&self, cut: usize, disk: Disk, target: &Path) {
        let _ = std::fs::remove_dir_all(target);
        std::fs::DirBuilder::new().create(target).unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(target, 0o700);
        let mut random = Random(
            0x9E37_79B9
                ^ match disk {
                    Disk::Some(seed) => seed | 1,
                    _ => 1,
                },
        );
        let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (at, event) in self.events[..cut].iter().enumerate() {
            let kept = self.durable[at] < cut
                || match disk {
                    Disk::Everything => true,
                    Disk::Synced => false,
                    Disk::Some(_) => random.below(2) == 0,
                };
            match event {
                Event::Write { file, offset, data } => {
                    let content = files.entry(file).or_default();
                    let mut len = data.len();
                    if !kept {
                        len = 0;
                        // A write that was under way: some of its sectors.
                        if matches!(disk, Disk::Some(_)) && random.below(4) == 0 {
                            let sectors = (data.len() as u64).div_ceil(SECTOR);
                            len = data.len().min((random.below(sectors + 1) * SECTOR) as usize);
                        }
                    }
                    if len > 0 {
                        let end = *offset as usize + len;
                        content.resize(content.len().max(end), 0);
                        content[*offset as usize..end].copy_from_slice(&data[..len]);
                    }
                }
                Event::Truncate { file, len } if kept => files.entry(file).or_default().resize(*len as usize, 0),
                Event::Delete { file } if kept => drop(files.remove(file.as_str())),
                _ => {}
            }
        }
        files.entry("relay.db").or_default();
        for (file, content) in files {
            let path = target.join(file);
            std::fs::write(&path, content).unwrap();
            mode(&path, 0o600);
        }
    }

    /// How many acknowledgements this state of the disk kept.
    fn check(&self, cut: usize, target: &Path) -> Result<usize, String> {
        let (mut promised, mut gone, mut may_be_gone) = (BTreeSet::new(), [None; 3], [None; 3]);
        let mut registered = 0;
        for (_, line) in self.said.iter().take_while(|(at, _)| *at < cut) {
            let Some((what, number)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            let mailbox = (number % MAILBOXES) as usize;
            match what {
                "registered" => registered += 1,
                "stored" => drop(promised.insert(number)),
                "acknowledging" => may_be_gone[mailbox] = Some(number),
                "acknowledged" => gone[mailbox] = Some(number),
                _ => {}
            }
        }
        let store = open(target);
        let totals = store.stats().wait().map_err(|error| error.to_string())?;
        if totals.devices < registered {
            return Err(format!("{registered} devices were registered, {} are there", totals.devices));
        }
        let mut kept = registered as usize;
        for mailbox in 0..MAILBOXES {
            let page = store.read(address(mailbox), Cursor::START, usize::MAX, usize::MAX).wait();
            let page = page.map_err(|error| error.to_string())?;
            let mut there = BTreeSet::new();
            for found in page.envelopes {
                let number = u32::from_be_bytes(found.id.as_bytes()[..4].try_into().unwrap());
                if found.ciphertext != envelope(number).ciphertext {
                    return Err(format!("envelope {number} is changed"));
                }
                if !there.insert(number) {
                    return Err(format!("envelope {number} is there twice"));
                }
                if gone[mailbox as usize] >= Some(number) {
                    return Err(format!("envelope {number} came back"));
                }
            }
            for number in promised.iter().filter(|number| *number % MAILBOXES == mailbox) {
                if !there.contains(number) && may_be_gone[mailbox as usize] < Some(*number) {
                    return Err(format!("envelope {number} is lost"));
                }
                kept += 1;
            }
        }
        Ok(kept)
    }
}

/// For each event, the first sync that covers it; `usize::MAX`: none.
fn durable(events: &[Event]) -> Vec<usize> {
    let mut durable = vec![usize::MAX; events.len()];
    for (at, event) in events.iter().enumerate() {
        let Event::Sync { file: synced, begun } = event else { continue };
        for (before, event) in events[..*begun].iter().enumerate() {
            let covered = match event {
                Event::Write { file, .. } | Event::Truncate { file, .. } => file == synced,
                Event::Delete { .. } => synced.is_empty(),
                Event::Sync { .. } | Event::Said(_) => false,
            };
            if covered {
                durable[before] = durable[before].min(at);
            }
        }
    }
    durable
}

/// What the disk held of what was not synced.
#[derive(Clone, Copy, Debug)]
enum Disk {
    Everything,
    Synced,
    /// Some, by this seed.
    Some(u64),
}

/// `\x61\x62` to bytes.
fn unhex(escaped: &str) -> Vec<u8> {
    escaped.split("\\x").skip(1).map(|byte| u8::from_str_radix(&byte[..2], 16).unwrap()).collect()
}

fn text(escaped: &str) -> String {
    String::from_utf8_lossy(&unhex(escaped)).into_owned()
}
