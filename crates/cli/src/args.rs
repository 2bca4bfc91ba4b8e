//! The command line as clap reads it: raw flags, no decisions. What they mean is settled in [`crate::options`].

mod account;
mod backup;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueHint};
use kuvert_types::Level;

use crate::chat::Notify;
use crate::output::time::{Zone, now_ms};

pub use account::{Account, Consent, Correct, Delete, Part, Permissions, Profile, Report, Upload};
pub use backup::{Backup, Restore, Secret};

/// End-to-end encrypted messenger: the letter is sealed, and the relay only ever sees the envelope.
#[derive(Debug, Parser)]
#[command(
    name = "kuvert",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "New here? `kuvert demo` shows in ten seconds what a relay sees of a conversation, and what it does not."
)]
pub struct Args {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the help lists them.
const GLOBAL: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Default, ClapArgs)]
pub struct GlobalArgs {
    /// Where account, keys, contacts and messages are kept [default: XDG data directory, then `kuvert`]
    #[arg(long, global = true, value_name = "DIR", env = "KUVERT_HOME", help_heading = GLOBAL)]
    pub home: Option<PathBuf>,
    /// Print JSON lines on stdout, one object a line with a `type`
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// How much the relay is told, from L0 (most) to L3; the home stays at it. `kuvert disclosure` says what it means
    #[arg(long, global = true, value_name = "L0|L1|L2|L3", help_heading = GLOBAL)]
    pub level: Option<Level>,
    /// Connect from this address of the machine [default: the one that the system picks]
    #[arg(long, global = true, value_name = "IP", help_heading = GLOBAL)]
    pub local_address: Option<IpAddr>,
    /// Say on stderr what is connected to, sent and received; twice for more
    ///
    /// Never a text, a name, an account or a key. For example `kuvert -v receive` says `connecting relay="relay.example:4433"`,
    /// `handshake done`, `connected, and known to the relay waiting=2`, `received and stored envelopes=2`.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an account on a relay
    Register(Register),
    /// Show the account of this home
    Whoami,
    /// Show how this home stands, and what to do next
    ///
    /// It asks the relay whether it is there, for five seconds at most; a relay that does not answer is an answer, too. It fetches
    /// nothing and disturbs no `kuvert receive`. For example `kuvert status` says `relay  relay.example:4433 answers after 12 ms`,
    /// `next  accept or block a request: kuvert contact requests`.
    Status(Status),
    /// Print a link by which others add you as a verified contact
    ///
    /// `kuvert invite --qr` draws it, too: another device scans it, and hands the text to `kuvert contact add`.
    Invite(Invite),
    /// Contacts and requests: add, list, rename, verify, accept, block, remove
    #[command(subcommand)]
    Contact(Contact),
    /// Show the number to compare with a contact over another way, such as the phone
    SafetyNumber(SafetyNumber),
    /// Send a text, files, or both; done when the relay has it on disk
    ///
    /// A file is encrypted here, and goes to the relay beside other mail. If that is interrupted, the next command that reaches the relay
    /// goes on with it; until then the file has to stay as it is. Texts that are written meanwhile do not wait for it. Pictures (JPEG,
    /// PNG, WebP) are sent without the place, the time and the camera that stand in them. For example
    /// `kuvert send bob 'From the lake' --file photo.jpg map.pdf`.
    Send(Send),
    /// Fetch and show what waits
    ///
    /// Every message is stored before the relay is told to delete it, printed in the order of arrival, and noted as shown once
    /// it is printed. So none is lost, and none is printed twice, with one exception that no program can close: if this one is
    /// killed between printing a message and noting it, the next one prints that one message again, under the same id.
    ///
    /// Where a chat or another `receive --follow` of this home receives, this one shows what that one stores: with `--follow` all
    /// that comes, else what was not shown yet. When that one ends, a follower goes on in its place. Ctrl-C ends it in good order.
    Receive(Receive),
    /// Talk: all conversations on the screen; with one contact, line by line, when stdin is not a terminal or has no screen
    ///
    /// `?` where nothing is written shows all keys, and what the ticks mean. Several windows and processes of one home share one
    /// receiver: each shows what comes, and when the one that receives ends, another one does. For example `kuvert chat`,
    /// `kuvert chat bob --notify bell`.
    Chat(Chat),
    /// Fetch the files of a message, whatever their size, and write them where you want them
    ///
    /// Without `--to` they are put into this home's folder of files, and their places printed. Nothing is overwritten. A file that was
    /// sent to be shown once is written to `--to`, and nothing of it stays in this home. For example `kuvert save 7qk3mzpa`,
    /// `kuvert save 7qk3mzpa/2 --to photo.jpg`.
    Save(Save),
    /// Show the messages with a contact
    ///
    /// The time is that of writing; where a message came more than a minute later, it says when. A terminal gets the last 50, and how
    /// to see what stands before them; `--all` or a pipe get all. For example `kuvert history bob --since 2d`,
    /// `kuvert history bob --search lunch --limit 5`, `kuvert history bob --all | less`.
    History(History),
    /// Find a text in all conversations; the newest last
    ///
    /// Upper and lower case, composed and decomposed letters alike. For example `kuvert search "the key"`, or
    /// `kuvert search lunch --with bob`.
    Search(Search),
    /// Delete messages here: some by their ids, or a whole conversation
    ///
    /// They go from this home, and their bytes from its files; there is no way back. The other side keeps its own, and backups of
    /// this home have them still. A mark stays, without text and time, so that a message that is sent again stays out. A terminal is
    /// asked first; scripts say `--yes`. For example `kuvert history bob --ids`, then `kuvert delete bob 7qk3mzpa`;
    /// `kuvert delete bob --all`. To remove the contact, too: `kuvert contact remove bob --history`.
    Delete(DeleteHere),
    /// Write the messages with a contact into a new directory: as text, and as JSON lines
    ///
    /// `messages.txt` and `messages.jsonl` are readable by their owner only, and no longer encrypted. For example
    /// `kuvert export bob --to bob-2026`.
    Export(Export),
    /// Write this home into one encrypted file
    ///
    /// Account, keys, contacts, messages, and files that came, as they are now; a `kuvert receive` or a chat of this home goes on meanwhile.
    /// Who has the file and its passphrase has the account. Nothing is overwritten. For example `kuvert backup kuvert-2026-11.age`,
    /// and `kuvert backup /media/stick/kuvert.age --key-file kuvert.key` in a script. `kuvert restore` makes a home of it.
    Backup(Backup),
    /// Make a home of such a file
    ///
    /// The home is as it was when the backup was made: what came and was sent since then is not in it. What is sent from now on arrives, in both
    /// directions. The home that the backup was made of must be gone, or never be used again. For example
    /// `kuvert --home ~/kuvert restore kuvert-2026-11.age`.
    Restore(Restore),
    /// Show what the relay gets to know at this home's level, and choose when receipts are sent
    Disclosure(Disclosure),
    /// Your account at the relay: number, profile, address book; what it holds, corrections, terms, deletion
    #[command(subcommand)]
    Account(Account),
    /// `kuvert relay move ADDRESS`: your relay has moved. Everything else after `relay` goes to the program `kuvert-relay`
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Relay(Relay),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Write the manual pages into a directory
    Man(Man),
}

/// `kuvert register`
#[derive(Debug, ClapArgs)]
pub struct Register {
    /// The relay's address, as it prints it: kuvert://HOST:PORT#FINGERPRINT
    #[arg(long, value_name = "KUVERT_URL")]
    pub relay: String,
    /// A name by which others find you (a-z, 0-9, `-`, `_`, `.`); the relay knows it
    #[arg(long)]
    pub name: Option<String>,
    /// A phone number as E.164 writes it, +491701234567; not needed, and the relay knows it
    #[arg(long, value_name = "E164")]
    pub phone: Option<String>,
    /// The operator's invitation, where the relay registers invited people only
    #[arg(long, value_name = "CODE")]
    pub invitation: Option<String>,
}

/// `kuvert status`
#[derive(Debug, ClapArgs)]
pub struct Status {
    /// Do not ask the relay
    #[arg(long)]
    pub offline: bool,
}

/// `kuvert invite`
#[derive(Debug, ClapArgs)]
pub struct Invite {
    /// Draw it as a QR code, too
    #[arg(long)]
    pub qr: bool,
}

/// `kuvert delete`
#[derive(Debug, ClapArgs)]
pub struct DeleteHere {
    #[command(flatten)]
    pub who: Who,
    /// Ids of messages, or beginnings of them: `kuvert history WHO --ids` shows them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Delete the whole conversation
    #[arg(long)]
    pub all: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Give up texts among them that wait to be sent
    #[arg(long)]
    pub force: bool,
}

/// `kuvert search`
#[derive(Debug, ClapArgs)]
pub struct Search {
    /// What the messages contain. One that begins with a hyphen comes after `--`
    #[arg(value_name = "TEXT")]
    pub text: String,
    /// Only messages with this contact: alias, name or account
    #[arg(long, value_name = "WHO", value_hint = ValueHint::Username)]
    pub with: Option<String>,
}

/// `kuvert export`
#[derive(Debug, ClapArgs)]
pub struct Export {
    #[command(flatten)]
    pub who: Who,
    /// A directory that is not there yet; files that are here are copied into `files` in it
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// `kuvert contact …`
#[derive(Debug, Subcommand)]
pub enum Contact {
    /// Add a contact by name (trusted on first use) or by invite link (verified at once)
    Add {
        /// A name at your relay, or an invite link
        #[arg(value_name = "NAME|LINK")]
        who: String,
        /// What you call the contact; stays in this home
        #[arg(long = "as", value_name = "ALIAS")]
        alias: Option<String>,
    },
    /// List all contacts
    List,
    /// Call a contact or a request otherwise
    ///
    /// For example `kuvert contact rename bob "Bob from work"`.
    Rename {
        #[command(flatten)]
        who: Who,
        /// What you call the contact from now on; stays in this home
        #[arg(value_name = "ALIAS")]
        alias: String,
    },
    /// Remove a contact or a request: what it writes from then on is a request
    ///
    /// Alias, pinned key and verification go. Its messages stay, and `kuvert history ACCOUNT` shows them; with `--history` they go,
    /// too. For example `kuvert contact remove bob`. To hear nothing more of it, use `kuvert contact block`.
    Remove {
        #[command(flatten)]
        who: Who,
        /// Delete its messages, too
        #[arg(long)]
        history: bool,
        /// Give up texts that wait to be sent to it
        #[arg(long)]
        force: bool,
    },
    /// Say that the safety number was compared and is equal
    Verify(Who),
    /// List those who wrote and are no contacts: their messages wait until you accept or block them
    Requests,
    /// Accept a request, or the new key of a contact whose key changed
    Accept {
        #[command(flatten)]
        who: Who,
        /// What you call who made the request; stays in this home
        #[arg(long = "as", value_name = "ALIAS")]
        alias: Option<String>,
    },
    /// Block a contact or a request: what it sends is dropped unseen, and nothing is sent to it
    Block {
        #[command(flatten)]
        who: Who,
        /// Have the relay refuse what it sends under its name, too: the relay then knows whom you block
        #[arg(long)]
        at_relay: bool,
        /// Unblock it
        #[arg(long)]
        unblock: bool,
    },
}

/// One contact.
#[derive(Debug, ClapArgs)]
pub struct Who {
    /// A contact: alias, name or account
    #[arg(value_name = "WHO", value_hint = ValueHint::Username)]
    pub who: String,
}

/// `kuvert chat`
#[derive(Debug, ClapArgs)]
pub struct Chat {
    /// A contact whose conversation is opened: alias, name or account
    #[arg(value_name = "WHO", value_hint = ValueHint::Username)]
    pub who: Option<String>,
    /// Tell of texts that come, in conversations that are not muted
    #[arg(long, value_name = "HOW", default_value = "off")]
    pub notify: Notify,
    /// Say in the notification who wrote and what: others may see it
    #[arg(long)]
    pub notify_text: bool,
}

/// `kuvert safety-number`
#[derive(Debug, ClapArgs)]
pub struct SafetyNumber {
    #[command(flatten)]
    pub who: Who,
    /// Show it as a QR code, too
    #[arg(long)]
    pub qr: bool,
}

/// `kuvert send`
#[derive(Debug, ClapArgs)]
pub struct Send {
    #[command(flatten)]
    pub who: Who,
    /// The text; `-` or nothing reads it from stdin. One that begins with a hyphen comes after `--`
    #[arg(value_name = "TEXT|-")]
    pub text: Option<OsString>,
    /// Files to send with it, at most ten; the text comes before them, and may be left out
    #[arg(long = "file", value_name = "PATH", num_args = 1.., value_hint = ValueHint::FilePath, conflicts_with = "lines")]
    pub files: Vec<PathBuf>,
    /// Ask that the files be shown once and erased then; a request, which a program can ignore
    #[arg(long)]
    pub view_once: bool,
    /// Leave in pictures what they tell of place, time and camera
    #[arg(long)]
    pub original: bool,
    /// Send Ogg Opus as a voice note: this file, or those of `--file`
    #[arg(long, value_name = "FILE", num_args = 0..=1, value_hint = ValueHint::FilePath, conflicts_with = "lines")]
    #[expect(clippy::option_option, reason = "not given, given alone, given with a file")]
    pub voice: Option<Option<PathBuf>>,
    /// Only queue it; the next command that reaches the relay sends it
    #[arg(long)]
    pub offline: bool,
    /// Send every line of stdin as one message, as it comes
    ///
    /// Empty lines are left out. A line that cannot be sent (too long, not UTF-8) is named by its number and skipped; while the
    /// relay is away or the mailbox is full, lines are queued, and tried again with later ones. If any line was skipped or is
    /// still queued at the end, the exit code is 1.
    #[arg(long, conflicts_with = "offline")]
    pub lines: bool,
}

/// `kuvert receive`
#[derive(Debug, ClapArgs)]
pub struct Receive {
    /// Stay connected and show messages as they come
    #[arg(long)]
    pub follow: bool,
    /// Wait this many seconds at most for messages to come; with --follow, end after that time; 0: only what waits now
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// End after this many messages; 0 only sends what is queued
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// Fetch files of contacts up to this size, as in 500k, 16M, 1G, and in a day 256M of one contact and 1G in all; 0: none. `kuvert save` fetches others
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = size)]
    pub max_file: u64,
}

/// `kuvert save`
#[derive(Debug, ClapArgs)]
pub struct Save {
    /// A message's id, or its beginning; with `/2` behind it the second file alone. `kuvert history WHO --ids` shows ids
    #[arg(value_name = "MESSAGE_ID")]
    pub id: String,
    /// A directory that is there, or, for one file, a name that is not
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub to: Option<PathBuf>,
}

/// Bytes, as people write them: 1,024 to the step.
fn size(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let number = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match upper[number.len()..].trim_end_matches("IB").trim_end_matches('B') {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("a size is a number, alone or with k, M or G behind it".to_owned()),
    };
    let number: u64 = number.trim().parse().map_err(|_| "not a number of bytes".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "more bytes than there are".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn since(text: &str) -> Result<u64, String> {
    Zone::system().since(text, now_ms())
}

/// `kuvert history`
#[derive(Debug, ClapArgs)]
pub struct History {
    #[command(flatten)]
    pub who: Who,
    /// Only messages that contain this text, upper and lower case and composed and decomposed letters alike
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only what came or was written since then: 2026-11-21, 2026-11-21T14:00 (this machine's zone), 2026-11-21T14:00:00Z, 30m, 3h, 2d
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<u64>,
    /// Only what stands before a message, named by its id, or came before a time, as with `--since`
    #[arg(long, value_name = "ID|WHEN")]
    pub before: Option<String>,
    /// Only the last N of them; 0: none
    #[arg(short = 'n', long, visible_alias = "last", value_name = "N")]
    pub limit: Option<usize>,
    /// All of them, on a terminal, too
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Show the ids of messages, as `--before` and `kuvert delete` take them
    #[arg(long)]
    pub ids: bool,
}

/// `kuvert disclosure`
#[derive(Debug, ClapArgs)]
pub struct Disclosure {
    /// When receipts are sent from now on, whatever the level: at once, up to a minute late, or not at all
    #[arg(long, value_name = "WHEN")]
    pub receipts: Option<ReceiptsWhen>,
}

/// When receipts are sent.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum ReceiptsWhen {
    /// At once
    Now,
    /// Each after a random time up to a minute
    Late,
    /// Not at all
    Off,
}

/// `kuvert relay …`
#[derive(Debug, ClapArgs)]
pub struct Relay {
    /// Arguments of `kuvert-relay`; try `kuvert relay --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<OsString>,
}

/// Tell this home that its relay is at another address now
///
/// The relay there has to show the key that this home has pinned, and to know this device. Account, contacts and history stay.
#[derive(Debug, Parser)]
#[command(name = "move", bin_name = "kuvert relay move")]
pub struct RelayMove {
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The relay's address now, as it prints it, or an invite link of it: kuvert://HOST:PORT#FINGERPRINT
    #[arg(value_name = "KUVERT_URL|LINK")]
    pub address: String,
}

/// `kuvert completions`
#[derive(Debug, ClapArgs)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `kuvert man`
#[derive(Debug, ClapArgs)]
pub struct Man {
    /// Where to write the pages; made if it is not there
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_level_is_taken_before_and_behind_the_command_in_either_case() {
        for arguments in [["kuvert", "--level", "L2", "whoami"], ["kuvert", "whoami", "--level", "l2"]] {
            assert_eq!(Args::try_parse_from(arguments).unwrap().global.level, Some(Level::L2));
        }
        assert!(Args::try_parse_from(["kuvert", "whoami", "--level", "L4"]).is_err());
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("500", 500), ("16M", 16 << 20), ("16MiB", 16 << 20), ("1 k", 1024), ("2gb", 2 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "x", "-1", "1T", "99999999999G", "1.5M"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_come_behind_the_text_and_a_voice_note_with_or_without_its_name() {
        let given = send(&["hi", "--file", "a.jpg", "b.pdf", "--view-once"]).unwrap();
        assert_eq!((given.text, given.files.len(), given.view_once), (Some("hi".into()), 2, true));
        assert_eq!(send(&["--voice", "a.ogg"]).unwrap().voice, Some(Some("a.ogg".into())));
        assert_eq!(send(&["--file", "a.ogg", "--voice"]).unwrap().voice, Some(None));
        assert!(send(&["--file", "a", "--lines"]).is_err());
    }

    fn send(arguments: &[&str]) -> Result<Send, clap::Error> {
        let command = Args::try_parse_from(["kuvert", "send", "bob"].iter().chain(arguments))?.command;
        let Command::Send(send) = command else { panic!() };
        Ok(send)
    }

    #[test]
    fn a_text_that_begins_with_a_hyphen_comes_after_two_and_a_single_one_is_stdin() {
        assert_eq!(send(&["-"]).unwrap().text, Some("-".into()));
        for text in ["-5 °C", "--offline", "--", "-"] {
            assert_eq!(send(&["--", text]).unwrap().text, Some(text.into()));
        }
    }

    #[test]
    fn a_mistyped_option_is_no_text() {
        for arguments in [&["--offlin"] as &[&str], &["--offlin", "hi"], &["hi", "--offlin"], &["-5 °C"], &["-x"]] {
            assert!(send(arguments).is_err(), "{arguments:?}");
        }
        let error = send(&["--offlin"]).unwrap_err().to_string();
        assert!(error.contains("'--offline'"), "{error}");
    }

    /// Only what is handed to another program whole takes every word: that program looks at it.
    #[test]
    fn no_command_takes_unknown_options_for_values() {
        fn look(command: &clap::Command, path: &str) {
            for argument in command.get_arguments() {
                let handed_on = path == "kuvert relay" && argument.is_trailing_var_arg_set();
                assert!(handed_on || !argument.is_allow_hyphen_values_set(), "{path} {}", argument.get_id());
            }
            command.get_subcommands().for_each(|command| look(command, &format!("{path} {}", command.get_name())));
        }
        look(&Args::command(), "kuvert");
    }

    #[test]
    fn options_of_send_are_not_taken_for_its_text() {
        let Command::Send(send) = Args::try_parse_from(["kuvert", "send", "bob", "--offline", "hi"]).unwrap().command
        else {
            panic!()
        };
        assert!(send.offline);
        assert_eq!(send.text, Some("hi".into()));
    }

    #[test]
    fn everything_after_relay_is_the_relays() {
        let args = Args::try_parse_from(["kuvert", "--json", "relay", "inspect", "--data", "d", "--json"]).unwrap();
        assert!(args.global.json);
        let Command::Relay(relay) = args.command else { panic!() };
        assert_eq!(relay.arguments, ["inspect", "--data", "d", "--json"]);
    }
}
