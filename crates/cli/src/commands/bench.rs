//! `kuvert bench`

use std::fs;
use std::path::Path;
use std::time::Duration;

use kuvert_bench::client::{ClientReport, client};
use kuvert_bench::scaling::{Measured, Model};
use kuvert_bench::timing::{TimingReport, timing};
use kuvert_bench::{Report, plot};
use serde::Serialize;

use crate::args::{Bench, MESSAGES};
use crate::error::Failure;
use crate::options::Options;

/// Measures, and prints or writes the figures.
pub fn run(args: &Bench, options: &Options) -> Result<(), Failure> {
    // Scaling measures nothing.
    if cfg!(debug_assertions) && !matches!(args, Bench::Scaling { .. }) {
        options
            .output
            .note("This is not a release build: its figures say nothing. Try `cargo run --release -- bench crypto`.");
    }
    let measuring = |row: &str| options.output.note(&format!("measuring {row}"));
    match args {
        Bench::Crypto { seconds, document } => {
            let time = Duration::from_secs(*seconds);
            // First, because it measures memory: what the others have let go of would be taken again without a trace.
            let client = match document {
                Some(_) => Some(client(MESSAGES as usize, measuring).map_err(|error| failed(&*error))?),
                None => None,
            };
            let report = kuvert_bench::crypto(time, measuring).map_err(|error| failed(&*error))?;
            if let (Some(document), Some(client)) = (document, client) {
                let timing = timing(time / 3, measuring).map_err(|error| failed(&*error))?;
                write(&report, &timing, &client, document)?;
            }
            print(&report, report.text(), options)
        }
        Bench::Client { messages } => {
            let report = client(*messages as usize, measuring).map_err(|error| failed(&*error))?;
            print(&report, report.text(), options)
        }
        Bench::Timing { seconds } => {
            let report = timing(Duration::from_secs(*seconds), measuring).map_err(|error| failed(&*error))?;
            print(&report, report.text(), options)
        }
        Bench::Scaling { from, document } => scaling(from, document.as_deref(), options),
        // The module `bench_relay`'s.
        Bench::Relay(_) | Bench::RelayWorker => Ok(()),
    }
}

fn print(report: &impl Serialize, text: String, options: &Options) -> Result<(), Failure> {
    if options.output.is_json() {
        options.output.document(&serde_json::to_value(report).map_err(|error| failed(&error))?)
    } else {
        options.output.words(text.trim_end())
    }
}

fn scaling(from: &Path, document: Option<&Path>, options: &Options) -> Result<(), Failure> {
    let json = fs::read_to_string(from).map_err(|error| Failure::io(&format!("read {}", from.display()), &error))?;
    let measured = Measured::read(&json).map_err(|error| {
        Failure::new("benchmark", format!("{} is not what `kuvert bench relay --json` prints: {error}", from.display()))
    })?;
    let model = Model::new(measured);
    if let Some(document) = document {
        let doing = format!("update {}", document.display());
        let old = fs::read_to_string(document).map_err(|error| Failure::io(&doing, &error))?;
        let new = model.insert_into(&old).ok_or_else(|| {
            Failure::new(
                "benchmark",
                format!("{} has no marks to put tables between; take docs/SCALING.md", document.display()),
            )
        })?;
        crate::files::replace(document, new).map_err(|error| Failure::io(&doing, &error))?;
    }
    if options.output.is_json() {
        options.output.document(&model.json().map_err(|error| failed(&*error))?)
    } else {
        options.output.words(model.text().trim_end())
    }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new("benchmark", format!("a benchmark failed: {error}"))
}

fn write(report: &Report, timing: &TimingReport, client: &ClientReport, document: &Path) -> Result<(), Failure> {
    let doing = format!("update {}", document.display());
    let old = fs::read_to_string(document).map_err(|error| Failure::io(&doing, &error))?;
    let new = report.insert_into(&old, &[client.markdown(), timing.markdown()]).ok_or_else(|| {
        Failure::new(
            "benchmark",
            format!("{} has no marks to put figures between; take docs/BENCHMARKS.md", document.display()),
        )
    })?;
    crate::files::replace(document, new).map_err(|error| Failure::io(&doing, &error))?;
    let plots = [
        ("crypto.svg", plot::svg(&report.rows)),
        ("client.svg", plot::client(&client.rows)),
        ("timing.svg", plot::timing(&timing.rows)),
    ];
    for (name, svg) in plots {
        let plot = document.with_file_name(name);
        crate::files::replace(&plot, svg).map_err(|error| Failure::io(&format!("write {}", plot.display()), &error))?;
    }
    Ok(())
}
