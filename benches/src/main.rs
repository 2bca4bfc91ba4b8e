//! The program `kuvert-bench`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kuvert_bench::program::run(std::env::args_os())
}
