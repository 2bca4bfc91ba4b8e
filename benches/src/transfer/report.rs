//! The figures of `kuvert-bench files`, as tables and as JSON, and what they are to reach.

use serde::Serialize;

use crate::goals::{Bound, Goal};
use crate::machine::Machine;
use crate::report::{goals_table, insert, plain, table};

/// Around what a run replaces in a document.
const BEGIN: &str = "<!-- files: written by `kuvert-bench files --document`, not by hand -->\n";
const END: &str = "<!-- end of files -->\n";

/// Rates of one thread, MiB/s of CPU time.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Raw {
    /// The cipher sealing.
    pub aead_seal_mib_s: f64,
    /// A file sealed: padding, cipher, SHA-256 of the blob.
    pub file_seal_mib_s: f64,
    /// The cipher opening.
    pub aead_open_mib_s: f64,
    /// A file opened.
    pub file_open_mib_s: f64,
}

/// One file from disk to disk, and beside it what disk and cipher took in the same turn. Seconds on the wall.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EndToEnd {
    /// As many bytes written and synced, twice: the relay writes them, and the reader.
    pub disk_s: [f64; 2],
    /// As many bytes sealed, and opened, by one thread.
    pub aead_s: [f64; 2],
    /// The sender looks at the file.
    pub queue_s: f64,
    /// From then until the relay has file and message on its disk.
    pub up_s: f64,
    /// From the reader's connecting until the file is whole and on its disk.
    pub down_s: f64,
}

impl EndToEnd {
    /// What disk and cipher take one after the other.
    pub fn bound_s(&self) -> f64 {
        self.disk_s.iter().chain(&self.aead_s).sum()
    }

    /// All of it.
    pub fn whole_s(&self) -> f64 {
        self.queue_s + self.up_s + self.down_s
    }
}

/// How much more memory a process has at its highest while a file passes than when it rests, MiB.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct MemoryRow {
    /// MiB of the file.
    pub mib: usize,
    /// The client that sends.
    pub sender_mib: f64,
    /// The client that receives.
    pub reader_mib: f64,
    /// The relay: at its highest of this and the smaller files.
    pub relay_mib: f64,
}

/// Texts: from queueing one until the relay has it on its disk, milliseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Texts {
    /// How many each way.
    pub count: usize,
    /// Median without an upload.
    pub alone_p50_ms: f64,
    /// 99 of 100 take no longer.
    pub alone_p99_ms: f64,
    /// Median beside an upload of the same client.
    pub beside_p50_ms: f64,
    /// 99 of 100 take no longer.
    pub beside_p99_ms: f64,
}

impl Texts {
    /// Of these; `None` without any.
    pub fn of(mut alone: Vec<f64>, mut beside: Vec<f64>) -> Option<Self> {
        alone.sort_by(f64::total_cmp);
        beside.sort_by(f64::total_cmp);
        Some(Self {
            count: alone.len(),
            alone_p50_ms: quantile(&alone, 50)?,
            alone_p99_ms: quantile(&alone, 99)?,
            beside_p50_ms: quantile(&beside, 50)?,
            beside_p99_ms: quantile(&beside, 99)?,
        })
    }
}

/// So many of 100 are no larger.
fn quantile(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied()
}

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FilesReport {
    /// MiB of the file that went end to end.
    pub mib: usize,
    /// The cipher.
    pub raw: Raw,
    /// Each turn.
    pub end_to_end: Vec<EndToEnd>,
    /// Each size.
    pub memory: Vec<MemoryRow>,
    /// Texts.
    pub texts: Texts,
    /// What the figures are to reach.
    pub goals: Vec<Goal>,
    /// Where, and built how.
    pub machine: Machine,
}

impl FilesReport {
    /// Judges the figures.
    pub fn new(mib: usize, raw: Raw, end_to_end: Vec<EndToEnd>, memory: Vec<MemoryRow>, texts: Texts) -> Self {
        let goals = goals(&raw, &end_to_end, &memory, &texts);
        Self { mib, raw, end_to_end, memory, texts, goals, machine: Machine::read(String::new()) }
    }

    /// All tables as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let Machine { processor, processors, system, load_before, load_after, compiler, profile, clock, .. } =
            &self.machine;
        table(
            &mut out,
            &["", ""],
            [
                ["machine".into(), format!("{processor}, {processors} processors, {system}")],
                ["load before, after".into(), format!("{load_before}; {load_after}")],
                ["clock".into(), (*clock).into()],
                ["build".into(), format!("{compiler}, {profile}")],
            ],
        );
        goals_table(&mut out, &self.goals);
        let Raw { aead_seal_mib_s, file_seal_mib_s, aead_open_mib_s, file_open_mib_s } = &self.raw;
        let rate = |what: &str, raw: &f64, file: &f64| {
            [what.to_owned(), format!("{raw:.0}"), format!("{file:.0}"), format!("{:.2}", file / raw)]
        };
        let rows = [rate("seal", aead_seal_mib_s, file_seal_mib_s), rate("open", aead_open_mib_s, file_open_mib_s)];
        table(&mut out, &["one thread, MiB/s", "the cipher", "a file", "share"], rows);
        let rows = self.end_to_end.iter().map(|turn| {
            let seconds = |seconds: f64| format!("{seconds:.3}");
            [
                seconds(turn.disk_s.iter().sum()),
                seconds(turn.aead_s.iter().sum()),
                seconds(turn.queue_s),
                seconds(turn.up_s),
                seconds(turn.down_s),
                format!("{:.2}", turn.bound_s() / turn.whole_s()),
            ]
        });
        let heads = ["raw disk, twice, s", "raw cipher, both ways, s", "looking, s", "up, s", "down, s", "share"];
        table(&mut out, &heads, rows);
        let rows = self.memory.iter().map(|row| {
            let mib = |mib: f64| format!("{mib:.1}");
            [row.mib.to_string(), mib(row.sender_mib), mib(row.reader_mib), mib(row.relay_mib)]
        });
        table(&mut out, &["file, MiB", "sender, MiB over rest", "reader", "relay"], rows);
        let texts = &self.texts;
        let row = |what: &str, p50: f64, p99: f64| [what.to_owned(), format!("{p50:.2}"), format!("{p99:.2}")];
        let rows = [
            row("alone", texts.alone_p50_ms, texts.alone_p99_ms),
            row("beside an upload", texts.beside_p50_ms, texts.beside_p99_ms),
        ];
        table(&mut out, &["a text, ms", "p50", "p99"], rows);
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    /// Tables for a terminal.
    pub fn text(&self) -> String {
        plain(&self.markdown())
    }

    /// `document` with this run's figures between its two marks.
    pub fn insert_into(&self, document: &str) -> Option<String> {
        insert(document, (BEGIN, END), &self.markdown())
    }
}

fn goals(raw: &Raw, end_to_end: &[EndToEnd], memory: &[MemoryRow], texts: &Texts) -> Vec<Goal> {
    let mut shares: Vec<f64> = end_to_end.iter().map(|turn| turn.bound_s() / turn.whole_s()).collect();
    shares.sort_by(f64::total_cmp);
    let most = |of: fn(&MemoryRow) -> f64| memory.iter().map(of).max_by(f64::total_cmp);
    let sizes: Vec<String> = memory.iter().map(|row| row.mib.to_string()).collect();
    let largest = format!("files of {} MiB", sizes.join(", "));
    let share = Bound::AtLeast(0.85);
    vec![
        Goal::new(
            "seal a file, share of the raw cipher's rate",
            share,
            Some(raw.file_seal_mib_s / raw.aead_seal_mib_s),
            "padding and SHA-256 of the blob are the rest".into(),
        ),
        Goal::new(
            "open a file, share of the raw cipher's rate",
            share,
            Some(raw.file_open_mib_s / raw.aead_open_mib_s),
            String::new(),
        ),
        Goal::new(
            "end to end, share of what disk and cipher allow one after the other",
            Bound::AtLeast(0.5),
            quantile(&shares, 50),
            format!("median of {}", shares.len()),
        ),
        Goal::new(
            "memory of the sender over rest, MiB",
            Bound::AtMost(16.0),
            most(|row| row.sender_mib),
            largest.clone(),
        ),
        Goal::new(
            "memory of the reader over rest, MiB",
            Bound::AtMost(16.0),
            most(|row| row.reader_mib),
            largest.clone(),
        ),
        Goal::new("memory of the relay over rest, MiB", Bound::AtMost(16.0), most(|row| row.relay_mib), largest),
        Goal::new(
            "p99 of a text beside an upload, times that without",
            Bound::AtMost(2.0),
            Some(texts.beside_p99_ms / texts.alone_p99_ms),
            format!("{} texts each", texts.count),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> FilesReport {
        let raw = Raw { aead_seal_mib_s: 100.0, file_seal_mib_s: 90.0, aead_open_mib_s: 100.0, file_open_mib_s: 80.0 };
        let turn = EndToEnd { disk_s: [1.0, 1.0], aead_s: [0.5, 0.5], queue_s: 1.0, up_s: 1.0, down_s: 1.0 };
        let memory =
            [(1, 2.0), (100, 17.0)].map(|(mib, relay_mib)| MemoryRow { mib, relay_mib, ..MemoryRow::default() });
        let texts = Texts::of((1..=100).map(f64::from).collect(), vec![150.0]).unwrap();
        FilesReport::new(100, raw, vec![turn], memory.to_vec(), texts)
    }

    #[test]
    fn each_goal_is_judged_by_its_own_figure() {
        let report = report();
        let met: Vec<bool> = report.goals.iter().map(|goal| goal.met).collect();
        assert_eq!(met, [true, false, true, true, true, false, true]);
        assert_eq!(report.goals[2].figure, Some(1.0));
        assert_eq!((report.texts.alone_p50_ms, report.texts.alone_p99_ms), (50.0, 99.0));
        assert_eq!(quantile(&[], 50), None);
    }

    #[test]
    fn a_document_keeps_what_stands_around_the_figures() {
        let document = format!("before\n{BEGIN}old\n{END}after\n");
        let new = report().insert_into(&document).unwrap();
        assert!(new.starts_with("before\n") && new.ends_with("after\n") && !new.contains("old"), "{new}");
        assert_eq!(report().insert_into(&new).unwrap(), new, "again, nothing changes");
        assert!(report().insert_into("no marks").is_none());
    }
}
