//! What the tests of the programs ask of their pages.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command as Process;

use clap::Command;

use super::{Manual, joined};

/// What is wrong with the examples of a program: commands without one, examples of no command, and those that the command line does
/// not understand. `other`: examples of commands that another program has beyond these.
pub fn faults(manual: &Manual, command: &Command, other: &[&str]) -> Vec<String> {
    let mut command = command.clone();
    command.build();
    let mut paths = BTreeSet::new();
    collect(&command, "", &mut paths);
    let mut faults = Vec::new();
    for path in &paths {
        if manual.examples_of(path).is_empty() {
            faults.push(format!("no example of '{path}'"));
        }
    }
    for (path, examples) in manual.examples.iter().filter(|(path, _)| !other.contains(path)) {
        if !paths.contains(*path) {
            faults.push(format!("there is no command '{path}'"));
        }
        for (line, _) in *examples {
            let words = words(line);
            let own = words.first().is_some_and(|first| first == command.get_name());
            if own
                && let Err(error) = command.clone().try_get_matches_from(&words)
                && error.use_stderr()
            {
                faults.push(format!("{line}: {error}"));
            }
        }
    }
    faults
}

fn collect(command: &Command, path: &str, paths: &mut BTreeSet<String>) {
    paths.insert(path.to_owned());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        collect(below, &joined(path, below.get_name()), paths);
    }
}

/// The words of the first command of a line, as a shell has them. What examples need of a shell, and no more.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        match character {
            '\'' => (quoted, begun) = (!quoted, true),
            '|' | '<' | '>' | ';' if !quoted => break,
            ' ' if !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            character => {
                word.push(character);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// The variables that the sources below a directory read: in files that ask the environment every string in upper case, and what
/// command lines name.
///
/// # Errors
/// A file cannot be read.
pub fn variables(directory: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(variables(&path)?);
        } else if path.extension().is_some_and(|ends| ends == "rs") {
            let text = fs::read_to_string(&path)?;
            found.extend(variables_of(text.split("#[cfg(test)]").next().unwrap_or_default()));
        }
    }
    Ok(found)
}

fn variables_of(source: &str) -> BTreeSet<String> {
    let asks = ["env::var(", "env::var_os("].iter().any(|call| source.contains(call));
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    // What cargo sets is asked for while the program is built.
    let lines = lines.filter(|line| (asks && !line.contains("env!(")) || line.contains("env = \""));
    let strings = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    let named = strings.filter(|text| {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        text.len() > 1 && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(plain)
    });
    // Of a line with a clap attribute only what stands behind `env`.
    named.filter(|text| asks || source.contains(&format!("env = \"{text}\""))).map(str::to_owned).collect()
}

/// Whether the pages tell of a variable.
pub fn tells_of(manual: &Manual, variable: &str) -> bool {
    manual.environment.iter().any(|(names, _)| names.split(", ").any(|name| name == variable))
}

/// What the typesetters that are there have to say about the pages in a directory; how many of them there are.
///
/// # Errors
/// The directory cannot be read.
pub fn complaints(directory: &Path) -> io::Result<(usize, Vec<String>)> {
    let typesetters = [("groff", &["-man", "-Tutf8", "-ww", "-z"][..]), ("mandoc", &["-T", "lint", "-W", "warning"])];
    let there = typesetters.into_iter().filter(|(name, _)| Process::new(name).arg("-h").output().is_ok());
    let (mut count, mut complaints) = (0, Vec::new());
    for (name, arguments) in there {
        count += 1;
        for entry in fs::read_dir(directory)? {
            let page = entry?.path();
            let output = Process::new(name).args(arguments).arg(&page).output()?;
            let said = [output.stdout, output.stderr].concat();
            if !said.is_empty() || !output.status.success() {
                complaints.push(format!("{name} {}: {}", page.display(), String::from_utf8_lossy(&said)));
            }
        }
    }
    Ok((count, complaints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_where_they_are_read() {
        let source =
            "let set = |name| std::env::var(name);\nset(\"LC_ALL\").or(\"x\") // \"COMMENT\"\n/// \"NOT_THIS\"";
        assert_eq!(Vec::from_iter(variables_of(source)), ["COMMENT", "LC_ALL"], "rather one too many");
        let clap = "#[arg(long, value_name = \"DIR\", env = \"HOME_DIR\")]\nvalue_name = \"FILE\"";
        assert_eq!(Vec::from_iter(variables_of(clap)), ["HOME_DIR"]);
        assert!(variables_of("\"UPPER\"").is_empty());
    }

    #[test]
    fn an_example_is_read_as_a_shell_reads_it() {
        assert_eq!(words("kuvert send bob 'a b' < x"), ["kuvert", "send", "bob", "a b"]);
        assert_eq!(words("kuvert send '' --x"), ["kuvert", "send", "", "--x"]);
    }
}
