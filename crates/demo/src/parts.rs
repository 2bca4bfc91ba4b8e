//! The parts that this program plays itself: the messenger and the relay, each as a process of its own. `kuvert-demo as NAME …`
//! is that program with the arguments that follow.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use kuvert_program::{memory, process};

/// The word before the name.
const AS: &str = "as";

/// The messenger.
pub const MESSENGER: &str = "kuvert";

/// The relay, with the demonstration of what a relay can ask for.
pub const RELAY: &str = "kuvert-relay-lens";

/// The first arguments of a process that plays a part.
pub fn arguments(part: &str) -> [OsString; 2] {
    [AS, part].map(OsString::from)
}

/// Plays a part to its end, where the command line asks for one.
pub fn played(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, word, part @ ..] = arguments else { return None };
    let name = part.first().filter(|_| word == AS)?;
    let words = part.iter().cloned();
    if name == OsStr::new(MESSENGER) {
        return Some(kuvert_cli::run(words));
    }
    (name == OsStr::new(RELAY)).then(|| {
        memory::keep_private();
        process::outlive_the_file_size_limit();
        kuvert_relay_lens::program::run(words)
    })
}

#[cfg(test)]
mod tests {
    /// Only what is handed to another program whole takes every word: that program looks at it.
    #[test]
    fn no_program_takes_unknown_options_for_values() {
        fn look(command: &clap::Command, path: &str) {
            for argument in command.get_arguments() {
                assert!(!argument.is_allow_hyphen_values_set(), "{path} {}", argument.get_id());
            }
            command.get_subcommands().for_each(|command| look(command, &format!("{path} {}", command.get_name())));
        }
        look(&kuvert_relay_lens::program::command(), "kuvert-relay-lens");
        look(&kuvert_lens_page::program::command(), "kuvert-lens");
    }
}
