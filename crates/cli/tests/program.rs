//! The program `kuvert` as it is built, without a relay: its version, its help, its usage errors. What it does with a relay is
//! tested in the folder `tests` at the root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

fn kuvert(arguments: &[&str]) -> (Output, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kuvert"));
    let output = command.args(arguments).env_remove("KUVERT_HOME").env("PATH", "/nonexistent").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

#[test]
fn it_says_its_version_and_helps() {
    let (output, stdout, _) = kuvert(&["--version"]);
    assert!(output.status.success());
    assert_eq!(stdout, format!("kuvert {}\n", env!("CARGO_PKG_VERSION")));
    let (output, stdout, _) = kuvert(&["--help"]);
    assert!(output.status.success() && stdout.contains("Usage: kuvert [OPTIONS] <COMMAND>"), "{stdout}");
    for command in ["register", "send", "receive", "chat", "safety-number", "account", "relay"] {
        assert!(stdout.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {stdout}");
    }
    let (output, stdout, _) = kuvert(&["relay", "move", "--help"]);
    assert!(output.status.success() && stdout.contains("kuvert relay move"), "{stdout}");
}

#[test]
fn a_name_that_is_neither_command_nor_program_is_a_usage_error() {
    let (output, _, stderr) = kuvert(&["sned", "bob"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("'send'") && stderr.contains("no program kuvert-sned beside this one or on PATH"),
        "{stderr}"
    );
    let (output, stdout, _) = kuvert(&["--json", "no-such-command"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stdout.starts_with(r#"{"type":"error","code":"usage","#) && stdout.contains("kuvert-no-such-command"),
        "{stdout}"
    );
    // No name leads out of the directories that are searched.
    let (output, _, stderr) = kuvert(&["../kuvert-demo"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("cannot be the name of a program"), "{stderr}");
}
