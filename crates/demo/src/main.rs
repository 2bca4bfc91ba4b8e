//! The program `kuvert-demo`: a real relay and two real clients, each a process of its own, and what can be shown of them.
//!
//! Nothing here is staged: every line on the screen is something that a process printed, a row of the relay's own database,
//! or the result of a search through the relay's files.
//!
//! It links the messenger and the relay, and starts itself as either: one build has everything that it shows.
//!
//! | module | owns |
//! |---|---|
//! | [`args`] | the command line |
//! | [`parts`] | the programs that it starts itself as |
//! | [`play`] | one play from its beginning to its end |
//! | [`scenario`] | the story, scene by scene |
//! | [`process`] | relay and clients as child processes |
//! | [`relay_files`] | what stands in the relay's files, read from outside |
//! | [`search`] | looking for texts and ciphertext in those files |
//! | [`facts`] | everything that was checked: the summary and the JSON document |
//! | [`scene`] | what a scene shows: three columns of lines |
//! | [`stage`] | drawing scenes, in columns or one after another |
//! | [`described`] | what users are described to tell, for that page |
//! | [`lens`] | the page beside the demo: what the relay sees, live |
//! | [`hex_dump`] | bytes for people |
//! | [`story`] | another play: a day in a small town, told by what the relay saw |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod described;
mod facts;
mod hex_dump;
mod lens;
mod parts;
mod play;
mod process;
mod relay_files;
mod scenario;
mod scene;
mod search;
mod stage;
mod story;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use kuvert_cli::log::Log;
use kuvert_cli::output::Output;
use kuvert_cli::usage;
use kuvert_program::manual::{self, Manual};
use kuvert_program::{memory, process as system, words};

use crate::args::Args;

/// What the manual page has beside the help.
const MANUAL: Manual = Manual {
    examples: &[(
        "",
        &[
            ("kuvert demo", "Shows what a relay sees of a letter, in ten seconds."),
            ("kuvert demo --story doctor", "Tells a day in a small town by what the relay saw of it."),
            ("kuvert demo --keep demo", "Keeps the relay and the homes, to look into."),
        ],
    )],
    ..Manual::PLAIN
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(ended) = parts::played(&arguments) {
        return ended;
    }
    memory::keep_private();
    system::outlive_the_file_size_limit();
    if let Some(written) = manual::asked_for(Args::command, &MANUAL, &arguments) {
        return written;
    }
    let name = words::called(&arguments, "kuvert-demo");
    let parsed = words::fitted(MANUAL.in_help(Args::command())).bin_name(name).try_get_matches_from(&arguments);
    let args = match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => return usage::end(&error, &arguments),
    };
    let log = Log::start(args.verbose);
    let output = Output::new(args.json);
    let code = match play::run(args, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    };
    log.finish();
    code
}
