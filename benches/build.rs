//! Notes what the program was built with: a figure without it cannot be repeated.

use std::process::Command;
use std::{env, fs};

/// Crates whose versions decide the figures.
const CRATES: [&str; 12] = [
    "aws-lc-rs",
    "chacha20poly1305",
    "curve25519-dalek",
    "ed25519-dalek",
    "getrandom",
    "hmac",
    "libcrux-ml-kem",
    "poly1305",
    "sha2",
    "vodozemac",
    "x25519-dalek",
    "zeroize",
];

fn main() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc =
        Command::new(rustc).arg("--version").output().ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().replace('\u{1f}', " ");
    let variable = |name| env::var(name).unwrap_or_default();
    println!("cargo::rustc-env=KUVERT_BENCH_RUSTC={}", rustc.as_deref().unwrap_or("unknown").trim());
    println!("cargo::rustc-env=KUVERT_BENCH_FLAGS={flags}");
    println!("cargo::rustc-env=KUVERT_BENCH_PROFILE={} (opt-level {})", variable("PROFILE"), variable("OPT_LEVEL"));
    println!("cargo::rustc-env=KUVERT_BENCH_TARGET={}", variable("TARGET"));
    println!("cargo::rustc-env=KUVERT_BENCH_VERSIONS={}", versions());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
}

/// `name=version,…`, as the lock file has them; the newest version where there are several.
fn versions() -> String {
    let lock = fs::read_to_string("../Cargo.lock").unwrap_or_default();
    let mut found = Vec::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find(|line| line.starts_with(key))?;
            line.strip_prefix(key)?.trim().strip_prefix("= \"")?.strip_suffix('"')
        };
        // The lock file is in order of name, then of version: what comes later replaces what came before.
        if let (Some(name), Some(version)) = (value("name"), value("version"))
            && CRATES.contains(&name)
        {
            found.retain(|(known, _)| *known != name);
            found.push((name, version));
        }
    }
    found.iter().map(|(name, version)| format!("{name}={version}")).collect::<Vec<_>>().join(",")
}
