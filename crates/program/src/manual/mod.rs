//! Manual pages, made of what the help says and of what stands in a [`Manual`] beside it. `kuvert man DIR` writes its own, and runs
//! `kuvert-NAME man DIR` for the other programs that are there: no program has to link another one to describe it.

pub mod check;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The word before the directory.
pub const WORD: &str = "man";

/// The day that pages name: that on which their words last changed.
const DATE: &str = "2026-11-29";

/// What is named, and words about it.
pub type Entry = (&'static str, &'static str);

/// What a program's pages have beside what its help says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manual {
    /// For a command, named by the words behind the program's name: command lines, each with what it does. The long help shows them,
    /// too.
    pub examples: &'static [(&'static str, &'static [Entry])],
    /// What the exit codes mean.
    pub exit: &'static [Entry],
    /// Files and directories.
    pub files: &'static [Entry],
    /// Variables that the program reads.
    pub environment: &'static [Entry],
    /// Other pages, as `NAME(SECTION)`.
    pub see_also: &'static [&'static str],
}

/// What every program of this project ends with.
pub const EXIT: &[Entry] = &[
    ("0", "Done."),
    ("1", "Failed: stderr says why and what to do next."),
    ("2", "The command line makes no sense; nothing was done."),
];

/// What every program of this project reads.
pub const ENVIRONMENT: &[Entry] = &[
    ("COLUMNS", "How wide lines for people are, where the terminal is not narrower."),
    ("HOME", "Where the user's data directory is, where XDG_DATA_HOME does not say."),
    ("NO_COLOR", "Set and not empty: no colours."),
    ("PATH", "Where programs of this project are looked for that are not beside this one."),
    ("TERM", "dumb or unset: no colours, no screen."),
    ("XDG_DATA_HOME", "The user's data directory; ~/.local/share without it."),
];

impl Manual {
    /// Of a program without files and variables of its own.
    pub const PLAIN: Self = Self {
        examples: &[],
        exit: EXIT,
        files: &[],
        environment: ENVIRONMENT,
        see_also: &["kuvert(1)", "kuvert-relay(1)"],
    };

    /// A command line whose long help has the examples.
    #[must_use]
    pub fn in_help(&self, command: Command) -> Command {
        self.below(command, "")
    }

    fn below(&self, command: Command, path: &str) -> Command {
        let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
        let command = names.iter().fold(command, |command, name| {
            command.mut_subcommand(name, |below| self.below(below, &joined(path, name)))
        });
        let examples = self.examples_of(path);
        if examples.is_empty() {
            return command;
        }
        let lines = examples.iter().map(|(line, what)| format!("  {line}\n      {what}"));
        let mut help = format!("Examples:\n{}", lines.collect::<Vec<_>>().join("\n"));
        if let Some(after) = command.get_after_help() {
            help.push_str(&format!("\n\n{after}"));
        }
        command.after_long_help(help)
    }

    fn examples_of(&self, path: &str) -> &'static [Entry] {
        self.examples.iter().find(|(command, _)| *command == path).map_or(&[], |(_, examples)| examples)
    }

    /// Writes one page for a program and one for each of its commands. Makes the directory where it is missing.
    ///
    /// # Errors
    /// The directory or a page cannot be written.
    pub fn write(&self, command: Command, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut command = command.disable_help_subcommand(true);
        command.build();
        self.pages(&command, "", directory)
    }

    fn pages(&self, command: &Command, path: &str, directory: &Path) -> io::Result<()> {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            self.pages(below, &joined(path, below.get_name()), directory)?;
        }
        let page = Man::new(command.clone());
        let mut text = Vec::new();
        self.page(&page, command, path, &mut text)?;
        std::fs::write(directory.join(page.get_filename()), tidy(&String::from_utf8_lossy(&text)))
    }

    fn page(&self, page: &Man, command: &Command, path: &str, out: &mut dyn Write) -> io::Result<()> {
        let (title, version) = (page.get_filename(), command.get_version().unwrap_or(env!("CARGO_PKG_VERSION")));
        let title = title.trim_end_matches(".1").to_uppercase();
        writeln!(out, ".TH \"{title}\" \"1\" \"{DATE}\" \"Kuvert {version}\" \"Kuvert\"")?;
        page.render_name_section(out)?;
        page.render_synopsis_section(out)?;
        page.render_description_section(out)?;
        if command.get_arguments().any(|arg| !arg.is_hide_set()) {
            page.render_options_section(out)?;
        }
        if command.get_subcommands().any(|below| !below.is_hide_set()) {
            page.render_subcommands_section(out)?;
        }
        let mut roff = Roff::default();
        if let Some(notes) = command.get_after_help() {
            roff.control("SH", ["NOTES"]);
            roff.text([roman(notes.to_string())]);
        }
        let examples = self.examples_of(path);
        if !examples.is_empty() {
            roff.control("SH", ["EXAMPLES"]);
            entries(&mut roff, examples);
        }
        for (title, of) in [("EXIT STATUS", self.exit), ("FILES", self.files), ("ENVIRONMENT", self.environment)] {
            if !of.is_empty() {
                roff.control("SH", [title]);
                entries(&mut roff, of);
            }
        }
        if !self.see_also.is_empty() {
            roff.control("SH", ["SEE ALSO"]);
            roff.text([roman(self.see_also.join(", "))]);
        }
        roff.to_writer(out)
    }
}

/// A page as every typesetter takes it: letters beyond ASCII by their numbers, and no break beside a blank line.
fn tidy(page: &str) -> String {
    let lines: Vec<&str> = page.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut out = String::with_capacity(page.len());
    for (at, line) in lines.iter().enumerate() {
        let named = |line: Option<&&str>, name: &str| line.is_some_and(|line| line.trim() == name);
        let (before, behind) = (at.checked_sub(1).and_then(|before| lines.get(before)), lines.get(at + 1));
        let blank = named(before, ".sp") || named(behind, ".sp") || named(behind, ".br");
        if line.trim() == ".br" && blank {
            continue;
        }
        for character in line.chars() {
            if character.is_ascii() {
                out.push(character);
            } else {
                out.push_str(&format!("\\[u{:04X}]", u32::from(character)));
            }
        }
        out.push('\n');
    }
    out
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path} {name}") }
}

fn entries(roff: &mut Roff, entries: &[Entry]) {
    for (name, words) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*words)]);
    }
}

/// Writes the pages of a program that was called as `kuvert-NAME man DIR`. `None`: it was called otherwise.
pub fn asked_for(command: impl FnOnce() -> Command, manual: &Manual, arguments: &[OsString]) -> Option<ExitCode> {
    let [_, word, directory] = arguments else { return None };
    if word != WORD {
        return None;
    }
    let written = manual.write(command(), Path::new(directory));
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

    const MANUAL: Manual = Manual {
        examples: &[("serve", &[("kuvert-test serve --at '*'", "Serves all of it.")])],
        exit: EXIT,
        files: &[("~/.kuvert-test", "Nothing.")],
        environment: ENVIRONMENT,
        see_also: &["kuvert(1)"],
    };

    fn command() -> Command {
        Command::new("kuvert-test").subcommand(Command::new("serve").about("Serves").after_help(".beware"))
    }

    #[test]
    fn pages_are_written_for_a_program_and_its_commands_and_only_when_asked_for() {
        let there = tempfile::tempdir().unwrap();
        let directory = there.path().join("new");
        let ask = |words: &[&str]| {
            let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            arguments.push(directory.clone().into());
            asked_for(command, &MANUAL, &arguments)
        };
        assert!(ask(&["kuvert-test"]).is_none() && ask(&["kuvert-test", "serve"]).is_none());
        assert!(ask(&["kuvert-test", "man", "more"]).is_none() && !directory.exists());
        assert!(ask(&["kuvert-test", "man"]).is_some());
        for (page, examples) in [("kuvert-test.1", false), ("kuvert-test-serve.1", true)] {
            let page = std::fs::read_to_string(directory.join(page)).unwrap();
            assert_eq!(page.contains(".SH EXAMPLES\n"), examples, "{page}");
            for section in ["\"EXIT STATUS\"", "FILES", "ENVIRONMENT", "\"SEE ALSO\""] {
                assert!(page.contains(&format!(".SH {section}\n")), "{section}: {page}");
            }
            assert!(!page.contains("\n.beware"), "text is no request: {page}");
        }
    }

    #[test]
    fn the_long_help_has_the_examples() {
        let mut command = MANUAL.in_help(command());
        let help = |command: &mut Command| command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        let long = help(&mut command);
        assert!(long.contains("Examples:\n  kuvert-test serve --at '*'\n      Serves all of it.\n\n.beware"), "{long}");
    }
}
