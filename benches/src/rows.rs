//! What is measured, row by row. Names and fields are what scripts rely on: fields may be added, none may change or go.

use std::time::Duration;

use serde::Serialize;

use crate::bound::{self, Agreement};
use crate::conversation::{Conversation, Half, OneDirection, OutOfOrder, PingPong};
use crate::files::{self, Files};
use crate::kuvert::{self, Kuvert};
use crate::meter::{Batch, Figure, interleave};
use crate::olm::{self, Olm};
use crate::post_quantum::{PostQuantum, messages_in_two_epochs};
use crate::primitives::{self, Operation};
use crate::sealed_sender::{self, SealedSender};
use crate::{Outcome, allocations};

/// Sizes of content for `encrypt` and `decrypt`.
pub const SIZES: [usize; 6] = [64, 256, 1024, 16_384, 65_536, 1_048_576];

/// Content of every other row.
pub const SIZE: usize = 256;

/// Bytes of the file in `file_seal` and `file_open`.
pub const FILE: usize = 1_048_576;

/// Messages overtaken by one: as many as either side may skip.
pub const SKIPPED: usize = 1_000;

/// One line of the result. Times are nanoseconds of CPU for one operation.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub name: String,
    /// Bytes of plaintext.
    pub size: Option<usize>,
    /// Kuvert's time, the median of all batches; for `primitive/…` the backend's.
    pub ns: Option<f64>,
    /// The same primitives with nothing around.
    pub lower_bound_ns: Option<f64>,
    /// vodozemac's time for the same work.
    pub vodozemac_ns: Option<f64>,
    /// `ns / lower_bound_ns`: how many times the bound.
    pub ratio_to_bound: Option<f64>,
    /// `vodozemac_ns / ns`: how many times as fast as vodozemac.
    pub ratio_to_vodozemac: Option<f64>,
    /// Allocations of one operation; counted by the package's test, see [`allocations`].
    pub allocations: Option<f64>,
    /// Half of the batches of `ns` lie within this many nanoseconds.
    pub spread_ns: Option<f64>,
    /// The post-quantum ratchet's share of `ns`, measured apart in the same turns.
    pub post_quantum_ns: Option<f64>,
    /// Its share of `lower_bound_ns`.
    pub post_quantum_bound_ns: Option<f64>,
    /// How many batches each median is of.
    pub batches: usize,
    /// What has to be known to read the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Who takes part in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Kuvert,
    Bound,
    Vodozemac,
    PostQuantum,
    PostQuantumBound,
}

/// Contenders that are measured in turns.
pub enum Contest {
    /// Kuvert against others, one row.
    Row(Versus),
    /// Backends against each other, a row each.
    Primitive(Operation),
}

/// Kuvert against others.
pub struct Versus {
    name: &'static str,
    size: Option<usize>,
    contenders: Vec<(Who, Box<dyn Batch>)>,
    note: Option<&'static str>,
}

impl Contest {
    /// For people who wait.
    pub fn title(&self) -> String {
        let (prefix, name, size) = match self {
            Self::Row(versus) => ("", versus.name, versus.size),
            Self::Primitive(operation) => ("primitive/", operation.name, operation.size),
        };
        size.map_or_else(|| format!("{prefix}{name}"), |size| format!("{prefix}{name}, {size} B"))
    }

    /// Measures for about `time`.
    ///
    /// # Errors
    /// A workload failed.
    pub fn run(self, time: Duration) -> Outcome<Vec<Row>> {
        match self {
            Self::Row(versus) => Ok(vec![versus.run(time)?]),
            Self::Primitive(Operation { name, size, backends }) => {
                let (names, mut batches): (Vec<_>, Vec<_>) = backends.into_iter().unzip();
                let figures = interleave(&mut batches, time)?;
                let rows = names.into_iter().zip(figures);
                Ok(rows
                    .map(|(backend, figure)| Row::primitive(&format!("primitive/{name}/{backend}"), size, figure))
                    .collect())
            }
        }
    }
}

impl Versus {
    fn new(name: &'static str, size: Option<usize>) -> Self {
        Self { name, size, contenders: Vec::new(), note: None }
    }

    fn with(mut self, who: Who, batch: impl Batch + 'static) -> Self {
        self.contenders.push((who, Box::new(batch)));
        self
    }

    fn note(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }

    fn run(self, time: Duration) -> Outcome<Row> {
        let Self { name, size, contenders, note } = self;
        let (who, mut batches): (Vec<_>, Vec<_>) = contenders.into_iter().unzip();
        let figures = interleave(&mut batches, time)?;
        let find = |wanted| who.iter().zip(&figures).find(|(who, _)| **who == wanted).map(|(_, figure)| *figure);
        let median = |wanted| find(wanted).map(|figure| figure.median);
        let kuvert = find(Who::Kuvert).ok_or("every row has Kuvert in it")?;
        let (bound, vodozemac) = (median(Who::Bound), median(Who::Vodozemac));
        Ok(Row {
            name: name.to_owned(),
            size,
            ns: Some(kuvert.median),
            lower_bound_ns: bound,
            vodozemac_ns: vodozemac,
            ratio_to_bound: bound.map(|bound| kuvert.median / bound),
            ratio_to_vodozemac: vodozemac.map(|vodozemac| vodozemac / kuvert.median),
            allocations: allocations::of(name, size),
            spread_ns: Some(kuvert.spread),
            post_quantum_ns: median(Who::PostQuantum),
            post_quantum_bound_ns: median(Who::PostQuantumBound),
            batches: kuvert.batches,
            note,
        })
    }
}

impl Row {
    fn primitive(name: &str, size: Option<usize>, figure: Figure) -> Self {
        Self {
            name: name.to_owned(),
            size,
            ns: Some(figure.median),
            lower_bound_ns: None,
            vodozemac_ns: None,
            ratio_to_bound: None,
            ratio_to_vodozemac: None,
            allocations: None,
            spread_ns: Some(figure.spread),
            post_quantum_ns: None,
            post_quantum_bound_ns: None,
            batches: figure.batches,
            note: None,
        }
    }
}

/// How a content of `size` bytes is sent: messages for one content, contents in a batch.
pub fn shape(size: usize) -> (usize, usize) {
    match size {
        0..=4_096 => (1, 256),
        4_097..=32_768 => (1, 32),
        32_769..=90_000 => (1, 8),
        // What one session message holds at most is 90 KiB: 12 are needed for 1 MiB.
        _ => (size.div_ceil(90_000), 1),
    }
}

/// Everything that is measured.
///
/// # Errors
/// A workload could not be set up.
pub fn contests() -> Outcome<Vec<Contest>> {
    let mut versus = Vec::new();
    for (name, half) in [("encrypt", Half::Send), ("decrypt", Half::Receive)] {
        for size in SIZES {
            let (parts, count) = shape(size);
            let row = Versus::new(name, Some(size))
                .with(Who::Kuvert, OneDirection::<Kuvert>::new(half, size, parts, count)?)
                .with(Who::Bound, bound::OneDirection::new(half, size, parts, count)?)
                .with(Who::Vodozemac, OneDirection::<Olm>::new(half, size, 1, count)?)
                .with(Who::PostQuantum, OneDirection::<PostQuantum>::new(half, size, parts, count)?)
                .with(Who::PostQuantumBound, bound::PostQuantumChain::new(parts, count));
            versus.push(match parts {
                1 => row,
                _ => row.note(
                    "split into 12 messages, because one session message holds at most 90 KiB; vodozemac sends one",
                ),
            });
        }
    }
    let turns = messages_in_two_epochs()?;
    versus.push(
        Versus::new("ping_pong", Some(SIZE))
            .with(Who::Kuvert, PingPong::<Kuvert>::new(SIZE, turns)?)
            .with(Who::Bound, bound::PingPong::new(SIZE, turns)?)
            .with(Who::Vodozemac, PingPong::<Olm>::new(SIZE, turns)?)
            .with(Who::PostQuantum, PingPong::<PostQuantum>::new(SIZE, turns)?)
            .with(Who::PostQuantumBound, bound::Braid::new(turns))
            .note(
                "one operation is to encrypt a message and to decrypt it; two whole epochs of the Braid in each batch",
            ),
    );
    versus.push(
        Versus::new("establish_out", Some(SIZE))
            .with(Who::Kuvert, kuvert::EstablishOut::new(SIZE)?)
            .with(Who::Bound, bound::Establish::new(Agreement::Initiator, SIZE)?)
            .with(Who::Vodozemac, olm::EstablishOut::new(SIZE))
            .note("bundle to first message; vodozemac checks no signature and has nothing post-quantum"),
    );
    versus.push(
        Versus::new("establish_in", Some(SIZE))
            .with(Who::Kuvert, kuvert::EstablishIn::new(SIZE)?)
            .with(Who::Bound, bound::Establish::new(Agreement::Recipient, SIZE)?)
            .with(Who::Vodozemac, olm::EstablishIn::new(SIZE))
            .note("first message to content; prekeys read from their stored form"),
    );
    versus.push(
        Versus::new("out_of_order", Some(SIZE))
            .with(Who::Kuvert, OutOfOrder::<Kuvert>::new(SIZE, SKIPPED)?)
            .with(Who::Bound, bound::OneDirection::new(Half::Receive, SIZE, 1, SKIPPED + 1)?)
            .note("a message, of 1,001 of which the last comes first; vodozemac keeps 40 skipped keys and cannot"),
    );
    for (name, half, note) in [
        ("seal", Half::Send, "sealed sender around a session message: comes on top of encrypting"),
        (
            "open_sealed",
            Half::Receive,
            "sealed sender opened and the certificate in it checked: comes before decrypting",
        ),
    ] {
        versus.push(
            Versus::new(name, Some(SIZE))
                .with(Who::Kuvert, SealedSender::new(half, SIZE)?)
                .with(Who::Bound, sealed_sender::Bound::new(half, SIZE)?)
                .note(note),
        );
    }
    for (name, half, note) in [
        ("file_seal", Half::Send, "chunk by chunk, with the digest that the message tells"),
        ("file_open", Half::Receive, "chunk by chunk, with the digest that the message told"),
    ] {
        versus.push(
            Versus::new(name, Some(FILE))
                .with(Who::Kuvert, Files::new(half, FILE)?)
                .with(Who::Bound, files::Bound::new(half, FILE)?)
                .note(note),
        );
    }
    versus.push(
        Versus::new("braid", None)
            .with(Who::Kuvert, PingPong::<PostQuantum>::new(SIZE, turns)?)
            .with(Who::Bound, bound::Braid::new(turns))
            .note("the post-quantum ratchet alone: sending and receiving one message, over two whole epochs in turns"),
    );
    versus.push(
        Versus::new("braid_again", None)
            .with(Who::Kuvert, bound::Again::new(turns))
            .note("of `braid`: what ML-KEM does a second time, because only seeds are kept in memory and in snapshots"),
    );
    versus.push(
        Versus::new("snapshot", None)
            .with(Who::Kuvert, kuvert::Snapshot(Kuvert::begin()?))
            .with(Who::Vodozemac, olm::Snapshot(Olm::begin()?)),
    );
    versus.push(
        Versus::new("restore", None)
            .with(Who::Kuvert, kuvert::Restore(Kuvert::begin()?))
            .with(Who::Vodozemac, olm::Restore(Olm::begin()?)),
    );
    let primitives = primitives::operations()?;
    Ok(versus.into_iter().map(Contest::Row).chain(primitives.into_iter().map(Contest::Primitive)).collect())
}
