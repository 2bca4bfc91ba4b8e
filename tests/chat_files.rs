//! Files on the chat's screen, in a pseudo-terminal: sent by a command, dropped, fetched, written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use support::window::Window;
use support::{Home, Relay, alice_and_bob, all, find};

const ESC: &str = "\u{1b}";

/// More than a chat fetches by itself.
const LARGE: usize = 17 << 20;

fn chat(home: &Home, who: &str) -> Window {
    let mut window = Window::open(home.typed(&["chat", who]), 110);
    window.until_shown("connected");
    window
}

fn write(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// As a terminal pastes.
fn paste(window: &mut Window, text: &str) {
    window.press(&format!("{ESC}[200~{text}{ESC}[201~"));
}

#[test]
fn files_are_sent_and_dropped_and_stand_in_the_conversation_with_name_size_and_state() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let directory = tempfile::tempdir().unwrap();
    let note = write(directory.path(), "a note.txt", b"hello");
    let (mut at_alice, mut at_bob) = (chat(&alice, "bob"), chat(&bob, "alice"));
    at_alice.press(&format!("/send {}\r", note.display()));
    at_alice.until_shown("[a note.txt 5 bytes]");
    at_bob.until_shown("[a note.txt 5 bytes, here]");
    assert_eq!(fs::read(bob.path().join("files/a note.txt")).unwrap(), b"hello");

    // What is dropped is pasted by the terminal, and nothing goes before a yes.
    let dropped = format!("'{}'", write(directory.path(), "dropped.bin", &[7; 2048]).display());
    paste(&mut at_alice, &dropped);
    at_alice.until_shown("Send this file to bob? dropped.bin 2.0 KiB.");
    at_alice.press("y");
    at_alice.press(ESC);
    at_alice.until_gone("Send this file to bob?");
    at_alice.until_shown("dropped.bin'");
    assert_eq!(all(&alice.ok(&["history", "bob"]), "message").len(), 1, "Esc leaves it as text");
    // To the beginning of the line, and all of it away.
    at_alice.press("\u{15}");
    paste(&mut at_alice, &dropped);
    at_alice.until_shown("Send this file to bob?");
    at_alice.press("\r");
    at_bob.until_shown("[dropped.bin 2.0 KiB, here]");

    // What names no file is a text; what cannot be sent says so, and comes back.
    paste(&mut at_alice, "/tmp/there is no such file");
    at_alice.until_shown("/tmp/there is no such file");
    at_alice.press("\u{15}");
    at_alice.press(&format!("/send {}\r", directory.path().display()));
    at_alice.until_shown("it is a directory");
    at_alice.until_shown("› /send ");
    at_alice.press("\u{15}");
    at_alice.leave();
    at_bob.leave();
    assert_eq!(all(&bob.ok(&["history", "alice"]), "message").len(), 2);
}

#[test]
fn a_large_file_is_fetched_and_written_where_it_is_wanted_and_one_to_be_shown_once_is_gone_then() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let directory = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..LARGE).map(|at| (at / 4096) as u8).collect();
    let film = write(directory.path(), "film.mp4", &content);
    let once = write(directory.path(), "once.txt", b"burn");
    let (mut at_alice, mut at_bob) = (chat(&alice, "bob"), chat(&bob, "alice"));
    at_alice.press(&format!("/send {}\r", film.display()));
    at_bob.until_shown("[film.mp4 17.0 MiB, at the relay: /save]");
    at_bob.press("/save\r");
    at_bob.until_shown("film.mp4 is saved: ");
    at_bob.until_shown("[film.mp4 17.0 MiB, here]");
    assert!(fs::read(bob.path().join("files/film.mp4")).unwrap() == content);
    assert!(at_bob.until_gone(" fetching ").iter().any(|row| row.contains("F1 help")), "the transfer is over");

    alice.ok(&["send", "bob", "--view-once", "--file", once.to_str().unwrap()]);
    // Not before one asks for it.
    at_bob.until_shown("to be shown once, at the relay: /save]");
    at_bob.press("/save\r");
    at_bob.until_shown("say where it is to be written");
    let place = directory.path().join("kept.txt");
    at_bob.press(&format!("/save {}\r", place.display()));
    at_bob.until_shown("to be shown once, gone]");
    at_bob.until_shown("once.txt is saved: ");
    assert_eq!(fs::read(&place).unwrap(), b"burn");
    assert!(!bob.path().join("files/once.txt").exists());
    // The second newest, elsewhere; and nothing is overwritten.
    at_bob.press(&format!("/save 2 {}\r", place.display()));
    at_bob.until_shown("is there already: choose another place");
    let copy = directory.path().join("copy.mp4");
    at_bob.press(&format!("/save 2 {}\r", copy.display()));
    at_bob.until_shown("film.mp4 is saved: ");
    assert!(fs::read(&copy).unwrap() == content);
    at_bob.press("/save 3\r");
    at_bob.until_shown("So many files did not come here");
    at_alice.leave();
    at_bob.leave();
}

/// A second window of a home receives nothing, and sends its files all the same.
#[test]
fn a_window_that_reads_along_sends_files_and_fetches_them() {
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let directory = tempfile::tempdir().unwrap();
    let note = write(directory.path(), "note.txt", b"hello");
    let mut follower = alice.start(&["receive", "--follow", "--max-file", "0"]);
    follower.until("caught_up");
    let mut along = Window::open(alice.typed(&["chat", "bob"]), 110);
    along.until_shown("another window receives");
    along.press(&format!("/send {}\r", note.display()));
    along.until_rows("the relay has it", |rows| rows.iter().any(|row| row.contains("[note.txt") && row.ends_with('·')));
    let came = bob.ok(&["receive"]);
    assert_eq!(find(&came, "message")["attachments"][0]["state"], "here");
    bob.ok(&["send", "alice", "--file", note.to_str().unwrap()]);
    along.until_shown("[note.txt 5 bytes, at the relay: /save]");
    along.press("/save\r");
    along.until_shown("[note.txt 5 bytes, here]");
    along.leave();
}
