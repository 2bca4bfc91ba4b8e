//! Manual pages. `kuvert man DIR` writes its own, and runs `kuvert-NAME man DIR` for the other programs that are there: no
//! program has to link another one to describe it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// The word before the directory.
pub const WORD: &str = "man";

/// Writes one page for a program and one for each of its commands. Makes the directory where it is missing.
///
/// # Errors
/// The directory or a page cannot be written.
pub fn write(command: clap::Command, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command, directory)
}

/// Writes the pages of a program that was called as `kuvert-NAME man DIR`. `None`: it was called otherwise.
pub fn asked_for(command: impl FnOnce() -> clap::Command, arguments: &[OsString]) -> Option<ExitCode> {
    let [_, word, directory] = arguments else { return None };
    if word != WORD {
        return None;
    }
    let written = write(command(), Path::new(directory));
    Some(match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where stderr cannot be written, the exit code says it.
            let directory = Path::new(directory).display();
            let _ = writeln!(io::stderr(), "error: cannot write manual pages to {directory}: {error}");
            ExitCode::FAILURE
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> clap::Command {
        clap::Command::new("kuvert-test").subcommand(clap::Command::new("serve"))
    }

    #[test]
    fn pages_are_written_for_a_program_and_its_commands_and_only_when_asked_for() {
        let there = tempfile::tempdir().unwrap();
        let directory = there.path().join("new");
        let ask = |words: &[&str]| {
            let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            arguments.push(directory.clone().into());
            asked_for(command, &arguments)
        };
        assert!(ask(&["kuvert-test"]).is_none() && ask(&["kuvert-test", "serve"]).is_none());
        assert!(ask(&["kuvert-test", "man", "more"]).is_none() && !directory.exists());
        assert!(ask(&["kuvert-test", "man"]).is_some());
        for page in ["kuvert-test.1", "kuvert-test-serve.1"] {
            assert!(directory.join(page).is_file(), "{page}");
        }
    }
}
