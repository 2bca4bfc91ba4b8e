use kuvert_client::Direction::{Incoming, Outgoing};
use kuvert_client::{MessageRecord, MessageState};

use unicode_segmentation::UnicodeSegmentation as _;

use super::*;
use crate::chat::input::Input;
use crate::chat::list::tests::row;
use crate::chat::list::{List, Row};
use crate::chat::notify::Notify;
use crate::chat::talk::tests::{contact, message};
use crate::chat::talk::{Move, Piece, Talk};

const NOON: u64 = 1_795_262_400_000; // 2026-11-21 12:00 UTC
const DAY: u64 = 86_400_000;

fn rows() -> Vec<Row> {
    let bob = Row { preview: "東京 is far".into(), at: Some(NOON), ..row(2, "bob", 9) };
    let carol = Row {
        preview: "see you then, at the station".into(),
        at: Some(NOON - DAY),
        unread: 3,
        muted: true,
        ..row(3, "Carol from the choir", 8)
    };
    let dave = Row { own: Some(MessageState::Read), preview: "fine".into(), draft: true, ..row(4, "dave", 7) };
    let stranger = Row { request: true, preview: "hello you".into(), at: Some(NOON), ..row(5, "5mzx2qka", 6) };
    vec![bob, carol, dave, stranger]
}

fn state(messages: Vec<MessageRecord>) -> State {
    let mut state = State::new(List { rows: rows(), selected: None }, Notify::Off);
    state.open(Talk::new(contact(2, "bob"), String::new(), Piece { messages, older: false, newer: false }));
    state.status = Status::Connected;
    state
}

fn conversation() -> Vec<MessageRecord> {
    let mut read = message(2, Outgoing, "Hi! This is a somewhat longer answer than that.", NOON);
    read.state = MessageState::Read;
    (read.delivered_at, read.read_at) = (Some(NOON + 60_000), Some(NOON + 180_000));
    vec![
        message(1, Incoming, "Hello", NOON - DAY),
        read,
        message(3, Outgoing, "more", NOON + 1000),
        message(4, Incoming, "東京", NOON + 2000),
    ]
}

fn screen(state: &mut State, columns: usize, rows: usize) -> Vec<String> {
    let mut canvas = Canvas::new(columns, rows);
    draw(&mut canvas, state, Light { zone: &Zone::utc(), now: NOON });
    canvas.text()
}

#[test]
fn list_and_conversation_stand_side_by_side() {
    let mut state = state(conversation());
    state.talk.as_mut().unwrap().input.insert("next");
    assert_eq!(
        screen(&mut state, 80, 14),
        [
            " Conversations          │ bob  verified                               connected",
            "▌bob              12:00 │",
            "▌ 東 京  is far           │",
            " Carol from the c…  Fri │",
            "  see you th… muted (3) │ ───────────────────── Yesterday ─────────────────────",
            " dave                   │ 12:00  bob  Hello",
            "  draft fine            │ ─────────────────────── Today ───────────────────────",
            "── Requests ────────────│ 12:00  you  Hi! This is a somewhat longer answer   ✓✓",
            " 5mzx2qka         12:00 │             than that.",
            "  hello you             │             more                                   …",
            "                        │ 12:00  bob  東 京",
            "                        │───────────────────────────────────────────────────────",
            "                        │ › next",
            " F1 help  Ctrl-N next  Tab list  Ctrl-F search  Ctrl-C leave",
        ]
    );
}

#[test]
fn in_a_narrow_window_names_stand_above_texts_and_the_list_is_a_view_of_its_own() {
    let mut state = state(conversation());
    let shown = screen(&mut state, 40, 14);
    assert_eq!(
        shown[..11],
        [
            " bob  verified                connected",
            " ───────────── Yesterday ─────────────",
            " 12:00  bob",
            " │ Hello",
            " ─────────────── Today ───────────────",
            " 12:00  you",
            " │ Hi! This is a somewhat longer     ✓✓",
            " │ answer than that.",
            " │ more                              …",
            " 12:00  bob",
            " │ 東 京",
        ]
    );
    state.focus = Focus::List;
    let list = screen(&mut state, 40, 14);
    assert!(list[0].starts_with(" Conversations") && list[1].starts_with("▌bob"), "{list:?}");
    assert!(list.iter().any(|line| line.contains("Carol from the choir")), "{list:?}");
    assert!(!list.iter().any(|line| line.contains("Hello")), "{list:?}");
}

#[test]
fn receipts_are_told_in_words_when_asked_for() {
    let mut state = state(conversation());
    state.in_words = true;
    let shown = screen(&mut state, 140, 30).join("\n");
    assert!(shown.contains("sent 12:00, delivered 12:01, read 12:03"), "{shown}");
    assert!(shown.contains("written 12:00, waits until the relay can be reached"), "{shown}");
}

#[test]
fn texts_stand_in_order_of_arrival_with_the_time_of_writing() {
    let late = MessageRecord { sent_at: NOON - DAY, ..message(2, Incoming, "written yesterday", NOON) };
    let ahead = MessageRecord { sent_at: NOON + DAY, ..message(3, Incoming, "from tomorrow", NOON) };
    let mut state = state(vec![message(1, Incoming, "first", NOON), late, ahead]);
    state.in_words = true;
    let shown = screen(&mut state, 80, 18);
    let of = |needle: &str| shown.iter().position(|line| line.contains(needle)).unwrap();
    assert!(of("first") < of("Yesterday") && of("Yesterday") < of("written yesterday"), "{shown:?}");
    assert!(shown[of("written yesterday") + 1].contains("written 12:00, came 2026-11-21 12:00"), "{shown:?}");
    let rest = &shown[of("written yesterday") + 2..];
    assert!(rest[0].contains("Today") && rest[1].contains("12:00  bob  from tomorrow"), "{shown:?}");
}

#[test]
fn a_line_says_where_unread_messages_begin_and_what_is_below_is_counted() {
    let mut messages: Vec<_> =
        (1..60).map(|place| message(place, Incoming, &format!("message {place}"), NOON)).collect();
    messages[9].state = MessageState::Unshown;
    let mut state = state(messages);
    let shown = screen(&mut state, 80, 12);
    assert!(shown[1].contains("unread from here") && shown[2].ends_with("message 10"), "{shown:?}");
    let mut canvas = Canvas::new(80, 12);
    let picture = draw(&mut canvas, &mut state, Light { zone: &Zone::utc(), now: NOON });
    let seen = picture.seen.unwrap();
    assert_eq!(seen.1, 16, "what stands below the edge is not seen: {shown:?}");
    assert!(shown.iter().any(|line| line.contains("older messages; End: the newest")), "{shown:?}");
}

#[test]
fn a_request_says_what_accepting_and_blocking_mean_and_takes_no_text() {
    let mut stranger = contact(2, "5mzx2qka");
    stranger.request = true;
    let mut state = state(Vec::new());
    state.open(Talk::new(stranger, String::new(), Piece::default()));
    for columns in [40, 80, 140] {
        let shown = screen(&mut state, columns, 24).join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        for words in ["a request, not accepted", "a accept:", "b block:", "not even that you read this"] {
            let whole = words.split(' ').all(|word| shown.contains(word));
            assert!(whole, "{columns} {words}: {shown}");
        }
    }
}

/// A text that tries to look like something else wherever it stands.
const EVIL: &str = "x                                                   12:00  carol  I owe you\n\u{1b}[2J\u{202e}abc 👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧 שלום שלום שלום مرحبا 東京東京東京東京東京東京東京東京 \u{200b}";

#[test]
fn no_size_of_the_terminal_is_too_small_and_no_text_leaves_its_pane() {
    for columns in (1..30).chain([39, 40, 59, 60, 61, 80, 140]) {
        for rows in 1..14 {
            let mut state = state(vec![message(1, Incoming, EVIL, NOON), message(2, Outgoing, EVIL, NOON)]);
            state.list.rows[0].preview = harmless(EVIL);
            state.list.rows[0].alias = harmless(EVIL);
            state.talk.as_mut().unwrap().input.insert(EVIL);
            for over in [Over::None, Over::Help(3), Over::Ask(Input::default())] {
                state.over = over;
                for focus in [Focus::List, Focus::Talk] {
                    state.focus = focus;
                    for line in screen(&mut state, columns, rows) {
                        assert!(!line.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{line:?}");
                    }
                }
            }
        }
    }
    // In two panes the rule between them stands in its column in every row: each character has its place, however wide a terminal
    // draws the one before.
    let mut state = state(vec![message(1, Incoming, EVIL, NOON)]);
    state.list.rows[0].preview = harmless(EVIL);
    state.list.rows[0].alias = harmless("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧");
    let shown = screen(&mut state, 80, 20);
    for line in &shown[..19] {
        let isolates = ['\u{2068}', '\u{2069}'];
        let cells = line.graphemes(true).filter(|cell| !cell.starts_with(isolates));
        assert_eq!(cells.collect::<Vec<_>>().iter().position(|cell| *cell == "│"), Some(24), "{line:?}");
    }
    // In one pane a line of a text begins behind the gutter, always.
    let narrow = screen(&mut state, 40, 20);
    let begin = narrow.iter().position(|line| line.contains("bob") && line.contains("12:00")).unwrap();
    for line in narrow[begin + 1..].iter().take_while(|line| !line.starts_with('─')) {
        assert!(line.starts_with(" │ "), "{narrow:?}");
    }
}

fn harmless(text: &str) -> String {
    harmless::line(text).into_owned()
}

#[test]
fn the_chosen_conversation_is_on_the_screen_and_rows_know_what_stands_in_them() {
    let mut state = state(Vec::new());
    state.list.rows =
        (1..100).map(|number| row(number, &format!("contact {number}"), 200 - u64::from(number))).collect();
    state.focus = Focus::List;
    state.list.selected = Some(state.list.rows[60].id);
    let shown = screen(&mut state, 80, 24);
    let there = shown.iter().position(|line| line.starts_with("▌contact 61")).unwrap();
    assert_eq!(state.drawn.list[there], state.list.selected);
    assert_eq!(state.drawn.list[0], None);
}

#[test]
fn the_help_says_what_every_tick_means_at_every_width() {
    for columns in [40, 80, 140] {
        let mut state = state(Vec::new());
        state.over = Over::Help(0);
        let mut all = String::new();
        for _ in 0..9 {
            all += &screen(&mut state, columns, 24).join(" ");
            if let Over::Help(line) = &mut state.over {
                *line += 20;
            }
        }
        for words in ["delivered:", "read:", "Alt-Enter", "suspend;", "//TEXT"] {
            assert!(all.contains(words), "{columns} {words}");
        }
    }
}

#[test]
fn scrolling_shows_the_beginning_and_stops_there() {
    let history: Vec<_> = (1..51).map(|i| message(i, Incoming, &format!("message {i}"), NOON + i)).collect();
    let mut state = state(history);
    assert!(screen(&mut state, 40, 10).iter().any(|line| line.ends_with("message 50")));
    for _ in 0..20 {
        state.talk.as_mut().unwrap().go(Move::PageUp);
        screen(&mut state, 40, 10);
    }
    let top = screen(&mut state, 40, 10);
    assert!(top[1].contains("Today") && top[3].ends_with("message 1"), "{top:?}");
}
