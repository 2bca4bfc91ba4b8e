//! The chat's screen in a real tmux, as a person sees it there: every width, every script, the mouse, and going away and coming
//! back. Where tmux is not installed these tests say that they were skipped; `.ci/run` installs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use support::tmux::Tmux;
use support::window::Window;
use support::{Home, Relay, acquainted, all, eventually};
use unicode_width::UnicodeWidthStr as _;

/// What terminals disagree about: wide characters, an emoji of three, text from right to left, a combined accent.
const SCRIPTS: [&str; 4] = ["東京タワー at noon", "a torch 🔦 and 👩‍👩‍👧", "שלום עולם, to you", "cafe\u{301} au lait"];

const ENTER: &str = "\r";
const F2: &str = "\u{1b}OQ";

fn contains(rows: &[String], wanted: &str) -> bool {
    rows.iter().any(|row| row.contains(wanted))
}

/// The list's right edge stands in one column, whatever is written in it and beside it.
fn edge_is_straight(rows: &[String]) -> bool {
    let edges = rows.iter().filter_map(|row| row.split_once('│')).map(|(left, _)| left.width());
    let edges: Vec<usize> = edges.collect();
    // All rows but the last, which has the keys.
    edges.len() == rows.len() - 1 && edges.windows(2).all(|pair| pair[0] == pair[1])
}

fn state_of(home: &Home, text: &str) -> String {
    let history = home.ok(&["history", "alice"]);
    let message = all(&history, "message").into_iter().find(|message| message["text"] == text).unwrap().clone();
    message["state"].as_str().unwrap().to_owned()
}

#[test]
fn in_tmux_the_chat_fits_every_width_with_every_script_and_leaves_the_mouse_alone() {
    let Some(tmux) = Tmux::installed() else { return };
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    for text in SCRIPTS {
        bob.ok(&["send", "alice", text]);
    }
    let mut window = tmux.open(&alice.typed(&["chat", "bob"]), 80, 24);
    tmux.until(&mut window, "the chat", |rows| contains(rows, "connected") && contains(rows, "cafe"));
    for (columns, rows) in [(140, 30), (40, 24), (80, 24), (12, 3), (80, 24)] {
        window.resize(columns, rows);
        let shown = tmux.until(&mut window, &format!("screen of {columns} columns"), |shown| {
            let right = shown.len() == usize::from(rows) && shown.iter().all(|row| row.width() <= columns.into());
            let whole = SCRIPTS.iter().all(|text| contains(shown, text)) && contains(shown, "F1 help");
            right && (columns < 40 || whole) && (columns < 60 || edge_is_straight(shown))
        });
        assert_eq!(contains(&shown, "Conversations"), columns >= 60, "{}", shown.join("\n"));
    }
    // What tmux draws into the window is what it has.
    window.until_rows("the same", |shown| SCRIPTS[..1].iter().all(|text| contains(shown, text)));
    // Written and sent as it is, with the cursor behind it.
    let text = "日本 👍 שלום ok";
    window.press(text);
    tmux.until(&mut window, "what is written", |rows| contains(rows, &format!("› {text}")));
    let row = tmux.rows().into_iter().find(|row| row.contains("› ")).unwrap();
    eventually("the cursor stands behind it", || tmux.knows("cursor_x") == row.width().to_string());
    window.press(ENTER);
    tmux.until(&mut window, "the sent text", |rows| rows.iter().any(|row| row.contains(text) && row.ends_with('·')));
    assert_eq!(bob.receive(), [text]);
    // The mouse is tmux's own, to select text and turn pages, until it is asked for.
    assert_eq!(tmux.knows("mouse_any_flag"), "0");
    for taken in ["1", "0"] {
        window.press(F2);
        eventually("the mouse is taken, or let go of", || {
            window.rows();
            tmux.knows("mouse_any_flag") == taken
        });
    }
    leave(window);
}

#[test]
fn in_tmux_the_chat_goes_on_while_no_person_looks_and_says_read_only_once_one_does() {
    let Some(tmux) = Tmux::installed() else { return };
    let relay = Relay::start();
    let (alice, bob) = acquainted(&relay);
    let mut window = tmux.open(&alice.typed(&["chat", "bob"]), 80, 24);
    tmux.until(&mut window, "the chat", |rows| contains(rows, "connected"));
    window.press("half a sentence");
    tmux.until(&mut window, "what is written", |rows| contains(rows, "› half a sentence"));
    Tmux::detach(window);
    bob.ok(&["send", "alice", "are you there?"]);
    eventually("delivered", || {
        bob.receive();
        state_of(&bob, "are you there?") == "delivered"
    });
    eventually("drawn", || contains(&tmux.rows(), "are you there?"));
    assert_eq!(state_of(&bob, "are you there?"), "delivered", "it stands on a screen that no person looks at");
    // In another window, of another size.
    let mut window = tmux.attach(140, 30);
    // It is drawn anew a moment after the pane has its size.
    tmux.until(&mut window, "the larger screen", |rows| {
        let texts = contains(rows, "are you there?") && contains(rows, "› half a sentence");
        rows.len() == 30 && texts && edge_is_straight(rows)
    });
    eventually("read", || {
        window.rows();
        bob.receive();
        state_of(&bob, "are you there?") == "read"
    });
    // Without a word: the window is closed, and what runs in it goes on.
    drop(window);
    bob.ok(&["send", "alice", "and now?"]);
    let mut window = tmux.attach(40, 24);
    tmux.until(&mut window, "what came meanwhile", |rows| rows.len() == 24 && contains(rows, "and now?"));
    leave(window);
}

/// The chat ends, its session with it, and so does tmux.
fn leave(mut window: Window) {
    window.press("\u{3}");
    assert!(window.wait().0.success());
}
