//! A whole client, end to end: `kuvert-bench client`. Real homes with SQLite files in a temporary directory, a relay in this
//! process, QUIC over loopback: from plaintext to a committed, encrypted store and back.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kuvert_client::home::Home;
use kuvert_client::store::sqlite::{Opened, SqliteStore};
use kuvert_client::store::{Mode, Store, Table};
use kuvert_client::{Client, Connection, ContactInfo, Event, EventSink, Options, Profile, ReceiveOptions, RelayUrl};
use kuvert_protocol::SessionRecord;
use kuvert_relay::{Config, SystemClock};
use serde::Serialize;

use crate::Outcome;
use crate::conversation::Conversation;
use crate::kuvert::Kuvert;
use crate::machine::{self, Machine};
use crate::metered_store::{Metered, Spent};

/// Recipients of one text.
pub const RECIPIENTS: usize = 32;

/// Sessions for the memory rows.
pub const SESSIONS: usize = 10_000;

/// One way that messages go.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClientRow {
    /// What was done.
    pub name: &'static str,
    /// With how many messages.
    pub messages: usize,
    /// Messages in a second, by the clock on the wall.
    pub per_second: f64,
    /// Microseconds for one message.
    pub us: f64,
    /// Of these, spent in the store: sealing and opening of values, SQLite, fsync.
    pub store_us: f64,
    /// Transactions committed for one message.
    pub commits: f64,
}

/// What 10,000 sessions take.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Memory {
    /// How many.
    pub sessions: usize,
    /// Growth of resident memory for one session held in memory (`SessionRecord`), bytes; `null` where the system does not say.
    pub held: Option<f64>,
    /// Growth of the store's file for one session, bytes.
    pub stored: f64,
    /// Growth of resident memory when a client opens the store with all of them and sends and receives one message, bytes.
    pub client: Option<f64>,
}

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClientReport {
    /// Throughput.
    pub rows: Vec<ClientRow>,
    /// Memory.
    pub memory: Memory,
    /// Where, and built how.
    pub machine: Machine,
}

/// A home whose store is metered.
struct Person {
    client: Client,
    connection: Connection,
    spent: Arc<Spent>,
}

impl Person {
    async fn register(directory: &Path, name: &str, relay: &RelayUrl) -> Outcome<Self> {
        let profile = Profile { name: Some(name.to_owned()), ..Profile::default() };
        Client::register(&directory.join(name), relay.clone(), profile, options()).await?;
        Self::open(directory, name).await
    }

    async fn open(directory: &Path, name: &str) -> Outcome<Self> {
        let (home, store) = stored(&directory.join(name))?;
        let spent = Arc::<Spent>::default();
        let store = Metered::new(store, Arc::clone(&spent));
        let client = Client::builder(home.directory()).options(options()).store(store).open().await?;
        let connection = client.connect().await?;
        Ok(Self { client, connection, spent })
    }

    /// A connection of its own for the next [`receive`](Self::receive), as each run of the program has.
    async fn reconnect(&mut self) -> Outcome<()> {
        self.connection = self.client.connect().await?;
        Ok(())
    }

    /// Everything that waits, shown.
    async fn receive(&self) -> Outcome<usize> {
        let mut reader = Reader { client: &self.client, messages: 0 };
        self.connection.receive_into(ReceiveOptions::default(), &mut reader).await?;
        Ok(reader.messages)
    }

    /// The contact that the owner calls so.
    async fn contact(&self, name: &str) -> Outcome<ContactInfo> {
        Ok(self.client.contacts().find(name).await?)
    }

    async fn flush(&self, expected: usize) -> Outcome<()> {
        let report = self.connection.flush(|_| {}).await?;
        match report.accepted.len() {
            accepted if accepted == expected => Ok(()),
            accepted => Err(format!("{accepted} of {expected} messages were accepted").into()),
        }
    }

    /// Runs `work` on `messages` messages.
    async fn measure(
        &self,
        name: &'static str,
        messages: usize,
        work: impl Future<Output = Outcome<()>>,
    ) -> Outcome<ClientRow> {
        let (nanoseconds, commits) = (&self.spent.nanoseconds, &self.spent.commits);
        let before = (nanoseconds.load(Ordering::Relaxed), commits.load(Ordering::Relaxed));
        let start = Instant::now();
        work.await?;
        let us = start.elapsed().as_secs_f64() * 1e6 / messages as f64;
        let store = nanoseconds.load(Ordering::Relaxed) - before.0;
        let commits = commits.load(Ordering::Relaxed) - before.1;
        Ok(ClientRow {
            name,
            messages,
            per_second: 1e6 / us,
            us,
            store_us: store as f64 / 1e3 / messages as f64,
            commits: commits as f64 / messages as f64,
        })
    }
}

/// Shows what comes.
struct Reader<'a> {
    client: &'a Client,
    messages: usize,
}

impl EventSink for &mut Reader<'_> {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        if let Event::Message(message) = event {
            self.messages += 1;
            // What the programs do once a message is on the screen; an error comes back with the next call.
            let _ = self.client.mark_shown(&[message.message]).await;
        }
        ControlFlow::Continue(())
    }
}

fn options() -> Options {
    Options {
        connect_timeout: Duration::from_secs(60),
        request_timeout: Duration::from_secs(120),
        ..Options::default()
    }
}

fn stored(directory: &Path) -> Outcome<(Home, SqliteStore)> {
    let home = Home::open(directory, None)?;
    let key = home.store_key()?;
    match SqliteStore::open(&home.store_file(), home.key_file(), &key, Duration::from_secs(10))? {
        Opened::Store(store) => Ok((home, store)),
        Opened::Nothing => Err("the home has no store".into()),
    }
}

/// Measures everything, with `messages` messages of 256 B each way.
///
/// # Errors
/// The relay did not start, or a message did not arrive.
pub fn client(messages: usize, progress: impl FnMut(&str)) -> Outcome<ClientReport> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(messages, progress))
}

async fn run(messages: usize, mut progress: impl FnMut(&str)) -> Outcome<ClientReport> {
    let load_before = machine::load();
    // Before anything else has taken memory and let go of it.
    let held = held()?;
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let config = Config { listen: "127.0.0.1:0".parse()?, ..Config::new(directory.join("relay")) };
    let relay = kuvert_relay_sqlite::embedded::start(config, Arc::new(SystemClock::default())).await?;
    let url = relay.address().clone();
    progress("accounts");
    let alice = Person::register(directory, "alice", &url).await?;
    let mut bob = Person::register(directory, "bob", &url).await?;
    let to_bob = alice.connection.add_contact("bob", None).await?;
    let to_alice = bob.connection.add_contact("alice", None).await?;
    // The session is there and answered before anything is measured.
    alice.client.queue_text(&to_bob, "first").await?;
    alice.flush(1).await?;
    bob.receive().await?;
    bob.client.queue_text(&to_alice, "answer").await?;
    bob.flush(1).await?;
    alice.receive().await?;

    let text = "x".repeat(256);
    let mut rows = Vec::new();
    progress("queue");
    let queue = async {
        for _ in 0..messages {
            alice.client.queue_text(&to_bob, &text).await?;
        }
        Ok(())
    };
    rows.push(alice.measure("queue", messages, queue).await?);
    progress("send");
    rows.push(alice.measure("send", messages, alice.flush(messages)).await?);
    progress("receive");
    bob.reconnect().await?;
    let receive = async {
        match bob.receive().await? {
            received if received == messages => Ok(()),
            received => Err(format!("{received} of {messages} messages arrived").into()),
        }
    };
    rows.push(bob.measure("receive", messages, receive).await?);

    progress("recipients");
    let mut recipients = Vec::new();
    for number in 0..RECIPIENTS {
        let name = format!("recipient{number}");
        let profile = Profile { name: Some(name.clone()), ..Profile::default() };
        Client::register(&directory.join(&name), url.clone(), profile, options()).await?;
        recipients.push(alice.connection.add_contact(&name, None).await?);
    }
    for name in ["first_to_many", "send_to_many"] {
        progress(name);
        let send = async {
            for recipient in &recipients {
                alice.client.queue_text(recipient, &text).await?;
            }
            alice.flush(RECIPIENTS).await
        };
        rows.push(alice.measure(name, RECIPIENTS, send).await?);
    }

    progress("memory");
    drop((alice, bob));
    let memory = memory(directory, held).await?;
    relay.shutdown().await;
    Ok(ClientReport { rows, memory, machine: Machine::read(load_before) })
}

async fn memory(directory: &Path, held: Option<f64>) -> Outcome<Memory> {
    // The session with bob again and again, under addresses that nobody has.
    let (home, mut store) = stored(&directory.join("alice"))?;
    let before = file_size(&home)?;
    let tx = store.begin(Mode::Write)?;
    let (_, session) = tx.list(Table::Session)?.into_iter().next().ok_or("no session in the store")?;
    for number in 0..SESSIONS {
        let mut address = [0xEE; 20];
        address[..8].copy_from_slice(&(number as u64).to_be_bytes());
        tx.put(Table::Session, &address, &session)?;
    }
    tx.commit()?;
    drop(store);
    let stored = (file_size(&home)? - before) / SESSIONS as f64;

    let resident = resident();
    let alice = Person::open(directory, "alice").await?;
    alice.client.queue_text(alice.contact("bob").await?, "one more").await?;
    alice.flush(1).await?;
    alice.receive().await?;
    let client = resident.zip(self::resident()).map(|(before, after)| after - before);
    Ok(Memory { sessions: SESSIONS, held, stored, client })
}

/// Sessions in memory, as a client that never lets one go would hold them.
fn held() -> Outcome<Option<f64>> {
    let mut pair = Kuvert::begin()?;
    pair.exchange()?;
    let encoded = pair.bob.record.encode();
    let before = resident();
    let sessions = (0..SESSIONS).map(|_| SessionRecord::decode(&encoded)).collect::<Result<Vec<_>, _>>()?;
    let growth = before.zip(resident()).map(|(before, after)| (after - before) / SESSIONS as f64);
    drop(std::hint::black_box(sessions));
    Ok(growth)
}

/// Bytes of the store's file and its log.
fn file_size(home: &Home) -> Outcome<f64> {
    let file = home.store_file();
    let mut log = file.clone().into_os_string();
    log.push("-wal");
    Ok((std::fs::metadata(&file)?.len() + std::fs::metadata(log).map_or(0, |log| log.len())) as f64)
}

/// Resident memory of this process in bytes, where the system says.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok().map(|kilobytes: f64| kilobytes * 1024.0)
}
