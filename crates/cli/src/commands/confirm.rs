//! Asking before something goes for good.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::error::Failure;
use crate::output::Output;

/// Asks a question on the terminal. Only `y` and `yes` mean yes.
///
/// # Errors
/// `not-confirmed`; `confirmation-needed`, where there is no terminal to ask on, or JSON was asked for.
pub fn ask(question: &str, output: Output) -> Result<(), Failure> {
    if output.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message = "this cannot be undone, and there is no terminal to ask on: say --yes; nothing was done";
        return Err(Failure::new("confirmation-needed", message));
    }
    output.prompt(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::io("read from the terminal", &error))?;
    if is_yes(&answer) { Ok(()) } else { Err(Failure::new("not-confirmed", "not confirmed: nothing was done")) }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y\n", "Y", " yes \n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yess", "j", "ye"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
