//! The command `score`, as the programs `kuvert-lens` and `kuvert` offer it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use crate::policy::{Policy, Receipts};
use crate::score::Score;
use crate::{Level, Setup, plot, report};

/// Seeds of one document at most. A run of the full size takes minutes.
const MOST_SEEDS: i64 = 100;

/// The flags of `score`.
#[derive(clap::Args, Debug)]
pub struct ScoreArgs {
    /// A level of the disclosure ladder; several times for several [default: all].
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true)]
    level: Vec<LevelArg>,

    /// People.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    users: u32,

    /// Texts in a second, all people together, averaged over the day.
    #[arg(long, value_name = "N", default_value_t = 4.0, value_parser = rate)]
    rate: f64,

    /// Days of traffic.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    days: u32,

    /// What everything follows from: the same seed gives the same figures.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// So many seeds, from that one on: how far their figures lie apart goes into the document's other table and the plots beside it.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "document", value_parser = clap::value_parser!(u32).range(1..=MOST_SEEDS))]
    seeds: u32,

    /// What L3 does with delivery receipts.
    #[arg(long, value_enum, default_value_t = ReceiptsArg::Jittered)]
    receipts: ReceiptsArg,

    /// Puts the table of all levels between the marks of this Markdown file, and the page's scorecard beside it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["level", "receipts"])]
    document: Option<PathBuf>,
}

/// A [`Level`].
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "verbatim")]
enum LevelArg {
    L0,
    L1,
    L2,
    L3,
}

impl From<LevelArg> for Level {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::L0 => Self::L0,
            LevelArg::L1 => Self::L1,
            LevelArg::L2 => Self::L2,
            LevelArg::L3 => Self::L3,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReceiptsArg {
    /// Each waits 0 to 60 seconds
    Jittered,
    /// None is sent
    Off,
}

/// Up to what a machine can hold: 100 texts a second are 26 million in three days.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=100.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.001 to 100".to_owned()),
    }
}

/// Runs the command. Exit code 0: done; 1: failed, and stderr says why.
pub fn run(args: &ScoreArgs, json: bool) -> ExitCode {
    match score(args, json) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe has seen enough.
        Err(Failure { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: cannot {}: {}", failure.doing, failure.error));
            ExitCode::FAILURE
        }
    }
}

/// Says something on stderr. Where that cannot be written, nothing is left to say it with.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What could not be done, and why.
struct Failure {
    doing: String,
    error: io::Error,
}

fn doing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let doing = doing.into();
    move |error| Failure { doing, error }
}

fn score(args: &ScoreArgs, json: bool) -> Result<(), Failure> {
    let ScoreArgs { level, users, rate, days, seed, seeds, receipts, document } = args;
    let receipts = match receipts {
        ReceiptsArg::Jittered => Receipts::Jittered,
        ReceiptsArg::Off => Receipts::Off,
    };
    let named: Vec<Level> = level.iter().copied().map(Level::from).collect();
    let levels = if named.is_empty() { Level::ALL } else { &named };
    let mut policies: Vec<Policy> = levels.iter().map(|level| Policy::of(*level, receipts)).collect();
    if document.is_some() {
        policies.push(Policy::of(Level::L3, Receipts::Off));
    }
    let mut runs: Vec<Vec<Score>> = Vec::new();
    for seed in (*seed..).take(*seeds as usize) {
        let setup = Setup { users: *users, rate: *rate, days: *days, seed };
        runs.push(crate::score::score(&setup, &policies, |policy| {
            let of = if *seeds > 1 { format!(", seed {seed}") } else { String::new() };
            say(&format!("simulating {}{of}", report::policy_name(policy)));
        }));
    }
    if let Some(document) = document {
        write(&runs, document)?;
    }
    let scores = runs.first().map_or(&[][..], Vec::as_slice);
    let printed = if json {
        report::json(scores).map_err(|error| doing("write JSON")(error.into()))?
    } else {
        report::text(scores)
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(printed.as_bytes()).and_then(|()| stdout.flush()).map_err(doing("write the output"))
}

/// The table between the document's marks, and what stands beside it: of one seed the page's scorecard, of several the plots.
fn write(runs: &[Vec<Score>], document: &Path) -> Result<(), Failure> {
    let updating = || doing(format!("update {}", document.display()));
    let old = fs::read_to_string(document).map_err(updating())?;
    let (new, beside) = if let [scores] = runs {
        let scorecard = report::scorecard(scores).map_err(|error| doing("write JSON")(error.into()))?;
        let new = report::insert(&old, report::SCORECARD, &report::markdown(scores));
        (new, vec![("lens-scorecard.json", scorecard)])
    } else {
        let plots = vec![("lens-identified.svg", plot::identified(runs)), ("lens-edges.svg", plot::edges(runs))];
        (report::insert(&old, report::SPREAD, &report::spread(runs)), plots)
    };
    let new = new.ok_or_else(|| {
        let reason = "it has no marks to put the table between; take docs/LENS.md";
        updating()(io::Error::new(io::ErrorKind::InvalidData, reason))
    })?;
    fs::write(document, new).map_err(updating())?;
    for (name, content) in beside {
        let path = document.with_file_name(name);
        fs::write(&path, content).map_err(doing(format!("write {}", path.display())))?;
    }
    Ok(())
}
