//! The program `kuvert`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kuvert_cli::run(std::env::args_os())
}
