//! The program `kuvert` is a messenger: it links no relay, no server, no page and no benchmark, and few crates altogether.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that the messenger links or that make code for it, itself among them. Three of them (filedescriptor, the older thiserror and
/// its macro) come with the one way of waiting for keys that leaves none lying: `use-dev-tty` in Cargo.toml. Eleven (zune-jpeg, zune-core, png and
/// its seven, jpeg-encoder) decode pictures within bounds and encode their thumbnails: the smallest well-kept way that was found.
/// Four (scrypt, its salsa20 and pbkdf2, bech32) are what the encryption of backups needs beside what was there; the crate `age` brings more than 80.
const MOST_CRATES: usize = 183;

#[test]
fn the_messenger_links_no_relay_no_server_and_no_benchmark() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "kuvert-cli", "--edges", "normal", "--prefix", "none", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .collect();
    let mine: BTreeSet<&str> = crates.iter().map(|(name, _)| *name).filter(|name| name.starts_with("kuvert")).collect();
    let expected = ["kuvert-cli", "kuvert-client", "kuvert-program", "kuvert-protocol", "kuvert-types", "kuvert-wire"];
    assert_eq!(mine, BTreeSet::from(expected));
    for name in ["axum", "httparse", "hyper", "prometheus-client", "vodozemac"] {
        assert!(crates.iter().all(|(known, _)| *known != name), "{name} is linked");
    }
    assert!(crates.len() <= MOST_CRATES, "{} crates, more than {MOST_CRATES}", crates.len());
}
