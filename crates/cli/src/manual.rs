//! What the manual pages of `kuvert` have beside its help; its long help has the examples, too.

use kuvert_program::manual::{Entry, Manual};

/// Of this program.
pub const MANUAL: Manual =
    Manual { examples: EXAMPLES, exit: EXIT, files: FILES, environment: ENVIRONMENT, see_also: SEE_ALSO };

const EXIT: &[Entry] = &[
    ("0", "Done."),
    (
        "1",
        "Failed: stderr says why and what to do next; with --json an object of the type error on stdout says it, too.",
    ),
    ("2", "The command line makes no sense; nothing was done."),
    ("128+N", "Ended half done, in good order, by the signal of number N."),
];

const SEE_ALSO: &[&str] = &["kuvert(1)", "kuvert-relay(1)", "kuvert-demo(1)", "kuvert-lens(1)"];

const FILES: &[Entry] = &[
    (
        "$XDG_DATA_HOME/kuvert, ~/.local/share/kuvert",
        "The home, where --home and KUVERT_HOME name none. Its mode is 0700.",
    ),
    (
        "HOME/store.db",
        "Account, sessions, contacts and messages, every value sealed. store.db-wal and store.db-shm belong to it.",
    ),
    ("HOME/store.key", "The key of the store, 32 bytes, mode 0600. KUVERT_STORE_KEY_FILE puts it elsewhere."),
    (
        "HOME/outbox.lock, HOME/inbox.lock, HOME/uploads.lock, HOME/fetches.lock",
        "Held by the process that sends, by the one that receives, and by those that send and fetch files. They hold nothing.",
    ),
    (
        "HOME/files",
        "Files that came, as they were sent: not encrypted, readable by their owner only. Nothing in it is overwritten.",
    ),
    (
        "HOME/partial, HOME/outgoing",
        "Files on their way here, and pictures without place and time that wait to be sent; not encrypted.",
    ),
];

const ENVIRONMENT: &[Entry] = &[
    ("COLUMNS", "How wide lines for people are, where the terminal is not narrower."),
    ("HOME", "Where the user's data directory is, where XDG_DATA_HOME does not say."),
    ("KUVERT_HOME", "The home, where --home names none."),
    ("KUVERT_STORE_KEY_FILE", "The file with the key of the store; HOME/store.key without it."),
    (
        "LC_ALL, LC_CTYPE, LC_MESSAGES, LANG",
        "Whether letters are as wide as Chinese, Japanese and Korean terminals draw them. At level L0 the relay is told the language.",
    ),
    ("NO_COLOR", "Set and not empty: no colours."),
    ("PATH", "Where programs of this project are looked for that are not beside this one."),
    ("RUST_LOG", "How much the log on stderr says, whatever -v says: error, warn, info, debug, trace or off."),
    ("TERM", "dumb or unset: no colours and no full-screen chat."),
    ("TMUX", "Set and not empty: notifications of a chat are handed through tmux."),
    ("TMPDIR", "Where a read-only store with an unfinished log is copied to be read."),
    ("TZ", "The time zone of times for people."),
    ("XDG_DATA_HOME", "The user's data directory; ~/.local/share without it."),
];

const EXAMPLES: &[(&str, &[Entry])] = &[
    (
        "",
        &[
            ("kuvert register --relay 'kuvert://relay.example:4433#…' --name alice", "Makes an account."),
            ("kuvert contact add bob", "Adds a contact by its name at the relay."),
            ("kuvert send bob 'Are you there?'", "Sends a text."),
            ("kuvert chat bob", "Talks, full screen."),
        ],
    ),
    (
        "register",
        &[
            (
                "kuvert register --relay 'kuvert://relay.example:4433#…' --name alice",
                "Makes an account that others find as alice.",
            ),
            (
                "kuvert register --relay 'kuvert://relay.example:4433#…' --invitation CODE",
                "The same at a relay for invited people, without a name.",
            ),
        ],
    ),
    ("whoami", &[("kuvert whoami", "Shows name, account, relay and level.")]),
    (
        "status",
        &[
            ("kuvert status", "Says how this home stands, and what to do next."),
            ("kuvert --json status --offline | jq .unread", "Counts unread messages, without asking the relay."),
        ],
    ),
    (
        "invite",
        &[
            ("kuvert invite | wl-copy", "Puts the link into the clipboard."),
            ("kuvert invite --qr", "Draws it, to be scanned."),
        ],
    ),
    (
        "contact",
        &[("kuvert contact list", "Lists all contacts."), ("kuvert contact help add", "Says how one is added.")],
    ),
    (
        "contact add",
        &[
            ("kuvert contact add bob --as 'Bob from work'", "Adds the account that is called bob at the relay."),
            ("kuvert contact add 'kuvert://relay.example:4433/contact/…'", "Adds who made this link, as verified."),
        ],
    ),
    (
        "contact list",
        &[
            ("kuvert contact list", "Lists all contacts."),
            ("kuvert --json contact list | jq -r .alias", "The same for a script."),
        ],
    ),
    ("contact rename", &[("kuvert contact rename bob 'Bob from work'", "Calls bob otherwise, here only.")]),
    (
        "contact remove",
        &[
            ("kuvert contact remove bob", "Removes the contact; its messages stay."),
            ("kuvert contact remove bob --history", "Removes its messages, too."),
        ],
    ),
    ("contact verify", &[("kuvert contact verify bob", "Says that the safety number was compared and is equal.")]),
    ("contact requests", &[("kuvert contact requests", "Lists who wrote and is no contact.")]),
    ("contact accept", &[("kuvert contact accept k3l5m7q2 --as carol", "Makes a contact of a request.")]),
    (
        "contact block",
        &[
            ("kuvert contact block mallory", "Drops what mallory sends, unseen."),
            ("kuvert contact block mallory --unblock", "Hears mallory again."),
        ],
    ),
    (
        "safety-number",
        &[("kuvert safety-number bob --qr", "Shows the number, and as a code that the other side can scan.")],
    ),
    (
        "send",
        &[
            ("kuvert send bob 'Are you there?'", "Sends a text."),
            ("kuvert send bob < letter.txt", "Sends a file as one text."),
            ("kuvert send bob --lines < log.txt", "Sends each line as a text."),
            (
                "kuvert send bob 'From the lake' --file photo.jpg map.pdf",
                "Sends two files with a text; place, time and camera are taken out of the picture.",
            ),
            ("kuvert send bob --voice note.opus", "Sends a voice note."),
            ("kuvert send bob -- '-5 °C'", "Sends a text that begins with a hyphen."),
        ],
    ),
    (
        "receive",
        &[
            ("kuvert receive", "Shows what waits."),
            ("kuvert --json receive --follow | while read -r line; do …; done", "Hands each message on as it comes."),
            ("kuvert receive --max-file 0", "Fetches no files."),
        ],
    ),
    (
        "save",
        &[
            ("kuvert save 7qk3mzpa", "Fetches the files of the message whose id begins so, and says where they are."),
            ("kuvert save 7qk3mzpa/2 --to photo.jpg", "Writes the second of them to photo.jpg."),
        ],
    ),
    (
        "chat",
        &[
            ("kuvert chat", "Shows all conversations; ? shows the keys."),
            ("kuvert chat bob --notify bell", "Opens that with bob; a bell tells of new texts."),
        ],
    ),
    (
        "history",
        &[
            ("kuvert history bob", "Shows the last messages."),
            (
                "kuvert history bob --since 2d --search lunch",
                "Shows what was said about lunch since the day before yesterday.",
            ),
            ("kuvert history bob --all | less", "Shows all of it in a pager."),
            ("kuvert history bob --limit 20 --before 7qk3mzpa", "Shows the 20 before that message."),
        ],
    ),
    (
        "search",
        &[
            ("kuvert search 'the key'", "Finds a text in all conversations."),
            ("kuvert search lunch --with bob", "Finds it in one."),
        ],
    ),
    (
        "delete",
        &[
            ("kuvert history bob --ids", "Shows the ids of messages."),
            ("kuvert delete bob 7qk3mzpa", "Deletes the message whose id begins so."),
            ("kuvert delete bob --all --yes", "Deletes the conversation without asking."),
        ],
    ),
    (
        "export",
        &[(
            "kuvert export bob --to bob-2026",
            "Writes messages.txt, messages.jsonl and the files that are here into a new directory.",
        )],
    ),
    (
        "backup",
        &[
            ("kuvert backup kuvert-2026-11.age", "Writes a backup; the passphrase is asked for."),
            (
                "kuvert backup kuvert.age --new-key-file kuvert.key",
                "Writes one that opens with a key, and the key into another file.",
            ),
            (
                "kuvert backup /media/stick/kuvert.age --key-file kuvert.key",
                "Writes another one for that key, as a script does.",
            ),
        ],
    ),
    (
        "restore",
        &[
            (
                "kuvert --home ~/kuvert restore kuvert-2026-11.age",
                "Makes a home of a backup; the passphrase is asked for.",
            ),
            ("kuvert restore kuvert.age --key-file kuvert.key", "Makes the home of a backup that opens with a key."),
        ],
    ),
    (
        "disclosure",
        &[
            ("kuvert disclosure", "Says what the relay gets to know."),
            ("kuvert --level L2 disclosure", "Goes to level L2, and says what that means."),
            ("kuvert disclosure --receipts off", "Sends no receipts from now on."),
        ],
    ),
    ("account", &[("kuvert account report --out report", "Gets all that the relay holds about the account.")]),
    ("account phone", &[("kuvert account phone +491701234567", "Has a code sent there.")]),
    ("account verify", &[("kuvert account verify 123456", "Gives the code that came.")]),
    (
        "account profile",
        &[
            ("kuvert account profile", "Shows the profile."),
            ("kuvert account profile --about 'At sea' --public", "Lets every user see it."),
        ],
    ),
    ("account upload", &[("kuvert account upload --address-book people.csv", "Tells the relay who is in it.")]),
    (
        "account permissions",
        &[("kuvert account permissions --grant location", "Grants one; without options they are listed.")],
    ),
    ("account show", &[("kuvert account show bob", "Shows what bob made public.")]),
    ("account correct", &[("kuvert account correct --no-phone", "Takes the number away.")]),
    (
        "account delete",
        &[("kuvert account delete", "Says what would go."), ("kuvert account delete --yes", "Deletes the account.")],
    ),
    (
        "account report",
        &[("kuvert account report --out report --wait", "Waits for it, and writes it: open report/index.html.")],
    ),
    ("account consent", &[("kuvert account consent", "Shows what was accepted.")]),
    (
        "relay",
        &[
            ("kuvert relay move 'kuvert://new.example:4433#…'", "Tells this home that its relay has moved."),
            ("kuvert relay serve", "Runs a relay: see kuvert-relay(1)."),
        ],
    ),
    (
        "completions",
        &[
            (". <(kuvert completions bash)", "Completes commands and contacts in this bash."),
            ("kuvert completions zsh > ~/.zfunc/_kuvert", "The same for zsh, where fpath has ~/.zfunc."),
            ("kuvert completions fish > ~/.config/fish/completions/kuvert.fish", "The same for fish."),
        ],
    ),
    ("man", &[("kuvert man ~/.local/share/man/man1", "Installs the pages for this user.")]),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory as _;
    use kuvert_program::manual::check;

    use super::*;
    use crate::args::Args;

    #[test]
    fn every_command_has_an_example_and_every_example_is_understood() {
        assert_eq!(check::faults(&MANUAL, &Args::command(), &[]), [""; 0]);
    }

    #[test]
    fn every_variable_that_is_read_is_told_of() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for name in ["cli", "client", "program"] {
            for variable in check::variables(&crates.join(name).join("src")).unwrap() {
                assert!(check::tells_of(&MANUAL, &variable), "{name} reads {variable}");
            }
        }
    }

    #[test]
    fn the_pages_are_there_and_typesetters_have_nothing_to_say() {
        let pages = tempfile::tempdir().unwrap();
        MANUAL.write(Args::command(), pages.path()).unwrap();
        for page in ["kuvert", "kuvert-send", "kuvert-contact-rename", "kuvert-account-report", "kuvert-delete"] {
            let text = std::fs::read_to_string(pages.path().join(format!("{page}.1"))).unwrap();
            for section in ["SYNOPSIS", "EXAMPLES", "\"EXIT STATUS\"", "FILES", "ENVIRONMENT"] {
                assert!(text.contains(&format!(".SH {section}\n")), "{page} {section}");
            }
            assert!(text.contains("KUVERT_STORE_KEY_FILE"), "{page}");
        }
        let (_, complaints) = check::complaints(pages.path()).unwrap();
        assert_eq!(complaints, [""; 0]);
    }
}
