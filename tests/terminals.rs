//! What becomes of the terminal: whatever ends or stops a program, it is as it was before; and what only a terminal
//! understands goes to none that does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;
#[path = "support/window.rs"]
mod window;

use std::os::unix::process::CommandExt as _;

use rustix::process::Signal;
use support::{Home, Relay, alice_and_bob, eventually};
use window::{MAIN_SCREEN, Window};

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
fn control_z_suspends_the_chat_as_a_job() {
    let relay = Relay::start();
    let (alice, _bob) = alice_and_bob(&relay);
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
    window.signal(Signal::CONT);
    window.until("\u{1b}[?1049h");
    window.until("ß");
    assert!(window.is_raw());
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
