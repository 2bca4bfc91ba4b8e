//! `kuvert-bench relay`

use std::io::Write as _;

use kuvert_relay_bench::Plan;
use kuvert_relay_bench::postgres::{Amounts, Setting};

use super::args::Relay;
use super::output::{Failure, Output, replace};
use crate::machine::{self, Machine};

/// Measures a relay under load, or among hostile clients.
pub fn run(args: &Relay, output: &Output) -> Result<(), Failure> {
    let Relay { seed, quick, svg, hostile, directory, store, groups, enqueue, nodes } = args;
    // On stderr also beside JSON: a full run takes minutes.
    let mut progress = |step: &str| drop(writeln!(std::io::stderr(), "{step}"));
    if cfg!(debug_assertions) {
        progress(&super::not_a_release("relay"));
    }
    if let Some(store) = store {
        let setting = Setting { store, groups, nodes: *nodes, enqueue_only: *enqueue };
        return postgres(&setting, *quick, output, &mut progress);
    }
    let plan = if *quick { Plan::quick(*seed) } else { Plan::full(*seed) };
    let directory = directory.clone().unwrap_or_else(std::env::temp_dir);
    let load = machine::load();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))?;
    let machine = || {
        let mut machine = serde_json::to_value(Machine::read(load)).map_err(|error| failed(&error))?;
        machine["clock"] = "CLOCK_MONOTONIC; CPU, memory and bytes written from /proc of the relay".into();
        Ok::<_, Failure>(machine)
    };
    let (json, text, points) = if let Some(clients) = hostile {
        let measured = runtime
            .block_on(kuvert_relay_bench::measure_hostile(&plan, &directory, *clients, &mut progress))
            .map_err(|error| failed(&*error))?;
        (measured.json(&plan, machine()?), measured.text(), Vec::new())
    } else {
        let report = runtime
            .block_on(kuvert_relay_bench::measure(&plan, &directory, svg.is_some(), &mut progress))
            .map_err(|error| failed(&*error))?;
        (report.json(&plan, machine()?), report.text(), report.points)
    };
    if let Some(svg) = svg {
        replace(svg, kuvert_relay_bench::plot::svg(&points))
            .map_err(|error| Failure::io(&format!("write {}", svg.display()), &error))?;
    }
    let json = json.map_err(|error| failed(&*error))?;
    if output.is_json() {
        output.document(&json)
    } else {
        output.words(&format!("{}seed {seed}; {}", text, json["machine"]))
    }
}

/// A store on PostgreSQL, beside a bare client.
fn postgres(
    setting: &Setting<'_>,
    quick: bool,
    output: &Output,
    progress: &mut impl FnMut(&str),
) -> Result<(), Failure> {
    let load = machine::load();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))?;
    let amounts = if quick { Amounts::QUICK } else { Amounts::FULL };
    let measured = runtime
        .block_on(kuvert_relay_bench::postgres::measure(setting, amounts, progress))
        .map_err(|error| failed(&*error))?;
    let machine = serde_json::to_value(Machine::read(load)).map_err(|error| failed(&error))?;
    if output.is_json() {
        output.document(&serde_json::json!({ "postgres": measured, "amounts": amounts, "machine": machine }))
    } else {
        output.words(&format!("{}{machine}", measured.text()))
    }
}

/// The work of a load process.
pub fn work() -> Result<(), Failure> {
    kuvert_relay_bench::load::work().map_err(|error| failed(&*error))
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new("benchmark", format!("a benchmark failed: {error}"))
}
