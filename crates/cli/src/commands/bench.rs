//! `kuvert bench`

use std::fs;
use std::path::Path;
use std::time::Duration;

use kuvert_bench::scaling::{Measured, Model};
use kuvert_bench::{Report, plot};

use crate::args::Bench;
use crate::error::Failure;
use crate::options::Options;

/// Measures, and prints or writes the figures.
pub fn run(args: &Bench, options: &Options) -> Result<(), Failure> {
    match args {
        Bench::Crypto { seconds, document } => crypto(*seconds, document.as_deref(), options),
        Bench::Scaling { from, document } => scaling(from, document.as_deref(), options),
    }
}

fn crypto(seconds: u64, document: Option<&Path>, options: &Options) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        options
            .output
            .note("This is not a release build: its figures say nothing. Try `cargo run --release -- bench crypto`.");
    }
    let report =
        kuvert_bench::crypto(Duration::from_secs(seconds), |row| options.output.note(&format!("measuring {row}")))
            .map_err(|error| failed(&*error))?;
    if let Some(document) = document {
        write(&report, document)?;
    }
    if options.output.is_json() {
        options.output.document(&report.json().map_err(|error| failed(&*error))?)
    } else {
        options.output.words(report.text().trim_end())
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
        fs::write(document, new).map_err(|error| Failure::io(&doing, &error))?;
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

fn write(report: &Report, document: &Path) -> Result<(), Failure> {
    let doing = format!("update {}", document.display());
    let old = fs::read_to_string(document).map_err(|error| Failure::io(&doing, &error))?;
    let new = report.insert_into(&old).ok_or_else(|| {
        Failure::new(
            "benchmark",
            format!("{} has no marks to put figures between; take docs/BENCHMARKS.md", document.display()),
        )
    })?;
    fs::write(document, new).map_err(|error| Failure::io(&doing, &error))?;
    let plot = document.with_file_name("crypto.svg");
    fs::write(&plot, plot::svg(&report.rows)).map_err(|error| Failure::io(&format!("write {}", plot.display()), &error))
}
