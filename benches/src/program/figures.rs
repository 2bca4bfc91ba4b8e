//! `kuvert-bench crypto`, `client`, `timing` and `scaling`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::args::{Command, MESSAGES};
use super::output::{Failure, Output, replace};
use crate::client::{ClientReport, client};
use crate::scaling::{Measured, Model};
use crate::timing::{TimingReport, timing};
use crate::{Report, plot};

/// Measures, and prints or writes the figures.
pub fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    // Scaling measures nothing.
    if cfg!(debug_assertions) && !matches!(command, Command::Scaling { .. }) {
        output.note(&super::not_a_release("crypto"));
    }
    let measuring = |row: &str| output.note(&format!("measuring {row}"));
    match command {
        Command::Crypto { seconds, document } => {
            let time = Duration::from_secs(*seconds);
            // First, because it measures memory: what the others have let go of would be taken again without a trace.
            let client = match document {
                Some(_) => Some(client(MESSAGES as usize, measuring).map_err(|error| failed(&*error))?),
                None => None,
            };
            let report = crate::crypto(time, measuring).map_err(|error| failed(&*error))?;
            if let (Some(document), Some(client)) = (document, client) {
                let timing = timing(time / 3, measuring).map_err(|error| failed(&*error))?;
                write(&report, &timing, &client, document)?;
            }
            print(&report, report.text(), output)
        }
        Command::Client { messages } => {
            let report = client(*messages as usize, measuring).map_err(|error| failed(&*error))?;
            print(&report, report.text(), output)
        }
        Command::Timing { seconds } => {
            let report = timing(Duration::from_secs(*seconds), measuring).map_err(|error| failed(&*error))?;
            print(&report, report.text(), output)
        }
        Command::Scaling { from, document } => scaling(from, document.as_deref(), output),
        // The modules `load`'s and `transfer`'s.
        Command::Relay(_) | Command::RelayWorker | Command::Files(_) | Command::FilesPerson => Ok(()),
    }
}

fn print(report: &impl Serialize, text: String, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        output.document(&serde_json::to_value(report).map_err(|error| failed(&error))?)
    } else {
        output.words(text.trim_end())
    }
}

fn scaling(from: &Path, document: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let json = fs::read_to_string(from).map_err(|error| Failure::io(&format!("read {}", from.display()), &error))?;
    let measured = Measured::read(&json).map_err(|error| {
        Failure::new("benchmark", format!("{} is not what `kuvert-bench relay --json` prints: {error}", from.display()))
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
        replace(document, new).map_err(|error| Failure::io(&doing, &error))?;
    }
    if output.is_json() {
        output.document(&model.json().map_err(|error| failed(&*error))?)
    } else {
        output.words(model.text().trim_end())
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
    replace(document, new).map_err(|error| Failure::io(&doing, &error))?;
    let plots = [
        ("crypto.svg", plot::svg(&report.rows)),
        ("client.svg", plot::client(&client.rows)),
        ("timing.svg", plot::timing(&timing.rows)),
    ];
    for (name, svg) in plots {
        let plot = document.with_file_name(name);
        replace(&plot, svg).map_err(|error| Failure::io(&format!("write {}", plot.display()), &error))?;
    }
    Ok(())
}
