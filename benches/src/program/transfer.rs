//! `kuvert-bench files`

use std::fs;
use std::io::Write as _;

use super::args::Files;
use super::output::{Failure, Output, replace};
use crate::transfer::{Plan, measure, person};

/// Measures files end to end.
pub fn run(args: &Files, output: &Output) -> Result<(), Failure> {
    // On stderr also beside JSON: a full run takes minutes.
    let progress = |step: &str| drop(writeln!(std::io::stderr(), "measuring {step}"));
    if cfg!(debug_assertions) {
        output.note(&super::not_a_release("files"));
    }
    let plan = if args.quick { Plan::quick() } else { Plan::full(args.mib.into()) };
    let directory = args.directory.clone().unwrap_or_else(std::env::temp_dir);
    let program = std::env::current_exe().map_err(|error| Failure::io("find this program", &error))?;
    let report = measure(&plan, &program, &directory, progress).map_err(|error| failed(&*error))?;
    if let Some(document) = &args.document {
        let doing = format!("update {}", document.display());
        let old = fs::read_to_string(document).map_err(|error| Failure::io(&doing, &error))?;
        let new = report.insert_into(&old).ok_or_else(|| {
            let words = format!("{} has no marks to put tables between; take docs/BENCHMARKS.md", document.display());
            Failure::new("benchmark", words)
        })?;
        replace(document, new).map_err(|error| Failure::io(&doing, &error))?;
    }
    if output.is_json() {
        output.document(&serde_json::to_value(&report).map_err(|error| failed(&error))?)
    } else {
        output.words(report.text().trim_end())
    }
}

/// A client of such a run.
pub fn work() -> Result<(), Failure> {
    person::work().map_err(|error| failed(&*error))
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new("benchmark", format!("a benchmark failed: {error}"))
}
