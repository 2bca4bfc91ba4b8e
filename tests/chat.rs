//! The chat's screen in a pseudo-terminal, as a person sees it: real homes, a relay, several windows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::window::Window;
use support::{Home, Relay, Unread, acquainted, alice_and_bob, all, eventually, find, texts};

/// Keys that terminals send.
const ENTER: &str = "\r";
const ALT_ENTER: &str = "\u{1b}\r";
const PAGE_UP: &str = "\u{1b}[5~";
const F2: &str = "\u{1b}OQ";

fn control(key: char) -> String {
    char::from_u32(u32::from(key) & 0x1f).unwrap().to_string()
}

fn chat(home: &Home, who: &str) -> Window {
    Window::open(home.typed(&["chat", who]), 80)
}

/// A chat with all conversations, in a window of so many columns.
fn chats(home: &Home, columns: u16) -> Window {
    let mut window = Window::open(home.typed(&["chat"]), columns);
    window.until_shown("Conversations");
    window
}

fn row_with<'a>(rows: &'a [String], wanted: &str) -> &'a str {
    rows.iter().find(|row| row.contains(wanted)).unwrap_or_else(|| panic!("no {wanted}:\n{}", rows.join("\n")))
}

/// In the conversation, not in the list.
fn stands(rows: &[String], text: &str) -> bool {
    rows.iter().any(|row| row.ends_with(text))
}

/// The other one becomes a contact of the home's by name.
fn knows(home: &Home, name: &str) {
    home.ok(&["contact", "add", name]);
}

#[test]
fn a_terminal_that_pauses_stops_no_receiver_and_keeps_no_other_command_from_working() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let mut chatting = chat(&bob, "alice");
    chatting.until_shown("connected");
    chatting.stop_reading();
    // More than a terminal holds that nothing reads: the help comes and goes until nothing more is taken.
    let (mut before, mut same) = (0, 0);
    eventually("the terminal is full", || {
        chatting.press("\u{1b}OP");
        std::thread::sleep(std::time::Duration::from_millis(40));
        chatting.press("?");
        let now = chatting.unread();
        same = if now > 0 && now == before { same + 1 } else { 0 };
        before = now;
        same > 20
    });
    let many: String = (0..400).map(|number| format!("{number} {}\n", "z".repeat(200))).collect();
    alice.feed(&["send", "bob", "--lines"], many.as_bytes()).ok();
    // It goes on receiving: everything reaches bob's home, and alice hears of it.
    alice.ok(&["send", "bob", "behind the pause"]);
    eventually("the last text is delivered", || {
        alice.receive();
        let history = alice.ok(&["history", "bob", "--last", "1"]);
        history[0]["state"] == "delivered"
    });
    bob.ok(&["send", "alice", "while-my-terminal-pauses"]);
    assert_eq!(alice.receive(), ["while-my-terminal-pauses"]);
    // What never stood on the screen was not read.
    let history = alice.ok(&["history", "bob", "--last", "2"]);
    assert!(all(&history, "message").iter().all(|message| message["state"] != "read"), "{history:?}");
    assert_eq!(
        bob.receive().last().map(String::as_str),
        Some("behind the pause"),
        "another command shows it meanwhile"
    );
    // It ends although its terminal takes nothing.
    chatting.signal(rustix::process::Signal::TERM);
    eventually("it ends", || !chatting.is_running());
    assert_eq!(texts(&bob.ok(&["history", "alice"])).len(), 404);
}

#[test]
fn two_people_talk_in_two_windows() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "waiting"]);
    let mut at_alice = chat(&alice, "bob");
    at_alice.until_shown("waiting");
    let mut at_bob = chat(&bob, "alice");
    // Read by Alice, and Bob sees it.
    at_bob.until_rows("read", |rows| rows.iter().any(|row| row.contains("waiting") && row.ends_with("✓✓")));
    at_alice.press("Grüße aus dem Garten\r");
    at_alice.until_shown("you  Grüße aus dem Garten");
    at_bob.until_shown("alice  Grüße aus dem Garten");
    at_alice.until_rows("read", |rows| rows.iter().any(|row| row.contains("Garten") && row.ends_with("✓✓")));
    at_bob.press("typo");
    at_bob.press("\u{7f}\u{7f}\u{7f}\u{7f}merci!\r");
    at_alice.until_shown("bob  merci!");

    // The relay goes away and comes back: what was written meanwhile arrives.
    relay.stop();
    at_alice.until_shown("reconnecting");
    at_alice.press("oh such patience\r");
    at_alice.until_rows("queued", |rows| rows.iter().any(|row| row.contains("patience") && row.ends_with('…')));
    relay.start_again(&[]);
    at_bob.until_shown("oh such patience");
    at_alice.leave();
    at_bob.leave();

    let expected = ["waiting", "Grüße aus dem Garten", "merci!", "oh such patience"];
    for (home, who) in [(&alice, "bob"), (&bob, "alice")] {
        assert_eq!(texts(&home.ok(&["history", who])), expected);
        assert!(home.receive().is_empty(), "all was read on the screen");
    }
}

#[test]
fn windows_and_commands_of_one_home_share_one_receiver() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut first = chat(&alice, "bob");
    first.until_shown("connected");
    let mut second = chat(&alice, "bob");
    second.until_shown("another window receives");
    let mut follower = alice.start(&["receive", "--follow"]);
    assert_eq!(follower.until("notice")["code"], "reading-along");
    follower.until("caught_up");
    // Whichever receives, each of them shows it.
    let shown_by_all = |first: &mut Window, second: &mut Window, follower: &mut support::Running, text: &str| {
        bob.ok(&["send", "alice", text]);
        first.until_shown(text);
        second.until_shown(text);
        assert_eq!(follower.until("message")["text"], text);
    };
    shown_by_all(&mut first, &mut second, &mut follower, "to all of you");
    // A command that receives once disturbs none of them.
    assert!(alice.receive().is_empty(), "it was read on the screen");
    shown_by_all(&mut first, &mut second, &mut follower, "and once more");
    // What is written in one window stands in the other.
    second.press("from the second window\r");
    first.until_shown("you  from the second window");
    assert_eq!(bob.receive(), ["from the second window"]);
    first.until_rows("read", |rows| rows.iter().any(|row| row.contains("second window") && row.ends_with("✓✓")));
    // The receiver ends, however it does: another one takes over.
    drop(first);
    bob.ok(&["send", "alice", "who is there now"]);
    second.until_shown("who is there now");
    assert_eq!(follower.until("message")["text"], "who is there now");
    second.leave();
    bob.ok(&["send", "alice", "only one left"]);
    assert_eq!(follower.until("message")["text"], "only one left");
    follower.interrupt();
    let (code, seen) = follower.wait();
    assert_eq!(code, Some(0));
    let received = texts(&seen);
    assert_eq!(received, ["to all of you", "and once more", "who is there now", "only one left"], "each once");
    assert!(alice.receive().is_empty());
}

#[test]
fn a_window_that_reads_along_says_so_and_what_became_of_its_connection() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut first = chat(&alice, "bob");
    first.until_shown("connected");
    let mut second = chat(&alice, "bob");
    second.until_shown("another window receives");
    // Without sending anything.
    relay.stop();
    for window in [&mut first, &mut second] {
        window.until_shown("reconnecting");
    }
    relay.start_again(&[]);
    first.until_shown("connected");
    second.until_shown("another window receives");
    first.leave();
    second.until_shown("connected");
    bob.ok(&["send", "alice", "to the one that is left"]);
    second.until_shown("to the one that is left");
    second.leave();
}

#[test]
fn a_chat_on_pipes_whose_reader_pauses_hands_on_the_receiving_and_loses_nothing() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    // Written to and not read.
    let mut paused = Unread::start(alice.command(&["chat", "bob"]));
    bob.ok(&["send", "alice", "it receives"]);
    assert_eq!(paused.until("message")["text"], "it receives");
    let mut window = chats(&alice, 80);
    window.until_shown("another window receives");
    // The list beside shows the beginning of what came last. More than a pipe holds, and what is told ahead.
    let many: Vec<String> = (0..700).map(|number| format!("{number} {}", "z".repeat(200))).collect();
    bob.feed(&["send", "alice", "--lines"], (many.join("\n") + "\n").as_bytes()).ok();
    window.until_shown("connected");
    bob.ok(&["send", "alice", "after that"]);
    window.until_shown("after that");
    // Read on: everything, once and in its order.
    let expected = many.iter().map(String::as_str).chain(["after that"]);
    for text in expected {
        assert_eq!(paused.until("message")["text"], text);
    }
    bob.ok(&["send", "alice", "to both of you"]);
    assert_eq!(paused.until("message")["text"], "to both of you");
    window.until_shown("to both of you");
    window.leave();
    // It receives again.
    bob.ok(&["send", "alice", "and to you"]);
    assert_eq!(paused.until("message")["text"], "and to you");
}

#[test]
fn of_two_chats_on_pipes_both_show_what_comes_and_the_one_that_is_left_receives() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut first = alice.start(&["chat", "bob"]);
    bob.ok(&["send", "alice", "to the first"]);
    assert_eq!(first.until("message")["text"], "to the first");
    let mut second = alice.start(&["chat", "bob"]);
    assert_eq!(second.until("notice")["code"], "reading-along");
    for number in 0..3 {
        bob.ok(&["send", "alice", &format!("to both {number}")]);
        assert_eq!(first.until("message")["text"], format!("to both {number}"));
        assert_eq!(second.until("message")["text"], format!("to both {number}"));
    }
    first.close_stdin();
    let (code, seen) = first.wait();
    assert_eq!(code, Some(0));
    assert!(all(&seen, "notice").is_empty(), "it was not displaced: {seen:?}");
    assert_eq!(second.until("notice")["code"], "receiving-again");
    bob.ok(&["send", "alice", "to the second"]);
    assert_eq!(second.until("message")["text"], "to the second");
    second.close_stdin();
    assert_eq!(second.wait().0, Some(0));
}

#[test]
fn a_draft_stays_where_it_was_written_also_over_a_restart_and_escape_loses_nothing() {
    let relay = Relay::start();
    let (alice, _bob) = alice_and_bob(&relay);
    let _carol = Home::registered(&relay, "carol");
    knows(&alice, "carol");
    let mut window = chat(&alice, "bob");
    window.press("half a sentence");
    window.until_shown("› half a sentence");
    window.press(ALT_ENTER);
    window.press("and a line");
    for _ in 0..3 {
        window.press("\u{1b}");
        window.until_shown("and a line");
    }
    window.press(&control('n'));
    let rows = window.until_shown("carol  not verified");
    assert!(!rows.iter().any(|row| row.contains("half a sentence")), "{rows:?}");
    window.until_shown("draft");
    window.press("to carol");
    window.until_shown("› to carol");
    window.leave();
    // Nothing of it was sent, and nothing of it is readable on disk.
    assert!(texts(&alice.ok(&["history", "bob"])).is_empty());
    let mut window = chat(&alice, "bob");
    window.until_shown("› half a sentence");
    window.until_shown("and a line");
    window.press(&control('p'));
    window.until_shown("› to carol");
    // Also where the process is killed: a draft is kept while one pauses.
    window.press(", really");
    window.until_shown("› to carol, really");
    eventually("the draft is kept", || {
        let mut other = Window::open(alice.typed(&["chat", "carol"]), 80);
        other.until_shown("carol  not verified").iter().any(|row| row.contains("to carol, really"))
    });
    drop(window);
    let mut window = chat(&alice, "carol");
    window.until_shown("› to carol, really");
    // An unknown word behind a slash is named and not sent.
    window.press(&control('u'));
    window.press("/secret plan\r");
    window.until_shown("There is no command /secret");
    window.until_shown("› /secret plan");
    assert!(texts(&alice.ok(&["history", "carol"])).is_empty());
    window.leave();
}

#[test]
fn what_is_pasted_keeps_its_lines_and_is_never_sent_by_itself() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut window = chat(&alice, "bob");
    window.until_shown("connected");
    window.press("\u{1b}[200~one\r\ntwo\rthree\n\u{1b}[201~");
    window.until_rows("three lines", |rows| {
        let at = rows.iter().position(|row| row.contains("› one"));
        at.is_some_and(|at| rows[at + 1].contains("   two") && rows[at + 2].contains("   three"))
    });
    assert!(texts(&alice.ok(&["history", "bob"])).is_empty());
    window.press("four\r");
    window.until_gone("› one");
    eventually("it is sent", || bob.receive() == ["one\ntwo\nthree\nfour"]);
    window.leave();
}

#[test]
fn a_long_history_is_read_piece_by_piece_as_one_scrolls() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let many: String = (0..700).map(|number| format!("text number {number:03}\n")).collect();
    alice.feed(&["send", "bob", "--lines"], many.as_bytes()).ok();
    let mut window = chat(&bob, "alice");
    window.until_shown("connected");
    // More came than the screen holds: it stops where that begins.
    window.until_shown("unread from here");
    window.until_shown("text number 699");
    window.press("\u{1b}[F");
    window.until_rows("the newest", |rows| stands(rows, "text number 699"));
    window.press(PAGE_UP);
    window.until_rows("older ones", |rows| !stands(rows, "text number 699"));
    window.until_shown("older messages; End: the newest");
    window.press("\u{1b}[H");
    window.until_shown("good evening");
    window.press("\u{1b}[F");
    window.until_rows("the newest", |rows| stands(rows, "text number 699"));
    // Search goes to a message that is not held.
    window.press(&format!("{}number 042{ENTER}", control('f')));
    window.until_shown("1 message");
    window.press(ENTER);
    let rows = window.until_rows("the hit at the top", |rows| rows[1].contains("text number 042"));
    assert!(rows.iter().any(|row| row.contains("text number 043")), "what follows stands below: {rows:?}");
    window.press("\u{1b}[F");
    window.until_rows("the newest", |rows| stands(rows, "text number 699"));
    window.leave();
}

#[test]
fn the_chat_can_be_used_at_every_width_and_follows_the_window() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    bob.ok(&["send", "alice", "東京 👩‍👩‍👧 שלום עולם and a text that is long enough to need several lines in any window"]);
    let mut window = chats(&alice, 40);
    window.until_shown("(1)");
    // At 40 columns list and conversation are two views.
    let rows = window.rows();
    assert!(!rows.iter().any(|row| row.contains("›")), "{rows:?}");
    window.press(ENTER);
    window.until_shown("bob  verified");
    window.until_shown(" │ ");
    let rows = window.until_gone("Conversations");
    assert!(rows.iter().all(|row| row.chars().count() <= 40), "{rows:?}");
    window.press("wide");
    window.until_shown("› wide");
    // Wider: both, and what is written stays.
    window.resize(140, 30);
    window.until_rows("both", |rows| {
        rows[0].contains("Conversations") && rows[0].contains("bob  verified") && rows[0].contains("connected")
    });
    window.until_shown("› wide");
    window.until_shown("and a text that is long enough to need several lines in any");
    // Too small for anything but what is written and said last.
    window.resize(12, 3);
    window.until_shown("wide");
    window.resize(80, 24);
    window.until_rows("both again", |rows| rows[0].contains("Conversations") && rows[0].contains("bob  verified"));
    // Help, with all ticks, and back.
    window.press("\u{1b}OP");
    window.until_shown("Help");
    for _ in 0..8 {
        window.press(" ");
    }
    window.until_shown("delivered: a device of the");
    window.press("\u{1b}");
    window.until_shown("› wide");
    window.press(&control('u'));
    window.press("?");
    window.until_shown("Help");
    window.press("\u{1b}");
    window.until_gone("Help");
    // The mouse is the terminal's own until it is asked for.
    assert_eq!(window.screen().mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    window.press(F2);
    window.until_shown("mouse on: F2");
    // That is asked for behind the screen that says so.
    eventually("the mouse is taken", || window.screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None);
    window.press(F2);
    window.until_gone("mouse on: F2");
    window.leave();
}

#[test]
fn without_colours_the_screen_says_the_same() {
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    bob.ok(&["send", "alice", "in black and white"]);
    let mut command = alice.typed(&["chat", "bob"]);
    command.env("NO_COLOR", "1");
    let mut window = Window::open(command, 80);
    window.until_shown("in black and white");
    let screen = window.screen().clone();
    for row in 0..24 {
        for column in 0..80 {
            let cell = screen.cell(row, column).unwrap();
            assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Default, vt100::Color::Default));
        }
    }
    window.leave();
}

/// A day of three people and two strangers, all of it through the screen of one of them.
#[test]
fn a_day_with_three_people_two_strangers_and_a_lost_network() {
    let mut relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let carol = Home::registered(&relay, "carol");
    knows(&alice, "carol");
    knows(&carol, "alice");
    let mut command = alice.typed(&["chat", "--notify", "bell"]);
    command.env("TERM", "xterm-256color");
    let mut at_alice = Window::open(command, 80);
    at_alice.until_shown("Choose a conversation");
    let mut at_bob = chat(&bob, "alice");
    let mut at_carol = chat(&carol, "alice");
    at_carol.until_shown("connected");

    // Morning: bob writes; it is unread until she opens it, and a bell rings.
    at_bob.press("Good morning Alice\r");
    let rows = at_alice.until_shown("(1)");
    assert!(row_with(&rows, "(1)").contains("Good morning"), "{rows:?}");
    at_alice.until_bells(1);
    at_bob.until_rows("delivered, not read", |rows| {
        rows.iter().any(|row| row.contains("Good morning") && row.ends_with(" ✓"))
    });
    at_alice.press(&control('g'));
    at_alice.until_shown("bob  verified");
    at_alice.until_shown("unread from here");
    at_alice.until_gone("(1)");
    at_bob.until_rows("read", |rows| rows.iter().any(|row| row.contains("Good morning") && row.ends_with("✓✓")));

    // A draft to bob stays while carol is answered.
    at_alice.press("Shall we meet at");
    at_alice.until_shown("› Shall we meet at");
    at_carol.press("Are you at the station?\r");
    at_alice.until_shown("(1)");
    at_alice.until_bells(2);
    at_alice.press(&control('g'));
    at_alice.until_shown("carol  not verified");
    let rows = at_alice.until_shown("draft");
    assert!(rows.iter().any(|row| row.contains("Are you at the station?")), "{rows:?}");
    at_alice.press("Not yet!\r");
    at_carol.until_shown("alice  Not yet!");
    at_alice.press(&control('n'));
    at_alice.until_shown("› Shall we meet at");
    at_alice.press(" noon?\r");
    at_bob.until_shown("alice  Shall we meet at noon?");
    at_alice.until_gone("draft");

    // The network is lost. What is written waits, is shown as waiting, and arrives.
    relay.stop();
    at_alice.until_shown("reconnecting");
    at_alice.press("Can you hear me?\r");
    at_alice.until_rows("waits", |rows| rows.iter().any(|row| row.contains("hear me?") && row.ends_with('…')));
    at_alice.press(&control('r'));
    at_alice.until_shown("waits until the relay");
    at_bob.until_shown("reconnecting");
    at_bob.press("Alice? Hello?\r");
    at_alice.press(&control('n'));
    at_alice.until_shown("carol  not verified");
    at_alice.press("Late, sorry\r");
    at_alice.until_rows("waits, too", |rows| rows.iter().any(|row| row.contains("Late, sorry") && row.ends_with('…')));
    relay.start_again(&[]);
    at_bob.until_shown("Can you hear me?");
    at_carol.until_shown("Late, sorry");
    at_alice.until_rows("bob's text is unread", |rows| rows.iter().any(|row| row.contains("Alice? Hello?")));
    at_alice.press(&control('g'));
    at_alice.until_rows("bob's text", |rows| rows.iter().any(|row| row.ends_with("Alice? Hello?")));
    // When each of it happened, in words.
    at_alice.until_rows("words", |rows| {
        let at = rows.iter().position(|row| row.contains("Can you hear me?"));
        at.is_some_and(|at| rows[at + 1..].iter().take(3).any(|row| row.contains("read ")))
    });
    at_alice.press(&control('r'));
    at_alice.until_gone("came ");

    // A stranger writes: apart from the others, and nothing is told to it before it is accepted.
    let dave = Home::registered(&relay, "dave");
    knows(&dave, "alice");
    dave.ok(&["send", "alice", "We met at the lake"]);
    at_alice.until_shown("── Requests");
    at_alice.until_rows("the request", |rows| {
        let at = rows.iter().position(|row| row.contains("── Requests")).unwrap_or(usize::MAX - 9);
        rows.get(at + 2).is_some_and(|row| row.contains("We met at"))
    });
    at_alice.press(&control('g'));
    at_alice.until_shown("a request, not accepted");
    at_alice.until_shown("We met at the lake");
    at_alice.until_shown("a accept");
    dave.ok(&["receive"]);
    assert_eq!(find(&dave.ok(&["history", "alice"]), "message")["state"], "accepted");
    at_alice.press("a");
    at_alice.until_shown("Accept: it learns");
    at_alice.press("Dave from the lake\r");
    at_alice.until_shown("Dave from the lake  not verified");
    at_alice.until_gone("── Requests");
    at_alice.press("I remember!\r");
    eventually("dave hears of it", || dave.receive() == ["I remember!"]);

    // Another one is blocked.
    let mallory = Home::registered(&relay, "mallory");
    knows(&mallory, "alice");
    mallory.ok(&["send", "alice", "Buy now"]);
    at_alice.until_shown("── Requests");
    at_alice.press(&control('g'));
    at_alice.until_shown("a request, not accepted");
    at_alice.press("b");
    at_alice.until_shown("dropped unseen");
    at_alice.press("y");
    at_alice.until_gone("── Requests");
    mallory.ok(&["send", "alice", "Buy later"]);

    // Carol is muted: what she writes is unread, and rings no bell.
    let rows = at_alice.rows();
    assert!(!rows.iter().any(|row| row.contains("Buy")), "{rows:?}");
    let name = |row: &str| ["Dave", "bob", "carol"].into_iter().find(|name| row.contains(&format!("│ {name}")));
    for _ in 0..3 {
        let open = name(&at_alice.rows()[0]);
        if open == Some("carol") {
            break;
        }
        at_alice.press(&control('n'));
        at_alice.until_rows("another conversation", |rows| name(&rows[0]).is_some_and(|now| Some(now) != open));
    }
    at_alice.until_shown("carol  not verified");
    at_alice.press("/mute\r");
    at_alice.until_shown("Muted: no bell");
    at_alice.press(&control('n'));
    at_alice.until_gone("carol  not verified");
    let bells = at_alice.bells;
    at_carol.press("Where are you\r");
    let rows = at_alice.until_shown("(1)");
    assert!(row_with(&rows, "(1)").contains("muted"), "{rows:?}");

    // Evening: she leaves in the middle of a sentence, and finds everything again.
    at_alice.press("Good night ");
    at_alice.until_shown("› Good night");
    at_alice.leave();
    let mut again = chats(&alice, 80);
    let rows = again.until_shown("(1)");
    assert!(row_with(&rows, "(1)").contains("muted") && rows.iter().any(|row| row.contains("draft")), "{rows:?}");
    assert_eq!(again.bells, 0, "what came before rings no bell");
    again.press(&format!("{}station{ENTER}", control('f')));
    again.until_shown("1 message");
    again.press(ENTER);
    again.until_shown("carol  Are you at the station?");
    again.leave();
    at_bob.leave();
    at_carol.leave();
    assert!(bells >= 3, "bob, carol, and the strangers: {bells}");
    let with_bob =
        ["Good morning Alice", "Shall we meet at noon?", "Can you hear me?", "Alice? Hello?"].map(str::to_owned);
    let mut history = texts(&alice.ok(&["history", "bob"]));
    history.sort();
    let mut expected = with_bob.to_vec();
    expected.sort();
    assert_eq!(history, expected, "each once");
}

/// The screen of a made-up evening, at three widths. Written to docs/screenshots where `KUVERT_WRITE_SCREENSHOTS` is set.
#[test]
fn pictures_of_the_screen_at_three_widths() {
    use support::picture::{DARK, LIGHT, svg};
    let mut relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let carol = Home::registered(&relay, "carol");
    let dave = Home::registered(&relay, "dave");
    knows(&alice, "carol");
    knows(&carol, "alice");
    carol.ok(&["send", "alice", "The rehearsal is at seven, bring the blue folder"]);
    carol.ok(&["send", "alice", "and a torch 🔦"]);
    knows(&dave, "alice");
    dave.ok(&["send", "alice", "We met at the lake. Is this you?"]);
    alice.ok(&["receive", "--max", "0"]);
    bob.ok(&["send", "alice", "Are you coming to 東京 in spring? שלום to all of you"]);
    let mut at_alice = Window::open_with(alice.typed(&["chat", "bob"]), 80, 24);
    at_alice.until_shown("── Requests");
    at_alice.press("Yes! The flight lands on the fourth, early in the morning\r");
    let mut at_bob = chat(&bob, "alice");
    at_alice.until_rows("read", |rows| rows.iter().any(|row| row.contains("Yes!") && row.ends_with("✓✓")));
    at_bob.press("Then I meet you at the station\r");
    at_alice.until_shown("Then I meet you");
    at_bob.leave();
    relay.stop();
    at_alice.until_shown("reconnecting");
    at_alice.press("Wonderful, thank you\r");
    at_alice.until_rows("queued", |rows| rows.iter().any(|row| row.contains("Wonderful") && row.ends_with('…')));
    at_alice.press("One more thing:");
    at_alice.press(ALT_ENTER);
    at_alice.press("do you still have my umbrella?");
    at_alice.until_shown("umbrella?");
    at_alice.until_shown("draft");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/screenshots");
    for (columns, rows) in [(80, 24), (140, 28), (40, 24)] {
        at_alice.resize(columns, rows);
        at_alice.until_shown("umbrella?");
        let shown = at_alice.until_rows("the whole screen", |shown| {
            shown.len() == usize::from(rows) && shown.last().is_some_and(|last| last.contains("F1 help"))
        });
        assert!(shown.iter().all(|row| row.chars().count() <= usize::from(columns)), "{shown:?}");
        for (name, theme) in [("light", LIGHT), ("dark", DARK)] {
            let picture = svg(at_alice.screen(), theme);
            assert!(picture.len() < 150_000, "{columns}: {} bytes", picture.len());
            let path = format!("{directory}/chat-{columns}-{name}.svg");
            if std::env::var_os("KUVERT_WRITE_SCREENSHOTS").is_some() {
                std::fs::write(&path, picture).unwrap();
            }
            assert!(std::path::Path::new(&path).exists(), "{path}: run this with KUVERT_WRITE_SCREENSHOTS=1");
        }
    }
    at_alice.leave();
}
