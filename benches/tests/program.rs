//! The program `kuvert-bench` as it is built: its version, its help, its usage errors. That it measures is tested in the folder
//! `tests` at the root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kuvert-bench")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

#[test]
fn it_says_its_version_and_helps() {
    let (output, stdout, _) = bench(&["--version"]);
    assert!(output.status.success());
    assert_eq!(stdout, format!("kuvert-bench {}\n", env!("CARGO_PKG_VERSION")));
    let (output, stdout, _) = bench(&["--help"]);
    assert!(output.status.success() && stdout.contains("Usage: kuvert-bench [OPTIONS] <COMMAND>"), "{stdout}");
    for command in ["crypto", "client", "timing", "files", "relay", "scaling"] {
        assert!(stdout.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {stdout}");
    }
    assert!(!stdout.contains("relay-worker") && !stdout.contains("files-person"), "{stdout}");
    let (_, stdout, _) = bench(&["files", "--help"]);
    assert!(stdout.contains("files --mib 20 --directory /srv"), "an example: {stdout}");
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let (output, stdout, stderr) = bench(&["--json", "client", "--messages", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout.contains(r#""code":"usage""#), "{stdout}");
    assert!(stderr.contains("--messages"), "{stderr}");
    let (output, _, stderr) = bench(&["scaling", "--from", "/nonexistent/relay.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("cannot read /nonexistent/relay.json"), "{stderr}");
}

#[test]
fn it_plays_the_relay_that_it_measures() {
    let (output, stdout, _) = bench(&["as", "kuvert-relay", "--version"]);
    assert!(output.status.success());
    assert_eq!(stdout, format!("kuvert-relay {}\n", env!("CARGO_PKG_VERSION")));
}
