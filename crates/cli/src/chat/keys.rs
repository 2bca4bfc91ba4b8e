//! What the keys, the words after `/` and the ticks mean: the one source for the help on the screen and for docs/CHAT.md.

/// Keys or a sign, and what they do or mean.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// As it stands on keyboards or on the screen.
    pub sign: &'static str,
    /// In words.
    pub means: &'static str,
}

const fn means(sign: &'static str, means: &'static str) -> Meaning {
    Meaning { sign, means }
}

/// A part of the help.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its heading.
    pub title: &'static str,
    /// Its lines.
    pub lines: &'static [Meaning],
}

/// All of the help, in order.
pub const HELP: [Part; 5] = [
    Part {
        title: "Writing",
        lines: &[
            means("Enter", "send"),
            means("Alt-Enter, Ctrl-J", "begin another line"),
            means("Up, Down", "move between lines; from the first and the last one, scroll"),
            means("Ctrl-A, Ctrl-E", "to the beginning, to the end of the line"),
            means("Ctrl-U, Ctrl-K, Ctrl-W", "delete to the beginning, to the end, the last word"),
            means("Esc", "one step back; what is written stays"),
        ],
    },
    Part {
        title: "Conversations",
        lines: &[
            means("Ctrl-N, Alt-Down", "the next one"),
            means("Ctrl-P, Alt-Up", "the one before"),
            means("Ctrl-G", "the next one with something unread"),
            means("Tab", "to the list and back; there Up, Down, Enter"),
            means("Ctrl-F", "search all conversations"),
            means("a, b", "in a request of a stranger: accept it, block it"),
        ],
    },
    Part {
        title: "Looking",
        lines: &[
            means("PgUp, PgDn", "scroll by a page"),
            means("Home, End", "where nothing is written: to the oldest, to the newest"),
            means("Ctrl-R", "say of each message when it was sent, delivered, read; again: ticks"),
            means("F2", "mouse on: click a conversation, turn the wheel; off: select text as in every window"),
            means("?, F1", "this help; ? where nothing is written"),
            means("Ctrl-Z", "suspend; fg brings the chat back"),
            means("Ctrl-C, Ctrl-D", "leave; Ctrl-D where nothing is written. What is written is kept"),
        ],
    },
    Part {
        title: "Commands",
        lines: &[
            means(
                "/send PATH",
                "send a file; or drop it on the window, or paste its path: you are asked before it goes",
            ),
            means("/voice PATH", "send Ogg Opus as a voice note"),
            means(
                "/save 2 PATH",
                "fetch the second newest file and write it there; /save alone: the newest, into this home",
            ),
            means("/search TEXT", "search all conversations"),
            means("/mute", "no bell for this conversation; again: bell"),
            means("/notify HOW", "tell of new texts: bell, osc9, osc777, off"),
            means("/accept NAME", "accept this request and call it so"),
            means("/block", "block this contact or request, after a question"),
            means("/receive", "receive here, where a copy of this home does"),
            means("/help", "this help"),
            means("/quit", "leave"),
            means("//TEXT", "send a text that begins with a slash"),
        ],
    },
    Part {
        title: "Ticks behind what you wrote",
        lines: &[
            means("…", "waits here until the relay can be reached"),
            means("·", "the relay has it on disk"),
            means("✓", "delivered: a device of the contact has it"),
            means("✓✓", "read: it was on the contact's screen"),
            means("!", "not sent, for good; Ctrl-R says why"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- keys: written by KUVERT_WRITE_KEYS=1 cargo test -p kuvert-cli chat -->\n";
    const END: &str = "<!-- end of keys -->\n";

    fn table() -> String {
        let mut out = String::new();
        for Part { title, lines } in HELP {
            out.push_str(&format!("\n### {title}\n\n| | |\n|---|---|\n"));
            for Meaning { sign, means } in lines {
                out.push_str(&format!("| `{sign}` | {means} |\n"));
            }
        }
        out.push('\n');
        out
    }

    #[test]
    fn the_document_has_the_keys_that_the_help_has() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CHAT.md");
        let document = std::fs::read_to_string(path).unwrap();
        let (before, rest) = document.split_once(BEGIN).unwrap();
        let (there, after) = rest.split_once(END).unwrap();
        if std::env::var_os("KUVERT_WRITE_KEYS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
            return;
        }
        assert_eq!(there, table(), "docs/CHAT.md: run the test with KUVERT_WRITE_KEYS=1");
    }
}
