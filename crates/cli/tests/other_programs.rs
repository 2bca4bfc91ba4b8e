//! `kuvert NAME` runs the program `kuvert-NAME`. One test, in a process of its own: a program that was just written cannot be
//! started while another thread starts one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

/// Prints its arguments, the home and the name that it was called by; then ends with 42.
const PROGRAM: &str = "#!/bin/sh
echo \"hello: $* home=$KUVERT_HOME\"
exit 42
";

#[test]
fn another_program_gets_the_arguments_and_gives_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["kuvert-hello", "kuvert-send"] {
        let path = directory.path().join(name);
        fs::write(&path, PROGRAM).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let run = |arguments: &[&str]| -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kuvert"));
        let path = format!("{}:/usr/bin:/bin", directory.path().display());
        command.args(arguments).env("PATH", path).env_remove("KUVERT_HOME").current_dir(directory.path());
        let Output { status, stdout, .. } = command.output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap())
    };
    for (arguments, said) in [
        (&["hello"] as &[&str], "hello:  home=\n"),
        (&["hello", "a b", "--level", "?", "-x"], "hello: a b --level ? -x home=\n"),
        (&["--home", "h", "--json", "hello", "a"], "hello: a --json home=h\n"),
        (&["help", "hello"], "hello: --help home=\n"),
    ] {
        assert_eq!(run(arguments), (Some(42), said.to_owned()), "{arguments:?}");
    }
    // A command of the messenger is its own.
    let (code, said) = run(&["--home", "h", "send", "bob", "text"]);
    assert!(code == Some(1) && !said.contains("hello"), "{said}");
    // Help and completions know what is there.
    let (code, help) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.lines().any(|line| line.trim_start().starts_with("hello ")), "{help}");
}
