//! The program `kuvert-relay-lens`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kuvert_program::memory::keep_private();
    kuvert_program::process::outlive_the_file_size_limit();
    kuvert_relay_lens::program::run(std::env::args_os())
}
