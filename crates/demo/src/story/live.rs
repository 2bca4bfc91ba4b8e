//! The day, lived by real clients through a real relay. Only the clocks are the story's own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kuvert_cli::error::Failure;
use kuvert_client::{Client, Clock, Event, EventSink, Level, Options, OutgoingFile, Profile, ReceiveOptions};
use kuvert_relay::{Config, ManualClock};
use kuvert_relay_lens::observe::{Observed, Record};
use kuvert_relay_sqlite::OBSERVE_FILE;

use super::town::{self, DAY, Name, OFFICES, PEOPLE, Paper};
use crate::process::loopback;

/// 4 November 2026, 00:00 UTC.
pub const MIDNIGHT: u64 = 1_793_750_400_000;

/// People got to know each other the evening before.
const EVENING_BEFORE: u64 = MIDNIGHT - 6 * 60 * 60 * 1000;

/// Receipts that are held back up to a minute go out at one of so many moments after a letter.
const MOMENTS: u32 = 6;

/// Between two of these moments.
const MOMENT: Duration = Duration::from_secs(11);

/// Files up to so many bytes are fetched when they come.
const LARGEST_FILE: u64 = 16 << 20;

/// What a day left behind.
#[derive(Debug)]
pub struct Day {
    /// What the relay saw.
    pub observations: Vec<Observed>,
    /// Who has which account, which the relay does not know unless a name was taken.
    pub accounts: BTreeMap<Name, String>,
}

/// The town's clock, as clients read it.
#[derive(Debug)]
struct TownClock(Arc<ManualClock>);

impl Clock for TownClock {
    fn now_ms(&self) -> u64 {
        kuvert_relay::Clock::now_ms(&*self.0)
    }
}

struct Town {
    clock: Arc<ManualClock>,
    homes: BTreeMap<Name, Client>,
}

/// Lives the day at a level, in `directory`.
///
/// # Errors
/// Whatever a relay or a client can say.
pub async fn live(directory: &Path, level: Level) -> Result<Day, Failure> {
    let clock = Arc::new(ManualClock::new(EVENING_BEFORE));
    let data = directory.join("relay");
    let mut config = Config { observe: true, listen: ([127, 0, 0, 1], 0).into(), ..Config::new(&data) };
    // The day's files find room, whatever else is on this disk.
    config.limits.blob_disk_percent = 100;
    let relay = kuvert_relay_lens::start(config, Arc::<ManualClock>::clone(&clock) as _)
        .await
        .map_err(|error| Failure::new("story-relay", error.to_string()))?;
    let mut town = Town { clock, homes: BTreeMap::new() };
    let lived = town.day(directory, relay.address(), level).await;
    // It finishes writing what it saw.
    relay.shutdown().await;
    lived?;
    let observations = Record::open(&data.join(OBSERVE_FILE)).and_then(|record| record.newest(usize::MAX));
    let observations = observations.map_err(|error| Failure::new("story-relay", error.to_string()))?;
    let mut accounts = BTreeMap::new();
    for (name, client) in &town.homes {
        accounts.insert(*name, client.whoami().await?.address.account.to_string());
    }
    Ok(Day { observations, accounts })
}

impl Town {
    async fn day(&mut self, directory: &Path, relay: &kuvert_client::RelayUrl, level: Level) -> Result<(), Failure> {
        for (number, (name, _)) in PEOPLE.iter().chain(&OFFICES).enumerate() {
            let office = OFFICES.iter().any(|(office, _)| office == name);
            let numbered = level == Level::L0;
            let profile = Profile {
                // Above L0 only those who want to be found take a name.
                name: (numbered || office).then(|| (*name).to_owned()),
                phone: numbered.then(|| format!("+49155500{number:05}")),
                invitation: None,
            };
            let clock = Arc::new(TownClock(Arc::clone(&self.clock)));
            let local_address = town::address(name).and_then(loopback).map(IpAddr::V4);
            let options = Options { clock, level: Some(level), local_address, ..Options::default() };
            let client = Client::register(&directory.join(name), relay.clone(), profile, options).await?;
            self.homes.insert(name, client);
        }
        self.acquaint().await?;
        for line in DAY {
            let now = kuvert_relay::Clock::now_ms(&*self.clock);
            let at = MIDNIGHT + u64::from(line.at) * 60_000;
            self.clock.advance(Duration::from_millis(at.saturating_sub(now)));
            let file = line.file.map(|paper| papers(directory, paper)).transpose()?;
            self.letter(line.from, line.to, line.text, file).await?;
        }
        Ok(())
    }

    /// All who will write to each other have each other's links, and have heard of each other.
    async fn acquaint(&mut self) -> Result<(), Failure> {
        let mut pairs: Vec<(Name, Name)> = Vec::new();
        for line in DAY {
            if !pairs.contains(&(line.from, line.to)) && !pairs.contains(&(line.to, line.from)) {
                pairs.push((line.from, line.to));
            }
        }
        for (one, other) in pairs {
            let both = [(one, other), (other, one)];
            // First both, then the letters: neither is a stranger to the other.
            for (from, to) in both {
                let link = self.home(to)?.invite().await?.to_string();
                let client = self.home(from)?;
                let connection = client.connect().await?;
                connection.add_contact(&link, Some(to)).await?;
            }
            for (from, to) in both {
                self.letter(from, to, "Good evening!", None).await?;
            }
        }
        Ok(())
    }

    fn home(&self, name: Name) -> Result<&Client, Failure> {
        self.homes.get(name).ok_or_else(|| Failure::new("internal", "nobody of that name lives here"))
    }

    /// A letter, read at once; and its receipts, at once or when they are let out.
    async fn letter(&self, from: Name, to: Name, text: &str, file: Option<PathBuf>) -> Result<(), Failure> {
        let writer = self.home(from)?;
        let connection = writer.connect().await?;
        let contact = writer.contacts().find(to).await?;
        match file {
            None => drop(connection.send_text(contact, text).await?),
            Some(path) => {
                writer.queue_files(contact, text, vec![OutgoingFile::new(path)]).await?;
                connection.send_files(|_| ()).await?;
                connection.flush(|_| ()).await?;
            }
        }
        receive(self.home(to)?).await?;
        for _ in 0..MOMENTS {
            self.clock.advance(MOMENT);
            receive(self.home(to)?).await?;
        }
        receive(writer).await
    }
}

/// Writes a file of the day. What is in it does not matter: it is sealed, and the relay sees its padded size.
fn papers(directory: &Path, paper: Paper) -> Result<PathBuf, Failure> {
    let path = directory.join(paper.name);
    std::fs::write(&path, vec![b'.'; paper.bytes]).map_err(|error| Failure::io("write a file of the story", &error))?;
    Ok(path)
}

/// Reads what waits, and sends the receipts that are due. Connections are dropped here and not closed: no step has to wait a
/// tenth of a second for each goodbye to be heard.
async fn receive(client: &Client) -> Result<(), Failure> {
    let connection = client.connect().await?;
    let mut reader = Reader { client, failure: None };
    let options = ReceiveOptions { max_file: LARGEST_FILE, files_first: true, ..ReceiveOptions::default() };
    connection.receive_into(options, &mut reader).await?;
    reader.failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Marks as read what comes.
struct Reader<'a> {
    client: &'a Client,
    failure: Option<kuvert_client::Error>,
}

impl EventSink for &mut Reader<'_> {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        let Event::Message(message) = event else { return ControlFlow::Continue(()) };
        match self.client.mark_read(&[message.message]).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}
