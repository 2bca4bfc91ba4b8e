//! `kuvert NAME …` runs the program `kuvert-NAME`, as git does: the messenger links none of them. A program is looked for in the
//! directory of the running program first, and then in the directories of `PATH`.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the file names of these programs begin with.
const PREFIX: &str = "kuvert-";

/// The programs of this project, with a line each for the help.
const KNOWN: [(&str, &str); 5] = [
    ("bench", "Measure how fast this machine encrypts and how much a relay carries"),
    ("demo", "See what a relay sees: a real relay and two clients at work"),
    ("lens", "See what a relay sees: a page on this machine, and scores by simulation"),
    ("relay", "Run or inspect a relay"),
    ("relay-lens", "Run a relay that asks its users for more than mail needs, to show what that gives away"),
];

/// A program that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `NAME` of `kuvert NAME`.
    name: OsString,
    path: PathBuf,
}

/// Why there is no such program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing can have this name. One that holds a path separator would lead out of the directories that are searched.
    Name(String),
    /// This file is in none of the directories.
    File(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "'{name}' cannot be the name of a program either"),
            Self::File(file) => write!(f, "there is no program {file} beside this one or on PATH"),
        }
    }
}

impl Program {
    /// Finds `kuvert-NAME`.
    ///
    /// # Errors
    /// There is none, or there cannot be one.
    pub fn named(name: &OsStr) -> Result<Self, Missing> {
        Self::among(name, &directories())
    }

    fn among(name: &OsStr, directories: &[PathBuf]) -> Result<Self, Missing> {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.contains(&b'/') || bytes.starts_with(b"-") {
            return Err(Missing::Name(name.to_string_lossy().into_owned()));
        }
        let file: OsString = [OsStr::new(PREFIX), name].into_iter().collect();
        let path = directories.iter().map(|directory| directory.join(&file)).find(|path| is_program(path));
        let path = path.ok_or_else(|| Missing::File(file.to_string_lossy().into_owned()))?;
        Ok(Self { name: name.to_owned(), path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A process of it, to be started. Its usage lines show `kuvert NAME`, which is what the user typed.
    pub fn command(&self, arguments: impl IntoIterator<Item = OsString>) -> Command {
        let mut called = OsString::from("kuvert ");
        called.push(&self.name);
        let mut command = Command::new(&self.path);
        command.arg0(called).args(arguments);
        command
    }
}

/// The names of all programs that are there, in order, each with a line about it.
pub fn all() -> Vec<(String, &'static str)> {
    let names = named_in(&directories()).into_iter();
    names.map(|name| (line_about(&name), name)).map(|(line, name)| (name, line)).collect()
}

/// The names of this project's programs, whether they are there or not, each with a line about it.
pub const fn known() -> [(&'static str, &'static str); 5] {
    KNOWN
}

fn line_about(name: &str) -> &'static str {
    KNOWN.iter().find(|(known, _)| *known == name).map_or("Another program, not of this project", |(_, line)| line)
}

fn named_in(directories: &[PathBuf]) -> BTreeSet<String> {
    let files = directories.iter().filter_map(|directory| directory.read_dir().ok()).flatten();
    let names = files.filter_map(|file| {
        let file = file.ok()?;
        let name = file.file_name().into_string().ok()?.strip_prefix(PREFIX)?.to_owned();
        is_program(&file.path()).then_some(name)
    });
    names.collect()
}

/// The directory of the running program, then those of `PATH`. Relative ones are left out: what runs must not depend on where the
/// user stands.
fn directories() -> Vec<PathBuf> {
    let beside = env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let path = env::var_os("PATH").unwrap_or_default();
    beside.into_iter().chain(env::split_paths(&path)).filter(|directory| directory.is_absolute()).collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn make(directory: &Path, file: &str, mode: u32) -> PathBuf {
        let path = directory.join(file);
        fs::write(&path, "#!/bin/sh\necho \"$0 $@\"\nexit 7\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_first_directory_wins_and_only_programs_count() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directories = [first.path().to_owned(), second.path().to_owned()];
        let find = |name: &str| Program::among(OsStr::new(name), &directories).map(|program| program.path().to_owned());
        let missing = |name: &str| Err(Missing::File(format!("kuvert-{name}")));
        let one = make(first.path(), "kuvert-one", 0o755);
        make(second.path(), "kuvert-one", 0o755);
        let two = make(second.path(), "kuvert-two", 0o755);
        // What cargo leaves beside a program, and a directory.
        make(first.path(), "kuvert-two", 0o644);
        make(first.path(), "kuvert-one.d", 0o644);
        fs::create_dir(first.path().join("kuvert-three")).unwrap();
        assert_eq!(
            (find("one"), find("two"), find("three"), find("four")),
            (Ok(one), Ok(two), missing("three"), missing("four"))
        );
        assert_eq!(Vec::from_iter(named_in(&directories)), ["one", "two"]);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let there = tempfile::tempdir().unwrap();
        let directories = [there.path().join("in")];
        fs::create_dir_all(directories[0].join("kuvert-")).unwrap();
        make(there.path(), "out", 0o755);
        for name in ["../../out", "/bin/sh", "", "-x", "a/b"] {
            assert_eq!(Program::among(OsStr::new(name), &directories), Err(Missing::Name(name.to_owned())));
        }
    }

    #[test]
    fn arguments_and_exit_code_pass_through() {
        let there = tempfile::tempdir().unwrap();
        make(there.path(), "kuvert-one", 0o755);
        let program = Program::among(OsStr::new("one"), &[there.path().to_owned()]).unwrap();
        let output = program.command(["a b".into(), "--json".into()]).output().unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert!(String::from_utf8(output.stdout).unwrap().ends_with("/kuvert-one a b --json\n"));
    }

    #[test]
    fn each_known_program_has_a_line() {
        for (name, line) in KNOWN {
            assert_eq!(line_about(name), line);
        }
        assert!(!line_about("something-else").is_empty());
    }
}
