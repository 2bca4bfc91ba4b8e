//! What is written: a text to be sent, or a command. Nothing that begins with a slash is sent unless it begins with two.

use std::path::{Path, PathBuf};

use crate::chat::dropped;
use crate::chat::notify::Notify;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show the help.
    Help,
    /// Leave.
    Quit,
    /// Look for a text.
    Search(String),
    /// No bell for this conversation, or one again.
    Mute,
    /// How the user is told of new texts.
    Notify(Notify),
    /// Accept this request, and call it so.
    Accept(String),
    /// Block this contact.
    Block,
    /// Receive here.
    Receive,
    /// Send a file, or a voice note.
    SendFile {
        /// Which.
        path: PathBuf,
        /// As a voice note.
        voice: bool,
    },
    /// Fetch a file that came, and write it where it is wanted.
    Save {
        /// Which, the newest first: 1 is the newest.
        nth: usize,
        /// Where to; none: among this home's files.
        to: Option<PathBuf>,
    },
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing that can be seen.
    Nothing,
    /// A text.
    Text,
    /// A text that begins with a slash, without the second one.
    WithoutSlash(String),
    /// A command.
    Command(Command),
    /// A command that there is not.
    Unknown(String),
    /// A command that lacks something.
    Wrong(&'static str),
}

/// Reads what was written.
pub fn read(text: &str) -> Written {
    if kuvert_client::is_invisible(text) {
        return Written::Nothing;
    }
    let Some(rest) = text.strip_prefix('/') else { return Written::Text };
    if rest.starts_with('/') {
        return Written::WithoutSlash(rest.to_owned());
    }
    let (word, about) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let about = about.trim();
    let command = match word {
        "help" => Command::Help,
        "quit" => Command::Quit,
        "mute" => Command::Mute,
        "block" => Command::Block,
        "receive" => Command::Receive,
        "send" | "voice" if about.is_empty() => {
            return Written::Wrong("Which file: /send PATH, for a voice note /voice PATH");
        }
        "send" | "voice" => Command::SendFile { path: typed(about), voice: word == "voice" },
        "save" => save(about),
        "search" if about.is_empty() => return Written::Wrong("What to look for: /search TEXT"),
        "search" => Command::Search(about.to_owned()),
        "accept" if about.is_empty() => return Written::Wrong("What to call it: /accept NAME"),
        "accept" => Command::Accept(about.to_owned()),
        "notify" => match about.parse() {
            Ok(how) => Command::Notify(how),
            Err(_) => return Written::Wrong("How to tell you: /notify bell, osc9, osc777 or off"),
        },
        _ => return Written::Unknown(format!("/{word}")),
    };
    // What stands behind a command that takes nothing was meant to be sent.
    let takes_more = matches!(
        command,
        Command::Search(_) | Command::Accept(_) | Command::Notify(_) | Command::SendFile { .. } | Command::Save { .. }
    );
    if !takes_more && !about.is_empty() {
        return Written::Unknown(text.lines().next().unwrap_or_default().to_owned());
    }
    Written::Command(command)
}

/// `/save`, `/save 2`, `/save PATH`, `/save 2 PATH`.
fn save(about: &str) -> Command {
    let (first, rest) = about.split_once(char::is_whitespace).unwrap_or((about, ""));
    let (nth, to) = match first.parse() {
        Ok(nth @ 1..) => (nth, rest.trim()),
        _ => (1, about),
    };
    Command::Save { nth, to: (!to.is_empty()).then(|| typed(to)) }
}

fn typed(text: &str) -> PathBuf {
    dropped::typed(text, std::env::var_os("HOME").as_deref().map(Path::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::keys::HELP;

    #[test]
    fn only_what_is_no_command_is_sent_and_what_is_unknown_is_named() {
        assert_eq!(read(" \n"), Written::Nothing);
        assert_eq!(read("hi /quit"), Written::Text);
        assert_eq!(read("//etc/hosts"), Written::WithoutSlash("/etc/hosts".into()));
        assert_eq!(read("/etc/hosts"), Written::Unknown("/etc/hosts".into()));
        assert_eq!(read("/mute"), Written::Command(Command::Mute));
        assert_eq!(read("/mute the music"), Written::Unknown("/mute the music".into()));
        assert_eq!(read("/search  two words "), Written::Command(Command::Search("two words".into())));
        assert_eq!(read("/notify osc9"), Written::Command(Command::Notify(Notify::Osc9)));
        let file = |path: &str, voice| Written::Command(Command::SendFile { path: path.into(), voice });
        assert_eq!(read("/send  /tmp/a b.jpg "), file("/tmp/a b.jpg", false));
        assert_eq!(read("/voice '/tmp/a b.ogg'"), file("/tmp/a b.ogg", true));
        let save = |nth, to: Option<&str>| Written::Command(Command::Save { nth, to: to.map(Into::into) });
        assert_eq!(read("/save"), save(1, None));
        assert_eq!(read("/save 3"), save(3, None));
        assert_eq!(read("/save /tmp/a b"), save(1, Some("/tmp/a b")));
        assert_eq!(read("/save 2 /tmp/a"), save(2, Some("/tmp/a")));
        assert_eq!(read("/save 0"), save(1, Some("0")), "there is no such number");
        assert!(matches!(read("/send "), Written::Wrong(_)));
        assert!(matches!(read("/search"), Written::Wrong(_)));
        assert!(matches!(read("/notify loudly"), Written::Wrong(_)));
    }

    #[test]
    fn the_help_lists_every_command_and_no_other() {
        let listed = HELP.iter().flat_map(|part| part.lines).filter(|line| line.sign.starts_with('/'));
        let mut count = 0;
        for line in listed.filter(|line| !line.sign.starts_with("//")) {
            let typed = line.sign.replace("HOW", "bell");
            assert!(matches!(read(&typed), Written::Command(_)), "{typed}");
            count += 1;
        }
        assert_eq!(count, 11);
    }
}
