//! Results in words. Every text that came from outside passes [`harmless`] first, and [`Layout`] then.

use crate::error::shell_word;
use crate::output::harmless;
use crate::output::layout::{Layout, indented};
use crate::output::record::{Attachment, DisclosedItem, Message, PermittedItem, Profile, Record, Status};
use crate::output::style::Painter;
use crate::output::time::Zone;
use kuvert_client::{MAX_AHEAD_MS, written_at};

/// Times of writing and of arrival that lie further apart are both told, milliseconds.
const ON_ITS_WAY_MS: u64 = 60 * 1000;

/// What a person reads, as wide as the screen; empty for what only scripts need.
pub fn show(record: &Record<'_>, painter: &Painter, layout: &Layout) -> String {
    match record {
        Record::Message(entry) => message(painter, layout, entry),
        // Nothing of these comes from another side, and some of it is there to be copied.
        Record::Registered { .. }
        | Record::Whoami { .. }
        | Record::Invite { .. }
        | Record::Disclosure { .. }
        | Record::Permissions { .. }
        | Record::DeletionExplained { .. } => layout.copied(&describe(record, painter)),
        _ => layout.words(&describe(record, painter)).into_owned(),
    }
}

fn describe(record: &Record<'_>, painter: &Painter) -> String {
    match record {
        Record::Registered { account, name, relay, .. } => {
            let known_as = match name {
                Some(name) => format!("You are registered as {}.", painter.person(&harmless::line(name))),
                None => "You are registered, without a name.".to_owned(),
            };
            format!(
                "{known_as}\n  account  {}\n  relay    {}\nNext: `kuvert invite` prints a link for others, `kuvert contact add NAME|LINK` adds one of them.",
                painter.faint(account),
                painter.faint(&harmless::line(relay)),
            )
        }
        Record::Whoami { account, device, name, relay, deleted_at, queued, unshown, level, .. } => {
            let mut out = format!(
                "{}\n  account  {account}\n  device   {device}\n  relay    {}\n  level    {level}: `kuvert disclosure` says what the relay is told",
                painter.person(&harmless::line(name.unwrap_or("(no name)"))),
                harmless::line(relay),
            );
            if let Some(at) = deleted_at {
                out.push_str(&format!("\n  deleted  {}", Zone::system().date_and_time(*at)));
            }
            if *queued > 0 {
                out.push_str(&format!("\n  queued   {queued} for the relay"));
            }
            if *unshown > 0 {
                out.push_str(&format!("\n  unread   {unshown}: `kuvert receive` shows them"));
            }
            out
        }
        Record::Status(status) => self::status(painter, status),
        Record::ContactRemoved { alias, account, given_up, kept, deleted } => {
            removed(painter, alias, account, *given_up, *kept, *deleted)
        }
        Record::Deleted { with, messages, given_up } => {
            let with = painter.person(&harmless::line(with));
            let given_up = match given_up {
                0 => String::new(),
                count => painter.warning(&format!(" {} not sent and given up.", number(*count, "text"))),
            };
            format!(
                "{} with {with} deleted here: the other side keeps its own.{given_up}",
                number(*messages, "message")
            )
        }
        Record::Exported { directory, messages, files } => format!(
            "{}{} written to {}: for your eyes only, and not encrypted",
            number(*messages, "message"),
            if *files > 0 { format!(" and {}", number(*files, "file")) } else { String::new() },
            harmless::line(directory)
        ),
        Record::Backup { file, bytes } => format!(
            "{}: {bytes} bytes, encrypted. Who has this file and what opens it has your account: keep them apart, and both safe",
            harmless::line(file)
        ),
        Record::Restored { home, account, .. } => format!(
            "{} holds the account {} again, as it was when the backup was made.\nNext: `kuvert receive` fetches what came since. Never use the home that the \
             backup was made of beside this one.",
            harmless::line(home),
            painter.faint(account)
        ),
        Record::Disclosure { level, receipts, items, costs } => disclosure(painter, level, receipts, items, costs),
        Record::Permissions { items, .. } => permissions(painter, items),
        Record::Invite { link } => (*link).to_owned(),
        Record::Contact { alias, account, name, verified, blocked, key_changed, request } => {
            let trust = trust(painter, *verified, *key_changed, *request);
            contact(painter, alias, account, *name, &trust, *blocked)
        }
        Record::PhoneCodeRequested { phone } => format!(
            "a code is on its way to {}: give it with `kuvert account verify CODE` within ten minutes. A relay without \
             a gateway for text messages writes it into its log instead; ask its operator.",
            harmless::line(phone)
        ),
        Record::PhoneVerified { phone, moved } => {
            let before = if *moved { " Another account had it before, and has it no longer." } else { "" };
            format!("{} is {}.{before}", harmless::line(phone), painter.good("verified"))
        }
        Record::Profile(found) => profile(found, painter),
        Record::AddressBookMatch { phone, account } => format!("{}  {}", harmless::line(phone), painter.faint(account)),
        Record::AddressBook { people: 0, .. } => "The relay has no address book of yours.".to_owned(),
        Record::AddressBook { people, without_account } => format!(
            "{people} people uploaded.\n{}",
            painter.warning(&format!(
                "{without_account} people without an account are now known to the relay: they were not asked"
            ))
        ),
        Record::SafetyNumber { who, digits, verified } => safety_number(painter, who, digits, *verified),
        Record::Accepted { to, sealed, .. } => {
            let (sent, to) = (painter.good("sent"), painter.person(&harmless::line(to)));
            let unnamed = if *sealed == Some(true) { ", without your name" } else { "" };
            format!("{sent} to {to}{unnamed}: the relay has it on disk")
        }
        Record::Queued { to, .. } => format!(
            "{} for {}: the next command that reaches the relay sends it",
            painter.warning("queued"),
            painter.person(&harmless::line(to))
        ),
        Record::Message(entry) => message(painter, &Layout::new(None, None, false), entry),
        // Drawn on stderr.
        Record::Progress { .. } => String::new(),
        Record::File { from, attachment, error, .. } => {
            let from = painter.person(&harmless::line(from));
            match error {
                None => format!("{from}: {}", file(painter, attachment)),
                Some(_) => painter.warning(&format!(
                    "a file of {} could not be fetched: {}",
                    from,
                    harmless::line(&attachment.name)
                )),
            }
        }
        Record::Saved { name, path, size, .. } => {
            format!("{} {} is at {}", harmless::line(name), painter.faint(&bytes(*size)), harmless::line(path))
        }
        Record::Receipt { from, kind, .. } => {
            let ticks = if *kind == "read" { "✓✓ read by" } else { "✓ delivered to" };
            painter.faint(&format!("{ticks} {}", harmless::line(from)))
        }
        Record::Expired { count } => {
            let (letters, they) = if *count == 1 { ("letter was", "it") } else { ("letters were", "they") };
            painter.warning(&format!(
                "{count} {letters} deleted by the relay unread, because {they} waited for too long: ask those who may have written"
            ))
        }
        Record::IdentityChanged { who, .. } => {
            let who = harmless::line(who);
            let word = shell_word(&who);
            painter.warning(&format!(
                "the key of {who} changed: {who} registered anew, or another party is in between, the relay for instance. Nothing is \
                 sent to {who} until you compare `kuvert safety-number {word}`, and then run `kuvert contact accept {word}`"
            ))
        }
        Record::Request { alias, account } => {
            let alias = harmless::line(alias);
            let word = shell_word(&alias);
            painter.warning(&format!(
                "{alias} ({account}) is no contact of yours and wrote: `kuvert contact accept {word}`, or `kuvert contact block {word}`"
            ))
        }
        Record::Notice { message, .. } => painter.warning(&indented(&harmless::text(message))),
        Record::RelayMoved { relay, before } => {
            format!("The relay is at {} now; it was at {}.", harmless::line(relay), harmless::line(before))
        }
        Record::Corrected { name } => match name {
            Some(name) => format!("Corrected: others find you as {}.", painter.person(&harmless::line(name))),
            None => "Corrected: you have no name at the relay.".to_owned(),
        },
        Record::ReportRequested { ready_at } => {
            format!("The report is asked for, and ready on {}.", Zone::system().date_and_time(*ready_at))
        }
        Record::Report { directory, files, kept_until } => format!(
            "{files} files in {directory}: open index.html to read them. The relay keeps its copy until {}.",
            Zone::system().date_and_time(*kept_until)
        ),
        Record::Policy { version, paragraphs, .. } => {
            let paragraphs: Vec<String> = paragraphs.iter().map(|text| format!("  {}", harmless::line(text))).collect();
            format!("Terms of {}\n{}", painter.person(&harmless::line(version)), paragraphs.join("\n"))
        }
        Record::Consent { version, accepted_at, advertising, objected_at, objection_until } => {
            let zone = Zone::system();
            let advertising = match (advertising, objected_at, objection_until) {
                (false, ..) => "refused when accepting".to_owned(),
                (true, Some(at), _) => format!("refused {}", zone.date_and_time(*at)),
                (true, None, Some(until)) => format!("yes; can be refused until {}", zone.date_and_time(*until)),
                (true, None, None) => "yes; can be reduced at any time".to_owned(),
            };
            let (version, at) = (harmless::line(version), zone.date_and_time(*accepted_at));
            format!("Accepted {}  {at}  advertising: {advertising}", painter.person(&version))
        }
        Record::DeletionExplained { account, goes, stays } => format!(
            "Deleting the account {account}\n\nGoes at once:\n{}\n\nStays:\n{}\n\n{}",
            list(goes),
            list(stays),
            painter.warning("Nothing was deleted: `kuvert account delete --yes` does it, for good."),
        ),
        Record::AccountDeleted { account } => {
            format!("The account {account} is deleted at the relay. This home's history can still be read.")
        }
        Record::CaughtUp {} => String::new(),
        Record::Error { message, .. } => indented(&harmless::text(message)).into_owned(),
    }
}

/// `1 text`, `2 texts`.
pub fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn removed(painter: &Painter, alias: &str, account: &str, given_up: u64, kept: u64, deleted: u64) -> String {
    let mut out =
        format!("{} is removed: what it writes from now on is a request.", painter.person(&harmless::line(alias)));
    if given_up > 0 {
        out.push_str(&format!(
            "\n  {}",
            painter.warning(&format!("{} not sent and given up", number(given_up, "text")))
        ));
    }
    match (kept, deleted) {
        (0, 0) => {}
        (0, deleted) => out.push_str(&format!("\n  {} deleted", number(deleted, "message"))),
        (kept, _) => {
            out.push_str(&format!("\n  {} kept: `kuvert history {account}`", number(kept, "message")));
        }
    }
    out
}

fn status(painter: &Painter, status: &Status<'_>) -> String {
    let relay = match (status.reachable, status.answer_ms) {
        (Some(true), Some(took)) => painter.good(&format!("answers after {took} ms")),
        (None, _) => painter.faint("not asked"),
        _ => painter.warning(&harmless::line(status.relay_words.unwrap_or("does not answer"))),
    };
    let count = |count: u64, what: &str| if count == 0 { "none".to_owned() } else { number(count, what) };
    let mut rows = vec![
        ("account", status.account.to_owned()),
        ("relay", format!("{}  {relay}", harmless::line(status.relay))),
        ("clock", status.clock_ahead_ms.map_or_else(|| "not compared".to_owned(), |ahead| clock(painter, ahead))),
        (
            "queue",
            if status.queued == 0 { "empty".to_owned() } else { painter.warning(&number(status.queued, "text")) },
        ),
        ("unread", count(status.unread, "message")),
        ("requests", count(status.requests, "account")),
    ];
    if let Some(waiting @ 1..) = status.waiting {
        rows.insert(4, ("at relay", format!("{} for this device", number(waiting, "envelope"))));
    }
    if status.changed_keys > 0 {
        rows.push(("keys", painter.warning(&format!("{} with a changed key", number(status.changed_keys, "contact")))));
    }
    if let Some(at) = status.copy_seen_at {
        let words = format!("another copy of this home was in use, {}", Zone::system().date_and_time(at));
        rows.push(("copy", painter.warning(&words)));
    }
    rows.push(("level", status.level.to_owned()));
    let (version, protocol, store) = (status.version, status.protocol, status.store);
    rows.push(("version", format!("kuvert {version}, protocol {protocol}, store {store}")));
    rows.push(("next", status.next_words.to_owned()));
    let rows: Vec<String> = rows.iter().map(|(what, text)| format!("  {what:<8}  {text}")).collect();
    format!("{}\n{}", painter.person(&harmless::line(status.name.unwrap_or("(no name)"))), rows.join("\n"))
}

/// How this machine's clock compares with the relay's.
fn clock(painter: &Painter, ahead_ms: i64) -> String {
    let apart = ahead_ms.unsigned_abs();
    let which = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let long = match apart / 1000 {
        0 | 1 => return "agrees with the relay's".to_owned(),
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    };
    let words = format!("{long} {which} the relay's");
    if apart > MAX_AHEAD_MS { painter.warning(&words) } else { words }
}

fn disclosure(painter: &Painter, level: &str, receipts: &str, items: &[DisclosedItem<'_>], costs: &str) -> String {
    let mut out = format!("What the relay gets to know at {}\n", painter.person(level));
    for DisclosedItem { title, relay, why, item: _ } in items {
        // Padded before it is painted: colours have a width of their own.
        let relay = match *relay {
            "no" => painter.good("no    "),
            "yes" => painter.warning("yes   "),
            _ => "partly".to_owned(),
        };
        out.push_str(&format!("  {title:<26}  {relay}  {why}\n"));
    }
    out.push_str(&format!("Receipts: {receipts}. Costs: {costs}."));
    out
}

fn permissions(painter: &Painter, items: &[PermittedItem<'_>]) -> String {
    let mut out =
        "SIMULATED: this program runs on no phone and reads none of this. What a phone would allow:\n".to_owned();
    for PermittedItem { permission, title, granted, told, row: _ } in items {
        let granted = if *granted { painter.warning("granted") } else { painter.good("denied ") };
        let told = told.map(|told| format!("the relay is told “{told}”")).unwrap_or_default();
        out.push_str(format!("  {permission:<16}  {granted}  {title:<50}{told}").trim_end());
        out.push('\n');
    }
    out + "What is not granted is not sent."
}

fn list(points: &[&str]) -> String {
    points.iter().map(|point| format!("  - {point}")).collect::<Vec<_>>().join("\n")
}

fn trust(painter: &Painter, verified: bool, key_changed: bool, request: bool) -> String {
    match (request, key_changed, verified) {
        (true, ..) => painter.warning("request, not accepted"),
        (_, true, _) => painter.warning("key changed"),
        (_, _, true) => painter.good("verified"),
        _ => painter.faint("not verified"),
    }
}

fn contact(painter: &Painter, alias: &str, account: &str, name: Option<&str>, trust: &str, blocked: bool) -> String {
    let name =
        name.filter(|name| *name != alias).map(|name| format!(" ({})", harmless::line(name))).unwrap_or_default();
    let blocked = if blocked { painter.warning("  blocked") } else { String::new() };
    format!("{}{name}  {trust}{blocked}  {}", painter.person(&harmless::line(alias)), painter.faint(account))
}

fn profile(profile: &Profile<'_>, painter: &Painter) -> String {
    let zone = Zone::system();
    let who =
        profile.alias.map_or_else(|| "Your profile at the relay".to_owned(), |alias| harmless::line(alias).into());
    let mut out = painter.person(&who);
    let picture = profile.picture_bytes.map(|bytes| format!("{bytes} bytes"));
    let parts = [
        ("name", profile.display_name, profile.display_name_at),
        ("e-mail", profile.email, profile.email_at),
        ("about", profile.about, profile.about_at),
        ("picture", picture.as_deref(), profile.picture_at),
        ("phone", profile.phone, profile.phone_at),
    ];
    for (what, text, at) in parts {
        if let Some(text) = text {
            let at = at.map(|at| painter.faint(&format!("  {}", zone.date_and_time(at)))).unwrap_or_default();
            out.push_str(&format!("\n  {what:<8} {}{at}", harmless::line(text)));
        }
    }
    out.push_str(match (profile.alias, profile.public) {
        (None, true) => "\n  public: every user who looks your account up sees name, about text and picture",
        (None, false) => "\n  not public",
        (Some(_), true) => "",
        (Some(_), false) => "\n  nothing is public",
    });
    out
}

/// Twelve groups of five digits in three rows, as one reads them out.
fn safety_number(painter: &Painter, who: &str, digits: &str, verified: bool) -> String {
    let who = harmless::line(who);
    let groups: Vec<&str> = digits.as_bytes().chunks(5).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    let rows: Vec<String> = groups.chunks(4).map(|row| format!("    {}", row.join(" "))).collect();
    let state = if verified {
        painter.good("verified")
    } else {
        format!("Equal on both sides? Then `kuvert contact verify {}`.", shell_word(&who))
    };
    format!("Safety number with {}\n\n{}\n\n{state}", painter.person(&who), rows.join("\n"))
}

fn message(painter: &Painter, layout: &Layout, message: &Message<'_>) -> String {
    let at = times(&Zone::system(), message);
    let from = harmless::line(message.from);
    let from = match (message.direction, message.with) {
        ("out", Some(with)) => format!("{} to {}", painter.faint(&from), painter.person(&harmless::line(with))),
        ("out", None) => painter.faint(&from),
        _ => painter.person(&from),
    };
    let tick = match message.state {
        Some("queued") => format!(" {}", painter.warning("(waits in the queue)")),
        Some("delivered") => format!(" {}", painter.faint("✓")),
        Some("failed") => format!(" {}", painter.warning("(not sent)")),
        Some("read") => format!(" {}", painter.good("✓✓")),
        _ if message.request => format!(" {}", painter.warning("(request)")),
        _ => String::new(),
    };
    let text = harmless::text(message.text);
    let mut text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
    for attachment in message.attachments {
        let before = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{before}{}", file(painter, attachment)));
    }
    let text = text.as_str();
    // Behind the time: nothing but a time stands at the edge.
    let id = if message.show_id { format!("  {}", painter.faint(message.id)) } else { String::new() };
    layout.message(&format!("{}{id}  {from}: ", painter.faint(&at)), &(faint_marks(painter, text) + &tick))
}

/// A file as a line: what it is called, how large it is, whether it is here.
pub fn file(painter: &Painter, file: &Attachment) -> String {
    let state = match (file.state, &file.path) {
        ("here", Some(path)) => painter.good(&harmless::line(path)),
        ("here", None) => painter.good("here"),
        ("partial", _) => painter.warning(&format!("on its way: `kuvert save {}`", file.id)),
        ("gone", _) => painter.faint("gone"),
        _ => painter.warning(&format!("at the relay: `kuvert save {}`", file.id)),
    };
    let once = if file.view_once { ", to be shown once" } else { "" };
    let length = file.duration_ms.map(|ms| format!(", {} s", ms.div_ceil(1_000))).unwrap_or_default();
    let pixels = file.width.zip(file.height).map(|(width, height)| format!(", {width}×{height}")).unwrap_or_default();
    format!("[{} {}{pixels}{length}{once}] {state}", harmless::line(&file.name), bytes(file.size))
}

/// A size for people.
#[expect(clippy::cast_precision_loss, reason = "one decimal")]
pub fn bytes(size: u64) -> String {
    match size {
        0..1_024 => number(size, "byte"),
        1_024..1_048_576 => format!("{:.1} KiB", size as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", size as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", size as f64 / 1_073_741_824.0),
    }
}

/// When a message was written, and when it came, where that is another time.
fn times(zone: &Zone, message: &Message<'_>) -> String {
    let Some(came) = message.received_at else { return zone.date_and_time(message.sent_at) };
    let sent = written_at(message.sent_at, came);
    let at = zone.date_and_time(sent);
    if came <= sent.saturating_add(ON_ITS_WAY_MS) {
        return at;
    }
    let came = if zone.day(came) == zone.day(sent) { zone.time_of_day(came) } else { zone.date_and_time(came) };
    format!("{at}, came {came}")
}

/// What is shown in place of unseen characters, less bright than what was written.
fn faint_marks(painter: &Painter, text: &str) -> String {
    let [open, close] = harmless::MARKS;
    let mut parts = text.split(open);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(close) {
            Some((mark, rest)) if mark.starts_with("U+") => {
                out.push_str(&painter.faint(&format!("{open}{mark}{close}")));
                out.push_str(rest);
            }
            _ => {
                out.push(open);
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(text: &str) -> String {
        let message = Message {
            id: "i",
            from: "mallory",
            account: "a",
            text,
            attachments: &[],
            sent_at: 1_795_262_400_000,
            received_at: Some(1_795_262_400_000),
            direction: "in",
            state: None,
            request: false,
            with: None,
            show_id: false,
        };
        show(&Record::Message(message), &Painter::new(false), &Layout::new(None, Some(80), true))
    }

    #[test]
    fn received_text_cannot_command_the_terminal() {
        let shown = received("\x1b[2J\x1b[H\u{9b}1mhello\r");
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }

    #[test]
    fn the_time_is_that_of_writing_unless_it_lies_ahead() {
        const RECEIVED: u64 = 1_795_262_400_000;
        let line = |sent_at| {
            let message = Message {
                id: "i",
                from: "bob",
                account: "a",
                text: "t",
                attachments: &[],
                sent_at,
                received_at: Some(RECEIVED),
                direction: "in",
                state: None,
                request: false,
                with: None,
                show_id: false,
            };
            show(&Record::Message(message), &Painter::new(false), &Layout::new(None, Some(80), true))
        };
        let at = |ms| Zone::system().date_and_time(ms);
        for (sent_at, shown) in [
            (RECEIVED - 86_400_000, RECEIVED - 86_400_000),
            (0, 0),
            (RECEIVED + 5 * 60_000, RECEIVED + 5 * 60_000),
            (RECEIVED + 5 * 60_000 + 1, RECEIVED),
            (u64::MAX, RECEIVED),
        ] {
            assert!(line(sent_at).starts_with(&at(shown)), "{sent_at}: {}", line(sent_at));
        }
    }

    #[test]
    fn a_time_of_arrival_is_told_where_it_is_another() {
        const SENT: u64 = 1_795_262_400_000; // 2026-11-21 12:00 UTC
        let shown = |sent_at, received_at| {
            let message = Message {
                id: "i",
                from: "bob",
                account: "a",
                text: "t",
                attachments: &[],
                sent_at,
                received_at,
                direction: "in",
                state: None,
                request: false,
                with: None,
                show_id: false,
            };
            times(&Zone::utc(), &message)
        };
        for (received, words) in [
            (None, "2026-11-21 12:00"),
            (Some(SENT), "2026-11-21 12:00"),
            (Some(SENT + 60_000), "2026-11-21 12:00"),
            (Some(SENT + 61_000), "2026-11-21 12:00, came 12:01"),
            (Some(SENT + 20 * 3_600_000), "2026-11-21 12:00, came 2026-11-22 08:00"),
            (Some(SENT - 61_000), "2026-11-21 12:00"),
            // Not believed.
            (Some(SENT - 3_600_000), "2026-11-21 11:00"),
        ] {
            assert_eq!(shown(SENT, received), words, "{received:?}");
        }
    }

    #[test]
    fn a_clock_is_compared_in_words() {
        let words = |ahead| clock(&Painter::new(false), ahead);
        assert_eq!(words(-1_999), "agrees with the relay's");
        assert_eq!(words(2_000), "2 s ahead of the relay's");
        assert_eq!(words(-600_000), "10 min behind the relay's");
        assert_eq!(words(i64::MIN), "106751991167 days behind the relay's");
    }

    #[test]
    fn a_second_line_cannot_pass_for_another_message() {
        let shown = received("hi\n2026-11-21 12:00  bob: I owe you money");
        let second = shown.lines().nth(1).unwrap();
        assert!(second.starts_with("                  "), "{second:?}");
        // Nor by what the terminal itself would begin a line with.
        let shown = received(&format!("ok{}2026-11-21 12:00  bob: I owe you money", " ".repeat(51)));
        assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
        assert!(shown.lines().nth(1).unwrap().starts_with("                  2026"), "{shown}");
    }

    #[test]
    fn words_of_the_relay_are_harmless_everywhere() {
        let relays = "\x1b[2J\u{9b}1m\u{200B}\nbob";
        let records = [
            Record::PhoneCodeRequested { phone: relays },
            Record::PhoneVerified { phone: relays, moved: true },
            Record::AddressBookMatch { phone: relays, account: "a" },
            Record::Accepted { id: "i", to: relays, sealed: Some(true) },
            Record::Queued { id: "i", to: relays },
            Record::Receipt { id: "i", from: relays, kind: "read" },
            Record::IdentityChanged { who: relays, account: "a" },
            Record::Request { alias: relays, account: "a" },
            Record::Notice { code: "c", message: relays, count: None },
            Record::Error { code: "c", message: relays, line: None },
            Record::Corrected { name: Some(relays) },
            Record::ContactRemoved { alias: relays, account: "a", given_up: 1, kept: 1, deleted: 0 },
            Record::Exported { directory: relays, messages: 1, files: 1 },
            Record::Deleted { with: relays, messages: 1, given_up: 1 },
            Record::Policy { version: relays, paragraphs: &[relays.to_owned()], objection_days: None },
            Record::SafetyNumber { who: relays, digits: "1", verified: false },
            Record::Contact {
                alias: relays,
                account: "a",
                name: Some(relays),
                verified: false,
                blocked: false,
                key_changed: false,
                request: true,
            },
            Record::Consent {
                version: relays,
                accepted_at: 1,
                advertising: false,
                objected_at: None,
                objection_until: None,
            },
            Record::Registered { account: "a", device: 1, address: "a.1", name: Some(relays), relay: relays },
        ];
        for record in records {
            let shown = show(&record, &Painter::new(false), &Layout::new(None, None, false));
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{record:?}: {shown:?}");
            assert!(!shown.contains('\u{200B}') && !shown.contains("\nbob"), "{record:?}: {shown:?}");
        }
    }

    #[test]
    fn safety_numbers_stand_in_groups_of_five() {
        let digits: String = (0..60).map(|i| char::from(b'0' + i % 10)).collect();
        let shown =
            describe(&Record::SafetyNumber { who: "bob", digits: &digits, verified: true }, &Painter::new(false));
        assert_eq!(shown.matches("01234 56789 01234 56789").count(), 3);
    }
}
