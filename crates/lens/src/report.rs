//! Scores as JSON lines, as words, and as the table in docs/LENS.md.

use std::fmt::Write as _;

use serde_json::json;

use crate::policy::{Policy, Receipts};
use crate::score::{Score, TEXTS};
use crate::spread::Spread;

/// Two lines of a Markdown file, between which a table stands.
#[derive(Clone, Copy, Debug)]
pub struct Marks(&'static str, &'static str);

/// Around the table of one seed.
pub const SCORECARD: Marks = Marks("<!-- scorecard: kuvert-lens score --document -->\n", "<!-- end of scorecard -->");

/// Around the table of several seeds.
pub const SPREAD: Marks = Marks("<!-- spread: kuvert-lens score --document --seeds -->\n", "<!-- end of spread -->");

/// One object a line.
///
/// # Errors
/// None that a score can cause.
pub fn json(scores: &[Score]) -> serde_json::Result<String> {
    scores.iter().map(|score| serde_json::to_string(score).map(|line| line + "\n")).collect()
}

/// What the page shows: the conditions, and a row for each policy.
///
/// # Errors
/// None that a score can cause.
pub fn scorecard(scores: &[Score]) -> serde_json::Result<String> {
    let rows: Vec<_> =
        scores.iter().map(|score| json!({ "policy": policy_name(&score.more.policy), "score": score })).collect();
    let card = json!({ "conditions": conditions(scores).trim_end(), "rows": rows });
    serde_json::to_string_pretty(&card).map(|text| text + "\n")
}

/// A table for a terminal.
pub fn text(scores: &[Score]) -> String {
    let mut out = conditions(scores);
    let _ = writeln!(
        out,
        "\n{:<20} {:>9} {:>6} {:>6}  {:>5} {:>5} {:>5} {:>5} {:>5}  {:>9} {:>9} {:>6} {:>9}  {:>9} {:>6} {:>6}",
        "level",
        "precision",
        "recall",
        "F1",
        "5",
        "10",
        "20",
        "40",
        "half",
        "anonymity",
        "size/kind",
        "bytes",
        "receipts",
        "files",
        "recall",
        "reader"
    );
    for score in scores {
        let cells = Cells::of(score);
        let _ = writeln!(
            out,
            "{:<20} {:>9} {:>6} {:>6}  {:>5} {:>5} {:>5} {:>5} {:>5}  {:>9} {:>9} {:>6} {:>9}  {:>9} {:>6} {:>6}",
            cells.level,
            cells.edges[0],
            cells.edges[1],
            cells.edges[2],
            cells.top1[0],
            cells.top1[1],
            cells.top1[2],
            cells.top1[3],
            cells.half,
            cells.anonymity,
            cells.size_kind,
            cells.bytes,
            cells.latency,
            cells.files[0],
            cells.files[1],
            cells.files[2]
        );
    }
    out.push_str(
        "\n5 10 20 40: share of targets whose first guess is a real contact, after so many texts; half: texts until it is \
         for half\nof them. anonymity: bits that are lacking to name a sender. size/kind: bits that the size tells of the \
         kind. bytes, and\ndelay of receipts: against L0. files, recall, reader: of the pairs that files alone tell of how many are real, how many real ones\nare told of, and how often the reader of a file is named right. docs/LENS.md explains them and has the published figures beside.\n",
    );
    out
}

/// The table for Markdown.
pub fn markdown(scores: &[Score]) -> String {
    let mut out = conditions(scores);
    out.push_str(
        "\n| Level | Precision | Recall | F1 | Top guess right after 5 | 10 | 20 | 40 texts | Half of targets after | Anonymity, \
         bits | Size tells of kind, bits | Bytes | Receipts later by | Files: precision | recall | reader named |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for score in scores {
        let Cells {
            level,
            edges: [precision, recall, f1],
            top1: [a, b, c, d],
            half,
            anonymity,
            size_kind,
            bytes,
            latency,
            files: [found, all, readers],
        } = Cells::of(score);
        let _ = writeln!(
            out,
            "| {level} | {precision} | {recall} | {f1} | {a} | {b} | {c} | {d} | {half} | {anonymity} | {size_kind} | {bytes} | \
             {latency} | {found} | {all} | {readers} |"
        );
    }
    out
}

/// The table for Markdown that says how far the scores of several seeds lie apart. `runs` has one list for each seed, with the same
/// policies in the same order.
pub fn spread(runs: &[Vec<Score>]) -> String {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return String::new() };
    let seed = |scores: &[Score]| scores.first().map_or(0, |score| score.seed);
    let town = first.first().map_or_else(String::new, town);
    let mut out = format!(
        "{town}, {} seeds, {} to {}: the median, and in brackets the least and the most\n\n\
         | Level | Precision | Recall | F1 | Top guess right after 5 | 10 | 20 | 40 texts | Half of targets after | Anonymity, bits |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        runs.len(),
        seed(first),
        seed(last)
    );
    for (at, score) in first.iter().enumerate() {
        let of = |figure: &dyn Fn(&Score) -> Option<f64>| {
            Spread::of(runs.iter().filter_map(|scores| figure(scores.get(at)?)))
        };
        let two = |figure: &dyn Fn(&Score) -> Option<f64>| {
            let written =
                of(figure).map(|Spread { least, median, most }| format!("{median:.2} ({least:.2}–{most:.2})"));
            written.unwrap_or_else(|| "–".to_owned())
        };
        let _ = write!(out, "| {}", policy_name(&score.more.policy));
        let _ = write!(out, " | {}", two(&|score| Some(score.edges.precision)));
        let _ = write!(out, " | {}", two(&|score| Some(score.edges.recall)));
        let _ = write!(out, " | {}", two(&|score| Some(score.edges.f1)));
        for texts in TEXTS {
            let _ = write!(out, " | {}", two(&|score| score.more.top1.get(texts - 1).copied()));
        }
        // One that never comes there is later than all that do.
        let half = of(&|score| Some(score.more.half_after().map_or(f64::INFINITY, |texts| texts as f64)));
        let _ = write!(out, " | {}", half.map_or_else(|| "–".to_owned(), half_after));
        let _ = writeln!(out, " | {} |", of(&|score| Some(score.anonymity_bits)).map_or_else(|| "–".to_owned(), one));
    }
    out
}

fn one(Spread { least, median, most }: Spread) -> String {
    format!("{median:.1} ({least:.1}–{most:.1})")
}

fn half_after(spread: Spread) -> String {
    let texts = |value: f64| if value.is_finite() { value.to_string() } else { "never".to_owned() };
    if spread.least == spread.most {
        return texts(spread.median);
    }
    format!("{} ({}–{})", texts(spread.median), texts(spread.least), texts(spread.most))
}

/// `document` with `table` between these marks; `None` if it has none.
pub fn insert(document: &str, Marks(begin, end): Marks, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{table}{end}{after}"))
}

fn conditions(scores: &[Score]) -> String {
    let Some(score) = scores.first() else { return String::new() };
    format!("{}, {} texts between {} pairs, seed {}\n", town(score), score.more.texts, score.more.pairs, score.seed)
}

/// Who was simulated.
pub(crate) fn town(score: &Score) -> String {
    format!("{} people, {} texts a second", score.users, score.rate)
}

/// A row, written out.
struct Cells {
    level: String,
    edges: [String; 3],
    top1: [String; 4],
    half: String,
    anonymity: String,
    size_kind: String,
    bytes: String,
    latency: String,
    files: [String; 3],
}

impl Cells {
    fn of(score: &Score) -> Self {
        let two = |value: f64| format!("{value:.2}");
        let edges = score.edges;
        let mut top1 = score.top1_after.values().map(|share| two(*share));
        Self {
            level: policy_name(&score.more.policy),
            edges: [edges.precision, edges.recall, edges.f1].map(two),
            top1: [(); 4].map(|()| top1.next().unwrap_or_else(|| "–".to_owned())),
            half: score.more.half_after().map_or_else(|| "never".to_owned(), |texts| texts.to_string()),
            anonymity: format!("{:.1}", score.anonymity_bits),
            size_kind: two(score.size_kind_bits),
            bytes: format!("{:.2}×", score.bytes_ratio),
            latency: score.latency_ms.map_or_else(|| "never".to_owned(), |ms| format!("{:.1} s", ms.max(0.0) / 1000.0)),
            files: score.files.map_or_else(
                || [(); 3].map(|()| "–".to_owned()),
                |files| [files.edges.precision, files.edges.recall, files.readers_named].map(two),
            ),
        }
    }
}

/// The level, and what is chosen within it.
pub fn policy_name(policy: &Policy) -> String {
    let level = policy.level;
    match policy.receipts {
        Receipts::Immediate => level.to_string(),
        Receipts::Jittered => format!("{level}, 0–60 s"),
        Receipts::Off => format!("{level}, no receipts"),
    }
}
