//! The relay's store without a network: insert rates while little and while much waits, start-up, expiry; beside it the
//! bare table of [`crate::bare`], in turns.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kuvert_relay::retention::expire_in_slices;
use kuvert_relay::store::{
    NewAccount, NewDevice, NewEnvelope, NumberedDeviceList, Pending, Store, SubmitError, Submitted,
};
use kuvert_relay_sqlite::store::{DATABASE_FILE, SqliteStore};
use kuvert_types::{AccountKey, Address, DeviceId, DeviceSigningKey, EnvelopeId};

use crate::Outcome;
use crate::bare::Table;
use crate::device::address;
use crate::job::{Done, Job, Storage, Work};
use crate::plan::{CIPHERTEXT_BYTES, Random};

/// Submits under way: those of 64 busy connections.
const OUTSTANDING: usize = 1_024;

/// A measurement alternates between relay and table this often.
const TURNS: usize = 5;

/// When the rows that expire were accepted, and the others (Unix milliseconds).
const OLD: u64 = 1_000;
const NEW: u64 = 1_000_000_000;

/// Does it all.
///
/// # Errors
/// The store failed.
pub fn run(job: &Job) -> Outcome<Done> {
    let Work::Storage { data, mailboxes, rows, sample, rows_at_start, expiring } = &job.work else {
        return Err("not this work".into());
    };
    let data: &Path = data.as_ref();
    let mut relay = Relay::open(data, job.seed)?;
    relay.register(*mailboxes)?;
    relay.store()?.checkpoint().wait()?;
    let size = || std::fs::metadata(data.join(DATABASE_FILE)).map(|file| file.len());
    let accounts = size()?;
    let mut table = Bare { table: Table::open(data)?, random: Random::new(job.seed, 1), rows: 0 };

    relay.insert_to(rows[0] - sample, *expiring)?;
    table.insert_to(rows[0] - sample)?;
    let few = compare(&mut relay, &mut table, *sample, *expiring)?;

    relay.insert_to(*rows_at_start, *expiring)?;
    relay.close()?;
    let begun = Instant::now();
    relay.store = Some(SqliteStore::open(data)?);
    let start_seconds = begun.elapsed().as_secs_f64();

    relay.insert_to(rows[1] - sample, *expiring)?;
    table.insert_to(rows[1] - sample)?;
    let many = compare(&mut relay, &mut table, *sample, *expiring)?;
    relay.store()?.checkpoint().wait()?;
    let bytes = size()?.saturating_sub(accounts);

    let (mut storage, expired) = relay.expire(*sample)?;
    if expired != *expiring as u64 {
        return Err(format!("{expired} rows expired instead of {expiring}").into());
    }
    relay.close()?;
    storage.rows = rows.map(|rows| rows as u64);
    storage.mailboxes = *mailboxes as u64;
    storage.per_second = [few.0, many.0];
    storage.bare_per_second = [few.1, many.1];
    storage.start_rows = *rows_at_start as u64;
    storage.start_seconds = start_seconds;
    storage.bytes_per_waiting = bytes as f64 / rows[1] as f64;
    Ok(Done { count: expired, storage: Some(storage), ..Done::default() })
}

/// Rows per second of both, in turns.
fn compare(relay: &mut Relay, table: &mut Bare, sample: usize, old: usize) -> Outcome<(f64, f64)> {
    let (mut of_relay, mut of_table) = (Duration::ZERO, Duration::ZERO);
    let turn = sample / TURNS;
    for _ in 0..TURNS {
        of_relay += relay.insert_to(relay.rows + turn, old)?;
        of_table += table.insert_to(table.rows + turn)?;
    }
    let per_second = |time: Duration| (turn * TURNS) as f64 / time.as_secs_f64();
    Ok((per_second(of_relay), per_second(of_table)))
}

struct Bare {
    table: Table,
    random: Random,
    rows: usize,
}

impl Bare {
    fn insert_to(&mut self, rows: usize) -> Outcome<Duration> {
        let begun = Instant::now();
        while self.rows < rows {
            let batch: Vec<_> = (0..OUTSTANDING.min(rows - self.rows)).map(|_| body(&mut self.random)).collect();
            self.table.insert(batch.iter().map(|body| (&body[..20], &body[..])))?;
            self.rows += batch.len();
        }
        Ok(begun.elapsed())
    }
}

fn body(random: &mut Random) -> Vec<u8> {
    let mut body = vec![0; CIPHERTEXT_BYTES];
    random.fill(&mut body);
    body
}

struct Relay {
    store: Option<SqliteStore>,
    seed: u64,
    random: Random,
    mailboxes: Vec<Address>,
    rows: usize,
}

impl Relay {
    fn open(data: &Path, seed: u64) -> Outcome<Self> {
        let store = Some(SqliteStore::open(data)?);
        Ok(Self { store, seed, random: Random::new(seed, 2), mailboxes: Vec::new(), rows: 0 })
    }

    fn store(&self) -> Outcome<&SqliteStore> {
        self.store.as_ref().ok_or_else(|| "the store is closed".into())
    }

    fn close(&mut self) -> Outcome<()> {
        match self.store.take() {
            Some(store) => Ok(store.close().wait()?),
            None => Ok(()),
        }
    }

    fn register(&mut self, mailboxes: usize) -> Outcome<()> {
        let mut pending = VecDeque::new();
        for number in 0..mailboxes {
            let address = address(self.seed, number);
            self.mailboxes.push(address);
            pending.push_back(self.store()?.register(account(address)));
            if pending.len() > OUTSTANDING
                && let Some(oldest) = pending.pop_front()
            {
                oldest.wait()?;
            }
        }
        for registered in pending {
            registered.wait()?;
        }
        Ok(())
    }

    /// Inserts until so many rows were inserted in all; the first `old` are old.
    fn insert_to(&mut self, rows: usize, old: usize) -> Outcome<Duration> {
        let begun = Instant::now();
        let mut inserts = Inserts::default();
        while self.rows < rows {
            let accepted_at = if self.rows < old { OLD } else { NEW };
            let store = self.store.as_ref().ok_or("the store is closed")?;
            let pending = insert(store, &self.mailboxes, &mut self.random, accepted_at);
            self.rows += 1;
            inserts.push(pending)?;
        }
        inserts.finish()?;
        Ok(begun.elapsed())
    }

    /// Expires what is old while others insert as fast as they can.
    fn expire(&mut self, sample: usize) -> Outcome<(Storage, u64)> {
        let before = sample as f64 / self.insert_to(self.rows + sample, 0)?.as_secs_f64();
        let store = self.store()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let stop = AtomicBool::new(false);
        let mut random = self.random.clone();
        std::thread::scope(|scope| {
            let inserting = scope.spawn(|| -> Outcome<(u64, Duration)> {
                let mut inserts = Inserts::default();
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    inserts.push(insert(store, &self.mailboxes, &mut random, NEW))?;
                    count += 1;
                }
                inserts.finish()?;
                Ok((count, inserts.worst))
            });
            let begun = Instant::now();
            let result = runtime.block_on(expire_in_slices(store, OLD + 1));
            let time = begun.elapsed();
            stop.store(true, Ordering::Relaxed);
            let (inserted, worst) = inserting.join().map_err(|_| "the inserting thread failed")??;
            let expired = result?;
            let storage = Storage {
                expired,
                expiry_seconds: time.as_secs_f64(),
                worst_stall_ms: worst.as_secs_f64() * 1e3,
                inserts_ratio: inserted as f64 / time.as_secs_f64() / before,
                ..Storage::default()
            };
            Ok((storage, expired))
        })
    }
}

/// Inserts under way, oldest first.
#[derive(Default)]
struct Inserts {
    pending: VecDeque<(Instant, Pending<Submitted, SubmitError>)>,
    worst: Duration,
}

impl Inserts {
    fn push(&mut self, pending: Pending<Submitted, SubmitError>) -> Outcome<()> {
        self.pending.push_back((Instant::now(), pending));
        if self.pending.len() >= OUTSTANDING { self.wait() } else { Ok(()) }
    }

    fn wait(&mut self) -> Outcome<()> {
        let Some((begun, pending)) = self.pending.pop_front() else { return Ok(()) };
        pending.wait()?;
        self.worst = self.worst.max(begun.elapsed());
        Ok(())
    }

    fn finish(&mut self) -> Outcome<()> {
        while !self.pending.is_empty() {
            self.wait()?;
        }
        Ok(())
    }
}

fn insert(
    store: &SqliteStore,
    mailboxes: &[Address],
    random: &mut Random,
    accepted_at: u64,
) -> Pending<Submitted, SubmitError> {
    let mut id = [0; 16];
    random.fill(&mut id);
    let to = mailboxes[random.below(mailboxes.len())];
    let source = Some(mailboxes[random.below(mailboxes.len())]);
    let envelope = NewEnvelope { id: EnvelopeId::from_bytes(id), source, ciphertext: body(random).into() };
    store.submit(to, envelope, accepted_at)
}

/// An account to write to.
pub(crate) fn account(address: Address) -> NewAccount {
    NewAccount {
        account: address.account,
        account_key: AccountKey::from_bytes([1; 32]),
        device_list: NumberedDeviceList { number: 1, bytes: Bytes::from_static(&[1; 130]) },
        name: None,
        phone: None,
        invitation: None,
        registered_at: OLD,
        device: NewDevice {
            device: DeviceId::PRIMARY,
            signing_key: DeviceSigningKey::from_bytes([2; 32]),
            certificate: Bytes::from_static(&[2; 245]),
        },
    }
}
