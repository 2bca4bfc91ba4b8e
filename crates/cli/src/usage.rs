//! Command lines that make no sense, and those that ask for help.

use std::ffi::OsString;
use std::process::ExitCode;

use kuvert_program::words;

use crate::error::USAGE;
use crate::output::Output;
use crate::output::record::Record;

/// Prints help or version where that was asked for; else says what is wrong with the command line: in words on stderr, with
/// `--json` also as an object on stdout.
pub fn end(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        words::print(error);
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let message = in_one_line(&error.to_string());
        let _ = Output::new(true).print(&Record::Error { code: "usage", message: &message, line: None });
    }
    words::print(error);
    ExitCode::from(USAGE)
}

/// What is wrong with a command line, and clap's hints.
fn in_one_line(error: &str) -> String {
    let mut lines = error.lines().map(str::trim);
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    lines.filter(|line| line.starts_with("tip: ")).fold(first, |all, tip| format!("{all}; {tip}"))
}
