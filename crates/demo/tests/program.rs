//! The program `kuvert-demo` as it is built: its version, its help, its usage errors. What it shows is tested in the folder `tests`
//! at the root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kuvert-demo")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

#[test]
fn it_says_its_version_and_helps() {
    let (output, stdout, _) = demo(&["--version"]);
    assert!(output.status.success());
    assert_eq!(stdout, format!("kuvert-demo {}\n", env!("CARGO_PKG_VERSION")));
    let (output, stdout, _) = demo(&["--help"]);
    assert!(output.status.success() && stdout.contains("Usage: kuvert-demo [OPTIONS]"), "{stdout}");
    for option in ["--json", "--step", "--keep", "--lens", "--story"] {
        assert!(stdout.contains(option), "{option}: {stdout}");
    }
}

#[test]
fn options_that_exclude_each_other_are_a_usage_error() {
    let (output, stdout, stderr) = demo(&["--json", "--story", "doctor", "--lens"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout.starts_with(r#"{"type":"error","code":"usage","#), "{stdout}");
    assert!(stderr.contains("--lens"), "{stderr}");
}

#[test]
fn it_plays_the_programs_that_it_shows() {
    for part in ["kuvert", "kuvert-relay-lens"] {
        let (output, stdout, _) = demo(&["as", part, "--version"]);
        assert!(output.status.success());
        assert_eq!(stdout, format!("{part} {}\n", env!("CARGO_PKG_VERSION")));
    }
    let (output, ..) = demo(&["as", "kuvert-other", "--version"]);
    assert_eq!(output.status.code(), Some(2));
}
