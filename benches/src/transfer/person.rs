//! A client in a process of its own: its memory is its own, and it shares nothing with the relay but the disk and the processors.

use std::io::{BufRead as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kuvert_client::{
    Client, Connection, Event, EventSink, FileState, Options, OutgoingFile, Profile, ReceiveOptions, RelayUrl,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::{Failure, Outcome};

/// Nothing that a client is told takes longer.
const PATIENCE: Duration = Duration::from_secs(600);

/// From one text to the next.
const TEXT_INTERVAL: Duration = Duration::from_millis(20);

/// Bytes of a text.
const TEXT_BYTES: usize = 256;

/// What a client is told, a line of JSON each.
#[derive(Serialize, Deserialize, Debug)]
pub enum Order {
    /// Registers in a new home, and connects.
    Register {
        /// The home.
        home: PathBuf,
        /// Its account's name.
        name: String,
        /// The relay's address.
        relay: String,
    },
    /// Adds a contact and sends a text.
    Greet {
        /// Whom.
        to: String,
    },
    /// From now on the highest memory is counted anew.
    Rest,
    /// Sends a file, until the message is at the relay.
    Send {
        /// Which.
        path: PathBuf,
    },
    /// Receives everything that waits, files too, until all are whole and on the disk.
    Receive {
        /// Bytes of files that have to come at least.
        expect: u64,
    },
    /// Sends texts, one after the other.
    Texts {
        /// How many.
        count: usize,
        /// A file that is uploaded meanwhile, again and again.
        beside: Option<PathBuf>,
    },
}

/// What it says when it has done so.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct Answer {
    /// Seconds that it took, without queueing.
    pub seconds: f64,
    /// Seconds of looking at the file before anything is sent.
    pub queue_s: f64,
    /// Resident memory now, KiB.
    pub resident_kib: f64,
    /// At its highest since [`Order::Rest`], KiB.
    pub peak_kib: f64,
    /// For each text: from its queueing until the relay has it on its disk.
    pub milliseconds: Vec<f64>,
    /// Uploads that ended meanwhile.
    pub uploads: usize,
}

/// Such a process, from without.
#[derive(Debug)]
pub struct Person {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Person {
    /// Starts one that registers.
    ///
    /// # Errors
    /// It does not start, or the relay refuses it.
    pub async fn start(program: &Path, base: &Path, name: &str, relay: &str) -> Outcome<Self> {
        let mut command = Command::new(program);
        command.arg(super::PERSON).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let mut person = Self { child, stdin, lines };
        let order = Order::Register { home: base.join(name), name: name.into(), relay: relay.into() };
        person.order(&order).await?;
        Ok(person)
    }

    /// Tells it something, and waits until it has done so.
    ///
    /// # Errors
    /// It failed; what it said stands on stderr.
    pub async fn order(&mut self, order: &Order) -> Outcome<Answer> {
        self.stdin.write_all(format!("{}\n", serde_json::to_string(order)?).as_bytes()).await?;
        self.stdin.flush().await?;
        let line = timeout(PATIENCE, self.lines.next_line()).await??;
        Ok(serde_json::from_str(&line.ok_or("a client failed; what it said stands above")?)?)
    }

    /// Lets it end.
    ///
    /// # Errors
    /// It does not.
    pub async fn end(self) -> Outcome<()> {
        let Self { mut child, stdin, lines } = self;
        drop((stdin, lines));
        timeout(PATIENCE, child.wait()).await??;
        Ok(())
    }
}

/// The process itself: does what it is told until stdin ends.
///
/// # Errors
/// The first thing that fails.
pub fn work() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut state = None;
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let mut answer = runtime.block_on(done(order, &mut state))?;
        let memory = std::fs::read_to_string("/proc/self/status")?;
        answer.resident_kib = field(&memory, "VmRSS:")?;
        answer.peak_kib = field(&memory, "VmHWM:")?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

struct Here {
    client: Client,
    connection: Connection,
    to: Option<kuvert_client::ContactInfo>,
}

impl Here {
    fn to(&self) -> Outcome<&kuvert_client::ContactInfo> {
        self.to.as_ref().ok_or_else(|| "no contact was added".into())
    }
}

async fn done(order: Order, state: &mut Option<Here>) -> Outcome<Answer> {
    if let Order::Register { home, name, relay } = order {
        let profile = Profile { name: Some(name), ..Profile::default() };
        let relay: RelayUrl = relay.parse()?;
        let client = Client::register(&home, relay, profile, Options::default()).await?;
        let connection = client.connect().await?;
        *state = Some(Here { client, connection, to: None });
        return Ok(Answer::default());
    }
    let here = state.as_mut().ok_or("not registered")?;
    match order {
        Order::Register { .. } => Ok(Answer::default()),
        Order::Greet { to } => {
            here.to = Some(here.connection.add_contact(&to, None).await?);
            here.client.queue_text(here.to()?, "hello").await?;
            here.connection.flush(|_| {}).await?;
            Ok(Answer::default())
        }
        Order::Rest => {
            // Resets VmHWM.
            std::fs::write("/proc/self/clear_refs", "5")?;
            Ok(Answer::default())
        }
        Order::Send { path } => send(here, path).await,
        Order::Receive { expect } => receive(here, expect).await,
        Order::Texts { count, beside } => texts(here, count, beside).await,
    }
}

async fn send(here: &Here, path: PathBuf) -> Outcome<Answer> {
    let begun = Instant::now();
    here.client.queue_files(here.to()?, "", vec![OutgoingFile::new(path)]).await?;
    let queue_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    upload(&here.connection).await?;
    Ok(Answer { seconds: begun.elapsed().as_secs_f64(), queue_s, ..Answer::default() })
}

async fn upload(connection: &Connection) -> Outcome<()> {
    let report = connection.send_files(|_| {}).await?;
    if let Some(not_sent) = report.not_sent.into_iter().next() {
        return Err(not_sent.error.into());
    }
    connection.flush(|_| {}).await?;
    Ok(())
}

/// Counts the bytes of files that came.
struct Reader<'a> {
    client: &'a Client,
    bytes: u64,
}

impl EventSink for &mut Reader<'_> {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        if let Event::Message(message) = event {
            let here = message.attachments.iter().filter(|file| file.state == FileState::Here);
            self.bytes += here.map(|file| file.size).sum::<u64>();
            // What the programs do once a message is on the screen; an error comes back with the next call.
            let _ = self.client.mark_shown(&[message.message]).await;
        }
        ControlFlow::Continue(())
    }
}

async fn receive(here: &mut Here, expect: u64) -> Outcome<Answer> {
    let begun = Instant::now();
    // A connection of its own, as each run of the program has.
    here.connection = here.client.connect().await?;
    let mut reader = Reader { client: &here.client, bytes: 0 };
    let options = ReceiveOptions { max_file: u64::MAX, files_first: true, ..ReceiveOptions::default() };
    here.connection.receive_into(options, &mut reader).await?;
    let (bytes, seconds) = (reader.bytes, begun.elapsed().as_secs_f64());
    if bytes < expect {
        return Err(format!("{bytes} bytes of files came, and not {expect}").into());
    }
    // What was fetched need not fill the disk.
    let files = here.client.directory().join("files");
    if files.is_dir() {
        std::fs::remove_dir_all(files)?;
    }
    Ok(Answer { seconds, ..Answer::default() })
}

async fn texts(here: &Here, count: usize, beside: Option<PathBuf>) -> Outcome<Answer> {
    let text = "x".repeat(TEXT_BYTES);
    let mut answer = Answer::default();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let uploading = beside.map(|path| {
        let (client, connection, to) = (here.client.clone(), here.connection.clone(), here.to.clone());
        tokio::spawn(async move {
            let to = to.ok_or("no contact was added")?;
            let mut uploads = 0;
            while !*stopped.borrow_and_update() {
                client.queue_files(&to, "", vec![OutgoingFile::new(&path)]).await?;
                connection.send_files(|_| {}).await?;
                uploads += 1;
            }
            Ok::<usize, Box<dyn std::error::Error + Send + Sync>>(uploads)
        })
    });
    for _ in 0..count {
        let begun = Instant::now();
        here.client.queue_text(here.to()?, &text).await?;
        here.connection.flush(|_| {}).await?;
        let took = begun.elapsed();
        answer.milliseconds.push(took.as_secs_f64() * 1e3);
        tokio::time::sleep(TEXT_INTERVAL.saturating_sub(took)).await;
    }
    // The upload that is under way comes to its end.
    stop.send_replace(true);
    if let Some(uploading) = uploading {
        answer.uploads = uploading.await?.map_err(|error| -> Failure { error })?;
        here.connection.flush(|_| {}).await?;
    }
    Ok(answer)
}

fn field(status: &str, name: &str) -> Outcome<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("not in /proc")?;
    Ok(line.split_whitespace().next().ok_or("not in /proc")?.parse()?)
}
