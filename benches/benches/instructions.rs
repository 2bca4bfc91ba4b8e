//! `cargo bench -p kuvert-bench --bench instructions`: how many instructions the hot paths take, counted by valgrind's callgrind,
//! and compared with the counts in `benches/instructions.json`. A count does not depend on what else the machine does, so
//! growth of more than 5 % is an error. `-- --write` takes the counts of now as the new baseline: part of the change that
//! causes them.
//!
//! Everything that a count depends on is in the baseline: target, compiler, profile, valgrind, and the instruction sets that
//! valgrind's processor has. Where one of them is another, counts are printed and not compared. Randomness is seeded.
//!
//! SHA-256's rounds are counted apart: valgrind's processor has no instructions for them, and in software they would be four
//! fifths of a message and hide everything else.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use kuvert_bench::conversation::{Conversation, PingPong, Side, content};
use kuvert_bench::kuvert::Kuvert;
use kuvert_bench::machine::Machine;
use kuvert_bench::meter::{Batch, Meter};
use kuvert_bench::post_quantum::{PostQuantum, messages_in_two_epochs};
use kuvert_bench::seeded::Seeded;
use kuvert_bench::{Failure, Outcome};
use kuvert_protocol::message::RATCHET_MESSAGE_OVERHEAD;
use serde::{Deserialize, Serialize};

/// Growth above which the guard fails.
const TOLERANCE: f64 = 0.05;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// Each, and how many operations its count is of.
const WORKLOADS: [(&str, u64); 9] = [
    ("encrypt 256 B", 32),
    ("decrypt 256 B", 32),
    ("encrypt 16 KiB", 8),
    ("decrypt 16 KiB", 8),
    ("ping-pong 256 B", 40),
    ("header that no key opens", 32),
    ("Braid, send and receive", 1),
    ("establishment, initiator", 4),
    ("establishment, recipient", 4),
];

/// What counts depend on, and the counts: instructions of one operation, once without SHA-256's rounds and once of these alone.
#[derive(PartialEq, Serialize, Deserialize)]
struct Counts {
    target: String,
    compiler: String,
    profile: String,
    valgrind: String,
    instruction_sets: Vec<String>,
    instructions: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().position(|argument| argument == "--workload") {
        Some(at) => work(arguments.get(at + 1).map_or("", String::as_str)),
        None => guard(arguments.iter().any(|argument| argument == "--write")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts every workload and compares, or writes the baseline.
fn guard(write: bool) -> Outcome<()> {
    let Ok(version) = Command::new("valgrind").arg("--version").output() else {
        println!("skipped: no valgrind here");
        return Ok(());
    };
    let mut now = Counts {
        target: String::new(),
        compiler: String::new(),
        profile: String::new(),
        valgrind: String::from_utf8(version.stdout)?.trim().to_owned(),
        instruction_sets: Vec::new(),
        instructions: BTreeMap::new(),
    };
    let machine = Machine::read(String::new());
    (now.target, now.compiler, now.profile) = (machine.target.into(), machine.compiler.into(), machine.profile.into());
    for (name, operations) in WORKLOADS {
        let (Total { all, rounds }, sets) = count(name)?;
        let (rest, rounds) = ((all - rounds) / operations, rounds / operations);
        println!("{name}: {rest} instructions, and {rounds} in SHA-256");
        now.instructions.insert(name.to_owned(), rest);
        now.instructions.insert(format!("{name}: SHA-256"), rounds);
        now.instruction_sets = sets;
    }
    if write {
        fs::write(BASELINE, serde_json::to_string_pretty(&now)? + "\n")?;
        println!("written to {BASELINE}");
        return Ok(());
    }
    compare(&now, &serde_json::from_str(&fs::read_to_string(BASELINE)?)?)
}

fn compare(now: &Counts, baseline: &Counts) -> Outcome<()> {
    let conditions = |counts: &Counts| {
        let Counts { target, compiler, profile, valgrind, instruction_sets, instructions: _ } = counts;
        format!("{target}, {compiler}, {profile}, {valgrind}, {}", instruction_sets.join(" "))
    };
    let (here, there) = (conditions(now), conditions(baseline));
    if here != there {
        println!("not compared: this is\n  {here}\nand the baseline is of\n  {there}");
        return Ok(());
    }
    let mut grown = Vec::new();
    for (name, was) in &baseline.instructions {
        let is = now.instructions.get(name).ok_or_else(|| format!("{name} is in the baseline and not counted"))?;
        // Where nothing is hashed, both are 0.
        let growth = if is == was { 0.0 } else { *is as f64 / *was as f64 - 1.0 };
        println!("{name}: {:+.2} %", growth * 100.0);
        if growth > TOLERANCE {
            grown.push(format!("{name}: {was} → {is} instructions"));
        }
    }
    if grown.is_empty() {
        return Ok(());
    }
    let advice = "if that is the price of something worth it, take the new counts: \
                  cargo bench -p kuvert-bench --bench instructions -- --write";
    Err(Failure::from(format!("grown by more than {} %:\n{}\n{advice}", TOLERANCE * 100.0, grown.join("\n"))))
}

/// Runs this program again under callgrind, which counts inside of [`counted_from_here`] alone.
fn count(name: &str) -> Outcome<(Total, Vec<String>)> {
    let out = env::temp_dir().join(format!("kuvert-callgrind-{}", std::process::id()));
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted_from_here*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe()?)
        .args(["--workload", name])
        .output()?;
    if !run.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&run.stderr)).into());
    }
    let counted = Total::read(&out);
    fs::remove_file(&out)?;
    let sets = String::from_utf8(run.stdout)?.split_whitespace().map(str::to_owned).collect();
    Ok((counted?, sets))
}

/// What callgrind counted.
struct Total {
    all: u64,
    /// In the compression function of SHA-256.
    rounds: u64,
}

impl Total {
    /// Reads a callgrind file: under `fn=(id) name` (the name at its first mention only) come lines that end in a cost; what
    /// follows `calls=` is the cost of another function.
    fn read(callgrind: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(callgrind)?;
        let mut total = Self { all: 0, rounds: 0 };
        let (mut hashing, mut here, mut callee) = (Vec::new(), false, false);
        for line in text.lines() {
            if let Some(function) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
                let (id, name) = function.split_once(' ').unwrap_or((function, ""));
                if name.contains("sha256") && name.contains("compress") {
                    hashing.push(id.to_owned());
                }
                if line.starts_with("fn=") {
                    here = hashing.iter().any(|known| known == id);
                }
            } else if line.starts_with("calls=") {
                callee = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost = line.split(' ').nth(1).ok_or("a line without a cost")?.parse::<u64>()?;
                if !std::mem::take(&mut callee) {
                    total.all += cost;
                    total.rounds += if here { cost } else { 0 };
                }
            }
        }
        if total.all == 0 { Err("callgrind counted nothing".into()) } else { Ok(total) }
    }
}

#[inline(never)]
fn counted_from_here(work: &mut dyn FnMut() -> Outcome<()>) -> Outcome<()> {
    work()
}

/// The workload itself, in the process that callgrind watches.
fn work(name: &str) -> Outcome<()> {
    println!("{}", instruction_sets().join(" "));
    let operations = WORKLOADS.iter().find(|(known, _)| *known == name).ok_or("no such workload")?.1;
    match name {
        "encrypt 256 B" => encrypt(256, operations),
        "decrypt 256 B" => decrypt(256, operations),
        "encrypt 16 KiB" => encrypt(16_384, operations),
        "decrypt 16 KiB" => decrypt(16_384, operations),
        "ping-pong 256 B" => {
            let mut pair = pair()?;
            let content = content(256);
            let mut from = Side::Alice;
            counted_from_here(&mut || {
                for _ in 0..operations {
                    let message = pair.send(from, &content)?;
                    from = from.other();
                    pair.receive(from, &message)?;
                }
                Ok(())
            })
        }
        "header that no key opens" => {
            let mut pair = pair()?;
            // Chains left behind are tried too.
            for _ in 0..10 {
                pair.exchange()?;
            }
            let mut message = vec![7; RATCHET_MESSAGE_OVERHEAD + 512];
            message[..2].copy_from_slice(&[1, 2]);
            counted_from_here(&mut || {
                for _ in 0..operations {
                    if pair.receive(Side::Bob, &message).is_ok() {
                        return Err("garbage was opened".into());
                    }
                }
                Ok(())
            })
        }
        "Braid, send and receive" => {
            let mut braid = PostQuantum::fresh_with(Box::new(Seeded::new()));
            braid.exchange()?;
            let count = messages_in_two_epochs()?;
            let mut batch = PingPong::over(braid, 256, count);
            counted_from_here(&mut || batch.run(&mut NoMeter))
        }
        "establishment, initiator" => {
            let mut pair = Kuvert::strangers_with(Box::new(Seeded::new()))?;
            let content = content(256);
            counted_from_here(&mut || {
                for _ in 0..operations {
                    pair.forget();
                    pair.initiate(pair.bundle())?;
                    black_box(pair.send(Side::Alice, &content)?);
                }
                Ok(())
            })
        }
        _ => {
            let mut pair = Kuvert::strangers_with(Box::new(Seeded::new()))?;
            pair.initiate(pair.bundle())?;
            let message = pair.send(Side::Alice, &content(256))?;
            counted_from_here(&mut || {
                for _ in 0..operations {
                    pair.forget();
                    pair.receive(Side::Bob, &message)?;
                }
                Ok(())
            })
        }
    }
}

fn pair() -> Outcome<Kuvert> {
    Kuvert::begin_with(Box::new(Seeded::new()))
}

fn encrypt(size: usize, operations: u64) -> Outcome<()> {
    let (mut pair, content) = (pair()?, content(size));
    counted_from_here(&mut || {
        for _ in 0..operations {
            black_box(pair.send(Side::Alice, &content)?);
        }
        Ok(())
    })
}

fn decrypt(size: usize, operations: u64) -> Outcome<()> {
    let (mut pair, content) = (pair()?, content(size));
    // The first one makes a Diffie–Hellman step.
    let first = pair.send(Side::Alice, &content)?;
    pair.receive(Side::Bob, &first)?;
    let messages = (0..operations).map(|_| pair.send(Side::Alice, &content)).collect::<Outcome<Vec<_>>>()?;
    counted_from_here(&mut || {
        for message in &messages {
            pair.receive(Side::Bob, message)?;
        }
        Ok(())
    })
}

struct NoMeter;

impl Meter for NoMeter {
    fn start(&mut self) {}
    fn stop(&mut self) {}
}

/// Those that the code chooses by at run time, as the processor here shows them: valgrind's is not the machine's.
fn instruction_sets() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let sets = [
            ("ssse3", is_x86_feature_detected!("ssse3")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("bmi2", is_x86_feature_detected!("bmi2")),
            ("adx", is_x86_feature_detected!("adx")),
            ("sha", is_x86_feature_detected!("sha")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ];
        sets.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}
