//! Files end to end, beside what disk and cipher allow in the same run: `kuvert-bench files`.
//!
//! A real relay and two real clients, each a process of its own, over loopback QUIC. In turns with them run the raw cipher and the raw disk, so that
//! what disturbs one disturbs all.
//!
//! | module | holds |
//! |---|---|
//! | [`person`] | a client in a process of its own, and what it is told to do |
//! | [`raw`] | the cipher and the disk with nothing around |
//! | [`report`] | the figures as tables, and what they are to reach |

pub mod person;
pub mod raw;
pub mod report;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kuvert_relay_bench::process::{Limits, Server};

use crate::conversation::{Half, content};
use crate::files::Files;
use crate::machine::{self, Machine};
use crate::meter::interleave;
use crate::{Failure, Outcome};

use self::person::{Order, Person};
use self::report::{EndToEnd, FilesReport, MemoryRow, Raw, Texts};

/// The argument with which the program starts itself as a client.
pub const PERSON: &str = "files-person";

/// One mebibyte.
pub const MIB: usize = 1024 * 1024;

/// Bytes that are written to the raw disk at once.
const WRITE_BYTES: usize = MIB;

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    /// MiB of the file that goes end to end.
    pub mib: usize,
    /// MiB of the files whose memory is measured, from small to large.
    pub memory_mib: Vec<usize>,
    /// How often a file goes end to end.
    pub turns: usize,
    /// Texts of a turn, without and beside an upload.
    pub texts: usize,
    /// Turns of texts.
    pub text_turns: usize,
    /// How long the cipher is measured.
    pub cipher: Duration,
}

impl Plan {
    /// As it is published, of a file of so many MiB.
    pub fn full(mib: usize) -> Self {
        let memory_mib = vec![1, mib, mib.saturating_mul(10).min(2_000)];
        Self { mib, memory_mib, turns: 5, texts: 100, text_turns: 5, cipher: Duration::from_secs(10) }
    }

    /// Tiny, to see that everything works.
    pub fn quick() -> Self {
        Self { mib: 2, memory_mib: vec![1, 2], turns: 1, texts: 3, text_turns: 1, cipher: Duration::ZERO }
    }
}

/// Measures everything in a directory below `directory`, which is removed again. `program` is this program.
///
/// # Errors
/// A process did not start, a file did not arrive whole, the disk is full.
pub fn measure(plan: &Plan, program: &Path, directory: &Path, mut progress: impl FnMut(&str)) -> Outcome<FilesReport> {
    let load_before = machine::load();
    progress("the cipher");
    let raw = cipher(plan)?;
    let base = tempfile::Builder::new().prefix("kuvert-bench-").tempdir_in(directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(plan, program, base.path(), raw, &mut progress))?;
    let mut machine = Machine::read(load_before);
    machine.clock = "the cipher: CLOCK_THREAD_CPUTIME_ID; everything else: CLOCK_MONOTONIC; memory from /proc";
    Ok(FilesReport { machine, ..report })
}

/// The cipher alone and a file through it, in turns.
fn cipher(plan: &Plan) -> Outcome<Raw> {
    let size = plan.mib.min(16) * MIB;
    let mut contenders: Vec<Box<dyn crate::meter::Batch>> = vec![
        Box::new(raw::Cipher::new(Half::Send, size)?),
        Box::new(Files::new(Half::Send, size)?),
        Box::new(raw::Cipher::new(Half::Receive, size)?),
        Box::new(Files::new(Half::Receive, size)?),
    ];
    let figures = interleave(&mut contenders, plan.cipher)?;
    let rate = |at: usize| figures.get(at).map(|figure| size as f64 / MIB as f64 * 1e9 / figure.median);
    let missing = "no figure of the cipher";
    Ok(Raw {
        aead_seal_mib_s: rate(0).ok_or(missing)?,
        file_seal_mib_s: rate(1).ok_or(missing)?,
        aead_open_mib_s: rate(2).ok_or(missing)?,
        file_open_mib_s: rate(3).ok_or(missing)?,
    })
}

async fn run(
    plan: &Plan,
    program: &Path,
    base: &Path,
    raw: Raw,
    progress: &mut impl FnMut(&str),
) -> Outcome<FilesReport> {
    progress("a relay and two clients");
    let relay = Server::relay(program, base, "relay", Limits::Raised).await.map_err(plain)?;
    let mut alice = Person::start(program, base, "alice", &relay.target.url).await?;
    let mut bob = Person::start(program, base, "bob", &relay.target.url).await?;
    alice.order(&Order::Greet { to: "bob".into() }).await?;
    bob.order(&Order::Receive { expect: 0 }).await?;
    bob.order(&Order::Greet { to: "alice".into() }).await?;
    alice.order(&Order::Receive { expect: 0 }).await?;

    progress("memory");
    let memory = memory(plan, base, &relay, &mut alice, &mut bob).await?;
    let mut end_to_end = Vec::new();
    let film = write_file(base, "film", plan.mib)?;
    for turn in 1..=plan.turns {
        progress(&format!("end to end, {turn} of {}", plan.turns));
        let disk = [raw::disk(base, plan.mib * MIB, WRITE_BYTES)?, raw::disk(base, plan.mib * MIB, WRITE_BYTES)?];
        let aead = [raw::wall(Half::Send, plan.mib * MIB)?, raw::wall(Half::Receive, plan.mib * MIB)?];
        let up = alice.order(&Order::Send { path: film.clone() }).await?;
        let down = bob.order(&Order::Receive { expect: (plan.mib * MIB) as u64 }).await?;
        end_to_end.push(EndToEnd {
            disk_s: disk,
            aead_s: aead,
            queue_s: up.queue_s,
            up_s: up.seconds,
            down_s: down.seconds,
        });
    }

    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for turn in 1..=plan.text_turns {
        progress(&format!("texts, {turn} of {}", plan.text_turns));
        alone.extend(alice.order(&Order::Texts { count: plan.texts, beside: None }).await?.milliseconds);
        let order = Order::Texts { count: plan.texts, beside: Some(film.clone()) };
        beside.extend(alice.order(&order).await?.milliseconds);
        bob.order(&Order::Receive { expect: 0 }).await?;
    }
    let texts = Texts::of(alone, beside).ok_or("no text was sent")?;
    alice.end().await?;
    bob.end().await?;
    relay.stop().await.map_err(plain)?;
    Ok(FilesReport::new(plan.mib, raw, end_to_end, memory, texts))
}

/// How much more memory each process has at its highest while a file passes than when it rests.
async fn memory(
    plan: &Plan,
    base: &Path,
    relay: &Server,
    alice: &mut Person,
    bob: &mut Person,
) -> Outcome<Vec<MemoryRow>> {
    let mut rows = Vec::new();
    let relay_idle = relay.memory_kib("VmRSS").map_err(plain)?;
    for mib in &plan.memory_mib {
        let film = write_file(base, "large", *mib)?;
        let mut row = MemoryRow { mib: *mib, ..MemoryRow::default() };
        let idle = [alice.order(&Order::Rest).await?.resident_kib, bob.order(&Order::Rest).await?.resident_kib];
        let sent = alice.order(&Order::Send { path: film }).await?;
        let received = bob.order(&Order::Receive { expect: (*mib * MIB) as u64 }).await?;
        row.sender_mib = (sent.peak_kib - idle[0]) / 1024.0;
        row.reader_mib = (received.peak_kib - idle[1]) / 1024.0;
        row.relay_mib = (relay.memory_kib("VmHWM").map_err(plain)? - relay_idle) / 1024.0;
        rows.push(row);
    }
    Ok(rows)
}

/// What goes wrong with a relay's process may go to other threads; here nothing does.
fn plain(error: kuvert_relay_bench::Failure) -> Failure {
    error
}

/// A file that no compression makes smaller.
fn write_file(base: &Path, name: &str, mib: usize) -> Outcome<PathBuf> {
    let path = base.join(name);
    let mut out = BufWriter::new(File::create(&path)?);
    let piece = content(MIB);
    for number in 0..mib as u64 {
        out.write_all(&number.to_be_bytes())?;
        out.write_all(piece.get(8..).unwrap_or_default())?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(path)
}
