//! The program `kuvert-lens`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kuvert_program::process::outlive_the_file_size_limit();
    kuvert_lens_page::program::run(std::env::args_os())
}
