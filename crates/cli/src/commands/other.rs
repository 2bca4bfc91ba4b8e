//! `kuvert NAME …` where NAME is no command of this program: the program `kuvert-NAME` runs in its place.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use kuvert_program::family::{self, Missing, Program};

use crate::args::{Args, GlobalArgs};
use crate::error::Failure;
use crate::output::Output;
use crate::usage;

/// What follows this is no option.
const NO_OPTIONS: &str = "--";

/// Whether the help of `kuvert` may be shown: only then other programs are looked for.
pub fn is_asked_for_help(arguments: &[OsString]) -> bool {
    arguments.len() < 2
        || arguments.iter().any(|word| ["-h", "--help", "help"].map(OsStr::new).contains(&word.as_os_str()))
}

/// A command line whose help lists the programs that are there.
pub fn listed(command: clap::Command) -> clap::Command {
    let programs = family::all();
    if programs.is_empty() {
        return command;
    }
    let columns = programs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: String = programs.iter().map(|(name, line)| format!("\n  {name:columns$}  {line}")).collect();
    let words = command.get_after_help().map(|words| format!("\n\n{words}")).unwrap_or_default();
    command.after_help(format!("Other programs; `kuvert NAME` runs kuvert-NAME:{lines}{words}"))
}

/// Runs the program that is named by a command line which clap has refused. Where there is none the refusal stands, and says what
/// was looked for.
pub fn run_or_refuse(mut error: clap::Error, command: clap::Command, arguments: &[OsString]) -> ExitCode {
    let called = match error.kind() {
        ErrorKind::InvalidSubcommand => helped(arguments).or_else(|| named(command, arguments)),
        _ => None,
    };
    let Some(called) = called else { return usage::end(&error, arguments) };
    match Program::named(&called.name) {
        Ok(program) => {
            let failure = become_program(&program, called.rest, called.json, called.home.as_deref());
            Output::new(called.json).failure(&failure);
            failure.exit_code()
        }
        Err(missing) => {
            hint(&mut error, &missing);
            usage::end(&error, arguments)
        }
    }
}

/// Becomes a program: same process, same terminal, and its exit code. Returns only the reason why that failed. The other program
/// reads the home that was named from a variable.
pub fn become_program(program: &Program, rest: Vec<OsString>, json: bool, home: Option<&Path>) -> Failure {
    let mut command = program.command(handed_on(rest, json));
    command.envs(home.map(|home| ("KUVERT_HOME", home)));
    failure(program, &command.exec())
}

/// Runs a program to its end.
///
/// # Errors
/// The system refuses to start it.
pub fn run_program(program: &Program, rest: Vec<OsString>, json: bool) -> Result<ExitCode, Failure> {
    let status = program.command(handed_on(rest, json)).status().map_err(|error| failure(program, &error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The usage error of a command that is another program which is not there. Returns its exit code.
pub fn refuse(missing: &Missing, json: bool) -> ExitCode {
    let error = Args::command().error(ErrorKind::InvalidSubcommand, missing);
    usage::end(&error, json.then(|| OsString::from("--json")).as_slice())
}

/// A program that a command line names.
struct Called {
    name: OsString,
    rest: Vec<OsString>,
    /// Given before the name.
    json: bool,
    home: Option<PathBuf>,
}

/// `kuvert help NAME` is `kuvert NAME --help`.
fn helped(arguments: &[OsString]) -> Option<Called> {
    let [_, help, name] = arguments else { return None };
    (help == "help").then(|| Called { name: name.clone(), rest: vec!["--help".into()], json: false, home: None })
}

/// The first word that is no option of `kuvert`, and what stands behind it.
fn named(command: clap::Command, arguments: &[OsString]) -> Option<Called> {
    let matches = command.allow_external_subcommands(true).try_get_matches_from(arguments).ok()?;
    let (name, behind) = matches.subcommand()?;
    let rest: Vec<OsString> = behind.try_get_many("").ok()??.cloned().collect();
    let GlobalArgs { json, home, .. } = GlobalArgs::from_arg_matches(&matches).ok()?;
    Some(Called { name: name.into(), rest, json, home })
}

/// The arguments of the other program: `--json` may stand before its name.
fn handed_on(mut rest: Vec<OsString>, json: bool) -> Vec<OsString> {
    if json {
        let options = rest.iter().position(|word| word == NO_OPTIONS).unwrap_or(rest.len());
        rest.insert(options, "--json".into());
    }
    rest
}

/// Adds to a refusal what else was tried.
fn hint(error: &mut clap::Error, missing: &Missing) {
    let mut hints = match error.remove(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(hints)) => hints,
        _ => Vec::new(),
    };
    hints.push(StyledStr::from(missing.to_string()));
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(hints));
}

fn failure(program: &Program, error: &io::Error) -> Failure {
    Failure::io(&format!("run {}", program.path().display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(words: &[&str]) -> Option<(String, Vec<OsString>, bool)> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let error = Args::command().try_get_matches_from(&words).err()?;
        assert_eq!(error.kind(), ErrorKind::InvalidSubcommand, "{error}");
        let called = helped(&words).or_else(|| named(Args::command(), &words))?;
        Some((called.name.into_string().unwrap(), handed_on(called.rest, called.json), called.json))
    }

    #[test]
    fn what_is_behind_the_name_is_handed_on_as_it_stands() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        for (line, name, rest) in [
            (&["kuvert", "demo"] as &[&str], "demo", &[] as &[&str]),
            (&["kuvert", "demo", "--step", "--level", "?"], "demo", &["--step", "--level", "?"]),
            (&["kuvert", "--json", "demo", "--step"], "demo", &["--step", "--json"]),
            (
                &["kuvert", "--home", "h", "--json", "bench", "relay", "--", "x"],
                "bench",
                &["relay", "--json", "--", "x"],
            ),
            (&["kuvert", "help", "lens"], "lens", &["--help"]),
            (&["kuvert", "../x", "send"], "../x", &["send"]),
        ] {
            let (called, handed, _) = called(line).unwrap();
            assert_eq!((called.as_str(), handed), (name, words(rest)), "{line:?}");
        }
    }

    #[test]
    fn commands_of_this_program_are_its_own_also_where_they_are_misused() {
        for line in [["kuvert", "contact", "demo"], ["kuvert", "account", "demo"]] {
            assert_eq!(called(&line), None, "{line:?}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_hints_and_says_which_program_was_looked_for() {
        let mut error = Args::command().try_get_matches_from(["kuvert", "sned"]).unwrap_err();
        hint(&mut error, &Missing::File("kuvert-sned".to_owned()));
        let words = error.to_string();
        assert!(words.contains("'send'") && words.contains("tip: there is no program kuvert-sned beside"), "{words}");
    }
}
