//! Telling the user of new texts: a bell, or a notification of the desktop through the terminal. Off unless asked for; and what
//! was written is not in it unless that was asked for, too: other people may see it.

use std::str::FromStr;

use crate::output::wrap::shorten;

/// Columns of a notification.
const MAX_COLUMNS: usize = 120;

/// How the user is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Notify {
    /// Not at all
    #[default]
    Off,
    /// The terminal's bell
    Bell,
    /// A notification as iTerm2, kitty, WezTerm and Windows Terminal show it
    Osc9,
    /// A notification as urxvt, foot, Ghostty and VTE's terminals show it
    Osc777,
}

impl Notify {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Bell => "bell",
            Self::Osc9 => "osc9",
            Self::Osc777 => "osc777",
        }
    }

    /// What the terminal is sent. `what`: who wrote and what, made harmless, if the user wants to read it there. `in_tmux`: tmux
    /// hands it on.
    pub fn bytes(self, what: Option<&str>, in_tmux: bool) -> String {
        let body = what.map_or_else(|| "A new message".to_owned(), plain);
        let sequence = match self {
            Self::Off => return String::new(),
            // tmux has bells of its own.
            Self::Bell => return "\u{7}".to_owned(),
            Self::Osc9 => format!("\u{1b}]9;Kuvert: {body}\u{7}"),
            Self::Osc777 => format!("\u{1b}]777;notify;Kuvert;{body}\u{7}"),
        };
        if in_tmux {
            return format!("\u{1b}Ptmux;{}\u{1b}\\", sequence.replace('\u{1b}', "\u{1b}\u{1b}"));
        }
        sequence
    }
}

/// Without what could end the sequence, or begin another field of it.
fn plain(text: &str) -> String {
    let harmless: String = text.chars().map(|c| if c.is_control() || c == ';' { ' ' } else { c }).collect();
    shorten(&harmless, MAX_COLUMNS)
}

impl FromStr for Notify {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Off, Self::Bell, Self::Osc9, Self::Osc777].into_iter().find(|how| how.words() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_holds_no_text_unless_asked_for_and_no_sequence_of_another() {
        assert_eq!(Notify::Off.bytes(Some("bob: hi"), false), "");
        assert_eq!(Notify::Bell.bytes(Some("bob: hi"), true), "\u{7}");
        assert_eq!(Notify::Osc9.bytes(None, false), "\u{1b}]9;Kuvert: A new message\u{7}");
        let evil = Notify::Osc777.bytes(Some("bob: a;b\u{7}\u{1b}]0;title\u{9c}"), false);
        assert_eq!(evil, "\u{1b}]777;notify;Kuvert;bob: a b  ]0 title \u{7}");
        let long = Notify::Osc9.bytes(Some(&"x".repeat(9_999)), false);
        assert!(long.chars().count() < 2 * MAX_COLUMNS);
        let through = Notify::Osc9.bytes(None, true);
        assert_eq!(through, "\u{1b}Ptmux;\u{1b}\u{1b}]9;Kuvert: A new message\u{7}\u{1b}\\");
    }
}
