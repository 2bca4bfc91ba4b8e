//! `cluster-faults DIR`: load on the relays of a cluster that `packaging/cluster/up` made, while one fault after the other is done to it,
//! and every answer checked against the history. `tests/cluster/run` does all of it; [`USAGE`] says with which options.
//! `--faults 0 --minutes M` is the load alone, for so long: `tests/cluster/erasure`.
//!
//! Prints a JSON object a line: one for each fault, `{"type":"outage","kind","sort","of","none_s","one_s","whole_s","load"}` (seconds in
//! which no client was served, the longest that one waited, until all of the cluster worked again, and how many processes of the machine
//! wanted to run in the last minute), and at the end `{"type":"result", …}` with a member for each rule: how often it was broken.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod history;
mod load;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kuvert_relay_bench::Outcome;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::sleep;

use history::{Outage, RULES};
use load::World;

/// What can be asked for.
const USAGE: &str = "\
usage: cluster-faults DIR [OPTIONS]
  DIR            what `packaging/cluster/up` was given; `tests/cluster/run` makes one, and takes the options below
  --faults N     so many faults; 20, or with --minutes as many as fit. 0: none
  --minutes M    no further fault after so long
  --kinds A,B    only these kinds of faults (packaging/cluster/fault DIR list); all of them in turn
  --rate N       envelopes a second, of all 24 senders together, with a bundle of prekeys for each twelve of them; 72.
                 It is also how finely an outage is seen: 72 a second see it to a seventieth of a second.
                 0: as many as are answered, which takes the whole machine
exit codes: 0 every rule held; 1 one was broken, or it could not be run; 2 the command line makes no sense";

/// Faults of a run where neither their number nor the time is said.
const FAULTS: usize = 20;

/// Quiet time before and after each fault.
const QUIET: Duration = Duration::from_secs(2);

/// How long the last envelopes get to be fetched.
const FETCH: Duration = Duration::from_secs(120);

/// Violations that are printed in full.
const SHOWN: usize = 20;

/// What was asked for.
struct Asked {
    directory: PathBuf,
    faults: usize,
    kinds: Vec<String>,
    until: Option<Duration>,
    rate: Option<u32>,
}

/// None: it asks for help.
fn arguments() -> Outcome<Option<Asked>> {
    let mut asked = Asked { directory: PathBuf::new(), faults: 0, kinds: vec![], until: None, rate: Some(load::RATE) };
    let mut faults = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--faults" => faults = Some(value()?.parse()?),
            "--rate" => asked.rate = Some(value()?.parse()?).filter(|rate| *rate > 0),
            "--kinds" => asked.kinds = value()?.split(',').map(str::to_owned).collect(),
            "--minutes" => asked.until = Some(Duration::from_secs(value()?.parse::<u64>()? * 60)),
            other if !other.starts_with('-') => asked.directory = other.into(),
            other => return Err(format!("{other} is not known").into()),
        }
    }
    if asked.directory.as_os_str().is_empty() {
        return Err("name the directory that `packaging/cluster/up` was given".into());
    }
    asked.faults = faults.unwrap_or(if asked.until.is_some() { usize::MAX } else { FAULTS });
    Ok(Some(asked))
}

/// A script of packaging/cluster.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/cluster").join(name)
}

/// Runs a script; what it printed, as JSON.
async fn run(name: &str, arguments: &[&str], directory: &Path) -> Outcome<Vec<Value>> {
    let mut command = Command::new(script(name));
    command.arg(directory).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().await?;
    if !output.status.success() {
        return Err(format!("{name} {arguments:?} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn main() -> ExitCode {
    let asked = match arguments() {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(test(&asked)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all rules held.
async fn test(asked: &Asked) -> Outcome<bool> {
    let lines = run("relay", &["list"], &asked.directory).await?;
    let relays = lines.iter().filter(|line| text(line, "type") == "relay").map(|line| text(line, "address").to_owned());
    let world = Arc::new(World::new(relays.collect(), asked.rate));
    let kinds: Vec<String> = run("fault", &["list"], &asked.directory)
        .await?
        .iter()
        .map(|line| text(line, "kind").to_owned())
        .filter(|kind| asked.kinds.is_empty() || asked.kinds.contains(kind))
        .collect();
    if kinds.is_empty() {
        return Err("no such kind of fault: packaging/cluster/fault DIR list".into());
    }
    eprintln!("{} relays, {} kinds of faults", world.relays.len(), kinds.len());
    load::register(&world).await;
    let (mut senders, mut receivers) = load::start(&world);
    sleep(QUIET).await;

    let began = Instant::now();
    if let (0, Some(until)) = (asked.faults, asked.until) {
        sleep(until).await;
    }
    let mut outages: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let (mut done, mut failed) = (0, 0);
    for kind in kinds.iter().cycle() {
        if done >= asked.faults || asked.until.is_some_and(|until| began.elapsed() > until) {
            break;
        }
        match one_fault(asked, &world, kind).await {
            Ok((line, outage)) => {
                println!("{line}");
                outages.entry(kind.clone()).or_default().push((outage.all.as_secs_f64(), outage.one.as_secs_f64()));
                done += 1;
                failed = 0;
            }
            Err(error) => {
                eprintln!("{kind}: {error}");
                failed += 1;
                // It never works again: told at the end, with what was lost.
                if failed > 3 {
                    break;
                }
            }
        }
    }

    world.stop.store(true, Ordering::Relaxed);
    while senders.join_next().await.is_some() {}
    let fetching = Instant::now();
    while world.history.missing() > 0 && fetching.elapsed() < FETCH {
        sleep(Duration::from_millis(200)).await;
    }
    // What was not known to be stored may still come.
    sleep(QUIET * 2).await;
    world.done.store(true, Ordering::Relaxed);
    receivers.shutdown().await;
    Ok(report(&world, done, failed, &outages, began.elapsed()))
}

async fn one_fault(asked: &Asked, world: &World, kind: &str) -> Outcome<(Value, Outage)> {
    run("fault", &["settle"], &asked.directory).await?;
    sleep(QUIET).await;
    let began = Instant::now();
    let lines = run("fault", &[kind], &asked.directory).await?;
    run("fault", &["settle"], &asked.directory).await?;
    let whole = began.elapsed();
    sleep(QUIET).await;
    let outage = world.served.outage(began, Instant::now());
    let first = lines.first().cloned().unwrap_or_default();
    let line = json!({
        "type": "outage", "kind": kind, "sort": text(&first, "sort"), "of": text(&first, "of"),
        "none_s": tenths(outage.all.as_secs_f64()), "one_s": tenths(outage.one.as_secs_f64()),
        "whole_s": tenths(whole.as_secs_f64()), "load": machine_load(),
    });
    Ok((line, outage))
}

/// How many processes of this machine wanted to run, in the middle of the last minute. None: it does not say.
fn machine_load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn report(
    world: &World,
    done: usize,
    failed: usize,
    outages: &BTreeMap<String, Vec<(f64, f64)>>,
    took: Duration,
) -> bool {
    for (kind, seconds) in outages {
        let mut none: Vec<f64> = seconds.iter().map(|(none, _)| *none).collect();
        let mut one: Vec<f64> = seconds.iter().map(|(_, one)| *one).collect();
        none.sort_by(f64::total_cmp);
        one.sort_by(f64::total_cmp);
        let worst = |sorted: &[f64]| tenths(sorted.last().copied().unwrap_or_default());
        println!(
            "{}",
            json!({
                "type": "kind", "kind": kind, "faults": seconds.len(),
                "none_p50_s": tenths(middle(&none)), "none_worst_s": worst(&none),
                "one_p50_s": tenths(middle(&one)), "one_worst_s": worst(&one),
            })
        );
    }
    let violations = world.history.finish();
    for (rule, words) in violations.iter().take(SHOWN) {
        eprintln!("broken: {rule}: {words}");
    }
    let counts = world.history.counts();
    let mut result = json!({
        "type": "result", "faults": done, "seconds": took.as_secs(), "rate": world.rate, "accepted": counts.accepted, "unknown": counts.unknown,
        "refused": counts.refused, "delivered": counts.delivered, "prekeys": counts.prekeys, "again": counts.again, "not_whole_again": failed > 3,
    });
    for rule in RULES {
        result[rule.to_string()] = violations.iter().filter(|(broken, _)| *broken == rule).count().into();
    }
    println!("{result}");
    violations.is_empty() && failed <= 3
}
