//! What becomes of the terminal: whatever ends or stops a program, it is as it was before; and what only a terminal
//! understands goes to none that does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;
use support::window::{MAIN_SCREEN, Window};
use support::{Home, Relay, alice_and_bob, eventually};
use unicode_width::UnicodeWidthStr as _;

/// Ends bracketed paste: what is pasted comes as it is again.
const NO_MORE_PASTES: &str = "\u{1b}[?2004l";

/// A chat whose screen stands.
fn chat(home: &Home, who: &str) -> Window {
    let mut window = Window::open(home.typed(&["chat", who]), 80);
    window.until("connected");
    assert!(window.is_raw());
    window
}

#[test]
fn every_signal_that_ends_the_chat_puts_the_terminal_back() {
    let relay = Relay::start();
    let (alice, _bob) = alice_and_bob(&relay);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut window = chat(&alice, "bob");
        window.signal(signal);
        let before = window.until(MAIN_SCREEN);
        assert!(before.contains(NO_MORE_PASTES), "{signal:?}");
        eventually("the terminal is as it was", || window.is_as_before());
        let (status, _) = window.wait();
        assert_eq!(status.code(), Some(0), "{signal:?}: in good order");
    }
}

#[test]
fn a_chat_that_was_stopped_takes_the_terminal_again() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    bob.ok(&["send", "alice", "waiting"]);
    let mut window = chat(&alice, "bob");
    // Without being told: the shell's modes are there when it goes on.
    window.signal(Signal::STOP);
    window.wait_until_stopped();
    window.put_modes_back();
    window.signal(Signal::CONT);
    eventually("raw again", || window.is_raw());
    // The alternate screen, and everything on it.
    window.until("\u{1b}[?1049h");
    window.until("waiting");
    // Told, it puts the terminal back first.
    window.signal(Signal::TSTP);
    window.until(MAIN_SCREEN);
    window.wait_until_stopped();
    assert!(window.is_as_before());
    window.signal(Signal::CONT);
    window.until("\u{1b}[?1049h");
    window.until("waiting");
    eventually("raw again", || window.is_raw());
    window.press("hello-again\r");
    window.until("hello-again");
    window.leave();
    assert_eq!(bob.receive(), ["hello-again"]);
}

#[test]
fn a_key_that_comes_together_with_a_new_size_waits_for_no_other_key() {
    let relay = Relay::start();
    let (alice, _bob) = alice_and_bob(&relay);
    let mut window = chat(&alice, "bob");
    let mut written = String::new();
    for (number, key) in ('a'..='z').chain('A'..='T').enumerate() {
        window.resize(80, if number % 2 == 0 { 25 } else { 24 });
        window.press(&key.to_string());
        written.push(key);
        window.until_rows(&written, |rows| rows.iter().any(|row| row.ends_with(&format!("› {written}"))));
    }
    window.leave();
}

#[test]
fn control_z_suspends_the_chat_as_a_job() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut command = alice.typed(&["chat", "bob"]);
    // A job of its own, as shells start it.
    command.process_group(0);
    let mut window = Window::open(command, 80);
    window.until("connected");
    // One cell: a word may be drawn in pieces, as it is typed.
    window.press("ß");
    window.until("ß");
    window.press("\u{1a}");
    window.until(MAIN_SCREEN);
    window.wait_until_stopped();
    assert!(window.is_as_before());
    // What is stopped receives nothing: another window does.
    let mut other = chat(&alice, "bob");
    bob.ok(&["send", "alice", "while-it-is-stopped"]);
    other.until_shown("while-it-is-stopped");
    window.signal(Signal::CONT);
    window.until("\u{1b}[?1049h");
    window.until("ß");
    assert!(window.is_raw());
    window.until_shown("another window receives");
    window.until_shown("while-it-is-stopped");
    other.leave();
    window.until_shown("connected");
    window.leave();
}

#[test]
fn a_chat_whose_terminal_vanishes_ends_in_good_order() {
    let relay = Relay::start();
    let (alice, _bob) = alice_and_bob(&relay);
    let window = chat(&alice, "bob");
    assert_eq!(window.vanish().code(), Some(0));
    // Nothing is held that the next chat needs.
    chat(&alice, "bob").leave();
}

#[test]
fn the_demo_that_waits_for_a_key_puts_the_terminal_back() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = || {
        let mut command = Home::empty().typed(&["demo", "--step"]);
        command.env("TMPDIR", temporary.path());
        let mut window = Window::open(command, 80);
        window.until("any key");
        eventually("it waits for a key", || window.is_raw());
        window
    };
    let nothing_is_left = |window: Window, code: i32| {
        eventually("the terminal is as it was", || window.is_as_before());
        assert_eq!(window.wait().0.code(), Some(code));
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the directories are gone");
    };
    for (signal, code) in [(Signal::HUP, 129), (Signal::QUIT, 131)] {
        let window = demo();
        window.signal(signal);
        nothing_is_left(window, code);
    }
    // Raw mode makes a key of Ctrl-C.
    let mut window = demo();
    window.signal(Signal::STOP);
    window.wait_until_stopped();
    window.put_modes_back();
    window.signal(Signal::CONT);
    eventually("raw again", || window.is_raw());
    window.press("\u{3}");
    nothing_is_left(window, 130);
}

#[test]
fn control_c_ends_the_story_at_once_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let story = || {
        let mut command = Home::empty().typed(&["demo", "--story", "doctor"]);
        command.env("TMPDIR", temporary.path());
        Window::open(command, 80)
    };
    // While the day is lived, and while it is asked for a guess.
    for moment in ["Living", "Your guess"] {
        let mut window = story();
        window.until(moment);
        window.signal(Signal::INT);
        eventually("the terminal is as it was", || window.is_as_before());
        assert_eq!(window.wait().0.code(), Some(130), "{moment}");
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the directories are gone");
    }
}

/// Terminals of these widths show everything whole.
const WIDTHS: [u16; 4] = [60, 80, 100, 120];

/// What a terminal draws: without colours, and without what moves its cursor.
fn plain(drawn: &str) -> String {
    let mut out = String::new();
    let mut rest = drawn;
    while let Some(start) = rest.find('\u{1b}') {
        out.push_str(&rest[..start]);
        let end = rest[start + 2..].find(|c: char| c.is_ascii_alphabetic()).unwrap();
        rest = &rest[start + 2 + end + 1..];
    }
    out.push_str(rest);
    out
}

/// Lines that are wider than the terminal. Addresses and keys stay whole, to be copied; clap does not wrap usage.
fn wider(drawn: &str, columns: u16) -> Vec<String> {
    let copied = |line: &str| line.contains("kuvert://") || line.trim().len() == 64 && !line.trim().contains(' ');
    let wide = |line: &&str| line.width() > columns.into() && !copied(line) && !line.starts_with("Usage: ");
    plain(drawn).lines().filter(wide).map(str::to_owned).collect()
}

fn shown(command: Command, columns: u16) -> String {
    Window::open(command, columns).wait().1
}

/// The demo, or the story with an answer to each of its six questions.
fn told(arguments: &[&str], columns: u16, questions: usize) -> String {
    support::kuvert_with("demo");
    let mut window = Window::open(Home::empty().typed(arguments), columns);
    let mut drawn = String::new();
    for _ in 0..questions {
        drawn += &window.until("or Enter for none): ");
        window.press("a\r");
    }
    drawn + &window.wait().1
}

#[test]
fn the_demo_and_the_story_fit_every_terminal() {
    for (arguments, questions) in [(&["demo"][..], 0), (&["demo", "--story", "doctor"], 6)] {
        let tellings: Vec<_> =
            WIDTHS.map(|columns| std::thread::spawn(move || told(arguments, columns, questions))).into();
        for (telling, columns) in tellings.into_iter().zip(WIDTHS) {
            let drawn = telling.join().unwrap();
            assert!(drawn.contains("the relay") || drawn.contains("The relay"), "{drawn}");
            assert_eq!(wider(&drawn, columns), Vec::<String>::new(), "{arguments:?} at {columns}");
        }
    }
}

#[test]
fn help_and_lists_fit_every_terminal() {
    for program in ["bench", "demo", "lens", "relay"] {
        support::kuvert_with(program);
    }
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let carol = Home::registered(&relay, "carol");
    carol.ok(&["contact", "add", "alice"]);
    carol.ok(&[
        "send",
        "alice",
        "東京 is far away from here, and this letter is far too long for one line of a terminal",
    ]);
    alice.ok(&["receive"]);
    alice.ok(&["contact", "add", "carol", "--as", "everyone's friend of whom 東京都庁 has never heard"]);
    bob.ok(&[
        "send",
        "alice",
        "東京 is far away from here, and this letter is far too long for one line of a terminal",
    ]);
    alice.ok(&["receive"]);
    let data = relay.data();
    let data = data.to_str().unwrap();
    let mut failures = Vec::new();
    for columns in WIDTHS {
        for arguments in [
            &["contact", "list"][..],
            &["contact", "requests"],
            &["whoami"],
            &["status"],
            &["search", "東京"],
            &["invite"],
            &["safety-number", "bob"],
            &["disclosure"],
            &["history", "bob"],
            &["account", "show"],
            &["relay", "inspect", "--data", data],
            &["--help"],
            &["contact", "--help"],
            &["contact", "remove", "--help"],
            &["status", "--help"],
            &["receive", "--help"],
            &["account", "upload", "--help"],
            &["demo", "--help"],
            &["bench", "relay", "--help"],
            &["relay", "serve", "--help"],
            &["lens", "--help"],
            &["lens", "score", "--help"],
            &["no-such-command"],
            &["send", "nobody-of-this-name-that-is-too-long", "--no-such-option"],
        ] {
            let drawn = shown(alice.typed(arguments), columns);
            assert!(!plain(&drawn).trim().is_empty(), "{arguments:?} at {columns}");
            let wider = wider(&drawn, columns);
            if !wider.is_empty() {
                failures.push((arguments.join(" "), columns, wider));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Commands of every program that write in colours where they may: results, help, what is wrong, and logs.
const COLOURED: [&[&str]; 8] = [
    &["whoami"],
    &["contact", "list"],
    &["-v", "receive"],
    &["--help"],
    &["no-such-command"],
    &["send", "nobody", "hello"],
    &["relay", "no-such-command"],
    &["lens", "--no-such-option"],
];

#[test]
fn colours_go_to_terminals_that_know_them_and_nowhere_else() {
    support::kuvert_with("lens");
    let relay = Relay::start();
    let (alice, _bob) = alice_and_bob(&relay);
    for arguments in COLOURED {
        for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
            let mut command = alice.typed(arguments);
            command.env(name, value);
            let drawn = shown(command, 80);
            assert!(!drawn.contains('\u{1b}'), "{name}={value} {arguments:?}: {drawn:?}");
        }
        let output = alice.typed(arguments).env("TERM", "xterm").env("CLICOLOR_FORCE", "1").output().unwrap();
        assert!(![output.stdout, output.stderr].concat().contains(&0x1b), "in a pipe: {arguments:?}");
    }
    // They are there where nothing speaks against them; an empty `NO_COLOR` does not.
    for arguments in [&["whoami"][..], &["no-such-command"], &["--help"]] {
        let mut command = alice.typed(arguments);
        command.env("NO_COLOR", "");
        assert!(shown(command, 80).contains("\u{1b}["), "{arguments:?}");
    }
}

#[test]
fn the_relays_log_has_colours_only_for_terminals_that_know_them() {
    for (name, value, colours) in [("NO_COLOR", "1", false), ("TERM", "dumb", false), ("TERM", "xterm", true)] {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("relay");
        let mut command = Home::empty().typed(&["relay", "serve", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(&data).env(name, value);
        let mut window = Window::open(command, 80);
        let drawn = window.until("serving");
        assert_eq!(drawn.contains('\u{1b}'), colours, "{name}={value}: {drawn:?}");
        window.signal(Signal::TERM);
        assert_eq!(window.wait().0.code(), Some(0));
    }
}

#[test]
fn a_dumb_terminal_gets_the_chat_line_by_line() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let mut command = alice.typed(&["chat", "bob"]);
    command.env("TERM", "dumb");
    let mut window = Window::open(command, 80);
    bob.ok(&["send", "alice", "to-the-dumb"]);
    let mut drawn = window.until("to-the-dumb");
    window.press("from the dumb\n");
    // The end of what is typed, as a terminal says it.
    window.press("\u{4}");
    let (status, rest) = window.wait();
    drawn += &rest;
    assert_eq!(status.code(), Some(0), "{drawn:?}");
    assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
    assert_eq!(bob.receive(), ["from the dumb"]);
}
